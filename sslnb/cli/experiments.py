"""Notebook 08: the grid of experiments."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Group
from cyclopts.types import PositiveFloat, PositiveInt

from sslnb.cli.options import Flag, default
from sslnb.experiments.grid import GRID, RUNS

GROUP = Group("Experiments (notebook 08)", sort_key=6)


def experiments(
    *names: str,
    grid: Annotated[Path, default("data/experiments/grid.toml")] = GRID,
    out: Annotated[Path, default("data/experiments/runs")] = RUNS,
    work: Annotated[Path | None, default("runs/experiments")] = None,
    jobs: Annotated[PositiveInt | None, default("one a core, or one a GPU")] = None,
    dry_run: Flag = False,
    slurm: str | None = None,
    hours: PositiveFloat = 4.0,
    gpus: Literal[0, 1] = 0,
):
    """Make the runs of the grid of experiments that are not done yet.

    A grid that is stopped goes on where it was.

    Args:
        names: experiments, variants or runs of the grid [default: all]
        grid: what the runs are
        out: folder of the results, one JSON a run
        work: folder of the checkpoints
        jobs: runs side by side; on Slurm 256
        dry_run: only say what is left, and how long it will take; with --slurm, print the
            script for sbatch, too
        slurm: submit the runs to this partition of a Slurm cluster, as one job array
        hours: on Slurm, that a run may take at a stretch; it then queues again, and goes on
        gpus: on Slurm, of each run
    """
    from sslnb.experiments.grid import read_grid

    runs = read_grid(grid).select(names)
    left = [run for run in runs if not run.is_done(out)]
    if slurm is not None and left:
        _submit(left, slurm, hours, gpus, jobs, out, work, dry_run)
    elif slurm is not None or dry_run:
        for run in left:
            print(run.name)
        _say_what_is_left(runs, left, out, jobs or _places()[0])
    else:
        _perform(runs, jobs, out, work)


def _perform(runs, jobs, out, work):
    from sslnb.experiments.pool import perform_all

    places, gpus = _places()
    failed = perform_all(
        runs, jobs or places, out, work, gpus, lambda text: print(text, flush=True)
    )
    if failed:
        raise RuntimeError(
            f"{len(failed)} of {len(runs)} runs failed: {', '.join(failed)}"
        )


def _submit(left, partition, hours, gpus, jobs, out, work, dry_run):
    from sslnb.experiments.cluster import WORK, Array

    array = Array(left, partition, hours, gpus, jobs or 256, out, work or WORK)
    if dry_run:
        print(array.script())
        for number, run in enumerate(left):
            print(f"{number}: {run.name}")
        return
    job = array.submit()
    print(
        f"submitted {len(left)} runs as job {job}; their results come to {out}, and what "
        f"they print to {array.logs}"
    )


def _say_what_is_left(runs, left, out, jobs):
    from sslnb.experiments.pace import Pace

    print(
        f"{len(runs) - len(left)} of {len(runs)} runs are done, "
        f"{Pace(out).says(left, jobs)}"
    )


def _places():
    """How many runs fit side by side, and how many GPUs there are."""
    import os

    import torch

    gpus = torch.cuda.device_count()
    on_linux = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if on_linux else os.cpu_count() or 1
    return gpus or cores, gpus


COMMANDS = (experiments,)
