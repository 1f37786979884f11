"""Published annotations: read as they are, damaged ones by one rule, counted."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from sslnb.data.field import annotations
from sslnb.data.field.annotations import (
    SIZE,
    Annotation,
    damage,
    read_annotations,
    truth_of,
)

SHARED = Path(__file__).resolve().parents[3] / "shared" / "benchmarks"
VGGSS = SHARED / "vggss.json"
needs_vggss = pytest.mark.skipif(not VGGSS.exists(), reason=f"needs {VGGSS}")
HUGE = -2.8823037615171176e16  # as 12 clips of VGG-SS have it


def write_json(path, entries):
    path.write_text(json.dumps(entries))
    return path


def entry(name="a", boxes=((0.1, 0.2, 0.5, 0.9),), label="dog"):
    return {"file": name, "class": label, "bbox": [list(box) for box in boxes]}


def write_release(folder, name, boxes):
    """One clip as the released code keeps it: a <bbox> of four elements."""
    tags = ("xmin", "ymin", "xmax", "ymax")
    inner = "".join(
        "<bbox>" + "".join(f"<{t}>{v}</{t}>" for t, v in zip(tags, box)) + "</bbox>"
        for box in boxes
    )
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.xml").write_text(f"<annotation>{inner}</annotation>")


def write_flickr(folder, name, boxes):
    """One clip as Flickr-SoundNet has it: annotators, each a <bbox> with a name first."""
    inner = "".join(
        "<annotator><bbox><name>object</name>"
        + "".join(f"<v>{value}</v>" for value in box)
        + "</bbox></annotator>"
        for box in boxes
    )
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.xml").write_text(f"<annotations>{inner}</annotations>")


def by_hand(boxes, frame=1.0):
    """How many boxes each pixel lies in, pixel by pixel; boxes in units of `frame`."""
    count = np.zeros((SIZE, SIZE))
    for x0, y0, x1, y1 in boxes:
        left, top = int(SIZE * max(x0, 0) / frame), int(SIZE * max(y0, 0) / frame)
        right, bottom = int(SIZE * max(x1, 0) / frame), int(SIZE * max(y1, 0) / frame)
        for row in range(SIZE):
            for column in range(SIZE):
                count[row, column] += left <= column < right and top <= row < bottom
    return count


# --- VGG-SS -----------------------------------------------------------------


@needs_vggss
def test_vggss_as_it_is_published():
    found = read_annotations(VGGSS)
    published = json.loads(VGGSS.read_text())
    assert list(found) == [clip["file"] for clip in published]
    assert len(found) == 5158
    assert len({annotation.label for annotation in found.values()}) == 221
    for clip in published[::500]:
        assert [list(box) for box in found[clip["file"]].boxes] == clip["bbox"]
        assert found[clip["file"]].label == clip["class"]
    assert {annotation.annotators for annotation in found.values()} == {1}


@needs_vggss
def test_the_damage_of_vggss_is_counted():
    found = damage(read_annotations(VGGSS))
    assert (found.clips, found.boxes) == (5158, 5941)
    assert (found.outside, found.outside_clips) == (14, 12)
    assert found.empty == 18
    assert found.reversed == () and not found.sized
    assert found.without == ("M1P1xla8rg0_000000", "MKC9LvRivTM_000030")
    assert found.uneven == ()
    for word in (
        "5,158 clips",
        "5,941",
        "14 coordinates in 12 clips",
        "18 boxes",
        "2 clips have no box",
        "MKC9LvRivTM_000030",
    ):
        assert word in str(found)


@needs_vggss
def test_truth_of_vggss_equals_a_loop_over_pixels():
    found = read_annotations(VGGSS)
    damaged = [n for n, a in found.items() if any(e < 0 for b in a.boxes for e in b)]
    several = [n for n, a in found.items() if len(a.boxes) > 4]
    for name in damaged[:2] + several[:1] + list(found)[:1]:
        expected = by_hand(found[name].boxes) > 0
        assert np.array_equal(truth_of(found[name]).numpy(), expected), name


def test_order_labels_and_boxes_are_the_files(tmp_path):
    path = write_json(
        tmp_path / "vggss.json",
        [
            entry("z", [(0, 0, 1, 1)]),
            entry("a", [(0.1, 0.2, 0.3, 0.4), (0, 0, 0.5, 0.5)]),
            {"file": "no class", "bbox": []},
        ],
    )
    found = read_annotations(str(path))
    assert list(found) == ["z", "a", "no class"]
    assert found["a"] == Annotation(((0.1, 0.2, 0.3, 0.4), (0, 0, 0.5, 0.5)), "dog", 1)
    assert found["no class"] == Annotation(())
    assert truth_of(found["no class"]).sum() == 0


@pytest.mark.parametrize(
    "content, said",
    [
        ("not json", "is not JSON"),
        ("", "is not JSON"),
        ('{"a": 1}', "found dict; need a list"),
        ("[]", "need a list"),
        ("[1]", "entry 0 is 1"),
        ('[{"file": "a"}]', 'entry 0 .* need ."file"'),
        ('[{"file": 3, "bbox": []}]', "entry 0: need a string as file"),
        ('[{"file": "a", "bbox": "x"}]', "entry 0: need a string as file and a list"),
        ('[{"file": "a", "bbox": [[1, 2, 3]]}]', r"clip a: box \[1, 2, 3\]"),
        ('[{"file": "a", "bbox": [0, 0, 1, 1]}]', "clip a: box 0: need a list"),
        ('[{"file": "a", "bbox": [[0, 0, "1", 1]]}]', "clip a: box"),
        ('[{"file": "a", "bbox": [[0, 0, null, 1]]}]', "clip a: box"),
        ('[{"file": "a", "bbox": [[0, 0, NaN, 1]]}]', "clip a: box .*nan"),
        (
            '[{"file": "a", "bbox": [[10, 20, 120, 200]]}]',
            "clip a: box .*normalised coordinates",
        ),
        (
            '[{"file": "a", "bbox": []}, {"file": "a", "bbox": []}]',
            "clip a is in it twice",
        ),
    ],
)
def test_wrong_json_names_the_file_and_the_clip(tmp_path, content, said):
    path = tmp_path / "vggss.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=said) as caught:
        read_annotations(path)
    assert str(path) in str(caught.value)


# --- XML --------------------------------------------------------------------


def test_the_released_codes_folder(tmp_path):
    boxes = {"one_000001": [(0.1, 0.2, 0.5, 0.9)], "two_000002": [(0, 0, 0.5, 0.5)] * 2}
    for name, some in boxes.items():
        write_release(tmp_path / "anno", name, some)
    found = read_annotations(tmp_path / "anno")
    assert found == {n: Annotation(tuple(some)) for n, some in boxes.items()}


def test_four_numbers_may_stand_in_the_element_itself(tmp_path):
    text = "<a><bbox>0.1 0.2\n0.5 0.9</bbox></a>"
    (tmp_path / "a.xml").write_text(text)
    assert read_annotations(tmp_path)["a"].boxes == ((0.1, 0.2, 0.5, 0.9),)


@needs_vggss
def test_both_forms_of_vggss_give_the_same_truth(tmp_path):
    published = dict(list(read_annotations(VGGSS).items())[:20])
    damaged = "7Soo7mXCnq0_000063"
    published[damaged] = read_annotations(VGGSS)[damaged]
    for name, annotation in published.items():
        write_release(tmp_path, name, annotation.boxes)
    found = read_annotations(tmp_path)
    for name in published:
        assert torch.equal(truth_of(found[name]), truth_of(published[name]))


def test_flickr_soundnet_takes_three_votes_in_a_frame_of_256(tmp_path):
    boxes = [(0, 0, 256, 128), (33, 17, 201, 250), (100, 100, 255, 256)]
    write_flickr(tmp_path, "1234", boxes)
    found = read_annotations(tmp_path)["1234"]
    assert found.annotators == 3
    assert found.boxes[1] == (33 / 256, 17 / 256, 201 / 256, 250 / 256)
    expected = np.minimum(by_hand(boxes, 256) / 2, 1)
    assert set(np.unique(expected)) == {0, 0.5, 1}
    assert np.array_equal(truth_of(found).numpy(), expected)


def test_every_pixel_of_256_lands_where_the_field_has_it():
    """int(224 · x / 256), also after the division by 256 that reading does."""
    for x in range(257):
        assert int(SIZE * (x / 256)) == int(SIZE * x / 256)


def test_votes_of_fewer_or_more_annotators_count_one_half_and_are_counted(tmp_path):
    write_flickr(tmp_path, "two", [(0, 0, 128, 128)] * 2)
    write_flickr(tmp_path, "one", [(0, 0, 128, 128)])
    write_flickr(tmp_path, "none", [])
    found = read_annotations(tmp_path)
    assert truth_of(found["two"]).unique().tolist() == [0, 1]
    assert truth_of(found["one"]).unique().tolist() == [0, 0.5]
    assert truth_of(found["none"]).unique().tolist() == [0]
    assert damage(found).uneven == ("none", "one", "two")
    assert damage(found).without == ("none",)
    assert "each box counts one half: none, one, two" in str(damage(found))


@pytest.mark.parametrize(
    "content, said",
    [
        ("<a><bbox>", "a.xml is not XML"),
        (
            "<a><bbox><x>1</x></bbox></a>",
            r"a.xml: its <bbox> hold \[1\] values; need 4",
        ),
        ("<a><bbox/></a>", r"a.xml: its <bbox> hold \[0\]"),
        ("<a><bbox>0 0 1 1</bbox><bbox>n 0 0 1 1</bbox></a>", r"\[4, 5\] values"),
        ("<a><bbox>0 0 one 1</bbox></a>", "a.xml: a <bbox> holds no numbers: .*one"),
        (
            "<a><bbox>10 20 120 200</bbox></a>",
            "a.xml: clip a: box .*normalised coordinates",
        ),
        ("<a/>", "no <bbox> in any of 1 .xml"),
    ],
)
def test_wrong_xml_is_named(tmp_path, content, said):
    (tmp_path / "a.xml").write_text(content)
    with pytest.raises(ValueError, match=said):
        read_annotations(tmp_path)


def test_two_kinds_in_a_folder_are_refused(tmp_path):
    write_flickr(tmp_path, "f", [(0, 0, 128, 128)])
    write_release(tmp_path, "r", [(0, 0, 0.5, 0.5)])
    with pytest.raises(
        ValueError,
        match=r"r.xml holds normalised boxes .* f.xml several annotators' pixels",
    ):
        read_annotations(tmp_path)


def test_a_folder_or_file_of_another_kind_says_what_was_found(tmp_path):
    with pytest.raises(ValueError, match=r"no .xml in it, but nothing"):
        read_annotations(tmp_path)
    (tmp_path / "a.jpg").touch()
    with pytest.raises(ValueError, match=r"no .xml in it, but \{'.jpg': 1\}"):
        read_annotations(tmp_path)
    write_release(tmp_path / "anno", "a", [(0, 0, 1, 1)])
    with pytest.raises(ValueError, match=r"such as .*anno"):
        read_annotations(tmp_path)
    with pytest.raises(ValueError, match=r"a.jpg: need vggss.json"):
        read_annotations(tmp_path / "a.jpg")
    with pytest.raises(FileNotFoundError, match=r"none.csv"):
        read_annotations(tmp_path / "none.csv")
    with pytest.raises(FileNotFoundError, match=r"none.json"):
        read_annotations(tmp_path / "none.json")


# --- boxes in another form ----------------------------------------------------


def sized(box):
    x0, y0, x1, y1 = box
    return x0, y0, x1 - x0, y1 - y0


def swapped(box):
    return *box[2:], *box[:2]


def centred(box):
    x0, y0, x1, y1 = box
    return (x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0


def published_boxes():
    """(clip, boxes) of VGG-SS, its 12 wild coordinates among them."""
    return [(e["file"], e["bbox"]) for e in json.loads(VGGSS.read_text())]


def write_as(kind, path, clips):
    """Clips as vggss.json, or as the released code's folder; what to read."""
    if kind == "json":
        return write_json(path / "vggss.json", [entry(*clip) for clip in clips])
    for name, boxes in clips:
        write_release(path / "anno", name, boxes)
    return path / "anno"


