"""How long each notebook takes to run as it is stored, its kernel's start included.

sslnb bench notebooks
sslnb bench notebooks -- 05 --rounds 3
sslnb bench notebooks -- --whole    # one round of what `make run` does once installed
sslnb bench notebooks -- 03 --readers 4    # at once, on the cores of one server
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.ledger import record
from sslnb.files import ROOT
from sslnb.series import listing, run


def seconds(path):
    """Seconds that papermill takes to execute a notebook with its own parameters."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        run.execute(path, Path(folder, path.name), cpu=True)
        return time.perf_counter() - began


def together(path, readers, threads):
    """Seconds in which so many readers run a notebook at once, each with so many threads."""
    settings = {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)}
    papermill = [sys.executable, "-m", "papermill", "--no-progress-bar", path]
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        running = [
            subprocess.Popen(
                [*papermill, Path(folder, f"{reader}.ipynb")],
                cwd=path.parent,
                env=os.environ | settings,
                stderr=subprocess.DEVNULL,
            )
            for reader in range(readers)
        ]
        codes = [process.wait() for process in running]
        if any(codes):
            raise SystemExit(f"error: {path.name} ended with {codes}")
        return time.perf_counter() - began


def main_of_readers(paths, readers):
    """Record how much longer each notebook takes where several run it at once."""
    figures = {}
    for path in paths:
        alone = together(path, 1, 2)
        for threads, each in ((1, "one_thread"), (2, "two_threads")):
            several = together(path, readers, threads)
            figures[f"readers_{each} {path.stem}"] = several / alone
            print(f"{path.stem}, {threads} thread(s) each: {several / alone:.2f}")
    record(
        figures,
        f"{readers} readers run a notebook at once, each kernel with one thread or two: "
        "times as long as one alone with two",
    )


def minutes():
    """Minutes that `make run` takes once installed: a model trained in full, and pages."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        for arguments in (["doctor", "--quiet"], ["run", "--out", folder]):
            command = [sys.executable, "-m", "sslnb", *arguments]
            subprocess.run(command, cwd=ROOT, check=True)
        return (time.perf_counter() - began) / 60


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("notebooks", nargs="*", help="01 to 08, A1 to A3 [all]")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument(
        "--whole",
        action="store_true",
        help="what `make run` does, doctor and pages too",
    )
    parser.add_argument("--readers", type=int, help="how many run each at once")
    options = parser.parse_args()
    if options.readers:
        return main_of_readers(listing.notebooks(options.notebooks), options.readers)
    if options.whole:
        if options.notebooks:
            parser.error("--whole runs every notebook")
        record(
            {"make_run_minutes": median(minutes() for _ in range(options.rounds))},
            "the doctor, all notebooks, a model trained in full in notebook 05, and "
            f"their pages, kernels of two threads: median of {options.rounds} rounds",
        )
        return
    paths = listing.notebooks(options.notebooks)
    taken = {path.stem: [] for path in paths}
    for _ in range(options.rounds):
        for path in paths:
            taken[path.stem].append(seconds(path))
    record(
        {f"notebook {name}": median(times) for name, times in taken.items()},
        f"notebooks as they are stored, two threads: medians of {options.rounds} rounds",
    )


if __name__ == "__main__":
    main()
