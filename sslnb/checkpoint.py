"""Stop and go: the state of a run, on disk whole or not at all (notebook 05).

    >>> save_state(folder, config, {"model": model}, optimizer, history)
    >>> history = load_state(folder, config, {"model": model}, optimizer)

A run's folder holds the last two states (state-0007.safetensors …), the best model
on validation (model.safetensors, model.json) and metrics.jsonl. Nothing is unpickled.
"""

import json
from dataclasses import asdict

import torch
from safetensors import SafetensorError, safe_open

from sslnb.files import whole
from sslnb.model import write

KEPT = 2  # states


def states(folder):
    """Paths of the states in a run's folder, oldest first."""
    return sorted(folder.glob("state-*.safetensors"))


def save_state(folder, config, parts, optimizer, history):
    """Everything that resuming needs, and the metrics; keeps the last two states.

    parts: {name: module}, such as the model and the running mean of its weights.
    OSError where it cannot be written: the states before are intact.
    """
    tensors = {f"{part}.{name}": value for part, module in parts.items()
               for name, value in module.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in state.items()}
    text = json.dumps({"config": asdict(config), "history": history})
    tensors = {name: value.contiguous() for name, value in tensors.items()}
    with whole(folder / f"state-{len(history):04d}.safetensors") as path:
        write(tensors, path, {"state": text})
    lines = "".join(json.dumps(metrics) + "\n" for metrics in history)
    with whole(folder / "metrics.jsonl") as path:
        path.write_text(lines, encoding="utf-8")
    halves = folder.glob(".*.safetensors")  # of runs that were killed while they wrote
    for old in [*states(folder)[:-KEPT], *halves]:
        old.unlink()


def load_state(folder, config, parts, optimizer):
    """Put the last state into parts and optimizer; the metrics of its epochs.

    FileNotFoundError where there is none; ValueError where it is damaged, or of
    another configuration than `config`.
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
