"""A trained model as ONNX files, for programs without PyTorch (the book's live pages).

    >>> export(SoundLocaliser.load(CHECKPOINT), "model")
    >>> sorted(path.name for path in Path("model").iterdir())
    ['audio_encoder.onnx', 'encoders.json', 'image_encoder.onnx']

The two encoders of eq. 2 are a file each. Their cosine, eq. 3, is left to the reader of
the files, because an embedded sound then serves any number of images:

    image_encoder.onnx  image (1, 3, S, S), RGB in [0, 1], to features (1, C, h, w)
    audio_encoder.onnx  spectrogram (1, 1, F, T) to feature (1, C)
    encoders.json       sizes, and all that makes a wave a spectrogram: see `describe`

Normalisation is part of the image encoder, so that no other program needs to repeat it.
"""

import copy
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torchaudio
from torch import Tensor, nn

from sslnb.data.media import MEAN, AudioConfig, normalise
from sslnb.files import atomic_write
from sslnb.model import SoundLocaliser, evaluating, stride

OPSET = 18
FILES = {"image": "image_encoder.onnx", "audio": "audio_encoder.onnx"}
CARD = "encoders.json"


class ImageEncoder(nn.Module):
    """Images (1, 3, S, S) in [0, 1] to a unit vector a cell, (1, C, h, w)."""

    def __init__(self, model: SoundLocaliser):
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> Tensor:
        """Normalised and embedded: eq. 2."""
        return self.model.embed_image(normalise(image))


class AudioEncoder(nn.Module):
    """Spectrograms (1, 1, F, T) to unit vectors (1, C)."""

    def __init__(self, model: SoundLocaliser):
        super().__init__()
        self.model = model

    def forward(self, spectrogram: Tensor) -> Tensor:
        """Embedded: eq. 2."""
        return self.model.embed_audio(spectrogram)


def export(model: SoundLocaliser, folder: str | Path) -> list[Path]:
    """Write both encoders as ONNX, and encoders.json; the paths of the three files.

    Weights are in the files, and each file is written at once or not at all. RuntimeError where the packages of the extra
    `export` are missing; OSError if a file cannot be written.
    """
    folder, model = Path(folder), copy.deepcopy(model).cpu().eval()
    size, audio = model.config.image_size, model.config.audio
    image = torch.zeros(1, 3, size, size)
    sound = torch.zeros(1, 1, audio.n_mels, audio.frames)
    card = describe(model)
    graphs = {
        "image": _onnx(ImageEncoder(model), image, "image", "features"),
        "audio": _onnx(AudioEncoder(model), sound, "spectrogram", "feature"),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for kind, content in graphs.items():
        with atomic_write(folder / FILES[kind]) as path:
            path.write_bytes(content)
    with atomic_write(folder / CARD) as path:
        path.write_text(json.dumps(card) + "\n", encoding="utf-8")
    return [folder / name for name in (*FILES.values(), CARD)]


def describe(model: SoundLocaliser) -> dict[str, Any]:
    """What another program has to know, as plain values.

    image: `size` in pixels, `cells` a side of the map, `stride` in pixels a cell, and
    `mean`, the colour that normalises to 0, which transformed images have out of frame.
    audio: the fields of `AudioConfig`, `samples`, and `bands`, the mel filters: each has
    its `first` bin of the power spectrum and the `weights` from there on.
    """
    config = model.config
    images = torch.zeros(1, 3, config.image_size, config.image_size)
    images = images.to(next(model.parameters()).device)
    with evaluating(model):
        channels, *cells = model.embed_image(images).shape[1:]
    return {
        "channels": channels,
        "image": {
            "file": FILES["image"],
            "size": config.image_size,
            "cells": cells,
            "stride": stride(config),
            "mean": MEAN,
        },
        "audio": {
            "file": FILES["audio"],
            **asdict(config.audio),
            "samples": config.audio.samples,
            "bands": mel_bands(config.audio),
        },
    }


def mel_bands(config: AudioConfig) -> list[dict[str, Any]]:
    """The mel filters without their zeros: {"first": bin, "weights": [...]} for each.

    They are torchaudio's (HTK's scale, no normalisation); a filter between two bins has
    no weights.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="At least one mel filterbank")
        filters = torchaudio.functional.melscale_fbanks(
            config.n_fft // 2 + 1, 0.0, config.f_max, config.n_mels, config.sample_rate
        )  # (bins, bands)
    bands = []
    for column in filters.T:
        bins = column.nonzero().flatten().tolist()
        first, end = (bins[0], bins[-1] + 1) if bins else (0, 0)
        bands.append({"first": first, "weights": column[first:end].tolist()})
    return bands


def _onnx(module: nn.Module, example: Tensor, source: str, result: str) -> bytes:
    """A module as an ONNX file's content, without a trace of where it was made."""
    try:
        import onnxscript  # noqa: F401  torch's exporter needs it
    except ImportError as error:
        raise RuntimeError(
            f"the export needs a package that is missing ({error}): "
            "python -m pip install -e '.[export]'"
        ) from error
    with _quiet():
        program = torch.onnx.export(
            module,
            (example,),
            input_names=[source],
            output_names=[result],
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    # lines and paths of the code that each node comes from
    for part in (proto, proto.graph, *proto.graph.node, *proto.graph.value_info):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for part in (*proto.graph.input, *proto.graph.output, *proto.graph.initializer):
        part.ClearField("metadata_props")
    return proto.SerializeToString(deterministic=True)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch's exporter says about itself."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
