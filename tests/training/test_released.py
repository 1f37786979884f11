"""The released code's views and L_geo: what both branches share, and what is drawn once."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import ks_2samp
from torchvision.transforms import RandomResizedCrop

from sslnb.augment import in_frame, warp
from sslnb.model import SoundLocaliser, respond
from sslnb.training import released
from sslnb.training.recipe import TrainConfig
from sslnb.training.step import Branches, total_loss, two_views

BATCH, SIZE = 6, 96


def smooth_images(batch=BATCH, size=SIZE, seed=0):
    """Images in [0, 1] that interpolation hardly changes."""
    coarse = torch.rand(batch, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, (size, size), mode="bicubic").clamp(0, 1)


def sounds(batch=BATCH, height=12, width=20):
    return torch.ones(batch, 1, height, width)


def all_of(draw, batch):
    return draw


def views(seed, images=None, batch=BATCH):
    images = smooth_images(batch) if images is None else images
    generator = torch.Generator().manual_seed(seed)
    return released.views(images, sounds(len(images)), 0.0, generator, batch, all_of)


def parts_of(theta):
    """Side, angle in degrees and flip, (B,) each, of matrices (B, 2, 3) without shift."""
    assert not theta[:, :, 2].any()
    det = torch.linalg.det(theta[:, :, :2])
    angle = torch.atan2(-theta[:, 0, 1], theta[:, 1, 1]) * 180 / math.pi
    return det.abs().sqrt(), angle, det.sign()


def seeds_where(small):
    return [seed for seed in range(12) if is_small(seed) == small]


def is_small(seed):
    return bool(parts_of(views(seed)[2])[0][0] > 1.5)


# --- the views


@pytest.mark.parametrize("small", [False, True])
def test_view_2_is_view_1_transformed_and_nothing_else(small):
    """The same crop, flip and T_app: with theta undone, both are one image."""
    for seed in seeds_where(small)[:3]:
        (view_1, view_2), _, theta = views(seed)
        row = torch.tensor([0.0, 0.0, 1.0]).expand(BATCH, 1, 3)
        back = torch.linalg.inv(torch.cat([theta, row], 1))[:, :2]
        large = F.interpolate(view_2, (SIZE, SIZE), mode="bilinear")
        undone = warp(large, back)
        # what view 2 shows of view 1, without its border, which zeros are mixed into
        seen = warp(in_frame(theta, SIZE, SIZE).float(), back) > 0.999
        seen = F.avg_pool2d(seen.float()[:, None], 13, 1, 6)[:, 0] > 0.999
        assert seen.float().mean() > 0.5
        difference = (undone - view_1).abs().amax(1)[seen]
        assert difference.max() < 0.6 and difference.mean() < 0.05
        other = views(seed + 100)[0][0]
        assert (other - view_1).abs().amax(1)[seen].mean() > 0.2  # the measure can tell


def test_the_batch_shares_one_scale_and_one_flip_and_each_angle_is_its_own():
    drawn = [parts_of(views(seed)[2]) for seed in range(40)]
    for side, angle, flip in drawn:
        assert side.allclose(side[:1], atol=1e-5) and flip.unique().numel() == 1
        assert angle.unique().numel() > 1
    sides = [round(side[0].item(), 4) for side, _, _ in drawn]
    flips = [flip[0].item() for _, _, flip in drawn]
    assert set(sides) == {1.0, 2.0} and 8 < sides.count(2.0) < 32
    assert set(flips) == {1.0, -1.0} and 8 < flips.count(1.0) < 32
    assert len({*zip(sides, flips)}) == 4  # two coins, not one


def test_angles_are_whole_degrees_and_all_as_frequent():
    _, theta = released._draw(61 * 200, torch.Generator().manual_seed(0))
    _, angle, _ = parts_of(theta)
    assert (angle - angle.round()).abs().max() < 1e-3
    values, counts = angle.round().unique(return_counts=True)
    assert values.tolist() == list(range(-30, 31))
    assert counts.min() > 130 and counts.max() < 270  # 200 ± 5 standard deviations


@pytest.mark.parametrize("small", [False, True])
def test_where_the_scale_is_drawn_the_image_is_half_as_large_too(small):
    for seed in seeds_where(small):
        (view_1, view_2), _, _ = views(seed)
        assert view_1.shape == (BATCH, 3, SIZE, SIZE)
        assert view_2.shape[2:] == ((SIZE // 2,) * 2 if small else (SIZE, SIZE))


def test_one_coin_decides_for_both_masks_of_a_sound():
    count, height, width = 200, 300, 300
    generator = torch.Generator().manual_seed(1)
    images = torch.zeros(count, 3, 8, 8)
    spectrograms = torch.ones(count, 1, height, width)
    _, (heard,), _ = released.views(
        images, spectrograms, -7.0, generator, count, all_of
    )
    silent = heard[:, 0] == -7
    time, frequency = silent.all(1).any(1), silent.all(2).any(1)  # a column, a row
    assert (heard[:, 0][~silent] == 1).all()
    assert (time == frequency).float().mean() > 0.95  # but for widths that round to 0
    assert 0.7 < time.float().mean() < 0.9  # MASK_P
    assert time.logical_not().sum() > 20


@pytest.mark.parametrize("rows", [slice(0, 2), slice(2, 6), slice(3, 4)])
def test_a_process_has_its_slice_of_what_the_whole_batch_draws(rows):
    def local(draw, batch):
        assert batch == BATCH
        if isinstance(draw, dict):
            return {name: local(value, batch) for name, value in draw.items()}
        return draw[rows]

    for seed in (0, *seeds_where(True)[:1]):
        images, spectrograms = smooth_images(), sounds()
        whole = views(seed, images)
        found = released.views(
            images[rows],
            spectrograms[rows],
            0.0,
            torch.Generator().manual_seed(seed),
            BATCH,
            local,
        )
        for one, other in zip((*found[0], *found[1]), (*whole[0], *whole[1])):
            torch.testing.assert_close(one, other[rows])
        torch.testing.assert_close(found[2], whole[2][rows])


def test_crops_are_torchvisions():
    """Areas and proportions, and where in the image, as RandomResizedCrop draws them."""
    theta = released._draw_crops(4_000, torch.Generator().manual_seed(0))
    assert not theta[:, 0, 1].any() and not theta[:, 1, 0].any()
    assert (theta[:, 0, 0] < 0).float().mean().item() == pytest.approx(0.5, abs=0.03)
    wide, high = theta[:, 0, 0].abs(), theta[:, 1, 1]
    left, top = (theta[:, 0, 2] - wide + 1) / 2, (theta[:, 1, 2] - high + 1) / 2
    image = torch.empty(3, 1_000, 1_000)
    torch.manual_seed(0)
    drawn = [
        RandomResizedCrop.get_params(image, [0.3, 1.0], [3 / 4, 4 / 3])
        for _ in range(4_000)
    ]
    need = torch.tensor(drawn) / 1_000  # top, left, height, width
    for found, right in zip((top, left, high, wide), need.T):
        assert ks_2samp(found, right).pvalue > 0.01
    assert ks_2samp(wide / high, need[:, 3] / need[:, 2]).pvalue > 0.01
    assert ks_2samp(torch.ones(9), need[:, 3]).pvalue < 0.01  # the test can fail


@pytest.mark.parametrize(
    "change, said",
    [
        ({"model": "A"}, "model is 'A', which views='release' would augment as 'D'"),
        ({"model": "C"}, "need D, E or F"),
        (
            {"rotation": 10.0},
            r"rotation is 10.0, but views='release' has its own: .*30",
        ),
        ({"separate_masks": True}, "separate_masks is True"),
        ({"mask_border": False}, "mask_border is False"),
    ],
)
def test_settings_without_effect_are_refused(change, said):
    with pytest.raises(ValueError, match=said):
        TrainConfig(views="release", **change)
    TrainConfig(**change)
    TrainConfig(views="release", model="D")


# --- L_geo


def naive_sample(cells, u, v, zeros):
    """Bilinear at column u and row v of (h, w): zeros outside, or the nearest cell."""
    height, width = cells.shape
    left, top, total = math.floor(u), math.floor(v), 0.0
    for row, q in ((top, 1 - (v - top)), (top + 1, v - top)):
        for column, p in ((left, 1 - (u - left)), (left + 1, u - left)):
            if zeros and not (0 <= row < height and 0 <= column < width):
                continue
            row_, column_ = min(max(row, 0), height - 1), min(max(column, 0), width - 1)
            total += q * p * cells[row_, column_]
    return total


def naive_resize(cells, size):
    factor = len(cells) / size
    at = [max((k + 0.5) * factor - 0.5, 0) for k in range(size)]
    return np.array([[naive_sample(cells, u, v, False) for u in at] for v in at])


def naive_expected(response, theta, size, cells):
    """Branch 1's map (h, w) as pixels, transformed, and as small as branch 2's."""
    large, warped = naive_resize(response, size), np.zeros((size, size))
    for row in range(size):
        for column in range(size):
            x, y = (2 * column + 1) / size - 1, (2 * row + 1) / size - 1
            u, v = theta @ [x, y, 1]
            u, v = ((u + 1) * size - 1) / 2, ((v + 1) * size - 1) / 2
            warped[row, column] = naive_sample(large, u, v, True)
    return naive_resize(warped, cells)


@pytest.mark.parametrize("cells", [6, 3])
def test_the_loss_is_that_of_a_loop_and_zero_for_maps_that_follow(cells):
    size, generator = 24, torch.Generator().manual_seed(0)
    response_1 = torch.rand(3, 6, 6, generator=generator)
    response_2 = torch.rand(3, cells, cells, generator=generator)
    _, theta = released._draw(3, generator)
    expected = np.array(
        [
            naive_expected(response.numpy().astype(float), matrix, size, cells)
            for response, matrix in zip(response_1, theta.numpy())
        ]
    )
    loss = released.equivariance_loss(response_1, response_2, theta, size)
    need = ((response_2.numpy() - expected) ** 2).mean()
    assert loss.item() == pytest.approx(need, rel=1e-4)
    follows = torch.from_numpy(expected).float()
    assert released.equivariance_loss(response_1, follows, theta, size) < 1e-10


def test_a_spot_that_moves_with_the_image_costs_little():
    """An independent truth: where theta says that a point of image 1 is in image 2."""
    points = torch.tensor([[0.2, -0.1], [-0.3, 0.2], [0.1, 0.35]])

    def spot(centre, wide):
        at = (2 * torch.arange(24) + 1) / 24 - 1
        x, y = at[None, None, :], at[None, :, None]
        far = (x - centre[:, 0, None, None]) ** 2 + (y - centre[:, 1, None, None]) ** 2
        return torch.exp(-far / (2 * wide**2))

    for seed in range(8):
        small, theta = released._draw(3, torch.Generator().manual_seed(seed))
        moved = torch.linalg.solve(theta[:, :, :2], points[:, :, None])[:, :, 0]
        follows = spot(moved, 0.15 if small else 0.3)
        one = spot(points, 0.3)
        cost = released.equivariance_loss(one, follows, theta, 96)
        assert cost < 0.01 * follows.var()
        assert released.equivariance_loss(one, one, theta, 96) > 10 * cost


def test_the_whole_loss_is_both_branches_and_twice_this_one():
    config = TrainConfig(model="F", views="release", precision="fp32")
    images, spectrograms = smooth_images(), torch.rand(BATCH, 1, 64, 30)

    def fresh():
        torch.manual_seed(0)
        return SoundLocaliser.from_preset("laptop")

    found = two_views(config, images, spectrograms, torch.Generator().manual_seed(3))
    loss, terms = total_loss(Branches(fresh(), "fp32"), config, found)
    model = fresh().train()
    sound = model.embed_audio(found.spectrograms[0])
    maps = [respond(model.embed_image(image), sound) for image in found.images]
    own = [each[torch.arange(BATCH), torch.arange(BATCH)] for each in maps]
    geo = released.equivariance_loss(*own, found.theta, SIZE)
    assert terms["equivariance"].item() == pytest.approx(geo.item(), rel=1e-3)
    both = 2 * terms["contrastive"].item()
    assert loss.item() == pytest.approx(both + 2 * geo.item(), rel=1e-4)
