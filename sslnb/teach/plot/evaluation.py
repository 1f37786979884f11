"""Figures of notebook 06 and appendix A2: cIoU step by step, scores, maps with peaks."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Arc, FancyBboxPatch, Polygon
from torch import Tensor

from sslnb.data.clips import Clips
from sslnb.data.media import AudioConfig
from sslnb.data.soundstamps import Scene
from sslnb.localise.metrics import mask_ciou, resize
from sslnb.teach.plot.base import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    PINK,
    RED,
    SKY,
    Array,
    grid,
    legend_below,
    show_heatmap,
    show_image,
    show_overlap,
    show_spectrogram,
)

STYLES = {  # of whatever is compared, in every figure
    "oracle": (GREEN, "--", "|"),
    "the model": (BLUE, "-", "o"),
    "centre prior": (BLACK, ":", "d"),
}


def show_peak(ax: Axes, p: Tensor) -> None:
    """Mark the maximum of a map (h, w), the first in reading order, by a cross."""
    row, column = divmod(int(p.argmax()), p.shape[1])
    x, y = (column + 0.5) / p.shape[1], (row + 0.5) / p.shape[0]
    ax.plot(x, y, "X", color=RED, mec="white", ms=11)


def image_sound_map(
    image: Array,
    boxes: Sequence,
    spectrogram: Array,
    config: AudioConfig,
    response: Tensor,
) -> Figure:
    """An image with its boxes, the spectrogram of its sound, and the response map."""
    figure, (left, middle, right) = plt.subplots(
        1, 3, figsize=(10, 3.2), width_ratios=(1, 1.25, 1.2)
    )
    show_image(left, image, "the image; boxed: what sounds", boxes)
    show_spectrogram(middle, spectrogram, config, "its sound")
    heat = right.imshow(response.numpy())
    right.set(
        title="response map (cosines)",
        xlabel="cell",
        ylabel="cell",
        xticks=range(0, response.shape[1], 3),
        yticks=range(0, response.shape[0], 3),
    )
    figure.colorbar(heat, ax=right)
    return figure


def ciou_steps(
    image: Array,
    boxes: Sequence,
    p: Tensor,
    threshold: Tensor,
    g: Tensor,
    score: Tensor,
) -> Figure:
    """From a normalised map p (224, 224) to its cIoU with weights g (224, 224)."""
    mask = p > threshold
    figure, axes = plt.subplots(1, 4, figsize=(12, 3.3), width_ratios=(1, 1.1, 1, 1))
    show_heatmap(axes[0], image, p, "1  map p, resized", boxes)
    axes[1].hist(p.flatten(), 60, color=SKY, histtype="stepfilled")
    axes[1].axvline(float(threshold), color=RED)
    axes[1].set(
        title="2  values of p; line: median t", xlabel="p", ylabel="pixels", yticks=[]
    )
    show_overlap(axes[2], image, mask, mask, "3  mask M: half of the image")
    show_overlap(axes[3], image, mask, g > 0, f"4  cIoU {score:.2f}")
    return figure


def success_curves(ciou: Mapping[str, Tensor]) -> Figure:
    """Histogram of the model's cIoU, and success rates against the threshold.

    ciou: cIoU (N,) of each name in STYLES; "the model" is among them.
    """
    model, thresholds = ciou["the model"], torch.arange(21) / 20
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4))
    left.hist(model, np.arange(21) / 20, color=SKY)
    left.axvline(0.5, color=RED, label="0.5: a success")
    left.axvline(float(model.mean()), color=BLUE, ls="--", label="mean")
    left.set(title="cIoU of each clip", xlabel="cIoU", ylabel="clips")
    left.legend(fontsize=9)
    for name, values in ciou.items():
        color, style, _ = STYLES[name]
        curve = (values[:, None] >= thresholds).double().mean(0)
        right.plot(thresholds, curve, style, color=color, label=name)
        if name == "the model":
            right.fill_between(thresholds, curve, alpha=0.2, color=color)
            right.plot(0.5, curve[10], "o", color=RED)
    right.set(
        title="success rate at every threshold; shaded: AUC",
        xlabel="threshold θ",
        ylabel="fraction of clips with cIoU ≥ θ",
    )
    right.legend(fontsize=9)
    return figure


def against_size(size: Tensor, ciou: Mapping[str, Tensor]) -> Figure:
    """cIoU (N,) of each name against object size (N,), under the oracle upper bound."""
    s = torch.linspace(0.005, 1, 200)
    figure, ax = plt.subplots(figsize=(8, 3.8))
    ax.axvspan(0, 0.25, color="0.92")
    ax.axhline(0.5, color=RED, lw=1, label="success")
    bound = s.clamp(max=0.5) / s.clamp(min=0.5)
    ax.plot(s, bound, color=GREEN, label="oracle upper bound")
    for name, values in ciou.items():
        color, _, marker = STYLES[name]
        ax.plot(size, values, marker, color=color, ms=4, mfc="none", label=name)
    ax.text(0.01, 0.95, "out of reach", color="0.35")
    ax.set(
        title="What a clip can score, and what it scores",
        xlabel="fraction of the image that the boxes cover",
        ylabel="cIoU",
        xlim=(0, 1),
        ylim=(0, 1.02),
    )
    ax.legend(loc="upper right", fontsize=9)
    return figure


def at_quantiles(
    image: Array, boxes: Sequence, p: Tensor, g: Tensor, quantiles: Sequence[float]
) -> Figure:
    """A map p over its image, and its masks above some quantiles against weights g."""
    figure, axes = grid(1 + len(quantiles), columns=1 + len(quantiles), size=2.6)
    show_heatmap(axes[0], image, p, "the map", boxes)
    for ax, quantile in zip(axes[1:], quantiles):
        mask = p > p.flatten().sort().values[int(p.numel() * quantile)]
        ciou = mask_ciou(mask[None], g[None])[0]
        show_overlap(ax, image, mask, g > 0, f"quantile {quantile}: cIoU {ciou:.2f}")
    return figure


def gains(sets: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Scores less the centre prior's, in points: a panel per set, a row per score.

    sets: {set: {score: (value, low, high)}}, fractions. Blue: the interval lies above
    zero; vermilion: below; grey: it includes zero.
    """
    figure, axes = plt.subplots(
        1, len(sets), figsize=(12, 3.2), sharey=True, squeeze=False
    )
    for ax, (name, scores) in zip(axes[0], sets.items()):
        ax.axvline(0, color=STYLES["centre prior"][0], ls=":", lw=2)
        for y, interval in enumerate(scores.values()):
            value, low, high = (100 * x for x in interval)
            color = BLUE if low > 0 else RED if high < 0 else "0.55"
            ax.plot([low, high], [y, y], color=color, lw=2)
            ax.plot(value, y, "o", color=color, ms=7)
        ax.set(
            title=name,
            xlabel="points",
            xlim=(-60, 60),
            ylim=(len(scores) - 0.4, -0.6),
            yticks=range(len(scores)),
            yticklabels=list(scores),
        )
        ax.grid(axis="y", color="0.92")
    figure.suptitle(
        "The model less the centre prior (dotted), 95 % intervals: "
        "blue above, vermilion below, grey undecided"
    )
    return figure


