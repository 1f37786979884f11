"""Transforms and cells of notebook 04, as its cells use them.

>>> theta = transform(8, degrees=30)              # one rotation for eight images
>>> inside_of(theta)                              # cells without out-of-frame content
"""

import torch
from torch import Tensor

from sslnb import augment
from sslnb.data.media import MEAN, STD


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


def denormalise(image: Tensor) -> Tensor:
    """A normalised image (3, S, S) with values in [0, 1] again."""
    std, mean = torch.tensor(STD), torch.tensor(MEAN)
    return (image * std[:, None, None] + mean[:, None, None]).clamp(0, 1)


def inside_of(theta: Tensor, height: int = 12, width: int = 12) -> Tensor:
    """Cells (B, h, w) of bool that show nothing from outside of the frame."""
    return augment.warp(torch.ones(len(theta), height, width), theta) > 0.999
