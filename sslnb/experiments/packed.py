"""Columns of values as text, so that a result is one small JSON file (notebook 08).

>>> packed = pack(columns["ciou"])
>>> packed
{"steps": "PDxkAA…", "shape": [300]}
>>> unpack(packed)                              # (300,) of float64 again
"""

import base64
import math
from collections.abc import Mapping

import numpy as np

SMALL = 200  # steps in 1 for cIoU: 0.05 · k is one, so that every success is exact
FLOATS = {"float16": "<f2", "float32": "<f4"}


def pack(values: np.ndarray) -> dict:
    """Values of any shape as JSON: bits, bytes, steps of cIoU, or floats.

    Floats have half precision where that is exact to a thousandth, else single.
    """
    values = np.asarray(values)
    if values.dtype == bool:
        kind, data = "bits", np.packbits(values)
    elif values.dtype == np.uint8:
        kind, data = "bytes", values
    elif _are_steps(values):
        kind, data = "steps", np.round(values * SMALL).astype(np.uint8)
    else:
        kind = "float16" if _are_normal(values) else "float32"
        data = values.astype(FLOATS[kind])
    text = base64.b64encode(np.ascontiguousarray(data).tobytes()).decode()
    return {kind: text, "shape": list(values.shape)}


def unpack(packed: dict) -> np.ndarray:
    """Values back from `pack`: bool, uint8, or float64; ValueError for anything else."""
    try:
        return _unpacked(packed, packed["shape"])
    except (ValueError, TypeError, LookupError, AttributeError, StopIteration) as error:
        raise ValueError(f"no packed values: {packed!r:.80} ({error!r:.80})") from error


def _unpacked(packed, shape):
    if not all(type(side) is int and side >= 0 for side in shape):
        raise ValueError("the shape is no list of sizes")
    kind, text = next((k, v) for k, v in packed.items() if k != "shape")
    data = base64.b64decode(text)
    if kind == "bits":
        count = math.prod(shape)
        if len(data) != -(-count // 8):
            raise ValueError(f"{len(data)} bytes are not {count} bits")
        bits = np.unpackbits(np.frombuffer(data, np.uint8), count=count)
        return bits.astype(bool).reshape(shape)
    if kind == "bytes":
        return np.frombuffer(data, np.uint8).reshape(shape)
    if kind == "steps":
        return (np.frombuffer(data, np.uint8) / SMALL).reshape(shape)
    return np.frombuffer(data, FLOATS[kind]).astype(float).reshape(shape)


def pack_columns(columns: Mapping[str, np.ndarray]) -> dict[str, dict]:
    """Columns by name as JSON."""
    return {name: pack(values) for name, values in columns.items()}


def unpack_columns(columns: Mapping[str, dict]) -> dict[str, np.ndarray]:
    """Columns back from `pack_columns`."""
    return {name: unpack(values) for name, values in columns.items()}


def _are_steps(values):
    return bool(np.all((in_steps(values) == values) & (values >= 0) & (values <= 1)))


def _are_normal(values):
    """Whether half precision neither overflows nor loses digits of small values."""
    size, half = np.abs(values[values != 0]), np.finfo(np.float16)
    return bool(np.all((size >= half.smallest_normal) & (size <= half.max)))


def in_steps(values: np.ndarray) -> np.ndarray:
    """The nearest steps of cIoU."""
    return np.round(values * SMALL) / SMALL
