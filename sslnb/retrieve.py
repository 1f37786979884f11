"""Retrieval by cosine: sounds by sound, images by sound (notebook 07; 4.3, 4.4).

>>> a = model.embed_audio(spectrograms)                       # (N, C)
>>> retrieval_scores(a, a, labels, labels, exclude_self=True)
{"A@1": …, "P@1": …, "A@5": …, "P@5": …, "A@10": …, "P@10": …}
"""

from collections.abc import Iterable, Sequence
from numbers import Integral

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sslnb.data.media import normalise, spectrogram
from sslnb.model import SoundLocaliser, evaluating

BLOCK = 1_024  # queries ranked at once: with 20,000 to find, under a gigabyte
SPARE = 6  # items beside the k best whose cosines are computed again
FEW = 64  # items to be found at most, with SPARE, where not all are sorted


def rank(
    query: Tensor, gallery: Tensor, exclude_self: bool = False, k: int | None = None
) -> Tensor:
    """Gallery indices (Q, G) of every query, best first, by cosine; ties keep order.

    exclude_self: query i and item i of the gallery are one clip (the same sound, or
    a sound and its own image) and do not find each other; item i is left out, so
    the result is (Q, G − 1). k: only the k best, (Q, k).
    """
    query, gallery = torch.as_tensor(query), torch.as_tensor(gallery)
    if query.ndim != 2 or gallery.ndim != 2 or query.shape[1] != gallery.shape[1]:
        raise ValueError(
            f"features have shapes {tuple(query.shape)} and {tuple(gallery.shape)}; "
            "need (Q, C) and (G, C)"
        )
    for name, features in (("query", query), ("gallery", gallery)):
        if not features.isfinite().all():
            raise ValueError(f"{name} holds features that are not finite")
    if exclude_self and query.shape != gallery.shape:
        raise ValueError(
            f"exclude_self needs query and gallery to be the same clips; "
            f"there are {len(query)} and {len(gallery)}"
        )
    most = len(gallery) - exclude_self
    if k is not None and not 1 <= k <= most:
        raise ValueError(f"k is {k}; need 1 to {most}, the clips that can be found")
    length = most if k is None else k
    few = length + SPARE <= min(FEW, most)
    few &= torch.get_float32_matmul_precision() == "highest"  # else no bound on errors
    gallery = F.normalize(gallery.double(), dim=1)
    single = gallery.float()
    orders = []
    for start in range(0, len(query), BLOCK):
        rows = F.normalize(query[start : start + BLOCK].double(), dim=1)
        own = None
        if exclude_self:
            own = torch.arange(start, start + len(rows), device=rows.device)[:, None]
        if few:
            orders.append(_best(rows, gallery, single, own, length))
        else:
            orders.append(_sorted(rows, gallery, own)[:, :length].clone())
    return torch.cat(orders) if orders else torch.empty(0, length, dtype=torch.long)


def _sorted(query, gallery, own):
    """All items (Q, G) of each query, best first; own (Q, 1), or None: the item left out.

    A matrix product rounds equal columns differently; rounding what it gives in double
    precision to single makes equal features equal again.
    """
    cosine = (query @ gallery.T).float()
    if own is not None:
        cosine.scatter_(1, own, -torch.inf)
    return cosine.argsort(dim=1, descending=True, stable=True)


def _best(query, gallery, single, own, k):
    """The first k columns of `_sorted`, by a product in single precision.

    single: the gallery in it. Where it leaves the order open, the k + SPARE best are
    compared in double precision, and where one that is not among them could be better,
    all are.
    """
    # of a sum of C products of unit vectors, and of what is rounded before and after
    error = (query.shape[1] + 6) * 2.0**-24
    cosine = query.float() @ single.T
    if own is not None:
        cosine.scatter_(1, own, -torch.inf)
    value, order = cosine.topk(k + SPARE)
    gap = value[:, :k] - value[:, 1 : k + 1]
    close = (gap <= 2 * error).any(1).nonzero()[:, 0]
    found = order[close].sort().values  # ties keep the gallery's order
    exact = (gallery[found] @ query[close, :, None])[:, :, 0].float()
    exact, best = exact.sort(dim=1, descending=True, stable=True)
    order = order[:, :k].clone()
    order[close] = found.gather(1, best[:, :k])
    open_ = close[exact[:, k - 1] <= value[close, -1] + error]
    own = None if own is None else own[open_]
    order[open_] = _sorted(query[open_], gallery, own)[:, :k]
    return order


