"""One run of the grid: train, measure, and write its result (notebook 08).

>>> make(read_grid().select(["F-0"])[0])        # data/experiments/runs/F-0.json
True

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
from sslnb.experiments.packed import pack_columns, unpack_columns
from sslnb.files import ROOT, atomic_write, locked, remove_leftovers
from sslnb.model import SoundLocaliser
from sslnb.training.checkpoint import history_in
from sslnb.training.clips import load_training
from sslnb.training.folder import files_of_run, run_folder, states
from sslnb.training.loop import train
from sslnb.training.state import network

WORK = ROOT / "runs" / "experiments"  # where runs train: checkpoints and states
CLIPS = FOLDER / "clips.json"
PACKAGES = ("sslnb", "torch", "numpy")


def make(
    run: Run,
    results: Path = RUNS,
    work: Path = WORK,
    progress: Callable = lambda batches: batches,
) -> bool:
    """Make a run, and write its result; False where it was done already.

    results: folder of the results; work: folder of the checkpoints. `progress` wraps an
    epoch's batches. BlockingIOError where another process makes this run; errors of
    `training.loop.train`.
    """
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
    packed = {name: pack_columns(each) for name, each in columns.items()}
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
        "metrics": {
            name: scores(unpack_columns(each)) for name, each in packed.items()
        },
        "per_clip": packed,
    }


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
    return history_in(folder)


def scores(columns: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Scores of a model on a set, from what each clip adds: fractions, or errors."""
    return {
        name: round(float(values.mean() / over.mean()), 4)
        for name, (values, over) in measure.contributions(columns).items()
    }


def provenance() -> dict[str, Any]:
    """The commit, versions and machine that make a run."""
    return {
        "commit": commit(),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in PACKAGES},
        "machine": machine(),
        "threads": torch.get_num_threads(),
    }


def commit() -> str | None:
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


def write_clips(path: Path = CLIPS) -> None:
    """Write the clips that all runs are measured on, with the guesses without a model."""
    found = {}
    for name in measure.SETS:
        clips = measure.clips_of(name)
        found[name] = {
            "names": clips.names,
            "labels": clips.labels,
            "photos": clips.photos,
            "recordings": clips.recordings,
            "guesses": {
                what: pack_columns(measure.guess(name, what))
                for what in measure.GUESSES
            },
        }
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(found) + "\n", encoding="utf-8")
