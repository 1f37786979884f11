"""Figures of notebook 04: what stays, what follows the transform, and collapse."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch, Rectangle
from torch import Tensor

from sslnb.teach.plot.base import (
    ORANGE,
    PALETTE,
    RED,
    SIGNED,
    SKY,
    show_heatmap,
    show_image,
)


def what_and_where(
    shifts: Sequence[float],
    own: Sequence[float],
    other: Sequence[float],
    peaks: Sequence[float],
) -> Figure:
    """Score of the maps, and shift of their peak, over shifts of the image (cells)."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.4))
    left.plot(shifts, own, "o-", label="its own sound")
    left.plot(shifts, other, "s--", label="another clip's sound")
    left.set(
        title="what: the score hardly changes (invariance)",
        ylabel="score P, eq. 6",
        ylim=(0, 1),
    )
    right.plot(shifts, shifts, color="0.6", label="equation 9")
    right.plot(shifts, peaks, "o", color=RED, label="median scene")
    right.set(
        title="where: the peak shifts too (equivariance)",
        ylabel="shift of the peak (cells)",
    )
    for ax in (left, right):
        ax.set_xlabel("shift of the image to the right (cells)")
        ax.legend()
    return figure


def receptive_fields(fields: Mapping[str, Tensor], corner: int, side: int) -> Figure:
    """{name: field (S, S)} with their centres of mass, and the square of their cell.

    The square begins at pixel (corner, corner) and is `side` pixels wide.
    """
    figure, axes = plt.subplots(1, len(fields), figsize=(11, 4.2), squeeze=False)
    for ax, (name, field) in zip(axes[0], fields.items()):
        position = torch.arange(len(field), dtype=field.dtype)
        x, y = ((field.sum(axis) @ position / field.sum()).item() for axis in (0, 1))
        ax.imshow(field.sqrt().numpy(), cmap="magma")
        ax.add_patch(
            Rectangle((corner - 0.5, corner - 0.5), side, side, fc="none", ec="white")
        )
        ax.plot(x, y, "+", color=SKY, ms=12, mew=2)
        near = corner - 20, corner + side + 22
        ax.set(
            title=f"{name}:\ncentred on ({x:.1f}, {y:.1f})",
            xlim=near,
            ylim=near[::-1],
            xlabel="pixel",
            ylabel="pixel",
        )
    middle = corner + (side - 1) / 2
    figure.suptitle(f"White: the square of the cell, centred on ({middle}, {middle})")
    return figure


def map_pairs(
    images: Tensor,
    maps_1: Tensor,
    maps_2: Tensor,
    inside: Tensor,
    titles: Sequence[str],
    notes: Sequence[str],
) -> Figure:
    """A row a scene: T(I), T(S¹), S², and S² − T(S¹) on the cells `inside`.

    images (N, 3, S, S) in [0, 1]; maps and inside (N, h, w); titles stand at the left,
    notes above the differences.
    """
    figure, axes = plt.subplots(
        len(images), 4, figsize=(9.5, 2.4 * len(images)), squeeze=False
    )
    differences = (maps_2 - maps_1).masked_fill(~inside, torch.nan)
    limit = differences.nan_to_num().abs().max().item()
    for k, row in enumerate(axes):
        both = torch.stack([maps_1[k], maps_2[k]])
        span = {"low": both.min().item(), "high": both.max().item()}
        show_image(row[0], images[k], "T(I)")
        show_heatmap(row[1], images[k], maps_1[k], "T(S¹): branch 1", **span)
        show_heatmap(row[2], images[k], maps_2[k], "S²: branch 2", **span)
        difference = row[3].imshow(
            differences[k].numpy(), cmap=SIGNED, vmin=-limit, vmax=limit
        )
        row[3].set(xticks=[], yticks=[], facecolor="0.75", title=notes[k])
        row[0].set_ylabel(titles[k])
    figure.colorbar(difference, ax=axes[:, 3], label="S² − T(S¹), cosines")
    return figure


def veil(image: Tensor, cells: Tensor, color: str = ORANGE) -> Tensor:
    """An image (3, S, S) in [0, 1] with the cells of a mask (h, w) under a colour."""
    mask = 0.5 * F.interpolate(cells[None, None].float(), image.shape[-2:])[0]
    return image * (1 - mask) + torch.tensor(to_rgba(color)[:3])[:, None, None] * mask


def gradient_steps(
    images: Sequence[Tensor], gradients: Sequence[Tensor], titles: Sequence[str]
) -> Figure:
    """How a step against the gradients (h, w) changes maps, over their images."""
    figure, axes = plt.subplots(1, len(images), figsize=(7.5, 3.6))
    limit = max(gradient.abs().max().item() for gradient in gradients)
    for ax, image, gradient, title in zip(axes, images, gradients, titles):
        show_image(ax, image, title)
        change = ax.imshow(
            (-gradient / limit).numpy(),
            extent=(0, 1, 1, 0),
            vmin=-1,
            vmax=1,
            cmap=SIGNED,
            alpha=0.75,
        )
    figure.colorbar(change, ax=axes, label="lowered … raised (1: most)")
    return figure


def collapse(
    deviations: Mapping[str, Sequence[float]],
    images: Tensor,
    stages: Mapping[str, Tensor],
) -> Figure:
    """Spatial standard deviation over steps; maps of two images at each stage.

    deviations {run: [values]}; images (N, 3, S, S); stages {title: maps (N, h, w)}.
    """
    figure = plt.figure(figsize=(11, 4.2))
    axes = figure.subplot_mosaic("Cabc;Cdef", width_ratios=(3, 1, 1, 1))
    for (name, values), style in zip(deviations.items(), ("-", "--", "-.")):
        axes["C"].plot(values, style, lw=2, label=name)
    axes["C"].set(
        title="Do the maps keep their contrast?",
        ylim=0,
        xlabel="step",
        ylabel="spatial standard deviation (cosine)",
    )
    axes["C"].legend(fontsize=8, loc="lower left")
    first = next(iter(stages.values()))
    for row, k in zip(("abc", "def"), first.std((1, 2)).topk(2).indices.tolist()):
        for panel, (title, maps) in zip(row, stages.items()):
            show_heatmap(axes[panel], images[k], maps[k], title if row == "abc" else "")
    return figure


