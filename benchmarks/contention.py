"""Training beside other busy programs on the same cores, each way in turn.

    sslnb bench contention        # two CPU cores: about five minutes

Steps of notebook 05 (batches of 32, bf16) on two threads: with their number fixed, fixed
with OpenMP's threads asleep while they wait (OMP_WAIT_POLICY=PASSIVE), and as training
has it, with fewer threads while others need the cores. Each way alone; beside one and two
loops of Python; beside another training of its own way. A training that has the cores for
itself is the measure: beside one busy program on two cores its share is half of them.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from statistics import median

from benchmarks.ledger import ROOT, record

WAYS = {
    "fixed": {"OMP_DYNAMIC": "FALSE"},
    "passive": {"OMP_DYNAMIC": "FALSE", "OMP_WAIT_POLICY": "PASSIVE"},
    "shared": {},
}
LOADS = {"alone": 0, "one": 1, "two": 2, "training": 0}  # loops of Python beside it
SETTINGS = ("OMP_", "GOMP_", "MKL_")  # a user's own
BUSY = [sys.executable, "-c", "while True: pass"]


def serve():
    """Train as long as each line that arrives says; answer with steps a second.

    And with the number of threads at the end.
    """
    import torch

    from sslnb.cores import Cores
    from sslnb.data import load_scenes, spectrogram
    from sslnb.training.recipe import TrainConfig
    from sslnb.training.state import TrainState
    from sslnb.training.step import Branches, total_loss, two_views

    torch.set_num_threads(2)
    clips = load_scenes("train", 32)
    images, sounds = clips.images / 255, spectrogram(clips.waves)
    config = TrainConfig.from_preset("laptop")
    state = TrainState(config, torch.device("cpu"))
    branches = Branches(state.model, config.precision)
    generator = torch.Generator().manual_seed(0)

    def moments(seconds):
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            yield time.perf_counter()

    for seconds in itertools.chain(["1"], sys.stdin):  # the first is what is done once
        count, first = 0, time.perf_counter()
        with Cores() as cores:
            for _ in cores.share(moments(float(seconds))):
                views = two_views(config, images, sounds, generator)
                state.update(total_loss(branches, config, views)[0], 1e-4)
                count += 1
        rate = count / (time.perf_counter() - first)
        print(json.dumps([rate, cores.threads]), flush=True)


class Training:
    """A process that trains in one of the ways, when asked."""

    def __init__(self, way):
        kept = {k: v for k, v in os.environ.items() if not k.startswith(SETTINGS)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.contention", "--serve"],
            env=kept | WAYS[way] | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.answer()

    def ask(self, seconds):
        """Let it begin to train."""
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()

    def answer(self):
        """Wait until it has: steps a second, and the number of threads at the end."""
        return json.loads(self.process.stdout.readline())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()


def measured(pair, load, seconds):
    """Steps a second and threads of one of a pair of trainings, under a load."""
    own, other = pair
    count = LOADS.get(load, 0)
    busy = [subprocess.Popen(BUSY) for _ in range(count)]
    try:
        if load == "training":
            other.ask(seconds)
        own.ask(seconds)
        found = own.answer()
        if load == "training":
            other.answer()
    finally:
        for process in busy:
            process.kill()
            process.wait()
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=10, help="of each measurement")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve()
    rates = {}
    with ExitStack() as stack:
        pairs = {
            way: [stack.enter_context(Training(way)) for _ in range(2)] for way in WAYS
        }
        for _ in range(options.rounds):
            for load in LOADS:
                for way, pair in pairs.items():
                    rate, threads = measured(pair, load, options.seconds)
                    rates.setdefault((way, load), []).append(rate)
                    print(
                        f"{load:9} {way:8} {rate:6.2f} steps a second, "
                        f"{threads} threads at the end",
                        flush=True,
                    )
    alone = median(rates["fixed", "alone"])
    slower = {key: alone / median(found) for key, found in rates.items()}
    figures = {
        f"{way}_beside_{load}": ratio
        for (way, load), ratio in slower.items()
        if load != "alone"
    }
    figures |= {
        "shared_alone_percent": 100 * (slower["shared", "alone"] - 1),
        "passive_alone_percent": 100 * (slower["passive", "alone"] - 1),
        "steps_per_second": alone,
    }
    record(
        figures,
        f"steps of notebook 05, two threads, medians of {options.rounds} rounds of "
        f"{options.seconds:g} s: times as slow as alone, beside one and two loops of Python "
        "and another training of the same kind; fixed: always two threads; passive: "
        "with OMP_WAIT_POLICY=PASSIVE; shared: as training has it; a fair share "
        "would be 2 beside one or a training, 3 beside two",
    )


if __name__ == "__main__":
    main()
