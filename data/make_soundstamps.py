"""Make `data/soundstamps` from the raw photographs and recordings.

    python data/make_soundstamps.py path/to/stamps

`path/to/stamps` holds cutouts.tsv, sounds.tsv, backgrounds.tsv and wild.tsv with
the files that they name. What is taken, what is dropped and which split each
file belongs to is decided here and nowhere else; it is written into the tables
beside the files, which is all that `sslnb.data.soundstamps` reads.

Sounds are low-passed at 4 kHz (half of the raw files end near there, so that
bandwidth alone would tell recordings apart), faded for 10 ms at both ends (so
that a short file that is repeated does not click) and stored as 16-bit FLAC,
which every machine decodes to the same integers.
"""

import argparse
import csv
import shutil
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import butter, sosfiltfilt

RATE = 16_000
CUTOFF_HZ = 4_000
FADE = RATE // 100
NOTES_PER_RECORDING = 6  # instruments come as dozens of single notes

# class -> (photographs, recordings) held out for the split `unseen`.
# A held-out recording is named as sounds.tsv names it within the class.
UNSEEN = {
    "frog": (["frog_1"], ["rec2"]),
    "chicken": (["chicken_1"], ["rec1"]),
    "duck": (["duck_1"], ["rec4"]),
    "cow": (["cow_2"], ["rec4"]),
    "sheep": (["sheep_2"], ["rec3"]),
    "pig": (["pig_1"], ["rec4"]),
    "dog": (["dog_1"], ["rec5"]),
    "lion": (["lion_1"], ["rec2"]),
    "deer": (["deer_3"], ["rec3"]),
    "bee_hornet": (["bee_hornet_1"], ["rec2"]),
    "electric_guitar": (["electric_guitar_1"], ["rec1", "rec5"]),
    "jet_plane": (["jet_plane_1"], ["rec3"]),
}
# Seen in training only. A car has two recordings, one engine and one horn:
# neither can be recognised from the other, so nothing of it is held out.
TRAIN_ONLY = [
    "horse",
    "owl",
    "penguin",
    "elephant",
    "drum_kit",
    "cymbal",
    "bus",
    "tiger",
    "seagull",
    "monkey",
    "car",
    # one photograph or one recording each, so that nothing can be held out
    "turkey",
    "cuckoo",
    "lark",
    "toucan",
    "quetzal",
    "vulture",
    "heron",
    "bison",
    "gorilla",
    "dolphin",
    "orca",
    "whale",
    "sea_lion",
    "badger",
    "ferret",
    "rabbit",
    "mouse_rat",
    "hippopotamus",
    "koala",
    "grasshopper",
    "cello",
    "toilet",
    "camera",
    "rubber_duck",
]
OPEN = [
    "goose",
    "crow",
    "goat",
    "donkey",
    "zebra",
    "fox",
    "bear",
    "camel",
    "squirrel",
    "violin",
    "acoustic_guitar",
    "tom_drum",
    "truck",
    "kettle",
]
# The mountain goat is another animal than the recorded goat; the wild boar
# comes with a piglet; the truck with the driver's cage is a dumper.
DROPPED_PHOTOS = {"goat_1", "pig_3", "truck_1"}
# A machine that would sound, and a scan with rounded white corners.
DROPPED_BACKGROUNDS = {"123", "037"}
# Tools on white paper: product pictures that fill the frame, and their
# recordings last 0.2 s.
DROPPED_WILD = {"hammer", "scissors"}


