"""Installing: versions, hashes, which PyTorch, and that imports are in the metadata."""

import ast
import hashlib
import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
import tomllib
import urllib.error
import zipfile
from contextlib import suppress
from importlib import metadata
from itertools import product
from pathlib import Path

import pytest
import yaml
from packaging.markers import Marker
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
EXTRAS = PROJECT["optional-dependencies"]
DIRECT = PROJECT["dependencies"] + [line for group in EXTRAS.values() for line in group]
ENTRY = re.compile(
    r"(\S+)==(\S+)(?: ; ([^\\]+?))?((?: \\\n    --hash=sha256:\w{64})+)\n"
)


def load(path):
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


install = load(".ci/install.py")
sys.path.insert(0, str(ROOT / ".ci"))  # its files import each other
lock, audit, newest = load(".ci/lock.py"), load(".ci/audit.py"), load(".ci/newest.py")
sys.path.pop(0)


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def names(lines):
    return {normal(Requirement(line).name) for line in lines}


def locked(name):
    """[(name, version, marker or None)] of a lock; each entry must be read."""
    text = (ROOT / "lock" / f"{name}.txt").read_text()
    text = "".join(x for x in text.splitlines(True) if not x.startswith(("#", "--i")))
    assert not ENTRY.sub("", text), "a line without hashes, or in another form"
    return [(n, v, Marker(m) if m else None) for n, v, m, _ in ENTRY.findall(text)]


# --- versions ---------------------------------------------------------------


def test_every_version_that_is_chosen_is_exact_and_locked():
    pins = {(n, v) for name in ("packages", "torch-pypi") for n, v, _ in locked(name)}
    for line in DIRECT:
        needed = Requirement(line)
        (exact,) = needed.specifier
        assert exact.operator == "==", line
        assert (normal(needed.name), exact.version) in pins, f"{line}: run `make lock`"


def test_without_cuda_the_versions_are_the_same():
    pypi = {n: v for n, v, _ in locked("torch-pypi")}
    cpu = locked("torch-cpu")
    assert {n for n, _, _ in cpu} == {"torch", "torchvision", "torchaudio"}
    assert all(version == pypi[name] + "+cpu" for name, version, _ in cpu)


def test_a_lock_names_each_package_once_and_one_address():
    for python, machine in product(("3.11.2", "3.12.0", "3.13.0"), ("x86_64", "arm64")):
        system = {"sys_platform": "darwin" if machine == "arm64" else "linux"}
        here = {"python_full_version": python, "platform_machine": machine, **system}
        found = [
            name
            for each in ("packages", "torch-pypi")
            for name, _, marker in locked(each)
            if marker is None or marker.evaluate(here)
        ]
        assert len(found) == len(set(found)) > 150
    for path in (ROOT / "lock").iterdir():
        addresses = re.findall(r"\w+://\S+|^-.+", path.read_text(), re.MULTILINE)
        cpu = ["--index-url https://download.pytorch.org/whl/cpu"]
        assert addresses == (cpu if path.name == "torch-cpu.txt" else []), path.name


def test_the_locks_hold_all_that_is_needed_here():
    """What a direct dependency brings along on this system is in a lock."""
    pins = {n for name in ("packages", "torch-pypi") for n, _, _ in locked(name)}
    waiting, seen = [(name, frozenset()) for name in names(DIRECT)], set()
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            needs = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # of another system, or CUDA's where torch is CPU-only
        assert name in pins, f"{name} is not locked: run `make lock`"
        for need in map(Requirement, needs):
            if need.marker is None or any(
                need.marker.evaluate({"extra": extra}) for extra in extras or {""}
            ):
                waiting.append((normal(need.name), frozenset(need.extras)))
    assert len(seen) > 100


def test_a_lock_is_read_as_it_is_written():
    text = (ROOT / "lock" / "torch-cpu.txt").read_text()
    one, *_ = entries = lock.entries(text)
    assert len(entries) == 3 and one.startswith("torch==") and one.count("--hash") == 6


def test_newest_versions_are_those_of_all_but_pytorch():
    text = newest.PIN.sub(r"\1", (ROOT / "pyproject.toml").read_text())
    project = tomllib.loads(text)["project"]
    groups = project["dependencies"], *project["optional-dependencies"].values()
    found = [line for group in groups for line in group]
    pinned = {r.name for r in map(Requirement, found) if r.specifier}
    assert pinned == {"torch", "torchvision", "torchaudio"} and len(found) == len(
        DIRECT
    )
    assert 'build-backend = "setuptools.build_meta"' in text


KNOWN = {"id": "PYSEC-1", "fix_versions": ["2.0"]}
ASKED = {"name": "one", "version": "1.0"}