@needs_vggss
@pytest.mark.parametrize(
    "form, said",
    [
        (
            sized,
            r"2,890 of 5,941 boxes have x1 < x0 or y1 < y0, .* look like \(x, y, "
            "width, height",
        ),
        (swapped, r"5,928 of 5,941 .* look like corners in the wrong order"),
        (centred, r"4,213 of 5,941 .* a centre with a size"),
    ],
)
def test_vggss_in_another_form_is_refused(tmp_path, form, said):
    clips = [(name, map(form, boxes)) for name, boxes in published_boxes()]
    path = write_as("json", tmp_path, clips)
    with pytest.raises(ValueError, match=said) as caught:
        read_annotations(path)
    assert str(path) in str(caught.value)
    assert "need (x0, y0, x1, y1) in [0, 1]" in str(caught.value)


@needs_vggss
@pytest.mark.parametrize("count, share", [(1, 0.4), (3, 0.75), (10, 0.97), (30, 0.99)])
def test_a_few_clips_as_sizes_are_refused_and_as_published_are_not(count, share):
    """No box of one clip, or of three, need show it; of ten, one nearly always."""
    clips, rng, refused = published_boxes(), np.random.default_rng(0), 0
    for _ in range(200):
        some = [clips[k] for k in rng.choice(len(clips), count, replace=False)]
        annotations.refuse_reversed(dict(some))
        try:
            annotations.refuse_reversed({n: list(map(sized, b)) for n, b in some})
        except ValueError:
            refused += 1
    assert refused >= share * 200


