"""Tables and texts of notebook 08, made of the results of the grid.

>>> results = read_results()
>>> found = compare_all(results, ("test", "unseen"), {"F − A": {"F": 1, "A": -1}})
>>> scores(found, ("AUC", "e_app"))             # a table in Markdown
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from sslnb.experiments.grid import Grid
from sslnb.experiments.results import ERRORS, Compared, Contrast, Results, unit, verdict
from sslnb.localise.intervals import Score
from sslnb.teach.plot.base import table

RECIPES = {  # variant -> how it is called
    "untrained": "untrained",
    "attention": "attention, triplet loss",
    "lvs": "LVS's recipe",
    "A": "LVS's loss, our optimiser (A)",
    "release": "the release's recipe",
    "F": "ours (F)",
    "classifier": "classifier, with labels",
}
CHANGED = {  # variant -> what differs from F
    "letter": "loss of equations 5 to 8",
    "border": "border counted in $L_{geo}$",
    "two-masks": "two draws of T_mask",
    "sharp": "no smoothing",
    "deep": "depth of ResNet-18",
}
PARTS = {  # step of table 1 -> what it adds
    "A→B": "T_app",
    "B→C": "T_geo",
    "C→D": "T_mask",
    "D→E": "T_mix",
    "E→F": "L_geo",
}


# --- words ------------------------------------------------------------------------------


def number(score: Score, name: str, sign: str = "") -> str:
    """A Score as text: fractions in per cent, errors as they are; sign "+" prints a plus."""
    digits = 2 if name in ERRORS else 1
    value, low, high = (unit(name) * x for x in score)
    text = f"{value:{sign}.{digits}f} [{low:{sign}.{digits}f}, {high:{sign}.{digits}f}]"
    return text.replace("-", "−")


# --- comparisons ------------------------------------------------------------------------


def compare_all(
    results: Results,
    sets: Iterable[str],
    contrasts: Mapping[str, Contrast],
    **options: Any,
) -> Compared:
    """`Results.compare` on several sets: {set: {contrast: {score: Score}}}."""
    return {where: results.compare(where, contrasts, **options) for where in sets}


def guesses(results: Results, sets: Iterable[str]) -> Compared:
    """Scores of the centre prior and of the oracle, which has no peak, on several sets."""
    return {
        where: {
            name: results.compare(where, {name: {name: 1}})[name]
            for name in ("centre prior", "oracle")
        }
        for where in sets
    }


def each(
    variants: Iterable[str], names: Mapping[str, str] = RECIPES
) -> dict[str, Contrast]:
    """The contrasts that are variants themselves: {name: {variant: 1}}."""
    return {names.get(variant, variant): {variant: 1} for variant in variants}


def less(
    first: str, others: Iterable[str], names: Mapping[str, str] = RECIPES
) -> dict[str, Contrast]:
    """What ours, a variant, has more than others: {"ours − name": {first: 1, other: −1}}."""
    return {
        f"ours − {names.get(other, other)}": {first: 1, other: -1} for other in others
    }


def steps(models: str = "ABCDEF") -> dict[str, Contrast]:
    """The steps of table 1, "A→B" to "E→F", and all of them at once."""
    pairs = [*pairwise(models), (models[0], models[-1])]
    return {f"{a}→{b}": {b: 1, a: -1} for a, b in pairs}


def with_parts(found: Compared) -> Compared:
    """The same with the steps named by what they add: "A→B T_app"."""
    return {
        where: {f"{step} {PARTS.get(step, 'all')}": each for step, each in rows.items()}
        for where, rows in found.items()
    }


def scores(
    found: Compared,
    names: Sequence[str],
    sign: str = "",
    beside: Mapping[str, str] | None = None,
) -> str:
    """A table: a row for each set and contrast, a column for each score.

    beside: what papers print, {contrast: "cIoU / AUC"}, as the last column.
    """
    rows = []
    for where, contrasts in found.items():
        for row, s in contrasts.items():
            each = (number(s[n], n, sign) if n in s else "–" for n in names)
            printed = [] if beside is None else [beside.get(row, "–")]
            rows.append([f"`{where}`", row, *each, *printed])
    paper = [] if beside is None else ["printed, on VGG-SS: cIoU / AUC"]
    return table(["set", "", *names, *paper], rows)


def resolved(found: Compared, names: Sequence[str]) -> dict[str, list[str]]:
    """{contrast: its changes that exclude zero, in words}."""
    words: dict[str, list[str]] = {}
    for where, contrasts in found.items():
        for row, s in contrasts.items():
            words.setdefault(row, [])
            for name in names:
                if name in s and (said := verdict(s[name], name)) != "not resolved":
                    words[row].append(
                        f"{said}: {name} on `{where}` {number(s[name], name, '+')}"
                    )
    return words


def resolved_table(found: Compared, names: Sequence[str]) -> str:
    """`resolved` as a table, a row a contrast."""
    rows = [
        [f"**{row}**", "; ".join(words) or "nothing is resolved"]
        for row, words in resolved(found, names).items()
    ]
    return table(["", "changes whose 95 % interval excludes zero"], rows)


# --- the grid ---------------------------------------------------------------------------


def grid_table(grid: Grid, results: Results) -> str:
    """What each experiment has: variants, runs that are done, clips, minutes a run."""
    rows = []
    for name, variants in grid.experiments.items():
        done = [r for v in variants for r in results.runs.get(v, {}).values()]
        wanted = sum(len(grid.variants[variant]) for variant in variants)
        minutes = sum(r["seconds"] for r in done) / 60
        rows.append(
            [f"`{name}`", len(variants), f"{len(done)} of {wanted}", f"{minutes:.0f}"]
        )
    return table(["experiment", "variants", "runs done", "minutes of training"], rows)


def made_on(results: Results) -> str:
    """On which machines and with which versions the runs were made, a sentence."""
    every = [run for seeds in results.runs.values() for run in seeds.values()]
    machines = sorted({run["machine"] for run in every})
    torch = sorted({run["versions"]["torch"] for run in every})
    hours = sum(run["seconds"] for run in every) / 3600
    return (
        f"{len(every)} runs in all, {hours:.1f} hours of training on one thread each "
        f"(above, a run that several experiments share is counted in each); "
        f"{'; '.join(machines)}; torch {', '.join(torch)}."
    )


def best_rates(results: Results, variants: Sequence[str]) -> list[list[str]]:
    """Learning rates that were tried: recipe, rate, and AUC and pointing game on val."""
    rows = []
    for variant in variants:
        run = results.runs[variant][0]
        history = run["history"]
        both = [
            (auc + pointing, auc, pointing)
            for auc, pointing in zip(history["val_AUC"], history["val_pointing"])
            if auc is not None
        ]
        _, auc, pointing = max(both)
        rate = run["config"]["learning_rate"]
        recipe = variant.split("-")[0]
        rows.append(
            [RECIPES[recipe], f"{rate:g}", f"{100 * auc:.1f}", f"{100 * pointing:.1f}"]
        )
    return rows
