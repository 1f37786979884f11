"""The widgets of the notebooks, each with its question, its answer, and what it needs.

    >>> excerpt, = excerpts("notebooks/03_invariance_loss.ipynb")
    >>> excerpt.question      # "**Predict, then move.** Three things can be done to …"
    >>> excerpt.setup         # the statements of the cells above that its cell needs
    >>> excerpt.cell          # its cell, as it stands in the notebook

A widget's cell is one tagged `nbval-ignore-output` that calls a function of
`sslnb.teach.widgets`. What it needs is found backwards from it: a statement stays if it writes a name that a later
one reads. So a figure, a table or a training that only stands above a widget is left
out, and a page with the widget alone is there in seconds.
"""

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat

from sslnb.files import ROOT
from sslnb.series.pages import title_of
from sslnb.series.run import fit_parameters

WIDGETS = ROOT / "sslnb" / "teach" / "widgets" / "__init__.py"
# Calls of modules that change what comes after them
EFFECTS = ("torch.manual_seed", "torch.set_num_threads")
SCOPES = (  # what they set is their own
    *(ast.FunctionDef, ast.ClassDef, ast.Lambda),
    *(ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp),
)
SKIPPED = {"exercise", "solution"}
ANSWER = re.compile(r"<details>\s*<summary>Answer.*?</details>", re.DOTALL)


@dataclass(frozen=True)
class Excerpt:
    """A widget of a notebook.

    widget: the name of its function; question: the Markdown above it, from its heading
    or its **Predict** on; answer: the fold below, in Markdown, or ""; setup and cell:
    source; reply: source of a cell that computes the fold, or "".
    """

    notebook: Path
    widget: str
    title: str
    question: str
    setup: str
    cell: str
    answer: str
    reply: str


def excerpts(notebook: str | Path, **parameters: Any) -> list[Excerpt]:
    """The widgets of a notebook, with other parameters than its own where given."""
    notebook = Path(notebook)
    changed = fit_parameters(notebook, parameters)
    book = nbformat.read(notebook, 4)
    statements: list[ast.stmt] = []
    known, found = public(), []
    for number, cell in enumerate(book.cells):
        if cell.cell_type != "code":
            continue
        tags, body = cell.metadata.get("tags", []), ast.parse(cell.source).body
        widget = next((name for name in _called(body) if name in known), "")
        if "nbval-ignore-output" in tags and widget:
            answer, reply = _answer(book.cells[number + 1 :])
            needed = _needed(statements, body + ast.parse(reply).body)
            found.append(
                Excerpt(
                    notebook,
                    widget,
                    title_of(book),
                    _question(book.cells[:number]),
                    "\n".join(map(ast.unparse, needed)),
                    cell.source,
                    answer,
                    reply,
                )
            )
        statements += body
        if "parameters" in tags:
            lines = (f"{name} = {value!r}" for name, value in changed.items())
            statements += ast.parse("\n".join(lines)).body
    return found


def public() -> list[str]:
    """Names of the functions that make widgets; read, as an import would load torch."""
    for statement in ast.parse(WIDGETS.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Assign) and "__all__" in _replaces(statement):
            return ast.literal_eval(statement.value)
    raise ValueError(f"{WIDGETS} has no __all__")


def _called(statements: list[ast.stmt]) -> Iterator[str]:
    """Names of the functions and methods that are called."""
    for node in (node for statement in statements for node in ast.walk(statement)):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute):
                yield node.func.attr
            elif isinstance(node.func, ast.Name):
                yield node.func.id


def _needed(above: list[ast.stmt], body: list[ast.stmt]) -> list[ast.stmt]:
    """Those of the statements above a cell that it depends on, in their order."""
    modules = set().union(*map(_bound, above))
    # a function reads its names where it is called, not where it is defined
    inside = {s.name: _reads([s]) for s in above if isinstance(s, ast.FunctionDef)}
    wanted: set[str] = set()
    kept = []
    for place, statement in reversed(list(enumerate(above + body))):
        changed, replaced = _changes([statement], modules), _replaces(statement)
        if place >= len(above) or (changed | replaced) & wanted:
            wanted -= replaced
            read = _reads([statement])
            while more := set().union(*(inside.get(n, ()) for n in read)) - read:
                read |= more
            wanted |= read
            if place < len(above):
                kept.append(statement)
    return kept[::-1]


