"""SoundStamps: the embedded benchmark, composed scene by scene (notebook 01).

A scene is a photograph of one sounding object and up to two silent ones on a
background, with three seconds of the sounding object's recording. Everything
about a scene follows from (split, seed, index) by integer arithmetic, so it is
the same in every process and on every machine, and its ground truth is exact.

    >>> scene = compose("test", seed=0, index=3, size=96)
    >>> scene.image.shape, scene.wave.shape, scene.mask.shape
    ((96, 96, 3), (48000,), (224, 224))

Sizes of objects follow VGG-SS. All objects of a scene are drawn alike, so that
neither size, place nor order tells which of them sounds: only the sound does.

Scenes of `frames` and `wild` are ordinary photographs: crops of some to train on, and
others, complete, to test on. `stamps` says what may be in which split.
"""

import itertools
import json
import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from PIL import Image

from sslnb.data import stamps
from sslnb.data.stamps import RATE, classes, length, table
from sslnb.data.stamps import ROOT as ROOT
from sslnb.data.stamps import SPLITS as SPLITS
from sslnb.data.stamps import TABLES as TABLES
from sslnb.data.stamps import check_split as check_split
from sslnb.data.stamps import recording_of as recording_of
from sslnb.data.stamps import several as several

SECONDS = 3
CANVAS = 224  # scenes are composed, and their ground truth given, at this size
# The smallest photographs are 100 px, so a scene holds no more detail than
# this many pixels across: object and background are equally sharp at any size.
DETAIL = 112

# Fraction of the image that VGG-SS's ground truth covers, as (quantile, fraction);
# the two ends are ours.
AREA = (
    (0, 0.012),
    (0.05, 0.033),
    (0.10, 0.054),
    (0.25, 0.121),
    (0.50, 0.253),
    (0.75, 0.463),
    (0.90, 0.677),
    (0.95, 0.780),
    (1, 0.950),
)
# The middle half of the centres of VGG-SS's boxes, as (x0, y0, x1, y1): to compare
CENTRES = (0.44, 0.43, 0.56, 0.59)
CROWDED = 0.75  # scenes above this quantile of size hold one object only
SILENT = (0, 0, 0, 1, 1, 2)  # silent objects of the others, drawn evenly
LONGEST = 2.0  # an object's longer side in frames: at least half is in view
HIDDEN = 0.35  # at most this fraction of an object's box lies behind any other
VISIBLE = 0.2  # a box counts where at least this fraction of it is in the crop


@dataclass(frozen=True)
class Scene:
    """One scene and its ground truth.

    image (size, size, 3) uint8; wave (48000,) int16 at 16 kHz; mask (224, 224)
    bool, the visible pixels of the sounding object (in `wild`, of its boxes); boxes,
    normalised (x0, y0, x1, y1): one, or in `wild` several; objects, the visible masks of
    all objects, the sounding one first; the names of what was used.
    """

    image: np.ndarray
    wave: np.ndarray
    mask: np.ndarray
    boxes: tuple[tuple[float, ...], ...]
    class_name: str
    silent: tuple[str, ...]
    objects: tuple[np.ndarray, ...]
    photo: str
    sound: str
    background: str


def area_at(quantile: float) -> float:
    """Fraction of the image at a quantile of VGG-SS's sizes, piecewise linear."""
    for (q0, s0), (q1, s1) in itertools.pairwise(AREA):
        if q0 <= quantile <= q1:
            return s0 + (s1 - s0) * (quantile - q0) / (q1 - q0)
    raise ValueError(f"quantile {quantile} is not in [0, 1]")


def _extent(photo, area):
    """Normalised width and height that cover `area` of the image; may exceed 1."""
    width, height = stamps.cutout(photo).size
    scale = (area / (width * height)) ** 0.5
    if scale * max(width, height) > 1:  # the image cuts the longer side off
        scale = area / min(width, height)
    return scale * width, scale * height


def _draw_object(rng, split, area, taken=()):
    """(class, photograph, extent) of an object that can cover this area."""
    photos = stamps.photos(split)
    names = sorted(set(photos) - set(taken))
    while True:
        name = rng.choice(names)
        photo = rng.choice(photos[name])
        extent = _extent(photo, area)
        if max(extent) <= LONGEST:
            return name, photo, extent


def _place(rng, extent):
    """Box (x0, y0, x1, y1) in frames; a side longer than the frame spans it."""
    starts = [rng.uniform(min(0, 1 - side), max(0, 1 - side)) for side in extent]
    return (*starts, starts[0] + extent[0], starts[1] + extent[1])