@needs_vggss
def test_large_boxes_as_sizes_are_noted_and_as_published_are_not():
    """Where objects fill half of the frame, no box ends before it begins."""
    large = {
        name: Annotation(tuple(map(tuple, boxes)))
        for name, boxes in published_boxes()
        if all(
            min(x1, y1) > 0 and (x1 - x0) * (y1 - y0) > 0.5 for x0, y0, x1, y1 in boxes
        )
    }
    wrong = {n: Annotation(tuple(map(sized, a.boxes))) for n, a in large.items()}
    annotations.refuse_reversed({name: a.boxes for name, a in wrong.items()})
    note = "every box would lie in the image as (x, y, width, height) too"
    for start in range(0, len(large) - 20, 20):
        names = list(large)[start : start + 20]
        assert note in str(damage({name: wrong[name] for name in names}))
        assert note not in str(damage({name: large[name] for name in names}))


@pytest.mark.parametrize("kind", ["json", "xml"])
@pytest.mark.parametrize(
    "boxes",
    [
        [(0.5, 0.5, 0.3, 0.2)],  # a size
        [(0.9, 0.8, 0.1, 0.2)],  # corners
        [(0.1, 0.8, 0.9, 0.2)],  # y upwards
    ],
)
def test_a_single_clip_with_its_edges_reversed_is_refused(tmp_path, kind, boxes):
    with pytest.raises(ValueError, match=r"1 of 1 boxes .* of clip a for instance"):
        read_annotations(write_as(kind, tmp_path, [("a", boxes)]))


