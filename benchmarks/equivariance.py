"""A fair trial of L_geo: what it brings, by its weight and by what else may matter.

    sslnb bench equivariance                      # two CPU cores: two hours
    sslnb bench equivariance --variants "64 pixels" --geo-weights 0 20 --seeds 0 1
    sslnb bench equivariance --variants             # draw only

Model F in the regime of few clips, seen often, at several λ_geo; then again with one
thing changed: depth (and so the receptive field), grid, image size, angle, number of
clips. Adds a line a run to data/equivariance.jsonl, in the form of data/table_1.jsonl.
The usual model with λ_geo 0 and 2 is in table 1 already, as E and F. Draws the README's
figure of all of them, data/equivariance.svg.
"""

import argparse
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

from benchmarks.ledger import ROOT
from benchmarks.table_1 import add_row
from sslnb.files import DATA
from sslnb.model import PRESETS
from sslnb.teach import plot
from sslnb.teach.equivariance import USUAL, trial
from sslnb.training.recipe import RECIPES, REGIMES, TrainConfig

TABLE = DATA / "equivariance.jsonl"
FIGURE = DATA / "equivariance.svg"
RUNS = ROOT / "runs" / "equivariance"
WEIGHTS = (10.0, 20.0, 100.0)  # and for variants
COUNT, EPOCHS = REGIMES["clips"]["clips"], REGIMES["clips"]["epochs"]
# What is changed: of the model, of the training; and how many clips. A run has as many
# steps as ever.
VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any], int]] = {
    USUAL: ({}, {}, COUNT),
    "the depth of ResNet-18": ({"blocks": (2, 2, 2, 2)}, {}, COUNT),
    "24 × 24 cells": ({"strides": (1, 2, 1, 1)}, {}, COUNT),
    "64 pixels": ({"image_size": 64}, {}, COUNT),
    "128 pixels": ({"image_size": 128}, {}, COUNT),
    "angles up to 10°": ({}, {"rotation": 10.0}, COUNT),
    "angles up to 90°": ({}, {"rotation": 90.0}, COUNT),
    "125 clips": ({}, {"epochs": 4 * EPOCHS}, COUNT // 4),
    "2,000 clips": ({}, {"epochs": EPOCHS // 4}, 4 * COUNT),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS))
    parser.add_argument("--geo-weights", type=float, nargs="+", default=list(WEIGHTS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    options = parser.parse_args()
    for seed, name, weight in product(
        options.seeds, options.variants, options.geo_weights
    ):
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
        folder = RUNS / f"{name}-{weight:g}-{seed}".replace(" ", "_")
        add_row(TABLE, folder, config, count, variant=name)
    draw(FIGURE)


def draw(path: Path):
    """e(T_geo) and AUC over λ_geo, as an SVG that is the same whenever it is drawn."""
    tried = trial()
    measures = {"e_geo T_geo": "equivariance error e($T_{geo}$)", "AUC": "AUC"}
    with plt.rc_context({"svg.hashsalt": path.name}):
        figure = plot.by_weight(tried[tried["variant"] == USUAL], measures)
        figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    main()
