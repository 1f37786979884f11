"""Table 1 on SoundStamps: the models A to F in the regime of few clips, seen often.

    sslnb bench table_1                 # two CPU cores: half an hour a seed
    sslnb bench table_1 --seeds 0 1
    sslnb bench table_1 --models F --geo-weights 0 10 50

Adds a line for each model, λ_geo and seed to data/table_1.jsonl, which notebooks show:
on each split the scores, e_app and e_geo (sslnb/consistency.py), and the metrics of
every epoch (figure 6). What has a line is not trained again.
"""

import argparse
import json
from dataclasses import asdict
from datetime import date
from itertools import product
from pathlib import Path

import torch
from tqdm import tqdm

from benchmarks.ledger import ROOT, machine, rows
from sslnb import localise
from sslnb.consistency import equivariance, invariance
from sslnb.data import load_scenes
from sslnb.files import DATA
from sslnb.model import SoundLocaliser
from sslnb.training.checkpoint import states
from sslnb.training.clips import load_training
from sslnb.training.loop import train
from sslnb.training.recipe import REGIMES, TABLE_1, TrainConfig

TABLE = DATA / "table_1.jsonl"
SCORED = 300  # scenes of each split, as in notebook 06
SPLITS = ("test", "unseen", "open", "wild")
KEPT = ("cIoU", "AUC", "pointing", "peak")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", default=list(TABLE_1), choices=TABLE_1)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--geo-weights", type=float, nargs="+", default=[2.0])
    parser.add_argument(
        "--out",
        type=Path,
        default=ROOT / "runs" / "table_1",
        help="folder of the runs: those that were stopped go on",
    )
    options = parser.parse_args()
    clips, val = load_training(regime="clips", progress=tqdm)
    tests = {
        split: load_scenes(split, None if split == "wild" else SCORED)
        for split in SPLITS
    }
    for seed, weight, name in product(
        options.seeds, options.geo_weights, options.models
    ):
        config = TrainConfig.from_preset(
            "laptop", regime="clips", model=name, seed=seed, geo_weight=weight
        )
        settings = json.loads(json.dumps(asdict(config)))
        if any(row["config"] == settings for row in rows(TABLE)):
            continue
        folder = options.out / f"{name}-{weight:g}-{seed}"
        for metrics in train(config, clips, val, folder, bool(states(folder))):
            print(
                f"{folder.name} epoch {metrics['epoch']}: "
                f"loss {metrics['loss']:.3f}, AUC {metrics['val_AUC']:.3f}, "
                f"{metrics['seconds']:.0f} s",
                flush=True,
            )
        model = SoundLocaliser.load(folder)
        row = {
            "model": name,
            "seed": seed,
            "clips": REGIMES["clips"]["clips"],
            "scored": SCORED,
            "day": date.today().isoformat(),
            "machine": machine(),
            "torch": torch.__version__,
            "config": settings,
            "scores": {split: measured(model, many) for split, many in tests.items()},
            "history": [
                {key: float(f"{value:.4g}") for key, value in metrics.items()}
                for metrics in rows(folder / "metrics.jsonl")
            ],
        }
        with open(TABLE, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(f"{folder.name}: {row['scores']}", flush=True)


def measured(model, clips):
    """Localisation, and how far maps are from invariance and equivariance."""
    found = localise.score(localise.respond_to(model, clips), clips)
    found["e_app"] = invariance(model, clips).error
    for name, change in equivariance(model, clips).items():
        found[f"e_geo {name}"] = change.error
    return {key: round(value, 4) for key, value in found.items()}


if __name__ == "__main__":
    main()
