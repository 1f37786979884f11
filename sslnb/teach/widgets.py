"""The controls of notebooks 03, 04 and 06: response maps, moved by sliders.

    >>> pseudo_masks(image, response)   # 03: ε and τ of equation 5
    >>> equivariance(model, clips)      # 04: turn, scale and flip a picture
    >>> heatmaps(model, clips)          # 06: a picture, a sound and a threshold

Those of notebook 02 are in `augment_widget.py`.
"""

import math
from contextlib import contextmanager

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import Audio
from PIL import Image, ImageDraw, ImageFont

from sslnb import augment, localise
from sslnb.data.media import MEAN, STD, normalise, spectrogram
from sslnb.losses import equivariance_loss
from sslnb.model import respond
from sslnb.teach import plot


@contextmanager
def listening(model):
    """The model in eval mode and without gradients; afterwards as it was."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


# --- pseudo-masks (notebook 03) -----------------------------------------------


def pseudo_masks(image, response, epsilon=0.65, tau=0.03):
    """Move ε and τ: the pseudo-mask m of a map (eq. 5), and which cells P counts.

    image (3, S, S) in [0, 1] or uint8; response (h, w), its map. Returns a box with
    `controls` (epsilon, tau), `view` (the picture) and `figure`.
    """
    controls = {
        "epsilon": ipywidgets.FloatSlider(
            value=epsilon, min=0.1, max=1, step=0.01, description="ε"),
        "tau": ipywidgets.FloatLogSlider(
            value=tau, min=math.log10(tau) - 1, max=math.log10(tau) + 2, step=0.05,
            description="τ"),
    }
    figure = plot.pseudo_mask(image, response, epsilon, tau)
    figure.get_layout_engine().execute(figure)
    figure.set_layout_engine("none")  # the panels stay; laying out takes longest
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

MOVE_PANEL = 212  # pixels a side of each of the four pictures of `equivariance`
LINE = 24  # pixels: the title above each
MOVE_TITLES = ("the picture", "moved picture", "its map, moved along",
               "map of the moved picture")


def move_panels(image, moved, map_1, map_2, inside, low, high):
    """Four pictures side by side, PNG bytes: I, T(I), T(Φ(I)) and Φ(T(I)).

    image, moved (3, S, S) in [0, 1]; map_1 (moved along) and map_2 (h, w), coloured
    from low to high over the moved picture; cells not `inside` (h, w) stay dark.
    """
    side = MOVE_PANEL
    canvas = Image.new("RGB", (4 * side + 3 * 8, side + LINE), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(14)
    colours = plt.get_cmap(plot.MAP)

    def enlarge(pixels, how):
        pixels = np.asarray(255 * pixels).round().astype(np.uint8)
        return Image.fromarray(pixels).resize((side, side), how)

    dark = Image.new("RGB", (side, side), (40, 40, 40))
    mask = enlarge(inside.float().numpy(), Image.NEAREST)
    panels = [enlarge(x.clamp(0, 1).permute(1, 2, 0).numpy(), Image.BILINEAR)
              for x in (image, moved)]
    for response in (map_1, map_2):
        share = ((response - low) / max(high - low, 1e-6)).clamp(0, 1)
        heat = enlarge(colours(share.numpy())[..., :3], Image.BILINEAR)
        panels.append(Image.composite(Image.blend(panels[1], heat, 0.6), dark, mask))
    for k, (panel, title) in enumerate(zip(panels, MOVE_TITLES)):
        draw.text((k * (side + 8), 2), title, "black", font)
        canvas.paste(panel, (k * (side + 8), LINE))
    return plot.png(canvas)


def equivariance(model, clips):
    """Turn, scale and flip a picture: its map moved along, and the map of it moved.

    model: SoundLocaliser; clips: data.Clips. Maps of the pictures as they are, and
    the sounds, are computed once, here.

    Returns a box with `controls` (scene, angle in degrees, scale of the content,
    flip), `view` (the pictures), `status`, and `loss`, L_geo of what is shown.
    """
    device = next(model.parameters()).device
    images = normalise(clips.images.to(device))  # (N, 3, S, S)

    sounds = spectrogram(clips.waves.to(device), model.config.audio)
    with listening(model):
        a = model.embed_audio(sounds)  # (N, C)
        maps = torch.einsum("bchw,bc->bhw", model.embed_image(images), a).cpu()
    controls = {
        "scene": ipywidgets.Dropdown(
            options=[(f"{n}: {label}", n) for n, label in enumerate(clips.labels)],
            description="scene"),
        "angle": ipywidgets.FloatSlider(
            value=0, min=-90, max=90, step=1, description="angle (°)",
            readout_format=".0f"),
        "scale": ipywidgets.FloatSlider(
            value=1, min=0.5, max=2, step=0.05, description="scale"),
        "flip": ipywidgets.Checkbox(value=False, description="flip"),
    }
    view = ipywidgets.Image(
        format="png", width=4 * MOVE_PANEL + 3 * 8, height=MOVE_PANEL + LINE)
    status = ipywidgets.HTML()
    box = ipywidgets.VBox([
        ipywidgets.HBox([controls["scene"], controls["flip"]]),
        ipywidgets.HBox([controls["angle"], controls["scale"]]),
        view, status,
    ])

    def render(_=None):
        n, now = controls["scene"].value, {k: c.value for k, c in controls.items()}
        theta = augment.affine(
            torch.tensor([1 / now["scale"]]), torch.zeros(1, 2),
            torch.tensor([math.radians(now["angle"])]),
            torch.tensor([-1.0 if now["flip"] else 1.0]),
        )
        moved = augment.warp(images[n : n + 1], theta.to(device))
        map_1 = maps[n : n + 1]  # (1, h, w)
        with listening(model):
            map_2 = respond(model.embed_image(moved), a[n : n + 1])[0].cpu()
        inside = augment.warp(torch.ones_like(map_1), theta) > 1 - 1e-3
        box.loss = equivariance_loss(map_1, map_2, theta).item()
        std, mean = torch.tensor(STD)[:, None, None], torch.tensor(MEAN)[:, None, None]
        view.value = move_panels(
            clips.images[n] / 255, moved[0].cpu() * std + mean,
            augment.warp(map_1, theta)[0], map_2[0], inside[0],
            map_1.min().item(), map_1.max().item(),
        )
        status.value = (
            f"♪ {clips.labels[n]}. <b>L<sub>geo</sub> = {box.loss:.4f}</b>; the map's "
            f"own variance is {map_1.var(correction=0):.4f}. "
            f"{1 - inside.float().mean():.0%} of the cells (dark) do not count."
        )

    for control in controls.values():
        control.observe(render, "value")
    box.controls, box.view, box.status = controls, view, status
    render()
    return box


# --- heatmaps (notebook 06) ---------------------------------------------------

PANEL = 300  # pixels a side of each of the two pictures of `heatmaps`


def heat_panels(image, p, boxes, quantile=0.5, show="map"):
    """Two pictures side by side, PNG bytes: as it is, and with what the map says.

    image (3, S, S) uint8; p (224, 224) in [0, 1]; boxes, normalised. show: "map"
    lays p over the picture and circles its peak; "mask" colours what lies above
    the quantile, blue inside the boxes and vermilion outside of them, and yellow
    what it misses of them.
    """
    def paint(pixels, color, at):
        color = torch.tensor([int(color[k : k + 2], 16) for k in (1, 3, 5)])
        pixels[at] = 0.4 * pixels[at] + 0.6 * color

    def enlarge(pixels):
        pixels = pixels.round().to(torch.uint8).numpy()
        return Image.fromarray(pixels).resize((PANEL, PANEL), Image.BILINEAR)

    pixels = image.permute(1, 2, 0).contiguous().numpy()
    plain = Image.fromarray(pixels).resize((localise.SIZE,) * 2, Image.BILINEAR)
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
    for x, panel in ((0, plain.resize((PANEL, PANEL), Image.BILINEAR)),
                     (PANEL + 8, enlarge(pixels))):
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


def above(p, quantile):
    """Mask of p (224, 224) above its own quantile; 0.5 is the protocol's median."""
    rank = min(int(p.numel() * quantile), p.numel() - 1)
    return p > p.flatten().kthvalue(rank + 1).values


