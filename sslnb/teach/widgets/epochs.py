"""A run, epoch by epoch: maps of a few scenes and the curves (notebook 05).

>>> epochs(four, torch.stack(learned), history, free)
"""

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from sslnb import localise
from sslnb.data.clips import Clips
from sslnb.teach import plot
from sslnb.teach.plot.training import PANELS
from sslnb.teach.widgets.base import Picture, Status, outline, row

BILINEAR = Image.Resampling.BILINEAR
SIDE = 320  # pixels a side of the map
MARK = 7  # pixels: radius of the mark on a curve


def in_the_box(clips: Clips, responses: Iterable[Tensor]) -> Tensor | None:
    """Which maps of N clips peak in a box of theirs, E times (N, h, w): (E, N) of bool.

    Maps of different models may differ in size. None where the boxes of a clip are not
    known.
    """
    if any(boxes is None for boxes in clips.boxes):
        return None
    truth = localise.truth_of(clips)
    return torch.stack([localise.peak_hit(maps, truth) for maps in responses])


def map_panel(image: Tensor, response: Tensor, boxes: Sequence) -> Image.Image:
    """A map (h, w), coloured from 0 to 1, over its image (3, S, S) uint8.

    Its boxes are white; a ring is around its maximum.
    """
    pixels = image.permute(1, 2, 0).contiguous().numpy()
    colors = plt.get_cmap(plot.MAP)(response.clamp(0, 1).numpy())[..., :3]
    heat = Image.fromarray((255 * colors).round().astype(np.uint8))
    size = (SIDE, SIDE)
    panel = Image.blend(
        Image.fromarray(pixels).resize(size, BILINEAR), heat.resize(size, BILINEAR), 0.6
    )
    draw = ImageDraw.Draw(panel)
    outline(draw, boxes, SIDE)
    row, column = divmod(int(response.argmax()), response.shape[1])
    at = [SIDE * (k + 0.5) / response.shape[1] for k in (column, row)]
    draw.circle(at, 9, outline="black", width=5)
    draw.circle(at, 8, outline="white", width=3)
    return panel


def epochs(
    clips: Clips,
    responses: Tensor,
    history: Sequence[Mapping[str, Any]],
    free: Mapping[str, Mapping[str, float]],
) -> ipywidgets.VBox:
    """Scrub through the epochs of a run: the map of a scene, and where its curves are.

    clips: N scenes; responses (E, N, h, w): their maps after each epoch of `history`,
    E metrics of a run from epoch 0 on; free: scores of bounds without a model. ValueError
    where there are not as many maps as epochs.

    Returns a box with `controls` (epoch, scene), `view` (the map beside the curves; its
    text says whether the peak is in the box) and `status`, the same in words.
    """
    if len(responses) != len(history):
        raise ValueError(
            f"maps of {len(responses)} epochs, and metrics of {len(history)}; need one "
            "of each for every epoch"
        )
    names = [n for n in ("val_cIoU", "val_peak", "val_loss") if n in history[-1]]
    figure = plot.learning({"this run": history}, free, 0.0, names=names)
    figure.set_size_inches(3.3 * len(names), SIDE / figure.dpi)
    curves = plot.drawn(figure)
    points = {  # of each epoch on each curve, in pixels from the upper left
        metrics["epoch"]: [
            (x, curves.height - y)
            for ax, name in zip(figure.axes, names)
            if name in metrics
            for x, y in [ax.transData.transform((metrics["epoch"], metrics[name]))]
        ]
        for metrics in history
    }
    plt.close(figure)
    hits, first = in_the_box(clips, responses), history[0]["epoch"]
    controls = {
        "epoch": ipywidgets.IntSlider(
            value=first, min=first, max=history[-1]["epoch"], description="epoch"
        ),
        "scene": ipywidgets.Dropdown(
            options=[
                (f"{n}: {(label or '?').replace('_', ' ')}", n)
                for n, label in enumerate(clips.labels)
            ],
            description="scene",
        ),
    }
    view, status = Picture(), Status()

    def render(_=None):
        n, epoch = controls["scene"].value, controls["epoch"].value
        metrics, response = history[epoch - first], responses[epoch - first, n]
        boxes = clips.boxes[n] or ()
        canvas = Image.new("RGB", (SIDE + 8 + curves.width, SIDE), "white")
        canvas.paste(map_panel(clips.images[n], response, boxes), (0, 0))
        canvas.paste(curves, (SIDE + 8, 0))
        draw = ImageDraw.Draw(canvas)
        for x, y in points[epoch]:
            draw.circle((SIDE + 8 + x, y), MARK, fill=plot.ORANGE, outline="black")
        label = (clips.labels[n] or "?").replace("_", " ")
        said = [f"Epoch {epoch}, ♪ {label}: the map's maximum is {response.max():.2f}"]
        if hits is not None:
            said[0] += f", {'in' if hits[epoch - first, n] else 'not in'} the box"
        for name in names:
            if name in metrics:
                said.append(f"{PANELS[name]}: {metrics[name]:.2f}")
                bound = free.get("centre prior", {}).get(name.removeprefix("val_"))
                if bound is not None:
                    said[-1] += f" (centre prior {bound:.2f})"
        text = "; ".join(said) + "."
        view.show(plot.png(canvas), text)
        status.say(html.escape(text, quote=False))

    for control in controls.values():
        control.observe(render, "value")
    render()
    box = ipywidgets.VBox([row(*controls.values()), view, status])
    box.controls, box.view, box.status = controls, view, status
    return box
