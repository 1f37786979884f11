"""Many runs at once, in real processes, some of which are killed."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from sslnb.experiments import pool, workers
from sslnb.experiments.grid import Run
from sslnb.experiments.pool import TRIES, perform_all
from sslnb.experiments.workers import Workers, visible_gpus
from sslnb.training.recipe import TrainConfig
from tests.experiments.conftest import TINY, command

pytestmark = pytest.mark.slow


# --- what the pool does, with runs that train nothing


def runs_named(*names):
    return [Run(name, TrainConfig(), 10) for name in names]


def pretend(run, results, work, gpu):
    """What a run's name says: it writes a result, fails, is killed, or is at work."""
    marks = Path(work) / f"{run.variant}.pids"
    marks.parent.mkdir(parents=True, exist_ok=True)
    with marks.open("a") as file:
        file.write(f"{os.getpid()}\n")
    times = len(marks.read_text().splitlines())
    if run.variant.startswith("bad"):
        raise ValueError("half is\n  wrong")
    if run.variant.startswith("killed"):
        if times <= int(run.variant[-1]):
            os.kill(os.getpid(), signal.SIGKILL)
    if run.variant.startswith("busy") and times <= int(run.variant[-1]):
        raise BlockingIOError("another process makes it")
    if run.variant.startswith("slow"):
        time.sleep(2)
    results.mkdir(exist_ok=True)
    result = {**run.settings, "variant": run.variant, "seconds": 7.0}
    run.path(results).write_text(json.dumps(result), encoding="utf-8")
    return not run.variant.startswith(("late", "busy"))


def pids(folder, name):
    return (folder / "work" / f"{name}.pids").read_text().split()


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Makes runs with these names; (what failed, what was said)."""
    monkeypatch.setattr(pool, "perform_here", pretend)

    def make(*names, jobs=2):
        said = []
        runs = runs_named(*names)
        where = tmp_path / "out", tmp_path / "work"
        failed = perform_all(runs, jobs, *where, say=said.append)
        done = {run.variant for run in runs if run.is_done(tmp_path / "out")}
        return failed, done, said

    return make


def test_all_runs_are_made_and_the_last_line_says_so(made, tmp_path):
    failed, done, said = made("a", "b", "c")
    assert failed == {} and done == {"a", "b", "c"}
    assert said[0] == "0 of 3 runs are done, 3 are left"
    assert said[-2].endswith(": 7 s; 0 runs are left")
    assert said[-1] == "3 of 3 runs are done"
    assert made("a", "b", "c", "d")[2][0] == "3 of 4 runs are done, 1 are left"
    assert len(pids(tmp_path, "a")) == 1  # it was not made again
    assert made("a")[2] == ["1 of 1 runs are done, 0 are left"]


def test_more_jobs_than_runs_start_no_more_processes(made, tmp_path):
    failed, done, said = made("a", "b", jobs=50)
    assert failed == {} and done == {"a", "b"}
    assert any("1 run is left, about 0 minutes at 2 side by side" in x for x in said)


@pytest.mark.parametrize("jobs", [0, -1])
def test_no_job_at_all_is_refused(made, jobs):
    """It would wait for ever."""
    with pytest.raises(ValueError, match=f"jobs is {jobs}; need 1 or more"):
        made("a", jobs=jobs)


def test_a_failing_run_stops_no_other_and_is_named_in_one_line(made):
    failed, done, said = made("bad", "a", "b", "c")
    assert failed == {"bad-0": "ValueError: half is wrong"}
    assert done == {"a", "b", "c"}
    assert "bad-0 failed: ValueError: half is wrong" in said
    assert said[-1] == "3 of 4 runs are done; failed: bad-0"


def test_a_killed_process_costs_no_other_run_its_work(made, tmp_path):
    """One executor for all would break with it, and lose every run that it has."""
    failed, done, said = made("slow", "killed 1", "a", "b")
    assert failed == {} and done == {"slow", "killed 1", "a", "b"}
    assert len(pids(tmp_path, "slow")) == 1
    first, second = pids(tmp_path, "killed 1")
    assert first != second
    assert "killed 1-0: its process was killed; a new one goes on" in said


def test_a_run_that_always_kills_its_process_is_given_up(made, tmp_path):
    failed, done, _ = made("killed 9", "a", "b", jobs=1)
    assert list(failed) == ["killed 9-0"] and f"killed {TRIES} times" in str(failed)
    assert done == {"a", "b"} and len(pids(tmp_path, "killed 9")) == TRIES


def test_a_run_of_another_command_is_tried_once_more_and_left_to_it(made, tmp_path):
    failed, done, said = made("busy 9", "busy 1", "a", jobs=1)
    assert failed == {} and done == {"busy 1", "a"}
    assert len(pids(tmp_path, "busy 9")) == 2
    assert said[-1] == "2 of 3 runs are done; made by another command: busy 9-0"


def test_a_run_that_another_command_has_just_made_is_not_said_to_be_made_here(made):
    _, done, said = made("late", "a")
    assert done == {"late", "a"} and said[-1] == "2 of 2 runs are done"
    assert any(line.startswith("late-0: another command made it; ") for line in said)
    assert any(line.startswith("a-0: 7 s; ") for line in said)


def environment():
    return {
        name: os.environ.get(name)
        for name in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")
    }


@pytest.mark.parametrize("visible, names", [(None, "01"), ("3,5,6", "35")])
def test_each_process_sees_one_gpu_of_those_that_the_command_sees(
    visible, names, monkeypatch
):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert visible_gpus(2) == list(names)
    found = []
    with Workers(2, gpus=2) as several:
        for place in range(2):
            several.start(place, environment)
        while several.busy:
            found += [future.result() for _, future in several.ended()]
    assert sorted(each["CUDA_VISIBLE_DEVICES"] for each in found) == list(names)
    assert {each["OMP_NUM_THREADS"] for each in found} == {None}
    with Workers(1) as one:
        one.start("it", environment)
        ((_, future),) = one.ended()
    assert future.result() == {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    assert os.environ.get("OMP_NUM_THREADS") is None  # here, nothing has changed


def test_a_process_that_was_killed_while_it_waited_is_made_anew():
    with Workers(1) as one:
        one.start("it", os.getpid)
        ((_, future),) = one.ended()
        os.kill(future.result(), signal.SIGKILL)
        deadline = time.monotonic() + 30
        while not one.pools[0]._broken and time.monotonic() < deadline:
            time.sleep(0.05)
        one.start("again", os.getpid)
        ((_, again),) = one.ended()
    assert again.result() != future.result()


def test_an_error_ends_the_processes_at_once():
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt), Workers(1) as one:
        one.start("it", time.sleep, 300)
        raise KeyboardInterrupt
    assert time.monotonic() - started < 60
    assert not one.pools[0]._processes
    assert workers.THREADS  # of what a process without a GPU has one


# --- real runs, really killed


def results_in(folder):
    """What must not depend on how often a run was killed."""
    found = {}
    for path in (folder / "out").glob("[!.]*.json"):
        result = json.loads(path.read_text(encoding="utf-8"))
        history = {k: v for k, v in result["history"].items() if k != "seconds"}
        found[path.name] = result["metrics"], result["per_clip"], history
    return found


def processes_of(command):
    """{pid: its command line} of the living children of a process."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = (path / "stat").read_text().rsplit(") ", 1)[1].split()[1]
            line = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (OSError, IndexError):
            continue
        if int(parent) == command.pid and "spawn_main" in line:
            found[int(path.name)] = line
    return found


