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


def load_training(
    preset: str = "laptop",
    scenes: int | None = None,
    val_clips: int = VAL_CLIPS,
    data: str = "soundstamps",
    regime: str = "scenes",
    root: str | Path = "",
    listed: str | Path = "",
    skip_damaged: bool = False,
    progress: Callable = lambda scenes: scenes,
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
    scenes, val is composed. ValueError where `data` is anything else, or where a store
    has too few clips.
    """
    size, audio = PRESETS[preset].image_size, PRESETS[preset].audio
    if data == "soundstamps":
        only = heard_in(regime) if classes is None else classes
        return (
            _scenes(scenes, regime, size, audio.samples, progress, classes),
            load_scenes("val", val_clips, size, audio.samples, only=only),
        )
    if data not in ("packed", "vggsound"):
        raise ValueError(f"data is {data!r}; need soundstamps, packed or vggsound")
    if not root:
        raise ValueError(f"data is {data!r}: root must say where it lies")
    path = Path(root)
    if data == "vggsound":
        path = path / "packed"
        if parallel.is_main():
            folder = open_folder(root, names=listed or None)
            print(folder.describe())
            store.pack(folder, path, skip_damaged=skip_damaged)
        while not store.is_complete(path):  # the first of many may pack for an hour
            time.sleep(1)
    clips = store.open_store(path)
    if clips.names[0].startswith("train/"):
        return clips, load_scenes("val", val_clips, size, audio.samples)
    if not 0 < val_clips < len(clips) - 1:
        raise ValueError(
            f"{path} has {len(clips)} clips; {val_clips} of them cannot be held out to "
            "validate on: "
            + (
                "pack four or more"
                if len(clips) < 4
                else f"set --val-clips (val_scenes in notebook 05) to 1 … {len(clips) - 2}, for "
                f"instance {max(2, len(clips) // 10)}"
            )
        )
    return clips.part(slice(-val_clips)), clips.part(slice(-val_clips, None))


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
