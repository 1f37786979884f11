"""Handouts of a class: no solution in one version, every solution right in the other."""

import ast
import re

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from sslnb.cli import main
from sslnb.series import handouts, listing, run

PATHS = listing.notebooks()


@pytest.fixture(scope="module", params=PATHS, ids=lambda path: path.stem)
def source(request):
    return request.param


@pytest.fixture(scope="module")
def out(source, tmp_path_factory):
    """Of one notebook, so that what is wrong in another does not stop its tests."""
    out = tmp_path_factory.mktemp("handouts")
    handouts.make_handouts(out, [source.stem])
    return out


def version(out, kind, source):
    path = out / kind / source.relative_to(listing.NOTEBOOKS)
    book = nbformat.read(path, 4)
    nbformat.validate(book)
    return path, book


def code(book):
    return [cell for cell in book.cells if cell.cell_type == "code"]


def test_students_get_no_solution_and_no_outputs(out, source):
    path, book = version(out, "student", source)
    found = handouts.exercises(nbformat.read(source, 4))
    text = path.read_text(encoding="utf-8")
    sources = "\n".join(cell.source for cell in book.cells)
    assert found and "<summary>Solution" not in text
    for exercise in found:
        assert exercise.code not in sources
        assert exercise.stub.source in sources
        body = [line for line in exercise.code.splitlines()[1:] if len(line) > 20]
        assert not set(body) <= set(sources.splitlines())
    for cell in code(book):
        compile(cell.source, path.name, "exec")
        assert not cell.outputs and cell.execution_count is None


def test_all_else_is_in_both_versions(out, source):
    """In the same order; the stubs' tests by nbval are thus those of a student's file."""
    told = [
        cell.source
        for cell in nbformat.read(source, 4).cells
        if not {"exercise", "solution"} & set(handouts.tags(cell))
    ]
    for kind in ("student", "solutions"):
        _, book = version(out, kind, source)
        kept = [c for c in book.cells if "exercise" not in handouts.tags(c)]
        kept = [c.source for c in kept if "solution" not in handouts.tags(c)]
        bare = [re.sub(r"\]\([^)]*\)", "](", text) for text in kept]
        assert bare == [re.sub(r"\]\([^)]*\)", "](", text) for text in told]


def test_solutions_are_right_where_they_stand(out, source, capsys):
    """After the notebook's imports: run as a cell, each says so itself."""
    path, book = version(out, "solutions", source)
    scope = {}
    for cell in code(book):
        for node in ast.parse(cell.source).body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                exec(ast.unparse(node), scope)
    capsys.readouterr()
    filled = [c for c in code(book) if "exercise" in handouts.tags(c)]
    for cell in filled:
        exec(compile(cell.source, path.name, "exec"), dict(scope))
    said = capsys.readouterr().out.splitlines()
    assert len(said) == len(filled) > 0
    assert all(re.fullmatch(r"✓ \w+: right", line) for line in said), said


def test_remarks_on_solutions_stay_and_nothing_is_folded(out, source):
    _, book = version(out, "solutions", source)
    text = "\n".join(cell.source for cell in book.cells)
    assert "<summary>Solution" not in text
    for exercise in handouts.exercises(nbformat.read(source, 4)):
        assert re.sub(r"\]\([^)]*\)", "](", exercise.remark) in re.sub(
            r"\]\([^)]*\)", "](", text
        )


@pytest.mark.parametrize("kind", ["student", "solutions"])
def test_links_and_pictures_lead_somewhere(out, source, kind):
    path, book = version(out, kind, source)
    for cell in book.cells:
        if cell.cell_type == "markdown":
            for _, target in handouts.LINK.findall(cell.source):
                assert (path.parent / target).exists(), target


