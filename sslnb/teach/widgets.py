"""The widgets of notebooks 03, 04 and 06: response maps under sliders.

    >>> pseudo_masks(image, response)   # 03: ε and τ of equation 5
    >>> equivariance(model, clips)      # 04: rotate, scale and flip an image
    >>> heatmaps(model, clips)          # 06: an image, a sound and a threshold

The widget of notebook 02 is in `augment_widget.py`.
"""

import math
from collections.abc import Sequence

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import Audio
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from sslnb import augment, localise
from sslnb.data.clips import Clips
from sslnb.data.media import MEAN, STD, normalise, spectrogram
from sslnb.losses import equivariance_loss
from sslnb.model import SoundLocaliser, evaluating, respond
from sslnb.teach import plot

BILINEAR = Image.Resampling.BILINEAR


# --- pseudo-masks (notebook 03) -----------------------------------------------


def pseudo_masks(
    image: Tensor, response: Tensor, epsilon: float = 0.65, tau: float = 0.03
) -> ipywidgets.VBox:
    """The pseudo-mask m of a map (eq. 5) and the cells that P weights, by ε and τ.

    image (3, S, S) in [0, 1] or uint8; response (h, w), its map. Returns a box with
    `controls` (epsilon, tau), `view` (the image of the figure) and `figure`.
    """
    controls = {
        "epsilon": ipywidgets.FloatSlider(
            value=epsilon, min=0.1, max=1, step=0.01, description="ε"
        ),
        "tau": ipywidgets.FloatLogSlider(
            value=tau,
            min=math.log10(tau) - 1,
            max=math.log10(tau) + 2,
            step=0.05,
            description="τ",
        ),
    }
    figure = plot.pseudo_mask(image, response, epsilon, tau)
    plot.freeze_layout(figure)
    plt.close(figure)
    width, height = figure.canvas.get_width_height()
    view = ipywidgets.Image(format="png", width=width, height=height)

    def render(_=None):
        values = (control.value for control in controls.values())
        plot.pseudo_mask(image, response, *values, figure)
        view.value = plot.png(plot.drawn(figure))

    for control in controls.values():
        control.observe(render, "value")
    render()
    box = ipywidgets.VBox([ipywidgets.HBox(list(controls.values())), view])
    box.controls, box.view, box.figure = controls, view, figure
    return box


