"""States of a run: whole or not at all, the last two, and what cannot be written."""

import fcntl
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sslnb.files import atomic_write, locked
from sslnb.model import SoundLocaliser
from sslnb.training.checkpoint import load_state, save_state
from sslnb.training.folder import run_folder, set_aside, states
from sslnb.training.recipe import TrainConfig
from sslnb.training.state import TrainState

CONFIG = TrainConfig()
DATA = {"training": {"number": 3, "names": "5ca1ab1e"}}


def run(steps=1, epochs=1):
    """A state that has taken some steps, after some epochs."""
    state = TrainState(replace(CONFIG, seed=1), torch.device("cpu"))
    for _ in range(steps):
        step(state)
    state.history = [metrics(epoch) for epoch in range(1, epochs + 1)]
    return state


def metrics(epoch):
    return {"epoch": epoch, "val_loss": 1 / epoch}


def step(state):
    images = torch.linspace(-1, 1, 2 * 3 * 32 * 32).view(2, 3, 32, 32)
    state.update(state.model.embed_image(images)[:, :8].sum(), 0.01)


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_what_is_loaded_goes_on_as_what_was_saved(ema_decay, tmp_path):
    config = replace(CONFIG, ema_decay=ema_decay)
    one, other = (TrainState(config, torch.device("cpu")) for _ in range(2))
    step(one)
    one.history = [metrics(1)]
    save_state(tmp_path, config, DATA, one)
    load_state(tmp_path, config, DATA, other)
    assert other.history == one.history
    for state in (one, other):
        step(state)
    for module, same in zip(one.modules().values(), other.modules().values()):
        for (name, a), b in zip(
            module.state_dict().items(), same.state_dict().values()
        ):
            assert torch.equal(a, b), name


def test_the_last_two_are_kept_and_the_newest_is_loaded(tmp_path):
    state = run(epochs=0)
    for epoch in range(1, 5):
        state.history.append(metrics(epoch))
        save_state(tmp_path, CONFIG, DATA, state)
    assert [p.name for p in states(tmp_path)] == [
        "state-0003.safetensors",
        "state-0004.safetensors",
    ]
    assert epochs_in(tmp_path) == 4
    states(tmp_path)[-1].write_bytes(b"cut short")
    with pytest.raises(
        ValueError, match=r"state-0004.safetensors is damaged.*the state"
    ):
        epochs_in(tmp_path)
    states(tmp_path)[-1].unlink()
    assert epochs_in(tmp_path) == 3


def epochs_in(folder):
    state = run(steps=0)
    load_state(folder, CONFIG, DATA, state)
    return len(state.history)


def test_what_a_killed_run_had_half_written_is_deleted_and_nothing_else(tmp_path):
    for name in ("state-0001.safetensors", "model.json", "metrics.jsonl", "maps.npz"):
        (tmp_path / f".4711.{name}").write_bytes(b"half")
    with run_folder(tmp_path):
        names = {path.name for path in tmp_path.iterdir()}
    assert names == {".lock", ".4711.maps.npz"}


@pytest.mark.parametrize("last", ["state-0002.safetensors", "model.safetensors"])
def test_a_run_killed_after_its_state_is_written_gets_the_rest(
    last, tmp_path, monkeypatch
):
    """The best model, or its card and the metrics; though no epoch is left to train."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
        save_state(folder, CONFIG, DATA, run())
    better = run(steps=2, epochs=2)
    save_state(whole, CONFIG, DATA, better)

    rename = os.replace

    def stopping(part, path):
        rename(part, path)
        if Path(path).name == last:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", stopping)
        save_state(killed, CONFIG, DATA, better)
    assert len(states(killed)) == 2 and contents(killed) != contents(whole)
    assert epochs_in(killed) == 2
    assert contents(killed) == contents(whole)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


FULL = """
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, "tests/training")
from sslnb.training.checkpoint import save_state
from sslnb.training.folder import states
from sslnb.training.recipe import TrainConfig
from test_checkpoint import DATA, metrics, run
folder = Path(sys.argv[1])
state = run()
save_state(folder, TrainConfig(), DATA, state)
state.history.append(metrics(2) | {"val_loss": 9.0})  # worse: the model is not saved again
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # no more than 100 kB a file from here on
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    save_state(folder, TrainConfig(), DATA, state)
except OSError as error:
    print("refused:", error)
