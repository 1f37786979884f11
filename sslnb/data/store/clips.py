"""Packed stores: clips that are opened at once, whatever their number (notebook 01).

    >>> pack(open_folder("vggsound"), "vggsound.store", workers=16)
    >>> clips = open_store("vggsound.store")    # data.Clips: the training loop runs on it
    >>> clips.images.index_select(0, torch.tensor([5, 70_000])).shape  # reads two rows
    torch.Size([2, 3, 256, 256])

    sslnb pack vggsound --out vggsound.store
    sslnb scenes --out scenes.store --split train --count 20000
    sslnb verify scenes.store

A store is a folder: frames.npy (N, 3, S, S) uint8, waves.npy (N, samples) int16 at
16 kHz, for scenes masks.npy (N, 224, 224) bool, and index.json with names, labels,
boxes, what was skipped, and checksums. packing.py makes it; arrays.py reads it.
"""

import hashlib
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from sslnb.data import soundstamps
from sslnb.data.clips import Clips
from sslnb.data.media import AudioConfig, fit_length, load_audio, load_image
from sslnb.data.store import packing
from sslnb.data.store.arrays import map_array

TABLES = ("photos", "sounds", "backgrounds", "wild")  # of SoundStamps


def pack(folder, out, size=256, seconds=3.0, workers=None, skip_damaged=False):
    """Pack the clips of a layouts.Folder into the store `out`; {name: why} of the absent.

    Frames become (3, size, size) and sounds `seconds` long as load_image and load_audio
    make them, rounded to uint8 and int16. `workers` processes, one a core by default.
    A run that was stopped goes on where it was; a whole store stays as it is. Boxes are
    kept where one annotator drew them: those of several are votes, and their union
    would be another truth.

    A missing or damaged clip is a ValueError that names it; with `skip_damaged` it is
    absent and listed, and the last clips take the rows of the skipped ones. Other errors:
    see packing.pack.
    """
    clips = list(folder.clips)
    names = [clip.name for clip in clips]
    truth = [(clip.label, _boxes_of(clip)) for clip in clips]
    source = f"{folder.kind} in {Path(folder.root).resolve()}"
    job = _job(_read_clip, clips, names, source, truth, size, seconds)
    job = replace(job, missing=dict(folder.missing))
    return packing.pack(job, out, workers, skip_damaged)["skipped"]


def pack_scenes(split, count, out, size=256, seconds=3.0, seed=0, workers=None):
    """Compose SoundStamps scenes 0 … count - 1 of a split into the store `out`.

    The same clips as data.load_scenes gives, masks included, but of any number; count
    None is all of `wild`. Errors: see packing.pack and soundstamps.compose.
    """
    end = soundstamps.length(split)
    count = end if count is None else count
    if count is None or count < 1 or count > (end or count):
        raise ValueError(f"count is {count}; {split} has {end or '1 or more'} scenes")
    items = [(split, seed, index) for index in range(count)]
    names = [f"{split}/{seed}/{index}" for index in range(count)]
    source = f"SoundStamps {split}, seed {seed}"
    tables = [soundstamps.table(name) for name in TABLES]  # other ones, other scenes
    job = _job(_read_scene, items, names, source, tables, size, seconds)
    masks = {"masks": ("bool", (soundstamps.CANVAS,) * 2)}
    packing.pack(replace(job, rows=job.rows | masks), out, workers)


def is_whole(folder):
    """Whether a folder holds a store that was packed to its end."""
    return (Path(folder) / packing.INDEX).exists()


def open_store(folder):
    """A whole store as data.Clips, whose tensors read from the disk what is indexed.

    Of torch's ways to gather rows, index_select is several times as fast as [rows].
    masks is None where clips have none, and so are label and boxes of a clip where they
    are not known. Writing to a tensor changes a copy in memory, never the store.
    FileNotFoundError where there is no whole store; ValueError where format, sizes or
    counts are wrong. Checksums are not computed: see verify.
    """
    index = packing.read_index(folder)
    tensors = {name: torch.from_numpy(map_array(Path(folder) / f"{name}.npy"))
               for name in index["arrays"]}
    items = index["items"]
    return Clips(
        names=[item["name"] for item in items],
        labels=[item["label"] for item in items],
        images=tensors["frames"],
        waves=tensors["waves"],
        boxes=[None if boxes is None else tuple(map(tuple, boxes))
               for boxes in (item["boxes"] for item in items)],
        masks=tensors.get("masks"),
    )


def verify(folder, workers=None):
    """Compute a store's checksums anew, on `workers` threads; the number of its clips.

    ValueError names every chunk that is not what was packed, and its clips.
    """
    index = packing.read_index(folder)
    bad = packing.bad_chunks(folder, index, packing.count_workers(workers))
    if bad:
        raise ValueError("\n".join([*bad, f"delete {folder} and pack anew"]))
    return len(index["items"])


def _job(read, items, names, source, truth, size, seconds):
    audio = AudioConfig(seconds=seconds)
    if not items:
        raise ValueError(f"{source}: no clips to pack")
    if size < 1 or audio.samples < 1:
        raise ValueError(f"size is {size}, seconds {seconds}; both must be above 0")
    digest = hashlib.sha256(json.dumps([names, truth]).encode()).hexdigest()[:16]
    return packing.Job(
        read=partial(read, size=size, audio=audio),
        items=items,
        names=names,
        rows={"frames": ("uint8", (3, size, size)), "waves": ("int16", (audio.samples,))},
        settings={"source": source, "size": size, "seconds": seconds, "clips": len(items),
                  "sha256 of names and truth": digest},
    )


def _boxes_of(clip):
    known = clip.annotation is not None and clip.annotation.annotators == 1
    return clip.annotation.boxes if known else None


def _read_clip(clip, size, audio):
    frame = (load_image(clip.frame, size) * 255).round().to(torch.uint8)
    wave = load_audio(clip.audio, audio) * 32768
    wave = wave.round().clamp(-32768, 32767).to(torch.int16)
    return {"label": clip.label, "boxes": _boxes_of(clip)}, (frame, wave)


def _read_scene(item, size, audio):
    scene = soundstamps.compose(*item, size)
    wave = fit_length(torch.from_numpy(scene.wave), audio.samples)
    said = {"label": scene.class_name, "boxes": scene.boxes}
    return said, (scene.image.transpose(2, 0, 1), wave, scene.mask)
