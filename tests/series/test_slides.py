"""Slides of the notebooks: what is chosen, and how it stands in a real browser."""

import re
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from sslnb.cli import main
from sslnb.series import listing
from sslnb.series.slides import make_slides, slides_of
from tests.browser import chromium

PATHS = listing.notebooks()
PIXEL = "iVBORw0KGgo="


def picture(alt):
    return new_output(
        "display_data", data={"image/png": PIXEL}, metadata={"image/png": {"alt": alt}}
    )


@pytest.fixture
def book(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "method.svg").write_text("<svg/>")
    return new_notebook(
        cells=[
            new_markdown_cell(
                "# 04 · A title\n\nYou learn *it*.\n\n**You will** see · [do](x.md) · "
                "check.\n\n**Needs** 03.\n\n![The method](images/method.svg)"
            ),
            new_code_cell("import math"),
            new_markdown_cell(
                "## 1 · An idea\n\nProse.\n\n$$a = b$$\n\n**Predict:** is it so?\n\n"
                "<details><summary>Answer</summary>\n\n**Predict** no, $$c$$\n\n</details>"
            ),
            new_code_cell("draw()", outputs=[picture('Two "lines" that meet')]),
            new_markdown_cell(
                "### Exercise (10 minutes): the loss\n\nWrite `my_loss`.",
                metadata={"tags": ["exercise"]},
            ),
            new_code_cell("def my_loss(): ...", metadata={"tags": ["exercise"]}),
            new_markdown_cell(
                "<details><summary>Solution</summary>\n\n$$secret$$\n\n</details>",
                metadata={"tags": ["solution"]},
            ),
            new_code_cell("draw()", outputs=[picture("A line")]),
            new_markdown_cell("## What you learnt\n\n- This.\n\n**Three questions**"),
        ]
    )


def test_a_slide_for_each_idea_in_the_notebooks_order(book, tmp_path):
    slides = list(slides_of(book, tmp_path))
    assert [(slide.kind, slide.heading) for slide in slides] == [
        ("title", "04 · A title"),
        ("figure", "04 · A title"),
        ("equation", "1 · An idea"),
        ("question", "1 · An idea"),
        ("figure", "1 · An idea"),
        ("exercise", "Exercise (10 minutes): the loss"),
        ("figure", "1 · An idea"),
        ("closing", "What you learnt"),
    ]
    title, drawing, equation, question, figure, *_, closing = slides
    assert "<em>it</em>" in title.content and "<li>do</li>" in title.content
    assert 'alt="The method"' in drawing.content and "image/svg+xml" in drawing.content
    assert "<math" in equation.content and "is it so?" in question.content
    assert 'alt="Two &#34;lines&#34; that meet"' in figure.content
    assert "This." in closing.content and "questions" not in closing.content


def test_answers_solutions_and_code_stay_in_the_notebook(book, tmp_path):
    told = "".join(slide.content for slide in slides_of(book, tmp_path))
    for secret in ("Answer", "secret", "Predict</strong> no", "draw()", "import"):
        assert secret not in told


def test_a_long_text_is_set_smaller_and_then_cut_between_paragraphs(tmp_path):
    sizes = []
    for count in (1, 6, 12):
        text = "\n\n".join(
            ["A line of some sixty characters, all in all, or so."] * count
        )
        cell = new_markdown_cell(
            f"### Exercise: x\n\n{text}", metadata={"tags": ["exercise"]}
        )
        book = new_notebook(cells=[new_markdown_cell("# t\n\np."), cell])
        sizes.append([s.size for s in slides_of(book, tmp_path)][1:])
    assert len(sizes[0]) == len(sizes[1]) == 1 and len(sizes[2]) == 1
    assert sizes[0] > sizes[1] > sizes[2]
    cell.source = "\n\n".join(["x" * 400] * 5)
    book = new_notebook(cells=[new_markdown_cell("# t\n\np."), cell])
    assert len(list(slides_of(book, tmp_path))) == 1 + 3


def test_the_command_writes_files_that_need_no_network(tmp_path, capsys):
    assert main(["slides", "A2", "06", "--out", str(tmp_path)]) == 0
    files = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert [file.name for file in files] == [
        "06_localisation.html",
        "A2_protocols.html",
    ]
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"(?:src|href)=\"(?!data:)", text)
        assert not re.search(r"@import|url\(", text)


# --- in a browser -----------------------------------------------------------

# What leaves its slide, or is smaller than can be read from the last row
WRONG = """() => [...document.querySelectorAll("section")].flatMap((slide, k) => {
  const box = slide.getBoundingClientRect(), content = slide.querySelector(".content");
  const size = parseFloat(getComputedStyle(content).fontSize);
  const heading = slide.querySelector("h2").getBoundingClientRect();
  const found = size < 17 ? [`${k + 1}: letters of ${size} px`] : [];
  for (const one of content.querySelectorAll("*")) {
    const at = one.getBoundingClientRect();
    if (at.left < box.left || at.right > box.right || at.bottom > box.bottom - 48
        || at.top < heading.bottom - 1) found.push(`${k + 1}: ${one.outerHTML.slice(0, 80)}`);
    if (one.tagName == "IMG" && !(one.naturalWidth && one.alt))
      found.push(`${k + 1}: a picture without words, or that does not load`);
  }
  return found;
})"""


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser):
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    said = []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("console", lambda message: said.append(message.text))
    yield page
    page.close()
    assert not said


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_nothing_overflows_a_slide(path, page, tmp_path):
    (file,) = make_slides(tmp_path, [path.stem])
    page.goto(file.as_uri())
    page.evaluate("document.body.classList.remove('live')")  # all of them at once
    assert page.evaluate(WRONG) == []
    assert page.locator("section").count() >= 6
    assert page.locator("section.figure").count() >= 1


def test_keys_and_buttons_turn_the_slides(page, tmp_path):
    (file,) = make_slides(tmp_path, ["A2"])
    page.goto(file.as_uri())
    slides = page.locator("section")
    count, current = slides.count(), page.locator("section.current")
    for key, place in [
        ("ArrowRight", 2), ("PageDown", 3), ("ArrowLeft", 2), ("End", count),
        ("ArrowRight", count), ("Home", 1), ("ArrowLeft", 1), (" ", 2),
    ]:  # fmt: skip
        page.keyboard.press(key)
        assert current.get_attribute("aria-label") == f"{place} of {count}"
        assert page.url.endswith(f"#{place}") and current.count() == 1
    page.get_by_role("button", name="Next slide").click()
    assert current.get_attribute("aria-label") == f"3 of {count}"
    page.reload()
    assert current.get_attribute("aria-label") == f"3 of {count}"


@pytest.mark.parametrize("width, height", [(1920, 1080), (1024, 768), (390, 844)])
def test_a_slide_fits_any_screen(width, height, page, tmp_path):
    (file,) = make_slides(tmp_path, ["A2"])
    page.set_viewport_size({"width": width, "height": height})
    page.goto(file.as_uri())
    box = page.locator("section.current").bounding_box()
    assert box["x"] >= -0.5 and box["y"] >= -0.5
    assert box["x"] + box["width"] <= width + 0.5
    assert box["y"] + box["height"] <= height + 0.5
    assert max(box["width"] / width, box["height"] / height) > 0.99


def test_a_print_has_a_slide_a_page(page, tmp_path):
    (file,) = make_slides(tmp_path, ["A3"])
    page.goto(file.as_uri())
    count = page.locator("section").count()
    data = page.pdf(prefer_css_page_size=True, print_background=True)
    assert len(re.findall(rb"/Type\s*/Page\b", data)) == count
