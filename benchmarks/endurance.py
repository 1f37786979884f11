"""An hour of training and 100,000 packed clips: does memory grow, do files stay open?

    sslnb bench endurance                       # about an hour and a quarter
    sslnb bench endurance --minutes 0           # packing only
    sslnb bench endurance --clips 0             # training only

Both are the commands that people run, each in a process that is watched with all its
children: memory that the system cannot take back (anonymous and shared; pages of files
do not count), open files, and threads. The growth is the slope of memory after the
first fifth, the median of all pairs of moments (Theil-Sen), times the time.
Exit code 1 where it is above the bound, or where files or threads become more.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from PIL import Image
from scipy.stats import theilslopes

from benchmarks.ledger import record
from sslnb.data.media import AudioConfig, load_audio, load_image
from sslnb.data.store.clips import open_store
from sslnb.training.checkpoint import history_in, last_model

BOUND = 10  # MB that memory may grow by, in an hour or in 100,000 clips
WARM = 0.2  # of the time: what is only read or built once
KINDS = 10  # of tiny clips; a file has 65,000 names at most
SIZE, SECONDS = 32, 0.1  # of a tiny clip
SCENES, BATCH, VAL = 512, 32, 32


@dataclass(frozen=True)
class Moment:
    """What a process and its children hold: MB of memory, open files, threads."""

    second: float
    memory: float
    files: int
    threads: int
    processes: int


class Watch:
    """A context that looks at process `pid` and its children every `every` seconds."""

    def __init__(self, pid, every):
        self.pid, self.every, self.moments = pid, every, []
        self.began, self.done = time.monotonic(), threading.Event()
        self.thread = threading.Thread(target=self._watch)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.done.set()
        self.thread.join()

    def _watch(self):
        while not self.done.wait(self.every):
            held = [found for pid in family(self.pid) if (found := holds(pid))]
            if not held:
                return
            self.moments.append(
                Moment(time.monotonic() - self.began, *map(sum, zip(*held)), len(held))
            )

    def growth(self):
        """{what: growth over the whole time}, and the most memory in MB.

        The growth is of moments at which all processes are there: workers start, and end.
        """
        most = max(moment.processes for moment in self.moments)
        moments = [moment for moment in self.moments if moment.processes == most]
        moments = moments[int(WARM * len(moments)) :]
        if len(moments) < 10:
            raise SystemExit(f"error: {len(moments)} moments seen; run it for longer")
        time = [moment.second for moment in moments]
        memory = [moment.memory for moment in moments]
        slope = theilslopes(memory, time).slope * self.moments[-1].second
        most = max(moment.memory for moment in self.moments)
        found = {"growth_mb": slope, "memory_mb": most}
        fifth = len(moments) // 5
        for what in ("files", "threads"):
            values = [getattr(moment, what) for moment in moments]
            # what is open for a moment only is not in the least of them
            found[f"{what}_growth"] = min(values[-fifth:]) - min(values[:fifth])
        return found


def family(pid):
    """The process and all its children."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [
            child for t in tasks for child in (t / "children").read_text().split()
        ]
    except (FileNotFoundError, ProcessLookupError):
        return [pid]
    return [pid, *(p for child in children for p in family(int(child)))]


