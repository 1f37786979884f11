"""Table 1 on SoundStamps: the models A to F, trained alike, and what each scores.

    sslnb bench table_1                 # two CPU cores: half an hour a seed
    sslnb bench table_1 --seeds 0 1

Adds a line for each model and seed to data/table_1.jsonl, which notebook 05 shows:
scores on `test` and `unseen`, and the metrics of every epoch (figure 6). What has a
line is not trained again.
"""

import argparse
import json
from dataclasses import asdict
from datetime import date
from pathlib import Path

import torch
from tqdm import tqdm

from benchmarks.ledger import ROOT, machine, rows
from sslnb import localise
from sslnb.data import load_scenes
from sslnb.files import DATA
from sslnb.model import SoundLocaliser
from sslnb.training.checkpoint import states
from sslnb.training.clips import load_training
from sslnb.training.loop import train
from sslnb.training.recipe import SCENES, TABLE_1, TrainConfig

TABLE = DATA / "table_1.jsonl"
SCORED = 300  # scenes of each split, as in notebook 06
KEPT = ("cIoU", "AUC", "pointing", "peak")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", default=list(TABLE_1), choices=TABLE_1)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument(
        "--out",
        type=Path,
        default=ROOT / "runs" / "table_1",
        help="folder of the runs: those that were stopped go on",
    )
    options = parser.parse_args()
    clips, val = load_training(progress=tqdm)
    tests = {split: load_scenes(split, SCORED) for split in ("test", "unseen")}
    for seed in options.seeds:
        for name in options.models:
            if any((row["model"], row["seed"]) == (name, seed) for row in rows(TABLE)):
                continue
            config, folder = (
                TrainConfig.from_preset("laptop", model=name, seed=seed),
                options.out,
            )
            folder = folder / (name if seed == 0 else f"{name}-{seed}")
            for metrics in train(config, clips, val, folder, bool(states(folder))):
                print(
                    f"{folder.name} epoch {metrics['epoch']}: "
                    f"loss {metrics['loss']:.3f}, AUC {metrics['val_AUC']:.3f}, "
                    f"{metrics['seconds']:.0f} s",
                    flush=True,
                )
            model = SoundLocaliser.load(folder)
            scores = {
                split: localise.score(localise.respond_to(model, many), many)
                for split, many in tests.items()
            }
            row = {
                "model": name,
                "seed": seed,
                "clips": SCENES,
                "scored": SCORED,
                "day": date.today().isoformat(),
                "machine": machine(),
                "torch": torch.__version__,
                "config": asdict(config),
                "scores": {
                    split: {key: round(found[key], 4) for key in KEPT}
                    for split, found in scores.items()
                },
                "history": [
                    {key: float(f"{value:.4g}") for key, value in metrics.items()}
                    for metrics in rows(folder / "metrics.jsonl")
                ],
            }
            with open(TABLE, "a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            print(f"{name}, seed {seed}: {row['scores']}", flush=True)


if __name__ == "__main__":
    main()
