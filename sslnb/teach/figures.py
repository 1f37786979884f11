"""The README's figures, drawn of results: SVGs that are the same whenever they are drawn.

>>> table_1(read_results())             # data/table_1.svg: `sslnb experiments --figures`
>>> weights(trial(read_results()))      # data/equivariance.svg: `sslnb bench equivariance`
"""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from sslnb.experiments.results import Results
from sslnb.files import DATA
from sslnb.teach import ablation, plot
from sslnb.teach.equivariance import USUAL
from sslnb.training.recipe import TABLE_1

TABLE_1_SVG, WEIGHTS_SVG = DATA / "table_1.svg", DATA / "equivariance.svg"
MEASURES = {  # column -> title
    "AUC": "localisation: AUC in %",
    "e_app": "invariance: error $e_{app}$",
    "e_geo": "equivariance: error $e_{geo}$",
}


def table_1(results: Results, path: Path = TABLE_1_SVG):
    """AUC, e_app and e_geo of the models A to F: a dot a run, a line through the means."""
    found = ablation.runs(results)
    names = [f"{model}\n{added}" for model, added in zip(TABLE_1, ablation.ADDED)]
    found["model"] = found["model"].map(dict(zip(TABLE_1, names)))
    save(plot.over_setting(found, "model", "split", MEASURES, "model"), path)


def weights(trial: pd.DataFrame, path: Path = WEIGHTS_SVG):
    """AUC, e_app and e_geo over λ_geo; trial: of `teach.equivariance.trial`."""
    usual = trial[trial["variant"] == USUAL].assign(AUC=100 * trial["AUC"])
    figure = plot.over_setting(usual, "weight", "split", MEASURES, "$λ_{geo}$")
    save(figure, path)


def save(figure: Figure, path: Path):
    """Write a figure as an SVG without its date, with names that do not change."""
    with plt.rc_context({"svg.hashsalt": path.name}):
        figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
