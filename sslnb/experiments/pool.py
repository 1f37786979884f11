"""Runs of the grid on all cores or GPUs of this machine (notebook 08).

>>> perform_all(grid.select(["table_1"]), jobs=2)

One process a job, each with one thread, or with one GPU of its own: runs are small, and
two of them side by side take no longer than one. A process keeps the clips that it has
loaded from run to run.
"""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median

from sslnb.experiments.grid import RUNS, Run

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def perform_all(
    runs: Sequence[Run],
    jobs: int,
    results: Path = RUNS,
    work: Path | None = None,
    gpus: int = 0,
    say: Callable[[str], None] = print,
) -> dict[str, str]:
    """Make the runs that are not done, `jobs` at a time; {run: why it failed}.

    gpus: each job gets one of them in turn; 0: the processor. `say` is told of every run
    that ends: how many are left, and how long they will take. A run that fails, or that
    another process makes, does not stop the others. Stopped by Ctrl-C, or killed, all go
    on where they were when this is called again.
    """
    left = [run for run in runs if not run.is_done(results)]
    say(f"{len(runs) - len(left)} of {len(runs)} runs are done, {len(left)} are left")
    failed: dict[str, str] = {}
    took: list[float] = []
    with _pool(min(jobs, len(left)) or 1, gpus) as pool:
        futures = {pool.submit(_perform, run, results, work): run for run in left}
        for number, future in enumerate(as_completed(futures), 1):
            run = futures[future]
            why, seconds = _outcome(future)
            if why:
                failed[run.name] = why
                say(f"{run.name} failed: {why}")
                continue
            took.append(seconds)
            rest = len(left) - number
            hours = median(took) * rest / jobs / 3600
            say(
                f"{run.name}: {seconds:.0f} s; {rest} runs are left"
                + (f", about {hours:.1f} hours" if rest else "")
            )
    return failed


def _outcome(future: Future) -> tuple[str, float]:
    """Why a run failed, "" if it did not, and its seconds."""
    try:
        return "", future.result()
    except BrokenProcessPool:
        return "its process, or another, was killed: start again, and it goes on", 0.0
    except Exception as error:  # whatever stops one run must not stop the others
        return " ".join(f"{type(error).__name__}: {error}".split()), 0.0


@contextmanager
def _pool(jobs: int, gpus: int) -> Iterator[ProcessPoolExecutor]:
    """Processes with one thread each, or one GPU; stopped at once by Ctrl-C."""
    context = multiprocessing.get_context("spawn")
    turns = context.Queue()
    for number in range(jobs):
        turns.put(number % gpus if gpus else -1)
    before = {name: os.environ.get(name) for name in THREADS}
    if not gpus:  # threads that share cores slow each other down many times
        os.environ |= dict.fromkeys(THREADS, "1")
    pool = ProcessPoolExecutor(jobs, context, _begin, (turns,))
    try:
        yield pool
    except BaseException:
        for process in list((pool._processes or {}).values()):
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        for name, value in before.items():
            with suppress(KeyError):
                del os.environ[name]
            if value is not None:
                os.environ[name] = value


def _begin(turns) -> None:
    """In each process, before it loads torch: which GPU it has."""
    gpu = turns.get()
    os.environ["CUDA_VISIBLE_DEVICES"] = "" if gpu < 0 else str(gpu)


def _perform(run: Run, results: Path, work: Path | None) -> float:
    """Make a run in this process; its seconds."""
    from sslnb.experiments.run import WORK, perform

    started = time.perf_counter()
    perform(run, results, work or WORK)
    return time.perf_counter() - started
