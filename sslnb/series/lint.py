"""What the linter asks of a notebook, a function for each rule.

    >>> list(lint(read("notebooks/05_training.ipynb")))
    ['cell 12: has a line of 81 columns; at most 76']

A rule takes a notebook and yields where it is broken: the index of a cell, counted from
0 (None: the file), what was found there, and what would be right. What a cell computes
is checked by nbval, which runs it; here is what can be seen without running anything.

Numbers in prose: a number that an output of the notebook has too, to its own decimals,
will not follow when that output changes. Let a cell print the sentence, or write the
reason for typing it into the cell: `<!-- typed: 60.8, of the issue linked here -->`.
"""

import ast
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import nbformat
from nbformat import NotebookNode

Findings = Iterator[tuple[int | None, str]]

BYTES = 1_000_000
LINES, COLUMNS = 20, 76  # of a code cell
CELLS, CELLS_APPENDIX = (25, 45), (8, 30)  # without those of exercises
FETCHES = "start"  # the id of the first code cell, which .ci/home.py writes
TAGS = {
    "parameters",
    "key",
    "nbval-ignore-output",
    "exercise",
    "solution",
    "remove-cell",  # from the book
}
WIDGET = "application/vnd.jupyter.widget-view+json"
RAW_WIDGET = re.compile(r"\w*(Box|Slider|Output|Button)\(")
HOMES = "|".join(("work", "tmp", "home", "root", "Users", "content"))
MACHINE = re.compile(rf"(?<![\w.])/(?:{HOMES})/|0x[0-9a-f]{{8,}}")


@dataclass
class Notebook:
    """A notebook and the file that it was read from."""

    path: Path
    book: NotebookNode

    @property
    def code(self) -> Iterator[tuple[int, NotebookNode]]:
        """Its code cells, each with its index among all cells."""
        cells = enumerate(self.book.cells)
        return ((k, cell) for k, cell in cells if cell.cell_type == "code")

    @property
    def outputs(self) -> Iterator[tuple[int, NotebookNode]]:
        """Its outputs, each with the index of its cell."""
        return ((k, output) for k, cell in self.code for output in cell.outputs)


def read(path: str | Path) -> Notebook:
    """A notebook from its file."""
    return Notebook(Path(path), nbformat.read(path, 4))


def tags(cell: NotebookNode) -> set[str]:
    """The tags of a cell."""
    return set(cell.metadata.get("tags", []))


def parsed(cell: NotebookNode) -> list[ast.stmt]:
    """The statements of a code cell; none where it is no plain Python."""
    try:
        return ast.parse(cell.source).body
    except SyntaxError:
        return []


def text_of(output: NotebookNode) -> str:
    """What an output says in words: printed, Markdown, or HTML without pictures."""
    data = output.get("data", {})
    shown = [data.get(f"text/{kind}", "") for kind in ("plain", "markdown")]
    page = data.get("text/html", "")
    return "\n".join([output.get("text", ""), *shown, page * ("base64" not in page)])


# --- the rules --------------------------------------------------------------


def runs_in_order(notebook: Notebook) -> Findings:
    """Every cell was run, in order: nbval never compares one that was not."""
    for number, (k, cell) in enumerate(notebook.code, 1):
        if cell.execution_count != number:
            yield k, f"has the number {cell.execution_count}; need {number}: {STORE}"
            return


def has_no_errors_and_no_warnings(notebook: Notebook) -> Findings:
    """Nothing on stderr either."""
    for k, output in notebook.outputs:
        if output.output_type == "error":
            yield k, f"stored {output.ename}: {output.evalue}; need none"
        elif output.get("name") == "stderr":
            yield k, f"stored on stderr {output.text.strip()[:60]!r}; need nothing"


