"""Exercises of notebook 06 and appendix A2: cIoU, success, disputed ground truth."""

import torch

from sslnb import localise
from sslnb.data.field.annotations import Annotation, truth_of
from sslnb.teach.exercises.exercise import Exercise, uniform


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
        p = (20 * uniform(224, 224, seed=seed) ** 3).floor() / 19
        g = torch.zeros(224, 224)
        g[y : y + 90, x : x + 100] += 0.5
        g[y + 20 : y + 120, x + 10 : x + 120] += 0.5
        inputs.append((p, g))
    return inputs


EXERCISES = {
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
            (uniform(40) ** 2,),
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
}
