"""The exercise of notebook 04: the loss between a warped map and another, in frame."""

import torch

from sslnb import augment
from sslnb.losses import equivariance_loss
from sslnb.teach.exercises.exercise import Exercise, uniform


def _equivariance_inputs():
    """Maps under T_geo; under a rotation and a shift; with every cell out of frame."""
    theta = augment.Geometric().draw(4, torch.Generator().manual_seed(0))
    rotation = torch.tensor([[[0.9, -0.3, 0.2], [0.3, 0.9, 0.1]]])
    far_away = torch.tensor([[[1.0, 0, 9], [0, 1, 9]]])
    return [
        (4 * uniform(len(t), 8, 8), 4 * uniform(len(t), 8, 8, seed=1), t)
        for t in (torch.cat([theta, rotation]), rotation, far_away)
    ]


def _equivariance_variant(map_1, map_2, theta, reduce=None, threshold=1 - 1e-3):
    """Eq. 10 with another reduction, or another choice of the cells that count."""
    in_frame = augment.warp(torch.ones_like(map_1), theta) > threshold
    squares = (map_2 - augment.warp(map_1, theta)).square() * in_frame
    return reduce(squares) if reduce else squares.sum() / in_frame.sum().clamp(min=1)


def _inverse(theta):
    last = torch.tensor([0.0, 0, 1]).expand(len(theta), 1, 3)
    return torch.cat([theta, last], 1).inverse()[:, :2]


EXERCISES = {
    "equivariance_loss": Exercise(
        equivariance_loss,
        _equivariance_inputs,
        {
            "that counts the border; leave out-of-frame cells out": lambda a, b, t: (
                _equivariance_variant(a, b, t, threshold=-1)
            ),
            "cells that are only partly out of frame do not count either": lambda a, b, t: (
                _equivariance_variant(a, b, t, threshold=0)
            ),
            "out-of-frame cells are 0 but still counted; divide by the cells in frame": lambda a, b, t: (
                _equivariance_variant(a, b, t, torch.mean)
            ),
            "that is the sum; divide by the number of cells in frame": lambda a, b, t: (
                _equivariance_variant(a, b, t, torch.sum)
            ),
            "theta transformed branch 2's image: warp response_1, leave response_2": lambda a, b, t: (
                _equivariance_variant(b, a, t)
            ),
            "that warps with the inverse; theta already maps output to input": lambda a, b, t: (
                _equivariance_variant(a, b, _inverse(t))
            ),
        },
    )
}
