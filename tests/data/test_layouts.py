"""Every layout of the field, made on the disk as its authors describe it."""

import gc
import json
import os
import shutil
from pathlib import Path

import pytest

from sslnb.data.field.annotations import Annotation
from sslnb.data.field.layouts import LAYOUTS, open_folder

SHARED = Path(__file__).resolve().parents[3] / "shared" / "benchmarks"
BOX = (0.1, 0.2, 0.5, 0.75)
CLIPS = ("---g-f_I2yQ_000001", "__2MwJ2uHu0_000004", "zzwbG0dHLhI_000150")
FLICKR = ("10000130166", "2615133000", "9761803312")


def touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def write_release(folder, *clips):
    """XML as the release has it: shares of the frame."""
    folder.mkdir(parents=True, exist_ok=True)
    edges = "".join(f"<e{n}>{edge}</e{n}>" for n, edge in enumerate(BOX))
    text = f"<annotation><bbox>{edges}</bbox></annotation>"
    for clip in clips:
        (folder / f"{clip}.xml").write_text(text)


def write_flickr(folder, *clips):
    """XML as Flickr-SoundNet has it: three annotators, pixels of a frame of 256."""
    folder.mkdir(parents=True, exist_ok=True)
    boxes = "".join(
        f"<object><bbox><name>{n}</name><xmin>{n}</xmin><ymin>0</ymin>"
        "<xmax>128</xmax><ymax>256</ymax></bbox></object>"
        for n in (0, 32, 64)
    )
    for clip in clips:
        (folder / f"{clip}.xml").write_text(f"<annotation>{boxes}</annotation>")


def write_vggss(path, *clips):
    entries = [{"file": clip, "class": "lawn mowing", "bbox": [BOX]} for clip in clips]
    path.write_text(json.dumps(entries))


# --- the layouts ------------------------------------------------------------


def release_training(root):
    for clip in CLIPS:
        touch(
            root,
            *(f"total_video_frames/{clip}/{n:03d}.jpg" for n in (1, 125, 250)),
            f"total_video_3s_audio/{clip}.wav",
        )
    return CLIPS, "total_video_frames/{}/125.jpg", "total_video_3s_audio/{}.wav", 0


def release_test(root):
    for clip in CLIPS:
        touch(root, f"frame/{clip}.jpg", f"audio/{clip}.wav")
    write_release(root / "anno", *CLIPS)
    return CLIPS, "frame/{}.jpg", "audio/{}.wav", 1


def release_test_flickr(root):
    for clip in FLICKR:
        touch(root, f"frame/{clip}.jpg", f"mp3/{clip}.mp3")
    write_flickr(root / "anno", *FLICKR)
    return FLICKR, "frame/{}.jpg", "mp3/{}.mp3", 3


def release_training_flickr(root):
    for clip in FLICKR:
        path = f"videos2/{'/'.join(clip[-3:])}/{clip}.mp4"
        touch(
            root,
            f"frames/{path}/00000001.jpg",
            f"frames/{path}/00000003.jpg",
            f"mp3/{path}.mp3",
        )
    return FLICKR, None, None, 0


def flickr_of_lvs(root):
    for clip in FLICKR:
        touch(root, f"frames/{clip}.jpg", f"audio/{clip}.wav")
    write_flickr(root / "Annotations", *FLICKR)
    return FLICKR, "frames/{}.jpg", "audio/{}.wav", 3


def flickr_with_mp3(root):
    for clip in FLICKR:
        touch(root, f"frames/{clip}.jpg", f"mp3/{clip}.mp3")
    write_flickr(root / "Annotations", *FLICKR)
    return FLICKR, "frames/{}.jpg", "mp3/{}.mp3", 3


def flickr_as_published(root):
    for clip in FLICKR:
        touch(root, f"Data/{clip[-1]}/{clip}.jpg", f"Data/{clip[-1]}/{clip}.mp3")
    write_flickr(root / "Annotations", *FLICKR)
    return FLICKR, None, None, 3


