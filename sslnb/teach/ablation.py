"""Table 1 beside its noise: published scores, ours, and what a step is worth (notebook 05).

    >>> scores = by_seed(rows, "unseen", "cIoU")          # (6, 2): models A to F, seeds
    >>> effects(rows)[0]
    Effect(split="test", score="cIoU", step="A→B", value=-1.0, margin=3.3)

Rows are those of data/table_1.jsonl, which `sslnb bench table_1` makes: one a run.
Everything here is in per cent or in points of it.
"""

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy.stats import t
from torch import Tensor

from sslnb.training.recipe import TABLE_1

SPLITS, SCORES = ("test", "unseen"), ("cIoU", "AUC", "pointing", "peak")
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
STEPS = tuple(f"{a}→{b}" for a, b in zip("ABCDE", "BCDEF"))  # one part more each


class Effect(NamedTuple):
    """What a step of table 1 changes, in points, and half its 95 % interval."""

    split: str
    score: str
    step: str
    value: float
    margin: float

    @property
    def resolved(self) -> bool:
        """Whether the interval leaves zero out."""
        return abs(self.value) > self.margin


def by_seed(rows: Sequence[Mapping], split: str, score: str) -> Tensor:
    """Scores (6, S) in per cent of the models A to F, each trained from S seeds."""
    return torch.tensor(
        [
            [100 * row["scores"][split][score] for row in rows if row["model"] == name]
            for name in TABLE_1
        ],
        dtype=torch.double,
    )


def step_errors(scores: Tensor) -> Tensor:
    """Scores (M, S) of M models to (M − 1, 2): each step, and its standard error.

    A step is a model's mean over S seeds less that of the model before. Seeds are few, so
    the variance between them is pooled over all models, which assumes it to be alike.
    """
    pooled = scores.var(1, correction=1).mean()  # M · (S − 1) degrees of freedom
    steps = scores.mean(1).diff()  # (M - 1,)
    error = (2 * pooled / scores.shape[1]).sqrt()  # of a difference of two means
    return torch.stack([steps, error.expand_as(steps)], 1)


def effects(rows: Sequence[Mapping]) -> list[Effect]:
    """Every step on every split by every score, with its 95 % interval (Student's t)."""
    found = []
    for split in SPLITS:
        for score in SCORES:
            scores = by_seed(rows, split, score)
            freedom = scores.shape[0] * (scores.shape[1] - 1)
            factor = float(t.ppf(0.975, freedom))
            for step, (value, error) in zip(STEPS, step_errors(scores).tolist()):
                found.append(Effect(split, score, step, value, factor * error))
    return found


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


def ours(rows: Sequence[Mapping], bounds: Mapping[str, Mapping]) -> pd.DataFrame:
    """Our table: the mean over seeds, and each seed in brackets.

    bounds: {split: localise.baselines of its scenes}.
    """
    table: dict[str, dict] = {}
    for split in SPLITS:
        for score in ("cIoU", "AUC", "peak"):
            for name, seeds in zip(TABLE_1, by_seed(rows, split, score)):
                each = ", ".join(f"{value:.1f}" for value in sorted(seeds.tolist()))
                text = f"{seeds.mean():.1f} ({each})"
                table.setdefault(name, {})[split, score] = text
            for name, scores in bounds[split].items():
                text = f"{100 * scores[score]:.1f}" if score in scores else "–"
                table.setdefault(name, {})[split, score] = text
    return pd.DataFrame(table).T


def panels(
    rows: Sequence[Mapping], bounds: Mapping[str, Mapping]
) -> dict[tuple[str, str], tuple[dict, dict]]:
    """The paper's scores and ours, as plot.ladder takes them; bounds as for `ours`."""
    found: dict[tuple[str, str], tuple[dict, dict]] = {}
    for score in ("cIoU", "AUC"):
        values = {name: scores[score] for name, scores in PUBLISHED.items()}
        found[score, "paper: VGG-SS"] = (
            {name: [values[name]] for name in TABLE_1},
            {name: values[name] for name in values if name not in TABLE_1},
        )
        for split in SPLITS:
            seeds = by_seed(rows, split, score).tolist()
            found[score, f"ours: {split}"] = (
                dict(zip(TABLE_1, seeds)),
                {name: 100 * scores[score] for name, scores in bounds[split].items()},
            )
    return found


def mean_histories(
    rows: Sequence[Mapping], models: str = "ABCDE"
) -> dict[str, list[dict[str, float]]]:
    """{"B + app": metrics of every epoch, means over seeds}, of some models.

    "below" is added: AUC on val, in points, less that of the best epoch.
    """
    means = {}
    for name, added in zip(models, ADDED):
        runs = [row["history"] for row in rows if row["model"] == name]
        history = [
            {key: float(np.mean([m[key] for m in epoch])) for key in epoch[0]}
            for epoch in zip(*runs)
        ]
        best = max(metrics["val_AUC"] for metrics in history)
        for metrics in history:
            metrics["below"] = 100 * (metrics["val_AUC"] - best)
        means[f"{name} {added}".strip()] = history
    return means


def falls(rows: Sequence[Mapping], metric: str = "val_AUC") -> dict[str, list[float]]:
    """{model: by how many points each run falls from its best epoch to its last}."""
    found: dict[str, list[float]] = {}
    for row in rows:
        values = [100 * metrics[metric] for metrics in row["history"]]
        found.setdefault(row["model"], []).append(max(values) - values[-1])
    return found


def runs_in(folder: str | Path) -> dict[str, Path]:
    """{model: its folder} of runs that lie in `folder` under the names A to F.

    ValueError where a run is of another model than its folder's name says.
    """
    found = {path.parent.name: path for path in Path(folder).glob("[A-F]/model.json")}
    for name, path in found.items():
        model = json.loads(path.read_text(encoding="utf-8"))["training"]["model"]
        if model != name:
            raise ValueError(f"{path.parent} is of model {model}, not of {name}")
    return {name: found[name].parent for name in sorted(found)}