def test_one_notebook_alone_links_to_the_clone_and_brings_its_pictures(
    tmp_path, monkeypatch
):
    book = new_notebook(
        cells=[
            new_markdown_cell("![drawing](images/a.svg) [next](02_b.ipynb#top)"),
            new_markdown_cell("[data](../data/c.md) [web](https://example.org/)"),
        ]
    )
    folder = tmp_path / "clone" / "notebooks"
    (folder / "images").mkdir(parents=True)
    (folder / "images" / "a.svg").write_text("<svg/>")
    (tmp_path / "clone" / "data").mkdir()
    (tmp_path / "clone" / "data" / "c.md").touch()
    nbformat.write(book, folder / "01_a.ipynb")
    nbformat.write(book, folder / "02_b.ipynb")
    for module in (handouts, listing):
        monkeypatch.setattr(module, "NOTEBOOKS", folder)
    assert handouts.make_handouts(tmp_path / "out", ["01"]) == {"01_a": []}
    made = nbformat.read(tmp_path / "out" / "student" / "01_a.ipynb", 4)
    first, second = (cell.source for cell in made.cells)
    up = "../../clone/"
    assert first == f"![drawing](images/a.svg) [next]({up}notebooks/02_b.ipynb#top)"
    assert second == f"[data]({up}data/c.md) [web](https://example.org/)"
    assert (tmp_path / "out" / "student" / "images" / "a.svg").exists()
    assert not (tmp_path / "out" / "student" / "02_b.ipynb").exists()
    handouts.make_handouts(tmp_path / "out")  # now with the other one
    made = nbformat.read(tmp_path / "out" / "student" / "01_a.ipynb", 4)
    assert made.cells[0].source == book.cells[0].source


def cells(solution="```python\ndef my_x(): return 1\n```", check='check("x", my_x)'):
    return [
        new_markdown_cell(
            "### Exercise (10 minutes): x", metadata={"tags": ["exercise"]}
        ),
        new_code_cell(f"def my_x(): ...\n\n\n{check}", metadata={"tags": ["exercise"]}),
        new_markdown_cell(
            f"<details><summary>Solution</summary>\n\n{solution}\n\n</details>",
            metadata={"tags": ["solution"]},
        ),
    ]


def test_what_a_solution_holds():
    (found,) = handouts.exercises(
        new_notebook(cells=cells("```python\ndef my_x(): return 1\n```\n\nWhy: *so*."))
    )
    assert found.filled_in == 'def my_x(): return 1\n\n\ncheck("x", my_x)'
    assert found.remark == "Why: *so*."
    (found,) = handouts.exercises(new_notebook(cells=cells()))
    assert found.remark == ""
    assert len(handouts.solved(new_notebook(cells=cells())).cells) == 2


@pytest.mark.parametrize(
    "broken",
    [
        cells()[:2],
        cells()[::-1],
        cells(solution="no code"),
        cells(check='_ = check("x", my_x)'),
        cells()[1:] + cells()[:1],
    ],
)
def test_an_incomplete_exercise_is_an_error_and_not_a_leak(broken):
    with pytest.raises(ValueError, match="need a"):
        handouts.student(new_notebook(cells=broken))


def test_the_command_says_where_they_are(tmp_path, capsys):
    assert main(["handouts", "A1", "--out", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "A1_field_data\n  Exercise (10 minutes): which test clips" in told
    assert "1 exercise in 1 notebook" in told and str(tmp_path) in told
    assert main(["handouts", "77", "--out", str(tmp_path)]) == 1
    assert "no notebook '77'" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind, said", [("student", "not filled in yet"), ("solutions", "right")]
)
def test_a_handout_runs_from_its_own_folder(kind, said, tmp_path):
    """One notebook in full, of both kinds; nbval runs all the sources, stubs empty."""
    handouts.make_handouts(tmp_path, ["A1"])
    source = tmp_path / kind / "appendix" / "A1_field_data.ipynb"
    run.execute(source, tmp_path / "done.ipynb", cpu=True)
    done = nbformat.read(tmp_path / "done.ipynb", 4)
    text = "".join(o.get("text", "") for c in code(done) for o in c.outputs)
    assert re.search(rf"^[✓✗] leaked: {said}$", text, re.MULTILINE)
