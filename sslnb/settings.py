"""Settings that come from a file, against what their dataclass says of them.

>>> check(TrainConfig(), {"epochs": (1, inf)})
>>> check(replace(LAPTOP_AUDIO, hop="400"))
Traceback (most recent call last):
ValueError: hop is '400'; need int
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import fields
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


def check(
    settings: Any,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    **names: Iterable[str],
) -> None:
    """ValueError where a field of a dataclass is not of its type, or not in its range.

    ranges: {field: (smallest, largest)}, of numbers and of the numbers in a tuple. A
    float must be finite, and may be an int; a bool is no int, nor is an integer of
    NumPy's, which JSON cannot hold. names: of a field those that are known, in place of
    its annotation.
    """
    hints = get_type_hints(type(settings))
    for field in fields(settings):
        value, kind = getattr(settings, field.name), hints[field.name]
        if known := tuple(names.get(field.name, ())):
            kind = Literal[known]
        if not fits(value, kind):
            raise ValueError(f"{field.name} is {value!r:.80}; need {_words(kind)}")
    for name, (low, high) in (ranges or {}).items():
        value = getattr(settings, name)
        numbers = value if isinstance(value, tuple) else (value,)
        if any(each is not None and not low <= each <= high for each in numbers):
            most = "or more" if high == math.inf else f"to {high:g}"
            raise ValueError(f"{name} is {value!r:.80}; need {low:g} {most}")


def fits(value: Any, kind: Any) -> bool:
    """Whether a value is of an annotated type: a plain one, Literal, tuple or union."""
    args = get_args(kind)
    if get_origin(kind) is Literal:
        return any(type(value) is type(each) and value == each for each in args)
    if get_origin(kind) in (Union, UnionType):
        return any(fits(value, each) for each in args)
    if get_origin(kind) is tuple:
        if not isinstance(value, tuple):
            return False
        kinds = args[:1] * len(value) if args[-1] is Ellipsis else args
        return len(value) == len(kinds) and all(map(fits, value, kinds))
    if kind in (int, float) and isinstance(value, bool):
        return False
    if kind is float:
        return isinstance(value, (float, int)) and -1e300 <= value <= 1e300
    return isinstance(value, kind)


def _words(kind):
    """A type in words: "bf16 or fp32", "float or nothing", "a list of 2 float"."""
    args = get_args(kind)
    if get_origin(kind) is Literal and len(args) > 3:
        return f"one of {', '.join(args)}"
    if get_origin(kind) in (Literal, Union, UnionType):
        return " or ".join(map(_words, args))
    if get_origin(kind) is tuple:
        count = "" if args[-1] is Ellipsis else f"{len(args)} "
        return f"a list of {count}{_words(args[0])}"
    return "nothing" if kind is NoneType else getattr(kind, "__name__", kind)
