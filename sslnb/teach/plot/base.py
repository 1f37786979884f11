"""What all figures share: colours, display, and images, maps and sounds on axes."""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import DisplayHandle, display
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.rcsetup import cycler
from PIL import Image
from torch import Tensor

from sslnb.data.media import AudioConfig

Array = np.ndarray | Tensor  # images are (H, W, 3) as arrays, (3, H, W) as tensors

# Okabe and Ito's colours, which colour-blind readers can tell apart.
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PINK, SKY, YELLOW, BLACK = "#CC79A7", "#56B4E9", "#F0E442", "#000000"
PALETTE = [BLUE, ORANGE, GREEN, RED, PINK, SKY, YELLOW, BLACK]
MAP = "viridis"  # response maps and spectrograms: even, readable in grey
SIGNED = "RdBu_r"  # differences, with zero in the middle

INK = ".15"  # of text and axes: nearly black

# seaborn's style "ticks" in its context "notebook". To import seaborn takes a second,
# with which every notebook would begin.
TICKS: dict[str, Any] = {
    "color": INK,
    "labelsize": 11,
    "major.size": 6,
    "major.width": 1.25,
    "minor.size": 4,
    "minor.width": 1,
}
SEABORN: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.labelsize": 12,
    "axes.linewidth": 1.25,
    "font.family": ["sans-serif"],
    "font.sans-serif": [
        "Arial",
        "DejaVu Sans",
        "Liberation Sans",
        "Bitstream Vera Sans",
        "sans-serif",
    ],
    "grid.color": ".8",
    "grid.linewidth": 1,
    "legend.fontsize": 11,
    "legend.title_fontsize": 12,
    "lines.solid_capstyle": "round",
    "patch.edgecolor": "w",
    "patch.force_edgecolor": True,
    "text.color": INK,
    **{f"{axis}tick.{name}": value for axis in "xy" for name, value in TICKS.items()},
}
OURS: dict[str, Any] = {
    "axes.prop_cycle": cycler(color=PALETTE),
    "axes.titlesize": "medium",
    "figure.constrained_layout.use": True,
    "figure.dpi": 80,
    "font.size": 10,
    "image.cmap": MAP,
    "savefig.dpi": 80,
}
plt.style.use(SEABORN | OURS)


def show(figure: Figure, alt: str) -> None:
    """Display a figure with its alternative text, and close it."""
    display(figure, metadata={"image/png": {"alt": alt}})
    plt.close(figure)


def despine(ax: Axes) -> None:
    """Leave out the upper and the right side of the box around axes."""
    ax.spines[["top", "right"]].set_visible(False)


def legend_below(figure: Figure, ax: Axes) -> None:
    """One legend for all panels, below them, of what is labelled in one of them."""
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6, frameon=False)


def update(live: DisplayHandle, figure: Figure, alt: str) -> None:
    """Let a display that is there already show a figure, and close it."""
    live.update(figure, metadata={"image/png": {"alt": alt}})
    plt.close(figure)