def flickr_of_sspl(root):
    for clip in FLICKR:
        touch(root, f"Data/frames/{clip}.jpg", f"Data/audio/{clip}.wav")
    write_flickr(root / "Annotations", *FLICKR)
    return FLICKR, "Data/frames/{}.jpg", "Data/audio/{}.wav", 3


def lvs(root):
    for clip in CLIPS:
        touch(root, f"frames/{clip}.jpg", f"audio/{clip}.wav")
    write_vggss(root / "vggss.json", *CLIPS)
    return CLIPS, "frames/{}.jpg", "audio/{}.wav", 1


def prepared(root):
    for clip in CLIPS:
        touch(root, f"frames/{clip}.jpg", f"audio/{clip}.wav")
    touch(root, "failed.tsv")
    return CLIPS, "frames/{}.jpg", "audio/{}.wav", 0


MADE = {
    release_training: 0,
    release_test: 1,
    release_test_flickr: 2,
    release_training_flickr: 3,
    flickr_with_mp3: 3,
    flickr_of_lvs: 4,
    flickr_as_published: 5,
    flickr_of_sspl: 5,
    lvs: 6,
    prepared: 6,
}


@pytest.mark.parametrize("make", MADE, ids=lambda make: make.__name__)
def test_a_layout_is_read_as_it_is(tmp_path, make):
    clips, frame, audio, annotators = make(tmp_path)
    folder = open_folder(tmp_path)
    assert folder.kind == LAYOUTS[MADE[make]].kind and folder.root == tmp_path
    assert [clip.name for clip in folder.clips] == sorted(clips)
    assert not folder.missing and not folder.unasked
    for clip in folder.clips:
        assert clip.frame.is_file() and clip.audio.is_file()
        if frame:
            assert clip.frame == tmp_path / frame.format(clip.name)
            assert clip.audio == tmp_path / audio.format(clip.name)
        else:
            assert clip.name in str(clip.frame) and clip.name in str(clip.audio)
        if annotators:
            assert clip.annotation.annotators == annotators
            assert len(clip.annotation.boxes) == annotators
        else:
            assert clip.annotation is None
    told = folder.describe()
    assert folder.kind in told and "3 of 3 clips" in told
    assert f"{3 if annotators else 0} annotated" in told
    assert ("by 3 people each" in told) == (annotators == 3)


def test_the_release_trains_on_one_frame_of_many(tmp_path):
    release_training_flickr(tmp_path)
    assert all(
        clip.frame.name == "00000003.jpg" for clip in open_folder(tmp_path).clips
    )


def test_annotations_are_those_of_the_clip(tmp_path):
    lvs(tmp_path)
    other = [0.0, 0.0, 0.25, 1.0]
    entries = json.loads((tmp_path / "vggss.json").read_text())
    entries[1] |= {"bbox": [other, BOX], "class": "raining"}
    (tmp_path / "vggss.json").write_text(json.dumps(entries))
    first, second, _ = open_folder(tmp_path).clips
    assert first.annotation.boxes == (BOX,) and first.label == "lawn mowing"
    assert second.annotation.boxes == (tuple(other), BOX) and second.label == "raining"


# --- which clips are wanted -------------------------------------------------


def test_a_list_says_which_clips_and_in_which_order(tmp_path):
    prepared(tmp_path)
    names = [f"{CLIPS[2]}.jpg", "notthere000_000010.jpg", f"{CLIPS[0]}.mp4"]
    path = tmp_path / "list.txt"
    path.write_text("\n".join(names))
    for wanted in (names, tuple(names), list(map(Path, names)), path, str(path)):
        folder = open_folder(tmp_path, names=wanted)
        assert [clip.name for clip in folder.clips] == [CLIPS[2], CLIPS[0]]
        assert folder.missing == {"notthere000_000010": "neither frame nor sound"}
        assert folder.unasked == 1
    told = folder.describe()
    assert "2 of 3 clips" in told and "1 more are there" in told
    assert "1 missing, neither frame nor sound: notthere000_000010" in told


