"""What makes pages of single notebooks a book: a Sphinx extension of links.

Notebooks must read well on GitHub, so they hold plain Markdown. From that, and with
no mark-up of ours, come

- numbered equations: the paper's number, written at the end of a display equation as
  `\\tag{9}`, `\\qquad (9)` or `\\quad\\text{(eq. 9)}`, becomes its number and anchor;
- links to them from "equation 9" or "equations 5 to 8" in prose, to the same page
  where that has the equation, else to the page that has it first;
- links to the bibliography, where a link's address is that of an entry;
- links to the glossary, where a page first uses a term;
- links to the modules' pages, where a page of prose first names a function in `code`;
- exercises as boxes, alternative texts of figures, and equations as MathML.
"""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from docutils import nodes
from pybtex.database import parse_file
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.nodes import make_refnode

from sslnb.series.pages import mathml

logger = logging.getLogger(__name__)

NUMBER = re.compile(
    r"[\s,]*(?:\\q?quad\s*)*"
    r"(?:\\tag\{(\d+)\}|\\text\{\s*\((?:eq\.\s*)?(\d+)\)\}|(?<=quad) *\((\d+)\)) *$"
)
MENTION = re.compile(
    r"\b[Ee]q(?:uations?|s?\.)\s+\(?(?P<first>\d+)\)?"
    r"(?P<more>(?:(?:,\s*|,?\s+and\s+|\s+to\s+|\s+or\s+|\s*–\s*)\(?\d+\)?)*)"
)
# Text in one of these is no prose, or is a link already
NOT_PROSE = (
    nodes.reference,
    nodes.literal,
    nodes.literal_block,
    nodes.math,
    nodes.math_block,
    nodes.raw,
    nodes.title,
    nodes.block_quote,
    nodes.term,
    nodes.citation,
)
MODULES = "modules/"
GLOSSARY, BIBLIOGRAPHY = "glossary", "references"  # pages
EXERCISE = re.compile(r"^Exercises?\b")
Piece = tuple[int, int, nodes.Node]  # from and to in a text, and what stands there


def number_of(tex: str) -> tuple[str, str]:
    """A display equation without the paper's number, and that number or ""."""
    found = NUMBER.search(tex)
    if not found:
        return tex, ""
    return tex[: found.start()].rstrip(), found[1] or found[2] or found[3]


def mentions(text: str) -> Iterator[tuple[int, int, str]]:
    """Each mention of an equation in prose: from, to, and its number."""
    for found in MENTION.finditer(text):
        yield found.start(), found.end("first"), found["first"]
        for more in re.finditer(r"\d+", found["more"]):
            start = found.start("more")
            yield start + more.start(), start + more.end(), more[0]


def term_pattern(terms: Iterable[str]) -> re.Pattern[str]:
    """Finds terms in prose: longest first, also in the plural or with a capital."""
    words = sorted(terms, key=len, reverse=True)
    either = "|".join(re.escape(word).replace(r"\ ", r"\s+") for word in words)
    return re.compile(rf"(?<![\w@-])(?:{either})(?:s|es)?(?![\w-])", re.IGNORECASE)


def term_of(text: str, terms: Iterable[str]) -> str:
    """The term that a text found by `term_pattern` stands for."""
    text = " ".join(text.split()).casefold()
    known = {term.casefold(): term for term in terms}
    return next(known[form] for form in (text, text[:-1], text[:-2]) if form in known)


def prose(tree: nodes.Element, links: bool = False) -> Iterator[nodes.Text]:
    """The texts of a page that a person wrote, apart from headings; also in links?"""
    stop = tuple(kind for kind in NOT_PROSE if not links or kind != nodes.reference)
    for text in list(tree.findall(nodes.Text)):
        above = text.parent
        while above is not None and not isinstance(above, stop):
            if "cell_output" in above.get("classes", ()):
                break
            above = above.parent
        if above is None:
            yield text


