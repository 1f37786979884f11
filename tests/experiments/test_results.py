"""Contrasts of results: values against plain means, intervals against plain resampling."""

import json

import numpy as np
import pytest

from sslnb.experiments.packed import unpack
from sslnb.experiments.results import Results, read_results
from sslnb.localise.intervals import mean_scores, of_ciou
from tests.grid_results import columns_of, results_of, run_of

FEW = {"resamples": 200}


@pytest.fixture(scope="module")
def results():
    return results_of("ABF", seeds=3)


def column(results, variant, seed, name, where="test"):
    """A column of a run, straight from its JSON."""
    return unpack(results.runs[variant][seed]["per_clip"][where][name])


def mean_over_runs(results, variant, score, seeds=(0, 1, 2), only=None):
    """A score by hand: over all seeds and clips, errors over the maps' variance."""
    above, below = 0.0, 0.0
    for seed in seeds:
        if score in ("cIoU", "AUC"):
            values = of_ciou(column(results, variant, seed, "ciou"))[score].tolist()
            over = [1.0] * len(values)
        elif score.startswith("e_"):
            values = column(results, variant, seed, score).tolist()
            over = column(results, variant, seed, "variance").tolist()
        else:
            values = column(results, variant, seed, score).tolist()
            over = [1.0] * len(values)
        kept = range(len(values)) if only is None else np.nonzero(only)[0]
        above += sum(float(values[k]) for k in kept)
        below += sum(over[k] for k in kept)
    return above / below


# --- values


def test_a_contrast_is_the_difference_of_plain_means_and_of_ratios(results):
    found = results.compare(
        "test", {"A→B": {"B": 1, "A": -1}, "A": {"A": 1}, "half": {"F": 0.5}}, **FEW
    )
    assert list(found) == ["A→B", "A", "half"]
    scores = ("cIoU", "AUC", "pointing", "peak", "e_app", "e_geo")
    assert tuple(found["A"]) == scores
    for score in scores:
        a, b, f = (mean_over_runs(results, name, score) for name in "ABF")
        assert found["A→B"][score].value == pytest.approx(b - a)
        assert found["A"][score].value == pytest.approx(a)
        assert found["half"][score].value == pytest.approx(f / 2)


def test_only_some_clips_count(results):
    only = np.arange(60) % 3 == 0
    found = results.compare("test", {"F": {"F": 1}}, ("AUC", "e_app"), only, **FEW)
    for score in ("AUC", "e_app"):
        need = mean_over_runs(results, "F", score, only=only)
        assert found["F"][score].value == pytest.approx(need)


def test_contrasts_share_the_seeds_of_all_their_variants(results):
    runs = {**results.runs, "A": {k: results.runs["A"][k] for k in (1, 2)}}
    some = Results(runs, results.clips)
    assert some.seeds(["A", "B"]) == [1, 2] and some.seeds(["B"]) == [0, 1, 2]
    found = some.compare("test", {"A": {"A": 1}, "B": {"B": 1}}, ("peak",), **FEW)
    for name in "AB":
        need = mean_over_runs(results, name, "peak", seeds=(1, 2))
        assert found[name]["peak"].value == pytest.approx(need)


@pytest.mark.parametrize("with_a_model", [True, False])
def test_guesses_without_a_model_are_the_same_for_every_seed(results, with_a_model):
    contrasts = {"prior": {"centre prior": 1}}
    if with_a_model:
        contrasts["lead"] = {"A": 1, "centre prior": -1}
    found = results.compare("test", contrasts, ("cIoU", "pointing"), **FEW)
    packed = results.clips["test"]["guesses"]["centre prior"]
    need = unpack(packed["pointing"]).mean()
    assert found["prior"]["pointing"].value == pytest.approx(need)
    if with_a_model:
        lead = mean_over_runs(results, "A", "pointing") - need
        assert found["lead"]["pointing"].value == pytest.approx(lead)


def test_both_objects_of_a_duet_are_found_or_it_does_not_count():
    rng = np.random.default_rng(0)
    each = {
        f"{name} {which}": values
        for which in ("first", "second")
        for name, values in columns_of(rng, 60).items()
        if name in ("ciou", "peak")
    }
    results = results_of("A", seeds=1, sets=("test", "duets"))
    runs = {"A": {0: run_of("A", 0, {"duets": each})}}
    found = Results(runs, results.clips).compare(
        "duets", {"A": {"A": 1}}, ("IIoU", "IIoU peak", "AUC first"), **FEW
    )["A"]
    both = [
        a >= 0.5 and b >= 0.5 for a, b in zip(each["ciou first"], each["ciou second"])
    ]
    assert found["IIoU"].value == pytest.approx(sum(both) / 60)
    peaks = [a and b for a, b in zip(each["peak first"], each["peak second"])]
    assert found["IIoU peak"].value == pytest.approx(sum(peaks) / 60)
    area = of_ciou(each["ciou first"])["AUC"].mean()
    assert found["AUC first"].value == pytest.approx(area)


# --- intervals


