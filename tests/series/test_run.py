"""Runs of small notebooks: what they are given, what is written, what goes wrong."""

import base64
import os
import re

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from sslnb.cli import main
from sslnb.series import listing, pages, run

# one pixel
PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAA"
    "AABJRU5ErkJggg=="
)
WIDGET_AND_PICTURE = f"""\
from IPython.display import display, publish_display_data
display({{"{pages.WIDGET}": {{"model_id": "1", "version_major": 2, "version_minor": 0}},
         "text/plain": "IntSlider(value=3)"}}, raw=True)
publish_display_data({{"image/png": "{PNG}", "text/plain": "<Figure>"}},
                     {{"image/png": {{"alt": "A \\"line\\" & <more>"}}}})"""


def code(source, *tags):
    return new_code_cell(source, metadata={"tags": list(tags)} if tags else {})


def write(folder, name, *cells, title="A title"):
    path = folder / f"{name}.ipynb"
    book = new_notebook(cells=[new_markdown_cell(f"# {name[:2]} · {title}"), *cells])
    book.metadata = {
        "kernelspec": {
            "name": "python3",
            "display_name": "Python 3",
            "language": "python",
        }
    }
    nbformat.write(book, path)
    return path


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder of notebooks, instead of the series."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    monkeypatch.setattr(listing, "NOTEBOOKS", folder)
    return folder


def parameters(text="seed = 0  # of what is drawn\nrate = 0.5"):
    return code(text, "parameters")


# --- which notebooks, which parameters --------------------------------------


def test_notebooks_are_chosen_by_number_or_name_in_order(folder):
    for name in ("02_b", "01_a", "03_c", "notes"):
        write(folder, name)
    stems = [p.stem for p in listing.notebooks()]
    assert stems == ["01_a", "02_b", "03_c"]
    assert [p.stem for p in listing.notebooks(["03", "1"])] == ["01_a", "03_c"]
    assert [p.stem for p in listing.notebooks(["02_b.ipynb"])] == ["02_b"]
    (folder / "appendix").mkdir()
    for name in ("A2_e", "A1_d", "B1_x"):
        write(folder / "appendix", name)
    stems = [p.stem for p in listing.notebooks()]
    assert stems == ["01_a", "02_b", "03_c", "A1_d", "A2_e"]
    assert [p.stem for p in listing.notebooks(["A2", "A1_d"])] == ["A1_d", "A2_e"]


def test_an_unknown_notebook_is_named_with_those_known(folder):
    write(folder, "01_a")
    with pytest.raises(ValueError, match=r"'09' in .*; known are 01_a"):
        listing.notebooks(["09"])


def test_a_path_is_of_that_file_alone(folder, monkeypatch):
    path = write(folder, "01_a")
    monkeypatch.chdir(folder)
    assert listing.notebooks([str(path), "./01_a.ipynb"]) == [path]
    other = folder.parent / "01_a.ipynb"  # of the same name
    other.write_bytes(path.read_bytes())
    for given in (str(other), "nowhere/01_a.ipynb"):
        with pytest.raises(ValueError, match=f"no notebook '{given}' in {folder}; "):
            listing.notebooks([given])


def test_an_empty_folder_says_where_it_looked(folder):
    with pytest.raises(ValueError, match=re.escape(str(folder))):
        listing.notebooks()


def test_parameters_are_read_with_their_defaults(folder):
    path = write(folder, "01_a", parameters("a = -1\nb = 'x'  # text\nc = (1, None)"))
    assert run.parameters_of(path) == {"a": -1, "b": "x", "c": (1, None)}


@pytest.mark.parametrize("count", [0, 2])
def test_a_notebook_needs_one_cell_of_parameters(folder, count):
    path = write(folder, "01_a", *[parameters() for _ in range(count)])
    with pytest.raises(ValueError, match=f"01_a.ipynb has {count} cells"):
        run.parameters_of(path)


@pytest.mark.parametrize(
    "line", ["b = a + 1", "import os", "a, b = 1, 2", "a: int = 1"]
)
def test_parameters_are_plain_literals(folder, line):
    path = write(folder, "01_a", parameters(f"a = 1\n{line}"))
    with pytest.raises(ValueError, match=re.escape(f"01_a.ipynb: {line!r}")):
        run.parameters_of(path)


