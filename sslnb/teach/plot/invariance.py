"""Figures of notebook 03: pseudo-masks, and maps of images by sounds."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch.nn.functional as F
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch
from torch import Tensor

from sslnb.data.media import AudioConfig
from sslnb.losses import weighted_mean
from sslnb.teach.plot.base import (
    BLACK,
    GREEN,
    ORANGE,
    show_heatmap,
    show_image,
    show_spectrogram,
)


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
    ax.set(
        title=f"cells (grey), weighted by m (green): P = {mean:.2f}",
        ylim=(0, 1.1 * max(count.max() for count in counts)),
    )
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
        show_spectrogram(
            axes[0, i + 1], spectrograms[i], config, f"♪ {names[i]}", label=False
        )
        axes[0, i + 1].set(xticks=[], yticks=[])
        axes[i + 1, 0].set_ylabel(names[i])
        for j in range(count):
            ax = axes[i + 1, j + 1]
            heat = ax.imshow(
                similarity[i, j].detach().cpu().numpy(), vmin=low, vmax=high
            )
            ax.set(xticks=[], yticks=[])
            for spine in ax.spines.values():
                spine.set(color=roles.get((i, j), "white"), lw=4)
    figure.colorbar(heat, ax=axes, label="cosine", shrink=0.6, aspect=30)
    figure.suptitle(title)
    return figure
