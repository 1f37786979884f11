"""Notebook 08: the grid of experiments."""

from pathlib import Path
from typing import Annotated

from cyclopts import Group
from cyclopts.types import PositiveInt

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
):
    """Make the runs of the grid of experiments that are not done yet.

    A grid that is stopped goes on where it was.

    Args:
        names: experiments, variants or runs of the grid [default: all]
        grid: what the runs are
        out: folder of the results, one JSON a run
        work: folder of the checkpoints
        jobs: runs side by side
        dry_run: only say what is left
    """
    import os

    import torch

    from sslnb.experiments.grid import read_grid
    from sslnb.experiments.pool import perform_all

    runs = read_grid(grid).select(names)
    if dry_run:
        for run in runs:
            if not run.is_done(out):
                print(run.name)
        return
    gpus = torch.cuda.device_count()
    jobs = jobs or gpus or os.cpu_count() or 1
    failed = perform_all(
        runs, jobs, out, work, gpus, lambda text: print(text, flush=True)
    )
    if failed:
        raise RuntimeError(f"{len(failed)} runs failed: {', '.join(failed)}")


COMMANDS = (experiments,)
