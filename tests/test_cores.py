"""Threads give way to other programs, and come back; a fixed number stays."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from sslnb import cores
from sslnb.cores import Cores, Load

TICK = 1.0  # seconds from one item of a loop to the next


class Machine:
    """A system whose clock and load a test sets: (threads that wait, idle cores)."""

    def __init__(self, monkeypatch):
        self.now, self.load = 0.0, Load(0.0, 0.0)
        self.waiting, self.idle = 0.0, 2.0
        monkeypatch.setattr(cores, "load", lambda: self.load)
        monkeypatch.setattr(cores.time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(cores.time, "sleep", self.run)
        monkeypatch.delenv("OMP_DYNAMIC", raising=False)

    def run(self, seconds=TICK):
        """Time passes under the load as it is."""
        self.now += seconds
        waited, idle = self.load
        self.load = Load(waited + seconds * self.waiting, idle + seconds * self.idle)


@pytest.fixture
def machine(monkeypatch):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield Machine(monkeypatch)
    torch.set_num_threads(before)


def threads_over(shared, machine, seconds):
    """The number of torch's threads in each second of a loop."""
    found = []
    for _ in shared.share(range(seconds)):
        found.append(torch.get_num_threads())
        machine.run()
    return found


def test_threads_give_way_and_come_back(machine):
    with Cores() as shared:
        machine.idle = 0.0  # at work
        assert threads_over(shared, machine, 3) == [2, 2, 2]
        machine.waiting = 0.9  # another program begins
        assert threads_over(shared, machine, 3) == [2, 1, 1]
        machine.waiting, machine.idle = 0.0, 1.0  # it ends
        found = threads_over(shared, machine, 14)
        assert found == sorted(found)
        assert found[5] == 1, "a core has to be free for longer"
        assert found[-1] == 2
    assert torch.get_num_threads() == 2


def test_who_has_given_way_often_waits_longer(machine):
    rests = []
    with Cores() as shared:
        for _ in range(5):
            machine.waiting, machine.idle = 1.0, 0.0
            threads_over(shared, machine, 2)
            machine.waiting, machine.idle = 0.0, 1.0
            rests.append(threads_over(shared, machine, 80).count(1))
    assert rests == sorted(rests)
    assert rests[0] < 15 and 55 < rests[-1] < 70


def test_a_busy_machine_is_seen_before_the_first_step(machine):
    machine.idle = 1.0  # of two: another program has the other
    with Cores() as shared:
        assert torch.get_num_threads() == shared.threads == 1
    assert torch.get_num_threads() == 2
    machine.idle = 0.0
    with Cores():
        assert torch.get_num_threads() == 1
    machine.idle = 1.9
    with Cores():
        assert torch.get_num_threads() == 2


def test_omp_dynamic_false_keeps_the_number(machine, monkeypatch):
    monkeypatch.setenv("OMP_DYNAMIC", "false")
    monkeypatch.setattr(cores, "quota", lambda: 1)
    machine.waiting = machine.idle = 0.0
    with Cores() as shared:
        assert threads_over(shared, machine, 3) == [2, 2, 2]
        machine.waiting = 2.0
        assert threads_over(shared, machine, 3) == [2, 2, 2]


def test_a_system_that_tells_nothing_keeps_the_number(machine, monkeypatch):
    monkeypatch.setattr(cores, "load", lambda: None)
    with Cores() as shared:
        assert threads_over(shared, machine, 3) == [2, 2, 2]


def test_a_container_has_no_more_threads_than_cores(machine, monkeypatch, tmp_path):
    limit = tmp_path / "cpu.max"
    for text, need in (
        ("max 100000\n", os.cpu_count()),
        ("100000 100000\n", 1),
        ("150000 100000\n", 2),
        ("1000 100000\n", 1),
        ("no number\n", os.cpu_count()),
        ("", os.cpu_count()),
    ):
        limit.write_text(text)
        assert cores.quota(limit) == need, text
    assert cores.quota(tmp_path / "none") == os.cpu_count()
    monkeypatch.setattr(cores, "quota", lambda: 1)
    with Cores():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2


def test_a_number_that_is_set_inside_stays(machine):
    with Cores():
        torch.set_num_threads(3)
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize(
    ("threads", "most", "waiting", "idle", "need"),
    [
        (2, 2, 0.1, 0.0, 2),
        (2, 2, 0.6, 0.0, 1),
        (2, 2, 5.0, 0.0, 1),  # one is the least
        (16, 16, 3.2, 0.0, 13),
        (13, 16, 0.0, 3.1, 16),
        (13, 16, 0.0, 0.8, 14),
        (13, 16, 0.0, 0.7, 13),
        (15, 16, 0.0, 9.0, 16),  # and no more than there were
        (1, 2, 0.9, 1.0, 1),  # who waits takes no more
    ],
)
def test_threads_fit_the_cores(threads, most, waiting, idle, need):
    assert cores.fitting(threads, most, waiting, idle) == need


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="Linux only")
def test_waiting_is_the_time_that_a_busy_thread_does_not_run():
    """Two processes on one core: what the clock counts and the processor does not."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        busy = "from time import process_time as t\nwhile t() < 0.5: pass"
        with subprocess.Popen([sys.executable, "-c", busy]) as other:
            before, began, worked = cores.load(), time.time(), time.thread_time()
            while other.poll() is None and time.time() < began + 30:
                pass
            stood = time.time() - began - (time.thread_time() - worked)
            after = cores.load()
            other.kill()
    finally:
        os.sched_setaffinity(0, allowed)
    assert stood > 0.05, "the other process did not get the core in 30 seconds"
    assert after.waited - before.waited == pytest.approx(stood, rel=0.2)
    assert after.idle >= before.idle