def show_photos(figure: Figure, alt: str) -> None:
    """`show` for figures full of photographs, as JPEG: a fifth of the size of a PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="jpeg", pil_kwargs={"quality": 75, "optimize": True})
    data = base64.b64encode(buffer.getvalue()).decode()
    display(
        {"image/jpeg": data, "text/plain": repr(figure)},
        raw=True,
        metadata={"image/jpeg": {"alt": alt}},
    )
    plt.close(figure)


def drawn(figure: Figure) -> Image.Image:
    """A figure rendered as a Pillow image."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def freeze_layout(figure: Figure) -> None:
    """Lay a figure out once, for quick updates: laying out takes longer than drawing."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
    figure.set_layout_engine("none")


def png(image: Image.Image) -> bytes:
    """A Pillow image as a PNG file, lightly compressed so that it is quick."""
    buffer = io.BytesIO()
    image.save(buffer, "png", compress_level=1)
    return buffer.getvalue()


def to_pixels(image: Array) -> np.ndarray:
    """An image as imshow takes it: an array (H, W, 3), in [0, 1] or uint8.

    image: such an array, or a tensor (3, H, W).
    """
    if isinstance(image, Tensor):
        image = image.detach().cpu().permute(1, 2, 0).numpy()
    return image if image.dtype == np.uint8 else image.clip(0, 1)


def show_image(
    ax: Axes, image: Array, title: str = "", boxes=(), color: str = ORANGE
) -> Axes:
    """An image with its boxes, (x0, y0, x1, y1) in normalised coordinates."""
    pixels = to_pixels(image)
    ax.imshow(pixels, extent=(0, 1, 1, 0), interpolation="nearest")
    for x0, y0, x1, y1 in boxes:
        ax.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, ec=color, lw=2))
    ax.set(title=title, xticks=[], yticks=[])
    return ax


def show_heatmap(
    ax: Axes,
    image: Array,
    response: Array,
    title: str = "",
    boxes=(),
    low: float = 0.0,
    high: float = 1.0,
) -> AxesImage:
    """A response map (h, w) over its image, on a colour scale from `low` to `high`."""
    show_image(ax, image, title)
    response = torch.as_tensor(response).detach().cpu().numpy()
    heat = ax.imshow(
        response,
        extent=(0, 1, 1, 0),
        cmap=MAP,
        vmin=low,
        vmax=high,
        alpha=0.6,
        interpolation="bilinear",
    )
    for x0, y0, x1, y1 in boxes:
        ax.add_patch(
            Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, ec="white", lw=2)
        )
    return heat


def show_overlap(
    ax: Axes, image: Array, mask: Array, truth: Array, title: str = ""
) -> Axes:
    """A mask and the ground truth over their image; both are bool and of one size.

    Blue is in both, vermilion in the mask only, yellow in the ground truth only.
    """
    show_image(ax, image, title)
    mask, truth = (np.asarray(torch.as_tensor(x).cpu()) for x in (mask, truth))
    colors = np.zeros((*mask.shape, 4))
    for color, at in (
        (BLUE, mask & truth),
        (RED, mask & ~truth),
        (YELLOW, truth & ~mask),
    ):
        colors[at] = to_rgba(color, 0.6)
    ax.imshow(colors, extent=(0, 1, 1, 0), interpolation="nearest")
    return ax


def show_spectrogram(
    ax: Axes,
    spectrogram: Array,
    config: AudioConfig,
    title: str = "",
    label: bool = True,
) -> AxesImage:
    """A spectrogram (1, F, T) or (F, T), over seconds and mel bands."""
    values = torch.as_tensor(spectrogram).detach().cpu().squeeze().numpy()
    levels = ax.imshow(
        values,
        origin="lower",
        aspect="auto",
        cmap="magma",
        extent=(0, config.seconds, 0, config.n_mels),
    )
    ax.set(title=title)
    if label:
        ax.set(xlabel="time (s)", ylabel="mel band")
    return levels


def grid(
    count: int, columns: int = 4, size: float = 2.2, aspect: float = 1.0
) -> tuple[Figure, np.ndarray]:
    """A Figure with `count` axes in rows of `columns`, and the axes as a flat array.

    size: width of one in inches; aspect: its height over its width.
    """
    rows = -(-count // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(size * columns, size * aspect * rows), squeeze=False
    )
    for ax in axes.flat[count:]:
        ax.remove()
    return figure, axes.flat[:count]


def image_row(
    images: Mapping[str, Array], size: float = 2.0, boxes: Mapping | None = None
) -> Figure:
    """Images {title: image} in a row, some with boxes {title: boxes}."""
    figure, axes = grid(len(images), columns=len(images), size=size)
    for ax, (title, image) in zip(axes, images.items()):
        show_image(ax, image, title, (boxes or {}).get(title, ()))
    return figure


def show_map(ax: Axes, values: Array, title: str = "") -> Axes:
    """A map (h, w) in [0, 1] without its image, cell by cell."""
    values = torch.as_tensor(values).detach().cpu().numpy()
    ax.imshow(values, extent=(0, 1, 1, 0), vmin=0, vmax=1)
    ax.set(title=title, xticks=[], yticks=[])
    return ax


def table(header: Sequence, rows: Iterable[Sequence]) -> str:
    """A table in Markdown: `header` names the columns, `rows` holds their cells."""
    rows = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)
