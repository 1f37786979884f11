"""Which notebooks there are; loads nothing, so that a wrong name is said at once.

>>> [path.stem for path in notebooks(["5", "A1"])]
['05_training', 'A1_field_data']
"""

from collections.abc import Sequence
from pathlib import Path

from sslnb.files import ROOT

NOTEBOOKS = ROOT / "notebooks"


def notebooks(chosen: Sequence[str] = ()) -> list[Path]:
    """Paths of the series in order, appendices last, or of those chosen.

    chosen: numbers (5, 05, A1), names of files, or paths, which have a slash. ValueError
    for what is none of the series.
    """
    every = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
    every += sorted(NOTEBOOKS.glob("appendix/A[0-9]_*.ipynb"))
    if not every:
        raise ValueError(f"no notebooks in {NOTEBOOKS}; run from a clone")
    for given in chosen:
        if not any(_is_called(path, given) for path in every):
            known = ", ".join(path.stem for path in every)
            raise ValueError(f"no notebook {given!r} in {NOTEBOOKS}; known are {known}")
    return [p for p in every if not chosen or any(_is_called(p, n) for n in chosen)]


def _is_called(path: Path, given: str) -> bool:
    if "/" in given:
        return Path(given).resolve() == path.resolve()
    name = given.zfill(2) if given.isdigit() else Path(given).stem
    return name in (path.stem, path.name[:2])
