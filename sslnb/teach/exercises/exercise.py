"""What an exercise is, and how an answer to it is judged.

An exercise is the right function, some inputs, and common mistakes, each as a function
that makes it: an answer with the results of a mistake gets the message of that mistake.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Exercise:
    """The right function, a function that makes inputs, and mistakes by message."""

    truth: Callable[..., Any]
    inputs: Callable[[], list[tuple]]
    mistakes: dict[str, Callable[..., Any]] = field(default_factory=dict)


def uniform(*shape: int, seed: int = 0) -> Tensor:
    """Numbers from 0 to 1, the same for the same seed."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def judge(exercise: Exercise, answer: Callable[..., Any]) -> tuple[bool, str]:
    """Whether an answer is right, and a sentence about it; its errors are caught."""
    # the inputs are made twice, because an answer may write into its own
    for arguments, given in zip(exercise.inputs(), exercise.inputs()):
        try:
            found = answer(*given)
        except NotImplementedError:
            return False, "not filled in yet"
        except Exception as error:  # any error of the reader's
            return False, f"it raises {type(error).__name__}: {error}"
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


def _difference(found: Any, right: Any, tolerance: float = 1e-4) -> str | None:
    """The difference of an answer from the right one in words; None if they agree."""
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
        return (
            f"{(~(gap <= tolerance)).double().mean():.0%} of its values differ; "
            f"{found.flatten()[at]:.4g}{place}, need {right.flatten()[at]:.4g}"
        )
    return None
