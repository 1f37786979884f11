"""Notebook 05: training, in one process or under torchrun in many."""

import os
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict

from cyclopts import CycloptsError, Group, Parameter
from cyclopts.types import PositiveInt

from sslnb.cli.errors import in_one_line
from sslnb.cli.options import Device, Flag, Listed, Progress, SkipDamaged, bar, need
from sslnb.training.folder import LOCK, refuse_another_run
from sslnb.training.recipe import VAL_CLIPS, TrainConfig

GROUP = Group("Training (notebook 05)", sort_key=3)
DATA = Group("Data", sort_key=1)
SETTINGS = Group("Settings", sort_key=2)


def _help(field):
    """A setting's help, with its default: of both presets where they differ."""
    laptop, paper = (
        getattr(TrainConfig.from_preset(preset), field.name)
        for preset in ("laptop", "paper")
    )
    paper = "" if paper == laptop or field.name == "preset" else f"; paper: {paper}"
    return f"{field.metadata['help']} [default: {laptop}{paper}]"


# Every field of TrainConfig is an option; those that are given make a dict.
if TYPE_CHECKING:
    Settings = dict[str, Any]
else:
    Settings = TypedDict(
        "Settings",
        {
            field.name: Annotated[
                field.type, Parameter(help=_help(field), consume_multiple=True)
            ]
            for field in fields(TrainConfig)
        },
        total=False,
    )


def train(
    *,
    out: Path,
    resume: Flag = False,
    start: Path | None = None,
    compile: Flag = False,
    device: Device = "auto",
    progress: Progress = True,
    data: Annotated[
        Literal["soundstamps", "vggsound", "packed"], Parameter(group=DATA)
    ] = "soundstamps",
    root: Annotated[Path | None, Parameter(group=DATA)] = None,
    listed: Annotated[Listed, Parameter(group=DATA)] = None,
    skip_damaged: Annotated[SkipDamaged, Parameter(group=DATA)] = False,
    benchmark: Annotated[Path | None, Parameter(group=DATA)] = None,
    allow_leaks: Annotated[Flag, Parameter(group=DATA)] = False,
    scenes: Annotated[PositiveInt | None, Parameter(group=DATA)] = None,
    val_clips: Annotated[PositiveInt, Parameter(group=DATA)] = VAL_CLIPS,
    threads: Annotated[PositiveInt, Parameter(group=DATA)] = 2,
    settings: Annotated[Settings | None, Parameter(name="*", group=SETTINGS)] = None,
):
    """Train a model; under torchrun, on many GPUs.

    Several processes: `torchrun --nproc_per_node=8 -m sslnb train …`; --batch is then
    of all of them together.

    Args:
        out: folder for this run alone
        resume: go on with the run in --out, from its last complete state
        start: begin with the weights of this model (a run's folder, or the authors'
            file) instead of random ones
        compile: compile the encoders by torch.compile first; in one process only
        data: scenes composed now, a folder of prepared clips, or a packed store
        root: where the clips or the store lie
        benchmark: annotations of the clips that will be scored: training on one of
            them is refused
        allow_leaks: train on them all the same
        scenes: of SoundStamps, to train on; by default those of --regime
        val_clips: by which the best epoch is chosen
        threads: that read clips ahead, where they do not fit on the GPU
    """
    try:
        config = TrainConfig.from_preset(**{"preset": "laptop", **(settings or {})})
    except ValueError as error:
        raise CycloptsError(msg=str(error)) from error
    if data != "soundstamps" and root is None:
        raise CycloptsError(msg=f"--data {data}: --root must say where it lies")
    if data != "soundstamps" and scenes:
        raise CycloptsError(
            msg=f"--scenes is of no use to --data {data}, which trains on all its clips: "
            "leave it out, or take --data soundstamps"
        )
    need(root, listed, start, benchmark)
    if not resume and not (out / LOCK).exists():  # again once it is locked
        refuse_another_run(out)
    if device == "cpu":  # before torch looks for them
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    from sslnb.cli.options import choose_device
    from sslnb.training import parallel

    choose_device(device)
    # at once: where another process is lost, this one has little time
    with parallel.process_group(), in_one_line():
        _train(
            config,
            out,
            resume,
            start,
            compile,
            progress,
            benchmark,
            allow_leaks,
            threads,
            data=data,
            root=root,
            listed=listed,
            skip_damaged=skip_damaged,
            scenes=scenes,
            regime=config.regime,
            val_clips=val_clips,
        )


def _train(
    config,
    out,
    resume,
    start,
    compile,
    progress,
    benchmark,
    allow_leaks,
    threads,
    **data,
):
    """Train in this process; the first prints the metrics of every epoch."""
    from sslnb.data.field.annotations import read_annotations
    from sslnb.training import parallel
    from sslnb.training.clips import load_training
    from sslnb.training.loop import train

    first = parallel.is_main()
    steps = bar(progress and first, unit="step", leave=False)
    tested = read_annotations(benchmark) if benchmark else {}  # before hours of packing
    scenes = bar(first, unit="scene", leave=False) if progress else None
    clips, val = load_training(config.preset, **data, progress=scenes)
    if first and not tested and data["data"] != "soundstamps":
        print(
            "Not checked for leaks: give --benchmark, the annotations of what the "
            "model will be scored on."
        )
    run = (config, clips, val, out, resume, steps, tested, allow_leaks, threads)
    for metrics in train(*run, compile, start or ""):
        if first:
            print("  ".join(f"{k} {v:.4g}" for k, v in metrics.items()), flush=True)


COMMANDS = (train,)
