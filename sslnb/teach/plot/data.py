"""Figures of notebook 01 and appendix A1: scenes, their sizes, clips and the mel scale."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from PIL import Image

from sslnb.data.media import AudioConfig
from sslnb.data.soundstamps import Scene
from sslnb.teach.plot.base import (
    BLUE,
    ORANGE,
    PALETTE,
    Array,
    grid,
    image_row,
    show_image,
    show_spectrogram,
)


def scenes(many: Sequence[Scene], splits: Sequence[str], columns: int = 4) -> Figure:
    """SoundStamps scenes, with the box of the sounding object and all objects' names.

    splits: the split of each, which is written below it.
    """
    figure, axes = grid(len(many), columns, aspect=1.25)
    for ax, scene, split in zip(axes, many, splits, strict=True):
        silent = f"silent: {', '.join(scene.silent)}" if scene.silent else "alone"
        title = f"♪ {scene.class_name}\n{silent}".replace("_", " ")
        show_image(ax, scene.image, title, scene.boxes)
        ax.set_xlabel(f"split: {split}", color="0.4")
    return figure


def clip(
    image: Array,
    wave: Array,
    spectrogram: Array,
    config: AudioConfig,
    title: str = "the image I",
) -> Figure:
    """A clip: its image (H, W, 3) or (3, H, W), wave (T,) and spectrogram (1, F, T)."""
    figure, axes = plt.subplots(1, 3, figsize=(10, 3), width_ratios=(3, 4, 4))
    show_image(axes[0], image, title)
    axes[1].plot(np.arange(len(wave)) / config.sample_rate, wave, lw=0.3)
    axes[1].set(
        title="its sound as a wave",
        xlabel="time (s)",
        ylabel="amplitude",
        xlim=(0, config.seconds),
        ylim=(-1, 1),
    )
    show_spectrogram(axes[2], spectrogram, config, "its sound as a spectrogram, A")
    return figure


def close_ups(patches: dict[str, np.ndarray]) -> Figure:
    """Patches {title: (h, w, 3) in 0 … 255} and the grey values of their middle rows."""
    figure, axes = plt.subplots(
        1, len(patches) + 1, figsize=(10, 3), width_ratios=(2,) * len(patches) + (3,)
    )
    profile = axes[-1]
    for ax, (title, patch) in zip(axes, patches.items()):
        row = len(patch) // 2
        show_image(ax, patch.astype(np.uint8), title)
        ax.axhline((row + 0.5) / len(patch), color="white", lw=1, ls="--")
        profile.plot(patch[row].mean(-1), "o-", ms=3, label=title)
    profile.set(
        title="grey values along the dashed lines",
        xlabel="column (pixel)",
        ylabel="grey value (0 to 255)",
    )
    profile.legend()
    return figure


def colored(masks: Sequence[np.ndarray]) -> np.ndarray:
    """Masks (N, H, W) bool as one image (H, W, 3) uint8, each in another colour.

    The first is that of the sounding object, and has the colour of the ground truth.
    """
    pixels = np.full((*np.shape(masks)[1:], 3), 235, np.uint8)
    for mask, color in zip(masks, [ORANGE, BLUE, *PALETTE[2:]]):
        pixels[mask] = np.round(255 * np.array(to_rgba(color)[:3]))
    return pixels


def ground_truth(scene: Scene) -> Figure:
    """A scene of 224 pixels, its objects' visible masks, what sounds alone in its box."""
    truth = f"ground truth: {scene.class_name}".replace("_", " ")
    panels = {
        "the image": scene.image,
        "visible masks; orange sounds": colored(scene.objects),
        truth: np.where(scene.mask[:, :, None], scene.image, np.uint8(235)),
    }
    return image_row(panels, 2.9, {truth: scene.boxes})


def cutouts(rows: dict[str, dict[str, Image.Image]], size: int = 90) -> Figure:
    """Rows {label: {name: transparent image}} of the same names, written above the first."""
    first, *_ = rows.values()
    figure, axes = plt.subplots(
        len(rows), len(first), figsize=(11, 1.25 * len(rows)), squeeze=False
    )
    for row, (label, images) in zip(axes, rows.items()):
        for ax, name in zip(row, first):
            title = name.replace("_", "\n") if images is first else ""
            show_image(ax, on_grey(images[name], size), title)
        row[0].set_ylabel(label)
    return figure


def on_grey(image: Image.Image, size: int) -> np.ndarray:
    """A transparent Pillow image, scaled to fit, in a grey square (size, size, 3)."""
    image = image.copy()
    image.thumbnail((size, size))
    square = Image.new("RGBA", (size, size), "#e8e8e8")
    corner = (size - image.width) // 2, (size - image.height) // 2
    square.alpha_composite(image, corner)
    return np.asarray(square.convert("RGB"))


