"""The files of SoundStamps, and what may be in which split (notebook 01).

A table stands behind each kind of file (`data/soundstamps/*.tsv`), and a split is what
it may show of them. `val` and `test` show the objects and recordings of `train` in other
places. Photographs of `frames` and `wild` are ordinary ones: `frames` to train on, as
frames of a video would be, `wild` to test on. `ladder` is `train` with those classes
alone that have several recordings there, and others held out.

    >>> photos("unseen")["dog"]
    ['photos/dog_1.png']
"""

import csv
from collections import Counter
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image, ImageFilter, ImageOps

from sslnb.files import DATA

ROOT = DATA / "soundstamps"
SPLITS = ("train", "ladder", "frames", "val", "test", "unseen", "open", "wild")
TABLES = ("photos", "sounds", "backgrounds", "frames", "wild")
RATE = 16_000  # Hz


@lru_cache
def table(name: str, root: Path = ROOT) -> list[dict[str, str]]:
    """Rows of one of TABLES."""
    path = Path(root) / f"{name}.tsv"
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is missing: SoundStamps ships in the repository's data "
            "folder; run from a full clone, or `git checkout -- data`"
        )
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def check_split(split: str) -> str:
    """The split itself; ValueError where it is none of SPLITS."""
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; known are {', '.join(SPLITS)}")
    return split


def length(split: str) -> int | None:
    """Number of scenes, or None where there is no end (in all splits but `wild`)."""
    return len(table("wild")) if check_split(split) == "wild" else None


def classes(split: str = "train") -> list[str]:
    """Sorted names of the classes that sound in a split."""
    name = split if check_split(split) in ("frames", "wild") else "photos"
    return sorted({row["class"] for row in table(name) if _in(row, split)})


def _in(row, split):
    """ladder, frames, val and test have the objects or recordings of train."""
    owner = "train" if split in ("ladder", "frames", "val", "test") else split
    if split == "ladder" and row["class"] not in several():
        return False
    return row.get("split", owner) == owner


@lru_cache
def several() -> frozenset[str]:
    """Classes with two recordings or more in training, and others that are held out."""
    takes: dict[str, set] = {"train": set(), "unseen": set()}
    for row in table("sounds"):
        takes.setdefault(row["split"], set()).add((row["class"], row["recording"]))
    trained = Counter(name for name, _ in takes["train"])
    held_out = {name for name, _ in takes["unseen"]}
    return frozenset(name for name in held_out if trained[name] > 1)


@lru_cache
def photos(split: str) -> dict[str, list[str]]:
    """class -> files of its cut-out photographs that a split may show."""
    found: dict[str, list[str]] = {}
    for row in table("photos"):
        if _in(row, split):
            found.setdefault(row["class"], []).append(row["file"])
    return found


@lru_cache
def recordings(split: str) -> dict[str, dict[str, list[str]]]:
    """class -> recording -> files: a recording is drawn first, then its note.

    Of wild, those that are not in training, where a class has any.
    """
    found: dict[str, dict[str, list[str]]] = {}
    for row in table("sounds"):
        if row["split"] != "train" if split == "wild" else _in(row, split):
            takes = found.setdefault(row["class"], {})
            takes.setdefault(row["recording"], []).append(row["file"])
    return recordings("train") | found if split == "wild" else found


@lru_cache
def takes() -> dict[str, tuple[str, str]]:
    """File of a sound -> its class and recording."""
    return {row["file"]: (row["class"], row["recording"]) for row in table("sounds")}


def recording_of(sound: str) -> str:
    """The recording, as class/name, that a file of sounds.tsv is all or a note of."""
    return "/".join(takes()[sound])


@lru_cache
def backgrounds(split: str) -> list[str]:
    """Files of the photographs of places that a split may show."""
    owner = "train" if split == "ladder" else split
    return [row["file"] for row in table("backgrounds") if row["split"] == owner]


def open_image(name: str) -> Image.Image:
    """An image of the tables; OSError says how to restore a damaged one."""
    try:
        with Image.open(ROOT / name) as image:
            image.load()
            return image
    except OSError as error:
        raise OSError(
            f"{ROOT / name} cannot be read ({error}); restore it with "
            "`git checkout -- data`"
        ) from error


@cache
def cutout(name: str) -> Image.Image:
    """RGBA photograph, cropped to its object, whose edge is one pixel in, and soft."""
    image = ImageOps.expand(open_image(name).convert("RGBA"), 3)  # room to fade
    alpha = image.getchannel("A")
    alpha = alpha.filter(ImageFilter.MinFilter(3)).filter(ImageFilter.GaussianBlur(1))
    image.putalpha(alpha)
    return image.crop(alpha.point(lambda a: 255 * (a > 127)).getbbox())


@cache
def background(name: str) -> Image.Image:
    """RGB photograph of a place."""
    return open_image(name).convert("RGB")


@cache
def sound(name: str) -> np.ndarray:
    """All of a recording, or of one of its notes: int16 at 16 kHz."""
    try:
        wave, rate = soundfile.read(ROOT / name, dtype="int16")
    except soundfile.LibsndfileError as error:
        raise OSError(
            f"{ROOT / name} cannot be read ({error}); restore it with "
            "`git checkout -- data`"
        ) from error
    assert rate == RATE and wave.ndim == 1, f"{name}: {rate} Hz, {wave.ndim}-d"
    return wave
