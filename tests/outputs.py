"""Stored outputs, and how they are compared: decimals may differ a little."""

import math
import re

# 0.5, -1.25e-3, .5, 1e-05: with a decimal point or an exponent; not part of a
# word or of a longer dotted thing such as a version
DECIMAL = re.compile(
    r"(?<![\w.])([-−+]?(?:\d*\.\d+|\d+(?=e[-+]?\d))(?:e[-+]?\d+)?)(?![\w.]*\d)"
)
RELATIVE, ABSOLUTE = 0.02, 0.02


class Output(str):
    """An output that equals another where only decimals differ, and only a little.

    Text between the decimals must be the same but for the width of its spaces, and
    for spaces beside a decimal, with which tables are aligned. Numbers may differ by 2 % or by 0.02, whichever
    is more; `nan` and `inf` are text.
    """

    def __eq__(self, other):
        if not isinstance(other, str):
            return NotImplemented
        mine, yours = DECIMAL.split(self), DECIMAL.split(other)
        if len(mine) != len(yours):
            return False
        if len(mine) == 1:
            return str.__eq__(self, other)
        texts = all(_spaced(a) == _spaced(b) for a, b in zip(mine[::2], yours[::2]))
        return texts and all(map(_close, mine[1::2], yours[1::2]))

    def __ne__(self, other):
        return not self == other

    __hash__ = None


def _spaced(text):
    return re.sub(r"[ \t]+", " ", text).strip(" ")


def _close(a, b):
    a, b = (float(number.replace("−", "-")) for number in (a, b))
    return math.isclose(a, b, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
