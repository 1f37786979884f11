"""Figures of notebook 02: transforms of images, maps and spectrograms."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from torch import Tensor

from sslnb.data.media import AudioConfig
from sslnb.teach.plot.base import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    SKY,
    YELLOW,
    Array,
    grid,
    show_heatmap,
    show_image,
    show_map,
    show_spectrogram,
    to_pixels,
)
from sslnb.teach.plot.data import over_time


def chequer(cells: int) -> Tensor:
    """A test pattern (cells, cells): 3 × 3 squares, with a bright one at the upper left."""
    size = max(cells // 3, 1)
    row = torch.arange(cells) // size
    values = 0.25 + 0.35 * ((row[:, None] + row) % 2)
    values[:size, :size] = 1
    return values


def show_frame(ax: Axes, theta: Tensor, color: str = ORANGE) -> None:
    """Outline what of the image on `ax` `warp` by theta (2, 3) shows.

    A dot marks the upper left corner of the result.
    """
    corners = torch.tensor(
        [[-1.0, -1], [1, -1], [1, 1], [-1, 1]]
    )  # as theta takes them
    ends = ((corners @ theta[:, :2].T + theta[:, 2] + 1) / 2).numpy()
    for old in [*ax.patches, *ax.lines]:
        old.remove()
    ax.add_patch(Polygon(ends, fill=False, ec=color, lw=2))
    ax.plot(*ends[0], "o", color=color, clip_on=False)
    reach = max(0.5, abs(ends - 0.5).max()) + 0.02
    ax.set(xlim=(0.5 - reach, 0.5 + reach), ylim=(0.5 + reach, 0.5 - reach))


def augmented(
    image: Tensor,
    transformed: Tensor,
    transformed_map: Tensor,
    sound_1: Tensor,
    sound_2: Tensor,
    theta: Tensor,
    config: AudioConfig,
    figure: Figure | None = None,
) -> Figure:
    """A clip before and after augmentation. A given figure is updated to show it.

    image and transformed (3, S, S); transformed_map (h, w); spectrograms sound_1
    (before) and sound_2 (after), (1, F, T); theta (2, 3).
    """
    panels = [
        to_pixels(image),
        to_pixels(transformed),
        transformed_map.numpy(),
        sound_1[0].numpy(),
        sound_2[0].numpy(),
    ]
    if figure is None:
        figure = plt.figure(figsize=(9.5, 6))
        axes = figure.subplot_mosaic("AABBCC;DDDEEE", height_ratios=(1.3, 1))
        show_image(axes["A"], panels[0], "image; outlined: what $T_{geo}$ shows")
        show_image(axes["B"], panels[1], "image: $T_{app}$, then $T_{geo}$")
        show_map(axes["C"], panels[2], "test map: $T_{geo}$")
        show_spectrogram(axes["D"], panels[3], config, "spectrogram of the sound")
        show_spectrogram(
            axes["E"], panels[4], config, "spectrogram: $T_{mix}$, then $T_{mask}$"
        )
        for name in "DE":  # few ticks: they take most of the drawing time
            axes[name].set(xticks=[0, config.seconds], yticks=[0, config.n_mels])
    for ax, pixels in zip(figure.axes, panels):
        ax.images[0].set_data(pixels)
    for ax in figure.axes[3:]:
        ax.images[0].set_clim(config.silence, float(sound_1.max()))
    show_frame(figure.axes[0], theta)
    return figure


def image_grid(images: dict[str, Array], columns: int = 4, size: float = 2.2) -> Figure:
    """Images {title: (3, H, W)}, and maps {title: (h, w)} among them, in rows."""
    figure, axes = grid(len(images), columns, size, aspect=1.1)
    for ax, (title, image) in zip(axes, images.items()):
        (show_map if image.ndim == 2 else show_image)(ax, image, title)
    return figure


def image_rows(rows: dict[str, Array], size: float = 1.4) -> Figure:
    """Rows {name: (N, 3, H, W)} of as many images each."""
    (columns,) = {len(images) for images in rows.values()}
    figure, axes = grid(columns * len(rows), columns, size, aspect=1.1)
    for row, (name, images) in enumerate(rows.items()):
        for k, image in enumerate(images):
            show_image(axes[columns * row + k], image, "" if k else name)
    return figure


def spectrograms(
    panels: dict[str, Array],
    config: AudioConfig,
    columns: int = 3,
    size: float = 3.5,
    high: float = 1.1,
) -> Figure:
    """Spectrograms {title: (1, F, T)}, all coloured from silence to `high`."""
    figure, axes = grid(len(panels), columns, size, aspect=0.62)
    for ax, (title, values) in zip(axes, panels.items()):
        show_spectrogram(ax, values, config, title).set_clim(config.silence, high)
    return figure


def two_branches(
    image: Array, branches: Sequence[tuple[Array, Array, Array]], config: AudioConfig
) -> Figure:
    """Figure 2 of the paper: of each branch its view, spectrogram and map.

    image and views (3, S, S); spectrograms (1, F, T); maps (h, w).
    """
    figure, axes = grid(8, 4, size=2.6, aspect=0.95)
    for k, (view, spectrogram, response) in enumerate(branches):
        a, b, c, d = axes[4 * k : 4 * k + 4]
        show_image(a, image, f"branch {k + 1}: the image")
        show_image(b, view, ["$T_{app}$", "$T_{app}$, then $T_{geo}$"][k])
        show_spectrogram(c, spectrogram, config, "$T_{mask}$ of the sound")
        show_heatmap(d, view, response, ["the map stays", "the map is transformed"][k])
    return figure


def through_frames(
    image: Array, thetas: dict[str, torch.Tensor], warped: Sequence[Array]
) -> Figure:
    """Frames {title: theta (1, 2, 3)} drawn on the image; below, what each shows."""
    figure, axes = grid(2 * len(thetas), len(thetas), size=2.5)
    for k, (title, theta) in enumerate(thetas.items()):
        show_frame(show_image(axes[k], image, title), theta[0])
        show_image(axes[len(thetas) + k], warped[k], "what the frame shows")
    return figure


def show_turned_frame(ax: Axes, degrees: float, title: str = "") -> Axes:
    """A unit square, the same turned about its centre, and one side in three parts."""
    angle = np.deg2rad(degrees)
    sin, cos = np.sin(angle), np.cos(angle)
    c = 1 / (1 + sin + cos)
    unit = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    turned = unit @ np.array([[cos, sin], [-sin, cos]])
    ax.add_patch(Polygon(turned, fc=YELLOW, ec="none"))
    ax.add_patch(Polygon(unit, fc="0.85", ec=BLACK))
    ax.add_patch(Polygon(turned, fill=False, ec=BLACK, ls="--"))
    along, out = np.array([cos, sin]), np.array([sin, -cos])
    start = turned[0]
    parts = (
        (r"$c\,\cos\varphi$", c * cos, ORANGE, 0.16),
        ("$c$", c, BLUE, -0.1),  # below its line: above are the legs' names
        (r"$c\,\sin\varphi$", c * sin, GREEN, 0.2),
    )
    for name, length, color, away in parts:
        end = start + length * along
        ax.plot(*zip(start, end), color=color, lw=4, solid_capstyle="butt")
        x, y = (start + end) / 2 + away * out
        ax.text(x, y, name, color=color, ha="center", va="center", fontsize=12)
        start = end
    ax.set(title=title, xlim=(-0.8, 1.0), ylim=(0.75, -0.8), aspect="equal")
    ax.axis("off")
    return ax


def out_of_frame(
    degrees: Array, scales: Array, formulas: Sequence[Array], measured: Sequence[Array]
) -> Figure:
    """How much is out of frame: a turned frame, and two curves with measured points.

    formulas and measured: fractions for each of `degrees`, and for each of `scales`.
    """
    figure, axes = grid(3, 3, size=3.7, aspect=0.85)
    show_turned_frame(axes[0], 30, "yellow: out of frame")
    panels = (
        ("rotated by φ", "φ (degrees)", degrees),
        ("shrunk to scale r", "r", scales),
    )
    for k, (title, label, x) in enumerate(panels):
        axes[k + 1].plot(x, formulas[k], color=SKY, label="formula")
        axes[k + 1].plot(x, measured[k], "o", ms=4, label="measured")
        axes[k + 1].set(title=title, xlabel=label, ylabel="fraction out of frame")
        axes[k + 1].legend()
    return figure


def panels(
    shown: Mapping[str, Tensor],
    config: AudioConfig,
    columns: int = 4,
    high: float = 1.1,
) -> Figure:
    """Images (3, S, S), maps (h, w) and spectrograms (1, F, T) by their titles.

    Spectrograms are coloured from silence to `high`.
    """
    figure, axes = grid(len(shown), columns, size=2.3, aspect=0.95)
    for ax, (title, values) in zip(axes, shown.items()):
        if values.ndim == 2:
            show_map(ax, values, title)
        elif len(values) == 3:
            show_image(ax, values, title)
        else:
            drawn = show_spectrogram(ax, values, config, title)
            drawn.set_clim(config.silence, high)
    return figure


def partners(
    rows: Mapping[str, Sequence[int]],
    sounds: Tensor,
    labels: Sequence[str],
    config: AudioConfig,
) -> Figure:
    """Rows {name: indices} of the spectrograms `sounds` (N, 1, F, T), named by labels."""
    (columns,) = {len(row) for row in rows.values()}
    figure, axes = grid(columns * len(rows), columns, size=3.0, aspect=0.66)
    places = [(name, n) for name, row in rows.items() for n in row]
    for ax, (name, n) in zip(axes, places):
        drawn = show_spectrogram(ax, sounds[n], config, f"{name} {n}, {labels[n]}")
        drawn.set_clim(config.silence, 1.1)
    return figure


def three_fills(
    zeros: Tensor, silence: Tensor, scaled: Tensor, seconds: float
) -> Figure:
    """Spectrograms (1, F, T) of one sound, a band masked by what may be silence.

    zeros and silence are in decibels, masked with 0 and with −100; scaled is masked
    with 0.
    """
    titles = {
        "in dB, filled with 0: loud!": (zeros, "dB"),
        "in dB, filled with −100": (silence, "dB"),
        "scaled, filled with 0": (scaled, "scaled"),
    }
    return over_time(
        {
            title: (values[0], values.shape[1], "mel band", unit)
            for title, (values, unit) in titles.items()
        },
        seconds,
    )
