"""Write constraints.txt: a pin of everything that the direct dependencies bring along.

    make lock

Resolved as for Python 3.13 on Linux; pip reads a constraint only where something
needs the package, so the same file does for other versions and systems.
"""

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEADER = """\
# What the packages pinned in pyproject.toml bring along, each at the version that
# the stored outputs were made with. Made by `make lock`; do not edit.
"""


def normal(name):
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def main():
    """Ask pip what it would install, and write down what pyproject.toml does not pin."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    direct = sum(extras, project["dependencies"])
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        subprocess.run(
            [
                sys.executable,
                "-m",
                "pip",
                "install",
                "--quiet",
                "--dry-run",
                "--ignore-installed",
                "--report",
                report,
                "--python-version",
                "3.13",
                "--only-binary",
                ":all:",
                "--target",
                folder,
                *direct,
            ],
            check=True,
        )
        found = [item["metadata"] for item in json.loads(report.read_text())["install"]]
    pinned = {normal(line.split("==")[0]) for line in direct}
    lines = sorted(
        f"{item['name']}=={item['version']}"
        for item in found
        if normal(item["name"]) not in pinned
    )
    text = HEADER + "\n".join(sorted(lines, key=str.lower)) + "\n"
    (ROOT / "constraints.txt").write_text(text)


if __name__ == "__main__":
    main()
