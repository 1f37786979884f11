"""Which clips train a model, and which choose its best epoch (notebook 05).

>>> clips, val = load_training("laptop", scenes=5_000, val_clips=400)
"""

import time
from collections.abc import Callable, Collection
from pathlib import Path

from sslnb.data import soundstamps, store
from sslnb.data.clips import Clips, load_scenes, refuse_leaks
from sslnb.data.field.layouts import open_folder
from sslnb.model import PRESETS
from sslnb.training import parallel
from sslnb.training.recipe import FRAMES, REGIMES, VAL_CLIPS

TRAINING = ("train", "ladder", "frames")  # splits of SoundStamps, to train on
# Kinds of data: what may be given beside, and what is right where it is of no use
KINDS: dict[str, tuple[tuple[str, ...], str]] = {
    "soundstamps": (
        (),
        "its scenes are composed here; set data (--data) to packed or vggsound to train "
        "on clips of your own",
    ),
    "vggsound": (("root", "listed", "skip_damaged"), ""),
    "packed": (
        ("root",),
        "a store is taken as it is; say so when you pack it (sslnb pack --list, "
        "--skip-damaged)",
    ),
}


def load_training(
    preset: str = "laptop",
    scenes: int | None = None,
    val_clips: int = VAL_CLIPS,
    data: str = "soundstamps",
    regime: str = "scenes",
    root: str | Path = "",
    listed: str | Path = "",
    skip_damaged: bool = False,
    progress: Callable | None = lambda scenes: scenes,
    classes: Collection[str] | None = None,
) -> tuple[Clips, Clips]:
    """Clips to train and to validate on, as (clips, val), at a preset's size.

    data="soundstamps" composes `scenes` clips, by default as many as the regime has: a
    part FRAMES of the split `frames`, the others of `train`; and `val_clips` of val. In
    the regime "clips" the others are of `ladder`, and those of val of its classes. With
    `classes`, the others are of `train`; all play nothing but these, and scenes to train
    on show no object of another.
    data="packed" opens the store `root`; data="vggsound" the store `root`/packed, which
    is first made of the prepared clips in `root` (data.field.layouts), or of those in the
    list of names `listed`; a missing or damaged clip is an error, or with `skip_damaged`
    it is left out and reported. Of a store, the last `val_clips` are val; of a store of
    training scenes, val is composed. A store has its own number of clips, whatever
    `scenes` is: notebook 05 always gives one.
    `progress` wraps the iterator of scenes; None: packing draws no bar either.
    ValueError where preset, data or regime is not known, where `root`, `listed` or
    `skip_damaged` is of no use to the data, or where a store has too few clips.
    """
    _check_choices(preset, regime, data, root, listed, skip_damaged)
    size, audio = PRESETS[preset].image_size, PRESETS[preset].audio
    if data == "soundstamps":
        only = heard_in(regime) if classes is None else classes
        return (
            _scenes(scenes, regime, size, audio.samples, progress or iter, classes),
            load_scenes("val", val_clips, size, audio.samples, only=only),
        )
    path = Path(root)
    if data == "vggsound":
        path = path / "packed"
        if parallel.is_main():
            folder = open_folder(root, names=listed or None)
            print(folder.describe())
            bars = progress is not None
            store.pack(folder, path, skip_damaged=skip_damaged, progress=bars)
        while not store.is_complete(path):  # the first of many may pack for an hour
            time.sleep(1)
    clips = store.open_store(path)
    split, slash, _ = clips.names[0].partition("/")
    if slash and split in TRAINING:
        only = heard_in("clips" if split == "ladder" else "scenes")
        return clips, load_scenes("val", val_clips, size, audio.samples, only=only)
    least, most = _fewest(clips.boxes[-val_clips:]), len(clips) - 2
    if not least <= val_clips <= most:
        raise ValueError(
            f"{path} has {len(clips)} clips; {val_clips} of them cannot be held out to "
            "validate on: "
            + (
                f"pack {least + 2} or more"
                if most < least
                else f"set --val-clips (val_scenes in notebook 05) to {least} … {most}, for "
                f"instance {max(least, len(clips) // 10)}"
            )
        )
    return clips.part(slice(-val_clips)), clips.part(slice(-val_clips, None))


def _check_choices(preset, regime, data, root, listed, skip_damaged):
    for name, value, known in (
        ("preset", preset, PRESETS),
        ("regime", regime, REGIMES),
        ("data", data, KINDS),
    ):
        if value not in known:
            raise ValueError(f"{name} is {value!r}; known are {', '.join(known)}")
    takes, right = KINDS[data]
    for name, option, given in (
        ("root", "--root", root),
        ("listed", "--list", listed),
        ("skip_damaged", "--skip-damaged", skip_damaged),
    ):
        if given and name not in takes:
            raise ValueError(
                f"{name} ({option}) is of no use to data {data!r}: {right}"
            )
    if "root" in takes and not root:
        raise ValueError(f"data is {data!r}: root must say where it lies")


def _fewest(boxes):
    """How many clips can validate: by their loss, for want of boxes, two or more."""
    return 2 if None in boxes else 1


def heard_in(regime: str) -> Collection[str] | None:
    """The classes that a regime of SoundStamps trains on: all (None), or some.

    In the regime "clips" they are those of `ladder`, and so must be the scenes that it is
    validated and tested on.
    """
    return soundstamps.several() if regime == "clips" else None


def _scenes(count, regime, size, samples, progress, classes):
    count = count or REGIMES[regime]["clips"]
    frames = round(FRAMES * count)
    composed = "ladder" if regime == "clips" and classes is None else "train"
    found = load_scenes(
        composed,
        count - frames,
        size,
        samples,
        0,
        progress,
        classes,
        classes is not None,
    )
    if not frames:
        return found
    return found + load_scenes("frames", frames, size, samples, only=classes)


def check_clips(
    clips: Clips, val: Clips, benchmark: Collection[str] = (), allow_leaks: bool = False
) -> None:
    """Refuse clips that cannot train, and validation or benchmark clips seen in training.

    benchmark: names of the clips that the model will be scored on. ValueError says
    which clips are where they must not be.
    """
    if len(clips) < max(2, parallel.world_size()):
        raise ValueError(
            f"{len(clips)} clip(s) to train on; need at least two, and one a process"
        )
    if len(val) < _fewest(val.boxes):
        raise ValueError(
            f"{len(val)} clip(s) to validate on, without boxes: the loss, which then "
            "chooses the best epoch, contrasts two or more"
        )
    wrong = [name for name in val.names if "/" in name and not name.startswith("val/")]
    if wrong:
        raise ValueError(f"only the split val may choose a model; found {wrong[0]}")
    for name, others, why in (
        ("the training clips", clips.names, "what chose the model must be new to it"),
        ("the benchmark", benchmark, "a test must not choose the model"),
    ):
        both = set(val.names).intersection(others)
        if both:
            raise ValueError(
                f"{len(both)} clips of val are in {name} too, {min(both)} for "
                f"instance: {why}"
            )
    if benchmark:
        refuse_leaks(clips.names, benchmark, allow_leaks)