# --- equivariance (notebook 04) -----------------------------------------------

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
    view = ipywidgets.Image(format="png", width=4 * SIDE + 3 * 8, height=SIDE + LINE)
    status = ipywidgets.HTML()
    box = ipywidgets.VBox(
        [
            ipywidgets.HBox([controls["scene"], controls["flip"]]),
            ipywidgets.HBox([controls["angle"], controls["scale"]]),
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
        view.value = transform_panels(
            clips.images[n] / 255,
            transformed[0].cpu() * std + mean,
            augment.warp(map_1, theta)[0],
            map_2[0],
            in_frame[0],
            map_1.min().item(),
            map_1.max().item(),
        )
        status.value = (
            f"♪ {clips.labels[n]}. <b>L<sub>geo</sub> = {box.loss:.4f}</b>; the map's "
            f"spatial variance is {map_1.var(correction=0):.4f}. "
            f"{1 - in_frame.float().mean():.0%} of the cells are out of frame (dark)."
        )

    for control in controls.values():
        control.observe(render, "value")
    box.controls, box.view, box.status = controls, view, status
    render()
    return box


# --- heatmaps (notebook 06) ---------------------------------------------------

PANEL = 300  # pixels a side of each of the two panels of `heatmaps`


def heat_panels(
    image: Tensor,
    p: Tensor,
    boxes: Sequence[Sequence[float]],
    quantile: float = 0.5,
    show: str = "map",
) -> bytes:
    """Two panels side by side, as PNG: the image, and its heatmap or mask.

    image (3, S, S) uint8; p (224, 224), its map in [0, 1]; boxes in normalised
    coordinates. show="map" lays p over the image and circles its peak. show="mask"
    colours the pixels where p is above the quantile, blue in the boxes and vermilion
    outside, and yellow the pixels of the boxes where it is not.
    """

    def paint(pixels, color, at):
        color = torch.tensor([int(color[k : k + 2], 16) for k in (1, 3, 5)])
        pixels[at] = 0.4 * pixels[at] + 0.6 * color

    def enlarge(pixels):
        pixels = pixels.round().to(torch.uint8).numpy()
        return Image.fromarray(pixels).resize((PANEL, PANEL), BILINEAR)

    plain = Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
    plain = plain.resize((localise.SIZE, localise.SIZE), BILINEAR)
    pixels = torch.from_numpy(np.array(plain)).float()  # (224, 224, 3)
    if show == "mask":
        mask, truth = above(p, quantile), localise.boxes_to_truth(boxes) > 0
        pixels[~mask & ~truth] *= 0.5
        paint(pixels, plot.BLUE, mask & truth)
        paint(pixels, plot.RED, mask & ~truth)
        paint(pixels, plot.YELLOW, truth & ~mask)
    else:
        colors = torch.from_numpy(plt.get_cmap(plot.MAP)(p.numpy())[..., :3]).float()
        pixels = 0.4 * pixels + 0.6 * 255 * colors
    canvas = Image.new("RGB", (2 * PANEL + 8, PANEL), "white")
    for x, panel in (
        (0, plain.resize((PANEL, PANEL), BILINEAR)),
        (PANEL + 8, enlarge(pixels)),
    ):
        draw = ImageDraw.Draw(panel)
        for box in boxes:
            edges = [edge * (PANEL - 1) for edge in box]
            draw.rectangle(edges, outline="black", width=4)
            draw.rectangle(edges, outline="white", width=2)
        if x and show == "map":
            row, column = divmod(p.argmax().item(), localise.SIZE)
            at = [(edge + 0.5) * PANEL / localise.SIZE for edge in (column, row)]
            draw.circle(at, 7, outline="white", width=3)
            draw.circle(at, 8, outline="black", width=1)
        canvas.paste(panel, (x, 0))
    return plot.png(canvas)


def above(p: Tensor, quantile: float) -> Tensor:
    """Mask of p (224, 224) above its quantile; 0.5 is the protocol's median."""
    rank = min(int(p.numel() * quantile), p.numel() - 1)
    return p > p.flatten().kthvalue(rank + 1).values


def heatmaps(model: SoundLocaliser, clips: Clips) -> ipywidgets.VBox:
    """Map, mask and cIoU of any image with any sound, at any threshold.

    Images and sounds are embedded once. The ground truth is always the box of the
    image's own clip, so with another sound the map should leave it.

    Returns a box with `controls` (image; sound: "own" or the number of a clip;
    quantile; show: "map" or "mask"), `view` (the panels), `player`, `status` and
    `ciou`, the cIoU of what is shown.
    """
    device = next(model.parameters()).device
    with evaluating(model):
        v = model.embed_image(normalise(clips.images.to(device)))  # (N, C, h, w)
        sounds = spectrogram(clips.waves.to(device), model.config.audio)
        responses = respond(v, model.embed_audio(sounds)).cpu()  # (N, N, h, w)
    truths = localise.truth_of(clips)
    names = [f"{n}: {label}" for n, label in enumerate(clips.labels)]
    controls = {
        "image": ipywidgets.Dropdown(
            options=list(zip(names, range(len(clips)))), description="image"
        ),
        "sound": ipywidgets.Dropdown(
            options=[("its own", "own"), *zip(names, range(len(clips)))],
            description="sound",
        ),
        "quantile": ipywidgets.FloatSlider(
            value=0.5, min=0, max=0.99, step=0.01, description="quantile"
        ),
        "show": ipywidgets.ToggleButtons(options=[("map", "map"), ("mask", "mask")]),
    }
    view = ipywidgets.Image(format="png", width=2 * PANEL + 8, height=PANEL)
    player = ipywidgets.Audio(format="wav", autoplay=False, loop=False)
    status = ipywidgets.HTML()
    box = ipywidgets.VBox(
        [
            ipywidgets.HBox([controls["image"], controls["sound"]]),
            ipywidgets.HBox([controls["quantile"], controls["show"]]),
            view,
            status,
            player,
        ]
    )

    def sound_index():
        sound = controls["sound"].value
        return controls["image"].value if sound == "own" else sound

    def render(_=None):
        n, quantile = controls["image"].value, controls["quantile"].value
        response = responses[n, sound_index()]
        p, truth = localise.resize(response[None])[0], truths[n]
        mask = above(p, quantile)
        box.ciou = localise.mask_ciou(mask[None], truth[None])[0].item()
        peak = localise.peak_hit(response[None], truth[None])[0]
        best = localise.oracle(truth[None])[0]
        view.value = heat_panels(
            clips.images[n], p, clips.boxes[n], quantile, controls["show"].value
        )
        status.value = (
            f"♪ {clips.labels[sound_index()]}, on the image of: {clips.labels[n]} "
            f"(white box, {truth.mean():.0%} of the image)<br>"
            f"cosines {response.min():.2f} to {response.max():.2f}; peak "
            f"{'inside' if peak else 'outside'} the box<br>"
            f"mask {mask.float().mean():.0%} of the image; <b>cIoU {box.ciou:.3f}</b>, "
            f"{'a success' if box.ciou >= 0.5 else 'a failure'} at 0.5; oracle upper "
            f"bound {best:.3f}"
        )

    def play(_=None):
        wave = clips.waves[sound_index()] / 32768
        rate = model.config.audio.sample_rate
        player.value = Audio(wave.numpy(), rate=rate, normalize=False).data

    for control in controls.values():
        control.observe(render, "value")
    for name in ("image", "sound"):
        controls[name].observe(play, "value")
    box.controls, box.view, box.player, box.status = controls, view, player, status
    render()
    play()
    return box
