"""Any image with any sound: its map, mask and cIoU (notebook 06).

>>> heatmaps(model, clips)
"""

import html
from collections.abc import Sequence

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import Audio
from PIL import Image, ImageDraw
from torch import Tensor

from sslnb import localise
from sslnb.data.clips import Clips
from sslnb.data.media import normalise, spectrogram
from sslnb.model import SoundLocaliser, evaluating, respond
from sslnb.teach import plot
from sslnb.teach.widgets.base import Picture, Status, row

BILINEAR = Image.Resampling.BILINEAR

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
        "show": ipywidgets.Dropdown(options=["map", "mask"], description="show"),
    }
    view, status = Picture(), Status()
    player = ipywidgets.Audio(format="wav", autoplay=False, loop=False)
    box = ipywidgets.VBox(
        [
            row(controls["image"], controls["sound"]),
            row(controls["quantile"], controls["show"]),
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
        heard = (
            f"♪ {clips.labels[sound_index()]}, on the image of: {clips.labels[n]} "
            f"(white box, {truth.mean():.0%} of the image)"
        )
        found = (
            f"peak {'inside' if peak else 'outside'} the box",
            f"mask {mask.float().mean():.0%} of the image",
            f"cIoU {box.ciou:.3f}",
            f"{'a success' if box.ciou >= 0.5 else 'a failure'} at 0.5",
        )
        show = controls["show"].value
        view.show(
            heat_panels(clips.images[n], p, clips.boxes[n], quantile, show),
            f"An image with its box, and its {show} over it. {heard}. "
            f"{'; '.join(found)}.",
        )
        place, size, score, verdict = found
        status.say(
            f"{html.escape(heard, quote=False)}<br>"
            f"cosines {response.min():.2f} to {response.max():.2f}; {place}<br>"
            f"{size}; <b>{score}</b>, {verdict}; oracle upper bound {best:.3f}"
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
