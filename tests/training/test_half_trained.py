"""A run that begins with trained weights, and the half-trained model that ships."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from torch.optim.swa_utils import AveragedModel

from sslnb import localise
from sslnb.cli import main
from sslnb.data import load_scenes
from sslnb.files import CHECKPOINT, HALF
from sslnb.model import SoundLocaliser
from sslnb.teach.exercises import EXERCISES
from sslnb.training.checkpoint import last_model, load_state
from sslnb.training.folder import states
from sslnb.training.loop import train
from sslnb.training.recipe import VAL_CLIPS, TrainConfig
from sslnb.training.state import TrainState, ema_update

CPU = torch.device("cpu")
TINY = TrainConfig(epochs=2, batch=8, precision="fp32", curriculum=0.0)


@pytest.fixture(scope="module")
def few():
    return load_scenes("train", 16), load_scenes("val", 6)


def card(folder):
    return json.loads((folder / "model.json").read_text())


def same(one, other):
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# --- the half-trained model ---------------------------------------------------


def test_the_half_is_the_finished_run_after_its_first_epoch():
    half, finished = card(HALF), card(CHECKPOINT)
    first = json.loads((CHECKPOINT / "metrics.jsonl").read_text().splitlines()[0])
    assert half["metrics"]["epoch"] == 1 and half["clips"] == finished["clips"]
    assert half["metrics"] == {name: first[name] for name in half["metrics"]}
    assert half["model"] == finished["model"]
    settings = finished["training"]
    assert {name: half["training"][name] for name in settings} == settings


@pytest.mark.slow
def test_it_scores_on_val_what_its_card_says_and_less_than_the_centre_prior():
    val = load_scenes("val", VAL_CLIPS)
    scores = localise.score(localise.respond_to(SoundLocaliser.load(HALF), val), val)
    prior = localise.baselines(val)["centre prior"]
    recorded = card(HALF)["metrics"]
    for name, value in scores.items():
        assert value == pytest.approx(recorded[f"val_{name}"], abs=0.01), name
    assert scores["cIoU"] < prior["cIoU"] and scores["AUC"] < prior["AUC"]


# --- beginning with weights ---------------------------------------------------


def test_a_run_begins_with_the_weights_that_it_is_given():
    half = SoundLocaliser.load(HALF)
    state = TrainState(TINY, CPU, HALF)
    assert state.start == "half"
    assert same(state.model, half) and same(state.averaged, half)
    assert not state.optimizer.state  # Adam begins anew
    random = TrainState(TINY, CPU)
    assert random.start == "" and not same(random.model, half)


def test_the_card_of_the_model_names_its_start(few, tmp_path):
    next(train(TINY, *few, tmp_path / "a", start=HALF))
    next(train(TINY, *few, tmp_path / "b"))
    assert card(tmp_path / "a")["start"] == "half"
    assert "start" not in card(tmp_path / "b")


def test_a_started_run_resumes_to_the_same_weights_without_its_start(few, tmp_path):
    """What it began with may be gone: the state holds all."""
    start = tmp_path / "start"
    shutil.copytree(HALF, start)
    list(train(TINY, *few, tmp_path / "in one go", start=start))
    next(train(TINY, *few, tmp_path / "stopped", start=start))
    shutil.rmtree(start)
    list(train(TINY, *few, tmp_path / "stopped", resume=True))
    one, other = (last_model(tmp_path / name) for name in ("in one go", "stopped"))
    assert same(one, other)
    assert card(tmp_path / "stopped")["start"] == "start"


def test_a_run_is_not_resumed_with_another_start(few, tmp_path):
    """The state's weights would replace it without a word."""
    next(train(TINY, *few, tmp_path / "run"))
    with pytest.raises(ValueError, match="began with random weights, not half: resume"):
        next(train(TINY, *few, tmp_path / "run", resume=True, start=HALF))
    next(train(TINY, *few, tmp_path / "started", start=HALF))
    (last,) = train(TINY, *few, tmp_path / "started", resume=True, start=HALF)
    assert last["epoch"] == 2


def test_a_start_of_another_size_is_refused_with_what_differs(few, tmp_path):
    deep = replace(TINY, blocks=(2, 2, 2, 2))
    with pytest.raises(ValueError, match=r"half has blocks = \(1, 1, 1, 1\), and"):
        next(train(deep, *few, tmp_path / "run", start=HALF))
    assert not list((tmp_path / "run").glob("*.safetensors"))


def test_a_start_that_is_not_there_is_named(few, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"empty/model\.safetensors is missing"):
        next(train(TINY, *few, tmp_path / "run", start=tmp_path / "empty"))


def test_the_command_line_starts_with_weights(tmp_path, capsys):
    small = ["--scenes", "12", "--val-clips", "4", "--epochs", "1", "--batch", "6"]
    out = tmp_path / "run"
    assert not main(["train", "--out", str(out), "--start", str(HALF), *small])
    assert card(out)["start"] == "half"


# --- averages, as the exercise has them ---------------------------------------


@pytest.mark.parametrize("decay", [0.7, 0.998])
def test_the_exercise_of_averages_is_adams_mean_and_the_loops_ema(decay):
    generator = torch.Generator().manual_seed(0)
    steps = torch.randn(40, 3, generator=generator).double()
    adam, loop = EXERCISES["averages"].truth(steps, decay)

    layer = torch.nn.Linear(3, 1, bias=False).double()
    ema = AveragedModel(layer, multi_avg_fn=ema_update(decay))
    weight = torch.nn.Parameter(torch.zeros(3).double())
    optimizer = torch.optim.Adam([weight], betas=(decay, 0.999))
    for value in steps:
        layer.weight.data.copy_(value)
        ema.update_parameters(layer)
        weight.grad = value.clone()
        optimizer.step()
    assert torch.allclose(ema.module.weight[0], loop)
    mean = optimizer.state[weight]["exp_avg"] / (1 - decay**40)
    assert torch.allclose(mean, adam)


# --- the last model of a run --------------------------------------------------


@pytest.mark.parametrize("decay", [0.998, 0.0])
def test_the_last_model_is_that_of_the_last_epoch_best_or_not(decay, few, tmp_path):
    config = replace(TINY, ema_decay=decay)
    list(train(config, *few, tmp_path))
    state = TrainState(config, CPU)
    seen = {"training": few[0].fingerprint(), "validation": few[1].fingerprint()}
    load_state(tmp_path, config, seen, state)
    assert len(states(tmp_path)) == 2
    assert same(last_model(tmp_path), state.averaged)
    assert not last_model(tmp_path).training


def test_a_folder_without_a_state_has_no_last_model(tmp_path):
    with pytest.raises(FileNotFoundError, match="no state in"):
        last_model(tmp_path)
