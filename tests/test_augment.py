"""Transforms against torchvision, naive loops and closed forms."""

import math

import pytest
import torch
from scipy import stats
from torchvision.transforms.v2 import functional as tv

from sslnb.augment import (
    Appearance,
    Geometric,
    Mask,
    affine,
    apply_appearance,
    apply_mask,
    blur,
    grey,
    mix,
    mixing_weight,
    most_similar,
    rotate_hue,
    warp,
)

MANY = 20_000  # draws: frequencies are then known to ± 0.015 (four standard deviations)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def some(*shape, seed=0):
    return torch.rand(*shape, generator=seeded(seed))


def neutral(batch, **changes):
    """A draw of T_app that leaves images as they are, but for `changes`."""
    draw = {
        name: torch.ones(batch) for name in ("brightness", "contrast", "saturation")
    }
    draw |= {"hue": torch.zeros(batch), "sigma": torch.zeros(batch)}
    draw["grey"] = torch.zeros(batch, dtype=torch.bool)
    return draw | {name: torch.as_tensor(value) for name, value in changes.items()}


# --- T_app ------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, adjust, factors",
    [
        ("brightness", tv.adjust_brightness, [0.0, 0.6, 1.4, 3.0]),
        ("contrast", tv.adjust_contrast, [0.0, 0.6, 1.4, 3.0]),
        ("saturation", tv.adjust_saturation, [0.0, 0.6, 1.4, 3.0]),
        ("hue", tv.adjust_hue, [-0.5, -0.1, 0.1, 0.5]),
    ],
)
def test_colour_jitter_is_torchvisions_with_a_factor_for_every_sample(
    name, adjust, factors
):
    images = some(4, 3, 9, 7)
    found = apply_appearance(images, neutral(4, **{name: factors}))
    for image, factor, ours in zip(images, factors, found):
        torch.testing.assert_close(ours, adjust(image, factor), atol=5e-4, rtol=0)


def test_hue_of_greys_and_of_pure_colours():
    red, green, blue = torch.eye(3)[:, :, None, None]
    third = torch.full((1,), 1 / 3)
    torch.testing.assert_close(rotate_hue(red[None], third)[0], green)
    torch.testing.assert_close(rotate_hue(green[None], third)[0], blue)
    torch.testing.assert_close(rotate_hue(blue[None], third)[0], red)
    plain = some(1, 1, 4, 4).expand(1, 3, 4, 4)
    torch.testing.assert_close(rotate_hue(plain, third), plain)


def test_hue_rotated_back_or_by_a_full_circle_is_as_before():
    images, turns = some(5, 3, 6, 6), torch.tensor([0.1, -0.1, 0.3, 0.5, 0.02])
    torch.testing.assert_close(rotate_hue(rotate_hue(images, turns), -turns), images)
    torch.testing.assert_close(rotate_hue(images, torch.ones(5)), images)


def test_grey_is_torchvisions_in_all_three_channels():
    images = some(3, 3, 5, 5)
    found = apply_appearance(images, neutral(3, grey=[True, False, True]))
    right = tv.rgb_to_grayscale(images, 3)
    torch.testing.assert_close(found[[0, 2]], right[[0, 2]], atol=5e-4, rtol=0)
    assert torch.equal(found[1], images[1])
    assert grey(images).shape == (3, 1, 5, 5)


@pytest.mark.parametrize("sigma", [0.1, 0.5, 1.0, 2.0])
def test_blur_is_torchvisions(sigma):
    image = some(1, 3, 24, 20)
    width = 2 * math.ceil(3 * sigma) + 1
    right = tv.gaussian_blur(image, [width, width], [sigma, sigma])
    torch.testing.assert_close(blur(image, torch.tensor([sigma])), right)


