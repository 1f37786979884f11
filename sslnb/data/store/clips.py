"""Packed stores: clips that are opened at once, whatever their number (notebook A1).

    >>> pack(open_folder("vggsound"), "vggsound.store", workers=16)
    >>> clips = open_store("vggsound.store")    # data.Clips: training runs on it
    >>> clips.images.index_select(0, torch.tensor([5, 70_000])).shape  # reads two rows
    torch.Size([2, 3, 256, 256])

    sslnb pack vggsound --out vggsound.store
    sslnb scenes --out scenes.store --split train --count 20000
    sslnb verify scenes.store

A store is a folder: frames.npy (N, 3, S, S) uint8, waves.npy (N, samples) int16 at
16 kHz, for scenes masks.npy (N, 224, 224) bool, and index.jsonl with names, labels,
boxes, what was skipped, and checksums; for scenes also the photograph and the recording
of each. packing.py makes it; arrays.py reads it.
"""

import hashlib
import json
import math
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from sslnb.data import soundstamps
from sslnb.data.clips import Clips
from sslnb.data.field.layouts import Clip, Folder
from sslnb.data.media import AudioConfig, fit_length, load_audio, load_image
from sslnb.data.store import packing
from sslnb.data.store.arrays import (
    INDEX,
    find_damage,
    items_of,
    open_arrays,
    read_index,
)

ARRAYS = {"frames": ("uint8", 4), "waves": ("int16", 2)}  # dtype, dimensions


def pack(
    folder: Folder,
    out: str | Path,
    size: int = 256,
    seconds: float = 3.0,
    workers: int | None = None,
    skip_damaged: bool = False,
    progress: bool = True,
) -> dict[str, str]:
    """Pack a folder's clips into the store `out`; returns {name: reason} of the skipped.

    Frames become (3, size, size) and sounds `seconds` long as load_image and load_audio
    make them, rounded to uint8 and int16. `workers` processes, one a core by default.
    A run that was stopped resumes where it was; a complete store is not touched. Boxes
    are kept where one annotator drew them: those of several are votes, and their union
    would be another ground truth.

    A missing or damaged clip is a ValueError that names it, or with `skip_damaged` is
    left out and listed. Other errors: see packing.pack.
    """
    clips = list(folder.clips)
    names = [clip.name for clip in clips]
    truth = [(clip.label, _boxes_of(clip)) for clip in clips]
    source = f"{folder.kind} in {Path(folder.root).resolve()}"
    job = _job(_read_clip, clips, names, source, truth, size, seconds)
    job = replace(job, missing=dict(folder.missing))
    return packing.pack(job, out, workers, skip_damaged, progress)


def pack_scenes(
    split: str,
    count: int | None,
    out: str | Path,
    size: int = 256,
    seconds: float = 3.0,
    seed: int = 0,
    workers: int | None = None,
    progress: bool = True,
) -> None:
    """Compose SoundStamps scenes 0 … count - 1 of a split into the store `out`.

    The same clips as data.load_scenes gives, masks included, but of any number; count
    None is all of `wild`. Errors: see packing.pack and soundstamps.compose.
    """
    if seed < 0 or size < 8:  # else packing would take it for damage of the first scene
        raise ValueError(f"seed is {seed}, size {size}; need seed ≥ 0 and size ≥ 8")
    end = soundstamps.length(split)
    count = end if count is None else count
    if count is None or count < 1 or count > (end or count):
        raise ValueError(f"count is {count}; {split} has {end or '1 or more'} scenes")
    items = [(split, seed, index) for index in range(count)]
    names = [f"{split}/{seed}/{index}" for index in range(count)]
    source = f"SoundStamps {split}, seed {seed}"
    tables = [soundstamps.table(name) for name in soundstamps.TABLES]  # make the scenes
    job = _job(_read_scene, items, names, source, tables, size, seconds)
    masks = {"masks": ("bool", (soundstamps.CANVAS,) * 2)}
    packing.pack(replace(job, rows=job.rows | masks), out, workers, progress=progress)


def is_complete(folder: str | Path) -> bool:
    """Whether a folder holds a store that was packed to its end."""
    return read_index(Path(folder))[1]


