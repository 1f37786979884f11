"""Kills and other faults, made for real, to what may be at work for hours.

    sslnb bench faults                     # 52 kills, and every fault of tests/faults
    sslnb bench faults -- --kills 200 --seed 1

`sslnb prepare`, `pack`, `train` and `experiments` run on tiny data. SIGKILL comes at
random moments: at any time of a run's length, or before any of its file operations, to
all of its processes or to the first alone. After each kill, what is on the disk is
compared with what was there before, and with an undisturbed run; in the end, results
must be equal, byte for byte where they hold no times.
"""

import argparse
import tempfile
import traceback
from collections import Counter
from pathlib import Path

import numpy as np

from benchmarks.ledger import record
from tests.faults.commands import Grid, Pack, ParallelPack, Prepare, Train
from tests.faults.kills import Tally, release, trial
from tests.faults.others import FAULTS, Skipped, TrainPacked

SHARES = {Prepare: 0.34, Pack: 0.25, ParallelPack: 0.06, Train: 0.25, Grid: 0.1}
MUST_NOT_BE = ("lost", "repeated", "half_written", "different")


def kills_of(total):
    """How many of so many kills each command gets: two at least."""
    found = {command: max(2, round(share * total)) for command, share in SHARES.items()}
    found[Prepare] += max(0, total - sum(found.values()))
    return found


def faults(command, root, answered):
    """Make every fault that is made to a command; counts those made, and answered well."""
    for fault, commands in FAULTS.items():
        if type(command) not in commands:
            continue
        name = f"{fault.__name__} {command.name}"
        command.restore()
        try:
            fault(command, root / name.replace(" ", "-"))
        except Skipped as reason:
            print(f"{name}: skipped, {reason}", flush=True)
            continue
        except Exception:
            traceback.print_exc()
            release(command)
        else:
            answered[fault.__name__] += 1
        answered["made"] += 1
        print(f"{name}: {answered[fault.__name__]} right", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=52)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args()
    rng, tally, answered = np.random.default_rng(options.seed), Tally(), Counter()
    with tempfile.TemporaryDirectory(prefix="sslnb-") as root:
        root = Path(root)
        for kind, count in kills_of(options.kills).items():
            command = kind(root / kind.__name__)
            trial(command, tally, rng, count)
            print(f"{command.name}: {count} kills; {dict(tally)}", flush=True)
            faults(command, root, answered)
        faults(TrainPacked(root / "TrainPacked"), root, answered)
    made = answered.pop("made")
    by_command = {k: v for k, v in tally.items() if k.startswith("kills ")}
    record(
        {
            "kills": sum(by_command.values()),
            **{f"kills_{what}": tally[what] for what in MUST_NOT_BE},
            "faults": made,
            "faults_answered_wrongly": made - sum(answered.values()),
        },
        f"SIGKILL at random moments (seed {options.seed}): "
        + ", ".join(f"{count} of {name[6:]}" for name, count in by_command.items())
        + "; other faults answered rightly: "
        + ", ".join(f"{name} {count}" for name, count in answered.items()),
    )


if __name__ == "__main__":
    main()
