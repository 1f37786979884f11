"""The controls of notebook 02: every transform on a slider, and a die to roll.

    >>> augmentations(clips)        # in a notebook; one clip, moved by sliders

What the sliders say is turned into the draws of `sslnb.augment`, and applied as a
batch would get it; the other way round, *Redraw* sets the sliders to a real draw.
"""

import math

import ipywidgets
import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from IPython.display import Audio

from sslnb import augment
from sslnb.data.media import LAPTOP_AUDIO, MEAN, STD, normalise, spectrogram
from sslnb.teach import plot

CELLS = 12  # of the chequered map, a side: the laptop model's response map
EPOCHS = 80  # of the paper: what the mixing weight of a random epoch is out of

# What the controls of `augmentations` say of a clip that is left as it is.
AS_IT_IS = {
    "brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0, "grey": False,
    "sigma": 0.0, "side": 1.0, "x": 0.0, "y": 0.0, "shrink": False, "angle": 0.0,
    "flip": False, "time": (0.0, 0.0), "frequency": (0.0, 0.0), "alpha": 0.0,
}


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
                            description="silent bands"),
        "alpha": slider("alpha", 0, 0.65, description="mixing α"),
    }


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
    width, height = figure.canvas.get_width_height()
    view = ipywidgets.Image(format="png", width=width, height=height)

    def render(_=None):
        shown = state()
        plot.augmented(*shown, figure)
        view.value = plot.png(plot.drawn(figure))
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
        player.value = Audio(wave.numpy(), rate=config.sample_rate, normalize=False).data

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
