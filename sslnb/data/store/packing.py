"""Packing rows into arrays: in parallel, resumable, whole or not at all (for store.py).

    >>> rows = {"frames": ("uint8", (3, 256, 256)), "waves": ("int16", (48_000,))}
    >>> index = pack(Job(read, items, names, rows, settings), "a.store", workers=16)

While it goes on, packing.jsonl holds the settings and a line for each chunk of rows
that is on the disk: a run that was killed goes on from there. index.json appears last,
in one step, when all rows were read back and are what was written.
"""

import json
import multiprocessing
import os
import signal
import threading
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Callable

import numpy as np
import torch
from tqdm import tqdm

from sslnb.data.store import arrays
from sslnb.data.store.arrays import CHUNK
from sslnb.files import locked

FORMAT = 1
INDEX, JOURNAL = "index.json", "packing.jsonl"


@dataclass(frozen=True)
class Job:
    """What to pack: one row for each of N items, in their order.

    read(item): a dictionary of JSON's types, and one row for each array; OSError and
    ValueError mean that the item is damaged. It is pickled, as the items are.
    names: N strings. rows: array -> (dtype, shape of one row). settings: of JSON's
    types; a run that was stopped goes on with equal ones only. missing: {name: why} of
    items that are known not to be there.
    """

    read: Callable
    items: list
    names: list
    rows: dict
    settings: dict
    missing: dict = field(default_factory=dict)


def pack(job, out, workers=None, skip_damaged=False):
    """Pack a job into the folder `out`, or finish what was begun there; the index.

    index: format, settings; arrays: {name: {dtype, shape, sha256 of each chunk}};
    items: the name of each row and what `read` said of it; skipped: {name: why}. A
    damaged item is a ValueError or, with skip_damaged, listed there and absent: the
    last items then take the rows of the skipped ones. A whole store stays as it is.

    ValueError where `out` was begun with other settings or holds other files; OSError
    where the disk is too small or a worker died; BlockingIOError where another run
    packs into `out`.
    """
    if job.missing and not skip_damaged:
        raise ValueError(describe(job.missing))
    out, workers = Path(out), count_workers(workers)
    out.mkdir(parents=True, exist_ok=True)
    with locked(out / JOURNAL, f"another run is packing into {out}") as journal:
        if (out / INDEX).exists():
            index = read_index(out)
            _check_same(out, index["settings"], job.settings)
            if index["skipped"] and not skip_damaged:
                raise ValueError(f"{out} is whole, but {describe(index['skipped'])}")
        else:
            records = _pack_chunks(job, out, journal, workers, skip_damaged)
            index = _finish(job, out, records, workers)
        # after the index: whoever comes now finds that one
        (out / JOURNAL).unlink(missing_ok=True)
    return index


def count_workers(workers):
    """Number of workers; one a core where None."""
    workers = len(os.sched_getaffinity(0)) if workers is None else workers
    if workers < 1:
        raise ValueError(f"workers is {workers}; need 1 or more")
    return workers


def describe(skipped):
    """One line on {name: why} of damaged items."""
    name, why = next(iter(skipped.items()))
    more = f", and {len(skipped) - 1:,} more" if len(skipped) > 1 else ""
    return (f"clip {name} cannot be packed{more}: {why}; repair it, or leave out what "
            "is damaged with skip_damaged (--skip-damaged)")


def read_index(out):
    """The index of a whole store, whose arrays have the sizes that it says."""
    path = Path(out) / INDEX
    if not path.exists():
        begun = (Path(out) / JOURNAL).exists()
        raise FileNotFoundError(f"{path} is missing: " + (
            "packing was stopped or goes on; run the same command again to finish it"
            if begun else "there is no store here"
        ))
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        version = index["format"]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is damaged or no store's index: {error!r}") from error
    if version != FORMAT:
        raise ValueError(f"{path} is of format {version}; this version reads {FORMAT}")
    arrays.check_sizes(out, index["arrays"])
    for name, array in index["arrays"].items():
        if array["shape"][0] != len(index["items"]):
            raise ValueError(f"{path} names {len(index['items'])} clips; {name}.npy has "
                             f"{array['shape'][0]} rows")
    return index


def bad_chunks(out, index, workers):
    """One line for each chunk that is not what was packed, with its clips' names."""
    lines = []
    for name, start, end in arrays.differing(out, index["arrays"], workers):
        clips = ", ".join(item["name"] for item in index["items"][start:end])
        lines.append(f"{Path(out) / name}: chunk {start // CHUNK}, rows {start} to "
                     f"{end - 1}, is not what was packed; its clips are {clips}")
    return lines


def _check_same(out, before, now):
    """ValueError that says which settings differ."""
    differ = [f"{key} is {now.get(key)!r}, was {before.get(key)!r}"
              for key in {**before, **now} if before.get(key) != now.get(key)]
    if differ:
        raise ValueError(f"{out} was begun otherwise: {'; '.join(differ)}; choose "
                         "another folder or delete this one")


