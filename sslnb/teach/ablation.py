"""Table 1 beside its noise: published scores, ours, what a step is worth (notebooks 05, 08).

    >>> results = read_results()                          # of the grid, sslnb.experiments
    >>> found = effects(results)                          # {set: {step: {score: Score}}}
    >>> number(found["unseen"]["A→B"]["e_app"], "e_app", "+")
    "−0.65 [−0.83, −0.48]"

Models A to F are variants of the grid, each trained from the same seeds and measured on
the same clips. Intervals are those of `Results.compare`: they resample seeds,
photographs and recordings, and a step compares seed with seed and clip with clip.
Scores of localisation are fractions, told in per cent; e_app and e_geo are errors of
sslnb/consistency.py, lower is better.
"""

from collections.abc import Mapping
from itertools import pairwise

import pandas as pd
import torch
from torch import Tensor

from sslnb.experiments.results import (
    ERRORS,
    LOCALISATION,
    Compared,
    Results,
    unit,
    verdict,
)
from sslnb.localise.intervals import Score
from sslnb.teach.experiments import compare_all, each, guesses, number, resolved, steps
from sslnb.training.recipe import TABLE_1

SPLITS = ("test", "unseen")
KINDS = {  # what a model should be, and what says how far it is
    "localisation": LOCALISATION,
    "invariance": ("e_app",),
    "equivariance": ("e_geo",),  # under T_geo, as training draws it
}
SCORES = (*LOCALISATION, *ERRORS)
PUBLISHED_CLIPS = 5_158  # of VGG-SS, which the paper's scores are of
ADDED = ("", "+ app", "+ geo", "+ mask", "+ mix", "+ $L_{geo}$")  # model by model
# Models of the paper's table 1. The bounds were measured on the same clips, without a model.
PUBLISHED = {
    "A": {"cIoU": 32.92, "AUC": 37.44},
    "B": {"cIoU": 33.64, "AUC": 37.21},
    "C": {"cIoU": 35.80, "AUC": 38.47},
    "D": {"cIoU": 37.48, "AUC": 38.87},
    "E": {"cIoU": 37.66, "AUC": 39.37},
    "F": {"cIoU": 38.63, "AUC": 39.65},
    "centre prior": {"cIoU": 33.95, "AUC": 37.43},
    "oracle": {"cIoU": 50.48, "AUC": 49.47},
}
STEPS = steps("".join(TABLE_1))  # one part more each, and all of them: A→F
NAMES = dict(zip(STEPS, (*ADDED[1:], "all")))  # what each adds
PURPOSES = {  # what a step adds, and what that is made for (section 3.3)
    "A→B": ("T_{app}", "invariance"),
    "B→C": ("T_{geo}", "equivariance"),
    "E→F": ("L_{geo}", "equivariance"),
}


# --- the paper's table ------------------------------------------------------------------


def published() -> pd.DataFrame:
    """The paper's table 1: which parts a model has, and its scores on VGG-SS."""
    return pd.DataFrame(
        {
            name: {
                part: "✓" if part in TABLE_1.get(name, ()) else ""
                for part in TABLE_1["F"]
            }
            | {score: f"{value:.1f}" for score, value in scores.items()}
            for name, scores in PUBLISHED.items()
        }
    ).T


def half_width(percent: float, clips: int) -> float:
    """Half the 95 % interval, in points, of a rate of `percent` over `clips` clips."""
    rate = percent / 100
    return 196 * (rate * (1 - rate) / clips) ** 0.5


def fine_steps(score: str = "cIoU") -> tuple[float, int, float]:
    """Of the paper's column: its rise from A to F, how many steps are smaller than half
    the interval of one rate over its clips, and that half, in points.
    """
    values = [PUBLISHED[name][score] for name in TABLE_1]
    margin = half_width(values[-1], PUBLISHED_CLIPS)
    small = sum(b - a < margin for a, b in pairwise(values))
    return values[-1] - values[0], small, margin


# --- ours -------------------------------------------------------------------------------


def levels(results: Results) -> Compared:
    """Scores of the models A to F, means over seeds: {set: {model: {score: Score}}}."""
    return compare_all(results, SPLITS, each(TABLE_1, {}))


def effects(results: Results) -> Compared:
    """What every step changes, and A→F: {set: {step: {score: Score of the change}}}."""
    return compare_all(results, SPLITS, STEPS)


def outstanding(found: Compared) -> list[list[str]]:
    """Changes whose intervals exclude zero, in words: a row a step, a column a kind."""
    kinds = [resolved(found, scores) for scores in KINDS.values()]
    return [
        [f"**{step}** {added}", *("; ".join(kind[step]) or "–" for kind in kinds)]
        for step, added in NAMES.items()
    ]


def purposes(found: Compared) -> str:
    """Whether parts improve what they are made for: a list in Markdown."""
    lines = []
    for step, (part, kind) in PURPOSES.items():
        (score,) = KINDS[kind]
        changes = {where: steps[step][score] for where, steps in found.items()}
        says = {where: verdict(change, score) for where, change in changes.items()}
        told = ", ".join(
            f"**{word}** on {' and '.join(f'`{w}`' for w in says if says[w] == word)}"
            for word in dict.fromkeys(says.values())
        )
        numbers = "; ".join(f"{number(c, score, '+')}" for c in changes.values())
        lines.append(
            f"- ${part}$ ({step}) is made for {kind}: ${score[0]}_\\text{{{score[2:]}}}$ is "
            f"{told} ({numbers})."
        )
    return "\n".join(lines)


def ours(
    results: Results, own: Mapping[str, Mapping[str, Mapping[str, float]]] | None = None
) -> pd.DataFrame:
    """Our table: a row for each set and model, a column for each score.

    Below the models A to F stand runs of one's own, {model: {set: {score: value}}}, as
    `learning.measured` gives them, and the guesses that need no model.
    """
    free, table = guesses(results, SPLITS), {}
    for where, models in levels(results).items():
        for name, scores in models.items():
            table[where, name] = [number(scores[s], s) for s in SCORES]
        for name, sets in (own or {}).items():
            values = [Score(*3 * [sets[where][s]]) for s in SCORES]
            told = [number(value, s) for s, value in zip(SCORES, values)]
            table[where, f"{name}, yours"] = [text.split()[0] for text in told]
        for name, scores in free[where].items():
            table[where, name] = [
                number(scores[s], s) if s in scores else "–" for s in SCORES
            ]
    columns = [(kind, score) for kind, scores in KINDS.items() for score in scores]
    rows, names = pd.MultiIndex.from_tuples(table), pd.MultiIndex.from_tuples(columns)
    return pd.DataFrame(list(table.values()), rows, names)


def by_seed(results: Results, where: str, score: str) -> Tensor:
    """Scores (6, S) of the models A to F, each trained from S seeds; per cent, or errors."""
    seeds = results.seeds(list(TABLE_1))
    return unit(score) * torch.tensor(
        [
            [results.runs[name][seed]["metrics"][where][score] for seed in seeds]
            for name in TABLE_1
        ],
        dtype=torch.double,
    )


def runs(results: Results) -> pd.DataFrame:
    """A row for each run of A to F and set: model, split, and its scores as in `by_seed`."""
    return pd.DataFrame(
        [
            {"model": name, "split": where}
            | {score: unit(score) * metrics[where][score] for score in SCORES}
            for where in SPLITS
            for name in TABLE_1
            for seed in results.seeds(list(TABLE_1))
            for metrics in [results.runs[name][seed]["metrics"]]
        ]
    )