"""


@pytest.mark.slow
def test_a_full_disk_leaves_the_last_state_intact(tmp_path):
    told = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], text=True, capture_output=True
    )
    assert "state-0002.safetensors cannot be written" in told.stdout, told
    assert "intact" in told.stdout
    assert [path.name for path in tmp_path.iterdir() if "state" in path.name] == [
        "state-0001.safetensors"
    ]
    assert epochs_in(tmp_path) == 1


HOLDING = """
import sys
from sslnb.files import locked
with locked(sys.argv[1], "busy"):
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_a_lock_keeps_others_out_until_its_process_is_killed(tmp_path):
    path = tmp_path / "lock"
    other = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(path)],
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with other:
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(BlockingIOError, match=r"^mine$"), locked(path, "mine"):
            raise AssertionError("locked twice")
        other.kill()
    with locked(path, "mine") as file:
        file.write(b"kept")
    assert path.read_bytes() == b"kept"


def test_a_lock_whose_file_was_deleted_while_we_took_it_is_no_lock(
    tmp_path, monkeypatch
):
    """Its holder deletes the file, then ends: who waits would lock what nobody sees."""
    path, flock = tmp_path / "lock", fcntl.flock

    def late(file, how):
        monkeypatch.setattr(fcntl, "flock", flock)
        path.unlink()
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with locked(path, "mine"):
        with pytest.raises(BlockingIOError), locked(path, "yours"):
            raise AssertionError("locked twice")


def test_a_run_is_set_aside_with_nothing_else(tmp_path):
    assert set_aside(tmp_path) is None and not list(tmp_path.iterdir())
    (tmp_path / "notes.txt").write_text("mine")
    for number in (1, 2):
        for name in ("model.json", "metrics.jsonl", "state-0001.safetensors"):
            (tmp_path / name).write_text(f"{name} of run {number}")
        with (
            run_folder(tmp_path, resume=True),
            pytest.raises(BlockingIOError, match="another run is at work"),
        ):
            set_aside(tmp_path)
        assert set_aside(tmp_path) == tmp_path / f"earlier-{number}"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "earlier-1",
        "earlier-2",
        "notes.txt",
    ]
    for number in (1, 2):
        aside = tmp_path / f"earlier-{number}"
        assert {path.name: path.read_text() for path in aside.iterdir()} == {
            name: f"{name} of run {number}"
            for name in ("model.json", "metrics.jsonl", "state-0001.safetensors")
        }


def test_a_file_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / "metrics.json"
    with atomic_write(path) as temporary:
        temporary.write_text("[1]")
    with pytest.raises(KeyError), atomic_write(path) as temporary:
        temporary.write_text("[1, ")
        raise KeyError
    assert json.loads(path.read_text()) == [1]
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(OSError, match=r"absent/a.json cannot be written"):
        with atomic_write(tmp_path / "absent" / "a.json") as temporary:
            temporary.write_text("{}")


def test_a_model_that_cannot_be_saved_says_where(tmp_path):
    (tmp_path / "model.safetensors").mkdir()
    with pytest.raises(OSError, match=r"model.safetensors cannot be written"):
        SoundLocaliser.from_preset("laptop").save(tmp_path)
    assert not (tmp_path / "model.json").exists()
    (tmp_path / "model.safetensors").rmdir()
    SoundLocaliser.from_preset("laptop").save(tmp_path)
    assert load_file(tmp_path / "model.safetensors")
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1  # the weights are as readable as the card
