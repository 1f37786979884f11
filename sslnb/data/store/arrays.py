"""Arrays on the disk that are larger than memory: .npy files and their checksums.

    >>> allocate(folder, {"frames": ("uint8", (3, 256, 256))}, count=144_000)
    >>> write_rows(folder / "frames.npy", 64, frames)      # rows 64, 65, …
    >>> map_array(folder / "frames.npy")[[5, 70_000]]      # reads these two rows only

numpy's own format, so that anybody's np.load reads them. Rows are summed up in chunks
of CHUNK: the SHA-256 of the rows' SHA-256s, so that rows may move between chunks
without being read again.
"""

import errno
import hashlib
import mmap
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.lib import format as npy
from tqdm import tqdm

CHUNK = 64  # rows that are packed and checked together: about 20 MB of clips


def header(file):
    """(shape, dtype, where the rows begin, bytes a row) of an open .npy file."""
    try:
        version = npy.read_magic(file)
        shape, fortran, dtype = npy.read_array_header_1_0(file)
    except ValueError as error:
        raise ValueError(f"{file.name} is damaged or no .npy file: {error}") from error
    if version != (1, 0) or fortran or not shape:
        raise ValueError(f"{file.name} is no .npy file of version 1.0, row by row")
    return shape, dtype, file.tell(), dtype.itemsize * int(np.prod(shape[1:]))


def check_room(folder, rows, count):
    """OSError where the disk has no room for arrays of `count` rows.

    rows: name -> (dtype, shape of one row).
    """
    need = _need(rows, count)
    if need > shutil.disk_usage(folder).free:
        raise _no_room(folder, need)


def allocate(folder, rows, count):
    """Make arrays of `count` rows, and take their place on the disk; rows as above."""
    for name, (dtype, shape) in rows.items():
        path = Path(folder) / f"{name}.npy"
        npy.open_memmap(path, "w+", dtype, (count, *shape))
        with open(path, "r+b") as file:
            try:  # without this, a file takes its place only as it is written
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
            except OSError as error:
                raise _no_room(folder, _need(rows, count)) from error


def _need(rows, count):
    return sum(count * np.dtype(dtype).itemsize * int(np.prod(shape))
               for dtype, shape in rows.values())


def _no_room(folder, need):
    free = shutil.disk_usage(folder).free
    return OSError(errno.ENOSPC, f"{need / 1e9:,.2f} GB of disk are needed, "
                   f"{free / 1e9:,.2f} GB are free", str(folder))


def write_rows(path, start, rows):
    """Write rows from `start` on, down to the disk; the SHA-256 of each row.

    Not through a memory map: a disk that fails is an error here, and there a signal
    that ends the process.
    """
    with open(path, "r+b") as file:
        _, _, first, size = header(file)
        file.seek(first + start * size)
        file.write(rows)
        _sync(file)
    return [hashlib.sha256(row).hexdigest() for row in rows]


def _sync(file):
    file.flush()
    os.fsync(file.fileno())


def close_gaps(path, count, order):
    """Make row k of `count` what row order[k] was, and cut the file to len(order) rows.

    order[k] is k, or a row of the end that is cut off. So whoever is killed in here
    may do it again: what is moved is overwritten by nothing.
    """
    kept = len(order)
    with open(path, "r+b") as file:
        shape, dtype, first, size = header(file)
        if path.stat().st_size == first + count * size:  # else it was cut before
            for row, source in enumerate(order):
                if row != source:
                    file.seek(first + source * size)
                    value = file.read(size)
                    file.seek(first + row * size)
                    file.write(value)
            _sync(file)
            file.truncate(first + kept * size)
        file.seek(0)
        npy.write_array_header_1_0(file, {  # as long as before: numpy leaves room
            "descr": npy.dtype_to_descr(dtype), "fortran_order": False,
            "shape": (kept, *shape[1:]),
        })
        _sync(file)


def map_array(path):
    """A .npy file as an array that reads from the disk what is indexed.

    It can be written to, but writing changes a copy in memory and never the file.
    numpy's own mode for that, "c", asks the system for memory of the file's size,
    which is refused where the file is larger; NORESERVE asks for none.
    """
    reserve_none = getattr(mmap, "MAP_NORESERVE", 0x4000)  # named since Python 3.13
    with open(path, "rb") as file:
        shape, dtype, first, _ = header(file)
        memory = mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE | reserve_none,
                           mmap.PROT_READ | mmap.PROT_WRITE)
    return np.ndarray(shape, dtype, memory, first)


def sum_chunks(sums):
    """Checksums of rows to those of their chunks."""
    chunks = (sums[k : k + CHUNK] for k in range(0, len(sums), CHUNK))
    return [hashlib.sha256("".join(chunk).encode()).hexdigest() for chunk in chunks]


def check_sizes(folder, arrays):
    """ValueError where a file is not of the shape, type and size that `arrays` says.

    arrays: name -> {"dtype", "shape", "sha256": of each chunk}.
    """
    for name, told in arrays.items():
        path = Path(folder) / f"{name}.npy"
        with open(path, "rb") as file:
            shape, dtype, first, size = header(file)
        found, right = path.stat().st_size, first + told["shape"][0] * size
        if (list(shape), str(dtype)) != (told["shape"], told["dtype"]):
            raise ValueError(f"{path} holds {dtype} {shape}; the index says "
                             f"{told['dtype']} {tuple(told['shape'])}")
        if found != right:
            raise ValueError(f"{path} has {found:,} bytes; {right:,} would be right")


def differing(folder, arrays, workers):
    """Chunks that are not what their checksums say, as (file name, first row, end).

    They are read on `workers` threads: hashing leaves Python to the others.
    """
    def other(chunk):
        name, start, told = chunk
        with open(Path(folder) / f"{name}.npy", "rb") as file:
            shape, _, first, size = header(file)
            file.seek(first + start * size)
            end = min(start + CHUNK, shape[0])
            rows = (file.read(size) for _ in range(start, end))
            sums = [hashlib.sha256(row).hexdigest() for row in rows]
        return [] if sum_chunks(sums) == [told] else [(f"{name}.npy", start, end)]

    chunks = [(name, k * CHUNK, told) for name, array in arrays.items()
              for k, told in enumerate(array["sha256"])]
    with ThreadPoolExecutor(workers) as pool:
        found = tqdm(pool.map(other, chunks), "checking", len(chunks), unit="chunk")
        return [chunk for chunks in found for chunk in chunks]