def test_flickr_with_its_edges_reversed_is_refused(tmp_path):
    write_flickr(tmp_path, "a", [(200, 100, 40, 60)] * 3)
    with pytest.raises(ValueError, match="3 of 3 boxes have x1 < x0"):
        read_annotations(tmp_path)


@pytest.mark.parametrize("kind", ["json", "xml"])
def test_one_swapped_box_among_many_is_damage_and_named(tmp_path, kind):
    clips = [(f"clip{k:02}", [(0.3, 0.3, 0.8, 0.9)]) for k in range(40)]
    clips[7] = ("turned", [(0.8, 0.9, 0.3, 0.3)])
    found = read_annotations(write_as(kind, tmp_path, clips))
    assert truth_of(found["turned"]).sum() == 0
    counted = damage(found)
    assert counted.reversed == counted.without == ("turned",) and counted.empty == 1
    assert "1 clips have a box with its corners in the wrong order" in str(counted)


# --- damage -----------------------------------------------------------------


def test_one_rule_for_what_is_damaged():
    clips = {
        "whole": Annotation(((0, 0, 1, 1),)),
        "huge": Annotation(((0.5, 0.25, HUGE, HUGE), (0.1, 0.1, 0.4, 0.4))),
        "over": Annotation(((-0.5, -math.inf, 1.5, 0.5),)),
        "flat": Annotation(((0.3, 0.3, 0.3, 0.9),)),
        "thin": Annotation(((0.501, 0.1, 0.502, 0.9), (0, 0, 0.5, 0.5))),
    }
    assert torch.equal(truth_of(clips["over"]), truth_of(Annotation(((0, 0, 1, 0.5),))))
    alone = truth_of(Annotation(((0.1, 0.1, 0.4, 0.4),)))
    assert torch.equal(truth_of(clips["huge"]), alone)
    assert truth_of(clips["flat"]).sum() == 0
    found = damage(clips)
    assert (found.outside, found.outside_clips, found.empty) == (5, 2, 3)
    assert found.without == ("flat",)


def test_nothing_wrong_says_nothing():
    assert str(damage({"a": Annotation(((0, 0, 1, 1),))})) == "1 clips, 1 boxes"


def test_names_are_shortened():
    assert annotations.shortened("abc") == "a, b, c"
    assert annotations.shortened(map(str, range(1005)), 2) == "0, 1 and 1,003 more"
