"""Install the series: the packages of lock/, each wheel checked against its hashes.

    python3 .ci/install.py                  # into .venv: `make install` does this
    python3 .ci/install.py --here           # where this Python is: conda, Binder
    python3 .ci/install.py --torch cuda     # or cpu; else whichever fits this machine

Without an NVIDIA GPU, PyTorch comes without CUDA, which is a third of the size, from
PyTorch's own server; from PyPI where that cannot be reached. This file needs nothing but
Python itself, of which an old one must get as far as being told.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "sslnb" / "series"))
import doctor  # noqa: E402

LOCK = ROOT / "lock"
PROBE = "https://download.pytorch.org/whl/cpu/torchaudio/"
SECONDS = 4  # for the probe
# Python and processor with hashes of all three wheels in lock/torch-cpu.txt
HASHED = {
    *(("aarch64", minor) for minor in (11, 12, 13)),
    *(("x86_64", minor) for minor in (12, 13)),
}


def has_nvidia() -> bool:
    """Is there a GPU that CUDA could run on?"""
    return bool(shutil.which("nvidia-smi")) or Path("/dev/nvidia0").exists()


def unreachable() -> str:
    """Why PyTorch's server does not answer; "" where it does."""
    request = urllib.request.Request(PROBE, headers={"User-Agent": "pip"})
    try:
        with urllib.request.urlopen(request, timeout=SECONDS):  # noqa: S310
            return ""
    except OSError as error:
        return str(getattr(error, "reason", error))


def torch(wanted: str) -> tuple[str, str]:
    """The lock of PyTorch to install, `torch-cpu` or `torch-pypi`, and why, in words.

    wanted: auto, cpu or cuda. ValueError where cpu is asked for and cannot be had.
    """
    if platform.system() != "Linux":
        return "torch-pypi", "PyPI's, which has no CUDA here"
    if wanted == "cuda":
        return "torch-pypi", "PyPI's, with CUDA, as asked for"
    if wanted == "auto" and has_nvidia():
        return "torch-pypi", "PyPI's, with CUDA: there is an NVIDIA GPU"
    machine, minor = platform.machine(), sys.version_info[1]
    why = ""
    if (machine, minor) not in HASHED:
        why = f"no CPU-only wheels with known hashes for Python 3.{minor} on {machine}"
    elif found := unreachable():
        why = f"no CPU-only wheels: download.pytorch.org cannot be reached ({found})"
    if why and wanted == "cpu":
        raise ValueError(why)
    if why:
        return "torch-pypi", f"PyPI's, with CUDA: {why}"
    return "torch-cpu", "CPU-only, of download.pytorch.org"


def pip(python: Path, *arguments: str) -> None:
    """Call pip; CalledProcessError where it fails."""
    quiet = [] if sys.stdout.isatty() else ["--quiet"]
    command = [python, "-m", "pip", "install", *quiet, "--disable-pip-version-check"]
    # each dependency stands in a lock: pip looks for no other
    subprocess.run([*command, "--no-deps", *arguments], cwd=ROOT, check=True)


def locked(python: Path, name: str) -> None:
    """Install a lock: wheels alone, of which none runs code, each with a known hash."""
    file = str(LOCK / f"{name}.txt")
    pip(python, "--require-hashes", "--only-binary", ":all:", "--requirement", file)


def main(arguments: list[str] | None = None) -> int:
    """Look whether an install can work, and do it; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--torch", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--here", action="store_true")
    options = parser.parse_args(arguments)
    try:
        which, why = torch(options.torch)
    except ValueError as error:
        print(f"error: {error}; leave out TORCH=cpu to take PyPI's, with CUDA")
        return 1
    cpu = which == "torch-cpu" or platform.system() != "Linux"
    if doctor.examine(quiet=True, install=True, cpu=cpu):
        return 1
    print(f"PyTorch: {why}.")
    size = doctor.INSTALLED_CPU if cpu else doctor.INSTALLED
    print(f"Installing: 2 to 15 minutes, {size} GB.", flush=True)
    python = Path(sys.executable)
    try:
        if not options.here:
            folder = ROOT / ".venv"
            subprocess.run([python, "-m", "venv", folder], check=True)
            python = folder / "bin" / "python"
        locked(python, which)
        locked(python, "packages")
        # the series itself has no hash: it is this clone
        pip(python, "--no-build-isolation", "--editable", ".")
    except subprocess.CalledProcessError:
        print(
            "error: the install stopped, see above. Without a network it cannot work;"
        )
        print("what is downloaded already is kept, so simply run it again.")
        return 1
    return 0


if __name__ == "__main__":
    os.environ["PYTHONNOUSERSITE"] = "1"
    sys.exit(main())
