"""Exercises that say what is wrong.

    >>> check("weighted_mean", my_weighted_mean)
    ✗ weighted_mean: that is the plain mean of the map; weigh every cell by σ(logits)

An exercise is its true function, a few inputs, and the mistakes that people make,
each as a function that makes it: an answer that equals a mistake gets its message.
"""

from dataclasses import dataclass, field
from typing import Callable

import torch

from sslnb.losses import weighted_mean


@dataclass(frozen=True)
class Exercise:
    truth: Callable
    inputs: Callable  # () -> list of argument tuples
    mistakes: dict = field(default_factory=dict)  # message -> function


def _random(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


EXERCISES = {
    "weighted_mean": Exercise(
        weighted_mean,
        lambda: [(_random(2, 3, 4), 8 * _random(2, 3, 4, seed=1) - 4)],
        {
            "that is the plain mean of the map; weigh every cell by σ(logits)":
                lambda s, z: s.mean((-2, -1)),
            "that is the sum; divide by the sum of the weights":
                lambda s, z: (z.sigmoid() * s).sum((-2, -1)),
            "divide by the sum of the weights |m|, not by the number of cells":
                lambda s, z: (z.sigmoid() * s).mean((-2, -1)),
            "the weights are σ(logits), not a softmax of the logits":
                lambda s, z: (z.flatten(-2).softmax(-1) * s.flatten(-2)).sum(-1),
        },
    ),
}


def verdict(name, answer):
    """What there is to say of an answer: (right?, sentence). Never raises for it."""
    exercise = EXERCISES[name]
    for arguments in exercise.inputs():
        try:
            found = answer(*arguments)
        except NotImplementedError:
            return False, "not filled in yet"
        except Exception as error:  # the student's, whatever it is
            return False, f"it stops with {type(error).__name__}: {error}"
        if found is None or found is ...:
            return False, "not filled in yet"
        right = exercise.truth(*arguments)
        problem = _difference(found, right)
        if problem:
            for message, mistake in exercise.mistakes.items():
                if not _difference(found, mistake(*arguments)):
                    return False, message
            return False, problem
    return True, "right"


def _difference(found, right, tolerance=1e-4):
    if isinstance(right, dict):
        if not isinstance(found, dict) or set(found) != set(right):
            return f"it returns {found!r:.80}; need a dict with {', '.join(right)}"
        problems = ((k, _difference(found[k], right[k])) for k in right)
        return next((f"{k}: {p}" for k, p in problems if p), None)
    try:
        found, right = torch.as_tensor(found), torch.as_tensor(right)
    except (TypeError, ValueError, RuntimeError):
        return f"it returns a {type(found).__name__}; need a tensor"
    if found.shape != right.shape:
        return f"its shape is {tuple(found.shape)}; need {tuple(right.shape)}"
    gap = (found.double() - right.double()).abs()
    if gap.numel() and not gap.max() <= tolerance:  # also where it is NaN
        at = gap.nan_to_num(torch.inf).argmax()
        where = tuple(int(i) for i in torch.unravel_index(at, gap.shape))
        place = f" at {list(where)}" if where else ""
        return (f"{(gap > tolerance).double().mean():.0%} of its values differ; "
                f"{found.flatten()[at]:.4g}{place}, need {right.flatten()[at]:.4g}")
    return None


def check(name, answer):
    """Print whether an answer to an exercise is right and, if not, what is wrong."""
    if name not in EXERCISES:
        raise ValueError(f"unknown exercise {name!r}; known are {', '.join(EXERCISES)}")
    right, sentence = verdict(name, answer)
    print(f"{'✓' if right else '✗'} {name}: {sentence}")
