"""Errors of all commands: one line on stderr."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

FAILURES = (OSError, ValueError, RuntimeError, ArithmeticError)


def say(text: str) -> None:
    """Print a line on stderr."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def in_one_line() -> Iterator[None]:
    """What fails inside is printed at once; the process then ends with exit code 1."""
    try:
        yield
    except FAILURES as error:
        say(f"error: {_text(error)}")
        sys.exit(1)


def _text(error):
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"  # without "[Errno 2]"
    lines = (line.strip() for line in str(error).splitlines())
    return "; ".join(line for line in lines if line)