def listening(
    sets: Mapping[str, Mapping[str, Mapping[str, Any]]],
    scores: Sequence[str] = ("pointing", "cIoU"),
) -> Figure:
    """What the fitting sound adds, in points: a panel per score, a row per set.

    sets: {set: {sound in its place: {score: (value, low, high)}}}, fractions, as in
    `Listening.differences`.
    """
    figure, axes = plt.subplots(
        1, len(scores), figsize=(10, 1 + 0.6 * len(sets)), sharey=True, squeeze=False
    )
    looks = ((BLUE, "o", -0.15), (ORANGE, "s", 0.15))
    for ax, score in zip(axes[0], scores):
        ax.axvline(0, color=BLACK, lw=1)
        for y, differences in enumerate(sets.values()):
            for (sound, row), (color, marker, up) in zip(differences.items(), looks):
                value, low, high = (100 * x for x in row[score])
                ax.plot([low, high], [y + up] * 2, color=color, lw=2)
                label = f"fitting − {sound}" if y == 0 else None
                ax.plot(value, y + up, marker, color=color, ms=7, label=label)
        ax.set(
            title=score,
            xlabel="points",
            yticks=range(len(sets)),
            yticklabels=list(sets),
            ylim=(len(sets) - 0.5, -0.5),
        )
        ax.grid(axis="x", color="0.92")
    legend_below(figure, axes[0, 0])
    figure.suptitle("What the fitting sound adds to a score, 95 % intervals")
    return figure


