"""Build the site of the series from the stored outputs: `make book`, which runs this.

    python book/build.py            # into runs/book
    python book/build.py OUT        # into OUT

Nothing is executed and nothing is fetched. OUT/source mirrors the repository, so that
a link between notebooks, or from the README, leads to the same place on GitHub and in
the book; OUT/html is the site, and its links are relative: it works from any folder of
any server. Any warning of Sphinx fails the build.
"""

import runpy
import shutil
import sys
from pathlib import Path

from sphinx.cmd.build import main as sphinx

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
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
    """Copy the files of `source` that match into `target`, where they differ."""
    for path in (path for pattern in patterns for path in source.glob(pattern)):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if not copy.exists() or copy.read_bytes() != path.read_bytes():
            shutil.copyfile(path, copy)


def assemble(source: Path) -> None:
    """Write what Sphinx reads: this folder's pages, the README and the notebooks."""
    shutil.rmtree(source, ignore_errors=True)
    mirror(HERE, PAGES, source)
    mirror(ROOT, FROM_ROOT, source)
    mirror(ROOT / "notebooks", NOTEBOOKS, source / "notebooks")


def build(out: Path) -> int:
    """Assemble the source in `out` and make the site; Sphinx's exit status."""
    assemble(out / "source")
    shutil.rmtree(out / "html", ignore_errors=True)
    status = sphinx(
        ["-b", "html", "-c", str(HERE), "-d", str(out / "doctrees"), "-E", "-q"]
        + ["-W", "--keep-going", str(out / "source"), str(out / "html")]
    )
    for left in (out / "html" / ".buildinfo", out / "html" / "objects.inv"):
        left.unlink(missing_ok=True)
    live = HERE / "live" / "build.py"
    if status == 0 and live.exists():
        sys.argv = [str(live), str(out / "html" / "live")]
        runpy.run_path(str(live), run_name="__main__")
    return status


if __name__ == "__main__":
    out = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "runs" / "book").resolve()
    status = build(out)
    if status == 0:
        print(f"The book: {out / 'html' / 'index.html'}")
        print(f"To serve it: {sys.executable} -m http.server --bind 127.0.0.1", end=" ")
        print(f"--directory {out / 'html'} 8000, then open http://127.0.0.1:8000")
    raise SystemExit(status)
