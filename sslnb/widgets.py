"""Controls of the notebooks: each binds a plot function to sliders and buttons.

    >>> augmentations(clips)        # in a notebook; one picture, moved by sliders
    >>> heatmaps(model, clips)      # pictures, sounds and a threshold to choose
"""

import io
import math

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import soundfile
import torch
import torch.nn.functional as F
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image, ImageDraw, ImageFont

from sslnb import augment, localise, plot
from sslnb.losses import equivariance_loss
from sslnb.media import LAPTOP_AUDIO, MEAN, STD, normalise, spectrogram
from sslnb.model import respond

CELLS = 12  # of the chequered map, a side: the laptop model's response map
EPOCHS = 80  # of the paper: what the mixing weight of a random epoch is out of

# What the controls of `augmentations` say of a clip that is left as it is.
AS_IT_IS = {
    "brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0, "grey": False,
    "sigma": 0.0, "side": 1.0, "x": 0.0, "y": 0.0, "shrink": False, "angle": 0.0,
    "flip": False, "time": (0.0, 0.0), "frequency": (0.0, 0.0), "alpha": 0.0,
}


def png(figure):
    """A figure as the bytes of a PNG file; drawn once, packed lightly: it is quick."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB").save(
        buffer, "png", compress_level=1
    )
    return buffer.getvalue()


def draw_settings(generator, image_size, config=LAPTOP_AUDIO):
    """What one sample of a batch gets, drawn by the transforms' own `draw`.

    A dict as AS_IT_IS: factors; hue in turns; sigma in pixels; side and x, y (the
    crop's place, −1 to 1 from edge to edge) in shares; angle in degrees; time
    (start, end) in seconds, frequency in mel bands; alpha of a random epoch.
    """
    sigma = tuple(s * image_size / 224 for s in augment.Appearance.sigma)
    look = augment.Appearance(sigma=sigma).draw(1, generator)
    theta = augment.Geometric().draw(1, generator)[0].double()
    bands = augment.Mask().draw(1, generator)
    epoch = torch.randint(EPOCHS, (1,), generator=generator).item()

    side = theta[:, 1].norm().item()
    shrink = side > 1  # a crop alone is never larger than the frame
    side = side * augment.Geometric.scale if shrink else side
    room = max(1 - side, 1e-6)
    x, y = (theta[:, 2] / room).clamp(-1, 1).tolist()
    scale = {"time": config.seconds, "frequency": config.n_mels}
    return {
        **{name: value.item() for name, value in look.items()},
        "side": side, "x": x, "y": y, "shrink": shrink,
        "angle": math.degrees(math.atan2(-theta[0, 1], theta[1, 1])),
        "flip": torch.linalg.det(theta[:, :2]).item() < 0,
        **{name: tuple((bands[name][0] * scale[name]).tolist()) for name in scale},
        "alpha": augment.mixing_weight(epoch, EPOCHS),
    }


def to_draws(settings, config=LAPTOP_AUDIO):
    """Settings as the draws of a batch of one: (look, theta, bands, alpha)."""
    names = ("brightness", "contrast", "saturation", "hue", "grey", "sigma")
    look = {name: torch.tensor([settings[name]]) for name in names}
    side = torch.tensor([settings["side"]])
    shift = torch.tensor([[settings["x"], settings["y"]]]) * (1 - side)
    if settings["shrink"]:
        side = side / augment.Geometric.scale
    angle = torch.tensor([math.radians(settings["angle"])])
    flip = torch.tensor([-1.0 if settings["flip"] else 1.0])
    bands = {
        "time": torch.tensor([settings["time"]]) / config.seconds,
        "frequency": torch.tensor([settings["frequency"]]) / config.n_mels,
    }
    return look, augment.affine(side, shift, angle, flip), bands, settings["alpha"]


def apply_settings(settings, image, sound, similar, config=LAPTOP_AUDIO):
    """One clip as a batch would get it: T_app then T_geo, T_mix then T_mask.

    image (3, S, S) in [0, 1]; sound and similar (1, F, T), spectrograms. Returns
    the image, the chequered map (CELLS, CELLS) moved along, and the spectrogram.
    The network's input is normalised before it is moved, so that zeros from outside
    of the frame are the mean colour: this is how they are shown.
    """
    look, theta, bands, alpha = to_draws(settings, config)
    looks = augment.apply_appearance(image[None], look)
    std, mean = torch.tensor(STD)[:, None, None], torch.tensor(MEAN)[:, None, None]
    moved = augment.warp(normalise(looks), theta) * std + mean
    heard = augment.mix(sound[None], similar[None], alpha)
    heard = augment.apply_mask(heard, bands, config.silence)
    return moved[0], augment.warp(plot.chequer(CELLS)[None], theta)[0], heard[0]


def _sliders(image_size, config):
    """The controls of `augmentations`, by the names of AS_IT_IS."""
    def slider(name, low, high, step=0.01, **options):
        kind = (ipywidgets.FloatRangeSlider if isinstance(AS_IT_IS[name], tuple)
                else ipywidgets.FloatSlider)
        options = {"description": name, "readout_format": ".2f", **options}
        return kind(value=AS_IT_IS[name], min=low, max=high, step=step, **options)

    def switch(name, description):
        return ipywidgets.Checkbox(value=False, description=description)

    return {
        "brightness": slider("brightness", 0, 2),
        "contrast": slider("contrast", 0, 2),
        "saturation": slider("saturation", 0, 2),
        "hue": slider("hue", -0.5, 0.5, description="hue (turns)"),
        "grey": switch("grey", "grey"),
        "sigma": slider("sigma", 0, 4 * image_size / 224, description="blur σ (px)"),
        "side": slider("side", 0.25, 1, description="crop side"),
        "x": slider("x", -1, 1, description="crop, across"),
        "y": slider("y", -1, 1, description="crop, down"),
        "shrink": switch("shrink", "shrink to half"),
        "angle": slider("angle", -90, 90, 1, description="angle (°)",
                        readout_format=".0f"),
        "flip": switch("flip", "flip"),
        "time": slider("time", 0, config.seconds, 0.025, description="silent (s)"),
        "frequency": slider("frequency", 0, config.n_mels, 1, readout_format=".0f",
                            description="silent (band)"),
        "alpha": slider("alpha", 0, 0.65, description="mixing α"),
    }


def _wav(wave, rate):
    buffer = io.BytesIO()
    soundfile.write(buffer, wave.clamp(-1, 1).numpy(), rate, "PCM_16", format="WAV")
    return buffer.getvalue()


def augmentations(clips, config=LAPTOP_AUDIO):
    """Every transform on a slider: the image, a map moved along, and the sound.

    clips: data.Clips, at least two. *Redraw* raises the seed by one and sets every
    control to what a sample of a batch draws with it; a seed can also be typed in.
    The player gives the wave mixed by α; masks act on the spectrogram alone.
    A clip's most similar other one is found by its average spectrum, since there
    is no trained encoder yet.

    Returns a box with `controls` (widgets by name: clip, seed and those of
    AS_IT_IS), `redraw` and `reset` (buttons), `view` (the picture), `player`,
    `status` and `figure`.
    """
    sounds = torch.cat([spectrogram(part, config) for part in clips.waves.split(64)])
    spectra = sounds.mean(3).flatten(1)  # (N, F)
    similar = augment.most_similar(F.normalize(spectra - spectra.mean(0))).tolist()

    sliders = _sliders(clips.images.shape[-1], config)
    clip = ipywidgets.Dropdown(
        options=[(f"{n}: {label}", n) for n, label in enumerate(clips.labels)],
        value=0, description="clip",
    )
    seed = ipywidgets.BoundedIntText(value=0, max=2**31 - 1, description="seed")
    redraw = ipywidgets.Button(description="Redraw", icon="random")
    reset = ipywidgets.Button(description="As it is", icon="undo")
    view = ipywidgets.Image(format="png")
    player = ipywidgets.Audio(format="wav", autoplay=False, loop=False)
    status = ipywidgets.HTML()

    def settings():
        return {name: control.value for name, control in sliders.items()}

    def state():
        """What the figure shows now."""
        n, now = clip.value, settings()
        image = clips.images[n] / 255
        sound, other = sounds[n], sounds[similar[n]]
        moved, chequer, heard = apply_settings(now, image, sound, other, config)
        theta = to_draws(now, config)[1][0]
        return image, moved, chequer, sound, heard, theta, config

    figure = plot.augmented(*state())
    figure.get_layout_engine().execute(figure)
    figure.set_layout_engine("none")  # the panels stay; laying out takes longest
    plt.close(figure)

    def render(_=None):
        shown = state()
        plot.augmented(*shown, figure)
        view.value = png(figure)
        outside = 1 - augment.warp(torch.ones(1, CELLS, CELLS), shown[-2][None]).mean()
        n = clip.value
        status.value = (
            f"♪ {clips.labels[n]}, mixed with clip {similar[n]} "
            f"({clips.labels[similar[n]]}) at α = {sliders['alpha'].value:.2f}. "
            f"{outside:.0%} of the map comes from outside of the frame."
        )

    def play(_=None):
        waves = clips.waves[[clip.value, similar[clip.value]]] / 32768
        wave = augment.mix(waves[:1], waves[1:], sliders["alpha"].value)[0]
        player.value = _wav(wave, config.sample_rate)

    def set_all(values):
        """Move every control, and render once."""
        for control in sliders.values():
            control.unobserve(render, "value")
        for name, value in values.items():
            sliders[name].value = value
        for control in sliders.values():
            control.observe(render, "value")
        render()

    def draw(_):
        generator = torch.Generator().manual_seed(seed.value)
        set_all(draw_settings(generator, clips.images.shape[-1], config))

    for control in (clip, *sliders.values()):
        control.observe(render, "value")
    for control in (clip, sliders["alpha"]):
        control.observe(play, "value")
    seed.observe(draw, "value")
    redraw.on_click(lambda _: setattr(seed, "value", seed.value + 1))
    reset.on_click(lambda _: set_all(AS_IT_IS))
    render()
    play()

    def column(title, *names):
        return ipywidgets.VBox(
            [ipywidgets.HTML(f"<b>{title}</b>"), *(sliders[name] for name in names)]
        )

    names = list(sliders)
    box = ipywidgets.VBox([
        ipywidgets.HBox([clip, seed, redraw, reset]),
        ipywidgets.HBox([
            column("T<sub>app</sub>: how it looks", *names[:6]),
            column("T<sub>geo</sub>: where it is", *names[6:12]),
            column("T<sub>mask</sub>, T<sub>mix</sub>: what is heard", *names[12:]),
        ]),
        view, status, player,
    ])
    box.controls = {"clip": clip, "seed": seed, **sliders}
    box.redraw, box.reset, box.figure = redraw, reset, figure
    box.view, box.player, box.status = view, player, status
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
    buffer = io.BytesIO()
    canvas.save(buffer, "png", compress_level=1)
    return buffer.getvalue()


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
    with torch.no_grad():
        was_training = model.training
        model.eval()
        v = model.embed_image(normalise(clips.images.to(device)))  # (N, C, h, w)
        sounds = spectrogram(clips.waves.to(device), model.config.audio)
        responses = respond(v, model.embed_audio(sounds)).cpu()  # (N, N, h, w)
        model.train(was_training)
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
            options=[("map over the picture", "map"), ("mask", "mask")]),
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
        best = localise.ceiling(truth[None])[0]
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
        player.value = _wav(wave, model.config.audio.sample_rate)

    for control in controls.values():
        control.observe(render, "value")
    for name in ("picture", "sound"):
        controls[name].observe(play, "value")
    box.controls, box.view, box.player, box.status = controls, view, player, status
    render()
    play()
    return box


# --- equivariance (notebook 04) -----------------------------------------------

MOVE_PANEL = 212  # pixels a side of each of the four pictures of `equivariance`
MOVE_TITLES = ("the picture", "moved picture", "its map, moved along",
               "map of the moved picture")


def move_panels(image, moved, map_1, map_2, inside, low, high):
    """Four pictures side by side, PNG bytes: I, T(I), T(Φ(I)) and Φ(T(I)).

    image, moved (3, S, S) in [0, 1]; map_1 (moved along) and map_2 (h, w), coloured
    from low to high over the moved picture; cells not `inside` (h, w) stay dark.
    """
    side, line = MOVE_PANEL, 24  # pixels: a panel, and its title above
    canvas = Image.new("RGB", (4 * side + 3 * 8, side + line), "white")
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
        canvas.paste(panel, (k * (side + 8), line))
    buffer = io.BytesIO()
    canvas.save(buffer, "png", compress_level=1)
    return buffer.getvalue()


def equivariance(model, clips):
    """Turn, scale and flip a picture: its map moved along, and the map of it moved.

    model: SoundLocaliser; clips: data.Clips. Maps of the pictures as they are, and
    the sounds, are computed once, here.

    Returns a box with `controls` (scene, angle in degrees, scale of the content,
    flip), `view` (the pictures), `status`, and `loss`, L_geo of what is shown.
    """
    device = next(model.parameters()).device
    images = normalise(clips.images.to(device))  # (N, 3, S, S)

    @torch.no_grad()
    def still(encode, x):
        """A batch through an encoder in eval mode."""
        was_training = model.training
        model.eval()
        features = encode(x)
        model.train(was_training)
        return features

    sounds = spectrogram(clips.waves.to(device), model.config.audio)
    a = still(model.embed_audio, sounds)  # (N, C)
    maps = torch.einsum("bchw,bc->bhw", still(model.embed_image, images), a).cpu()
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
    view = ipywidgets.Image(format="png")
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
        map_2 = respond(still(model.embed_image, moved), a[n : n + 1])[0].cpu()
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
