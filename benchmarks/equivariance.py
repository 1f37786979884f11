"""A fair trial of L_geo: what it brings, by its weight and by what else may matter.

    sslnb bench equivariance                      # two CPU cores: an hour
    sslnb bench equivariance --variants "64 pixels" --geo-weights 0 20 --seeds 0 1
    sslnb bench equivariance --variants             # draw only

Model F in the regime of few clips, seen often, at several λ_geo; then again with one
thing changed: depth (and so the receptive field), image size, angle, number of
clips, without the loss and with λ_geo 20. Adds a line a run to data/equivariance.jsonl,
in the form of data/table_1.jsonl. The usual model with λ_geo 0 and 2 is in table 1
already, as E and F. Draws the README's figure of λ_geo, data/equivariance.svg.
"""

import argparse
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.ledger import ROOT
from benchmarks.table_1 import MEASURES, add_row, save
from sslnb.files import DATA
from sslnb.model import PRESETS
from sslnb.teach import plot
from sslnb.teach.equivariance import USUAL, trial
from sslnb.training.recipe import RECIPES, REGIMES, TrainConfig

TABLE = DATA / "equivariance.jsonl"
FIGURE = DATA / "equivariance.svg"
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
    draw(FIGURE)


def run(name: str, weight: float, seed: int):
    """Train one variant at one λ_geo from one seed, if the table has it not."""
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


def draw(path: Path):
    """AUC, e_app and e_geo over λ_geo, as an SVG that is the same whenever it is drawn."""
    tried = trial()
    usual = tried[tried["variant"] == USUAL].assign(AUC=100 * tried["AUC"])
    figure = plot.over_setting(usual, "weight", "split", MEASURES, "$λ_{geo}$")
    save(figure, path)


if __name__ == "__main__":
    main()
