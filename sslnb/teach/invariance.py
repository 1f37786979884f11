"""Maps and tables of notebook 03, as its cells use them.

>>> inside = object_cells(coverage)               # (B, 12, 12) of bool
>>> maps = uneven_maps(coverage, seed=0)          # (B, B, 12, 12), to start from
>>> covered({"start": (maps, loss)}, coverage)    # how much of the objects they cover
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from sslnb import consistency
from sslnb.data.clips import Clips
from sslnb.experiments.results import Results
from sslnb.localise.intervals import mean_scores
from sslnb.losses import contrastive_loss
from sslnb.model import PRESETS, SoundLocaliser
from sslnb.teach.ablation import by_seed
from sslnb.training.recipe import TABLE_1, TrainConfig


def object_cells(coverage: Tensor) -> Tensor:
    """Cells (B, h, w) of bool that an object covers by half, or else the most.

    coverage (B, h, w): the fraction of each cell that shows the object.
    """
    return coverage >= coverage.amax((1, 2), keepdim=True).clamp(max=0.5)


def uneven_maps(coverage: Tensor, seed: int) -> Tensor:
    """Maps (B, B, h, w) that find each object, the more the higher up a cell lies.

    Under its own sound an image has 0.8 at the upper end of its object (B, h, w) and
    0.5 at the lower end; the background, and all unpaired maps, have 0.3.
    """
    count, height, width = coverage.shape
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, count, height, width, generator=generator)
    maps = 0.3 + 0.03 * noise
    row = torch.arange(float(height))[:, None]  # (h, 1)
    for i, inside in enumerate(object_cells(coverage)):
        rows = inside.any(1).nonzero()
        top, bottom = rows.min(), rows.max()
        part = ((bottom - row) / (bottom - top).clamp(min=1)).clamp(0, 1)
        maps[i, i] += coverage[i] * (0.2 + 0.3 * part)
    return maps.clamp(0.02, 0.98)


def perfect_maps(coverage: Tensor) -> Tensor:
    """Maps (B, B, h, w) that are 1 on the objects (B, h, w) of paired clips, else 0."""
    inside = object_cells(coverage)
    maps = torch.zeros(len(inside), *inside.shape)
    maps[range(len(inside)), range(len(inside))] = inside.float()
    return maps


def losses_of(networks: Mapping[str, Tensor], **constants: Any) -> pd.DataFrame:
    """Both forms of the loss of each network's maps, {name: (B, B, h, w)}."""
    return pd.DataFrame(
        {
            form: {
                name: contrastive_loss(maps, form, **constants).item()
                for name, maps in networks.items()
            }
            for form in ("paper", "release")
        }
    )


def covered(
    results: Mapping[str, tuple[Tensor, float]], coverage: Tensor, level: float = 0.6
) -> pd.DataFrame:
    """Loss of maps, and the fractions of the objects and the background above `level`.

    results {name: (maps (B, B, h, w), their loss)}; coverage (B, h, w).
    """
    inside, rows = object_cells(coverage), {}
    for name, (maps, loss) in results.items():
        above = maps.diagonal().permute(2, 0, 1) > level  # (B, h, w)
        rows[name] = {
            "loss": loss,
            f"object above {level}": above[inside].float().mean().item(),
            f"background above {level}": above[~inside].float().mean().item(),
        }
    return pd.DataFrame(rows).T


def by_precision(
    ways: Mapping[str, Callable[[Tensor, Tensor], Tensor]],
    levels: Sequence[float],
    epsilon_negative: float,
    tau: float,
) -> pd.DataFrame:
    """The background's mean of maps that are `level` everywhere, in three precisions.

    ways {name: function of S and z = (S − epsilon_negative)/tau, both (12, 12)}.
    """
    kinds = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    table: dict[tuple[str, str], list[str]] = {}
    for kind, dtype in kinds.items():
        for name, way in ways.items():
            maps = [torch.full((12, 12), level, dtype=dtype) for level in levels]
            means = [way(S, (S - epsilon_negative) / tau) for S in maps]
            table[kind, name] = [f"{mean.item():.2f}" for mean in means]
    return pd.DataFrame(table, index=pd.Index(levels, name="S everywhere"))


