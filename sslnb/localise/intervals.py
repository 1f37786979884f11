"""Scores over clips with their bootstrap intervals (notebook 06).

    >>> mean_scores({"cIoU": ciou >= 0.5, "mean IoU": ciou})
    {"cIoU": Score(value=0.34, low=0.33, high=0.35), …}

Clips are drawn anew with replacement, 95 % of what then comes out is the interval
(percentile). It holds what another draw of test clips would change, and nothing else:
no other training run, no other annotator.
"""

from typing import NamedTuple

import numpy as np
from scipy.stats import bootstrap

RESAMPLES = 2_000  # an interval's ends are then good to a twentieth of its half width
AT_ONCE = 1_000_000  # clips drawn in one batch: 8 MB a score
STEPS = np.arange(21) / 20  # thresholds of AUC; k · 0.05 exceeds 0.45, 0.65 and 0.9


class Score(NamedTuple):
    """A fraction and the ends of its 95 % interval (NaN where one clip makes it).

    As text in per cent: 33.95 [32.65, 35.25].
    """

    value: float
    low: float
    high: float

    def __str__(self):
        return f"{percent(self.value)} [{percent(self.low)}, {percent(self.high)}]"


def percent(fraction):
    """A fraction as text in per cent; – where there is none."""
    return "–" if fraction is None or np.isnan(fraction) else f"{100 * fraction:.2f}"


def area(success):
    """Area (N,) under each clip's success (N, 21) over STEPS; AUC is its mean."""
    return np.trapezoid(success.astype(float), axis=1) / 20


def of_ciou(ciou, prefix=""):
    """{"cIoU", "AUC"}: what each clip adds to the two, (N,), whose means they are."""
    return {
        f"{prefix}cIoU": ciou >= 0.5,
        f"{prefix}AUC": area(ciou[:, None] >= STEPS),
    }


def resample(samples, statistic, resamples, seed):
    """(K, 2) ends of the 95 % intervals of K statistics of one or two samples.

    samples: numbers of clips (n,), each sample drawn from by itself; statistic takes
    what was drawn, (B, n) each, and gives (K, B).
    """
    sizes = [len(sample) for sample in samples]
    if min(sizes) < 2:
        count = len(statistic(*samples, axis=-1))
        return np.full((count, 2), np.nan)
    ends = bootstrap(
        samples, statistic, n_resamples=resamples, method="percentile",
        batch=max(1, AT_ONCE // sum(sizes)), vectorized=True,
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return np.stack([ends.low, ends.high], axis=-1)


def mean_scores(values, resamples=RESAMPLES, seed=0):
    """Name -> Score of values, name -> (N,): their means over clips."""
    table = np.stack([np.asarray(column, float) for column in values.values()])
    clips = table.shape[1]

    def means(drawn, axis):
        return table @ counted(np.atleast_2d(drawn), clips).T / clips

    ends = resample((np.arange(clips),), means, resamples, seed)
    return {
        name: Score(float(column.mean()), *pair)
        for name, column, pair in zip(values, table, ends.tolist())
    }


def detection(success, confidence, silent, resamples=RESAMPLES, seed=0):
    """SLAVC's false-positive metrics: {"AP", "max-F1", "LocAcc"} -> Score.

    success (N,) bool and confidence (N,): of clips with a visible sound; silent (M,):
    confidences of pairs without one. At a confidence δ,

        TP  a visible sound, confidence ≥ δ and cIoU ≥ 0.5
        FP  confidence ≥ δ otherwise
        FN  a visible sound, confidence < δ

    and precision P = TP / (TP + FP), recall R = TP / (TP + FN). AP is the area under
    max P over lower δ against R, with every confidence as δ; max-F1 the maximum of
    2PR / (P + R); LocAcc the precision over the visible at the lowest δ, which is cIoU.
    (SLAVC's script tries 200 confidences and leaves out the first step.)
    """
    success = np.asarray(success, bool)
    both = np.concatenate([confidence, silent])
    order = np.argsort(-both, kind="stable")
    last = np.flatnonzero(np.diff(-both[order], append=np.inf))  # of equal confidences
    place = np.empty(len(both), int)
    place[order] = np.searchsorted(last, np.arange(len(both)))  # the δ that takes it in
    seen, unseen = place[: len(success)], place[len(success) :]

    def curve(visible, hidden, axis):
        """(3, …): AP, max-F1 and LocAcc where clips of these numbers (…, n) are drawn."""
        visible, hidden = np.atleast_2d(visible), np.atleast_2d(hidden)
        found, missed = success[visible], ~success[visible]
        tp = counted(seen[visible], len(last), found).cumsum(1)
        fp = counted(seen[visible], len(last), missed).cumsum(1)
        fn = visible.shape[-1] - tp - fp
        fp = fp + counted(unseen[hidden], len(last)).cumsum(1)
        precision = tp / np.maximum(tp + fp, 1)
        recall = tp / np.maximum(tp + fn, 1)
        highest = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        ap = (highest * np.diff(recall, prepend=0, axis=1)).sum(1)
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
        return np.stack([ap, f1.max(1), found.mean(1)])

    samples = np.arange(len(success)), np.arange(len(silent))
    values = curve(*samples, axis=-1)[:, 0].tolist()
    ends = resample(samples, curve, resamples, seed).tolist()
    names = ("AP", "max-F1", "LocAcc")
    return {name: Score(v, *pair) for name, v, pair in zip(names, values, ends)}


def counted(places, bins, weights=None):
    """How many of each row of places (B, n) are 0, 1, … bins − 1: (B, bins)."""
    rows = len(places)
    flat = (places + bins * np.arange(rows)[:, None]).ravel()
    weights = None if weights is None else weights.ravel()
    return np.bincount(flat, weights, rows * bins).reshape(rows, bins)
