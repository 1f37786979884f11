"""Figures of notebook 04: what stays, what follows the transform, and collapse."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import pandas as pd
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch, Rectangle
from torch import Tensor

from sslnb import augment
from sslnb.data.media import MEAN, STD
from sslnb.teach.plot.base import (
    BLUE,
    ORANGE,
    PALETTE,
    RED,
    SIGNED,
    SKY,
    legend_below,
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


def denormalise(images: Tensor) -> Tensor:
    """Normalised images (…, 3, S, S) with values in [0, 1] again."""
    std, mean = torch.tensor(STD), torch.tensor(MEAN)
    return (images * std[:, None, None] + mean[:, None, None]).clamp(0, 1)


def map_pairs(
    images: Tensor, maps_1: Tensor, maps_2: Tensor, theta: Tensor, titles: Sequence[str]
) -> Figure:
    """A row a scene: T(I), T(S¹), S², and S² − T(S¹) on the cells that count.

    images I (N, 3, S, S), normalised; maps_1 S¹ of I, and maps_2 S² of T(I), (N, h, w);
    theta (N, 2, 3): T. The titles stand at the left, L_geo above each difference.
    """
    targets = augment.warp(maps_1, theta)
    inside = augment.in_frame(theta, *maps_1.shape[1:])
    differences = (maps_2 - targets).masked_fill(~inside, torch.nan)
    limit = differences.nan_to_num().abs().max().item()
    figure, axes = plt.subplots(
        len(images), 4, figsize=(9.5, 2.4 * len(images)), squeeze=False
    )
    transformed = denormalise(augment.warp(images, theta))
    for k, (row, image) in enumerate(zip(axes, transformed)):
        both = torch.stack([targets[k], maps_2[k]])
        both = both[:, inside[k]] if inside[k].any() else both
        span = {"low": both.min().item(), "high": both.max().item()}
        names = ("T(I)", "T(S¹): branch 1", "S²: branch 2") if k == 0 else [""] * 3
        show_image(row[0], image, names[0])
        show_heatmap(row[1], image, targets[k], names[1], **span)
        show_heatmap(row[2], image, maps_2[k], names[2], **span)
        difference = row[3].imshow(
            differences[k].numpy(), cmap=SIGNED, vmin=-limit, vmax=limit
        )
        loss = differences[k].square().nanmean().nan_to_num()
        row[3].set(xticks=[], yticks=[], facecolor="0.75", title=f"L_geo {loss:.4f}")
        row[0].set_ylabel(titles[k])
    figure.colorbar(difference, ax=axes[:, 3], label="S² − T(S¹), cosines")
    return figure


def veil(image: Tensor, cells: Tensor, color: str = ORANGE) -> Tensor:
    """An image (3, S, S) in [0, 1] with the cells of a mask (h, w) under a colour."""
    mask = 0.65 * F.interpolate(cells[None, None].float(), image.shape[-2:])[0]
    return image * (1 - mask) + torch.tensor(to_rgba(color)[:3])[:, None, None] * mask


def collapse(
    deviations: Mapping[str, Sequence[float]],
    images: Tensor,
    stages: Mapping[str, Tensor],
) -> Figure:
    """Spatial standard deviation over steps; maps of two images at each stage.

    deviations {run: [values]}; images (N, 3, S, S); stages {title: maps (N, h, w)}.
    """
    figure, axes = plt.subplots(
        2, 1 + len(stages), figsize=(12.5, 4), width_ratios=(3, *[1] * len(stages))
    )
    for ax in axes[:, 0]:
        ax.remove()
    curves = figure.add_subplot(axes[0, 0].get_gridspec()[:, 0])
    for (name, values), style in zip(deviations.items(), ("-", "--", "-.")):
        curves.plot(range(1, len(values) + 1), values, style, lw=2, label=name)
    curves.set(
        title="Do the maps keep their contrast?",
        ylim=0,
        xlabel="step",
        ylabel="spatial standard deviation (cosine)",
    )
    curves.legend(fontsize=8, loc="lower left")
    first = next(iter(stages.values()))
    chosen = first.std((1, 2)).topk(2).indices.tolist()
    for column, (title, maps) in enumerate(stages.items(), start=1):
        for row, k in enumerate(chosen):
            ax = axes[row, column]
            show_heatmap(ax, images[k], maps[k], "" if row else title)
            ax.title.set_size("small")
    return figure


def error_sweeps(errors: Mapping[str, Mapping[str, Mapping[float, float]]]) -> Figure:
    """Equivariance errors over shift, rotation and scale, and for a flip.

    errors: {"shift" | "rotation" | "scale" | "flip": {network: {value: error}}}; shifts
    in pixels, angles in degrees. The line at 1 is the error of a constant map. Shifts
    have a finer scale.
    """
    figure, axes = plt.subplots(1, 4, figsize=(12.5, 3.5), width_ratios=(3, 3, 3, 1.4))
    labels = "shift (pixels; 8 to a cell)", "angle (degrees)", "scale of the content"
    for ax, label, (sweep, lines) in zip(axes, labels, errors.items()):
        for (name, line), style in zip(lines.items(), ("o-", "s-", ":")):
            color = "0.3" if style == ":" else None
            ax.plot(list(line), line.values(), style, ms=4, color=color, label=name)
        ax.set(title=sweep, xlabel=label)
    for k, (name, line) in enumerate(errors["flip"].items()):
        axes[3].bar(name.replace("untr", "un-\ntr"), line.values(), color=PALETTE[k])
    axes[3].set_title("flip")
    highest = max(max(line.values()) for e in errors.values() for line in e.values())
    for ax in axes[1:]:
        ax.axhline(1, color="0.6", lw=1, zorder=0)
        ax.set_ylim(0, 1.05 * highest)
    shifts = list(errors["shift"].values())
    axes[0].set(
        title="shift (finer scale)",
        ylabel="equivariance error e(T)",
        ylim=(0, 1.6 * max(max(line.values()) for line in shifts)),
        xticks=range(0, int(max(shifts[0])) + 1, 8),
    )
    axes[1].set_xticks(range(0, 181, 45))
    axes[2].set_xscale("log", base=2)
    axes[2].set_xticks([0.5, 1, 2], ["½", "1", "2"])
    for ax in axes[:2]:
        ax.legend(fontsize=8, loc="upper left")
    return figure


def seed_scatter(
    results: Mapping[str, pd.DataFrame], transforms: Sequence[str]
) -> Figure:
    """e(T) of each transform above, other measures below: one marker a seed.

    results {setting: a row a seed, a column a transform or measure}; rotations are the
    transforms that are named so. Lines are means over seeds.
    """
    rotations = [name for name in transforms if name.startswith("rotation")]
    others = [name for name in transforms if name not in rotations]
    columns = next(iter(results.values())).columns
    measures = [name for name in columns if name not in transforms]
    figure = plt.figure(figsize=(12.5, 6.6))
    rows = figure.add_gridspec(2, 1, height_ratios=(3, 2))
    above, below = figure.add_subfigure(rows[0]), figure.add_subfigure(rows[1])
    left, right = above.subplots(1, 2, sharey=True, width_ratios=(7, 5))
    angles = [name.removeprefix("rotation ") for name in rotations]
    _seeds_beside(left, results, rotations, angles)
    _seeds_beside(right, results, others, others)
    left.set(title="rotation", ylabel="equivariance error e(T)")
    right.set_title("other transforms")
    for ax in (left, right):
        ax.axhline(1, color="0.6", lw=1, zorder=0)
        ax.set_ylim(0)
    left.legend(fontsize=8, loc="upper left", title="mean; one marker per seed")
    for ax, name in zip(below.subplots(1, len(measures), squeeze=False)[0], measures):
        _seeds_beside(ax, results, [name], [""])
        ax.set(title=name, xticks=[])
    return figure


def _seeds_beside(
    ax: Axes,
    results: Mapping[str, pd.DataFrame],
    names: Sequence[str],
    labels: Sequence[str],
) -> None:
    """The settings side by side at each of several columns of the results."""
    middle = (len(results) - 1) / 2
    for k, (setting, runs) in enumerate(results.items()):
        color = PALETTE[k % len(PALETTE)]
        for place, name in enumerate(names):
            x = place + 0.24 * (k - middle)
            ax.hlines(runs[name].mean(), x - 0.1, x + 0.1, color=color, lw=2)
            for seed, value in enumerate(runs[name]):
                ax.plot(x, value, "os^vD"[seed % 5], color=color, ms=5, alpha=0.7)
        ax.plot([], [], color=color, lw=2, label=setting)
    ax.set_xticks(range(len(names)), labels, fontsize=9)
    ax.margins(x=0.05 if len(names) > 1 else 0.4)


def rotated_maps(
    images: Tensor, theta: Tensor, maps: Mapping[str, Tensor], angles: Sequence[float]
) -> Figure:
    """A row a network: the maps of one image rotated by several angles, of which 0 is first.

    images T(I) (K, 3, S, S), normalised; theta (K, 2, 3); angles in degrees; maps
    {network: Φ(T(I)) (K, h, h)}. White encloses where the foreground should be: the
    cells of T(Φ(I)) above the median of Φ(I). Out-of-frame cells have no colour; a row
    has one colour scale.
    """
    figure, axes = plt.subplots(
        len(maps),
        len(images),
        figsize=(1.75 * len(images), 1.85 * len(maps)),
        squeeze=False,
    )
    photos = denormalise(images)
    for row, (name, found) in zip(axes, maps.items()):
        expected = augment.warp(found[:1].expand_as(found), theta)
        inside = augment.in_frame(theta, *found.shape[1:])
        span = {"low": found[inside].min().item(), "high": found[inside].max().item()}
        cells = found.shape[-1]
        at = (torch.arange(-1, cells + 1) + 0.5) / cells  # and one around the image
        for ax, photo, after, target, known, angle in zip(
            row, photos, found, expected, inside, angles
        ):
            shown = after.masked_fill(~known, torch.nan)
            show_heatmap(ax, photo, shown, f"{angle:g}°", **span)
            wanted = F.pad((known & (target > found[0].median())).float(), [1] * 4)
            ends = ax.get_xlim(), ax.get_ylim()
            ax.contour(at, at, wanted, [0.5], colors="white", linewidths=1.5)
            ax.set(xlim=ends[0], ylim=ends[1])
        row[0].set_ylabel(name)
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
    figure.suptitle("Upper path: map, then transform. Lower path: transform, then map.")
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
    upper = ("I", "M", 0.8, "Φ"), ("M", "T", 0.5, "T")
    lower = ("I", "A", 0.2, "T"), ("A", "P", 0.5, "Φ")
    for start, end, height, name in (*upper, *lower):
        axes[start].annotate(
            name,
            (1.03, height),
            (8, 9),
            "axes fraction",
            "offset points",
            annotation_clip=False,
        )
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


TRIED = {"test": BLUE, "unseen": ORANGE}  # splits of the fair trial, and their colours


def over_setting(
    runs: pd.DataFrame,
    setting: str,
    hue: str,
    measures: Mapping[str, str],
    label: str,
    prior: Mapping[str, Mapping[str, float]] | None = None,
) -> Figure:
    """Measures of runs over one setting: a dot a run, a line through the means of a hue.

    runs: a row a run; setting, hue: columns; measures {column: title}; label: of the
    setting, whose values stand at even distances; prior {hue: {column: the centre prior's
    score}}, drawn across.
    """
    values, count = sorted(runs[setting].unique()), len(measures)
    figure, axes = plt.subplots(1, count, figsize=(3.6 * count, 3.5), squeeze=False)
    for ax, (name, title) in zip(axes[0], measures.items()):
        for k, (key, group) in enumerate(runs.groupby(hue, sort=False)):
            color, aside = PALETTE[k % len(PALETTE)], 0.16 * (k % 2) - 0.08
            means = group.groupby(setting)[name].mean()
            at = [values.index(value) + aside for value in group[setting]]
            ax.plot(at, group[name], "o", color=color, alpha=0.6, ms=5)
            line = [values.index(value) for value in means.index]
            ax.plot(line, means, color=color, label=str(key))
            if known := (prior or {}).get(str(key), {}).get(name):
                ax.axhline(known, ls=":", color=color, label=f"centre prior, {key}")
        ax.set(title=title, xlabel=label)
        if name != "AUC":  # which comes nowhere near 0
            ax.set_ylim(0, 1.06 * runs[name].max())
        names = [v if isinstance(v, str) else f"{v:,g}" for v in values]
        ax.set_xticks(range(len(values)), names, fontsize=9)
    legend_below(figure, axes[0, 0])
    return figure


def by_variant(
    trial: pd.DataFrame, weights: tuple[float, float], measures: Mapping[str, str]
) -> Figure:
    """Measures of every variant at two λ_geo, means over seeds, joined by a line.

    Hollow is the first, full the second. trial: as `teach.equivariance.trial` gives it;
    measures {column: title}.
    """
    names = list(dict.fromkeys(trial["variant"]))
    figure, axes = plt.subplots(
        1,
        len(measures),
        figsize=(3.6 * len(measures) + 1.2, 0.36 * len(names) + 1.25),
        sharey=True,
        squeeze=False,
    )
    for ax, (name, title) in zip(axes[0], measures.items()):
        for k, (split, color) in enumerate(TRIED.items()):
            runs = trial[trial["split"] == split]
            means = runs.groupby(["variant", "weight"])[name].mean().unstack()
            y = [row + 0.24 * (k - 0.5) for row in range(len(names))]
            start, end = (means.loc[names, weight] for weight in weights)
            ax.hlines(y, start, end, color=color, lw=1.5)
            for values, face in ((start, "white"), (end, color)):
                ax.plot(values, y, "o", color=color, mfc=face, ms=6)
            ax.plot([], [], "o-", color=color, label=split)
        ax.set(title=title)
        if name != "AUC":  # which comes nowhere near 0
            ax.set_xlim(0)
    axes[0, 0].set_yticks(range(len(names)), names)
    axes[0, 0].invert_yaxis()
    for weight, face in zip(weights, ("white", "grey")):
        look = {"color": "grey", "mfc": face, "label": f"$λ_{{geo}}$ = {weight:g}"}
        axes[0, -1].plot([], [], "o", **look)
    legend_below(figure, axes[0, -1])
    return figure
