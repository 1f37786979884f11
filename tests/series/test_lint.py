"""The linter of the notebooks: quiet on good ones, and each rule finds what breaks it."""

import re
from copy import deepcopy

import nbformat
import pytest
from nbformat.v4 import new_markdown_cell, new_output

from sslnb.cli import main
from sslnb.series import listing
from sslnb.series.lint import RULES, Notebook, lint, read, tags

GOOD = listing.NOTEBOOKS / "appendix" / "A2_protocols.ipynb"


@pytest.fixture(scope="module")
def stored():
    return nbformat.read(GOOD, 4)


@pytest.fixture
def book(stored):
    return deepcopy(stored)


def findings(book, path=GOOD):
    return list(lint(Notebook(path, book)))


def code(book, at=0):
    return [cell for cell in book.cells if cell.cell_type == "code"][at]


@pytest.mark.parametrize("path", listing.notebooks(), ids=lambda path: path.stem)
def test_the_notebooks_of_the_series_are_in_order(path):
    nbformat.validate(nbformat.read(path, 4))
    assert not list(lint(read(path)))


def leave_one_out(book):
    code(book, 3).execution_count = None


def run_twice(book):
    code(book, 3).execution_count = 4 + 1


def store_an_error(book):
    error = new_output("error", ename="ValueError", evalue="no clips", traceback=[])
    code(book).outputs = [error]


def store_a_warning(book):
    code(book).outputs = [new_output("stream", name="stderr", text="UserWarning: x")]


def store_the_state_of_widgets(book):
    book.metadata["widgets"] = {"state": {}}


def show_a_widget(book):
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}}
    code(book).outputs = [new_output("display_data", data=view)]


def show_a_widget_as_text(book):
    text = {"text/plain": "VBox(children=(…))"}
    code(book).outputs = [new_output("display_data", data=text)]


def fold_a_cell(book):
    code(book).metadata["collapsed"] = True


def keep_times(book):
    book.metadata["papermill"] = {"duration": 3}


def tag_as_never_before(book):
    code(book).metadata["tags"] = ["slow"]


def use_magic(book):
    code(book).source = "%timeit sum(range(9))"


def print_a_path(book):
    told = "read " + "/".join(["", "home", "me", "clips"])
    code(book).outputs = [new_output("stream", text=told)]


def print_an_address(book):
    code(book).outputs = [new_output("stream", text="<object at 0x7f3a2b1c4d>")]


def write_a_path(book):
    book.cells[0].source += "\nLook into " + "/".join(["", "tmp", "clips"])


def write_a_long_cell(book):
    code(book).source = "x = 1\n" * 21


def write_a_wide_line(book):
    code(book).source = f"x = {'1' * 80}"


def repeat_everything(book):
    book.cells = [deepcopy(cell) for cell in book.cells * 2]


def have_no_parameters(book):
    for cell in book.cells:
        cell.metadata.pop("tags", None)


def parameters(book):
    return next(cell for cell in book.cells if "parameters" in tags(cell))


def compute_a_parameter(book):
    parameters(book).source = "scenes = 3 * 100  # of `test`"


def leave_a_parameter_unexplained(book):
    parameters(book).source = "scenes = 300"


def forget_the_words_of_a_picture(book):
    output = new_output("display_data", data={"image/png": "iVBORw0KGgo="})
    code(book).outputs = [output]


def forget_the_words_of_a_drawing(book):
    book.cells[0].source += "\n\n![](images/method.svg)"


BROKEN = {
    leave_one_out: "has the number None; need 4",
    run_twice: "has the number 5; need 4",
    store_an_error: "stored ValueError: no clips; need none",
    store_a_warning: "stored on stderr 'UserWarning: x'; need nothing",
    store_the_state_of_widgets: "holds the state of widgets",
    show_a_widget: "stored a widget; need a still figure",
    show_a_widget_as_text: "stored a widget; need a still figure",
    fold_a_cell: "has metadata 'collapsed'; only tags stay",
    keep_times: "has metadata 'papermill'",
    tag_as_never_before: "has the tag 'slow'; known are exercise,",
    use_magic: "is no plain Python; need a cell without magic",
    print_a_path: "which is of one machine",
    print_an_address: "holds '0x7f3a2b1c4d', which is of one machine",
    write_a_path: "which is of one machine",
    write_a_long_cell: "has 21 lines; at most 20",
    write_a_wide_line: "has a line of 84 columns; at most 76",
    repeat_everything: "cells beside exercises; need 8 to 30",
    have_no_parameters: "has 0 cells tagged `parameters`; need one",
    compute_a_parameter: "need `name = literal  # what it is`",
    leave_a_parameter_unexplained: "need `name = literal  # what it is`",
    forget_the_words_of_a_picture: "a picture says ''; need plot.show(figure, alt)",
    forget_the_words_of_a_drawing: "a picture says ''; need ![what it shows](…)",
}


