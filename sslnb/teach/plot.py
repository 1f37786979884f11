"""Figures of the notebooks. Functions draw on given axes or return a Figure;
`show` alone displays one.

    >>> figure = plot.scenes(list_of_scenes)
    >>> plot.show(figure, alt="Eight scenes with the box of what sounds")
"""

import base64
import io
from collections.abc import Iterable, Sequence

import matplotlib.pyplot as plt
import numpy as np
import seaborn
import torch
import torch.nn.functional as F
from IPython.display import display
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch, Polygon, Rectangle
from PIL import Image

from sslnb.data.media import AudioConfig
from sslnb.losses import weighted_mean

Array = np.ndarray | torch.Tensor

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


def show(figure, alt):
    """Display a figure with its alternative text, and close it."""
    display(figure, metadata={"image/png": {"alt": alt}})
    plt.close(figure)


def show_photos(figure, alt):
    """`show` for figures full of photographs: as JPEG, a fifth of the size."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="jpeg", pil_kwargs={"quality": 75, "optimize": True})
    data = base64.b64encode(buffer.getvalue()).decode()
    display({"image/jpeg": data, "text/plain": repr(figure)}, raw=True,
            metadata={"image/jpeg": {"alt": alt}})
    plt.close(figure)


def drawn(figure):
    """A figure as a PIL image, drawn as it stands."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def png(image):
    """A PIL image as the bytes of a PNG file, packed lightly: it is quick."""
    buffer = io.BytesIO()
    image.save(buffer, "png", compress_level=1)
    return buffer.getvalue()


def to_pixels(image):
    """A picture as imshow takes it: (H, W, 3) array, or (3, H, W) tensor in [0, 1] or uint8."""
    if isinstance(image, torch.Tensor):
        image = image.detach().cpu().permute(1, 2, 0).numpy()
    return image if image.dtype == np.uint8 else image.clip(0, 1)


def show_image(ax, image, title="", boxes=(), color=ORANGE):
    """A picture with its boxes, normalised (x0, y0, x1, y1), without axes."""
    pixels = to_pixels(image)
    ax.imshow(pixels, extent=(0, 1, 1, 0), interpolation="nearest")
    for x0, y0, x1, y1 in boxes:
        ax.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, ec=color, lw=2))
    ax.set(title=title, xticks=[], yticks=[])
    return ax


def show_heatmap(ax, image, response, title="", boxes=(), low=0.0, high=1.0):
    """A picture under its response map (h, w); the colour scale runs low … high."""
    show_image(ax, image, title)
    response = torch.as_tensor(response).detach().cpu().numpy()
    drawn = ax.imshow(response, extent=(0, 1, 1, 0), cmap=MAP, vmin=low, vmax=high,
                      alpha=0.6, interpolation="bilinear")
    for x0, y0, x1, y1 in boxes:
        ax.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, ec="white", lw=2))
    return drawn


def show_overlap(ax, image, mask, truth, title=""):
    """A picture under a mask and the truth, both bool and of one size.

    Blue: in both; vermilion: in the mask alone; yellow: in the truth alone.
    """
    show_image(ax, image, title)
    mask, truth = (np.asarray(torch.as_tensor(x).cpu()) for x in (mask, truth))
    colors = np.zeros((*mask.shape, 4))
    for color, at in ((BLUE, mask & truth), (RED, mask & ~truth), (YELLOW, truth & ~mask)):
        colors[at] = to_rgba(color, 0.6)
    ax.imshow(colors, extent=(0, 1, 1, 0), interpolation="nearest")
    return ax


def show_spectrogram(ax, spectrogram, config, title="", label=True):
    """A spectrogram (1, F, T) or (F, T) over seconds and mel bands."""
    values = torch.as_tensor(spectrogram).detach().cpu().squeeze().numpy()
    drawn = ax.imshow(values, origin="lower", aspect="auto", cmap="magma",
                      extent=(0, config.seconds, 0, config.n_mels))
    ax.set(title=title)
    if label:
        ax.set(xlabel="time (s)", ylabel="mel band")
    return drawn


