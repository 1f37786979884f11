"""Videos of every kind, made, damaged and read again: what the field test found.

`sslnb bench matrix` checks many more of the same kind.
"""

from dataclasses import replace

import numpy as np
import pytest

from sslnb.data.decode import ClipError
from sslnb.localise.footage import open_footage, read_frames
from tests import media_matrix
from tests.media_files import make_video, number_of, numbered
from tests.media_matrix import Case, check, draw, pairwise

PLAIN = Case("mp4", "h264", "aac", 0, (96, 64), "even", 0.0, 0.0, 1, "none")


def test_a_barcode_is_read_upright_and_in_no_other_way():
    for size in ((160, 90), (66, 118), (97, 55)):
        for number, picture in enumerate(numbered(256, size)):
            assert number_of(picture) == number
    for rotation in (90, 180, 270):
        for number, picture in enumerate(numbered(60, (64, 96), rotation)):
            assert number_of(np.rot90(picture, rotation // 90)) == number
            assert number_of(picture) != number


@pytest.mark.slow
def test_videos_of_all_kinds_give_their_frames_and_sound_or_the_right_reason(tmp_path):
    wrong, cases = [], pairwise(draw(4_000))
    for case in cases:
        try:
            check(case, tmp_path)
        except AssertionError as error:
            wrong.append(str(error))
    assert not wrong
    for name, values in media_matrix.VALUES.items():
        assert {getattr(case, name) for case in cases} == set(values)
    written = {(case.container, case.video) for case in cases}
    assert written == {
        (container, video)
        for container, (videos, _) in media_matrix.CODECS.items()
        for video in videos
    }


LIES = {
    "upside down": ({}, {"pictures": [p[::-1, ::-1] for p in numbered(50, (96, 64))]}),
    "a frame is missing": ({}, {"pictures": list(numbered(51, (96, 64)))[1:]}),
    "another size": ({"size": (98, 64)}, {}),
    "another time": ({"clock": "uneven"}, {}),
    "late sound": ({}, {"sound_start": 0.01}),
    "whole": ({"damage": "cut"}, {}),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_wrong_reading_would_be_found(lie, tmp_path, monkeypatch):
    """Seen from the other side: a video that is not what its case says."""
    told, made = LIES[lie]
    check(PLAIN, tmp_path)
    monkeypatch.setattr(
        media_matrix, "make_video", lambda *a, **k: make_video(*a, **(k | made))
    )
    honest = media_matrix.make
    monkeypatch.setattr(media_matrix, "make", lambda _, path: honest(PLAIN, path))
    with pytest.raises(AssertionError):
        check(replace(PLAIN, **told), tmp_path)


def test_frames_whose_times_go_back_are_refused(tmp_path):
    """An AVI cannot say when B-frames are shown: a third of them was dropped."""
    path = make_video(tmp_path / "a.avi", 2, (96, 64), audio="pcm")
    with pytest.raises(ClipError, match=r"undecodable: its frames go back in time"):
        list(read_frames(open_footage(path)))