@pytest.mark.parametrize("change", BROKEN, ids=lambda change: change.__name__)
def test_what_is_broken_is_found_and_said(change, book):
    change(book)
    told = findings(book)
    assert any(BROKEN[change] in line for line in told), told
    assert all(re.match(r"cell \d+: \S|\w+ \S", line) for line in told)


def test_a_large_file_is_found(book, tmp_path):
    path = tmp_path / GOOD.name
    path.write_bytes(b" " * 1_200_000)
    assert findings(book, path) == ["has 1.20 MB; need less than 1 MB"]


def test_every_rule_finds_something_above(book):
    found = set()
    for change in BROKEN:
        broken = deepcopy(book)
        change(broken)
        found |= {rule for rule in RULES if list(rule(Notebook(GOOD, broken)))}
    assert {rule.__name__ for rule in set(RULES) - found} == {
        "types_no_computed_number"  # below
    }


# --- numbers in prose -------------------------------------------------------

STORED = (
    "peak 0.8371, AUC 36.52, moved in 76%, loss 1.25, −4.75 dB, 1,234.5 clips, 0.615"
)


@pytest.mark.parametrize(
    "prose, number",
    [
        ("The peak is at 0.837.", "0.837"),
        ("The peak is at 0.84, so it is found.", "0.84"),
        ("AUC (36.5) rises.", "36.5"),
        ("It moves in 76 % of the clips.", "76 %"),
        ("It moves in 76 per cent of the clips.", "76 per cent"),
        ("It succeeds in 61.5 % of the clips.", "61.5 %"),
        ("The sound is 4.75 dB weaker.", "4.75"),
        ("All 1,234.5 of them.", "1,234.5"),
        ("| score | 36.52 |", "36.52"),
        ("<details><summary>Answer</summary>\n\nAt 0.837.\n\n</details>", "0.837"),
    ],
)
def test_a_number_that_a_cell_computes_is_found_in_prose(prose, number, book):
    code(book).outputs = [new_output("stream", text=STORED)]
    book.cells[-1] = new_markdown_cell(prose)
    assert findings(book) == [
        f"cell {len(book.cells) - 1}: types {number}, which cell 1 computes: print it "
        "there"
    ]


@pytest.mark.parametrize(
    "prose",
    [
        "The peak is at 0.838.",  # no output has it
        "Of 76 clips, 0.8 s each.",  # met by chance
        "The paper's 36.5 is of other data.",
        "They report 36.5 [Mo et al., 2022](https://arxiv.org/abs/2203.0837).",
        "See section 1.25, equation 0.837 and table 36.52.",
        "`loss = 1.25`, and $x = 1.25$; $$0.837$$",
        "```python\nx = 0.837\n```",
        "## 1.25 · A heading",
        "The threshold 1.5 is a setting.",  # of the code below
        "An interval of 95 % is wide.",
        "It is at 0.837. <!-- typed: 0.837, of the issue -->",
    ],
)
def test_other_numbers_may_stand_in_prose(prose, book):
    code(book).outputs = [new_output("stream", text=STORED + ", at 1.50 and 95%")]
    code(book).source = "threshold = 1.5"
    book.cells[-1] = new_markdown_cell(prose)
    assert findings(book) == []


def test_a_solution_may_say_its_result(book):
    code(book).outputs = [new_output("stream", text=STORED)]
    book.cells[-1] = new_markdown_cell("It is 0.837.", metadata={"tags": ["solution"]})
    assert findings(book) == []


# --- the command ------------------------------------------------------------


def test_the_command_names_notebook_and_cell(tmp_path, monkeypatch, book, capsys):
    folder = tmp_path / "appendix"
    folder.mkdir()
    monkeypatch.setattr(listing, "NOTEBOOKS", tmp_path)
    nbformat.write(book, folder / GOOD.name)
    assert main(["lint", "A2"]) == 0
    assert capsys.readouterr().out == "1 notebook in order\n"
    write_a_wide_line(book)
    nbformat.write(book, folder / GOOD.name)
    assert main(["lint", str(folder / GOOD.name)]) == 1
    told = capsys.readouterr().out
    assert told == f"{GOOD.name}, cell 1: {BROKEN[write_a_wide_line]}\n"


def test_the_command_reads_the_file_at_a_path_and_no_other(
    tmp_path, monkeypatch, book, capsys
):
    series, elsewhere = tmp_path / "series", tmp_path / "elsewhere"
    (series / "appendix").mkdir(parents=True)
    elsewhere.mkdir()
    monkeypatch.setattr(listing, "NOTEBOOKS", series)
    nbformat.write(book, series / "appendix" / GOOD.name)
    write_a_wide_line(book)
    nbformat.write(book, elsewhere / GOOD.name)
    assert main(["lint", "A2", str(elsewhere / GOOD.name)]) == 1
    told = capsys.readouterr().out
    assert told == f"{GOOD.name}, cell 1: {BROKEN[write_a_wide_line]}\n"
    assert main(["lint", f"{tmp_path}/nowhere/{GOOD.name}"]) == 1
    assert f"nowhere/{GOOD.name}: No such file" in capsys.readouterr().err
