"""The notebooks as they are committed, and runs of them with other parameters.

What each cell puts out is compared by nbval (`make test`); the linter reads the files
(test_lint.py). Here is what neither sees: that a page tells what it must, and that
another seed does not break it.
"""

import ast
import json
import re
import shutil
import statistics
import subprocess
import sys
from dataclasses import asdict

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from benchmarks.store import make_clips
from sslnb.data import soundstamps
from sslnb.data.field.layouts import open_folder
from sslnb.data.store.clips import open_store, pack, pack_scenes
from sslnb.files import CHECKPOINT
from sslnb.localise import respond_to
from sslnb.model import SoundLocaliser
from sslnb.series import doctor, listing, run
from sslnb.series.lint import FETCHES
from sslnb.teach.exercises import verdict
from sslnb.training.recipe import TrainConfig
from tests.media_files import make_video
from tests.outputs import Output

NAMES = doctor.NOTEBOOKS
APPENDIX = tuple(
    sorted(path.stem for path in listing.NOTEBOOKS.glob("appendix/A*.ipynb"))
)
# Smaller or other values, by the name of the parameter: what is not named stays.
OTHERS = {"seed": 3}
SMALL = {
    "02_augmentations": {"scenes": 40, "size": 96, "cells": 7, "seed": 3},
    "05_training": {"scenes": 64, "epochs": 1, "val_scenes": 50, "seed": 3},
}


def path_of(name):
    folder = listing.NOTEBOOKS / "appendix" if name in APPENDIX else listing.NOTEBOOKS
    return folder / f"{name}.ipynb"


@pytest.fixture(scope="module", params=(*NAMES, *APPENDIX))
def name(request):
    return request.param


@pytest.fixture(scope="module")
def book(name):
    return nbformat.read(path_of(name), 4)


def code_cells(book):
    return [cell for cell in book.cells if cell.cell_type == "code"]


def markdown(book):
    return "\n\n".join(
        cell.source for cell in book.cells if cell.cell_type == "markdown"
    )


def outputs(book):
    return [output for cell in code_cells(book) for output in cell.outputs]


def tagged(book, tag):
    return [cell for cell in book.cells if tag in cell.metadata.get("tags", [])]


# --- the file ---------------------------------------------------------------


def test_a_notebook_takes_no_more_threads_than_it_is_given(name, book):
    """A class starts each kernel with one (TEACHING.md)."""
    code = "\n".join(cell.source for cell in code_cells(book))
    (given,) = re.findall(r"torch\.set_num_threads\((.+)\)", code)
    own = name.startswith("08")  # its runs have one thread each
    assert given == ("1" if own else "min(2, torch.get_num_threads())")


def test_the_series_is_complete_and_nothing_else_is_there():
    assert [path.stem for path in listing.notebooks()] == [*NAMES, *APPENDIX]
    found = {path.name for path in listing.NOTEBOOKS.glob("[!.]*.ipynb")}
    assert found == {f"{name}.ipynb" for name in NAMES}


def test_the_kernel_is_the_one_that_everybody_has(book):
    assert book.metadata.kernelspec.name == "python3"


def test_most_code_cells_are_short(name, book):  # CONTRIBUTING.md
    cells = [cell for cell in code_cells(book) if cell.id != FETCHES]
    lengths = [len(cell.source.splitlines()) for cell in cells]
    assert name in APPENDIX or statistics.median(lengths) <= 10


def test_there_is_something_to_look_at(book):
    kinds = {kind for output in outputs(book) for kind in output.get("data", {})}
    assert kinds & {"image/png", "image/jpeg", "image/svg+xml"}


def test_outputs_that_are_ignored_are_few(book):
    assert len(tagged(book, "nbval-ignore-output")) <= 4


def texts(book):
    """Sources and readable outputs, each with where it stands."""
    for index, cell in enumerate(book.cells):
        yield f"cell {index}", cell.source
        for output in cell.get("outputs", []):
            yield f"output of cell {index}", output.get("text", "")
            for kind, value in output.get("data", {}).items():
                if kind in ("text/plain", "text/markdown") or (
                    kind == "text/html" and "base64" not in value
                ):
                    yield f"output of cell {index}", value


# --- the page ---------------------------------------------------------------


def test_the_opener_is_complete(name, book):
    first = book.cells[0]
    assert first.cell_type == "markdown"
    title, promise, *_ = [line for line in first.source.splitlines() if line.strip()]
    assert re.fullmatch(rf"# {name[:2]} · \S.*", title)
    assert promise[0] not in "*#-" and promise.rstrip().endswith((".", "!", "?"))
    for word in ("You will", "Needs", "In the paper", "Time"):
        assert f"**{word}" in first.source, word
    assert re.search(r"section|equation|figure|table", first.source)
    assert re.search(r"about \d+ (s|min)\b.*\d+ min to read", first.source)


