"""What the grid says of the paper's claims, as text (notebook 08).

>>> print(claims(read_results()))               # a table: claim, measure, verdict
"""

from collections.abc import Mapping, Sequence
from statistics import mean

from sslnb.experiments.results import Compared, Contrast, Results, verdict
from sslnb.localise.intervals import Score
from sslnb.teach.experiments import PARTS, RECIPES, number
from sslnb.teach.outcomes import curves, falls, heard_and_unheard
from sslnb.teach.plot.base import table
from sslnb.teach.published import OPEN_SET, PUBLISHED, VGG_SS, pair

BOTH = ("test", "unseen")
# claim, where in the paper; contrast; score; sets
CLAIMS: tuple[tuple[str, Contrast, str, Sequence[str]], ...] = (
    ("T_app makes maps invariant (3.3.1)", {"B": 1, "A": -1}, "e_app", BOTH),
    ("T_geo makes them equivariant (3.2.2)", {"C": 1, "B": -1}, "e_geo", BOTH),
    ("L_geo makes them equivariant (3.3.2)", {"F": 1, "E": -1}, "e_geo", BOTH),
    ("masked sounds help (table 1)", {"D": 1, "C": -1}, "AUC", BOTH),
    ("mixed sounds help a little (table 1)", {"E": 1, "D": -1}, "AUC", BOTH),
    ("all parts localise better (table 1)", {"F": 1, "A": -1}, "AUC", BOTH),
    ("ours is ahead of LVS (table 3)", {"F": 1, "lvs": -1}, "AUC", BOTH),
    ("and of Attention (table 3)", {"F": 1, "attention": -1}, "AUC", BOTH),
    (
        "ours on a fourteenth is ahead of LVS on all (4.2.4)",
        {"F-36": 1, "lvs": -1},
        "AUC",
        BOTH,
    ),
    (
        "sounds find sounds better than LVS's (table 5)",
        {"F": 1, "lvs": -1},
        "audio P@5",
        ("unseen",),
    ),
    (
        "and as well as a classifier's (table 5)",
        {"F": 1, "classifier": -1},
        "audio P@5",
        ("unseen",),
    ),
    (
        "sounds find images better than LVS's (table 6)",
        {"F": 1, "lvs": -1},
        "image P@5",
        ("unseen",),
    ),
)


def claims(results: Results) -> str:
    """The paper's claims with what was measured and a verdict, as a table."""
    rows = []
    for claim, contrast, score, sets in CLAIMS:
        found = {
            where: results.compare(where, {"": contrast}, (score,))[""][score]
            for where in sets
        }
        row = _row(claim, _text(contrast), score, found)
        row[-1] += _of_few(len(results.seeds(list(contrast))), "seeds")
        rows.append(row)
    rows += _open_set(results) + [_mixing(results)]
    return table(["claim", "measured", "change, with its 95 % interval", "here"], rows)


def _of_few(count: int, what: str) -> str:
    """What a verdict is to say where it rests on so few of these: how many."""
    return f" ({count} {what} only)" if count < 3 else ""


def _text(contrast: Contrast) -> str:
    """A contrast in words: F − LVS."""
    return " − ".join(name.replace("lvs", "LVS") for name in contrast)


def _row(claim: str, what: str, score: str, found: Mapping[str, Score]) -> list[str]:
    said = {where: verdict(value, score) for where, value in found.items()}
    changes = "; ".join(
        f"{number(value, score, '+')} on `{where}`" for where, value in found.items()
    )
    return [claim, f"{what}, {score}", changes, judged(said)]


def judged(said: Mapping[str, str]) -> str:
    """One word for a claim that something is better, from {set: better, worse, …}.

    >>> judged({"test": "better", "unseen": "not resolved"})
    '**holds** on `test`'
    """
    parts = []
    for word, name in (("better", "**holds**"), ("worse", "**fails**")):
        sets = [where for where, each in said.items() if each == word]
        if sets:
            everywhere = len(sets) == len(said)
            parts.append(
                name
                + ("" if everywhere else f" on {', '.join(f'`{s}`' for s in sets)}")
            )
    return ", ".join(parts) or "not resolved"