def grid(count, columns=4, size=2.2, aspect=1.0):
    """A Figure and its first `count` axes, flat, the rest removed."""
    rows = -(-count // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(size * columns, size * aspect * rows), squeeze=False
    )
    for ax in axes.flat[count:]:
        ax.remove()
    return figure, axes.flat[:count]


def image_row(pictures, size=2.0, boxes=None):
    """Pictures {title: picture} in a row; boxes {title: boxes} are drawn on theirs."""
    figure, axes = grid(len(pictures), columns=len(pictures), size=size)
    for ax, (title, image) in zip(axes, pictures.items()):
        show_image(ax, image, title, (boxes or {}).get(title, ()))
    return figure


def scenes(many, columns=4, title=""):
    """SoundStamps scenes with the box of what sounds, and the names of all."""
    figure, axes = grid(len(many), columns)
    for ax, scene in zip(axes, many):
        silent = f"\nsilent: {', '.join(scene.silent)}" if scene.silent else "\nalone"
        show_image(ax, scene.image, f"♪ {scene.class_name}{silent}", scene.boxes)
    figure.suptitle(title)
    return figure


def curves(histories, names, labels=None, x="epoch"):
    """One panel a metric, one line a run: histories is {run: [metrics, …]}."""
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


def show_map(ax, values, title=""):
    """A map (h, w) in [0, 1] by itself, cell by cell."""
    ax.imshow(values, extent=(0, 1, 1, 0), vmin=0, vmax=1)
    ax.set(title=title, xticks=[], yticks=[])
    return ax


