"""Kills and other faults, made for real, to what may be at work for hours.

    sslnb bench faults                     # 52 kills, and every fault of tests/faults
    sslnb bench faults -- kills --kills 200 --seed 1

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

SHARES = {Prepare: 0.4, Pack: 0.3, ParallelPack: 0.04, Train: 0.2, Grid: 0.06}
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


def record_kills(root, total, seed):
    """Kill each command so often, and record what must not be and was."""
    rng, tally = np.random.default_rng(seed), Tally()
    for kind, count in kills_of(total).items():
        command = kind(root / f"{kind.__name__}-killed")
        trial(command, tally, rng, count)
        print(f"{command.name}: {count} kills; {dict(tally)}", flush=True)
    counts = {k[6:]: v for k, v in tally.items() if k.startswith("kills ")}
    record(
        {
            "kills": sum(counts.values()),
            **{f"kills_{what}": tally[what] for what in MUST_NOT_BE},
        },
        f"SIGKILL at random moments (seed {seed}): "
        + ", ".join(f"{count} of {name}" for name, count in counts.items()),
    )


def record_others(root):
    """Make every other fault, and record how many were answered wrongly."""
    answered = Counter()
    for kind in (*SHARES, TrainPacked):
        faults(kind(root / kind.__name__), root, answered)
    made = answered.pop("made")
    record(
        {"faults": made, "faults_answered_wrongly": made - sum(answered.values())},
        "faults made for real, and answered rightly: "
        + ", ".join(f"{name} {count}" for name, count in answered.items()),
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("part", nargs="?", choices=("kills", "others"))
    parser.add_argument("--kills", type=int, default=52)
    parser.add_argument("--seed", type=int, default=0, help="of their moments")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sslnb-") as root:
        if options.part != "others":
            record_kills(Path(root), options.kills, options.seed)
        if options.part != "kills":
            record_others(Path(root))


if __name__ == "__main__":
    main()
