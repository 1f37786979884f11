"""Exercises of notebook 07: precision, average precision, and a cure for hubs."""

import torch
import torch.nn.functional as F

from sslnb.teach.exercises.exercise import Exercise, uniform


def _right(similarity, labels, k, itself=False, best_first=True):
    """(N, k): for each of N queries, are its k results of its own class?"""
    if not itself:
        last = -torch.inf if best_first else torch.inf
        similarity = similarity.clone().fill_diagonal_(last)
    order = similarity.argsort(dim=1, descending=best_first)[:, :k]
    return (labels[order] == labels[:, None]).double()


def _retrieval_inputs():
    labels = torch.tensor([0, 1, 0, 2, 0, 1, 0, 1, 0, 2, 0, 1])
    features = F.normalize(uniform(12, 6) - 0.5, dim=1)
    return [(features @ features.T, labels.clone(), k) for k in (3, 5)]


def _average_precision(
    similarity, labels, itself=False, tied=True, of_found=None, empty=False
):
    """Mean over queries of the mean precision at the ranks of their right items.

    The switches are mistakes; of_found: what is divided by instead of the number of
    right items.
    """
    scores = []
    for i in range(len(labels)):
        kept = torch.ones(len(labels), dtype=torch.bool)
        kept[i] = itself
        s, right = similarity[i][kept], (labels == labels[i])[kept].double()
        above = (s >= s[:, None]).double()  # row j: the items as near as item j
        if not tied:
            rank = s.argsort(descending=True, stable=True).argsort()
            above = (rank <= rank[:, None]).double()
        precision = above @ right / above.sum(1)
        total = of_found or right.sum()
        if right.any():
            scores.append((precision * right).sum() / total)
        elif empty:
            scores.append(torch.tensor(0.0).double())
    return torch.stack(scores).mean()


def _tied_inputs():
    """Cosines in tenths, so with ties; one clip is alone in its class."""
    labels = torch.tensor([0, 1, 0, 2, 0, 1, 3, 1, 0, 2, 0, 1])
    inputs = []
    for seed in (0, 1):
        features = F.normalize(uniform(12, 6, seed=seed) - 0.5, dim=1)
        inputs.append(((10 * features @ features.T).round() / 10, labels.clone()))
    return inputs


def _csls(similarity, k, twice=2, query=1, gallery=1, mean=None):
    """2 cos, less the mean cosine of each query and of each item to its k nearest."""
    nearest = mean or (lambda x, dim: x.topk(k, dim).values.mean(dim, keepdim=True))
    return (
        twice * similarity
        - query * nearest(similarity, 1)
        - gallery * nearest(similarity, 0)
    )


EXERCISES = {
    "precision_at_k": Exercise(
        lambda s, y, k: _right(s, y, k).mean(),
        _retrieval_inputs,
        {
            "every query finds itself first; leave it out of the ranking": lambda s, y, k: (
                _right(s, y, k, itself=True).mean()
            ),
            "those are the least similar items; rank the highest cosine first": lambda s, y, k: (
                _right(s, y, k, best_first=False).mean()
            ),
            "that is A@K, which needs one hit; P@K is the fraction of the K that are right": lambda s, y, k: (
                _right(s, y, k).amax(1).mean()
            ),
            "that is recall; divide by K, not by the number of items of the class": lambda s, y, k: (
                (_right(s, y, k).sum(1) / ((y == y[:, None]).sum(1) - 1)).mean()
            ),
            "that is the number of right items; divide by K": lambda s, y, k: (
                _right(s, y, k).sum(1).mean()
            ),
        },
    ),
    "average_precision": Exercise(
        _average_precision,
        _tied_inputs,
        {
            "items of one cosine share a rank: count all that are as near, ≥": lambda s, y: (
                _average_precision(s, y, tied=False)
            ),
            "every query finds itself first; leave it out of the ranking": lambda s, y: (
                _average_precision(s, y, itself=True)
            ),
            "divide by the number of right items, not by the length of the list": lambda s, y: (
                _average_precision(s, y, of_found=len(y) - 1)
            ),
            "a query with nothing right to find has no score; leave it out of the mean": lambda s, y: (
                _average_precision(s, y, empty=True)
            ),
        },
    ),
    "csls": Exercise(
        _csls,
        lambda: [(2 * uniform(9, 7, seed=n) - 1, k) for n, k in enumerate((3, 2))],
        {
            "that corrects the items only; subtract each query's mean as well": lambda s, k: (
                _csls(s, k, query=0)
            ),
            "that corrects the queries only, and no ranking changes; subtract each item's mean": lambda s, k: (
                _csls(s, k, gallery=0)
            ),
            "two means are subtracted, so the cosine counts twice": lambda s, k: _csls(
                s, k, twice=1
            ),
            "the mean is that of the k nearest, not of all": lambda s, k: _csls(
                s, k, mean=lambda x, dim: x.mean(dim, keepdim=True)
            ),
            "the mean is that of the k nearest, not of the k farthest": lambda s, k: (
                _csls(
                    s,
                    k,
                    mean=lambda x, dim: x.topk(k, dim, largest=False).values.mean(
                        dim, keepdim=True
                    ),
                )
            ),
        },
    ),
}
