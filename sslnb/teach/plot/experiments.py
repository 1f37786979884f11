"""Figures of notebook 08: what runs of the grid score, with intervals."""

import textwrap
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from sslnb.experiments.results import ERRORS, Compared, unit, verdict
from sslnb.teach.plot.base import (
    BLUE,
    GREEN,
    ORANGE,
    PALETTE,
    PINK,
    RED,
    Array,
    despine,
    legend_below,
    show_heatmap,
    show_image,
)

NAMES = {
    "e_app": "invariance error $e_{app}$",
    "e_geo": "equivariance error $e_{geo}$",
    "pointing": "pointing game",
    "peak": "peak on the object",
}
MARKS = ("o", "s", "D", "^")  # of sets, with PALETTE's colours


def _title(score: str) -> str:
    return NAMES.get(score, score)


def levels(
    found: Compared, scores: Sequence[str], lines: Compared | None = None
) -> Figure:
    """Scores of models with their intervals, a panel a score: models from left to right.

    lines: of guesses without a model, drawn across, in the same form as `found`.
    """
    rows = list(next(iter(found.values())))
    figure, axes = plt.subplots(
        1, len(scores), figsize=(3.4 * len(scores), 3.4), squeeze=False
    )
    for ax, score in zip(axes[0], scores):
        for k, (where, each) in enumerate(found.items()):
            values = np.array([each[row][score] for row in rows]) * unit(score)
            _dots(ax, np.arange(len(rows)) + 0.2 * k - 0.1, values, k, where)
            for guess, known in (lines or {}).get(where, {}).items():
                if score in known:
                    y = known[score].value * unit(score)
                    ax.axhline(y, ls=":", color=PALETTE[k], label=f"{guess}, {where}")
        label = "error, lower is better" if score in ERRORS else "per cent"
        ax.set(title=_title(score), ylabel=label)
        ax.set_xticks(range(len(rows)), rows)
        despine(ax)
    legend_below(figure, axes[0][0])
    return figure


def _dots(ax, x, values, k, label):
    """Values (R, 3) of one set, each with its interval, and a line through them."""
    value, low, high = values.T
    ax.errorbar(
        x,
        value,
        yerr=np.abs([value - low, high - value]),
        fmt=MARKS[k] + "-",
        color=PALETTE[k],
        lw=1.5,
        ms=6,
        label=label,
    )


