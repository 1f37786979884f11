"""Runs of the grid on all cores or GPUs of this machine (notebook 08).

>>> perform_all(grid.select(["table_1"]), jobs=2)

One process a job, each with one thread, or with one GPU of its own: runs are small, and
two of them side by side take no longer than one. A process keeps the clips that it has
loaded from run to run.
"""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from sslnb.experiments.grid import RUNS, Run
from sslnb.experiments.pace import Pace
from sslnb.experiments.workers import Workers

TRIES = 3  # of a run whose process is killed


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
    that ends: how many are left, and how long they will take. A run that fails does not
    stop the others. One whose process is killed goes on in a new process, TRIES times in
    all. One that another command makes is left to it. Stopped by Ctrl-C, or killed, all
    go on where they were when this is called again. ValueError for no job at all.
    """
    if jobs < 1:  # nothing would ever be done
        raise ValueError(f"jobs is {jobs}; need 1 or more")
    left = {run.name: run for run in runs if not run.is_done(results)}
    say(f"{len(runs) - len(left)} of {len(runs)} runs are done, {len(left)} are left")
    if not left:
        return {}
    jobs, pace, waiting = min(jobs, len(left)), Pace(results), deque(left.values())
    failed: dict[str, str] = {}
    killed: Counter[str] = Counter()
    elsewhere: set[str] = set()
    with Workers(jobs, gpus) as workers:
        while waiting or workers.busy:
            while waiting and workers.free:
                run = waiting.popleft()
                workers.start(run, perform_here, run, results, work, bool(gpus))
            for run, future in workers.ended():
                try:
                    made_here = future.result()
                except BrokenProcessPool:
                    killed[run.name] += 1
                    if killed[run.name] < TRIES:
                        say(f"{run.name}: its process was killed; a new one goes on")
                        waiting.appendleft(run)
                        continue
                    why = (
                        f"its process was killed {TRIES} times; if memory is short, take "
                        "fewer jobs"
                    )
                except BlockingIOError:
                    if run.name not in elsewhere:
                        elsewhere.add(run.name)
                        waiting.append(run)  # once more, after all others
                    continue
                except Exception as error:  # which must not stop the others
                    why = " ".join(f"{type(error).__name__}: {error}".split())
                else:
                    seconds = pace.add(run.result(results) or {"variant": run.variant})
                    del left[run.name]
                    rest = [run for run in left.values() if run.name not in failed]
                    took = (
                        f"{seconds:.0f} s" if made_here else "another command made it"
                    )
                    say(f"{run.name}: {took}; {pace.says(rest, jobs)}")
                    continue
                failed[run.name] = why
                say(f"{run.name} failed: {why}")
    busy = sorted(elsewhere & left.keys() - failed.keys())
    say(
        f"{len(runs) - len(left)} of {len(runs)} runs are done"
        + (f"; failed: {', '.join(failed)}" if failed else "")
        + (f"; made by another command: {', '.join(busy)}" if busy else "")
    )
    return failed


def perform_here(run: Run, results: Path, work: Path | None, gpu: bool) -> bool:
    """Make a run in this process, on its GPU or with one thread; False if it was done."""
    import torch

    from sslnb.experiments.run import WORK, make

    if not gpu:
        torch.set_num_threads(1)
    return make(run, results, work or WORK)