def stores_no_widgets(notebook: Notebook) -> Findings:
    """Neither their state nor their views, which only a live kernel can draw."""
    if "widgets" in notebook.book.metadata:
        yield None, f"holds the state of widgets: {STORE}"
    for k, output in notebook.outputs:
        data = output.get("data", {})
        if WIDGET in data or RAW_WIDGET.match(data.get("text/plain", "")):
            yield k, f"stored a widget; need a still figure in a cell below: {STORE}"


def keeps_only_tags(notebook: Notebook) -> Findings:
    """Times and states of the interface would change each time."""
    for key in set(notebook.book.metadata) - {"kernelspec", "language_info", "widgets"}:
        yield None, f"has metadata {key!r}: {STORE}"
    for k, cell in enumerate(notebook.book.cells):
        for key in set(cell.metadata) - {"tags"}:
            yield k, f"has metadata {key!r}; only tags stay: {STORE}"
        for tag in tags(cell) - TAGS:
            yield k, f"has the tag {tag!r}; known are {', '.join(sorted(TAGS))}"


def is_plain_python(notebook: Notebook) -> Findings:
    """No `%` and no `!`: what runs here runs anywhere."""
    for k, cell in notebook.code:
        if cell.source.strip() and not parsed(cell):
            yield k, "is no plain Python; need a cell without magic"


def names_no_machine(notebook: Notebook) -> Findings:
    """No path of a home directory, no address in memory."""
    texts = [(k, cell.source) for k, cell in enumerate(notebook.book.cells)]
    texts += [(k, text_of(output)) for k, output in notebook.outputs]
    for k, text in texts:
        if found := MACHINE.search(text):
            yield k, f"holds {found[0]!r}, which is of one machine"


def is_small(notebook: Notebook) -> Findings:
    """Few cells, short ones, and a small file."""
    size = notebook.path.stat().st_size
    if size >= BYTES:
        yield None, f"has {size / 1e6:.2f} MB; need less than {BYTES / 1e6:.0f} MB"
    appendix = notebook.path.stem.startswith("A")
    least, most = CELLS_APPENDIX if appendix else CELLS
    aside = {"exercise", "solution"}  # read when they are worked on
    read_through = [c for c in notebook.book.cells if not aside & tags(c)]
    count = sum(cell.get("id") != FETCHES for cell in read_through)
    if not least <= count <= most:
        yield None, f"has {count} cells beside exercises; need {least} to {most}"
    for k, cell in notebook.code:
        lines = cell.source.splitlines()
        if len(lines) > LINES:
            yield k, f"has {len(lines)} lines; at most {LINES}"
        if (wide := max(map(len, lines), default=0)) > COLUMNS:
            yield k, f"has a line of {wide} columns; at most {COLUMNS}"


def has_one_cell_of_parameters(notebook: Notebook) -> Findings:
    """Plain literals, each with a comment, which papermill can replace."""
    cells = [(k, c) for k, c in notebook.code if "parameters" in tags(c)]
    if len(cells) != 1:
        yield None, f"has {len(cells)} cells tagged `parameters`; need one"
    for k, cell in cells:
        for node in parsed(cell):
            text = cell.source.splitlines()[node.lineno - 1]
            plain = isinstance(node, ast.Assign)
            try:
                ast.literal_eval(text.split("=", 1)[-1].strip())
            except (SyntaxError, ValueError):
                plain = False
            if not plain or "#" not in text:
                yield k, f"{text!r}; need `name = literal  # what it is`"


def says_what_pictures_show(notebook: Notebook) -> Findings:
    """Alternative text, for who cannot see them."""
    for k, output in notebook.outputs:
        for kind in output.get("data", {}):
            if kind.startswith("image/"):
                alt = output.metadata.get(kind, {}).get("alt", "")
                if len(alt.split()) < 4:
                    yield k, f"a picture says {alt!r}; need plot.show(figure, alt)"
    for k, cell in enumerate(notebook.book.cells):
        if cell.cell_type == "markdown" and "![](" in cell.source:
            yield k, "a picture says ''; need ![what it shows](…)"


# --- numbers in prose -------------------------------------------------------

