"""Where the series is published: its address, in everything that must name it.

    python .ci/home.py                                  # of git's remote `origin`
    python .ci/home.py https://github.com/me/sslnb      # this one

The address stands in pyproject.toml, `Repository`. From it follow the links of README
that start the series in a browser, and the first code cell of each notebook, which in
Colab fetches the series. Until there is an address, it is one that nobody can own:
GitHub allows no `_` in the names of users.
"""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell

ROOT = Path(__file__).resolve().parent.parent
ADDRESS = re.compile(r"https://github\.com/([\w.-]+/[\w.-]+)")
LINE = re.compile(r'^Repository = "(.+)"$', re.MULTILINE)
BLOCK = re.compile(
    r"(<!-- start: made by .ci/home.py -->\n).*?(<!-- end -->)", re.DOTALL
)
CELL = "start"  # its id, in every notebook
GUARD = """\
# Does nothing where sslnb is installed; in Colab, it fetches the series
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

if not find_spec("sslnb"):
    if "google.colab" not in sys.modules:
        raise ModuleNotFoundError("no sslnb here: use `make lab` (README)")
    if not Path("series").exists():
        home = "{home}"
        clone = ["git", "clone", "--depth=1", home, "series"]
        subprocess.run(clone, check=True)
    install = [sys.executable, "series/.binder/colab.py"]
    subprocess.run(install, check=True)
    sys.path.insert(0, str(Path("series").resolve()))"""


def published() -> str:
    """The address as it stands in pyproject.toml."""
    return LINE.search((ROOT / "pyproject.toml").read_text("utf-8"))[1]


def origin() -> str:
    """The address of git's remote `origin`; that of pyproject.toml where there is none."""
    command = ["git", "-C", str(ROOT), "remote", "get-url", "origin"]
    remote = subprocess.run(command, capture_output=True, text=True).stdout.strip()
    found = re.search(r"github\.com[:/]([\w.-]+/[\w.-]+?)(?:\.git)?$", remote)
    return f"https://github.com/{found[1]}" if found else published()


def notebooks() -> list[Path]:
    """All of them, in order."""
    folder = ROOT / "notebooks"
    return [
        *sorted(folder.glob("[0-9]*.ipynb")),
        *sorted(folder.glob("appendix/*.ipynb")),
    ]


def links(home: str) -> str:
    """Badges and links for README: Binder, Codespaces, and each notebook in Colab."""
    name = ADDRESS.fullmatch(home)[1]
    binder = f"https://mybinder.org/v2/gh/{name}/main?urlpath=lab/tree/notebooks"
    colab = f"https://colab.research.google.com/github/{name}/blob/main"
    each = [f"[{p.name[:2]}]({colab}/{p.relative_to(ROOT)})" for p in notebooks()]
    return (
        f"[![Open in Binder](https://mybinder.org/badge_logo.svg)]({binder})\n"
        "[![Open in Codespaces](https://github.com/codespaces/badge.svg)]"
        f"(https://codespaces.new/{name})\n"
        "![Colab](https://colab.research.google.com/assets/colab-badge.svg) "
        + " · ".join(each)
        + "\n"
    )


def guard(path: Path, home: str) -> None:
    """Write the first code cell of a notebook, below its opening."""
    book = nbformat.read(path, 4)
    cells = [cell for cell in book.cells if cell.id != CELL]
    tags = {"tags": ["remove-cell"]}  # from the book
    cell = new_code_cell(GUARD.format(home=home), id=CELL, metadata=tags)
    book.cells = [cells[0], cell, *cells[1:]]
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    for number, cell in enumerate(code, 1):
        cell.execution_count = number  # it puts nothing out: all else is as stored
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = number
    nbformat.write(book, path)


def main(home: str) -> None:
    """Write the address wherever it must stand."""
    if not ADDRESS.fullmatch(home):
        raise SystemExit(f"{home!r}: need https://github.com/OWNER/NAME")
    project, readme = ROOT / "pyproject.toml", ROOT / "README.md"
    text = LINE.sub(f'Repository = "{home}"', project.read_text("utf-8"))
    project.write_text(text, "utf-8")
    text = readme.read_text("utf-8")
    if not BLOCK.search(text):
        raise SystemExit(
            "README.md: need a block `<!-- start: made by .ci/home.py -->`"
        )
    text = BLOCK.sub(lambda found: found[1] + links(home) + found[2], text)
    readme.write_text(text, "utf-8")
    for path in notebooks():
        guard(path, home)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else origin())
