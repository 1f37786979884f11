"""Figures of the notebooks.

Functions that are given axes draw on them; the others return a Figure. Only `show` and
`show_photos` display one.

    >>> figure = plot.scenes(list_of_scenes)
    >>> plot.show(figure, alt="Eight scenes with the box of what sounds")
"""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import seaborn
import torch
import torch.nn.functional as F
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import ConnectionPatch, Polygon, Rectangle, StepPatch
from PIL import Image
from torch import Tensor

from sslnb.data.media import AudioConfig
from sslnb.data.soundstamps import Scene
from sslnb.losses import weighted_mean

Array = np.ndarray | Tensor  # images are (H, W, 3) as arrays, (3, H, W) as tensors

# Okabe and Ito's colours, which colour-blind readers can tell apart.
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PINK, SKY, YELLOW, BLACK = "#CC79A7", "#56B4E9", "#F0E442", "#000000"
PALETTE = [BLUE, ORANGE, GREEN, RED, PINK, SKY, YELLOW, BLACK]
MAP = "viridis"  # response maps and spectrograms: even, readable in grey
SIGNED = "RdBu_r"  # differences, with zero in the middle

seaborn.set_theme(
    context="notebook", style="ticks", palette=PALETTE,
    rc={"figure.dpi": 80, "savefig.dpi": 80, "figure.constrained_layout.use": True,
        "axes.titlesize": "medium", "font.size": 10, "image.cmap": MAP},
)


def show(figure: Figure, alt: str) -> None:
    """Display a figure with its alternative text, and close it."""
    display(figure, metadata={"image/png": {"alt": alt}})
    plt.close(figure)


def show_photos(figure: Figure, alt: str) -> None:
    """`show` for figures full of photographs, as JPEG: a fifth of the size of a PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="jpeg", pil_kwargs={"quality": 75, "optimize": True})
    data = base64.b64encode(buffer.getvalue()).decode()
    display({"image/jpeg": data, "text/plain": repr(figure)}, raw=True,
            metadata={"image/jpeg": {"alt": alt}})
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
    heat = ax.imshow(response, extent=(0, 1, 1, 0), cmap=MAP, vmin=low, vmax=high,
                      alpha=0.6, interpolation="bilinear")
    for x0, y0, x1, y1 in boxes:
        ax.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, ec="white", lw=2))
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
    for color, at in ((BLUE, mask & truth), (RED, mask & ~truth), (YELLOW, truth & ~mask)):
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
    levels = ax.imshow(values, origin="lower", aspect="auto", cmap="magma",
                      extent=(0, config.seconds, 0, config.n_mels))
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


def scenes(many: Sequence[Scene], columns: int = 4, title: str = "") -> Figure:
    """SoundStamps scenes, with the box of the sounding object and all objects' names."""
    figure, axes = grid(len(many), columns)
    for ax, scene in zip(axes, many):
        silent = f"\nsilent: {', '.join(scene.silent)}" if scene.silent else "\nalone"
        show_image(ax, scene.image, f"♪ {scene.class_name}{silent}", scene.boxes)
    figure.suptitle(title)
    return figure


def curves(
    histories: Mapping[str, Sequence[Mapping[str, Any]]],
    names: Sequence[str],
    labels: Mapping[str, str] | None = None,
    x: str = "epoch",
) -> Figure:
    """Training curves: a panel per metric of `names`, a line per run.

    histories: {run: its metrics, one dict per epoch}; labels: {metric: axis label}.
    """
    figure, axes = grid(len(names), columns=min(len(names), 3), size=4, aspect=0.75)
    styles = ["-", "--", ":", "-."]
    for ax, name in zip(axes, names):
        for k, (run, history) in enumerate(histories.items()):
            points = [(m[x], m[name]) for m in history if name in m]
            if points:
                ax.plot(*zip(*points), styles[k % 4], label=run, marker="o", ms=3,
                        color=PALETTE[k % len(PALETTE)])
        ax.set(xlabel=x, ylabel=(labels or {}).get(name, name))
        ax.xaxis.get_major_locator().set_params(integer=True)
        seaborn.despine(ax=ax)
    if len(histories) > 1:
        axes[0].legend()
    return figure