@pytest.mark.parametrize(
    ("answer", "code", "told"),
    [
        ([{**ASKED, "vulns": []}], 0, "2 of 2 packages audited, 0 vulnerable"),
        ([{**ASKED, "vulns": [KNOWN]}], 1, "one 1.0: PYSEC-1, fixed in 2.0"),
        ([{**ASKED, "skip_reason": "404"}], 0, "No database reached: none of 2"),
        (None, 0, "No database reached: no route"),
    ],
)
def test_an_audit_says_what_it_could_not_ask(monkeypatch, capsys, answer, code, told):
    text = "" if answer is None else json.dumps({"dependencies": answer})
    done = subprocess.CompletedProcess("", 0, text, "Traceback\nno route")
    monkeypatch.setattr(audit, "tool", lambda *_: "python")
    monkeypatch.setattr(audit.subprocess, "run", lambda *_, **__: done)
    assert audit.main() == code
    assert told in capsys.readouterr().out


def test_readme_names_no_other_version():
    readme = (ROOT / "README.md").read_text(encoding="utf-8").lower()
    for line in DIRECT:
        name, version = line.partition(";")[0].lower().split("==")
        found = re.findall(rf"\b{re.escape(name)}[ =]+v?(\d+\.[\d.]*\d)", readme)
        assert all(version == f or version.startswith(f + ".") for f in found), line
    least = PROJECT["requires-python"].removeprefix(">=")
    assert f"python {least}" in readme or f"python ≥ {least}" in readme


def test_conda_brings_python_alone():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip = environment["dependencies"]
    assert python.startswith("python " + PROJECT["requires-python"]) and pip == "pip"


# --- imports ----------------------------------------------------------------

NOT_OURS = {
    # of other programs, which `sslnb bench store_formats` installs on its own
    "benchmarks/_formats.py": {"datasets", "tensordict", "tensorstore", "zarr"}
}


