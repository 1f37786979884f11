"""Tables of notebook 07: retrieval scores with chance, intervals and differences.

>>> found = compare(systems, query, gallery, leave_out, recordings)
>>> found.table                     # scores with intervals, chance in the first row
>>> found.lead("untrained")["P@5"]  # (mean, low, high) of the difference
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from sslnb.data.soundstamps import Scene, origins
from sslnb.retrieve import hits

COLUMNS = ("A@5", "A@10", "P@1", "P@5")  # of tables 5 and 6 of the paper
DRAWS = 1_000  # of the bootstrap
PAPER_DATA = (
    "VGGSound, 20,304 clips of 35 classes; two ResNet-18, trained on 144,000 clips"
)

PAPER = pd.DataFrame(  # the paper's tables 5 and 6, per cent, as printed
    {
        ("5", "Random"): (20.10, 28.06, 13.88, 6.06),
        ("5", "VGG-H, supervised"): (42.07, 45.27, 58.69, 27.63),
        ("5", "LVS"): (26.01, 33.67, 21.17, 9.37),
        ("5", "Ours"): (41.15, 44.19, 60.19, 27.55),
        ("6", "Random"): (4.44, 8.01, 1.35, 1.61),
        ("6", "LVS, all classes"): (11.00, 16.26, 10.48, 4.93),
        ("6", "Ours, 110 classes"): (22.44, 27.72, 25.50, 12.34),
        ("6", "Ours, all classes"): (31.67, 35.81, 40.91, 19.52),
    },
    index=list(COLUMNS),
).T


def recordings(scenes: Sequence[Scene]) -> np.ndarray:
    """The recording that sounds in each scene, "class recording": (N,) of str."""
    return np.char.replace(origins(scenes)[1], "_", " ")


def chance(right: int, gallery: int, k: int) -> tuple[float, float]:
    """(A@K, P@K) of a shuffled gallery of which `right` items are right."""
    none = math.comb(gallery - right, k) / math.comb(gallery, k)
    return 1 - none, right / gallery


def per_query(hit: Tensor) -> dict[str, np.ndarray]:
    """What each query scores, {column: (Q,)}; hit (Q, G) of bool, best first."""
    values = hit.double().numpy()
    return {
        "A@5": values[:, :5].max(1),
        "A@10": values[:, :10].max(1),
        "P@1": values[:, 0],
        "P@5": values[:, :5].mean(1),
    }


def bounds(
    values: np.ndarray, groups: np.ndarray, seed: int = 0
) -> tuple[float, float, float]:
    """Mean of values (Q,) and the two ends of its 95 % interval.

    Percentile bootstrap over whole groups (Q,): queries of one recording are not
    independent.
    """
    known, where = np.unique(groups, return_inverse=True)
    total, count = np.bincount(where, values), np.bincount(where)
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(known), size=(DRAWS, len(known)))
    means = total[drawn].sum(1) / count[drawn].sum(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(values.mean()), float(low), float(high)


def interval(
    values: np.ndarray, groups: np.ndarray, sign: str = "", seed: int = 0
) -> str:
    """`bounds` in per cent, as text: "mean [low, high]"; sign "+" prints a plus."""
    mean, low, high = (
        f"{round(100 * x):{sign}d}" for x in bounds(values, groups, seed)
    )
    return f"{mean} [{low}, {high}]"


def occurrences(similarity: Tensor, leave_out: Tensor, k: int = 5) -> Tensor:
    """In how many queries' first k each item of the gallery is: N_k, (G,).

    similarity, leave_out (Q, G), as in `hits`. The mean is k · Q / G.
    """
    kept = similarity.masked_fill(leave_out, -torch.inf)
    first = kept.argsort(dim=1, descending=True, stable=True)[:, :k]
    return first.flatten().bincount(minlength=similarity.shape[1])


def skewness(occurred: Tensor) -> float:
    """How far the tail of N_k reaches above its mean: third moment over σ³.

    It measures hubness (Radovanović et al. 2010); 0 if all occur equally often.
    """
    gap = occurred.double() - occurred.double().mean()
    spread = gap.square().mean().sqrt()
    return (gap.pow(3).mean() / spread**3).item() if spread else 0.0


def precision(
    similarity: Tensor, right: Tensor, leave_out: Tensor, k: int = 5
) -> Tensor:
    """P@K of each query in per cent, (Q,), by what is `right`, (Q, G) of bool.

    similarity, leave_out (Q, G), as in `hits`.
    """
    kept = similarity.masked_fill(leave_out, -torch.inf)
    best = kept.argsort(dim=1, descending=True, stable=True)[:, :k]
    return 100 * right.gather(1, best).double().mean(1)


def to_find(
    query: np.ndarray, gallery: np.ndarray, leave_out: Tensor
) -> tuple[Tensor, list[tuple[int, int]]]:
    """Which queries have a right item left, (Q,) of bool; of these, (right, all)."""
    right = torch.from_numpy(query[:, None] == gallery) & ~leave_out
    able, left = right.any(1), (~leave_out).sum(1)
    return able, list(zip(right.sum(1)[able].tolist(), left[able].tolist()))


@dataclass(frozen=True)
class Comparison:
    """What `compare` found; values: each query's scores, {system: {column: (Q,)}}."""

    table: pd.DataFrame
    values: dict[str, dict[str, np.ndarray]]
    groups: np.ndarray
    seed: int = 0

    def lead(self, over: str) -> dict[str, tuple[float, float, float]]:
        """How far "trained" is ahead of a system: {column: (mean, low, high)}."""
        trained, other = self.values["trained"], self.values[over]
        return {
            column: bounds(trained[column] - other[column], self.groups, self.seed)
            for column in COLUMNS
        }


