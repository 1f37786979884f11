"""Table 1 beside its noise: published scores, ours, and what a step is worth (notebook 05).

    >>> scores = by_seed(rows, "unseen", "cIoU")          # (6, 3): models A to F, seeds
    >>> effects(rows)[0]
    Effect(split="test", score="cIoU", step="A→B", value=-1.0, margin=3.3)

Rows are those of data/table_1.jsonl, which `sslnb bench table_1` makes: one a run. Only
seeds count that all six models were trained from. Scores of localisation are in per
cent, and what changes them in points; e_app and e_geo are errors, lower is better.
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

from sslnb import consistency, localise
from sslnb.data.clips import Clips
from sslnb.model import SoundLocaliser
from sslnb.training.recipe import TABLE_1

SPLITS = ("test", "unseen")
KINDS = {  # what a model should be, and what says how far it is
    "localisation": ("cIoU", "AUC", "peak"),
    "invariance": ("e_app",),
    "equivariance": ("e_geo T_geo",),  # under T_geo, as training draws it
}
SCORES = tuple(score for scores in KINDS.values() for score in scores)
ERRORS = KINDS["invariance"] + KINDS["equivariance"]  # of sslnb/consistency.py
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
WHOLE = "A→F"  # all of them
PURPOSES = {  # what a step adds, and what that is made for (section 3.3)
    "A→B": ("T_{app}", "invariance"),
    "B→C": ("T_{geo}", "equivariance"),
    "E→F": ("L_{geo}", "equivariance"),
}


def short(score: str) -> str:
    """A score's name in tables: e_geo, of T_geo."""
    return score.split()[0]


class Effect(NamedTuple):
    """What a step of table 1 changes, in the score's unit, and half its 95 % interval."""

    split: str
    score: str
    step: str
    value: float
    margin: float

    @property
    def resolved(self) -> bool:
        """Whether the interval leaves zero out."""
        return abs(self.value) > self.margin

    @property
    def better(self) -> bool:
        """Whether the step improves the score: a rise, or the fall of an error."""
        return (self.value < 0) == (self.score in ERRORS)

    def __str__(self):
        digits = 2 if self.score in ERRORS else 1
        change = f"{self.value:+.{digits}f} ± {self.margin:.{digits}f}"
        return f"{short(self.score)} on `{self.split}` {change.replace('-', '−')}"


def seeds_of_all(rows: Sequence[Mapping]) -> list[int]:
    """The seeds that each of the models A to F was trained from; ValueError if none."""
    found = [{row["seed"] for row in rows if row["model"] == name} for name in TABLE_1]
    seeds = sorted(set.intersection(*found))
    if not seeds:
        raise ValueError(
            f"no seed that all of {', '.join(TABLE_1)} were trained from: "
            "run sslnb bench table_1"
        )
    return seeds


def complete(rows: Sequence[Mapping]) -> dict[str, list[Mapping]]:
    """{model: its rows}, A to F, in the order of the seeds that all of them have."""
    found = {(row["model"], row["seed"]): row for row in rows}
    return {name: [found[name, k] for k in seeds_of_all(rows)] for name in TABLE_1}


def unit(score: str) -> int:
    """What a row's score is multiplied by to be told: to per cent, but for errors."""
    return 1 if score in ERRORS else 100


def by_seed(rows: Sequence[Mapping], split: str, score: str) -> Tensor:
    """Scores (6, S) of the models A to F, each trained from S seeds; per cent, or errors."""
    return torch.tensor(
        [
            [unit(score) * row["scores"][split][score] for row in runs]
            for runs in complete(rows).values()
        ],
        dtype=torch.double,
    )


def runs(rows: Sequence[Mapping]) -> pd.DataFrame:
    """A row for each run and split: model, split, and its scores as in `by_seed`."""
    return pd.DataFrame(
        [
            {"model": name, "split": split}
            | {score: unit(score) * row["scores"][split][score] for score in SCORES}
            for split in SPLITS
            for name, group in complete(rows).items()
            for row in group
        ]
    )


