"""Processes that make one run after the other, each by itself.

>>> with Workers(jobs=2) as workers:
...     workers.start("F-0", perform, run)
...     [(name, future)] = workers.ended()

Each has an executor to itself. Of one executor for all, a single process that is killed
would stop the runs of all others.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for
from threading import Thread
from typing import Any

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


class Workers:
    """A context with `jobs` processes, started when they are first needed.

    gpus: each process sees one of so many, in turn; 0: none, and computes with one thread.
    busy: {future: (what it is called, its place)}; free: places without work. A process
    that was killed is made anew. Where the block ends by an error or by Ctrl-C, all are
    ended at once; where this process dies, they end themselves.
    """

    def __init__(self, jobs: int, gpus: int = 0):
        self.gpus = visible_gpus(gpus)
        self.pools = [self._pool(place) for place in range(jobs)]
        self.free = list(range(jobs))
        self.busy: dict[Future, tuple[Any, int]] = {}

    def start(self, what: Any, function: Callable, *arguments: Any) -> None:
        """Give a free process something to do."""
        place = self.free.pop(0)
        try:
            future = self.pools[place].submit(function, *arguments)
        except BrokenProcessPool:  # it was killed while it had nothing to do
            self.pools[place] = self._pool(place)
            future = self.pools[place].submit(function, *arguments)
        self.busy[future] = what, place

    def ended(self) -> list[tuple[Any, Future]]:
        """What has ended, (what, future) each; waits for the first."""
        found = []
        for future in wait(self.busy, return_when=FIRST_COMPLETED).done:
            what, place = self.busy.pop(future)
            self.free.append(place)
            if isinstance(future.exception(), BrokenProcessPool):
                self.pools[place] = self._pool(place)
            found.append((what, future))
        return found

    def _pool(self, place: int) -> ProcessPoolExecutor:
        gpu = self.gpus[place % len(self.gpus)] if self.gpus else ""
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(1, context, _begin, (gpu,))

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, kind, error, traceback) -> None:
        for pool in self.pools:
            if kind is not None:
                for process in list((pool._processes or {}).values()):
                    process.terminate()
            pool.shutdown(cancel_futures=True)


def visible_gpus(count: int) -> list[str]:
    """What CUDA_VISIBLE_DEVICES calls the first `count` GPUs that this process sees."""
    known = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = known.split(",") if known else [str(number) for number in range(count)]
    return names[:count]


def _begin(gpu: str) -> None:
    """In each process, before it loads torch: its GPU or its one thread, and its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the command to handle
    os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    if not gpu:  # threads that share cores slow each other down many times
        os.environ |= dict.fromkeys(THREADS, "1")
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait_for([parent.sentinel])
    os._exit(1)