def two_sounds(scenes: Sequence[Scene], maps: Sequence[Tensor]) -> Figure:
    """A scene a column, one of its objects' sounds a row: map, peak and the object.

    maps: for each row p (N, 224, 224) of the N scenes, with the sound of object 0, 1, …
    """
    figure, axes = plt.subplots(
        len(maps), len(scenes), figsize=(10.5, 2.7 * len(maps)), squeeze=False
    )
    for k, (line, row) in enumerate(zip(axes, maps)):
        for ax, scene, p in zip(line, scenes, row):
            name = (scene.class_name, *scene.silent)[k].replace("_", " ")
            show_heatmap(ax, scene.image, p, f"♪ {name}")
            ax.contour(
                np.asarray(scene.objects[k], float),
                [0.5],
                colors="white",
                extent=(0, 1, 0, 1),
                linewidths=2,
            )
            show_peak(ax, p)
    figure.suptitle("One image, two sounds: outlined what sounds, × the peak")
    return figure


def opening(
    image: Array,
    names: Sequence[str],
    maps: Iterable[Tensor],
    sounds: Iterable[Tensor],
    note: str,
) -> Figure:
    """The picture that opens the series: an image, and its map under each of two sounds.

    maps: p (224, 224) each; sounds: spectrograms (F, T); names: of what sounds; note: a
    line below. A white card with round corners, so it stands on light and dark pages.
    """
    width, height, side, gap = 10.0, 4.75, 3.06, 0.16  # inches
    figure = plt.figure(figsize=(width, height), facecolor="none", layout="none")
    card = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, height))
    card.axis("off")
    shape = FancyBboxPatch(
        (0.14, 0.14),
        width - 0.28,
        height - 0.28,
        "round,pad=0.12",
        fc="white",
        ec="0.85",
    )
    card.add_patch(shape)
    left = (width - 3 * side - 2 * gap) / 2
    place = [left + k * (side + gap) for k in range(3)]
    bottom, top = 0.58, 0.58 + side + 0.1

    def panel(x, y, w, h):
        box = (x / width, y / height, w / width, h / height)
        return figure.add_axes(box, xticks=[], yticks=[])

    def frame(ax):
        ax.spines[:].set_visible(False)

    ax = show_image(panel(place[0], bottom, side, side), image)
    frame(ax)
    card.text(place[0], top + 0.46, "The same image,", size=16.5)
    card.text(place[0], top + 0.1, "two sounds.", size=16.5, weight="bold")
    for x, name, p, sound, color in zip(place[1:], names, maps, sounds, (BLUE, RED)):
        _loudspeaker(card, x + 0.02, top + 0.2, 0.42, color)
        card.text(x + 0.62, top + 0.29, name, size=16.5, weight="bold", color=color)
        strip = panel(x + 1.55, top, side - 1.55, 0.78)
        strip.imshow(sound.numpy(), origin="lower", aspect="auto", cmap="magma")
        frame(strip)
        ax = panel(x, bottom, side, side)
        show_image(ax, image)
        frame(ax)
        glow = plt.get_cmap("viridis")(p.numpy())
        glow[..., 3] = 0.2 + 0.55 * p.numpy()
        ax.imshow(glow, extent=(0, 1, 1, 0), interpolation="bilinear")
        show_peak(ax, p)
    card.text(width / 2, 0.27, note, size=11.5, color="0.35", ha="center")
    return figure


def _loudspeaker(ax, x, y, size, color):
    """A loudspeaker with two waves, `size` units high."""
    corners = np.array([(0, 3), (2, 3), (5, 0), (5, 10), (2, 7), (0, 7)])
    ax.add_patch(Polygon(corners * size / 10 + (x, y), fc=color, ec="none"))
    for radius in (0.5, 0.95):
        middle = (x + 0.55 * size, y + 0.5 * size)
        wave = Arc(middle, radius * size, radius * size, theta1=-50, theta2=50)
        wave.set(color=color, linewidth=2.2)
        ax.add_patch(wave)


def ranked_maps(
    clips: Clips,
    maps: Tensor,
    ciou: Tensor,
    bound: Tensor,
    groups: Mapping[str, Sequence[int]],
) -> Figure:
    """Clips by number, a row per group: map with peak, boxes, cIoU and its upper bound.

    maps (N, h, w); ciou and bound (N,).
    """
    columns = max(map(len, groups.values()))
    figure, axes = plt.subplots(
        len(groups), columns, figsize=(10.5, 2.85 * len(groups)), squeeze=False
    )
    for line, (group, members) in zip(axes, groups.items()):
        for ax, k in zip(line, members):
            name = str(clips.labels[k]).replace("_", " ")
            title = f"♪ {name}\ncIoU {ciou[k]:.2f}, bound {bound[k]:.2f}"
            p = resize(maps[k : k + 1])[0]
            show_heatmap(ax, clips.images[k], p, title, clips.boxes[k] or ())
            show_peak(ax, p)
        line[0].set_ylabel(group, fontsize=13)
    return figure


# --- appendix A2 --------------------------------------------------------------------


