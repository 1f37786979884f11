"""Pages of executed notebooks, for people without Jupyter: HTML, and an index.

    >>> done = make_page("runs/06_localisation.ipynb")  # runs/06_localisation.html
    >>> write_index("runs", [done])         # runs/index.html: the key outputs

nbconvert makes the pages, after the templates beside this file. They load nothing
from elsewhere, so that they read the same without a network. Equations are the one
thing that nbconvert does not render itself: it leaves them to MathJax, a script of
over a megabyte from another server. Here latex2mathml makes MathML of them, which
browsers draw by themselves.
"""

import base64
import html
import mimetypes
import os
import platform
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import nbformat
from jinja2 import Environment, FileSystemLoader, Template, pass_context
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode

from sslnb.files import ROOT
from sslnb.series.lint import WIDGET

TEMPLATES = Path(__file__).with_name("templates")
PRIME = re.compile(r"<msup>(<mi>[^<]*</mi>)<mi>(&#x0203[2-4];)</mi></msup>")
# The series' own notebooks, from wherever they are linked to
NOTEBOOK = re.compile(r"^(?:\.\./|appendix/)*([0-9A]\d_\w+)\.ipynb")


@dataclass
class Done:
    """A notebook that was executed.

    name: its file's, without the ending; outputs: HTML of those of its cells tagged
    `key`; seconds: what it took; problem: what stopped it, or "".
    """

    name: str
    title: str
    outputs: str
    seconds: float = 0
    problem: str = ""


def without_widgets(book: NotebookNode) -> NotebookNode:
    """Remove a notebook's widgets, which only a live kernel can draw."""
    book.metadata.pop("widgets", None)
    for cell in book.cells:
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if WIDGET not in o.get("data", {})]
    return book


def title_of(book: NotebookNode) -> str:
    """The first heading of a notebook, as text."""
    headings = (
        re.search(r"^# +(.+)$", cell.source, re.MULTILINE)
        for cell in book.cells
        if cell.cell_type == "markdown"
    )
    return next((found[1] for found in headings if found), "Untitled")


def mathml(tex: str, display: str) -> str:
    """An equation as MathML, "block" or "inline"; as it is where it cannot be read."""
    tex = re.sub(r"\\mathcal ([A-Z])", r"\\mathcal{\1}", tex)
    tex = re.sub(r"\\tag\{(.+?)\}", r"\\qquad (\1)", tex)
    tex = re.sub(r"(\\(?:log|exp))(?=\s*\\[dt]?frac)", r"\1\\,", tex)
    try:
        math = convert(tex, display=display)
        # a prime is raised already: as a superscript it would be tiny
        return PRIME.sub(r"<mrow>\1<mo lspace='0' rspace='0'>\2</mo></mrow>", math)
    except Exception:  # its errors have no common type, and the page must not fail
        return f"<code>{html.escape(tex)}</code>"


def data_address(path: Path) -> str:
    """An address that holds a picture itself, for pages that load nothing."""
    kind = mimetypes.guess_type(path)[0] or "image/webp"  # which few systems know
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def template(name: str) -> Template:
    """A template of a page, beside this file."""
    loader = FileSystemLoader(TEMPLATES)
    return Environment(loader=loader, autoescape=True).get_template(name)


class Renderer(IPythonRenderer):
    """Markdown with equations as MathML, and with links to pages, not to notebooks."""

    def block_math(self, body: str) -> str:
        """An equation on a line of its own."""
        return mathml(body, "block")

    def inline_math(self, body: str) -> str:
        """An equation in a line of text."""
        return mathml(body, "inline")

    def link(self, text: str, url: str, title: str | None = None) -> str:
        """A link."""
        return super().link(text, NOTEBOOK.sub(r"\1.html", url), title)

    def image(self, text: str, url: str, title: str | None = None) -> str:
        """An image; one of the series' own is written into the page."""
        path = ROOT / "notebooks" / url
        if url.startswith("images/") and path.is_file():
            # by hand: mistune takes no addresses of this kind
            return f'<img src="{data_address(path)}" alt="{html.escape(text)}">'
        return super().image(text, url, title)


class Exporter(HTMLExporter):
    """Notebooks to HTML by a template of ours."""

    def __init__(self, template: str, **settings):
        super().__init__(
            template_file=template, extra_template_paths=[str(TEMPLATES)], **settings
        )

    @pass_context
    def markdown2html(self, context, source: str) -> str:
        """The filter of that name in nbconvert's templates."""
        renderer = Renderer(escape=False, exclude_anchor_links=True)
        return MarkdownWithMath(renderer=renderer).render(source)


def make_page(notebook: str | Path) -> Done:
    """Write the HTML page of an executed notebook beside it; its part of the index."""
    path = Path(notebook)
    book = without_widgets(nbformat.read(path, 4))
    book.metadata["title"] = title_of(book)
    body, _ = Exporter("page.html.j2").from_notebook_node(book)
    path.with_suffix(".html").write_text(body, encoding="utf-8")
    return Done(path.stem, book.metadata["title"], key_outputs(book))


def key_outputs(book: NotebookNode) -> str:
    """HTML of the outputs of the cells tagged `key`, each under its heading."""
    cells, heading = [], ""
    for cell in book.cells:
        if cell.cell_type == "markdown":
            lines = re.findall(r"^#{2,} +(.+)$", cell.source, re.MULTILINE)
            heading = lines[-1] if lines else heading
        elif "key" in cell.metadata.get("tags", []):
            if heading:
                cells.append(nbformat.v4.new_markdown_cell(f"### {heading}"))
                heading = ""
            cells.append(cell)
    if not cells:
        return ""
    part = nbformat.v4.new_notebook(cells=cells, metadata=book.metadata)
    exporter = Exporter(
        "outputs.html.j2", exclude_input=True, exclude_output_prompt=True
    )
    return exporter.from_notebook_node(part)[0]


def write_index(out: str | Path, done: Sequence[Done]) -> Path:
    """Write index.html of executed notebooks, in order; its path."""
    path = Path(out, "index.html")
    text = template("index.html.j2").render(
        done=done,
        minutes=sum(one.seconds for one in done) / 60,
        day=time.strftime("%Y-%m-%d"),
        machine=f"Python {platform.python_version()}, torch {version('torch')}, "
        f"{os.cpu_count()} CPU cores, {platform.system()} {platform.machine()}",
    )
    path.write_text(text, encoding="utf-8")
    return path
