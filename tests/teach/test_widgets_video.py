"""The video widget of notebook 06, without a browser, on real videos."""

import html
import io

import av
import pytest
import torch

from sslnb.model import SoundLocaliser
from sslnb.teach.widgets import video
from tests.media_files import make_video


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return SoundLocaliser.from_preset("laptop").eval()


@pytest.fixture
def folder(tmp_path):
    make_video(tmp_path / "b clip.mp4", seconds=1, fps=10)
    make_video(tmp_path / "a.webm", seconds=1, fps=10, video="vp9", audio="opus")
    make_video(tmp_path / "c.mov", seconds=1, audio=None)
    (tmp_path / "old.heat.mp4").write_bytes(b"made here")
    (tmp_path / "notes.txt").write_text("no video")
    return tmp_path


@pytest.fixture
def box(model, folder):
    return video.video_picker(model, [folder])


def shown(box):
    return html.unescape(box.status.value)


def streams(value):
    with av.open(io.BytesIO(value)) as container:
        kinds = {stream.type for stream in container.streams}
        return kinds, len(list(container.decode(video=0)))


def test_videos_are_offered_and_nothing_else(box, folder):
    assert box.controls["path"].options == tuple(
        str(folder / name) for name in ("a.webm", "b clip.mp4", "c.mov")
    )
    assert box.controls["path"].value == "" and box.controls["fps"].value == 5
    assert box.view.layout.display == "none" and box.made is None


@pytest.mark.parametrize("name", ["a.webm", "b clip.mp4"])
@pytest.mark.parametrize("fps, count", [(2, 2), (None, 10)])
def test_the_chosen_video_gets_a_heatmap_and_is_shown(box, folder, name, fps, count):
    box.controls["path"].value = str(folder / name)
    box.controls["fps"].value = fps
    box.button.click()
    out = folder / (name.split(".")[0] + ".heat.mp4")
    assert box.made.out == out and out.with_suffix(".png").exists()
    assert bytes(box.view.value) == out.read_bytes()
    assert streams(box.view.value) == ({"video", "audio"}, count)
    assert box.view.layout.display == ""
    assert f"{count} frames" in shown(box) and str(out) in shown(box)
    assert not box.button.disabled and box.progress.layout.visibility == "hidden"


def test_the_result_is_that_of_heat_video(box, model, folder):
    box.controls["path"].value = str(folder / "b clip.mp4")
    box.button.click()
    out = folder / "other.mp4"
    found = video.heat_video(model, folder / "b clip.mp4", out, 5)
    assert (box.made.low, box.made.high) == (found.low, found.high)


def test_progress_counts_the_frames_twice(box, folder):
    seen = []
    box.progress.observe(lambda change: seen.append(change["new"]), "value")
    box.controls["path"].value = str(folder / "b clip.mp4")
    box.controls["fps"].value = None
    box.button.click()
    assert seen == [*range(1, 11), 0, *range(1, 11)] and box.progress.max == 10


@pytest.mark.parametrize(
    "path, why",
    [
        ("", "Which video?"),
        ("  ", "Which video?"),
        ("no-such.mp4", "no video"),
        ("c.mov", "no audio track"),
        ("notes.txt", "notes.txt"),
        (".", "no video"),
    ],
)
def test_videos_that_cannot_be_processed_are_reported(box, folder, path, why):
    box.controls["path"].value = str(folder / path) if path.strip() else path
    before = sorted(folder.iterdir())
    box.button.click()
    assert why in shown(box) and box.made is None
    assert box.view.layout.display == "none" and not box.button.disabled
    assert sorted(folder.iterdir()) == before


def test_messages_are_escaped(box, folder):
    box.controls["path"].value = str(folder / "<b>bold.mp4")
    box.button.click()
    assert "<b>" not in box.status.value and "<b>bold.mp4" in shown(box)


def test_after_a_failure_the_last_video_is_gone_and_another_comes(box, folder):
    for name, made in (("b clip.mp4", True), ("c.mov", False), ("a.webm", True)):
        box.controls["path"].value = str(folder / name)
        box.button.click()
        assert (box.made is not None) == made
        assert (box.view.layout.display == "") == made


def test_a_large_result_is_written_but_not_sent(box, folder, monkeypatch):
    monkeypatch.setattr(video, "LARGEST", 100)
    box.controls["path"].value = str(folder / "b clip.mp4")
    box.button.click()
    assert box.made.out.exists() and "too large" in shown(box)
    assert bytes(box.view.value) == b"" and box.view.layout.display == "none"


def test_stopping_it_leaves_it_usable(box, folder, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(video, "heat_video", stopped)
    box.controls["path"].value = str(folder / "a.webm")
    box.button.click()
    assert "Stopped" in shown(box) and not box.button.disabled and box.made is None