def heatmaps(model, clips):
    """Choose a picture and a sound, move the threshold: map, mask and cIoU.

    model: SoundLocaliser; clips: data.Clips. Everything is embedded once, here.
    The truth is the box of what sounds in the picture's own clip, whichever sound
    is chosen: with another sound, the map ought to leave it.

    Returns a box with `controls` (picture, sound: "own" or the number of a clip,
    quantile, show: "map" or "mask"), `view` (the picture), `player`, `status` and
    `ciou`, which gives the cIoU that is shown.
    """
    device = next(model.parameters()).device
    with listening(model):
        v = model.embed_image(normalise(clips.images.to(device)))  # (N, C, h, w)
        sounds = spectrogram(clips.waves.to(device), model.config.audio)
        responses = respond(v, model.embed_audio(sounds)).cpu()  # (N, N, h, w)
    truths = localise.truth_of(clips)
    names = [f"{n}: {label}" for n, label in enumerate(clips.labels)]
    controls = {
        "picture": ipywidgets.Dropdown(
            options=list(zip(names, range(len(clips)))), description="picture"),
        "sound": ipywidgets.Dropdown(
            options=[("its own", "own"), *zip(names, range(len(clips)))],
            description="sound"),
        "quantile": ipywidgets.FloatSlider(
            value=0.5, min=0, max=0.99, step=0.01, description="quantile"),
        "show": ipywidgets.ToggleButtons(
            options=[("map", "map"), ("mask", "mask")]),
    }
    view = ipywidgets.Image(format="png", width=2 * PANEL + 8, height=PANEL)
    player = ipywidgets.Audio(format="wav", autoplay=False, loop=False)
    status = ipywidgets.HTML()
    box = ipywidgets.VBox([
        ipywidgets.HBox([controls["picture"], controls["sound"]]),
        ipywidgets.HBox([controls["quantile"], controls["show"]]),
        view, status, player,
    ])

    def heard():
        sound = controls["sound"].value
        return controls["picture"].value if sound == "own" else sound

    def render(_=None):
        n, quantile = controls["picture"].value, controls["quantile"].value
        response = responses[n, heard()]
        p, truth = localise.resize(response[None])[0], truths[n]
        mask = above(p, quantile)
        box.ciou = localise.mask_ciou(mask[None], truth[None])[0].item()
        peak = localise.peak_hit(response[None], truth[None])[0]
        best = localise.oracle(truth[None])[0]
        view.value = heat_panels(
            clips.images[n], p, clips.boxes[n], quantile, controls["show"].value
        )
        status.value = (
            f"♪ {clips.labels[heard()]}, asked of the picture of: {clips.labels[n]} "
            f"(white box, {truth.mean():.0%} of the frame)<br>"
            f"cosines {response.min():.2f} to {response.max():.2f}; peak "
            f"{'inside' if peak else 'outside of'} the box<br>"
            f"mask {mask.float().mean():.0%} of the frame; <b>cIoU {box.ciou:.3f}</b>, "
            f"{'a success' if box.ciou >= 0.5 else 'no success'} at 0.5; best of any "
            f"half-image mask {best:.3f}"
        )

    def play(_=None):
        wave = clips.waves[heard()] / 32768
        rate = model.config.audio.sample_rate
        player.value = Audio(wave.numpy(), rate=rate, normalize=False).data

    for control in controls.values():
        control.observe(render, "value")
    for name in ("picture", "sound"):
        controls[name].observe(play, "value")
    box.controls, box.view, box.player, box.status = controls, view, player, status
    render()
    play()
    return box
