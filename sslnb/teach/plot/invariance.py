"""Figures of notebook 03: maps of images by sounds, pseudo-masks, forces."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch
from torch import Tensor

from sslnb.data.media import AudioConfig
from sslnb.losses import weighted_mean
from sslnb.teach.plot.base import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    PINK,
    RED,
    SKY,
    grid,
    show_heatmap,
    show_image,
    show_spectrogram,
)

PARTS = ("$T_{app}$", "$T_{geo}$", "$T_{mask}$", "$T_{mix}$", "$L_{geo}$")  # of B to F


def pseudo_mask(
    image: Tensor,
    response: Tensor,
    epsilon: float,
    tau: float,
    figure: Figure | None = None,
) -> Figure:
    """A response map, its pseudo-mask (eq. 5), and its cells as P weights them (eq. 6).

    image (3, S, S), response (h, w). A given figure is updated to show them.
    """
    z = (response - epsilon) / tau
    mask, cells = z.sigmoid().numpy(), response.flatten()
    weights = F.logsigmoid(z).flatten().softmax(0) * cells.numel()
    counts = [np.histogram(cells, 40, (0, 1), weights=w)[0] for w in (None, weights)]
    if figure is None:
        figure, axes = plt.subplots(1, 3, figsize=(9, 2.9), width_ratios=(1, 1, 1.5))
        show_heatmap(axes[0], image, response, "response map S")
        show_heatmap(axes[1], image, mask, "pseudo-mask m")
        for count, color in zip(counts, ("0.8", GREEN)):
            axes[2].stairs(count, np.linspace(0, 1, 41), fill=True, color=color)
        axes[2].axvline(epsilon, color=BLACK, ls="--", label="ε")
        axes[2].axvline(0, color=ORANGE, lw=3, label="P")
        axes[2].set(xlabel="cosine", ylabel="number of cells", xlim=(0, 1))
        axes[2].legend(loc="upper left")
    ax = figure.axes[2]
    figure.axes[1].images[-1].set_data(mask)
    histograms = [patch for patch in ax.patches if isinstance(patch, StepPatch)]
    for count, histogram in zip(counts, histograms):
        histogram.set_data(count)
    mean = weighted_mean(response, z).item()
    for at, line in zip((epsilon, mean), ax.lines):
        line.set_xdata([at, at])
    ax.set(
        title=f"cells (grey), weighted by m (green): P = {mean:.2f}",
        ylim=(0, 1.1 * max(count.max() for count in counts)),
    )
    return figure


def pairs(
    images: Tensor,
    spectrograms: Tensor,
    similarity: Tensor,
    config: AudioConfig,
    low: float,
    high: float,
    title: str = "",
    roles: Mapping[tuple[int, int], str] | None = None,
    names: Sequence[Any] | None = None,
) -> Figure:
    """Similarity (N, N, h, w) as a table of maps, with a row per image, a column per sound.

    names: N names of the sounding objects. roles: {(i, j): colour of the frame around
    the map of image i and sound j}; by default, the maps of paired clips are framed.
    """
    count = len(images)
    roles = {(i, i): ORANGE for i in range(count)} if roles is None else roles
    names = range(count) if names is None else names
    figure, axes = plt.subplots(
        count + 1, count + 1, figsize=(1.25 * count + 2, 1.25 * count + 1.5)
    )
    axes[0, 0].axis("off")
    for i in range(count):
        show_image(axes[i + 1, 0], images[i])
        show_spectrogram(
            axes[0, i + 1], spectrograms[i], config, f"♪ {names[i]}", label=False
        )
        axes[0, i + 1].set(xticks=[], yticks=[])
        axes[i + 1, 0].set_ylabel(names[i])
        for j in range(count):
            ax = axes[i + 1, j + 1]
            heat = ax.imshow(
                similarity[i, j].detach().cpu().numpy(), vmin=low, vmax=high
            )
            ax.set(xticks=[], yticks=[])
            for spine in ax.spines.values():
                spine.set(color=roles.get((i, j), "white"), lw=4)
    figure.colorbar(heat, ax=axes, label="cosine", shrink=0.6, aspect=30)
    figure.suptitle(title)
    return figure


def roles(clip: int, count: int) -> dict[tuple[int, int], str]:
    """Colours of frames for `pairs`: a clip's own map, and its two kinds of negatives.

    Its sound on the other images is blue (a column), its image with the other sounds
    pink (a row), its own map orange.
    """
    column = {(k, clip): BLUE for k in range(count)}
    row = {(clip, k): PINK for k in range(count)}
    return {**column, **row, (clip, clip): ORANGE}


def mask_weights(
    epsilon: float, epsilon_negative: float, tau: float, cosines: Mapping[str, Tensor]
) -> Figure:
    """Weights of a cell in the masks of eq. 5 and of the trimap, over its cosine.

    cosines {network: cosines of any shape}: drawn below, as histograms.
    """
    figure, axes = plt.subplots(
        3, 1, figsize=(8, 6.2), sharex=True, height_ratios=(1, 1, 0.9)
    )
    x = torch.linspace(0, 1, 401)
    foreground = ((x - epsilon) / tau).sigmoid()
    backgrounds = {
        "Equation 5: one threshold ε": 1 - foreground,
        "The released code: a trimap of two thresholds": (
            (epsilon_negative - x) / tau
        ).sigmoid(),
    }
    for ax, (title, background) in zip(axes, backgrounds.items()):
        ax.plot(x, foreground, color=GREEN, lw=2, label="foreground")
        ax.plot(x, background, "--", color=RED, lw=2, label="background")
        neither = 1 - foreground - background
        if neither.max() > 0.01:
            ax.plot(x, neither, ":", color="0.4", lw=2, label="neither")
        ax.set(title=title, ylabel="weight")
    edges = np.linspace(0, 1, 51)
    for (name, values), color in zip(cosines.items(), (SKY, ORANGE)):
        count, _ = np.histogram(values.detach().flatten().numpy(), edges)
        axes[2].stairs(
            count / count.sum(), edges, fill=True, color=color, alpha=0.8, label=name
        )
    axes[2].set(
        title="Cosines before training", xlabel="cosine of a cell", ylabel="fraction"
    )
    names = {"ε": epsilon, "ε⁻": epsilon_negative}
    for ax in axes:
        for name in ("ε",) if ax is axes[0] else names:
            ax.axvline(names[name], color="0.7", lw=1, zorder=0)
            at = (names[name], 0.9)
            ax.annotate(f" {name}", at, xycoords=("data", "axes fraction"), va="top")
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def stages(
    image: Tensor, boxes: Sequence[Sequence[float]], maps: Mapping[str, Tensor]
) -> Figure:
    """An image (3, S, S) with its boxes, and maps {title: (h, w)} over it."""
    figure, axes = grid(1 + len(maps), columns=1 + len(maps), size=2.4)
    show_image(axes[0], image, "what sounds", boxes)
    for ax, (title, response) in zip(axes[1:], maps.items()):
        heat = show_heatmap(ax, image, response, title)
    figure.colorbar(heat, ax=axes[-1], label="cosine")
    return figure


def masks(
    image: Tensor,
    boxes: Sequence[Sequence[float]],
    response: Tensor,
    forms: Mapping[str, tuple[Tensor, Tensor]],
) -> Figure:
    """Foreground, background, and what lies in neither, a row for each form of mask.

    image (3, S, S); response (h, w), its map; forms {name: (foreground, background)},
    both (h, w) with weights in [0, 1].
    """
    count = len(forms)
    figure, axes = plt.subplots(
        count, 4, figsize=(10, 2.4 * count + 0.3), squeeze=False
    )
    for ax in axes[1:, 0]:
        ax.axis("off")
    show_image(axes[-1, 0], image, "what sounds", boxes)
    axes[-1, 0].axis("on")
    levels = axes[0, 0].imshow(response.numpy(), vmin=0, vmax=1)
    axes[0, 0].set(title="map S", xticks=[], yticks=[])
    figure.colorbar(levels, ax=axes[0, 0], label="cosine")
    for row, (name, (foreground, background)) in zip(axes, forms.items()):
        panels = {
            "foreground": foreground,
            "background": background,
            "neither": 1 - foreground - background,
        }
        for ax, (title, mask) in zip(row[1:], panels.items()):
            weights = ax.imshow(mask.numpy(), vmin=0, vmax=1, cmap="gray")
            ax.set(title=title, xticks=[], yticks=[])
        row[1].set_ylabel(name)
    figure.colorbar(weights, ax=axes[:, 3], label="weight of a cell", shrink=0.7)
    return figure


def pseudo_masks(
    image: Tensor, response: Tensor, settings: Sequence[tuple[float, float]]
) -> Figure:
    """Pseudo-masks (eq. 5) of one map (h, w) for pairs of ε and τ, in rows of three.

    Each title has the mean P of the map under that mask (eq. 6).
    """
    figure, axes = grid(len(settings), columns=3, size=2.6, aspect=1.1)
    for ax, (epsilon, tau) in zip(axes, settings):
        z = (response - epsilon) / tau
        mean = weighted_mean(response, z).item()
        title = f"ε = {epsilon:g}, τ = {tau:g}\nP = {mean:.2f}"
        heat = show_heatmap(ax, image, z.sigmoid(), title)
    figure.colorbar(heat, ax=list(axes), label="weight m of a cell", shrink=0.6)
    return figure


def pull_and_push(
    stages: Sequence[float], forces: Mapping[str, Sequence[tuple[float, float]]]
) -> Figure:
    """How hard each form pulls paired maps up and pushes the others down.

    stages: how good the maps are, from 0 to 1; forces {form: [(pull, push), …]}.
    """
    figure, axes = grid(len(forces), columns=len(forces), size=4.75, aspect=0.74)
    for ax, (form, values) in zip(axes, forces.items()):
        pull, push = zip(*values)
        ax.semilogy(stages, push, "--", color=RED, label="push on unpaired maps")
        ax.semilogy(stages, pull, color=GREEN, label="pull on the paired map")
        ax.set(
            title=f"{form} form", ylim=(0.03, 100), xlabel="q: how good the maps are"
        )
    axes[0].set_ylabel("Σ |∂L/∂S|, per clip")
    axes[0].legend(fontsize=9, loc="lower left")
    return figure


def cell_forces(
    cosines: Sequence[float],
    forces: Mapping[str, Sequence[float]],
    settings: Mapping[str, Mapping[str, float]],
) -> Figure:
    """−∂L/∂S of one cell over its cosine, a panel for each setting of the loss.

    forces {name: a value for each cosine}, drawn relative to the largest; settings
    {name: options of `contrastive_loss`}, whose thresholds are marked.
    """
    figure, axes = grid(len(forces), columns=len(forces), size=4.75, aspect=0.68)
    for ax, (name, values) in zip(axes, forces.items()):
        y = np.asarray(values) / np.abs(values).max()
        ax.fill_between(cosines, y, where=y > 0, color=GREEN, label="pulled up")
        ax.fill_between(cosines, y, where=y < 0, color=RED, label="pushed down")
        for option, symbol in (("epsilon", "ε"), ("epsilon_negative", "ε⁻")):
            threshold = settings[name][option]
            ax.axvline(threshold, color="0.5", ls="--")
            text = f" {symbol} = {threshold:g}"
            ax.annotate(text, (threshold, 1.3), va="top", fontsize=9)
        ax.set(title=name, xlabel="cosine of the cell", ylim=(-1.1, 1.35))
    axes[0].set_ylabel("−∂L/∂S, relative")
    axes[0].legend(loc="lower left", fontsize=9)
    return figure


def free_maps(
    images: Tensor,
    boxes: Sequence[Sequence[Sequence[float]]],
    stages: Mapping[str, Tensor],
) -> Figure:
    """Images with boxes in the first row, and below each its maps, a row for each stage.

    images (N, 3, S, S); stages {name: paired maps (N, h, w)}.
    """
    rows, columns = 1 + len(stages), len(images)
    figure, axes = plt.subplots(
        rows, columns, figsize=(1.7 * columns + 1, 1.7 * rows), squeeze=False
    )
    for column, image, box in zip(axes.T, images, boxes):
        show_image(column[0], image, "", box)
    for row, (name, maps) in zip(axes[1:], stages.items()):
        for ax, response in zip(row, maps):
            levels = ax.imshow(response.numpy(), vmin=0, vmax=1)
            ax.set(xticks=[], yticks=[])
        row[0].set_ylabel(name.replace(", ", ",\n"), fontsize=9)
    figure.colorbar(levels, ax=axes[1:], label="cosine", shrink=0.6)
    return figure


def short_training(trained: Mapping[str, tuple[Tensor, Tensor]]) -> Figure:
    """Mean cosines over steps, and the highest cell of every pair at the end.

    trained {form: (history (steps, 2), highest (B, B))}; the history's columns are
    paired and unpaired maps.
    """
    count = len(trained)
    figure, axes = plt.subplots(count, 2, figsize=(8.5, 3.7 * count), squeeze=False)
    for (form, (history, highest)), ax in zip(trained.items(), axes):
        ax[0].plot(history[:, 0], color=GREEN, lw=2, label="paired maps")
        ax[0].plot(history[:, 1], "--", color=BLUE, lw=2, label="unpaired maps")
        ax[0].set(
            title=f"{form} form", xlabel="step", ylabel="mean cosine", ylim=(0, 1)
        )
        ax[0].legend()
        levels = ax[1].imshow(highest.numpy(), vmin=0, vmax=1)
        ax[1].set(
            title=f"{form} form: highest cell of each pair",
            xlabel="sound",
            ylabel="image",
        )
        figure.colorbar(levels, ax=ax[1], label="cosine")
    return figure


def invariance_of(models: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """e_app of the models of table 1: a dot a training, a line through the means.

    models {split: {model: its e_app, one a seed}}, as `teach.invariance.by_model`.
    """
    figure, ax = plt.subplots(figsize=(7.5, 3.6))
    looks = ((BLUE, "o", "-", -0.08), (ORANGE, "s", "--", 0.08))
    names = list(next(iter(models.values())))
    for (split, runs), (color, marker, style, aside) in zip(models.items(), looks):
        means = [float(np.mean(runs[name])) for name in names]
        at = np.arange(len(names)) + aside
        ax.plot(at, means, style, color=color, lw=1)
        for x, name in zip(at, names):
            label = split if name == names[0] else None
            ax.plot([x] * len(runs[name]), runs[name], marker, color=color, label=label)
    added = (f"{name}\n+ {part}" for name, part in zip(names[1:], PARTS))
    ax.set_xticks(range(len(names)), [names[0], *added])
    ax.set(
        title="Invariance of the models of table 1: one dot per run",
        xlabel="model, and what it has more than the one before",
        ylabel="$e_{app}$ (lower: more invariant)",
        ylim=(0, None),
    )
    ax.legend()
    return figure


def views_and_maps(
    views: Tensor, maps: Mapping[str, Tensor], boxes: Sequence[Sequence[float]] = ()
) -> Figure:
    """An image and its views in a row, and below each its map, a row for each network.

    views (K, 3, S, S) in [0, 1], the image first, with its boxes; maps {network:
    (K, h, w)}. A row has one colour scale. Above a map: its mean squared change over
    the variance of the first.
    """
    count = len(views)
    figure, axes = plt.subplots(
        1 + len(maps), count, figsize=(2.2 * count + 1, 2.3 * (1 + len(maps)))
    )
    for k, (ax, view) in enumerate(zip(axes[0], views)):
        show_image(ax, view, f"view {k}: T_app(I)" if k else "image I", boxes)
    for row, (name, responses) in zip(axes[1:], maps.items()):
        span = {"vmin": responses.min().item(), "vmax": responses.max().item()}
        variance = responses[0].var(correction=0)
        for k, (ax, response) in enumerate(zip(row, responses)):
            levels = ax.imshow(response.numpy(), **span)
            change = (response - responses[0]).square().mean() / variance
            ax.set(
                xticks=[], yticks=[], title=f"change {change:.2f}" if k else "map S(I)"
            )
        row[0].set_ylabel(name)
        figure.colorbar(levels, ax=row, label="cosine")
    return figure