def test_blur_of_a_dot_is_a_gaussian_truncated_at_three_sigma():
    image, sigma = torch.zeros(2, 1, 21, 21), torch.tensor([2.0, 1.0])
    image[:, :, 10, 10] = 1
    found = blur(image, sigma)
    for one, s in zip(found, sigma.tolist()):
        row = [
            math.exp(-0.5 * (x / s) ** 2) if abs(x) <= math.ceil(3 * s) else 0
            for x in range(-10, 11)
        ]
        row = torch.tensor(row) / sum(row)
        torch.testing.assert_close(one[0], row[:, None] * row)


def test_blur_keeps_the_mean_of_a_plain_image_and_leaves_sigma_zero_alone():
    plain = torch.full((1, 3, 8, 8), 0.3)
    torch.testing.assert_close(blur(plain, torch.tensor([1.5])), plain)
    images = some(2, 3, 8, 8)
    found = blur(images, torch.tensor([0.0, 1.0]))
    assert torch.equal(found[0], images[0]) and not torch.equal(found[1], images[1])
    assert blur(images, torch.zeros(2)) is images


def test_blur_wider_than_the_image_is_truncated_to_it():
    assert blur(some(1, 3, 4, 3), torch.tensor([5.0])).isfinite().all()


def test_the_blur_of_t_app_is_as_strong_at_any_size():
    assert Appearance.for_size(224) == Appearance()
    assert Appearance.for_size(56).sigma == pytest.approx((0.025, 0.5))


def test_appearance_of_a_sample_does_not_depend_on_its_batch():
    images, draw = some(64, 3, 16, 16), Appearance().draw(64, seeded())
    together = apply_appearance(images, draw)
    for k in range(64):
        alone = apply_appearance(
            images[k : k + 1], {n: v[k : k + 1] for n, v in draw.items()}
        )
        torch.testing.assert_close(alone[0], together[k], atol=1e-5, rtol=0)


def test_appearance_is_in_order_brightness_contrast_saturation_hue_grey_blur():
    images = some(32, 3, 16, 16)
    draw = Appearance().draw(32, seeded())
    found = apply_appearance(images, draw)
    for k, image in enumerate(images):
        of = {name: value[k].item() for name, value in draw.items()}
        image = tv.adjust_brightness(image, of["brightness"])
        image = tv.adjust_contrast(image, of["contrast"])
        image = tv.adjust_saturation(image, of["saturation"])
        image = tv.adjust_hue(image, of["hue"])
        if of["grey"]:
            image = tv.rgb_to_grayscale(image, 3)
        if of["sigma"]:
            width = 2 * math.ceil(3 * of["sigma"]) + 1
            image = tv.gaussian_blur(image, [width] * 2, [of["sigma"]] * 2)
        torch.testing.assert_close(found[k], image, atol=2e-3, rtol=0)


def test_appearance_stays_in_range_and_leaves_its_input_alone():
    images = some(32, 3, 12, 12)
    before = images.clone()
    found = apply_appearance(images, Appearance().draw(32, seeded()))
    assert torch.equal(images, before)
    assert found.min() >= -1e-5 and found.max() <= 1 + 1e-5


def test_appearance_of_doubles_is_that_of_floats():
    images, draw = some(32, 3, 12, 12), Appearance().draw(32, seeded())
    found = apply_appearance(images.double(), draw)
    assert torch.equal(found, apply_appearance(images, draw))


def test_uint8_images_are_refused():
    with pytest.raises(ValueError, match=r"uint8.*\[0, 1\].*255"):
        apply_appearance(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), neutral(2))


def test_appearance_is_drawn_as_appendix_a1_says():
    draw = Appearance().draw(MANY, seeded())
    on = draw["brightness"] != 1
    assert on.float().mean() == pytest.approx(0.8, abs=0.015)
    for name in ("contrast", "saturation"):  # one coin for all four
        assert torch.equal(draw[name] != 1, on)
    assert torch.equal(draw["hue"] != 0, on)
    for name in ("brightness", "contrast", "saturation"):
        assert stats.kstest(draw[name][on], stats.uniform(0.6, 0.8).cdf).pvalue > 1e-3
    assert stats.kstest(draw["hue"][on], stats.uniform(-0.1, 0.2).cdf).pvalue > 1e-3
    assert draw["grey"].float().mean() == pytest.approx(0.2, abs=0.015)
    blurred = draw["sigma"] > 0
    assert blurred.float().mean() == pytest.approx(0.5, abs=0.015)
    sigma = draw["sigma"][blurred]
    assert stats.kstest(sigma, stats.uniform(0.1, 1.9).cdf).pvalue > 1e-3
    pairs = torch.stack([draw["brightness"][on], draw["contrast"][on], draw["hue"][on]])
    assert (torch.corrcoef(pairs) - torch.eye(3)).abs().max() < 0.03


