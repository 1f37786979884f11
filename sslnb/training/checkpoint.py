"""Stop and go: the state of a run, on disk whole or not at all (notebook 05).

    >>> with hold(folder):
    ...     refuse_another_run(folder)
    ...     save_state(folder, config, data, {"model": model}, optimizer, history)
    ...     history = load_state(folder, config, data, {"model": model}, optimizer)

A run's folder holds the last two states (state-0007.safetensors …), the best model
on validation (model.safetensors, model.json) and metrics.jsonl. Nothing is unpickled.
"""

import json
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from sslnb.files import atomic_write, locked
from sslnb.model import write

KEPT = 2  # states


def states(folder):
    """Paths of the states in a run's folder, oldest first."""
    return sorted(folder.glob("state-*.safetensors"))


@contextmanager
def hold(folder):
    """Keep other runs out of a folder until the block ends.

    BlockingIOError where another run is at work in it.
    """
    path = Path(folder) / ".lock"
    with locked(path, f"another run is at work in {folder}: wait for its end, or train "
                "into another folder (--out)"):
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def files_of_run(folder):
    """Paths of the files of a run in a folder: states, best model and metrics."""
    names = ("model.safetensors", "model.json", "metrics.jsonl")
    others = (folder / name for name in names)
    return states(folder) + [path for path in others if path.exists()]


def refuse_another_run(folder):
    """FileExistsError where a folder holds a run: nothing may overwrite it."""
    found = [path.name for path in files_of_run(folder)]
    if found:
        resume = "resume it (--resume), " if states(folder) else ""
        raise FileExistsError(
            f"{folder} holds a run already ({', '.join(found)}): {resume}train into "
            "another folder (--out), or delete these files"
        )


def set_aside(folder):
    """Move a folder's run into a new folder inside it; its path, or None without a run.

    BlockingIOError where the run is still going on.
    """
    folder = Path(folder)
    if not files_of_run(folder):
        return None
    with hold(folder):
        number = 1
        while (target := folder / f"earlier-{number}").exists():
            number += 1
        target.mkdir()
        for path in files_of_run(folder):
            path.rename(target / path.name)
    return target


def save_state(folder, config, data, parts, optimizer, history):
    """Everything that resuming needs, and the metrics; keeps the last two states.

    data: {name: data.Clips.fingerprint()} of the clips, such as training and
    validation; parts: {name: module}, such as the model and the running mean of its
    weights. OSError where it cannot be written: the states before are intact.
    """
    tensors = {f"{part}.{name}": value for part, module in parts.items()
               for name, value in module.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in state.items()}
    text = json.dumps({"config": asdict(config), "data": data, "history": history})
    tensors = {name: value.contiguous() for name, value in tensors.items()}
    with atomic_write(folder / f"state-{len(history):04d}.safetensors") as path:
        write(tensors, path, {"state": text})
    lines = "".join(json.dumps(metrics) + "\n" for metrics in history)
    with atomic_write(folder / "metrics.jsonl") as path:
        path.write_text(lines, encoding="utf-8")
    halves = folder.glob(".*.safetensors")  # of runs that were killed while they wrote
    for old in [*states(folder)[:-KEPT], *halves]:
        old.unlink()


def load_state(folder, config, data, parts, optimizer):
    """Put the last state into parts and optimizer; the metrics of its epochs.

    FileNotFoundError where there is none; ValueError where it is damaged, of another
    configuration than `config`, or of clips with another fingerprint than `data` says.
    """
    if not states(folder):
        raise FileNotFoundError(f"no state in {folder}: there is no run to resume")
    path = states(folder)[-1]
    try:
        with safe_open(path, framework="pt") as file:
            text = file.metadata()["state"]
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, KeyError) as error:
        raise ValueError(f"{path} is damaged: {error}; delete it to resume from the "
                         "state before, or start anew") from error
    saved = json.loads(text)
    before, now = saved["config"], json.loads(json.dumps(asdict(config)))
    for name in now:
        if before.get(name) != now[name]:
            raise ValueError(
                f"{path} was trained with {name} = {before.get(name)!r}, not "
                f"{now[name]!r}: resume with the same configuration or start anew"
            )
    _check_same_clips(path, saved.get("data"), data)
    for part, module in parts.items():
        module.load_state_dict({name.removeprefix(f"{part}."): value for name, value
                                in tensors.items() if name.startswith(f"{part}.")})
    state, parameters = {}, [p for g in optimizer.param_groups for p in g["params"]]
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".")
            like = parameters[int(index)]
            if value.shape == like.shape:  # Adam's fused kernel wants one memory format
                value = torch.empty_like(like).copy_(value)
            state.setdefault(int(index), {})[key] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    return saved["history"]


def _check_same_clips(path, before, now):
    """ValueError where fingerprints differ: epochs on other clips are another run."""
    if before is None:  # saved by an earlier version: nothing says which clips it saw
        raise ValueError(f"{path} does not say which clips it was trained on, so it "
                         "cannot be resumed safely: train anew in another folder")
    for name, new in now.items():
        old = before[name]
        differ = ", ".join(what for what in new if new[what] != old[what])
        if differ:
            raise ValueError(
                f"{path} is of other {name} clips: {differ} differ ({old['number']:,} "
                f"clips then, {new['number']:,} now); resume with the same clips, or "
                "train anew in another folder"
            )
