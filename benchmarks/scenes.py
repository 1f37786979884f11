"""How many scenes a second are composed, on one thread, at the laptop's size.

sslnb bench scenes
"""

import argparse
import time
from statistics import median

from benchmarks.ledger import record
from sslnb.data.soundstamps import compose

TARGET = 150  # scenes a second: 4,000 of them in under half a minute


def rate(count, size, start):
    """Scenes a second over `count` scenes of train from `start` on."""
    began = time.perf_counter()
    for index in range(start, start + count):
        compose("train", 0, index, size)
    return count / (time.perf_counter() - began)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--scenes", type=int, default=200, help="scenes a round")
    parser.add_argument("--size", type=int, default=96, help="pixels a side")
    options = parser.parse_args()
    rate(options.scenes, options.size, 0)  # reads and decodes every file once
    rates = [
        rate(options.scenes, options.size, options.scenes * (1 + r))
        for r in range(options.rounds)
    ]
    record(
        {"scenes_per_second": median(rates)},
        f"scenes of {options.size} pixels, one thread: median of {options.rounds} "
        f"rounds of {options.scenes}, {min(rates):.0f} to {max(rates):.0f}; target: at "
        f"least {TARGET}",
    )


if __name__ == "__main__":
    main()
