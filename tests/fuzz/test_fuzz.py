"""A short run of the fuzzer over every reader: see benchmarks/fuzz.py."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_every_reader_gives_right_results_or_documented_errors(tmp_path):
    pytest.importorskip("atheris", reason="atheris has no wheels for this machine")
    options = ("--inputs", "300", "--no-record", "--keep", str(tmp_path / "failed"))
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.fuzz", *options],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = re.findall(r"^(.+?) +300 inputs, +(\d+) right", done.stdout, re.MULTILINE)
    assert len(rows) == 20 and all(int(right) > 0 for _, right in rows)
