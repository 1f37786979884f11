"""What table 1 says of the grid's results, against loops over clips."""

import math
import re
from itertools import pairwise

import numpy as np
import pytest

from sslnb.experiments.packed import unpack
from sslnb.experiments.results import Results
from sslnb.localise.intervals import Score
from sslnb.teach import ablation
from sslnb.training.recipe import TABLE_1
from tests.grid_results import columns_of, results_of, run_of


@pytest.fixture(scope="module")
def results():
    return results_of()


def naive(results, name, where, score):
    """A score of a model: over the clips of all its seeds, one after the other."""
    above = below = 0.0
    for run in results.runs[name].values():
        columns = {k: unpack(v) for k, v in run["per_clip"][where].items()}
        for k, ciou in enumerate(columns["ciou"]):
            if score == "cIoU":
                above += ciou >= 0.5
            elif score == "AUC":
                hits = [int(ciou >= step / 20) for step in range(21)]
                above += sum((a + b) / 2 for a, b in pairwise(hits)) / 20
            else:
                above += columns[score][k]
            below += columns["variance"][k] if score in ("e_app", "e_geo") else 1
    return above / below


def test_levels_and_steps_are_those_of_a_loop_over_clips_and_seeds(results):
    levels, effects = ablation.levels(results), ablation.effects(results)
    assert list(effects["test"]) == ["A→B", "B→C", "C→D", "D→E", "E→F", "A→F"]
    for where in ("test", "unseen"):
        assert list(levels[where]) == list("ABCDEF")
        for score in ("cIoU", "AUC", "pointing", "peak", "e_app", "e_geo"):
            expected = {n: naive(results, n, where, score) for n in TABLE_1}
            for name, value in expected.items():
                level = levels[where][name][score]
                assert level.value == pytest.approx(value)
                assert level.low < level.value < level.high
            for a, b in zip("ABCDEA", "BCDEFF"):
                step = effects[where][f"{a}→{b}"][score]
                assert step.value == pytest.approx(expected[b] - expected[a])


def test_a_step_that_changes_nothing_is_exactly_that_however_seeds_differ(results):
    """B is A again: no interval has a width, though those of A and B are wide."""
    runs = dict(results.runs) | {"B": results.runs["A"]}
    found = ablation.effects(Results(runs, results.clips))
    assert all(score == (0, 0, 0) for score in found["test"]["A→B"].values())
    assert {
        words for _, *kinds in ablation.outstanding(found)[:1] for words in kinds
    } == {"–"}


def test_a_step_that_changes_every_clip_of_every_seed_is_resolved(results):
    rng, changed = np.random.default_rng(5), {}
    for seed in range(3):
        columns = {where: columns_of(rng, 60) for where in ("test", "unseen")}
        for each in columns.values():
            each["e_app"] = 9 + each["e_app"]
            each["e_geo"] = 0 * each["e_geo"]
        changed[seed] = run_of("B", seed, columns)
    runs = dict(results.runs) | {"B": changed}
    found = ablation.effects(Results(runs, results.clips))
    first = ablation.outstanding(found)[0]
    assert first[0] == "**A→B** + app"
    assert re.search(r"worse: e_app on `test` \+\d\.\d\d \[\+\d", first[2])
    assert re.search(r"better: e_geo on `unseen` −0\.\d\d \[−0\.\d", first[3])
    app, *_ = ablation.purposes(found).splitlines()
    assert "**worse** on `test` and `unseen` (+" in app


def test_seeds_count_that_all_six_models_have(results):
    runs = {name: dict(seeds) for name, seeds in results.runs.items()}
    del runs["E"][1]
    partial = Results(runs, results.clips)
    expected = ablation.by_seed(results, "unseen", "peak")[:, [0, 2]]
    assert ablation.by_seed(partial, "unseen", "peak").equal(expected)
    runs.pop("E")
    with pytest.raises(
        ValueError, match="no run of E: make it with `sslnb experiments"
    ):
        ablation.effects(Results(runs, results.clips))


def changes(**given):
    """Effects of which nothing is resolved but what is given, {step: {score: Score}}."""
    nothing = dict.fromkeys(ablation.SCORES, Score(0.01, -0.1, 0.12))
    return {
        where: {
            step: nothing | given.get(where, {}).get(step, {})
            for step in ablation.STEPS
        }
        for where in ablation.SPLITS
    }


