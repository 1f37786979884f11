"""What all tests share: how stored outputs are compared, and what kernels inherit.

nbval runs the notebooks again and compares what comes out with what is stored,
letter by letter. Machines sum in different orders, so a decimal number may differ
a little here; everything else, whole numbers included, must be the same.
"""

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


def pytest_collectstart(collector):
    """Let nbval compare Outputs: what its `sanitize` gives back is what it compares."""
    if type(collector).__name__ == "IPyNbFile":
        from nbval.plugin import IPyNbCell

        IPyNbCell.sanitize = lambda cell, text: (
            Output(text) if isinstance(text, str) else text
        )


def pytest_configure(config):
    """nbval's kernels are those that stored the outputs: same paths, threads, no GPU."""
    if config.getoption("nbval", False):
        from sslnb.series.run import kernel_environment

        environment = kernel_environment(cpu=True)
        environment.__enter__()
        config.add_cleanup(lambda: environment.__exit__(None, None, None))
