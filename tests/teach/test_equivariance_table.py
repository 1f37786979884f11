"""What notebook 04 says of its seeds and of the fair trial, and what it measures."""

import json
import os
from pathlib import Path

import pandas as pd
import pytest
import scipy.stats
import torch

from sslnb.consistency import fixed_transforms
from sslnb.data import load_scenes, normalise, spectrogram
from sslnb.files import CHECKPOINT
from sslnb.model import SoundLocaliser
from sslnb.teach.equivariance import (
    DIGITS,
    TOLD,
    USUAL,
    apart,
    by_variant_text,
    by_weight_text,
    comparison,
    gain,
    localiser,
    measured,
    three_models,
    transform,
    trial,
    verdict,
)
from tests.grid_results import results_of

EMPTY = Path(os.devnull)


def test_the_table_holds_means_over_seeds_and_the_papers_rows_e_and_f():
    results = {
        name: pd.DataFrame([dict.fromkeys(DIGITS, x) | {"flip": x} for x in (0.1, 0.3)])
        for name in ("untrained", "λ = 0", "λ = 2")
    }
    table = comparison(results)
    assert list(table.index) == ["untrained", "λ = 0", "λ = 2"]
    assert list(table["e(T_geo)"]) == ["0.20"] * 3
    assert list(table["L_geo"]) == ["0.2000"] * 3
    assert list(table["paper: cIoU"]) == ["", "0.3766 (E)", "0.3863 (F)"]
    assert list(table["paper: AUC"]) == ["", "0.3937 (E)", "0.3965 (F)"]


def test_models_stand_side_by_side_with_the_measures_that_tell_them_apart():
    rows = {"rotation 30°": 0.256, "rotation 60°": 0.5, "flip": 1.0, "T_geo": 9.0}
    rows |= {"L_geo": 0.00321, "standard deviation": 0.0149, "AUC": 0.25}
    table = three_models(pd.DataFrame({"one": rows}).T)
    assert table.loc["one"].to_dict() == {
        "L_geo": "0.0032",
        "e(30°)": "0.26",
        "e(60°)": "0.50",
        "e(flip)": "1.00",
        "standard deviation": "0.015",
        "AUC": "0.250",
    }


def test_measures_are_apart_where_no_seed_of_one_lies_among_the_others():
    one = pd.DataFrame({"a": [1.0, 2.0], "b": [1.0, 2.0], "c": [1.0, 2.0]})
    two = pd.DataFrame({"a": [0.5, 0.9], "b": [2.1, 9.0], "c": [0.1, 1.0]})
    assert apart(one, two, list("abc")) == (["a"], ["b"])
    assert apart(one, two, ["c"]) == ([], [])


def test_the_verdict_follows_from_the_seeds():
    names = ["flip", "T_geo"]
    one = pd.DataFrame(
        {"flip": [1.0, 2.0, 3.0], "T_geo": [0.3, 0.5, 0.6]}
        | {"AUC": [0.3] * 3, "standard deviation": [0.2] * 3}
    )
    two = one.assign(flip=[1.5, 0.5, 2.5], T_geo=[0.4, 0.2, 0.5], AUC=0.4)
    text = verdict(one, two, names)
    assert "e(T_geo) by **-0.30 to +0.10**" in text and "up to **0.30** in" in text
    assert "AUC by **+0.10 to +0.10**" in text and "no effect of the loss" in text
    text = verdict(one, two - 3, names)
    assert "below every seed without it: **flip, T_geo**; above: **none** (of 2" in text
    assert "shows an effect of the loss" in text


# --- the fair trial ---------------------------------------------------------


def lines(values, variant):
    """Runs as the benchmark writes them: values {λ_geo: a score for each seed}."""
    names = (*TOLD, "e_geo T_geo")
    scores = {"test": 1.0, "unseen": 1.0, "open": 9.0}
    return [
        {
            "model": "F",
            "seed": seed,
            "config": {"geo_weight": weight},
            "variant": variant,
        }
        | {"scores": {k: dict.fromkeys(names, x * f) for k, f in scores.items()}}
        for weight, seeds in values.items()
        for seed, x in enumerate(seeds)
    ]