def test_an_unknown_parameter_is_an_error(folder):
    path = write(folder, "01_a", parameters())
    with pytest.raises(
        ValueError, match=r"01_a.ipynb has no parameter sed; known are seed"
    ):
        run.execute(path, folder / "out.ipynb", {"sed": 1})
    assert not (folder / "out.ipynb").exists()


@pytest.mark.parametrize(
    "default, text, value",
    [
        ("0", "3", 3),
        ("0.5", "3", 3.0),
        ("0.5", "1e-4", 1e-4),
        ("False", "True", True),
        ("''", "3", "3"),
        ("''", "~/runs", "~/runs"),
        ("None", "3", 3),
        ("None", "x", "x"),
        ("[1]", "[]", []),
    ],
)
def test_texts_become_the_kind_of_the_default(folder, default, text, value):
    path = write(folder, "01_a", parameters(f"name = {default}"))
    found = run.fit_parameters(path, {"name": text})["name"]
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    "default, text",
    [
        ("0", "many"),
        ("0", "0.5"),
        ("0", "True"),
        ("False", "1"),
        ("False", "true"),
        ("0.5", "fast"),
        ("(1, 2)", "3"),
        ("(1, 2)", "(3, 4)"),  # papermill would write a text
    ],
)
def test_another_kind_than_the_default_is_an_error(folder, default, text):
    path = write(folder, "01_a", parameters(f"name = {default}"))
    with pytest.raises(ValueError, match=r"01_a.ipynb: parameter name is .*; need \w+"):
        run.fit_parameters(path, {"name": text})


def test_nothing_runs_where_a_later_notebook_lacks_a_parameter(folder, tmp_path):
    write(folder, "01_a", parameters("seed = 0\nsize = 1"))
    write(folder, "02_b", parameters("seed = 0"))
    with pytest.raises(ValueError, match=r"02_b.ipynb has no parameter size"):
        run.run_series(tmp_path / "out", (), {"size": "2"})
    assert not (tmp_path / "out").exists()


# --- what kernels inherit ---------------------------------------------------