def test_annotated_clips_are_wanted_where_there_is_no_list(tmp_path):
    lvs(tmp_path)
    write_vggss(tmp_path / "other.json", CLIPS[1], "notthere000_000010")
    folder = open_folder(tmp_path, annotations=tmp_path / "other.json")
    assert [clip.name for clip in folder.clips] == [CLIPS[1]]
    assert list(folder.missing) == ["notthere000_000010"] and folder.unasked == 2


def test_a_list_goes_before_annotations(tmp_path):
    lvs(tmp_path)
    write_vggss(tmp_path / "vggss.json", CLIPS[1])
    folder = open_folder(tmp_path, names=CLIPS[:2])
    assert [clip.annotation is None for clip in folder.clips] == [True, False]
    assert "2 of 2 clips; 1 annotated" in folder.describe()


def test_annotations_given_take_the_place_of_those_beside(tmp_path):
    flickr_of_lvs(tmp_path)
    mine = {f"{FLICKR[1]}.jpg": Annotation(boxes=((0, 0, 1, 1),), label="rain")}
    folder = open_folder(tmp_path, annotations=mine)
    assert [(clip.name, clip.label) for clip in folder.clips] == [(FLICKR[1], "rain")]


def test_classes_come_from_vggsound(tmp_path):
    prepared(tmp_path)
    (tmp_path / "vggsound.csv").write_text(
        '---g-f_I2yQ,1,"alligators, crocodiles hissing",train\n'
        "zzwbG0dHLhI,150,lawn mowing,test\n"
    )
    folder = open_folder(tmp_path, classes=tmp_path / "vggsound.csv")
    labels = ["alligators, crocodiles hissing", None, "lawn mowing"]
    assert [clip.label for clip in folder.clips] == labels
    assert "2 with a class" in folder.describe()
    again = open_folder(tmp_path, classes={CLIPS[1]: "raining"})
    assert [clip.label for clip in again.clips] == [None, "raining", None]


@pytest.mark.parametrize(
    "gone, why",
    [("frame/{}.jpg", "no frame in frame"), ("audio/{}.wav", "no sound in audio")],
)
@pytest.mark.parametrize("named", [False, True])
def test_half_a_clip_is_missing(tmp_path, gone, why, named):
    release_test(tmp_path)
    (tmp_path / gone.format(CLIPS[1])).unlink()
    folder = open_folder(tmp_path, names=CLIPS if named else None)
    assert [clip.name for clip in folder.clips] == [CLIPS[0], CLIPS[2]]
    assert folder.missing == {CLIPS[1]: why}
    assert "2 of 3 clips" in folder.describe() and why in folder.describe()


def test_half_a_clip_is_missing_where_nothing_is_annotated(tmp_path):
    prepared(tmp_path)
    (tmp_path / "audio" / f"{CLIPS[0]}.wav").unlink()
    assert open_folder(tmp_path).missing == {CLIPS[0]: "no sound in audio"}


def test_many_missing_clips_are_counted_but_not_all_told(tmp_path):
    prepared(tmp_path)
    names = [f"aaaaaaaaaaa_{n:06d}" for n in range(1200)]
    folder = open_folder(tmp_path, names=[*CLIPS, *names])
    assert set(folder.missing) == set(names)
    told = folder.describe()
    assert "3 of 1,203 clips" in told and "1,200 missing" in told and len(told) < 500