def _hidden(box, others):
    """Largest fraction of the visible part of `box` that one of `others` covers."""

    def overlap(a, b):
        sides = (min(a[k + 2], b[k + 2], 1) - max(a[k], b[k], 0) for k in (0, 1))
        width, height = (max(0, side) for side in sides)
        return width * height

    return max((overlap(box, other) / overlap(box, box) for other in others), default=0)


def _layout(rng, split):
    """Objects as (class, photograph, box), the sounding one first."""
    quantile = rng.random()
    crowd = 0 if quantile > CROWDED else rng.choice(SILENT)
    objects = [_draw_object(rng, split, area_at(quantile))]
    for _ in range(crowd):
        area = area_at(CROWDED * rng.random())
        objects.append(_draw_object(rng, split, area, [o[0] for o in objects]))
    return _fit(rng, objects)


def _fit(rng, objects):
    """Objects (class, photograph, extent) with a box each in place of the extent.

    Where no place is found for all of them, the last ones are left out.
    """
    while True:
        for _ in range(20):
            boxes = [_place(rng, extent) for _, _, extent in objects]
            if all(
                _hidden(box, boxes[:k] + boxes[k + 1 :]) <= HIDDEN
                for k, box in enumerate(boxes)
            ):
                return [(o[0], o[1], box) for o, box in zip(objects, boxes)]
        objects.pop()  # they do not fit: one silent object fewer


