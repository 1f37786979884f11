"""Tables and texts of notebook 08, made of the results of the grid.

>>> results = read_results()
>>> found = compare_all(results, ("test", "unseen"), {"F − A": {"F": 1, "A": -1}})
>>> changes(found, ("AUC", "e_app"))            # a table in Markdown
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from statistics import mean
from typing import Any

import numpy as np

from sslnb.experiments.grid import Grid
from sslnb.experiments.measure import classes_of, pack, unpack
from sslnb.experiments.results import ERRORS, Contrast, Results
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
SOUNDS = ("own", "off-screen", "noise", "silence")

Compared = dict[str, dict[str, dict[str, Score]]]  # set -> row -> score -> Score


# --- words ------------------------------------------------------------------------------


def number(score: Score, name: str, sign: str = "") -> str:
    """A Score as text: fractions in per cent, errors as they are; sign "+" prints a plus."""
    factor, digits = (1, 2) if name in ERRORS else (100, 1)
    value, low, high = (factor * x for x in score)
    text = f"{value:{sign}.{digits}f} [{low:{sign}.{digits}f}, {high:{sign}.{digits}f}]"
    return text.replace("-", "−")


def verdict(score: Score, name: str) -> str:
    """ "better", "worse" or "not resolved": whether the interval of a change leaves 0 out."""
    if score.low <= 0 <= score.high:
        return "not resolved"
    return "better" if (score.value > 0) != (name in ERRORS) else "worse"


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
    """{contrast: its changes that leave zero out, in words}."""
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
    return table(["", "changes whose 95 % interval leaves zero out"], rows)


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
        f"{len(every)} runs, {hours:.1f} hours of training on one thread each; "
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
        recipe = variant.removesuffix(f"-{rate:g}").split("-")[0]
        rows.append(
            [RECIPES[recipe], f"{rate:g}", f"{100 * auc:.1f}", f"{100 * pointing:.1f}"]
        )
    return rows


# --- table 4: heard and unheard ---------------------------------------------------------


def heard_and_unheard(
    results: Results, recipes: Sequence[str], draws: str = "01"
) -> Results:
    """Results with the variants "F heard" and "F unheard", and so on, on the set "halves".

    Of each draw of halves there are two runs, one for each half. Each clip is scored by
    the run that heard its class, and by the one that did not. So both scores are of the
    same clips.
    """
    labels = results.labels("halves")
    runs: dict[str, dict[int, Any]] = {}
    for recipe in recipes:
        for k, draw in enumerate(draws):
            a = np.isin(labels, sorted(classes_of(f"{draw}a")))
            halves = [results.runs.get(f"{recipe}-{draw}{half}", {}) for half in "ab"]
            for seed in sorted(set(halves[0]) & set(halves[1])):
                first, second = (
                    {n: unpack(v) for n, v in h[seed]["per_clip"]["halves"].items()}
                    for h in halves
                )
                for name, at in (("heard", a), ("unheard", ~a)):
                    columns = {n: np.where(at, first[n], second[n]) for n in first}
                    packed = {n: pack(v) for n, v in columns.items()}
                    result = {"per_clip": {"halves": packed}}
                    runs.setdefault(f"{recipe} {name}", {})[10 * seed + k] = result
    return Results(runs, results.clips)


# --- negative audio ---------------------------------------------------------------------


def peaks_with(results: Results, variant: str, seed: int) -> dict[str, np.ndarray]:
    """How high the maps of a run peak with each of SOUNDS: {sound: (N,)}."""
    columns = results.columns(variant, "test", seed)
    return {sound: columns[f"activation {sound}"] for sound in SOUNDS}


def separability(results: Results, variant: str) -> dict[str, list[float]]:
    """How well one threshold on the maximum tells the own sound from each other one.

    The area under the ROC curve of each seed: the probability that a map with its own
    sound peaks higher than any map with the other one; 0.5 is chance.
    """
    found: dict[str, list[float]] = {sound: [] for sound in SOUNDS[1:]}
    for seed in results.seeds([variant]):
        peaks = peaks_with(results, variant, seed)
        for sound, values in found.items():
            gap = peaks["own"][:, None] - peaks[sound]
            values.append(float(((gap > 0) + 0.5 * (gap == 0)).mean()))
    return found


def separability_table(results: Results, variants: Sequence[str]) -> str:
    """`separability` of variants, and how much of the image each sound marks, per cent.

    A map is marked where it is above one threshold for the whole set, the median of the
    own sounds' medians.
    """
    rows = []
    for variant in variants:
        areas = separability(results, variant)
        marked = [
            mean(
                float(results.columns(variant, "test", seed)[f"marked {sound}"].mean())
                for seed in results.seeds([variant])
            )
            for sound in SOUNDS
        ]
        rows.append(
            [
                RECIPES.get(variant, variant),
                *(
                    f"{mean(each):.2f} ({min(each):.2f} to {max(each):.2f})"
                    for each in areas.values()
                ),
                *(f"{100 * area:.0f}" for area in marked),
            ]
        )
    against = [f"own against {sound}" for sound in SOUNDS[1:]]
    return table(["", *against, *(f"marked, {sound}" for sound in SOUNDS)], rows)


# --- curves -----------------------------------------------------------------------------


def curves(
    results: Results, variants: Mapping[str, str], metric: str = "val_AUC"
) -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    """{name: (epochs, values in per cent) of each seed} of variants {name: variant}."""
    found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for name, variant in variants.items():
        found[name] = []
        for seed in results.seeds([variant]):
            history = results.runs[variant][seed]["history"]
            known = [k for k, value in enumerate(history[metric]) if value is not None]
            epochs = np.array([history["epoch"][k] for k in known])
            found[name].append(
                (epochs, 100 * np.array([history[metric][k] for k in known]))
            )
    return found


def falls(
    found: Mapping[str, Sequence[tuple[np.ndarray, np.ndarray]]],
) -> dict[str, list[float]]:
    """By how many points each run falls from its best epoch to its last: {name: seeds}."""
    return {
        name: [float(values.max() - values[-1]) for _, values in seeds]
        for name, seeds in found.items()
    }


# --- examples ---------------------------------------------------------------------------


def examples(
    results: Results,
    variant: str,
    where: str = "unseen",
    seed: int = 0,
    quantiles: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0),
) -> list[int]:
    """Clips at quantiles of a run's cIoU, of those whose maps are kept: failures too."""
    columns = results.columns(variant, where, seed)
    kept = len(columns["maps"])
    order = np.argsort(columns["ciou"][:kept], kind="stable")
    return [int(order[round(q * (kept - 1))]) for q in quantiles]
