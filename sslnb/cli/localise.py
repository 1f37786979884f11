"""Notebook 06: response maps of clips, their scores, and heatmaps over videos."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Group, Parameter
from cyclopts.types import PositiveFloat
from cyclopts.validators import Path as PathName

from sslnb.cli.options import (
    Annotations,
    Checkpoint,
    Device,
    Flag,
    Listed,
    Progress,
    Seed,
    SkipDamaged,
    bar,
    default,
    need,
    open_model,
)
from sslnb.files import CHECKPOINT

GROUP = Group("Localisation (notebook 06)", sort_key=4)
Protocol = Literal["lvs", "ezvsl", "slavc", "flickr"]
Sound = Literal["own", "another", "silence"]


def file(*endings):
    """A file to write whose name ends in one of these."""
    return Parameter(validator=PathName(ext=endings, dir_okay=False))


def maps(
    clips: Path,
    /,
    *,
    checkpoint: Checkpoint,
    out: Annotated[Path, file("npz")],
    annotations: Annotations = None,
    listed: Listed = None,
    sound: Sound = "own",
    seed: Annotated[Seed, Parameter(help="of the draw of other sounds")] = 0,
    skip_damaged: SkipDamaged = False,
    device: Device = "auto",
    progress: Progress = True,
):
    """A model's response maps of a folder of clips, to be scored.

    What has no map, and why, stands in a table beside the maps (.missing.tsv). With
    --annotations, only the annotated clips are taken. Maps with another sound or silence
    are for the listening test: `sslnb score --others`.

    Args:
        clips: folder of clips, in any of the field's layouts
        out: the .npz to write: clip name -> (h, w)
        sound: what each image is played; another: of a clip of another class, or of
            another source video where the class of a clip is not known
    """
    need(clips, checkpoint, annotations, listed)
    from sslnb.localise.respond import map_folder

    map_folder(
        open_model(checkpoint, device),
        clips,
        out,
        annotations,
        listed,
        skip_damaged,
        bar(progress, unit="clip"),
        sound,
        seed,
    )


def score(
    *,
    responses: Path,
    annotations: Path,
    protocol: Protocol = "lvs",
    median: Flag = False,
    negatives: Path | None = None,
    others: Annotated[list[Path] | None, Parameter(consume_multiple=True)] = None,
    threshold: Annotated[
        float | None, default("the median of the scored maps' medians")
    ] = None,
    out: Annotated[Path | None, file("csv", "tsv")] = None,
    seed: Annotated[Seed, Parameter(help="of the intervals")] = 0,
    progress: Progress = True,
):
    """Score anybody's response maps against published annotations.

    Args:
        responses: .npz of maps: clip name -> (h, w), of any size
        annotations: boxes: vggss.json, or a folder with one .xml a clip
        protocol: how a map becomes a mask
        median: slavc: threshold each map at its own median instead of a fixed 0.5
        negatives: .npz of maps of pairs without a visible sound: count false positives
        others: .npz of maps of the same clips with another sound, or several: how much of
            pointing, cIoU and AUC is due to listening
        threshold: of pIA, in units of the maps; choose it on other clips than these
        out: .csv or .tsv to write, with a row for each clip
    """
    need(responses, annotations, negatives, *(others or ()))
    from sslnb.localise.report import score_file

    print(
        score_file(
            responses,
            annotations,
            protocol,
            median,
            negatives,
            threshold,
            out,
            seed,
            others or (),
            bar(progress),
        )
    )
    if out:
        print(f"\nOne row a clip: {out}")


def video(
    video: Path,
    /,
    *,
    out: Annotated[Path, file("mp4")],
    checkpoint: Annotated[Checkpoint, default("the one that ships")] = CHECKPOINT,
    fps: Annotated[PositiveFloat | None, default("all")] = None,
    device: Device = "auto",
    progress: Progress = True,
):
    """A heatmap over a video: where the model hears each frame's sound.

    The sound is kept. Beside OUT lies a poster, the frame whose map points most clearly:
    its name ends in .png, and what has that name is overwritten. Colours mean the same
    cosine all through the video.

    Args:
        video: with sound, of any format that FFmpeg reads
        out: the .mp4 to write
        fps: frames a second to keep, at most
    """
    need(video, checkpoint)
    from sslnb.localise.video import heat_video

    found = heat_video(open_model(checkpoint, device), video, out, fps, bar(progress))
    print(
        f"{found.out}: {found.frames:,} frames, {found.seconds:.1f} s; dark is a "
        f"cosine of {found.low:.2f}, bright of {found.high:.2f}; its poster is "
        f"{found.poster}"
    )


COMMANDS = (maps, score, video)