NUMBER = re.compile(
    r"(?<![\w.,/×^])[−-]?(\d+(?:,\d{3})*(?:\.\d+)?)(?![\w/^]|[.,]\d)(?:\s?(%|per cent))?"
)
# What is no prose: code, equations, addresses, headings, places in papers
ASIDE = re.compile(
    r"```.*?```|<!--.*?-->|\$\$.*?\$\$|\$[^$\n]+\$|`[^`\n]*`|\]\([^)]*\)|<[^>]*>"
    r"|^#+ .*$|\b(?:section|equation|eq|figure|table|version)s?\.?\s[\d., and]+",
    re.DOTALL | re.MULTILINE | re.IGNORECASE,
)
OF_OTHERS = re.compile(
    r"\b(?:papers?|publish\w*|authors?|releas\w+|prints?|et al\.|20[012]\d)\b"
)
SENTENCE = re.compile(r"(?<=[.!?:;)*])\s+(?=[A-Z*(\[|])|\n+")
TYPED = re.compile(r"<!-- typed: (.*?)-->", re.DOTALL)
LEVELS = {"95 %", "2.5 %", "97.5 %"}  # of intervals


def types_no_computed_number(notebook: Notebook) -> Findings:
    """A decimal or a percentage of the prose stands in no output, to its own decimals.

    Sentences on what others have published are left out, and what is in code as well:
    there it is a setting, and not a result.
    """
    computed = [
        (_decimal(number), bool(unit), k)
        for k, output in notebook.outputs
        for number, unit in NUMBER.findall(text_of(output))
    ]
    settings = {
        str(node.value)
        for _, cell in notebook.code
        for statement in parsed(cell)
        for node in ast.walk(statement)
        if isinstance(node, ast.Constant)
    }
    for k, cell in enumerate(notebook.book.cells):
        if cell.cell_type != "markdown" or "solution" in tags(cell):
            continue
        allowed = NUMBER.findall(" ".join(TYPED.findall(cell.source)))
        for sentence in SENTENCE.split(ASIDE.sub(" ", cell.source)):
            found = () if OF_OTHERS.search(sentence) else NUMBER.findall(sentence)
            for number, unit in found:
                if (number, unit) in allowed or f"{number} {unit}" in LEVELS:
                    continue
                if not unit and number in settings:
                    continue
                where = _cell_of(number, bool(unit), computed)
                if where is not None:
                    told = f"{number} {unit}".strip()
                    yield (
                        k,
                        f"types {told}, which cell {where} computes: print it there",
                    )


def _cell_of(number: str, is_share: bool, computed: list) -> int | None:
    """The cell that computes a number; None where none does, or where it says little."""
    value, places = _decimal(number)
    if not is_share and (places == 0 or len(value.as_tuple().digits) < 2):
        return None  # 0.2 and 12 are met by chance
    for (other, its_places), is_share_too, k in computed:
        if is_share and not is_share_too:
            if places == 0 and other > 1:
                continue  # 38 %, and 38 of something
            if other <= 1:
                other, its_places = 100 * other, its_places - 2  # 0.38 is 38 %
        if its_places >= places and round(other, places) == value:
            return k
    return None


def _decimal(number: str) -> tuple[Decimal, int]:
    """A number without its commas, and how many decimals it has."""
    return Decimal(number.replace(",", "")), len(number.partition(".")[2])


# ----------------------------------------------------------------------------

STORE = "store it by `sslnb run --store`"
RULES: Sequence[Callable[[Notebook], Findings]] = (
    runs_in_order,
    has_no_errors_and_no_warnings,
    stores_no_widgets,
    keeps_only_tags,
    is_plain_python,
    names_no_machine,
    is_small,
    has_one_cell_of_parameters,
    says_what_pictures_show,
    types_no_computed_number,
)


def lint(notebook: Notebook) -> Iterator[str]:
    """What all rules find, as lines."""
    for rule in RULES:
        for k, what in rule(notebook):
            yield f"cell {k}: {what}" if k is not None else what