def test_the_closing_is_complete(book):
    headings = re.findall(r"^#+ +(.+)$", markdown(book), re.MULTILINE)
    end = markdown(book).split("What you learnt")[-1]
    assert any("What you learnt" in heading for heading in headings)
    assert "question" in end.lower()
    assert end.count("<details>") >= 3
    assert re.search(r"\bNext\b", end)


def test_folded_parts_open_and_close(book):
    for index, cell in enumerate(book.cells):
        if cell.cell_type == "markdown":
            assert cell.source.count("<details>") == cell.source.count("</details>"), (
                index
            )
            assert cell.source.count("<details>") == cell.source.count("<summary>"), (
                index
            )


def test_links_between_notebooks_lead_somewhere(name, book):
    for target in re.findall(r"\]\((?!https?:|#|attachment:)([^)]+)\)", markdown(book)):
        assert (path_of(name).parent / target.split("#")[0]).exists(), target


def test_parameters_are_literals_with_a_comment_each(name, book):
    known = run.parameters_of(path_of(name))
    assert known
    (cell,) = tagged(book, "parameters")
    assert all("#" in line for line in cell.source.splitlines() if line.strip())


def test_every_parameter_is_used(name, book):
    """Outside of its own cell: one that nothing reads could be misspelt unseen."""
    read = set()
    for cell in code_cells(book):
        read |= {
            node.id
            for node in ast.walk(ast.parse(cell.source))
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
        }
    assert set(run.parameters_of(path_of(name))) <= read


def test_code_needs_no_magic_and_hides_no_warning(book):
    for cell in code_cells(book):
        ast.parse(cell.source)  # no % or !
        assert "filterwarnings" not in cell.source
        assert not cell.source.rstrip().endswith(";")


def test_what_is_derived_is_compared_with_the_module(book):
    source = "\n".join(cell.source for cell in code_cells(book))
    assert re.search(r"^from sslnb", source, re.MULTILINE)
    assert re.search(
        r"^\s*(assert |torch\.testing\.assert_close)", source, re.MULTILINE
    )


SIZES = ("10 minutes", "1 hour", "project")


def exercises(book):
    """(prompt, stub, solution) of each exercise: three cells, one after the other."""
    cells = book.cells
    starts = [
        k
        for k, cell in enumerate(cells)
        if cell.cell_type == "markdown" and "exercise" in cell.metadata.get("tags", [])
    ]
    return [cells[k : k + 3] for k in starts]


def test_exercises_grow_and_have_a_stub_a_check_and_a_solution(name, book):
    found = exercises(book)
    aside = [*tagged(book, "exercise"), *tagged(book, "solution")]
    assert sum(map(len, found)) == len(aside)
    sizes = []
    for prompt, stub, solution in found:
        title = re.match(r"### Exercise \(([^)]+)\): \S", prompt.source)
        assert title, prompt.source[:80]
        sizes.append(SIZES.index(title[1]))
        assert stub.cell_type == "code" and "exercise" in stub.metadata.tags
        assert re.search(r"^check\(\"\w+\", my_\w+\)$", stub.source, re.MULTILINE)
        (output,) = stub.outputs
        assert "not filled in yet" in output.text
        assert solution.metadata.tags == ["solution"]
        assert solution.source.startswith("<details><summary>Solution</summary>\n\n")
        assert solution.source.endswith("</details>")
    assert sizes == sorted(sizes)
    assert set(sizes) == set(range(3)) or name in APPENDIX


def test_folded_solutions_are_right(book):
    """Each by itself, with those of the notebook's imports whose names it uses."""
    imports = {
        name.asname or name.name: ast.unparse(node)
        for cell in code_cells(book)
        for node in ast.parse(cell.source).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in node.names
    }
    for _, stub, solution in exercises(book):
        exercise, name = re.search(
            r"^check\(\"(\w+)\", (\w+)\)", stub.source, re.M
        ).groups()
        (block,) = re.findall(r"```python\n(.*?)```", solution.source, re.DOTALL)
        assert f"def {name}(" in block
        used = {n.id for n in ast.walk(ast.parse(block)) if isinstance(n, ast.Name)}
        scope = {}
        exec("\n".join([*(imports[n] for n in used & imports.keys()), block]), scope)
        assert verdict(exercise, scope[name]) == (True, "right")


