"""What notebook 06 and appendix A2 record of the field, counted anew; and others' maps."""

import json
from dataclasses import replace

import nbformat
import numpy as np
import papermill
import pytest

from sslnb import localise
from sslnb.data import soundstamps
from sslnb.data.field.annotations import boxes_to_truth, read_annotations
from sslnb.data.field.download import SOURCES
from sslnb.localise.maps import simulated_maps
from sslnb.localise.protocols import PROTOCOLS
from sslnb.localise.report import evaluate
from sslnb.series import listing, run
from sslnb.teach import protocols, published

PATH = listing.NOTEBOOKS / "06_localisation.ipynb"
APPENDIX = listing.NOTEBOOKS / "appendix" / "A2_protocols.ipynb"
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


def texts(path):
    """What an executed notebook put out, as text."""
    for cell in nbformat.read(path, 4).cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            yield output.get("text") or data.get("text/markdown") or ""


@needs_lists
def test_the_table_of_leaks_is_what_the_published_lists_say(tmp_path):
    for name, file in PUBLISHED.items():
        (tmp_path / SOURCES[name].file).symlink_to(SHARED / file)
    rows = {row[0]: row[1:] for row in published.leak_rows(tmp_path)}
    told = [row[-1] for row in rows.values()]
    assert told.count("counted now") == 5 and told.count("on record") == 3
    assert rows["EZ-VSL, SLAVC, SSLalignment"][:3] == ["3,709 of 5,158", "72%", "3,784"]
    assert rows["the paper, VGGSound-144k"][:3] == ["0 of 5,158", "0%", "2"]
    assert rows["FNAC"][-1] == "on record"


@needs_lists
def test_a_list_that_is_not_as_recorded_is_an_error(tmp_path):
    for name in ("vggsound-144k", "ez-vsl-144k"):  # the one under the other's name
        (tmp_path / SOURCES[name].file).symlink_to(SHARED / PUBLISHED["ez-vsl-144k"])
    (tmp_path / SOURCES["vggss"].file).symlink_to(SHARED / "vggss.json")
    with pytest.raises(ValueError, match=r"3709.*recorded are"):
        published.leak_rows(tmp_path)


@pytest.mark.slow
@needs_lists
def test_what_is_recorded_of_vgg_ss_is_measured():
    """Guesses, adaptive thresholds, sizes, cropped boxes, and the simulated detector."""
    annotations = read_annotations(SHARED / "vggss.json")
    maps = simulated_maps(annotations)
    lvs, slavc = PROTOCOLS["lvs"], PROTOCOLS["slavc"]
    rules = {
        "lvs": lvs,
        "≥ in place of >": replace(lvs, strict=False),
        "align_corners=True": replace(lvs, align_corners=True),
        "bicubic": replace(lvs, interpolation="bicubic"),
        "ezvsl": PROTOCOLS["ezvsl"],
        "slavc at the median": replace(slavc, threshold="median"),
    }
    reports = {
        name: evaluate(maps, annotations, rule, resamples=10)
        for name, rule in rules.items()
    }
    assert {
        name: round(100 * r.scores["cIoU"].value, 2) for name, r in reports.items()
    } == published.SIMULATED
    prior, oracle = reports["lvs"].baselines.values()
    size = reports["lvs"].per_clip["size"].to_numpy(copy=True)
    found = {
        "nothing marked": localise.summarise(0 * size),
        "whole image": localise.summarise(size),
        "centre prior": prior,
        "oracle": oracle,
    }
    assert {
        name: tuple(round(100 * scores[x], 2) for x in ("cIoU", "AUC"))
        for name, scores in found.items()
    } == published.VGG_SS
    adaptive = (prior[f"adaptive {name}"] for name in ("cIoU", "AUC"))
    assert tuple(round(100 * x, 2) for x in adaptive) == published.VGG_SS_ADAPTIVE
    assert round((size < 0.25).mean(), 4) == published.VGG_SS_BELOW_QUARTER
    assert published.TEST_CLIPS["vggss"] == len(annotations)

    overlaps = []
    for known in annotations.values():
        boxes = np.clip(np.array(known.boxes).reshape(-1, 4), 0, 1)
        used = boxes_to_truth(boxes.tolist()).numpy() > 0
        moved = protocols.cropped_boxes(boxes, 16, 9)
        true = boxes_to_truth(moved).numpy() > 0
        overlaps.append((used & true).sum() / max((used | true).sum(), 1))
    assert round(np.mean(overlaps), 2) == published.VGG_SS_CROPPED


@pytest.fixture
def somebodys(tmp_path):
    """Maps of 7 × 7 with negative values and two clips missing, VGG-SS's file."""
    boxes = {
        f"AAAAAAAAA{k:02d}_000030": soundstamps.compose("test", 5, k, 16).boxes
        for k in range(12)
    }
    entries = [{"file": n, "class": "horn", "bbox": b} for n, b in boxes.items()]
    (tmp_path / "some.json").write_text(json.dumps(entries))
    annotations = read_annotations(tmp_path / "some.json")
    maps = simulated_maps(annotations, side=7)
    maps = {name: 9 * maps[name] - 4 for name in list(maps)[:10]}
    np.savez(tmp_path / "maps.npz", **maps)
    given = {"maps": tmp_path / "maps.npz", "annotations": tmp_path / "some.json"}
    return maps, annotations, {name: str(path) for name, path in given.items()}


@pytest.mark.slow
def test_other_peoples_maps_are_scored_in_the_same_notebook(tmp_path, somebodys):
    maps, annotations, given = somebodys
    run.execute(PATH, tmp_path / "06.ipynb", {"scenes": 24, **given}, cpu=True)
    told = "\n".join(texts(tmp_path / "06.ipynb"))
    assert "Scored on 10 of 12 clips." in told
    report = evaluate(maps, annotations)
    (row,) = (row for row in told.splitlines() if "| `maps.npz` |" in row)
    assert f"| {100 * report.scores['cIoU'].value:.1f} / " in row
    assert "10 clips of `some.json`" in row


@pytest.mark.slow
def test_other_peoples_maps_are_scored_by_other_protocols(tmp_path, somebodys):
    maps, annotations, given = somebodys
    run.execute(APPENDIX, tmp_path / "A2.ipynb", {"scenes": 24, **given}, cpu=True)
    told = "\n".join(texts(tmp_path / "A2.ipynb"))
    for protocol in ("lvs", "ezvsl"):
        (row,) = (r for r in told.splitlines() if r.startswith(f"| `{protocol}`"))
        score = evaluate(maps, annotations, protocol).scores["cIoU"].value
        assert f"| {100 * score:.1f} |" in row
    assert "needs cosines in [−1, 1]" in told  # SLAVC's fixed threshold


@pytest.mark.slow
@pytest.mark.parametrize("given", ["maps", "annotations"])
@pytest.mark.parametrize("path", [PATH, APPENDIX], ids=["06", "A2"])
def test_maps_without_annotations_are_an_error(tmp_path, given, path):
    with pytest.raises(papermill.PapermillExecutionError, match="give both"):
        run.execute(path, tmp_path / "x.ipynb", {given: "some"}, cpu=True)
