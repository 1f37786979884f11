"""Figures of the notebooks. Functions draw on given axes or return a Figure;
`show` alone displays one.

    >>> figure = plot.scenes(list_of_scenes)
    >>> plot.show(figure, alt="Eight scenes with the box of what sounds")
"""

import matplotlib.pyplot as plt
import numpy as np
import seaborn
import torch
from IPython.display import display
from matplotlib.patches import Rectangle

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


def to_pixels(image):
    """A picture as imshow takes it: (H, W, 3) array, or (3, H, W) tensor in [0, 1] or uint8."""
    if isinstance(image, torch.Tensor):
        image = image.detach().cpu().permute(1, 2, 0).numpy()
    return image if image.dtype == np.uint8 else image.clip(0, 1)


def picture(ax, image, title="", boxes=(), color=ORANGE):
    """A picture with its boxes, normalised (x0, y0, x1, y1), without axes."""
    pixels = to_pixels(image)
    ax.imshow(pixels, extent=(0, 1, 1, 0), interpolation="nearest")
    for x0, y0, x1, y1 in boxes:
        ax.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, ec=color, lw=2))
    ax.set(title=title, xticks=[], yticks=[])
    return ax


def heatmap(ax, image, response, title="", boxes=(), low=0.0, high=1.0):
    """A picture under its response map (h, w); the colour scale runs low … high."""
    picture(ax, image, title)
    response = torch.as_tensor(response).detach().cpu().numpy()
    drawn = ax.imshow(response, extent=(0, 1, 1, 0), cmap=MAP, vmin=low, vmax=high,
                      alpha=0.6, interpolation="bilinear")
    for x0, y0, x1, y1 in boxes:
        ax.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, ec="white", lw=2))
    return drawn


def sound(ax, spectrogram, config, title="", label=True):
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


def scenes(many, columns=4, title=""):
    """SoundStamps scenes with the box of what sounds, and the names of all."""
    figure, axes = grid(len(many), columns)
    for ax, scene in zip(axes, many):
        silent = f"\nsilent: {', '.join(scene.silent)}" if scene.silent else "\nalone"
        picture(ax, scene.image, f"♪ {scene.class_name}{silent}", scene.boxes)
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
                ax.plot(*zip(*points), styles[k % 4], label=run, marker="o", ms=3)
        ax.set(xlabel=x, ylabel=(labels or {}).get(name, name))
        seaborn.despine(ax=ax)
    if len(histories) > 1:
        axes[0].legend()
    return figure
