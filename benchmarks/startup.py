"""How long each command takes to begin: until its first word, or its error.

sslnb bench startup
sslnb bench startup -- train video --rounds 5

Each command runs twice a round. Once with an input that is missing, or a folder that is
taken, until it has said so and ended. Once with a tiny input of its own, until it
prints anything: a bar, a line of its work, or its result. Then it is stopped. Beside the
seconds of a clock stand those of processors, which another program does not change.
`figures` is left out: it draws the README's figures anew and says nothing before.
"""

import argparse
import json
import math
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import av
import numpy as np
import psutil
import soundfile
from PIL import Image

from benchmarks.ledger import record
from sslnb.cli import main as sslnb
from sslnb.data.soundstamps import compose
from sslnb.files import CHECKPOINT, ROOT

CLIPS = 6
LONGEST = 60  # seconds that a command may take to begin
# command: (with something missing or taken, with a tiny input); {x}: made by `inputs`
COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("run 99", "run A1 --out {new}"),
    "lab": ("", "lab --no-browser --port {port}"),
    "demo": ("demo --port {taken}", "demo --port {port}"),
    "handouts": ("handouts 99", "handouts 07 --out {new}"),
    "slides": ("slides 99", "slides 07 --out {new}"),
    "lint": ("lint 99", "lint 07"),
    "doctor": ("doctor --missing", "doctor"),
    "bench": ("bench missing", "bench scenes -- --help"),
    "download": ("download missing", "download"),
    "prepare": ("prepare missing --out {new}", "prepare {videos} --out {new}"),
    "pack": ("pack missing --out {new}", "pack {clips} --out {new}"),
    "scenes": ("scenes --out {new}", "scenes --count 4 --size 32 --out {new}"),
    "verify": ("verify missing", "verify {store}"),
    "train": ("train --out {checkpoint}", "train --scenes 64 --out {new}"),
    "maps": (
        "maps missing --checkpoint {checkpoint} --out {new}.npz",
        "maps {clips} --checkpoint {checkpoint} --out {new}.npz",
    ),
    "score": (
        "score --responses missing.npz --annotations missing",
        "score --responses {maps} --annotations {clips}/vggss.json",
    ),
    "video": ("video missing.mp4 --out {new}.mp4", "video {video} --out {new}.mp4"),
    "retrieve": ("retrieve missing", "retrieve --split test --count 20"),
    "experiments": ("experiments missing", "experiments --dry-run"),
    "export": ("export missing --out {new}", "export --out {new}"),
}


def inputs(folder: Path) -> dict[str, str]:
    """Tiny inputs of every command, made in a folder; their names and paths."""
    clips, videos = folder / "clips", folder / "videos"
    entries = []
    for place in ("clips/frames", "clips/audio", "videos"):
        (folder / place).mkdir(parents=True)
    for k in range(CLIPS):
        scene, name = compose("test", 0, k, 96), f"{k:011}_000000"
        Image.fromarray(scene.image).save(clips / "frames" / f"{name}.jpg")
        soundfile.write(clips / "audio" / f"{name}.wav", scene.wave, 16_000)
        boxes = [list(map(float, box)) for box in scene.boxes]
        entries.append({"file": name, "class": scene.class_name, "bbox": boxes})
    (clips / "vggss.json").write_text(json.dumps(entries))
    path = videos / "00000000000_000000.mp4"
    write_video(path, scene.image, scene.wave)
    maps, store = folder / "maps.npz", folder / "store"
    options = ["--count", "4", "--size", "32", "--no-progress"]
    assert not sslnb(["scenes", "--out", str(store), *options])
    options = ["--checkpoint", str(CHECKPOINT), "--out", str(maps), "--no-progress"]
    assert not sslnb(["maps", str(clips), *options])
    return {
        "clips": str(clips),
        "videos": str(videos),
        "video": str(path),
        "store": str(store),
        "maps": str(maps),
        "checkpoint": str(CHECKPOINT),
    }


