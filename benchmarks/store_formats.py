"""Our packed store beside zarr, tensorstore, tensordict and Hugging Face datasets.

    pip install zarr tensorstore tensordict datasets    # not the project's dependencies
    sslnb bench store_formats -- --folder /tmp --out formats.jsonl

Each packs the same incompressible clips, which two processes read, until they are on
the disk: the start of processes counts, and our second reading, which checks all.
Memory at its peak is that of all these processes, with files that they map and without.
Then one process and eight gather random rows in batches of 64, from the page cache if
memory holds the files. A byte is flipped in the middle of a clip, and that clip read.
Last, a smaller packing is killed when half of its bytes are written; what is there is
opened, then packed again to its end. A library that is missing, or fails, has a row
that says so. _formats.py has how each is used.
"""

import argparse
import importlib.util
import json
import mmap
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from contextlib import suppress
from datetime import date
from importlib.metadata import version
from pathlib import Path

import numpy as np
import psutil
import torch

from benchmarks._formats import BYTES, LIBRARIES, READS, SPLIT, clip, name
from benchmarks.ledger import ROOT, commit, machine
from sslnb.data.store.packing import CHUNK

BATCH, READERS = 64, (1, 8)
CHILD = "from benchmarks import store_formats; store_formats.child()"
HEAD = f"""\
{"":11} packed rows a second  peak, GB    {"killed":18}  a byte flipped:
{"library":11} /second 1 proc. 8 proc.  all   own  {"half-way":18}  reading that clip"""


def files(folder):
    return [Path(root, name) for root, _, names in os.walk(folder) for name in names]


def written(folder):
    """Bytes that a folder's files take up on the disk."""
    total = 0
    for path in files(folder):
        with suppress(FileNotFoundError):  # a temporary one
            total += path.stat().st_blocks * 512
    return total


# What a child does: a process of its own for each


def packed(library, folder, count):
    """Clips a second until all are on the disk."""
    began = time.perf_counter()
    library.pack(folder, count)
    for path in files(folder):
        with open(path, "rb+") as file:
            os.fsync(file.fileno())
    return count / (time.perf_counter() - began)


def gathered(library, folder, count, seed, seconds):
    """Rows a second, from when the parent says so; on one thread, as workers read."""
    torch.set_num_threads(1)
    length, gather = library.open(folder)
    draw = np.random.default_rng(seed)
    gather(draw.integers(length, size=BATCH))
    print("ready", flush=True)
    input()
    rows, began = 0, time.perf_counter()
    while (took := time.perf_counter() - began) < seconds:
        gather(draw.integers(length, size=BATCH))
        rows += BATCH
    return rows / took


def right(library, folder, first, last):
    """How many rows from `first` to before `last` are what was packed, or the error."""
    found = 0
    try:
        _, gather = library.open(folder)
        for start in range(first, last, BATCH):
            part = np.arange(start, min(start + BATCH, last))
            for index, *row in zip(part.tolist(), *gather(part)):
                found += all(map(np.array_equal, row, clip(index)))
        return found
    except Exception as raised:
        error = raised.__cause__ or raised
        return f"{type(error).__name__}: {' '.join(str(error).split())}"


def checked(library, folder):
    """What the library's own check says, None where it has none."""
    try:
        return library.check and str(library.check(folder, progress=False))
    except ValueError as error:
        return str(error)


def child():
    stage, library, folder, *numbers = sys.argv[1:]
    found = globals()[stage](LIBRARIES[library], folder, *map(int, numbers))
    print(json.dumps(found))


# What the parent does


def launch(stage, library, folder, *numbers, **env):
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, stage, library, str(folder), *map(str, numbers)],
        cwd=ROOT,
        env=os.environ | env,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # killed with its workers
    )


def wait(process, meanwhile=lambda: None, every=0.1):
    """What a child found; RuntimeError has the last line that a failed one wrote."""
    try:
        while True:
            with suppress(subprocess.TimeoutExpired):
                out, err = process.communicate(timeout=every)
                break
            meanwhile()
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    if process.returncode:
        lines = err.split("\n") if err.strip() else [f"ended by {process.returncode}"]
        raise RuntimeError([line for line in lines if line.strip()][-1])
    return json.loads(out.splitlines()[-1])


def memory(pid):
    """Bytes in memory, of a process and its children: all, and all but mapped files."""
    sums = np.zeros(2)
    with suppress(psutil.Error):
        parent = psutil.Process(pid)
        for process in (parent, *parent.children(recursive=True)):
            with suppress(psutil.Error):
                info = process.memory_info()
                sums += info.rss, info.rss - getattr(info, "shared", 0)
    return sums


def read_at_once(library, folder, options, readers):
    """Rows a second of some processes together."""
    numbers = [(options.clips, seed, options.seconds) for seed in range(readers)]
    found = [launch("gathered", library, folder, *each) for each in numbers]
    for process in found:
        process.stdout.readline()  # ready
    for process in found:
        with suppress(BrokenPipeError):  # it failed, as wait tells
            process.stdin.write("\n")
            process.stdin.flush()
    return sum([wait(process) for process in found])


