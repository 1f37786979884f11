"""Published ground truth: boxes of VGG-SS and Flickr-SoundNet (A1, 06; section 4.1).

    >>> annotations = read_annotations("vggss.json")       # clip -> Annotation
    >>> truth_of(annotations["zpWuikVorYg_000032"]).shape
    torch.Size([224, 224])
    >>> print(damage(annotations))                         # what is wrong with them

Three kinds are read as their authors publish them:

    VGG-SS          vggss.json, a list of {"file", "class", "bbox": [[x0, y0, x1, y1], …]}
    released code   a folder with one XML a clip; a <bbox> holds four
                    normalised coordinates
    Flickr-SoundNet a folder with one XML a clip; a <bbox> holds a name and four pixels
                    of a frame of 256; three annotators, one <bbox> each

Damaged boxes are treated so as to reproduce the field's numbers: a coordinate outside of
[0, 1] is clipped to it, a box that then covers no pixel is ignored, and a clip without a
box scores 0 but still counts. Boxes in another form, such as (x, y, width, height), are
refused where the set as a whole gives them away (`refuse_reversed`).
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np

if TYPE_CHECKING:  # a folder of clips is opened without it
    from torch import Tensor

from sslnb.data.field.lists import LONGEST, check_size, is_printable

SIZE = 224  # pixels: response maps and ground truth are compared at this size
# Fraction of boxes with x1 < x0 or y1 < y0 above which a set is refused. VGG-SS has none
# except where a coordinate is wild; given as (x, y, width, height) it has 49 %.
REVERSED = 0.05
ENOUGH = 10  # clips; see Damage.sized: 3 in a million draws of so many from VGG-SS
FLICKR_FRAME = 256  # pixels a side, in which Flickr-SoundNet's boxes are given


@dataclass(frozen=True)
class Annotation:
    """Boxes of one clip, as published: normalised (x0, y0, x1, y1).

    label: the class, where it is published. annotators: how many people drew the
    boxes; where there are several, their boxes are votes, not objects.
    """

    boxes: tuple[tuple[float, ...], ...]
    label: str | None = None
    annotators: int = 1


def boxes_to_truth(boxes: Iterable[Sequence[float]]) -> "Tensor":
    """Ground truth (224, 224), 0 or 1, of one clip's normalised boxes (x0, y0, x1, y1).

    Coordinates become int(224·x), half open; boxes are united. A coordinate outside of
    [0, 1] is clipped to it (12 clips of VGG-SS hold one of −2.9e16), and a box without
    area is ignored. ValueError for other shapes and NaN,
    and for a coordinate above 2: boxes in pixels.
    """
    truth = np.zeros((SIZE, SIZE), np.float32)
    for box in boxes:
        truth[pixels_of(box)] = 1
    import torch

    return torch.from_numpy(truth)


def pixels_of(box: Sequence[float]) -> tuple[slice, slice]:
    """Rows and columns, as slices, that one box covers; see `boxes_to_truth`."""
    if wrong := what_is_wrong(box):
        raise ValueError(wrong)
    x0, y0, x1, y1 = (int(SIZE * min(max(edge, 0), 1)) for edge in box)
    return slice(y0, y1), slice(x0, x1)


def what_is_wrong(box) -> str | None:
    """Why this is no box in normalised coordinates, or None."""
    if (
        hasattr(box, "__len__")  # else boxes is one box, not a list of them
        and len(box) == 4
        and all(isinstance(edge, Real) for edge in box)
        and all(edge <= 2 for edge in box)  # NaN is not
    ):
        return None
    return (
        f"box {box!r:.200}: need a list of (x0, y0, x1, y1) in normalised coordinates"
    )


def is_reversed(box: Sequence[float]) -> bool:
    """Whether a box ends before it begins: x1 < x0 or y1 < y0.

    Boxes with a coordinate of −1 or less do not count: VGG-SS's own damage (−2.9e16).
    """
    x0, y0, x1, y1 = box
    return min(box) > -1 and (x1 < x0 or y1 < y0)


def fits_as_size(box: Sequence[float]) -> bool:
    """Whether a box, read as (x, y, width, height), would lie in the image too."""
    x0, y0, x1, y1 = box
    return min(box) > -1 and x0 + x1 <= 1.01 and y0 + y1 <= 1.01


def refuse_reversed(
    boxes: Mapping[str, Sequence], source: str | Path = "annotations"
) -> None:
    """ValueError where boxes {clip: boxes} are evidently not (x0, y0, x1, y1).

    That is where more than 5 % of them have x1 < x0 or y1 < y0 (of a single clip, one).
    Fewer are damage, which `damage` names. Boxes of large objects, with a width above x0
    and a height above y0, pass this test; `damage` adds a caution where they may.
    """
    named = [
        (name, box)
        for name, some in boxes.items()
        for box in some
        if what_is_wrong(box) is None
    ]
    wrong = [(name, box) for name, box in named if is_reversed(box)]
    if len(wrong) <= REVERSED * len(named):
        return
    name, box = wrong[0]
    sized = all(fits_as_size(box) for _, box in named if min(box) > -1)
    raise ValueError(
        f"{source}: {len(wrong):,} of {len(named):,} boxes have x1 < x0 or y1 < y0, "
        f"{box!r} of clip {name} for instance. They look like "
        + (
            "(x, y, width, height), or corners in the wrong order"
            if sized
            else "corners in the wrong order, or a centre with a size"
        )
        + "; need (x0, y0, x1, y1) in [0, 1]: left, upper, right and lower edge, with "
        "x0 < x1 and y0 < y1"
    )


def truth_of(annotation: Annotation) -> "Tensor":
    """Ground-truth weights (224, 224) of one clip, in [0, 1].

    One annotator: the union of the boxes, 0 or 1. Several: g = min(Σ box / 2, 1), so that
    a pixel marked by one of them counts one half, as Flickr-SoundNet's authors define it.
    """
    if annotation.annotators == 1:
        return boxes_to_truth(annotation.boxes)
    votes = np.zeros((SIZE, SIZE), np.float32)
    for box in annotation.boxes:
        votes[pixels_of(box)] += 0.5
    import torch

    return torch.from_numpy(votes.clip(max=1))


@dataclass(frozen=True)
class Damage:
    """Counts of what is wrong with annotations; `print` it to read them.

    outside: coordinates outside of [0, 1], in outside_clips clips. empty: boxes that
    cover no pixel. reversed: clips with a box that has x1 < x0 or y1 < y0. without:
    clips with no box left. uneven: clips without exactly one box for each annotator
    (each box still counts one half). sized: every box would lie in the image as (x, y,
    width, height) too, which over `ENOUGH` clips is no coincidence.
    """

    clips: int
    boxes: int
    outside: int
    outside_clips: int
    empty: int
    reversed: tuple
    without: tuple
    uneven: tuple
    sized: bool

    def __str__(self):
        lines = [f"{self.clips:,} clips, {self.boxes:,} boxes"]
        if self.outside:
            lines.append(
                f"{self.outside} coordinates in {self.outside_clips} clips lie "
                "outside of [0, 1]: clipped to it"
            )
        if self.empty:
            lines.append(f"{self.empty} boxes cover no pixel: ignored")
        if self.reversed:
            lines.append(
                f"{len(self.reversed)} clips have a box with its corners in "
                "the wrong order (x1 < x0 or y1 < y0), which covers no pixel: "
                + shortened(self.reversed)
            )
        if self.without:
            lines.append(
                f"{len(self.without)} clips have no box left and score 0: "
                + shortened(self.without)
            )
        if self.uneven:
            lines.append(
                f"{len(self.uneven)} clips do not have one box for each annotator; "
                "each box counts one half: " + shortened(self.uneven)
            )
        if self.sized:
            lines.append(
                "CAUTION: every box would lie in the image as (x, y, width, "
                "height) too; they are read as (x0, y0, x1, y1)"
            )
        return "\n".join(lines)


def shortened(names: Iterable[str], most: int = 5) -> str:
    """Names as text; of many, the first few and how many more."""
    names = list(names)
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest:,} more" if rest > 0 else "")


def damage(annotations: Mapping[str, Annotation]) -> Damage:
    """What is wrong with annotations (clip -> Annotation), counted."""
    outside, empty, wrong, without, uneven = {}, 0, [], [], []
    for name, annotation in annotations.items():
        count = sum(not 0 <= edge <= 1 for box in annotation.boxes for edge in box)
        if count:
            outside[name] = count
        bare = sum(
            any(s.start >= s.stop for s in pixels_of(box)) for box in annotation.boxes
        )
        empty += bare
        if any(map(is_reversed, annotation.boxes)):
            wrong.append(name)
        if bare == len(annotation.boxes):
            without.append(name)
        if annotation.annotators > 1 and len(annotation.boxes) != annotation.annotators:
            uneven.append(name)
    # a box at the upper left corner is the same in both forms
    telling = {
        name: [box for box in annotation.boxes if box[0] > 0 or box[1] > 0]
        for name, annotation in annotations.items()
    }
    sized = all(fits_as_size(box) for boxes in telling.values() for box in boxes)
    return Damage(
        len(annotations),
        sum(len(a.boxes) for a in annotations.values()),
        sum(outside.values()),
        len(outside),
        empty,
        tuple(wrong),
        tuple(without),
        tuple(uneven),
        sized and sum(map(bool, telling.values())) >= ENOUGH,
    )


def read_annotations(path: str | Path) -> dict[str, Annotation]:
    """Clip name -> Annotation from vggss.json or a folder of XML, in the file's order.

    ValueError says which file and clip cannot be read, what was found there and what
    would be right, also where boxes are not (x0, y0, x1, y1) (`refuse_reversed`);
    OSError where there is no such file.
    """
    path = Path(path)
    annotations = _read_folder(path) if path.is_dir() else _read_file(path)
    refuse_reversed({name: a.boxes for name, a in annotations.items()}, path)
    return annotations


def _read_file(path):
    if path.suffix.lower() != ".json":
        raise (
            ValueError(
                f"{path}: need vggss.json, or the folder that holds one .xml a clip"
            )
            if path.exists()
            else FileNotFoundError(f"{path}: no such file or folder")
        )
    return _read_json(path)


def _read_json(path):
    check_size(path)
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from None
    if not isinstance(entries, list) or not entries:
        raise ValueError(
            f'{path}: found {type(entries).__name__}; need a list of {{"file", "class", '
            '"bbox"} with one entry a clip, as vggss.json has it'
        )
    annotations = {}
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict) or not {"file", "bbox"} <= entry.keys():
            raise ValueError(
                f"{path}: entry {number} is {entry!r:.80}; "
                'need {"file", "class", "bbox"}'
            )
        name, boxes = entry["file"], entry["bbox"]
        label = entry.get("class")
        if (
            not isinstance(name, str)
            or not isinstance(boxes, list)
            or not isinstance(label, str | None)
        ):
            raise ValueError(
                f"{path}: entry {number}: need a string as file and a list as bbox, and "
                "as class a string or nothing"
            )
        for text in (name, label or ""):
            _check_name(text, path)
        if name in annotations:
            raise ValueError(f"{path}: clip {name} is in it twice; keep one entry")
        annotations[name] = Annotation(_checked(boxes, path, name), label)
    return annotations


def _check_name(name, path):
    if not is_printable(name):
        raise ValueError(
            f"{path}: {name!r:.80} is no name: need at most {LONGEST} characters, and "
            "none that cannot be printed"
        )


def _checked(boxes, path, name):
    for box in boxes:
        if wrong := what_is_wrong(box):
            raise ValueError(f"{path}: clip {name}: {wrong}")
    return tuple(tuple(box) for box in boxes)


def _read_folder(folder):
    paths = sorted(folder.glob("*.xml"))
    if not paths:
        inner = sorted({xml.parent for xml in folder.glob("*/*.xml")})
        kinds = Counter(p.suffix or p.name for p in folder.iterdir()).most_common(3)
        raise ValueError(
            f"{folder}: no .xml in it, but {dict(kinds) or 'nothing'}; need the folder "
            f"with one .xml a clip{''.join(f', such as {path}' for path in inner[:1])}"
        )
    found = {path: _read_xml(path) for path in paths}
    kinds = {size: path.name for path, (size, _) in found.items() if size}
    if len(kinds) != 1:
        raise ValueError(
            f"{folder}: {kinds[4]} holds normalised boxes and {kinds[5]} several "
            "annotators' pixels; need one kind in a folder"
            if kinds
            else f"{folder}: no <bbox> in any of {len(paths):,} .xml; need one or more a clip"
        )
    annotators = 3 if 5 in kinds else 1
    return {
        path.stem: Annotation(boxes, annotators=annotators)
        for path, (_, boxes) in found.items()
    }


def _read_xml(path):
    """How many values a <bbox> holds (4: the released code's, 5: Flickr's), and boxes.

    0 where there is no <bbox>: a clip without a box, of whichever kind.
    """
    _check_name(path.stem, path.parent)
    check_size(path)
    try:
        found = list(ElementTree.parse(path).getroot().iter("bbox"))
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        # of an encoding that Python or expat does not have, the last two
        raise ValueError(f"{path} is not XML: {error}") from None
    if not found:
        return 0, ()
    texts = [
        [child.text or "" for child in box] if len(box) else (box.text or "").split()
        for box in found
    ]
    sizes = sorted({len(values) for values in texts})
    if sizes not in ([4], [5]):
        raise ValueError(
            f"{path}: its <bbox> hold {sizes} values; need 4 normalised coordinates (the "
            "released code's), or a name and 4 pixels (Flickr-SoundNet's)"
        )
    frame = FLICKR_FRAME if sizes == [5] else 1
    try:
        boxes = [[float(value) / frame for value in values[-4:]] for values in texts]
    except ValueError as error:
        raise ValueError(f"{path}: a <bbox> holds no numbers: {error}") from None
    return sizes[0], _checked(boxes, path, path.stem)