def annotators(image: Array, boxes: Sequence, weights: Tensor) -> Figure:
    """Boxes of several annotators, and the weights (224, 224) that follow from them."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(7, 3.2))
    for box, color in zip(boxes, (ORANGE, SKY, PINK)):
        show_image(left, image, "three boxes", [box], color)
    heat = right.imshow(weights.numpy(), extent=(0, 1, 1, 0), cmap="cividis")
    right.set(title="weights g", xticks=[], yticks=[])
    figure.colorbar(heat, ax=right, ticks=[0, 0.5, 1])
    return figure


def resized_rows(row: Tensor, resized: Mapping[str, Tensor]) -> Figure:
    """One row of a map (w,), and the same row resized by several rules {name: (W,)}."""
    figure, ax = plt.subplots(figsize=(9, 3.2))
    width = len(next(iter(resized.values())))
    edges = np.linspace(0, width, len(row) + 1)
    ax.stairs(row, edges, fill=True, color="0.9", label="cells")
    for (name, values), color, style in zip(
        resized.items(), (BLUE, RED, GREEN), ("-", "--", ":")
    ):
        ax.plot(np.arange(width) + 0.5, values, style, color=color, label=name)
    ax.set(title="A row of a map, resized", xlabel="pixel", ylabel="cosine")
    ax.legend(fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def threshold_sweep(
    quantiles: Sequence[float], rates: Mapping[str, Sequence[float]]
) -> Figure:
    """Success rate at cIoU 0.5 against the quantile of the threshold, per cent.

    rates: {name in STYLES: a fraction for each quantile}.
    """
    figure, ax = plt.subplots(figsize=(7, 3.4))
    ax.axvline(0.5, color=RED, lw=1, label="the protocol's median")
    for name, values in rates.items():
        color, style, _ = STYLES[name]
        percent = 100 * np.asarray(values)
        best = int(percent.argmax())
        ax.plot(quantiles, percent, style, color=color, label=name)
        ax.plot(quantiles[best], percent[best], "*", color=color, ms=13)
    ax.set(
        title="One threshold for all maps; ★: the best on these very clips",
        xlabel="quantile of the map at which the mask begins",
        ylabel="success rate (%)",
        ylim=(0, None),
    )
    ax.legend(fontsize=9)
    return figure


def cropped(
    frame: Array, square: Array, crop: Array, used: Sequence, true: Sequence
) -> Figure:
    """A wide frame, squashed and cropped; the boxes as published, and those that fit.

    frame (H, W, 3). used: boxes in coordinates of the whole frame, solid; true: in
    those of the crop, dashed.
    """
    height = frame.shape[0] / frame.shape[1]
    figure, axes = plt.subplots(
        1, 3, figsize=(10, 2.9), width_ratios=(1 / height, 1, 1)
    )
    show_image(axes[0], frame, "the frame and its box", used)
    axes[0].set_aspect(height)
    show_image(axes[1], square, "squashed: the box fits", used)
    show_image(axes[2], crop, "cropped: the box is wrong", used)
    for x0, y0, x1, y1 in true:
        corners = [x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0]
        axes[2].plot(*corners, "--", color="white", lw=2)
    return figure


def published(
    rows: Sequence[tuple[str, float, bool | None]], low: float, high: float
) -> Figure:
    """Published cIoU on VGG-SS between the centre prior and the oracle, per cent.

    rows: (method, cIoU, whether test clips are in its training list, None where that is
    not known). low, high: of prior and oracle.
    """
    looks = {
        False: (BLUE, "o", "no test clip in training"),
        True: (RED, "^", "test clips in training"),
        None: ("0.45", "s", "training list not compared"),
    }
    figure, ax = plt.subplots(figsize=(9, 0.3 * len(rows) + 1.2))
    for value, name in ((low, "centre prior"), (high, "oracle")):
        color, style, _ = STYLES[name]
        ax.axvline(value, color=color, ls=style, lw=2, label=f"{name}, no model")
    for y, (_, value, leaked) in enumerate(rows):
        color, marker, _ = looks[leaked]
        ax.plot([low, value], [y, y], color="0.85", lw=1, zorder=0)
        ax.plot(value, y, marker, color=color, ms=8)
    for color, marker, label in looks.values():
        ax.plot([], [], marker, color=color, ms=8, label=label)
    ax.set(
        title="VGG-SS: between a guess and what a half-image mask can reach",
        xlabel="success rate at cIoU 0.5 (%), as printed",
        yticks=range(len(rows)),
        yticklabels=[name for name, _, _ in rows],
        ylim=(len(rows) - 0.5, -0.5),
    )
    ax.legend(fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
    return figure
