"""Clips as tensors, and whether training saw what it is scored on (notebook 01).

>>> clips = load_scenes("test", 200, image_size=96)
>>> clips.images.shape, clips.waves.shape
(torch.Size([200, 3, 96, 96]), torch.Size([200, 48000]))
>>> len(leaks(read_list("vggss_144k.txt"), read_annotations("vggss.json")).clips)
3709
"""

import hashlib
import json
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch

from sslnb.data import soundstamps
from sslnb.data.field.lists import clip_name, shared_videos, source_video
from sslnb.data.media import fit_length


@dataclass(frozen=True)
class Clips:
    """N images with their sounds and the ground truth.

    names, labels: N strings each; images (N, 3, S, S) uint8; waves (N, T) int16;
    boxes: for each clip its boxes, normalised (x0, y0, x1, y1); masks (N, 224, 224)
    bool: the visible pixels of the sounding object. Of real clips, a label or a clip's
    boxes are None where they are not known, and the masks are None.

    photos, recordings: N strings each, or None where they are not known: which clips
    show the same photograph, or play the same recording, and so are no independent
    trials. They identify no clip: the fingerprint leaves them out.
    """

    names: list[str]
    labels: list[str | None]
    images: torch.Tensor
    waves: torch.Tensor
    boxes: list[tuple | None]
    masks: torch.Tensor | None
    photos: list[str] | None = None
    recordings: list[str] | None = None

    def __len__(self) -> int:
        return len(self.names)

    def part(self, rows: slice) -> "Clips":
        """The clips of a slice; their tensors share this one's memory."""
        return Clips(
            self.names[rows],
            self.labels[rows],
            self.images[rows],
            self.waves[rows],
            self.boxes[rows],
            None if self.masks is None else self.masks[rows],
            None if self.photos is None else self.photos[rows],
            None if self.recordings is None else self.recordings[rows],
        )

    @property
    def originals(self) -> list[str]:
        """The recording that each sound is from: of real clips, their source video."""
        return self.recordings or [source_video(name) for name in self.names]

    @property
    def groups(self) -> list[list[str]] | None:
        """What clips share, as `intervals.mean_scores` takes it.

        Photographs and recordings where they are known, else source videos where
        several clips are of one.
        """
        known = [labels for labels in (self.photos, self.recordings) if labels]
        return known or shared_videos(self.names)

    def __add__(self, other: "Clips") -> "Clips":
        """These clips and then others of the same sizes."""

        def joined(name):
            parts = getattr(self, name), getattr(other, name)
            if any(part is None for part in parts):
                return None
            return (
                torch.cat(parts)
                if torch.is_tensor(parts[0])
                else [*parts[0], *parts[1]]
            )

        return Clips(**{field.name: joined(field.name) for field in fields(self)})

    def fingerprint(self, sampled: int = 48) -> dict:
        """What identifies these clips, as {what: value} of JSON's types.

        The number of clips, and digests of their names, of their boxes, and of each
        tensor: its shape, its dtype and `sampled` evenly spaced rows. Of clips on the
        disk only these rows are read, so a change in another row goes unnoticed.
        """
        count = min(sampled, len(self))
        rows = torch.arange(count) * (len(self) - 1) // max(count - 1, 1)
        found = {
            "number": len(self),
            "names": _digest(json.dumps(self.names).encode()),
            "boxes": _digest(json.dumps(self.boxes).encode()),
        }
        for name in ("images", "waves", "masks"):
            tensor, content = getattr(self, name), b"none"
            if tensor is not None:
                content = f"{tuple(tensor.shape)} {tensor.dtype} ".encode()
                content += tensor.index_select(0, rows).numpy().tobytes()
            found[name] = _digest(content)
        return found


def _digest(content):
    return hashlib.sha256(content).hexdigest()[:16]


