"""Names of clips in every spelling, lists and classes; the published lists themselves."""

import csv
import json
from pathlib import Path

import pytest

from sslnb.data.field.lists import (
    RETRIEVAL,
    classes_of,
    clip_name,
    read_labels,
    read_list,
    shared_videos,
    source_video,
    split_by_class,
)

SHARED = Path(__file__).resolve().parents[3] / "shared" / "benchmarks"
published = pytest.mark.skipif(not SHARED.exists(), reason="no published lists here")


@pytest.fixture
def write(tmp_path):
    def to_file(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return to_file


# --- names ------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, name",
    [
        ("--0PQM4-hqg_000030", "--0PQM4-hqg_000030"),
        ("--0PQM4-hqg_000030.jpg", "--0PQM4-hqg_000030"),
        ("  --0PQM4-hqg_000030.MP4\r", "--0PQM4-hqg_000030"),
        ("--0PQM4-hqg_30000_40000", "--0PQM4-hqg_000030"),
        ("--0PQM4-hqg_0_10000.wav", "--0PQM4-hqg_000000"),
        ("__2MwJ2uHu0_000004.xml", "__2MwJ2uHu0_000004"),
        ("videos/0/0/0/2615133000.mp4", "2615133000"),
        ("videos2/9/9/15299999044.mp4.mp3", "15299999044"),
        ("2615133000.png", "2615133000"),
        ("my dog, at home [1].webm", "my dog, at home [1]"),
        ("v1.2.mp4", "v1.2"),  # a dot in a name is no suffix
        ("test/0/5", "test/0/5"),  # a scene of SoundStamps is no file
    ],
)
def test_one_clip_has_one_name(text, name):
    assert clip_name(text) == name
    assert clip_name(name) == name  # of a name, it is the same name
    assert clip_name(Path(text.strip())) == name


@pytest.mark.parametrize(
    "text", ["", "  ", "<!DOCTYPE html>", '[{"file": "a"}]', "a\tb"]
)
def test_what_no_clip_is_called_is_refused(text):
    with pytest.raises(ValueError, match="not the name of a clip"):
        clip_name(text)


@pytest.mark.parametrize(
    "clip, video",
    [
        ("--0PQM4-hqg_000030", "--0PQM4-hqg"),
        ("abc_def-ghi_123456", "abc_def-ghi"),  # underscores of the id are the id's
        ("15299999044", "15299999044"),  # Flickr: eleven digits, but no start
        ("2615133000", "2615133000"),
        ("test/0/5", "test/0/5"),
    ],
)
def test_source_videos(clip, video):
    assert source_video(clip) == video


def test_videos_are_shared_where_two_clips_are_of_one():
    clips = ["zpWuikVorYg_000032", "-0BIyqJj9ZU_000030", "test/0/1"]
    assert shared_videos(clips) is None is shared_videos([])
    again = [*clips, "zpWuikVorYg_000045"]
    assert shared_videos(again) == [[source_video(clip) for clip in again]]


# --- lists ------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("last", ["", "\n", "\n\n"])
def test_a_text_has_one_clip_a_line(write, ending, last):
    lines = "aaaaaaaaaaa_000001.jpg\n\nvideos/1/22.mp4\na, b.mp4" + last
    path = write("list.txt", lines.replace("\n", ending))
    assert read_list(path) == ("aaaaaaaaaaa_000001", "22", "a, b")


def test_a_csv_has_the_clip_first(write):
    path = write("flickr_test.csv", "10000130166,202\r\n10007936344,0\r\n")
    assert read_list(path) == ("10000130166", "10007936344")
    path = write("plus.csv", "\ufeffa.jpg,b.wav,non-sounding\nb.jpg,b.wav,sounding\n")
    assert read_list(path) == ("a", "b")


VGGSOUND = (
    '---g-f_I2yQ,1,"alligators, crocodiles hissing",train\n'
    "--0PQM4-hqg,30,waterfall burbling,train\n"
    "zzwbG0dHLhI,150,lawn mowing,test\n"
)


def test_vggsound_csv_is_a_list_and_has_classes(write):
    path = write("vggsound.csv", VGGSOUND)
    clips = ("---g-f_I2yQ_000001", "--0PQM4-hqg_000030", "zzwbG0dHLhI_000150")
    assert read_list(path) == clips
    assert read_labels(path) == dict(
        zip(
            clips,
            ("alligators, crocodiles hissing", "waterfall burbling", "lawn mowing"),
        )
    )


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("a.txt", "", "it is empty"),
        ("a.txt", "\n \n", "it is empty"),
        ("a.txt", "a.jpg\nb.jpg\na.mp4\n", "line 3: a is there a second time"),
        ("a.txt", "a.jpg\n<html>\n", "line 2: '<html>' is not the name"),
        ("a.csv", 'a,1\n"[{",2\n', "line 2"),
        ("a.csv", "---g-f_I2yQ\t1\train\ttest\n", "line 1: .* is not the name"),
        (
            "a.csv",
            "id,start,label,split\n",
            "line 1: 'id,start,label,split' has no start",
        ),
        (
            "a.csv",
            "---g-f_I2yQ,1.0,rain,test\n",
            "line 1: '---g-f_I2yQ,1.0,.* has no start",
        ),
        (
            "a.txt",
            "---g-f_I2yQ,1,rain,test\n",
            "line 1: .* is of a table, .* end in .csv",
        ),
        ("a.txt", b"\xff\xd8\xff\xe0\x00\x10JFIF", "no list of clips"),
    ],
)
def test_what_is_no_list_is_named(write, name, content, message):
    path = write(name, content)
    with pytest.raises(ValueError, match=message) as caught:
        read_list(path)
    assert str(path) in str(caught.value)
    assert "need one clip a line, or a .csv with the clip first" in str(caught.value)


