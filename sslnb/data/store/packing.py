"""Rows packed into a store: in parallel, resumable, complete or refused.

    >>> rows = {"frames": ("uint8", (3, 256, 256)), "waves": ("int16", (48_000,))}
    >>> pack(Job(read, items, names, rows, settings), "a.store", workers=16)

Worker processes read the items, a chunk at a time; this process writes the rows in
order, and the chunk's record when they are on the disk. A run that was killed resumes
after the last record.

Why this is ours: no library that was measured resumes a packing that was killed, and
only tensordict gathers random rows as fast, but it opens what was half packed and finds
no damage. 20,000 clips of 293 kB, packed from two processes; clips a second:

               packed  gathered at random,   after a SIGKILL           a flipped byte
                       by one  by eight
    ours          751  78,458   100,817      refused, then resumed     found by verify
    zarr          798     795     1,216      opens, all packed again   found when read
    tensorstore 1,101  10,133     9,849      opens, all packed again   found when read
    tensordict  1,100  79,052    71,300      opens, all packed again   not found
    datasets    2,433   6,922    12,246      refused, all again        not found

`sslnb bench store_formats` repeats it (two cores of an AMD EPYC, zarr 3.1.6, tensorstore
0.1.86, tensordict 0.15.3, datasets 5.2.0). Ours is slowest to pack, as it reads back
and checks all that it wrote.
"""

import errno
import math
import multiprocessing
import os
import shutil
import threading
import zlib
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from io import FileIO
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from sslnb.data.store import arrays
from sslnb.data.store.arrays import FORMAT, INDEX, items_of, skipped_in, to_lines
from sslnb.files import locked

CHUNK = 64  # items that are read, written and checked together: about 20 MB of clips


@dataclass(frozen=True)
class Job:
    """What to pack: one row of each array for each of N items, in their order.

    read(item): a dictionary of JSON's types, and one row for each array; OSError and
    ValueError mean that the item is damaged. It is pickled, as the items are.
    names: N strings. rows: array -> (dtype, shape of one row). settings: of JSON's
    types; a run only resumes with equal ones. missing: {name: reason} of items that
    are known to be absent.
    """

    read: Callable[[Any], tuple[dict, Sequence]]
    items: Sequence
    names: Sequence[str]
    rows: dict[str, tuple[str, tuple[int, ...]]]
    settings: dict
    missing: dict[str, str] = field(default_factory=dict)


def pack(
    job: Job,
    out: str | Path,
    workers: int | None = None,
    skip_damaged: bool = False,
    progress: bool = True,
) -> dict[str, str]:
    """Pack a job into the folder `out`, or finish what was begun there.

    Returns {name: reason} of the items left out. A damaged item is a ValueError, or
    with `skip_damaged` it is left out. A complete store is not touched.

    ValueError where `out` was begun with other settings or holds other files; OSError
    where the disk is too small or a worker died; BlockingIOError where another run
    packs into `out`.
    """
    if job.missing and not skip_damaged:
        raise ValueError(_describe(job.missing))
    out, workers = Path(out), count_workers(workers)
    out.mkdir(parents=True, exist_ok=True)
    arrays.read_index(out)  # ValueError where it is of another version
    others = sorted(path.name for path in out.iterdir())
    if others and INDEX not in others:
        raise ValueError(f"{out} holds other files ({others[0]}); choose a new folder")
    for path in out.iterdir():
        if path.is_symlink():  # what it leads to would be written over
            raise ValueError(
                f"{path} is a link; a store is written in its own folder alone"
            )
    with locked(out / INDEX, f"another run is packing into {out}") as file:
        records, complete = arrays.read_index(out)
        if not records:
            records = [_begin(job, out)]
            file.truncate(0)  # of a first line that was cut off
            arrays.write_down(file, to_lines(records))
        _check_settings(out, records[0]["settings"], job.settings)
        if not complete:
            _pack_chunks(job, out, records, file, workers, skip_damaged, progress)
            records, _ = arrays.read_index(out)
            if not items_of(records):
                raise ValueError(
                    f"no clip is left to pack; {_describe(skipped_in(records))}"
                )
            damage = arrays.find_damage(out, records, workers, progress)
            if damage:
                advice = f"check the disk, delete {out} and pack again"
                raise OSError("\n".join([*damage, advice]))
            closing_record = {"complete": zlib.crc32(to_lines(records))}
            arrays.write_down(file, to_lines([closing_record]))
    skipped = skipped_in(records)
    if skipped and not skip_damaged:
        raise ValueError(f"{out} is complete, but {_describe(skipped)}")
    return skipped


def count_workers(workers: int | None) -> int:
    """Number of workers; one a core where None."""
    if workers is None:
        on_linux = hasattr(os, "sched_getaffinity")
        return len(os.sched_getaffinity(0)) if on_linux else os.cpu_count() or 1
    if workers < 1:
        raise ValueError(f"workers is {workers}; need 1 or more")
    return workers


