"""What table 1's steps are worth, against loops and a simulation."""

import json
import math
import random
import statistics

import pytest
import torch

from benchmarks import table_1
from sslnb import consistency, localise
from sslnb.data import load_scenes
from sslnb.files import CHECKPOINT
from sslnb.model import SoundLocaliser
from sslnb.teach import ablation
from sslnb.training.recipe import TABLE_1


def rows_of(seeds=3, seed=0):
    rng = random.Random(seed)
    return [
        {
            "model": name,
            "seed": k,
            "scores": {
                split: {score: rng.random() for score in ablation.SCORES}
                for split in ablation.SPLITS
            },
            "history": [{"epoch": e, "val_AUC": rng.random()} for e in (1, 2, 3)],
        }
        for name in TABLE_1
        for k in range(seeds)
    ]


@pytest.mark.parametrize("score, unit", [("AUC", 100), ("e_app", 1)])
def test_steps_and_errors_are_those_of_a_loop(score, unit):
    rows = rows_of()
    seeds = {
        name: [unit * r["scores"]["test"][score] for r in rows if r["model"] == name]
        for name in TABLE_1
    }
    variance = statistics.mean(statistics.variance(seeds[name]) for name in TABLE_1)
    error = math.sqrt(variance / 3 + variance / 3)
    found = [e for e in ablation.effects(rows) if (e.split, e.score) == ("test", score)]
    assert [e.step for e in found] == ["A→B", "B→C", "C→D", "D→E", "E→F", "A→F"]
    for effect, a, b in zip(found, "ABCDEA", "BCDEFF"):
        step = statistics.mean(seeds[b]) - statistics.mean(seeds[a])
        assert effect.value == pytest.approx(step)
        assert effect.margin == pytest.approx(2.1788 * error, rel=1e-4)  # t, 12 degrees
        assert effect.resolved == (abs(step) > effect.margin)
        assert effect.better == (step < 0 if score == "e_app" else step > 0)


def test_seeds_count_that_all_six_models_have():
    rows = rows_of(3)
    partial = [r for r in rows if (r["model"], r["seed"]) != ("E", 1)]
    random.Random(0).shuffle(partial)  # two runs at once: lines come as they end
    assert ablation.seeds_of_all(partial) == [0, 2]
    expected = ablation.by_seed(rows, "unseen", "peak")[:, [0, 2]]
    assert ablation.by_seed(partial, "unseen", "peak").equal(expected)
    assert ablation.falls(partial).equal(ablation.falls(rows)[:, [0, 2]])
    with pytest.raises(ValueError, match="no seed that all of A, B, C, D, E, F"):
        ablation.by_seed([r for r in rows if r["model"] != "E"], "test", "AUC")


def test_what_stands_out_is_told_by_step_and_kind():
    effect = ablation.Effect
    found = [
        effect("test", "peak", "A→B", 2.04, 1.0),
        effect("unseen", "AUC", "A→B", -0.5, 0.6),
        effect("unseen", "e_app", "A→B", -0.25, 0.1),
        effect("test", "e_geo T_geo", "A→F", 0.03, 0.01),
    ]
    table = ablation.outstanding(found)
    assert table[0] == [
        "**A→B** + app",
        "better: peak on `test` +2.0 ± 1.0",
        "better: e_app on `unseen` −0.25 ± 0.10",
        "–",
    ]
    assert table[5][3] == "**worse**: e_geo on `test` +0.03 ± 0.01"
    assert all(row[1:] == ["–"] * 3 for row in table[1:5])


def test_parts_are_judged_by_what_they_are_made_for():
    effect, geo = ablation.Effect, "e_geo T_geo"
    found = [
        effect("test", "e_app", "A→B", -0.5, 0.1),
        effect("unseen", "e_app", "A→B", -0.5, 0.6),
        effect("test", geo, "A→B", 0.5, 0.1),  # not what T_app is made for
        effect("test", geo, "B→C", -0.5, 0.1),
        effect("unseen", geo, "B→C", 0.5, 0.1),
        effect("test", geo, "E→F", 0.01, 0.1),
        effect("test", "AUC", "E→F", 9.0, 0.1),
    ]
    app, geo, loss = ablation.purposes(found).splitlines()
    assert "invariance: **better** on `test` (e_app on `test` −0.50 ± 0.10; " in app
    assert "equivariance: **better** on `test`, **worse** on `unseen` (" in geo
    assert loss.startswith("- $L_{geo}$ (E→F) is made for equivariance: **not to be")
    assert loss.endswith("(e_geo on `test` +0.01 ± 0.10).")


def test_a_model_is_measured_as_the_rows_are():
    model, clips = SoundLocaliser.from_preset("laptop"), load_scenes("test", 4)
    found, row = ablation.measured(model, clips), table_1.measured(model, clips)
    assert found.keys() == row.keys() >= {*ablation.SCORES, "e_geo flip"}
    for score in found:
        assert found[score] == pytest.approx(row[score], abs=0.00006)
    maps = localise.respond_to(model, clips)
    halves = localise.median_mask(maps)
    overlaps = [
        (half & mask).sum().item() / (half | mask).sum().item()
        for half, mask in zip(halves, clips.masks)
    ]
    assert found["mask IoU"] == pytest.approx(statistics.mean(overlaps), abs=1e-6)
    spreads = [statistics.stdev(each.flatten().tolist()) for each in maps]
    assert found["deviation"] == pytest.approx(statistics.mean(spreads), rel=1e-4)
    assert found["e_app"] == consistency.invariance(model, clips).error
    for score in ablation.SCORES:
        assert ablation.unit(score) == (1 if score in ablation.ERRORS else 100)


