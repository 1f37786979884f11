"""What this machine has for the series, and what to do about each thing that is wrong.

    sslnb doctor              # everything
    sslnb doctor --quiet      # only what is not ok
    python sslnb/series/doctor.py --install    # before the install: will it work?

Ends with exit code 1 where something stops the series. This file needs nothing but
Python itself, so that it can tell what is missing.
"""

from __future__ import annotations  # an old Python must get as far as being told

import argparse
import importlib
import importlib.util
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = (
    "01_data_preparation",
    "02_augmentations",
    "03_invariance_loss",
    "04_equivariance_loss",
    "05_training",
    "06_localisation",
    "07_retrieval",
    "08_experiments",
)
APPENDIX = ("A1_field_data", "A2_protocols", "A3_full_scale")
TABLES = ("photos", "sounds", "backgrounds", "frames", "wild")
CHECKPOINT = ("model.safetensors", "model.json")
# GB: what is installed with CUDA, and without; an install needs downloads on the way
INSTALLED, INSTALLED_CPU = 6, 2.3
INSTALL, INSTALL_CPU = 9, 4
RUN = 1  # GB: pages, notebooks and checkpoints of a few runs
MEMORY = 6  # GB: the most that a run takes

OK, WARNING, PROBLEM = "ok", "warning", "problem"
AGAIN = "run `make install`; in conda, `python .ci/install.py --here`"
RESTORE = "restore it with `git checkout -- data notebooks`, or clone again"


@dataclass(frozen=True)
class Finding:
    """One line of the table: what was looked at, what is there, what to do."""

    what: str
    state: str
    found: str
    remedy: str = ""


def judge(
    what: str, right: bool, found: str, remedy: str, otherwise: str = PROBLEM
) -> Finding:
    """A Finding that is ok where `right`; else `otherwise`, with its remedy."""
    return (
        Finding(what, OK, found) if right else Finding(what, otherwise, found, remedy)
    )


# --- before the install: the system -----------------------------------------


def python(needed: tuple[int, ...] | None = None) -> Finding:
    """Is Python new enough?"""
    needed = needed or required_python()
    found = f"{platform.python_version()} at {sys.executable}"
    return judge(
        "Python",
        sys.version_info >= needed,
        found,
        f"need {'.'.join(map(str, needed))} or newer: install one and run "
        "`make clean`, then `make PYTHON=python3.12`, for one",
    )


