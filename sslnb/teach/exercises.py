"""Exercises that say what is wrong.

    >>> check("weighted_mean", my_weighted_mean)
    ✗ weighted_mean: that is the plain mean of the map; weight every cell by σ(logits)

An exercise is the right function, some inputs, and common mistakes, each as a function
that makes it: an answer with the results of a mistake gets the message of that mistake.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sslnb import augment, localise
from sslnb.data import soundstamps
from sslnb.data.clips import leaks
from sslnb.data.field.annotations import Annotation, truth_of
from sslnb.data.field.lists import clip_name
from sslnb.data.media import LAPTOP_AUDIO, RELEASE_AUDIO
from sslnb.losses import contrastive_loss, equivariance_loss, weighted_mean
from sslnb.model import respond
from sslnb.teach.ablation import step_errors


@dataclass(frozen=True)
class Exercise:
    """The right function, a function that makes inputs, and mistakes by message."""

    truth: Callable[..., Any]
    inputs: Callable[[], list[tuple]]
    mistakes: dict[str, Callable[..., Any]] = field(default_factory=dict)


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def _mask_inputs():
    """An object in several parts, and one at the edge of the image."""
    parts, edge = torch.zeros(2, 224, 224, dtype=torch.bool)
    parts[40:90, 100:130] = parts[30, 120] = parts[60, 180] = True
    edge[150:, :70] = True
    return [(parts,), (edge,)]


def _box(mask, last=1, size=224):
    rows, columns = mask.nonzero().T
    edges = columns.min(), rows.min(), columns.max() + last, rows.max() + last
    return torch.tensor(edges) / size


def _resolution(audio):
    return torch.tensor(
        [audio.sample_rate / audio.n_fft, audio.hop / audio.sample_rate]
    )


def _leaked_inputs():
    """Ids with `_` and `-`; a clip, another clip of its video, one in milliseconds."""
    train = [
        "a_b-c_d-e_f_000030.mp4",
        "dog-in-park_10000_20000",
        "x/brass-band1_000000.mp4",
    ]
    test = [
        "a_b-c_d-e_f_000030",
        "dog-in-park_000200.wav",
        "a_b-c_x-y_z_000030",
        "lawn-mowing_000005",
        "videos/brass-band1_000000.mp4",
    ]
    return [(train, test), (test[:4], train)]


def _leaked(train, test, key):
    seen = set(map(key, train))
    return torch.tensor([key(text) in seen for text in test])


def _right(similarity, labels, k, itself=False, best_first=True):
    """(N, k): for each of N queries, are its k results of its own class?"""
    if not itself:
        last = -torch.inf if best_first else torch.inf
        similarity = similarity.clone().fill_diagonal_(last)
    order = similarity.argsort(dim=1, descending=best_first)[:, :k]
    return (labels[order] == labels[:, None]).double()


def _retrieval_inputs():
    labels = torch.tensor([0, 1, 0, 2, 0, 1, 0, 1, 0, 2, 0, 1])
    features = F.normalize(_random(12, 6) - 0.5, dim=1)
    return [(features @ features.T, labels.clone(), k) for k in (3, 5)]


def _median(p):
    return p.flatten().kthvalue(p.numel() // 2 + 1).values


def _votes(boxes):
    return sum(localise.boxes_to_truth([box]) for box in boxes)


def _ciou(mask, g):
    return (mask * g).sum() / (g.sum() + (mask & (g == 0)).sum())


def _ciou_inputs():
    """Two maps of 20 levels, so with ties, and ground truth that annotators dispute."""
    inputs = []
    for seed, (x, y) in enumerate([(30, 60), (90, 20)]):
        p = (20 * _random(224, 224, seed=seed) ** 3).floor() / 19
        g = torch.zeros(224, 224)
        g[y : y + 90, x : x + 100] += 0.5
        g[y + 20 : y + 120, x + 10 : x + 120] += 0.5
        inputs.append((p, g))
    return inputs


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


def _theta_inputs():
    """Six samples, half of them flipped."""
    flip = torch.tensor([1.0, -1, 1, -1, -1, 1])
    return [
        (_random(6) + 0.5, _random(6, 2, seed=1) - 0.5, _random(6, seed=2) - 0.3, flip)
    ]


def _similar_inputs():
    """Twelve clips, two of them equal; and two with a negative cosine."""
    several = F.normalize(_random(12, 8) - 0.5, dim=1)
    several[[3, 7]] = torch.tensor([0.5] * 4 + [0.0] * 4)  # exactly of length 1
    return [(several,), (torch.tensor([[1.0, 0.0], [-0.8, 0.6]]),)]


def _others(embeddings, diagonal):
    return (embeddings @ embeddings.T).fill_diagonal_(diagonal)


def _seeds_inputs():
    """Scores of four models from three seeds each, of five models from four."""
    return [(30 + 5 * _random(4, 3).double(),), (5 * _random(5, 4, seed=1).double(),)]


def _steps(scores, error):
    """Steps between neighbours beside an error, one value or one a step: (M - 1, 2)."""
    steps = scores.mean(1).diff()
    return torch.stack([steps, error.expand_as(steps)], 1)


def _processes_inputs():
    """Features of seven clips, which two processes share as three and four."""
    v = F.normalize(_random(7, 5, 3, 3) ** 3, dim=1)
    a = F.normalize(_random(7, 5, seed=1) ** 3, dim=1)
    return [(v, a, [slice(0, 3), slice(3, 7)])]


def _loss_of_processes(v, a, shares):
    return sum(
        len(v[share]) / len(v) * _loss_of_one(v, a, share, torch.arange(len(v))[share])
        for share in shares
    )


def _loss_of_one(v, a, share, own):
    return contrastive_loss(respond(v[share], a), own=own)


def _equivariance_inputs():
    """Maps under T_geo; under a rotation and a shift; with every cell out of frame."""
    theta = augment.Geometric().draw(4, torch.Generator().manual_seed(0))
    rotation = torch.tensor([[[0.9, -0.3, 0.2], [0.3, 0.9, 0.1]]])
    far_away = torch.tensor([[[1.0, 0, 9], [0, 1, 9]]])
    return [
        (4 * _random(len(t), 8, 8), 4 * _random(len(t), 8, 8, seed=1), t)
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
    "box_of": Exercise(
        lambda mask: torch.tensor(soundstamps._box_of(mask.numpy())),
        _mask_inputs,
        {
            "the right and lower edges lie after the last pixel: add 1": lambda mask: (
                _box(mask, last=0)
            ),
            "x comes first, and x counts columns: the second axis of the mask": lambda mask: (
                _box(mask.T)
            ),
            "those are pixels; divide by 224 to get normalised coordinates": lambda mask: (
                _box(mask, size=1)
            ),
            "that is (x, y, width, height); give the right and lower edges": lambda mask: (
                torch.cat([_box(mask)[:2], _box(mask)[2:] - _box(mask)[:2]])
            ),
        },
    ),
    "resolution": Exercise(
        _resolution,
        lambda: [(LAPTOP_AUDIO,), (RELEASE_AUDIO,)],
        {
            "frames are `hop` samples apart, not the window's `n_fft`": lambda a: (
                torch.tensor([a.sample_rate / a.n_fft, a.n_fft / a.sample_rate])
            ),
            "bins reach half the sample rate, which n_fft / 2 steps divide": lambda a: (
                _resolution(a) * torch.tensor([2.0, 1.0])
            ),
            "a spectrum has n_fft / 2 + 1 bins, but only n_fft / 2 steps between them": lambda a: (
                torch.tensor(
                    [a.sample_rate / 2 / (a.n_fft / 2 + 1), a.hop / a.sample_rate]
                )
            ),
            "the second value is a time: divide the samples by the sample rate": lambda a: (
                torch.tensor([a.sample_rate / a.n_fft, float(a.hop)])
            ),
            "the order is wrong: first the step in hertz, then the step in seconds": lambda a: (
                _resolution(a).flip(0)
            ),
        },
    ),
    "leaked": Exercise(
        lambda train, test: torch.tensor(
            [clip_name(text) in leaks(train, test).videos for text in test]
        ),
        _leaked_inputs,
        {
            "that compares clips; clips of one source video differ in their start": lambda train, test: (
                _leaked(train, test, clip_name)
            ),
            "lists spell one clip in several ways; bring all to one by clip_name": lambda train, test: (
                _leaked(train, test, lambda text: text[:11])
            ),
            "an id may hold `_`: take the first 11 characters": lambda train, test: (
                _leaked(train, test, lambda text: clip_name(text).split("_")[0])
            ),
            "that is how many leak; need one value for each test clip": lambda train, test: (
                torch.tensor(len(leaks(train, test).videos))
            ),
        },
    ),
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
    "weighted_mean": Exercise(
        weighted_mean,
        lambda: [(_random(2, 3, 4), 8 * _random(2, 3, 4, seed=1) - 4)],
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
            (_random(5, 6, seed=2), 0.65, 0.4, 0.03),
            (_random(2, 3, 4, seed=3), 0.6, 0.2, 0.1),
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
            (_random(5, 5, seed=4), _random(5, seed=5), 0.07),
            (_random(3, 3, seed=6), _random(3, seed=7), 0.5),
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
    "precision_at_k": Exercise(
        lambda s, y, k: _right(s, y, k).mean(),
        _retrieval_inputs,
        {
            "every query finds itself first; leave it out of the ranking": lambda s, y, k: (
                _right(s, y, k, itself=True).mean()
            ),
            "those are the least similar items; rank the highest cosine first": lambda s, y, k: (
                _right(s, y, k, best_first=False).mean()
            ),
            "that is A@K, which needs one hit; P@K is the fraction of the K that are right": lambda s, y, k: (
                _right(s, y, k).amax(1).mean()
            ),
            "that is recall; divide by K, not by the number of items of the class": lambda s, y, k: (
                (_right(s, y, k).sum(1) / ((y == y[:, None]).sum(1) - 1)).mean()
            ),
            "that is the number of right items; divide by K": lambda s, y, k: (
                _right(s, y, k).sum(1).mean()
            ),
        },
    ),
    "ciou": Exercise(
        lambda p, g: localise.ciou(p[None], g[None])[0],
        _ciou_inputs,
        {
            "the threshold is the map's median, sort(p)[n // 2], not its mean": lambda p, g: (
                _ciou(p > p.mean(), g)
            ),
            "the threshold is the map's median, sort(p)[n // 2], not 0.5": lambda p, g: (
                _ciou(p > 0.5, g)
            ),
            "strictly above the median: with ≥, all ties are in the mask": lambda p, g: (
                _ciou(p >= _median(p), g)
            ),
            "that counts every g > 0 as 1; a pixel counts with its weight in both sums": lambda p, g: (
                _ciou(p > _median(p), (g > 0).float())
            ),
            "that is recall; add the false positives Σ M·[g = 0] to the denominator": lambda p, g: (
                ((p > _median(p)) * g).sum() / g.sum()
            ),
            "a false positive has g = 0; use [g = 0], not 1 − g, for disputed pixels": lambda p, g: (
                ((p > _median(p)) * g).sum() / (g + (p > _median(p)) * (1 - g)).sum()
            ),
        },
    ),
    "consensus": Exercise(
        lambda boxes: truth_of(Annotation(boxes, annotators=3)),
        lambda: [
            (((0.1, 0.2, 0.6, 0.7), (0.2, 0.1, 0.7, 0.6), (0.15, 0.3, 0.5, 0.9)),),
            (((0.5, 0.5, 1.0, 1.0), (0.5, 0.5, 1.0, 1.0), (0.0, 0.0, 0.3, 0.2)),),
        ],
        {
            "that is the union; a pixel of one annotator alone weighs one half": lambda boxes: (
                _votes(boxes).clamp(max=1)
            ),
            "that is the mean; two of three annotators are enough for a weight of 1": lambda boxes: (
                _votes(boxes) / 3
            ),
            "a weight is at most 1, also where all three agree": lambda boxes: (
                _votes(boxes) / 2
            ),
            "that is the majority; a pixel of one annotator alone weighs one half": lambda boxes: (
                (_votes(boxes) >= 2).float()
            ),
            "rows are y and columns are x: g[y0:y1, x0:x1]": lambda boxes: (
                _votes(boxes).T / 2
            ).clamp(max=1),
        },
    ),
    "success_rate": Exercise(
        lambda c: localise.summarise(c)["cIoU"],
        lambda: [
            (torch.tensor([0.5, 0.0, 0.72, 0.5, 0.49, 0.31, 0.9]),),
            (_random(40) ** 2,),
        ],
        {
            "that is the mean cIoU; count the clips that reach 0.5": lambda c: c.mean(),
            "a clip at 0.5 is a success too: ≥, not >": lambda c: (
                (c > 0.5).double().mean()
            ),
            "that is the number of successes; divide by the number of clips": lambda c: (
                (c >= 0.5).sum()
            ),
            "that is a percentage; give a fraction from 0 to 1": lambda c: (
                100 * (c >= 0.5).double().mean()
            ),
        },
    ),
    "step_errors": Exercise(
        step_errors,
        _seeds_inputs,
        {
            "a step is a model's mean less that of the model before": lambda s: (
                step_errors(s) * torch.tensor([-1.0, 1.0])
            ),
            "S seeds estimate their variance with S − 1 in the denominator": lambda s: (
                _steps(s, (2 * s.var(1, correction=0).mean() / s.shape[1]).sqrt())
            ),
            "that is the error of one mean; a step is a difference of two": lambda s: (
                _steps(s, (s.var(1).mean() / s.shape[1]).sqrt())
            ),
            "that is the spread of runs; a mean over S seeds has 1 / √S of it": lambda s: (
                _steps(s, (2 * s.var(1).mean()).sqrt())
            ),
            "pool variances, not standard deviations: take the root last": lambda s: (
                _steps(s, s.std(1).mean() * (2 / s.shape[1]) ** 0.5)
            ),
            "two models alone say little about the spread; pool it over all": lambda s: (
                _steps(s, ((s.var(1)[1:] + s.var(1)[:-1]) / s.shape[1]).sqrt())
            ),
        },
    ),
    "loss_of_processes": Exercise(
        _loss_of_processes,
        _processes_inputs,
        {
            "each process needs all sounds as negatives, not its own alone": lambda v, a, shares: (
                sum(
                    len(v[x]) / len(v) * contrastive_loss(respond(v[x], a[x]))
                    for x in shares
                )
            ),
            "row 0 of a process is not clip 0: say by `own` which sound is each row's": lambda v, a, shares: (
                sum(
                    len(v[x]) / len(v) * _loss_of_one(v, a, x, torch.arange(len(v[x])))
                    for x in shares
                )
            ),
            "slices differ in size: weight each by its fraction of the batch": lambda v, a, shares: (
                sum(_loss_of_one(v, a, x, torch.arange(len(v))[x]) for x in shares)
                / len(shares)
            ),
            "that is the sum; the whole batch's loss is a mean over clips": lambda v, a, shares: (
                sum(_loss_of_one(v, a, x, torch.arange(len(v))[x]) for x in shares)
            ),
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
}


def verdict(name: str, answer: Callable[..., Any]) -> tuple[bool, str]:
    """Whether an answer is right, and a sentence about it; its errors are caught."""
    exercise = EXERCISES[name]
    # the inputs are made twice, because an answer may write into its own
    for arguments, given in zip(exercise.inputs(), exercise.inputs()):
        try:
            found = answer(*given)
        except NotImplementedError:
            return False, "not filled in yet"
        except Exception as error:  # any error of the reader's
            return False, f"it raises {type(error).__name__}: {error}"
        if found is None or found is ...:
            return False, "not filled in yet"
        right = exercise.truth(*arguments)
        problem = _difference(found, right)
        if problem:
            for message, mistake in exercise.mistakes.items():
                if not _difference(found, mistake(*arguments)):
                    return False, message
            return False, problem
    return True, "right"


def _difference(found: Any, right: Any, tolerance: float = 1e-4) -> str | None:
    """The difference of an answer from the right one in words; None if they agree."""
    if isinstance(right, dict):
        if not isinstance(found, dict) or set(found) != set(right):
            return f"it returns {found!r:.80}; need a dict with {', '.join(right)}"
        problems = ((k, _difference(found[k], right[k])) for k in right)
        return next((f"{k}: {p}" for k, p in problems if p), None)
    try:
        found, right = torch.as_tensor(found), torch.as_tensor(right)
    except (TypeError, ValueError, RuntimeError):
        return f"it returns a {type(found).__name__}; need a tensor"
    if found.shape != right.shape:
        return f"its shape is {tuple(found.shape)}; need {tuple(right.shape)}"
    gap = (found.double() - right.double()).abs()
    if gap.numel() and not gap.max() <= tolerance:  # also where it is NaN
        at = gap.nan_to_num(torch.inf).argmax()
        where = tuple(int(i) for i in torch.unravel_index(at, gap.shape))
        place = f" at {list(where)}" if where else ""
        return (
            f"{(~(gap <= tolerance)).double().mean():.0%} of its values differ; "
            f"{found.flatten()[at]:.4g}{place}, need {right.flatten()[at]:.4g}"
        )
    return None


def check(name: str, answer: Callable[..., Any]) -> None:
    """Print whether an answer to an exercise is right and, if not, what is wrong."""
    if name not in EXERCISES:
        raise ValueError(f"unknown exercise {name!r}; known are {', '.join(EXERCISES)}")
    right, sentence = verdict(name, answer)
    print(f"{'✓' if right else '✗'} {name}: {sentence}")
