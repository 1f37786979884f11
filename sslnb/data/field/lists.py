"""Names of clips, published lists of them, and the paper's splits by class.

Lists spell one clip in several ways; `clip_name` maps them all to one. Labels come from
`vggsound.csv`. Sections 4.2 (open set) and 4.3 (retrieval: 274 + 35 classes).

    >>> clip_name("videos/0/0/0/2615133000.mp4"), clip_name("---g-f_I2yQ_000001.jpg")
    ('2615133000', '---g-f_I2yQ_000001')
    >>> labels = read_labels("vggsound.csv")                       # clip -> class
    >>> train, test = split_by_class(labels, labels, RETRIEVAL)    # 274 + 35 classes
"""

import csv
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

SUFFIXES = frozenset(
    [
        "mp4",
        "mkv",
        "webm",
        "avi",
        "mov",
        "jpg",
        "jpeg",
        "png",
        "wav",
        "flac",
        "ogg",
        "mp3",
        "xml",
    ]
)
ROW = re.compile(r"[\w-]{11},\d+,.*,(train|test)")  # of vggsound.csv
SPAN = re.compile(r"([\w-]{11})_(0|\d+000)_\d+000")  # SSLalignment: from, to in ms
FORMS = (
    "need one clip a line, or a .csv with the clip first or, as vggsound.csv has "
    "it, YouTube id, start in whole seconds, class, split"
)
UNNAMED = re.compile(r'[{}<>"]')  # JSON or a web page, where a list should be
# Control characters, line breaks, and bytes of a file's name that are no text
UNPRINTED = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
LONGEST = 255  # characters of a name, as of a file's
LARGEST = 2**27  # bytes of a list or of annotations: ten times vggsound.csv
# The 35 classes that retrieval is tested on, of VGGSound's 309 (sections 4.3, 4.4)
RETRIEVAL = frozenset(
    (
        "alarm clock ringing",
        "alligators, crocodiles hissing",
        "bull bellowing",
        "car engine starting",
        "cat caterwauling",
        "cheetah chirrup",
        "cuckoo bird calling",
        "dog howling",
        "electric grinder grinding",
        "elephant trumpeting",
        "fireworks banging",
        "firing muskets",
        "foghorn",
        "helicopter",
        "ice cream truck, ice cream van",
        "lawn mowing",
        "lions growling",
        "people belly laughing",
        "people burping",
        "people eating noodle",
        "people screaming",
        "plastic bottle crushing",
        "playing accordion",
        "playing didgeridoo",
        "playing sitar",
        "playing theremin",
        "playing trumpet",
        "raining",
        "reversing beeps",
        "sharpen knife",
        "sloshing water",
        "squishing water",
        "tap dancing",
        "train wheels squealing",
        "train whistling",
    )
)


def is_printable(name: str) -> bool:
    """Whether a name can stand in a line of text, and is no longer than a file's."""
    return len(name) <= LONGEST and not UNPRINTED.search(name)


def check_size(path: str | Path) -> None:
    """ValueError for a file that no memory should be asked to hold."""
    path = Path(path)
    if path.is_file() and (size := path.stat().st_size) > LARGEST:
        raise ValueError(
            f"{path} has {size:,} bytes; no list or annotation has more than {LARGEST:,}"
        )


def clip_name(text: str | os.PathLike[str]) -> str:
    """The name of a clip, from any spelling that the field's lists and files use.

    A path gives the file's name without its suffixes (`a/b/clip.mp4.mp3` is `clip`);
    anything else is a name already. `<id>_30000_40000`, in milliseconds, is
    `<id>_000030`. ValueError for what cannot be the name of a clip.
    """
    text = os.fspath(text)
    name = text.strip()
    if not name or UNNAMED.search(name) or not is_printable(name):
        raise ValueError(f"{text[:60]!r} is not the name of a clip")
    stem, _, suffix = name.rpartition(".")
    while stem and suffix.lower() in SUFFIXES:
        name = stem.rpartition("/")[2].strip()
        stem, _, suffix = name.rpartition(".")
    if not name:  # of "folder/.mp4"
        raise ValueError(f"{text[:60]!r} is not the name of a clip")
    span = SPAN.fullmatch(name)
    return f"{span[1]}_{int(span[2]) // 1000:06d}" if span else name


