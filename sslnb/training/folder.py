"""The folder of a run: one run in it, and one process that writes (notebook 05).

    >>> with run_folder("runs/mine") as folder:
    ...     ...                                # FileExistsError where it holds a run

It holds the last two states (state-0007.safetensors …), the best model on validation
(model.safetensors, model.json) and metrics.jsonl. Nothing here loads torch, so that a
command can say at once that a folder is taken.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sslnb.files import locked

LOCK = ".lock"  # a file that is there, and locked, while a run is at work


def states(folder: Path) -> list[Path]:
    """Paths of the states in a run's folder, oldest first."""
    return sorted(folder.glob("state-*.safetensors"))


@contextmanager
def run_folder(folder: str | Path, resume: bool = False) -> Iterator[Path]:
    """The folder of a run, made where it is missing and locked until the block ends.

    BlockingIOError where another run is at work in it; FileExistsError where it holds
    a run and this one does not resume: nothing is overwritten.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK
    busy = (
        f"another run is at work in {folder}: wait for its end, or train into another "
        "folder (--out)"
    )
    with locked(path, busy):
        try:
            if not resume:
                refuse_another_run(folder)
            for name in ("state-*", "model.*", "metrics.*"):
                for part in folder.glob(f".[0-9]*.{name}"):
                    part.unlink()  # of a run that was killed while it wrote
            yield folder
        finally:
            path.unlink(missing_ok=True)


def files_of_run(folder: Path) -> list[Path]:
    """Paths of the files of a run in a folder: states, best model and metrics."""
    names = ("model.safetensors", "model.json", "metrics.jsonl")
    others = (folder / name for name in names)
    return states(folder) + [path for path in others if path.exists()]


def refuse_another_run(folder: Path) -> None:
    """FileExistsError where a folder holds a run already, at work or not."""
    found = [path.name for path in files_of_run(folder)]
    if found:
        resume = "resume it (--resume), " if states(folder) else ""
        raise FileExistsError(
            f"{folder} holds a run already ({', '.join(found)}): {resume}train into "
            "another folder (--out), or delete these files"
        )


def set_aside(folder: str | Path) -> Path | None:
    """Move a folder's run into a new folder inside it; its path, or None without a run.

    BlockingIOError where the run is still going on.
    """
    folder = Path(folder)
    if not files_of_run(folder):
        return None
    with run_folder(folder, resume=True):
        number = 1
        while (target := folder / f"earlier-{number}").exists():
            number += 1
        target.mkdir()
        for path in files_of_run(folder):
            path.rename(target / path.name)
    return target