def is_alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0]
    except OSError:
        return False
    return state != "Z"


def wait_until(condition, process, seconds=240):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.05)


def in_the_middle(folder, process, name="A"):
    """Wait until a run has saved its first state: two more epochs are to come."""
    wait_until(lambda: any((folder / "work").glob(f"{name}-*/state-0001*")), process)


@pytest.fixture
def folder(tiny):
    return tiny.parent


def end(process):
    said, _ = process.communicate(timeout=500)
    return said


def test_a_worker_killed_in_the_middle_of_its_run_changes_no_result(
    folder, undisturbed
):
    process = command(folder, "both", "--jobs", "1")
    in_the_middle(folder, process)
    (worker,) = processes_of(process)
    os.kill(worker, signal.SIGKILL)
    said = end(process)
    assert process.returncode == 0, said
    assert "A-0: its process was killed; a new one goes on" in said
    assert "2 of 2 runs are done" in said
    assert results_in(folder) == results_in(undisturbed[0])


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_processes_end_with_the_command(how, folder, tiny):
    # so many epochs that no run is done before the signal comes
    long = tiny.read_text(encoding="utf-8").replace("epochs = 3", "epochs = 1000")
    tiny.write_text(long, encoding="utf-8")
    process = command(folder, "both", "--jobs", "2")
    in_the_middle(folder, process)
    several = processes_of(process)
    assert len(several) == 2
    if how == signal.SIGINT:  # a terminal sends Ctrl-C to the whole group
        os.killpg(process.pid, how)
    else:
        process.send_signal(how)
    said = end(process)
    deadline = time.monotonic() + 60
    while any(map(is_alive, several)):
        assert time.monotonic() < deadline, "a process is left"
        time.sleep(0.1)
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert "stopped: what is done is kept, and the same command goes on" in said
        assert "Traceback" not in said


def test_a_run_that_fails_is_said_and_others_are_made(folder, undisturbed):
    process = command(folder, "C", "A", "--jobs", "1")
    said = end(process)
    assert process.returncode == 1
    assert "C-0 failed: ValueError: half is '0z'; need a number and a or b" in said
    assert "error: 1 of 2 runs failed: C-0" in said
    assert results_in(folder)["A-0.json"] == results_in(undisturbed[0])["A-0.json"]


def test_two_commands_at_once_make_no_run_twice(folder, undisturbed):
    several = [command(folder, "both", "--jobs", "1") for _ in range(2)]
    said = [end(process) for process in several]
    assert [process.returncode for process in several] == [0, 0], said
    for name in ("A-0", "B-0"):
        made = [
            line
            for text in said
            for line in text.splitlines()
            if line.startswith(f"{name}: ") and "another command" not in line
        ]
        assert len(made) == 1, said
    assert results_in(folder) == results_in(undisturbed[0])


def test_a_dry_run_says_what_is_left_and_for_how_long(undisturbed, tmp_path):
    folder, said = undisturbed
    assert "2 of 2 runs are done" in said
    grid = TINY.replace("seeds = [0]", "seeds = [0, 1]")
    (tmp_path / "grid.toml").write_text(grid, encoding="utf-8")
    (tmp_path / "out").symlink_to(folder / "out")
    process = command(tmp_path, "both", "--jobs", "1", "--dry-run")
    *names, last = end(process).splitlines()
    assert names == ["A-1", "B-1"] and not (tmp_path / "work").exists()
    assert last.startswith("2 of 4 runs are done, 2 runs are left, about ")
    took = [json.loads(p.read_text()) for p in (folder / "out").glob("[!.]*.json")]
    need = sum(each["seconds"] + each["seconds_measuring"] for each in took) / 60
    assert f"about {need:.0f} minutes at 1 side by side" in last