def test_draws_follow_from_the_generator_alone():
    for transform in (Appearance(), Geometric(), Mask()):
        torch.manual_seed(1)
        state = torch.get_rng_state()
        one, same, other = (transform.draw(8, seeded(s)) for s in (5, 5, 6))
        assert torch.equal(state, torch.get_rng_state())
        if isinstance(transform, Geometric):
            one, same, other = ({"theta": draw} for draw in (one, same, other))
        assert all(torch.equal(one[name], same[name]) for name in one)
        assert not all(torch.equal(one[name], other[name]) for name in one)
        for value in one.values():
            assert len(value) == 8 and value.device == torch.device("cpu")


# --- T_geo ------------------------------------------------------------------


def decompose(theta):
    """side, shift, angle in degrees and flip of theta (B, 2, 3)."""
    flip = torch.linalg.det(theta[:, :, :2]).sign()
    angle = torch.atan2(-theta[:, 0, 1], theta[:, 1, 1]).rad2deg()
    return theta[:, :, 1].norm(dim=1), theta[:, :, 2], angle, flip


def transform(degrees, side=1.0, shift=(0.0, 0.0), flip=1.0):
    """theta (1, 2, 3) of one sample."""
    return affine(
        torch.tensor([float(side)]),
        torch.tensor([shift]),
        torch.tensor([math.radians(degrees)]),
        torch.tensor([float(flip)]),
    )


def naive_warp(image, theta):
    """One channel (h, w), pixel by pixel."""
    height, width = image.shape
    warped = torch.zeros_like(image)
    for row in range(height):
        for column in range(width):
            p = ((2 * column + 1) / width - 1, (2 * row + 1) / height - 1, 1)
            x, y = (sum(t * c for t, c in zip(line, p)) for line in theta.tolist())
            x, y = ((x + 1) * width - 1) / 2, ((y + 1) * height - 1) / 2
            for j in (math.floor(y), math.floor(y) + 1):
                for i in (math.floor(x), math.floor(x) + 1):
                    if 0 <= j < height and 0 <= i < width:
                        weight = (1 - abs(x - i)) * (1 - abs(y - j))
                        warped[row, column] += weight * image[j, i]
    return warped


def test_warp_is_the_naive_bilinear_loop():
    x, theta = some(6, 9, 7), Geometric().draw(6, seeded(3))
    right = torch.stack([naive_warp(image, t) for image, t in zip(x, theta)])
    torch.testing.assert_close(warp(x, theta), right, atol=1e-5, rtol=0)


def test_warp_of_a_sample_does_not_depend_on_its_batch():
    images, theta = some(8, 3, 10, 10), Geometric().draw(8, seeded())
    together = warp(images, theta)
    for k in range(8):
        assert torch.equal(warp(images[k : k + 1], theta[k : k + 1])[0], together[k])
    assert torch.equal(warp(images[:, 0], theta), together[:, 0])


@pytest.mark.parametrize("size", [12, 13, 14, 224])
def test_warp_by_the_identity_a_flip_and_quarter_turns(size):
    image, close = some(1, 1, size, size), {"atol": 2e-3, "rtol": 0}
    torch.testing.assert_close(warp(image, transform(0)), image, **close)
    mirrored = warp(image, transform(0, flip=-1))
    torch.testing.assert_close(mirrored, image.flip(3), **close)
    torch.testing.assert_close(warp(mirrored, transform(0, flip=-1)), image, **close)
    for quarters in (1, 2, 3):  # a positive angle rotates the image anticlockwise
        right = torch.rot90(image, quarters, (2, 3))
        torch.testing.assert_close(
            warp(image, transform(90 * quarters)), right, **close
        )


