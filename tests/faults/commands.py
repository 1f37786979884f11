"""The commands that may be at work for hours, on tiny data: what must hold of each.

>>> command = Train(folder)                     # makes its data in a folder
>>> command.run(out)                            # `sslnb train`, to its end
>>> command.done(out), command.half_written(out, right), command.result(out)

A command goes on where it was killed by the same words (`sslnb train` by --resume).
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

from sslnb.data.store.arrays import find_damage, items_of, read_index
from tests.media_files import make_video

ROOT = Path(__file__).resolve().parents[2]
CHILD = Path(__file__).with_name("child")
# What no two runs share
TIMES = ("seconds", "seconds_measuring", "waiting", "day", "commit")


class Command:
    """One of the commands. `place`: a folder of its own, where its data are made."""

    program = ("-m", "sslnb")

    def __init__(self, place):
        self.place = Path(place)
        self.place.mkdir(parents=True)
        self.make()

    @property
    def name(self):
        return type(self).__name__.lower()

    def start(self, out, **fault):
        """The command in a session of its own; what it says goes to said and errors."""
        environment = os.environ | {
            "PYTHONPATH": f"{ROOT}:{CHILD}",
            "OMP_NUM_THREADS": "1",
            "SSLNB_FAULT": json.dumps(fault),
        }
        with (
            open(self.place / "said", "w") as said,
            open(self.place / "errors", "w") as errors,
        ):
            return subprocess.Popen(
                [sys.executable, *self.program, *map(str, self.arguments(Path(out)))],
                cwd=ROOT,
                stdout=said,
                stderr=errors,
                env=environment,
                start_new_session=True,
            )

    def run(self, out, **fault):
        """The command from here to its end; its exit code."""
        return self.start(out, **fault).wait(timeout=600)

    def said(self, where="said"):
        return (self.place / where).read_text(encoding="utf-8")

    # Of each command:
    #   make()                     its data
    #   arguments(out)             what it is called with, to begin or to go on
    #   done(out)                  {unit of work that is done: what only doing it
    #                              again would change}
    #   told()                     the units of which it has said that they are done
    #   half_written(out, right)   files under their final names that are not whole;
    #                              `right` is the folder of an undisturbed run
    #   result(out)                what must be equal after any disturbance
    #   spoil(out)                 ruin what must not be read again; restore() mends it

    def told(self):
        return set()

    def spoil(self, out):
        pass

    def restore(self):
        pass


class Prepare(Command):
    """`sslnb prepare`: fifteen videos and one that is cut, by two processes."""

    def make(self):
        videos = self.place / "videos"
        videos.mkdir()
        for number in range(3):
            file = make_video(self.place / f"{number}.mp4", 1.2, fps=20)
            for copy in range(number, 15, 3):
                name = f"-a_{copy:08}_{copy:06}.mp4"
                shutil.copyfile(file, videos / name)
        cut = file.read_bytes()[:-2_000]
        (videos / f"-a_{15:08}_{15:06}.mp4").write_bytes(cut)

    def arguments(self, out):
        videos = self.place / "videos"
        return ["prepare", videos, "--out", out, "--workers", 2, "--no-progress"]

    def done(self, out):
        clips = {path.stem for path in out.glob("frames/-*.jpg")}
        files = {
            clip: (out / f"frames/{clip}.jpg", out / f"audio/{clip}.wav")
            for clip in clips
        }
        return {
            clip: [written(path) for path in both]
            for clip, both in files.items()
            if all(path.exists() for path in both)
        }

    def half_written(self, out, right):
        found, whole = contents(out), contents(right)
        return [
            name
            for name in found
            if Path(name).name[0] != "."
            and name != "prepare.json"
            and found[name] != whole.get(name)
        ]

    def result(self, out):
        return contents(out)


class Pack(Command):
    """`sslnb pack`: five chunks of clips and a bit, by one process."""

    workers = 1

    def make(self):
        clips, rng = self.place / "right", np.random.default_rng(0)
        for name in ("frames", "audio"):
            (clips / name).mkdir(parents=True)
        for number in range(5 * 64 + 9):
            name = f"{number:011}_{number:06}"
            pixels = rng.integers(0, 256, (40, 60, 3), np.uint8)
            Image.fromarray(pixels).save(clips / "frames" / f"{name}.jpg")
            wave = rng.integers(-9_000, 9_000, 9_000, np.int16)
            soundfile.write(clips / "audio" / f"{name}.wav", wave, 16_000, "PCM_16")
        self.restore()

    def restore(self):
        shutil.copytree(self.place / "right", self.clips, dirs_exist_ok=True)

    @property
    def clips(self):
        return self.place / "clips"

    def arguments(self, out):
        small = ("--size", 32, "--seconds", 0.5, "--workers", self.workers)
        return ["pack", self.clips, "--out", out, *small, "--no-progress"]

    def done(self, out):
        return {
            item["name"]: number
            for number, record in enumerate(read_index(out)[0])
            for item in record["items"]
        }

    def spoil(self, out):
        """What is packed must not be read again: its files are emptied."""
        for item in items_of(read_index(out)[0]):
            for path in self.clips.glob(f"*/{item['name']}.*"):
                path.write_bytes(b"")

    def half_written(self, out, right):
        records, complete = read_index(out)
        if complete and contents(out) != contents(right):
            return ["index.jsonl"]
        return find_damage(out, records, 1, False) if records else []

    def result(self, out):
        return contents(out)


class ParallelPack(Pack):
    """The same, by two processes that read for a third."""

    workers = 2


class Train(Command):
    """`sslnb train`: four epochs of two steps."""

    def make(self):
        pass

    def arguments(self, out):
        tiny = (
            *("--scenes", 8, "--val-clips", 4, "--batch", 4, "--epochs", 4),
            *("--precision", "fp32", "--device", "cpu", "--no-progress"),
        )
        resume = ["--resume"] if any(out.glob("state-*")) else []
        return ["train", "--out", out, *tiny, *resume]

    def done(self, out):
        return epochs_of(out)

    def told(self):
        lines = self.said().splitlines()
        return {int(line.split()[1]) for line in lines if line.startswith("epoch ")}

    def half_written(self, out, right):
        return damaged_in(out)

    def result(self, out):
        return run_in(out)


GRID = """
seeds = [0]
[base]
regime = "clips"
clips = 12
epochs = 3
batch = 6
precision = "fp32"
[variants]
A = { model = "A", half = "0a" }
B = { model = "B", half = "0b" }
[experiments]
both = ["A", "B"]
"""


class Grid(Command):
    """`sslnb experiments`: two runs of three epochs, by two processes."""

    program = (Path(__file__).with_name("small_grid.py"),)

    def make(self):
        (self.place / "grid.toml").write_text(GRID, encoding="utf-8")

    def arguments(self, out):
        where = ("--out", out / "results", "--work", out / "work", "--jobs", 2)
        return ["experiments", "--grid", self.place / "grid.toml", *where]

    def done(self, out):
        results = out.glob("results/[!.]*.json")
        return {path.stem: written(path) for path in results} | {
            (folder.name, epoch): seconds
            for folder in out.glob("work/*")
            for epoch, seconds in epochs_of(folder).items()
        }

    def told(self):
        lines = self.said().splitlines()
        return {line.split(":")[0] for line in lines if " s; " in line}

    def half_written(self, out, right):
        results = {path.name: result_in(path) for path in right.glob("results/*.json")}
        return [
            path.name
            for path in out.glob("results/[!.]*.json")
            if result_in(path) != results[path.name]
        ] + [name for folder in out.glob("work/*") for name in damaged_in(folder)]

    def result(self, out):
        return {
            "names": set(contents(out)),
            "results": {p.name: result_in(p) for p in out.glob("results/*.json")},
            "runs": {path.name: run_in(path) for path in out.glob("work/*")},
        }


def contents(folder):
    """{path in a folder: bytes} of all its files, hidden ones too."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


