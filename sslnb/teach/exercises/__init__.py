"""Exercises that say what is wrong, a file for each notebook.

    >>> check("weighted_mean", my_weighted_mean)
    ✗ weighted_mean: that is the plain mean of the map; weight every cell by σ(logits)

`exercise` says what an exercise is; a new one is an entry in its notebook's file.
"""

from collections.abc import Callable
from typing import Any

from sslnb.teach.exercises import (
    augmentations,
    data,
    equivariance,
    evaluation,
    experiments,
    invariance,
    retrieval,
    training,
)
from sslnb.teach.exercises.exercise import Exercise, judge

EXERCISES: dict[str, Exercise] = {
    **data.EXERCISES,
    **augmentations.EXERCISES,
    **invariance.EXERCISES,
    **equivariance.EXERCISES,
    **training.EXERCISES,
    **evaluation.EXERCISES,
    **retrieval.EXERCISES,
    **experiments.EXERCISES,
}


def verdict(name: str, answer: Callable[..., Any]) -> tuple[bool, str]:
    """Whether an answer is right, and a sentence about it; its errors are caught."""
    return judge(EXERCISES[name], answer)


def check(name: str, answer: Callable[..., Any]) -> None:
    """Print whether an answer to an exercise is right and, if not, what is wrong."""
    if name not in EXERCISES:
        raise ValueError(f"unknown exercise {name!r}; known are {', '.join(EXERCISES)}")
    right, sentence = verdict(name, answer)
    print(f"{'✓' if right else '✗'} {name}: {sentence}")
