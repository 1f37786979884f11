"""Make `data/soundstamps` from the raw photographs and recordings.

    python data/make_soundstamps.py path/to/stamps path/to/stamps-2

`path/to/stamps` holds cutouts.tsv, sounds.tsv, backgrounds.tsv and wild.tsv with the
files that they name; `path/to/stamps-2` sounds.tsv, more recordings, and photos.tsv,
ordinary photographs with boxes. What is taken, what is dropped and which split each
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
from collections import Counter
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
    "car": (["car_2", "car_4"], []),
    "tiger": (["tiger_1"], []),
    "seagull": (["seagull_1"], []),
}
# Cut-outs and first recordings are seen in training only
TRAIN_ONLY = [
    "horse",
    "owl",
    "penguin",
    "elephant",
    "drum_kit",
    "cymbal",
    "bus",
    "monkey",
    "cat",
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
# Of the recordings in stamps-2, by class: (for training, held out for `unseen` and
# `wild`), each a list of originals. What is not named here is not taken: its class has
# no photograph, or one; it may be a person's voice (two birds, the pig's grunts); it is
# noise (a bee, two engines), or too short.
MORE = {
    "chicken": (
        "0ad:chicken freesound:39923 freesound:43382 freesound:81270 "
        "freesound:107219 freesound:134049 freesound:149189 freesound:154957 "
        "freesound:164064 freesound:200334 freesound:233160 freesound:234879",
        "megaglest:chicken freesound:71162 freesound:137152 freesound:183487 "
        "freesound:269496",
    ),
    "dog": (
        "freesound:30226 freesound:30344 freesound:32318 freesound:114280 "
        "freesound:114587 freesound:116400 freesound:117271 freesound:155312 "
        "freesound:157695 freesound:180977 freesound:184575 freesound:199261 "
        "freesound:207124",
        "freesound:97392 freesound:118964 freesound:180256 freesound:191687 "
        "freesound:9032 freesound:583142",
    ),
    "cow": ("0ad:cattle megaglest:cow", "freesound:59245"),
    "sheep": ("freesound:182509 megaglest:sheep", "0ad:sheep stk:scotland_sheep"),
    "pig": ("widelands:boar megaglest:wild_sow", "freesound:44273"),
    "lion": ("0ad:lion", "freesound:405211"),
    "frog": ("freesound:251495", "widelands:frog"),
    "duck": ("", "xeno-canto:62258"),
    "bee_hornet": ("freesound:462875 freesound:99955", ""),
    "jet_plane": ("simutrans:comet-jet", "wikimedia:Berlin_TXL_flyover"),
    "car": (
        "freesound:433584 torcs:944 torcs:viper_long torcs:lamborghinidiablo "
        "torcs:ferrarif355 torcs:935 torcs:renault-v10",
        "torcs:nsx torcs:lotus torcs:mclarenf1 torcs:gt40",
    ),
    "bus": ("", "simutrans:bus"),
    "train": (
        "soundbible:2177 simutrans:diesel simutrans:steam openrct2:cp_railroad "
        "stk:steamLocomotive opensfx:4",
        "lincity:RailTrain opensfx:10 gcompris:railroad_train",
    ),
    "horse": (
        "freesound:403025-403026 freesound:184503 0ad:horse wesnoth:horse-die",
        "0ad:death_horse simutrans:horse",
    ),
    "elephant": ("0ad:elephant", "freesound:148873"),
    "tiger": ("freesound:439280", "freesound:149190"),
    "seagull": ("freesound:353416 simutrans:seagulls", "freesound:462462"),
    "owl": ("", "freesound:398734"),
    "cat": ("", "freesound:397661"),
    "turkey": ("freesound:233125", ""),
    "sea_lion": ("freesound:499564", ""),
    "toucan": ("xeno-canto:250531", ""),
}
# More recordings of classes that are never trained on
MORE_OPEN = {"goat": "pdsounds:ziegengatter 0ad:goat", "truck": "simutrans:truck"}
# A photograph of stamps-2 shows another class than its label, or one of ours with
# another name: airliners, a gull, geese.
RELABELLED = {
    "coco_000000013348": "jet_plane",
    "coco_000000099054": "jet_plane",
    "coco_000000110721": "jet_plane",
    "coco_000000134886": "jet_plane",
    "coco_000000190676": "jet_plane",
    "coco_000000479912": "jet_plane",
    "coco_000000126107": "seagull",
    "coco_000000425988": "goose",
}
# A photograph with two recognisable faces, an ibis and a float plane, each alone of its
# kind. Rowing boats, bicycles, motorcycles and a clock: nothing to hear, or one
# recording, which would have to be heard in training and in the test.
DROPPED_FRAMES = {"coco_000000008690", "coco_000000082696", "coco_000000205401"}
SILENT_FRAMES = {"boat", "bicycle", "motorcycle", "clock"}
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


def more_recordings(rows):
    """(row, split) of what is taken of the recordings in stamps-2."""
    owners = {}
    for name, lists in (MORE | {k: ("", "", v) for k, v in MORE_OPEN.items()}).items():
        for split, originals in zip(("train", "unseen", "open"), lists):
            owners |= {(name, original): split for original in originals.split()}
    missing = owners.keys() - {(row["class"], row["recording"]) for row in rows}
    if missing:
        raise ValueError(f"sounds.tsv has no {sorted(missing)}")
    for row in rows:
        split = owners.get((row["class"], row["recording"]))
        if split:
            yield row, split


def frame_split(name, count):
    """Of three photographs of a class the second is wild; of OPEN, all are wild."""
    return "wild" if name in OPEN or count % 3 == 1 else "train"


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


def make(raw, more, out):
    for folder in ("photos", "sounds", "backgrounds", "wild", "frames"):
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
    frames, number = [], Counter()
    for row in sorted(read_table(more / "photos.tsv"), key=lambda row: row["file"]):
        stem = Path(row["file"]).stem
        name = RELABELLED.get(stem, row["class"])
        if stem in DROPPED_FRAMES or name in SILENT_FRAMES:
            continue
        # its one photograph is to be new to the model
        alone = name in ("seagull", "sheep")
        split = "wild" if alone else frame_split(name, number[name])
        number[name] += 1
        folder = "wild" if split == "wild" else "frames"
        target = f"{folder}/{Path(row['file']).name}"
        shutil.copyfile(more / row["file"], out / target)
        (wild if split == "wild" else frames).append(
            {
                "file": target,
                "class": name,
                "boxes": row["boxes"],
                "licence": f"{row['licence']} (its author: see the photograph's page)",
                "package": "COCO 2017",
                "source": f"{row['source']}, {row['url']}",
            }
        )
    write_table(out / "wild.tsv", wild)
    write_table(out / "frames.tsv", frames)

    sounds, count = [], {}
    taken = [
        (raw, row, split_of("sounds", row)) for row in read_table(raw / "sounds.tsv")
    ]
    taken += [
        (more, row, split)
        for row, split in more_recordings(read_table(more / "sounds.tsv"))
    ]
    for folder, row, split in taken:
        key = row["class"], row["recording"]
        count[key] = count.get(key, 0) + 1
        if split and count[key] <= NOTES_PER_RECORDING:
            target = f"sounds/{Path(row['file']).stem}.flac"
            if (out / target).exists():
                raise ValueError(f"two recordings are named {target}")
            convert_sound(folder / row["file"], out / target)
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
    parser.add_argument("more", type=Path, help="folder with sounds.tsv and photos.tsv")
    options = parser.parse_args()
    make(options.raw, options.more, Path(__file__).parent / "soundstamps")
