"""What the figures of notebook 01 show is what they were given."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from PIL import Image

from sslnb.data.media import LAPTOP_AUDIO
from sslnb.teach import plot


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_a_table_has_a_line_for_each_row():
    found = plot.table(["split", "clips"], [("`train`", 47), ("`wild`", 23)])
    assert found == (
        "| split | clips |\n| --- | --- |\n| `train` | 47 |\n| `wild` | 23 |"
    )


def test_each_mask_has_a_colour_of_its_own():
    masks = np.zeros((2, 4, 5), bool)
    masks[0, 0], masks[1, 2:, 3] = True, True
    found = plot.colored(masks)
    assert found.shape == (4, 5, 3) and found.dtype == np.uint8
    for mask, color in zip(masks, plot.PALETTE):
        assert (found[mask] == np.round(255 * np.array(to_rgb(color)))).all()
    assert (found[~masks.any(0)] == 235).all()


def test_a_transparent_image_lies_in_the_middle_of_a_grey_square():
    image = Image.new("RGBA", (40, 20), "red")
    found = plot.on_grey(image, 20)
    assert image.size == (40, 20)  # left as it was
    assert (found[5:15] == (255, 0, 0)).all()
    assert (found[:5] == 0xE8).all() and (found[15:] == 0xE8).all()


def test_a_clip_shows_its_wave_over_seconds():
    wave = torch.linspace(-1, 1, LAPTOP_AUDIO.samples)
    figure = plot.clip(torch.rand(3, 8, 8), wave, torch.rand(1, 64, 120), LAPTOP_AUDIO)
    (line,) = figure.axes[1].lines
    assert line.get_xdata()[-1] == pytest.approx(3, abs=1e-3)
    assert np.array_equal(line.get_ydata(), wave)


def test_close_ups_draw_the_middle_rows():
    patch = np.arange(5 * 4 * 3).reshape(5, 4, 3)
    figure = plot.close_ups({"a": patch, "b": 2 * patch})
    lines = [line.get_ydata() for line in figure.axes[-1].lines]
    assert np.array_equal(lines[0], patch[2].mean(1))
    assert np.array_equal(lines[1], 2 * lines[0])


def test_centres_count_every_point_and_span_the_halves():
    points = np.random.default_rng(0).random((100, 2))
    figure = plot.centres(points, {"ours": (0.1, 0.2, 0.8, 0.9)})
    for k, ax in enumerate(figure.axes):
        assert ax.patches[0].get_data().values.sum() == 100
        assert tuple(ax.lines[0].get_xdata()) == [(0.1, 0.8), (0.2, 0.9)][k]


def test_the_dots_on_mel_triangles_are_the_weights_of_bins():
    points, bins = torch.arange(7.0), torch.arange(0, 7, 0.5)
    filters = (1 - (bins[:, None] - points[1:-1]).abs()).clamp(min=0)
    figure = plot.mel_scale(points, points, bins, filters, bands=2)
    triangle, dots = figure.axes[1].lines[:2]
    assert list(triangle.get_xdata()) == [0, 1, 2]
    assert list(dots.get_xdata()) == [0.5, 1, 1.5]
    assert list(dots.get_ydata()) == [0.5, 1, 0.5]
