"""Folders of any depth, with what links lead to (appendix A1).

>>> sorted(entry.name for entry in walk("videos") if entry.name.endswith(".mp4"))
"""

import os
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path


def walk(
    top: str | Path, enter: Callable[[os.DirEntry], bool] = lambda entry: True
) -> Iterator[os.DirEntry]:
    """What lies in a folder, and in its folders that `enter` takes, at any depth.

    Folders that are entered are not yielded. Links to folders are followed, after
    everything else; each folder is read once, however many links lead to it, so that no
    circle of them is without end. OSError names a folder that cannot be read.
    """
    waiting = deque([(os.fspath(top), os.path.realpath(top))])
    seen = set()
    while waiting:
        folder, real = waiting.popleft()
        if real in seen:
            continue
        seen.add(real)
        with os.scandir(folder) as entries:
            for entry in entries:
                if not enter(entry):
                    yield entry
                elif entry.is_dir(follow_symlinks=False):
                    waiting.appendleft((entry.path, os.path.join(real, entry.name)))
                elif entry.is_symlink() and os.path.isdir(entry.path):
                    waiting.append((entry.path, os.path.realpath(entry.path)))
                else:
                    yield entry
