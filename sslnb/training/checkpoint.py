"""Checkpoints of a run: its state, on disk complete or not at all (notebook 05).

    >>> save_state(folder, config, clips, state)
    >>> load_state(folder, config, clips, state)     # resume

Nothing is unpickled. `folder` says what else a run's folder holds.
"""

import json
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from sslnb.files import atomic_write
from sslnb.model import SoundLocaliser, with_weights, write
from sslnb.training import parallel
from sslnb.training.folder import states
from sslnb.training.recipe import TrainConfig
from sslnb.training.state import TrainState, network

KEPT = 2  # states


def history_in(folder: Path) -> list[dict]:
    """The metrics of every epoch of the run in a folder, before it was resumed too.

    ValueError where the file is damaged.
    """
    path = folder / "metrics.jsonl"
    with _undamaged(path, "delete it, and resume the run to have it written anew"):
        lines = path.read_text(encoding="utf-8").splitlines()
        history = [json.loads(line) for line in lines]
        _check_history(history)
    return history


def last_model(folder: str | Path) -> SoundLocaliser:
    """The model of the last saved epoch in a run's folder, in eval mode: best or not.

    FileNotFoundError where there is no state, ValueError where it is damaged.
    """
    path, saved, tensors = _read(Path(folder))
    with _undamaged(path):
        config = TrainConfig(**saved["config"])
        weights = _part(tensors, "average.module." if config.ema_decay else "model.")
        model = with_weights(network(config), weights)
    return model.eval()


def save_state(
    folder: Path, config: TrainConfig, clips: dict, state: TrainState
) -> None:
    """Write all that resuming needs, the metrics, and the model where it is the best.

    clips: {name: Clips.fingerprint()} of the training and validation clips. The last two
    states are kept. OSError where it cannot be written: the states before are intact.
    """
    tensors = {
        f"{part}.{name}": value
        for part, module in state.modules().items()
        for name, value in module.state_dict().items()
    }
    for index, values in state.optimizer.state_dict()["state"].items():
        tensors |= {
            f"optimizer.{index}.{name}": value for name, value in values.items()
        }
    saved = {"config": asdict(config), "data": clips, "start": state.start}
    text = json.dumps(saved | {"history": state.history})
    # The state comes first: a run that is killed after it goes on by the rest
    with atomic_write(folder / f"state-{len(state.history):04d}.safetensors") as path:
        write(tensors, path, {"state": text})
    _follow(folder, config, clips, state)


def _follow(folder, config, clips, state):
    """Make the other files of a run those of its last state: the metrics come last."""
    if state.is_best():
        state.averaged.save(
            folder,
            training=asdict(config),
            clips=clips["training"]["number"],
            **({"start": state.start} if state.start else {}),
            metrics=state.history[-1],
        )
    for old in states(folder)[:-KEPT]:
        old.unlink()
    with atomic_write(folder / "metrics.jsonl") as path:
        path.write_text(_lines(state.history), encoding="utf-8")


def _is_followed(folder, state):
    path = folder / "metrics.jsonl"
    return path.exists() and path.read_text("utf-8") == _lines(state.history)


def _lines(history):
    return "".join(json.dumps(metrics) + "\n" for metrics in history)


def load_state(
    folder: Path, config: TrainConfig, clips: dict, state: TrainState
) -> None:
    """Put the last saved state of a folder into `state`.

    Where saving it was cut short, the model and the metrics are written now.
    FileNotFoundError where there is none; ValueError where it is damaged, of another
    configuration than `config`, of clips with another fingerprint than `clips` says, or
    began with weights of another name than `state`, where that was given some.
    """
    path, saved, tensors = _read(folder)
    _check_same_start(path, saved.get("start", ""), state.start)
    _check_same_config(path, saved["config"], json.loads(json.dumps(asdict(config))))
    _check_same_clips(path, saved.get("data"), clips)
    with _undamaged(path):
        for part, module in state.modules().items():
            module.load_state_dict(_part(tensors, f"{part}."))
        _load_optimizer(state.optimizer, tensors)
    state.start, state.history = saved.get("start", ""), saved["history"]
    if parallel.is_main() and not _is_followed(folder, state):
        _follow(folder, config, clips, state)


def _read(folder):
    """Path of a folder's last state, what it says of the run, and its tensors by name."""
    if not states(folder):
        raise FileNotFoundError(f"no state in {folder}: there is no run to resume")
    path = states(folder)[-1]
    with _undamaged(path):
        with safe_open(path, framework="pt") as file:
            saved = json.loads(file.metadata()["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        clips = saved.get("data") or {}  # None: of an earlier version
        if not all(isinstance(each, dict) for each in (saved["config"], clips)):
            raise ValueError("its configuration or its clips are no table")
        if not all(
            isinstance(each, dict) and "number" in each for each in clips.values()
        ):
            raise ValueError("it does not say how many clips it saw")
        if not isinstance(saved.get("start", ""), str):
            raise ValueError("it does not say what it started with")
        _check_history(saved["history"])
    return path, saved, tensors


@contextmanager
def _undamaged(path, advice="delete it to resume from the state before, or start anew"):
    """ValueError, naming the file, for whatever reading it inside the block raises."""
    try:
        yield
    except (
        SafetensorError,
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        RuntimeError,  # RecursionError too
    ) as error:
        raise ValueError(f"{path} is damaged: {str(error)[:300]}; {advice}") from error


def _check_history(history):
    """ValueError for anything but the metrics of some epochs, numbers by name."""
    if not isinstance(history, list):
        raise ValueError(f"the metrics are {history!r:.80}; need a list of epochs")
    for epoch, metrics in enumerate(history, 1):
        if not isinstance(metrics, dict) or not all(
            isinstance(value, (int, float)) for value in metrics.values()
        ):
            raise ValueError(f"the metrics of epoch {epoch} are {metrics!r:.80}")


def _part(tensors, prefix):
    """Those tensors whose names begin with `prefix`, by the rest of their names."""
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }


def _load_optimizer(optimizer, tensors):
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    values: dict[int, dict] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".")
            like = parameters[int(index)]
            if value.shape == like.shape:  # Adam's fused kernel wants one memory format
                value = torch.empty_like(like).copy_(value)
            values.setdefault(int(index), {})[key] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": values, "param_groups": groups})


def _check_same_config(path, before, now):
    for name in now:
        if before.get(name) != now[name]:
            raise ValueError(
                f"{path} was trained with {name} = {before.get(name)!r}, not "
                f"{now[name]!r}: resume with the same configuration or start anew"
            )


def _check_same_start(path, before, now):
    if now and now != before:
        raise ValueError(
            f"{path} began with {before or 'random weights'}, not {now}: resume without "
            "--start (start = '' in notebook 05), or train anew in another folder"
        )


def _check_same_clips(path, before, now):
    """ValueError where fingerprints differ: epochs on other clips are another run."""
    if before is None:  # saved by an earlier version: nothing says which clips it saw
        raise ValueError(
            f"{path} does not say which clips it was trained on, so it "
            "cannot be resumed safely: train anew in another folder"
        )
    for name, new in now.items():
        old = before[name]
        differ = ", ".join(what for what in new if new[what] != old[what])
        if differ:
            raise ValueError(
                f"{path} is of other {name} clips: {differ} differ ({old['number']:,} "
                f"clips then, {new['number']:,} now); resume with the same clips, or "
                "train anew in another folder"
            )
