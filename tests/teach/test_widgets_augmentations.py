"""The augmentation widget, without a browser: set the controls, check the figure."""

import dataclasses
import io

import matplotlib.pyplot as plt
import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from sslnb.augment import (
    Appearance,
    Geometric,
    Mask,
    apply_appearance,
    apply_mask,
    warp,
)
from sslnb.data import (
    LAPTOP_AUDIO,
    MEAN,
    STD,
    AudioConfig,
    Clips,
    normalise,
    spectrogram,
)
from sslnb.teach import plot
from sslnb.teach.widgets.augment import (
    AS_IT_IS,
    appear,
    apply_settings,
    augmentations,
    before_and_after,
    draw_settings,
    to_draws,
)

SIZE = 48  # of the images, in pixels


def make_clips(count=5, size=SIZE, samples=LAPTOP_AUDIO.samples):
    """Random images; a tone each, those of clips 0 and 3 of nearly the same pitch."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (count, 3, size, size), generator=generator)
    pitch = torch.tensor([440.0, 1000.0, 2000.0, 450.0, 3000.0])[:count, None]
    waves = 8_000 * torch.sin(2 * torch.pi * pitch * torch.arange(samples) / 16_000)
    return Clips(
        names=[f"val/0/{n}" for n in range(count)],
        labels=list("abcde")[:count],
        images=pixels.to(torch.uint8),
        waves=waves.to(torch.int16),
        boxes=[()] * count,
        masks=torch.zeros(count, 224, 224, dtype=torch.bool),
    )


@pytest.fixture(scope="module")
def shared():
    clips = make_clips()
    return clips, augmentations(clips)


@pytest.fixture
def box(shared):
    """The widget with every control at its first value."""
    box = shared[1]
    box.controls["clip"].value = 0
    box.controls["seed"].value = 0
    box.reset.click()
    return box


def values(box):
    return {name: box.controls[name].value for name in AS_IT_IS}


def shown(box):
    """The figure's image before and after, map, and spectrogram before and after."""
    return [np.asarray(ax.images[0].get_array()) for ax in box.figure.axes]


def pixels(box):
    return np.asarray(Image.open(io.BytesIO(box.view.png)))


def batch_of_one(clips, seed, n):
    """Transformed image, theta and masks, straight from the transforms' classes."""
    generator = torch.Generator().manual_seed(seed)
    appearance = Appearance(sigma=(0.1 * SIZE / 224, 2.0 * SIZE / 224))
    look = appearance.draw(1, generator)
    theta = Geometric().draw(1, generator)
    bands = Mask().draw(1, generator)
    image = apply_appearance(clips.images[n : n + 1] / 255, look)
    transformed = warp(normalise(image), theta)[0]
    std, mean = torch.tensor(STD)[:, None, None], torch.tensor(MEAN)[:, None, None]
    return transformed * std + mean, theta, bands


def test_at_first_the_clip_is_unchanged(shared, box):
    clips, _ = shared
    assert values(box) == AS_IT_IS
    image, image_2, chequer, sound, sound_2 = shown(box)
    right = clips.images[0].permute(1, 2, 0).numpy() / 255
    np.testing.assert_allclose(image, right, atol=1e-6)
    np.testing.assert_allclose(image_2, right, atol=1e-4)
    np.testing.assert_allclose(chequer, plot.chequer(12), atol=1e-5)
    np.testing.assert_array_equal(sound, sound_2)
    np.testing.assert_allclose(sound, spectrogram(clips.waves[:1])[0, 0])


@pytest.mark.parametrize(
    "name, value, panel",
    [
        ("brightness", 0.5, 1),
        ("contrast", 1.5, 1),
        ("saturation", 0.2, 1),
        ("hue", 0.3, 1),
        ("grey", True, 1),
        ("sigma", 0.8, 1),
        ("side", 0.5, 2),
        ("shrink", True, 2),
        ("angle", 30.0, 2),
        ("flip", True, 2),
        ("time", (0.5, 1.0), 4),
        ("frequency", (10.0, 20.0), 4),
        ("alpha", 0.5, 4),
    ],
)
def test_every_control_changes_its_panels_and_the_image(box, name, value, panel):
    before, panels = box.view.png, [x.copy() for x in shown(box)]
    box.controls[name].value = value
    assert box.view.png != before
    now = shown(box)
    changed = {1: {1}, 2: {1, 2}, 4: {4}}[panel]  # T_geo changes the image and the map
    for k in range(5):
        assert np.array_equal(now[k], panels[k]) == (k not in changed), k
    box.controls[name].value = AS_IT_IS[name]
    assert box.view.png == before


