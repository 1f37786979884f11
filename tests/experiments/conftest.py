"""Small runs for the tests of the grid: a few epochs on a few clips."""

import subprocess
import sys
from pathlib import Path

import pytest

from sslnb.experiments import measure

ROOT = Path(__file__).resolve().parents[2]
# On half of the classes, what is measured is least
TINY = """
seeds = [0]
[base]
regime = "clips"
clips = 24
epochs = 3
batch = 8
[experiments]
both = ["A", "B"]
[variants]
A = { model = "A", half = "0a" }
B = { model = "B", half = "0b" }
C = { model = "A", half = "0z" }
"""


@pytest.fixture(scope="module")
def few_clips():
    """Sets of few clips, so that measuring in this process is fast."""

    def forget():
        measure.clips_of.cache_clear()
        measure._duets.cache_clear()

    with pytest.MonkeyPatch.context() as patch:
        for name, count in {"COUNT": 40, "HALVES": 30, "DUETS": 12, "MAPS": 3}.items():
            patch.setattr(measure, name, count)
        forget()
        yield
    forget()


@pytest.fixture
def tiny(tmp_path):
    """The file of a grid of two runs, A-0 and B-0, and of C-0, which fails."""
    path = tmp_path / "grid.toml"
    path.write_text(TINY, encoding="utf-8")
    return path


def command(folder, *arguments):
    """`sslnb experiments` on the grid of a folder, in a process group of its own."""
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "sslnb", "experiments", *arguments),
            *("--grid", folder / "grid.toml"),
            *("--out", folder / "out", "--work", folder / "work"),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """The folder of a grid that ran from beginning to end, and what it said."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "grid.toml").write_text(TINY, encoding="utf-8")
    process = command(folder, "both", "--jobs", "2")
    said, _ = process.communicate(timeout=500)
    assert process.returncode == 0, said
    return folder, said
