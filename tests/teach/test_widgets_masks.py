"""The pseudo-mask widget of notebook 03, without a browser: ε and τ."""

import io
import math

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image

from sslnb.teach import plot, widgets


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def clip():
    return rand(3, 24, 24), 0.2 + 0.6 * rand(12, 12, seed=1)


@pytest.fixture
def box(clip):
    return widgets.pseudo_masks(*clip)


def naive(response, epsilon, tau):
    """Mask and mean under it, cell by cell, in double precision."""
    values = response.double().flatten().tolist()
    mask = [1 / (1 + math.exp((epsilon - s) / tau)) for s in values]
    mean = sum(m * s for m, s in zip(mask, values)) / sum(mask)
    return np.array(mask).reshape(response.shape), mean


def shown(box):
    """The mask, the two histograms, and where ε and P are drawn."""
    _, mask, cells = box.figure.axes
    counts = [steps.get_data().values for steps in cells.patches]
    return (
        mask.images[-1].get_array(),
        *counts,
        *(line.get_xdata()[0] for line in cells.lines),
    )


@pytest.mark.parametrize(
    "epsilon, tau", [(0.65, 0.03), (0.3, 0.03), (0.5, 0.3), (0.95, 0.01), (0.1, 1.0)]
)
def test_the_panels_show_what_the_sliders_say(clip, box, epsilon, tau):
    _, response = clip
    box.controls["epsilon"].value, box.controls["tau"].value = epsilon, tau
    right, mean = naive(response, epsilon, tau)
    mask, every, counted, at_epsilon, at_mean = shown(box)
    np.testing.assert_allclose(mask, right, atol=1e-5)
    np.testing.assert_array_equal(every, np.histogram(response, 40, (0, 1))[0])
    expected = np.histogram(response, 40, (0, 1), weights=right / right.sum() * 144)[0]
    np.testing.assert_allclose(counted, expected, rtol=1e-3, atol=1e-3)
    assert (at_epsilon, at_mean) == (epsilon, pytest.approx(mean, abs=1e-5))
    assert f"P = {mean:.2f}" in box.figure.axes[2].get_title()


def test_a_mask_near_zero_still_weights_the_highest_cells(clip, box):
    before = shown(box)[-1]
    box.controls["epsilon"].value = 1.0
    mask, _, counted, _, mean = shown(box)
    assert mask.max() < 0.01 and counted.sum() == pytest.approx(144, rel=1e-4)
    assert before < mean < clip[1].max()


def test_every_change_redraws_and_the_same_values_give_the_same_image(box):
    first = box.view.png
    box.controls["tau"].value = 0.3
    assert box.view.png != first
    box.controls["tau"].value = 0.03
    assert box.view.png == first
    pixels = np.asarray(Image.open(io.BytesIO(box.view.png)))
    assert pixels.shape[2] == 3 and pixels.std() > 10


def test_it_starts_at_the_given_values_and_leaves_no_figure_open(clip):
    box = widgets.pseudo_masks(*clip, epsilon=0.4, tau=0.1)
    assert box.controls["epsilon"].value == 0.4
    assert box.controls["tau"].value == pytest.approx(0.1)
    alone = plot.pseudo_mask(*clip, 0.4, 0.1)
    np.testing.assert_array_equal(shown(box)[0], alone.axes[1].images[-1].get_array())
    plt.close(alone)
    assert plt.get_fignums() == []