def compare(
    systems: Mapping[str, Tensor],
    query: np.ndarray,
    gallery: np.ndarray,
    leave_out: Tensor,
    groups: np.ndarray,
    seed: int = 0,
) -> Comparison:
    """Scores of systems on the same queries, with chance as the first row.

    systems: name -> similarity (Q, G), one of them "trained"; others as in `hits`;
    groups (Q,): what the bootstrap resamples. Queries with nothing right to find are
    dropped.
    """
    able, find = to_find(query, gallery, leave_out)
    luck = {k: np.array([chance(*f, k) for f in find]) for k in (1, 5, 10)}
    guess = {c: luck[int(c[2:])][:, "AP".index(c[0])] for c in COLUMNS}
    values = {"chance": guess}
    for name, similarity in systems.items():
        values[name] = per_query(hits(similarity, query, gallery, leave_out)[able])
    groups = groups[able.numpy()]
    rows: dict[str, dict[str, object]] = {}
    for name, scores in values.items():
        rows[name] = {"queries": len(find), "gallery": min(count for _, count in find)}
        for column, value in scores.items():
            rows[name][column] = (
                f"{100 * value.mean():.0f}"
                if name == "chance"
                else interval(value, groups, seed=seed)
            )
        gap = values["trained"]["P@5"] - scores["P@5"]
        rows[name]["P@5: trained − this"] = (
            "" if name == "trained" else interval(gap, groups, "+", seed)
        )
    return Comparison(pd.DataFrame(rows).T, values, groups, seed)


def draw_list(
    similarity: Tensor,
    query: np.ndarray,
    gallery: np.ndarray,
    leave_out: Tensor,
    rng: np.random.Generator,
    k: int = 5,
) -> tuple[int, list[int], list[bool]]:
    """A random query that can be answered, its k best items, and which are right."""
    right = torch.from_numpy(query[:, None] == gallery) & ~leave_out
    index = int(rng.choice(np.flatnonzero(right.any(1))))
    kept = similarity[index].masked_fill(leave_out[index], -torch.inf)
    best = kept.argsort(descending=True, stable=True)[:k]
    return index, best.tolist(), right[index, best].tolist()


def a_copy(
    similarity: Tensor, same_source: Tensor, labels: np.ndarray
) -> tuple[int, int, int]:
    """A query, its nearest item, and its nearest item from another source.

    similarity, same_source (N, N). It is the first query whose nearest item has its
    own source, and whose nearest from another source has another label; else query 0.
    """
    itself = torch.eye(len(similarity), dtype=torch.bool)
    near = similarity.masked_fill(itself, -torch.inf).argmax(1)
    far = similarity.masked_fill(same_source, -torch.inf).argmax(1)
    copied = same_source.gather(1, near[:, None])[:, 0].numpy()
    found = np.flatnonzero(copied & (labels[far.numpy()] != labels))
    index = int(found[0]) if len(found) else 0
    return index, int(near[index]), int(far[index])


def against_k(
    similarity: Tensor,
    query: np.ndarray,
    gallery: np.ndarray,
    leave_out: Tensor,
    ks: Sequence[int],
) -> dict[str, np.ndarray]:
    """{"A@K", "P@K", "chance A@K", "chance P@K"}: each (len(ks),), means of queries."""
    able, find = to_find(query, gallery, leave_out)
    hit = hits(similarity, query, gallery, leave_out)[able].double()
    luck = np.array([[chance(*f, k) for k in ks] for f in find]).mean(0)
    return {
        "A@K": np.array([hit[:, :k].amax(1).mean() for k in ks]),
        "P@K": np.array([hit[:, :k].mean() for k in ks]),
        "chance A@K": luck[:, 0],
        "chance P@K": luck[:, 1],
    }
