"""Figures of notebook 05 and appendix A3: schedules, curves, processes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import seaborn
from matplotlib.figure import Figure
from torch import Tensor

from sslnb.data.media import AudioConfig
from sslnb.teach.plot.base import (
    BLUE,
    GREEN,
    ORANGE,
    PALETTE,
    PINK,
    RED,
    Array,
    grid,
    show_heatmap,
    show_image,
    show_spectrogram,
)

PANELS = {
    "contrastive": "contrastive loss",
    "equivariance": "equivariance loss",
    "val_cIoU": "success rate at cIoU 0.5, val",
    "val_AUC": "AUC, val",
    "val_pointing": "pointing game, val",
    "val_peak": "peak on the object, val",
    "val_loss": "contrastive loss, val",
}
BOUNDS = {"centre prior": RED, "oracle": GREEN}  # by a line's label; others are pink


def one_step(
    images: Mapping[str, Tensor],
    spectrograms: Tensor,
    titles: Sequence[str],
    config: AudioConfig,
) -> Figure:
    """What one step is given: rows {name: (N, 3, S, S)}, then spectrograms (N, 1, F, T)."""
    count, rows = len(titles), len(images)
    figure, axes = grid((rows + 1) * count, columns=count, size=2)
    for row, (name, pictures) in enumerate(images.items()):
        for k in range(count):
            show_image(axes[row * count + k], pictures[k], "" if row else titles[k])
        axes[row * count].set_ylabel(name)
    for k, ax in enumerate(axes[rows * count :]):
        show_spectrogram(ax, spectrograms[k], config, label=False)
        ax.set(xticks=[], yticks=[], xlabel="time →")
    axes[rows * count].set_ylabel("sound: $T_{mask}$\npitch →")
    return figure


def schedules(
    rates: Sequence[float],
    alphas: Sequence[float],
    strengths: Sequence[float],
    per_epoch: int,
) -> Figure:
    """Learning rates of each step; of each epoch α of equation 4, and the curriculum.

    per_epoch: steps of an epoch; strengths: of T_app and T_mask, in [0, 1].
    """
    figure, axes = grid(3, columns=3, size=3.2, aspect=0.8)
    edges = range(len(alphas) + 1)  # an epoch is the space between two
    axes[0].plot(np.arange(len(rates)) / per_epoch, rates, lw=2)
    axes[0].set(title="learning rate", ylabel="rate of Adam", ylim=(0, None))
    axes[1].stairs(alphas, edges, baseline=None, color=ORANGE, lw=2)
    axes[1].set(title="mixing weight", ylabel="α of equation 4", ylim=(0, 1.05))
    axes[2].stairs(strengths, edges, baseline=None, color=GREEN, lw=2)
    axes[2].set(
        title="curriculum",
        ylim=(0, 1.05),
        ylabel="frequency of $T_{app}$, $T_{mask}$\nover the paper's",
    )
    for ax in axes:
        ax.set(xlabel="epochs done", xlim=(0, len(alphas)))
        ax.xaxis.get_major_locator().set_params(integer=True)
        seaborn.despine(ax=ax)
    return figure


def curves(
    histories: Mapping[str, Sequence[Mapping[str, Any]]],
    labels: Mapping[str, str],
    bounds: Mapping[str, Mapping[str, float]] | None = None,
    limits: Mapping[str, tuple[float, float]] | None = None,
    best: Mapping[str, int] | None = None,
) -> Figure:
    """Training curves: a panel per metric of `labels`, a line per run.

    histories: {run: its metrics, one dict per epoch}; labels: {metric: panel's title};
    bounds: {metric: {label: value}}, dotted lines; best: {run: epoch}, a square on every
    line. Axes begin at zero where `limits`, {metric: (low, high)}, do not say otherwise.
    """
    columns = min(len(labels), 3)
    figure, axes = grid(len(labels), columns, size=3.3, aspect=0.85)
    found: dict[str, Any] = {}  # what the legend explains
    for ax, (name, title) in zip(axes, labels.items()):
        for k, (run, history) in enumerate(histories.items()):
            points = {m["epoch"]: m[name] for m in history if name in m}
            color = PALETTE[k % len(PALETTE)]
            style = ["-", "--", "-.", (0, (1, 1))][k % 4]
            (found[run],) = ax.plot(
                list(points), list(points.values()), ls=style, lw=2, color=color
            )
            at = (best or {}).get(run)
            if at in points:
                ax.plot(at, points[at], "s", color=color, ms=8)
        for label, value in (bounds or {}).get(name, {}).items():
            color = BOUNDS.get(label, PINK)
            found[label] = ax.axhline(value, ls=":", lw=2, color=color)
        ax.set(title=title, xlabel="epoch", ylim=(0, None))
        if name in (limits or {}):
            ax.set_ylim(*(limits or {})[name])
        ax.xaxis.get_major_locator().set_params(integer=True)
        seaborn.despine(ax=ax)
    if len(found) > 1:
        figure.legend(
            found.values(), found, loc="outside lower center", ncols=6, frameon=False
        )
    return figure


def learning(
    histories: Mapping[str, Sequence[Mapping[str, Any]]],
    free: Mapping[str, Mapping[str, float]],
    guess: float,
    best: Mapping[str, int] | None = None,
    names: Sequence[str] = tuple(PANELS),
) -> Figure:
    """`curves` of the losses and scores that runs have, among `names`, beside bounds.

    free: scores of bounds without a model, as localise.baselines gives them for val;
    guess: the contrastive loss of guessing.
    """
    metrics = {name for history in histories.values() for m in history for name in m}
    labels = {name: PANELS[name] for name in names if name in metrics}
    bounds = {"contrastive": {"guessing": guess}}
    for bound, scores in free.items():
        for name, score in scores.items():
            bounds.setdefault(f"val_{name}", {})[bound] = score
    limits = {name: (0.0, 1.0) for name in labels if name in bounds}
    del limits["contrastive"]
    return curves(histories, labels, bounds, limits, best)


def heatmap_rows(
    images: Tensor, maps: Mapping[str, Tensor], boxes: Sequence, titles: Sequence[str]
) -> Figure:
    """Heatmaps of the same images by several models: a row each, a cross at the maximum.

    images (N, 3, S, S); maps: {model: (N, h, w)}; boxes: of each image, or None.
    """
    count = len(images)
    figure, axes = grid(count * len(maps), columns=count, size=2.1)
    for row, (name, responses) in enumerate(maps.items()):
        cells = responses.shape[2]
        for k, ax in enumerate(axes[count * row : count * (row + 1)]):
            title = "" if row else titles[k]
            heat = show_heatmap(ax, images[k], responses[k], title, boxes[k] or ())
            y, x = divmod(int(responses[k].argmax()), cells)
            at = (x + 0.5) / cells, (y + 0.5) / cells
            ax.plot(*at, "x", color=RED, ms=10, mew=3)
        axes[count * row].set_ylabel(name)
    figure.colorbar(heat, ax=list(axes), label="cosine", shrink=0.5)
    return figure


def shares(parts: Mapping[str, float], title: str, label: str) -> Figure:
    """Bars {name: share of the whole}, one below the other."""
    figure, axes = grid(1, columns=1, size=7, aspect=0.09 + 0.05 * len(parts))
    (ax,) = axes
    bars = ax.barh(list(parts), list(parts.values()), color=BLUE)
    ax.bar_label(bars, [f"{value:.0%}" for value in parts.values()], padding=3)
    ax.set(title=title, xlabel=label, xlim=(0, 1))
    ax.invert_yaxis()
    seaborn.despine(ax=ax)
    return figure


def similarities(masks: Mapping[str, Array]) -> Figure:
    """Which process computes which similarity of a batch: {title: (B, B) of int}.

    A number is that of a process; −1 stands for a pair that no process has.
    """
    figure, axes = grid(len(masks), columns=len(masks), size=3.3)
    for ax, (title, owner) in zip(axes, masks.items()):
        owner = np.asarray(owner)
        colors = np.full((*owner.shape, 3), 0.92)
        for process, color in enumerate(PALETTE[: owner.max() + 1]):
            rgb = [int(color[k : k + 2], 16) / 255 for k in (1, 3, 5)]
            colors[owner == process] = rgb
        ax.imshow(colors)
        ax.plot(range(len(owner)), range(len(owner)), "w*", ms=8)
        ax.set(title=title, xlabel="sound", ylabel="image")
        ax.set(xticks=range(len(owner)), yticks=range(len(owner)))
    return figure