def test_intervals_of_nothing_leave_zero_out_one_time_in_twenty():
    """Six equal models from two seeds each."""
    generator = torch.Generator().manual_seed(0)
    found = 0
    for _ in range(2_000):
        scores = torch.randn(6, 2, generator=generator, dtype=torch.double)
        value, error = ablation.step_errors(scores)[0].tolist()
        found += abs(value) > 2.4469 * error  # t, 6 degrees
    assert found / 2_000 == pytest.approx(0.05, abs=0.015)


def test_a_rates_interval_is_the_normal_one():
    assert ablation.half_width(50, 400) == pytest.approx(1.96 * 2.5)


def test_our_table_has_every_seed_and_the_bounds():
    rows = rows_of(2)
    bounds = {
        split: {"centre prior": {"cIoU": 0.25, "AUC": 0.5}} for split in ablation.SPLITS
    }
    table = ablation.ours(rows, bounds)
    assert list(table.loc["test"].index) == [*TABLE_1, "centre prior"]
    a, b = sorted(
        100 * r["scores"]["unseen"]["peak"] for r in rows if r["model"] == "C"
    )
    assert (
        table.loc[("unseen", "C"), ("localisation", "peak")]
        == f"{(a + b) / 2:.1f} ({a:.1f}, {b:.1f})"
    )
    a, b = sorted(r["scores"]["test"]["e_geo T_geo"] for r in rows if r["model"] == "F")
    assert (
        table.loc[("test", "F"), ("equivariance", "e_geo")]
        == f"{(a + b) / 2:.2f} ({a:.2f}, {b:.2f})"
    )
    prior = table.loc[("test", "centre prior")]
    assert list(prior) == ["25.0", "50.0", "–", "–", "–"]


def test_panels_hold_scores_by_seed_and_bounds_where_there_are_any():
    rows, bound = rows_of(2), {"oracle": {"cIoU": 0.5, "AUC": 0.4}}
    found = ablation.panels(rows, dict.fromkeys(ablation.SPLITS, bound))
    assert list(found) == [
        (split, score) for split in ("test", "unseen") for score in ablation.SCORES
    ]
    models, bounds = found["unseen", "AUC"]
    expected = [100 * r["scores"]["unseen"]["AUC"] for r in rows if r["model"] == "E"]
    assert models["E"] == pytest.approx(expected) and bounds == {"oracle": 40}
    models, bounds = found["test", "e_app"]
    expected = [r["scores"]["test"]["e_app"] for r in rows if r["model"] == "B"]
    assert models["B"] == pytest.approx(expected) and not bounds


def test_the_papers_table_marks_the_parts_of_each_model():
    table = ablation.published()
    for name, parts in TABLE_1.items():
        marked = {part for part in TABLE_1["F"] if table.loc[name, part] == "✓"}
        assert marked == set(parts)
    assert table.loc["F", "cIoU"] == "38.6"


def test_histories_are_means_of_epochs_and_falls_those_of_a_run():
    rows = rows_of(2)
    means = ablation.mean_histories(rows)
    assert list(means) == ["A", "B + app", "C + geo", "D + mask", "E + mix"]
    runs = [r["history"] for r in rows if r["model"] == "D"]
    expected = [(a["val_AUC"] + b["val_AUC"]) / 2 for a, b in zip(*runs)]
    for metrics, value in zip(means["D + mask"], expected):
        assert metrics["val_AUC"] == pytest.approx(value)
        assert metrics["below"] == pytest.approx(100 * (value - max(expected)))
    for name, fall in zip(TABLE_1, ablation.falls(rows).tolist(), strict=True):
        runs = [r["history"] for r in rows if r["model"] == name]
        for run, value in zip(runs, fall, strict=True):
            values = [m["val_AUC"] for m in run]
            assert value == pytest.approx(100 * (max(values) - values[-1]))


def test_the_papers_fine_steps_are_counted():
    rise, small, margin = ablation.fine_steps()
    assert rise == pytest.approx(38.63 - 32.92)
    assert margin == pytest.approx(1.96 * math.sqrt(38.63 * 61.37 / 5158))
    assert small == 3  # 0.72, 0.18 and 0.97; the others are 2.16 and 1.68


def test_runs_are_found_by_their_folders_and_must_be_what_they_say(tmp_path):
    for name, model in (("A", "A"), ("C", "C"), ("x", "B")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.json").write_text(
            json.dumps({"training": {"model": model}})
        )
    assert ablation.runs_in(tmp_path) == {n: tmp_path / n for n in "AC"}
    (tmp_path / "x").rename(tmp_path / "D")
    with pytest.raises(ValueError, match="D is of model B, not of D"):
        ablation.runs_in(tmp_path)


def test_runs_on_fewer_clips_count_from_the_seeds_that_all_numbers_have():
    values = {("A", 500): (0.3, 0.5, 0.9), ("F", 500): (0.4, 0.6, 0.9)}
    values |= {("A", 125): (0.1, 0.3), ("F", 125): (0.3, 0.5), ("B", 500): (0.0,)}
    rows = [
        {"model": name, "clips": clips, "seed": seed}
        | {"scores": {split: {"AUC": x} for split in ablation.SPLITS}}
        for (name, clips), seeds in values.items()
        for seed, x in enumerate(seeds)
    ]
    table = ablation.by_clips(rows)
    assert set(table["model"]) == {"A", "F"} and set(table["seed"]) == {0, 1}
    text = ablation.by_clips_text(table)
    assert "With 125 clips in place of 500" in text and "of 2 seeds" in text
    assert "A from 40.0 to 20.0 on `test`" in text
    assert "F from 50.0 to 40.0 on `unseen`" in text


def test_a_history_is_that_of_every_epoch_of_the_run():
    history = ablation.history_in(CHECKPOINT)
    assert [metrics["epoch"] for metrics in history] == list(range(1, 13))
