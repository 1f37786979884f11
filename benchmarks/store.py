"""How fast clips are packed into a store, and gathered from it at random.

sslnb bench store
"""

import argparse
import os
import shutil
import tempfile
import time
from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import soundfile
import torch
from PIL import Image

from benchmarks.ledger import record
from sslnb.data.field.layouts import open_folder
from sslnb.data.soundstamps import compose
from sslnb.data.store.clips import open_store, pack

BATCH = 64


def make_clips(root, count):
    """Clips as `sslnb prepare` makes them: jpg of 340 × 256, wav of 10 s at 16 kHz."""
    for name in ("frames", "audio"):
        (root / name).mkdir()
    for index in range(count):
        scene, clip = compose("train", 0, index, 256), f"{index:011}_000000"
        image = Image.fromarray(scene.image).resize((340, 256))
        image.save(root / "frames" / f"{clip}.jpg", quality=95)
        wave = np.resize(scene.wave, 160_000)
        soundfile.write(root / "audio" / f"{clip}.wav", wave, 16_000, "PCM_16")


def repeated(folder, times):
    """Every clip `times` times, under other names: so many that starting is little."""
    return replace(
        folder,
        clips=tuple(
            replace(clip, name=f"{clip.name}/{turn}")
            for turn in range(times)
            for clip in folder.clips
        ),
    )


def packed(folder, out, workers):
    """Clips a second that `workers` pack, their start and the last check included."""
    began = time.perf_counter()
    with open(os.devnull, "w") as quiet, redirect_stderr(quiet):
        pack(folder, out, workers=workers)
    return len(folder.clips) / (time.perf_counter() - began)


def gathered(clips, batches):
    """Rows a second, picture and sound, in batches of random rows."""
    order = torch.randint(len(clips), (batches, BATCH))
    began = time.perf_counter()
    for rows in order:
        clips.images.index_select(0, rows), clips.waves.index_select(0, rows)
    return order.numel() / (time.perf_counter() - began)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clips", type=int, default=400, help="files of each kind")
    parser.add_argument("--times", type=int, default=3, help="that each is packed")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sslnb-") as root:
        root = Path(root)
        make_clips(root, options.clips)
        folder = repeated(open_folder(root), options.times)
        rates = {workers: [] for workers in options.workers}
        for turn in range(options.rounds):  # in turns, so that noise meets all alike
            for workers in rates:
                out = root / f"store-{workers}-{turn}"
                rates[workers].append(packed(folder, out, workers))
                clips = open_store(out)
                shutil.rmtree(out)  # what is mapped stays until it is let go
        rows = [gathered(clips, 50) for _ in range(1 + options.rounds)][1:]
    most = max(rates)
    record(
        {
            "packed_per_second": median(rates[most]),
            "rows_per_second": median(rows),
            **{
                f"packed_per_second_by_{w}": median(found) for w, found in rates.items()
            },
        },
        f"{len(folder.clips):,} clips of 340 × 256 and 10 s packed by {most} processes, "
        f"and rows gathered at random in batches of {BATCH}: medians of "
        f"{options.rounds} rounds",
    )


if __name__ == "__main__":
    main()