def replace(text: nodes.Text, pieces: list[Piece]) -> None:
    """Put nodes into a text, each in place of a part of it."""
    if not pieces:
        return
    new: list[nodes.Node] = []
    at = 0
    for start, end, node in pieces:
        new += [nodes.Text(text.astext()[at:start]), node]
        at = end
    new.append(nodes.Text(text.astext()[at:]))
    text.parent.replace(text, [n for n in new if n.astext()])


def addresses(bibliography: str | Path) -> dict[str, str]:
    """The addresses of a bibliography's entries, each with the entry's key."""
    found = {}
    for key, entry in parse_file(str(bibliography)).entries.items():
        fields = entry.fields
        if "doi" in fields:
            found[f"https://doi.org/{fields['doi']}"] = key
        if "eprint" in fields:
            found[f"https://arxiv.org/abs/{fields['eprint']}"] = key
        if "url" in fields:
            found[fields["url"]] = key
    return found


class Equations(SphinxTransform):
    """Give equations the paper's numbers, and remember where they are."""

    default_priority = 200

    def apply(self, **kwargs) -> None:
        """Do so."""
        here = equations(self.env)
        for block in self.document.findall(nodes.math_block):
            tex, number = number_of(block.astext())
            if not number:
                continue
            block[:] = [nodes.Text(tex)]
            block["eqno"] = number
            anchor = f"equation-{number}"
            if anchor not in self.document.ids:
                block["ids"] = [anchor]
                self.document.ids[anchor] = block
                here.setdefault(number, {})[self.env.docname] = anchor


class Pictures(SphinxTransform):
    """Give the figures of a notebook's outputs the alternative texts stored there.

    Pictures from other servers, such as badges, become text.
    """

    default_priority = 201

    def apply(self, **kwargs) -> None:
        """Do so."""
        for image in list(self.document.findall(nodes.image)):
            if image["uri"].startswith("http"):
                image.replace_self(nodes.Text(image.get("alt", "")))
            elif "images/method" in image["uri"]:  # for light and for dark pages
                image["classes"].append("dark-light")
        for player in self.document.findall(nodes.raw):
            if "<audio" in player.astext():
                text = player.astext().replace("<audio", '<audio aria-label="Sound"')
                player[:] = [nodes.Text(text)]
        path = Path(self.env.doc2path(self.env.docname))
        if path.suffix != ".ipynb":
            return
        images = [
            image
            for cell in self.document.findall(nodes.container)
            if cell.get("nb_element") == "cell_code_output"
            for image in cell.findall(nodes.image)
        ]
        texts = [
            about.get("alt", "")
            for cell in json.loads(path.read_text("utf-8"))["cells"]
            for output in cell.get("outputs", ())
            for kind, about in sorted_images(output)
        ]
        if len(texts) != len(images):
            logger.warning("%d pictures, %d texts", len(images), len(texts))
        for image, text in zip(images, texts):
            image["alt"] = text


def sorted_images(output: dict) -> list[tuple[str, dict]]:
    """The pictures in an output, each with its metadata."""
    return [
        (kind, output.get("metadata", {}).get(kind, {}))
        for kind in output.get("data", ())
        if kind.startswith("image/")
    ]


class Exercises(SphinxTransform):
    """Put a box around an exercise: from its heading's end to its solution's."""

    default_priority = 202

    def apply(self, **kwargs) -> None:
        """Do so."""
        for section in list(self.document.findall(nodes.section)):
            if not EXERCISE.match(section[0].astext()):
                continue
            for end, node in enumerate(section.children):
                if isinstance(node, nodes.raw) and "</details>" in node.astext():
                    box = nodes.container(classes=["exercise"])
                    box += section.children[1 : end + 1]
                    section.children[1 : end + 1] = []
                    section.insert(1, box)
                    break


