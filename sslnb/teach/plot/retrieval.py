"""Figures of notebook 07: ranked lists, chance and the modality gap."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from sslnb.data.media import AudioConfig
from sslnb.data.soundstamps import Scene
from sslnb.teach.plot.base import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    PALETTE,
    RED,
    Array,
    grid,
    show_image,
    show_spectrogram,
)


def ranked(
    axes: Iterable[Axes], scenes: Sequence[Scene], right: Sequence[bool]
) -> None:
    """A query and what it finds, best first: each found scene marked right or wrong.

    axes and scenes: the query's first; right: one for each scene that was found.
    """
    marks = [("♪", BLUE), *(("✓", GREEN) if hit else ("✗", RED) for hit in right)]
    for ax, scene, (mark, color) in zip(axes, scenes, marks):
        show_image(ax, scene.image)
        title = f"{mark} {scene.class_name}".replace("_", " ")
        ax.set_title(title, fontsize=10, color=color)
        for spine in ax.spines.values():
            spine.set(visible=True, color=color, linewidth=3)


def scored_list(scenes: Sequence[Scene], right: Sequence[bool]) -> Figure:
    """`ranked` in a row, with A@K and P@K of the list up to each item below it."""
    figure, axes = grid(len(scenes), columns=len(scenes), size=1.5, aspect=1.6)
    ranked(axes, scenes, right)
    for k, ax in enumerate(axes[1:], start=1):
        some, fraction = max(right[:k]), sum(right[:k]) / k
        ax.set_xlabel(f"A@{k} = {some:d}\nP@{k} = {fraction:.2f}")
    return figure


def ranked_lists(
    parts: dict[str, dict[str, tuple[Sequence[Scene], Sequence[bool]]]],
) -> Figure:
    """Parts with a title, of named lists: {title: {name: (scenes, right)}}.

    A list is a row, as `ranked` draws it.
    """
    rows = sum(map(len, parts.values()))
    figure = plt.figure(figsize=(8.6, 1.7 * rows + 0.2))
    subfigures: Any = figure.subfigures(len(parts), squeeze=False)
    for part, (title, lists) in zip(subfigures[:, 0], parts.items()):
        part.suptitle(title)
        width = max(len(scenes) for scenes, _ in lists.values())
        axes = part.subplots(len(lists), width, squeeze=False)
        for row, (name, (scenes, right)) in zip(axes, lists.items()):
            ranked(row, scenes, right)
            name = name.replace("_", " ").replace(", ", ",\n")
            row[0].set_ylabel(name, fontsize=9)
    return figure


def neighbours(
    spectrograms: dict[str, Tensor], means: Sequence[Array], config: AudioConfig
) -> Figure:
    """Spectrograms (1, 1, F, T) by title, and the mean over time of each beside them."""
    figure, axes = plt.subplots(1, len(spectrograms) + 1, figsize=(10, 2.7))
    styles = ((BLUE, "-"), (ORANGE, "--"), (RED, ":"))
    for ax, (title, x), mean, (color, style) in zip(
        axes, spectrograms.items(), means, styles
    ):
        show_spectrogram(ax, x, config, title)
        ax.title.set_color(color)
        axes[-1].plot(mean, range(config.n_mels), style, c=color, lw=2)
    axes[-1].set(
        title="their means over time",
        xlabel="energy (of a unit vector)",
        ylabel="mel band",
    )
    return figure


def longer_lists(ks: Sequence[int], curves: dict[str, dict[str, np.ndarray]]) -> Figure:
    """A@K and P@K against K: of the trained model in blue, of chance in red.

    curves: what is left out of the gallery -> what `retrieval.against_k` returns.
    """
    figure, axes = grid(2, 2, size=4, aspect=0.7)
    for (left_out, values), style in zip(curves.items(), ("-", "--")):
        for ax, name in zip(axes, ("A@K", "P@K")):
            ax.plot(ks, values[name], style, c=BLUE, label=f"trained\n{left_out} out")
            ax.plot(
                ks,
                values[f"chance {name}"],
                style,
                c=RED,
                label=f"chance\n{left_out} out",
            )
    for ax, title in zip(
        axes, ("A@K: at least one", "P@K: the fraction that is right")
    ):
        ax.set(title=title, xlabel="K (items)", ylabel="fraction", ylim=(0, 1.02))
    handles, labels = axes[0].get_legend_handles_labels()
    place: Any = "outside center right"  # matplotlib's types do not know it
    figure.legend(handles, labels, fontsize=8, loc=place)
    return figure


def hubs(
    often: Mapping[tuple[str, str], Tensor], scenes: Mapping[str, Sequence[Scene]]
) -> Figure:
    """In how many lists each image is, and the image that is in most of them.

    often: {(model, split): (N,)}; scenes: the N clips of each split. The images are those
    of "trained".
    """
    figure = plt.figure(figsize=(10.5, 3.1))
    curves, *panels = figure.subplots(
        1, 1 + len(scenes), width_ratios=(1.9, *(1 for _ in scenes))
    )
    for (model, split), counts in often.items():
        style = "-" if model == "trained" else ":"
        color = PALETTE[list(scenes).index(split)]
        values = np.sort(counts.numpy())[::-1]
        numbers = np.arange(1, len(values) + 1)
        label = split if model == "trained" else None
        curves.plot(numbers, values, style, color=color, lw=2, label=label)
    curves.plot([], [], ":", color=BLACK, lw=2, label="untrained")
    mean = float(next(iter(often.values())).double().mean())
    curves.axhline(mean, color="0.6", lw=1, label="the mean")
    curves.set(
        title="lists that hold an image",
        xlabel="images, the most frequent first",
        ylabel="lists",
        xscale="log",
        yscale="log",
    )
    curves.legend(fontsize=8, loc="lower left", handlelength=1.2, frameon=False)
    for ax, (split, clips) in zip(panels, scenes.items()):
        counts = often["trained", split]
        most = int(counts.argmax())
        show_image(ax, clips[most].image)
        ax.set_title(f"{split}, trained:\nin {counts[most]} of {len(clips)} lists")
    return figure


def modality_gap(sounds: Tensor, images: Tensor, names: np.ndarray) -> Figure:
    """Unit vectors of sounds (n, C) and images (n, C) along two principal directions.

    Left as they are, right with each kind shifted by its mean. names (n,): classes,
    a colour for each; sounds are discs, images triangles.
    """
    both = torch.stack([sounds, images])
    panels = {"as they are": both, "each centred": both - both.mean(1, keepdim=True)}
    figure, axes = grid(2, columns=2, size=4.2, aspect=0.85)
    for ax, (title, vectors) in zip(axes, panels.items()):
        points, fraction = principal(vectors.flatten(0, 1))
        for kind, marker in zip(points.unflatten(0, (2, -1)).numpy(), "o^"):
            for name, color in zip(sorted(set(names)), PALETTE):
                ax.scatter(
                    *kind[names == name].T,
                    s=24,
                    c=color,
                    marker=marker,
                    alpha=0.7,
                    label=name.replace("_", " "),
                )
        ax.set(
            title=f"{title} ({fraction:.0%} of the variance)",
            xlabel="first principal direction",
            ylabel="second principal direction",
        )
        ax.set_aspect("equal", "datalim")
    handles, labels = axes[0].get_legend_handles_labels()
    count = len(set(names))
    place: Any = "outside center right"
    figure.legend(
        handles[:count],
        labels[:count],
        fontsize=9,
        title_fontsize=9,
        title="● sound\n▲ image",
        loc=place,
    )
    return figure


def principal(vectors: Tensor) -> tuple[Tensor, float]:
    """Vectors (n, C) along their two principal directions (n, 2); explained variance.

    The sign of a direction is set so that its largest component is positive.
    """
    flat = vectors - vectors.mean(0)
    directions = torch.linalg.svd(flat, full_matrices=False).Vh[:2]
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    points = flat @ (directions * largest.sign()).T
    return points, float(points.square().sum() / flat.square().sum())
