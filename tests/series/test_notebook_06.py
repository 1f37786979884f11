"""What notebook 06 tells of the field, counted anew; and other people's maps in it."""

import ast
import json

import nbformat
import numpy as np
import papermill
import pytest

from sslnb import localise
from sslnb.data import soundstamps
from sslnb.data.field.annotations import read_annotations
from sslnb.data.field.download import SOURCES
from sslnb.localise.maps import simulated_maps
from sslnb.localise.report import evaluate
from sslnb.series import run

PATH = run.NOTEBOOKS / "06_localisation.ipynb"
SHARED = run.ROOT.parent / "shared" / "benchmarks"
PUBLISHED = {  # how the shared folder calls what the download helper fetches
    "vggsound-144k": "ssl-tie_train_vggss_144k.txt",
    "vggss": "vggss.json",
    "retrieval-144k": "ssl-tie_train_seen_144k.txt",
    "ez-vsl-144k": "ez-vsl_vggss_144k.txt",
    "openset-70k": "ssl-tie_openset_train_110_70k.txt",
    "openset-heard": "ssl-tie_openset_test_heard.txt",
    "flickr-10k": "ssl-tie_train_flickr_10k.txt",
    "flickr-test": "ssl-tie_test_flickr_250.txt",
}

needs_lists = pytest.mark.skipif(
    not SHARED.is_dir(), reason="the field's published lists are not beside the project"
)


def cells(path=PATH):
    return [c for c in nbformat.read(path, 4).cells if c.cell_type == "code"]


def cell_with(text, path=PATH):
    (found,) = (cell for cell in cells(path) if text in cell.source)
    return found


def texts(path):
    """What an executed notebook put out, as text."""
    for cell in cells(path):
        for output in cell.outputs:
            data = output.get("data", {})
            yield output.get("text") or data.get("text/markdown") or ""


@needs_lists
def test_the_table_of_leaks_is_what_the_published_lists_say(tmp_path):
    """Its own cell, run with the lists beside it."""
    for name, file in PUBLISHED.items():
        (tmp_path / SOURCES[name].file).symlink_to(SHARED / file)
    told, names = [], {"lists": str(tmp_path)}
    exec(cells()[0].source, names)
    names["display"] = lambda shown: told.append(shown.data)
    for node in ast.parse(cells()[2].source).body:
        if isinstance(node, ast.FunctionDef):
            exec(ast.unparse(node), names)
    exec(cell_with("counted = [").source, names)  # it asserts what it finds
    (table,) = told
    assert table.count("counted now") == 5 and table.count("on record") == 3
    rows = {row.split(" | ")[0].strip("| "): row for row in table.splitlines()}
    assert "| 3,709 of 5,158 | 72% | 3,784 |" in rows["EZ-VSL, SLAVC, SSLalignment"]
    assert "| 0 of 5,158 | 0% | 2 |" in rows["the paper, 144k"]
    assert "on record" in rows["FNAC"]


@pytest.mark.slow
@needs_lists
def test_what_guesses_score_on_vgg_ss_is_measured():
    annotations = read_annotations(SHARED / "vggss.json")
    report = evaluate(simulated_maps(annotations), annotations, resamples=10)
    whole_frame = report.per_clip["size"].to_numpy(copy=True)
    scores = localise.summarise(whole_frame), *report.baselines.values()
    source = cell_with("guesses = {").source
    for found in scores:
        assert f"{100 * found['cIoU']:.2f} / {100 * found['AUC']:.2f}" in source


@pytest.mark.slow
def test_other_peoples_maps_are_scored_in_the_same_notebook(tmp_path):
    """Maps of 7 × 7 with negative values and two clips missing, VGG-SS's file."""
    boxes = {
        f"AAAAAAAAA{k:02d}_000030": soundstamps.compose("test", 5, k, 16).boxes
        for k in range(12)
    }
    (tmp_path / "some.json").write_text(
        json.dumps(
            [
                {"file": name, "class": "horn", "bbox": value}
                for name, value in boxes.items()
            ]
        )
    )
    annotations = read_annotations(tmp_path / "some.json")
    maps = simulated_maps(annotations, side=7)
    theirs = {name: 9 * maps[name] - 4 for name in list(maps)[:10]}
    np.savez(tmp_path / "maps.npz", **theirs)
    out = tmp_path / "06.ipynb"
    run.execute(
        PATH,
        out,
        {
            "scenes": 24,
            "maps": str(tmp_path / "maps.npz"),
            "annotations": str(tmp_path / "some.json"),
        },
        cpu=True,
    )
    told = "\n".join(texts(out))
    assert "Scored on 10 of 12 clips." in told
    report = evaluate(theirs, annotations)
    for protocol in ("`lvs`", "`ezvsl`"):
        (row,) = (r for r in told.splitlines() if r.startswith(f"| {protocol}"))
        score = evaluate(theirs, annotations, protocol.strip("`")).scores["cIoU"].value
        assert f"| {100 * score:.1f} |" in row
    assert "needs cosines in [−1, 1]" in told  # SLAVC's fixed threshold
    rows = [row for row in told.splitlines() if "| `maps.npz` |" in row]
    assert len(rows) == 1 and f"| {100 * report.scores['cIoU'].value:.1f} / " in rows[0]
    assert "10 clips of `some.json`" in rows[0]


@pytest.mark.slow
@pytest.mark.parametrize("given", ["maps", "annotations"])
def test_maps_without_annotations_are_an_error(tmp_path, given):
    with pytest.raises(papermill.PapermillExecutionError, match="give both"):
        run.execute(PATH, tmp_path / "x.ipynb", {given: "some"}, cpu=True)