def _pack_chunks(job, out, journal, workers, skip_damaged):
    """The records of all chunks, those of an interrupted run included."""
    records = _resume(job, out, journal)
    # what was skipped once is tried again by a run that may not skip
    done = {r["start"]: r for r in records if skip_damaged or not r["failed"]}
    starts = range(0, len(job.items), CHUNK)
    tasks = [(job.read, job.items[start : start + CHUNK], start, out, job.rows)
             for start in starts if start not in done]
    with (
        tqdm(total=len(job.items), initial=sum(len(r["items"]) for r in done.values()),
             desc="packing", unit="clip") as bar,
        closing(_work(job, tasks, workers)) as finished,
    ):
        for record in finished:
            failed = {job.names[row]: why for row, why in record["failed"]}
            if failed and not skip_damaged:
                raise ValueError(describe(failed))
            _append(journal, record)
            done[record["start"]] = record
            bar.update(len(record["items"]))
    return [done[start] for start in starts]


def _append(journal, record):
    journal.write(json.dumps(record).encode() + b"\n")
    journal.flush()
    os.fsync(journal.fileno())


def _resume(job, out, journal):
    """Records of finished chunks; where there are none, the arrays are made, empty."""
    journal.seek(0)
    text = journal.read()
    text = text[: text.rfind(b"\n") + 1]  # a line that was cut off is not there
    journal.truncate(len(text))
    records = []
    if text:
        try:
            settings, *records = map(json.loads, text.splitlines())
        except ValueError as error:
            raise ValueError(
                f"{out / JOURNAL} is damaged ({error}): delete {out} and pack anew"
            ) from error
        _check_same(out, settings, job.settings)
    else:
        others = sorted(path.name for path in out.iterdir() if path.name != JOURNAL)
        if others:
            (out / JOURNAL).unlink(missing_ok=True)
            raise ValueError(f"{out} holds other files ({others[0]}); choose a new one")
        arrays.check_room(out, job.rows, len(job.items))
        _append(journal, job.settings)
    if not records:
        arrays.allocate(out, job.rows, len(job.items))
    return records


def _work(job, tasks, workers):
    """Records of the tasks as they get done, in this process or by several."""
    if workers == 1 or len(tasks) < 2:
        yield from (_pack_chunk(*task) for task in tasks)
        return
    waiting, running = iter(tasks), {}
    # spawned: a fork would copy the locks of the threads that torch has started
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(tasks)), context, _start_worker)
    try:
        while True:
            for task in islice(waiting, 2 * workers - len(running)):
                running[pool.submit(_pack_chunk, *task)] = task[2]
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield future.result()
                del running[future]
    except BrokenProcessPool as error:
        near = ", ".join(job.names[start] for start in sorted(running.values()))
        raise ChildProcessError(
            "a worker died (killed, or out of memory?) in one of the chunks that begin "
            f"with {near}; what is packed is kept: run the same again, with fewer "
            "workers if memory ran out"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker():
    """One thread; Ctrl-C is the parent's to handle; no worker outlives its parent."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def follow():
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _pack_chunk(read, items, start, out, rows):
    """Read items and write them from row `start` on; the record for the journal."""
    chunk = {name: np.zeros((len(items), *shape), dtype)
             for name, (dtype, shape) in rows.items()}
    record = {"start": start, "items": [], "failed": [], "sha256": {}}
    for k, item in enumerate(items):
        try:
            said, values = read(item)
        except (OSError, ValueError) as error:
            record["items"].append({})
            record["failed"].append((start + k, str(error)))
            continue
        record["items"].append(said)
        for array, value in zip(chunk.values(), values, strict=True):
            array[k] = value
    for name, array in chunk.items():
        path = out / f"{name}.npy"
        try:
            record["sha256"][name] = arrays.write_rows(path, start, array)
        except OSError as error:
            why = f"{error.strerror}; what is packed is kept: run the same again later"
            raise OSError(error.errno, why, str(path)) from error
    return record


def _finish(job, out, records, workers):
    """Close the gaps of what was skipped, read all back, write the index."""
    count = len(job.items)
    failed = {row: why for record in records for row, why in record["failed"]}
    skipped = {job.names[row]: why for row, why in failed.items()}
    if len(failed) == count:
        raise ValueError(f"no clip is left to pack; {describe(skipped)}")
    # row -> item: the last ones fill the gaps
    order = list(range(count - len(failed)))
    last = (row for row in range(len(order), count) if row not in failed)
    for row in failed:
        if row < len(order):
            order[row] = next(last)
    said = [item for record in records for item in record["items"]]
    index = {
        "format": FORMAT, "settings": job.settings, "arrays": {},
        "skipped": {**job.missing, **skipped},
        "items": [{"name": job.names[row]} | said[row] for row in order],
    }
    for name, (dtype, shape) in job.rows.items():
        if failed:
            arrays.close_gaps(out / f"{name}.npy", count, order)
        sums = [digest for record in records for digest in record["sha256"][name]]
        index["arrays"][name] = {
            "dtype": dtype, "shape": [len(order), *shape],
            "sha256": arrays.sum_chunks([sums[row] for row in order]),
        }
    arrays.check_sizes(out, index["arrays"])
    bad = bad_chunks(out, index, workers)
    if bad:
        raise OSError("\n".join([*bad, f"check the disk, delete {out} and pack anew"]))
    part = out / f"{INDEX}.part"
    with open(part, "w", encoding="utf-8") as file:
        json.dump(index, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, out / INDEX)
    return index