class Links(SphinxPostTransform):
    """Link equations, works and terms from prose."""

    default_priority = 50  # after Sphinx has made its own links

    def run(self, **kwargs) -> None:
        """Do so."""
        self.page = self.env.docname
        self.cite()
        if not self.page.startswith(MODULES):
            self.functions()
        for text in prose(self.document):
            replace(text, list(self.equations(text.astext())))
        if self.page == GLOSSARY:
            self.where_terms_occur()
        elif self.page == BIBLIOGRAPHY:
            self.where_works_are_cited()
        else:
            self.first_uses()

    def link(self, page: str, anchor: str, text: str, kind: str) -> nodes.reference:
        """A link from this page to an anchor of a page."""
        link = make_refnode(
            self.env.app.builder, self.page, page, anchor, nodes.inline("", text)
        )
        link["classes"].append(kind)
        return link

    def equations(self, text: str) -> Iterator[Piece]:
        """Links to the equations that a text mentions."""
        for start, end, number in mentions(text):
            pages = equations(self.env).get(number)
            if pages:
                page = self.page if self.page in pages else min(pages)
                link = self.link(page, pages[page], text[start:end], "to-equation")
                yield start, end, link

    def cite(self) -> None:
        """Let links to works lead to the bibliography."""
        works = self.works()
        entries = {
            one.key: one
            for one in self.env.get_domain("cite").citations  # type: ignore[attr-defined]
        }
        for link in list(self.document.findall(nodes.reference)):
            key = works.get(link.get("refuri", ""))
            above = link.parent
            while above is not None and not isinstance(above, nodes.citation):
                above = above.parent
            if key in entries and above is None:
                to = entries[key]
                link.replace_self(
                    self.link(
                        to.bibliography_key.docname,
                        to.citation_id,
                        link.astext(),
                        "to-work",
                    )
                )

    def functions(self) -> None:
        """Link functions and classes of the package where the page first names them."""
        places, done = self.places(), set()
        for code in list(self.document.findall(nodes.literal)):
            name = code.astext().split("(")[0].removeprefix("sslnb.")
            if name.isalpha() and name == code.astext() and "notebooks/" in self.page:
                continue  # `model`: a variable
            place = places.get(name)
            if place and place not in done and not isinstance(code.parent, NOT_PROSE):
                done.add(place)
                link = self.link(*place, "", "to-code")
                code.replace_self(link)
                link[:] = [code]

    def places(self) -> dict[str, tuple[str, str]]:
        """Where functions and classes are described: {name: (page, anchor)}.

        By their module, and on their own where they are alone of that name and it
        cannot be mistaken for a variable of a notebook.
        """
        places: dict[str, tuple[str, str]] = {}
        alone: dict[str, list[tuple[str, str]]] = {}
        for page in (p for p in self.env.found_docs if p.startswith(MODULES)):
            module = ""
            for section in self.env.get_doctree(page).findall(nodes.section):
                name, place = section[0].astext(), (page, section["ids"][0])
                if name.startswith("sslnb."):
                    module = name.removeprefix("sslnb.")
                    places[module] = place
                    continue
                places[f"{module}.{name}"] = place
                if "." in module:  # the package offers it, too
                    places.setdefault(f"{module.split('.')[0]}.{name}", place)
                    places.setdefault(f"{module.split('.')[-1]}.{name}", place)
                if "_" in name or name[1:].lower() != name[1:]:
                    alone.setdefault(name, []).append(place)
        return {n: where[0] for n, where in alone.items() if len(where) == 1} | places

    def terms(self) -> dict[str, str]:
        """The glossary's terms, each with the anchor of its entry."""
        return {
            term.astext(): item.next_node(nodes.term)["ids"][0]
            for item in self.env.get_doctree(GLOSSARY).findall(
                nodes.definition_list_item
            )
            for term in item.findall(nodes.term)
        }

    def first_uses(self) -> None:
        """Link each term where the page first uses it."""
        terms, done = self.terms(), set()
        for text in prose(self.document):
            pieces: list[Piece] = []
            for start, end, term in uses(text.astext(), terms):
                anchor = terms[term]
                if anchor not in done:
                    done.add(anchor)
                    words = text.astext()[start:end]
                    link = self.link(GLOSSARY, anchor, words, "to-term")
                    pieces.append((start, end, link))
            replace(text, pieces)

    def where_terms_occur(self) -> None:
        """Say under each term of the glossary in which notebooks it occurs."""
        terms, pages = self.terms(), {}
        for page in self.notebooks():
            texts = prose(self.env.get_doctree(page), links=True)
            text = "\n".join(part.astext() for part in texts)
            for anchor in {terms[term] for _, _, term in uses(text, terms)}:
                pages.setdefault(anchor, []).append(page)
        for item in self.document.findall(nodes.definition_list_item):
            anchor = item.next_node(nodes.term)["ids"][0]
            if anchor in pages:
                item.next_node(nodes.definition).append(self.pages(pages[anchor]))

    def where_works_are_cited(self) -> None:
        """Say under each work in which notebooks it is cited."""
        works, pages = self.works(), {}
        for page in self.notebooks():
            for link in self.env.get_doctree(page).findall(nodes.reference):
                key = works.get(link.get("refuri", ""))
                if key and page not in pages.setdefault(key, []):
                    pages[key].append(page)
        for entry in self.document.findall(nodes.citation):
            key = entry["ids"][0].removeprefix("cite-")
            if key in pages:
                entry.append(self.pages(pages[key]))

    def works(self) -> dict[str, str]:
        """The bibliography's addresses."""
        return addresses(self.env.srcdir / "references.bib")

    def notebooks(self) -> list[str]:
        """The notebooks' pages, in order."""
        return sorted(page for page in self.env.found_docs if "notebooks/" in page)

    def pages(self, pages: Iterable[str]) -> nodes.paragraph:
        """A line of links to notebooks."""
        line = nodes.paragraph("", "", classes=["occurs"])
        for page in pages:
            line += nodes.Text(", " if len(line) else "In ")
            number = page.rsplit("/", 1)[1].split("_")[0]
            line += self.link(page, "", number, "to-page")
        return line