def retrieval_scores(
    query: Tensor,
    gallery: Tensor,
    query_labels: Sequence,
    gallery_labels: Sequence,
    ks: Iterable[int] = (1, 5, 10),
    exclude_self: bool = False,
    average: str = "query",
) -> dict[str, float]:
    """A@K and P@K as fractions, {"A@1": …, "P@1": …, …}, averaged over queries.

    query (Q, C), gallery (G, C): features, tensors or arrays, compared by cosine.
    Labels: Q and G strings or numbers. A@K: fraction of queries whose top K hold at
    least one item of their class; P@K: mean fraction of the top K that are (section
    4.3.2). Hence A@1 = P@1, and A@K never falls as K grows.
    exclude_self: see `rank`. average: over "query", or within every "class" of
    queries first and then over classes; the paper does not say which.
    ValueError for sizes that do not fit and for a K that is larger than the gallery.
    """
    if len(query_labels) != len(query) or len(gallery_labels) != len(gallery):
        raise ValueError(
            f"{len(query)} queries have {len(query_labels)} labels and {len(gallery)} "
            f"gallery items {len(gallery_labels)}; need one each"
        )
    if len(query) == 0:
        raise ValueError("there are no queries")
    if average not in ("query", "class"):
        raise ValueError(f"unknown average {average!r}; known are 'query' and 'class'")
    most = len(gallery) - exclude_self
    ks = tuple(ks)
    if not ks or not all(isinstance(k, Integral) and 1 <= k <= most for k in ks):
        raise ValueError(
            f"ks is {ks}; need whole numbers from 1 to {most}, what there is to find"
        )
    number: dict = {}
    q, g = (
        torch.tensor(
            [number.setdefault(_plain(label), len(number)) for label in labels]
        )
        for labels in (query_labels, gallery_labels)
    )
    if exclude_self and len(q) == len(g) and not torch.equal(q, g):
        raise ValueError("exclude_self needs the same clips, but their labels differ")
    order = rank(query, gallery, exclude_self, max(ks))
    hit = (g[order.cpu()] == q[:, None]).double()  # (Q, max K)
    weight = torch.ones(len(q)).double()
    if average == "class":
        weight = 1 / q.bincount()[q].double()
    scores = {}
    for k in ks:
        for name, value in (("A", hit[:, :k].amax(1)), ("P", hit[:, :k].mean(1))):
            scores[f"{name}@{k}"] = ((weight * value).sum() / weight.sum()).item()
    return scores


def hits(
    similarity: Tensor, query: np.ndarray, gallery: np.ndarray, leave_out: Tensor
) -> Tensor:
    """Whether the item at each rank is of the query's class: (Q, G) of bool.

    similarity (Q, G); query (Q,) and gallery (G,): labels; leave_out (Q, G) of bool:
    items that a query may not return, which are ranked last and count as wrong.
    """
    kept = similarity.masked_fill(leave_out, -torch.inf)
    order = kept.argsort(dim=1, descending=True, stable=True)
    same = torch.from_numpy(query[:, None] == gallery) & ~leave_out
    return same.gather(1, order)


def embed_clips(
    model: SoundLocaliser, batches: Iterable[tuple[Tensor, Tensor]]
) -> tuple[Tensor, Tensor]:
    """Vectors of sounds (N, C) and of their images (N, C), by a model in eval mode.

    batches: of images (B, 3, H, W), in [0, 1] or uint8, and waves (B, samples). Images
    are pooled as `pool_image` does by default. It computes where the model is, and
    returns vectors on the CPU; the model's mode is afterwards as before.
    """
    device, sounds, images = next(model.parameters()).device, [], []
    with evaluating(model):
        for frames, waves in batches:
            cells = model.embed_image(normalise(model.fit(frames.to(device))))
            images.append(pool_image(cells).cpu())
            spectrograms = spectrogram(waves.to(device), model.config.audio)
            sounds.append(model.embed_audio(spectrograms).cpu())
    return torch.cat(sounds), torch.cat(images)


def _plain(label):
    return label.item() if hasattr(label, "item") else label


def pool_image(features: Tensor, how: str = "max", normalised: bool = True) -> Tensor:
    """A vector per image (B, C) from features per cell (B, C, h, w).

    how: "max" or "mean" over cells; normalised: cells become unit vectors first.
    The paper says "spatially pool" and leaves both open; ours are the defaults.
    `embed_image` gives unit cells already, so that normalised=False makes no
    difference to them: it is for the features that `image_encoder` gives.
    """
    if how not in ("max", "mean"):
        raise ValueError(f"unknown pooling {how!r}; known are 'max' and 'mean'")
    if features.ndim != 4:
        raise ValueError(
            f"features have shape {tuple(features.shape)}; need (B, C, h, w)"
        )
    if normalised:
        features = F.normalize(features, dim=1)
    pooled = features.amax((2, 3)) if how == "max" else features.mean((2, 3))
    return F.normalize(pooled, dim=1)
