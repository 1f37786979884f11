"""What seeds say of a step, against loops and a simulation; runs in folders."""

import json
import math
import statistics

import pytest
import torch

from sslnb import training
from sslnb.experiments.measure import clips_of
from sslnb.files import CHECKPOINT
from sslnb.localise import respond_to, score
from sslnb.model import SoundLocaliser
from sslnb.teach import learning


def test_steps_and_errors_are_those_of_a_loop():
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(3, 4, generator=generator, dtype=torch.double)
    found = learning.step_errors(scores).tolist()
    for (value, error), a, b in zip(found, scores[:-1].tolist(), scores[1:].tolist()):
        steps = [later - former for former, later in zip(a, b)]
        assert value == pytest.approx(statistics.mean(steps))
        assert error == pytest.approx(statistics.stdev(steps) / math.sqrt(4))


def test_intervals_of_nothing_leave_zero_out_one_time_in_twenty():
    """Two equal models from five seeds, and what a seed does to both."""
    generator = torch.Generator().manual_seed(0)
    found = 0
    for _ in range(2_000):
        draw = torch.randn(3, 5, generator=generator, dtype=torch.double)
        ((value, margin),) = learning.margins(5 * draw[2] + draw[:2])
        found += abs(value) > margin
    assert found / 2_000 == pytest.approx(0.05, abs=0.015)


def test_runs_are_found_by_their_folders_and_must_be_what_they_say(tmp_path):
    for name, model in (("A", "A"), ("C", "C"), ("x", "B")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.json").write_text(
            json.dumps({"training": {"model": model}})
        )
    assert learning.runs_in(tmp_path) == {n: tmp_path / n for n in "AC"}
    (tmp_path / "x").rename(tmp_path / "D")
    with pytest.raises(ValueError, match="D is of model B, not of D"):
        learning.runs_in(tmp_path)


def test_a_history_is_that_of_every_epoch_of_the_run():
    history = training.history_in(CHECKPOINT)
    assert [metrics["epoch"] for metrics in history] == list(range(1, 13))


@pytest.mark.slow
def test_a_run_of_ones_own_is_scored_on_the_clips_of_the_grid():
    found = learning.measured({"F": CHECKPOINT})["F"]
    model = SoundLocaliser.load(CHECKPOINT)
    for where, scores in found.items():
        clips = clips_of(where)
        expected = score(respond_to(model, clips), clips)
        for name in ("cIoU", "AUC", "pointing", "peak"):
            assert scores[name] == pytest.approx(expected[name], abs=0.002)
        assert 0 < scores["e_app"] < 2 and 0 < scores["e_geo"] < 2
