"""Exercises of notebook 05 and appendix A3: errors of steps, a loss that processes share."""

import torch
import torch.nn.functional as F

from sslnb.losses import contrastive_loss
from sslnb.model import respond
from sslnb.teach.exercises.exercise import Exercise, uniform
from sslnb.teach.learning import step_errors


def _seeds_inputs():
    """Scores of four models from three seeds each, of five models from four.

    What a seed does to every model is larger than what they differ by.
    """
    inputs = []
    for seed, (models, seeds) in enumerate(((4, 3), (5, 4))):
        own = uniform(models, seeds, seed=seed).double()
        inputs.append((30 + 5 * uniform(1, seeds, seed=seed + 9).double() + own,))
    return inputs


def _steps(scores, error):
    """Mean steps between neighbours beside their errors (M - 1,): (M - 1, 2)."""
    return torch.stack([scores.diff(dim=0).mean(1), error], 1)


def _processes_inputs():
    """Features of seven clips, which two processes share as three and four."""
    v = F.normalize(uniform(7, 5, 3, 3) ** 3, dim=1)
    a = F.normalize(uniform(7, 5, seed=1) ** 3, dim=1)
    return [(v, a, [slice(0, 3), slice(3, 7)])]


def _loss_of_processes(v, a, shares):
    return sum(
        len(v[share]) / len(v) * _loss_of_one(v, a, share, torch.arange(len(v))[share])
        for share in shares
    )


def _loss_of_one(v, a, share, own):
    return contrastive_loss(respond(v[share], a), own=own)


EXERCISES = {
    "step_errors": Exercise(
        step_errors,
        _seeds_inputs,
        {
            "a step is a model's score less that of the model before": lambda s: (
                step_errors(s) * torch.tensor([-1.0, 1.0])
            ),
            "S seeds estimate their variance with S − 1 in the denominator": lambda s: (
                _steps(s, s.diff(dim=0).std(1, correction=0) / s.shape[1] ** 0.5)
            ),
            "that is the spread of the steps; their mean over S seeds has 1 / √S of it": lambda s: (
                _steps(s, s.diff(dim=0).std(1))
            ),
            "models share their seeds: take the step of each seed first": lambda s: (
                _steps(s, ((s.var(1)[1:] + s.var(1)[:-1]) / s.shape[1]).sqrt())
            ),
            "that is the error of one model's mean; a step has a spread of its own": lambda s: (
                _steps(s, s.std(1)[1:] / s.shape[1] ** 0.5)
            ),
        },
    ),
    "loss_of_processes": Exercise(
        _loss_of_processes,
        _processes_inputs,
        {
            "each process needs all sounds as negatives, not its own alone": lambda v, a, shares: (
                sum(
                    len(v[x]) / len(v) * contrastive_loss(respond(v[x], a[x]))
                    for x in shares
                )
            ),
            "row 0 of a process is not clip 0: say by `own` which sound is each row's": lambda v, a, shares: (
                sum(
                    len(v[x]) / len(v) * _loss_of_one(v, a, x, torch.arange(len(v[x])))
                    for x in shares
                )
            ),
            "slices differ in size: weight each by its fraction of the batch": lambda v, a, shares: (
                sum(_loss_of_one(v, a, x, torch.arange(len(v))[x]) for x in shares)
                / len(shares)
            ),
            "that is the sum; the whole batch's loss is a mean over clips": lambda v, a, shares: (
                sum(_loss_of_one(v, a, x, torch.arange(len(v))[x]) for x in shares)
            ),
        },
    ),
}