def _crop_square(rng, image):
    """A square crop of a photograph, 0.4 to 1 of its shorter side, maybe flipped.

    At least DETAIL pixels: a smaller one would be more blurred than the objects.
    """
    smallest = max(0.4, DETAIL / min(image.size))
    side = round(min(image.size) * rng.uniform(smallest, 1))
    x, y = (rng.randrange(extent - side + 1) for extent in image.size)
    square = image.resize((CANVAS, CANVAS), Image.BILINEAR, (x, y, x + side, y + side))
    return square.transpose(Image.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else square


def _paint(rng, canvas, photo, box):
    """Paint a photograph into its box; the alpha (224, 224) that it left."""
    image = stamps.cutout(photo)
    if rng.random() < 0.5:
        image = image.transpose(Image.FLIP_LEFT_RIGHT)
    x0, y0, x1, y1 = (round(CANVAS * edge) for edge in box)
    image = image.resize((max(1, x1 - x0), max(1, y1 - y0)), Image.BILINEAR)
    canvas.paste(image, (x0, y0), image)
    alpha = Image.new("L", canvas.size)
    alpha.paste(image.getchannel("A"), (x0, y0))
    return np.asarray(alpha) > 127


def box_of(mask: np.ndarray) -> tuple[float, ...]:
    """Normalised (x0, y0, x1, y1) of a mask (224, 224) of bool that is not empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    edges = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    return tuple(int(edge) / CANVAS for edge in edges)


def _noise(rng, shape, scale):
    """Integers, nearly normal, of standard deviation 0.58 * scale."""
    count = int(np.prod(shape))
    raw = np.random.PCG64(rng.getrandbits(64)).random_raw(-(-count // 2))
    four = raw.astype("<u8").view(np.uint8).reshape(4, -1)[:, :count]
    total = four.sum(0, dtype=np.int16).astype(np.int32) - 510
    return (total * scale // 256).reshape(shape)


def _finish(rng, canvas, size):
    """The canvas at the wanted size, with noise over objects and background."""
    canvas = canvas.resize((min(size, DETAIL),) * 2, Image.BOX)
    if size > DETAIL:
        canvas = canvas.resize((size, size), Image.BICUBIC)
    pixels = np.asarray(canvas) + _noise(rng, (size, size, 3), 4)
    return pixels.clip(0, 255).astype(np.uint8)


def _draw_wave(rng, split, class_name):
    """Three seconds of a recording of the class, and the file that it is from.

    Of a longer recording an excerpt around its loudest moment, so that no clip is silent.
    """
    takes = stamps.recordings(split)[class_name]
    name = rng.choice(takes[rng.choice(sorted(takes))])
    wave, samples = stamps.sound(name), RATE * SECONDS
    start = rng.randrange(len(wave))
    if len(wave) >= samples:
        loudest = int(np.abs(wave.astype(np.int32)).argmax())
        first, last = max(0, loudest - samples + 1), min(loudest, len(wave) - samples)
        start = rng.randrange(first, last + 1)
    repeats = -(-(start + samples) // len(wave))
    wave = np.tile(wave, repeats)[start : start + samples].astype(np.int32)
    wave = wave * rng.randrange(300, 1000) // 1000
    return (wave + _noise(rng, wave.shape, 60)).astype(np.int16), name


def compose(split: str, seed: int, index: int, size: int) -> Scene:
    """The scene (split, seed, index) at `size` × `size` pixels.

    Raises ValueError for an unknown split, a negative number or, in `wild`, an
    index past the last photograph; OSError names a file that is damaged.
    """
    end = length(split)
    if end is not None and index >= end:
        raise ValueError(f"index {index}: {split} has {end} photographs")
    if seed < 0 or index < 0 or size < 8:
        raise ValueError(f"seed {seed}, index {index} must be ≥ 0, size {size} ≥ 8")
    rng = random.Random(f"SoundStamps/{split}/{seed}/{index}")
    if split == "wild":
        return _compose_wild(rng, index, size)
    if split == "frames":
        return _compose_frame(rng, size)
    return _compose(rng, split, size)


def _compose(rng, split, size):
    layout = _layout(rng, split)
    background = rng.choice(stamps.backgrounds(split))
    canvas = _crop_square(rng, stamps.background(background))
    masks = _paint_all(rng, canvas, layout)
    wave, sound = _draw_wave(rng, split, layout[0][0])
    return _scene(layout, masks, background, _finish(rng, canvas, size), wave, sound)


def _paint_all(rng, canvas, layout):
    """Paint the objects of a layout, in random order; their visible masks (224, 224)."""
    masks = [None] * len(layout)
    for k in rng.sample(range(len(layout)), len(layout)):  # back to front
        painted = _paint(rng, canvas, layout[k][1], layout[k][2])
        masks = [m if m is None else m & ~painted for m in masks]
        masks[k] = painted
    return masks


def _scene(layout, masks, background, image, wave, sound):
    """A composed scene; the first object of the layout sounds."""
    class_name, photo, _ = layout[0]
    return Scene(
        image=image,
        wave=wave,
        mask=masks[0],
        boxes=(box_of(masks[0]),),
        class_name=class_name,
        silent=tuple(name for name, _, _ in layout[1:]),
        objects=tuple(masks),
        photo=photo,
        sound=sound,
        background=background,
    )


def build(
    split: str,
    seed: int,
    class_name: str,
    area: float,
    silent: int = 0,
    sounding: int = 0,
    size: int = CANVAS,
) -> Scene:
    """A scene of one's choice: an object of `class_name` in a box of `area`.

    area: a fraction of the image, in (0, 1]; a long object gets at most what keeps half
    of it in view. silent: the number of other objects; those for which there is no room
    are left out. sounding: the object that is heard, 0 the chosen one, 1 … one of the
    others. Each choice changes what it names and nothing else: with another `sounding`,
    image and objects are the same, and so is the background of a seed in all its scenes.

    Raises ValueError for a class that the split has no cut-out of, and for numbers
    outside of their ranges.
    """
    photos = stamps.photos(check_split(split)).get(class_name)
    if photos is None:
        known = ", ".join(sorted(stamps.photos(split))) or "no composed scenes"
        raise ValueError(f"no photograph of {class_name!r}; {split} has {known}")
    if seed < 0 or not 0 < area <= 1 or silent < 0 or size < 8:
        raise ValueError(
            f"seed {seed} and silent {silent} must be ≥ 0, area {area} in (0, 1], "
            f"size {size} ≥ 8"
        )

    def generator(*of):
        return random.Random("/".join(map(str, ("built", split, seed, *of))))

    photo = generator("photo", class_name).choice(photos)
    width, height = stamps.cutout(photo).size
    longest = LONGEST * min(width, height) / max(width, height)
    objects = [(class_name, photo, _extent(photo, min(area, longest)))]
    for k in range(silent):
        rng = generator("silent", k)
        crowd = area_at(CROWDED * rng.random())
        objects.append(_draw_object(rng, split, crowd, [o[0] for o in objects]))
    layout = _fit(generator("places"), objects)
    if not 0 <= sounding < len(layout):
        raise ValueError(
            f"sounding {sounding}: need 0 to {len(layout) - 1}, for the scene has room "
            f"for {len(layout)} object(s)"
        )
    rng = generator("background")
    background = rng.choice(stamps.backgrounds(split))
    canvas = _crop_square(rng, stamps.background(background))
    masks = _paint_all(generator("order"), canvas, layout)
    for part in (layout, masks):
        part.insert(0, part.pop(sounding))
    wave, sound = _draw_wave(generator("sound", layout[0][0]), split, layout[0][0])
    image = _finish(generator("noise"), canvas, size)
    return _scene(layout, masks, background, image, wave, sound)


def _boxes_mask(boxes):
    mask = np.zeros((CANVAS, CANVAS), bool)
    for box in boxes:
        x0, y0, x1, y1 = (int(CANVAS * edge) for edge in box)
        mask[y0:y1, x0:x1] = True
    return mask


def _compose_frame(rng, size):
    """A square crop of an ordinary photograph, around one of its boxes."""
    name = rng.choice(classes("frames"))
    row = rng.choice([row for row in table("frames") if row["class"] == name])
    canvas, boxes = _crop_around(
        rng, stamps.open_image(row["file"]), json.loads(row["boxes"])
    )
    return _framed(rng, "frames", row, boxes, _finish(rng, canvas, size))


def _compose_wild(rng, index, size):
    row = table("wild")[index]
    image = (
        stamps.open_image(row["file"]).convert("RGB").resize((size, size), Image.BOX)
    )
    boxes = tuple(map(tuple, json.loads(row["boxes"])))
    return _framed(rng, "wild", row, boxes, np.asarray(image))


def _framed(rng, split, row, boxes, image):
    mask = _boxes_mask(boxes)
    wave, sound = _draw_wave(rng, split, row["class"])
    return Scene(
        image=image,
        wave=wave,
        mask=mask,
        boxes=boxes,
        class_name=row["class"],
        silent=(),
        objects=(mask,),
        photo=row["file"],
        sound=sound,
        background=row["file"],
    )


def _crop_around(rng, image, boxes):
    """A square crop (224, 224) that holds one of the boxes, and the boxes in it.

    Of a box that is longer than the shorter side of the image, it holds that much.
    """
    extent, shortest = image.size, min(image.size)
    pixels = [
        tuple(edge * extent[k % 2] for k, edge in enumerate(box)) for box in boxes
    ]
    box = rng.choice(pixels)
    longest = min(max(box[2] - box[0], box[3] - box[1]), shortest)
    side = rng.uniform(max(longest, 0.5 * shortest), shortest)
    corner = []
    for k in (0, 1):  # x, y
        ends = sorted((box[k], box[k + 2] - side))
        start = rng.uniform(*ends)
        corner.append(min(max(start, 0), extent[k] - side))
    region = (*corner, corner[0] + side, corner[1] + side)
    crop = image.convert("RGB").resize((CANVAS, CANVAS), Image.BILINEAR, region)
    seen = []
    for box in pixels:
        inside = [
            min(max((edge - corner[k % 2]) / side, 0), 1) for k, edge in enumerate(box)
        ]
        area = (inside[2] - inside[0]) * (inside[3] - inside[1]) * side**2
        if area >= VISIBLE * (box[2] - box[0]) * (box[3] - box[1]):
            seen.append(inside)
    if rng.random() < 0.5:
        crop = crop.transpose(Image.FLIP_LEFT_RIGHT)
        seen = [(1 - x1, y0, 1 - x0, y1) for x0, y0, x1, y1 in seen]
    return crop, tuple(map(tuple, seen))


def compose_many(
    split: str,
    seed: int,
    count: int,
    size: int,
    start: int = 0,
    progress: Callable = lambda scenes: scenes,
) -> list[Scene]:
    """Scenes start … start + count - 1, composed on two threads, in order.

    `progress` wraps the scenes as they come, and knows how many (`tqdm`, for instance).
    """
    with ThreadPoolExecutor(2) as pool:
        numbers = range(start, start + count)
        scenes = pool.map(lambda index: compose(split, seed, index, size), numbers)
        return list(progress(_Counted(scenes, count)))


@dataclass(frozen=True)
class _Counted:
    """Scenes as they come, with a length; a bar over them ends where they are stopped."""

    scenes: Iterator[Scene]
    count: int

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Scene]:
        return self.scenes


def origins(scenes: Sequence[Scene]) -> tuple[np.ndarray, np.ndarray]:
    """Class and recording (N,) of what sounds in each of N scenes, as names.

    Excerpts of one recording, and single notes from one, have the same name.
    """
    recordings = [" ".join(stamps.takes()[scene.sound]) for scene in scenes]
    return np.array([scene.class_name for scene in scenes]), np.array(recordings)
