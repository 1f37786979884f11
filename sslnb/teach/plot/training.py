"""Figures of notebook 05 and appendix A3: schedules, curves, processes."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from sslnb.data.media import AudioConfig
from sslnb.teach.plot.base import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    PALETTE,
    PINK,
    RED,
    Array,
    despine,
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
BOUNDS = {"centre prior": BLACK, "oracle": GREEN}  # by a line's label; others are pink


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
        despine(ax)
    return figure


def curves(
    histories: Mapping[str, Sequence[Mapping[str, Any]]],
    labels: Mapping[str, str],
    bounds: Mapping[str, Mapping[str, float]] | None = None,
    limits: Mapping[str, tuple[float, float]] | None = None,
    best: Mapping[str, int] | None = None,
    clips: Mapping[str, tuple[float, float]] | None = None,
    figure: Any = None,
) -> Figure:
    """Training curves: a panel per metric of `labels`, a line per run.

    histories: {run: its metrics, one dict per epoch}; labels: {metric: panel's title};
    bounds: {metric: {label: value}}, dotted lines; best: {run: epoch}, a square on every
    line. Axes begin at zero where `limits`, {metric: (low, high)}, do not say otherwise.
    clips: {run: (seen before epoch 1, in each epoch)}; the horizontal axis then counts
    clips, in thousands. figure: a (sub)figure to draw into; else a new one.
    """
    columns = min(len(labels), 3)
    if figure is None:
        figure, axes = grid(len(labels), columns, size=3.3, aspect=0.85)
    else:
        axes = figure.subplots(-(-len(labels) // columns), columns, squeeze=False).flat
    found: dict[str, Any] = {}  # what the legend explains
    for ax, (name, title) in zip(axes, labels.items()):
        for k, (run, history) in enumerate(histories.items()):
            before, each = (clips or {}).get(run, (0, 1))
            points = {
                m["epoch"]: (before + each * m["epoch"], m[name])
                for m in history
                if name in m
            }
            color = PALETTE[k % len(PALETTE)]
            style = ["-", "--", "-.", (0, (1, 1))][k % 4]
            x, y = zip(*points.values()) if points else ((), ())
            (found[run],) = ax.plot(x, y, ls=style, lw=2, color=color)
            at = (best or {}).get(run)
            if at in points:
                ax.plot(*points[at], "s", color=color, ms=8)
        for label, value in (bounds or {}).get(name, {}).items():
            color = BOUNDS.get(label, PINK)
            found[label] = ax.axhline(value, ls=":", lw=2, color=color)
        ax.set(title=title, ylim=(0, None))
        ax.set_xlabel("clips seen, in thousands" if clips else "epoch")
        if name in (limits or {}):
            ax.set_ylim(*(limits or {})[name])
        ax.xaxis.get_major_locator().set_params(integer=True)
        despine(ax)
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
    clips: Mapping[str, tuple[float, float]] | None = None,
    figure: Any = None,
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
    limits.pop("contrastive", None)
    return curves(histories, labels, bounds, limits, best, clips, figure)


def epoch_by_epoch(
    history: Sequence[Mapping[str, Any]],
    free: Mapping[str, Mapping[str, float]],
    guess: float,
    images: Tensor,
    responses: Tensor,
    boxes: Sequence,
    titles: Sequence[str],
) -> Figure:
    """A run as it trains: the maps of its last epoch above, its curves so far below.

    history: its metrics, from epoch 0 on; free, guess: bounds, as `learning` takes them;
    images (N, 3, S, S), their maps (N, h, w) and boxes.
    """
    count, latest = len(images), history[-1]["epoch"]
    figure = plt.figure(figsize=(2.0 * count, 5.4))
    parts: Any = figure.subfigures(2, height_ratios=[2.5, 2.9])
    parts[0].suptitle(f"after epoch {latest}" if latest else "at the start")
    axes = parts[0].subplots(1, count)
    for k, ax in enumerate(axes):
        show_heatmap(ax, images[k], responses[k], titles[k], boxes[k] or ())
        _cross(ax, responses[k])
    shown = [name for name in ("val_cIoU", "val_peak") if name in history[-1]]
    names = [*shown, "contrastive"] if shown else ["val_loss", "contrastive"]
    learning({"this run": history}, free, guess, names=names, figure=parts[1])
    for ax in parts[1].axes:
        ax.lines[0].set_marker("o")
    return figure


def _cross(ax, response):
    """A cross at the maximum of a map (h, w) that is drawn on an image."""
    rows, columns = response.shape
    y, x = divmod(int(response.argmax()), columns)
    ax.plot((x + 0.5) / columns, (y + 0.5) / rows, "x", color=RED, ms=9, mew=3)


def heatmap_columns(
    images: Tensor, maps: Mapping[str, Tensor], boxes: Sequence, titles: Sequence[str]
) -> Figure:
    """Heatmaps of the same images by several models: a column each, a cross at the maximum.

    images (N, 3, S, S), a row each; maps: {model: (N, h, w)}; boxes: of each image, or
    None; titles: of the images. One colour scale, of all the maps.
    """
    figure, axes = grid(len(images) * len(maps), columns=len(maps), size=1.65)
    low = min(float(responses.min()) for responses in maps.values())
    high = max(float(responses.max()) for responses in maps.values())
    for k, image in enumerate(images):
        row = axes[k * len(maps) : (k + 1) * len(maps)]
        for ax, (name, responses) in zip(row, maps.items()):
            title = "" if k else name
            at = (title, boxes[k] or (), low, high)
            heat = show_heatmap(ax, image, responses[k], *at)
            _cross(ax, responses[k])
        row[0].set_ylabel(titles[k])
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
    despine(ax)
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
