"""The epochs widget of notebook 05, without a browser."""

import io
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image, ImageColor

from sslnb import localise
from sslnb.data import load_scenes
from sslnb.teach import plot, widgets
from sslnb.teach.widgets.epochs import SIDE, in_the_box

FREE = {
    "centre prior": {"cIoU": 0.3, "AUC": 0.34, "peak": 0.35},
    "oracle": {"cIoU": 0.5},
}


@pytest.fixture(scope="module")
def clips():
    return load_scenes("val", 3)


@pytest.fixture(scope="module")
def history():
    return [
        {"epoch": e, "val_cIoU": 0.1 + 0.1 * e, "val_peak": 0.2 + 0.15 * e}
        for e in range(4)
    ]


@pytest.fixture(scope="module")
def responses(clips):
    """Maps whose maximum enters scene 0's box after epoch 1, and is in a corner before."""
    maps = torch.full((4, 3, 12, 12), 0.2)
    x0, y0, x1, y1 = clips.boxes[0][0]
    column, row = int(6 * (x0 + x1)), int(6 * (y0 + y1))
    away = (0, 0) if row + column > 10 else (11, 11)
    maps[:2, :, *away] = 0.5
    maps[2:, :, row, column] = 0.9
    return maps


@pytest.fixture
def box(clips, responses, history):
    return widgets.epochs(clips, responses, history, FREE)


def pixels(box):
    image = Image.open(io.BytesIO(box.view.png))
    return np.asarray(image.convert("RGB")).astype(int)


def marks(box):
    """Centres of the orange marks on the curves, from left to right."""
    curves = pixels(box)[:, SIDE + 8 :]
    orange = np.abs(curves - ImageColor.getrgb(plot.ORANGE)).sum(2) < 30
    columns = np.flatnonzero(orange.any(0))
    groups = np.split(columns, np.flatnonzero(np.diff(columns) > 5) + 1)
    return [
        (group.mean(), np.flatnonzero(orange[:, group].any(1)).mean())
        for group in groups
    ]


def test_its_text_says_whether_the_peak_is_in_the_box_and_what_the_scores_are(box):
    label = box.controls["scene"].options[0][0].split(": ")[1]
    assert box.view.alt.startswith(f"Epoch 0, ♪ {label}: the map's maximum is 0.50")
    assert ", not in the box; " in box.view.alt
    box.controls["epoch"].value = 2
    assert ", in the box; " in box.view.alt
    assert "val: 0.30 (centre prior 0.30); " in box.view.alt
    assert box.view.alt.endswith("val: 0.50 (centre prior 0.35).")
    assert box.view.alt in box.status.value
    assert 'alt="Epoch 2' in box.view.value


def test_the_mark_moves_along_both_curves(box):
    places = []
    for epoch in range(4):
        box.controls["epoch"].value = epoch
        places.append(marks(box))
    assert {len(each) for each in places} == {2}
    for curve in zip(*places):  # equal steps to the right, and up, on straight lines
        steps = np.diff(np.array(curve), axis=0)
        assert (steps[:, 0] > 20).all() and (steps[:, 1] < -5).all()
        assert np.ptp(steps, axis=0).max() < 3


def test_another_scene_has_another_image_and_the_same_marks(box):
    before, places = pixels(box), marks(box)
    box.controls["scene"].value = 1
    assert np.abs(pixels(box)[:, :SIDE] - before[:, :SIDE]).mean() > 5
    assert marks(box) == places


def test_every_epoch_has_its_own_map_and_coming_back_shows_the_same(box):
    first = box.view.png
    box.controls["epoch"].value = 3
    assert box.view.png != first
    box.controls["epoch"].value = 0
    assert box.view.png == first


def test_clips_without_boxes_have_a_loss_instead_of_scores(clips, responses):
    photographs = replace(clips, boxes=[None] * 3)
    losses = [{"epoch": e, "val_loss": 3.0 - e} for e in range(4)]
    box = widgets.epochs(photographs, responses, losses, {})
    assert "box" not in box.view.alt and "loss, val: 3.00" in box.view.alt


def test_labels_of_ones_own_clips_are_never_html(clips, responses, history):
    named = replace(clips, labels=["<img src=x onerror=alert(1)>"] * 3)
    box = widgets.epochs(named, responses, history, FREE)
    assert "<img" not in box.status.value and "&lt;img" in box.status.value


def test_maps_and_metrics_must_be_of_the_same_epochs(clips, responses, history):
    with pytest.raises(ValueError, match="maps of 3 epochs, and metrics of 4"):
        widgets.epochs(clips, responses[:3], history, FREE)


def test_peaks_are_judged_epoch_by_epoch_as_in_the_pointing_game(clips, responses):
    found = in_the_box(clips, responses)
    assert found.shape == (4, 3) and found[:, 0].tolist() == [False, False, True, True]
    truth = localise.truth_of(clips)
    assert torch.equal(found[3], localise.peak_hit(responses[3], truth))
    larger = torch.nn.functional.interpolate(responses[3][None], scale_factor=2)[0]
    assert in_the_box(clips, [responses[0], larger])[1, 0]
    unknown = replace(clips, boxes=[*clips.boxes[:2], None])
    assert in_the_box(unknown, responses) is None


def test_it_starts_before_training_can_be_moved_by_keys_and_leaves_no_figure(box):
    assert {k: c.value for k, c in box.controls.items()} == {"epoch": 0, "scene": 0}
    assert (box.controls["epoch"].min, box.controls["epoch"].max) == (0, 3)
    assert all(control.description for control in box.controls.values())
    assert plt.get_fignums() == []
