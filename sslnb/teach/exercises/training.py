"""Exercises of notebook 05 and appendix A3: steps, averages, large and shared batches."""

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


def _averages_inputs():
    """Weights after each of many steps, and decays."""
    steps = uniform(60, 5).double().cumsum(0)  # they drift, as in training
    return [(steps, 0.7), (steps[:7].clone(), 0.998)]


def _averages(weights, decay, first=0, rising=1.0, correct=True):
    """Both averages of `my_averages`, (2, P), and what is wrong of each.

    first: which step the corrected one begins with; rising: numerator of the short decay.
    """
    mean, loop = torch.zeros_like(weights[0]), weights[0].clone()
    for step, value in enumerate(weights):
        if step >= first:
            mean = decay * mean + (1 - decay) * value
        if step:
            short = min(decay, (rising + step) / (10 + step))
            loop = short * loop + (1 - short) * value
    if correct:
        mean = mean / (1 - decay ** len(weights))
    return torch.stack([mean, loop])


def _swapped(weights, decay):
    """Each average with the weights of old and new exchanged."""
    mean, loop = torch.zeros_like(weights[0]), weights[0].clone()
    for step, value in enumerate(weights):
        mean = (1 - decay) * mean + decay * value
        if step:
            short = min(decay, (1 + step) / (10 + step))
            loop = (1 - short) * loop + short * value
    return torch.stack([mean / (1 - (1 - decay) ** len(weights)), loop])


def _uncapped(weights, decay):
    """The loop's average with its early decay throughout, however many steps."""
    right, loop = _averages(weights, decay), weights[0].clone()
    for step, value in enumerate(weights[1:], 1):
        short = (1 + step) / (10 + step)
        loop = short * loop + (1 - short) * value
    return torch.stack([right[0], loop])


def _from_the_first(weights, decay):
    """Both averages as a plain EMA that begins with the first weights."""
    loop = weights[0].clone()
    for value in weights[1:]:
        loop = decay * loop + (1 - decay) * value
    return torch.stack([_averages(weights, decay)[0], loop])


FITS = 4  # clips, in the memory of `encode`


def encode(weight, x):
    """Unit vectors (b, C) or (b, C, h, w) of inputs (b, D) or (b, D, h, w); weight (C, D).

    RuntimeError where more clips than FITS would have to be kept for a gradient.
    """
    if len(x) > FITS and torch.is_grad_enabled() and weight.requires_grad:
        raise RuntimeError(
            f"out of memory: {len(x)} clips with their gradient; {FITS} fit"
        )
    return _encode(weight, x)


def _encode(weight, x):
    return F.normalize(torch.einsum("cd,bd...->bc...", weight, x), dim=1)


def _batch_inputs():
    """Two encoders' weights, and ten clips, of which four fit in memory."""
    weights = uniform(2, 5, 6) - 0.2
    return [(encode, weights, uniform(10, 6, 3, 3, seed=1), uniform(10, 6, seed=2), 4)]


def _gradients(loss, weights):
    """Gradients of loss(weights) with respect to the weights, zero where there is none."""
    with torch.enable_grad():
        weights = weights.detach().clone().requires_grad_()
        (found,) = torch.autograd.grad(loss(weights), weights)
    return found


def _of_the_batch(_, weights, x, y, chunk):
    def loss(w):
        return contrastive_loss(respond(_encode(w[0], x), _encode(w[1], y)))

    return _gradients(loss, weights)


def _of_chunks(weights, x, y, chunk, negatives="own", mean=True, last=False):
    """Gradients summed over parts of the batch, with one thing or another wrong.

    negatives: "own" sounds of each part; "all", as they are encoded without gradient;
    or "first", where row 0 of each part is taken for clip 0.
    """
    total, parts = torch.zeros_like(weights), range(0, len(x), chunk)
    for start in parts:
        rows = torch.arange(len(x))[start : start + chunk]
        fraction = len(rows) / len(x) if mean else 1.0

        def loss(w, rows=rows, fraction=fraction):
            v = _encode(w[0], x[rows])
            if negatives == "own":
                return fraction * contrastive_loss(respond(v, _encode(w[1], y[rows])))
            a = _encode(w[1].detach() if negatives == "all" else w[1], y)
            own = torch.arange(len(rows)) if negatives == "first" else rows
            return fraction * contrastive_loss(respond(v, a), own=own)

        found = _gradients(loss, weights)
        total = found if last else total + found
    return total


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
    "averages": Exercise(
        _averages,
        _averages_inputs,
        {
            "row 0: the average began with 0, so divide it by 1 − decay^S": lambda w, d: (
                _averages(w, d, correct=False)
            ),
            "old and new are exchanged: the decay is the weight of the old average": _swapped,
            "row 1: a mean over a tenth of the steps so far, only until `decay` is less": _uncapped,
            "row 1: over the first steps the decay is (1 + step) / (10 + step)": (
                _from_the_first
            ),
            "row 0: all S weights count, the first too": lambda w, d: _averages(
                w, d, first=1
            ),
            "those are the last weights, not an average": lambda w, d: torch.stack(
                [w[-1], w[-1]]
            ),
        },
    ),
    "large_batch": Exercise(
        _of_the_batch,
        _batch_inputs,
        {
            "every image needs all sounds as negatives, not its part's alone: that is "
            "why summing gradients over parts is not a large batch": lambda e, w, x, y, n: (
                _of_chunks(w, x, y, n)
            ),
            "the sounds' encoder has no gradient: what was encoded without one still "
            "needs its share": lambda e, w, x, y, n: _of_chunks(
                w, x, y, n, negatives="all"
            ),
            "row 0 of a part is not clip 0: say by `own` which sound is each row's": (
                lambda e, w, x, y, n: _of_chunks(w, x, y, n, negatives="first")
            ),
            "that is the gradient of the last part alone; add them up": lambda e, w, x, y, n: (
                _of_chunks(w, x, y, n, last=True)
            ),
            "parts differ in size: weight each by its fraction of the batch": (
                lambda e, w, x, y, n: _of_chunks(w, x, y, n, mean=False)
            ),
        },
    ),
}
