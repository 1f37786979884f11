"""Exercises of notebook 02: the matrix of a geometric transform, similar clips."""

import torch
import torch.nn.functional as F

from sslnb import augment
from sslnb.teach.exercises.exercise import Exercise, uniform


def _theta_inputs():
    """Six samples, half of them flipped."""
    flip = torch.tensor([1.0, -1, 1, -1, -1, 1])
    return [
        (uniform(6) + 0.5, uniform(6, 2, seed=1) - 0.5, uniform(6, seed=2) - 0.3, flip)
    ]


def _similar_inputs():
    """Twelve clips, two of them equal; and two with a negative cosine."""
    several = F.normalize(uniform(12, 8) - 0.5, dim=1)
    several[[3, 7]] = torch.tensor([0.5] * 4 + [0.0] * 4)  # exactly of length 1
    return [(several,), (torch.tensor([[1.0, 0.0], [-0.8, 0.6]]),)]


def _others(embeddings, diagonal):
    return (embeddings @ embeddings.T).fill_diagonal_(diagonal)


EXERCISES = {
    "theta": Exercise(
        augment.affine,
        _theta_inputs,
        {
            "it rotates the wrong way: R(φ) is [[cos φ, −sin φ], [sin φ, cos φ]]": lambda s, t, a, f: (
                augment.affine(s, t, -a, f)
            ),
            "the flip comes before the rotation: it multiplies the first column": lambda s, t, a, f: (
                augment.affine(s, t, a * f, f)
            ),
            "the side is missing: it multiplies the rotation": lambda s, t, a, f: (
                augment.affine(torch.ones_like(s), t, a, f)
            ),
            "the side multiplies the rotation, not the shift": lambda s, t, a, f: (
                augment.affine(s, s[:, None] * t, a, f)
            ),
            "the angle is given in radians, not in degrees": lambda s, t, a, f: (
                augment.affine(s, t, a.deg2rad(), f)
            ),
            "the flip is missing: it multiplies the first column": lambda s, t, a, f: (
                augment.affine(s, t, a, f.abs())
            ),
        },
    ),
    "most_similar": Exercise(
        augment.most_similar,
        _similar_inputs,
        {
            "cosines can be negative: put −inf on the diagonal, not 0": lambda e: (
                _others(e, 0).argmax(1)
            ),
            "every clip finds itself; put −inf on the diagonal first": lambda e: (
                e @ e.T
            ).argmax(1),
            "that is the similarity; return the index of the clip: argmax, not max": lambda e: (
                _others(e, -torch.inf).amax(1)
            ),
            "that is the least similar clip; take the largest cosine": lambda e: (
                e @ e.T
            ).argmin(1),
            "with two equal clips, the second best can be the clip itself; put −inf there": lambda e: (
                (e @ e.T).topk(2).indices[:, 1]
            ),
        },
    ),
}
