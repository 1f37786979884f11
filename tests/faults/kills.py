"""Kills at random moments, and what each must leave.

>>> tally = Tally()
>>> trial(Train(folder), tally, rng, kills=13)

A moment is one in time, anywhere in the length of an undisturbed run, or a file
operation, any of those that an undisturbed run does: so that the short ones, such as
renaming, are met as well. A command is killed, and goes on, until it ends; then its
result is compared with the undisturbed one, and it begins anew.
"""

import os
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

ALIVE = 60  # seconds that the processes of a command which was killed may live on


class Tally(Counter):
    """kills: by command; lost, repeated, half_written, different: how often."""

    def blame(self, what, command, details):
        """Count something that must not be."""
        self[what] += 1
        print(f"  {what.upper()}: {command.name}: {details}", flush=True)


def trial(command, tally, rng, kills):
    """Kill a command until it has been killed so often, and compare what it makes.

    rng: a numpy Generator, from which the moments are drawn.
    """
    right, out = command.place / "undisturbed", command.place / "out"
    undisturbed(command, right)
    done = 0
    while done < kills:
        shutil.rmtree(out, ignore_errors=True)
        command.restore()
        while done < kills:
            before = command.done(out)
            moment = (
                rng.uniform(0, command.seconds)
                if rng.random() < 0.5
                else int(rng.integers(1, command.operations + 1))
            )
            group = bool(rng.random() < 0.75)  # else the workers end by themselves
            if not struck(command, out, moment, group):
                break  # it ended before that
            done += 1
            tally[f"kills {command.name}"] += 1
            inspect(command, out, right, before, tally)
            command.spoil(out)
        compare(command, out, right, tally)


def undisturbed(command, right):
    """Let a command run to its end: its `seconds`, and how many file `operations`."""
    mark = command.place / "mark"
    Path(f"{mark}.count").unlink(missing_ok=True)
    began = time.monotonic()
    code = command.run(right, under=f"{right}", at=-1, mark=f"{mark}")
    assert code == 0, command.said("errors") + command.said()
    command.seconds = time.monotonic() - began
    command.operations = Path(f"{mark}.count").stat().st_size
    print(
        f"{command.name}: undisturbed {command.seconds:.1f} s, {command.operations} "
        "file operations",
        flush=True,
    )


def struck(command, out, moment, group=True):
    """Start a command and kill it at a moment; False where it ended before.

    moment: seconds from its start, or (int) the number of a file operation.
    """
    if isinstance(moment, int):
        process, held = start_held(command, out, moment)
        if not held:
            return False
    else:
        process = command.start(out)
        time.sleep(moment)
        if process.poll() is not None:
            return False
    kill(process, group)
    release(command)
    return True


def start_held(command, out, at, under=None):
    """Start a command that holds still before a file operation; (process, who, or 0)."""
    release(command)
    mark = command.place / "mark"
    Path(f"{mark}.count").unlink(missing_ok=True)
    process = command.start(out, under=f"{under or out}", at=at, mark=f"{mark}")
    while not mark.exists():
        if process.poll() is not None:
            return process, 0
        time.sleep(0.002)
    return process, int(mark.read_text())


def release(command):
    """Let go on what holds still."""
    (command.place / "mark").unlink(missing_ok=True)


def kill(process, group=True):
    """SIGKILL: all processes of a command, or the first, after which the others end."""
    if group:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()
    last = time.monotonic() + ALIVE
    while members(process.pid):
        assert time.monotonic() < last, "its processes outlive a command"
        time.sleep(0.01)


def members(leader):
    """Processes of a session that are still at work, as Linux lists them."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, owner = stat.read_text().rsplit(")", 1)[1].split()[:4]
        except OSError:
            continue  # it ended just now
        if int(owner) == leader and state not in "ZX":
            found.append(int(stat.parent.name))
    return found


def inspect(command, out, right, before, tally):
    """What is on the disk after a kill, held against what was there, and was said."""
    if half := command.half_written(out, right):
        tally.blame("half_written", command, half)
    after = command.done(out)
    if lost := (before.keys() | command.told()) - after.keys():
        tally.blame("lost", command, lost)
    if again := [
        name for name in before if after.get(name, before[name]) != before[name]
    ]:
        tally.blame("repeated", command, again)


def compare(command, out, right, tally):
    """Let a command go on to its end, and compare what it made with what it should."""
    before = command.done(out)
    code = command.run(out)
    if code:
        tally.blame("different", command, command.said("errors") or command.said())
        return
    inspect(command, out, right, before, tally)
    if command.result(out) != command.result(right):
        tally.blame("different", command, "another result")
