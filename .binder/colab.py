"""Colab: install those packages of pyproject.toml that are not there yet.

The first cell of a notebook calls this after it has fetched the series. What Colab
brings stays as it is, PyTorch above all, which is gigabytes; so numbers may differ
from the stored ones in their last digits. Colab is its own server and kernel.
"""

import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

SERVER = {"jupyterlab", "ipykernel", "papermill", "nbconvert"}


def missing(packages: Iterable[str]) -> Iterator[str]:
    """Those of `name==version` that are not installed in any version."""
    for package in packages:
        name = package.split("==")[0]
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            if name not in SERVER:
                yield package


if __name__ == "__main__":
    text = Path(__file__).parents[1].joinpath("pyproject.toml").read_text("utf-8")
    needed = list(missing(tomllib.loads(text)["project"]["dependencies"]))
    if needed:
        pip = [sys.executable, "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, *needed], check=True)
