"""What will break next: the fast tests with the newest version of everything.

    make newest             # a report; the exit code is 0 whatever it says

A copy of the files that git knows gets an environment of its own in a temporary folder,
6 GB, with pyproject.toml's packages unpinned. Only PyTorch's three stay, which must fit
each other. Printed are the versions that differ from lock/, the failed tests, and the
warnings that are errors in this project.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from lock import PACKAGES, ROOT, entries

PIN = re.compile(r'^( *"(?!torch(?:vision|audio)?==)[\w.-]+)==[^";]+', re.MULTILINE)
EXTRAS = "test,book,demo,export"


def versions(python: Path) -> dict[str, str]:
    """{package: version} of an environment."""
    command = [python, "-m", "pip", "list", "--format", "freeze", "--exclude-editable"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    pairs = (line.split("==") for line in listed.splitlines())
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pairs}


def copy(folder: Path) -> None:
    """The files that git knows, as they stand here, with no version but PyTorch's."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, stdout=subprocess.PIPE)
    subprocess.run(
        ["cp", "--parents", *filter(None, listed.stdout.decode().split("\0")), folder],
        cwd=ROOT,
        check=True,
    )
    path = folder / "pyproject.toml"
    path.write_text(PIN.sub(r"\1", path.read_text()))


def main() -> None:
    """Install, compare, test, report."""
    with tempfile.TemporaryDirectory(prefix="sslnb-newest-") as name:
        folder = Path(name)
        copy(folder)
        subprocess.run([sys.executable, "-m", "venv", folder / ".venv"], check=True)
        python = folder / ".venv" / "bin" / "python"
        pip = [python, "-m", "pip", "install", "--quiet", "--only-binary", ":all:"]
        target = ["--editable", f"{folder}[{EXTRAS}]"]
        if subprocess.run([*pip, *target]).returncode:
            print("The newest versions cannot be installed together, see above.")
            return
        locked = (
            re.match(r"(\S+)==(\S+)", entry) for entry in entries(PACKAGES.read_text())
        )
        old = {found[1]: found[2] for found in locked}
        new = versions(python)
        changed = {n: v for n, v in new.items() if n in old and old[n] != v}
        print(f"{len(changed)} of {len(new)} packages differ from lock/:", flush=True)
        print(*(f"  {n} {old[n]} -> {v}" for n, v in changed.items()), sep="\n")
        print(f"New: {', '.join(sorted(set(new) - set(old))) or 'none'}", flush=True)
        # three are about versions, which were just changed, one asks git for the commit
        names = ("test_install", "test_project", "series/test_doctor", "test_promises")
        ignored = [f"--ignore=tests/{name}.py" for name in names]
        pytest = [python, "-m", "pytest", "-q", "--tb=line", "-m", "not slow", *ignored]
        pytest += ["--continue-on-collection-errors"]
        done = subprocess.run([*pytest, "tests"], cwd=folder)
        print(f"pytest ended with {done.returncode}; this is a report, not a verdict.")


if __name__ == "__main__":
    main()
