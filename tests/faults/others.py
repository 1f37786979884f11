"""Other faults than kills, made for real: what a command must do about each.

>>> full_disk(Train(folder), Path("/mnt/small"))        # AssertionError where it does not

Each lets an undisturbed run go first, then disturbs one, looks at what it leaves and
says, removes the cause, and lets the same command go on to the same result. What needs a
disk of its own raises Skipped where none may be mounted.
"""

import json
import os
import shutil
import subprocess
from contextlib import contextmanager

from tests.faults.commands import Grid, Pack, ParallelPack, Prepare, Train, contents
from tests.faults.kills import kill, release, start_held, undisturbed

MOUNT = "mount", "-t", "tmpfs", "-o"


class Skipped(Exception):
    """This machine does not let us make this fault."""


@contextmanager
def disk(place, size):
    """A disk of so many bytes, mounted at a new folder."""
    place.mkdir(parents=True)
    done = subprocess.run(
        [*MOUNT, f"size={size}", "tmpfs", place], capture_output=True, text=True
    )
    if done.returncode:
        raise Skipped(f"no disk can be mounted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def remount(place, options):
    subprocess.run(["mount", "-o", f"remount,{options}", place], check=True)


def prepared(command):
    """The folder of an undisturbed run, made once."""
    right = command.place / "undisturbed"
    if not right.exists():
        undisturbed(command, right)
    return right


def refused(command, code, *words):
    """It failed, and says why in one line."""
    errors = command.said("errors").splitlines()
    assert code == 1, (code, errors)
    assert len(errors) == 1 and errors[0].startswith("error: "), errors
    assert any(word in errors[0] for word in words), errors


def goes_on(command, out):
    """The same command now ends well, with the result of an undisturbed run."""
    right = prepared(command)
    code = command.run(out)
    assert code == 0, command.said("errors") + command.said()
    assert command.result(out) == command.result(right), command.name


def whole(command, out):
    half = command.half_written(out, prepared(command))
    assert not half, half


def size_of(folder):
    return sum(len(data) for data in contents(folder).values())


def full_disk(command, place):
    """The disk holds 60 % of what is made: it is full at the start or half-way."""
    need = size_of(prepared(command))
    with disk(place, int(0.6 * need) // 4096 * 4096) as small:
        refused(
            command, command.run(small / "out"), "No space left", "of disk are needed"
        )
        whole(command, small / "out")
        remount(small, f"size={4 * need + 2**20}")
        goes_on(command, small / "out")


def disk_that_fills(command, place):
    """Another program fills the disk while a command is half-way."""
    need = size_of(prepared(command))
    with disk(place, 4 * need + 2**20) as small:
        process, _ = start_held(command, small / "out", half_way(command))
        fill(small / "filler")
        release(command)
        refused(command, process.wait(timeout=600), "No space left")
        whole(command, small / "out")
        (small / "filler").unlink()
        goes_on(command, small / "out")


def fill(path):
    """Write until the disk is full, to its last byte."""
    with open(path, "wb", buffering=0) as file:
        for size in (2**20, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


def half_way(command):
    """The file operation in the middle of an undisturbed run."""
    prepared(command)
    return command.operations // 2


def read_only(command, place):
    """The disk becomes read-only while nothing runs, half-way."""
    need = size_of(prepared(command))
    with disk(place, 4 * need + 2**20) as small:
        kill(start_held(command, small / "out", half_way(command))[0])
        release(command)
        remount(small, "ro")
        before = contents(small)
        refused(command, command.run(small / "out"), "Read-only file system")
        assert contents(small) == before
        remount(small, "rw")
        goes_on(command, small / "out")


def vanishing(command, place):
    """A file that is still to be read vanishes; later it is there again."""
    out = place / "out"
    prepared(command)
    process, _ = start_held(command, out, half_way(command) // 2)
    gone = {
        Prepare: lambda: max(command.place.glob("videos/*14.mp4")),
        Pack: lambda: max(command.clips.glob("frames/*")),
    }[type(command)]()
    aside = gone.rename(command.place / gone.name)
    release(command)
    code = process.wait(timeout=600)
    if isinstance(command, Prepare):  # one clip of many
        assert code == 0, command.said("errors")
        assert f"{gone.name}  undecodable" in command.said(), command.said()
        assert len(command.done(out)) == len(command.done(prepared(command))) - 1
    else:
        refused(command, code, f"no image at {gone}")
    whole_but(command, out, {"failed.tsv"})
    aside.rename(gone)
    goes_on(command, out)


def whole_but(command, out, names):
    half = set(command.half_written(out, prepared(command))) - names
    assert not half, half


def store_vanishes(command, place):
    """Training goes on where its packed store is deleted: what is mapped stays.

    A store that is not there at the start is told.
    """
    right, out = prepared(command), place / "out"
    process, _ = start_held(command, out, half_way(command))
    shutil.rmtree(command.store)
    release(command)
    assert process.wait(timeout=600) == 0, command.said("errors")
    assert command.result(out) == command.result(right)
    refused(command, command.run(place / "other"), "No such file")
    command.restore()


class TrainPacked(Train):
    """`sslnb train` from a packed store of scenes."""

    @property
    def store(self):
        return self.place / "store"

    def make(self):
        self.restore()

    def restore(self):
        from sslnb.data.store.clips import pack_scenes

        pack_scenes("train", 8, self.store, 96, workers=1, progress=False)

    def arguments(self, out):
        found = super().arguments(out)
        found[found.index("--scenes") : found.index("--scenes") + 2] = []
        return [*found, "--data", "packed", "--root", self.store]


def folder_vanishes(command, place):
    """The output folder is deleted under a command; the same words begin anew."""
    out = place / "out"
    process, _ = start_held(command, out, half_way(command))
    shutil.rmtree(out)
    release(command)
    refused(command, process.wait(timeout=600), "No such file")
    shutil.rmtree(out, ignore_errors=True)  # what it made since
    goes_on(command, out)


def dead_worker(command, place):
    """One process of several is killed: as where memory is short."""
    out = place / "out"
    right = prepared(command)
    under = command.clips if isinstance(command, Pack) else out
    process, worker = start_held(command, out, half_way(command), under)
    assert worker != process.pid, "a worker should be at work"
    os.kill(worker, 9)
    release(command)
    code = process.wait(timeout=600)
    if isinstance(command, Grid):  # a new process goes on by itself
        assert code == 0, command.said("errors") + command.said()
        assert "its process was killed; a new one goes on" in command.said()
        assert command.result(out) == command.result(right)
    else:
        refused(command, code, "a worker died (killed, or out of memory?)")
        whole(command, out)
        goes_on(command, out)


def two_at_once(command, place):
    """Another command is started on the same folder while one is half-way."""
    out = place / "out"
    right = prepared(command)
    place.mkdir()
    process, _ = start_held(command, out, half_way(command))
    ours = [(command.place / name).rename(place / name) for name in ("said", "errors")]
    code = command.run(out)
    refused(command, code, "another run")
    release(command)
    assert process.wait(timeout=600) == 0, [path.read_text() for path in ours]
    assert command.result(out) == command.result(right)


def jumping_clock(command, place):
    """The wall clock jumps by hours, back and forth, from call to call."""
    out = place / "out"
    right = prepared(command)
    code = command.run(out, clock=True)
    assert code == 0, command.said("errors") + command.said()
    assert command.result(out) == command.result(right)
    for path in out.rglob("metrics.jsonl"):
        for line in path.read_text(encoding="utf-8").splitlines():
            assert 0 <= json.loads(line)["seconds"] < 600, path


# What happens, and to which commands; the grid trains and saves as `sslnb train` does,
# and tests/experiments/test_pool.py starts two of them at once
FAULTS = {
    full_disk: (Prepare, Pack, Train),
    disk_that_fills: (Prepare, Pack, Train),
    read_only: (Prepare, Pack, Train),
    vanishing: (Prepare, Pack),
    store_vanishes: (TrainPacked,),
    folder_vanishes: (Prepare, Pack, Train),
    dead_worker: (Prepare, ParallelPack, Grid),
    two_at_once: (Prepare, Pack, Train),
    jumping_clock: (Prepare, Pack, Train),
}