def written(path):
    """What changes where a file is written again."""
    found = path.stat()
    return found.st_ino, found.st_mtime_ns


def epochs_of(folder):
    """{epoch that is saved in a run's folder: the seconds that it took, as measured}."""
    found = sorted(folder.glob("state-*.safetensors"))
    history = state_in(found[-1])[1]["history"] if found else []
    return {each["epoch"]: each["seconds"] for each in history}


def state_in(path):
    """SHA-256 of a state's tensors, and what it says of its run."""
    data = path.read_bytes()  # of safetensors: the header's size, the header, tensors
    size = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:size])
    told = json.loads(header.pop("__metadata__")["state"])
    ends = [each["data_offsets"][1] for each in header.values()]
    if max(ends) != len(data) - size:
        raise ValueError(f"{path} is cut off")
    text = json.dumps(header, sort_keys=True).encode()
    return hashlib.sha256(text + data[size:]).hexdigest(), told


def damaged_in(folder):
    """Files of a run's folder that are not whole."""
    from sslnb.model import SoundLocaliser

    found = []
    for path in folder.glob("state-*"):
        try:
            number = int(path.stem.split("-")[1])
            assert len(state_in(path)[1]["history"]) == number
        except Exception as error:
            found.append(f"{path}: {error}")
    try:
        if (folder / "model.safetensors").exists() and (folder / "model.json").exists():
            SoundLocaliser.load(folder)
        if (folder / "metrics.jsonl").exists():
            text = (folder / "metrics.jsonl").read_text(encoding="utf-8")
            assert text.endswith("\n") and all(map(json.loads, text.splitlines()))
    except Exception as error:
        found.append(f"{folder}: {error}")
    return found


def without_times(value):
    """What JSON says, without how long it took and when."""
    if isinstance(value, dict):
        return {k: without_times(v) for k, v in value.items() if k not in TIMES}
    return [without_times(each) for each in value] if isinstance(value, list) else value


def result_in(path):
    return without_times(json.loads(path.read_text(encoding="utf-8")))


def run_in(folder):
    """All that a run's folder holds but for times: weights bit for bit."""
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    states = {path.name: state_in(path) for path in folder.glob("state-*")}
    return {
        "names": {path.name for path in folder.iterdir()},
        "model": (folder / "model.safetensors").read_bytes(),
        "card": result_in(folder / "model.json"),
        "metrics": [without_times(json.loads(line)) for line in lines],
        "states": {k: (sha, without_times(told)) for k, (sha, told) in states.items()},
    }
