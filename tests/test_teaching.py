"""The teacher's page: what it names is there."""

import re
from pathlib import Path

import nbformat

from sslnb.cli import app
from sslnb.series import listing

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "TEACHING.md").read_text(encoding="utf-8")


def titles():
    """{number of a notebook: {title of an exercise: its size}}."""
    found = {}
    for path in listing.notebooks():
        text = "\n".join(cell.source for cell in nbformat.read(path, 4).cells)
        named = re.findall(r"^### Exercise \((.+?)\): (.+)$", text, re.MULTILINE)
        found[path.name[:2]] = {title: size for size, title in named}
    return found


def test_exercises_that_are_recommended_exist_and_have_the_size_that_is_told():
    part = TEXT.split("## Exercises, and for whom")[1].split("\n## ")[0]
    known, seen = titles(), 0
    for row in re.findall(r"^\| .+ \| (.+) \|$", part, re.MULTILINE):
        size = "project"
        for told, title, number in re.findall(
            r"(?:(ten minutes|an hour): )?\*([^*]+)\* \((\w\d)\)", row
        ):
            size = {"ten minutes": "10 minutes", "an hour": "1 hour"}.get(told, size)
            assert known[number].get(title) == size, (title, number, known[number])
            seen += 1
    assert seen >= 15


def test_links_and_commands_exist():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", TEXT):
        assert (ROOT / target).exists(), target
    for name in re.findall(r"(?:^|[ `/])sslnb ([a-z]+)", TEXT):
        assert name in app, name
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"\bmake ([a-z]+)\b", TEXT):
        assert target == "them" or re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_the_plan_fills_ninety_minutes():
    spans = re.findall(r"^\| (\d+)–(\d+) \|", TEXT, re.MULTILINE)
    ends = [int(end) for _, end in spans]
    assert [int(start) for start, _ in spans] == [0, *ends[:-1]] and ends[-1] == 90


def test_sections_that_the_plan_names_are_in_the_notebooks():
    """As `03, section 2`, where notebooks number their sections."""
    for number, listed in re.findall(
        r"\b(0\d)\]?[^|\n]*?, sections? ([\d, and]+)", TEXT
    ):
        (path,) = listing.notebooks([number])
        text = "\n".join(cell.source for cell in nbformat.read(path, 4).cells)
        for section in re.findall(r"\d+", listed):
            assert re.search(rf"^## {section} · ", text, re.MULTILINE), (
                number,
                section,
            )


def test_a_kernel_of_a_class_has_one_thread():
    loop = re.search(r"for seat in .*?done", TEXT, re.DOTALL)[0]
    assert re.search(r"^ *OMP_NUM_THREADS=1 \S*sslnb lab ", loop, re.MULTILINE)
