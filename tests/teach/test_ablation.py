"""What table 1's steps are worth, against loops and a simulation."""

import json
import math
import random
import statistics

import pytest
import torch

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


def test_steps_and_errors_are_those_of_a_loop():
    rows = rows_of()
    seeds = {
        name: [100 * r["scores"]["test"]["AUC"] for r in rows if r["model"] == name]
        for name in TABLE_1
    }
    variance = statistics.mean(statistics.variance(seeds[name]) for name in TABLE_1)
    error = math.sqrt(variance / 3 + variance / 3)
    found = [e for e in ablation.effects(rows) if (e.split, e.score) == ("test", "AUC")]
    assert [e.step for e in found] == ["A→B", "B→C", "C→D", "D→E", "E→F"]
    for effect, a, b in zip(found, "ABCDE", "BCDEF"):
        step = statistics.mean(seeds[b]) - statistics.mean(seeds[a])
        assert effect.value == pytest.approx(step)
        assert effect.margin == pytest.approx(2.1788 * error, rel=1e-4)  # t, 12 degrees
        assert effect.resolved == (abs(step) > effect.margin)


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
    assert list(table.index) == [*TABLE_1, "centre prior"]
    a, b = sorted(
        100 * r["scores"]["unseen"]["peak"] for r in rows if r["model"] == "C"
    )
    assert table.loc["C", ("unseen", "peak")] == f"{(a + b) / 2:.1f} ({a:.1f}, {b:.1f})"
    assert table.loc["centre prior", ("test", "cIoU")] == "25.0"
    assert table.loc["centre prior", ("test", "peak")] == "–"


def test_panels_hold_the_papers_scores_and_ours_by_seed():
    rows, bound = rows_of(2), {"oracle": {"cIoU": 0.5, "AUC": 0.4}}
    found = ablation.panels(rows, dict.fromkeys(ablation.SPLITS, bound))
    assert list(found)[:3] == [
        ("cIoU", "paper: VGG-SS"),
        ("cIoU", "ours: test"),
        ("cIoU", "ours: unseen"),
    ]
    models, bounds = found["AUC", "ours: unseen"]
    expected = [100 * r["scores"]["unseen"]["AUC"] for r in rows if r["model"] == "E"]
    assert models["E"] == pytest.approx(expected) and bounds == {"oracle": 40}
    models, bounds = found["AUC", "paper: VGG-SS"]
    assert models["B"] == [37.21] and list(models) == list(TABLE_1)
    assert bounds == {"centre prior": 37.43, "oracle": 49.47}


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
    for name, fall in ablation.falls(rows).items():
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