def open_store(folder: str | Path) -> Clips:
    """A complete store as data.Clips, whose tensors read from the disk what is indexed.

    Of torch's ways to gather rows, index_select is several times as fast as [rows].
    masks is None where clips have none, and so are label and boxes of a clip where they
    are not known. photos and recordings are None but in stores of scenes, and in those
    too that were packed before stores kept them. Writing to a tensor changes a copy in
    memory, never the store. Whoever cuts a store's files short while they are open ends
    the process, as with every memory map. Checksums of rows are not computed: see verify.
    Errors: see arrays.open_arrays.
    """
    records, arrays = open_arrays(folder)
    items = items_of(records)
    _check_clips(Path(folder), items, arrays)
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return Clips(
        names=[item["name"] for item in items],
        labels=[item.get("label") for item in items],
        images=tensors["frames"],
        waves=tensors["waves"],
        boxes=[
            None if boxes is None else tuple(map(tuple, boxes))
            for boxes in (item.get("boxes") for item in items)
        ],
        masks=tensors.get("masks"),
        photos=_known_of(items, "photo"),
        recordings=_known_of(items, "recording"),
    )


def _check_clips(folder: Path, items: list[dict], arrays: dict) -> None:
    """ValueError where a store is of something else than clips."""
    found = {name: (str(array.dtype), array.ndim) for name, array in arrays.items()}
    masks = {"masks": ("bool", 3)}
    if found not in (ARRAYS, ARRAYS | masks) or arrays["frames"].shape[1] != 3:
        raise ValueError(
            f"{folder} holds {found!r:.200}; need frames (N, 3, S, S) uint8, waves (N, "
            "samples) int16, and masks (N, 224, 224) bool or none"
        )
    for item in items:
        texts = [item.get("label"), item.get("photo"), item.get("recording")]
        if not all(text is None or isinstance(text, str) for text in texts) or not (
            item.get("boxes") is None or _are_boxes(item["boxes"])
        ):
            raise ValueError(
                f"{folder / INDEX}: the label or the boxes of clip {item['name']!r:.80} "
                f"are none: delete {folder} and pack again"
            )


def _are_boxes(found) -> bool:
    return isinstance(found, list) and all(
        isinstance(box, list)
        and len(box) == 4
        and all(type(edge) in (int, float) and edge <= 2 for edge in box)
        for box in found
    )


def _known_of(items: list[dict], key: str) -> list[str] | None:
    """What the index says of each clip, or None where it does not say it of all."""
    found = [item[key] for item in items if key in item]
    return found if len(found) == len(items) else None


def verify(
    folder: str | Path, workers: int | None = None, progress: bool = True
) -> int:
    """Check all checksums of a store, on `workers` threads; the number of its clips.

    ValueError names every chunk that is not what was packed, and its clips.
    """
    records, _ = open_arrays(folder)
    workers = packing.count_workers(workers)
    damage = find_damage(Path(folder), records, workers, progress)
    if damage:
        raise ValueError("\n".join([*damage, f"delete {folder} and pack again"]))
    return len(items_of(records))


def _job(read, items, names, source, truth, size, seconds) -> packing.Job:
    audio = AudioConfig(seconds=seconds)
    if not items:
        raise ValueError(f"{source}: no clips to pack")
    if not math.isfinite(seconds):
        raise ValueError(f"seconds is {seconds}; need a finite number above 0")
    if size < 1 or audio.samples < 1:
        raise ValueError(f"size is {size}, seconds {seconds}; both must be above 0")
    digest = hashlib.sha256(json.dumps([names, truth]).encode()).hexdigest()[:16]
    return packing.Job(
        read=partial(read, size=size, audio=audio),
        items=items,
        names=names,
        rows={
            "frames": ("uint8", (3, size, size)),
            "waves": ("int16", (audio.samples,)),
        },
        settings={
            "source": source,
            "size": size,
            "seconds": seconds,
            "clips": len(items),
            "sha256 of names and ground truth": digest,
        },
    )


def _boxes_of(clip: Clip) -> tuple | None:
    annotation = clip.annotation
    return annotation.boxes if annotation and annotation.annotators == 1 else None


def _read_clip(clip: Clip, size: int, audio: AudioConfig) -> tuple[dict, tuple]:
    frame = (load_image(clip.frame, size) * 255).round().to(torch.uint8)
    wave = load_audio(clip.audio, audio) * 32768
    wave = wave.round().clamp(-32768, 32767).to(torch.int16)
    return {"label": clip.label, "boxes": _boxes_of(clip)}, (frame, wave)


def _read_scene(item: tuple, size: int, audio: AudioConfig) -> tuple[dict, tuple]:
    split, seed, index = item
    scene = soundstamps.compose(split, seed, index, size)
    wave = fit_length(torch.from_numpy(scene.wave), audio.samples)
    facts = {
        "label": scene.class_name,
        "boxes": scene.boxes,
        "photo": scene.photo,
        "recording": soundstamps.recording_of(scene.sound),
    }
    return facts, (scene.image.transpose(2, 0, 1), wave, scene.mask)
