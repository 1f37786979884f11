"""The model for programs without Python."""

from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter

from sslnb.cli.errors import say
from sslnb.cli.options import default, need, open_model
from sslnb.files import CHECKPOINT

GROUP = Group("The model elsewhere", sort_key=7)


def export(
    checkpoint: Annotated[
        Path,
        Parameter(help="folder of a trained model, or the authors' .pth.tar"),
        default("the one that ships"),
    ] = CHECKPOINT,
    /,
    *,
    out: Path,
):
    """A model's two encoders as ONNX, for the browser and other programs.

    Writes image_encoder.onnx, audio_encoder.onnx and encoders.json, which says what they
    take and how a wave becomes a spectrogram. `python book/live/build.py` makes web pages
    of them.

    Args:
        out: folder to write to
    """
    need(checkpoint)
    say(f"tracing both encoders of {checkpoint}: some seconds")
    from sslnb.export import export as export_model

    for path in export_model(open_model(checkpoint, "cpu"), out):
        print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")


COMMANDS = (export,)
