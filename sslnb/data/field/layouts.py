"""Folders of clips, in the layouts of the field's codebases (appendix A1, notebook 06).

    >>> folder = open_folder("VGGSound_test", names="test_vggss_4911.txt")
    >>> print(folder.describe())                  # which layout, how many of how many
    >>> folder.clips[0].frame, folder.clips[0].audio, folder.clips[0].annotation.boxes

LAYOUTS lists the known layouts in the order in which they are tried; a folder has the
first whose subfolders all exist. Only directories and annotations are read, each once:
whether a frame is intact shows when it is read.
"""

import gc
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sslnb.data.field.annotations import Annotation, read_annotations, shortened
from sslnb.data.field.lists import clip_name, read_labels, read_list
from sslnb.data.field.walk import walk

# Where a clip has several files, the first of these suffixes wins
FRAMES = (".jpg", ".jpeg", ".png")
SOUNDS = (".wav", ".flac", ".ogg", ".mp3")


@dataclass(frozen=True)
class Layout:
    """Where the clips of a folder lie.

    frames, audio: subfolders. annotations: the file or folder of them, beside these.
    frame: the file name of the frame, where each clip has a folder of frames. nested:
    clips may lie in subfolders, and folders of frames then end in `.mp4`. needed: the
    layout is recognised only where the annotations exist.
    """

    kind: str
    form: str
    frames: str
    audio: str
    annotations: str | None = None
    frame: str | None = None
    nested: bool = False
    needed: bool = False

    def fits(self, root: Path) -> bool:
        """Whether its subfolders exist."""
        wanted = [self.frames, self.audio]
        if self.needed and self.annotations:
            wanted.append(self.annotations)
        return all((root / name).is_dir() for name in wanted)


LAYOUTS = (
    Layout(
        "the release's training clips",
        "total_video_frames/<clip>/125.jpg, total_video_3s_audio/<clip>.wav",
        "total_video_frames",
        "total_video_3s_audio",
        frame="125.jpg",
    ),
    Layout(
        "the release's test clips",
        "frame/<clip>.jpg, audio/<clip>.wav, anno/<clip>.xml",
        "frame",
        "audio",
        "anno",
    ),
    Layout(
        "the release's Flickr-SoundNet test clips",
        "frame/<clip>.jpg, mp3/<clip>.mp3, anno/<clip>.xml",
        "frame",
        "mp3",
        "anno",
    ),
    Layout(
        "Flickr-SoundNet with mp3, as the release trains on it",
        "frames/…/<clip>.mp4/00000003.jpg or frames/<clip>.jpg, mp3/…/<clip>.mp3, and "
        "Annotations/<clip>.xml or not",
        "frames",
        "mp3",
        "Annotations",
        frame="00000003.jpg",
        nested=True,
    ),
    Layout(
        "Flickr-SoundNet, as LVS, EZ-VSL and SLAVC have it",
        "frames/<clip>.jpg, audio/<clip>.wav or .mp3, Annotations/<clip>.xml",
        "frames",
        "audio",
        "Annotations",
        needed=True,
    ),
    Layout(
        "Flickr-SoundNet, as it is published",
        "Data/…/<clip>.jpg, Data/…/<clip>.wav or .mp3, Annotations/<clip>.xml",
        "Data",
        "Data",
        "Annotations",
        nested=True,
        needed=True,
    ),
    Layout(
        "LVS's and EZ-VSL's, which `sslnb prepare` writes",
        "frames/<clip>.jpg, audio/<clip>.wav, and vggss.json or not",
        "frames",
        "audio",
        "vggss.json",
    ),
)


@dataclass(frozen=True)
class Clip:
    """One clip: its frame and sound on disk, and what is known about it."""

    name: str
    frame: Path
    audio: Path
    label: str | None = None
    annotation: Annotation | None = None


@dataclass(frozen=True)
class Folder:
    """The clips of a folder, in order, and those that were wanted but are missing.

    kind: which of LAYOUTS; missing: name -> why; unasked: how many clips are there that were
    not asked for.
    """

    kind: str
    root: Path
    clips: tuple[Clip, ...]
    missing: dict[str, str]
    unasked: int = 0

    def describe(self) -> str:
        """The layout, how many of the wanted clips there are, and what is missing."""
        asked = len(self.clips) + len(self.missing)
        annotations = [clip.annotation for clip in self.clips if clip.annotation]
        votes = max((annotation.annotators for annotation in annotations), default=1)
        labelled = sum(clip.label is not None for clip in self.clips)
        lines = [
            f"{self.root}: {self.kind}",
            f"{len(self.clips):,} of {asked:,} clips; {len(annotations):,} annotated"
            + f", by {votes} people each" * (votes > 1)
            + f"; {labelled:,} with a class" * bool(labelled),
        ]
        if self.unasked:
            lines.append(
                f"{self.unasked:,} more are there that were not asked for: left out"
            )
        for why, count in Counter(self.missing.values()).most_common():
            names = (name for name in self.missing if self.missing[name] == why)
            lines.append(f"{count:,} missing, {why}: {shortened(names)}")
        return "\n".join(lines)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Without Python's search for cycles: among a million objects that are made at once,
    and hold none, it takes as long as making them."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@_no_collection()
