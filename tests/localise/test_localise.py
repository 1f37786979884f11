"""The field's localisation metric against loops, closed forms and real boxes."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
import sklearn.metrics
import torch

from sslnb import localise
from sslnb.localise import HALF, SIZE, boxes_to_truth, ciou, summarise
from sslnb.model import PRESETS

VGGSS = Path(__file__).resolve().parents[3] / "shared" / "benchmarks" / "vggss.json"
PIXELS = SIZE * SIZE
DEVICES = ["cpu"] + ["cuda"] * torch.cuda.is_available()


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def random_maps(count, side, seed=0):
    return torch.rand(count, side, side, generator=generator(seed))


def random_boxes(count, seed=0):
    """`count` truths (count, 224, 224) of one box each, of every size."""
    edges = torch.rand(count, 2, 2, generator=generator(seed)).sort(1).values
    return torch.stack([boxes_to_truth([e.flatten().tolist()]) for e in edges])


def without_ties(values):
    """Maps (N, 224, 224) of the same order, each value once: ties are broken at random."""
    noise = torch.rand(values.shape, generator=generator(9))
    order = np.lexsort((noise.flatten(1).numpy(), values.flatten(1).numpy()))
    ranks = torch.empty(len(values), PIXELS)
    ranks.scatter_(
        1, torch.from_numpy(order), torch.arange(PIXELS).float().expand_as(ranks)
    )
    return ranks.view_as(values)


def ciou_by_hand(response, weights):
    """Equation by equation, pixel by pixel, in plain Python; both (224, 224)."""
    values = [float(v) for row in response for v in row]
    weights = [float(g) for row in weights for g in row]
    threshold = sorted(values)[len(values) // 2]
    hit = outside = 0.0
    for value, weight in zip(values, weights):
        if value > threshold:
            if weight == 0:
                outside += 1
            hit += weight
    return hit / (sum(weights) + outside)


# --- truth ------------------------------------------------------------------


def test_edges_are_truncated_and_half_open():
    # 224 · 0.1 = 22.4, 224 · 0.2 = 44.8, 224 · 0.5 = 112, 224 · 0.999 = 223.8
    truth = boxes_to_truth([(0.1, 0.2, 0.5, 0.999)])
    rows, columns = truth.nonzero().T
    assert (columns.min(), columns.max()) == (22, 111)
    assert (rows.min(), rows.max()) == (44, 222)
    assert truth.sum() == (112 - 22) * (223 - 44)


def test_the_whole_frame_is_the_whole_frame():
    assert boxes_to_truth([(0, 0, 1, 1)]).sum() == PIXELS


def test_x_runs_over_columns_and_y_over_rows():
    truth = boxes_to_truth([(0.5, 0, 1, 0.25)])
    assert truth[:56, 112:].all()
    assert truth.sum() == 56 * 112


def test_boxes_are_united_and_overlap_counts_once():
    first, second = (0, 0, 0.5, 0.5), (0.25, 0.25, 0.75, 0.75)
    both = boxes_to_truth([first, second])
    union = (boxes_to_truth([first]) + boxes_to_truth([second])).clamp(max=1)
    assert torch.equal(both, union)
    assert both.sum() == 2 * 112**2 - 56**2


@pytest.mark.parametrize(
    "box",
    [
        (0.3, 0.3, 0.3, 0.9),  # no width
        (0.6, 0.1, 0.4, 0.9),  # edges the wrong way round
        (0.501, 0.1, 0.502, 0.9),  # thinner than a pixel: both edges become 112
        (1.1, 0.1, 1.3, 0.9),  # right of the frame
        (-0.5, 0.1, -0.1, 0.9),  # left of it
    ],
)
def test_a_box_without_pixels_is_no_truth(box):
    assert boxes_to_truth([box]).sum() == 0


def test_no_box_is_no_truth():
    assert boxes_to_truth([]).shape == (SIZE, SIZE)
    assert boxes_to_truth([]).sum() == 0


def test_edges_outside_of_the_frame_are_the_frames_edge():
    inside = boxes_to_truth([(0, 0, 1, 0.5)])
    # the second is what 12 clips of VGG-SS hold
    for box in [
        (-0.2, -3.0, 1.4, 0.5),
        (-2.9e16, 0.0, 1.0, 0.5),
        (-math.inf, 0, 1, 0.5),
    ]:
        assert torch.equal(boxes_to_truth([box]), inside)


@pytest.mark.parametrize(
    "boxes, said",
    [
        ([(0.1, 0.2, math.nan, 0.4)], "nan"),
        ([(0.1, 0.2, 0.3)], "0.1, 0.2, 0.3"),
        ([(22, 44, 112, 223)], "normalised coordinates"),  # pixels
        ((0.1, 0.2, 0.3, 0.4), "list of"),  # a box, not a list of boxes
    ],
)
def test_a_wrong_box_is_named(boxes, said):
    with pytest.raises(ValueError, match=r"need a list of .x0, y0, x1, y1.") as caught:
        boxes_to_truth(boxes)
    assert said in str(caught.value)


# --- resizing ---------------------------------------------------------------


@pytest.mark.parametrize("side", [7, 12, 14])
def test_resizing_is_scipys_bilinear_with_cells_as_areas(side):
    maps = random_maps(3, side)
    scale = (1, SIZE / side, SIZE / side)
    other = scipy.ndimage.zoom(
        maps.double().numpy(), scale, order=1, mode="nearest", grid_mode=True
    )
    other -= other.min((1, 2), keepdims=True)
    other /= other.max((1, 2), keepdims=True)
    assert np.abs(localise.resize(maps).numpy() - other).max() < 1e-5


def test_resized_maps_run_from_0_to_1():
    p = localise.resize(100 * random_maps(4, 12) - 300)
    assert torch.equal(p.amin((1, 2)), torch.zeros(4))
    assert torch.equal(p.amax((1, 2)), torch.ones(4))


def test_maps_need_not_be_square():
    maps = torch.rand(2, 9, 16, generator=generator())
    assert localise.resize(maps).shape == (2, SIZE, SIZE)


# --- the mask ---------------------------------------------------------------


def test_the_mask_is_half_the_picture_less_one_pixel_where_nothing_ties():
    maps = without_ties(random_maps(3, SIZE))
    assert (localise.median_mask(maps).sum((1, 2)) == HALF - 1).all()


@pytest.mark.parametrize("side", [2, 7, 12, 14, SIZE])
def test_the_mask_never_covers_half_the_picture(side):
    coarse = (4 * random_maps(20, side)).round()  # five values: many ties
    assert (localise.median_mask(coarse).flatten(1).sum(1) < HALF).all()


def test_a_map_that_is_flat_over_half_the_picture_has_a_smaller_mask():
    peak = torch.zeros(1, SIZE, SIZE)
    peak[0, 50:60, 100:120] = 1
    assert torch.equal(localise.median_mask(peak)[0], peak[0] > 0)


def test_a_plateau_at_the_top_leaves_the_mask_empty():
    """Strict >: where the median is the maximum, nothing is above it."""
    plateau = torch.ones(1, SIZE, SIZE)
    plateau[0, :10] = 0
    assert localise.median_mask(plateau).sum() == 0


# --- cIoU -------------------------------------------------------------------


def test_ciou_equals_a_loop_over_pixels():
    maps, truth = random_maps(3, SIZE), random_boxes(3)
    hand = [ciou_by_hand(m, g) for m, g in zip(maps, truth)]
    assert ciou(maps, truth).tolist() == pytest.approx(hand, abs=1e-6)


def test_ciou_equals_a_loop_where_annotators_disagree():
    """Flickr-SoundNet: three annotators, g = min(Σ boxes / 2, 1)."""
    truths = []
    for seed in range(3):
        three = random_boxes(3, seed)
        truths.append((three.sum(0) / 2).clamp(max=1))
    truth = torch.stack(truths)
    assert truth.unique().tolist() == [0, 0.5, 1]
    maps = random_maps(3, SIZE, seed=5)
    hand = [ciou_by_hand(m, g) for m, g in zip(maps, truth)]
    assert ciou(maps, truth).tolist() == pytest.approx(hand, abs=1e-6)


def test_an_offset_of_a_map_in_double_precision_changes_nothing():
    """A range of 10⁻⁶ around 1000, which single precision cannot tell from a constant."""
    maps = torch.rand(3, 12, 12, generator=torch.Generator().manual_seed(0))
    moved = 1_000 + 1e-6 * maps.double()
    torch.testing.assert_close(
        localise.resize(moved), localise.resize(maps), atol=1e-4, rtol=0
    )


def test_ciou_of_small_maps_equals_the_loop_on_scipys_resize():
    maps, truth = random_maps(3, 12), random_boxes(3, seed=2)
    large = scipy.ndimage.zoom(
        maps.double().numpy(),
        (1, SIZE / 12, SIZE / 12),
        order=1,
        mode="nearest",
        grid_mode=True,
    )
    hand = [ciou_by_hand(m, g) for m, g in zip(large, truth)]
    assert ciou(maps, truth).tolist() == pytest.approx(hand, abs=2e-3)


def test_binary_ciou_is_the_intersection_over_the_union():
    maps, truth = random_maps(5, 12), random_boxes(5)
    mask = localise.median_mask(maps)
    for value, m, g in zip(ciou(maps, truth), mask, truth):
        jaccard = sklearn.metrics.jaccard_score(g.flatten() > 0, m.flatten())
        assert value.item() == pytest.approx(jaccard, abs=1e-6)


@pytest.mark.parametrize(
    "scale, shift", [(4, 0), (0.25, 0), (1, 3), (1e-3, -7), (1e4, 11)]
)
def test_a_brighter_or_steeper_map_scores_the_same(scale, shift):
    maps, truth = random_maps(6, 12), random_boxes(6)
    moved = ciou(scale * maps.double() + shift, truth)
    assert (moved - ciou(maps, truth)).abs().max() < 1e-3


def test_turning_the_map_upside_down_gives_the_other_half():
    maps = without_ties(random_maps(2, SIZE))
    up, down = localise.median_mask(maps), localise.median_mask(-maps)
    assert not (up & down).any()
    assert ((up | down).sum((1, 2)) == 2 * (HALF - 1)).all()


@pytest.mark.parametrize("value", [0.7, 0.0, -0.7, 1e8])
@pytest.mark.parametrize("side", [12, SIZE])
def test_a_constant_map_scores_nothing_whatever_its_value(value, side):
    constant = torch.full((2, side, side), value)
    truth = torch.stack(
        [boxes_to_truth([(0, 0, 1, 1)]), boxes_to_truth([(0, 0, 0.5, 1)])]
    )
    assert ciou(constant, truth).tolist() == [0, 0]
    assert localise.peak_hit(constant, truth).tolist() == [False, False]


def test_a_mask_that_is_the_truth_scores_one():
    maps = random_maps(3, 12)
    assert (ciou(maps, localise.median_mask(maps)) == 1).all()


def test_a_mask_beside_the_truth_scores_nothing():
    maps = random_maps(3, 12)
    assert (ciou(maps, ~localise.median_mask(maps)) > 0).sum() == 0


def test_empty_truth_scores_nothing_and_is_not_nan():
    empty = torch.zeros(2, SIZE, SIZE)
    maps = torch.stack([random_maps(1, 12)[0], torch.full((12, 12), 0.4)])
    assert ciou(maps, empty).tolist() == [0, 0]  # the second mask is empty too
    assert localise.oracle(empty).tolist() == [0, 0]
    assert localise.peak_hit(maps, empty).tolist() == [False, False]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "dtype", [torch.bfloat16, torch.float16, torch.float64, torch.int64]
)
def test_every_type_of_map_is_taken(device, dtype):
    maps = (100 * random_maps(3, 12)).round()  # exact in all of them
    truth = random_boxes(3)
    found = ciou(maps.to(device, dtype), truth)
    assert found.device.type == device
    assert torch.equal(found.cpu(), ciou(maps, truth))
    assert torch.equal(
        localise.peak_hit(maps.to(device, dtype), truth).cpu(),
        localise.peak_hit(maps, truth),
    )


def test_truth_may_be_bool_numpy_or_double():
    maps, truth = random_maps(2, 12), random_boxes(2)
    expected = ciou(maps, truth)
    for other in (truth.bool(), truth.double(), truth.numpy(), truth.to(torch.uint8)):
        assert torch.equal(ciou(maps, other), expected)


def test_one_clip_does_not_change_another():
    maps, truth = random_maps(4, 12), random_boxes(4)
    alone = torch.cat([ciou(maps[k : k + 1], truth[k : k + 1]) for k in range(4)])
    assert torch.equal(ciou(maps, truth), alone)


# --- ceiling and centre -----------------------------------------------------


@pytest.mark.parametrize("share", [0.02, 0.1, 0.25, 0.4, 0.6, 0.8, 1.0])
def test_ceiling_has_a_closed_form(share):
    truth = boxes_to_truth([(0, 0, 1, share)])[None]
    area, half = truth.sum().item(), HALF - 1
    expected = min(area, half) / max(area, half)
    assert localise.oracle(truth).item() == pytest.approx(expected, abs=1e-6)


def test_success_is_out_of_reach_below_a_quarter_of_the_frame():
    quarter = torch.zeros(2, PIXELS)
    quarter[0, : (HALF - 1) // 2 + 1] = 1  # 12,544 pixels: the exact quarter
    quarter[1, : (HALF - 1) // 2] = 1
    best = localise.oracle(quarter.view(2, SIZE, SIZE))
    assert best[0] >= 0.5 > best[1]


def test_no_random_map_exceeds_the_ceiling():
    maps = without_ties(random_maps(8, SIZE))
    for truth in (random_boxes(8), random_boxes(8, 1) * 0.5):
        assert (ciou(maps, truth) <= localise.oracle(truth) + 1e-6).all()
    maps = random_maps(50, 12)
    truth = random_boxes(50, seed=3)
    full = localise.median_mask(maps).sum((1, 2)) == HALF - 1
    assert full.sum() > 25
    assert (ciou(maps, truth) <= localise.oracle(truth) + 1e-6)[full].all()


def test_the_truth_itself_without_ties_reaches_the_ceiling():
    three = [random_boxes(3, seed) for seed in range(6)]
    weights = [(boxes.sum(0) / 2).clamp(max=1) for boxes in three]
    truth = torch.cat([torch.stack(weights), random_boxes(6)])
    best = ciou(without_ties(truth), truth)
    assert (best - localise.oracle(truth)).abs().max() < 1e-6


def test_a_map_with_ties_can_exceed_the_ceiling():
    """Which is why a score above it is a reason to look at the maps."""
    truth = boxes_to_truth([(0.4, 0.4, 0.6, 0.6)])[None]
    assert ciou(truth, truth).item() == 1 > localise.oracle(truth).item()


def test_the_disc_is_highest_in_the_middle_and_the_same_all_round():
    disc = localise.centre_prior(2)
    assert disc.shape == (2, SIZE, SIZE)
    assert torch.equal(disc, disc.flip(1)) and torch.equal(disc, disc.flip(2))
    assert torch.equal(disc, disc.transpose(1, 2))
    assert disc[0].argmax() in (111 * SIZE + 111, 111 * SIZE + 112)
    assert (disc[0, 112, 112:].diff() < 0).all()


def test_the_discs_mask_is_a_disc_of_half_the_area():
    rows, columns = localise.median_mask(localise.centre_prior())[0].nonzero().T
    radius = ((rows - 111.5) ** 2 + (columns - 111.5) ** 2).sqrt().max()
    assert math.pi * radius**2 == pytest.approx(PIXELS / 2, rel=0.01)


@pytest.mark.slow
@pytest.mark.skipif(not VGGSS.exists(), reason=f"needs {VGGSS}")
def test_disc_and_ceiling_of_vgg_ss():
    """Measured over all 5,158 clips: disc 33.95 / 37.43, ceiling 50.5 / 49.5."""
    clips = json.loads(VGGSS.read_text())
    assert len(clips) == 5158
    disc, best = [], []
    for start in range(0, len(clips), 100):
        part = clips[start : start + 100]
        truth = torch.stack([boxes_to_truth(clip["bbox"]) for clip in part])
        disc.append(ciou(localise.centre_prior(len(part)), truth))
        best.append(localise.oracle(truth))
    disc, best = summarise(torch.cat(disc)), summarise(torch.cat(best))
    assert round(100 * disc["cIoU"], 2) == 33.95
    assert round(100 * disc["AUC"], 2) == 37.43
    assert round(100 * best["cIoU"], 1) == 50.5
    assert round(100 * best["AUC"], 1) == 49.5


# --- peaks ------------------------------------------------------------------


def test_peak_hit_by_hand():
    maps = torch.zeros(3, 4, 4)
    maps[0, 1, 2] = maps[1, 1, 2] = maps[2, 3, 0] = 1  # row, column
    right, left = (
        boxes_to_truth([(0.5, 0.25, 0.75, 0.5)]),
        boxes_to_truth([(0, 0, 0.5, 1)]),
    )
    truth = torch.stack([right, left, left])
    assert localise.peak_hit(maps, truth).tolist() == [True, False, True]


def test_a_peak_on_a_disputed_pixel_counts():
    maps = torch.zeros(1, 4, 4)
    maps[0, 0, 0] = 1
    assert localise.peak_hit(maps, boxes_to_truth([(0, 0, 0.5, 0.5)])[None] / 2).all()


# --- summary ----------------------------------------------------------------


def test_success_counts_clips_and_is_no_mean():
    assert summarise([0.49, 0.5, 0.51, 0.0])["cIoU"] == 0.5
    assert summarise([0.5] * 3)["cIoU"] == 1
    assert summarise([0.499] * 3)["cIoU"] == 0


def test_auc_equals_sklearns_over_the_success_curve():
    values = torch.rand(200, generator=generator(), dtype=torch.float64)
    thresholds = np.arange(21) / 20
    curve = [(values.numpy() >= t).mean() for t in thresholds]
    expected = sklearn.metrics.auc(thresholds, curve)
    assert summarise(values)["AUC"] == pytest.approx(expected, abs=1e-12)
    assert summarise(values.float())["AUC"] == pytest.approx(expected, abs=1e-12)


def test_auc_of_one_clip_is_its_value_to_the_next_half_step():
    """A clip at c adds ⌊20 c⌋ whole steps and the first half one, below 1."""
    for value in (0.0, 0.04, 0.31, 0.5, 0.72, 0.99):
        expected = (math.floor(20 * value) + 0.5) / 20
        assert summarise([value])["AUC"] == pytest.approx(expected)
    assert summarise([1.0])["AUC"] == pytest.approx(1)


def test_auc_is_within_half_a_step_of_the_mean():
    for seed in range(5):
        values = torch.rand(50, generator=generator(seed))
        assert abs(summarise(values)["AUC"] - values.mean().item()) <= 0.025


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_value_on_a_threshold_succeeds_there(dtype):
    """0.05 · 9 is not the float next to 0.45; 9 / 20 is."""
    for k in range(21):
        value = torch.tensor([k], dtype=dtype) / 20
        expected = 0.05 * k + (0.025 if k < 20 else 0)
        assert summarise(value)["AUC"] == pytest.approx(expected)


def test_summary_does_not_depend_on_order_or_type():
    values = torch.tensor([0.0, 1.0, 0.5, 0.25])
    assert summarise(values) == summarise(values.flip(0)) == summarise(values.tolist())
    assert summarise([1, 0]) == summarise([1.0, 0.0])


# --- errors -----------------------------------------------------------------


@pytest.mark.parametrize(
    "call, said",
    [
        (
            lambda: ciou(torch.rand(12, 12), torch.zeros(1, SIZE, SIZE)),
            r"responses .*\(12, 12\)",
        ),
        (
            lambda: ciou(torch.rand(0, 12, 12), torch.zeros(0, SIZE, SIZE)),
            r"responses .*N ≥ 1",
        ),
        (
            lambda: ciou(random_maps(2, 12), torch.zeros(1, SIZE, SIZE)),
            r"truth .*\(1, 224, 224\); need \(2, 224, 224\)",
        ),
        (
            lambda: ciou(random_maps(1, 12), torch.zeros(1, 96, 96)),
            r"truth .*\(1, 96, 96\)",
        ),
        (
            lambda: ciou(random_maps(1, 12), 255 * random_boxes(1)),
            "truth .*255; need 0 to 1",
        ),
        (lambda: ciou(random_maps(1, 12), -random_boxes(1)), "truth .*-1"),
        (lambda: ciou(random_maps(1, 12), random_boxes(1) * math.nan), "truth .*nan"),
        (
            lambda: localise.peak_hit(random_maps(1, 12), torch.zeros(1, 96, 96)),
            "truth .*96",
        ),
        (lambda: summarise([]), "cIoU .*N ≥ 1"),
        (lambda: summarise(torch.rand(2, 2)), r"cIoU .*\(2, 2\)"),
        (lambda: summarise([0.3, math.nan]), "cIoU .*finite"),
    ],
)
def test_errors_name_what_is_wrong(call, said):
    with pytest.raises(ValueError, match=said):
        call()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_map_that_is_not_finite_is_named_by_its_number(value):
    maps = random_maps(3, 12)
    maps[1, 4, 4] = value
    with pytest.raises(ValueError, match="map 1 "):
        ciou(maps, random_boxes(3))


# --- clips and models -------------------------------------------------------


class Echo(torch.nn.Module):
    """A model whose map is the picture's first channel: where it is red, it sounds."""

    config = PRESETS["laptop"]

    def __init__(self):
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def predict(self, images, waves):
        assert len(images) == len(waves)
        assert images.device == waves.device == self.unused.device
        return images[:, 0].float()


