"""Slides of a notebook, for who teaches with it: one HTML file, without a network.

    >>> make_slides("slides", ["04"])  # slides/04_equivariance_loss.html

Slides are chosen by what a notebook is made of: its promise, the equations of each
section, its questions ("Predict"), its figures, its exercises, what was learnt. Code
and answers stay in the notebook. A slide measures 1280 × 720 pixels, so it is sized
here and not by the screen; the arrow keys turn, and a print has a slide a page.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import nbformat
from markupsafe import Markup
from nbconvert.filters.markdown_mistune import MarkdownWithMath
from nbformat import NotebookNode

from sslnb.series.listing import notebooks
from sslnb.series.pages import Renderer, data_address, template, title_of

HEADING = re.compile(r"^(#{2,3}) +(.+)$", re.MULTILINE)
WILL = re.compile(r"\*\*You will\*\*\s+(.+?)(?=\n\n|\Z)", re.DOTALL)
FOLD = re.compile(r"<details>.*?</details>", re.DOTALL)
EQUATION = re.compile(r"\$\$.+?\$\$", re.DOTALL)
PICTURE = re.compile(r"!\[([^\]]+)\]\((?!\w+:)([^)]+)\)")
PICTURES = ("image/png", "image/jpeg")
CLOSING = re.compile(r"^## What you learnt\s*\n(.+?)(?=^\*\*|^#|\Z)", re.DOTALL | re.M)
# Characters of a slide's text, and the size of its letters in pixels
SIZES = ((260, 36), (480, 31), (760, 26), (1_100, 22))


@dataclass
class Slide:
    """What stands on a slide: its kind, its heading, and its content as HTML."""

    kind: str
    heading: str
    content: str
    size: int = SIZES[0][1]


def render(text: str) -> str:
    """Markdown as HTML, with equations as MathML; links lead nowhere on a slide."""
    text = re.sub(r"(?<!!)\[([^\]]+)\]\([^)]+\)", r"\1", text)
    renderer = Renderer(escape=False, exclude_anchor_links=True)
    return MarkdownWithMath(renderer=renderer).render(text)


def of_text(kind: str, heading: str, text: str) -> Iterator[Slide]:
    """A slide of Markdown, or several where it is long: cut between paragraphs."""
    parts = [part for part in re.split(r"\n{2,}", text.strip()) if part.strip()]
    while parts:
        count, length = 0, 0
        while count < len(parts) and (
            not count or length + len(parts[count]) <= SIZES[-1][0]
        ):
            length += len(parts[count])
            count += 1
        size = next((s for most, s in SIZES if length <= most), SIZES[-1][1])
        yield Slide(kind, heading, render("\n\n".join(parts[:count])), size)
        parts = parts[count:]


def of_picture(heading: str, alt: str, source: str) -> Slide:
    """A slide of a picture; source: an address that holds it."""
    image = Markup('<img alt="{}" src="{}">').format(alt, source)
    return Slide("figure", heading, str(image))


def slides_of(book: NotebookNode, folder: Path) -> Iterator[Slide]:
    """The slides of a notebook, in its order. folder: where it lies."""
    opening, heading = book.cells[0].source, title_of(book)
    will = WILL.search(opening)
    promise = re.sub(r"^# .+$", "", opening, flags=re.MULTILINE).strip()
    aims = re.split(r"·|^- ", will[1], flags=re.MULTILINE) if will else []
    aims = [f"- {aim.strip(' .;')}" for aim in map(str.strip, aims) if aim]
    text = "\n\n".join([promise.split("\n\n")[0], "\n".join(aims)])
    yield from of_text("title", heading, text)
    for cell in book.cells:
        tags = cell.metadata.get("tags", [])
        if cell.cell_type == "code":
            yield from _figures(cell, heading)
            continue
        if "solution" in tags:
            continue
        found = [title for _, title in HEADING.findall(cell.source)]
        if "exercise" in tags:
            task = HEADING.sub("", cell.source)
            yield from of_text("exercise", (found or ["Exercise"])[0], task)
            continue
        yield from _drawings(cell, (found or [heading])[0], folder)
        yield from _ideas(cell.source, heading)
        heading = (found or [heading])[-1]
        if closing := CLOSING.search(cell.source):
            yield from of_text("closing", "What you learnt", closing[1])


def _figures(cell: NotebookNode, heading: str) -> Iterator[Slide]:
    """What a cell has drawn."""
    for output in cell.outputs:
        for kind in PICTURES:
            if data := output.get("data", {}).get(kind):
                alt = output.metadata.get(kind, {}).get("alt", "")
                source = f"data:{kind};base64,{''.join(data.split())}"
                yield of_picture(heading, alt, source)


def _drawings(cell: NotebookNode, heading: str, folder: Path) -> Iterator[Slide]:
    """Pictures that a text shows."""
    for alt, name in PICTURE.findall(cell.source):
        yield of_picture(heading, alt, data_address(folder / name))


def _ideas(source: str, heading: str) -> Iterator[Slide]:
    """Equations and questions of a text, in their order, each below its heading."""
    for part in re.split(r"(?=^#{2,3} )", FOLD.sub("", source), flags=re.MULTILINE):
        if found := HEADING.match(part):
            heading = found[2]
        if equations := EQUATION.findall(part):
            yield from of_text("equation", heading, "\n\n".join(equations))
        paragraphs = re.split(r"\n{2,}", part)
        for k, text in enumerate(paragraphs):
            if re.search(r"\*\*Predict\b", text):
                listed = [
                    p for p in paragraphs[k + 1 :][:1] if p.startswith(("1.", "- "))
                ]
                yield from of_text("question", heading, "\n\n".join([text, *listed]))


def make_slides(out: str | Path, chosen: Sequence[str] = ()) -> list[Path]:
    """Write an HTML file of slides for each notebook; their paths."""
    Path(out).mkdir(parents=True, exist_ok=True)
    made = []
    for path in notebooks(chosen):
        book = nbformat.read(path, 4)
        text = template("slides.html.j2").render(
            title=title_of(book), slides=list(slides_of(book, path.parent))
        )
        made.append(Path(out, f"{path.stem}.html"))
        made[-1].write_text(text, encoding="utf-8")
    return made
