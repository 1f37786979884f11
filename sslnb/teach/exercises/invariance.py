"""Exercises of notebook 03: masks, means under them, and the contrast of the two."""

import torch
import torch.nn.functional as F

from sslnb.losses import weighted_mean
from sslnb.teach.exercises.exercise import Exercise, uniform


def _trimap(similarity, epsilon, epsilon_negative, tau):
    return {
        "foreground": ((similarity - epsilon) / tau).sigmoid(),
        "background": ((epsilon_negative - similarity) / tau).sigmoid(),
    }


def _cross_entropy(positive, others, temperature):
    columns = torch.cat([positive[:, None], *others], 1) / temperature
    return -columns.log_softmax(1)[:, 0].mean()


def _contrast(means, background, temperature):
    """The release form from its parts: masked means (B, B) and background (B,)."""
    own = torch.eye(len(means), dtype=torch.bool)
    others = means.masked_fill(own, -torch.inf)
    return _cross_entropy(means.diagonal(), [others, background[:, None]], temperature)


EXERCISES = {
    "weighted_mean": Exercise(
        weighted_mean,
        lambda: [(uniform(2, 3, 4), 8 * uniform(2, 3, 4, seed=1) - 4)],
        {
            "that is the plain mean of the map; weight every cell by σ(logits)": lambda s, z: (
                s.mean((-2, -1))
            ),
            "that is the sum; divide by the sum of the weights": lambda s, z: (
                z.sigmoid() * s
            ).sum((-2, -1)),
            "divide by the sum of the weights |m|, not by the number of cells": lambda s, z: (
                (z.sigmoid() * s).mean((-2, -1))
            ),
            "the weights are σ(logits), not a softmax of the logits": lambda s, z: (
                z.flatten(-2).softmax(-1) * s.flatten(-2)
            ).sum(-1),
        },
    ),
    "trimap": Exercise(
        _trimap,
        lambda: [
            (uniform(5, 6, seed=2), 0.65, 0.4, 0.03),
            (uniform(2, 3, 4, seed=3), 0.6, 0.2, 0.1),
        ],
        {
            "the background has its own threshold; 1 − foreground is the paper's form": lambda s, e, n, t: {
                "foreground": ((s - e) / t).sigmoid(),
                "background": 1 - ((s - e) / t).sigmoid(),
            },
            "the background lies below its threshold; change the sign": lambda s, e, n, t: {
                "foreground": ((s - e) / t).sigmoid(),
                "background": ((s - n) / t).sigmoid(),
            },
            "divide by tau inside σ: it sets how soft the edge is": lambda s, e, n, t: {
                "foreground": (s - e).sigmoid(),
                "background": (n - s).sigmoid(),
            },
            "divide by tau; do not multiply": lambda s, e, n, t: {
                "foreground": ((s - e) * t).sigmoid(),
                "background": ((n - s) * t).sigmoid(),
            },
            "those masks are hard and have no gradient; use σ": lambda s, e, n, t: {
                "foreground": (s > e).float(),
                "background": (s < n).float(),
            },
        },
    ),
    "contrast": Exercise(
        _contrast,
        lambda: [
            (uniform(5, 5, seed=4), uniform(5, seed=5), 0.07),
            (uniform(3, 3, seed=6), uniform(3, seed=7), 0.5),
        ],
        {
            "divide every logit by the temperature": lambda s, n, t: _contrast(
                s, n, 1.0
            ),
            "divide by the temperature; do not multiply": lambda s, n, t: _contrast(
                s, n, 1 / t
            ),
            "the image's own background is a logit too: B + 1 in all": lambda s, n, t: (
                F.cross_entropy(s / t, torch.arange(len(s)))
            ),
            "the image's own sound counts twice: leave k = i out of the others": lambda s, n, t: (
                _cross_entropy(s.diagonal(), [s, n[:, None]], t)
            ),
            "the others and the background share one exponent, as in eq. 7; "
            "give each a separate logit": lambda s, n, t: F.softplus(
                (s.sum(1) - 2 * s.diagonal() + n) / t
            ).mean(),
            "that contrasts a sound with other images; s[i, k] is image i with sound k": lambda s, n, t: (
                _contrast(s.T, n, t)
            ),
        },
    ),
}
