"""Transforms, measures and tables of notebook 04, as its cells use them.

>>> theta = transform(8, degrees=30)              # one rotation for eight images
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch
from scipy.special import stdtrit
from torch import Tensor

from sslnb import augment, consistency, localise
from sslnb.data.clips import Clips
from sslnb.data.media import normalise, spectrogram
from sslnb.experiments.results import Results
from sslnb.files import DATA
from sslnb.losses import equivariance_loss
from sslnb.model import SoundLocaliser

DIGITS = {"L_geo": 4, "standard deviation": 3, "T_geo": 2, "AUC": 3}
USUAL = "as usual"  # the variant of benchmarks/equivariance.py that changes nothing
GAINS = {  # name -> (column, factor, digits), as they are told
    "e(T_geo)": ("e_geo", 1, 2),
    "e_app": ("e_app", 1, 2),
    "the maps' deviation": ("deviation", 1, 3),
    "AUC": ("AUC", 100, 1),
}
TRIED = DATA / "equivariance.jsonl"  # runs of benchmarks/equivariance.py, a line each
TOLD = ("cIoU", "AUC", "pointing", "peak", "e_app", "e_geo", "deviation")  # of a run
PAPER = {  # cIoU and AUC in the paper's table 1, as printed
    "λ = 0": ("0.3766 (E)", "0.3937 (E)"),
    "λ = 2": ("0.3863 (F)", "0.3965 (F)"),
}


def transform(count: int, **given: float) -> Tensor:
    """`augment.fixed_affine(**given)` for all of `count` images: theta (count, 2, 3)."""
    return augment.fixed_affine(**given).expand(count, 2, 3)


def localiser(
    model: SoundLocaliser, spectrograms: Tensor
) -> Callable[[Tensor], Tensor]:
    """Φ of eq. 9 with its sounds fixed: from images (B, 3, S, S), normalised, to maps.

    spectrograms (B, 1, F, T), one for each image. Without gradients.
    """
    with torch.no_grad():
        a = model.embed_audio(spectrograms)  # (B, C)

    @torch.no_grad()
    def phi(images: Tensor) -> Tensor:
        return torch.einsum("bchw,bc->bhw", model.embed_image(images), a)

    return phi


def measured(
    model: SoundLocaliser, clips: Clips, theta: Tensor, seed: int = 0
) -> dict[str, float]:
    """e(T) for each fixed transform and T_geo, and the other measures of DIGITS.

    theta (N, 2, 3): of clip by clip, for L_geo.
    """
    phi = localiser(model, spectrogram(clips.waves, model.config.audio))
    images = normalise(clips.images)
    map_1, map_2 = phi(images), phi(augment.warp(images, theta))
    changes = consistency.equivariance(model, clips, seed=seed)
    return {name: change.error for name, change in changes.items()} | {
        "L_geo": equivariance_loss(map_1, map_2, theta).item(),
        "standard deviation": map_1.std((1, 2)).mean().item(),
        "AUC": localise.score(map_1, clips)["AUC"],
    }


def comparison(results: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Our measures, means over seeds, beside the paper's E and F.

    results {"untrained" | "λ = 2" | …: a row a seed}, with the measures of DIGITS among
    their columns.
    """
    rows = {name: runs.mean() for name, runs in results.items()}
    table = pd.DataFrame(rows, list(DIGITS)).T
    for name, digits in DIGITS.items():
        table[name] = table[name].map(f"{{:.{digits}f}}".format)
    paper = [PAPER.get(name, ("", "")) for name in rows]
    table["paper: cIoU"], table["paper: AUC"] = zip(*paper)
    return table.rename(columns={"T_geo": "e(T_geo)"})


def three_models(rows: pd.DataFrame) -> pd.DataFrame:
    """Some measures of models, a row each as `measured` gives them, to put side by side."""
    columns = {
        "L_geo": ("L_geo", 4),
        "rotation 30°": ("e(30°)", 2),
        "rotation 60°": ("e(60°)", 2),
        "flip": ("e(flip)", 2),
        "standard deviation": ("standard deviation", 3),
        "AUC": ("AUC", 3),
    }
    return pd.DataFrame(
        {
            title: rows[name].map(f"{{:.{digits}f}}".format)
            for name, (title, digits) in columns.items()
        }
    )


