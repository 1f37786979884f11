"""What the figures of notebook 01 show is what they were given."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import seaborn
import torch
from matplotlib.colors import to_rgb
from matplotlib.path import Path
from PIL import Image

from sslnb.data import load_scenes, soundstamps
from sslnb.data.media import LAPTOP_AUDIO, RELEASE_AUDIO, normalise
from sslnb.losses import equivariance_loss
from sslnb.teach import plot
from sslnb.teach.plot.base import OURS


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_a_table_has_a_line_for_each_row():
    found = plot.table(["split", "clips"], [("`train`", 47), ("`wild`", 23)])
    assert found == (
        "| split | clips |\n| --- | --- |\n| `train` | 47 |\n| `wild` | 23 |"
    )


def test_the_style_is_seaborns():
    ours = dict(plt.rcParams)
    with plt.rc_context():
        plt.rcdefaults()
        seaborn.set_theme(style="ticks", palette=plot.PALETTE, rc=OURS)
        theirs = dict(plt.rcParams) | {"backend": ours["backend"]}
    assert ours == theirs


def test_each_mask_has_a_colour_of_its_own():
    masks = np.zeros((2, 4, 5), bool)
    masks[0, 0], masks[1, 2:, 3] = True, True
    found = plot.colored(masks)
    assert found.shape == (4, 5, 3) and found.dtype == np.uint8
    for mask, color in zip(masks, (plot.ORANGE, plot.BLUE)):  # as the ground truth
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


def test_scenes_stand_above_their_splits():
    many = [soundstamps.compose("val", 0, k, 16) for k in range(2)]
    figure = plot.scenes(many, ["val", "val"])
    for ax, scene in zip(figure.axes, many):
        assert ax.get_title().startswith("♪ " + scene.class_name.replace("_", " "))
        assert ax.get_xlabel() == "split: val"
    with pytest.raises(ValueError):
        plot.scenes(many, ["val"])


def test_the_ground_truth_shows_what_sounds_and_nothing_else():
    scene = soundstamps.compose("train", 0, 273, 224)
    alone = np.asarray(plot.ground_truth(scene).axes[2].images[0].get_array())
    assert np.array_equal(alone[scene.mask], scene.image[scene.mask])
    assert (alone[~scene.mask] == 235).all()


def test_cutouts_of_one_name_stand_in_one_column():
    images = {name: Image.new("RGBA", (9, 9), name) for name in ("red", "blue")}
    rows = {"train": images, "unseen": dict(reversed(images.items()))}
    axes = plot.cutouts(rows, size=9).axes
    assert [ax.get_title() for ax in axes] == ["red", "blue", "", ""]
    shown = [np.asarray(ax.images[0].get_array()) for ax in axes]
    assert np.array_equal(shown[0], shown[2]) and np.array_equal(shown[1], shown[3])


def test_each_spectrogram_is_shown_over_the_seconds_of_its_settings():
    few, many = torch.rand(1, 64, 120), torch.rand(1, 257, 670)
    figure = plot.by_settings(
        {"here": (few, LAPTOP_AUDIO, "A"), "release": (many, RELEASE_AUDIO, "dB")}
    )
    assert [ax.get_xlim()[1] for ax in figure.axes[:2]] == [3, 10]
    assert figure.axes[1].get_title() == "release: 10 s, 257 bands to 8 kHz"


# --- notebook 02 ------------------------------------------------------------


def test_a_grid_takes_images_and_maps_among_them():
    image, response = torch.rand(3, 8, 8), torch.rand(4, 4)
    figure = plot.image_grid({"image": image, "map": response}, columns=2)
    shown = [np.asarray(ax.images[0].get_array()) for ax in figure.axes]
    np.testing.assert_allclose(shown[0], image.permute(1, 2, 0))
    np.testing.assert_allclose(shown[1], response)
    assert [ax.get_title() for ax in figure.axes] == ["image", "map"]


def test_rows_of_images_are_named_once_and_hold_as_many():
    rows = {"original": torch.rand(3, 3, 8, 8), "warped": torch.rand(3, 3, 8, 8)}
    figure = plot.image_rows(rows)
    assert [ax.get_title() for ax in figure.axes] == [
        "original",
        "",
        "",
        "warped",
        "",
        "",
    ]
    last = np.asarray(figure.axes[-1].images[0].get_array())
    np.testing.assert_allclose(last, rows["warped"][2].permute(1, 2, 0))
    with pytest.raises(ValueError):
        plot.image_rows({"a": rows["original"], "b": rows["warped"][:2]})


def test_spectrograms_share_one_colour_scale():
    panels = {
        name: scale * torch.rand(1, 8, 9) for name, scale in (("a", 1), ("b", 0.1))
    }
    for figure in (
        plot.spectrograms(panels, LAPTOP_AUDIO, high=0.9),
        plot.panels(panels, LAPTOP_AUDIO, high=0.9),
    ):
        (low, high), (other_low, other_high) = (
            ax.images[0].get_clim() for ax in figure.axes
        )
        assert low == other_low == LAPTOP_AUDIO.silence and high == other_high


def test_panels_tell_images_maps_and_spectrograms_apart():
    shown = {
        "image": torch.rand(3, 8, 8),
        "map": torch.rand(4, 5),
        "sound": torch.rand(1, 8, 9),
    }
    figure = plot.panels(shown, LAPTOP_AUDIO, columns=2)
    found = [np.asarray(ax.images[0].get_array()) for ax in figure.axes]
    wanted = (shown["image"].permute(1, 2, 0), shown["map"], shown["sound"][0])
    for got, right in zip(found, wanted, strict=True):
        np.testing.assert_allclose(got, right)
    assert [ax.get_title() for ax in figure.axes] == list(shown)


def test_partners_stand_below_their_clips_even_where_two_share_one():
    sounds, labels = torch.rand(4, 1, 8, 9), list("abcd")
    rows = {"clip": [3, 1], "similar:": [0, 0]}
    axes = plot.partners(rows, sounds, labels, LAPTOP_AUDIO).axes
    titles = ["clip 3, d", "clip 1, b", "similar: 0, a", "similar: 0, a"]
    assert [ax.get_title() for ax in axes] == titles
    for ax, n in zip(axes, (3, 1, 0, 0)):
        np.testing.assert_allclose(ax.images[0].get_array(), sounds[n, 0])
    with pytest.raises(ValueError):
        plot.partners({"a": [0], "b": [1, 2]}, sounds, labels, LAPTOP_AUDIO)


def test_three_fills_have_their_bands_and_units():
    decibels, scaled = torch.rand(1, 257, 9) - 100, torch.rand(1, 64, 9)
    figure = plot.three_fills(decibels, decibels, scaled, 3.0)
    tops = [ax.images[0].get_extent()[3] for ax in figure.axes[:3]]
    assert tops == [257, 257, 64]
    assert [ax.get_ylabel() for ax in figure.axes[3:]] == ["dB", "dB", "scaled"]


def test_a_test_pattern_stays_sharp_at_half_its_size():
    pattern = plot.chequer(12)
    small = torch.nn.functional.avg_pool2d(pattern[None], 2)[0]
    assert torch.equal(small.unique(), pattern.unique())
    assert (pattern == 1).nonzero().amax(0).tolist() == [3, 3]


@pytest.mark.parametrize("degrees", [10, 30, 45])
def test_the_parts_of_a_turned_side_end_where_it_meets_the_square(degrees):
    """One side of length 1: a leg outside, a part inside, a leg outside."""
    _, ax = plt.subplots()
    plot.show_turned_frame(ax, degrees)
    parts = [np.stack(line.get_data(), 1) for line in ax.lines]
    lengths = [np.linalg.norm(end - start) for start, end in parts]
    assert sum(lengths) == pytest.approx(1)
    (start, one), (_, two), (_, end) = parts
    assert one[1] == pytest.approx(-0.5) and two[0] == pytest.approx(0.5)
    turned = np.asarray(ax.patches[0].get_xy())
    np.testing.assert_allclose([start, end], turned[:2], atol=1e-6)


def test_what_a_query_found_is_marked_right_or_wrong():
    many = [soundstamps.compose("val", 0, k, 16) for k in range(3)]
    _, axes = plot.grid(3)
    plot.ranked(axes, many, [True, False])
    names = [scene.class_name.replace("_", " ") for scene in many]
    assert [ax.get_title() for ax in axes] == [
        f"{mark} {name}" for mark, name in zip("♪✓✗", names)
    ]


def test_a_list_is_scored_up_to_each_of_its_items():
    many = [soundstamps.compose("val", 0, k, 16) for k in range(4)]
    figure = plot.scored_list(many, [False, True, True])
    assert [ax.get_xlabel() for ax in figure.axes] == [
        "",
        "A@1 = 0\nP@1 = 0.00",
        "A@2 = 1\nP@2 = 0.50",
        "A@3 = 1\nP@3 = 0.67",
    ]


def test_each_list_is_a_row_of_its_part():
    many = [soundstamps.compose("val", 0, k, 16) for k in range(3)]
    lists = {"test, own out": (many, [True, True]), "open": (many, [False, True])}
    figure = plot.ranked_lists({"(a)": lists, "(b)": {"open": lists["open"]}})
    assert [len(part.axes) for part in figure.subfigs] == [6, 3]
    marks = [ax.get_title()[0] for ax in figure.axes]
    assert "".join(marks) == "♪✓✓♪✗✓♪✗✓"
    assert figure.axes[0].get_ylabel() == "test,\nown out"


def test_neighbours_show_the_means_that_they_were_given():
    many, means = torch.rand(2, 1, 1, 64, 9).unbind(), torch.rand(2, 64)
    figure = plot.neighbours(dict(zip("ab", many)), means, LAPTOP_AUDIO)
    assert [ax.get_title() for ax in figure.axes[:2]] == ["a", "b"]
    for line, mean in zip(figure.axes[2].lines, means, strict=True):
        assert np.array_equal(line.get_xdata(), mean)


def test_longer_lists_draw_every_curve():
    names = ("A@K", "chance A@K", "P@K", "chance P@K")
    curves = {word: dict(zip(names, np.random.rand(4, 3))) for word in ("a", "b")}
    figure = plot.longer_lists([1, 2, 3], curves)
    drawn = [line.get_ydata() for ax in figure.axes for line in ax.lines]
    wanted = [
        curves[word][name]
        for pair in (names[:2], names[2:])
        for word in "ab"
        for name in pair
    ]
    assert np.array_equal(drawn, wanted)


def test_principal_directions_are_those_of_the_covariance():
    points = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    vectors = points * torch.tensor([3.0, 1, 0.1]) + 5
    found, fraction = plot.principal(vectors)
    values = torch.linalg.eigvalsh(vectors.T.cov()).flip(0)
    assert torch.allclose(found.var(0), values[:2], rtol=1e-3)
    assert fraction == pytest.approx(float(values[:2].sum() / values.sum()), rel=1e-3)


def test_the_modality_gap_is_gone_where_each_kind_is_centred():
    rng = torch.Generator().manual_seed(0)
    sounds, images = torch.randn(2, 12, 5, generator=rng) + torch.tensor(
        [[[9.0]], [[0]]]
    )
    figure = plot.modality_gap(sounds, images, np.array(list("ab") * 6))
    for ax, apart in zip(figure.axes, (True, False)):
        groups = [np.asarray(points.get_offsets()) for points in ax.collections]
        means = [np.concatenate(pair).mean(0) for pair in (groups[:2], groups[2:])]
        assert (np.linalg.norm(means[0] - means[1]) > 10) == apart
        assert apart or np.allclose(means, 0, atol=1e-5)


# --- notebook 04 ---


def test_a_veil_covers_the_cells_of_its_mask_alone():
    image, cells = torch.rand(3, 8, 8), torch.eye(2, dtype=torch.bool)
    found = plot.veil(image, cells, "#ff0000")
    assert torch.equal(found[:, :4, 4:], image[:, :4, 4:])
    red = torch.tensor([1.0, 0, 0])[:, None, None]
    mixed = 0.35 * image[:, :4, :4] + 0.65 * red
    assert torch.allclose(found[:, :4, :4], mixed)


def test_a_receptive_field_is_marked_at_its_centre_of_mass():
    field = torch.zeros(60, 60)
    field[20, 30], field[24, 30] = 1.0, 3.0  # row, column
    ax = plot.receptive_fields({"a": field}, corner=24, side=8).axes[0]
    (cross,) = ax.lines
    assert (*cross.get_xdata(), *cross.get_ydata()) == (30, 23)
    assert "centred on (30.0, 23.0)" in ax.get_title()


def test_cells_that_do_not_count_have_no_difference():
    one, two = torch.rand(2, 2, 4, 4)
    down = torch.eye(2, 3).repeat(2, 1, 1)
    down[1, 1, 2] = -0.5  # the second scene, by one of four cells
    figure = plot.map_pairs(torch.rand(2, 3, 8, 8), one, two, down, ["a", "b"])
    ax = figure.axes[7]
    shown = ax.images[0].get_array()
    assert np.allclose(shown[1:], two[1, 1:] - one[1, :-1], atol=1e-6)
    assert np.ma.getmaskarray(np.ma.masked_invalid(shown))[0].all()
    assert (
        ax.get_title() == f"L_geo {equivariance_loss(one[1:], two[1:], down[1:]):.4f}"
    )


def test_denormalised_is_what_was_normalised():
    images = torch.randint(256, (2, 3, 4, 4), dtype=torch.uint8)
    assert torch.allclose(plot.denormalise(normalise(images)), images / 255, atol=1e-6)


def test_errors_are_drawn_over_what_they_were_measured_at():
    line = {0.0: 0.1, 8.0: 0.4}
    scales = {"untrained": {0.5: 0.3, 1.0: 0.0}}
    figure = plot.error_sweeps(
        {
            "shift": {"untrained": line},
            "rotation": {"untrained": line},
            "scale": scales,
            "flip": {"untrained": {"": 0.7}},
        }
    )
    drawn = figure.axes[0].lines[0]
    assert list(drawn.get_xdata()) == [0, 8] and list(drawn.get_ydata()) == [0.1, 0.4]
    assert figure.axes[3].patches[0].get_height() == 0.7


def test_collapse_shows_two_maps_of_each_stage():
    maps = torch.rand(3, 4, 4) * torch.tensor([0.1, 1, 2])[:, None, None]
    stages = {"a": maps, "b": maps / 2}
    figure = plot.collapse({"run": [0.2, 0.1, 0.0]}, torch.rand(3, 3, 8, 8), stages)
    *panels, curves = figure.axes
    assert [list(line.get_xdata()) for line in curves.lines] == [[1, 2, 3]]
    shown = [torch.as_tensor(ax.images[1].get_array().filled()) for ax in panels]
    assert torch.allclose(
        torch.stack(shown), torch.stack([maps[2], maps[2] / 2, maps[1], maps[1] / 2])
    )


def test_each_seed_has_a_marker_for_each_setting():
    names = ["rotation 10°", "flip", "AUC"]
    results = {
        "λ = 0": pd.DataFrame({name: [1.0, 2.0] for name in names}),
        "λ = 2": pd.DataFrame({name: [3.0, 4.0] for name in names}),
    }
    figure = plot.seed_scatter(results, names[:2])
    rotation, flip, auc = figure.axes
    assert [text.get_text() for text in rotation.get_xticklabels()] == ["10°"]
    assert [text.get_text() for text in flip.get_xticklabels()] == ["flip"]
    for ax in (rotation, flip, auc):
        shown = [line.get_ydata() for line in ax.lines if len(line.get_ydata()) == 1]
        assert [float(y[0]) for y in shown] == [1, 2, 3, 4]


@pytest.fixture
def tried():
    """Two variants at three λ_geo, two seeds each, on two splits."""
    splits = ("test", "unseen")
    runs = itertools.product(("usual", "deep"), (0.0, 2.0, 20.0), (0, 1), splits)
    table = pd.DataFrame(runs, columns=["variant", "weight", "seed", "split"])
    return table.assign(e=range(len(table)), AUC=0.3)


def test_every_run_is_a_dot_over_its_setting_and_the_lines_are_of_means(tried):
    usual = tried[tried["variant"] == "usual"]
    measures = {"e": "error", "AUC": "AUC"}
    left, right = plot.over_setting(usual, "weight", "split", measures, "λ").axes
    dots, line = left.lines[:2]  # of `test`
    test = usual[usual["split"] == "test"]
    assert sorted(dots.get_ydata()) == sorted(test["e"])
    assert list(line.get_ydata()) == list(test.groupby("weight")["e"].mean())
    assert [text.get_text() for text in left.get_xticklabels()] == ["0", "2", "20"]
    assert (left.get_title(), right.get_title()) == ("error", "AUC")


def test_every_variant_has_a_line_from_one_weight_to_the_other(tried):
    (ax,) = plot.by_variant(tried, (0.0, 20.0), {"e": "error"}).axes
    assert [text.get_text() for text in ax.get_yticklabels()] == ["usual", "deep"]
    start, end = (line.get_xdata() for line in ax.lines[:2])  # of `test`
    for weight, values in ((0.0, start), (20.0, end)):
        runs = tried[(tried["split"] == "test") & (tried["weight"] == weight)]
        means = runs.groupby("variant", sort=False)["e"].mean()
        assert list(values) == list(means)


def test_rotated_maps_show_where_the_foreground_should_be():
    theta = torch.stack([torch.eye(2, 3), torch.eye(2, 3)])
    theta[1, 0, 2] = 0.5  # shows what is to the right, by one of four cells
    maps = torch.rand(2, 4, 4, generator=torch.Generator().manual_seed(0))
    images = torch.rand(2, 3, 8, 8)
    figure = plot.rotated_maps(images, theta, {"a": maps, "b": maps}, [0, 30])
    assert len(figure.axes) == 4
    assert [ax.get_title() for ax in figure.axes] == ["0°", "30°"] * 2
    shown = np.ma.masked_invalid(figure.axes[1].images[1].get_array())
    assert np.ma.getmaskarray(shown)[:, 3].all()  # out of frame
    assert np.allclose(shown[:, :3], maps[1, :, :3])
    wanted = maps[0] > maps[0].median()
    middles = [((x + 0.5) / 4, (y + 0.5) / 4) for y in range(4) for x in range(4)]
    for ax, shift in zip(figure.axes, (0, 1, 0, 1)):
        assert ax.get_xlim() == (0, 1) and ax.get_ylim() == (1, 0)
        (line,) = ax.collections
        rings = [
            ring
            for path in line.get_paths()
            for ring in path.to_polygons(closed_only=False)
        ]
        assert all((ring[0] == ring[-1]).all() for ring in rings)
        within = sum(Path(ring).contains_points(middles).astype(int) for ring in rings)
        right = torch.nn.functional.pad(wanted[:, shift:], (0, shift))
        assert (within % 2).tolist() == right.flatten().int().tolist()


# --- notebook 03 ------------------------------------------------------------


def test_a_clip_has_a_column_and_a_row_of_negatives():
    found = plot.roles(1, 3)
    assert found[1, 1] == plot.ORANGE
    assert [k for k, c in found.items() if c == plot.BLUE] == [(0, 1), (2, 1)]
    assert [k for k, c in found.items() if c == plot.PINK] == [(1, 0), (1, 2)]


def test_weights_of_a_cell_add_up_and_cosines_are_fractions():
    cosines = torch.tensor([[0.31, 0.31], [0.79, 0.5]])
    figure = plot.mask_weights(0.65, 0.4, 0.03, {"a": cosines})
    one, two, below = figure.axes
    for ax, count in ((one, 2), (two, 3)):
        curves = [line.get_ydata() for line in ax.lines[:count]]
        assert len(curves[0]) == 401
        np.testing.assert_allclose(sum(map(np.asarray, curves)), 1, atol=1e-6)
    assert np.asarray(two.lines[2].get_ydata())[212] > 0.9  # neither, at 0.53
    values = below.patches[0].get_data().values
    assert values[15] == 0.5 and values.sum() == 1


def test_what_is_in_no_mask_is_in_neither():
    foreground, background = torch.rand(2, 4, 4) / 2
    image, boxes = torch.rand(3, 8, 8), [(0.1, 0.1, 0.5, 0.6)]
    forms = {"a": (foreground, 1 - foreground), "b": (foreground, background)}
    figure = plot.masks(image, boxes, torch.rand(4, 4), forms)
    panels = [ax.images[0].get_array() for ax in figure.axes if ax.images][:8]
    assert np.abs(panels[3]).max() < 1e-6
    total = foreground + background + torch.tensor(np.asarray(panels[7]))
    torch.testing.assert_close(total, torch.ones(4, 4))


def test_pseudo_masks_have_their_mean_above_them():
    response = torch.tensor([[0.2, 0.4], [0.6, 0.8]])
    figure = plot.pseudo_masks(torch.rand(3, 8, 8), response, [(0.5, 1e-4), (0.5, 1e4)])
    titles = [ax.get_title().split("\n")[1] for ax in figure.axes[:2]]
    assert titles == ["P = 0.70", "P = 0.50"]
    mask = figure.axes[0].images[-1].get_array()
    assert np.array_equal(mask, [[0, 0], [1, 1]])


def test_stages_and_free_maps_show_the_maps_they_were_given():
    images, boxes = torch.rand(2, 3, 8, 8), [[(0.1, 0.1, 0.5, 0.6)], []]
    maps = {"a": torch.rand(2, 4, 4), "b": torch.rand(2, 4, 4)}
    first = {name: both[0] for name, both in maps.items()}
    figure = plot.stages(images[0], boxes[0], first)
    for ax, response in zip(figure.axes[1:], first.values()):
        assert np.array_equal(ax.images[-1].get_array(), response)
    figure = plot.free_maps(images, boxes, maps)
    shown = [ax.images[0].get_array() for ax in figure.axes[2:6]]
    assert np.array_equal(shown, torch.cat(list(maps.values())))


def test_forces_and_short_trainings_are_drawn_as_they_are():
    figure = plot.pull_and_push([0, 1], {"paper": [(1, 31), (2, 30)]})
    push, pull = (list(line.get_ydata()) for line in figure.axes[0].lines)
    assert (push, pull) == ([31, 30], [1, 2])
    settings = {"a": {"epsilon": 0.6, "epsilon_negative": 0.2}}
    figure = plot.cell_forces([0, 0.5, 1], {"a": [-4.0, 0.0, 2.0]}, settings)
    assert [line.get_xdata()[0] for line in figure.axes[0].lines] == [0.6, 0.2]
    drawn = np.concatenate(
        [c.get_paths()[0].vertices[:, 1] for c in figure.axes[0].collections]
    )
    assert drawn.min() == -1 and drawn.max() == 0.5
    history, highest = torch.rand(5, 2), torch.rand(3, 3)
    figure = plot.short_training({"release": (history, highest)})
    for line, values in zip(figure.axes[0].lines, history.T):
        assert np.array_equal(line.get_ydata(), values)
    assert np.array_equal(figure.axes[1].images[0].get_array(), highest)


def test_every_training_has_a_dot_and_a_line_joins_the_means():
    runs = {name: [1.0 - k / 10, 1.2 - k / 10] for k, name in enumerate("ABCDEF")}
    figure = plot.invariance_of({"test": runs, "unseen": {n: [0.5] for n in runs}})
    lines = figure.axes[0].lines
    assert list(lines[0].get_ydata()) == pytest.approx([1.1 - k / 10 for k in range(6)])
    assert [list(line.get_ydata()) for line in lines[1:7]] == list(runs.values())
    assert [len(line.get_ydata()) for line in lines[7:]] == [6] + [1] * 6
    _, labels = figure.axes[0].get_legend_handles_labels()
    assert labels == ["test", "unseen"]
    ticks = [tick.get_text() for tick in figure.axes[0].get_xticklabels()]
    assert ticks[0] == "A" and ticks[5] == "F\n+ $L_{geo}$"


def test_a_map_of_a_view_stands_below_it_with_its_change():
    views, maps = torch.rand(2, 3, 8, 8), torch.rand(2, 4, 4)
    maps[1] = maps[0] + 0.5 * maps[0].std(correction=0)
    figure = plot.views_and_maps(views, {"a": maps, "b": 1 - maps})
    shown = [ax.images[0].get_array() for ax in figure.axes[2:6]]
    assert np.allclose(shown, torch.cat([maps, 1 - maps]))
    titles = [ax.get_title() for ax in figure.axes[2:6]]
    assert titles == ["map S(I)", "change 0.25"] * 2


# --- notebook 05, appendix A3 -----------------------------------------------


def test_curves_draw_every_run_its_best_epoch_and_the_bounds():
    history = [{"epoch": e, "loss": 3 / e, "val_AUC": 0.1 * e} for e in (1, 2, 3)]
    figure = plot.curves(
        {"a": history, "b": history[:2]},
        {"loss": "loss", "val_AUC": "AUC"},
        bounds={"val_AUC": {"centre prior": 0.25}},
        limits={"val_AUC": (0, 1)},
        best={"a": 3, "b": 1},
    )
    for ax, name in zip(figure.axes, ("loss", "val_AUC")):
        a, square, b, _ = ax.lines[:4]
        assert list(a.get_xdata()) == [1, 2, 3] and list(b.get_xdata()) == [1, 2]
        assert list(a.get_ydata()) == [m[name] for m in history]
        assert (square.get_xdata(), square.get_marker()) == ([3], "s")
        assert ax.get_ylim()[0] == 0
    assert figure.axes[1].lines[-1].get_ydata()[0] == 0.25
    assert [t.get_text() for t in figure.legends[0].texts] == ["a", "b", "centre prior"]


def test_learning_draws_what_a_run_has_beside_its_bounds():
    history = [{"epoch": e, "contrastive": 3 / e, "val_AUC": 0.1 * e} for e in (1, 2)]
    free = {"centre prior": {"AUC": 0.3, "peak": 0.4}, "oracle": {"AUC": 0.5}}
    figure = plot.learning({"a": history}, free, 3.5)
    assert [ax.get_title() for ax in figure.axes] == ["contrastive loss", "AUC, val"]
    loss, auc = ([line.get_ydata()[0] for line in ax.lines[1:]] for ax in figure.axes)
    assert loss == [3.5] and auc == [0.3, 0.5]
    assert figure.axes[1].get_ylim() == (0, 1)


def test_a_step_shows_every_row_and_every_sound():
    figure = plot.one_step(
        {"x": torch.rand(3, 3, 8, 8), "y": torch.rand(3, 3, 8, 8)},
        torch.rand(3, 1, 64, 120),
        ["a", "b", "c"],
        LAPTOP_AUDIO,
    )
    assert len(figure.axes) == 9
    assert [ax.get_title() for ax in figure.axes[:4]] == ["a", "b", "c", ""]
    assert [ax.get_ylabel() for ax in figure.axes[:7:3]][:2] == ["x", "y"]


def test_schedules_are_of_epochs_done():
    figure = plot.schedules([1e-3] * 6, [0, 0.3, 0.6], [0.5, 1, 1], per_epoch=2)
    assert figure.axes[0].lines[0].get_xdata().tolist() == [0, 0.5, 1, 1.5, 2, 2.5]
    assert figure.axes[1].patches[0].get_data().edges.tolist() == [0, 1, 2, 3]


def test_curves_count_clips_where_they_are_told_how_many():
    history = [{"epoch": e, "loss": 3.0} for e in (0, 1, 2)]
    runs = {"a": history[1:], "b": history}
    figure = plot.curves(runs, {"loss": "loss"}, clips={"a": (0, 8), "b": (8, 2)})
    a, b = figure.axes[0].lines
    assert list(a.get_xdata()) == [8, 16] and list(b.get_xdata()) == [8, 10, 12]
    assert figure.axes[0].get_xlabel() == "clips seen, in thousands"


def crosses(axes):
    return [ax.lines[0].get_xydata()[0].tolist() for ax in axes]


def two_peaks():
    maps = torch.zeros(2, 4, 4)
    maps[0, 1, 2] = maps[1, 3, 0] = 1
    return maps


def test_columns_of_heatmaps_mark_the_maximum_of_each_map():
    maps = {"m": two_peaks(), "n": two_peaks().flip(0)}
    figure = plot.heatmap_columns(torch.rand(2, 3, 8, 8), maps, [(), None], ["a", "b"])
    one, other = [0.625, 0.375], [0.125, 0.875]
    assert crosses(figure.axes[:4]) == [one, other, other, one]
    assert [ax.get_title() for ax in figure.axes[:4]] == ["m", "n", "", ""]
    assert [ax.get_ylabel() for ax in figure.axes[:4:2]] == ["a", "b"]


@pytest.mark.parametrize("boxed", [True, False])
def test_a_run_is_drawn_epoch_by_epoch_with_its_latest_maps(boxed):
    scores = {"val_cIoU": 0.2, "val_peak": 0.4} if boxed else {"val_loss": 3.0}
    history = [{"epoch": 0, **scores}, {"epoch": 1, "contrastive": 3.0, **scores}]
    free = {"centre prior": {"cIoU": 0.3, "peak": 0.35}} if boxed else {}
    given = (torch.rand(2, 3, 8, 8), two_peaks(), [((0, 0, 1, 1),), None], ["a", "b"])
    before = plot.epoch_by_epoch(history[:1], free, 3.5, *given)
    assert before.subfigs[0].get_suptitle() == "at the start"
    figure = plot.epoch_by_epoch(history, free, 3.5, *given)
    maps, curves = figure.subfigs
    assert maps.get_suptitle() == "after epoch 1"
    assert crosses(maps.axes) == [[0.625, 0.375], [0.125, 0.875]]
    assert list(curves.axes[0].lines[0].get_xdata()) == [0, 1]
    assert len(curves.axes) == (3 if boxed else 2)


def test_shares_are_bars_that_say_how_much():
    figure = plot.shares({"a": 0.25, "b": 0.75}, "title", "share of the time")
    (ax,) = figure.axes
    assert [bar.get_width() for bar in ax.patches] == [0.25, 0.75]
    assert [text.get_text() for text in ax.texts] == ["25%", "75%"]


def test_similarities_have_the_colour_of_their_process():
    owner = torch.tensor([[0, -1], [1, 1]])
    (ax,) = plot.similarities({"x": owner}).axes
    colors = ax.images[0].get_array()
    assert tuple(colors[0, 0]) == to_rgb(plot.BLUE)
    assert tuple(colors[1, 0]) == tuple(colors[1, 1]) == to_rgb(plot.ORANGE)
    assert tuple(colors[0, 1]) == (0.92, 0.92, 0.92)


# --- notebook 06 and appendix A2 --------------------------------------------


def test_gains_are_coloured_by_the_side_of_zero_that_they_are_on():
    scores = {"a": (0.1, 0.05, 0.2), "b": (-0.1, -0.2, -0.05), "c": (0.0, -0.1, 0.1)}
    figure = plot.gains({"test": scores})
    _, *lines = figure.axes[0].lines
    assert [line.get_color() for line in lines[::2]] == [plot.BLUE, plot.RED, "0.55"]
    assert lines[0].get_xdata() == pytest.approx([5, 20])


def test_what_a_sound_adds_is_drawn_in_points_for_each_set():
    row = {"pointing": (0.1, 0.05, 0.2), "cIoU": (0.0, -0.1, 0.1)}
    sets = {k: {"another class": row, "silence": row} for k in ("test", "wild")}
    figure = plot.listening(sets)
    assert [ax.get_title() for ax in figure.axes] == ["pointing", "cIoU"]
    _, *lines = figure.axes[0].lines
    assert len(lines) == 2 * 2 * 2
    assert lines[0].get_xdata() == pytest.approx([5, 20])
    (legend,) = figure.legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts == ["fitting − another class", "fitting − silence"]


def test_a_success_curve_passes_through_its_rates():
    ciou = torch.tensor([0.1, 0.5, 0.8, 0.9])
    figure = plot.success_curves({"the model": ciou})
    curve, point = figure.axes[1].lines
    assert len(curve.get_ydata()) == 21
    assert point.get_ydata()[0] == curve.get_ydata()[10] == 0.75


def test_a_peak_is_marked_in_the_middle_of_its_pixel():
    _, ax = plt.subplots()
    p = torch.zeros(4, 5)
    p[2, 3] = 1
    plot.show_peak(ax, p)
    (mark,) = ax.lines
    assert (mark.get_xdata()[0], mark.get_ydata()[0]) == (3.5 / 5, 2.5 / 4)


def test_masks_at_quantiles_say_their_ciou():
    p = torch.linspace(0, 1, 224 * 224).view(224, 224)
    g = torch.zeros(224, 224)
    g[112:] = 1  # the upper half of the values
    figure = plot.at_quantiles(torch.rand(3, 8, 8), [], p, g, (0.5, 0.75))
    titles = [ax.get_title() for ax in figure.axes[1:]]
    assert titles == ["quantile 0.5: cIoU 1.00", "quantile 0.75: cIoU 0.50"]


def test_the_best_threshold_of_a_sweep_has_a_star():
    figure = plot.threshold_sweep([0.25, 0.5, 0.75], {"the model": [0.1, 0.3, 0.2]})
    _, _, star = figure.axes[0].lines
    assert (star.get_xdata()[0], star.get_ydata()[0]) == (0.5, pytest.approx(30))


def test_published_scores_are_drawn_at_their_values():
    rows = [("A", 33.0, True), ("B", 39.0, None)]
    ax = plot.published(rows, 34, 50).axes[0]
    shown = [x[0] for x in (line.get_xdata() for line in ax.lines) if len(x) == 1]
    assert shown == [33.0, 39.0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["A", "B"]


def test_a_cropped_frame_shows_the_right_box_dashed():
    frame, square = np.zeros((90, 160, 3), np.uint8), torch.rand(3, 8, 8)
    used, true = [(0.1, 0.2, 0.3, 0.4)], [(0.0, 0.2, 0.2, 0.4)]
    figure = plot.cropped(frame, square, square, used, true)
    (dashed,) = figure.axes[2].lines
    assert dashed.get_linestyle() == "--" and max(dashed.get_xdata()) == 0.2


def test_figures_of_scores_take_what_the_notebook_has():
    scenes = soundstamps.compose_many("test", 0, 12, 32)
    pair = [scene for scene in scenes if len(scene.objects) > 1][:2]
    maps = torch.rand(2, 224, 224)
    assert len(plot.two_sounds(pair, [maps, maps]).axes) == 4
    p, g = torch.rand(224, 224), (torch.rand(224, 224) > 0.5).float()
    image = torch.rand(3, 8, 8)
    steps = plot.ciou_steps(image, [], p, p.median(), g, torch.tensor(0.4))
    assert steps.axes[3].get_title() == "4  cIoU 0.40"
    size = torch.rand(5)
    plot.against_size(size, {"the model": size, "centre prior": size})
    plot.annotators(image, [(0.1, 0.1, 0.5, 0.5)], g)
    plot.resized_rows(torch.rand(4), {"a": torch.rand(224)})
    spectrogram = torch.rand(1, 64, 120)
    plot.image_sound_map(image, [], spectrogram, LAPTOP_AUDIO, torch.rand(4, 4))


def test_ranked_clips_stand_under_their_numbers():
    clips = load_scenes("test", 3, 16)
    numbers = torch.tensor([0.1, 0.2, 0.3])
    groups = {"best": [2, 1], "worst": [0, 1]}
    maps = torch.rand(3, 4, 4)
    figure = plot.ranked_maps(clips, maps, numbers, 2 * numbers, groups)
    titles = [ax.get_title().splitlines()[1] for ax in figure.axes]
    assert titles[0] == "cIoU 0.30, bound 0.60" and titles[2] == "cIoU 0.10, bound 0.20"


def test_figures_of_the_experiments_show_every_row_and_set():
    from sslnb.localise.intervals import Score

    sure, worse, unsure = Score(0.1, 0.05, 0.2), Score(-0.1, -0.2, 0.0), Score(0, -1, 1)
    worse = Score(-0.1, -0.2, -0.05)
    rows = {"one": {"AUC": sure, "e_app": sure}, "two": {"AUC": worse, "e_app": unsure}}
    found = {"test": rows, "unseen": rows}
    figure = plot.differences(found, ("AUC", "e_app"))
    points, errors = figure.axes
    assert points.get_xlabel() == "points" and errors.get_xlabel() == "change of error"
    assert errors.xaxis_inverted() and not points.xaxis_inverted()
    drawn = [line for line in points.lines if len(line.get_xdata()) == 1]
    assert sorted({line.get_xdata()[0] for line in drawn}) == [-10, 10]  # per cent
    assert {line.get_color() for line in drawn} >= {plot.RED}
    plt.close(figure)

    figure = plot.differences(found, ("AUC", "e_app", "AUC"), columns=2)
    assert [ax.get_subplotspec().rowspan.start for ax in figure.axes] == [0, 0, 1]
    assert all(ax.yaxis_inverted() for ax in figure.axes)
    plt.close(figure)

    figure = plot.levels(found, ("AUC", "e_app"), found)
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == [
        "one",
        "two",
    ]
    assert {text.get_text() for text in figure.legends[0].texts} >= {"test", "unseen"}
    plt.close(figure)

    pairs = {"A": ("one", "two")}
    figure = plot.few_and_all(found, pairs, "AUC", (36, 500))
    assert [ax.get_title() for ax in figure.axes] == ["on test", "on unseen"]
    plt.close(figure)

    x = np.arange(3)
    figure = plot.validation({"D": [(x, x), (x, x + 2)]}, "AUC")
    assert np.array_equal(figure.axes[0].lines[-1].get_ydata(), x + 1)  # the mean
    plt.close(figure)

    maps = {"attention, triplet loss": np.random.default_rng(0).random((2, 12, 12))}
    images = torch.zeros(2, 3, 96, 96)
    boxes = [((0.1, 0.1, 0.5, 0.5),)] * 2
    figure = plot.qualitative(images, boxes, maps, ["first", "second"])
    assert len(figure.axes) == 4 and all(ax.patches for ax in figure.axes)
    assert max(len(line) for line in figure.axes[1].get_title().split("\n")) <= 15
    plt.close(figure)

    figure = plot.activations({"ours": {"own": x, "silence": x - 1}})
    assert len(figure.axes[0].lines) == 2
    plt.close(figure)