@pytest.mark.skipif(not SHARED.exists(), reason="no published annotations here")
def test_part_of_vgg_ss_with_what_is_published_about_it(tmp_path):
    entries = {e["file"]: e for e in json.loads((SHARED / "vggss.json").read_text())}
    there = sorted(entries)[::200]
    for clip in there:
        touch(tmp_path, f"frames/{clip}.jpg", f"audio/{clip}.wav")
    folder = open_folder(tmp_path, SHARED / "vggss.json", SHARED / "vggsound_test.csv")
    assert {clip.name for clip in folder.clips} == set(there)
    assert "26 of 5,158 clips; 26 annotated; 26 with a class" in folder.describe()
    for clip in folder.clips:
        assert clip.label == entries[clip.name]["class"]
        assert clip.annotation.boxes == tuple(map(tuple, entries[clip.name]["bbox"]))
    listed = (SHARED / "ssl-tie_test_vggss_4911.txt").read_text().split()
    found = open_folder(tmp_path, names=SHARED / "ssl-tie_test_vggss_4911.txt")
    assert len(found.clips) + len(found.missing) == 4_911
    assert [f"{clip.name}.jpg" for clip in found.clips] == [
        name for name in listed if name.removesuffix(".jpg") in there
    ]


# --- files ------------------------------------------------------------------


def test_milliseconds_capital_letters_and_other_formats_are_the_same_clip(tmp_path):
    touch(
        tmp_path, "frames/---g-f_I2yQ_1000_11000.JPG", "audio/---g-f_I2yQ_000001.Flac"
    )
    assert [clip.name for clip in open_folder(tmp_path).clips] == ["---g-f_I2yQ_000001"]


def test_hidden_and_other_files_are_no_clips(tmp_path):
    prepared(tmp_path)
    touch(
        tmp_path,
        f"frames/._{CLIPS[0]}.jpg",
        "frames/.part.jpg",
        "audio/readme.txt",
        "frames/Thumbs.db",
        "audio/deeper/zzzzzzzzzzz_000001.wav",
    )
    folder = open_folder(tmp_path)
    assert len(folder.clips) == 3 and not folder.missing and not folder.unasked


def test_of_two_formats_the_one_that_comes_first_is_taken(tmp_path):
    prepared(tmp_path)
    touch(
        tmp_path,
        f"frames/{CLIPS[0]}.png",
        f"audio/{CLIPS[0]}.mp3",
        f"frames/{CLIPS[1]}.jpeg",
    )
    for clip in open_folder(tmp_path).clips:
        assert (clip.frame.suffix, clip.audio.suffix) == (".jpg", ".wav")


@pytest.mark.parametrize("collects", [True, False])
def test_pythons_search_for_cycles_is_as_it_was_before(collects, tmp_path):
    prepared(tmp_path)
    try:
        gc.enable() if collects else gc.disable()
        open_folder(tmp_path)
        assert gc.isenabled() == collects
        with pytest.raises(FileNotFoundError):
            open_folder(tmp_path / "nowhere")
        assert gc.isenabled() == collects
    finally:
        gc.enable()


def test_two_files_for_one_clip_are_refused(tmp_path):
    flickr_as_published(tmp_path)
    touch(tmp_path, f"Data/7/{FLICKR[0]}.jpg")
    with pytest.raises(
        ValueError, match=f"two files for clip {FLICKR[0]}: .*remove one"
    ):
        open_folder(tmp_path)


def test_links_to_files_and_to_the_folder_are_followed(tmp_path):
    release_test(tmp_path / "real")
    (tmp_path / "linked").symlink_to(tmp_path / "real", target_is_directory=True)
    assert len(open_folder(tmp_path / "linked").clips) == 3
    (tmp_path / "farm" / "frames").mkdir(parents=True)
    (tmp_path / "farm" / "audio").symlink_to(tmp_path / "real" / "audio")
    for clip in CLIPS:
        os.symlink(
            tmp_path / "real" / "frame" / f"{clip}.jpg",
            tmp_path / "farm" / "frames" / f"{clip}.jpg",
        )
    assert len(open_folder(tmp_path / "farm").clips) == 3


def test_links_to_folders_within_are_followed(tmp_path):
    """A data set that is spread over disks is put together by links."""
    flickr_as_published(tmp_path)
    found = open_folder(tmp_path)
    for disk, folder in enumerate(sorted((tmp_path / "Data").iterdir())):
        folder.rename(tmp_path / f"disk{disk}")
        folder.symlink_to(tmp_path / f"disk{disk}", target_is_directory=True)
    assert open_folder(tmp_path) == found and len(found.clips) == 3