def read_table(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def write_table(path, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(
            file, rows[0].keys(), delimiter="\t", lineterminator="\n"
        )
        writer.writeheader()
        writer.writerows(rows)


def split_of(kind, row):
    """train, unseen or open for a photograph or recording; None drops it."""
    name, stem = row["class"], Path(row["file"]).stem
    if name in OPEN:
        return "open"
    if name in TRAIN_ONLY:
        return "train"
    if name not in UNSEEN:
        return None
    photos, recordings = UNSEEN[name]
    held_out = stem in photos if kind == "photos" else row["recording"] in recordings
    return "unseen" if held_out else "train"


def convert_sound(source, target):
    wave, rate = soundfile.read(source, dtype="float64")
    if rate != RATE or wave.ndim != 1:
        raise ValueError(f"{source}: {rate} Hz, shape {wave.shape}; need mono 16 kHz")
    low_pass = butter(8, CUTOFF_HZ, fs=RATE, output="sos")
    wave = sosfiltfilt(low_pass, wave)
    ramp = np.linspace(0, 1, FADE)
    wave[:FADE] *= ramp
    wave[-FADE:] *= ramp[::-1]
    wave *= 0.9 / np.abs(wave).max()
    soundfile.write(target, np.round(wave * 32767).astype(np.int16), RATE, "PCM_16")


def make(raw, out):
    for folder in ("photos", "sounds", "backgrounds", "wild"):
        shutil.rmtree(out / folder, ignore_errors=True)
        (out / folder).mkdir(parents=True)

    photos = []
    for row in read_table(raw / "cutouts.tsv"):
        split = split_of("photos", row)
        if split and Path(row["file"]).stem not in DROPPED_PHOTOS:
            target = f"photos/{Path(row['file']).name}"
            shutil.copyfile(raw / row["file"], out / target)
            photos.append(
                {
                    "file": target,
                    "class": row["class"],
                    "split": split,
                    "licence": row["licence"],
                    "package": row["package"],
                    "source": row["source"],
                }
            )
    write_table(out / "photos.tsv", photos)

    wild = []
    for row in read_table(raw / "wild.tsv"):
        if row["class"] not in DROPPED_WILD:
            target = f"wild/{Path(row['file']).name}"
            shutil.copyfile(raw / row["file"], out / target)
            wild.append(
                {
                    "file": target,
                    "class": row["class"],
                    "boxes": row["boxes"],
                    "licence": row["licence"],
                    "package": row["package"],
                    "source": row["source"],
                }
            )
    write_table(out / "wild.tsv", wild)

    sounds, count = [], {}
    wild_classes = {row["class"] for row in wild}
    for row in read_table(raw / "sounds.tsv"):
        split = split_of("sounds", row)
        if split is None and row["class"] in wild_classes:
            split = "wild"
        key = row["class"], row["recording"]
        count[key] = count.get(key, 0) + 1
        if split and count[key] <= NOTES_PER_RECORDING:
            target = f"sounds/{Path(row['file']).stem}.flac"
            convert_sound(raw / row["file"], out / target)
            sounds.append(
                {
                    "file": target,
                    "class": row["class"],
                    "split": split,
                    "recording": row["recording"],
                    "licence": row["licence"],
                    "package": row["package"],
                    "source": row["source"],
                }
            )
    write_table(out / "sounds.tsv", sounds)

    # One of eleven to each small split in turn, so that each gets monuments,
    # bark, leaves and sky (the table is in the order of its packages).
    turn = ["val", "train", "test", "train", "unseen", "train", "open"] + ["train"] * 4
    backgrounds = []
    for row in read_table(raw / "backgrounds.tsv"):
        if Path(row["file"]).stem not in DROPPED_BACKGROUNDS:
            shutil.copyfile(raw / row["file"], out / row["file"])
            backgrounds.append(
                {
                    "file": row["file"],
                    "split": turn[len(backgrounds) % len(turn)],
                    "licence": ", ".join(filter(None, [row["licence"], row["author"]])),
                    "package": row["package"],
                    "source": row["source"],
                }
            )
    write_table(out / "backgrounds.tsv", backgrounds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("raw", type=Path, help="folder with cutouts.tsv, sounds.tsv …")
    raw = parser.parse_args().raw
    make(raw, Path(__file__).parent / "soundstamps")
