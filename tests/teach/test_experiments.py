"""Tables and claims of notebook 08, on results whose effects are known beforehand."""

import re

import numpy as np
import pytest

from sslnb.experiments.measure import classes_of
from sslnb.experiments.results import read_results
from sslnb.localise.intervals import Score
from sslnb.teach import claims, experiments, outcomes
from tests.experiments import made_up


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    return read_results(made_up.write(folder, seeds=(0, 1)))


def test_a_score_is_told_in_per_cent_and_an_error_as_it_is():
    score = Score(0.125, -0.01, 0.26)
    assert experiments.number(score, "AUC") == "12.5 [−1.0, 26.0]"
    assert experiments.number(score, "e_app", "+") == "+0.12 [−0.01, +0.26]"


@pytest.mark.parametrize(
    "score, name, said",
    [
        (Score(0.1, 0.05, 0.2), "AUC", "better"),
        (Score(-0.1, -0.2, -0.05), "AUC", "worse"),
        (Score(0.1, 0.05, 0.2), "e_geo", "worse"),
        (Score(-0.1, -0.2, -0.05), "e_app", "better"),
        (Score(0.1, -0.05, 0.2), "AUC", "not resolved"),
        (Score(0.0, 0.0, 0.0), "e_app", "not resolved"),
    ],
)
def test_an_error_is_better_where_it_falls(score, name, said):
    assert experiments.verdict(score, name) == said


def test_a_verdict_of_several_sets_names_those_where_it_differs():
    sets = {"test": "better", "unseen": "better"}
    assert claims.judged(sets) == "**holds**"
    assert claims.judged(sets | {"unseen": "not resolved"}) == "**holds** on `test`"
    assert claims.judged(sets | {"unseen": "worse"}) == (
        "**holds** on `test`, **fails** on `unseen`"
    )
    assert claims.judged(dict.fromkeys(sets, "not resolved")) == "not resolved"


def test_each_step_has_one_part_more():
    assert list(experiments.steps()) == ["A→B", "B→C", "C→D", "D→E", "E→F", "A→F"]
    assert experiments.steps()["A→F"] == {"F": 1, "A": -1}


def test_a_clip_is_heard_by_the_half_that_has_its_class(results):
    halves = outcomes.heard_and_unheard(results, ("F",))
    labels = results.labels("halves")
    a = np.isin(labels, sorted(classes_of("0a")))
    heard = halves.columns("F heard", "halves", 0)["ciou"]
    unheard = halves.columns("F unheard", "halves", 0)["ciou"]
    first = results.columns("F-0a", "halves", 0)["ciou"]
    second = results.columns("F-0b", "halves", 0)["ciou"]
    assert np.array_equal(heard[a], first[a]) and np.array_equal(heard[~a], second[~a])
    assert np.array_equal(unheard[a], second[a])
    assert np.array_equal(unheard[~a], first[~a])


def test_separability_is_the_area_under_the_roc_curve(results):
    from sklearn.metrics import roc_auc_score

    areas = outcomes.separability(results, "F")
    peaks = outcomes.peaks_with(results, "F", 1)
    for sound in ("off-screen", "noise", "silence"):
        truth = np.repeat([1, 0], len(peaks["own"]))
        both = np.concatenate([peaks["own"], peaks[sound]])
        assert areas[sound][1] == pytest.approx(roc_auc_score(truth, both))
    assert areas["silence"][0] > areas["off-screen"][0] > 0.5  # as they were made up


def test_curves_leave_out_epochs_that_were_not_validated(results):
    curves = outcomes.curves(results, {"D": "D-long"})
    for epochs, values in curves["D"]:
        assert np.array_equal(epochs % 4, np.zeros(len(epochs)))
        assert len(values) == 20 and np.all(np.diff(values) > 0)
    assert outcomes.falls(curves) == {"D": [0, 0]}
    x = np.arange(3.0)
    assert outcomes.falls({"": [(x, np.array([1.0, 5.0, 3.0]))]}) == {"": [2.0]}


def test_examples_go_from_the_worst_to_the_best(results):
    chosen = outcomes.examples(results, "F")
    ciou = results.columns("F", "unseen", 0)["ciou"][:24]
    assert ciou[chosen[0]] == ciou.min() and ciou[chosen[-1]] == ciou.max()
    assert np.all(np.diff(ciou[chosen]) >= 0)


def test_the_tables_have_a_row_for_each_and_the_papers_numbers(results):
    found = experiments.guesses(results, ("test",))
    text = experiments.scores(found, ("cIoU", "peak"), "", claims.printed())
    assert "| `test` | centre prior |" in text and "33.95 / 37.43" in text
    oracle = next(line for line in text.splitlines() if "oracle" in line)
    assert "| – |" in oracle  # it has no peak
    assert claims.printed()["LVS's recipe"] == "34.4 / 38.2"
    assert "28.9 to 26.3" in claims.open_set_printed()


def test_all_claims_are_judged_by_their_intervals(results):
    rows = claims.claims(results).splitlines()[2:]
    assert len(rows) == len(claims.CLAIMS) + 4
    lead = next(row for row in rows if "ahead of LVS (table 3)" in row)
    assert "**holds**" in lead  # made up twenty points apart
    seeds = results.seeds(["F", "lvs"])
    few = next(row for row in rows if "a fourteenth" in row)
    assert "(2 seeds only)" in few and ("only" in lead) == (len(seeds) < 3)
    gained = re.findall(r"\+(\d+\.\d) \[", lead)
    assert all(abs(float(value) - 20) < 6 for value in gained)
    mask = next(row for row in rows if "masked sounds" in row)
    assert "not resolved" in mask  # made up one point apart


def test_steps_that_are_resolved_are_counted():
    sure, not_sure = Score(0.1, 0.05, 0.2), Score(0.1, -0.1, 0.2)
    steps = {
        where: {step: {"AUC": not_sure} for step in experiments.steps()}
        for where in ("test", "unseen")
    }
    steps["unseen"]["B→C"]["AUC"] = sure
    text = claims.steps_text(steps, ("AUC",))
    assert text.startswith("**1 of 5 steps") and "T_geo.**" in text
    assert "Of the 10 intervals of single steps 1 exclude" in text


def test_a_lead_needs_the_pointing_game_too():
    sure, not_sure = Score(0.1, 0.05, 0.2), Score(0.1, -0.1, 0.2)
    rows = {
        "ours − LVS": {"cIoU": not_sure, "AUC": sure, "pointing": sure},
        "ours − A": {"cIoU": sure, "AUC": sure, "pointing": not_sure},
    }
    text = claims.lead_text({"test": rows})
    assert "ahead of LVS: **yes** on `test`" in text
    assert "ahead of A: not resolved on `test`" in text