def holds(pid):
    """(MB that cannot be taken back, open files, threads), or None where it has ended."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        values = dict(line.split(":", 1) for line in rollup[1:])
        kb = sum(int(values[name].split()[0]) for name in ("Pss_Anon", "Pss_Shmem"))
        files = len(os.listdir(f"/proc/{pid}/fd"))
        return kb / 1e3, files, len(os.listdir(f"/proc/{pid}/task"))
    except (FileNotFoundError, ProcessLookupError):
        return None


def command(*words):
    """An sslnb command, in a process of its own that has begun."""
    words = [sys.executable, "-m", "sslnb", *map(str, words), "--no-progress"]
    return subprocess.Popen(words, stdout=subprocess.DEVNULL)


def done(process):
    if process.wait():
        raise SystemExit(f"error: {' '.join(process.args)} failed, see above")


def train(root, minutes):
    """Figures of a training that is stopped after `minutes`."""
    size = ("--count", SCENES, "--size", 128)
    done(command("scenes", "--out", root / "scenes.store", *size))
    run = root / "run"
    process = command(
        *("train", "--data", "packed", "--root", root / "scenes.store", "--out", run),
        *("--model", "F", "--epochs", 100_000, "--batch", BATCH, "--val-clips", VAL),
        # all of a step's work from the first epoch on
        *("--curriculum", 0, "--warmup", 0, "--learning-rate", 1e-3),
    )
    with Watch(process.pid, every=5) as watch:
        try:
            process.wait(60 * minutes)
            raise SystemExit("error: the training ended by itself, see above")
        except subprocess.TimeoutExpired:
            process.terminate()  # SIGINT is ignored in what a shell has sent to the back
            process.wait()
    last_model(run)  # its last state is complete
    epochs = len(history_in(run))
    return watch.growth() | {
        "minutes": watch.moments[-1].second / 60,
        "epochs": epochs,
        "steps": epochs * -(-SCENES // BATCH),
    }


def tiny(root, count):
    """A prepared folder of `count` tiny clips, of KINDS files with many names."""
    generator = np.random.default_rng(0)
    for name in ("frames", "audio"):
        (root / name).mkdir(parents=True)
    for k in range(KINDS):
        pixels = generator.integers(0, 256, (SIZE, SIZE, 3), np.uint8)
        Image.fromarray(pixels).save(root / f"{k}.jpg")
        wave = generator.integers(-9999, 9999, int(SECONDS * 16_000), np.int16)
        soundfile.write(root / f"{k}.wav", wave, 16_000, "PCM_16")
    for index in range(count):
        clip = f"{index:011}_000000"
        os.link(root / f"{index % KINDS}.jpg", root / "frames" / f"{clip}.jpg")
        os.link(root / f"{index % KINDS}.wav", root / "audio" / f"{clip}.wav")


def pack(root, count):
    """Figures of packing `count` tiny clips, and of reading them all again."""
    clips, store = root / "clips", root / "clips.store"
    tiny(clips, count)
    size = ("--size", SIZE, "--seconds", SECONDS, "--workers", 2)
    process = command("pack", clips, "--out", store, *size)
    with Watch(process.pid, every=0.5) as watch:
        done(process)
    with Watch(os.getpid(), every=0.02) as reading:
        read_all(store, clips, count)
    found = watch.growth()
    return found | {
        "clips": count,
        "seconds": watch.moments[-1].second,
        "reading_growth_mb": reading.growth()["growth_mb"],
        "reading_files_growth": reading.growth()["files_growth"],
    }


def read_all(store, clips, count):
    """Read every row once, in random order; SystemExit where one is not what was packed."""
    audio = AudioConfig(seconds=SECONDS)
    frames = torch.stack([load_image(clips / f"{k}.jpg", SIZE) for k in range(KINDS)])
    waves = torch.stack([load_audio(clips / f"{k}.wav", audio) for k in range(KINDS)])
    opened = open_store(store)
    if len(opened) != count:
        raise SystemExit(f"error: {len(opened)} of {count} clips are in the store")
    for rows in torch.randperm(count).split(64):
        kinds = rows % KINDS
        same = torch.equal(
            opened.images.index_select(0, rows) / 255, frames[kinds]
        ) and torch.equal(opened.waves.index_select(0, rows) / 32768, waves[kinds])
        if not same:
            raise SystemExit(f"error: other rows than were packed, among {rows}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=60, help="of training")
    parser.add_argument("--clips", type=int, default=100_000, help="to pack")
    options = parser.parse_args()
    figures, told = {}, []
    with tempfile.TemporaryDirectory(prefix="sslnb-") as root:
        for part, of, amount in (
            ("packed", pack, options.clips),
            ("endurance", train, options.minutes),
        ):
            if not amount:
                continue
            found = of(Path(root), amount)
            print(part, *(f"{k} {v:.4g}" for k, v in found.items()), sep="  ")
            figures |= {f"{part}_{name}": value for name, value in found.items()}
    bounds = {"growth_mb": BOUND, "files_growth": 0, "threads_growth": 0}
    broken = [
        f"{name} is {value:.4g}, over {bound}"
        for name, value in figures.items()
        for what, bound in bounds.items()
        if name.endswith(what) and value > bound
    ]
    if options.clips:
        told.append(
            f"{options.clips:,} clips of {SIZE} pixels and {SECONDS} s packed by two "
            "processes, all read back and compared"
        )
    if options.minutes:
        told.append(
            f"model F, laptop, trained for {options.minutes:g} minutes on "
            f"{SCENES} packed scenes in batches of {BATCH}, validated and saved every "
            f"epoch, {os.environ.get('OMP_NUM_THREADS', 'all')} thread(s)"
        )
    told.append(
        f"memory that the system cannot take back, with children; bound {BOUND} MB"
    )
    record(figures, "; ".join(told))
    if broken:
        raise SystemExit(f"error: {'; '.join(broken)}")


if __name__ == "__main__":
    main()
