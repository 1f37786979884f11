"""From videos to clips: `sslnb prepare` against calling the `ffmpeg` program twice a clip.

    sslnb bench prepare

Both make the same from the same videos (H.264 and AAC, 10 s, 640 x 360, 30 frames a
second, a keyframe every 5 s from a random moment on): the centre frame as JPEG and
mono 16 kHz audio as 16-bit WAV, with the same number of processes, turn and turn
about. `ffmpeg` is called as fast as it goes, seeking before it reads (`-ss` before
`-i`), told where the centre is, and on one thread: that is the ratio. And once more
as it is often called, reading from the start (`-ss` after `-i`), on as many threads as
it likes.
"""

import argparse
import os
import random
import resource
import shutil
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import numpy as np
import soundfile
from PIL import Image

from sslnb.data.field.prepare import prepare_videos

SECONDS, FPS, SIZE = 10, 30, (640, 360)
GROUP = 5 * FPS  # frames between keyframes, as YouTube has them
BIT_RATE = 600_000
DIFFERENT = 12  # videos; more clips are links to them
TARGET = 2  # times as fast


def make_videos(folder, count):
    """Videos `bench-…_000000.mp4`: photographs in motion, with noise as of a camera."""
    from tests.media_files import make_video, moving  # workers need none of it

    for number in range(count):
        path = folder / f"bench-{number:05}_000000.mp4"
        if path.exists():
            continue
        if number >= DIFFERENT:
            path.symlink_to(f"bench-{number % DIFFERENT:05}_000000.mp4")
            continue
        rng = np.random.default_rng(number)
        noise = rng.integers(0, 9, (2, *SIZE[::-1], 3), dtype=np.uint8)

        def pictures(number=number, rng=rng, noise=noise):
            for k, picture in enumerate(moving(SECONDS * FPS, SIZE, number)):
                shift = rng.integers(0, 200, 2)
                yield picture - picture // 16 + np.roll(noise[k % 2], shift, (0, 1))

        first = random.Random(number).randrange(1, GROUP)
        keys = {0, *range(first, SECONDS * FPS, GROUP)}
        part = folder.parent / "part.mp4"
        make_video(
            part,
            SECONDS,
            SIZE,
            FPS,
            keys=keys,
            rate=44_100,
            bit_rate=BIT_RATE,
            pictures=pictures(),
        )
        part.rename(path)
        print(f"made video {number + 1} of {min(count, DIFFERENT)}", flush=True)


def ours(videos, out, workers):
    report = prepare_videos(videos, out, workers, progress=False)
    assert not report.failures, report


def programs(videos, out, workers, seek):
    """The `ffmpeg` program, once for the frame and once for the audio of each."""
    for folder in ("frames", "audio"):
        (out / folder).mkdir(parents=True)
    call = ["ffmpeg", "-nostdin", "-v", "error", "-y"]
    one, at = (["-threads", "1"], ["-ss", str(SECONDS / 2)]) if seek else ([], [])

    def make(video):
        frame = ["-frames:v", "1", "-q:v", "2", out / "frames" / f"{video.stem}.jpg"]
        where = [] if seek else ["-ss", str(SECONDS / 2)]
        subprocess.run([*call, *one, *at, "-i", video, *where, *frame], check=True)
        wav = ["-vn", "-ac", "1", "-ar", "16000", out / "audio" / f"{video.stem}.wav"]
        subprocess.run([*call, *one, "-i", video, *wav], check=True)

    with ThreadPoolExecutor(workers) as pool:  # each thread waits for its program
        list(pool.map(make, sorted(videos.glob("*.mp4"))))


def timed(make, folder, name, *arguments):
    """Seconds on the clock and of processors, the processes that it starts included."""
    out = folder / name
    shutil.rmtree(out, ignore_errors=True)
    before, began = spent(), time.perf_counter()
    make(folder / "videos", out, *arguments)
    return time.perf_counter() - began, spent() - before


def spent():
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(sum(resource.getrusage(w)[:2]) for w in who)


def differences(one, other):
    """Least PSNR (dB) of frames, least correlation of audio; both of the same size."""
    psnr, correlation = [], []
    for path in sorted((one / "frames").glob("*.jpg")):
        a, b = (
            np.asarray(Image.open(root / "frames" / path.name), dtype=float)
            for root in (one, other)
        )
        psnr.append(10 * np.log10(255**2 / ((a - b) ** 2).mean()))
    for path in sorted((one / "audio").glob("*.wav")):
        a, b = (soundfile.read(root / "audio" / path.name)[0] for root in (one, other))
        assert a.shape == b.shape, f"{path.name}: {a.shape} and {b.shape}"
        correlation.append(np.corrcoef(a, b)[0, 1])
    return min(psnr), min(correlation)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clips", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    if not shutil.which("ffmpeg"):
        print(
            "no program `ffmpeg` here, so there is nothing to compare with; on Debian "
            "and Ubuntu: sudo apt install ffmpeg"
        )
        return
    folder = Path(tempfile.gettempdir(), f"sslnb-benchmark-{options.clips}")
    (folder / "videos").mkdir(parents=True, exist_ok=True)
    make_videos(folder / "videos", options.clips)
    ways = {
        "ours": (ours, options.workers),
        "seeking": (programs, options.workers, True),
        "reading": (programs, options.workers, False),
    }
    times = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, (make, *arguments) in ways.items():
            times[name].append(timed(make, folder, name, *arguments))
    clock, busy = (median(column) for column in zip(*times["ours"]))
    figures = {"prepare_per_second": options.clips / clock}
    found = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True)
    told = [
        f"{options.clips} clips of {SECONDS} s, {options.workers} processes, medians "
        f"of {options.rounds} rounds, {' '.join(found.stdout.split()[:3])}; ours "
        f"takes {1e3 * busy / options.clips:.0f} ms of processor a clip"
    ]
    for name, figure in {
        "seeking": "prepare_ratio",
        "reading": "prepare_ratio_usual",
    }.items():
        ratios = [
            (theirs[0] / mine[0], theirs[1] / mine[1])
            for theirs, mine in zip(times[name], times["ours"])
        ]
        figures[figure], by_processor = map(median, zip(*ratios))
        psnr, correlation = differences(folder / "ours", folder / name)
        told.append(
            f"against ffmpeg {name}: {by_processor:.2f} by seconds of processor; "
            f"frames alike to {psnr:.1f} dB or more, audio of equal length, "
            f"correlation {correlation:.6f} or more"
        )
    # here, not above: it imports torch, and workers import what this file does
    from benchmarks.ledger import record

    told.append(f"target: {TARGET} times as fast as ffmpeg seeking")
    record(figures, "\n".join(told))


if __name__ == "__main__":
    main()