def _bound(statement: ast.stmt) -> set[str]:
    """Names that an import gives."""
    if not isinstance(statement, (ast.Import, ast.ImportFrom)):
        return set()
    return {a.asname or a.name.partition(".")[0] for a in statement.names}


def _reads(nodes: Iterable[ast.AST]) -> set[str]:
    """Names that these read and neither set before nor have as their own."""
    found: set[str] = set()
    known: set[str] = set()
    for node in nodes:
        found |= _reads_of(node) - known
        if isinstance(node, ast.stmt):
            known |= _replaces(node)
    return found


def _reads_of(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Name):
        return {node.id} if isinstance(node.ctx, ast.Load) else set()
    # what the head of a block sets is known in its body
    if isinstance(node, ast.For):
        inside = _reads(node.body) | _reads(node.orelse)
        return _reads([node.iter]) | inside - _names_in(node.target)
    if isinstance(node, ast.With):
        own = {name for i in node.items for name in _names_in(i.optional_vars)}
        return _reads(i.context_expr for i in node.items) | _reads(node.body) - own
    if isinstance(node, ast.If):
        return _reads([node.test]) | _reads(node.body) | _reads(node.orelse)
    read = _reads(ast.iter_child_nodes(node))
    if isinstance(node, ast.AugAssign):
        read.add(_root(node.target))
    elif isinstance(node, SCOPES):
        read -= {n.arg for n in ast.walk(node) if isinstance(n, ast.arg)}
        read -= _names_in(node)
    return read


def _names_in(target: ast.AST | None) -> set[str]:
    """Names that a target of an assignment sets."""
    nodes = ast.walk(target) if target else ()
    return {_root(node) for node in nodes if _stored(node, ast.Name)}


def _stored(node: ast.AST, kind: type | tuple = ast.expr) -> bool:
    return isinstance(node, kind) and isinstance(getattr(node, "ctx", None), ast.Store)


def _replaces(statement: ast.stmt) -> set[str]:
    """Names that have another object after it, whatever they had before."""
    if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
        return {statement.name}
    if not isinstance(statement, ast.Assign):
        return _bound(statement)
    return {name for target in statement.targets for name in _names_in(target)}


def _changes(nodes: Iterable[ast.AST], modules: set[str]) -> set[str]:
    """Names that they may set, or whose object they change.

    An object changes where a part of it is set, or where a method of it is called for
    no value. A module's functions change nothing, but for EFFECTS.
    """
    changed = set()
    for node in nodes:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            changed.add(node.name)
        if isinstance(node, SCOPES):
            continue  # what is set inside is its own
        if _stored(node):
            changed.add(_root(node))
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            root = _root(node.value.func)
            if root not in modules or ast.unparse(node.value.func) in EFFECTS:
                changed.add(root)
        changed |= _changes(ast.iter_child_nodes(node), modules)
    return changed


def _root(node: ast.AST) -> str:
    """The name that an expression of dots, brackets and calls begins with."""
    while isinstance(node, (ast.Attribute, ast.Subscript, ast.Call)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def _question(cells: list) -> str:
    """The end of the text above: from its **Predict** on, or its last heading."""
    above = next(
        cell.source for cell in reversed(cells) if cell.cell_type == "markdown"
    )
    text = above.rpartition("</details>")[2]
    for start in (r"^\*\*Predict", "^#+ "):
        places = [found.start() for found in re.finditer(start, text, re.MULTILINE)]
        if places:
            return text[places[-1] :].strip()
    return text.strip()


def _answer(cells: list) -> tuple[str, str]:
    """The fold below, before the next text: Markdown, or the source that makes it."""
    for cell in cells:
        if SKIPPED & set(cell.metadata.get("tags", ())):
            continue
        if cell.cell_type == "markdown":
            found = ANSWER.match(cell.source)
            return (found[0] if found else "", "")
        if "<details>" in cell.source:
            return "", cell.source
    return "", ""
