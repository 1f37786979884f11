"""Rotate, scale and flip an image, and see what its map does (notebook 04).

>>> equivariance(model, clips)
"""

import html

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from sslnb import augment
from sslnb.data.clips import Clips
from sslnb.data.media import MEAN, STD, normalise, spectrogram
from sslnb.losses import equivariance_loss
from sslnb.model import SoundLocaliser, evaluating, respond
from sslnb.teach import plot
from sslnb.teach.widgets.base import Picture, Status, row

BILINEAR = Image.Resampling.BILINEAR

SIDE = 212  # pixels a side of each of the four panels of `equivariance`
LINE = 24  # pixels: the title above each
# Pillow's font has no Φ
TITLES = (
    "image",
    "transformed image",
    "transformed map of the image",
    "map of the transformed image",
)


def transform_panels(
    image: Tensor,
    transformed: Tensor,
    transformed_map: Tensor,
    map_2: Tensor,
    in_frame: Tensor,
    low: float,
    high: float,
) -> bytes:
    """Four panels side by side, as PNG: I, T(I), T(Φ(I)) and Φ(T(I)).

    image I and transformed = T(I), (3, S, S) in [0, 1]; transformed_map = T(Φ(I)) and
    map_2 = Φ(T(I)), (h, w), coloured from `low` to `high` over T(I). Cells that are
    not in_frame (h, w) stay dark.
    """
    side = SIDE
    canvas = Image.new("RGB", (4 * side + 3 * 8, side + LINE), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(14)
    colours = plt.get_cmap(plot.MAP)

    def enlarge(pixels, how):
        pixels = np.asarray(255 * pixels).round().astype(np.uint8)
        return Image.fromarray(pixels).resize((side, side), how)

    dark = Image.new("RGB", (side, side), (40, 40, 40))
    mask = enlarge(in_frame.float().numpy(), Image.Resampling.NEAREST)
    panels = [
        enlarge(x.clamp(0, 1).permute(1, 2, 0).numpy(), BILINEAR)
        for x in (image, transformed)
    ]
    for response in (transformed_map, map_2):
        level = ((response - low) / max(high - low, 1e-6)).clamp(0, 1)
        heat = enlarge(colours(level.numpy())[..., :3], BILINEAR)
        panels.append(Image.composite(Image.blend(panels[1], heat, 0.6), dark, mask))
    for k, (panel, title) in enumerate(zip(panels, TITLES)):
        draw.text((k * (side + 8), 2), title, "black", font)
        canvas.paste(panel, (k * (side + 8), LINE))
    return plot.png(canvas)


def equivariance(model: SoundLocaliser, clips: Clips) -> ipywidgets.VBox:
    """Rotate, scale and flip an image: its transformed map, and the map of the result.

    The sounds, and the maps of the images before the transform, are computed once.

    Returns a box with `controls` (scene, angle in degrees, scale of the content,
    flip), `view` (the panels), `status`, and `loss`, the L_geo of what is shown.
    """
    device = next(model.parameters()).device
    images = normalise(clips.images.to(device))  # (N, 3, S, S)
    sounds = spectrogram(clips.waves.to(device), model.config.audio)
    with evaluating(model):
        a = model.embed_audio(sounds)  # (N, C)
        maps = torch.einsum("bchw,bc->bhw", model.embed_image(images), a).cpu()
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

    def render(_=None):
        n, now = controls["scene"].value, {k: c.value for k, c in controls.items()}
        theta = augment.fixed_affine(
            side=1 / now["scale"],
            degrees=now["angle"],
            flip=-1.0 if now["flip"] else 1.0,
        )
        transformed = augment.warp(images[n : n + 1], theta.to(device))
        map_1 = maps[n : n + 1]  # (1, h, w)
        with evaluating(model):
            map_2 = respond(model.embed_image(transformed), a[n : n + 1])[0].cpu()
        in_frame = augment.warp(torch.ones_like(map_1), theta) > 1 - 1e-3
        box.loss = equivariance_loss(map_1, map_2, theta).item()
        std, mean = torch.tensor(STD)[:, None, None], torch.tensor(MEAN)[:, None, None]
        heard, variance = f"♪ {clips.labels[n]}", map_1.var(correction=0)
        outside = f"{1 - in_frame.float().mean():.0%} of the cells are out of frame"
        flip = ", flipped" if now["flip"] else ""
        view.show(
            transform_panels(
                clips.images[n] / 255,
                transformed[0].cpu() * std + mean,
                augment.warp(map_1, theta)[0],
                map_2[0],
                in_frame[0],
                map_1.min().item(),
                map_1.max().item(),
            ),
            f"An image; the image rotated by {now['angle']:.0f}°, scaled by "
            f"{now['scale']:.2f}{flip}; its map under the same transform; and the map "
            f"of the transformed image. {heard}. L_geo = {box.loss:.4f}, beside a "
            f"spatial variance of {variance:.4f}. {outside}.",
        )
        status.say(
            f"{html.escape(heard, quote=False)}. <b>L<sub>geo</sub> = {box.loss:.4f}</b>; the map's "
            f"spatial variance is {variance:.4f}. {outside} (dark)."
        )

    for control in controls.values():
        control.observe(render, "value")
    box.controls, box.view, box.status = controls, view, status
    render()
    return box
