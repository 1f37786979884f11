"""Runs of the grid on a Slurm cluster, as one job array (notebook 08).

>>> array = Array(runs, "gpu", hours=4, gpus=1)
>>> print(array.script())                       # what sbatch is given
>>> array.submit()
"4711"

Each task of the array makes one run. Folders must lie where all nodes see them. A task
that is preempted, or that has used up its hours, is put back into the queue, and goes on
from its last saved state.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from submitit import SlurmExecutor
from submitit.helpers import DelayedSubmission

from sslnb.experiments.grid import RUNS, Run
from sslnb.experiments.pool import perform_here
from sslnb.experiments.run import WORK

MEMORY = 8  # GB a run
TIMES = 20  # that a run may use up its hours, and go on


@dataclass(frozen=True)
class Task:
    """One run, as Slurm starts it and starts it again."""

    run: Run
    results: Path
    work: Path
    gpu: bool

    def __call__(self) -> None:
        """Make the run, or what is left of it."""
        perform_here(self.run, self.results, self.work, self.gpu)

    def checkpoint(self) -> DelayedSubmission:
        """What is done after an interruption: the same, for its state is on disk."""
        return DelayedSubmission(self)


@dataclass(frozen=True)
class Array:
    """A job array of runs.

    hours: that a task may take before it is put back into the queue; gpus: of each run, 0
    or 1; at_once: how many tasks may run side by side. ValueError where hours have no end.
    """

    runs: Sequence[Run]
    partition: str
    hours: float = 4.0
    gpus: int = 0
    at_once: int = 256
    results: Path = RUNS
    work: Path = WORK

    def __post_init__(self) -> None:
        if not 0 < self.hours < math.inf:
            raise ValueError(f"hours is {self.hours}; need a finite number above 0")

    @property
    def logs(self) -> Path:
        """The folder of what the tasks print, and of what Slurm is given."""
        return self.work.absolute() / "slurm"

    def script(self) -> str:
        """The script that sbatch is given; needs no Slurm."""
        executor = self._executor(_Anywhere)
        if len(self.runs) > 1:
            executor.parameters["map_count"] = len(self.runs)
        return executor._make_submission_file_text(executor._submitit_command_str, "")

    def submit(self) -> str:
        """Submit the array; its job's number. RuntimeError where there is no Slurm."""
        results, work = self.results.absolute(), self.work.absolute()
        jobs = self._executor(SlurmExecutor).submit_array(
            [Task(run, results, work, self.gpus > 0) for run in self.runs]
        )
        return jobs[0].job_id.split("_")[0]

    def _executor(self, kind: type[SlurmExecutor]) -> SlurmExecutor:
        executor = kind(self.logs, max_num_timeout=TIMES)
        settings: dict[str, Any] = {
            "job_name": "sslnb-experiments",
            "partition": self.partition,
            "time": max(1, round(60 * self.hours)),  # minutes
            "cpus_per_task": 1 + self.gpus,
            "mem": f"{MEMORY}GB",
            "array_parallelism": self.at_once,
            "additional_parameters": {"requeue": True},  # after a node fails, too
        }
        if self.gpus:
            settings["gpus_per_node"] = self.gpus
        executor.update_parameters(**settings)
        return executor


class _Anywhere(SlurmExecutor):
    """Writes scripts where Slurm is not installed, too."""

    @classmethod
    def affinity(cls) -> int:
        return 2
