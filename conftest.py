"""What all tests share: how stored outputs are compared, and what kernels inherit.

nbval runs the notebooks again and compares what comes out with what is stored,
letter by letter. Machines sum in different orders, so a decimal number may differ
a little here; everything else, whole numbers included, must be the same.
"""

import sys

import pytest

from tests.outputs import Output


@pytest.fixture(autouse=True)
def figures_are_closed():
    """One test's figures are not open in the next, which may count its own."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


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