def required_python() -> tuple[int, ...]:
    """The least Python as (3, 11), from pyproject.toml."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    least = text.partition('\nrequires-python = ">=')[2].partition('"')[0]
    return tuple(int(part) for part in least.split("."))


def can_make_environments() -> Finding:
    """Debian and Ubuntu ship venv and ensurepip in a package of their own."""
    missing = [
        name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None
    ]
    return judge(
        "venv",
        not missing,
        f"no {', '.join(missing)}" if missing else "there",
        "on Debian and Ubuntu: `sudo apt install python3-venv`, or "
        f"`python{sys.version_info.major}.{sys.version_info.minor}-venv`",
    )


def disk(needed: float, folder: Path = ROOT) -> Finding:
    """Free space where the project lies, in GB."""
    free = shutil.disk_usage(folder).free / 1e9
    remedy = f"need {needed} GB there: free some"
    if needed == INSTALL:
        remedy += (
            f", or install CPU-only packages, which take {INSTALL_CPU} GB: "
            "`make install TORCH=cpu`"
        )
    return judge("free disk", free >= needed, f"{free:.1f} GB", remedy)


def write_permission(folder: Path = ROOT) -> Finding:
    """Can runs/ be written?"""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return Finding("write permission", OK, str(folder))
    except OSError as error:
        return Finding(
            "write permission",
            PROBLEM,
            str(error),
            f"make {folder} yours (`sudo chown -R $USER .`), or clone it "
            "into a folder of your own",
        )


# --- the machine ------------------------------------------------------------


def machine() -> Iterator[Finding]:
    """Platform and cores."""
    cores = (
        len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else (os.cpu_count() or 1)
    )
    yield Finding("platform", OK, platform.platform())
    yield judge(
        "CPU cores",
        cores >= 2,
        str(cores),
        "times in the notebooks are for two: expect twice as long",
        WARNING,
    )


def memory() -> Finding:
    """Memory of the machine, or of the container around it."""
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.exists() and (text := limit.read_text().strip()).isdigit():
        size = min(size, int(text))
    return judge(
        "memory",
        size >= MEMORY * 1e9,
        f"{size / 1e9:.1f} GB",
        f"a run takes up to {MEMORY} GB: close what else is open, or train "
        "on fewer scenes (`sslnb run 05 -p scenes 1000`)",
        WARNING,
    )


# --- packages ---------------------------------------------------------------


def wanted() -> list[dict[str, str]]:
    """[{package: version}] of pyproject.toml: what the series needs, what its tests do.

    Without packages that only some systems have.
    """
    import tomllib

    with open(ROOT / "pyproject.toml", "rb") as file:
        project = tomllib.load(file)["project"]
    groups = project["dependencies"], project["optional-dependencies"]["test"]
    return [
        dict(line.split("==") for line in group if ";" not in line) for group in groups
    ]


def packages() -> Iterator[Finding]:
    """Each direct dependency: the version wanted and the version found."""
    for needed, group in zip((True, False), wanted()):
        for name, version in group.items():
            try:
                found = metadata.version(name)
            except metadata.PackageNotFoundError:
                yield Finding(
                    name,
                    PROBLEM if needed else WARNING,
                    f"missing; wanted {version}",
                    AGAIN + ("" if needed else " (only the tests need it)"),
                )
                continue
            right = found.split("+")[0] == version  # 2.11.0+cpu is 2.11.0
            yield judge(
                name,
                right,
                found if right else f"{found}; wanted {version}",
                f"results may differ: {AGAIN}",
                WARNING,
            )


def load(name: str) -> ModuleType:
    """A module, imported now: what is missing must not stop the doctor."""
    return importlib.import_module(name)


def torch_family() -> Finding:
    """Do torch, torchvision and torchaudio, which are compiled, fit each other?"""
    try:
        for name in ("torch", "torchvision", "torchaudio"):
            load(name)
    except Exception as error:  # a broken library can raise anything
        return Finding(
            "torch imports",
            PROBLEM,
            f"{name}: {error}",
            "the three must come from one index and fit: `make clean`, then "
            "`make install`",
        )
    return Finding("torch imports", OK, "torch, torchvision and torchaudio together")


def accelerator() -> Finding:
    """GPUs. None are needed."""
    torch = load("torch")
    if not torch.cuda.is_available():
        return Finding("accelerator", OK, "none; the series needs none")
    names = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]
    return Finding(
        "accelerator",
        OK,
        ", ".join(names) + " (numbers will differ a little "
        "from those stored, which a CPU made)",
    )


def bf16() -> Finding:
    """Does the CPU multiply in bf16, as training does?"""
    torch = load("torch")
    try:
        with torch.autocast("cpu", torch.bfloat16):
            nine = torch.conv2d(torch.ones(1, 1, 3, 3), torch.ones(1, 1, 3, 3))
        right = nine.dtype == torch.bfloat16 and nine.item() == 9
        found = "works" if right else f"gives {nine.dtype}, {nine.item():.3g} for 9"
    except RuntimeError as error:
        right, found = False, str(error)
    flags = Path("/proc/cpuinfo")
    if right and flags.exists():
        native = re.search(r"\b(amx_bf16|avx512_bf16|bf16)\b", flags.read_text())
        found += (
            f", in hardware ({native[1]})" if native else ", without hardware for it"
        )
    return judge(
        "bf16 on the CPU",
        right,
        found,
        'train with `precision="fp32"` (TrainConfig)',
        WARNING,
    )


# --- what ships: data and notebooks -----------------------------------------


def data(root: Path = ROOT / "data") -> Iterator[Finding]:
    """Are all tables, their files and the checkpoint there?"""
    missing, count = [], 0
    for name in TABLES:
        path = root / "soundstamps" / f"{name}.tsv"
        if not path.exists():
            missing.append(path)
            continue
        header, *rows = path.read_text(encoding="utf-8").splitlines()
        column = header.split("\t").index("file")
        files = [path.parent / row.split("\t")[column] for row in rows]
        missing += [
            file for file in files if not file.exists() or not file.stat().st_size
        ]
        count += len(files)
    yield judge(
        "data", not missing, f"{count} files, {_some(missing, root.parent)}", RESTORE
    )
    missing = [
        root / "checkpoint" / name
        for name in CHECKPOINT
        if not (root / "checkpoint" / name).exists()
    ]
    yield judge(
        "checkpoint",
        not missing,
        _some(missing, root.parent),
        f"{RESTORE}; 06 and 07 need it when they are opened alone",
        WARNING,
    )


def _some(missing: list[Path], root: Path) -> str:
    if not missing:
        return "complete"
    names = ", ".join(str(path.relative_to(root)) for path in missing[:3])
    return f"{len(missing)} missing or empty: {names}{' …' if len(missing) > 3 else ''}"


def notebooks(folder: Path = ROOT / "notebooks") -> Iterator[Finding]:
    """Are the notebooks there, and the appendices? Those stop nothing."""
    for what, names, where, otherwise in (
        ("notebooks", NOTEBOOKS, folder, PROBLEM),
        ("appendices", APPENDIX, folder / "appendix", WARNING),
    ):
        paths = [where / f"{name}.ipynb" for name in names]
        missing = [path for path in paths if not path.exists()]
        found = _some(missing, folder.parent)
        yield judge(what, not missing, found, RESTORE, otherwise)


def audio(root: Path = ROOT / "data") -> Finding:
    """Does libsndfile decode a recording as it should?"""
    paths = sorted((root / "soundstamps").glob("sounds/*.flac"))
    if not paths:
        return Finding("audio", WARNING, "no recording to try", RESTORE)
    try:
        wave, rate = load("soundfile").read(paths[0], dtype="int16")
    except ModuleNotFoundError as error:
        return Finding("audio", PROBLEM, str(error), AGAIN)
    except Exception as error:  # libsndfile is missing, or the file is damaged
        return Finding(
            "audio",
            PROBLEM,
            f"{paths[0].name}: {error}",
            f"{RESTORE}; where libsndfile is missing: `sudo apt install libsndfile1`",
        )
    return judge(
        "audio",
        rate == 16_000 and len(wave) > 0,
        f"{paths[0].name}: {len(wave)} samples at {rate} Hz",
        RESTORE,
    )


def kernel() -> Finding:
    """Does Jupyter's kernel `python3` run this very Python?"""
    try:
        spec = load("jupyter_client.kernelspec").get_kernel_spec("python3")
    except Exception as error:
        return Finding("Jupyter kernel", PROBLEM, f"no python3: {error}", AGAIN)
    started = spec.argv[0]
    # a bare name stands for the Python that Jupyter itself runs in
    same = os.path.basename(started) == started or Path(started).parent == (
        Path(sys.executable).parent
    )
    found = f"python3 runs {sys.executable if same else started}"
    return judge(
        "Jupyter kernel",
        same,
        found,
        f"another Python's kernel comes first: remove {spec.resource_dir}",
        WARNING,
    )