def test_results_are_marked_for_the_index(name, book):
    cells = tagged(book, "key")
    assert all(cell.outputs for cell in cells)
    assert len(cells) <= 4
    assert cells or name < "03"


# --- runs with other parameters ---------------------------------------------


def others(name):
    """Other values for what a notebook knows: SMALL for it, else OTHERS."""
    known = run.parameters_of(path_of(name))
    given = {k: v for k, v in SMALL.get(name, OTHERS).items() if k in known}
    assert given, f"{name}: nothing to change among {', '.join(known)}"
    assert all(known[k] != v for k, v in given.items())
    return given


@pytest.mark.slow
def test_every_cell_runs_with_other_parameters(name, book, tmp_path):
    given = others(name)
    target = tmp_path / f"{name}.ipynb"
    run.execute(path_of(name), target, given, cpu=True)
    done = nbformat.read(target, 4)
    cells = code_cells(done)
    assert len(cells) == len(code_cells(book)) + 1  # the parameters
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert {cell.metadata.papermill.status for cell in cells} == {"completed"}
    assert not [o for o in outputs(done) if o.output_type == "error"]
    assert not [o.text for o in outputs(done) if o.get("name") == "stderr"]
    (injected,) = tagged(done, "injected-parameters")
    assert all(f"{key} = {value!r}" in injected.source for key, value in given.items())
    # and other outputs than the stored ones: the parameters did count
    assert [o.get("text") or o.get("data") for o in outputs(done)] != [
        o.get("text") or o.get("data") for o in outputs(book)
    ]


@pytest.mark.slow
def test_appendix_1_takes_videos_and_published_lists_of_ones_own(tmp_path):
    names = ["own-video-0_000010", "own-video-1_000020"]
    (tmp_path / "videos").mkdir()
    for name in names:
        make_video(tmp_path / "videos" / f"{name}.mp4")
    (tmp_path / "vggss_144k.txt").write_text(f"{names[0]}.mp4\nown-video-2_000000\n")
    (tmp_path / "vggss.json").write_text(
        json.dumps(
            [
                {"file": name, "class": "dog", "bbox": [[0.1, 0.2, 0.6, 0.9]]}
                for name in names
            ]
        )
    )
    given = {"videos": "videos", "prepared": "clips", "published": "."}
    given = {key: str(tmp_path / folder) for key, folder in given.items()}
    run.execute(path_of("A1_field_data"), tmp_path / "A1.ipynb", given, cpu=True)
    done = nbformat.read(tmp_path / "A1.ipynb", 4)
    text = "".join(o.get("text", "") for o in outputs(done))
    assert "2 files: 2 made" in text
    assert "2 clips, 2 boxes" in text
    assert "1 of the 2 test clips are in the training list" in text
    assert len(list((tmp_path / "clips" / "audio").iterdir())) == 2


def papermill(folder, **given):
    """Execute notebook 05 in a folder, as a researcher calls it."""
    options = [
        text for name, value in given.items() for text in ("-p", name, str(value))
    ]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "papermill",
            "--no-progress-bar",
            listing.NOTEBOOKS / "05_training.ipynb",
            "out.ipynb",
            *options,
        ],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    found = outputs(nbformat.read(folder / "out.ipynb", 4))
    assert not [o for o in found if o.output_type == "error"]
    return "".join(o.text for o in found if o.output_type == "stream")


@pytest.mark.slow
def test_papermill_trains_the_papers_preset_from_any_folder(tmp_path):
    """The store is small; all else is of the paper's size."""
    pack_scenes("train", 6, tmp_path / "scenes.store", size=256, workers=1)
    papermill(
        tmp_path,
        preset="paper",
        data="packed",
        root="scenes.store",
        epochs=1,
        batch=3,
        val_scenes=4,
        out="paper",
    )
    card = json.loads((tmp_path / "paper" / "model.json").read_text())
    assert card["training"] == asdict(
        TrainConfig.from_preset("paper", epochs=1, batch=3)
    ) | {"crop": [0.3, 1.0]}
    assert card["clips"] == 6 and card["model"]["width"] == 64


def copy_photographs(root, rows):
    """Ordinary photographs with recordings of their classes, as a folder of clips."""
    for name in ("frames", "audio"):
        (root / name).mkdir(parents=True)
    sounds = {row["class"]: row["file"] for row in soundstamps.table("sounds")}
    for index, row in enumerate(soundstamps.table("wild")[rows]):
        clip = f"{index:011}_000000"
        shutil.copy(soundstamps.ROOT / row["file"], root / "frames" / f"{clip}.jpg")
        sound = soundstamps.ROOT / sounds[row["class"]]
        shutil.copy(sound, root / "audio" / f"{clip}{sound.suffix}")


