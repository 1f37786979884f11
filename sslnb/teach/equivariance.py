"""Transforms and a table of notebook 04, as its cells use them.

>>> theta = transform(8, degrees=30)              # one rotation for eight images
"""

import math
from collections.abc import Mapping, Sequence

import pandas as pd
from torch import Tensor

from sslnb import augment

DIGITS = {"L_geo": 4, "standard deviation": 3, "T_geo": 2, "AUC": 3}
USUAL = "as usual"  # the variant of benchmarks/equivariance.py that changes nothing
PAPER = {  # cIoU and AUC in the paper's table 1, as printed
    "λ = 0": ("0.3766 (E)", "0.3937 (E)"),
    "λ = 2": ("0.3863 (F)", "0.3965 (F)"),
}


def transform(
    count: int,
    side: float = 1.0,
    x: float = 0.0,
    y: float = 0.0,
    degrees: float = 0.0,
    flip: float = 1.0,
) -> Tensor:
    """`augment.fixed_affine` for all of `count` images: theta (count, 2, 3)."""
    return augment.fixed_affine(side, x, y, degrees, flip).expand(count, 2, 3)


def comparison(results: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Our measures, means over seeds, beside the paper's E and F.

    results {"untrained" | "λ = 2" | …: a row a seed}, with the measures of DIGITS among
    their columns.
    """
    rows = {name: runs.mean() for name, runs in results.items()}
    table = pd.DataFrame(rows, list(DIGITS)).T
    for name, digits in DIGITS.items():
        table[name] = table[name].map(f"{{:.{digits}f}}".format)
    paper = [PAPER.get(name, ("", "")) for name in rows]
    table["paper: cIoU"], table["paper: AUC"] = zip(*paper)
    return table.rename(columns={"T_geo": "e(T_geo)"})


def apart(
    one: pd.DataFrame, two: pd.DataFrame, names: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Which measures are lower in every seed of `two` than in every one of `one`, and
    which are higher in every seed; a row a seed each."""
    lower = [name for name in names if two[name].max() < one[name].min()]
    higher = [name for name in names if two[name].min() > one[name].max()]
    return lower, higher


def verdict(
    without: pd.DataFrame, with_loss: pd.DataFrame, names: Sequence[str]
) -> str:
    """Sentences, in Markdown: does the loss change e(T) more than another seed does?

    A row a seed each, and a column for each measure of DIGITS and each transform of
    `names`; the rows of the two belong together.
    """
    seeds, base = len(without), without["T_geo"]
    lower, higher = apart(without, with_loss, names)
    chance = 2 / math.comb(2 * seeds, seeds)  # all of one group below the other
    expected = chance * len(names)
    effect = (
        "no effect of the loss on e(T) beyond that of the seeds"
        if len(lower) + len(higher) <= expected
        else "an effect of the loss on e(T) for these transforms"
    )

    def change(name: str) -> str:
        low, high = (with_loss[name] - without[name]).agg(["min", "max"])
        return f"**{low:+.2f} to {high:+.2f}**"

    return (
        f"With the same seed, the loss changes e(T_geo) by {change('T_geo')}, the "
        f"standard deviation by {change('standard deviation')} and AUC by "
        f"{change('AUC')}. Without it, seeds differ by up to "
        f"**{base.max() - base.min():.2f}** in e(T_geo). Lower in every seed with the "
        f"loss than in any without it: **{', '.join(lower) or 'no transform'}**; higher: "
        f"**{', '.join(higher) or 'no transform'}**, of {len(names)}. Chance alone would "
        f"set about {expected:.0f} of {len(names)} apart. **So this trial shows "
        f"{effect}.**"
    )


# --- a fair trial of the loss: data/equivariance.jsonl and data/table_1.jsonl ---------


def trial(table_1: Sequence[Mapping], equivariance: Sequence[Mapping]) -> pd.DataFrame:
    """A row for each run and split: variant, weight, seed, split, and its scores.

    Rows are those that `sslnb bench table_1` and `sslnb bench equivariance` made. Of the
    first, model E is the usual model with λ_geo = 0, and model F that with 2.
    """
    usual = [
        {**row, "variant": USUAL, "weight": 0.0 if row["model"] == "E" else 2.0}
        for row in table_1
        if row["model"] in "EF"
    ]
    others = [{**row, "weight": row["config"]["geo_weight"]} for row in equivariance]
    return pd.DataFrame(
        [
            {key: row[key] for key in ("variant", "weight", "seed")}
            | {"split": split}
            | scores
            for row in usual + others
            for split, scores in row["scores"].items()
        ]
    )
