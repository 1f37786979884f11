"""Files of response maps: clip name -> (h, w), in an .npz (notebook 06).

    >>> np.savez("maps.npz", **{"zpWuikVorYg_000032": response})
    >>> with open_maps("maps.npz") as maps:
    ...     read_map(maps, "zpWuikVorYg_000032")        # (h, w) float64

Nothing is unpickled, and a map is read when it is asked for: a file may be larger
than memory.
"""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from sslnb.data.field.annotations import SIZE, truth_of

UNREADABLE = (
    ValueError, TypeError, RuntimeError, EOFError, zlib.error, zipfile.BadZipFile,
)


def open_maps(path):
    """An .npz of maps, open: a mapping of clip name -> (h, w), and a context manager.

    ValueError where it is no .npz, holds nothing, or holds a clip twice.
    """
    how = "save maps with numpy.savez(path, **{clip: array of (h, w), …})"
    Path(path).stat()  # FileNotFoundError, where it would be no zip either
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path}: no .npz, or one that was cut short; {how}")
    maps = np.load(path, allow_pickle=False)
    seen, twice = set(), None
    for name in maps.files:
        twice = name if name in seen else twice
        seen.add(name)
    if twice or not seen:
        maps.close()
        raise ValueError(
            f"{path}: clip {twice!r} stands there twice; keep one map a clip"
            if twice else f"{path}: holds no map; {how}"
        )
    return maps


def read_map(maps, name, what="map"):
    """One map (h, w) of a mapping, in double precision; ValueError names the clip."""
    try:
        values = np.asarray(maps[name])
    except UNREADABLE as error:
        raise ValueError(
            f"{what} of clip {name!r} cannot be read ({error}); save a plain array of "
            "numbers"
        ) from None
    if values.ndim != 2 or 0 in values.shape or values.dtype.kind not in "fiub":
        raise ValueError(
            f"{what} of clip {name!r} has shape {values.shape} of {values.dtype}; need "
            "(h, w) of numbers, one map a clip: squeeze other axes away"
        )
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError(
            f"{what} of clip {name!r} holds NaN or infinity; look for a division by "
            "zero, such as normalising features that are all zero"
        )
    return values


def simulated_maps(annotations, side=14, skill=1.0, seed=0):
    """Maps (side, side) of a detector that does not exist: clip -> map, in [0, 1].

    A soft disc near the truth's middle, a tenth of the frame beside it at skill 1, in
    noise: for trying what a protocol does to a number.
    """
    rng = np.random.default_rng(seed)
    axis = (np.arange(side) + 0.5) / side
    maps = {}
    for name, annotation in annotations.items():
        rows, columns = truth_of(annotation).numpy().nonzero()
        centre = np.array([rows.mean(), columns.mean()]) / SIZE if len(rows) else 0.5
        y, x = centre + rng.normal(scale=0.1 / skill, size=2)
        distance = np.hypot(axis[:, None] - y, axis - x)
        bump = np.exp(-((distance / rng.uniform(0.2, 0.5)) ** 2))
        maps[name] = 0.8 * bump + 0.2 * rng.random((side, side))
    return maps
