"""How long scoring all of VGG-SS takes: reading, every score and every interval.

    sslnb bench score [vggss.json]

Without the file, boxes of as many clips are made up.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.ledger import record
from sslnb.data.field.annotations import Annotation, read_annotations
from sslnb.localise.maps import open_maps, simulated_maps
from sslnb.localise.report import evaluate

CLIPS = 5_158  # of VGG-SS
TARGET = 10  # seconds, at most, on two cores


def made_up(count):
    """Annotations of one box a clip, of every size."""
    edges = np.sort(np.random.default_rng(0).random((count, 2, 2)), axis=1)
    boxes = edges.reshape(count, 4).tolist()
    return {f"{k:011}_{0:06}": Annotation((tuple(box),)) for k, box in enumerate(boxes)}


def seconds(path, annotations):
    """From a closed file of maps to the report's text: seconds, and those of one core."""
    began, busy = time.perf_counter(), time.process_time()
    with open_maps(path) as maps:
        str(evaluate(maps, annotations))
    return time.perf_counter() - began, time.process_time() - busy


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("annotations", nargs="?", help="vggss.json")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--side", type=int, default=14, help="cells of a map's side")
    options = parser.parse_args()
    annotations = (
        read_annotations(options.annotations) if options.annotations else made_up(CLIPS)
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "maps.npz"
        np.savez(path, **simulated_maps(annotations, options.side))
        seconds(path, annotations)  # what is only read or built once
        rounds = [seconds(path, annotations) for _ in range(options.rounds)]
    times, busy = zip(*rounds)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    record(
        {"score_seconds": median(times)},
        f"{len(annotations):,} clips of {options.side} × {options.side} cells: median "
        f"of {options.rounds} rounds, {min(times):.1f} to {max(times):.1f}; target: at "
        f"most {TARGET} on two cores; {median(busy):.1f} seconds of processor; "
        f"{peak:.2f} GB of memory at most",
    )


if __name__ == "__main__":
    main()
