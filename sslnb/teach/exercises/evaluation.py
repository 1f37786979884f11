"""Exercises of notebook 06 and appendix A2: from cIoU to a test of listening."""

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


def _curve(c, thresholds, above=torch.ge):
    return above(c[:, None], thresholds).double().mean(0)


def _areas(c, steps, area=None, thresholds=None, above=torch.ge):
    """Exact area, and that of `area` over the rates at the thresholds."""
    if thresholds is None:
        thresholds = torch.arange(steps + 1).double() / steps
    area = area or (lambda rates: torch.trapezoid(rates, dx=1 / steps))
    return {"exact": c.mean(), "field": area(_curve(c, thresholds, above))}


def _areas_inputs():
    """Overlaps of which some are a threshold exactly, and one is 1."""
    on = torch.tensor([3, 6, 9, 12, 20]).double() / 20
    c = torch.cat([on, uniform(30).double(), torch.zeros(2).double()])
    return [(c, 20), (c.clone(), 10)]


def _f1(
    success,
    confidence,
    silent,
    above=torch.ge,
    wrong_place=True,
    silence=True,
    missed=False,
):
    """F1 at each confidence as δ, (N + M,), lowest first; the switches are mistakes."""
    deltas = torch.cat([confidence, silent]).sort().values[:, None]
    marked = above(confidence, deltas)  # (N + M, N)
    tp = (marked & success).sum(1)
    fp = wrong_place * (marked & ~success).sum(1)
    fp = fp + silence * above(silent, deltas).sum(1)
    fn = (~marked & (success if missed else True)).sum(1)
    return 2 * tp / (2 * tp + fp + fn).clamp(min=1)


def _f1_inputs():
    """Confidences in tenths, so with ties; the more confident are right more often."""
    inputs = []
    for seed, (n, m) in enumerate([(43, 30), (25, 60)]):
        confidence = (10 * uniform(n, seed=seed)).round() / 10
        success = uniform(n, seed=seed + 5) < 0.2 + 0.7 * confidence
        inputs.append(
            (success, confidence, (8 * uniform(m, seed=seed + 9)).round() / 10)
        )
    return inputs


def _shuffled(hit, permutations):
    """The score of each pairing of images with sounds, (B,)."""
    return hit[torch.arange(len(hit)), permutations].mean(1)


def _p_inputs():
    """Maps that listen a little, and maps that do not, with 99 permutations each."""
    inputs = []
    for seed, listens in enumerate((0.3, 0.0)):
        chance = uniform(30, 1, seed=seed) * (1 - listens)
        chance = chance + listens * torch.eye(30)
        hit = (uniform(30, 30, seed=seed + 3) < chance).double()
        permutations = uniform(99, 30, seed=seed + 7).argsort(1)
        inputs.append((hit, permutations))
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
    "auc": Exercise(
        _areas,
        _areas_inputs,
        {
            "the two ends of the curve count half: a trapezoid has the mean of its sides": lambda c, k: (
                _areas(c, k, torch.mean)
            ),
            "those are rectangles, from the left; the field takes trapezoids": lambda c, k: (
                _areas(c, k, lambda rates: rates[:-1].sum() / k)
            ),
            "a clip at a threshold reaches it: ≥, not >": lambda c, k: _areas(
                c, k, above=torch.gt
            ),
            "0.05 · 3 is a little more than 0.15, so clips at 0.15 are lost; divide k by steps": lambda c, k: (
                _areas(c, k, thresholds=torch.arange(k + 1).double() * (1 / k))
            ),
            "the exact area is that of all thresholds, not the field's once more": lambda c, k: (
                _areas(c, k) | {"exact": _areas(c, k)["field"]}
            ),
        },
    ),
    "max_f1": Exercise(
        lambda s, c, silent: _f1(s, c, silent).max(),
        _f1_inputs,
        {
            "a wrong place at or above δ is a false positive too": lambda s, c, silent: (
                _f1(s, c, silent, wrong_place=False).max()
            ),
            "a pair without a visible sound is a false positive at or above δ": lambda s, c, silent: (
                _f1(s, c, silent, silence=False).max()
            ),
            "below δ every visible sound is missed, also where the place would be wrong": lambda s, c, silent: (
                _f1(s, c, silent, missed=True).max()
            ),
            "a confidence of δ is enough: ≥, not >": lambda s, c, silent: _f1(
                s, c, silent, above=torch.gt
            ).max(),
            "that is F1 at the lowest δ, where everything is marked; try every confidence": lambda s, c, silent: (
                _f1(s, c, silent)[0]
            ),
        },
    ),
    "p_value": Exercise(
        lambda hit, perms: (
            (1 + (_shuffled(hit, perms) >= hit.diagonal().mean()).sum())
            / (1 + len(perms))
        ),
        _p_inputs,
        {
            "the pairing as it is counts as well: (1 + …) / (1 + B), so p is never 0": lambda hit, perms: (
                (_shuffled(hit, perms) >= hit.diagonal().mean()).double().mean()
            ),
            "a shuffled score that is equal counts too: ≥, not >": lambda hit, perms: (
                (1 + (_shuffled(hit, perms) > hit.diagonal().mean()).sum())
                / (1 + len(perms))
            ),
            "that counts the shuffles that score lower; listening shows in high scores": lambda hit, perms: (
                (1 + (_shuffled(hit, perms) <= hit.diagonal().mean()).sum())
                / (1 + len(perms))
            ),
            "image i is given sound perm[i]: hit[i, perm[i]]; the rows stay where they are": lambda hit, perms: (
                (
                    1
                    + (
                        hit[perms][:, 0].gather(1, perms).mean(1)
                        >= hit.diagonal().mean()
                    ).sum()
                )
                / (1 + len(perms))
            ),
        },
    ),
}