def load_scenes(
    split: str,
    count: int | None = None,
    image_size: int = 96,
    samples: int = 48_000,
    seed: int = 0,
    progress: Callable = lambda scenes: scenes,
    only: Collection[str] | None = None,
    alone: bool = False,
) -> Clips:
    """`count` SoundStamps scenes of a split (all of `wild` by default) as Clips.

    `samples` other than 48,000 repeats or crops each wave; `progress` wraps the iterator
    of scenes (`tqdm`, for instance). only: the first `count` scenes in which one of these
    classes sounds (of `wild`, all of them); ValueError where the split has none of them.
    alone: and no object of another class is seen.
    """
    end = soundstamps.length(split)
    count = end if count is None else count
    if count is None:
        raise ValueError(f"{split} has no end: say how many scenes")
    if count < 1:
        raise ValueError(f"count is {count}; need 1 or more scenes")
    known = None if only is None else frozenset(only)
    index, scenes = _scenes(split, seed, count, image_size, progress, known, alone, end)
    waves = torch.from_numpy(np.stack([scene.wave for scene in scenes]))
    return Clips(
        names=[f"{split}/{seed}/{number}" for number in index],
        labels=[scene.class_name for scene in scenes],
        images=torch.from_numpy(np.stack([scene.image for scene in scenes]))
        .permute(0, 3, 1, 2)
        .contiguous(),
        waves=fit_length(waves, samples),
        boxes=[scene.boxes for scene in scenes],
        masks=torch.from_numpy(np.stack([scene.mask for scene in scenes])),
        photos=[scene.photo for scene in scenes],
        recordings=[soundstamps.recording_of(scene.sound) for scene in scenes],
    )


def _scenes(split, seed, count, size, progress, only, alone, end):
    """Indices and scenes: the first `count`, or those of them that are of some classes."""
    if only is None:
        found = soundstamps.compose_many(split, seed, count, size, progress=progress)
        return list(range(count)), found
    if not only & set(soundstamps.classes(split)):
        raise ValueError(
            f"{split} has no scene of {', '.join(sorted(only)) or 'no class'}; it has "
            f"{', '.join(soundstamps.classes(split))}"
        )
    kept, start = [], 0
    while len(kept) < count and start != end:
        block = min(count, end - start) if end else count
        scenes = soundstamps.compose_many(split, seed, block, size, start, progress)
        kept += [
            (start + k, scene)
            for k, scene in enumerate(scenes)
            if scene.class_name in only and not (alone and set(scene.silent) - only)
        ]
        start += block
    index, scenes = zip(*kept[:count])
    return list(index), list(scenes)


@dataclass(frozen=True)
class Leaks:
    """Test clips that are seen in training, in the order of the test list.

    clips: those that are in the training list; videos: those whose source video is in it
    with any clip, so all of `clips` and others that start elsewhere.
    """

    clips: tuple[str, ...]
    videos: tuple[str, ...]


def leaks(train: Iterable[str | Path], test: Iterable[str | Path]) -> Leaks:
    """Which clips of a test list leak into a training list.

    Names are in any spelling, or paths of files. ValueError where either is a string or
    a path, and not a collection of names.
    """
    seen, scored = _names(train), _names(test)
    clips, videos = set(seen), set(map(source_video, seen))
    return Leaks(
        clips=tuple(clip for clip in scored if clip in clips),
        videos=tuple(clip for clip in scored if source_video(clip) in videos),
    )


def refuse_leaks(
    train: Iterable[str | Path], test: Iterable[str | Path], allow: bool = False
) -> Leaks:
    """The Leaks of a test list into a training list; ValueError where a clip leaks.

    With `allow` they are only returned. Other clips of the same source video are never
    refused: two VGG-SS clips share theirs with the paper's own training list.
    """
    names = _names(test)
    found = leaks(train, names)
    if found.clips and not allow:
        raise ValueError(
            f"{len(found.clips):,} of the {len(names):,} test clips are in the training "
            f"list, {', '.join(found.clips[:3])} among them: scores on them would say "
            "nothing. Train on a list without them, or go on deliberately with "
            "allow=True (--allow-leaks) and say so beside the scores"
        )
    return found


def _names(names):
    if isinstance(names, (str, Path)):
        raise ValueError(
            f"{str(names)!r} is no list of names: read one with lists.read_list"
        )
    return [clip_name(name) for name in names]
