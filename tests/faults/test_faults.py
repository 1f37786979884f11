"""Kills and other faults, made for real; `sslnb bench faults` makes many more."""

import sys

import numpy as np
import pytest

from tests.faults.commands import Grid, Pack, ParallelPack, Prepare, Train
from tests.faults.kills import Tally, kill, release, start_held, trial
from tests.faults.others import FAULTS, Skipped

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc"),
]


@pytest.mark.parametrize(
    ("kind", "kills"), [(Prepare, 3), (Pack, 2), (Train, 2), (Grid, 1)]
)
def test_a_command_killed_at_any_moment_goes_on_to_the_same_result(
    kind, kills, tmp_path
):
    tally = Tally()
    trial(kind(tmp_path / "data"), tally, np.random.default_rng(0), kills)
    assert tally == {f"kills {kind.__name__.lower()}": kills}


@pytest.mark.parametrize("kind", [Prepare, ParallelPack])
def test_workers_end_with_the_command_that_is_killed_alone(kind, tmp_path):
    """Those of torch waited for a pipe that nobody reads: they are given much to say."""
    command = kind(tmp_path / "data")
    process, held = start_held(command, tmp_path / "out", 30)
    assert held
    try:
        kill(process, group=False)  # AssertionError where they live on
    finally:
        release(command)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_is_told_in_one_line_and_costs_nothing(fault, tmp_path):
    command = FAULTS[fault][0](tmp_path / "data")
    try:
        fault(command, tmp_path / "place")
    except Skipped as reason:
        pytest.skip(str(reason))
    finally:
        release(command)