def settings(laptop: Tensor, release: Tensor) -> pd.DataFrame:
    """What the paper, its released code and the laptop preset set for the loss.

    laptop, release: cosines of the untrained networks, of any shape.
    """
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(contrastive_loss).parameters.items()
    }
    ours, model = TrainConfig(), PRESETS["laptop"]
    starts = [f"{S.min():.2f} to {S.max():.2f}" for S in (release, laptop)]
    above = [f"{S.gt(ours.epsilon).float().mean():.0%}" for S in (release, laptop)]
    rows = {
        "clips in a batch": (32, 32, ours.batch),
        "ε": ("not given", defaults["epsilon"], ours.epsilon),
        "ε negative": (
            "does not exist",
            defaults["epsilon_negative"],
            ours.epsilon_negative,
        ),
        "τ": ("not given", defaults["tau"], ours.tau),
        "temperature": ("does not exist", defaults["temperature"], ours.temperature),
        "image, pixels a side": (224, 224, model.image_size),
        "smoothing σ, cells": ("none", "none", model.smooth),
        "cosines before training": ("not given", *starts),
        "of these above ε": ("not given", *above),
    }
    columns = ["paper", "released code", "laptop preset"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).astype(str)


def train_briefly(
    images: Tensor,
    sounds: Tensor,
    form: str,
    steps: int = 40,
    seed: int = 0,
    **constants: Any,
) -> tuple[Tensor, Tensor]:
    """Train the laptop preset on one batch, in two halves that take turns.

    images (B, 3, H, W) and spectrograms (B, 1, F, T). Returns the mean cosine of paired
    and of unpaired maps at each step, (steps, 2), and the highest cell of every pair of
    an image and a sound at the end, (B, B).
    """
    torch.manual_seed(seed)
    model = SoundLocaliser.from_preset("laptop")
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # faster
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    halves = torch.arange(len(images)).chunk(2)
    history = []
    for step in range(steps):
        half = halves[step % 2]
        similarity = model(images[half], sounds[half])  # (B / 2, B / 2, h, w)
        loss = contrastive_loss(similarity, form, **constants)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        paired = torch.eye(len(half), dtype=torch.bool)
        means = similarity[paired].mean().item(), similarity[~paired].mean().item()
        history.append(means)
    with torch.no_grad():
        highest = [model(images[half], sounds).amax((2, 3)) for half in halves]
    return torch.tensor(history), torch.cat(highest)


def untrained(images: Tensor, sounds: Tensor, seed: int) -> SoundLocaliser:
    """The untrained laptop preset, in eval mode, with a batch's statistics.

    images (B, 3, H, W) and spectrograms (B, 1, F, T) pass once, for batch norm: as a
    network is made, these layers do nothing in eval mode, unlike a trained one's.
    """
    torch.manual_seed(seed)
    model = SoundLocaliser.from_preset("laptop")
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean over all batches seen: this one
    with torch.no_grad():
        model(images, sounds)
    return model.eval()


def under_appearance(
    models: Mapping[str, SoundLocaliser], splits: Mapping[str, Clips], seed: int
) -> pd.DataFrame:
    """How maps change under T_app: a row for each split of clips and each network.

    "RMS change" of a cell and "std of maps" over their cells are cosines; "e_app" is
    the square of their quotient, and "low" to "high" its 95 % interval, for which the
    photographs and the recordings of the clips are resampled.
    """
    rows = {}
    for split, clips in splits.items():
        for name, model in models.items():
            change = consistency.invariance(model, clips, seed)
            error = mean_scores(
                {"e_app": change.squares},
                seed=seed,
                groups=clips.groups,
                over=change.variance,
            )["e_app"]
            rows[split, name] = {
                "RMS change": change.squares.mean().sqrt().item(),
                "std of maps": change.variance.mean().sqrt().item(),
                "e_app": error.value,
                "low": error.low,
                "high": error.high,
            }
    return pd.DataFrame(rows).T


def by_model(results: Results, split: str) -> dict[str, list[float]]:
    """{model of table 1: its e_app on a split, one a seed}, A to F, of the grid's results."""
    return dict(zip(TABLE_1, by_seed(results, split, "e_app").tolist()))


def first_step(
    results: Results, models: Mapping[str, Mapping[str, Sequence[float]]]
) -> str:
    """What T_app changes, A to B of table 1, in words; models: {split: `by_model`}.

    The errors are those of `Results.compare`, of all seeds at once: their squares over
    their variances, as notebooks 05 and 08 have them.
    """
    said = []
    for split, runs in models.items():
        names = {name: {name: 1} for name in "AB"}
        found = results.compare(split, names, ("e_app",))
        without, with_it = (found[name]["e_app"].value for name in names)
        how = "every" if max(runs["B"]) < min(runs["A"]) else "not every"
        said.append(
            f"On `{split}`, $T_\\text{{app}}$ (A to B) takes $e_\\text{{app}}$ from "
            f"**{without:.2f}** to **{with_it:.2f}**, and {how} run of B is below all "
            "runs of A."
        )
    count = len(runs["A"])
    said.append(
        f"(Squares and variances of {count} seed{'s' * (count > 1)} together, as in "
        "notebooks 05 and 08; a line through the dots, their plain mean, may differ a "
        "little.)"
    )
    return " ".join(said)