def test_flip_comes_before_the_rotation():
    image = some(1, 1, 8, 8)
    right = torch.rot90(image, 1, (2, 3)).flip(3)
    torch.testing.assert_close(
        warp(image, transform(90, flip=-1)), right, atol=1e-5, rtol=0
    )


def centres(size):
    """Coordinates (size, size) of cell centres, −1 to 1 over the frame: x and y."""
    ticks = (torch.arange(size) + 0.5) / size * 2 - 1
    return ticks[None].expand(size, size), ticks[:, None].expand(size, size)


@pytest.mark.parametrize("size", [12, 14, 96, 224])
def test_one_theta_transforms_images_and_maps_of_every_size_alike(size):
    theta = transform(25, side=0.5, shift=(0.1, -0.2), flip=-1)
    x, y = centres(size)
    warped = warp((0.3 * x - 0.7 * y + 2)[None], theta)[0]
    (a, b, c), (d, e, f) = theta[0].tolist()
    right = 0.3 * (a * x + b * y + c) - 0.7 * (d * x + e * y + f) + 2
    torch.testing.assert_close(warped, right, atol=1e-4, rtol=0)


def test_warps_compose_as_matrices_do():
    x, y = centres(64)
    image = torch.exp(-4 * ((x - 0.1) ** 2 + (y + 0.1) ** 2))[None]
    one, two = transform(20, 0.9, (0.05, 0.0), -1), transform(-35, 1.1, (0.0, 0.1))
    both = torch.cat([one, torch.tensor([[[0.0, 0, 1]]])], 1) @ torch.cat(
        [two, torch.tensor([[[0.0, 0, 1]]])], 1
    )
    twice, once = warp(warp(image, one), two), warp(image, both[:, :2])
    assert (twice - once)[:, 16:48, 16:48].abs().max() < 0.01


def test_the_inverse_of_theta_undoes_it_within_the_frame():
    x, y = centres(64)
    image = torch.exp(-6 * (x**2 + y**2))[None]
    theta = transform(30, 1.3, (0.1, -0.1), -1)
    linear = torch.linalg.inv(theta[:, :, :2])
    back = torch.cat([linear, -linear @ theta[:, :, 2:]], 2)
    ones = torch.ones_like(image)
    inside = warp(warp(ones, theta), back) > 0.999
    assert inside.float().mean() > 0.8
    assert (warp(warp(image, theta), back) - image)[inside].abs().max() < 0.02


@pytest.mark.parametrize("degrees", [5, 15, 30, 45])
def test_the_border_of_a_rotation_has_its_closed_form(degrees):
    covered = warp(torch.ones(1, 224, 224), transform(degrees)).mean().item()
    sin, cos = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    assert 1 - covered == pytest.approx(2 * sin * cos / (1 + sin + cos) ** 2, abs=2e-3)


def test_out_of_frame_cells_are_zero():
    assert warp(torch.ones(1, 3, 8, 8), transform(0, shift=(2.5, 0.0))).abs().max() == 0
    shrunk = warp(torch.ones(1, 16, 16), transform(0, side=2))
    assert shrunk.mean() == 0.25 and shrunk[0, 4:12, 4:12].min() == 1


def test_warp_passes_gradients_to_the_map():
    response = some(2, 6, 6).requires_grad_()
    warp(response, Geometric().draw(2, seeded())).sum().backward()
    assert response.grad.abs().sum() > 0


@pytest.mark.parametrize(
    "x, theta, found",
    [
        ((4, 4), (4, 2, 3), r"x has shape \(4, 4\)"),
        ((4, 4, 4), (1, 2, 3), r"theta has shape \(1, 2, 3\); need \(4, 2, 3\)"),
        ((4, 4, 4), (4, 3, 3), r"theta has shape \(4, 3, 3\)"),
    ],
)
def test_warp_names_a_shape_that_does_not_fit(x, theta, found):
    with pytest.raises(ValueError, match=found):
        warp(torch.zeros(x), torch.zeros(theta))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool])