def show_map(ax: Axes, values: Array, title: str = "") -> Axes:
    """A map (h, w) in [0, 1] without its image, cell by cell."""
    values = torch.as_tensor(values).detach().cpu().numpy()
    ax.imshow(values, extent=(0, 1, 1, 0), vmin=0, vmax=1)
    ax.set(title=title, xticks=[], yticks=[])
    return ax


def chequer(cells: int) -> Tensor:
    """A test pattern (cells, cells): 4 × 4 squares, with a bright one at the upper left."""
    size = max(cells // 4, 1)
    row = torch.arange(cells) // size
    values = 0.25 + 0.35 * ((row[:, None] + row) % 2)
    values[:size, :size] = 1
    return values


def show_frame(ax: Axes, theta: Tensor, color: str = ORANGE) -> None:
    """Outline what of the image on `ax` `warp` by theta (2, 3) shows.

    A dot marks the upper left corner of the result.
    """
    corners = torch.tensor([[-1.0, -1], [1, -1], [1, 1], [-1, 1]])  # as theta takes them
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
    panels = [to_pixels(image), to_pixels(transformed), transformed_map.numpy(),
              sound_1[0].numpy(), sound_2[0].numpy()]
    if figure is None:
        figure = plt.figure(figsize=(9.5, 6))
        axes = figure.subplot_mosaic("AABBCC;DDDEEE", height_ratios=(1.3, 1))
        show_image(axes["A"], panels[0], "image; outlined: what $T_{geo}$ shows")
        show_image(axes["B"], panels[1], "image: $T_{app}$, then $T_{geo}$")
        show_map(axes["C"], panels[2], "a test map (bright: upper left): $T_{geo}$")
        show_spectrogram(axes["D"], panels[3], config, "spectrogram of the sound")
        show_spectrogram(axes["E"], panels[4], config, "spectrogram: $T_{mix}$, then $T_{mask}$")
        for name in "DE":  # few ticks: they take most of the drawing time
            axes[name].set(xticks=[0, config.seconds], yticks=[0, config.n_mels])
    for ax, pixels in zip(figure.axes, panels):
        ax.images[0].set_data(pixels)
    for ax in figure.axes[3:]:
        ax.images[0].set_clim(config.silence, float(sound_1.max()))
    show_frame(figure.axes[0], theta)
    return figure


def pseudo_mask(
    image: Tensor,
    response: Tensor,
    epsilon: float,
    tau: float,
    figure: Figure | None = None,
) -> Figure:
    """A response map, its pseudo-mask (eq. 5), and its cells as P weights them (eq. 6).

    image (3, S, S), response (h, w). A given figure is updated to show them.
    """
    z = (response - epsilon) / tau
    mask, cells = z.sigmoid().numpy(), response.flatten()
    weights = F.logsigmoid(z).flatten().softmax(0) * cells.numel()
    counts = [np.histogram(cells, 40, (0, 1), weights=w)[0] for w in (None, weights)]
    if figure is None:
        figure, axes = plt.subplots(1, 3, figsize=(9, 2.9), width_ratios=(1, 1, 1.5))
        show_heatmap(axes[0], image, response, "response map S")
        show_heatmap(axes[1], image, mask, "pseudo-mask m")
        for count, color in zip(counts, ("0.8", GREEN)):
            axes[2].stairs(count, np.linspace(0, 1, 41), fill=True, color=color)
        axes[2].axvline(epsilon, color=BLACK, ls="--", label="ε")
        axes[2].axvline(0, color=ORANGE, lw=3, label="P")
        axes[2].set(xlabel="cosine", ylabel="number of cells", xlim=(0, 1))
        axes[2].legend(loc="upper left")
    ax = figure.axes[2]
    figure.axes[1].images[-1].set_data(mask)
    histograms = [patch for patch in ax.patches if isinstance(patch, StepPatch)]
    for count, histogram in zip(counts, histograms):
        histogram.set_data(count)
    mean = weighted_mean(response, z).item()
    for at, line in zip((epsilon, mean), ax.lines):
        line.set_xdata([at, at])
    ax.set(title=f"cells (grey), weighted by m (green): P = {mean:.2f}",
           ylim=(0, 1.1 * max(count.max() for count in counts)))
    return figure


def pairs(
    images: Tensor,
    spectrograms: Tensor,
    similarity: Tensor,
    config: AudioConfig,
    low: float,
    high: float,
    title: str = "",
    roles: Mapping[tuple[int, int], str] | None = None,
    names: Sequence[Any] | None = None,
) -> Figure:
    """Similarity (N, N, h, w) as a table of maps, with a row per image, a column per sound.

    names: N names of the sounding objects. roles: {(i, j): colour of the frame around
    the map of image i and sound j}; by default, the maps of paired clips are framed.
    """
    count = len(images)
    roles = {(i, i): ORANGE for i in range(count)} if roles is None else roles
    names = range(count) if names is None else names
    figure, axes = plt.subplots(
        count + 1, count + 1, figsize=(1.25 * count + 2, 1.25 * count + 1.5)
    )
    axes[0, 0].axis("off")
    for i in range(count):
        show_image(axes[i + 1, 0], images[i])
        show_spectrogram(axes[0, i + 1], spectrograms[i], config, f"♪ {names[i]}", label=False)
        axes[0, i + 1].set(xticks=[], yticks=[])
        axes[i + 1, 0].set_ylabel(names[i])
        for j in range(count):
            ax = axes[i + 1, j + 1]
            heat = ax.imshow(similarity[i, j].detach().cpu().numpy(), vmin=low, vmax=high)
            ax.set(xticks=[], yticks=[])
            for spine in ax.spines.values():
                spine.set(color=roles.get((i, j), "white"), lw=4)
    figure.colorbar(heat, ax=axes, label="cosine", shrink=0.6, aspect=30)
    figure.suptitle(title)
    return figure


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
    left.set(title="what: the score hardly changes (invariance)",
             ylabel="score P, eq. 6", ylim=(0, 1))
    right.plot(shifts, shifts, color="0.6", label="equation 9")
    right.plot(shifts, peaks, "o", color=RED, label="median scene")
    right.set(title="where: the peak shifts too (equivariance)",
              ylabel="shift of the peak (cells)")
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
        ax.add_patch(Rectangle((corner - 0.5, corner - 0.5), side, side, fc="none",
                               ec="white"))
        ax.plot(x, y, "+", color=SKY, ms=12, mew=2)
        near = corner - 20, corner + side + 22
        ax.set(title=f"{name}:\ncentred on ({x:.1f}, {y:.1f})", xlim=near,
               ylim=near[::-1], xlabel="pixel", ylabel="pixel")
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
            (-gradient / limit).numpy(), extent=(0, 1, 1, 0), vmin=-1, vmax=1,
            cmap=SIGNED, alpha=0.75,
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
    axes["C"].set(title="Do the maps keep their contrast?", ylim=0, xlabel="step",
                  ylabel="spatial standard deviation (cosine)")
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
    axes[0].set(title="shift (finer scale)", ylabel="equivariance error e(T)",
                ylim=(0, 1.6 * highest), xticks=range(0, max(pixels) + 1, 8))
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
            ax.plot(x, [run[name] for run in runs], "os^vD"[k % 5],
                    color=PALETTE[k % len(PALETTE)], label=f"seed {k}")
        ax.set(title=name)
        ax.set_xticks(range(len(results)), results, fontsize=8)
        ax.margins(x=0.15)
    figure.legend(*ax.get_legend_handles_labels(), fontsize=8, loc="outside right center")
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
    figure.colorbar(difference, ax=axes["D"], label="cosine", orientation="horizontal",
                    shrink=0.8)
    arrows = (("I", "M", 0.8), ("M", "T", 0.5), ("I", "A", 0.2), ("A", "P", 0.5))
    for start, end, height in arrows:
        figure.add_artist(ConnectionPatch(
            (1.03, height), (-0.05, 0.5), "axes fraction", "axes fraction",
            axesA=axes[start], axesB=axes[end], arrowstyle="-|>", mutation_scale=16,
            color="black",
        ))
    return figure


# --- notebook 01 --------------------------------------------------------------------


def table(header: Sequence, rows: Iterable[Sequence]) -> str:
    """A table in Markdown: `header` names the columns, `rows` holds their cells."""
    rows = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)


