"""The exercise of notebook 07: precision among the first results."""

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
    )
}
