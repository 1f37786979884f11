"""One run, end to end: what its result holds, when it is made anew, and what it resumes."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from sslnb import localise
from sslnb.experiments import measure
from sslnb.experiments import run as runs
from sslnb.experiments.grid import Run
from sslnb.experiments.packed import unpack_columns
from sslnb.experiments.run import make, scores
from sslnb.files import locked
from sslnb.model import SoundLocaliser
from sslnb.training.clips import load_training
from sslnb.training.folder import states
from sslnb.training.recipe import TrainConfig

pytestmark = pytest.mark.usefixtures("few_clips", "few_for_validation")
CONFIG = TrainConfig.from_preset(
    "laptop", regime="clips", model="B", epochs=2, batch=8, validate_every=2
)
TINY = Run("tiny", CONFIG, 20)


def perform(run, results, work, *progress):
    """Make a run; the path of its result."""
    make(run, results, work, *progress)
    return run.path(results)


@pytest.fixture(scope="module")
def few_for_validation():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "load_training", partial(load_training, val_clips=6))
        yield


@pytest.fixture(scope="module")
def made(few_clips, few_for_validation, tmp_path_factory):
    """The folder of results and of work of one run, and its result."""
    folder = tmp_path_factory.mktemp("made")
    path = perform(TINY, folder / "out", folder / "work")
    return folder, json.loads(path.read_text(encoding="utf-8"))


def folder_of(run, folder):
    return folder / "work" / f"{run.name}-{run.digest}"


# --- what a result holds


def test_a_result_says_what_was_run_on_what_and_how_long(made):
    folder, result = made
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["tiny-0.json"]
    assert (result["run"], result["variant"], result["seed"]) == ("tiny-0", "tiny", 0)
    assert TINY.settings.items() <= result.items()
    assert TrainConfig(**result["config"]) == CONFIG
    assert result["versions"]["torch"] == torch.__version__.split("+")[0]
    assert result["threads"] == torch.get_num_threads()
    assert result["machine"] and "commit" in result and result["day"] >= "2026"
    seconds = sum(result["history"]["seconds"])
    assert result["seconds"] == pytest.approx(seconds, abs=0.1)
    assert result["seconds_measuring"] > 0


def test_a_result_has_the_metrics_of_every_epoch(made):
    _, result = made
    history = result["history"]
    assert history["epoch"] == [1, 2] and "waiting" not in history
    assert all(len(values) == 2 for values in history.values())
    assert history["val_AUC"][0] is None and 0 <= history["val_AUC"][1] <= 1
    assert None not in history["loss"]


def test_metrics_are_those_of_the_clips_and_of_the_model_that_was_saved(made):
    folder, result = made
    assert set(result["metrics"]) == {"test", "unseen", "wild", "duets"}
    for name, packed in result["per_clip"].items():
        assert result["metrics"][name] == scores(unpack_columns(packed))
    model, clips = (
        SoundLocaliser.load(folder_of(TINY, folder)),
        measure.clips_of("test"),
    )
    need = localise.score(localise.respond_to(model, clips), clips)
    for key, value in need.items():
        assert result["metrics"]["test"][key] == pytest.approx(value, abs=1e-4)


@pytest.mark.parametrize(
    "change, sets",
    [
        ({"kind": "untrained"}, {"test", "unseen", "wild", "duets"}),
        ({"kind": "classifier"}, {"unseen"}),
        ({"half": "0b"}, {"halves"}),
    ],
)
def test_other_kinds_are_measured_on_what_they_can(change, sets, tmp_path):
    run = replace(TINY, **change)
    path = perform(run, tmp_path / "out", tmp_path / "work")
    result = json.loads(path.read_text(encoding="utf-8"))
    assert run.settings.items() <= result.items()
    assert set(result["metrics"]) == set(result["per_clip"]) == sets
    if run.kind == "untrained":
        assert result["history"] == {} and result["seconds"] == 0
        torch.manual_seed(0)
        fresh = SoundLocaliser.from_preset("laptop")
        saved = SoundLocaliser.load(folder_of(run, tmp_path))
        for one, other in zip(fresh.parameters(), saved.parameters()):
            assert torch.equal(one, other)
    if run.kind == "classifier":
        assert result["history"]["accuracy"][1] > 0 and result["seconds"] > 0
        assert set(result["per_clip"]["unseen"]) == {"audio"}


def test_scores_are_means_and_errors_are_ratios():
    columns = {
        "ciou": np.array([0.5, 0.495, 1.0, 0.0]),
        "peak": np.array([True, False, False, False]),
        "e_app": np.array([1.0, 2.0]),
        "variance": np.array([2.0, 4.0]),
        "audio": np.array([[True] + [False] * 9, [False] * 5 + [True] * 5]),
        "maps": np.zeros((2, 3, 3), np.uint8),
    }
    found = scores(columns)
    assert found["cIoU"] == 0.5 and found["peak"] == 0.25 and found["e_app"] == 0.5
    # thresholds k/20 that 0.5, 0.495, 1 and 0 reach: 11, 10, 21 and 1 of 21
    areas = [(11 - 0.5) / 20, (10 - 0.5) / 20, 1.0, 0.5 / 20]
    assert found["AUC"] == round(sum(areas) / 4, 4)
    assert (found["audio A@5"], found["audio A@10"]) == (0.5, 1.0)
    assert (found["audio P@1"], found["audio P@5"]) == (0.5, 0.1)
    assert not {"maps", "variance", "ciou", "audio"} & set(found)


# --- when it is made


def test_a_done_run_is_not_made_again_and_other_settings_are(made, monkeypatch):
    folder, result = made
    trained = []
    monkeypatch.setattr(runs, "_trained", lambda run, *_: trained.append(run) or 1 / 0)
    path = perform(TINY, folder / "out", folder / "work")
    assert not trained and json.loads(path.read_text()) == result
    for other in (replace(TINY, clips=21), replace(TINY, half="0a")):
        with pytest.raises(ZeroDivisionError):
            perform(other, folder / "out", folder / "work")
    assert [run.clips for run in trained] == [21, 20]
    assert json.loads(path.read_text()) == result  # until the new one is there


def test_a_stopped_run_goes_on_and_ends_with_the_same_result(made, tmp_path):
    longer = replace(TINY, config=replace(CONFIG, epochs=3, validate_every=1))
    undisturbed = perform(longer, tmp_path / "one", tmp_path / "work 1")
    begun = []

    def stopped(batches):
        begun.append(1)
        for number, batch in enumerate(batches):
            if len(begun) == 3 and number == 1:
                raise KeyboardInterrupt
            yield batch

    where = tmp_path / "other", tmp_path / "work 2"
    with pytest.raises(KeyboardInterrupt):
        perform(longer, *where, stopped)
    assert len(states(where[1] / f"{longer.name}-{longer.digest}")) == 2
    begun.clear()
    resumed = perform(longer, *where, stopped)
    assert len(begun) == 1  # the third epoch alone
    one, other = (json.loads(path.read_text()) for path in (undisturbed, resumed))
    assert one["metrics"] == other["metrics"] and one["per_clip"] == other["per_clip"]
    for name in ("loss", "val_AUC"):
        assert one["history"][name] == other["history"][name]


def test_what_a_run_left_that_was_killed_before_its_first_state_does_not_stop_it(
    made, tmp_path
):
    """Of the first validated epoch, the model is written before the state."""
    folder, result = made
    work = folder_of(TINY, tmp_path)
    work.mkdir(parents=True)
    for name in ("model.safetensors", "model.json"):
        (work / name).write_bytes((folder_of(TINY, folder) / name).read_bytes())
    path = perform(TINY, tmp_path / "out", tmp_path / "work")
    assert json.loads(path.read_text())["per_clip"] == result["per_clip"]


def test_a_run_at_work_elsewhere_is_left_alone(made, tmp_path, monkeypatch):
    work = folder_of(TINY, tmp_path)
    work.mkdir(parents=True)
    monkeypatch.setattr(runs, "_trained", lambda *_: 1 / 0)
    with locked(work / ".run", "busy"):
        with pytest.raises(BlockingIOError, match="another process makes tiny-0"):
            perform(TINY, tmp_path / "out", tmp_path / "work")
    with pytest.raises(ZeroDivisionError):  # now it is free
        perform(TINY, tmp_path / "out", tmp_path / "work")


def test_without_git_a_result_names_no_commit(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert runs.provenance()["commit"] is None