def measured(model: SoundLocaliser, clips: Clips) -> dict[str, float]:
    """What a row has of a model on the clips of a split, as in the row.

    Localisation ("mask IoU" is that of the upper half of the map and the object's
    visible pixels), "deviation" of the maps over their cells, e_app, and e_geo of each
    transform.
    """
    responses = localise.respond_to(model, clips)
    found = localise.score(responses, clips)
    if clips.masks is not None:
        found["mask IoU"] = localise.ciou(responses, clips.masks).mean().item()
    found["deviation"] = responses.flatten(1).std(1).mean().item()
    found["e_app"] = consistency.invariance(model, clips).error
    changes = consistency.equivariance(model, clips)
    return found | {f"e_geo {name}": change.error for name, change in changes.items()}


def step_errors(scores: Tensor) -> Tensor:
    """Scores (M, S) of M models to (M − 1, 2): each step, and its standard error.

    A step is a model's mean over S seeds less that of the model before. Seeds are few, so
    the variance between them is pooled over all models, which assumes it to be alike.
    """
    pooled = scores.var(1, correction=1).mean()  # M · (S − 1) degrees of freedom
    steps = scores.mean(1).diff()  # (M - 1,)
    error = (2 * pooled / scores.shape[1]).sqrt()  # of a difference of two means
    return torch.stack([steps, error.expand_as(steps)], 1)


def margins(scores: Tensor) -> list[tuple[float, float]]:
    """Scores (M, S) to each of M − 1 steps and half its 95 % interval (Student's t)."""
    freedom = scores.shape[0] * (scores.shape[1] - 1)
    factor = float(t.ppf(0.975, freedom))
    return [(value, factor * error) for value, error in step_errors(scores).tolist()]


def effects(rows: Sequence[Mapping]) -> list[Effect]:
    """Every step, and A→F, on every split by every score, with its 95 % interval."""
    found = []
    for split in SPLITS:
        for score in SCORES:
            steps = margins(by_seed(rows, split, score))
            every = *steps, (sum(value for value, _ in steps), steps[0][1])
            for step, (value, margin) in zip((*STEPS, WHOLE), every):
                found.append(Effect(split, score, step, value, margin))
    return found


def outstanding(found: Sequence[Effect]) -> list[list[str]]:
    """Effects whose intervals leave zero out, in words: a row a step, a column a kind."""
    table = []
    for step, added in zip((*STEPS, WHOLE), (*ADDED[1:], "all")):
        row = [f"**{step}** {added}"]
        for scores in KINDS.values():
            mine = [e for e in found if e.step == step and e.score in scores]
            words = [
                f"{'better' if e.better else '**worse**'}: {e}"
                for e in mine
                if e.resolved
            ]
            row.append("; ".join(words) or "–")
        table.append(row)
    return table


def purposes(found: Sequence[Effect]) -> str:
    """Whether parts improve what they are made for: a list in Markdown."""
    lines = []
    for step, (part, kind) in PURPOSES.items():
        mine = [e for e in found if e.step == step and e.score in KINDS[kind]]
        better = [f"`{e.split}`" for e in mine if e.resolved and e.better]
        worse = [f"`{e.split}`" for e in mine if e.resolved and not e.better]
        says = [
            f"{word} on {' and '.join(splits)}"
            for word, splits in (("**better**", better), ("**worse**", worse))
            if splits
        ]
        verdict = ", ".join(says) or "**not to be told from noise**"
        changes = "; ".join(map(str, mine))
        lines.append(f"- ${part}$ ({step}) is made for {kind}: {verdict} ({changes}).")
    return "\n".join(lines)


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
    """Our table: the mean over seeds, and each seed in brackets; a part for each split.

    bounds: {split: localise.baselines of its scenes}.
    """
    table: dict[tuple[str, str], dict] = {}
    for kind, scores in KINDS.items():
        for split, score in ((split, score) for split in SPLITS for score in scores):
            digits, column = 2 if score in ERRORS else 1, (kind, short(score))
            for name, seeds in zip(TABLE_1, by_seed(rows, split, score)):
                each = ", ".join(f"{v:.{digits}f}" for v in sorted(seeds.tolist()))
                text = f"{seeds.mean():.{digits}f} ({each})"
                table.setdefault((split, name), {})[column] = text
            for name, free in bounds[split].items():
                text = f"{100 * free[score]:.1f}" if score in free else "–"
                table.setdefault((split, name), {})[column] = text
    order = [(split, name) for split in SPLITS for name in (*TABLE_1, *bounds[split])]
    return pd.DataFrame(table).T.loc[order]