def error_sweeps(
    pixels: Sequence[int],
    angles: Sequence[float],
    scales: Sequence[float],
    errors: Mapping[str, Mapping[str, Sequence[float]]],
) -> Figure:
    """Equivariance errors over shift, rotation and scale, and for a flip.

    errors: {"shift" | "rotation" | "scale" | "flip": {network: error for each value}}.
    The line at 1 is the error of a constant map. Shifts have a finer scale.
    """
    figure, axes = plt.subplots(1, 4, figsize=(12.5, 3.5), width_ratios=(3, 3, 3, 1.4))
    labels = "shift (pixels; 8 to a cell)", "angle (degrees)", "scale of the content"
    values = pixels, angles, scales
    for ax, x, label, (sweep, lines) in zip(axes, values, labels, errors.items()):
        for (name, line), style in zip(lines.items(), ("o-", "s-", ":")):
            color = "0.3" if style == ":" else None
            ax.plot(x, line, style, ms=4, color=color, label=name)
        ax.set(title=sweep, xlabel=label)
    for k, (name, line) in enumerate(errors["flip"].items()):
        axes[3].bar(name.replace("untr", "un-\ntr"), line, color=PALETTE[k])
    axes[3].set_title("flip")
    highest = max(max(line) for lines in errors.values() for line in lines.values())
    for ax in axes[1:]:
        ax.axhline(1, color="0.6", lw=1, zorder=0)
        ax.set_ylim(0, 1.05 * highest)
    highest = max(max(line) for line in errors["shift"].values())
    axes[0].set(
        title="shift (finer scale)",
        ylabel="equivariance error e(T)",
        ylim=(0, 1.6 * highest),
        xticks=range(0, max(pixels) + 1, 8),
    )
    axes[1].set_xticks(range(0, 181, 45))
    axes[2].set_xscale("log", base=2)
    axes[2].set_xticks([0.5, 1, 2], ["½", "1", "2"])
    for ax in axes[:2]:
        ax.legend(fontsize=8, loc="upper left")
    return figure


def seed_scatter(
    results: Mapping[str, Sequence[Mapping[str, float]]], start: Mapping[str, float]
) -> Figure:
    """One panel a measure, one marker a seed; results: {setting: [measures, …]}.

    start: the measures before training, a grey line.
    """
    figure, axes = plt.subplots(1, len(start), figsize=(12.5, 3.3), squeeze=False)
    for ax, (name, value) in zip(axes[0], start.items()):
        ax.axhline(value, color="0.6", label="at the start")
        for k, runs in enumerate(zip(*results.values())):
            x = [place + 0.12 * k for place in range(len(runs))]  # side by side
            ax.plot(
                x,
                [run[name] for run in runs],
                "os^vD"[k % 5],
                color=PALETTE[k % len(PALETTE)],
                label=f"seed {k}",
            )
        ax.set(title=name)
        ax.set_xticks(range(len(results)), results, fontsize=8)
        ax.margins(x=0.15)
    figure.legend(
        *ax.get_legend_handles_labels(), fontsize=8, loc="outside right center"
    )
    return figure


def two_ways(
    image: Tensor,
    transformed: Tensor,
    map_1: Tensor,
    transformed_map: Tensor,
    map_2: Tensor,
    in_frame: Tensor,
) -> Figure:
    """Equation 9 as a diagram: the transform of the map above, the map of it below.

    image I and transformed = T(I), (3, S, S) in [0, 1]; map_1 = Φ(I), transformed_map =
    T(Φ(I)) and map_2 = Φ(T(I)), all (h, w). The difference is shown where in_frame
    (h, w), bool, is true.
    """
    figure = plt.figure(figsize=(11, 5))
    axes = figure.subplot_mosaic("IMTD;IAPD", width_ratios=(1, 1, 1, 1.15))
    span = {"low": map_1.min().item(), "high": map_1.max().item()}
    show_image(axes["I"], image, "image I")
    show_image(axes["A"], transformed, "transformed image T(I)")
    show_heatmap(axes["M"], image, map_1, "response map Φ(I)", **span)
    show_heatmap(axes["T"], transformed, transformed_map, "T(Φ(I))", **span)
    show_heatmap(axes["P"], transformed, map_2, "Φ(T(I))", **span)
    gap = (map_2 - transformed_map).detach().masked_fill(~in_frame, torch.nan)
    reach = gap.nan_to_num().abs().max().item() or 1.0
    difference = axes["D"].imshow(gap, cmap=SIGNED, vmin=-reach, vmax=reach)
    axes["D"].set(title="Φ(T(I)) − T(Φ(I))", xticks=[], yticks=[], facecolor="0.75")
    figure.colorbar(
        difference, ax=axes["D"], label="cosine", orientation="horizontal", shrink=0.8
    )
    arrows = (("I", "M", 0.8), ("M", "T", 0.5), ("I", "A", 0.2), ("A", "P", 0.5))
    for start, end, height in arrows:
        figure.add_artist(
            ConnectionPatch(
                (1.03, height),
                (-0.05, 0.5),
                "axes fraction",
                "axes fraction",
                axesA=axes[start],
                axesB=axes[end],
                arrowstyle="-|>",
                mutation_scale=16,
                color="black",
            )
        )
    return figure
