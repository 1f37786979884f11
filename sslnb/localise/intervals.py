"""Scores over clips with their bootstrap intervals (notebook 06).

    >>> mean_scores({"cIoU": ciou >= 0.5, "mean IoU": ciou})
    {"cIoU": Score(value=0.34, low=0.33, high=0.35), …}

Percentile bootstrap over clips (scipy.stats.bootstrap): the clips are resampled with
replacement, and the interval holds the middle 95 % of the scores. It tells what another
draw of test clips would change, and nothing else: not another training run, not another
annotator.

The ranking metrics of `detection` are ours: to scikit-learn's precision_recall_curve a
clip is positive or negative, but here a clip with a visible sound that is localised
wrongly is a missed detection below its confidence and a false positive above it. (A test
shows where the two agree and where they do not.)
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import bootstrap

RESAMPLES = 2_000  # then an interval's ends are exact to 5 % of its half width
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


def percent(fraction: float | None) -> str:
    """A fraction as text in per cent; – where there is no value."""
    return "–" if fraction is None or np.isnan(fraction) else f"{100 * fraction:.2f}"


def area(success: np.ndarray) -> np.ndarray:
    """Area (N,) under each clip's success (N, 21) over STEPS; AUC is its mean."""
    return np.trapezoid(success.astype(float), axis=1) / 20


def of_ciou(ciou: np.ndarray, prefix: str = "") -> dict[str, np.ndarray]:
    """{"cIoU", "AUC"}: each clip's contribution (N,); the scores are their means."""
    return {f"{prefix}cIoU": ciou >= 0.5, f"{prefix}AUC": area(ciou[:, None] >= STEPS)}


def resample(
    samples: Sequence[np.ndarray], statistic: Callable, resamples: int, seed: int
) -> np.ndarray:
    """Ends (K, 2) of the 95 % intervals of K statistics of one or two samples.

    samples: indices of clips (n,), resampled independently; statistic takes the
    resampled indices, (B, n) each, and returns (K, B).
    """
    sizes = [len(sample) for sample in samples]
    if min(sizes) < 2:
        count = len(statistic(*samples, axis=-1))
        return np.full((count, 2), np.nan)
    ends = bootstrap(
        samples,
        statistic,
        n_resamples=resamples,
        method="percentile",
        batch=max(1, AT_ONCE // sum(sizes)),
        vectorized=True,
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return np.stack([ends.low, ends.high], axis=-1)


def mean_scores(
    values: Mapping[str, np.ndarray], resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Score]:
    """Name -> Score, the mean over clips of values, name -> (N,)."""
    table = np.stack([np.asarray(column, float) for column in values.values()])
    clips = table.shape[1]

    def means(drawn, axis):
        return table @ counted(np.atleast_2d(drawn), clips).T / clips

    ends = resample((np.arange(clips),), means, resamples, seed)
    return {
        name: Score(float(column.mean()), *pair)
        for name, column, pair in zip(values, table, ends.tolist())
    }


def detection(
    success: np.ndarray,
    confidence: np.ndarray,
    silent: np.ndarray,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Score]:
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
    place[order] = np.searchsorted(
        last, np.arange(len(both))
    )  # the first δ that includes it
    seen, unseen = place[: len(success)], place[len(success) :]

    def curve(visible, hidden, axis):
        """AP, max-F1 and LocAcc (3, …) of resampled clips, given by index (…, n)."""
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


def counted(
    places: np.ndarray, bins: int, weights: np.ndarray | None = None
) -> np.ndarray:
    """Histograms (B, bins) of the rows of places (B, n), whole numbers below `bins`."""
    rows = len(places)
    flat = (places + bins * np.arange(rows)[:, None]).ravel()
    weights = None if weights is None else weights.ravel()
    return np.bincount(flat, weights, rows * bins).reshape(rows, bins)
