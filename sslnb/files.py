"""Files that ship with the series, atomic writes and locks.

>>> with atomic_write("runs/metrics.json") as temporary:
...     temporary.write_text("{}")

>>> with locked("runs/.lock", "another run is using the folder runs"):
...     ...                               # only one process at a time gets here
"""

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent  # of the clone
DATA = ROOT / "data"
CHECKPOINT = DATA / "checkpoint"  # a trained model
HALF = CHECKPOINT / "half"  # the same after its first epoch
# What is raised where JSON or TOML of another form than expected is taken apart
MALFORMED = (ValueError, TypeError, LookupError, AttributeError, RecursionError)


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Write `path` by way of a temporary file beside it, renamed when the block ends.

    The block is given the temporary path, which has the same suffix. If it fails, or
    the process is killed, the file at `path` stays as it was. OSError, naming `path`,
    if it cannot be written, for example because the disk is full.
    """
    path = Path(path)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(
            f"{path} cannot be written ({error}); what was there before is intact"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def locked(path: str | Path, busy: str) -> Iterator[FileIO]:
    """The file `path`, open to read and append, and locked until the block ends.

    Unbuffered: what a full disk did not take is not written late, when it is closed.

    A missing file is created. BlockingIOError, with the message `busy`, if another
    process holds the lock. The lock of a process that is killed is released.
    """
    while True:
        with open(path, "a+b", buffering=0) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise BlockingIOError(busy) from error
            if _is_at(file, path):  # else its holder has deleted it: lock the new one
                yield file
                return


def _is_at(file: FileIO, path: str | Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def remove_leftovers(path: str | Path) -> None:
    """Delete the temporary files of processes that died within `atomic_write(path)`."""
    path = Path(path)
    for part in path.parent.iterdir():
        found = re.fullmatch(rf"\.(\d+)\.{re.escape(path.name)}", part.name)
        if found and not _is_running(int(found[1])):
            part.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)  # sends no signal, only checks whether it could
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # it belongs to another user
        pass
    return True