def clip(
    image: Array, wave: Array, spectrogram: Array, config: AudioConfig,
    title: str = "the image I",
) -> Figure:
    """A clip: its image (H, W, 3) or (3, H, W), wave (T,) and spectrogram (1, F, T)."""
    figure, axes = plt.subplots(1, 3, figsize=(10, 3), width_ratios=(3, 4, 4))
    show_image(axes[0], image, title)
    axes[1].plot(np.arange(len(wave)) / config.sample_rate, wave, lw=0.3)
    axes[1].set(title="its sound as a wave", xlabel="time (s)", ylabel="amplitude",
                xlim=(0, config.seconds), ylim=(-1, 1))
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
    profile.set(title="grey values along the dashed lines", xlabel="column (pixel)",
                ylabel="grey value (0 to 255)")
    profile.legend()
    return figure


def colored(masks: Sequence[np.ndarray]) -> np.ndarray:
    """Masks (N, H, W) bool as one image (H, W, 3) uint8, each in another colour."""
    pixels = np.full((*np.shape(masks)[1:], 3), 235, np.uint8)
    for mask, color in zip(masks, PALETTE):
        pixels[mask] = np.round(255 * np.array(to_rgba(color)[:3]))
    return pixels


def on_grey(image: Image.Image, size: int) -> np.ndarray:
    """A transparent Pillow image, scaled to fit, in a grey square (size, size, 3)."""
    image = image.copy()
    image.thumbnail((size, size))
    square = Image.new("RGBA", (size, size), "#e8e8e8")
    corner = (size - image.width) // 2, (size - image.height) // 2
    square.alpha_composite(image, corner)
    return np.asarray(square.convert("RGB"))