def differences(
    found: Compared, scores: Sequence[str], columns: int | None = None
) -> Figure:
    """Differences with their intervals, a panel a score: rows from top to bottom.

    Better is on the right: the axes of errors are reversed. A filled mark's interval
    excludes zero; it is red where the change is for the worse. columns: panels beside
    each other; by default all.
    """
    rows = list(next(iter(found.values())))
    columns = columns or len(scores)
    lines = -(-len(scores) // columns)
    size = (3.0 * columns + 1.2, (0.55 * len(rows) + 0.8) * lines + 0.6)
    figure, axes = plt.subplots(
        lines, columns, figsize=size, squeeze=False, sharey=True
    )
    for ax in axes.flat[len(scores) :]:
        ax.remove()
    for ax, score in zip(axes.flat, scores):
        for k, each in enumerate(found.values()):
            for y, row in enumerate(rows):
                if score in each[row]:
                    _difference(ax, y + 0.26 * k - 0.13, each[row][score], score, k)
        ax.axvline(0, color="black", lw=1)
        error = score in ERRORS
        ax.set(title=_title(score), xlabel="change of error" if error else "points")
        ax.set_yticks(range(len(rows)), rows)
        if error:
            ax.invert_xaxis()
        despine(ax)
    axes[0, 0].invert_yaxis()
    marks = [
        Line2D([], [], ls="", marker=MARKS[k], color=PALETTE[k], label=where)
        for k, where in enumerate(found)
    ]
    marks += [
        Line2D(
            [], [], ls="", marker="o", mfc="white", color="grey", label="not resolved"
        ),
        Line2D([], [], ls="", marker="o", color=RED, label="worse"),
    ]
    figure.legend(handles=marks, loc="outside lower center", ncols=6, frameon=False)
    return figure


def _difference(ax, y, score, name, k):
    value, low, high = (x * unit(name) for x in score)
    said = verdict(score, name)
    color = RED if said == "worse" else PALETTE[k]
    ax.errorbar(
        value,
        y,
        xerr=[[value - low], [high - value]],
        fmt=MARKS[k],
        color=color,
        mfc="white" if said == "not resolved" else color,
        lw=1.5,
        ms=6,
    )


def few_and_all(
    found: Compared,
    pairs: Mapping[str, tuple[str, str]],
    score: str,
    counts: Sequence[int],
) -> Figure:
    """A score on few and on all clips, a line a recipe: a panel a set of clips.

    pairs: {recipe: (its row on few clips, its row on all)}; counts: how many these are.
    """
    figure, axes = plt.subplots(
        1, len(found), figsize=(4.2 * len(found), 3.4), sharey=True
    )
    for ax, (where, each) in zip(np.atleast_1d(axes), found.items()):
        for k, (name, rows) in enumerate(pairs.items()):
            values = 100 * np.array([each[row][score] for row in rows])
            x = np.array(counts) * (1 + 0.06 * (k - len(pairs) / 2))
            _dots(ax, x, values, k, name)
        ax.set(title=f"on {where}", xlabel="training clips", xscale="log")
        ax.set_xticks(counts, map(str, counts))
        ax.minorticks_off()
        despine(ax)
    np.atleast_1d(axes)[0].set_ylabel(f"{_title(score)}, per cent")
    legend_below(figure, np.atleast_1d(axes)[0])
    return figure


def validation(runs: Mapping[str, Sequence[tuple[Array, Array]]], label: str) -> Figure:
    """Figure 6: a score on val over epochs, a thin line a run and a thick one their mean.

    runs: {model: [(epochs (E,), values (E,)) of each seed]}, all at the same epochs.
    """
    figure, ax = plt.subplots(figsize=(7, 3.6))
    for k, (name, seeds) in enumerate(runs.items()):
        for epochs, values in seeds:
            ax.plot(epochs, values, color=PALETTE[k], lw=0.8, alpha=0.5)
        epochs = seeds[0][0]
        mean = np.mean([values for _, values in seeds], axis=0)
        ax.plot(epochs, mean, color=PALETTE[k], lw=2.5, label=name)
    ax.set(xlabel="epoch", ylabel=label)
    ax.legend(frameon=False)
    despine(ax)
    return figure


def qualitative(
    images: Tensor, boxes: Sequence, maps: Mapping[str, Array], titles: Sequence[str]
) -> Figure:
    """Figure 3: images in rows, the maps of several models in columns, ground truth in both.

    images (N, 3, H, W); boxes: N tuples of normalised boxes; maps: {model: (N, h, w)},
    each drawn from its own minimum to its own maximum; titles: of the rows.
    """
    figure, axes = plt.subplots(
        len(images),
        1 + len(maps),
        figsize=(1.6 * (1 + len(maps)), 1.62 * len(images) + 0.3),
        squeeze=False,
    )
    for row, (image, box, title) in enumerate(zip(images, boxes, titles)):
        show_image(axes[row, 0], image, "" if row else "ground truth", box)
        axes[row, 0].set_ylabel(title, fontsize=8)
        for ax, (name, several) in zip(axes[row, 1:], maps.items()):
            name = textwrap.fill(name, 15)
            values = np.asarray(several[row], float)
            low, high = values.min(), values.max() + 1e-9
            show_heatmap(ax, image, values, "" if row else name, box, low, high)
    return figure


def activations(models: Mapping[str, Mapping[str, Array]]) -> Figure:
    """How high maps peak with each sound: a panel a model, a curve a sound.

    models: {model: {sound: maxima (N,)}}; a curve says how many maps peak below a value.
    """
    import seaborn  # a second, and only here

    figure, axes = plt.subplots(
        1, len(models), figsize=(3.1 * len(models), 3.2), squeeze=False, sharey=True
    )
    colors = [BLUE, ORANGE, GREEN, PINK]
    for ax, (name, sounds) in zip(axes[0], models.items()):
        for color, (sound, values) in zip(colors, sounds.items()):
            seaborn.ecdfplot(x=values, ax=ax, color=color, lw=2, label=sound)
        ax.set(title=name, xlabel="maximum of the map", ylabel="fraction of maps below")
        despine(ax)
    legend_below(figure, axes[0][0])
    return figure
