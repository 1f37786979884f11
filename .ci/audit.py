"""Compare lock/ with the known vulnerabilities of PyPI: make audit

pip-audit asks, from an environment of its own. Exit code 1 where something is known;
where no database can be reached, nothing is known, which is said and is no failure.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from lock import PACKAGES, PYPI, tool


def main() -> int:
    """Ask for each lock, and print what is known; the exit code."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        audit = [tool("audit", folder), "-m", "pip_audit", "--disable-pip"]
        audit += ["--require-hashes", "--format", "json", "--progress-spinner", "off"]
        found, problem = [], ""
        for path in (PACKAGES, PYPI):
            command = [*audit, "--requirement", path]
            done = subprocess.run(command, capture_output=True, text=True)
            try:
                found += json.loads(done.stdout)["dependencies"]
            except ValueError:  # it could not ask at all
                problem = (done.stderr.strip().splitlines() or ["no answer"])[-1]
    asked = [one for one in found if "skip_reason" not in one]
    if not asked:
        told = f"none of {len(found)} packages was audited" if found else problem
        print(f"No database reached: {told}.")
        return 0
    for one in asked:
        for known in one["vulns"]:
            fixed = ", ".join(known["fix_versions"]) or "no version yet"
            print(f"{one['name']} {one['version']}: {known['id']}, fixed in {fixed}")
    bad = [one for one in asked if one["vulns"]]
    print(f"{len(asked)} of {len(found)} packages audited, {len(bad)} vulnerable")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
