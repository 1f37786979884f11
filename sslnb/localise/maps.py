"""Files of response maps: clip name -> (h, w), in an .npz (notebook 06).

    >>> np.savez("maps.npz", **{"zpWuikVorYg_000032": response})
    >>> with open_maps("maps.npz") as maps:
    ...     read_map(maps, "zpWuikVorYg_000032")        # (h, w) float64

Nothing is unpickled, and a map is read when it is asked for: a file may be larger
than memory.
"""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from sslnb.data.field.annotations import SIZE, Annotation, truth_of

LARGEST = 2**28  # bytes of a map: 5,792 × 5,792 cells of double precision


def open_maps(path: str | Path):
    """Open an .npz of maps: a mapping of clip name -> (h, w), and a context manager.

    ValueError where it is no .npz, holds nothing, holds a clip twice, or a map of more
    than `LARGEST` bytes: a small file may unpack to more than there is memory.
    """
    how = "save maps with numpy.savez(path, **{clip: array of (h, w), …})"
    Path(path).stat()  # FileNotFoundError, where it would be no zip either
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path}: no .npz, or a truncated one; {how}")
    try:
        maps = np.load(path, allow_pickle=False)
    except Exception as error:  # numpy and zipfile raise much on a damaged file
        raise ValueError(
            f"{path}: no .npz, or a damaged one ({error}); {how}"
        ) from error
    if not isinstance(maps, np.lib.npyio.NpzFile):
        raise ValueError(f"{path}: a single array; {how}")
    seen, twice = set(), None
    for name in maps.files:
        twice = name if name in seen else twice
        seen.add(name)
    if twice or not seen:
        maps.close()
        raise ValueError(
            f"{path}: clip {twice!r} is in it twice; keep one map a clip"
            if twice
            else f"{path}: holds no map; {how}"
        )
    assert maps.zip is not None  # it is open
    for entry in maps.zip.infolist():
        if entry.file_size > LARGEST:
            maps.close()
            raise ValueError(
                f"{path}: {entry.filename!r:.80} holds {entry.file_size:,} bytes; need a map "
                f"of at most {LARGEST:,}"
            )
    return maps


def read_map(maps: Mapping, name: str, what: str = "map") -> np.ndarray:
    """One map (h, w) of a mapping, in double precision; ValueError names the clip."""
    try:
        values = np.asarray(maps[name])
    except Exception as error:  # numpy and zipfile raise much on a damaged file
        raise ValueError(
            f"{what} of clip {name!r} cannot be read ({str(error)[:200]}); save a plain "
            "array of numbers"
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


def simulated_maps(
    annotations: Mapping[str, Annotation],
    side: int = 14,
    skill: float = 1.0,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Maps (side, side) of a simulated detector: clip -> map, in [0, 1].

    A soft disc whose centre misses that of the ground truth by a tenth of the image (at
    skill 1), in noise: to try what a protocol does to a score.
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
