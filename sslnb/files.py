"""Where what ships with the series lies; files that are there whole or not at all.

    >>> with atomic_write("runs/metrics.json") as temporary:
    ...     temporary.write_text("{}")

    >>> with locked("runs/.lock", "another run is at work in runs"):
    ...     ...                                   # this process alone gets here
"""

import fcntl
import os
import re
from contextlib import contextmanager
from pathlib import Path

DATA = Path(__file__).resolve().parent.parent / "data"
CHECKPOINT = DATA / "checkpoint"  # a trained model


@contextmanager
def atomic_write(path):
    """A temporary path beside `path`, with its ending, that takes its name at the end.

    Where the block fails, or the process is killed, what stood at `path` is as it was.
    OSError names a path that cannot be written, a full disk for one.
    """
    path = Path(path)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(
            f"{path} cannot be written ({error}); what stood there before is intact"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def locked(path, busy):
    """The file `path`, open to read and append to, and locked until the block ends.

    It is made where it is missing. BlockingIOError, with `busy` as its message, where
    another run holds the lock; a process that is killed loses its lock.
    """
    while True:
        with open(path, "a+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise BlockingIOError(busy) from error
            if _lies_at(file, path):  # else its holder deleted it: lock the new one
                yield file
                return


def _lies_at(file, path):
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def remove_leftovers(path):
    """Delete what a process that was killed within `atomic_write(path)` left beside `path`."""
    path = Path(path)
    for part in path.parent.iterdir():
        found = re.fullmatch(rf"\.(\d+)\.{re.escape(path.name)}", part.name)
        if found and not _runs(int(found[1])):
            part.unlink(missing_ok=True)


def _runs(process):
    try:
        os.kill(process, 0)  # no signal: only asks whether it could be sent
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # somebody else's
        pass
    return True
