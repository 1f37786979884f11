"""How long each notebook takes to run as it is stored, its kernel's start included.

sslnb bench notebooks
sslnb bench notebooks -- 05 --rounds 3
sslnb bench notebooks -- --whole    # one round of what `make run` does once installed
"""

import argparse
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
    options = parser.parse_args()
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
