"""Notebook 01: from published lists and videos to clips, and from clips to a store."""

from pathlib import Path
from typing import Annotated

from cyclopts import CycloptsError, Group, Parameter
from cyclopts.types import PositiveInt

from sslnb.cli.errors import say
from sslnb.cli.options import (
    Annotations,
    Flag,
    FrameSize,
    Listed,
    Progress,
    Seconds,
    Seed,
    SkipDamaged,
    Split,
    Workers,
    default,
    need,
)

GROUP = Group("Data (notebook 01)", sort_key=2)


def download(*names: str, out: Path = Path("."), progress: Progress = True):
    """Lists and annotations from their authors, compared with their SHA-256.

    Without a name: what is published where.

    Args:
        names: of the files to fetch
        out: folder to write into
    """
    from sslnb.data.field.download import SOURCES, fetch, table

    unknown = [name for name in names if name not in SOURCES]
    if unknown:
        raise CycloptsError(
            msg=f"no published file {', '.join(unknown)}; known are {', '.join(SOURCES)}"
        )
    if not names:
        print(table())
    failed = 0
    for name in names:  # the others all the same where one fails
        try:
            print("{}: {}".format(*fetch(SOURCES[name], out, progress=progress)))
        except (OSError, ValueError) as error:
            say(f"error: {error}")
            failed = 1
    return failed


def prepare(
    videos: Path,
    /,
    *,
    out: Path,
    size: Annotated[PositiveInt | None, default("as in the video")] = None,
    strict: Flag = False,
    workers: Workers = None,
    progress: Progress = True,
):
    """From videos to clips: the centre frame and the sound, mono at 16 kHz, of each.

    VIDEOS holds VGGSound files, `<11-character id>_<start, 6 digits>.mp4` (.webm and
    .mkv too), in folders of any depth. Of each come OUT/frames/<clip>.jpg and
    OUT/audio/<clip>.wav. A run that was killed goes on by the same command. What
    failed, and why, is printed and stands in OUT/failed.tsv.

    Args:
        videos: folder of videos
        out: folder to write into
        size: pixels of a frame's shorter side, at most
        strict: exit with code 1 where a video gives no clip
    """
    from sslnb.data.field.prepare import prepare_videos

    report = prepare_videos(videos, out, workers, size, progress)
    print(report)
    if strict and report.failures:
        raise ValueError(
            f"{len(report.failures)} of the videos gave no clip, and --strict was "
            f"given; {out}/failed.tsv says why"
        )


def pack(
    clips: Path,
    /,
    *,
    out: Path,
    listed: Listed = None,
    annotations: Annotations = None,
    classes: Path | None = None,
    skip_damaged: SkipDamaged = False,
    size: FrameSize = 256,
    seconds: Seconds = 3.0,
    workers: Workers = None,
    progress: Progress = True,
):
    """Pack prepared clips into a store, which training opens at once.

    Args:
        clips: folder of clips, in any of the field's layouts
        out: folder of the store
        classes: vggsound.csv, for the labels
    """
    from sslnb.data.field.layouts import open_folder

    folder = open_folder(clips, annotations, classes, listed)
    print(folder.describe())
    from sslnb.data.store.clips import pack

    skipped = pack(folder, out, size, seconds, workers, skip_damaged, progress)
    _packed(out, skipped)


def scenes(
    *,
    out: Path,
    split: Split = "train",
    count: Annotated[PositiveInt | None, default("all of wild")] = None,
    size: FrameSize = 256,
    seconds: Seconds = 3.0,
    seed: Seed = 0,
    workers: Workers = None,
    progress: Progress = True,
):
    """Compose scenes of SoundStamps, and pack them into a store.

    Args:
        out: folder of the store
        split: of SoundStamps
        count: scenes; every split but wild needs it
    """
    if count is None and split != "wild":  # before torch is loaded
        raise ValueError(f"--count is missing: how many scenes of {split}?")
    from sslnb.data.store.clips import pack_scenes

    pack_scenes(split, count, out, size, seconds, seed, workers, progress)
    _packed(out, {})


def _packed(out, skipped):
    from sslnb.data.store.clips import open_store

    print(f"{out}: {len(open_store(out)):,} clips packed, {len(skipped):,} skipped")
    for name, why in skipped.items():
        print(f"  {name}: {why}")


def verify(
    path: Path,
    /,
    *,
    workers: Annotated[Workers, Parameter(help="threads in parallel")] = None,
    progress: Progress = True,
):
    """Compute checksums anew: of a packed store, or of a file that was downloaded.

    Args:
        path: folder of a store, or a published file
    """
    need(path)
    if path.is_dir():
        from sslnb.data.store.clips import verify as verify_store

        count = verify_store(path, workers, progress)
        print(f"{path}: {count:,} clips, every checksum right")
    else:
        from sslnb.data.field.download import verify as verify_file

        print(f"{path}: {verify_file(path)}")


COMMANDS = (download, prepare, pack, scenes, verify)
