"""Exercises of notebook 03: masks, means under them, contrasts, and another's loss."""

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


def _positive_gradient(similarity, epsilon, tau):
    """∂P/∂S of eq. 5 and 6, by autograd."""
    S = similarity.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(weighted_mean(S, (S - epsilon) / tau), S)
    return gradient


def _mask_and_mean(similarity, epsilon, tau):
    m = ((similarity - epsilon) / tau).sigmoid()
    return m, (m * similarity).sum() / m.sum()


def _slope(similarity, epsilon, tau, follow):
    """m (1 + follow(m, S − P)) / |m|: the gradient where `follow` is (1 − m)(S − P)/τ."""
    m, mean = _mask_and_mean(similarity, epsilon, tau)
    return m * (1 + follow(m, similarity - mean)) / m.sum()


def _group_contrast(means, background, group, temperature, instead=-torch.inf):
    """The release form, with the other clips of an image's group left out of its row."""
    own = torch.eye(len(means), dtype=torch.bool)
    same = (group[:, None] == group) & ~own
    kept = means.masked_fill(same, instead)
    return _contrast(kept, background, temperature)


def _supervised(means, background, group, temperature):
    """All sounds of an image's group win together."""
    logits = torch.cat([means, background[:, None]], 1) / temperature
    same = torch.cat(
        [group[:, None] == group, torch.zeros(len(means), 1, dtype=torch.bool)], 1
    )
    wins = logits.masked_fill(~same, -torch.inf).logsumexp(1)
    return (logits.logsumexp(1) - wins).mean()


def _group_inputs():
    """Two of five clips, and two more, are alike; three of four are."""
    return [
        (uniform(5, 5, seed=8), uniform(5, seed=9), torch.tensor([0, 1, 0, 2, 1]), 0.2),
        (uniform(4, 4, seed=10), uniform(4, seed=11), torch.tensor([3, 3, 1, 3]), 0.07),
    ]


def _max_loss(similarity, temperature, score=lambda S: S.flatten(2).amax(-1)):
    """EZ-VSL's loss: InfoNCE of a score of each pair (B, B), over rows and over columns."""
    logits = score(similarity) / temperature
    target = torch.arange(len(logits))
    return F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)


def _one_direction(similarity, temperature):
    logits = similarity.flatten(2).amax(-1) / temperature
    return F.cross_entropy(logits, torch.arange(len(logits)))


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
    "positive_gradient": Exercise(
        _positive_gradient,
        lambda: [
            (uniform(4, 5, seed=12), 0.5, 0.1),
            (uniform(3, 3, seed=13), 0.65, 0.2),
        ],
        {
            "that takes the mask for a constant, m/|m|; it changes with the map": lambda s, e, t: (
                _slope(s, e, t, lambda m, gap: 0)
            ),
            "|m| changes with the map, too: the second term has S − P, not S": lambda s, e, t: (
                _slope(
                    s,
                    e,
                    t,
                    lambda m, gap: (1 - m) * (gap + _mask_and_mean(s, e, t)[1]) / t,
                )
            ),
            "the slope of σ((S − ε)/τ) is m (1 − m)/τ; the 1/τ is missing": lambda s, e, t: (
                _slope(s, e, t, lambda m, gap: (1 - m) * gap)
            ),
            "the slope of σ is m (1 − m), not m": lambda s, e, t: _slope(
                s, e, t, lambda m, gap: gap / t
            ),
            "divide by |m|, the sum of the weights": lambda s, e, t: (
                _positive_gradient(s, e, t) * _mask_and_mean(s, e, t)[0].sum()
            ),
        },
    ),
    "group_contrast": Exercise(
        _group_contrast,
        _group_inputs,
        {
            "all clips of a group are still negatives of one another": lambda s, n, g, t: (
                _contrast(s, n, t)
            ),
            "a mean of 0 is still a logit, and counts e⁰ = 1; put −inf there": lambda s, n, g, t: (
                _group_contrast(s, n, g, t, instead=0)
            ),
            "the others of a group are left out, not made positives: only the "
            "image's own sound has to win": _supervised,
            "that keeps the false negatives and leaves out the true ones": lambda s, n, g, t: (
                _contrast(s.masked_fill(g[:, None] != g, -torch.inf), n, t)
            ),
            "divide every logit by the temperature": lambda s, n, g, t: _group_contrast(
                s, n, g, 1.0
            ),
            "the image's own background is a logit too": lambda s, n, g, t: (
                _group_contrast(s, torch.full_like(n, -torch.inf), g, t)
            ),
        },
    ),
    "max_loss": Exercise(
        _max_loss,
        lambda: [
            (uniform(4, 4, 3, 5, seed=14), 0.03),
            (uniform(3, 3, 2, 2, seed=15), 0.5),
        ],
        {
            "the score of a pair is its highest cell, not its mean": lambda s, t: (
                _max_loss(s, t, lambda S: S.mean((2, 3)))
            ),
            "that is a soft maximum over the cells; take the highest cell": lambda s, t: (
                _max_loss(s, t, lambda S: t * (S / t).flatten(2).logsumexp(-1))
            ),
            "those are the rows; sounds choose among images, too: add the columns": _one_direction,
            "those are the columns; images choose among sounds, too: add the rows": lambda s, t: (
                _one_direction(s.transpose(0, 1), t)
            ),
            "add the two directions; do not average them": lambda s, t: (
                _max_loss(s, t) / 2
            ),
            "divide every logit by the temperature": lambda s, t: _max_loss(s, 1.0),
        },
    ),
}
