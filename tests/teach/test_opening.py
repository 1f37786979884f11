"""The picture that opens the series: what it shows is so, and it is the one that ships."""

import numpy as np
import pytest
import torch
from PIL import Image

from sslnb.data import compose_many, fit_length, normalise, spectrogram
from sslnb.files import CHECKPOINT
from sslnb.model import SoundLocaliser
from sslnb.teach import figures


@pytest.fixture(scope="module")
def model():
    return SoundLocaliser.load(CHECKPOINT)


@pytest.fixture(scope="module")
def swap(model):
    return figures.clearest_swap(model)


def test_each_peak_is_on_the_object_that_is_named(swap):
    assert swap.names == (swap.scene.class_name, *swap.scene.silent)
    for p, on, others in zip(swap.maps, swap.scene.objects, swap.scene.objects[::-1]):
        row, column = divmod(int(p.argmax()), 224)
        assert on[row, column] and not others[row, column]


def test_the_first_map_is_the_models_for_the_scenes_own_sound(model, swap):
    number = next(
        k
        for k, scene in enumerate(compose_many("test", 0, 300, 32))
        if (scene.photo, scene.boxes) == (swap.scene.photo, swap.scene.boxes)
        and scene.sound == swap.scene.sound
    )
    (small,) = compose_many("test", 0, 1, model.config.image_size, start=number)
    image = torch.from_numpy(small.image).permute(2, 0, 1)[None]
    wave = fit_length(torch.from_numpy(small.wave)[None], model.config.audio.samples)
    with torch.no_grad():
        v = model.embed_image(normalise(image))[0]
        a = model.embed_audio(spectrogram(wave, model.config.audio))[0]
    expected = (v * a[:, None, None]).sum(0)  # cosines, without einsum
    p = torch.nn.functional.interpolate(
        expected[None, None], (224, 224), mode="bilinear"
    )
    row, column = divmod(int(p[0, 0].argmax()), 224)
    assert swap.maps[0][row, column] > 0.999
    assert torch.equal(swap.sounds[0], spectrogram(wave, model.config.audio)[0, 0])


def test_how_many_scenes_follow_is_counted_among_those_of_two_objects(model, swap):
    pairs = [s for s in compose_many("test", 0, 300, 32) if len(s.objects) == 2]
    assert swap.scenes == len(pairs) >= swap.right > swap.scenes / 4
    few = figures.clearest_swap(model, 30)
    assert few.scenes < swap.scenes and few.right <= few.scenes


def test_the_picture_that_ships_is_the_one_that_is_drawn(swap, tmp_path):
    path = tmp_path / "two_sounds.webp"
    figures.two_sounds(swap, path)
    assert figures.TWO_SOUNDS.stat().st_size < 200_000
    new, old = (Image.open(p).convert("RGBA") for p in (path, figures.TWO_SOUNDS))
    assert new.size == old.size and new.width == 2_000
    assert old.getpixel((0, 0))[3] == 0  # round corners, on any page
    assert min(old.getpixel((old.width // 2, 40))) > 250  # and a white card
    small = [np.asarray(image.resize((200, 95)), float) for image in (new, old)]
    assert abs(small[0] - small[1]).mean() < 2, "run sslnb figures"
