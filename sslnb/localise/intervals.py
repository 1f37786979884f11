"""Scores over clips with their bootstrap intervals (notebook 06).

    >>> mean_scores({"cIoU": ciou >= 0.5, "mean IoU": ciou})
    {"cIoU": Score(value=0.34, low=0.33, high=0.35), …}
    >>> mean_scores({"cIoU": ciou >= 0.5}, groups=clips.groups)   # wider, and honest

Percentile bootstrap (scipy.stats.bootstrap): the clips are resampled with replacement,
and the interval holds the middle 95 % of the scores. It tells what another draw of test
clips would change, and nothing else: not another training run, not another annotator.

Clips that share a photograph or a recording are no independent trials. With `groups`,
the photographs are resampled and, independently, the recordings; a clip weighs as often
as its photograph was drawn times as often as its recording was (the pigeonhole
bootstrap: Owen 2007, Ann. Appl. Stat. 1:386). No bootstrap of crossed groups has the
exact variance (McCullagh 2000, Bernoulli 6:285). This one errs on the wide side: little
where each photograph meets many recordings, and by a factor of up to √3 where it meets
few, as in most classes of SoundStamps (about 1.6 on its `test`, in a simulation).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

RESAMPLES = 2_000  # then an interval's ends are exact to 5 % of its half width
AT_ONCE = 1_000_000  # clips drawn in one batch: 8 MB a score
STEPS = np.arange(21) / 20  # thresholds of AUC; k · 0.05 may exceed k / 20


class Score(NamedTuple):
    """A fraction and the ends of its 95 % interval (NaN where one clip or group makes it).

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
    steps = STEPS.astype(ciou.dtype)  # 0.45 in single precision is less than in double
    return {f"{prefix}cIoU": ciou >= 0.5, f"{prefix}AUC": area(ciou[:, None] >= steps)}


def resample(
    samples: Sequence[np.ndarray],
    statistic: Callable,
    resamples: int,
    seed: int,
    clips: int = 0,
) -> np.ndarray:
    """Ends (K, 2) of the 95 % intervals of K statistics of one or two samples.

    samples: indices of clips or of groups (n,), resampled independently; statistic
    takes the resampled indices, (B, n) each, and returns (K, B). clips: how many it
    weighs at once, where that is more than it is given.
    """
    sizes = [len(sample) for sample in samples]
    if min(sizes) < 2:
        count = len(statistic(*samples, axis=-1))
        return np.full((count, 2), np.nan)
    from scipy.stats import bootstrap  # half a second, and only here

    ends = bootstrap(
        samples,
        statistic,
        n_resamples=resamples,
        method="percentile",
        batch=max(1, AT_ONCE // max(sum(sizes), clips)),
        vectorized=True,
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return np.stack([ends.low, ends.high], axis=-1)


def mean_scores(
    values: Mapping[str, ArrayLike],
    resamples: int = RESAMPLES,
    seed: int = 0,
    groups: ArrayLike | None = None,
    over: ArrayLike | None = None,
) -> dict[str, Score]:
    """Name -> Score, the mean over clips of values, name -> (N,).

    groups: labels (N,) or (G, N), such as each clip's photograph and its recording,
    that are resampled in place of the clips. over (N,), ≥ 0: the scores are then
    Σ values / Σ over. ValueError where lengths differ, or `over` sums to 0.

    A resample that no clip is in, as there may be of very few, counts as the score.
    """
    table = np.stack([np.asarray(column, float) for column in values.values()])
    clips = table.shape[1]
    base = np.ones(clips) if over is None else np.asarray(over, float)
    if base.shape != (clips,) or not base.sum() > 0:
        raise ValueError(
            f"over has shape {base.shape} and sum {base.sum():g}; need {(clips,)} and a "
            "sum above 0"
        )
    scores = np.array([column.mean() for column in table]) / base.mean()
    factors = crossed(groups, clips)

    def means(*drawn, axis):
        weights = drawn_weights(drawn, factors)  # (B, N)
        total = weights @ base  # (B,)
        some = total > 0
        return np.where(
            some, table @ weights.T / np.where(some, total, 1), scores[:, None]
        )

    ends = resample(levels_of(factors), means, resamples, seed, clips)
    return {
        name: Score(value, *pair)
        for name, value, pair in zip(values, scores.tolist(), ends.tolist())
    }


def paired_differences(
    first: Mapping[str, ArrayLike],
    second: Mapping[str, ArrayLike],
    resamples: int = RESAMPLES,
    seed: int = 0,
    groups: ArrayLike | None = None,
) -> dict[str, Score]:
    """Name -> Score of first − second, both name -> (N,) of the same clips.

    Sharper than two intervals side by side: what is easy or hard about a clip cancels.
    ValueError where names or lengths differ.
    """
    one, two = (
        {n: np.asarray(v, float) for n, v in x.items()} for x in (first, second)
    )
    shapes = [{n: v.shape for n, v in x.items()} for x in (one, two)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"scores differ in names or clips: {shapes[0]}, {shapes[1]}")
    return mean_scores({n: one[n] - two[n] for n in one}, resamples, seed, groups)


def crossed(groups: ArrayLike | None, clips: int) -> list[np.ndarray]:
    """Numbers (N,) of the groups, from 0, in each factor that is to be resampled.

    groups: labels (N,) or (G, N); None: each clip is a group. A factor that lies within
    a coarser one, as photographs do that have one recording each, is left out: drawing
    the coarser one draws it too. ValueError where there are not N labels.
    """
    if groups is None:
        return [np.arange(clips)]
    labels = np.atleast_2d(np.asarray(groups))
    if labels.shape[1:] != (clips,):
        raise ValueError(f"groups have shape {labels.shape}; need {clips} labels each")
    factors = [np.unique(row, return_inverse=True)[1] for row in labels]
    kept: list[np.ndarray] = []
    for factor in sorted(factors, key=np.max):
        pairs = (np.unique([factor, other], axis=1).shape[1] for other in kept)
        if factor.max() + 1 not in pairs:
            kept.append(factor)
    return kept


def levels_of(factors: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The groups of each factor, once each: what `resample` draws from."""
    return [np.arange(factor.max() + 1) for factor in factors]


def drawn_weights(
    drawn: Sequence[np.ndarray], factors: Sequence[np.ndarray]
) -> np.ndarray:
    """How often each clip counts, (B, N), where groups (B, n) of each factor are drawn.

    The product over factors of how often the clip's group is among them.
    """
    weights = np.ones((1, len(factors[0])), int)
    for levels, factor in zip(drawn, factors, strict=True):
        times = counted(np.atleast_2d(levels), factor.max() + 1)
        weights = weights * times[:, factor]
    return weights


def counted(
    places: np.ndarray, bins: int, weights: np.ndarray | None = None
) -> np.ndarray:
    """Histograms (B, bins) of the rows of places (B, n), whole numbers below `bins`."""
    rows = len(places)
    flat = (places + bins * np.arange(rows)[:, None]).ravel()
    weights = None if weights is None else weights.ravel()
    return np.bincount(flat, weights, rows * bins).reshape(rows, bins)
