"""The augmentation widget of notebook 02: every transform on a slider.

    >>> augmentations(clips)        # in a notebook

The settings of the sliders become draws of `sslnb.augment`, applied as in training;
the other way round, *Redraw* sets the sliders to a real draw.
"""

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

import ipywidgets
import matplotlib.pyplot as plt
import torch
from IPython.display import Audio
from matplotlib.figure import Figure
from torch import Generator, Tensor

from sslnb import augment
from sslnb.data.clips import Clips
from sslnb.data.media import (
    LAPTOP_AUDIO,
    MEAN,
    STD,
    AudioConfig,
    normalise,
    spectrogram,
)
from sslnb.teach import plot
from sslnb.teach.partners import average_spectra
from sslnb.teach.widgets.base import Picture, Status, labelled, row

CELLS = 12  # a side of the chequered map, as many as the laptop model's maps have
EPOCHS = 80  # of the paper's training: the mixing weight is that of a random one

# the settings that leave a clip unchanged
AS_IT_IS: dict[str, Any] = {
    "brightness": 1.0,
    "contrast": 1.0,
    "saturation": 1.0,
    "hue": 0.0,
    "grey": False,
    "sigma": 0.0,
    "side": 1.0,
    "x": 0.0,
    "y": 0.0,
    "shrink": False,
    "angle": 0.0,
    "flip": False,
    "time": (0.0, 0.0),
    "frequency": (0.0, 0.0),
    "alpha": 0.0,
}


def draw_settings(
    generator: Generator, image_size: int, config: AudioConfig = LAPTOP_AUDIO
) -> dict[str, Any]:
    """Settings of one random sample, drawn by the `draw` of every transform.

    The names are those of AS_IT_IS: brightness, contrast and saturation are factors;
    hue is in full circles, sigma in pixels, angle in degrees; side is the crop's side
    as a fraction of the image's, and x, y its position, −1 to 1 from edge to edge;
    time (start, end) is in seconds, frequency in mel bands; alpha is eq. 4's, of a
    random epoch.
    """
    low, high = augment.Appearance.sigma  # for images of 224 pixels
    sigma = (low * image_size / 224, high * image_size / 224)
    look = augment.Appearance(sigma=sigma).draw(1, generator)
    theta = augment.Geometric().draw(1, generator)[0].double()
    bands = augment.Mask().draw(1, generator)
    epoch = int(torch.randint(EPOCHS, (1,), generator=generator))

    side = theta[:, 1].norm().item()
    shrink = side > 1  # a crop alone is never larger than the image
    side = side * augment.Geometric.scale if shrink else side
    room = max(1 - side, 1e-6)
    x, y = (theta[:, 2] / room).clamp(-1, 1).tolist()
    scale = {"time": config.seconds, "frequency": config.n_mels}
    return {
        **{name: value.item() for name, value in look.items()},
        "side": side,
        "x": x,
        "y": y,
        "shrink": shrink,
        "angle": math.degrees(math.atan2(-theta[0, 1], theta[1, 1])),
        "flip": torch.linalg.det(theta[:, :2]).item() < 0,
        **{name: tuple((bands[name][0] * scale[name]).tolist()) for name in scale},
        "alpha": augment.mixing_weight(epoch, EPOCHS),
    }


def to_draws(
    settings: Mapping[str, Any], config: AudioConfig = LAPTOP_AUDIO
) -> tuple[dict[str, Tensor], Tensor, dict[str, Tensor], float]:
    """The draws of a batch of one that the settings stand for; not given: unchanged.

    They are those of Appearance, Geometric (1, 2, 3) and Mask, and eq. 4's α.
    ValueError for settings that AS_IT_IS does not have.
    """
    unknown = set(settings) - set(AS_IT_IS)
    if unknown:
        raise ValueError(
            f"unknown settings {sorted(unknown)}; need some of {', '.join(AS_IT_IS)}"
        )
    settings = {**AS_IT_IS, **settings}
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