def test_what_stands_out_is_told_by_step_and_kind():
    found = changes(
        test={
            "A→B": {"peak": Score(0.0204, 0.01, 0.03)},
            "A→F": {"e_geo": Score(0.03, 0.01, 0.05)},
        },
        unseen={"A→B": {"e_app": Score(-0.25, -0.35, -0.15)}},
    )
    table = ablation.outstanding(found)
    assert table[0] == [
        "**A→B** + app",
        "better: peak on `test` +2.0 [+1.0, +3.0]",
        "better: e_app on `unseen` −0.25 [−0.35, −0.15]",
        "–",
    ]
    assert table[5][3] == "worse: e_geo on `test` +0.03 [+0.01, +0.05]"
    assert all(row[1:] == ["–"] * 3 for row in table[1:5])


def test_parts_are_judged_by_what_they_are_made_for():
    sure, other = Score(-0.5, -0.6, -0.4), Score(0.5, 0.4, 0.6)
    found = changes(
        test={
            "A→B": {"e_app": sure, "e_geo": other},  # T_app is not made for e_geo
            "B→C": {"e_geo": sure},
            "E→F": {"AUC": other},
        },
        unseen={"B→C": {"e_geo": other}},
    )
    app, geo, loss = ablation.purposes(found).splitlines()
    assert (
        "$e_\\text{app}$ is **better** on `test`, **not resolved** on `unseen`" in app
    )
    assert "(−0.50 [−0.60, −0.40]; +0.01 [−0.10, +0.12])" in app
    assert "**better** on `test`, **worse** on `unseen` (" in geo
    assert loss.startswith("- $L_{geo}$ (E→F) is made for equivariance: ")
    assert "is **not resolved** on `test` and `unseen` (+0.01" in loss


def test_a_rates_interval_is_the_normal_one():
    assert ablation.half_width(50, 400) == pytest.approx(1.96 * 2.5)


def test_our_table_has_models_bounds_and_runs_of_ones_own(results):
    own = {"F": {w: dict.fromkeys(ablation.SCORES, 0.125) for w in ablation.SPLITS}}
    table = ablation.ours(results, own)
    rows = [*TABLE_1, "F, yours", "centre prior", "oracle"]
    assert list(table.loc["unseen"].index) == rows
    cell = table.loc[("unseen", "C"), ("localisation", "peak")]
    value, low, high = map(float, re.fullmatch(r"(.*) \[(.*), (.*)\]", cell).groups())
    assert value == round(100 * naive(results, "C", "unseen", "peak"), 1)
    assert low < value < high
    cell = table.loc[("test", "F"), ("equivariance", "e_geo")]
    assert cell.startswith(f"{naive(results, 'F', 'test', 'e_geo'):.2f} [")
    yours = ["12.5"] * 4 + ["0.12"] * 2
    assert list(table.loc[("test", "F, yours")]) == yours
    guess = unpack(results.clips["test"]["guesses"]["oracle"]["ciou"])
    oracle = list(table.loc[("test", "oracle")])
    assert oracle[0].startswith(f"{100 * (guess >= 0.5).mean():.1f} [")
    assert oracle[2:] == ["–"] * 4


def test_every_run_is_a_row_with_its_scores(results):
    table = ablation.runs(results)
    assert len(table) == 2 * 6 * 3
    one = table[(table["model"] == "D") & (table["split"] == "unseen")]
    for column, factor in (("AUC", 100), ("e_geo", 1)):
        expected = [
            factor * results.runs["D"][seed]["metrics"]["unseen"][column]
            for seed in range(3)
        ]
        assert list(one[column]) == pytest.approx(expected)
        found = ablation.by_seed(results, "unseen", column)[3].tolist()
        assert found == pytest.approx(expected)


def test_the_papers_table_marks_the_parts_of_each_model():
    table = ablation.published()
    for name, parts in TABLE_1.items():
        marked = {part for part in TABLE_1["F"] if table.loc[name, part] == "✓"}
        assert marked == set(parts)
    assert table.loc["F", "cIoU"] == "38.6"


def test_the_papers_fine_steps_are_counted():
    rise, small, margin = ablation.fine_steps()
    assert rise == pytest.approx(38.63 - 32.92)
    assert margin == pytest.approx(1.96 * math.sqrt(38.63 * 61.37 / 5158))
    assert small == 3  # 0.72, 0.18 and 0.97; the others are 2.16 and 1.68
