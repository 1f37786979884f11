"""Maps and tables of notebook 03, against loops and against what they promise."""

import math

import pytest
import torch

from sslnb import consistency
from sslnb.data import load_scenes
from sslnb.files import CHECKPOINT
from sslnb.losses import contrastive_loss, weighted_mean
from sslnb.model import SoundLocaliser
from sslnb.teach import invariance
from sslnb.training import TrainConfig
from tests.grid_results import results_of


@pytest.fixture
def coverage():
    """A large object with a half-covered rim, and one that covers no cell by half."""
    found = torch.zeros(2, 6, 6)
    found[0, 1:5, 2:4], found[0, 1:5, 4], found[1, 3, 2:4] = 1, 0.3, 0.2
    return found


def test_an_object_has_a_cell_even_where_it_fills_none(coverage):
    found = invariance.object_cells(coverage)
    assert torch.equal(found[0], coverage[0] == 1)
    assert torch.equal(found[1], coverage[1] > 0)


def test_uneven_maps_fall_from_the_top_of_an_object_to_its_foot(coverage):
    maps = invariance.uneven_maps(coverage, seed=0)
    assert torch.equal(maps, invariance.uneven_maps(coverage, seed=0))
    assert not torch.equal(maps, invariance.uneven_maps(coverage, seed=1))
    tolerance = 0.03 * 4  # of the noise
    for row, value in zip(range(1, 5), (0.8, 0.7, 0.6, 0.5)):
        assert (maps[0, 0, row, 2:4] - value).abs().max() < tolerance
    assert (maps[0, 1] - 0.3).abs().max() < tolerance
    assert maps.min() > 0 and maps.max() < 1  # logit() is finite


def test_perfect_maps_cover_everything_and_nothing_else(coverage):
    maps = invariance.perfect_maps(coverage)
    assert maps.shape == (2, 2, 6, 6)
    assert maps[0, 1].sum() == maps[1, 0].sum() == 0
    found = invariance.covered({"perfect": (maps, 0.5)}, coverage)
    assert found.loc["perfect"].tolist() == [0.5, 1, 0]


def test_covered_counts_paired_maps_alone(coverage):
    maps = torch.rand(2, 2, 6, 6, generator=torch.Generator().manual_seed(0))
    found = invariance.covered({"a": (maps, 1.0)}, coverage, level=0.7)
    inside = invariance.object_cells(coverage)
    counts = {True: [], False: []}
    for i in range(2):
        for cell, value in zip(inside[i].flatten(), maps[i, i].flatten()):
            counts[bool(cell)].append(float(value > 0.7))
    for column, part in (("object above 0.7", True), ("background above 0.7", False)):
        mean = sum(counts[part]) / len(counts[part])
        assert found.loc["a", column] == pytest.approx(mean)


def test_losses_are_the_modules():
    maps = torch.rand(3, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    found = invariance.losses_of({"a": maps}, epsilon=0.5, tau=0.1)
    for form in ("paper", "release"):
        loss = contrastive_loss(maps, form, epsilon=0.5, tau=0.1)
        assert found.loc["a", form] == pytest.approx(loss.item())


def test_precisions_show_where_a_quotient_is_nan():
    ways = {
        "quotient": lambda S, z: (z.sigmoid() * S).sum() / z.sigmoid().sum(),
        "log": lambda S, z: weighted_mean(S, z),
    }
    found = invariance.by_precision(ways, (0.5, -9.0), 0.4, 0.03)
    assert found["fp32", "quotient"].tolist() == ["0.50", "nan"]
    for kind in ("fp32", "bf16", "fp16"):
        assert found[kind, "log"].tolist() == ["0.50", "-9.00"]


def test_settings_are_those_of_the_code():
    found = invariance.settings(torch.tensor([0.5, 0.9]), torch.tensor([0.58, 0.68]))
    laptop = found["laptop preset"]
    assert laptop["τ"] == str(TrainConfig().tau)
    assert laptop["cosines before training"] == "0.50 to 0.90"
    assert found["released code"]["cosines before training"] == "0.58 to 0.68"
    assert found.loc["of these above ε"].tolist()[1:] == ["50%", "50%"]


def test_a_short_training_starts_at_the_untrained_model():
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(8, 3, 32, 32, generator=generator)
    sounds = torch.rand(8, 1, 64, 32, generator=generator)
    history, highest = invariance.train_briefly(
        images, sounds, "release", steps=3, seed=5, temperature=0.1
    )
    assert history.shape == (3, 2) and highest.shape == (8, 8)
    torch.manual_seed(5)
    model = SoundLocaliser.from_preset("laptop")
    with torch.no_grad():
        first = model(images[:4], sounds[:4]).mean((2, 3))
    paired, unpaired = history[0].tolist()
    assert paired == pytest.approx(first.diagonal().mean().item(), abs=1e-4)
    assert 4 * paired + 12 * unpaired == pytest.approx(first.sum().item(), abs=1e-3)
    assert math.isfinite(history.sum()) and 0 <= highest.min() <= highest.max() <= 1.001


def test_an_untrained_network_is_normalised_as_in_training():
    torch.manual_seed(5)
    raw = SoundLocaliser.from_preset("laptop")  # in training mode
    images = torch.rand(8, 3, 96, 96)
    sounds = torch.rand(8, 1, 64, 120)
    model = invariance.untrained(images, sounds, seed=5)
    assert not model.training
    with torch.no_grad():
        torch.testing.assert_close(
            model(images, sounds), raw(images, sounds), atol=0.01, rtol=0
        )


def test_changes_under_t_app_are_the_modules():
    clips = load_scenes("test", 4)
    model = SoundLocaliser.load(CHECKPOINT)
    found = invariance.under_appearance({"a": model}, {"test": clips}, seed=2)
    row = found.loc[("test", "a")]
    assert row["e_app"] == pytest.approx(consistency.invariance(model, clips, 2).error)
    assert row["e_app"] == pytest.approx((row["RMS change"] / row["std of maps"]) ** 2)
    assert row["low"] <= row["e_app"] <= row["high"]


def e_app_of(seeds):
    """Results whose e_app is 1.5 of A, 0.1 less of each next, and 0.02 more a seed."""
    results = results_of(seeds=seeds, clips=5)
    for k, name in enumerate("ABCDEF"):
        for seed, run in results.runs[name].items():
            run["metrics"]["test"]["e_app"] = 1.5 - 0.1 * k + 0.02 * seed
    return results


def test_models_are_compared_by_the_seeds_that_all_of_them_have():
    results = e_app_of(3)
    del results.runs["C"][1]
    found = invariance.by_model(results, "test")
    assert list(found) == list("ABCDEF")
    for k, values in enumerate(found.values()):
        assert values == pytest.approx([1.5 - 0.1 * k, 1.54 - 0.1 * k])


def test_the_first_step_is_told_by_the_grids_errors_and_whether_all_runs_agree():
    results = e_app_of(2)
    found = invariance.by_model(results, "test")
    said = invariance.first_step(results, {"test": found})
    columns = [results.columns("A", "test", seed) for seed in (0, 1)]
    squares, variance = (
        sum(each[name].sum() for each in columns) for name in ("e_app", "variance")
    )
    assert f"from **{squares / variance:.2f}** to **" in said
    assert "and every run of B is below all" in said
    assert "of 2 seeds together" in said
    mixed = invariance.first_step(results, {"test": found | {"B": [1.2, 1.6]}})
    assert "and not every run of B" in mixed