def test_a_folder_that_links_lead_to_again_is_read_once(tmp_path):
    """By its own path, and a clip in it is no second one."""
    flickr_as_published(tmp_path)
    found = open_folder(tmp_path)
    (tmp_path / "Data" / "!first").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "Data" / "broken").symlink_to(tmp_path / "gone")
    (tmp_path / "Data" / "itself").symlink_to(tmp_path / "Data" / "itself")
    assert open_folder(tmp_path) == found


def test_a_circle_of_links_ends(tmp_path):
    flickr_as_published(tmp_path)
    (tmp_path / "Data" / "again").symlink_to(
        tmp_path / "Data", target_is_directory=True
    )
    assert len(open_folder(tmp_path).clips) == 3


def test_no_clip_is_looked_at_alone(tmp_path, monkeypatch):
    """However many there are: directories are read once, and files not at all."""
    counts = []
    for number in (3, 60):
        root = tmp_path / str(number)
        names = [f"aaaaaaaaaaa_{n:06d}" for n in range(number)]
        touch(
            root,
            *(f"total_video_frames/{name}/125.jpg" for name in names),
            *(f"total_video_3s_audio/{name}.wav" for name in names),
        )
        calls = []
        with monkeypatch.context() as patch:
            for call in ("stat", "lstat", "scandir", "listdir", "open"):
                real = getattr(os, call)
                patch.setattr(
                    os,
                    call,
                    lambda *a, real=real, call=call, calls=calls, **k: (
                        calls.append(call),
                        real(*a, **k),
                    )[1],
                )
            assert len(open_folder(root).clips) == number
        counts.append(len(calls))
    assert counts[0] == counts[1] < 20


# --- what is wrong ----------------------------------------------------------


def test_the_first_layout_that_fits_is_taken(tmp_path):
    lvs(tmp_path)
    release_test(tmp_path)  # frame, audio and anno beside frames
    assert open_folder(tmp_path).kind == LAYOUTS[1].kind
    shutil.rmtree(tmp_path / "frame")
    assert open_folder(tmp_path).kind == LAYOUTS[6].kind


def test_another_folder_is_an_error_that_says_what_is_known(tmp_path):
    touch(tmp_path, "images/a.jpg", "sounds/a.wav", "notes.txt")
    with pytest.raises(ValueError) as caught:
        open_folder(tmp_path)
    told = str(caught.value)
    assert f"{tmp_path} has none of the known layouts" in told
    assert "it holds images/, notes.txt, sounds/." in told
    assert all(layout.form in told for layout in LAYOUTS)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="it holds nothing"):
        open_folder(tmp_path / "empty")


def test_no_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="gone is no folder"):
        open_folder(tmp_path / "gone")
    touch(tmp_path, "file")
    with pytest.raises(FileNotFoundError, match="file is no folder"):
        open_folder(str(tmp_path / "file"))


def test_a_folder_without_a_wanted_clip_is_an_error(tmp_path):
    prepared(tmp_path)
    told = "none of 2 clips wanted: a, b; it holds 3 frames"
    with pytest.raises(ValueError, match=told):
        open_folder(tmp_path, names=["a.jpg", "b.jpg"])
    with pytest.raises(ValueError, match="none of 0 clips wanted"):
        open_folder(tmp_path, names=[])
    for path in (tmp_path / "audio").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match="it holds 3 frames and 0 sounds"):
        open_folder(tmp_path)


def test_annotations_and_lists_that_cannot_be_read_are_named(tmp_path):
    prepared(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"nowhere.json"):
        open_folder(tmp_path, annotations=tmp_path / "nowhere.json")
    with pytest.raises(FileNotFoundError, match=r"nowhere.txt"):
        open_folder(tmp_path, names=tmp_path / "nowhere.txt")
    with pytest.raises(FileNotFoundError, match=r"nowhere.csv"):
        open_folder(tmp_path, classes=tmp_path / "nowhere.csv")
