"""The scene builder of notebook 01, without a browser: what is shown, against the scene."""

import io

import numpy as np
import pytest
import soundfile
from PIL import Image

from sslnb.data import soundstamps, stamps
from sslnb.teach import widgets
from sslnb.teach.widgets.scene import LINE, SIDE, best_iou, box_area, scene_panels

ORANGE, BLUE = (0xE6, 0x9F, 0x00), (0x00, 0x72, 0xB2)


@pytest.fixture
def box():
    return widgets.scene_builder("train", "cow", area=0.4)


def panels(picture):
    """The two panels (SIDE, SIDE, 3) of a PNG."""
    pixels = np.asarray(Image.open(io.BytesIO(picture)))
    assert pixels.shape == (SIDE + LINE, 2 * SIDE + 8, 3)
    return pixels[LINE:, :SIDE], pixels[LINE:, -SIDE:]


def edges_of(panel, color):
    """Normalised (x0, y0, x1, y1) of what has this colour, pixel by pixel."""
    at = [
        (x, y) for y in range(SIDE) for x in range(SIDE) if tuple(panel[y, x]) == color
    ]
    xs, ys = zip(*at)
    return np.array([min(xs), min(ys), max(xs) + 1, max(ys) + 1]) / SIDE


def bounds(mask):
    """The box of a mask, pixel by pixel."""
    at = [(x, y) for y in range(224) for x in range(224) if mask[y, x]]
    xs, ys = zip(*at)
    return np.array([min(xs), min(ys), max(xs) + 1, max(ys) + 1]) / 224


@pytest.mark.parametrize("name, area", [("cow", 0.4), ("owl", 0.1), ("tiger", 0.8)])
def test_the_box_and_mask_shown_are_those_of_the_composed_clip(box, name, area):
    box.controls["object"].value, box.controls["size"].value = name, 100 * area
    scene = soundstamps.build("train", 0, name, area, silent=1)
    image, truth = panels(box.view.png)
    for panel in (image, truth):
        assert np.abs(edges_of(panel, ORANGE) - bounds(scene.mask)).max() <= 1 / SIDE
    blue = (truth == BLUE).all(-1)
    at = (np.arange(SIDE) * 224) // SIDE  # nearest, within a pixel
    expected = scene.mask[at[:, None], at]
    orange = (truth == ORANGE).all(-1)
    assert (blue != expected)[~orange].mean() < 0.02
    x0, y0, x1, y1 = bounds(scene.mask)
    assert f"covers {(x1 - x0) * (y1 - y0):.0%} of the" in box.view.alt
    assert f"pixels: {scene.mask.sum() / 224**2:.0%}" in box.status.value


def test_the_best_iou_is_that_of_the_best_mask_of_half_the_image(box):
    for size in (6, 30, 80):
        box.controls["size"].value = size
        s = box_area(box.scene)
        best = min(s, 0.5) / max(s, 0.5)
        assert best_iou(box.scene) == pytest.approx(best, abs=1e-3)
        assert f"<b>{best:.2f}</b>" in box.status.value
        assert ("missed" in box.status.value) == (best < 0.5)


def test_another_sound_moves_the_ground_truth_and_no_pixel_of_the_image(box):
    before, image_before = box.scene, panels(box.view.png)[0].copy()
    heard = box.player.value
    box.controls["sound"].value = 1
    after, image_after = box.scene, panels(box.view.png)[0]
    np.testing.assert_array_equal(before.image, after.image)
    np.testing.assert_array_equal(after.mask, before.objects[1])
    np.testing.assert_array_equal(before.mask, after.objects[1])
    assert (after.class_name,) == before.silent and after.silent == ("cow",)
    assert stamps.takes()[after.sound][0] == after.class_name
    assert box.player.value != heard
    changed = (image_before != image_after).any(-1)  # the boxes' lines alone
    lines = [(panel == ORANGE).all(-1) for panel in (image_before, image_after)]
    assert changed.any() and not (changed & ~lines[0] & ~lines[1]).any()


def test_the_player_has_the_wave_of_the_scene(box):
    wave, rate = soundfile.read(io.BytesIO(box.player.value))
    assert rate == 8_000 and len(wave) == 24_000
    np.testing.assert_allclose(wave, box.scene.wave[::2] / 32768, atol=1e-4)


def test_a_sound_goes_on_while_the_size_changes(box):
    heard = box.player.value
    box.controls["size"].value = 20
    assert box.player.value is heard


def test_without_a_silent_object_the_sound_stays_its_own_and_the_status_says_so(box):
    box.controls["sound"].value = 1
    box.controls["silent"].value = 0
    assert box.scene.class_name == "cow" and "no silent object" in box.status.value
    assert "Silent in the image: nothing" in box.view.alt


@pytest.mark.parametrize("control", ["object", "size", "sound", "silent", "seed"])
def test_every_control_changes_the_picture_and_back(box, control):
    others = {"object": "dog", "size": 10, "sound": 1, "silent": 2, "seed": 5}
    first, before = box.view.png, box.controls[control].value
    box.controls[control].value = others[control]
    assert box.view.png != first
    box.controls[control].value = before
    assert box.view.png == first
    assert box.controls[control].description


def test_every_object_at_every_end_of_its_sliders(box):
    for _, name in box.controls["object"].options:
        box.controls["object"].value = name
        for size in (box.controls["size"].min, box.controls["size"].max):
            box.controls["size"].value = size
            assert box.scene.mask.any() and name in (box.scene.class_name,)


def test_silent_objects_are_grey():
    scene = soundstamps.build("train", 0, "cow", 0.4, silent=1)
    _, truth = panels(scene_panels(scene))
    y, x = np.argwhere(scene.objects[1]).mean(0)  # of the cow's neighbour
    grey = (truth == 165).all(-1)
    ys, xs = np.nonzero(grey)
    assert abs(ys.mean() / SIDE - y / 224) < 0.05
    assert abs(xs.mean() / SIDE - x / 224) < 0.05
