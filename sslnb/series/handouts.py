"""Handouts for a class, made from the notebooks: without solutions, and with them.

    >>> make_handouts("handouts")  # handouts/student/…, handouts/solutions/…

The notebooks are the only source. An exercise is three adjacent cells: the prompt and
the stub, tagged `exercise`, and the folded solution, tagged `solution`.

student    no solution, and no outputs: a prediction comes before its result
solutions  each stub filled in, and the remark on it; stored outputs stay, except those
           of the cells filled in, which a run writes
"""

import os
import re
import shutil
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from sslnb.series.lint import tags
from sslnb.series.listing import NOTEBOOKS, notebooks

BLOCK = re.compile(r"```python\n(.*?)\n```\s*", re.DOTALL)
FOLD = re.compile(
    r"<details><summary>Solution</summary>\s*(.*?)\s*</details>", re.DOTALL
)
CHECK = re.compile(r"^check\(.+\)$", re.MULTILINE)
LINK = re.compile(r"(\]\(|(?:src|href)=\")(?![a-z]+:|#|/)([^)\s\"#]+)")
PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".svg", ".gif"}


@dataclass
class Exercise:
    """The cells of an exercise, and what its folded solution holds."""

    prompt: NotebookNode
    stub: NotebookNode
    solution: NotebookNode

    def __post_init__(self) -> None:
        fold = FOLD.fullmatch(self.solution.source)
        blocks = BLOCK.findall(fold[1]) if fold else []
        self.title = self.prompt.source.splitlines()[0].strip("# ")
        if len(blocks) != 1 or not CHECK.search(self.stub.source):
            raise ValueError(
                f"{self.title!r}: need a stub with check(…) on a line of its own, and a "
                "folded solution with one block of Python"
            )
        self.code: str = blocks[0]
        self.remark: str = BLOCK.sub("", fold[1]).strip() if fold else ""

    @property
    def filled_in(self) -> str:
        """The stub's cell with the solution's code in it."""
        checks = "\n".join(CHECK.findall(self.stub.source))
        return f"{self.code}\n\n\n{checks}"


def exercises(book: NotebookNode) -> list[Exercise]:
    """The exercises of a notebook, in order; ValueError where one is incomplete."""
    aside = [c for c in book.cells if {"exercise", "solution"} & tags(c)]
    if len(aside) % 3 or any("solution" not in tags(c) for c in aside[2::3]):
        found = " ".join("s" if "solution" in tags(c) else "e" for c in aside)
        raise ValueError(
            f"cells tagged exercise (e) and solution (s): {found}; need a prompt, a stub "
            "and a solution of each exercise, that is e e s"
        )
    return [Exercise(*aside[k : k + 3]) for k in range(0, len(aside), 3)]


def student(book: NotebookNode) -> NotebookNode:
    """A copy without solutions and outputs."""
    exercises(book)  # each must be complete, else a solution could stay
    book = deepcopy(book)
    book.cells = [cell for cell in book.cells if "solution" not in tags(cell)]
    for cell in book.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return book


def solved(book: NotebookNode) -> NotebookNode:
    """A copy with every stub filled in; the remark on a solution stands below it."""
    book = deepcopy(book)
    for exercise in exercises(book):
        exercise.stub.source = exercise.filled_in
        exercise.stub.outputs, exercise.stub.execution_count = [], None
        exercise.solution.source = exercise.remark
    book.cells = [c for c in book.cells if c.source or "solution" not in tags(c)]
    return book


def relink(book: NotebookNode, source: Path, target: Path, made: set[Path]) -> None:
    """Let relative links lead from `target` to where they led to from `source`.

    made: what lies in the handout as it does in the folder of the notebooks, so that
    links to it hold; pictures are copied, and all else is linked to where it lies.
    """

    def moved(link: re.Match) -> str:
        path = Path(os.path.normpath(source.parent / link[2]))
        if path in made or not path.exists():
            return link[0]
        if path.suffix in PICTURES and NOTEBOOKS in path.parents:
            # not by the link as it stands, which may go by way of other folders
            within = os.path.relpath(path, source.parent)
            place = target.parent / within
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
            return link[1] + Path(within).as_posix()
        return link[1] + Path(os.path.relpath(path, target.parent)).as_posix()

    for cell in book.cells:
        if cell.cell_type == "markdown":
            cell.source = LINK.sub(moved, cell.source)


def make_handouts(out: str | Path, chosen: Sequence[str] = ()) -> dict[str, list[str]]:
    """Write out/student and out/solutions; {notebook: titles of its exercises}."""
    paths, titles = notebooks(chosen), {}
    for source in paths:
        book = nbformat.read(source, 4)
        try:
            titles[source.stem] = [exercise.title for exercise in exercises(book)]
        except ValueError as error:
            raise ValueError(f"{source.name}: {error}") from error
        for kind, version in (("student", student), ("solutions", solved)):
            target = Path(out).resolve() / kind / source.relative_to(NOTEBOOKS)
            target.parent.mkdir(parents=True, exist_ok=True)
            handout = version(book)
            relink(handout, source, target, set(paths))
            nbformat.write(handout, target)
    return titles