def test_the_position_of_a_crop_matters_where_there_is_room(box):
    before = box.view.png
    box.controls["x"].value = 1.0
    assert box.view.png == before  # a crop of the whole frame cannot move
    box.controls["side"].value = 0.5
    right = shown(box)[1].copy()
    box.controls["x"].value = -1.0
    left = shown(box)[1]
    np.testing.assert_allclose(  # bilinear, twice as large: alike but for an edge
        left[:, SIZE // 2 : SIZE - 2],
        _crop(shown(box)[0], 0)[:, SIZE // 2 : SIZE - 2],
        atol=1e-3,
    )
    np.testing.assert_allclose(
        right[:, 2 : SIZE // 2],
        _crop(shown(box)[0], SIZE // 2)[:, 2 : SIZE // 2],
        atol=1e-3,
    )


def _crop(image, x):
    """The middle rows, and columns from x on, of half the frame; twice as large."""
    quarter = SIZE // 4
    part = np.pad(image, ((1, 1), (1, 1), (0, 0)))[
        quarter : quarter + SIZE // 2 + 2, x : x + SIZE // 2 + 2
    ]
    part = torch.from_numpy(part).permute(2, 0, 1)[None].float()
    large = torch.nn.functional.interpolate(part, scale_factor=2, mode="bilinear")
    return large[0, :, 2:-2, 2:-2].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("seed", range(1, 9))
def test_redraw_sets_every_control_to_what_a_batch_draws(shared, box, seed):
    clips, _ = shared
    box.controls["seed"].value = seed - 1
    box.redraw.click()
    assert box.controls["seed"].value == seed
    generator = torch.Generator().manual_seed(seed)
    assert values(box) == draw_settings(generator, SIZE)
    # the figure shows what the classes' draws and apply functions give
    transformed, theta, bands = batch_of_one(clips, seed, 0)
    _, image_2, chequer, _, sound_2 = shown(box)
    right = transformed.permute(1, 2, 0).numpy().clip(0, 1)
    np.testing.assert_allclose(image_2, right, atol=2e-4)
    right = warp(plot.chequer(12)[None], theta)[0]
    np.testing.assert_allclose(chequer, right, atol=1e-4)
    sounds = spectrogram(clips.waves)
    alpha = box.controls["alpha"].value
    mixed = (1 - alpha) * sounds[:1] + alpha * sounds[3:4]
    np.testing.assert_allclose(
        sound_2, apply_mask(mixed, bands, LAPTOP_AUDIO.silence)[0, 0], atol=1e-5
    )


def test_draws_of_many_seeds_survive_the_controls():
    """Drawn, read as settings, and made into draws again: the same theta and bands."""
    for seed in range(300):
        generator = torch.Generator().manual_seed(seed)
        look = Appearance().draw(1, generator)
        theta, bands = Geometric().draw(1, generator), Mask().draw(1, generator)
        settings = draw_settings(torch.Generator().manual_seed(seed), 224)
        found = to_draws(settings)
        for name in look:
            torch.testing.assert_close(found[0][name], look[name])
        torch.testing.assert_close(found[1], theta, atol=1e-5, rtol=0)
        for name in bands:
            torch.testing.assert_close(found[2][name], bands[name])
        assert 0 <= found[3] <= 0.65
        assert settings["shrink"] == (theta[0, :, 1].norm() > 1)


def test_controls_can_hold_every_draw(box):
    """A slider silently clamps values out of its range."""
    for seed in range(300):
        settings = draw_settings(torch.Generator().manual_seed(seed), SIZE)
        for name, value in settings.items():
            control = box.controls[name]
            if hasattr(control, "min"):
                ends = value if isinstance(value, tuple) else (value, value)
                assert control.min <= ends[0] and ends[1] <= control.max, (name, value)


def test_a_seed_can_be_typed_and_gives_the_same_again(box):
    box.controls["seed"].value = 41
    first, figure = values(box), box.view.png
    box.reset.click()
    assert values(box) == AS_IT_IS and box.view.png != figure
    box.controls["seed"].value = 40
    assert values(box) != first
    box.redraw.click()
    assert values(box) == first and box.view.png == figure


def test_redraw_renders_once(box, monkeypatch):
    drawn = []
    original = plot.augmented
    monkeypatch.setattr(plot, "augmented", lambda *a: drawn.append(1) or original(*a))
    box.redraw.click()
    assert len(drawn) == 1
    box.controls["angle"].value = 7.0
    assert len(drawn) == 2


def test_another_clip_shows_and_plays_another(shared, box):
    clips, _ = shared
    figure, wave = box.view.png, box.player.value
    box.controls["clip"].value = 2
    assert box.view.png != figure and box.player.value != wave
    np.testing.assert_allclose(shown(box)[0], clips.images[2].permute(1, 2, 0) / 255)
    assert "♪ c" in box.status.value


def played(box):
    wave, rate = soundfile.read(io.BytesIO(box.player.value), dtype="float32")
    assert rate == LAPTOP_AUDIO.sample_rate
    return wave


def test_the_player_gives_the_wave_mixed_with_the_most_similar_other_clip(shared, box):
    clips, _ = shared
    waves = clips.waves.numpy() / 32768
    np.testing.assert_allclose(played(box), waves[0], atol=1e-4)
    assert "mixed with clip 3 (d)" in box.status.value
    box.controls["alpha"].value = 0.65
    right = 0.35 * waves[0] + 0.65 * waves[3]
    np.testing.assert_allclose(played(box), right, atol=1e-4)


def test_masks_do_not_touch_the_player(box):
    wave = box.player.value
    box.controls["time"].value = (0.0, 3.0)
    assert box.player.value == wave


def test_status_says_how_much_of_the_map_is_out_of_frame(box):
    assert "0% of the map's cells are out of frame" in box.status.value
    box.controls["shrink"].value = True
    assert "75% of the map's cells are out of frame" in box.status.value


def test_out_of_frame_pixels_have_the_mean_colour_since_inputs_are_normalised(box):
    box.controls["shrink"].value = True
    np.testing.assert_allclose(shown(box)[1][0, 0], MEAN, atol=1e-5)


def test_the_outline_is_what_theta_shows(box):
    box.controls["shrink"].value = True
    (frame,) = box.figure.axes[0].patches
    np.testing.assert_allclose(
        frame.get_xy()[:4], [(-0.5, -0.5), (1.5, -0.5), (1.5, 1.5), (-0.5, 1.5)]
    )
    box.controls["flip"].value = True
    (frame,) = box.figure.axes[0].patches  # the one before is removed
    np.testing.assert_allclose(frame.get_xy()[0], (1.5, -0.5))  # its upper left


def test_the_view_is_a_png_of_the_figure_and_no_figure_is_left_open(box):
    assert pixels(box).shape[2] == 3 and pixels(box).shape[1] == 760
    assert plt.get_fignums() == []


def test_apply_settings_leaves_its_inputs_alone():
    clips = make_clips()
    sounds = spectrogram(clips.waves)
    image = clips.images[0] / 255
    before = image.clone(), sounds.clone()
    settings = draw_settings(torch.Generator().manual_seed(3), SIZE)
    image_2, chequer, sound_2 = apply_settings(settings, image, sounds[0], sounds[1])
    assert torch.equal(image, before[0]) and torch.equal(sounds, before[1])
    assert image_2.shape == image.shape and sound_2.shape == sounds[0].shape
    assert chequer.shape == (12, 12)


def test_another_audio_setting():
    config = AudioConfig(seconds=1.0, n_mels=32, frames=40)
    clips = make_clips(samples=config.samples)
    box = augmentations(clips, config)
    assert shown(box)[4].shape == (32, 40)
    assert box.controls["time"].max == 1 and box.controls["frequency"].max == 32
    box.controls["frequency"].value = (0.0, 16.0)
    assert (shown(box)[4][:16] == config.silence).all()


def test_one_clip_or_waves_of_another_length_are_refused():
    with pytest.raises(ValueError, match="two recordings or more"):
        augmentations(make_clips(count=1))
    clips = make_clips()
    short = dataclasses.replace(clips, waves=clips.waves[:, :100])
    with pytest.raises(ValueError, match=r"waves have shape \(5, 100\)"):
        augmentations(short)


def test_the_partners_can_be_given():
    box = augmentations(make_clips(), similar=[2, 0, 1, 0, 0])
    assert "mixed with clip 2 (c)" in box.status.value
    plt.close(box.figure)


def test_appear_applies_what_it_is_given_and_nothing_else():
    image = make_clips(1).images[0] / 255
    torch.testing.assert_close(appear(image), image, atol=1e-6, rtol=0)
    torch.testing.assert_close(appear(image, brightness=0.5), image / 2)
    with pytest.raises(ValueError, match=r"unknown settings .*brightnes"):
        appear(image, brightnes=0.5)


def test_settings_that_are_not_given_change_nothing():
    clips = make_clips(2)
    image, sounds = clips.images[0] / 255, spectrogram(clips.waves)
    some = dict(angle=20.0, alpha=0.3)
    found = apply_settings(some, image, sounds[0], sounds[1])
    right = apply_settings(AS_IT_IS | some, image, sounds[0], sounds[1])
    assert all(torch.equal(a, b) for a, b in zip(found, right))
    with pytest.raises(ValueError, match=r"unknown settings .*angel"):
        to_draws({"angel": 20.0})


def test_before_and_after_are_what_the_widget_shows(shared, box):
    clips, _ = shared
    sounds = spectrogram(clips.waves)
    some = dict(shrink=True, angle=40.0, alpha=0.3)
    for name, value in some.items():
        box.controls[name].value = value
    image, sound, similar = clips.images[0] / 255, sounds[0], sounds[3]
    still = before_and_after(some, image, sound, similar)
    for ax, right in zip(still.axes, shown(box), strict=True):
        np.testing.assert_allclose(ax.images[0].get_array(), right, atol=1e-5)
    plt.close(still)
