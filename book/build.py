"""Build the site of the series from the stored outputs: `make book`, which runs this.

    python book/build.py                     # into runs/book
    python book/build.py OUT --no-live       # into OUT; links to live/ lead nowhere

No notebook is executed. OUT/source mirrors the repository, so that a link between
notebooks, or from the README, leads to the same place on GitHub and in the book;
OUT/html is the site, and its links are relative: it works from any folder of any
server. Any warning of Sphinx fails the build.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

import modules
from sphinx.cmd.build import main as sphinx

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))
from benchmarks import promises  # noqa: E402, of the clone, not of the package

LIVE = HERE / "live" / "build.py"
PAGES = ("*.md", "*.bib")  # of this folder
# What is shown as it lies in the repository
FROM_ROOT = (
    "*.md",
    "LICENSE",
    "CITATION.cff",
    "data/README.md",
    "data/*.svg",
    "data/*.jpg",
    "data/*.png",
)
NOTEBOOKS = ("*.ipynb", "appendix/*.ipynb", "images/*")


def mirror(source: Path, patterns: tuple[str, ...], target: Path) -> None:
    """Copy the files of `source` that match into `target`."""
    for path in (path for pattern in patterns for path in source.glob(pattern)):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


def assemble(source: Path) -> None:
    """Write what Sphinx reads: this folder's pages, the README and the notebooks."""
    shutil.rmtree(source, ignore_errors=True)
    mirror(HERE, PAGES, source)
    mirror(ROOT, FROM_ROOT, source)
    mirror(ROOT / "notebooks", NOTEBOOKS, source / "notebooks")
    modules.write(source / "modules")
    (source / "promises.md").write_text(promises.page(), encoding="utf-8")


def build(out: Path, live: bool = True) -> int:
    """Assemble the source in `out` and make the site; the exit status.

    live: with the pages on which the model runs in the browser.
    """
    assemble(out / "source")
    shutil.rmtree(out / "html", ignore_errors=True)
    status = sphinx(
        ["-b", "html", "-c", str(HERE), "-d", str(out / "doctrees"), "-E", "-q"]
        + ["-W", "--keep-going", str(out / "source"), str(out / "html")]
    )
    for left in (".buildinfo", "objects.inv"):
        (out / "html" / left).unlink(missing_ok=True)
    if status == 0 and live:
        command = [
            sys.executable,
            LIVE,
            out / "html" / "live",
            "--home",
            "../index.html",
        ]
        status = subprocess.run(command, stdout=subprocess.DEVNULL).returncode
        if status:
            print("The book without these pages: make book ARGS=--no-live")
    return status


def main() -> int:
    """What the command line asks for; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, nargs="?", default=ROOT / "runs" / "book")
    parser.add_argument("--no-live", action="store_true", help="without live/")
    given = parser.parse_args()
    html = given.out.resolve() / "html"
    status = build(given.out.resolve(), live=not given.no_live)
    if status == 0:
        print(f"The book: {html / 'index.html'}")
        print("To serve it on http://127.0.0.1:8000:")
        print(f"  python -m http.server --bind 127.0.0.1 --directory {html} 8000")
    return status


if __name__ == "__main__":
    sys.exit(main())
