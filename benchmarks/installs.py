"""An install from nothing: how long, how large, and whether the fast tests pass on it.

sslnb bench installs -- --python python3.13

A clone of the commit, in a folder of its own, is installed by `make install` for a user
who has nothing: no settings, and no downloads of before. Each row is one Python.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.ledger import ROOT, record


def install(python, clone, environment):
    """Minutes that it took, GB and packages that are there, and what pip was told."""
    make = ["make", "--no-print-directory", "install", f"PYTHON={python}"]
    began = time.perf_counter()
    done = subprocess.run(make, cwd=clone, env=environment, stdout=subprocess.PIPE)
    minutes = (time.perf_counter() - began) / 60
    said = done.stdout.decode()
    print(said)
    done.check_returncode()
    du = subprocess.run(["du", "-sk", clone / ".venv"], stdout=subprocess.PIPE)
    packages = list(clone.glob(".venv/lib/python*/site-packages/*.dist-info"))
    figures = {
        "install_minutes": minutes,
        "installed_gb": int(du.stdout.split()[0]) * 1024 / 1e9,
        "installed_packages": len(packages),
    }
    return figures, said.splitlines()[0].rstrip(".")


def test(clone, environment):
    """How many fast tests pass, fail and are skipped on what was installed."""
    command = [clone / ".venv" / "bin" / "python", "-m", "pytest", "-q", "--tb=short"]
    command += ["-m", "not slow", "tests"]
    done = subprocess.run(command, cwd=clone, env=environment, stdout=subprocess.PIPE)
    said = done.stdout.decode()
    print(said[-30_000:])
    if done.returncode not in (0, 1):  # neither passed nor failed
        raise SystemExit(f"error: pytest ended with {done.returncode}")
    counts = dict.fromkeys(("passed", "failed", "error", "skipped"), 0)
    for number, what in re.findall(r"(\d+) (\w+)", said.strip().splitlines()[-1]):
        if what.removesuffix("s") in counts or what in counts:
            counts[what if what in counts else what.removesuffix("s")] = int(number)
    return {
        "tests_passed": counts["passed"],
        "tests_failed": counts["failed"] + counts["error"],
        "tests_skipped": counts["skipped"],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--python", default=sys.executable)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sslnb-install-") as name:
        home, clone = Path(name, "home"), Path(name, "clone")
        home.mkdir()
        subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
        environment = {"HOME": str(home), "PATH": os.environ["PATH"]}
        figures, torch = install(options.python, clone, environment)
        figures |= test(clone, environment)
    said = subprocess.run([options.python, "-V"], stdout=subprocess.PIPE)
    version = said.stdout.decode().split()[1]
    short = ".".join(version.split(".")[:2])
    figures = {f"{name} {short}": value for name, value in figures.items()}
    record(figures, f"Python {version}; {torch}; fast tests on it")


if __name__ == "__main__":
    main()
