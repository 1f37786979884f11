"""Exercises of notebook 02: matrices of geometric transforms, and similar clips."""

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


def _compose_inputs():
    """Two batches of four, with sides, shifts, angles and flips of their own."""
    flip = torch.tensor([1.0, -1, 1, -1])
    return [
        tuple(
            augment.affine(
                uniform(4, seed=k) + 0.5,
                uniform(4, 2, seed=k + 1) - 0.5,
                uniform(4, seed=k + 2),
                f,
            )
            for k, f in ((0, flip), (3, flip.flip(0)))
        )
    ]


def _composed(first, second, shift=None):
    """θ of `first`, then `second`; mistake: its last column."""
    linear = first[..., :2] @ second[..., :2]
    right = first[..., :2] @ second[..., 2:] + first[..., 2:]
    return torch.cat([linear, right if shift is None else shift], 2)


def _inverse(theta):
    inverse = torch.linalg.inv(theta[..., :2])
    return torch.cat([inverse, -inverse @ theta[..., 2:]], 2)


def _round_trip_inputs():
    """Four images, moved little enough that most of each stays in the frame."""
    theta = augment.affine(
        torch.tensor([0.8, 1.2, 1.0, 0.9]),
        0.4 * uniform(4, 2) - 0.1,
        0.5 * uniform(4, seed=1),
        torch.tensor([1.0, 1, -1, -1]),
    )
    return [(uniform(4, 3, 24, 24, seed=2), theta)]


def _round_trip(images, theta, back=None, seen=None, reduce="mean"):
    """Errors (B,) of images that are warped and warped back; by default, the right ones."""
    back = _inverse(theta) if back is None else back
    error = (augment.warp(augment.warp(images, theta), back) - images).abs()
    if seen is None:
        ones = torch.ones_like(images[:, 0])
        seen = augment.warp(augment.warp(ones, theta), back) > 1 - 1e-3  # (B, H, W)
    kept = [e[:, s] for e, s in zip(error, seen)]
    return torch.stack([e.sum() if reduce == "sum" else e.mean() for e in kept])


def _agree_inputs():
    """Sixteen clips of ten recordings, and the same as if each had its own."""
    letters = "aabcddefghhijcbe"
    recording = torch.tensor(["abcdefghij".index(letter) for letter in letters])
    around = uniform(10, 4)[recording] - 0.5 + 0.2 * uniform(16, 4, seed=1)
    embeddings = F.normalize(around, dim=1)
    return [
        (embeddings, list(letters)),
        (embeddings.clone(), list(map(str, range(16)))),
    ]


def _agree(embeddings, originals, alone=None):
    """The partner of each clip that is chosen back; `alone` (default: itself) elsewhere."""
    chosen, every = augment.most_similar(embeddings, originals), torch.arange(16)
    return torch.where(
        chosen[chosen] == every, chosen, every if alone is None else alone
    )


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
    "compose": Exercise(
        _composed,
        _compose_inputs,
        {
            "that is the other order: the *second* θ reads from the result of the first, so a point of the output goes through it first": lambda a, b: (
                _composed(b, a)
            ),
            "the shifts do not simply add up: the first matrix also multiplies the second shift": lambda a, b: (
                _composed(a, b, a[..., 2:] + b[..., 2:])
            ),
            "the first shift is missing": lambda a, b: _composed(
                a, b, a[..., :2] @ b[..., 2:]
            ),
            "`*` multiplies number by number; matrices are multiplied by `@`": lambda a, b: (
                torch.cat([a[..., :2] * b[..., :2], _composed(a, b)[..., 2:]], 2)
            ),
        },
    ),
    "round_trip": Exercise(
        _round_trip,
        _round_trip_inputs,
        {
            "pixels that were out of frame on the way count too; warp ones, and keep what stays 1": lambda x, t: (
                _round_trip(x, t, seen=torch.ones_like(x[:, 0]) > 0)
            ),
            "the way back can leave the frame too: warp ones there *and back*": lambda x, t: (
                _round_trip(x, t, seen=augment.in_frame(t, *x.shape[-2:]))
            ),
            "the shift of the way back is −A⁻¹ t, not −t": lambda x, t: _round_trip(
                x, t, back=torch.cat([torch.linalg.inv(t[..., :2]), -t[..., 2:]], 2)
            ),
            "a transposed matrix is the inverse only of a rotation; there is a side too": lambda x, t: (
                _round_trip(
                    x,
                    t,
                    back=torch.cat([t[..., :2].mT, -t[..., :2].mT @ t[..., 2:]], 2),
                )
            ),
            "that is a sum; take the mean over channels and the pixels that were in frame": lambda x, t: (
                _round_trip(x, t, reduce="sum")
            ),
            "that is the image warped once; θ⁻¹ brings it back": lambda x, t: (
                (augment.warp(x, t) - x).abs().mean((1, 2, 3))
            ),
        },
    ),
    "agree": Exercise(
        _agree,
        _agree_inputs,
        {
            "those are the most similar clips; keep a partner only where it chooses back": lambda e, o: (
                augment.most_similar(e, o)
            ),
            "a partner of the same recording is an echo; give most_similar the originals": lambda e, o: (
                _agree(e, None)
            ),
            "a clip without a partner keeps its own index, so that mixing changes nothing": lambda e, o: (
                _agree(e, o, torch.tensor(-1))
            ),
            "that says for which clips the partner agrees; return its index": lambda e, o: (
                _agree(e, o) != torch.arange(16)
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