def sizes(s: Array, best: Array, found: Array, levels: Array, others: Array) -> Figure:
    """Which sizes can be found, and which there are; sizes are fractions of the image.

    best: the largest IoU for ground truth of size `s`. found: sizes in SoundStamps;
    others: sizes in VGG-SS at the quantiles `levels`.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6))
    left.plot(s, best)
    left.axhline(0.5, color="0.5", ls="--", label="counts as found")
    left.set(
        title="the best that a mask of half the image can do",
        xlabel="fraction s of the image that the ground truth covers",
        ylabel="largest IoU",
        xlim=(0, 1),
        ylim=(0, 1.02),
    )
    right.plot(np.arange(len(found)) / len(found), np.sort(found), label="SoundStamps")
    right.plot(levels, others, "o", color=ORANGE, label="VGG-SS")
    right.axhline(0.25, color="0.5", ls="--", label="a quarter of the image")
    right.set(
        title="sizes of sounding objects",
        xlabel="quantile",
        ylabel="fraction of the image",
        xlim=(0, 1),
        ylim=(0, 1),
    )
    left.legend(loc="lower center")
    right.legend()
    return figure


def centres(points: np.ndarray, halves: dict[str, Sequence[float]]) -> Figure:
    """Histograms of points (N, 2) across and down; halves: {name: (x0, y0, x1, y1)}."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 3), sharey=True)
    counts = [np.histogram(points[:, k], 25, (0, 1))[0] for k in (0, 1)]
    top = np.max(counts)
    for k, (ax, count) in enumerate(zip(axes, counts)):
        ax.stairs(count, np.linspace(0, 1, 26), fill=True, color="0.8")
        for row, (name, half) in enumerate(halves.items()):
            height = top * (1.2 - 0.1 * row)
            ax.plot(half[k::2], [height] * 2, color=PALETTE[row], lw=5, label=name)
        ax.set(xlim=(0, 1), ylim=(0, 1.3 * top))
    axes[0].set(
        title="across", xlabel="centre of the box (left … right)", ylabel="scenes"
    )
    axes[0].legend(title="middle half", loc="upper left")
    axes[1].set(title="down", xlabel="centre of the box (top … bottom)")
    return figure


def against_chance(
    right: dict[str, float], chance: float, spread: float, xlabel: str
) -> Figure:
    """How often rules {name: fraction} are right, beside chance ± two deviations."""
    figure, ax = plt.subplots(figsize=(9, 2.6))
    ax.axvspan(
        chance - 2 * spread,
        chance + 2 * spread,
        color="0.88",
        label="chance ± 2 standard\ndeviations",
    )
    ax.axvline(chance, color="0.5", ls="--", label="chance")
    ax.plot(list(right.values()), list(right), "o", ms=9)
    ax.set(
        title="rules that ignore the sound",
        xlabel=xlabel,
        xlim=(0, 1),
        ylim=(len(right) - 0.4, -0.6),
    )
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def mel_scale(
    points: torch.Tensor,
    mels: torch.Tensor,
    bins: torch.Tensor,
    filters: torch.Tensor,
    bands: int = 5,
) -> Figure:
    """Equal steps in mel, and the lowest triangles with the weights of their bins.

    points (M + 2,): ends and tips of the triangles in Hz, at `mels`; bins (K,) in Hz;
    filters (K, M): their weights.
    """
    figure, (scale, low) = plt.subplots(1, 2, figsize=(10, 3))
    scale.plot(points / 1000, mels, color="0.6")
    scale.plot(points[::8] / 1000, mels[::8], "o")
    scale.set(
        title="equal steps in mel (every eighth point)",
        xlabel="frequency (kHz)",
        ylabel="mel",
    )
    for k, color in enumerate(PALETTE[:bands]):
        low.plot(points[k : k + 3], [0, 1, 0], color=color)
        at = filters[:, k] > 0
        low.plot(bins[at], filters[at, k], "o", color=color)
    low.set(
        title="the lowest bands (lines) and their bins' weights (dots)",
        xlabel="frequency (Hz)",
        ylabel="weight",
        ylim=(0, 1.05),
    )
    return figure


def over_time(
    values: dict[str, tuple[Array, float, str, str]], seconds: float
) -> Figure:
    """Images over time: {title: ((F, T), top of its axis, axis label, value label)}."""
    figure, axes = plt.subplots(1, len(values), figsize=(11, 3))
    for ax, (title, (image, top, label, unit)) in zip(axes, values.items()):
        image = ax.imshow(
            np.asarray(image),
            origin="lower",
            aspect="auto",
            cmap="magma",
            extent=(0, seconds, 0, top),
        )
        ax.set(title=title, xlabel="time (s)", ylabel=label)
        figure.colorbar(image, ax=ax, label=unit)
    return figure


def by_settings(values: dict[str, tuple[Array, AudioConfig, str]]) -> Figure:
    """Spectrograms under different settings: {name: ((1, F, T), settings, unit)}."""
    widths = [config.seconds**0.5 for _, config, _ in values.values()]
    figure, axes = plt.subplots(1, len(values), figsize=(10, 3), width_ratios=widths)
    for ax, (name, (x, config, unit)) in zip(axes, values.items()):
        top = f"{config.n_mels} bands to {config.f_max / 1000:g} kHz"
        title = f"{name}: {config.seconds:g} s, {top}"
        figure.colorbar(show_spectrogram(ax, x, config, title), ax=ax, label=unit)
    return figure
