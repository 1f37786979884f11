"""Rotate, scale and flip an image, and see what the maps of models do (notebook 04).

>>> equivariance({"untrained": one, "trained": two}, clips)
"""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from sslnb import augment
from sslnb.data.clips import Clips
from sslnb.data.media import MEAN, STD, normalise, spectrogram
from sslnb.losses import equivariance_loss
from sslnb.model import SoundLocaliser, evaluating, respond
from sslnb.teach import plot
from sslnb.teach.widgets.base import FONT, Picture, Status, row

SIDE = 184  # pixels a side of a panel
LINE = 20  # pixels: a line of text
GAP = 8  # pixels between columns
TITLES = ("T(Φ(I))", "Φ(T(I))")


@dataclass(frozen=True)
class Answer:
    """Both sides of equation 9 for one image and one model.

    name: of the model; map_1 Φ(I), transformed T(Φ(I)) and map_2 Φ(T(I)), (h, w).
    """

    name: str
    map_1: Tensor
    transformed: Tensor
    map_2: Tensor
    loss: float  # L_geo: mean squared difference over the cells in frame

    @property
    def error(self) -> float:
        """e(T) of this image: L_geo over the spatial variance of Φ(I)."""
        return self.loss / self.map_1.var(correction=0).item()

    def __str__(self) -> str:
        return f"{self.name}: L_geo {self.loss:.4f}, e(T) {self.error:.2f}"


def transform_panels(
    image: Tensor, transformed: Tensor, in_frame: Tensor, answers: Sequence[Answer]
) -> Image.Image:
    """A column for the image, I above T(I), and one for each model: T(Φ(I)), Φ(T(I)).

    image I and transformed = T(I), (3, S, S) in [0, 1]. Maps lie over T(I), each model
    with the colour scale of its own Φ(I). Cells that are not in_frame (h, w) are dark.
    """
    height = 2 * SIDE + 4 * LINE
    width = (SIDE + GAP) * (1 + len(answers)) - GAP
    canvas = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(canvas)
    colours = plt.get_cmap(plot.MAP)

    def enlarge(pixels, how=Image.Resampling.BILINEAR):
        pixels = np.asarray(255 * pixels).round().astype(np.uint8)
        return Image.fromarray(pixels).resize((SIDE, SIDE), how)

    def column(k, name, upper, lower, titles, below=""):
        x = k * (SIDE + GAP)
        draw.text((x, 0), name, "black", FONT)
        for title, panel, y in zip(titles, (upper, lower), (LINE, 2 * LINE + SIDE)):
            draw.text((x, y), title, (70, 70, 70), FONT)
            canvas.paste(panel, (x, y + LINE))
        draw.text((x, height - LINE + 3), below, "black", FONT)

    before, after = (
        enlarge(x.clamp(0, 1).permute(1, 2, 0).numpy()) for x in (image, transformed)
    )
    column(0, "", before, after, ("image I", "T(I)"))
    dark = Image.new("RGB", (SIDE, SIDE), (40, 40, 40))
    mask = enlarge(in_frame.float().numpy(), Image.Resampling.NEAREST)
    for k, answer in enumerate(answers, start=1):
        low, high = answer.map_1.min(), answer.map_1.max()
        panels = []
        for response in (answer.transformed, answer.map_2):
            level = ((response - low) / (high - low).clamp(min=1e-6)).clamp(0, 1)
            heat = enlarge(colours(level.numpy())[..., :3])
            panels.append(Image.composite(Image.blend(after, heat, 0.6), dark, mask))
        numbers = f"L_geo {answer.loss:.4f}  e(T) {answer.error:.2f}"
        column(k, answer.name, panels[0], panels[1], TITLES, numbers)
    return canvas


def equivariance(models: Mapping[str, SoundLocaliser], clips: Clips) -> ipywidgets.VBox:
    """Rotate, scale and flip an image: each model's map, transformed, and map of the result.

    models {name: model}, all for images of one size. The sounds, and the maps of the
    images before the transform, are computed once.

    Returns a box with `controls` (scene, angle in degrees, scale of the content,
    flip), `view` (the panels), `status`, and `answers`, an `Answer` for each model.
    """
    device = next(next(iter(models.values())).parameters()).device
    images = normalise(clips.images.to(device))  # (N, 3, S, S)
    vectors, maps = {}, {}
    for name, model in models.items():
        sounds = spectrogram(clips.waves.to(device), model.config.audio)
        with evaluating(model):
            vectors[name] = model.embed_audio(sounds)  # (N, C)
            v = model.embed_image(images)
        maps[name] = torch.einsum("bchw,bc->bhw", v, vectors[name]).cpu()
    controls = {
        "scene": ipywidgets.Dropdown(
            options=[(f"{n}: {label}", n) for n, label in enumerate(clips.labels)],
            description="scene",
        ),
        "angle": ipywidgets.FloatSlider(
            value=0,
            min=-90,
            max=90,
            step=1,
            description="angle (°)",
            readout_format=".0f",
        ),
        "scale": ipywidgets.FloatSlider(
            value=1, min=0.5, max=2, step=0.05, description="scale"
        ),
        "flip": ipywidgets.Checkbox(value=False, description="flip"),
    }
    view, status = Picture(), Status()
    box = ipywidgets.VBox(
        [
            row(controls["scene"], controls["flip"]),
            row(controls["angle"], controls["scale"]),
            view,
            status,
        ]
    )

    def answer(name: str, n: int, transformed: Tensor, theta: Tensor) -> Answer:
        model, map_1 = models[name], maps[name][n : n + 1]  # (1, h, w)
        with evaluating(model):
            v = model.embed_image(transformed)
            map_2 = respond(v, vectors[name][n : n + 1])[0].cpu()
        return Answer(
            name,
            map_1[0],
            augment.warp(map_1, theta)[0],
            map_2[0],
            equivariance_loss(map_1, map_2, theta).item(),
        )

    def render(_=None):
        n, now = controls["scene"].value, {k: c.value for k, c in controls.items()}
        theta = augment.fixed_affine(
            side=1 / now["scale"],
            degrees=now["angle"],
            flip=-1.0 if now["flip"] else 1.0,
        )
        transformed = augment.warp(images[n : n + 1], theta.to(device))
        box.answers = [answer(name, n, transformed, theta) for name in models]
        in_frame = augment.in_frame(theta, *box.answers[0].map_1.shape)[0]
        std, mean = torch.tensor(STD)[:, None, None], torch.tensor(MEAN)[:, None, None]
        panels = transform_panels(
            clips.images[n] / 255,
            transformed[0].cpu() * std + mean,
            in_frame,
            box.answers,
        )
        heard, found = f"♪ {clips.labels[n]}", "; ".join(map(str, box.answers))
        outside = f"{1 - in_frame.float().mean():.0%} of the cells are out of frame"
        flip = ", flipped" if now["flip"] else ""
        view.show(
            plot.png(panels),
            f"An image, and the image rotated by {now['angle']:.0f}°, scaled by "
            f"{now['scale']:.2f}{flip}; of each model its map under the same "
            f"transform, and its map of the transformed image. {heard}. {found}. "
            f"{outside}.",
        )
        status.say(
            f"{html.escape(f'{heard}. {found}', quote=False)}. {outside} (dark)."
        )

    for control in controls.values():
        control.observe(render, "value")
    box.controls, box.view, box.status = controls, view, status
    render()
    return box