def test_warp_refuses_what_cannot_be_interpolated(dtype):
    with pytest.raises(ValueError, match=rf"x is {dtype}.*float"):
        warp(torch.ones(1, 4, 4, dtype=dtype), transform(0))


def test_geometric_is_drawn_as_appendix_a1_says():
    side, shift, angle, flip = decompose(Geometric().draw(MANY, seeded()))
    shrunk = side > 1
    assert shrunk.float().mean() == pytest.approx(0.5, abs=0.015)
    assert (flip < 0).float().mean() == pytest.approx(0.5, abs=0.015)
    assert stats.kstest(angle, stats.uniform(-30, 60).cdf).pvalue > 1e-3
    crop = torch.where(shrunk, side / 2, side)
    assert stats.kstest(crop**2, stats.uniform(0.3, 0.7).cdf).pvalue > 1e-3
    place = shift / (1 - crop)[:, None]
    for axis in (0, 1):
        assert stats.kstest(place[:, axis], stats.uniform(-1, 2).cdf).pvalue > 1e-3
    together = torch.stack([crop, angle, flip, shrunk.float(), *place.T])
    assert (torch.corrcoef(together) - torch.eye(6)).abs().max() < 0.03


def test_a_crop_that_is_neither_shrunk_nor_rotated_stays_in_the_frame():
    theta = Geometric(scale_p=0, rotation=0).draw(2_000, seeded())
    corners = torch.tensor([[-1.0, -1, 1], [1, -1, 1], [-1, 1, 1], [1, 1, 1]])
    assert (theta @ corners.T).abs().max() <= 1 + 1e-6


def test_the_identity_is_drawn_where_everything_is_switched_off():
    still = Geometric(crop=(1, 1), scale_p=0, rotation=0, flip_p=0).draw(5, seeded())
    assert torch.equal(still, torch.eye(2, 3).expand(5, 2, 3))


# --- T_mask -----------------------------------------------------------------


def runs(masked):
    """Number of runs of True in a row (T,)."""
    return torch.diff(masked.int(), prepend=torch.zeros(1, dtype=torch.int)).eq(1).sum()


def test_masks_are_one_band_of_each_axis_and_nothing_else():
    sounds, mask = some(200, 1, 64, 120) + 1, Mask()
    draw = mask.draw(200, seeded())
    found = apply_mask(sounds, draw, fill=-0.5)
    silenced = found == -0.5
    assert torch.equal(found[~silenced], sounds[~silenced])
    for gone, time, band in zip(silenced[:, 0], draw["time"], draw["frequency"]):
        frames, bands = gone.all(0), gone.all(1)
        assert torch.equal(gone, frames[None] | bands[:, None])
        for chosen, (start, end), widest in (
            (frames, time, mask.time),
            (bands, band, mask.frequency),
        ):
            assert runs(chosen) <= 1
            assert chosen.sum() <= widest * len(chosen) + 1
            assert abs(chosen.sum() - (end - start) * len(chosen)) <= 1


def test_mask_of_a_draw_made_by_hand():
    draw = {
        "time": torch.tensor([[0.2, 0.5], [0.0, 0.0]]),
        "frequency": torch.tensor([[0.0, 0.0], [0.75, 1.0]]),
    }
    found = apply_mask(torch.ones(2, 1, 4, 10), draw)
    assert found[0, 0, 0].tolist() == [1, 1, 0, 0, 0, 1, 1, 1, 1, 1]
    assert found[1, 0, :, 0].tolist() == [1, 1, 1, 0]


def test_mask_leaves_its_input_alone_and_can_be_switched_off():
    sounds = some(4, 1, 8, 8)
    before = sounds.clone()
    apply_mask(sounds, Mask().draw(4, seeded()), 7.0)
    assert torch.equal(sounds, before)
    off = Mask(time_p=0, frequency_p=0).draw(4, seeded())
    assert torch.equal(apply_mask(sounds, off, 7.0), sounds)