def flip(folder, index):
    """Change a byte in the middle of a clip's frame, in whatever file it lies."""
    searched = clip(index)[0].tobytes()[SPLIT // 2 :][:64]
    for path in filter(lambda path: path.stat().st_size, files(folder)):
        with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as data:
            if (at := data.find(searched)) >= 0:
                data[at] ^= 255
                return
    raise RuntimeError("the clip to damage is in no file")


def damaged(library, folder, count):
    """Flip a byte of the middle clip: what reading it and the library's check say."""
    flip(folder, count // 2)
    read = wait(launch("right", library, folder, count // 2, count // 2 + 1))
    if read == 1:
        raise RuntimeError("the byte that was flipped is not in what is read")
    return {
        "clip": name(count // 2),
        "read": read if isinstance(read, str) else "silent",
        "check": wait(launch("checked", library, folder)),
    }


def killed(library, folder, count):
    """Kill a packing half-way: rows right in what is left, clips read when repeated."""

    def kill():
        if written(folder) >= count * BYTES / 2:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    process = launch("packed", library, folder, count)
    with suppress(RuntimeError):
        wait(process, kill, 0.005)
    if process.returncode != -signal.SIGKILL:
        raise RuntimeError("packing ended before it could be killed")
    left = wait(launch("right", library, folder, 0, count))
    with tempfile.NamedTemporaryFile() as reads:
        wait(launch("packed", library, folder, count, **{READS: reads.name}))
        again = os.path.getsize(reads.name)
    end = wait(launch("right", library, folder, 0, count))
    if end != count:
        raise RuntimeError(f"packed again after it was killed: {end} of {count} right")
    return {"clips": count, "left": left, "read_again": again}


def measure(library, options):
    """The row of a library."""
    if not importlib.util.find_spec(library):
        return {"error": f"not installed: pip install {library}"}
    row, peak = {"version": version(library)}, np.zeros(2)
    with tempfile.TemporaryDirectory(prefix="sslnb-", dir=options.folder) as root:
        folder = Path(root) / library
        try:
            process = launch("packed", library, folder, options.clips)
            most = lambda: np.maximum(peak, memory(process.pid), out=peak)  # noqa: E731
            row["packed_per_second"] = wait(process, most)
            row["peak_gb"], row["peak_own_gb"] = peak / 1e9
            for path in files(folder):  # into the page cache
                with open(path, "rb", buffering=0) as file:
                    while file.read(1 << 24):
                        pass
            for readers in READERS:
                rate = read_at_once(library, folder, options, readers)
                row[f"rows_per_second_by_{readers}"] = rate
            row["flipped"] = damaged(library, folder, options.clips)
            shutil.rmtree(folder)
            row["killed"] = killed(library, folder, min(options.clips, options.killed))
        except RuntimeError as error:
            row["error"] = str(error)
    return row


def line(row):
    """A row as a line of the table."""
    if "error" in row:
        return f"{row['library']:11} {row['error']}"[:88]
    flipped, killed, middle = row["flipped"], row["killed"], row["clips"] // 2
    opens = "refused" if isinstance(killed["left"], str) else "opens"
    again = f"{killed['read_again'] / killed['clips']:.0%}".replace("100%", "all")
    if flipped["read"] == "silent":
        reading = "silent; " + ("check names" if flipped["check"] else "no check")
    else:
        named = f"/c/{middle // CHUNK}/" in flipped["read"]
        reading = "error names chunk" if named else "error without name"
    return (
        f"{row['library']:11} {row['packed_per_second']:7,.0f} "
        f"{row['rows_per_second_by_1']:7,.0f} {row['rows_per_second_by_8']:7,.0f} "
        f"{row['peak_gb']:5.1f} {row['peak_own_gb']:5.1f}  "
        f"{opens + '; ' + again + ' again':18}  {reading}"
    )


def note(row):
    """What a row says in words."""
    flipped, killed = row.get("flipped"), row.get("killed")
    if not killed:
        return row["error"]
    left, count = killed["left"], killed["clips"]
    opened = left if isinstance(left, str) else f"{left:,} of {count:,} rows are right"
    told = f"killed: {opened}; {killed['read_again']:,} of {count:,} read again. "
    told += f"Flipped: {flipped['read']}"
    return told + (f"; check: {flipped['check']}" if flipped["check"] else "")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clips", type=int, default=20_000)
    parser.add_argument("--killed", type=int, default=2_000, help="clips, at most")
    parser.add_argument("--seconds", type=int, default=10, help="of gathering rows")
    parser.add_argument("--folder", help="for each store in turn, 0.3 MB a clip")
    parser.add_argument("--out", type=Path, help="file to add the rows to, as JSON")
    parser.add_argument(
        "--libraries", nargs="+", choices=LIBRARIES, default=list(LIBRARIES)
    )
    options = parser.parse_args()
    conditions = {
        "day": date.today().isoformat(),
        "machine": f"{machine()}, {psutil.virtual_memory().total / 1e9:.0f} GB",
        "commit": commit(),
        "python": platform.python_version(),
        "clips": options.clips,
    }
    print(HEAD, flush=True)
    rows = []
    for library in options.libraries:  # "sslnb" is first
        row = {"library": library} | conditions | measure(library, options)
        print(line(row), flush=True)
        if options.out:
            with open(options.out, "a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        if "version" in row:
            rows.append(row)
    versions = [f"{row['library']} {row['version']}" for row in rows]
    gb = options.clips * BYTES / 1e9
    told = f"{options.clips:,} clips, {gb:.2f} GB; {conditions['machine']}; "
    told += f"{conditions['day']}, commit {conditions['commit']}; "
    told += f"Python {conditions['python']}, {', '.join(versions)}."
    print("\n" + textwrap.fill(told, 88))
    for row in rows:
        short = textwrap.shorten(note(row), 300, placeholder=" …")
        print(textwrap.fill(f"{row['library']}: {short}", 88))


if __name__ == "__main__":
    main()