def apart(
    one: pd.DataFrame, two: pd.DataFrame, names: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Which measures are lower in every seed of `two` than in every one of `one`, and
    which are higher in every seed; a row a seed each."""
    lower = [name for name in names if two[name].max() < one[name].min()]
    higher = [name for name in names if two[name].min() > one[name].max()]
    return lower, higher


def verdict(
    without: pd.DataFrame, with_loss: pd.DataFrame, names: Sequence[str]
) -> str:
    """Sentences, in Markdown: does the loss change e(T) more than another seed does?

    A row a seed each, and a column for each measure of DIGITS and each transform of
    `names`; the rows of the two belong together.
    """
    seeds, base = len(without), without["T_geo"]
    lower, higher = apart(without, with_loss, names)
    chance = 2 / math.comb(2 * seeds, seeds)  # all of one group below the other
    expected = chance * len(names)
    effect = (
        "no effect of the loss on e(T) beyond that of the seeds"
        if len(lower) + len(higher) <= expected
        else "an effect of the loss on e(T) for these transforms"
    )

    def change(name: str) -> str:
        low, high = (with_loss[name] - without[name]).agg(["min", "max"])
        return f"**{low:+z.2f} to {high:+z.2f}**"

    return (
        f"With the same seed, the loss changes e(T_geo) by {change('T_geo')}, the "
        f"standard deviation by {change('standard deviation')} and AUC by "
        f"{change('AUC')}. Without it, seeds differ by up to "
        f"**{base.max() - base.min():.2f}** in e(T_geo). Transforms for which every "
        f"seed with the loss is below every seed without it: "
        f"**{', '.join(lower) or 'none'}**; above: **{', '.join(higher) or 'none'}** "
        f"(of {len(names)}; chance alone would give about {expected:.0f}). **So this "
        f"trial shows {effect}.**"
    )


# --- a fair trial of the loss: data/equivariance.jsonl and the grid's runs ------------


def trial(
    results: Results, path: Path = TRIED, splits: Sequence[str] = ("test", "unseen")
) -> pd.DataFrame:
    """A row for each run and split: variant, weight (λ_geo), seed, split, and its scores.

    The usual model with λ_geo = 0 is model E of the grid's results, that with 2 is model
    F; the other runs are those of `sslnb bench equivariance`, lines of the file `path`. All
    are measured on the same clips, but e_app over two draws of T_app in the grid, and over
    four in the file. Scores are fractions, or errors.
    """
    table = []

    def add(variant, weight, seed, scores):
        for split in splits:
            row = {"variant": variant, "weight": weight, "seed": seed, "split": split}
            table.append(row | {name: scores[split][name] for name in TOLD})

    for model in "EF":
        for seed in results.seeds([model]):
            run = results.runs[model][seed]
            weight = run["config"]["geo_weight"] if model == "F" else 0.0
            scores = {
                split: run["metrics"][split]
                | {"deviation": _deviation(results, model, split, seed)}
                for split in splits
            }
            add(USUAL, weight, seed, scores)
    for run in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
        scores = run["scores"]
        for each in scores.values():
            each["e_geo"] = each["e_geo T_geo"]  # beside those of fixed transforms
        add(run["variant"], run["config"]["geo_weight"], run["seed"], scores)
    return pd.DataFrame(table)


def _deviation(results: Results, model: str, split: str, seed: int) -> float:
    """Mean over clips of the standard deviation of a map's cells, with n − 1 below."""
    columns = results.columns(model, split, seed)
    cells = math.prod(columns["maps"].shape[1:])
    return float(((columns["variance"] * cells / (cells - 1)) ** 0.5).mean())


def gain(
    trial: pd.DataFrame, weights: tuple[float, float], split: str, measure: str
) -> tuple[float, float]:
    """What a measure gains from one λ_geo to another, and half the 95 % interval.

    The mean over seeds at the second weight less that at the first, of one variant. The
    variance between seeds is pooled over all weights of the trial (Student's t).
    """
    runs = trial[trial["split"] == split].groupby("weight")[measure]
    freedom = int((runs.count() - 1).sum())
    pooled = float((runs.var() * (runs.count() - 1)).sum()) / freedom
    error = (pooled * sum(1 / runs.count()[weight] for weight in weights)) ** 0.5
    value = runs.mean()[weights[1]] - runs.mean()[weights[0]]
    return float(value), float(stdtrit(freedom, 0.975)) * error


def by_weight_text(trial: pd.DataFrame, weight: float = 20) -> str:
    """Sentences, in Markdown: what λ_geo changes, and which λ_geo is best at what."""

    def by(name, split, weight):
        measure, factor, digits = GAINS[name]
        value, margin = gain(trial, (0.0, weight), split, measure)
        sure = "**" if abs(value) > margin else ""
        numbers = (
            f"{factor * value:+.{digits}f}".replace("-", "−"),
            f"{factor * margin:.{digits}f}",
        )
        return f"{name} by {sure}{' ± '.join(numbers)}{sure}"

    parts = [
        f"on `{split}` {', '.join(by(name, split, weight) for name in GAINS)}"
        for split in ("test", "unseen")
    ]
    heaviest = trial["weight"].max()
    means = trial.groupby(["split", "weight"]).mean(numeric_only=True)
    best = "; ".join(
        f"on `{split}` e(T_geo) is lowest at λ = {means.loc[split]['e_geo'].idxmin():g} "
        f"and AUC highest at λ = {means.loc[split]['AUC'].idxmax():g}"
        for split in ("test", "unseen")
    )
    return (
        f"Going from λ = 0 to λ = {weight:g} changes {'; '.join(parts)} (AUC in "
        "points; 95 % intervals over seeds; bold where they exclude zero). λ = "
        f"{heaviest:g} changes {by('AUC', 'test', heaviest)} on `test`. Of the means "
        f"over seeds, {best}."
    )


def by_variant_text(trial: pd.DataFrame, weights: tuple[float, float] = (0, 20)) -> str:
    """A sentence, in Markdown: in how many variants the loss lowers e and raises AUC."""
    means = trial.groupby(["split", "variant", "weight"]).mean(numeric_only=True)
    count, texts = trial["variant"].nunique(), []
    for split in ("test", "unseen"):
        start, end = (means.loc[split].xs(weight, level=1) for weight in weights)
        lower = (end["e_geo"] < start["e_geo"]).sum()
        higher = (end["AUC"] > start["AUC"]).sum()
        texts.append(
            f"on `{split}` e(T_geo) is lower in {lower or 'none'}, AUC higher in "
            f"{higher or 'none'}"
        )
    without = means.loc["test"].xs(weights[0], level=1)["e_geo"]
    return (
        f"λ = {weights[1]:g} against {weights[0]:g}, in {count} variants: "
        f"{'; '.join(texts)}. Without the loss, e(T_geo) on `test` is lowest with "
        f"*{without.idxmin()}* ({without.min():.2f}) and highest with "
        f"*{without.idxmax()}* ({without.max():.2f})."
    )
