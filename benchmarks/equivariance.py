"""A fair trial of L_geo: what it brings, by its weight and by what else may matter.

    sslnb bench equivariance                      # two CPU cores: an hour
    sslnb bench equivariance --variants "64 pixels" --geo-weights 0 20 --seeds 0 1
    sslnb bench equivariance --variants             # draw only

Model F in the regime of few clips, seen often, at several λ_geo; then again with one
thing changed: depth (and so the receptive field), image size, angle, number of
clips, without the loss and with λ_geo 20. Adds a line a run to data/equivariance.jsonl;
what has a line is not trained again. The usual model with λ_geo 0 and 2 is in the grid
of experiments already, as E and F. Draws the README's figure, data/equivariance.svg.
"""

import argparse
import json
from dataclasses import asdict, replace
from datetime import date
from itertools import product
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.ledger import ROOT, rows
from sslnb import consistency, localise
from sslnb.data import Clips, load_scenes
from sslnb.experiments.measure import COUNT as SCORED
from sslnb.experiments.results import read_results
from sslnb.experiments.run import provenance
from sslnb.model import PRESETS, SoundLocaliser
from sslnb.teach import figures
from sslnb.teach.equivariance import TRIED, USUAL, trial
from sslnb.training.clips import heard_in, load_training
from sslnb.training.folder import states
from sslnb.training.loop import train
from sslnb.training.recipe import RECIPES, REGIMES, TrainConfig

RUNS = ROOT / "runs" / "equivariance"
COUNT, EPOCHS = REGIMES["clips"]["clips"], REGIMES["clips"]["epochs"]
# What is changed: of the model, of the training; and how many clips. A run has as many
# steps as ever.
VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any], int]] = {
    USUAL: ({}, {}, COUNT),
    "the depth of ResNet-18": ({"blocks": (2, 2, 2, 2)}, {}, COUNT),
    "64 pixels": ({"image_size": 64}, {}, COUNT),
    "angles up to 90°": ({}, {"rotation": 90.0}, COUNT),
    "2,000 clips": ({}, {"epochs": EPOCHS // 4}, 4 * COUNT),
}
# λ_geo and seeds of each
GRID: dict[str, tuple[tuple[float, ...], tuple[int, ...]]] = {
    **dict.fromkeys(VARIANTS, ((0.0, 20.0), (0,))),
    USUAL: ((20.0, 100.0), (0, 1)),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS))
    parser.add_argument("--geo-weights", type=float, nargs="+")
    parser.add_argument("--seeds", type=int, nargs="+")
    options = parser.parse_args()
    for name in options.variants:
        weights, seeds = GRID[name]
        for seed, weight in product(
            options.seeds or seeds, options.geo_weights or weights
        ):
            run(name, weight, seed)
    figures.weights(trial(read_results()))


def run(name: str, weight: float, seed: int, table: Path = TRIED, runs: Path = RUNS):
    """Train one variant at one λ_geo from one seed, if the table has it not.

    A run that was stopped goes on. A row holds the settings that there were when it was
    made: a setting that came later has its default.
    """
    model, changes, count = VARIANTS[name]
    preset = "laptop"
    if model:  # a preset of its own, so that a run is resumed and loaded as ever
        preset = f"laptop, {name}"
        PRESETS[preset] = replace(PRESETS["laptop"], **model)
        RECIPES[preset] = {}
    config = TrainConfig.from_preset(
        preset,
        **{"regime": "clips", "epochs": EPOCHS, "seed": seed, **changes},
        geo_weight=weight,
    )
    wanted = json.loads(json.dumps(asdict(config)))
    for row in rows(table):
        same = row["variant"] == name and row["clips"] == count
        if same and row["config"].items() <= wanted.items():
            return
    folder = runs / f"{name}-{weight:g}-{seed}".replace(" ", "_")
    clips, val = load_training(preset, count, regime=config.regime, progress=tqdm)
    for metrics in train(config, clips, val, folder, bool(states(folder))):
        told = ", ".join(f"{key} {value:.3g}" for key, value in metrics.items())
        print(f"{folder.name}: {told}", flush=True)
    trained, size = SoundLocaliser.load(folder), PRESETS[preset].image_size
    row = {
        "model": config.model,
        "seed": seed,
        "scored": SCORED,
        "day": date.today().isoformat(),
        **provenance(),
        "clips": count,
        "config": wanted,
        "variant": name,
        "scores": {
            split: measured(
                trained, load_scenes(split, SCORED, size, only=heard_in(config.regime))
            )
            for split in ("test", "unseen")
        },
        "history": rows(folder / "metrics.jsonl"),
    }
    with open(table, "a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def measured(model: SoundLocaliser, clips: Clips) -> dict[str, float]:
    """What a row has of a model on clips, rounded: fractions, and errors.

    "deviation" is that of a map over its cells; "e_geo …" are of several transforms.
    """
    maps = localise.respond_to(model, clips)
    found = localise.score(maps, clips)
    found["deviation"] = maps.flatten(1).std(1).mean().item()
    found["e_app"] = consistency.invariance(model, clips).error
    changes = consistency.equivariance(model, clips)
    found |= {f"e_geo {name}": change.error for name, change in changes.items()}
    return {key: round(value, 4) for key, value in found.items()}


if __name__ == "__main__":
    main()