@pytest.mark.slow
def test_papermill_reaches_the_last_cell_on_photographs(tmp_path):
    """What the notebook claims of the shipped model holds whatever the user's clips.

    On these photographs its maps vary less than its branches differ on scenes.
    """
    copy_photographs(tmp_path / "clips", slice(11, 18))
    store = tmp_path / "photographs.store"
    pack(open_folder(tmp_path / "clips"), store, workers=1)
    maps = respond_to(
        SoundLocaliser.load(CHECKPOINT), open_store(store).part(slice(3, 7))
    )
    lines = (CHECKPOINT / "metrics.jsonl").read_text().splitlines()
    assert maps.var((1, 2)).mean() < 0.5 * json.loads(lines[-1])["equivariance"]

    papermill(
        tmp_path,
        preset="paper",
        data="packed",
        root=store.name,
        epochs=1,
        batch=3,
        val_scenes=4,
        precision="fp32",
        out="run",
    )
    history = (tmp_path / "run" / "metrics.jsonl").read_text()
    assert "val_loss" in json.loads(history)  # photographs without boxes
    last = code_cells(nbformat.read(tmp_path / "out.ipynb", 4))[-1]
    assert "Notebooks 06 and 07 take the checkpoint in run" in last.outputs[0].text


@pytest.mark.slow
def test_papermill_trains_on_a_folder_of_clips_resumes_and_trains_anew(tmp_path):
    (tmp_path / "clips").mkdir()
    make_clips(tmp_path / "clips", 11)
    given = {
        "data": "vggsound",
        "root": "clips",
        "epochs": 1,
        "batch": 4,
        "val_scenes": 3,
        "out": "run",
    }
    papermill(tmp_path, **given)
    history = (tmp_path / "run" / "metrics.jsonl").read_text()
    assert "val_loss" in json.loads(history)
    assert "nothing is left to train" in papermill(tmp_path, **given, resume=True)
    assert (tmp_path / "run" / "metrics.jsonl").read_text() == history
    assert "is now in earlier-1" in papermill(tmp_path, **given | {"epochs": 2})
    assert (tmp_path / "run" / "earlier-1" / "metrics.jsonl").read_text() == history
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 2


def test_unknown_parameters_are_errors(name, tmp_path):
    with pytest.raises(ValueError, match=f"{name}.ipynb has no parameter no_such_name"):
        run.execute(path_of(name), tmp_path / "x.ipynb", {"no_such_name": 1})


# --- how stored outputs are compared (conftest.py) --------------------------


@pytest.mark.parametrize(
    "a, b",
    [
        ("", ""),
        ("peak 0.93", "peak 0.93"),
        ("loss 0.500", "loss 0.509"),
        ("0.01", "0.02"),
        ("12.50 s", "12.70 s"),
        ("1.5e-3 x", "1.6e-03 x"),
        ("-0.01", "0.01"),
        ("  9.99 |", " 10.01 |"),
        ("−0.5", "-0.5"),
        ("<td>0.931</td>", "<td>0.929</td>"),
        ("tensor([0.10, 2.00])", "tensor([0.11, 2.01])"),
        ("nan", "nan"),
        ("0.5%", "0.51%"),
    ],
)
def test_a_little_off_is_equal(a, b):
    assert Output(a) == Output(b) and Output(b) == a and Output(a) == b


@pytest.mark.parametrize(
    "a, b",
    [
        ("12 of 30", "13 of 30"),
        ("peak 0.93", "peak 0.96"),
        ("peak 0.93", "cIoU 0.93"),
        ("100.0", "103.0"),
        ("0.5", "-0.5"),
        ("0.5", "nan"),
        ("0.5", "0.5 0.5"),
        ("torch 2.11.0", "torch 2.12.0"),
        ("1.0", "1"),
        ("(3, 96)", "(3, 97)"),
        ("peak", "Peak"),
        ("0.5 a", "0.5 b"),
        ("a b", "a  b"),
        ("conv1.5x", "conv1.6x"),
    ],
)
def test_all_else_differs(a, b):
    assert Output(a) != Output(b) and Output(b) != a and Output(a) != b