def imports(path):
    """Names of the packages that a file or a notebook imports anywhere in it."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = [c for c in json.loads(text)["cells"] if c["cell_type"] == "code"]
        lines = "\n".join("".join(cell["source"]) for cell in cells).splitlines()
        text = "\n".join(line for line in lines if not line.startswith(("%", "!")))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize(
    ("folder", "pattern", "extras"),
    [
        ("notebooks", "*.ipynb", ()),
        ("sslnb", "*.py", ("export",)),
        ("benchmarks", "*.py", ("test",)),
        ("tests", "*.py", ("test", "export")),
        ("book", "*.py", ("book",)),
        (".ci", "*.py", ()),
        (".binder", "*.py", ()),
    ],
)
def test_every_import_is_in_the_metadata(folder, pattern, extras):
    wanted = names(PROJECT["dependencies"]).union(*(names(EXTRAS[e]) for e in extras))
    brought = metadata.packages_distributions()
    paths = [p for p in (ROOT / folder).rglob(pattern) if "node_modules" not in p.parts]
    ours = {"sslnb", "tests", "benchmarks"} | {
        p.stem for p in ROOT.glob("book/**/*.py")
    }
    ours |= {"conftest", "lock", "doctor"}  # the last by its path, in .ci/install.py
    assert paths
    for path in paths:
        there = NOT_OURS.get(str(path.relative_to(ROOT)), set())
        for name in set(imports(path)) - sys.stdlib_module_names - ours - there:
            packages = {normal(package) for package in brought.get(name, ())}
            assert packages & wanted, f"{path.name} imports {name}: in no metadata"


# --- which PyTorch ----------------------------------------------------------


@pytest.fixture
def machine(monkeypatch):
    """Make this machine another: system, processor, Python 3.minor, GPU, network."""

    def change(system="Linux", processor="x86_64", minor=13, nvidia=False, answer=""):
        monkeypatch.setattr(install.platform, "system", lambda: system)
        monkeypatch.setattr(install.platform, "machine", lambda: processor)
        monkeypatch.setattr(install.sys, "version_info", (3, minor, 0))
        monkeypatch.setattr(install, "has_nvidia", lambda: nvidia)
        monkeypatch.setattr(install, "unreachable", lambda: answer)

    return change


@pytest.mark.parametrize(
    ("found", "wanted", "lock", "told"),
    [
        ({}, "auto", "torch-cpu", "CPU-only"),
        ({"processor": "aarch64", "minor": 11}, "auto", "torch-cpu", "CPU-only"),
        ({"nvidia": True}, "auto", "torch-pypi", "NVIDIA GPU"),
        ({"nvidia": True}, "cpu", "torch-cpu", "CPU-only"),
        ({}, "cuda", "torch-pypi", "as asked for"),
        ({"answer": "timed out"}, "auto", "torch-pypi", "timed out"),
        ({"minor": 11}, "auto", "torch-pypi", "known hashes for Python 3.11 on x86_64"),
        ({"system": "Darwin", "answer": "no"}, "auto", "torch-pypi", "no CUDA"),
    ],
)
def test_pytorch_is_without_cuda_where_it_can_be(machine, found, wanted, lock, told):
    machine(**found)
    which, why = install.torch(wanted)
    assert which == lock and told in why


def test_what_is_asked_for_and_cannot_be_had_is_an_error(machine, capsys):
    machine(answer="timed out")
    assert install.main(["--torch", "cpu"]) == 1
    assert "cannot be reached (timed out)" in capsys.readouterr().out


@pytest.mark.parametrize("answer", ["nobody", "silence", "403"])
def test_a_server_that_does_not_answer_is_given_up_soon(monkeypatch, answer):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        monkeypatch.setattr(install, "SECONDS", 0.3)
        monkeypatch.setattr(
            install, "PROBE", f"http://127.0.0.1:{server.getsockname()[1]}/"
        )
        if answer == "silence":
            server.listen()
        if answer == "403":  # of a proxy, say
            error = urllib.error.HTTPError("", 403, "Forbidden", {}, None)
            monkeypatch.setattr(
                install.urllib.request,
                "urlopen",
                lambda *_, **__: (_ for _ in ()).throw(error),
            )
        expected = {"nobody": "refused", "silence": "timed out", "403": "Forbidden"}
        assert expected[answer] in install.unreachable()


def test_each_wheel_is_checked_against_its_hash(tmp_path, monkeypatch):
    """pip itself, as we call it, takes a wheel with the right sum and no other."""
    wheel = tmp_path / "harmless-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("harmless.py", "")
        told = "Metadata-Version: 2.1\nName: harmless\nVersion: 1.0\n"
        archive.writestr("harmless-1.0.dist-info/METADATA", told)
        told = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        archive.writestr("harmless-1.0.dist-info/WHEEL", told)
        archive.writestr("harmless-1.0.dist-info/RECORD", "")
    right = hashlib.sha256(wheel.read_bytes()).hexdigest()
    monkeypatch.setattr(install, "ROOT", tmp_path)
    monkeypatch.setattr(install, "LOCK", tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_TARGET", str(tmp_path / "there"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    for sum_, taken in (("0" * 64, False), (right, True)):
        (tmp_path / "one.txt").write_text(f"harmless==1.0 --hash=sha256:{sum_}\n")
        with suppress(subprocess.CalledProcessError):
            install.locked(Path(sys.executable), "one")
        assert (tmp_path / "there" / "harmless.py").exists() == taken


# --- make -------------------------------------------------------------------


def make(*arguments, folder=ROOT):
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
    )


@pytest.fixture
def clone(tmp_path):
    """A folder, with a space in its name, in which everything is installed already."""
    folder = tmp_path / "a clone"
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / "lock").mkdir()
    for path in (ROOT / "Makefile", ROOT / "pyproject.toml", *ROOT.glob("lock/*")):
        copy = folder / path.relative_to(ROOT)
        copy.write_text(path.read_text())
    (folder / ".venv" / "bin" / "python").touch()
    (folder / ".venv" / "installed").touch()
    return folder


def test_a_second_make_installs_nothing(clone):
    assert make("-q", "install", folder=clone).returncode == 0
    assert "install.py" not in make("-n", "run", folder=clone).stdout


@pytest.mark.parametrize("changed", ["pyproject.toml", "lock/packages.txt"])
def test_a_changed_version_is_installed(clone, changed):
    (clone / ".venv" / "installed").unlink()
    assert ".ci/install.py --torch auto" in make("-n", "run", folder=clone).stdout
    (clone / ".venv" / "installed").touch()
    later = (clone / ".venv" / "installed").stat().st_mtime + 5
    os.utime(clone / changed, (later, later))
    assert ".ci/install.py" in make("-n", "test", folder=clone).stdout


def test_another_pytorch_can_be_asked_for(clone):
    (clone / ".venv" / "installed").unlink()
    told = make("-n", "install", "TORCH=cuda", folder=clone)
    assert ".ci/install.py --torch cuda" in told.stdout


def test_an_old_python_is_told_so(clone):
    (clone / ".venv" / "installed").unlink()
    found = make("install", "PYTHON=no-such-python", folder=clone)
    assert found.returncode and "no no-such-python" in found.stdout


def test_makefile_asks_for_the_python_of_the_metadata():
    least = PROJECT["requires-python"].removeprefix(">=").split(".")
    assert f"sys.version_info < ({', '.join(least)})" in (ROOT / "Makefile").read_text()
