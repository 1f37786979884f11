"""Retrieval, a folder and the nearest neighbours at the size of VGGSound.

    sslnb bench large

Sounds that are ranked by cosine, 20,304 by 20,304, in turn with the bare product of the
same matrices; a prepared folder of 200,000 clips (names of a few tiny files) that is
opened; the most similar other clip of 144,000, as T_mix needs it. Each runs in a process
of its own. Seconds are the processor's, of all threads, so that a busy machine changes
little; memory is all of the process at its peak, PyTorch's and Python's included.
"""

import argparse
import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F

from benchmarks.endurance import tiny
from benchmarks.ledger import record
from sslnb.augment import most_similar
from sslnb.data.field.layouts import open_folder
from sslnb.retrieve import BLOCK, rank

FOUND, CHANNELS = 10, 512  # the best, of so many dimensions
CLIPS = {"retrieval": 20_304, "folder": 200_000, "neighbours": 144_000}
BOUNDS = {"retrieval_ratio": 1.3, "folder_seconds": 5, "neighbours_144k_gb": 2}


def apart(threads, function, *values):
    """What a function returns in a process of its own, and that one's peak in GB."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, torch.set_num_threads, (threads,)) as pool:
        return pool.submit(function, *values).result(), pool.submit(peak).result()


def peak():
    """The most memory that this process has held, in GB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    values = dict(line.split(":", 1) for line in lines)
    return int(values["VmHWM"].split()[0]) * 1024 / 1e9


def vectors(count):
    return torch.randn(count, CHANNELS, generator=torch.Generator().manual_seed(0))


def retrieval(count, rounds):
    """Seconds of the bare product and of ranking, in turn: a pair a round."""
    x = vectors(count)
    unit, found = F.normalize(x, dim=1), []
    for _ in range(1 + rounds):  # in the first, memory is asked for
        began = time.process_time()
        for rows in unit.split(BLOCK):
            rows @ unit.T
        between = time.process_time()
        rank(x, x, exclude_self=True, k=FOUND)
        found.append((between - began, time.process_time() - between))
    return found[1:]


def folder(root, count, rounds):
    """Seconds in which a folder is opened, its names in the system's cache."""
    found = []
    for _ in range(1 + rounds):  # the first fills the cache
        began = time.process_time()
        opened = open_folder(root)
        found.append(time.process_time() - began)
        if len(opened.clips) != count:
            raise SystemExit(f"error: {len(opened.clips)} of {count} clips found")
    return found[1:]


def neighbours(count):
    """Seconds in which each clip finds its most similar other one."""
    unit = F.normalize(vectors(count), dim=1)
    began = time.process_time()
    most_similar(unit)
    return time.process_time() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    for part, count in CLIPS.items():
        parser.add_argument(f"--{part}", type=int, default=count, help="clips, or 0")
    options = parser.parse_args()
    figures, told = {}, []
    if options.retrieval:
        times, ranked_gb = apart(
            options.threads, retrieval, options.retrieval, options.rounds
        )
        print("bare product, ranked: seconds", times, flush=True)
        figures |= {
            "retrieval_ratio": median(ours / bare for bare, ours in times),
            "retrieval_seconds": median(ours for _, ours in times),
            "retrieval_memory_gb": ranked_gb,
        }
        told.append(
            f"{options.retrieval:,} × {options.retrieval:,} of {CHANNELS} dimensions, the "
            f"{FOUND} best of each, against the bare product in fp32"
        )
    if options.folder:
        with tempfile.TemporaryDirectory(prefix="sslnb-") as root:
            tiny(Path(root), options.folder)
            opened, _ = apart(1, folder, root, options.folder, options.rounds)
        figures["folder_seconds"] = median(opened)
        told.append(f"a folder of {options.folder:,} clips")
    if options.neighbours:
        searched, searched_gb = apart(options.threads, neighbours, options.neighbours)
        figures["neighbours_144k_seconds"] = searched
        figures["neighbours_144k_gb"] = searched_gb
        told.append(
            f"the most similar of {options.neighbours:,}, of {CHANNELS} dimensions"
        )
    told.append(
        f"seconds of the processor, {options.threads} thread(s), medians of "
        f"{options.rounds} rounds"
    )
    record(figures, "; ".join(told))
    broken = [name for name, most in BOUNDS.items() if figures.get(name, 0) > most]
    if broken:
        raise SystemExit(f"error: above the bound: {', '.join(broken)}, see above")


if __name__ == "__main__":
    main()