def source_video(clip: str) -> str:
    """The video a clip is from: the 11 characters of `<id>_<start>`, else the clip."""
    return clip[:11] if re.fullmatch(r"[\w-]{11}_\d{6}", clip) else clip


def shared_videos(clips: Iterable[str]) -> list[list[str]] | None:
    """The source video of each clip, as groups (1, N) to resample for an interval.

    None where no two clips are of one video.
    """
    videos = [source_video(clip) for clip in clips]
    return [videos] if len(set(videos)) < len(videos) else None


def read_list(path: str | Path) -> tuple[str, ...]:
    """Names of clips in a published list, in its order, as `clip_name` spells them.

    A text file with one clip a line, or a csv with the clip first; `vggsound.csv`
    itself is a list too. OSError or ValueError names the file and line where there is
    no list, no clip in it, or one of them twice.
    """
    return tuple(_named(path, table=Path(path).suffix.lower() == ".csv"))


def read_labels(path: str | Path) -> dict[str, str]:
    """The class of every clip, as {clip: class}.

    From `vggsound.csv` (YouTube id, start in seconds, class, train or test) or its
    `test.csv` (`<id>_<start>.mp4`, class). ValueError names a clip without a class.
    """
    labels = {}
    for clip, row in _named(path, table=True).items():
        label = row[2:3] if len(row) == 4 else row[1:]
        if len(label) != 1 or not label[0].strip():
            raise ValueError(
                f"{path}: {','.join(row)[:60]!r} is neither 'id,start,class,split' nor "
                "'clip,class'"
            )
        labels[clip] = label[0].strip()
    return labels


def classes_of(clips: Iterable[str], labels: Mapping[str, str]) -> frozenset[str]:
    """The set of classes of clips; ValueError where a clip has no label."""
    return frozenset(_label(clip, labels) for clip in clips)


def split_by_class(
    clips: Iterable[str], labels: Mapping[str, str], held_out: Iterable[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split clips into those of other classes and those of the classes `held_out`.

    Retrieval: `RETRIEVAL`, of the clips of `vggsound.csv` that are on disk. The paper
    has 169,923 and 20,304, nearly all of the release's `train_vggss_190228.txt`. Open
    set: `classes_of` the release's open-set training list are heard; its two test lists
    are so split from `test_vggss_4911.txt`, but for one class that is in neither.
    ValueError for a class held out that no label is, and for a clip without a label.
    """
    held_out = frozenset(held_out)
    unknown = sorted(held_out - set(labels.values()))
    if unknown:
        raise ValueError(
            f"{len(unknown)} of the {len(held_out)} held-out classes are the class of no clip: "
            f"{'; '.join(unknown[:5])}"
        )
    split: tuple[list, list] = [], []
    for clip in clips:
        split[_label(clip, labels) in held_out].append(clip)
    return tuple(split[0]), tuple(split[1])


def _label(clip, labels):
    if clip not in labels:
        raise ValueError(f"clip {clip!r} has no label among the {len(labels)} given")
    return labels[clip]


def _named(path, table):
    """{clip: cells} of the lines of a file, in order; blank lines are left out."""
    found = {}
    check_size(path)
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file) if table else ([line.strip()] for line in file)
            for number, row in enumerate(rows, 1):
                if not any(row):
                    continue
                if not table and ROW.fullmatch(row[0]):
                    raise ValueError(
                        f"line {number}: {row[0][:60]!r} is of a table, "
                        "whose name should end in .csv"
                    )
                clip = _clip_of(number, row)
                if clip in found:
                    raise ValueError(f"line {number}: {clip} is there a second time")
                found[clip] = row
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"no list at {path}: `sslnb download` fetches those that are published"
        ) from error
    except (ValueError, csv.Error) as error:  # UnicodeDecodeError is a ValueError
        raise ValueError(f"{path} is no list of clips: {error}; {FORMS}") from error
    if not found:
        raise ValueError(f"{path} is no list of clips: it is empty; {FORMS}")
    return found


def _clip_of(number, row):
    if len(row) == 4:  # vggsound.csv
        if not row[1].strip().isdecimal():
            raise ValueError(f"line {number}: {','.join(row)[:60]!r} has no start")
        row = [f"{row[0].strip()}_{int(row[1]):06d}"]
    try:
        return clip_name(row[0])
    except ValueError as error:
        raise ValueError(f"line {number}: {error}") from error