def appear(image: Tensor, **settings: Any) -> Tensor:
    """An image (3, S, S) in [0, 1] after T_app; settings that are not given: unchanged."""
    look = to_draws(settings)[0]
    return augment.apply_appearance(image[None], look)[0]


def apply_settings(
    settings: Mapping[str, Any],
    image: Tensor,
    sound: Tensor,
    similar: Tensor,
    config: AudioConfig = LAPTOP_AUDIO,
) -> tuple[Tensor, Tensor, Tensor]:
    """Augment one clip as in training: T_app then T_geo, T_mix then T_mask.

    image (3, S, S) in [0, 1]; sound and similar, spectrograms (1, F, T). Returns the
    image, the chequered map (CELLS, CELLS) under the same T_geo, and the spectrogram.
    Images are normalised before T_geo, so out-of-frame pixels have the mean colour.
    """
    look, theta, bands, alpha = to_draws(settings, config)
    image = augment.apply_appearance(image[None], look)
    std, mean = torch.tensor(STD)[:, None, None], torch.tensor(MEAN)[:, None, None]
    image = augment.warp(normalise(image), theta) * std + mean
    sound = augment.mix(sound[None], similar[None], alpha)
    sound = augment.apply_mask(sound, bands, config.silence)
    return image[0], augment.warp(plot.chequer(CELLS)[None], theta)[0], sound[0]


def before_and_after(
    settings: Mapping[str, Any],
    image: Tensor,
    sound: Tensor,
    similar: Tensor,
    config: AudioConfig = LAPTOP_AUDIO,
    figure: Figure | None = None,
) -> Figure:
    """`plot.augmented` of a clip under some settings, as the widget shows it.

    The arguments are those of `apply_settings`; a given figure is updated.
    """
    after, response, heard = apply_settings(settings, image, sound, similar, config)
    theta = to_draws(settings, config)[1][0]
    return plot.augmented(image, after, response, sound, heard, theta, config, figure)


def _sliders(image_size: int, config: AudioConfig) -> dict[str, Any]:
    """The controls of the settings, by the names of AS_IT_IS."""

    def slider(name, low, high, step=0.01, **options):
        kind = (
            ipywidgets.FloatRangeSlider
            if isinstance(AS_IT_IS[name], tuple)
            else ipywidgets.FloatSlider
        )
        options = {"description": name, "readout_format": ".2f", **options}
        return kind(value=AS_IT_IS[name], min=low, max=high, step=step, **options)

    def switch(name, description):
        return ipywidgets.Checkbox(value=False, description=description)

    return {
        "brightness": slider("brightness", 0, 2),
        "contrast": slider("contrast", 0, 2),
        "saturation": slider("saturation", 0, 2),
        "hue": slider("hue", -0.5, 0.5, description="hue (circles)"),
        "grey": switch("grey", "greyscale"),
        "sigma": slider("sigma", 0, 4 * image_size / 224, description="blur σ (px)"),
        "side": slider("side", 0.25, 1, description="crop side"),
        "x": slider("x", -1, 1, description="crop x"),
        "y": slider("y", -1, 1, description="crop y"),
        "shrink": switch("shrink", "shrink to half"),
        "angle": slider(
            "angle", -90, 90, 1, description="angle (°)", readout_format=".0f"
        ),
        "flip": switch("flip", "flip"),
        "time": slider("time", 0, config.seconds, 0.025, description="masked (s)"),
        "frequency": slider(
            "frequency",
            0,
            config.n_mels,
            1,
            readout_format=".0f",
            description="masked bands",
        ),
        "alpha": slider("alpha", 0, 0.65, description="mixing α"),
    }


def _in_words(value: Any) -> str:
    """The value of a control, as alternative text."""
    if isinstance(value, bool):
        return "on"
    ends = value if isinstance(value, tuple) else (value,)
    return " to ".join(f"{end:.2f}" for end in ends)


