"""Any image with any sound: its map, mask and cIoU (notebook 06).

>>> heatmaps(model, clips)

Own images and sounds are uploaded, and decoded by the loaders of `sslnb.data`. What they
are called, and what is wrong with them, is shown as text and never as HTML.
"""

import html
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import Audio
from PIL import Image, ImageColor, ImageDraw
from torch import Tensor

from sslnb import localise
from sslnb.data.clips import Clips
from sslnb.data.media import load_audio, load_image, normalise, spectrogram
from sslnb.model import SoundLocaliser, evaluating
from sslnb.teach import plot
from sslnb.teach.widgets.base import Picture, Status, outline, row

BILINEAR = Image.Resampling.BILINEAR

PANEL = 300  # pixels a side of each of the two panels of `heatmaps`
# bytes of an own file: Jupyter's server drops a connection that sends 10 MB at once
LARGEST = 8_000_000


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
    outside, and yellow the pixels of the boxes where it is not; without a box, it
    darkens the pixels below the quantile.
    """

    def paint(pixels, color, at):
        pixels[at] = 0.4 * pixels[at] + 0.6 * torch.tensor(ImageColor.getrgb(color))

    def enlarge(pixels):
        pixels = pixels.round().to(torch.uint8).numpy()
        return Image.fromarray(pixels).resize((PANEL, PANEL), BILINEAR)

    plain = Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
    plain = plain.resize((localise.SIZE, localise.SIZE), BILINEAR)
    pixels = torch.from_numpy(np.array(plain)).float()  # (224, 224, 3)
    if show == "mask":
        mask, truth = above(p, quantile), localise.boxes_to_truth(boxes) > 0
        pixels[~mask & ~truth] *= 0.5
        if boxes:
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
        outline(draw, boxes, PANEL)
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


def decoded(file: Mapping[str, Any], load: Callable[[Path, str], Any]) -> Any:
    """What `load` makes of an uploaded file, of which it is given a path and the name.

    file: as `ipywidgets.FileUpload` gives it. ValueError or OSError, with the file's own
    name, if it is larger than LARGEST or cannot be read.
    """
    name, content = file["name"], bytes(file["content"])
    if len(content) > LARGEST:
        raise ValueError(
            f"{name} has {len(content) / 1e6:.1f} MB; need {LARGEST / 1e6:.0f} MB or less"
        )
    suffix = re.sub(r"[^.\w]", "", Path(name).suffix)[:8]  # FFmpeg may need it
    with tempfile.TemporaryDirectory(prefix="sslnb-") as folder:
        path = Path(folder, f"upload{suffix}")
        path.write_bytes(content)
        try:
            return load(path, name)
        except (OSError, ValueError) as error:
            said = str(error).replace(str(path), name)
            raise type(error)(said) from error


@dataclass(frozen=True)
class Seen:
    """An image to choose: as shown, its features (C, h, w), its boxes and their weights."""

    label: str
    image: Tensor
    v: Tensor
    boxes: tuple = ()
    truth: Tensor | None = None


@dataclass(frozen=True)
class Heard:
    """A sound to choose: its wave (T,) in [-1, 1] and its vector (C,)."""

    label: str
    wave: Tensor
    a: Tensor


def heatmaps(model: SoundLocaliser, clips: Clips) -> ipywidgets.VBox:
    """Map, mask and cIoU of any image with any sound, at any threshold.

    Images and sounds are embedded once. The ground truth is always the box of the
    image's own clip, so with another sound the map should leave it. An uploaded image
    or sound is one more to choose from; such an image has no box, and so no cIoU.

    Returns a box with `controls` (image; sound: "own" or the number of a sound;
    quantile; show: "map" or "mask"), `uploads` (image, sound), `view` (the panels),
    `player`, `status` and `ciou`, the cIoU of what is shown or None.
    """
    config, device = model.config, next(model.parameters()).device

    def see(images):  # (N, 3, S, S) -> (N, C, h, w)
        with evaluating(model):
            return model.embed_image(normalise(images.to(device))).cpu()

    def hear(waves):  # (N, T) -> (N, C)
        with evaluating(model):
            return model.embed_audio(spectrogram(waves.to(device), config.audio)).cpu()

    labels, truths = [str(label) for label in clips.labels], localise.truth_of(clips)
    boxes = [found or () for found in clips.boxes]
    seen = list(map(Seen, labels, clips.images, see(clips.images), boxes, truths))
    heard = list(map(Heard, labels, clips.waves / 32768, hear(clips.waves)))

    def open_image(path, name):
        shown = (load_image(path, localise.SIZE) * 255).round().byte()
        image = load_image(path, config.image_size, config.resample)
        return Seen(name, shown, see(image[None])[0])

    def open_sound(path, name):
        wave = load_audio(path, config.audio)
        return Heard(name, wave.clamp(-1, 1), hear(wave[None])[0])

    names = [(f"{n}: {label}", n) for n, label in enumerate(labels)]
    controls = {
        "image": ipywidgets.Dropdown(options=names, description="image"),
        "sound": ipywidgets.Dropdown(
            options=[("its own", "own"), *names], description="sound"
        ),
        "quantile": ipywidgets.FloatSlider(
            value=0.5, min=0, max=0.99, step=0.01, description="quantile"
        ),
        "show": ipywidgets.Dropdown(options=["map", "mask"], description="show"),
    }
    uploads = {
        "image": ipywidgets.FileUpload(description="your image", accept="image/*"),
        "sound": ipywidgets.FileUpload(
            description="your sound", accept="audio/*,video/*"
        ),
    }
    limit = ipywidgets.HTML(
        f"Or take your own, a file of up to {LARGEST / 1e6:.0f} MB each. It stays on the "
        "machine that runs this notebook."
    )
    view, status = Picture(), Status()
    player = ipywidgets.Audio(format="wav", autoplay=False, loop=False)
    box = ipywidgets.VBox(
        [
            row(controls["image"], controls["sound"]),
            row(controls["quantile"], controls["show"]),
            view,
            status,
            player,
            limit,
            row(*uploads.values()),
        ]
    )

    def sound():
        """The sound that is chosen; "own" of an own image: the newest own one, if any."""
        n, chosen = controls["image"].value, controls["sound"].value
        if chosen == "own" and n >= len(clips):
            chosen = len(heard) - 1 if len(heard) > len(clips) else 0
        return n if chosen == "own" else chosen

    def render(_=None):
        image, playing = seen[controls["image"].value], heard[sound()]
        quantile, show = controls["quantile"].value, controls["show"].value
        response = torch.einsum("chw,c->hw", image.v, playing.a)  # eq. 3
        p = localise.resize(response[None])[0]
        mask = above(p, quantile)
        size = f"mask {mask.float().mean():.0%} of the image"
        pair = f"♪ {playing.label}, on the image of: {image.label}"
        cosines = f"cosines {response.min():.2f} to {response.max():.2f}"
        if image.truth is None:
            box.ciou = None
            pair = f"♪ {playing.label}, on your image {image.label}"
            said = [size, "it has no box, so there is no cIoU"]
            lines = [cosines, "; ".join(said)]
        else:
            box.ciou = localise.mask_ciou(mask[None], image.truth[None])[0].item()
            pair += f" (white box, {image.truth.mean():.0%} of the image)"
            hit = localise.peak_hit(response[None], image.truth[None])[0]
            place = f"peak {'inside' if hit else 'outside'} the box"
            verdict = f"{'a success' if box.ciou >= 0.5 else 'a failure'} at 0.5"
            said = [place, size, f"cIoU {box.ciou:.3f}", verdict]
            best = localise.oracle(image.truth[None])[0]
            lines = [
                f"{cosines}; {place}",
                f"{size}; <b>cIoU {box.ciou:.3f}</b>, {verdict}; oracle upper bound "
                f"of half the image {best:.3f}",
            ]
        view.show(
            heat_panels(image.image, p, image.boxes, quantile, show),
            f"An image {'with its' if image.boxes else 'without a'} box, and its {show} "
            f"over it. {pair}. {'; '.join(said)}.",
        )
        status.say("<br>".join([html.escape(pair, quote=False), *lines]))

    def play(_=None):
        wave, rate = heard[sound()].wave.numpy(), config.audio.sample_rate
        player.value = Audio(wave, rate=rate, normalize=False).data

    def add(kind, file):
        """Choose an own file; where it cannot be read, say why and change nothing."""
        known, load = {"image": (seen, open_image), "sound": (heard, open_sound)}[kind]
        try:
            new = decoded(file, load)
        except (OSError, ValueError) as error:
            status.say(f"✗ {html.escape(str(error), quote=False)}")
            return
        if kind == "image":  # what is playing goes on
            controls["sound"].value = sound()
        known.append(new)
        control, number = controls[kind], len(known) - 1
        control.options = (*control.options, (f"yours: {new.label}", number))
        control.value = number

    for control in controls.values():
        control.observe(render, "value")
    for name in ("image", "sound"):
        controls[name].observe(play, "value")
    for kind, upload in uploads.items():
        upload.observe(
            lambda change, kind=kind: [add(kind, file) for file in change["new"]],
            "value",
        )
    box.controls, box.uploads = controls, uploads
    box.view, box.player, box.status = view, player, status
    render()
    play()
    return box