def by_hand(results, variant_weights, score, draws=4_000):
    """Ends of the interval: seeds, photographs and recordings resampled, each by itself."""
    rng = np.random.default_rng(7)
    seeds = results.seeds(list(variant_weights))
    photos, takes = results.groups("test")
    names = [sorted(set(photos)), sorted(set(takes))]
    table = {
        (variant, seed): results.parts(variant, "test", seed)[score]
        for variant in variant_weights
        for seed in seeds
    }
    found = []
    for _ in range(draws):
        times = dict(zip(*np.unique(rng.choice(seeds, len(seeds)), return_counts=True)))
        weight = np.ones(len(photos))
        for labels, levels in zip((photos, takes), names):
            drawn = rng.choice(levels, len(levels)).tolist()
            counts = {level: drawn.count(level) for level in levels}
            weight = weight * [counts[label] for label in labels]
        total = 0.0
        for variant, factor in variant_weights.items():
            parts = [(times.get(s, 0), *table[variant, s]) for s in seeds]
            above = sum(n * (weight * values).sum() for n, values, _ in parts)
            below = sum(n * (weight * over).sum() for n, _, over in parts)
            total += factor * above / below if below else 0.0
        found.append(total)
    return np.quantile(found, [0.025, 0.975])


@pytest.mark.parametrize("score", ["AUC", "e_app"])
@pytest.mark.parametrize("weights", [{"A": 1}, {"F": 1, "B": -1}])
def test_an_interval_is_that_of_resampling_by_hand(results, weights, score):
    found = results.compare("test", {"it": weights}, (score,), resamples=4_000)["it"]
    low, high = by_hand(results, weights, score)
    width = high - low
    assert found[score].low == pytest.approx(low, abs=0.08 * width)
    assert found[score].high == pytest.approx(high, abs=0.08 * width)


def test_two_names_of_the_same_runs_differ_by_exactly_nothing(results):
    runs = {**results.runs, "twin": results.runs["A"]}
    found = Results(runs, results.clips).compare(
        "test", {"none": {"twin": 1, "A": -1}, "A": {"A": 1}}, **FEW
    )
    for score, none in found["none"].items():
        assert none == (0, 0, 0), score
        assert (
            found["A"][score].high > found["A"][score].low
        )  # it is because of the pair


def test_of_one_seed_only_photographs_and_recordings_are_resampled():
    results = results_of("A", seeds=1)
    found = results.compare("test", {"A": {"A": 1}}, ("peak", "e_app"), **FEW)["A"]
    values = {name: column(results, "A", 0, name) for name in ("peak", "e_app")}
    groups = results.groups("test")
    peak = mean_scores({"peak": values["peak"]}, 200, 0, groups)["peak"]
    variance = column(results, "A", 0, "variance")
    error = mean_scores({"e": values["e_app"]}, 200, 0, groups, variance)["e"]
    assert found["peak"] == pytest.approx(peak)
    assert found["e_app"] == pytest.approx(error)


def test_more_seeds_that_disagree_make_the_interval_wider():
    calm = results_of("A", seeds=3)
    wild = results_of("A", seeds=3)
    for seed, run in wild.runs["A"].items():
        columns = columns_of(np.random.default_rng(0), 60)
        columns["peak"] = np.arange(60) % 3 < seed  # none, a third, two thirds
        run["per_clip"]["test"] = run_of("A", seed, {"test": columns})["per_clip"][
            "test"
        ]
    one, other = (
        each.compare("test", {"A": {"A": 1}}, ("peak",), **FEW)["A"]["peak"]
        for each in (calm, wild)
    )
    assert other.high - other.low > 1.5 * (one.high - one.low)


# --- what is not there


def test_a_variant_without_runs_is_named_with_the_command(results):
    with pytest.raises(ValueError, match=r"no run of C: .*`sslnb experiments C`"):
        results.compare("test", {"C": {"C": 1, "A": -1}})


def test_variants_without_a_seed_in_common_are_named(results):
    runs = {"A": {0: results.runs["A"][0]}, "B": {1: results.runs["B"][1]}}
    with pytest.raises(ValueError, match="A, B have no seed in common"):
        Results(runs, results.clips).seeds(["A", "B"])


def test_a_set_or_a_score_that_was_not_measured_is_named(results):
    with pytest.raises(ValueError, match="A was not measured on duets"):
        results.columns("A", "duets", 0)
    with pytest.raises(
        ValueError, match="oracle have none of the scores e_app on test"
    ):
        results.compare("test", {"it": {"oracle": 1}}, ("e_app",))
    left = results.compare("test", {"it": {"A": 1, "oracle": -1}}, **FEW)["it"]
    assert set(left) == {"cIoU", "AUC"}  # what both have


def test_a_folder_of_results_is_read_and_a_damaged_file_named(results, tmp_path):
    folder = tmp_path / "runs"
    with pytest.raises(FileNotFoundError, match="holds no results: make them"):
        read_results(tmp_path)
    folder.mkdir()
    (tmp_path / "clips.json").write_text(json.dumps(results.clips))
    for variant, runs in results.runs.items():
        for seed, run in runs.items():
            (folder / f"{variant}-{seed}.json").write_text(json.dumps(run))
    (folder / ".123.A-9.json").write_text(
        '{"variant": '
    )  # of a process that was killed
    found = read_results(tmp_path)
    assert {v: sorted(runs) for v, runs in found.runs.items()} == {
        v: [0, 1, 2] for v in "ABF"
    }
    assert found.compare("test", {"A": {"A": 1}}, **FEW) == results.compare(
        "test", {"A": {"A": 1}}, **FEW
    )
    for damaged in ('{"test": ', "[]"):
        (tmp_path / "clips.json").write_text(damaged)
        with pytest.raises(ValueError, match=r"clips\.json does not say which clips"):
            read_results(tmp_path)
    (folder / "B-1.json").write_text('{"variant": ')
    with pytest.raises(ValueError, match=r"B-1\.json is no result.*delete it"):
        read_results(tmp_path)
