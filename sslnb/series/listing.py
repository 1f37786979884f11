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

    chosen: numbers (5, 05, A1) or names of files. ValueError where there is none.
    """
    every = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
    every += sorted(NOTEBOOKS.glob("appendix/A[0-9]_*.ipynb"))
    if not every:
        raise ValueError(f"no notebooks in {NOTEBOOKS}; run from a clone")
    names = [n.zfill(2) if n.isdigit() else Path(n).stem for n in chosen]
    for given, name in zip(chosen, names, strict=True):
        if not any(path.stem == name or path.name[:2] == name for path in every):
            known = ", ".join(path.stem for path in every)
            raise ValueError(f"no notebook {given!r}; known are {known}")
    return [p for p in every if not names or p.stem in names or p.name[:2] in names]
