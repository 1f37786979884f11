"""The links that the book adds to plain Markdown: equations, works and terms."""

import json
import re
import sys

import pytest

from sslnb.files import ROOT
from sslnb.series import pages

sys.path.insert(0, str(ROOT / "book"))
import crosslinks
import modules

NOTEBOOKS = sorted(
    [*ROOT.glob("notebooks/*.ipynb"), *ROOT.glob("notebooks/appendix/*.ipynb")]
)
WORK = re.compile(
    r"\]\((https?://(?:(?:dx\.)?doi\.org|arxiv\.org|www\.jmlr\.org|proceedings|papers"
    r"|openaccess)[^)\s]*)\)"
)


def markdown(path):
    """What a notebook says outside its code."""
    cells = json.loads(path.read_text("utf-8"))["cells"]
    return "\n\n".join(
        "".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"
    )


@pytest.mark.parametrize(
    "tex, left, number",
    [
        (r"a = b \tag{2}", "a = b", "2"),
        (r"a = b \qquad (1)", "a = b", "1"),
        (r"a = b \qquad\text{(11)}", "a = b", "11"),
        (r"a = b, \qquad c = d \quad\text{(eq. 9)}", r"a = b, \qquad c = d", "9"),
        ("f(2)", "f(2)", ""),
        (r"b \qquad\text{(see 3)}", r"b \qquad\text{(see 3)}", ""),
    ],
)
def test_the_papers_number_is_taken_from_the_end_of_an_equation(tex, left, number):
    assert crosslinks.number_of(tex) == (left, number)


@pytest.mark.parametrize(
    "text, found",
    [
        ("By equation 5 such", {"equation 5": "5"}),
        ("equations 5 to 8, to the letter", {"equations 5": "5", "8": "8"}),
        ("with equations 2, 4 and 9; figures 2 and 5", {"equations 2": "2", "4": "4", "9": "9"}),
        ("Equation\n11 is", {"Equation\n11": "11"}),
        ("(eq. 2, figure 3)", {"eq. 2": "2"}),
        ("equation of 3 lines, sequence 4", {}),
    ],
)  # fmt: skip
def test_equations_are_found_where_prose_mentions_them(text, found):
    assert {text[a:b]: n for a, b, n in crosslinks.mentions(text)} == found


def test_terms_are_found_whole_longest_first_and_in_the_plural():
    terms = ["receptive field", "effective receptive field", "IoU", "cIoU", "EMA"]
    text = "Effective receptive\nfields, a receptive field, cIoU; schema, IoU-like"
    assert [term for *_, term in crosslinks.uses(text, terms)] == [
        "effective receptive field",
        "receptive field",
        "cIoU",
    ]


def test_every_work_that_a_notebook_links_is_in_the_bibliography():
    works = crosslinks.addresses(ROOT / "book" / "references.bib")
    cited = {}
    for path in NOTEBOOKS:
        for address in WORK.findall(markdown(path)):
            cited.setdefault(address, path.name)
    assert {a: n for a, n in cited.items() if a not in works} == {}
    unused = set(works.values()) - {works[a] for a in cited}
    assert unused <= {"liu2022"}, "nobody cites these"  # the paper itself: the README


def test_every_term_of_the_glossary_occurs_in_a_notebook():
    text = (ROOT / "book" / "glossary.md").read_text("utf-8")
    body = text.split("```{glossary}\n")[1].split("\n```")[0]
    entries = re.findall(r"^((?:\S.*\n)+)(?:  .*\n?)+", body, re.MULTILINE)
    said = "\n".join(map(markdown, NOTEBOOKS))
    assert len(entries) > 30
    for names in (entry.splitlines() for entry in entries):
        assert list(crosslinks.uses(said, names)), f"no notebook uses {names}"


def test_every_equation_that_prose_mentions_stands_in_a_notebook():
    texts = {path.name: markdown(path) for path in NOTEBOOKS}
    there = {
        crosslinks.number_of(tex)[1]
        for text in texts.values()
        for tex in re.findall(r"\$\$(.+?)\$\$", text, re.DOTALL)
    }
    for name, text in texts.items():
        for start, end, number in crosslinks.mentions(text):
            assert number in there, f"{name}: {text[start:end]}"


def test_equations_have_room_and_primes():
    assert "mfrac" in pages.mathml(r"\log\frac{a}{b}", "block").split("mspace")[1]
    assert "<msup>" not in pages.mathml("I'(x)", "inline")


def test_a_modules_page_holds_signatures_and_docstrings():
    text = modules.page("losses")
    assert text.startswith("# sslnb.losses\n\nThe two losses")
    assert "## contrastive_loss\n\n```python\ndef contrastive_loss(\n" in text
    assert "    epsilon: float=0.65,\n" in text
    assert "_rows_and_columns(" not in text  # is not public
    assert '`form="paper"` is equations 5 to 8' in text


def test_a_docstrings_columns_stay_columns_and_its_signs_are_no_markdown():
    assert modules.markdown("media   images\nstore   clips").startswith("    media")
    assert modules.markdown("a < b, *args, $x$") == r"a \< b, \*args, \$x\$"
    assert modules.markdown("One\n\n    >>> f(*a)") == "One\n\n    >>> f(*a)"