def red_clips(count=5, side=32):
    """Pictures that are red inside their box, and nowhere else."""
    from sslnb.data import Clips

    boxes = [((0.25, 0.25, 0.25 + 0.1 * k, 0.75),) for k in range(1, count + 1)]
    truth = torch.stack([boxes_to_truth(b) for b in boxes])
    images = torch.zeros(count, 3, SIZE, SIZE, dtype=torch.uint8)
    images[:, 0] = (255 * truth).to(torch.uint8)
    return Clips(
        names=[f"test/0/{k}" for k in range(count)],
        labels=["dog"] * count,
        images=images,
        waves=torch.zeros(count, side, dtype=torch.int16),
        boxes=boxes,
        masks=truth.bool(),
    )


@pytest.mark.parametrize("device", DEVICES)
def test_a_model_responds_wherever_it_is_in_batches_of_any_size(device):
    clips = red_clips()
    maps = localise.respond_to(Echo().to(device), clips, batch=2)
    assert torch.equal(maps, clips.images[:, 0].float())


def test_score_takes_boxes_but_for_the_peak_which_takes_pixels():
    clips = red_clips()
    maps = localise.respond_to(Echo(), clips)
    # a red box is a map with ties: its mask is the box
    found = localise.score(maps, clips)
    assert found == {"cIoU": 1, "AUC": 1, "pointing": 1, "peak": 1}
    clips.masks[:] = False
    assert localise.score(maps, clips) == {**found, "peak": 0}


def test_clips_with_boxes_as_sizes_are_refused():
    sized = [((0.5, 0.5, 0.1 * k, 0.2),) for k in range(1, 6)]
    clips = replace(red_clips(), boxes=sized)
    with pytest.raises(ValueError, match=r"the clips: 5 of 5 boxes .*width, height"):
        localise.truth_of(clips)


def test_baselines_are_the_disc_and_the_ceiling():
    clips = red_clips()
    truth = localise.truth_of(clips)
    found = localise.baselines(clips)
    assert found["oracle"] == summarise(localise.oracle(truth))
    disc = localise.centre_prior(len(clips))
    assert found["centre prior"]["cIoU"] == summarise(ciou(disc, truth))["cIoU"]
    assert found["centre prior"]["peak"] == truth[:, 111, 111].double().mean().item()


def test_the_protocol_names_every_choice():
    for word in (
        "bilinear",
        "align_corners=False",
        "min-max",
        "p > t",
        "median",
        "int(224·x)",
        "half open",
        "≥ 0.5",
        "0.05",
    ):
        assert word in localise.PROTOCOL
