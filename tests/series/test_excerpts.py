"""A widget with its question, its answer, and the lines of the notebook it needs."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from sslnb.series.excerpts import excerpts, public
from sslnb.series.listing import notebooks

IMPORT = "import torch\nfrom sslnb.teach import plot, widgets"
PARAMETERS = "scenes = 240  # of them\nseed = 0"


def book(path, *above, cell="widgets.heatmaps(model, clips)", below=()):
    """A notebook with some cells above and below that of a widget."""
    cells = [
        new_markdown_cell("# 09 · A title"),
        new_code_cell(IMPORT),
        new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}),
        *(new_code_cell(c) if isinstance(c, str) else c for c in above),
        new_markdown_cell("Before.\n\n**Predict.** What\n\nwill it be?"),
        new_code_cell(cell, metadata={"tags": ["nbval-ignore-output"]}),
        *below,
    ]
    path = path / "09_x.ipynb"
    nbformat.write(new_notebook(cells=cells), path)
    return path


def setup(*arguments, **options):
    (found,) = excerpts(book(*arguments, **options))
    return found.setup.splitlines()


def test_only_what_the_widget_needs_stays(tmp_path):
    above = (
        "clips = load(scenes)\nlabels = [clip.label for clip in clips]",
        "model = Model(seed)\nassert model",
        "figure = plot.scenes(clips)\nplot.show(figure, alt)\nprint(labels)",
    )
    assert setup(tmp_path, *above) == [
        "from sslnb.teach import plot, widgets",
        "scenes = 240",
        "seed = 0",
        "clips = load(scenes)",
        "model = Model(seed)",
    ]


@pytest.mark.parametrize(
    "change",
    [
        "clips[0] = 1",
        "clips.boxes = ()",
        "clips.images.clamp_(0, 1)",
        "clips += 1",
        "for k in range(3):\n    clips.append(k)",
        "if seed:\n    clips = 2",
        "with torch.no_grad():\n    clips = 3",
        "torch.manual_seed(seed)\nclips = torch.rand(3)",
    ],
)
def test_what_changes_it_on_the_way_stays_too(tmp_path, change):
    kept = setup(tmp_path, "model = 0\nclips = torch.zeros(3)", change)
    assert "\n".join(kept).endswith(change)


def test_what_is_replaced_before_it_is_used_goes(tmp_path):
    kept = setup(tmp_path, "clips = slow()", "clips = quick()", "model = 1")
    assert "clips = slow()" not in kept and "clips = quick()" in kept


def test_names_of_a_functions_own_are_not_those_of_the_notebook(tmp_path):
    above = (
        "q = slow()\nx = slow()",
        "def load(q):\n    x = q\n    return [n for n in x]",
        "n = slow()\nclips = load(lambda y: y)\nmodel = 0",
    )
    kept = "\n".join(setup(tmp_path, *above))
    assert "slow" not in kept and "def load" in kept


@pytest.mark.parametrize(
    "inside",
    [
        "for name, k in pairs:\n    x = k\n    clips.append((name, x))",
        "with open() as name:\n    x = 1\n    clips.append((name, x))",
        "if pairs:\n    x = name = 1\n    clips.append((name, x))",
    ],
)
def test_nor_are_names_that_a_block_sets_before_it_reads_them(tmp_path, inside):
    above = "name = x = k = slow()\npairs = []", "clips = []\nmodel = 0", inside
    kept = "\n".join(setup(tmp_path, *above))
    assert "slow" not in kept and kept.endswith(inside)


def test_a_function_needs_what_it_reads_when_it_is_called(tmp_path):
    above = (
        "def load():\n    return made() + rate",
        "def made():\n    return scenes",
        "rate = 3\nclips = load()\nmodel = 0",
        "rate = 4",
    )
    kept = setup(tmp_path, *above)
    assert "rate = 3" in kept and "rate = 4" not in kept and "scenes = 240" in kept


def test_the_parameters_can_be_others(tmp_path):
    path = book(tmp_path, "clips = load(scenes)\nmodel = 0")
    (found,) = excerpts(path, scenes=3)
    assert "scenes = 3" in found.setup.splitlines()
    with pytest.raises(ValueError, match="no parameter scene"):
        excerpts(path, scene=3)


def test_the_question_and_the_answer_are_those_around_it(tmp_path):
    exercise = new_markdown_cell("### Exercise", metadata={"tags": ["exercise"]})
    fold = "<details><summary>Answer</summary>\n\nThis.\n\n</details>"
    answer = new_markdown_cell(f"{fold}\n\n## Next")
    (found,) = excerpts(book(tmp_path, below=(new_code_cell("1"), exercise, answer)))
    assert (found.title, found.widget) == ("09 · A title", "heatmaps")
    assert found.question == "**Predict.** What\n\nwill it be?"
    assert found.answer == fold
    other = new_markdown_cell(f"Text. {fold}")
    (found,) = excerpts(book(tmp_path, below=(other, answer)))
    assert found.answer == ""


def test_an_answer_may_be_computed(tmp_path):
    reply = "display(Markdown(f'<details>{truth}</details>'))"
    path = book(tmp_path, "truth = 1", below=(new_code_cell(reply),))
    (found,) = excerpts(path)
    assert found.reply == reply and found.answer == ""
    assert "truth = 1" in found.setup.splitlines()


def test_a_cell_without_a_widget_or_without_its_tag_is_none(tmp_path):
    assert excerpts(book(tmp_path, cell="train(model)\nwidgets.other()")) == []
    above = "clips = widgets.heatmaps()\nmodel = 0"
    (found,) = excerpts(book(tmp_path, above))
    assert found.cell == "widgets.heatmaps(model, clips)"


def test_a_file_of_widgets_may_have_another_name(tmp_path):
    above = "from sslnb.teach.widgets import augment as panels"
    (found,) = excerpts(book(tmp_path, above, cell="panels.augmentations(clips)"))
    assert above in found.setup.splitlines()


@pytest.mark.parametrize(
    "path", notebooks([str(n) for n in range(1, 8)]), ids=lambda p: p.stem
)
def test_every_notebook_up_to_07_asks_before_its_widget_and_answers(path):
    first = excerpts(path)[0]
    assert "?" in first.question and (first.answer or first.reply)


def test_every_widget_is_in_a_notebook():
    used = {excerpt.widget for path in notebooks() for excerpt in excerpts(path)}
    assert used == set(public())
