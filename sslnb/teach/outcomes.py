"""What notebook 08 makes of results beyond tables of scores: the open set, negative audio,
curves and examples.

>>> halves = heard_and_unheard(results, ("F",))     # table 4
>>> separability(results, "F")["silence"]           # of each seed
[0.97, 0.96, 0.98]
"""

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

import numpy as np

from sslnb.experiments.measure import classes_of
from sslnb.experiments.packed import pack_columns
from sslnb.experiments.results import Results
from sslnb.teach.experiments import RECIPES
from sslnb.teach.plot.base import table

SOUNDS = ("own", "off-screen", "noise", "silence")


# --- table 4: heard and unheard ---------------------------------------------------------


def heard_and_unheard(
    results: Results, recipes: Sequence[str], draws: str = "01"
) -> Results:
    """Results with the variants "F heard" and "F unheard", and so on, on the set "halves".

    Of each draw of halves there are two runs, one for each half. Each clip is scored by
    the run that heard its class, and by the one that did not. So both scores are of the
    same clips.
    """
    labels = results.labels("halves")
    runs: dict[str, dict[int, Any]] = {}
    for recipe in recipes:
        for k, draw in enumerate(draws):
            a = np.isin(labels, sorted(classes_of(f"{draw}a")))
            halves = [f"{recipe}-{draw}{half}" for half in "ab"]
            for seed in results.seeds(halves):
                first, second = (results.columns(h, "halves", seed) for h in halves)
                for name, at in (("heard", a), ("unheard", ~a)):
                    columns = {n: np.where(at, first[n], second[n]) for n in first}
                    result = {"per_clip": {"halves": pack_columns(columns)}}
                    runs.setdefault(f"{recipe} {name}", {})[10 * seed + k] = result
    return Results(runs, results.clips)


# --- negative audio ---------------------------------------------------------------------


def peaks_with(results: Results, variant: str, seed: int) -> dict[str, np.ndarray]:
    """How high the maps of a run peak with each of SOUNDS: {sound: (N,)}."""
    columns = results.columns(variant, "test", seed)
    return {sound: columns[f"activation {sound}"] for sound in SOUNDS}


def separability(results: Results, variant: str) -> dict[str, list[float]]:
    """How well one threshold on the maximum tells the own sound from each other one.

    The area under the ROC curve of each seed: the probability that a map with its own
    sound peaks higher than any map with the other one; 0.5 is chance.
    """
    found: dict[str, list[float]] = {sound: [] for sound in SOUNDS[1:]}
    for seed in results.seeds([variant]):
        peaks = peaks_with(results, variant, seed)
        for sound, values in found.items():
            gap = peaks["own"][:, None] - peaks[sound]
            values.append(float(((gap > 0) + 0.5 * (gap == 0)).mean()))
    return found


def separability_table(results: Results, variants: Sequence[str]) -> str:
    """`separability` of variants, and how much of the image each sound marks, per cent.

    A map is marked where it is above one threshold for the whole set, the median of the
    own sounds' medians.
    """
    rows = []
    for variant in variants:
        areas = separability(results, variant)
        marked = [
            mean(
                float(results.columns(variant, "test", seed)[f"marked {sound}"].mean())
                for seed in results.seeds([variant])
            )
            for sound in SOUNDS
        ]
        rows.append(
            [
                RECIPES.get(variant, variant),
                *(
                    f"{mean(each):.2f} ({min(each):.2f} to {max(each):.2f})"
                    for each in areas.values()
                ),
                *(f"{100 * area:.0f}" for area in marked),
            ]
        )
    against = [f"own against {sound}" for sound in SOUNDS[1:]]
    return table(["", *against, *(f"marked, {sound}" for sound in SOUNDS)], rows)


# --- curves -----------------------------------------------------------------------------


def curves(
    results: Results, variants: Mapping[str, str], metric: str = "val_AUC"
) -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    """{name: (epochs, values in per cent) of each seed} of variants {name: variant}."""
    found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for name, variant in variants.items():
        found[name] = []
        for seed in results.seeds([variant]):
            history = results.runs[variant][seed]["history"]
            known = [k for k, value in enumerate(history[metric]) if value is not None]
            epochs = np.array([history["epoch"][k] for k in known])
            found[name].append(
                (epochs, 100 * np.array([history[metric][k] for k in known]))
            )
    return found


def falls(
    found: Mapping[str, Sequence[tuple[np.ndarray, np.ndarray]]],
) -> dict[str, list[float]]:
    """By how many points each run falls from its best epoch to its last: {name: seeds}."""
    return {
        name: [float(values.max() - values[-1]) for _, values in seeds]
        for name, seeds in found.items()
    }


# --- examples ---------------------------------------------------------------------------


def examples(
    results: Results,
    variant: str,
    where: str = "unseen",
    seed: int = 0,
    quantiles: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0),
) -> list[int]:
    """Clips at quantiles of a run's cIoU, of those whose maps are kept: failures too."""
    columns = results.columns(variant, where, seed)
    kept = len(columns["maps"])
    order = np.argsort(columns["ciou"][:kept], kind="stable")
    return [int(order[round(q * (kept - 1))]) for q in quantiles]
