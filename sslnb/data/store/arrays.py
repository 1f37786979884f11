"""A store on the disk: .npy files that may be larger than memory, and their index.

    >>> records, arrays = open_arrays("a.store")
    >>> arrays["frames"][[5, 70_000]]            # reads these two rows only

Each line of index.jsonl is a record: first the settings and arrays, then each chunk of
rows (names and what is known of them, what was skipped, CRC-32 of each array's rows).
When all rows have been read back, the last line adds the CRC-32 of those before it:
only then is the store complete.
"""

import json
import mmap
import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from io import FileIO
from itertools import accumulate
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from tqdm import tqdm

from sslnb.files import MALFORMED

FORMAT = 2
INDEX = "index.jsonl"


def items_of(records: list[dict]) -> list[dict]:
    """What is known of each row, its name among it."""
    return [item for record in records for item in record["items"]]


def skipped_in(records: list[dict]) -> dict[str, str]:
    """{name: reason} of what was left out."""
    return {name: why for r in records for name, why in r["skipped"].items()}


def to_lines(records: list[dict]) -> bytes:
    """Records as lines of the index."""
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def read_index(folder: Path) -> tuple[list[dict], bool]:
    """Records in a folder, [] where nothing was begun, and whether they are complete.

    ValueError where the index is damaged or of another format.
    """
    if (folder / "index.json").exists():
        raise ValueError(f"{folder} is a store of format 1: delete it and pack again")
    path = folder / INDEX
    text = path.read_bytes() if path.exists() else b""
    *lines, _ = text.split(b"\n")  # what follows the last newline was cut off
    try:
        records = [json.loads(line) for line in lines]
        if records and records[0]["format"] != FORMAT:
            raise ValueError(f"format {records[0]['format']}, not {FORMAT}")
        complete = len(records) > 1 and "complete" in records[-1]
        if complete and records.pop()["complete"] != zlib.crc32(to_lines(records)):
            raise ValueError("wrong checksum")
        _check_records(records)
    except MALFORMED as error:
        raise ValueError(
            f"{path} is damaged or of another version ({error!r:.300}): delete {folder} "
            "and pack again"
        ) from error
    return records, complete


def _check_records(records):
    """Raise an error where records are not as packing writes them."""
    if not records:
        return
    arrays = records[0]["arrays"]
    for name, (dtype, shape) in arrays.items():
        if not name.isidentifier():  # it is a file of this folder
            raise ValueError(f"no name of an array: {name!r:.80}")
        if not shape or not all(type(n) is int and 0 <= n < 2**48 for n in shape):
            raise ValueError(f"{name} has the shape {shape!r:.80}")
        np.dtype(dtype)
    for record in records:
        if not isinstance(record["items"], list) or not isinstance(
            record["skipped"], dict
        ):
            raise ValueError("it has no list of clips")
        if not all(isinstance(item["name"], str) for item in record["items"]):
            raise ValueError("a clip has no name")
    if any(record["crc32"].keys() != arrays.keys() for record in records[1:]):
        raise ValueError("its checksums are not those of its arrays")
    count = len(items_of(records))
    if any(count > shape[0] for _, shape in arrays.values()):
        raise ValueError(f"it has {count} clips, and an array of fewer rows")


def open_arrays(folder: str | Path) -> tuple[list[dict], dict[str, np.ndarray]]:
    """Records and arrays of a complete store.

    FileNotFoundError where there is none; ValueError where index or sizes are wrong.
    """
    folder = Path(folder)
    records, complete = read_index(folder)
    if not complete:
        why = (
            "packing was stopped or is under way; run the same command again to finish it"
            if (folder / INDEX).exists()
            else f"there is no {INDEX}"
        )
        raise FileNotFoundError(f"{folder} is not a complete store: {why}")
    count = len(items_of(records))
    return records, {
        name: map_array(folder / f"{name}.npy", dtype, tuple(shape))[:count]
        for name, (dtype, shape) in records[0]["arrays"].items()
    }


def map_array(path: Path, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """A .npy file as an array that reads from the disk what is indexed.

    Writing to it changes a copy in memory and never the file. numpy's own mode for
    that, "c", asks the system for memory of the file's size, which is refused where
    the file is larger; NORESERVE asks for none.
    """
    size = path.stat().st_size
    try:
        found = open_memmap(path, "r")
    except Exception as error:  # numpy raises much on a damaged header
        raise ValueError(
            f"{path} of {size:,} bytes is cut off or not a .npy file ({error!r:.200})"
        ) from error
    right = found.offset + found.nbytes
    if (found.dtype, found.shape, size) != (np.dtype(dtype), shape, right):
        raise ValueError(
            f"{path} holds {found.dtype} {found.shape} in {size:,} bytes; it should "
            f"hold {dtype} {shape} in {right:,}"
        )
    flags = mmap.MAP_PRIVATE | getattr(mmap, "MAP_NORESERVE", 0x4000)  # named in 3.13
    with open(path, "rb") as file:
        memory = mmap.mmap(file.fileno(), 0, flags, mmap.PROT_READ | mmap.PROT_WRITE)
    return np.ndarray(shape, dtype, memory, found.offset)


def write_rows(path: Path, row: int, data: bytes) -> None:
    """Write rows from number `row` on, down to the disk."""
    array = open_memmap(path, "r")
    # through the map, a full disk would be a signal that ends the process
    with open(path, "r+b", buffering=0) as file:
        file.seek(array.offset + row * array.strides[0])
        write_down(file, data)


def write_down(file: FileIO, data: bytes) -> None:
    """Write to a file, and wait until it is on the disk; OSError names the file."""
    try:
        while data:
            data = data[file.write(data) :]
        os.fsync(file.fileno())
    except OSError as error:
        told = f"{error.strerror}; what is packed is kept: run the same again later"
        raise OSError(error.errno, told, str(file.name)) from error


def find_damage(
    folder: Path, records: list[dict], workers: int, progress: bool
) -> list[str]:
    """A line for each chunk that is not what was packed; read by `workers` threads."""

    def check(name: str, end: int, record: dict) -> str:
        path, count = folder / f"{name}.npy", len(record["items"])
        array = open_memmap(path, "r")
        with open(path, "rb") as file:
            file.seek(array.offset + (end - count) * array.strides[0])
            if zlib.crc32(file.read(count * array.strides[0])) == record["crc32"][name]:
                return ""
        names = ", ".join(item["name"] for item in record["items"])
        return f"{path}: rows {end - count} to {end - 1} are damaged; clips {names}"

    head, *chunks = records
    ends = accumulate(len(chunk["items"]) for chunk in chunks)
    tasks = [(name, *at) for at in zip(ends, chunks) for name in head["arrays"]]
    with ThreadPoolExecutor(workers) as pool:
        lines = pool.map(check, *zip(*tasks))
        bar = tqdm(lines, "checking", len(tasks), unit="chunk", disable=not progress)
        return [line for line in bar if line]