def test_a_list_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no list at .*nowhere.txt"):
        read_list(tmp_path / "nowhere.txt")


@pytest.mark.parametrize(
    "content",
    ["aaaaaaaaaaa_000001.mp4\n", "a,b,c\n", "a,\n", "a,1,,train\n", "a,1,b,c,d\n"],
)
def test_a_clip_without_a_class_is_named(write, content):
    with pytest.raises(ValueError, match="neither 'id,start,class,split'"):
        read_labels(write("classes.csv", content))


# --- classes ----------------------------------------------------------------


def test_classes_split_clips_in_two():
    labels = {f"clip{n}": f"class{n % 4}" for n in range(20)}
    clips = [f"clip{n}" for n in (9, 3, 6, 1, 0)]  # some of them, in their order
    rest, held = split_by_class(clips, labels, ["class1", "class2"])
    assert rest == ("clip3", "clip0") and held == ("clip9", "clip6", "clip1")
    assert classes_of(held, labels) == {"class1", "class2"}
    # the class may be known, but none of these clips be of it
    assert split_by_class(["clip0"], labels, ["class3"]) == (("clip0",), ())


def test_a_class_that_nothing_is_of_is_named():
    with pytest.raises(
        ValueError, match=r"1 of the 2 held-out classes .*: dgo barking"
    ):
        split_by_class(["a"], {"a": "dog barking"}, ["dgo barking", "dog barking"])
    with pytest.raises(ValueError, match="clip 'b' has no label among the 1 given"):
        split_by_class(["a", "b"], {"a": "dog barking"}, ["dog barking"])
    with pytest.raises(ValueError, match="clip 'b' has no label"):
        classes_of(["b"], {})


# --- what is published ------------------------------------------------------


@published
@pytest.mark.parametrize(
    "name, count",
    [
        ("ez-vsl_vggss_144k.txt", 144_000),
        ("ssl-tie_openset_test_heard.txt", 2_425),
        ("ssl-tie_openset_test_unheard.txt", 2_463),
        ("ssl-tie_openset_train_110_70k.txt", 70_000),
        ("ssl-tie_test_flickr_250.txt", 249),
        ("ssl-tie_test_vggss_4911.txt", 4_911),
        ("ssl-tie_train_flickr_10k.txt", 10_000),
        ("ssl-tie_train_seen_144k.txt", 144_000),
        ("ssl-tie_train_vggss_144k.txt", 144_000),
        ("vggsound_test.csv", 15_446),
    ],
)
def test_published_lists_are_read_whole(name, count):
    clips = read_list(SHARED / name)
    assert len(clips) == len(set(clips)) == count
    form = str.isdecimal if "flickr" in name else lambda clip: len(clip) == 18
    assert all(map(form, clips))


@published
def test_published_classes():
    """By another reader: the csv module and the names as they stand."""
    with open(SHARED / "vggsound_test.csv", newline="") as file:
        rows = dict(csv.reader(file))
    labels = read_labels(SHARED / "vggsound_test.csv")
    assert labels == {name.removesuffix(".mp4"): label for name, label in rows.items()}
    assert len(set(labels.values())) == 309
    boxes = json.loads((SHARED / "vggss.json").read_text())
    assert all(labels[entry["file"]] == entry["class"] for entry in boxes)


@published
def test_retrieval_is_tested_on_35_of_the_309_classes():
    labels = read_labels(SHARED / "vggsound_test.csv")
    assert len(RETRIEVAL) == 35 and set(labels.values()) > RETRIEVAL
    rest, held = split_by_class(labels, labels, RETRIEVAL)
    assert len(classes_of(rest, labels)) == 274 and len(classes_of(held, labels)) == 35
    assert set(rest) | set(held) == set(labels) and not set(rest) & set(held)
    # the release's list of the other 274: none of its clips is of the 35
    seen = [
        clip
        for clip in read_list(SHARED / "ssl-tie_train_seen_144k.txt")
        if clip in labels
    ]
    assert len(seen) == 11_027 and split_by_class(seen, labels, RETRIEVAL)[1] == ()
    assert len(classes_of(seen, labels)) == 274


@published
def test_the_open_set_lists_are_the_paper_s_test_list_by_class():
    labels = read_labels(SHARED / "vggsound_test.csv")
    train = read_list(SHARED / "ssl-tie_openset_train_110_70k.txt")
    heard = classes_of([clip for clip in train if clip in labels], labels)
    assert len(heard) == 110
    whole = read_list(SHARED / "ssl-tie_test_vggss_4911.txt")
    rest, found = split_by_class(whole, labels, heard)
    assert found == read_list(SHARED / "ssl-tie_openset_test_heard.txt")
    unheard = read_list(SHARED / "ssl-tie_openset_test_unheard.txt")
    assert tuple(clip for clip in rest if labels[clip] != "playing trombone") == unheard
    assert len(classes_of(unheard, labels)) == 110
    assert len(whole) - len(found) - len(unheard) == 23
