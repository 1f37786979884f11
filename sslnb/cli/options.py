"""Options that mean the same in every command."""

import errno
import os
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.types import PositiveFloat, PositiveInt


def default(text: str) -> Parameter:
    """How help words a default that is no plain value."""
    return Parameter(show_default=lambda _: text)


Flag = Annotated[bool, Parameter(negative=(), show_default=False)]
Split = Literal["train", "ladder", "frames", "val", "test", "unseen", "open", "wild"]

Seed = Annotated[int, Parameter(help="of everything random")]
Workers = Annotated[
    PositiveInt | None, Parameter(help="processes in parallel"), default("one a core")
]
Device = Annotated[
    Literal["auto", "cpu", "cuda"],
    Parameter(help="where to compute; auto: on a GPU where there is one"),
]
Checkpoint = Annotated[
    Path, Parameter(help="folder of a trained model, or the authors' .pth.tar")
]
Progress = Annotated[bool, Parameter(help="show progress bars")]
Listed = Annotated[
    Path | None,
    Parameter(name="--list", help="file of the clips to take, a name a line"),
    default("all"),
]
Annotations = Annotated[
    Path | None, Parameter(help="boxes: vggss.json, or a folder with one .xml a clip")
]
SkipDamaged = Annotated[
    Flag, Parameter(help="leave out what is missing or damaged, and list it")
]
FrameSize = Annotated[PositiveInt, Parameter(help="pixels of a frame's side")]
Seconds = Annotated[PositiveFloat, Parameter(help="seconds of sound of a clip")]


def need(*paths: Path | None) -> None:
    """FileNotFoundError for the first path that is missing, before torch is loaded."""
    for path in paths:
        if path is not None and not path.exists():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))


def bar(progress: bool, **settings):
    """What wraps an iterator in a progress bar, or leaves it as it is."""
    from functools import partial

    from tqdm import tqdm

    return partial(tqdm, disable=not progress, **settings)


def choose_device(device: str) -> str:
    """ "cpu" or "cuda"; ValueError where there is no GPU but one is asked for."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            "--device cuda: PyTorch finds no GPU here (`sslnb doctor` says what it "
            "finds); take --device cpu"
        )
    return "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"


def open_model(checkpoint: Path, device: str):
    """The trained model of --checkpoint on --device; says what of it is not used."""
    from sslnb.model import SoundLocaliser

    device = choose_device(device)
    model = SoundLocaliser.open(checkpoint)
    if model.leftover:
        print(f"Not used of {checkpoint}: {', '.join(model.leftover)}")
    return model.to(device)