def test_masks_are_drawn_as_they_say():
    draw = Mask().draw(MANY, seeded())
    on = {}
    for name, widest in (("time", 180 / 670), ("frequency", 35 / 257)):
        start, end = draw[name].T
        on[name] = end > start
        assert on[name].float().mean() == pytest.approx(0.8, abs=0.015)
        assert start.min() >= 0 and end.max() <= 1 + 1e-6
        width = (end - start)[on[name]]
        assert stats.kstest(width, stats.uniform(0, widest).cdf).pvalue > 1e-3
        place = (start / (1 - (end - start)))[on[name]]
        assert stats.kstest(place, stats.uniform().cdf).pvalue > 1e-3
    both = (on["time"] & on["frequency"]).float().mean()  # two coins, not one
    assert both == pytest.approx(0.64, abs=0.015)


# --- T_mix ------------------------------------------------------------------


def unit(count, channels, seed=0):
    vectors = torch.randn(count, channels, generator=seeded(seed))
    return torch.nn.functional.normalize(vectors)


@pytest.mark.parametrize("block", [1, 7, 23, 1024])
def test_most_similar_is_the_naive_loop_whatever_the_block(block):
    vectors = unit(23, 5)
    right = []
    for i, a in enumerate(vectors):
        others = [(float(a @ b), j) for j, b in enumerate(vectors) if j != i]
        right.append(max(others)[1])
    assert most_similar(vectors, block=block).tolist() == right


@pytest.mark.parametrize("block", [1, 7, 1024])
def test_the_most_similar_clip_is_of_another_original(block):
    vectors, originals = unit(23, 5), [f"rec{k % 6}" for k in range(23)]
    right = []
    for i, a in enumerate(vectors):
        others = [
            (float(a @ b), j)
            for j, b in enumerate(vectors)
            if originals[j] != originals[i]
        ]
        right.append(max(others)[1])
    assert most_similar(vectors, originals, block).tolist() == right
    # excerpts of one recording are alike, and are not chosen all the same
    alike = unit(6, 5).repeat(4, 1)[:23]
    found = most_similar(alike, originals)
    assert all(originals[j] != originals[i] for i, j in enumerate(found.tolist()))


def test_no_clip_is_most_similar_to_itself_even_where_all_are_alike_or_opposed():
    for vectors in (torch.ones(5, 3) / 3**0.5, torch.tensor([[1.0, 0], [-1, 0]])):
        found = most_similar(vectors, block=2)
        assert (found != torch.arange(len(vectors))).all()


def test_one_clip_alone_has_no_other():
    with pytest.raises(ValueError, match="two recordings or more"):
        most_similar(unit(1, 4))


def test_clips_of_one_recording_alone_have_no_other():
    with pytest.raises(ValueError, match=r"3 clip.* of 1 recording"):
        most_similar(unit(3, 4), ["rec1"] * 3)


def test_mixing_weight_rises_linearly_from_nothing_to_the_largest():
    weights = [mixing_weight(epoch, 80) for epoch in range(80)]
    assert weights[0] == 0 and weights[-1] == pytest.approx(0.65)
    steps = torch.tensor(weights).diff()
    torch.testing.assert_close(steps, torch.full((79,), 0.65 / 79))
    assert mixing_weight(3, 4, largest=0.2) == pytest.approx(0.2)
    assert mixing_weight(0, 1) == 0  # a single epoch


def test_mix_is_linear_between_the_two():
    one, two = some(3, 10), some(3, 10, seed=1)
    assert torch.equal(mix(one, two, 0.0), one)
    torch.testing.assert_close(mix(one, two, 1.0), two)
    torch.testing.assert_close(mix(one, two, 0.3), 0.7 * one + 0.3 * two)
    torch.testing.assert_close(mix(one, one, 0.65), one)