def panels(
    rows: Sequence[Mapping], bounds: Mapping[str, Mapping]
) -> dict[tuple[str, str], tuple[dict, dict]]:
    """Ours as plot.ladder takes it: a panel for each (split, score); bounds as for `ours`."""
    return {
        (split, score): (
            dict(zip(TABLE_1, by_seed(rows, split, score).tolist())),
            {
                name: 100 * free[score]
                for name, free in bounds[split].items()
                if score in free
            },
        )
        for split in SPLITS
        for score in SCORES
    }


def mean_histories(
    rows: Sequence[Mapping], models: str = "ABCDE"
) -> dict[str, list[dict[str, float]]]:
    """{"B + app": metrics of every epoch, means over seeds}, of some models.

    "below" is added: AUC on val, in points, less that of the best epoch.
    """
    means, runs = {}, complete(rows)
    for name, added in zip(models, ADDED):
        history = [
            {key: float(np.mean([m[key] for m in epoch])) for key in epoch[0]}
            for epoch in zip(*(row["history"] for row in runs[name]))
        ]
        best = max(metrics["val_AUC"] for metrics in history)
        for metrics in history:
            metrics["below"] = 100 * (metrics["val_AUC"] - best)
        means[f"{name} {added}".strip()] = history
    return means


def falls(rows: Sequence[Mapping], metric: str = "val_AUC") -> Tensor:
    """By how many points each run falls from its best epoch to its last: (6, S)."""
    values = [
        [[100 * metrics[metric] for metrics in row["history"]] for row in runs]
        for runs in complete(rows).values()
    ]
    scores = torch.tensor(values, dtype=torch.double)  # (6, S, epochs)
    return scores.amax(2) - scores[..., -1]


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


def history_in(folder: Path) -> list[dict]:
    """The metrics of every epoch of the run in a folder, before it was resumed too."""
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def by_clips(rows: Sequence[Mapping], models: str = "AF") -> pd.DataFrame:
    """A row a run of some models: model, clips, seed, and AUC on SPLITS in per cent.

    rows: also of runs on fewer clips, data/efficiency.jsonl. Only seeds count from which
    these models were trained on every number of clips.
    """
    table = pd.DataFrame(
        [
            {key: row[key] for key in ("model", "clips", "seed")}
            | {split: 100 * row["scores"][split]["AUC"] for split in SPLITS}
            for row in sorted(rows, key=lambda row: row["model"])
            if row["model"] in models
        ]
    )
    each = table.groupby("seed").size()
    return table[table["seed"].map(each) == each.max()].reset_index(drop=True)


def by_clips_text(table: pd.DataFrame) -> str:
    """A sentence, in Markdown: what the fewest clips cost each model (see `by_clips`)."""
    means = table.groupby(["model", "clips"]).mean(numeric_only=True)
    few, many = table["clips"].min(), table["clips"].max()
    parts = [
        f"{name} from {means.loc[(name, many), split]:.1f} to "
        f"{means.loc[(name, few), split]:.1f} on `{split}`"
        for name in dict.fromkeys(table["model"])
        for split in SPLITS
    ]
    return (
        f"**Answer.** With {few:,} clips in place of {many:,}, AUC goes with model "
        f"{'; '.join(parts)} (means of {table['seed'].nunique()} seeds)."
    )
