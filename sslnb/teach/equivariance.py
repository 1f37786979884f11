"""Transforms, cells and a table of notebook 04, as its cells use them.

>>> theta = transform(8, degrees=30)              # one rotation for eight images
>>> inside_of(theta)                              # cells without out-of-frame content
"""

from collections.abc import Mapping

import pandas as pd
import torch
from torch import Tensor

from sslnb import augment

DIGITS = {"L_geo": 4, "standard deviation": 3, "e(T)": 2, "AUC": 3}
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
    """theta (count, 2, 3), as `augment.warp` takes it: one transform for all images.

    side: of the part that is seen, in frames; x and y: its centre, in [-1, 1]; flip −1
    mirrors.
    """
    shift = torch.tensor([[float(x), float(y)]])
    angle = torch.deg2rad(torch.tensor([float(degrees)]))
    sides, flips = torch.tensor([float(side)]), torch.tensor([float(flip)])
    return augment.affine(sides, shift, angle, flips).expand(count, 2, 3)


def inside_of(theta: Tensor, height: int = 12, width: int = 12) -> Tensor:
    """Cells (B, h, w) of bool that show nothing from outside of the frame."""
    return augment.warp(torch.ones(len(theta), height, width), theta) > 0.999


def comparison(
    start: Mapping[str, float], results: Mapping[str, pd.DataFrame]
) -> pd.DataFrame:
    """Our measures of each weight λ, means over seeds, beside the paper's E and F.

    start: the measures before training; results {"λ = 2": a row a seed, …}, with the
    measures of DIGITS as columns.
    """
    rows = {"at the start": start} | {
        name: runs.mean() for name, runs in results.items()
    }
    table = pd.DataFrame(rows, list(DIGITS)).T
    for name, digits in DIGITS.items():
        table[name] = table[name].map(f"{{:.{digits}f}}".format)
    paper = [PAPER.get(name, ("", "")) for name in rows]
    table["paper: cIoU"], table["paper: AUC"] = zip(*paper)
    return table