def sizes(
    s: Array, best: Array, found: Array, levels: Array, others: Array
) -> Figure:
    """Which sizes can be found, and which there are; sizes are fractions of the image.

    best: the largest IoU for ground truth of size `s`. found: sizes in SoundStamps;
    others: sizes in VGG-SS at the quantiles `levels`.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6))
    left.plot(s, best)
    left.axhline(0.5, color="0.5", ls="--", label="counts as found")
    left.set(title="the best that a mask of half the image can do",
             xlabel="fraction s of the image that the ground truth covers",
             ylabel="largest IoU", xlim=(0, 1), ylim=(0, 1.02))
    right.plot(np.arange(len(found)) / len(found), np.sort(found), label="SoundStamps")
    right.plot(levels, others, "o", color=ORANGE, label="VGG-SS")
    right.axhline(0.25, color="0.5", ls="--", label="a quarter of the image")
    right.set(title="sizes of sounding objects", xlabel="quantile",
              ylabel="fraction of the image", xlim=(0, 1), ylim=(0, 1))
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
    axes[0].set(title="across", xlabel="centre of the box (left … right)",
                ylabel="scenes")
    axes[0].legend(title="middle half", loc="upper left")
    axes[1].set(title="down", xlabel="centre of the box (top … bottom)")
    return figure


def against_chance(
    right: dict[str, float], chance: float, spread: float, xlabel: str
) -> Figure:
    """How often rules {name: fraction} are right, beside chance ± two deviations."""
    figure, ax = plt.subplots(figsize=(9, 2.6))
    ax.axvspan(chance - 2 * spread, chance + 2 * spread, color="0.88",
               label="chance ± 2 standard\ndeviations")
    ax.axvline(chance, color="0.5", ls="--", label="chance")
    ax.plot(list(right.values()), list(right), "o", ms=9)
    ax.set(title="rules that ignore the sound", xlabel=xlabel, xlim=(0, 1),
           ylim=(len(right) - 0.4, -0.6))
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def mel_scale(
    points: torch.Tensor, mels: torch.Tensor, bins: torch.Tensor, filters: torch.Tensor,
    bands: int = 5,
) -> Figure:
    """Equal steps in mel, and the lowest triangles with the weights of their bins.

    points (M + 2,): ends and tips of the triangles in Hz, at `mels`; bins (K,) in Hz;
    filters (K, M): their weights.
    """
    figure, (scale, low) = plt.subplots(1, 2, figsize=(10, 3))
    scale.plot(points / 1000, mels, color="0.6")
    scale.plot(points[::8] / 1000, mels[::8], "o")
    scale.set(title="equal steps in mel (every eighth point)",
              xlabel="frequency (kHz)", ylabel="mel")
    for k, color in enumerate(PALETTE[:bands]):
        low.plot(points[k : k + 3], [0, 1, 0], color=color)
        at = filters[:, k] > 0
        low.plot(bins[at], filters[at, k], "o", color=color)
    low.set(title="the lowest bands (lines) and their bins' weights (dots)",
            xlabel="frequency (Hz)", ylabel="weight", ylim=(0, 1.05))
    return figure


def over_time(
    values: dict[str, tuple[Array, float, str, str]], seconds: float
) -> Figure:
    """Images over time: {title: ((F, T), top of its axis, axis label, value label)}."""
    figure, axes = plt.subplots(1, len(values), figsize=(11, 3))
    for ax, (title, (image, top, label, unit)) in zip(axes, values.items()):
        image = ax.imshow(image, origin="lower", aspect="auto", cmap="magma",
                          extent=(0, seconds, 0, top))
        ax.set(title=title, xlabel="time (s)", ylabel=label)
        figure.colorbar(image, ax=ax, label=unit)
    return figure


# --- notebook 02 --------------------------------------------------------------------


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
    panels: dict[str, Array], config: AudioConfig, columns: int = 3, size: float = 3.5,
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
        ax.text(*((start + end) / 2 + away * out), name, color=color, ha="center",
                va="center", fontsize=12)
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
    panels = (("rotated by φ", "φ (degrees)", degrees), ("shrunk to scale r", "r", scales))
    for k, (title, label, x) in enumerate(panels):
        axes[k + 1].plot(x, formulas[k], color=SKY, label="formula")
        axes[k + 1].plot(x, measured[k], "o", ms=4, label="measured")
        axes[k + 1].set(title=title, xlabel=label, ylabel="fraction out of frame")
        axes[k + 1].legend()
    return figure


def images_and_sounds(
    images: dict[str, Array], sounds: dict[str, Array], config: AudioConfig,
    columns: int = 4,
) -> Figure:
    """Rows of images {title: (3, S, S)} or maps (h, w) over rows of spectrograms."""
    figure, axes = grid(len(images) + len(sounds), columns, size=2.5, aspect=0.92)
    for ax, (title, image) in zip(axes, images.items()):
        (show_map if image.ndim == 2 else show_image)(ax, image, title)
    for ax, (title, values) in zip(axes[len(images) :], sounds.items()):
        drawn = show_spectrogram(ax, values, config, title)
        drawn.set_clim(config.silence, 1.1)
    return figure


# --- notebook 07 --------------------------------------------------------------------


def ranked(axes: Sequence[Axes], scenes: Sequence[Scene], right: Sequence[bool]) -> None:
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
    axes[-1].set(title="their means over time", xlabel="energy (of a unit vector)",
                 ylabel="mel band")
    return figure


def longer_lists(ks: Sequence[int], curves: dict[str, dict[str, np.ndarray]]) -> Figure:
    """A@K and P@K against K: of the trained model in blue, of chance in red.

    curves: what is left out of the gallery -> what `retrieval.against_k` returns.
    """
    figure, axes = grid(2, 2, size=4, aspect=0.7)
    for (left_out, values), style in zip(curves.items(), ("-", "--")):
        for ax, name in zip(axes, ("A@K", "P@K")):
            ax.plot(ks, values[name], style, c=BLUE, label=f"trained\n{left_out} out")
            ax.plot(ks, values[f"chance {name}"], style, c=RED,
                    label=f"chance\n{left_out} out")
    for ax, title in zip(axes, ("A@K: at least one", "P@K: the fraction that is right")):
        ax.set(title=title, xlabel="K (items)", ylabel="fraction", ylim=(0, 1.02))
    figure.legend(*axes[0].get_legend_handles_labels(), fontsize=8,
                  loc="outside center right")
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
                ax.scatter(*kind[names == name].T, s=24, c=color, marker=marker,
                           alpha=0.7, label=name.replace("_", " "))
        ax.set(title=f"{title} ({fraction:.0%} of the variance)",
               xlabel="first principal direction", ylabel="second principal direction")
        ax.set_aspect("equal", "datalim")
    handles, labels = axes[0].get_legend_handles_labels()
    count = len(set(names))
    figure.legend(handles[:count], labels[:count], fontsize=9, title_fontsize=9,
                  title="● sound\n▲ image", loc="outside center right")
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
