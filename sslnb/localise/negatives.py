"""False positives: what a model marks where nothing sounds, with intervals (notebook 06).

    >>> detection(ciou >= 0.5, confidence, silent)
    {"AP": Score(…), "max-F1": Score(…), "LocAcc": Score(…)}

The ranking metrics are ours: to scikit-learn's precision_recall_curve a clip is positive
or negative, but here a clip with a visible sound that is localised wrongly is a missed
detection below its confidence and a false positive above it. (A test shows where the two
agree and where they do not.)
"""

import numpy as np

from sslnb.localise.intervals import RESAMPLES, Score, counted, resample


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