def augmentations(
    clips: Clips,
    config: AudioConfig = LAPTOP_AUDIO,
    similar: Sequence[int] | None = None,
) -> ipywidgets.VBox:
    """Every transform on a slider: an image, a map under the same T_geo, and a sound.

    clips: of two recordings or more. *Redraw* adds 1 to the seed and sets every control
    to the draw of that seed; a seed can also be typed in. The player has the wave mixed
    by α; the masks affect only the spectrogram. similar: for each clip the index of the clip that
    it is mixed with; without it, and without a trained encoder, that is the clip of
    another recording with the most similar average spectrum.

    Returns a box with `controls` (widgets by name: clip, seed and those of AS_IT_IS),
    `redraw` and `reset` (buttons), `view` (the image of the figure), `player`,
    `status` and `figure`.
    """
    sounds = torch.cat([spectrogram(part, config) for part in clips.waves.split(64)])
    if similar is None:
        spectra = average_spectra(sounds)
        similar = augment.most_similar(spectra, clips.originals).tolist()

    sliders = _sliders(clips.images.shape[-1], config)
    clip = ipywidgets.Dropdown(
        options=[(f"{n}: {label}", n) for n, label in enumerate(clips.labels)],
        value=0,
        description="clip",
    )
    seed = ipywidgets.BoundedIntText(value=0, max=2**31 - 1, description="seed")
    redraw = ipywidgets.Button(description="Redraw", tooltip="draw with the next seed")
    reset = ipywidgets.Button(description="Reset", tooltip="leave the clip unchanged")
    player = ipywidgets.Audio(format="wav", autoplay=False, loop=False)
    view, status = Picture(), Status()

    def settings():
        return {name: control.value for name, control in sliders.items()}

    def draw_figure(figure=None):
        n = clip.value
        image, sound, other = clips.images[n] / 255, sounds[n], sounds[similar[n]]
        return before_and_after(settings(), image, sound, other, config, figure)

    figure = draw_figure()
    plot.freeze_layout(figure)
    plt.close(figure)

    def render(_=None):
        now, n = settings(), clip.value
        theta = to_draws(now, config)[1]
        in_frame = augment.warp(torch.ones(1, CELLS, CELLS), theta).mean()
        words = (
            f"♪ {clips.labels[n]}, mixed with clip {similar[n]} "
            f"({clips.labels[similar[n]]}) at α = {now['alpha']:.2f}. "
            f"{1 - in_frame:.0%} of the map's cells are out of frame."
        )
        changed = [
            f"{name} {_in_words(value)}"
            for name, value in now.items()
            if value != AS_IT_IS[name]
        ]
        view.show(
            plot.png(plot.drawn(draw_figure(figure))),
            "An image and the image transformed, a test map under the same geometry, "
            f"and the spectrogram before and after. {words} Changed: "
            f"{', '.join(changed) or 'nothing'}.",
        )
        status.say(html.escape(words, quote=False))

    def play(_=None):
        waves = clips.waves[[clip.value, similar[clip.value]]] / 32768
        wave = augment.mix(waves[:1], waves[1:], sliders["alpha"].value)[0]
        player.value = Audio(
            wave.numpy(), rate=config.sample_rate, normalize=False
        ).data

    def set_all(values):
        """Set every control, and render once."""
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
        controls = [labelled(sliders[name]) for name in names]
        return ipywidgets.VBox([ipywidgets.HTML(f"<b>{title}</b>"), *controls])

    names = list(sliders)
    box = ipywidgets.VBox(
        [
            row(clip, seed, redraw, reset),
            row(
                column("T<sub>app</sub>: appearance", *names[:6]),
                column("T<sub>geo</sub>: geometry", *names[6:12]),
                column("T<sub>mask</sub>, T<sub>mix</sub>: sound", *names[12:]),
            ),
            view,
            status,
            player,
        ]
    )
    box.controls = {"clip": clip, "seed": seed, **sliders}
    box.redraw, box.reset, box.figure = redraw, reset, figure
    box.view, box.player, box.status = view, player, status
    return box