def uses(text: str, terms: Iterable[str]) -> Iterator[tuple[int, int, str]]:
    """Each use of a term in prose: from, to, and the term."""
    for found in term_pattern(terms).finditer(text):
        yield found.start(), found.end(), term_of(found[0], terms)


def equations(env: BuildEnvironment) -> dict[str, dict[str, str]]:
    """Where equations stand: {number: {page: anchor}}."""
    if not hasattr(env, "sslnb_equations"):
        env.sslnb_equations = {}  # type: ignore[attr-defined]
    return env.sslnb_equations


def checked(tex: str, display: str) -> str:
    """An equation as MathML; a warning where it cannot be read."""
    text = mathml(tex, display)
    if text.startswith("<code>"):
        logger.warning("this equation cannot be read: %s", tex)
    return text


def inline_math(writer, node: nodes.math) -> None:
    """Write an equation in a line of text."""
    writer.body.append(checked(node.astext(), "inline"))
    raise nodes.SkipNode


def display_math(writer, node: nodes.math_block) -> None:
    """Write an equation on a line of its own, with its number."""
    writer.body.append(writer.starttag(node, "div", CLASS="math"))
    writer.body.append(checked(node.astext(), "block"))
    if "eqno" in node:
        writer.body.append(f'<span class="eqno">({node["eqno"]})</span>')
    writer.body.append("</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Register all of it with Sphinx."""
    app.add_html_math_renderer("mathml", (inline_math, None), (display_math, None))
    app.add_transform(Equations)
    app.add_transform(Pictures)
    app.add_transform(Exercises)
    app.add_post_transform(Links)
    return {"parallel_read_safe": False, "parallel_write_safe": False}
