"""Retrieval by cosine: sounds by sound, pictures by sound (notebook 07; 4.3, 4.4).

    >>> a = model.embed_audio(spectrograms)                       # (N, C)
    >>> retrieval_scores(a, a, labels, labels, exclude_self=True)
    {"A@1": …, "P@1": …, "A@5": …, "P@5": …, "A@10": …, "P@10": …}
"""

import torch
import torch.nn.functional as F


def rank(query, gallery, exclude_self=False):
    """Gallery indices (Q, G) of every query, best first, by cosine; ties keep order.

    exclude_self: query and gallery are one list and no item finds itself; its own
    index is left out, so the result is (Q, G − 1).
    """
    if query.ndim != 2 or gallery.ndim != 2 or query.shape[1] != gallery.shape[1]:
        raise ValueError(
            f"features have shapes {tuple(query.shape)} and {tuple(gallery.shape)}; "
            "need (Q, C) and (G, C)"
        )
    for name, features in (("query", query), ("gallery", gallery)):
        if not features.isfinite().all():
            raise ValueError(f"{name} holds features that are not finite")
    cosine = F.normalize(query.float(), dim=1) @ F.normalize(gallery.float(), dim=1).T
    if exclude_self:
        if query.shape != gallery.shape:
            raise ValueError(
                f"exclude_self needs query and gallery to be the same items; "
                f"there are {len(query)} and {len(gallery)}"
            )
        cosine.fill_diagonal_(-torch.inf)
    order = cosine.argsort(dim=1, descending=True, stable=True)
    return order[:, :-1] if exclude_self else order


def retrieval_scores(
    query, gallery, query_labels, gallery_labels, ks=(1, 5, 10), exclude_self=False
):
    """A@K and P@K as fractions, {"A@1": …, "P@1": …, …}, averaged over queries.

    query (Q, C), gallery (G, C): features, compared by cosine. Labels: Q and G
    strings or numbers. A@K: share of queries whose top K hold at least one item
    of their class; P@K: mean share of the top K that are (section 4.3.2). Hence
    A@1 = P@1, and A@K never falls as K grows.
    exclude_self: see `rank`. ValueError for sizes that do not fit and for a K
    that is larger than the gallery.
    """
    if len(query_labels) != len(query) or len(gallery_labels) != len(gallery):
        raise ValueError(
            f"{len(query)} queries have {len(query_labels)} labels and {len(gallery)} "
            f"gallery items {len(gallery_labels)}; need one each"
        )
    order = rank(query, gallery, exclude_self)
    if len(order) == 0:
        raise ValueError("there are no queries")
    if min(ks) < 1 or max(ks) > order.shape[1]:
        raise ValueError(f"ks {tuple(ks)}: need 1 to {order.shape[1]}, the gallery's size")
    number = {}
    q, g = (
        torch.tensor([number.setdefault(_plain(label), len(number)) for label in labels])
        for labels in (query_labels, gallery_labels)
    )
    hit = g[order.cpu()] == q[:, None]  # (Q, G)
    scores = {}
    for k in ks:
        scores[f"A@{k}"] = hit[:, :k].any(1).double().mean().item()
        scores[f"P@{k}"] = hit[:, :k].double().mean().item()
    return scores


def _plain(label):
    return label.item() if hasattr(label, "item") else label


def pool_image(features, how="max", normalised=True):
    """A vector per picture (B, C) from features per cell (B, C, h, w).

    how: "max" or "mean" over cells; normalised: cells become unit vectors first.
    The paper says "spatially pool" and leaves both open; ours are the defaults.
    """
    if how not in ("max", "mean"):
        raise ValueError(f"unknown pooling {how!r}; known are 'max' and 'mean'")
    if normalised:
        features = F.normalize(features, dim=1)
    pooled = features.amax((2, 3)) if how == "max" else features.mean((2, 3))
    return F.normalize(pooled, dim=1)