def test_kernels_inherit_no_habits_and_the_shell_keeps_its_own(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("MPLBACKEND", "Qt5Agg")
    before = dict(os.environ)
    with run.kernel_environment(cpu=True):
        assert os.environ["PYTHONPATH"] == str(run.ROOT)
        assert "MPLBACKEND" not in os.environ
        assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
        profile = os.environ["IPYTHONDIR"]
        assert os.path.isdir(profile)
    assert dict(os.environ) == before
    assert not os.path.exists(profile)


def test_the_model_of_05_is_handed_on(tmp_path):
    given = [run.series_parameters(path, tmp_path, {}) for path in listing.notebooks()]
    names = [path.name[:2] for path in listing.notebooks()]
    given = dict(zip(names, given))
    assert given["05"]["out"] == str(tmp_path / "checkpoint")
    for number in ("06", "07"):
        assert given[number] == {"checkpoint": given["05"]["out"]}
    later = write(tmp_path, "A2_x", parameters("checkpoint = ''"))
    assert run.series_parameters(later, tmp_path, {}) == given["06"]
    for path in listing.notebooks():
        run.fit_parameters(path, given[path.name[:2]])  # it knows what it is given


@pytest.mark.parametrize(
    "given, scenes, epochs",
    [
        ({}, 8_000, 12),
        ({"regime": "clips"}, 500, 40),
        ({"preset": "paper"}, 8_000, 80),
        ({"preset": "paper", "regime": "clips"}, 500, 80),
    ],
)
def test_a_full_training_is_that_of_the_regime_and_preset(
    given, scenes, epochs, tmp_path
):
    (source,) = listing.notebooks(["05"])
    found = run.series_parameters(source, tmp_path, given)
    assert (found["scenes"], found["epochs"]) == (scenes, epochs)


def test_a_regime_that_is_not_known_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(ValueError, match="regime is 'clip'; need scenes or clips"):
        run.run_series(tmp_path / "out", ["05"], {"regime": "clip"})
    assert not (tmp_path / "out").exists()


# --- runs -------------------------------------------------------------------


def run_main(folder, *arguments):
    return main(["run", *arguments, "--out", str(folder)])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of three notebooks in a folder whose name has a space; (out, notebooks)."""
    folder = tmp_path_factory.mktemp("a run") / "notebooks"
    folder.mkdir()
    write(
        folder,
        "01_a",
        parameters(),
        code("import sslnb, os\nprint(os.getcwd())"),
        new_markdown_cell(
            "## What came out\n\n[next](02_b.ipynb)\n\n"
            r"$$\mathcal L = x^2 \tag{8}$$ with $\alpha$, `$PATH`"
        ),
        code(WIDGET_AND_PICTURE, "key"),
        code("print(f'seed {seed}')", "key"),
        code("print('not for the index')"),
        title="A & B",
    )
    write(
        folder,
        "02_b",
        parameters(),
        code("print('second')", "key"),
        new_markdown_cell("[more](appendix/A1_c.ipynb#part)"),
    )
    (folder / "appendix").mkdir()
    write(
        folder / "appendix",
        "A1_c",
        parameters("seed = 0\ncheckpoint = ''"),
        new_markdown_cell("[before](../02_b.ipynb), [a list](../lists/a.ipynb)"),
        code("import os\nprint(os.path.basename(os.getcwd()), seed, [checkpoint])"),
    )
    out = folder.parent / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listing, "NOTEBOOKS", folder)
        patch.setenv("PYTHONPATH", "/elsewhere")
        run_main(out, "-p", "seed", "7")
    return out, folder


def test_a_run_writes_notebooks_pages_and_the_index(whole):
    out, _ = whole
    assert sorted(path.name for path in out.iterdir()) == [
        "01_a.html",
        "01_a.ipynb",
        "02_b.html",
        "02_b.ipynb",
        "A1_c.html",
        "A1_c.ipynb",
        "index.html",
    ]


def test_notebooks_run_in_their_own_folder_with_the_parameters_given(whole):
    out, folder = whole
    book = nbformat.read(out / "01_a.ipynb", 4)
    printed = [
        o.text for cell in book.cells for o in cell.get("outputs", []) if "text" in o
    ]
    assert printed == [f"{folder}\n", "seed 7\n", "not for the index\n"]
    book = nbformat.read(out / "A1_c.ipynb", 4)
    (printed,) = (o.text for o in book.cells[-1].outputs)
    assert printed == "appendix 7 ['']\n"  # this run has no checkpoint to hand on


def test_pages_carry_alternative_texts_and_no_widgets(whole):
    out, _ = whole
    for name in ("01_a.html", "index.html"):
        page = BeautifulSoup((out / name).read_text(), "html.parser")
        (picture,) = page.find_all("img")
        assert picture["alt"] == 'A "line" & <more>'
        assert picture["src"] == f"data:image/png;base64,{PNG}"
        for code in page.select(".jp-InputArea"):
            code.decompose()
        for word in ("IntSlider", "widget-view", "<Figure>"):
            assert word not in (page.main or page.body).text


def test_pages_draw_equations_and_load_nothing_from_elsewhere(whole):
    out, _ = whole
    page = BeautifulSoup((out / "01_a.html").read_text(), "html.parser")
    block, inline = page.find_all("math")
    assert (block["display"], inline["display"]) == ("block", "inline")
    assert block.text.split() == ["ℒ=x2(8)"] and inline.text == "α"
    assert "$PATH" in page.text and "$$" not in page.main.text
    for name in ("01_a.html", "index.html"):
        page = BeautifulSoup((out / name).read_text(), "html.parser")
        assert not page.find_all(["script", "link", "iframe"])


def test_an_equation_that_cannot_be_read_stays_as_it_is():
    assert pages.mathml(r"a < \left(", "inline") == r"<code>a &lt; \left(</code>"


def test_pages_hold_the_series_own_drawings():
    """Beside a page there is no folder of images."""
    text = pages.Exporter("page.html.j2").markdown2html(
        {}, "![The method](images/method_03.svg) ![Elsewhere](other.png)"
    )
    own, other = BeautifulSoup(text, "html.parser").find_all("img")
    head, data = own["src"].split(",", 1)
    assert head == "data:image/svg+xml;base64" and own["alt"] == "The method"
    drawing = listing.NOTEBOOKS / "images" / "method_03.svg"
    assert base64.b64decode(data) == drawing.read_bytes()
    assert other["src"] == "other.png"


def test_pages_link_to_pages(whole):
    out, _ = whole
    text = (out / "01_a.html").read_text()
    assert 'href="02_b.html"' in text and 'href="index.html"' in text
    assert "<title>01 · A &amp; B</title>" in text
    assert 'href="A1_c.html#part"' in (out / "02_b.html").read_text()
    text = (out / "A1_c.html").read_text()
    assert 'href="02_b.html"' in text and 'href="../lists/a.ipynb"' in text


def test_the_index_shows_key_outputs_under_their_headings(whole):
    out, _ = whole
    text = (out / "index.html").read_text()
    assert "What came out" in text and "seed 7" in text and "second" in text
    assert "not for the index" not in text
    assert "01 · A &amp; B" in text and 'href="02_b.html"' in text


def test_a_failing_notebook_is_named_with_its_cell_and_leaves_its_page(
    folder, tmp_path, capsys
):
    write(
        folder,
        "01_a",
        parameters(),
        code("print('well so far')", "key"),
        code("1 / seed"),
        code("print('never')"),
    )
    write(folder, "02_b", parameters())
    out = tmp_path / "out"
    assert run_main(out) == 1
    told = capsys.readouterr()
    assert "error: 01_a.ipynb, cell 3: ZeroDivisionError" in told.err
    assert "well so far" in (out / "01_a.html").read_text()
    assert "cell 3: ZeroDivisionError" in (out / "index.html").read_text()
    assert str(out / "index.html") in told.out
    assert not (out / "02_b.ipynb").exists()


@pytest.mark.slow
def test_a_kernel_that_dies_is_named_with_its_cell(folder, tmp_path, capsys):
    write(folder, "01_a", parameters(), code("import os; os._exit(1)"))
    assert run_main(tmp_path / "out") == 1
    assert "01_a.ipynb, cell 2: its kernel died" in capsys.readouterr().err
    assert (tmp_path / "out" / "01_a.html").exists()


def test_wrong_arguments_end_with_a_sentence(folder, tmp_path, capsys):
    write(folder, "01_a", parameters())
    assert run_main(tmp_path / "out", "4") == 1
    assert capsys.readouterr().err.startswith("error: no notebook '4'")
    assert run_main(tmp_path / "out", "01", "-p", "x", "1") == 1
    assert capsys.readouterr().err.startswith("error: 01_a.ipynb has no parameter x")


def test_storing_keeps_what_a_page_needs(folder):
    path = write(
        folder,
        "01_a",
        parameters(),
        code(WIDGET_AND_PICTURE, "key"),
        code("print(seed)"),
    )
    ids = [cell.id for cell in nbformat.read(path, 4).cells]
    assert main(["run", "--store", "01"]) == 0
    book = nbformat.read(path, 4)
    assert [cell.id for cell in book.cells] == ids
    assert set(book.metadata) == {"kernelspec", "language_info"}
    assert [cell.get("execution_count") for cell in book.cells] == [None, 1, 2, 3]
    assert [cell.metadata for cell in book.cells[1:]] == [
        {"tags": ["parameters"]},
        {"tags": ["key"]},
        {},
    ]
    (picture,) = book.cells[2].outputs  # the widget is gone, with its text
    assert picture.metadata["image/png"]["alt"] == 'A "line" & <more>'


def test_storing_leaves_a_failing_notebook_as_it_was(folder, capsys):
    path = write(folder, "01_a", parameters(), code("1 / seed"))
    before = path.read_bytes()
    assert main(["run", "--store"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "01_a.ipynb is left as it was: ZeroDivisionError" in line
    assert path.read_bytes() == before


def test_storing_takes_no_parameters(folder):
    assert main(["run", "--store", "-p", "seed", "1"]) == 2
