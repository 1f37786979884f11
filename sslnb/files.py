"""Where what ships with the series lies; files that are there whole or not at all.

    >>> with whole("runs/metrics.json") as temporary:
    ...     temporary.write_text("{}")
"""

import os
from contextlib import contextmanager
from pathlib import Path

DATA = Path(__file__).resolve().parent.parent / "data"
CHECKPOINT = DATA / "checkpoint"  # a trained model


@contextmanager
def whole(path):
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
