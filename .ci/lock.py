"""Write lock/: every package that is installed, at one version and with its hashes.

    make lock

uv, in an environment of its own, resolves pyproject.toml for every system at once, then
asks for each Python and system below whether there is a wheel of every package.
lock/packages.txt and lock/torch-pypi.txt are written anew: versions stay
as they are unless pyproject.toml asks for others. lock/torch-cpu.txt is written by hand,
as it says; only its versions are compared.
"""

import itertools
import os
import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "lock"
PACKAGES, PYPI, CPU = (
    LOCK / f"{name}.txt" for name in ("packages", "torch-pypi", "torch-cpu")
)
# PyTorch and what only its CUDA build needs
TORCH = re.compile(r"(torch(vision|audio)?|triton|nvidia-.*|cuda-.*)==")
PYTHONS = ("3.11.2", "3.12", "3.13")  # the first: Debian 12's
SYSTEMS = ("x86_64-manylinux_2_28", "aarch64-manylinux_2_28", "aarch64-apple-darwin")
HEADER = "# {what}, each with the hashes of its\n# wheels. Made by `make lock`; do not edit.\n"
TOLD = {
    PACKAGES: "All packages but PyTorch",
    PYPI: "PyTorch as PyPI has it, with CUDA on Linux",
}


def entries(text: str) -> list[str]:
    """The requirements of a lock, each with its lines of hashes."""
    lines = [line for line in text.splitlines() if not line.startswith(("#", "--"))]
    return re.findall(r"^\S.*(?:\n[ ]+.*)*", "\n".join(lines), re.MULTILINE)


def tool(group: str, folder: Path) -> Path:
    """Python of a new environment with a dependency group of pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    venv.create(folder / "env", with_pip=True)
    python = folder / "env" / "bin" / "python"
    pip = [python, "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, *project["dependency-groups"][group]], check=True)
    return python


def compiled(project: dict) -> list[str]:
    """Entries of everything that the project needs, as uv resolves it now."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python = tool("lock", folder)

        def resolve(*arguments: str | Path):
            uv = ["-m", "uv", "pip", "compile", "--quiet", "--only-binary", ":all:"]
            # av and PyTorch need macOS 14
            environment = {**os.environ, "MACOSX_DEPLOYMENT_TARGET": "14.0"}
            command = [python, *uv, *arguments]
            subprocess.run(command, cwd=ROOT, env=environment, check=True)

        build, lock = folder / "build.in", folder / "lock.txt"
        build.write_text("\n".join(project["build-system"]["requires"]))
        # what stands there already is kept
        before = [e for path in (PACKAGES, PYPI) for e in entries(path.read_text())]
        lock.write_text("\n".join(before))
        least = project["project"]["requires-python"].removeprefix(">=")
        options = "--all-extras --universal --generate-hashes --no-header --no-annotate"
        options += f" --no-emit-index-url --python-version {least} --output-file"
        resolve("pyproject.toml", build, *options.split(), lock)
        for version, system in itertools.product(PYTHONS, SYSTEMS):
            options = f"--no-deps --python-version {version} --python-platform {system}"
            resolve(lock, *options.split(), "--output-file", folder / "one.txt")
            print(f"{version} on {system}: a wheel of every package")
        return entries(lock.read_text())


def main():
    """Write both files; the exit code: 1 where torch-cpu.txt has other versions."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    found = compiled(project)
    for path, is_torch in ((PACKAGES, False), (PYPI, True)):
        mine = [entry for entry in found if bool(TORCH.match(entry)) == is_torch]
        text = HEADER.format(what=TOLD[path]) + "\n".join(mine) + "\n"
        path.write_text(text)
        print(f"{path.relative_to(ROOT)}: {len(mine)} packages")
    by_hand = set(re.findall(r"(\S+==[\d.]+)\+cpu", CPU.read_text()))
    wanted = {e.split(" ")[0] for e in found if re.match("torch(vision|audio)?==", e)}
    if by_hand != wanted:
        print(f"{CPU.relative_to(ROOT)} has {by_hand}; wanted: {wanted}")
    return by_hand != wanted


if __name__ == "__main__":
    sys.exit(main())