# --- all together -----------------------------------------------------------


def before_install(cpu: bool = False) -> list[Finding]:
    """Findings before anything is installed."""
    return [
        python(),
        can_make_environments(),
        disk(INSTALL_CPU if cpu else INSTALL),
        write_permission(),
    ]


def everything() -> Iterator[Finding]:
    """All findings, as they are found."""
    yield python()
    yield from machine()
    yield memory()
    yield disk(RUN)
    yield write_permission()
    if sys.version_info < required_python():
        return
    torch_there = True
    for finding in packages():
        torch_there &= not (finding.what == "torch" and finding.state == PROBLEM)
        yield finding
    if torch_there:
        family = torch_family()
        yield family
        if family.state == OK:
            yield accelerator()
            yield bf16()
    yield from data()
    yield from notebooks()
    yield audio()
    yield kernel()


def report(findings: Iterable[Finding], quiet: bool = False) -> int:
    """Print findings as they come; the exit code: 1 where one is a problem."""
    marks = {OK: "ok     ", WARNING: "WARNING", PROBLEM: "PROBLEM"}
    count = dict.fromkeys(marks, 0)
    remedy = ""
    for finding in findings:
        if remedy and remedy != finding.remedy:  # one for all lines that need it
            print(f"{'':<26} → {remedy}")
        remedy = finding.remedy
        count[finding.state] += 1
        if not quiet or finding.state != OK:
            print(
                f"{marks[finding.state]}  {finding.what:<17} {finding.found}",
                flush=True,
            )
    if remedy:
        print(f"{'':<26} → {remedy}")
    if not quiet:
        print(
            f"\n{count[OK]} ok, {count[WARNING]} warnings, {count[PROBLEM]} problems: "
            + ("something stops the series" if count[PROBLEM] else "the series can run")
        )
    return 1 if count[PROBLEM] else 0


def examine(quiet: bool = False, install: bool = False, cpu: bool = False) -> int:
    """Examine this machine, or only what an install needs, and print what is found.

    Returns the exit code: 1 where something stops the series. cpu: the install is of
    CPU-only packages.
    """
    if not (ROOT / "pyproject.toml").exists():
        raise FileNotFoundError(
            f"{ROOT} is not a clone of the repository, whose notebooks and data are "
            "needed too"
        )
    return report(before_install(cpu) if install else everything(), quiet)


def main(arguments: list[str] | None = None) -> int:
    """The command `sslnb doctor` where nothing is installed yet; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("quiet", "install", "cpu"):
        parser.add_argument(f"--{name}", action="store_true")
    return examine(**vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(main())
