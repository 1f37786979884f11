"""Weights that the paper's authors published, under our names (section 4.1).

    >>> model = SoundLocaliser.from_preset("paper")
    >>> found = read_release("vggsound144k.pth.tar", model.state_dict())
    >>> model.load_state_dict(found.state)
    >>> found.leftover                       # what neither encoder uses
    ('imgnet.conv1_a.weight', 'imgnet.conv1_flow.weight', 'imgnet.fc.weight', …)

`SoundLocaliser.from_release` does this. Their file is a pickle, which can carry
programs; it is read with `weights_only`, so that none of it is ever run. Both
encoders are torchvision's ResNet-18 by name, each with three stems, of which it
uses one: `conv1` for pictures, `conv1_a` for sounds.
"""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

# Ours: theirs, and the stem that it uses.
ENCODERS = {"image_encoder": ("imgnet", "conv1"), "audio_encoder": ("audnet", "conv1_a")}
UNUSED = ("conv1", "conv1_a", "conv1_flow", "fc")  # parts of an encoder left over
REMEDY = "fetch it again, and compare its size with that on the authors' page"
# The best score until then lies beside the weights, as a number of numpy's.
NUMBERS = [
    np.dtype, np.dtypes.Float64DType, np._core.multiarray.scalar,
    (np._core.multiarray.scalar, "numpy.core.multiarray.scalar"),  # before numpy 2
]


class Release(NamedTuple):
    """`state`: tensors by our names; `leftover`: names in the file that nothing uses;
    `source`: whose layout it has, "release" (the paper's) or "LVS"."""

    state: dict
    leftover: tuple
    source: str


def published_name(name):
    """The authors' name of a tensor of ours.

        image_encoder.5.bn1.bias -> imgnet.layer1.1.bn1.bias
    """
    encoder, place, rest = name.split(".", 2)
    network, stem = ENCODERS[encoder]
    block = int(place) - 4  # after stem, norm, ReLU and pool: eight blocks, two a stage
    part = {-4: stem, -3: "bn1"}.get(block) or f"layer{block // 2 + 1}.{block % 2}"
    return f"{network}.{part}.{rest}"


def read_release(path, template):
    """An authors' checkpoint as a Release, with the names and shapes of `template`.

    template: the state of a "paper" model. The file is the paper's (`state_dict`) or
    LVS's (`model_state_dict`; names begin with `module.`). FileNotFoundError where
    there is none; ValueError for a file that is damaged, was not fetched, carries
    code, or holds another network: missing tensors, wrong shapes, values that are
    not finite, and blocks that a ResNet-18 does not have are named.
    """
    theirs, source = _tensors(Path(path))
    names = {name: published_name(name) for name in template}
    missing = [name for name in names.values() if name not in theirs]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ValueError(
            f"{path} lacks {missing[0]}{more} of the {len(names)} tensors of two "
            "ResNet-18: it is damaged or of another network"
        )
    state = {name: theirs[names[name]] for name in names}
    for name, value in state.items():
        shape = tuple(template[name].shape)
        if not isinstance(value, torch.Tensor) or tuple(value.shape) != shape:
            found = getattr(value, "shape", type(value).__name__)
            found = tuple(found) if isinstance(found, torch.Size) else found
            raise ValueError(f"{path}: {names[name]} is {found}; need a tensor {shape}")
        if not value.isfinite().all():
            raise ValueError(f"{path}: {names[name]} holds values that are not finite")
    leftover = tuple(name for name in theirs if name not in set(names.values()))
    for name in leftover:
        network, part, *_ = f"{name}.".split(".")
        if network in ("imgnet", "audnet") and part not in UNUSED:
            raise ValueError(
                f"{path} holds {name}, which no ResNet-18 has: it is of another network"
            )
    return Release(state, leftover, source)


def _tensors(path):
    """What a checkpoint holds by the authors' names, and whose layout that is."""
    values = _load(path)
    for key, source in (("state_dict", "release"), ("model_state_dict", "LVS")):
        if isinstance(values, dict) and isinstance(values.get(key), dict):
            tensors = values[key].items()
            return {str(name).removeprefix("module."): v for name, v in tensors}, source
    found = list(values) if isinstance(values, dict) else type(values).__name__
    raise ValueError(
        f"{path} holds {str(found)[:200]}; need `state_dict`, as the paper's authors "
        "write it, or `model_state_dict`, as those of LVS do"
    )


def _load(path):
    """What a file of torch.save holds, were it tensors and numbers alone."""
    if path.is_dir():
        raise ValueError(
            f"{path} is a folder; need the authors' file (a folder of our own is what "
            "SoundLocaliser.load reads)"
        )
    try:
        with open(path, "rb") as file:
            start = file.read(64)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"no checkpoint at {path}: fetch it from the authors' page, or train one "
            "(notebook 05)"
        ) from error
    if start.startswith(b"version https"):
        raise ValueError(f"{path} is a pointer of git-lfs: run `git lfs pull` there")
    if start.lstrip().startswith(b"<"):
        raise ValueError(
            f"{path} is a web page: open the link in a browser, and save what the "
            "button for downloading gives"
        )
    try:
        with torch.serialization.safe_globals(NUMBERS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle fails in any way there is
        code = re.search(r"GLOBAL (\S+)", str(error))
        if code:
            raise ValueError(
                f"{path} asks to run {code[1]}: that is code, not weights. It was not "
                "run; do not use this file"
            ) from error
        why = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(
            f"{path} is damaged or no checkpoint: {REMEDY} ({why[0][:200]})"
        ) from error