@pytest.mark.slow
def test_nbval_compares_by_these_rules(tmp_path):
    """Right, a little off, wrong whole number, wrong decimal: two cells fail."""
    stored = ["peak 0.93", "peak 0.94", "peak 0.93, 12 clips", "peak 0.99"]
    source = 'print("peak 0.93{}")'
    book = new_notebook(
        cells=[
            new_code_cell(
                source.format(", 13 clips" if "," in text else ""),
                execution_count=number,
                outputs=[new_output("stream", name="stdout", text=text + "\n")],
            )
            for number, text in enumerate(stored, 1)
        ],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    )
    nbformat.write(book, tmp_path / "small.ipynb")
    found = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "--nbval",
            "-p",
            "conftest",
            "-p",
            "no:cacheprovider",
            "-c",
            run.ROOT / "pyproject.toml",
            tmp_path / "small.ipynb",
        ],
        cwd=run.ROOT,
        capture_output=True,
        text=True,
    )
    assert "2 failed, 2 passed" in found.stdout, found.stdout + found.stderr
    assert "Cell 2" in found.stdout and "Cell 3" in found.stdout


def test_the_readme_has_the_numbers_that_notebook_06_stored():
    readme = (listing.NOTEBOOKS.parent / "README.md").read_text(encoding="utf-8")
    book = nbformat.read(listing.NOTEBOOKS / "06_localisation.ipynb", 4)
    stored = "\n".join(text for _, text in texts(book))
    for split in ("test", "unseen", "open", "wild"):
        line = next(x for x in readme.splitlines() if x.startswith(f"| `{split}` |"))
        row = next(x for x in stored.splitlines() if x.startswith(f"| **{split}** |"))
        numbers = re.findall(r"\d+\.\d", line)
        assert len(numbers) == 5, line
        for number in numbers:
            assert number in re.findall(r"\d+\.\d", row), f"{split}: {number} in {row}"


def test_the_readme_says_of_listening_what_notebook_06_stored():
    readme = (listing.NOTEBOOKS.parent / "README.md").read_text(encoding="utf-8")
    told = " ".join(readme.split())
    book = nbformat.read(listing.NOTEBOOKS / "06_localisation.ipynb", 4)
    stored = "\n".join(text for _, text in texts(book)).splitlines()
    start = next(k for k, x in enumerate(stored) if "does it listen?" in x)
    rows = {row.split("`")[1]: row.split(" | ") for row in stored[start + 2 :][:4]}
    deaf = [name for name, row in rows.items() if "not measurably" in row[-1]]
    assert deaf == ["unseen", "open", "wild"]
    added, _ = rows["test"][4].split(" ", 1)
    assert f"On `test` this costs {float(added)} points of the pointing score" in told
    other, gap = rows["wild"][2], rows["wild"][4].split(" ", 1)[1]
    low, high = re.findall(r"[+-]\d+", gap)
    assert f"in {float(other.split()[0]):.0f} % of the cases" in told
    assert f"is {low.replace('-', '−')} to {high.lstrip('+')} points" in told


def test_the_readme_says_of_the_centre_prior_what_notebook_06_stored():
    told = " ".join((listing.NOTEBOOKS.parent / "README.md").read_text("utf-8").split())
    book = nbformat.read(listing.NOTEBOOKS / "06_localisation.ipynb", 4)
    stored = "\n".join(text for _, text in texts(book)).splitlines()
    start = next(k for k, x in enumerate(stored) if "model less centre prior" in x)
    names = [name.strip() for name in stored[start].strip("| ").split("|")][1:-1]
    better = {}
    for row in stored[start + 2 :][:4]:
        split, *gains, _ = row.strip("| ").split("|")
        for name, gain in zip(names, gains, strict=True):
            _, low, high = map(float, re.findall(r"[+-][\d.]+", gain))
            assert high >= 0
            if low > 0:
                better.setdefault(split.strip("` "), {})[name] = (low, high)
    assert set(better.pop("test")) == set(names)
    assert list(better) == ["unseen"] and list(better["unseen"]) == ["peak"]
    low, high = better["unseen"]["peak"]
    rows = {x.split("**")[1]: x.split(" | ") for x in stored if x.startswith("| **")}
    free = {split: row[9].split(" / ") for split, row in rows.items() if len(row) == 11}
    assert f"the middle of the image in {free['unseen'][4]} % " in told
    assert f"interval of the difference: {low:.0f} to {high:.0f} points" in told
    assert f"alone points at the object in {float(free['wild'][3]):.0f} % of" in told
    moved = next(x for x in stored if x.startswith("| ♪ first silent object's"))
    place = moved.split(" | ")[2]
    assert f"the peak is on that object in {place} % of the scenes; in " in told
    (moves,) = re.findall(r"to the other with the sound: (\d+)%", "\n".join(stored))
    assert f"in {moves} % it moves there" in told
