"""One run of the grid: train, measure, and write its result (notebook 08).

>>> perform(read_grid().select(["F-0"])[0])     # data/experiments/runs/F-0.json

The result has the run's settings, the commit, versions and machine, its seconds, the
metrics of every epoch, its scores, and what each clip adds to them. A run that is
stopped goes on where it was; a run that is done is not made again.
"""

import json
import os
import platform
import subprocess
import time
from collections.abc import Callable, Mapping
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sslnb.experiments import measure
from sslnb.experiments.classifier import train_classifier
from sslnb.experiments.grid import FOLDER, RUNS, Run
from sslnb.experiments.packed import pack, unpack
from sslnb.files import ROOT, atomic_write, locked, remove_leftovers
from sslnb.localise.intervals import of_ciou
from sslnb.model import SoundLocaliser
from sslnb.training.checkpoint import files_of_run, run_folder, states
from sslnb.training.clips import load_training
from sslnb.training.loop import train
from sslnb.training.state import network

WORK = ROOT / "runs" / "experiments"  # where runs train: checkpoints and states
CLIPS = FOLDER / "clips.json"
PACKAGES = ("sslnb", "torch", "numpy")


def perform(
    run: Run,
    results: Path = RUNS,
    work: Path = WORK,
    progress: Callable = lambda batches: batches,
) -> Path:
    """Make a run, if it is not done, and write its result; the path of the result.

    results: folder of the results; work: folder of the checkpoints. `progress` wraps an
    epoch's batches. BlockingIOError where another process makes this run; errors of
    `training.loop.train`.
    """
    make(run, results, work, progress)
    return run.path(results)


def make(
    run: Run,
    results: Path = RUNS,
    work: Path = WORK,
    progress: Callable = lambda batches: batches,
) -> bool:
    """As `perform`; whether the run was made here, and not done already."""
    path, folder = run.path(results), work / f"{run.name}-{run.digest}"
    folder.mkdir(parents=True, exist_ok=True)
    # training locks its folder, too, but measuring is part of the run
    with locked(folder / ".run", f"another process makes {run.name}"):
        if run.is_done(results):
            return False
        result = _result(run, folder, progress)
        results.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path)
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(result) + "\n", encoding="utf-8")
    return True


def _result(run: Run, folder: Path, progress: Callable) -> dict[str, Any]:
    """Train a run in a folder, and measure it; its result, as JSON has it."""
    history = _trained(run, folder, progress)
    started = time.perf_counter()
    model = SoundLocaliser.load(folder)
    columns = {}
    for name in ("halves",) if run.half else ("test", "unseen", "wild", "duets"):
        found = measure.measure(model, name, run.kind == "classifier")
        if found:
            columns[name] = found
    packed = _packed(columns)
    return {
        "run": run.name,
        "variant": run.variant,
        "seed": run.config.seed,
        **run.settings,
        "day": date.today().isoformat(),
        **provenance(),
        "seconds": round(sum(metrics.get("seconds", 0) for metrics in history), 1),
        "seconds_measuring": round(time.perf_counter() - started, 1),
        "history": _by_metric(history),
        "metrics": {name: scores(unpacked(each)) for name, each in packed.items()},
        "per_clip": packed,
    }


def unpacked(columns: Mapping[str, dict]) -> dict[str, np.ndarray]:
    """What each clip says, of what a result's "per_clip" has on a set: column -> (N,)."""
    return {name: unpack(values) for name, values in columns.items()}


def _trained(run: Run, folder: Path, progress: Callable) -> list[dict[str, float]]:
    """Train the model of a run into a folder, or go on; the metrics of every epoch."""
    if run.kind == "untrained":
        torch.manual_seed(run.config.seed)
        SoundLocaliser(network(run.config)).save(folder)
        return []
    classes = measure.classes_of(run.half) if run.half else None
    clips, val = load_training(
        run.config.preset, run.clips, regime=run.config.regime, classes=classes
    )
    if run.kind == "classifier":
        with run_folder(folder, resume=True):
            return train_classifier(run.config, clips, folder)
    resume = bool(states(folder))
    if not resume:  # killed before its first state, it may have left a model
        for path in files_of_run(folder):
            path.unlink()
    for _ in train(run.config, clips, val, folder, resume, progress, threads=1):
        pass
    text = (folder / "metrics.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def scores(columns: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Scores of a model on a set, from what each clip adds: fractions, or errors."""
    found: dict[str, Any] = {}
    for name, values in columns.items():
        if name.startswith("ciou"):
            whose = name.removeprefix("ciou")  # of a duet: first or second
            for key, column in of_ciou(values).items():
                found[key + whose] = column.mean()
        elif name in ("e_app", "e_geo"):
            found[name] = values.mean() / columns["variance"].mean()
        elif name in measure.RETRIEVAL:
            for key, column in measure.per_query(values).items():
                found[f"{name} {key}"] = column.mean()
        elif name not in ("maps", "variance"):
            found[name] = values.mean()
    return {name: round(float(value), 4) for name, value in found.items()}


def provenance() -> dict[str, Any]:
    """The commit, versions and machine that make a run."""
    return {
        "commit": _commit(),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in PACKAGES},
        "machine": machine(),
        "threads": torch.get_num_threads(),
    }


def _commit() -> str | None:
    """The checkout's commit; None where there is none, or no git."""
    command = ["git", "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() or None


def machine() -> str:
    """What it runs on, in words."""
    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()}, {processor()}"
    return f"{processor()}, {os.cpu_count()} cores"


def processor() -> str:
    """The processor's name, as the system knows it."""
    lines = Path("/proc/cpuinfo")
    if lines.exists():
        for line in lines.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _by_metric(history):
    """{metric: its value in every epoch, None where there is none}, to four digits."""
    names = dict.fromkeys(key for metrics in history for key in metrics)
    names.pop("waiting", None)
    return {
        name: [
            float(f"{metrics[name]:.4g}") if name in metrics else None
            for metrics in history
        ]
        for name in names
    }


def _packed(columns):
    return {
        name: {key: pack(values) for key, values in each.items()}
        for name, each in columns.items()
    }


def write_clips(path: Path = CLIPS) -> None:
    """Write the clips that all runs are measured on, with the guesses without a model."""
    found = {}
    for name in measure.SETS:
        clips = measure.clips_of(name)
        guesses = {what: measure.guess(name, what) for what in measure.GUESSES}
        found[name] = {
            "names": clips.names,
            "labels": clips.labels,
            "photos": clips.photos,
            "recordings": clips.recordings,
            "guesses": _packed(guesses),
        }
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(found) + "\n", encoding="utf-8")
