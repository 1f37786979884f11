"""Invariance and equivariance of a model against loops over clips and cells."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from sslnb import augment
from sslnb.consistency import equivariance, fixed_transforms, foreground, invariance
from sslnb.data import AudioConfig, Clips, normalise, spectrogram
from sslnb.localise.intervals import mean_scores
from sslnb.losses import equivariance_loss
from sslnb.model import ModelConfig, SoundLocaliser

TINY = ModelConfig(
    image_size=32,
    width=4,
    blocks=(1, 1, 1, 1),
    pool=False,
    audio=AudioConfig(seconds=0.5, n_fft=256, n_mels=16, frames=20),
)
IDENTITY = torch.eye(2, 3)[None]
FAR = torch.tensor([[[1.0, 0.0, 9.0], [0.0, 1.0, 0.0]]])


def make_clips(count=5, size=32):
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(count, 3, 6, 6, generator=generator)
    images = 255 * F.interpolate(coarse, (size, size), mode="bilinear")
    waves = torch.randint(-9_000, 9_000, (count, 8_000), generator=generator)
    return Clips(
        names=[f"test/0/{k}" for k in range(count)],
        labels=["dog"] * count,
        images=images.to(torch.uint8),
        waves=waves.to(torch.int16),
        boxes=[None] * count,
        masks=None,
    )


@pytest.fixture(scope="module")
def clips():
    return make_clips()


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return SoundLocaliser(TINY).eval()


class Fake(SoundLocaliser):
    """A model whose map is a function of its normalised images (B, 3, S, S)."""

    def __init__(self, maps):
        super().__init__(TINY)
        self.maps = maps

    def embed_image(self, images):
        return self.maps(images)[:, None]

    def embed_audio(self, spectrograms):
        return torch.ones(len(spectrograms), 1)


def cells(images):
    """Maps (B, 4, 4) of what is in each cell, and of nothing else."""
    return F.avg_pool2d(images.mean(1), 8)


def naive_change(before, after):
    """Squared change, variance and change of the foreground of two maps (h, w)."""
    one, two = before.flatten().tolist(), after.flatten().tolist()
    mean, count = sum(one) / len(one), len(one)
    squares = sum((b - a) ** 2 for a, b in zip(one, two)) / count
    variance = sum((a - mean) ** 2 for a in one) / count
    half = [sorted(values)[(count - 1) // 2] for values in (one, two)]
    on = [(a > half[0], b > half[1]) for a, b in zip(one, two)]
    iou = sum(a and b for a, b in on) / sum(a or b for a, b in on)
    return squares, variance, 1 - iou


# --- invariance -------------------------------------------------------------


def test_invariance_equals_a_loop_over_clips_draws_and_cells(model, clips):
    found = invariance(model, clips, seed=7, draws=3, batch=2)
    generator = torch.Generator().manual_seed(7)
    look = augment.Appearance(sigma=(0.1 * 32 / 224, 2 * 32 / 224))
    draws = [look.draw(len(clips), generator) for _ in range(3)]
    for n in range(len(clips)):
        image, wave = clips.images[n : n + 1] / 255, clips.waves[n : n + 1]
        before = model.predict(image, wave)[0]
        changes = []
        for draw in draws:
            own = {name: value[n : n + 1] for name, value in draw.items()}
            after = model.predict(augment.apply_appearance(image, own), wave)[0]
            changes.append(naive_change(before, after))
        squares, variance, changed = (sum(each) / 3 for each in zip(*changes))
        assert found.squares[n].item() == pytest.approx(squares, rel=1e-3, abs=1e-9)
        assert found.variance[n].item() == pytest.approx(variance, rel=1e-3)
        assert found.foreground[n].item() == pytest.approx(changed, abs=1e-6)
    ratio = (found.squares.sum() / found.variance.sum()).item()
    assert found.error == pytest.approx(ratio, rel=1e-12) and ratio > 0


def test_a_model_that_does_not_look_is_invariant(clips):
    still = torch.rand(4, 4, generator=torch.Generator().manual_seed(0))
    found = invariance(Fake(lambda x: still.expand(len(x), 4, 4)), clips)
    assert found.error == 0 and not found.foreground.any()


def test_maps_with_nothing_in_common_have_an_error_of_two():
    generator = torch.Generator().manual_seed(0)
    noise = Fake(lambda x: torch.rand(len(x), 24, 24, generator=generator))
    found = invariance(noise, make_clips(40), draws=2)
    assert found.error == pytest.approx(2, rel=0.02)
    assert found.foreground.mean().item() == pytest.approx(2 / 3, rel=0.02)


def test_the_error_does_not_change_with_the_scale_of_the_maps(clips):
    one, ten = (invariance(Fake(lambda x, k=k: k * cells(x)), clips) for k in (1, 10))
    assert ten.error == pytest.approx(one.error, rel=1e-5)
    assert ten.squares.sum() == pytest.approx(100 * one.squares.sum().item(), rel=1e-5)


# --- equivariance -----------------------------------------------------------


def test_equivariance_equals_the_loss_of_each_clip(model, clips):
    found = equivariance(model, clips, seed=4, batch=3)
    drawn = augment.Geometric().draw(len(clips), torch.Generator().manual_seed(4))
    assert list(found) == [*fixed_transforms(), "T_geo"]
    with torch.no_grad():
        a = model.embed_audio(spectrogram(clips.waves, TINY.audio))
        images = normalise(clips.images)
        before = torch.einsum("bchw,bc->bhw", model.embed_image(images), a)
        for name, change in found.items():
            every = (fixed_transforms() | {"T_geo": drawn})[name].expand(5, 2, 3)
            warped = model.embed_image(augment.warp(images, every))
            after = torch.einsum("bchw,bc->bhw", warped, a)
            for n in range(len(clips)):
                own = slice(n, n + 1)
                expected = equivariance_loss(before[own], after[own], every[own])
                squares = change.squares[n].item()
                assert squares == pytest.approx(expected.item(), rel=1e-3, abs=1e-9)
    variances = torch.stack([change.variance for change in found.values()])
    assert torch.equal(variances, variances[:1].expand_as(variances))
    torch.testing.assert_close(variances[0].float(), before.var((1, 2), correction=0))


def test_without_a_transform_there_is_no_error(model, clips):
    found = equivariance(model, clips, {"identity": IDENTITY})["identity"]
    assert found.error < 1e-8


def test_what_is_computed_cell_by_cell_is_equivariant_to_flips_and_quarter_turns(clips):
    found = equivariance(Fake(cells), clips, fixed_transforms((90, 180, 45), ()))
    for name in ("flip", "rotation 90°", "rotation 180°"):
        assert found[name].error < 1e-8 and not found[name].foreground.any()
    assert found["rotation 45°"].error > 1e-3


def test_a_model_that_knows_only_places_has_the_error_of_its_map(clips):
    still = torch.rand(4, 4, generator=torch.Generator().manual_seed(0))
    places = Fake(lambda x: still.expand(len(x), 4, 4))
    found = equivariance(places, clips, fixed_transforms((90,), ()))
    variance = still.var(correction=0)
    for name, expected in (("flip", still.flip(1)), ("rotation 90°", still.rot90())):
        error = (still - expected).square().mean() / variance
        assert found[name].error == pytest.approx(error.item(), rel=1e-4)
        foregrounds = naive_change(expected, still)[2]
        assert found[name].foreground.tolist() == pytest.approx([foregrounds] * 5)


def test_rotations_turn_counterclockwise_and_scales_above_one_enlarge():
    images = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    given = fixed_transforms((90,), (2,))
    turned = augment.warp(images, given["rotation 90°"])
    torch.testing.assert_close(turned, images.rot90(1, (2, 3)))
    enlarged = augment.warp(images, given["scale 2"])
    middle = F.interpolate(images[..., 1:7, 1:7], scale_factor=2, mode="bilinear")
    torch.testing.assert_close(enlarged, middle[..., 2:10, 2:10])


# --- both -------------------------------------------------------------------


def both(model, clips, seed=0, **more):
    return [
        invariance(model, clips, seed, draws=2, **more),
        *equivariance(model, clips, seed=seed, **more).values(),
    ]


def test_a_seed_gives_the_same_in_batches_of_any_size(model, clips):
    one, again, other = both(model, clips), both(model, clips), both(model, clips, 1)
    assert all(torch.equal(a.squares, b.squares) for a, b in zip(one, again))
    for few, many in zip(both(model, clips, batch=2), one):
        torch.testing.assert_close(few.squares, many.squares, rtol=1e-4, atol=1e-9)
    differ = [not torch.equal(a.squares, b.squares) for a, b in zip(one, other)]
    assert differ == [True] + [False] * (len(one) - 2) + [True]  # what is drawn


def test_the_model_stays_as_it_was_and_nothing_has_a_gradient(clips):
    model = SoundLocaliser(TINY).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    changes = both(model, clips)
    assert model.training
    assert all(torch.equal(v, before[n]) for n, v in model.state_dict().items())
    assert not any(change.squares.requires_grad for change in changes)


def test_clips_of_another_size_and_length_are_fitted(model):
    larger = make_clips(3, 48)
    assert both(model, larger)[0].squares.shape == (3,)


def test_the_error_is_the_score_that_intervals_are_made_for(model, clips):
    change = invariance(model, clips)
    photos = list("aabbc")
    score = mean_scores({"e": change.squares}, 200, 0, photos, change.variance)["e"]
    assert score.value == pytest.approx(change.error)
    # every resample of whole photographs, by hand
    pairs = list(zip(photos, change.squares.tolist(), change.variance.tolist()))
    ratios = []
    for drawn in itertools.product("abc", repeat=3):
        clips_ = [pair for photo in drawn for pair in pairs if pair[0] == photo]
        ratios.append(sum(p[1] for p in clips_) / sum(p[2] for p in clips_))
    assert min(ratios) - 1e-9 <= score.low < score.high <= max(ratios) + 1e-9


def test_the_foreground_is_half_of_the_cells_inside():
    maps = torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(0))
    inside = torch.ones(3, 6, 6, dtype=torch.bool)
    inside[1, :3], inside[2, :, 4:] = False, False
    found = foreground(maps, inside)
    assert found.sum((1, 2)).tolist() == [18, 9, 12] and not (found & ~inside).any()
    for m, on, cell in zip(maps, found, inside):
        assert m[on].min() > m[cell & ~on].max()


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda m, c: invariance(m, c, draws=0), "draws is 0"),
        (lambda m, c: invariance(m, c.part(slice(0))), "no clips"),
        (lambda m, c: equivariance(m, c.part(slice(0))), "no clips"),
        (
            lambda m, c: equivariance(m, c, {"x": torch.eye(2, 3)}),
            r"x: theta .*\(2, 3\)",
        ),
        (
            lambda m, c: equivariance(m, c, {"x": IDENTITY.repeat(4, 1, 1)}),
            r"\(4, 2, 3\); need \(1, 2, 3\) or \(5, 2, 3\)",
        ),
        (lambda m, c: equivariance(m, c, {"far": FAR}), "far leaves a clip"),
    ],
)
def test_errors_name_what_is_wrong(model, clips, call, said):
    with pytest.raises(ValueError, match=said):
        call(model, clips)