def grid(values):
    """Results of the grid: {model: AUC and all else of each seed}."""
    results = results_of("".join(values), seeds=2)
    for name, seeds in values.items():
        for seed, x in enumerate(seeds):
            metrics = results.runs[name][seed]["metrics"]
            for where in metrics:
                metrics[where] = dict.fromkeys(TOLD, x)
    return results


@pytest.fixture
def tried(tmp_path):
    """What the grid and a file say: models E and F, then other weights and a variant."""
    results = grid({"A": [0.9, 0.9], "E": [0.1, 0.3], "F": [0.2, 0.3]})
    runs = lines({20.0: [0.5, 0.8]}, USUAL) + lines({0.0: [0.4], 20.0: [0.3]}, "deep")
    path = tmp_path / "equivariance.jsonl"
    path.write_text("".join(json.dumps(run) + "\n" for run in runs))
    return trial(results, path)


def test_a_trial_has_each_run_once_and_e_as_the_loss_with_no_weight(tried):
    test = tried[tried["split"] == "test"].set_index(["variant", "weight", "seed"])
    assert len(tried) == 2 * len(test) == 16 and test.index.is_unique
    assert test.loc[(USUAL, 0.0, 1), "AUC"] == 0.3  # E's second seed
    assert test.loc[(USUAL, 2.0, 0), "AUC"] == 0.2
    assert test.loc[("deep", 20.0, 0), "AUC"] == 0.3


def test_the_deviation_of_a_map_is_that_of_its_cells_with_one_less_below():
    results, row = grid({"E": [0.1, 0.3], "F": [0.2, 0.3]}), []
    table = trial(results, EMPTY)
    for variance in results.columns("F", "unseen", 1)["variance"]:
        row.append((variance * 144 / 143) ** 0.5)
    usual = table[(table["weight"] == 2) & (table["seed"] == 1)]
    found = usual[usual["split"] == "unseen"]["deviation"].item()
    assert found == pytest.approx(sum(row) / len(row))


def test_a_gain_is_students_where_two_weights_are_compared(tried):
    runs = tried[(tried["variant"] == USUAL) & (tried["weight"] != 2)]
    value, margin = gain(runs, (0.0, 20.0), "test", "AUC")
    found = scipy.stats.ttest_ind([0.5, 0.8], [0.1, 0.3]).confidence_interval()
    assert value == pytest.approx(0.45)
    assert (value - margin, value + margin) == pytest.approx(tuple(found))


def test_the_sentences_of_a_trial_follow_from_its_runs(tried):
    text = by_weight_text(tried[tried["variant"] == USUAL])
    assert "AUC by +45.0 ± " in text and "on `unseen`" in text  # two seeds say little
    assert f"λ = {tried['weight'].max():g} changes AUC by" in text
    many = pd.concat([tried[tried["variant"] == USUAL]] * 9)
    assert "AUC by **+45.0 ± " in by_weight_text(many)  # many seeds would
    for split in ("test", "unseen"):
        best = f"on `{split}` e(T_geo) is lowest at λ = 0 and AUC highest at λ = 20"
        assert best in text
    text = by_variant_text(tried[tried["weight"].isin((0, 20))])
    assert "in 2 variants" in text
    assert "e(T_geo) is lower in 1, AUC higher in 1" in text
    assert "lowest with *as usual* (0.20) and highest with *deep* (0.40)" in text


def test_phi_is_the_models_map_with_its_sound_and_measures_are_of_it():
    model = SoundLocaliser.load(CHECKPOINT)
    clips = load_scenes("val", 4)
    phi = localiser(model, spectrogram(clips.waves))
    maps = phi(normalise(clips.images))
    assert torch.allclose(maps, model.predict(clips.images, clips.waves), atol=1e-5)
    found = measured(model, clips, transform(4))  # the identity: nothing to correct
    assert set(found) == {*fixed_transforms(), *DIGITS}
    assert found["L_geo"] < 1e-9
    assert found["standard deviation"] == pytest.approx(
        maps.flatten(1).std(1).mean().item()
    )
