"""Fewer threads while other programs need the cores.

>>> with Cores() as cores:
...     for batch in cores.share(batches):
...         ...

The threads of a training step wait for each other thousands of times, some of them
spinning inside oneDNN, whatever OMP_WAIT_POLICY says. Where another program has taken
the core of one, the others spin until it is back, and a step takes many times as long.
With no more threads than there are free cores, training slows by its share
(`sslnb bench contention`).

Another number of threads rounds sums in another order. OpenMP's own variable
OMP_DYNAMIC=FALSE keeps the number as it is; OMP_NUM_THREADS and
`torch.set_num_threads` set the largest. Only Linux tells how long threads have waited:
elsewhere their number stays.
"""

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from math import ceil
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch

Item = TypeVar("Item")

LOOK = 1.0  # seconds over which waiting is measured
WAITING = 0.5  # threads without a core, on average, that are too many
FREE = 0.75  # of a core without work: room for one thread more
GLANCE = 0.2  # seconds over which idle cores are counted at first
PATIENCE = 5.0, 60.0  # seconds for which there has to be room, at first and at most


class Load(NamedTuple):
    """Seconds since the start of the system or of this process: both only grow."""

    waited: float  # for which this process's threads had no core, summed over them
    idle: float  # for which cores that it may use had no work, summed over them


class Cores:
    """A context in which a loop has as many threads as there are cores for them.

    It begins with torch's number of threads, or with as many as a container may use or as
    cores are idle, and leaves torch's number as it was. `threads`: their number now.
    """

    def __init__(self):
        self.usual = torch.get_num_threads()
        fixed = os.environ.get("OMP_DYNAMIC", "").strip().lower() == "false"
        self.most = self.threads = self.usual if fixed else min(self.usual, quota())
        self.load = load() if self.most > 1 and not fixed else None
        self.patience = PATIENCE[0]
        self.looked = self.full = time.perf_counter()  # when there last was no room

    def share(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items of a loop; between two of them, the number of threads adapts."""
        for item in items:
            now = time.perf_counter()
            if self.load is not None and now - self.looked >= LOOK:
                self._adapt(now)
            yield item

    def _adapt(self, now: float) -> None:
        before, after, elapsed = self.load, load(), now - self.looked
        if before is None or after is None:
            return
        waiting = (after.waited - before.waited) / elapsed
        idle = (after.idle - before.idle) / elapsed
        self.looked, self.load = now, after
        if idle < FREE or waiting > WAITING:
            self.full = now
        rested = now - self.full >= self.patience
        threads = fitting(self.threads, self.most, waiting, idle if rested else 0)
        if threads == self.threads:
            return
        if threads < self.threads:  # perhaps it was too early to take more
            self.patience = min(2 * self.patience, PATIENCE[1])
        self.full, self.threads = now, threads
        torch.set_num_threads(threads)

    def __enter__(self) -> "Cores":
        if self.load is not None:
            time.sleep(GLANCE)
            now, after = time.perf_counter(), load()
            idle = 0.0 if after is None else after.idle - self.load.idle
            self.threads = min(self.most, max(1, round(idle / (now - self.looked))))
            self.looked, self.load = now, after
        if self.threads != self.usual:
            torch.set_num_threads(self.threads)
        return self

    def __exit__(self, kind, error, traceback) -> None:
        if torch.get_num_threads() == self.threads:  # else it was set inside
            torch.set_num_threads(self.usual)


def fitting(threads: int, most: int, waiting: float, idle: float) -> int:
    """How many threads to go on with, of `threads` now and `most` at most.

    waiting: how many of them had no core, on average; idle: cores that had no work.
    """
    if waiting > WAITING:
        return max(1, threads - max(1, round(waiting)))
    if idle >= FREE:
        return min(most, threads + max(1, int(idle)))
    return threads


def load() -> Load | None:
    """What the system tells of this process's threads and cores; None if it does not."""
    waited = 0
    try:
        for task in Path("/proc/self/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
                waited += int((task / "schedstat").read_text().split()[1])
        lines = Path("/proc/stat").read_text().splitlines()
        mine = {f"cpu{number}" for number in os.sched_getaffinity(0)}
        cores = [fields for line in lines if (fields := line.split())[0] in mine]
        ticks = sum(int(fields[4]) + int(fields[5]) for fields in cores)  # idle, iowait
    except (OSError, ValueError, IndexError, AttributeError):
        return None
    return Load(waited / 1e9, ticks / os.sysconf("SC_CLK_TCK"))


def quota(path: str | Path = "/sys/fs/cgroup/cpu.max") -> int:
    """Cores whose time a container may use (cgroup v2); many where nothing limits it."""
    with suppress(OSError, ValueError):
        time_, period = Path(path).read_text().split()  # "150000 100000", "max 100000"
        return max(1, ceil(int(time_) / int(period)))
    return os.cpu_count() or 1
