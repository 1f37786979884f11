"""What all tests share: outputs that are compared, what kernels inherit, no network.

nbval runs the notebooks again and compares what comes out with what is stored,
letter by letter. Machines sum in different orders, so a decimal number may differ
a little here; everything else, whole numbers included, must be the same.

No test reaches another machine, so neither does a command that is tested: whatever asks
for one's address, or connects to it, fails, also where the code forgives the error.
"""

import os
import signal
import sys

import pytest

from tests.network import REACHED, stay_here
from tests.outputs import Output

# ONNX Runtime would report its use to its maker, by code that is not Python
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
# Weights are compared bit by bit: a busy machine must not change the number of threads
os.environ.setdefault("OMP_DYNAMIC", "FALSE")


@pytest.fixture(autouse=True)
def figures_are_closed():
    """One test's figures are not open in the next, which may count its own."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(autouse=True, scope="module")
def no_test_takes_a_core_for_itself():
    """A real-time process, and all that it starts, would let no other have its core."""
    policy = getattr(os, "sched_getscheduler", lambda process: None)  # Linux has it
    before = policy(0)
    yield
    assert policy(0) == before


@pytest.fixture(autouse=True)
def no_test_reaches_the_network():
    """Fail where an error of `stay_here` was forgiven."""
    REACHED.clear()
    yield
    assert not REACHED


def pytest_collectstart(collector):
    """Let nbval compare Outputs: what its `sanitize` gives back is what it compares."""
    if type(collector).__name__ == "IPyNbFile":
        from nbval.plugin import IPyNbCell

        IPyNbCell.sanitize = lambda cell, text: (
            Output(text) if isinstance(text, str) else text
        )


def pytest_configure(config):
    """nbval's kernels are those that stored the outputs: same paths, threads, no GPU."""
    sys.addaudithook(stay_here)
    # In the background of a script Ctrl-C is ignored, also by all that is started there
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.getoption("nbval", False):
        from sslnb.series.run import kernel_environment

        environment = kernel_environment(cpu=True)
        environment.__enter__()
        config.add_cleanup(lambda: environment.__exit__(None, None, None))