def _open_set(results):
    halves = heard_and_unheard(results, ("lvs", "F"))
    contrasts = {
        "ours loses on unheard classes (table 4)": {"F unheard": 1, "F heard": -1},
        "LVS loses on them (table 4)": {"lvs unheard": 1, "lvs heard": -1},
        "ours stays ahead of LVS there (table 4)": {"F unheard": 1, "lvs unheard": -1},
    }
    found = halves.compare("halves", contrasts, ("AUC",))
    rows = []
    for claim, contrast in contrasts.items():
        row = _row(claim, _text(contrast), "AUC", {"halves": found[claim]["AUC"]})
        if "loses" in claim:  # here the claim is a loss
            row[-1] = {"**fails**": "**holds**", "**holds**": "**fails**"}.get(
                row[-1], row[-1]
            )
        row[-1] += _of_few(len(halves.seeds(list(contrast))), "draws of halves")
        rows.append(row)
    return rows


def _mixing(results):
    """Figure 6 has few seeds: it holds where every run with T_mix falls less."""
    found = falls(curves(results, {"D": "D-long", "E": "E-long"}))
    apart = min(found["D"]) > max(found["E"]), min(found["E"]) > max(found["D"])
    words = {(True, False): "**holds** in every seed", (False, True): "**fails**"}
    text = "; ".join(
        f"{name} {mean(values):.1f} ({', '.join(f'{v:.1f}' for v in values)})"
        for name, values in found.items()
    )
    return [
        "mixing prevents overfitting (figure 6)",
        "points of AUC on val from the best epoch to the last",
        text,
        words.get(apart, "not resolved"),
    ]


def printed() -> dict[str, str]:
    """What the paper prints of recipes on VGG-SS: {name: "cIoU / AUC"}."""
    papers = {p.name: pair(p.vggss) for p in PUBLISHED if p.vggss}
    known = {
        "attention": "Attention",
        "lvs": "LVS",
        "A": "the paper, A",
        "F": "the paper, F",
    }
    guesses = {name: pair(VGG_SS[name]) for name in ("centre prior", "oracle")}
    return {RECIPES[name]: papers[paper] for name, paper in known.items()} | guesses


def open_set_printed() -> str:
    """Table 4 of the paper in a sentence."""
    parts = [
        f"{name.replace('the paper', 'its own')} from {heard[0]} to {unheard[0]}"
        for name, (heard, unheard) in OPEN_SET.items()
    ]
    return f"The paper's table 4 has cIoU of {' and of '.join(parts)}."


def steps_text(steps: Compared, names: Sequence[str]) -> str:
    """How many steps of table 1 are resolved, and how many would be by chance."""
    said = {
        part: [
            verdict(contrasts[step][name], name)
            for contrasts in steps.values()
            for name in names
        ]
        for step, part in PARTS.items()
    }
    sure = [part for part, each in said.items() if {"better", "worse"} & set(each)]
    total = sum(map(len, said.values()))
    found = sum(word != "not resolved" for each in said.values() for word in each)
    return (
        f"**{len(sure)} of {len(said)} steps are resolved by one measure or another: "
        f"{', '.join(sure)}.** Of the {total} intervals of single steps {found} exclude "
        f"zero; if no part did anything, about {0.05 * total:.0f} would."
    )


def lead_text(lead: Compared) -> str:
    """Of which rivals ours is ahead in cIoU or AUC *and* in pointing, set by set."""
    lines = []
    for rival in next(iter(lead.values())):
        words = []
        for where, found in lead.items():
            scores = found[rival]
            area = any(scores[name].low > 0 for name in ("cIoU", "AUC"))
            ahead = area and scores["pointing"].low > 0
            words.append(f"{'**yes**' if ahead else 'not resolved'} on `{where}`")
        lines.append(f"- ahead of {rival.removeprefix('ours − ')}: {', '.join(words)}")
    return (
        "Is ours ahead in cIoU or AUC, *and* in the pointing game, with intervals that "
        "exclude zero?\n\n" + "\n".join(lines)
    )