def _describe(skipped: dict[str, str]) -> str:
    name, reason = next(iter(skipped.items()))
    more = f", and {len(skipped) - 1:,} more" if len(skipped) > 1 else ""
    return (
        f"clip {name} cannot be packed{more}: {reason}; repair it, or leave out what "
        "is damaged with skip_damaged (--skip-damaged)"
    )


def _begin(job: Job, out: Path) -> dict:
    """Make the arrays, which take up disk only as they are written; the first record."""
    shapes = {
        name: (dtype, (len(job.items), *shape))
        for name, (dtype, shape) in job.rows.items()
    }
    need = sum(np.dtype(kind).itemsize * math.prod(s) for kind, s in shapes.values())
    free = shutil.disk_usage(out).free
    if need > free:
        told = f"{need / 1e9:,.2f} GB of disk are needed, {free / 1e9:,.2f} GB are free"
        raise OSError(errno.ENOSPC, told, str(out))
    for name, (dtype, shape) in shapes.items():
        np.lib.format.open_memmap(out / f"{name}.npy", "w+", dtype, shape)
    head = {"format": FORMAT, "settings": job.settings, "arrays": shapes}
    return head | {"items": [], "skipped": job.missing}


def _check_settings(out: Path, old: dict, new: dict) -> None:
    differ = [
        f"{k} is {new[k]!r}, was {old.get(k)!r}" for k in new if new[k] != old.get(k)
    ]
    if differ:
        raise ValueError(
            f"{out} was begun with other settings: {'; '.join(differ)}; choose another "
            "folder or delete this one"
        )


def _pack_chunks(
    job: Job,
    out: Path,
    records: list[dict],
    file: FileIO,
    workers: int,
    skip_damaged: bool,
    progress: bool,
) -> None:
    """Pack the chunks that are not in `records` yet, and add theirs to `file` alone.

    Memory is that of a few chunks, however many there are.
    """
    if not skip_damaged:  # what an earlier run left out is tried again
        records[1:] = takewhile(lambda record: not record["skipped"], records[1:])
    file.truncate(len(to_lines(records)))  # a line that was cut off goes as well
    done, row = (len(records) - 1) * CHUNK, len(items_of(records))
    bar = tqdm(
        None, "packing", len(job.items), initial=done, unit="clip", disable=not progress
    )
    with bar, closing(_read_chunks(job, done, workers)) as chunks:
        for record, rows in chunks:
            if record["skipped"] and not skip_damaged:
                raise ValueError(_describe(record["skipped"]))
            for name, data in rows.items():
                arrays.write_rows(out / f"{name}.npy", row, data)
            arrays.write_down(file, to_lines([record]))
            row += len(record["items"])
            bar.update(len(record["items"]) + len(record["skipped"]))


def _read_chunks(job: Job, done: int, workers: int) -> Generator[tuple[dict, dict]]:
    """Record and rows of each chunk from item `done` on, in order.

    DataLoader and not ProcessPoolExecutor, which on Python 3.11 waits without end where
    a worker is killed while another one starts.
    """
    starts = range(done, len(job.items), CHUNK)
    tasks = [(job.names[k : k + CHUNK], job.items[k : k + CHUNK]) for k in starts]
    parallel = workers > 1 and len(tasks) > 1
    loader = DataLoader(
        _Reader(job.read, job.rows),
        batch_size=None,
        sampler=tasks,
        num_workers=min(workers, len(tasks)) if parallel else 0,
        collate_fn=_unchanged,  # bytes through a pipe: /dev/shm may be small
        # a fork would copy the locks of the threads that torch has started
        multiprocessing_context="spawn" if parallel else None,
        generator=torch.Generator(),  # the global one stays as it is
        worker_init_fn=_end_with_parent,
    )
    try:
        yield from loader
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        raise ChildProcessError(
            f"a worker died (killed, or out of memory?): {error}; what is packed is "
            "kept: run the same again, with fewer workers if memory ran out"
        ) from None


@dataclass(frozen=True)
class _Reader(Dataset):
    """Reads chunks: names and items -> their record, and the rows of each array."""

    read: Callable
    rows: dict

    def __getitem__(self, task: tuple[Sequence, Sequence]) -> tuple[dict, dict]:
        known: list = []
        skipped: dict[str, str] = {}
        chunk = {
            name: np.empty((len(task[0]), *shape), dtype)
            for name, (dtype, shape) in self.rows.items()
        }
        for name, item in zip(*task, strict=True):
            try:
                facts, values = self.read(item)
            except (OSError, ValueError) as error:
                skipped[name] = str(error)
                continue
            for array, value in zip(chunk.values(), values, strict=True):
                array[len(known)] = value
            known.append({"name": name, **facts})
        rows = {name: array[: len(known)].tobytes() for name, array in chunk.items()}
        sums = {name: zlib.crc32(data) for name, data in rows.items()}
        return {"items": known, "skipped": skipped, "crc32": sums}, rows


def _end_with_parent(number: int) -> None:
    """A worker ends when the run is killed: alone, torch's waits for a pipe without end."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait():
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _unchanged(value: Any) -> Any:
    return value
