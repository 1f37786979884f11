"""Table 1 on SoundStamps: the models A to F in the regime of few clips, seen often.

    sslnb bench table_1                 # two CPU cores: twenty minutes a seed
    sslnb bench table_1 --seeds 0 1 2
    sslnb bench table_1 --models A F --seeds 0 1 --clips 125    # data efficiency

Adds a line for each model and seed to data/table_1.jsonl, which notebooks show: on each
split the scores, e_app and e_geo (sslnb/consistency.py), and the metrics of every epoch
(figure 6). Runs on fewer clips, as often seen, have theirs in data/efficiency.jsonl. What
has a line is not trained again. Draws the README's figure, data/table_1.svg.
"""

import argparse
import json
from dataclasses import asdict
from datetime import date
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from tqdm import tqdm

from benchmarks.ledger import ROOT, machine, rows
from sslnb.data import Clips, load_scenes
from sslnb.files import DATA
from sslnb.model import PRESETS, SoundLocaliser
from sslnb.teach import ablation, plot
from sslnb.training.checkpoint import states
from sslnb.training.clips import heard_in, load_training
from sslnb.training.loop import train
from sslnb.training.recipe import REGIMES, TABLE_1, TrainConfig

TABLE = DATA / "table_1.jsonl"
FIGURE = DATA / "table_1.svg"
EFFICIENCY = DATA / "efficiency.jsonl"
RUNS = ROOT / "runs" / "table_1"
ALL = REGIMES["clips"]["clips"]
SCORED = 300  # scenes of each split, as in notebook 06
SPLITS = ("test", "unseen", "open", "wild")
MEASURES = {  # of the README's figures: column -> title
    "AUC": "localisation: AUC in %",
    "e_app": "invariance: error $e_{app}$",
    "e_geo T_geo": "equivariance: error $e_{geo}$",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", default=list(TABLE_1), choices=TABLE_1)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument(
        "--out",
        type=Path,
        default=RUNS,
        help="folder of the runs: those that were stopped go on",
    )
    parser.add_argument("--clips", type=int, nargs="+", default=[ALL])
    options = parser.parse_args()
    for seed, name, count in product(options.seeds, options.models, options.clips):
        config = TrainConfig.from_preset(
            "laptop", regime="clips", model=name, seed=seed
        )
        table, folder = TABLE, f"{name}-{seed}"
        if count != ALL:
            table, folder = EFFICIENCY, f"{folder}-{count}"
        add_row(table, options.out / folder, config, count)
    draw(FIGURE)


def draw(path: Path):
    """AUC, e_app and e_geo of A to F, as an SVG that is the same whenever it is drawn."""
    found = ablation.runs(rows(TABLE))
    names = [f"{model}\n{added}" for model, added in zip(TABLE_1, ablation.ADDED)]
    found["model"] = found["model"].map(dict(zip(TABLE_1, names)))
    save(plot.over_setting(found, "model", "split", MEASURES, "model"), path)


def save(figure: Figure, path: Path):
    """The figure as an SVG without its date and with names that do not change."""
    with plt.rc_context({"svg.hashsalt": path.name}):
        figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def add_row(table: Path, folder: Path, config: TrainConfig, count: int, **facts: Any):
    """Train a model on `count` clips, and add what it scores to a table, with `facts`.

    What the table has already is not trained again; a run that was stopped goes on.
    """
    settings = json.loads(json.dumps(asdict(config)))
    wanted = {"clips": count, "config": settings, **facts}
    if any(wanted.items() <= row.items() for row in rows(table)):
        return
    clips, val = load_training(
        config.preset, count, regime=config.regime, progress=tqdm
    )
    for metrics in train(config, clips, val, folder, bool(states(folder))):
        print(
            f"{folder.name} epoch {metrics['epoch']}: loss {metrics['loss']:.3f}, "
            f"AUC {metrics['val_AUC']:.3f}, {metrics['seconds']:.0f} s",
            flush=True,
        )
    model = SoundLocaliser.load(folder)
    size = PRESETS[config.preset].image_size
    scores = {
        split: measured(model, scored(split, config.regime, size)) for split in SPLITS
    }
    row = {
        "model": config.model,
        "seed": config.seed,
        "scored": SCORED,
        "day": date.today().isoformat(),
        "machine": machine(),
        "torch": torch.__version__,
        **wanted,
        "scores": scores,
        "history": [
            {key: float(f"{value:.4g}") for key, value in metrics.items()}
            for metrics in rows(folder / "metrics.jsonl")
        ],
    }
    with open(table, "a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    print(f"{folder.name}: {scores}", flush=True)


def scored(split: str, regime: str, size: int = 96) -> Clips:
    """What a model of a regime is scored on: of the classes that it was trained on."""
    count = None if split == "wild" else SCORED
    only = None if split == "open" else heard_in(regime)
    return load_scenes(split, count, size, only=only)


def measured(model: SoundLocaliser, clips: Clips) -> dict[str, float]:
    """What a row has of a model on the clips of a split, rounded."""
    found = ablation.measured(model, clips)
    return {key: round(value, 4) for key, value in found.items()}


if __name__ == "__main__":
    main()
