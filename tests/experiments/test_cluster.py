"""Runs through Slurm: what sbatch is given, and arrays that a stand-in for it executes."""

import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from sslnb.cli import main


@pytest.fixture
def without_slurm(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))


def experiments(folder, *arguments):
    places = ("--grid", folder / "grid.toml", "--out", folder / "out")
    more = ("--work", folder / "work")
    return main(["experiments", *map(str, (*arguments, *places, *more))])


def test_a_dry_run_prints_the_script_and_the_runs_and_starts_nothing(
    tiny, without_slurm, capsys
):
    folder = tiny.parent
    options = ("--slurm", "gpu", "--hours", "2.5", "--gpus", "1", "--jobs", "3")
    assert experiments(folder, "both", *options, "--dry-run") == 0
    told = capsys.readouterr().out
    script, runs = told.split("\n\n0: ")
    lines = script.splitlines()
    assert lines[0] == "#!/bin/bash"
    for option in (
        "array=0-1%2",
        "cpus-per-task=2",
        "gpus-per-node=1",
        "mem=8GB",
        "partition=gpu",
        "requeue",
        "time=150",
        f"output={folder}/work/slurm/%A_%a_0_log.out",
    ):
        assert f"#SBATCH --{option}" in lines
    assert lines[-1].startswith("srun ")
    assert lines[-1].endswith(f"-m submitit.core._submit {folder}/work/slurm")
    assert runs.splitlines() == ["A-0", "1: B-0"]
    assert sorted(path.name for path in folder.iterdir()) == ["grid.toml"]


def test_hours_without_end_are_refused(tiny, without_slurm, capsys):
    options = ("--slurm", "gpu", "--hours", "inf", "--dry-run")
    assert experiments(tiny.parent, "A", *options) == 1
    assert "hours is inf; need a finite number above 0" in capsys.readouterr().err


def test_one_run_is_no_array_and_needs_no_gpu(tiny, without_slurm, capsys):
    assert experiments(tiny.parent, "A", "--slurm", "cpu", "--dry-run") == 0
    told = capsys.readouterr().out
    assert "--array" not in told and "gpus" not in told
    assert "#SBATCH --cpus-per-task=1" in told and "#SBATCH --time=240" in told
    assert told.splitlines()[-1] == "0: A-0"


def test_without_slurm_nothing_is_submitted(tiny, without_slurm, capsys):
    assert experiments(tiny.parent, "both", "--slurm", "cpu") == 1
    assert "on a slurm cluster" in capsys.readouterr().err
    assert not (tiny.parent / "work").exists()


# --- a stand-in for Slurm: the tasks of an array one after the other

SBATCH = """#!/bin/bash
echo "Submitted batch job 77"
cp "$1" "$CLUSTER/script"
last=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\)%.*/\\1/p' "$1")
(
    export SLURM_JOB_ID=77 SLURM_ARRAY_JOB_ID=77
    for task in $(seq 0 "$last"); do
        export SLURM_ARRAY_TASK_ID=$task
        echo "start 77_$task"
        bash "$CLUSTER/script"
        while [ -e "$CLUSTER/requeue-77_$task" ]; do
            rm "$CLUSTER/requeue-77_$task"
            echo "start 77_$task again"
            bash "$CLUSTER/script"
        done
    done
    echo end
) > "$CLUSTER/log" 2>&1 < /dev/null &
"""
SRUN = """#!/bin/bash
while [ "${1#--}" != "$1" ]; do
    case $1 in --output|--error) shift 2 ;; *) shift ;; esac
done
echo $$ > "$CLUSTER/task"
exec "$@"
"""
SCONTROL = """#!/bin/bash
[ "$1" = requeue ] && touch "$CLUSTER/requeue-$2"
"""


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """The folder of a cluster whose sbatch, srun and scontrol come first on PATH."""
    cluster = tmp_path / "cluster"
    cluster.mkdir()
    for name, text in (("sbatch", SBATCH), ("srun", SRUN), ("scontrol", SCONTROL)):
        (cluster / name).write_text(text)
        (cluster / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{cluster}:{os.environ['PATH']}")
    monkeypatch.setenv("CLUSTER", str(cluster))
    yield cluster
    if (cluster / "task").exists() and not has_ended(cluster):
        os.kill(int((cluster / "task").read_text()), signal.SIGKILL)


def log_of(cluster):
    return (cluster / "log").read_text() if (cluster / "log").exists() else ""


def has_ended(cluster):
    """Whether its last line says so: a traceback may hold the word, too."""
    return log_of(cluster).endswith("\nend\n")


def wait_for(condition, cluster, seconds=400):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, log_of(cluster)
        time.sleep(0.1)


def result(folder, name):
    found = json.loads((folder / "out" / f"{name}.json").read_text())
    return found["metrics"], found["per_clip"], found["history"]["loss"]


@pytest.mark.slow
def test_an_array_ends_with_the_results_of_the_pool_also_where_it_is_preempted(
    tiny, slurm, undisturbed, capsys
):
    folder = tiny.parent
    assert experiments(folder, "both", "--slurm", "cpu") == 0
    told = capsys.readouterr().out
    assert "submitted 2 runs as job 77" in told and str(folder / "work/slurm") in told
    begun = folder.glob
    wait_for(lambda: any(begun("work/A-*/state-0001*")), slurm)
    task = int((slurm / "task").read_text())
    os.kill(task, signal.SIGUSR2)  # what Slurm sends before it takes the node away
    wait_for(lambda: has_ended(slurm), slurm)
    log = log_of(slurm)
    assert log.count("start 77_0 again") == 1 and log.count("start 77_1") == 1
    for name in ("A-0", "B-0"):
        assert result(folder, name) == result(undisturbed[0], name)
    assert experiments(folder, "both", "--slurm", "cpu") == 0  # nothing is left
    assert "2 of 2 runs are done" in capsys.readouterr().out


def test_what_is_left_alone_is_submitted(tiny, without_slurm, capsys, undisturbed_a):
    folder = tiny.parent
    shutil.copytree(undisturbed_a, folder / "out")
    assert experiments(folder, "both", "--slurm", "cpu", "--dry-run") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "0: B-0"


@pytest.fixture
def undisturbed_a(tiny, tmp_path):
    """A folder in which A-0 is done, as far as its settings say."""
    from sslnb.experiments.grid import read_grid

    folder = Path(tmp_path / "done")
    folder.mkdir()
    (run,) = read_grid(tiny).select(["A"])
    run.path(folder).write_text(json.dumps(run.settings))
    return folder