def chequer(cells):
    """A map (cells, cells) to be moved: 4 × 4 squares, the upper left one bright."""
    size = max(cells // 4, 1)
    row = torch.arange(cells) // size
    values = 0.25 + 0.35 * ((row[:, None] + row) % 2)
    values[:size, :size] = 1
    return values


def show_frame(ax, theta, color=ORANGE):
    """On a picture, the frame that theta (2, 3) shows of it; a dot at its upper left."""
    corners = torch.tensor([[-1.0, -1], [1, -1], [1, 1], [-1, 1]])  # as theta takes them
    ends = ((corners @ theta[:, :2].T + theta[:, 2] + 1) / 2).numpy()
    for old in [*ax.patches, *ax.lines]:
        old.remove()
    ax.add_patch(Polygon(ends, fill=False, ec=color, lw=2))
    ax.plot(*ends[0], "o", color=color, clip_on=False)
    reach = max(0.5, abs(ends - 0.5).max()) + 0.02
    ax.set(xlim=(0.5 - reach, 0.5 + reach), ylim=(0.5 + reach, 0.5 - reach))


def augmented(image, moved, moved_map, sound_1, sound_2, theta, config, figure=None):
    """A clip and what a batch gets of it; a figure that is given shows this one now.

    image, moved (3, S, S); moved_map (h, w); sound_1, sound_2 (1, F, T),
    before and after; theta (2, 3).
    """
    pictures = [to_pixels(image), to_pixels(moved), moved_map.numpy(),
                sound_1[0].numpy(), sound_2[0].numpy()]
    if figure is None:
        figure = plt.figure(figsize=(9.5, 6))
        axes = figure.subplot_mosaic("AABBCC;DDDEEE", height_ratios=(1.3, 1))
        show_image(axes["A"], pictures[0], "the clip; framed, what is shown")
        show_image(axes["B"], pictures[1], "image: T_app, then T_geo")
        show_map(axes["C"], pictures[2], "map: T_geo alone")
        show_spectrogram(axes["D"], pictures[3], config, "the clip's sound")
        show_spectrogram(axes["E"], pictures[4], config, "sound: T_mix, then T_mask")
        for name in "DE":  # few ticks: they take most of the time of drawing
            axes[name].set(xticks=[0, config.seconds], yticks=[0, config.n_mels])
    for ax, pixels in zip(figure.axes, pictures):
        ax.images[0].set_data(pixels)
    for ax in figure.axes[3:]:
        ax.images[0].set_clim(config.silence, float(sound_1.max()))
    show_frame(figure.axes[0], theta)
    return figure


def pseudo_mask(image, response, epsilon, tau, figure=None):
    """A map, its pseudo-mask (eq. 5), and its cells as P of eq. 6 counts them.

    image (3, S, S), response (h, w). A figure that is given shows this one now.
    """
    z = (response - epsilon) / tau
    mask, cells = z.sigmoid().numpy(), response.flatten()
    shares = F.logsigmoid(z).flatten().softmax(0) * cells.numel()
    counts = [np.histogram(cells, 40, (0, 1), weights=w)[0] for w in (None, shares)]
    if figure is None:
        figure, axes = plt.subplots(1, 3, figsize=(9, 2.9), width_ratios=(1, 1, 1.5))
        show_heatmap(axes[0], image, response, "the map S")
        show_heatmap(axes[1], image, mask, "its mask m")
        for count, color in zip(counts, ("0.8", GREEN)):
            axes[2].stairs(count, np.linspace(0, 1, 41), fill=True, color=color)
        axes[2].axvline(epsilon, color=BLACK, ls="--", label="ε")
        axes[2].axvline(0, color=ORANGE, lw=3, label="P")
        axes[2].set(xlabel="cosine", ylabel="cells", xlim=(0, 1))
        axes[2].legend(loc="upper left")
    ax = figure.axes[2]
    figure.axes[1].images[-1].set_data(mask)
    for count, steps in zip(counts, ax.patches):
        steps.set_data(count)
    mean = weighted_mean(response, z).item()
    for at, line in zip((epsilon, mean), ax.lines):
        line.set_xdata([at, at])
    ax.set(title=f"all cells (grey), as P counts them: P = {mean:.2f}",
           ylim=(0, 1.1 * max(count.max() for count in counts)))
    return figure


def pairs(images, spectrograms, similarity, config, low, high, title="", roles=None,
          names=None):
    """Similarity (N, N, h, w) as a table of maps: pictures down, sounds across.

    names: N, of what sounds. roles: {(i, j): colour} frames the map of image i with sound j; by default the
    pairs that belong together are framed.
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
            drawn = ax.imshow(similarity[i, j].detach().cpu().numpy(), vmin=low, vmax=high)
            ax.set(xticks=[], yticks=[])
            for spine in ax.spines.values():
                spine.set(color=roles.get((i, j), "white"), lw=4)
    figure.colorbar(drawn, ax=axes, label="cosine", shrink=0.6, aspect=30)
    figure.suptitle(title)
    return figure


def two_ways(image, moved, map_1, moved_map, map_2, inside):
    """Equation 9 as a picture: map, then move, above; move, then map, below.

    image and moved (3, S, S) in [0, 1]; map_1 = Φ(I), moved_map = T(Φ(I)) and
    map_2 = Φ(T(I)), all (h, w). Last, the difference on the cells `inside` (h, w).
    """
    figure = plt.figure(figsize=(11, 5))
    axes = figure.subplot_mosaic("IMTD;IAPD", width_ratios=(1, 1, 1, 1.15))
    span = {"low": map_1.min().item(), "high": map_1.max().item()}
    show_image(axes["I"], image, "the picture I")
    show_image(axes["A"], moved, "T(I)")
    show_heatmap(axes["M"], image, map_1, "its map Φ(I)", **span)
    show_heatmap(axes["T"], moved, moved_map, "T(Φ(I))", **span)
    show_heatmap(axes["P"], moved, map_2, "Φ(T(I))", **span)
    gap = (map_2 - moved_map).detach().masked_fill(~inside, torch.nan)
    reach = gap.nan_to_num().abs().max().item() or 1.0
    drawn = axes["D"].imshow(gap, cmap=SIGNED, vmin=-reach, vmax=reach)
    axes["D"].set(title="Φ(T(I)) − T(Φ(I))", xticks=[], yticks=[], facecolor="0.75")
    figure.colorbar(drawn, ax=axes["D"], label="cosine", orientation="horizontal",
                    shrink=0.8)
    for (start, end), height in zip(("IM", "MT", "IA", "AP"), (0.8, 0.5, 0.2, 0.5)):
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
