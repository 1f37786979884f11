"""How many scenes a second are composed, on one thread, at the laptop's size.

    python -m benchmarks.scenes
"""

import argparse
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median

from sslnb.soundstamps import compose

TARGET = 150  # scenes a second: 4,000 of them in under half a minute


def rate(count, size, start):
    """Scenes a second over `count` scenes of train from `start` on."""
    began = time.perf_counter()
    for index in range(start, start + count):
        compose("train", 0, index, size)
    return count / (time.perf_counter() - began)


def processor():
    """The processor's name where Linux tells it, else what Python knows."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.processor() or platform.machine()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--scenes", type=int, default=200, help="scenes a round")
    parser.add_argument("--size", type=int, default=96, help="pixels a side")
    options = parser.parse_args()
    rate(options.scenes, options.size, 0)  # reads and decodes every file once
    rates = [rate(options.scenes, options.size, options.scenes * (1 + r))
             for r in range(options.rounds)]
    packages = ", ".join(f"{p} {version(p)}" for p in ("numpy", "pillow", "soundfile"))
    print(f"{processor()}, {os.cpu_count()} cores, {platform.system()}")
    print(f"Python {platform.python_version()}, {packages}")
    print(f"{median(rates):.0f} scenes a second at {options.size} pixels, one thread "
          f"(median of {options.rounds} rounds of {options.scenes}, "
          f"{min(rates):.0f} to {max(rates):.0f}; target: at least {TARGET})")


if __name__ == "__main__":
    main()
