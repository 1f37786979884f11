"""What seeds say of a step, and runs of one's own (notebook 05).

>>> step_errors(torch.tensor([[30.0, 31.0, 35.0], [32.0, 34.0, 36.0]]))
tensor([[2.0000, 0.5774]])                      # from three seeds each
>>> measured(runs_in("runs/table_1"))           # {"A": {"test": {"AUC": 0.32, …}, …}}
"""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from scipy.special import stdtrit
from torch import Tensor

from sslnb.experiments.measure import measure
from sslnb.experiments.run import scores
from sslnb.model import SoundLocaliser
from sslnb.teach.ablation import SPLITS


def step_errors(scores: Tensor) -> Tensor:
    """Scores (M, S) of M models to (M − 1, 2): each step, and its standard error.

    A step is a model's score less that of the model before, from the same seed; its
    mean over S seeds has an error of 1 / √S of the spread of these differences.
    """
    steps = scores.diff(dim=0)  # (M - 1, S)
    error = steps.std(1, correction=1) / scores.shape[1] ** 0.5
    return torch.stack([steps.mean(1), error], 1)


def margins(scores: Tensor) -> list[tuple[float, float]]:
    """Scores (M, S) to each of M − 1 steps and half its 95 % interval (Student's t)."""
    factor = float(stdtrit(scores.shape[1] - 1, 0.975))
    return [(value, factor * error) for value, error in step_errors(scores).tolist()]


def runs_in(folder: str | Path) -> dict[str, Path]:
    """{model: its folder} of runs that lie in `folder` under the names A to F.

    ValueError where a run is of another model than its folder's name says.
    """
    found = {path.parent.name: path for path in Path(folder).glob("[A-F]/model.json")}
    for name, path in found.items():
        model = json.loads(path.read_text(encoding="utf-8"))["training"]["model"]
        if model != name:
            raise ValueError(f"{path.parent} is of model {model}, not of {name}")
    return {name: found[name].parent for name in sorted(found)}


def measured(folders: Mapping[str, Path]) -> dict[str, dict[str, dict[str, float]]]:
    """{model: {set: {score: value}}} of runs in folders, on the clips of the grid."""
    return {
        name: {
            where: scores(measure(SoundLocaliser.load(folder), where))
            for where in SPLITS
        }
        for name, folder in folders.items()
    }
