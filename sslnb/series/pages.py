"""Pages of executed notebooks, for people without Jupyter: HTML, and an index.

    >>> page("runs/06_localisation.ipynb")     # runs/06_localisation.html
    >>> write_index(Path("runs"), done)        # runs/index.html: the key outputs

Pages load nothing from elsewhere, so that they read the same without a network:
equations become MathML, which browsers draw by themselves.
"""

import html
import os
import platform
import re
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import nbformat
from jinja2 import pass_context
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

WIDGET = "application/vnd.jupyter.widget-view+json"

# nbconvert's own page without its scripts from elsewhere, narrower, with a way back
PAGE = """{% extends 'lab/index.html.j2' %}
{% block html_head_js %}{% endblock %}
{% block html_head_js_mathjax %}{% endblock %}
{% block html_head_js_mermaidjs %}{% endblock %}
{% block html_head_css %}<style>
main { max-width: 62rem; margin: 0 auto }
.jp-RenderedHTMLCommon img { max-width: 100%; height: auto }
math { font-size: 1.1em } math[display=block] { margin: 1em 0 }
summary { cursor: pointer }
.back { margin: 1rem 0 0 var(--jp-notebook-padding, 1rem); font-family: sans-serif }
</style>{% endblock %}
{% block body_header %}{{ super() }}
<p class="back"><a href="index.html">← the whole run</a></p>{% endblock %}"""

INDEX = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>sslnb: a run of the series</title>
<style>
body {{ font: 16px/1.55 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
  color: #222; max-width: 60rem; margin: 0 auto; padding: 2.5rem 1.25rem }}
h1 {{ font-size: 1.8rem; line-height: 1.2; margin: 0 0 .3rem }}
h2 {{ font-size: 1.35rem; margin: 0 0 .5rem }}
h3 {{ font-size: 1.05rem; margin: 1.4rem 0 .4rem }}
a {{ color: #0072b2; text-decoration: none }} a:hover {{ text-decoration: underline }}
.small {{ color: #666; font-size: .9rem; margin: .2rem 0 1.5rem }}
section {{ border-top: 1px solid #ddd; margin-top: 2.2rem; padding-top: 1.6rem }}
img {{ max-width: 100%; height: auto }} pre {{ overflow-x: auto; font-size: .85rem }}
table {{ border-collapse: collapse; margin: .6rem 0; font-size: .95rem }}
td, th {{ padding: .3rem .9rem; text-align: right; border: 0 }}
th {{ border-bottom: 1px solid #888; font-weight: 600 }}
tbody tr:nth-child(even) {{ background: #f6f7f8 }}
.contents td:first-child {{ text-align: left; padding-left: .4rem }}
.problem {{ background: #fdecea; border-left: 4px solid #d55e00; padding: .6rem 1rem;
  white-space: pre-wrap }}
.anchor-link {{ display: none }}
</style></head><body>
<h1>Self-supervised sound localisation: a run of the series</h1>
<p class="small">{summary} · {day} · {machine}</p>
<table class="contents"><tbody>{rows}</tbody></table>
{sections}
</body></html>
"""


@dataclass
class Done:
    """A notebook that was executed: its name, the seconds, and what stopped it."""

    stem: str
    seconds: float
    problem: str = ""


def without_widgets(book):
    """A notebook whose widgets, which a live kernel alone can draw, are left out."""
    book.metadata.pop("widgets", None)
    for cell in book.cells:
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if WIDGET not in o.get("data", {})]
    return book


def readable(notebook):
    """An executed notebook for a page: no widgets, pictures with their `alt`."""
    book = without_widgets(nbformat.read(notebook, 4))
    for cell in book.cells:
        for output in cell.get("outputs", []):
            picture = output.get("data", {}).get("image/png")
            if picture:
                alt = output.metadata.get("image/png", {}).get("alt", "")
                source = picture.replace("\n", "")
                output.data = nbformat.from_dict({
                    "text/html": f'<img alt="{html.escape(alt)}" '
                                 f'src="data:image/png;base64,{source}">'
                })
    return book


def title(book):
    """The first heading of a notebook, as text."""
    headings = (re.search(r"^# +(.+)$", c.source, re.MULTILINE) for c in book.cells
                if c.cell_type == "markdown")
    return next((found[1] for found in headings if found), "Untitled")


def mathml(tex, display):
    """An equation as MathML; as it is written where it cannot be read."""
    from latex2mathml.converter import convert

    tex = re.sub(r"\\mathcal ([A-Z])", r"\\mathcal{\1}", tex)
    tex = re.sub(r"\\tag\{(.+?)\}", r"\\qquad (\1)", tex)
    try:
        return convert(tex, display=display)
    except Exception:  # its errors have no common kind; the page must not fail
        return f"<code>{html.escape(tex)}</code>"


class Renderer(IPythonRenderer):
    """Markdown whose equations become MathML."""

    def block_math(self, body):
        """An equation on a line of its own."""
        return mathml(body, "block")

    def inline_math(self, body):
        """An equation in a line of text."""
        return mathml(body, "inline")


class Exporter(HTMLExporter):
    """Notebooks to HTML with MathML."""

    @pass_context
    def markdown2html(self, context, source):
        """The filter of that name in nbconvert's templates."""
        renderer = Renderer(escape=False, exclude_anchor_links=True)
        return MarkdownWithMath(renderer=renderer).render(source)


def page(notebook):
    """HTML page beside an executed notebook; where it was written."""
    book = readable(notebook)
    book.metadata["title"] = title(book)
    body, _ = Exporter(raw_template=PAGE).from_notebook_node(book)
    # links between notebooks become links between pages
    body = re.sub(r'href="(\d\d_\w+)\.ipynb', r'href="\1.html', body)
    target = Path(notebook).with_suffix(".html")
    target.write_text(body, encoding="utf-8")
    return target


def key_outputs(book):
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
    exporter = Exporter(template_name="basic", exclude_input=True,
                        exclude_output_prompt=True)
    return exporter.from_notebook_node(part)[0]


def write_index(out, done):
    """index.html of executed notebooks, in order; where it was written."""
    rows, sections = [], []
    for one in done:
        book = readable(out / f"{one.stem}.ipynb")
        name = html.escape(title(book))
        state = "stopped" if one.problem else f"{one.seconds:.0f} s"
        rows.append(f'<tr><td><a href="{one.stem}.html">{name}</a></td>'
                    f"<td>{state}</td>"
                    f'<td><a href="{one.stem}.ipynb">notebook</a></td></tr>')
        body = key_outputs(book)
        if one.problem:
            body = f'<p class="problem">{html.escape(one.problem)}</p>' + body
        if body:
            sections.append(f'<section><h2><a href="{one.stem}.html">{name}</a></h2>'
                            f"{body}</section>")
    minutes = sum(one.seconds for one in done) / 60
    machine = (f"Python {platform.python_version()}, torch {version('torch')}, "
               f"{os.cpu_count()} CPU cores, {platform.system()} {platform.machine()}")
    target = out / "index.html"
    target.write_text(INDEX.format(
        summary=f"{len(done)} notebooks in {minutes:.1f} minutes", machine=machine,
        rows="".join(rows), sections="".join(sections), day=time.strftime("%Y-%m-%d"),
    ), encoding="utf-8")
    return target
