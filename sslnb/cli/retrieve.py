"""Notebook 07: retrieval scores of a model."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import CycloptsError, Group
from cyclopts.types import PositiveInt

from sslnb.cli.options import (
    Checkpoint,
    Device,
    Listed,
    Progress,
    SkipDamaged,
    Split,
    bar,
    default,
    need,
    open_model,
)
from sslnb.files import CHECKPOINT

GROUP = Group("Retrieval (notebook 07)", sort_key=5)
BATCH = 32  # clips
SCENES = 300  # as in the notebook
FEWEST = 11  # clips: each is compared with its 10 best among the others


def retrieve(
    clips: Path | None = None,
    /,
    *,
    split: Split | None = None,
    checkpoint: Annotated[Checkpoint, default("the one that ships")] = CHECKPOINT,
    classes: Path | None = None,
    listed: Listed = None,
    skip_damaged: SkipDamaged = False,
    count: Annotated[PositiveInt | None, default(f"{SCENES}, or all of wild")] = None,
    seed: Annotated[int | None, default("0")] = None,
    average: Literal["query", "class"] = "query",
    device: Device = "auto",
    progress: Progress = True,
):
    """Score retrieval: sounds by sound, and images by sound (sections 4.3 and 4.4).

    The clips are those of a folder, or scenes of SoundStamps (--split). Each clip's
    sound is a query; the gallery is all other clips, right are those of its class. A@K:
    share of the queries with a right one among the first K; P@K: mean share of the
    first K that are right.

    Args:
        clips: folder of clips, in any of the field's layouts
        split: of SoundStamps, instead of a folder
        classes: vggsound.csv: the classes of a folder's clips
        count: scenes of --split
        seed: of the scenes that --split composes
        average: over all queries, or within every class and then over the classes
    """
    if (clips is None) == (split is None):
        raise CycloptsError(msg="give either a folder of CLIPS or --split")
    if split is None and count is not None:
        raise CycloptsError(
            msg="--count is for --split; --list names the clips of a folder"
        )
    if split is None and seed is not None:
        raise CycloptsError(msg="--seed is for --split: of a folder nothing is drawn")
    if split and (classes or listed or skip_damaged):
        raise CycloptsError(
            msg="--classes, --list and --skip-damaged are for a folder of CLIPS"
        )
    need(clips, checkpoint, classes, listed)
    from sslnb.retrieve import embed_clips, retrieval_scores

    model = open_model(checkpoint, device)
    if split:
        labels, batches = _scenes(model.config, split, count, seed or 0, progress)
    else:
        labels, batches = _folder(
            model.config, clips, classes, listed, skip_damaged, progress
        )
    sounds, images = embed_clips(model, batches)
    _check_number(len(labels))
    found = {
        name: retrieval_scores(
            sounds, gallery, labels, labels, exclude_self=True, average=average
        )
        for name, gallery in (("sounds by sound", sounds), ("images by sound", images))
    }
    print(f"{len(labels):,} clips of {len(set(labels)):,} classes, in per cent")
    alone = list(Counter(labels).values()).count(1)
    if alone:
        print(f"{alone:,} are alone in their class: nothing is right for them")
    print(" " * 16 + "".join(f"{name:>7}" for name in found["sounds by sound"]))
    for name, scores in found.items():
        print(f"{name:16}" + "".join(f"{100 * x:7.1f}" for x in scores.values()))


def _check_number(clips):
    if clips < FEWEST:
        raise ValueError(
            f"there are {clips} clips; need {FEWEST} or more: A@10 and P@10 are of the "
            "10 best among the others"
        )


def _scenes(config, split, count, seed, progress):
    """Labels of scenes, and batches of their images and waves."""
    from sslnb.data.clips import load_scenes

    count = count or (None if split == "wild" else SCENES)
    if count:
        _check_number(count)
    wrap = bar(progress, unit="scene", total=count)
    clips = load_scenes(
        split, count, config.image_size, config.audio.samples, seed, wrap
    )
    return clips.labels, zip(clips.images.split(BATCH), clips.waves.split(BATCH))


def _folder(config, root, classes, listed, skip_damaged, progress):
    """A list that takes the labels of a folder's clips as their batches are read."""
    from sslnb.data.field.layouts import open_folder
    from sslnb.localise.respond import read_batches

    folder = open_folder(root, classes=classes, names=listed)
    print(folder.describe())
    _check_number(len(folder.clips))
    unknown = [clip.name for clip in folder.clips if clip.label is None]
    if unknown:
        raise ValueError(
            f"the class of {len(unknown):,} clips is not known, of {unknown[0]} for "
            "instance: give --classes vggsound.csv (`sslnb download vggsound`)"
        )
    labels, damaged = [], {}

    def batches():
        wrap = bar(progress, unit="clip", total=len(folder.clips))
        for several, images, waves in read_batches(
            config, folder.clips, BATCH, damaged if skip_damaged else None, wrap
        ):
            labels.extend(clip.label for clip in several)
            yield images, waves
        for name, why in damaged.items():
            print(f"left out: {name}: {why}")

    return labels, batches()


COMMANDS = (retrieve,)