def open_folder(root: str | Path, annotations=None, classes=None, names=None) -> Folder:
    """The clips of a folder in any of LAYOUTS, as a Folder.

    annotations: `vggss.json` or a folder of XML, instead of those beside the clips.
    classes: `vggsound.csv`. names: the wanted clips, as a list file, or as names or paths
    in any spelling and in this order. Without names, the annotated clips are wanted, or
    all in alphabetical order where nothing is annotated. A wanted clip that lacks a file
    is in `missing`. Annotations and classes may also be given as dictionaries.

    OSError where there is no such folder, ValueError where it has no known layout, holds
    none of the wanted clips, or has two files for one clip.
    """
    root = Path(root)
    layout = find_layout(root)
    frames, sounds = _index(root, layout)
    if annotations is None and layout.annotations:
        beside = root / layout.annotations
        annotations = beside if beside.exists() else None
    truth, labels = _read(annotations, read_annotations), _read(classes, read_labels)
    there = frames.keys() | sounds.keys()
    if names is not None:
        wanted = read_list(names) if isinstance(names, (str, Path)) else names
        wanted = list(dict.fromkeys(map(clip_name, wanted)))
    else:
        wanted = list(truth) if truth else sorted(there)
    clips: list[Clip] = []
    missing: dict[str, str] = {}
    for name in wanted:
        if name in frames and name in sounds:
            annotation = truth.get(name)
            label = labels.get(name, annotation.label if annotation else None)
            clips.append(
                Clip(name, Path(frames[name]), Path(sounds[name]), label, annotation)
            )
        else:
            missing[name] = _why(layout, name in frames, name in sounds)
    if not clips:
        raise ValueError(
            f"{root} ({layout.form}) holds none of {len(wanted):,} clips wanted: "
            f"{shortened(wanted, 3) or 'nothing'}; it holds {len(frames):,} frames and "
            f"{len(sounds):,} sounds: {shortened(sorted(there), 3) or 'nothing'}"
        )
    return Folder(layout.kind, root, tuple(clips), missing, len(there - set(wanted)))


def find_layout(root: Path) -> Layout:
    """The first of LAYOUTS that fits a folder; ValueError says what it holds instead."""
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is no folder")
    for layout in LAYOUTS:
        if layout.fits(root):
            return layout
    names = sorted(path.name + "/" * path.is_dir() for path in root.iterdir())
    held = shortened(names, 8) or "nothing"
    known = "\n".join(f"  {layout.kind}: {layout.form}" for layout in LAYOUTS)
    raise ValueError(
        f"{root} has none of the known layouts; it holds {held}. Known are, "
        f"in the order in which they are tried:\n{known}"
    )


def _read(source, read):
    """A mapping, or what `read` makes of a file, with the names of clips normalised."""
    if source is None:
        return {}
    read_from = "annotations or classes" if isinstance(source, Mapping) else source
    if not isinstance(source, Mapping):
        source = read(source)
    found = {}
    for name, value in source.items():
        clip = _named(name, read_from)
        if clip in found:
            raise ValueError(f"{read_from}: clip {clip} is in it twice; keep one")
        found[clip] = value
    return found


def _named(name, where):
    try:
        return clip_name(name)
    except ValueError as error:
        raise ValueError(f"{where}: {error}; rename it") from error


def _why(layout, frame, sound):
    if not frame and not sound:
        return "neither frame nor sound"
    return f"no sound in {layout.audio}" if frame else f"no frame in {layout.frames}"


def _index(root, layout):
    """Paths of all frames and of all sounds: two dictionaries by clip."""
    frames, sounds = {}, {}
    _scan(root / layout.frames, layout, FRAMES, frames)
    _scan(root / layout.audio, layout, SOUNDS, sounds)
    return frames, sounds


def _scan(folder, layout, suffixes, found):
    """Add the files of a folder to {clip: path}; directories are read, files are not."""
    frame = layout.frame if suffixes is FRAMES else None
    known = {*suffixes, ".mp4" if layout.nested else ""} if frame else suffixes

    def is_hidden(entry):  # macOS's copies, half-written files
        return entry.name.startswith(".")

    def enter(entry):
        return layout.nested and not is_hidden(entry) and _suffix(entry) not in known

    for entry in walk(folder, enter):
        suffix = _suffix(entry)
        if is_hidden(entry) or suffix not in known:
            continue
        # what is no file of a clip is a folder of frames, of which one is the clip's
        path = entry.path if suffix in suffixes else os.path.join(entry.path, frame)
        _add(found, _named(entry.name, entry.path), path, suffixes)


def _suffix(entry):
    return os.path.splitext(entry.name)[1].lower()


def _add(found, name, path, suffixes):
    other = found.setdefault(name, path)
    if other == path:
        return
    ranks = [suffixes.index(os.path.splitext(p)[1].lower()) for p in (other, path)]
    if ranks[0] == ranks[1]:
        raise ValueError(f"two files for clip {name}: {other} and {path}; remove one")
    if ranks[1] < ranks[0]:
        found[name] = path
