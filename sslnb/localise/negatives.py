"""False positives: what a model marks where nothing sounds, with intervals (notebook 06).

    >>> detection(ciou >= 0.5, confidence, silent)
    {"AP": Score(…), "max-F1": Score(…), "LocAcc": Score(…)}

The ranking metrics are ours: to scikit-learn's precision_recall_curve a clip is positive
or negative, but here a clip with a visible sound that is localised wrongly is a missed
detection below its confidence and a false positive above it. (A test shows where the two
agree and where they do not.)
"""

import numpy as np
from numpy.typing import ArrayLike

from sslnb.localise.intervals import (
    RESAMPLES,
    Score,
    counted,
    crossed,
    drawn_weights,
    levels_of,
    resample,
)


def detection(
    success: np.ndarray,
    confidence: np.ndarray,
    silent: np.ndarray,
    resamples: int = RESAMPLES,
    seed: int = 0,
    groups: ArrayLike | None = None,
    silent_groups: ArrayLike | None = None,
) -> dict[str, Score]:
    """SLAVC's false-positive metrics: {"AP", "max-F1", "LocAcc"} -> Score.

    success (N,) bool and confidence (N,): of clips with a visible sound; silent (M,):
    confidences of pairs without one; groups and silent_groups: what is resampled of
    each for the intervals, as in `mean_scores`. At a confidence δ,

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

    factors = crossed(groups, len(seen))
    silent_factors = crossed(silent_groups, len(unseen))

    def curve(*drawn, axis):
        """AP, max-F1 and LocAcc (3, B) of resampled clips, given by their groups."""
        visible = drawn_weights(drawn[: len(factors)], factors)  # (B, N)
        hidden = drawn_weights(drawn[len(factors) :], silent_factors)  # (B, M)
        total = visible.sum(1, keepdims=True)
        tp = summed(seen, visible * success)
        fp = summed(seen, visible * ~success)
        fn = total - tp - fp
        fp = fp + summed(unseen, hidden)
        precision = tp / np.maximum(tp + fp, 1)
        recall = tp / np.maximum(tp + fn, 1)
        highest = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        ap = (highest * np.diff(recall, prepend=0, axis=1)).sum(1)
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
        return np.stack([ap, f1.max(1), tp[:, -1] / np.maximum(total[:, 0], 1)])

    def summed(places, weights):
        """Weights (B, n) of clips at or above each confidence, (B, K)."""
        rows = np.broadcast_to(places, weights.shape)
        return counted(rows, len(last), weights).cumsum(1)

    samples = levels_of([*factors, *silent_factors])
    values = curve(*samples, axis=-1)[:, 0].tolist()
    ends = resample(samples, curve, resamples, seed, len(both)).tolist()
    names = ("AP", "max-F1", "LocAcc")
    return {name: Score(v, *pair) for name, v, pair in zip(names, values, ends)}
