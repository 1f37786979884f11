"""Exercises of notebook 04: quarter turns, the loss, where errors lie, and two cures."""

import torch
import torch.nn.functional as F

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


def _quarter_turn(response):
    """A rotation by 90° as `augment.warp` does it, of square maps (B, n, n)."""
    theta = augment.fixed_affine(degrees=90).expand(len(response), 2, 3)
    return augment.warp(response, theta)


def strided(images):
    """Maps (B, h / 2, w / 2) of images (B, 3, h, w): a network of one layer, stride 2."""
    weight = uniform(4, 3, 3, 3, seed=20) - 0.4
    return F.conv2d(images, weight, stride=2, padding=1).relu().mean(1)


def _ring_inputs():
    """Shifts by whole cells; rotations and other shifts; a map that leaves the frame."""
    rotation = augment.fixed_affine(degrees=25, side=0.9)
    thetas = (
        augment.fixed_affine(x=0.25),
        torch.cat([rotation, augment.fixed_affine(y=-0.5), rotation]),
        augment.fixed_affine(x=1.7),
    )
    return [(strided, uniform(len(t), 3, 16, 16, seed=21), t) for t in thetas]


def _rings(height, width):
    """(rings, h, w): 1 where a cell is so many cells from the frame, else 0."""
    y, x = torch.arange(height)[:, None], torch.arange(width)
    rows, columns = torch.minimum(y, height - 1 - y), torch.minimum(x, width - 1 - x)
    return F.one_hot(torch.minimum(rows, columns)).permute(2, 0, 1).float()


def _error_by_ring(phi, images, theta, everywhere=False, by_all=False, scale=None):
    """e(T) of each ring; variants for mistakes: which cells count, and what is divided by."""
    map_1, map_2 = phi(images), phi(augment.warp(images, theta))
    shape = map_1.shape[1:]
    inside = augment.in_frame(theta, *shape).float()
    if everywhere:
        inside = torch.ones_like(inside)
    squares = (map_2 - augment.warp(map_1, theta)).square() * inside  # (B, h, w)
    rings = _rings(*shape)
    total = torch.einsum("bhw,khw->k", squares, rings)
    counted = torch.ones_like(inside) if by_all else inside
    count = torch.einsum("bhw,khw->k", counted, rings).clamp(min=1)
    below = map_1 if scale is None else scale(map_1, map_2)
    variance = below.var((1, 2), correction=0).mean() if below.ndim == 3 else below
    return total / count / variance


def _blur_pool(x, stride, kernel=(1.0, 2, 1), mode="reflect", total=None):
    """A depthwise blur, and every `stride`-th of its values."""
    triangle = torch.tensor(kernel)
    weight = triangle.outer(triangle)
    weight = (weight / (total or weight.sum())).expand(x.shape[1], 1, 3, 3)
    return F.conv2d(
        F.pad(x, [1] * 4, mode=mode), weight, stride=stride, groups=x.shape[1]
    )


GROUP = [(quarters, flip) for flip in (False, True) for quarters in range(4)]


def _forth(x, quarters, flip):
    """A reflection, if any, and then quarter turns, of the last two axes."""
    return (x.flip(-1) if flip else x).rot90(quarters, (-2, -1))


def _back(x, quarters, flip):
    x = x.rot90(-quarters, (-2, -1))
    return x.flip(-1) if flip else x


def _group_average(phi, images, group=GROUP, back=_back):
    """The mean of back(phi(forth(images))) over a group of rotations and reflections."""
    maps = [back(phi(_forth(images, *g)), *g) for g in group]
    return torch.stack(maps).mean(0)


EXERCISES = {
    "quarter_turn": Exercise(
        _quarter_turn,
        lambda: [(uniform(2, 5, 5, seed=22),), (uniform(1, 4, 4, seed=23),)],
        {
            "that is the other way round: a positive angle rotates anticlockwise": lambda s: (
                s.rot90(-1, (1, 2))
            ),
            "that transposes: a rotation also reverses one axis": lambda s: s.transpose(
                1, 2
            ),
            "that is a half turn": lambda s: s.flip((1, 2)),
            "that mirrors left and right": lambda s: s.flip(2),
            "that mirrors top and bottom": lambda s: s.flip(1),
        },
    ),
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
    ),
    "error_by_ring": Exercise(
        _error_by_ring,
        _ring_inputs,
        {
            "out-of-frame cells are in; leave them out": lambda phi, x, t: (
                _error_by_ring(phi, x, t, everywhere=True)
            ),
            "divide by the ring's cells that count, not by all of its cells": lambda phi, x, t: (
                _error_by_ring(phi, x, t, by_all=True)
            ),
            "divide by the mean variance of the maps": lambda phi, x, t: _error_by_ring(
                phi, x, t, scale=lambda one, two: torch.tensor(1.0)
            ),
            "below is the variance of Φ(I), not that of Φ(T(I))": lambda phi, x, t: (
                _error_by_ring(phi, x, t, scale=lambda one, two: two)
            ),
            "divide by the variance, not by the standard deviation": lambda phi, x, t: (
                _error_by_ring(
                    phi,
                    x,
                    t,
                    scale=lambda one, two: one.var((1, 2), correction=0).mean().sqrt(),
                )
            ),
            "the first ring is the border, the last one the middle": lambda phi, x, t: (
                _error_by_ring(phi, x, t).flip(0)
            ),
        },
    ),
    "blur_pool": Exercise(
        _blur_pool,
        lambda: [(uniform(2, 3, 8, 8, seed=24), 2), (uniform(1, 4, 9, 12, seed=25), 3)],
        {
            "that is the stride without the blur": lambda x, k: x[..., ::k, ::k],
            "that pads with zeros, which darkens the border; reflect": lambda x, k: (
                _blur_pool(x, k, mode="constant")
            ),
            "the weights must sum to 1: divide the kernel by 16": lambda x, k: (
                _blur_pool(x, k, total=1)
            ),
            "that is a box; the kernel is [1, 2, 1] in both directions": lambda x, k: (
                _blur_pool(x, k, kernel=(1.0, 1, 1))
            ),
            "blur before taking every k-th value; afterwards it is too late": lambda x, k: (
                _blur_pool(x[..., ::k, ::k], 1)
            ),
        },
    ),
    "group_average": Exercise(
        _group_average,
        lambda: [
            (strided, uniform(2, 3, 16, 16, seed=26)),
            (strided, uniform(1, 3, 8, 8, seed=27)),
        ],
        {
            "transform every map back before you average": lambda phi, x: (
                _group_average(phi, x, back=lambda m, *g: m)
            ),
            "go back by the inverse: a quarter turn to the left is undone to the right": lambda phi, x: (
                _group_average(phi, x, back=_forth)
            ),
            "undo the last step first: turn back, then reflect": lambda phi, x: (
                _group_average(phi, x, back=lambda m, q, flip: _forth(m, -q % 4, flip))
            ),
            "those are the four rotations; average over their reflections, too": lambda phi, x: (
                _group_average(phi, x, GROUP[:4])
            ),
            "that transforms the map of one image; transform the image, and ask phi again": lambda phi, x: (
                torch.stack([_forth(phi(x), *g) for g in GROUP]).mean(0)
            ),
            "that is the sum; divide by the number of transforms": lambda phi, x: (
                8 * _group_average(phi, x)
            ),
        },
    ),
}