def write_video(path: Path, image: np.ndarray, wave: np.ndarray) -> None:
    """A still image (H, W, 3) with a wave at 16 kHz, as a video of 10 frames a second."""
    with av.open(str(path), "w") as file:
        pictures = file.add_stream("mpeg4", rate=10)
        pictures.height, pictures.width = image.shape[:2]
        pictures.pix_fmt = "yuv420p"
        sound = file.add_stream("aac", rate=16_000, layout="mono")
        for _ in range(int(10 * len(wave) / 16_000)):
            file.mux(pictures.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        samples = av.AudioFrame.from_ndarray(
            wave[None].astype(np.float32), format="fltp", layout="mono"
        )
        samples.sample_rate = 16_000
        file.mux(sound.encode(samples))
        for stream in (pictures, sound):
            file.mux(stream.encode())


def seconds(arguments: Sequence[str], to_end: bool) -> tuple[float, float]:
    """From the start of a command to its first word, or to its end: (clock, processors).

    Of the processors, those of what it has started too; NaN where it has ended.

    RuntimeError where it says nothing, or where it fails though it should not, or
    the other way round.
    """
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "sslnb", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT)},
        # Ctrl-C ends what it has started too; in the background it would be ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout is not None
    try:
        ready, _, _ = select.select([process.stdout], [], [], LONGEST)
        word = os.read(process.stdout.fileno(), 500).decode() if ready else ""
        busy = processors(process.pid)
        if to_end:
            process.wait(LONGEST)
        taken = time.perf_counter() - began
        failed = "error: " in word
        if not word or failed != to_end:
            raise RuntimeError(f"sslnb {' '.join(arguments)} said {word!r}")
        return taken, busy
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def processors(number: int) -> float:
    """Seconds of processors of a process and its children; NaN where it has ended."""
    try:
        process = psutil.Process(number)
        each = [process, *process.children(recursive=True)]
        return sum(sum(one.cpu_times()[:2]) for one in each)
    except psutil.NoSuchProcess:
        return math.nan


def free_port() -> int:
    """A port of this machine that nothing uses."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("commands", nargs="*", help="which [all]")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    chosen = options.commands or list(COMMANDS)
    found: dict[tuple[str, str], list[float]] = {}
    busy: dict[str, list[float]] = {}
    with (
        tempfile.TemporaryDirectory(prefix="sslnb-") as name,
        socket.create_server(("127.0.0.1", 0)) as taken,
    ):
        made = inputs(Path(name)) | {"taken": str(taken.getsockname()[1])}
        for number in range(options.rounds):
            for command in chosen:
                for how, text in zip(("error", "begins"), COMMANDS[command]):
                    new = str(Path(name, f"{command}-{how}-{number}"))
                    values = made | {"new": new, "port": str(free_port())}
                    arguments = [word.format(**values) for word in text.split()]
                    if arguments:
                        took, used = seconds(arguments, to_end=how == "error")
                        if how == "begins" and not math.isnan(used):
                            busy.setdefault(command, []).append(used)
                        found.setdefault((command, how), []).append(took)
                        print(f"{command:12} {how:7} {took:.2f} s", flush=True)
    middle = {key: median(times) for key, times in found.items()}
    slowest = {
        how: max((t, command) for (command, kind), t in middle.items() if kind == how)
        for how in ("error", "begins")
    }
    figures = {
        f"start_seconds_{c}": t for (c, how), t in middle.items() if how != "error"
    }
    record(
        {
            "start_seconds": slowest["begins"][0],
            "start_error_seconds": slowest["error"][0],
            "start_processor_seconds": max(map(median, busy.values())),
            **figures,
        },
        f"{len(chosen)} commands from their start to their first word: medians of "
        f"{options.rounds} rounds, slowest `{slowest['begins'][1]}`; to an error for "
        f"what is missing, slowest `{slowest['error'][1]}`; target: 2 seconds",
    )


if __name__ == "__main__":
    main()
