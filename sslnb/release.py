"""The weights that the paper's authors published, under our names (section 4.1).

    >>> model = SoundLocaliser.from_preset("paper")
    >>> found = read_release("vggsound144k.pth.tar", model.state_dict())
    >>> model.load_state_dict(found.state)
    >>> found.leftover                       # tensors that neither encoder uses
    ('imgnet.conv1_a.weight', 'imgnet.conv1_flow.weight', 'imgnet.fc.weight', …)

`SoundLocaliser.from_release` does this. The file is a pickle, which can contain code;
it is read with `weights_only`, so that no code in it ever runs. Both encoders have the
names of torchvision's ResNet-18 and three first convolutions, of which each uses one:
`conv1` for images, `conv1_a` for sounds.
"""

import re
import tarfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

# our encoder: the authors' name of it, and the first convolution that it uses
ENCODERS = {
    "image_encoder": ("imgnet", "conv1"),
    "audio_encoder": ("audnet", "conv1_a"),
}
UNUSED = ("conv1", "conv1_a", "conv1_flow", "fc")  # parts of an encoder left over
REMEDY = "download it again, and compare its size with that on the authors' page"
# The file also holds the best validation score, a numpy scalar. numpy unpickles scalars
# by a function that it names only here.
SCALAR: Any = np.float64().__reduce__()[0]
NUMBERS = [
    np.dtype,
    np.dtypes.Float64DType,
    SCALAR,
    (SCALAR, "numpy.core.multiarray.scalar"),  # its name before numpy 2
]


class Release(NamedTuple):
    """A checkpoint that the authors of the paper, or of LVS, published.

    state: its tensors under our names. leftover: the authors' names of those that
    neither encoder uses. source: whose layout it has, "release" (the paper's) or "LVS".
    """

    state: dict[str, Tensor]
    leftover: tuple[str, ...]
    source: str


def published_name(name: str) -> str:
    """The authors' name of one of our tensors.

    image_encoder.5.bn1.bias -> imgnet.layer1.1.bn1.bias
    """
    encoder, place, rest = name.split(".", 2)
    network, stem = ENCODERS[encoder]
    block = int(place) - 4  # convolution, norm, ReLU, pool; then two blocks per stage
    part = {-4: stem, -3: "bn1"}.get(block) or f"layer{block // 2 + 1}.{block % 2}"
    return f"{network}.{part}.{rest}"


def read_release(path: str | Path, template: dict[str, Tensor]) -> Release:
    """Read an authors' checkpoint, with the names and shapes of `template`.

    template: the state_dict of a "paper" model. The file is the paper's (`state_dict`)
    or LVS's (`model_state_dict`, with names that begin with `module.`).

    FileNotFoundError if there is no file. ValueError, which names what is wrong, if it
    is damaged, only partly downloaded, contains code, or holds another network: missing
    tensors, other shapes, values that are not finite, or blocks that a ResNet-18 does
    not have.
    """
    theirs, source = _tensors(Path(path))
    names = {name: published_name(name) for name in template}
    missing = [name for name in names.values() if name not in theirs]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ValueError(
            f"{path} lacks {missing[0]}{more} of the {len(names)} tensors of two "
            "ResNet-18s: it is damaged or holds another network"
        )
    state = {name: theirs[names[name]] for name in names}
    for name, value in state.items():
        shape = tuple(template[name].shape)
        if not isinstance(value, Tensor) or tuple(value.shape) != shape:
            found = getattr(value, "shape", type(value).__name__)
            found = tuple(found) if isinstance(found, torch.Size) else found
            raise ValueError(f"{path}: {names[name]} is {found}; need a tensor {shape}")
        if not value.isfinite().all():
            raise ValueError(f"{path}: {names[name]} has values that are not finite")
    leftover = tuple(name for name in theirs if name not in set(names.values()))
    for name in leftover:
        network, part, *_ = f"{name}.".split(".")
        if network in ("imgnet", "audnet") and part not in UNUSED:
            raise ValueError(
                f"{path} has {name}, which no ResNet-18 has: it holds another network"
            )
    return Release(state, leftover, source)


def _tensors(path: Path) -> tuple[dict[str, Any], str]:
    """The contents of a checkpoint by the authors' names, and whose layout it has."""
    values = _load(path)
    for key, source in (("state_dict", "release"), ("model_state_dict", "LVS")):
        if isinstance(values, dict) and isinstance(values.get(key), dict):
            tensors = values[key].items()
            return {str(name).removeprefix("module."): v for name, v in tensors}, source
    found = list(values) if isinstance(values, dict) else type(values).__name__
    raise ValueError(
        f"{path} holds {str(found)[:200]}; need `state_dict`, as in the paper's "
        "checkpoints, or `model_state_dict`, as in those of LVS"
    )


def _begins_as_tar(start: bytes) -> bool:
    """Not tarfile.is_tarfile, which reads as much as the file says, and may be lied to."""
    try:
        tarfile.TarInfo.frombuf(start, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def _load(path: Path) -> Any:
    """The contents of a torch.save file; only tensors and numbers are accepted."""
    if path.is_dir():
        raise ValueError(
            f"{path} is a folder; need the authors' file (SoundLocaliser.load reads "
            "the folders that `save` writes)"
        )
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is a pipe or a device; need the authors' file")
    try:
        with open(path, "rb") as file:
            start = file.read(tarfile.BLOCKSIZE)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"no checkpoint at {path}: download it from the authors' page, or train "
            "one (notebook 05)"
        ) from error
    if path.suffix == ".safetensors" or path.name == "model.json":
        raise ValueError(
            f"{path} is one file of a trained model: give the folder {path.parent}"
        )
    if start.startswith(b"version https"):
        raise ValueError(f"{path} is a Git LFS pointer: run `git lfs pull` there")
    if start.lstrip().startswith(b"<"):
        raise ValueError(
            f"{path} is a web page: open the link in a browser, and use the download "
            "button there"
        )
    if _begins_as_tar(start):  # torch.load would unpack it
        raise ValueError(
            f"{path} is an archive: unpack it (`tar -xf`), and give the file in it"
        )
    try:
        with torch.serialization.safe_globals(NUMBERS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle may raise anything
        code = re.search(r"GLOBAL (\S+)", str(error))
        if code:
            raise ValueError(
                f"{path} asks to run {code[1]}: that is code, not weights. It did not "
                "run; do not use this file"
            ) from error
        # before this stands torch's advice to load the file all the same
        told = str(error).rpartition("WeightsUnpickler error:")[2].strip()
        if not told or "weights_only" in told.splitlines()[0]:
            told = type(error).__name__
        raise ValueError(
            f"{path} is damaged or not a checkpoint: {REMEDY} "
            f"({told.splitlines()[0][:200]})"
        ) from error
