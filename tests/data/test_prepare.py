"""From videos to clips, with real videos and every kind of damage."""

import csv
import os
import re
import resource
import signal
import struct
import subprocess
import sys
import time
from fractions import Fraction
from multiprocessing import active_children
from pathlib import Path

import av
import numpy as np
import pytest
import scipy.signal
import soundfile
from PIL import Image

from sslnb.cli import main
from sslnb.data import AudioConfig, load_audio, load_image
from sslnb.data.decode import ClipError, read_clip
from sslnb.data.field import prepare
from tests.faults.kills import members
from tests.media_files import make_video, moving, recording

ROOT = Path(__file__).resolve().parents[2]
HALF = {"seconds": 1.6, "fps": 24, "keys": 10}


def name(number, suffix=".mp4"):
    return f"-a_{number:08}_{number:06}{suffix}"


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A short video, H.264 with B-frames and AAC, as bytes; its header comes first."""
    path = tmp_path_factory.mktemp("good") / name(0)
    make_video(path, **HALF, container_options={"movflags": "faststart"})
    return path.read_bytes()


@pytest.fixture
def videos(tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    return folder


def contents(folder):
    """{path in a folder: (bytes, when written)} of all its files, hidden ones too."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def command(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "sslnb", "prepare", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        **options,
    )


# --- what is read from a video ----------------------------------------------


def every_frame(path):
    """All frames of a video, decoded in order, as (time, end, image)."""
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            end = frame.pts + frame.duration
            yield frame.pts, end, frame.to_image().rotate(frame.rotation, expand=True)


def naive_centre(path):
    """Decode everything, then look which frame is on show at half time."""
    frames = list(every_frame(path))
    half = Fraction(frames[0][0] + frames[-1][1], 2)
    return [image for start, _, image in frames if start <= half][-1]


KINDS = {
    "H.264 + AAC in mp4": {},
    "mkv": {"suffix": ".mkv"},
    "VP9 + Opus in webm": {"suffix": ".webm", "video": "vp9", "audio": "opus"},
    "VP9 + Opus in mp4": {"video": "vp9", "audio": "opus"},
    "H.265": {"video": "hevc", "keys": 1_000},
    "AV1 + Opus in mp4": {"video": "av1", "audio": "opus", "keys": 1_000},
    "header first": {"container_options": {"movflags": "faststart"}},
    "fragmented": {"container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "odd size": {"size": (97, 55)},
    "odd size, VP9": {
        "suffix": ".webm",
        "video": "vp9",
        "audio": "opus",
        "size": (55, 97),
    },
    "29.97 frames a second": {"fps": Fraction(30_000, 1_001)},
    "one keyframe": {"keys": 1_000},
    "a keyframe at the centre": {"keys": {0, 19}},
    "a keyframe after the centre": {"keys": {0, 5, 20}},
    "mono 22.05 kHz": {"rate": 22_050, "channels": 1},
    "the sound starts later": {"sound_start": 0.4},
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_frame_is_the_centre_of_all_frames_decoded_naively(kind, tmp_path):
    options = HALF | KINDS[kind]
    path = make_video(tmp_path / name(1, options.pop("suffix", ".mp4")), **options)
    image, _ = read_clip(path)
    right = naive_centre(path)
    assert image.size == right.size == options.get("size", (160, 90))
    assert np.array_equal(image, right)
    others = [np.array_equal(image, other) for _, _, other in every_frame(path)]
    assert sum(others) == 1, "frames that are alike tell nothing"


def test_the_centre_of_250_frames_is_number_125_as_in_the_release(tmp_path):
    path = make_video(tmp_path / name(1), seconds=10, fps=25, size=(32, 18), keys=120)
    frames = [image for _, _, image in every_frame(path)]
    assert len(frames) == 250
    assert np.array_equal(read_clip(path)[0], frames[125])


@pytest.mark.parametrize("turn", [90, 180, -90])
def test_a_rotation_that_the_file_asks_for_is_obeyed(turn, tmp_path):
    plain = read_clip(make_video(tmp_path / name(1), **HALF))[0]
    turned = read_clip(make_video(tmp_path / name(2), **HALF, rotation=turn))[0]
    assert np.array_equal(turned, np.rot90(plain, turn // 90))


def test_the_frame_looks_like_what_was_encoded(tmp_path):
    pictures = list(moving(38))
    image, _ = read_clip(make_video(tmp_path / name(1), **HALF, pictures=pictures))
    errors = [np.abs(np.asarray(image, float) - picture).mean() for picture in pictures]
    assert np.argmin(errors) == 19 and errors[19] < 8


@pytest.mark.parametrize(
    ("size", "right"),
    [(None, (160, 90)), (45, (80, 45)), (90, (160, 90)), (1_000, (160, 90))],
)
def test_size_caps_the_shorter_side_and_never_enlarges(size, right, good, tmp_path):
    (tmp_path / name(0)).write_bytes(good)
    assert read_clip(tmp_path / name(0), size)[0].size == right


def decoded(path):
    """All samples of a sound track, (channels, T), and their rate."""
    with av.open(str(path)) as container:
        frames = list(container.decode(audio=0))
    return np.concatenate([f.to_ndarray() for f in frames], 1), frames[0].sample_rate


def check_sound(path, wave):
    """`wave` is the whole track of a file, averaged and resampled by other filters."""
    samples, rate = decoded(path)
    step = np.gcd(rate, 16_000)
    right = scipy.signal.resample_poly(samples.mean(0), 16_000 // step, rate // step)
    assert wave.dtype == np.int16
    assert abs(len(wave) - len(right)) <= 1
    found, right = wave[200:-200] / 32_768, right[200 : len(wave) - 200]
    # two filters cut differently just below 8 kHz: compared where both let pass
    low = scipy.signal.butter(8, 6_000, fs=16_000, output="sos")
    found, right = (scipy.signal.sosfiltfilt(low, x) for x in (found, right))
    assert np.abs(found - right).max() < 0.02 * np.abs(right).max()


SOUNDS = {
    "stereo 48 kHz": {},
    "stereo 44.1 kHz": {"rate": 44_100},
    "mono 22.05 kHz": {"rate": 22_050, "channels": 1},
    "mono 16 kHz": {"rate": 16_000, "channels": 1},
    "Opus": {"video": "vp9", "audio": "opus"},
}


@pytest.mark.parametrize("kind", SOUNDS)
def test_the_sound_is_the_whole_track_averaged_and_resampled(kind, tmp_path):
    path = make_video(tmp_path / name(1), **HALF | SOUNDS[kind])
    check_sound(path, read_clip(path)[1])


@pytest.mark.parametrize("rate", [22_050, 44_100, 48_000])
def test_a_tone_keeps_pitch_loudness_and_duration(rate, tmp_path):
    time_ = np.arange(3 * rate) / rate
    wave = np.stack([0.5 * np.sin(2 * np.pi * 1_000 * time_), np.zeros(3 * rate)])
    path = make_video(tmp_path / name(1), 3, fps=5, wave=wave, rate=rate)
    _, found = read_clip(path)
    assert abs(len(found) / 16_000 - 3) < 0.06  # a packet of AAC: its end is padded
    spectrum = np.abs(np.fft.rfft(found[8_000:40_000]))
    assert spectrum.argmax() / 2 == 1_000
    # half of one channel: its mean with a silent one
    assert found[8_000:40_000].max() / 32_768 == pytest.approx(0.25, abs=0.01)


def test_what_is_above_8_khz_does_not_fold_back(tmp_path):
    tone = 0.5 * np.sin(2 * np.pi * 11_000 * np.arange(96_000) / 48_000)
    path = make_video(tmp_path / name(1), 2, fps=5, wave=tone[None])
    assert np.abs(read_clip(path)[1][2_000:-2_000]).max() < 0.005 * 32_768


# --- damage -----------------------------------------------------------------


def broken(path):
    with pytest.raises(ClipError) as caught:
        read_clip(path)
    assert path.name in str(caught.value)
    assert caught.value.reason in str(caught.value)
    return caught.value


def test_a_missing_track_is_named(tmp_path):
    mute = make_video(tmp_path / name(1), **HALF, audio=None)
    assert broken(mute).reason == "no audio track"
    blind = make_video(tmp_path / name(2), **HALF, video=None)
    assert broken(blind).reason == "no video track"


@pytest.mark.parametrize("seconds", [(0.5, 2), (2, 0.5)], ids=["picture", "sound"])
def test_half_a_second_of_picture_or_of_sound_is_too_short(seconds, tmp_path):
    path = make_video(tmp_path / name(1), seconds[0], wave=recording(seconds[1]))
    error = broken(path)
    assert error.reason == "too short"
    assert ("video" if seconds[0] < 1 else "sound") in error.detail
    assert re.search(r"lasts 0\.[45]\d s", error.detail)


def test_a_second_is_long_enough(tmp_path):
    _image, wave = read_clip(make_video(tmp_path / name(1), 1.0))
    assert len(wave) >= 16_000


@pytest.fixture(
    scope="module",
    params=["header last", "faststart", "frag_keyframe+empty_moov", "mkv", "webm"],
)
def complete(request, tmp_path_factory):
    """A file's ending and its bytes, for every order in which they may stand."""
    suffix = request.param if request.param in ("mkv", "webm") else "mp4"
    path = tmp_path_factory.mktemp("complete") / f"video.{suffix}"
    flags = (
        {}
        if suffix != "mp4" or request.param == "header last"
        else {"container_options": {"movflags": request.param}}
    )
    codecs = {"video": "vp9", "audio": "opus"} if suffix == "webm" else {}
    make_video(path, **HALF, **codecs, **flags)
    return path.suffix, path.read_bytes()


@pytest.mark.parametrize("share", [0.004, 0.02, 0.1, 0.3, 0.6, 0.8])
def test_a_file_that_was_cut_is_truncated(complete, share, tmp_path):
    suffix, data = complete
    path = tmp_path / name(1, suffix)
    path.write_bytes(data)
    read_clip(path)
    path.write_bytes(data[: int(share * len(data))])
    assert broken(path).reason == "truncated"


@pytest.mark.parametrize("start", [0, 0.3, 1, 2])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_tracks_that_begin_late_are_read_and_truncated_ones_are_found(
    suffix, start, tmp_path
):
    codecs = {"video": "vp9", "audio": "opus"} if suffix == ".webm" else {}
    header = {"movflags": "faststart"} if suffix == ".mp4" else {}
    options = {"fps": 20, "container_options": header} | codecs
    path = make_video(tmp_path / name(1, suffix), 2, start=start, **options)
    with av.open(str(path)) as container:
        assert container.start_time / 1e6 == pytest.approx(start, abs=0.03)
    image, wave = read_clip(path)
    assert np.array_equal(image, naive_centre(path))
    prompt = read_clip(make_video(tmp_path / name(2, suffix), 2, **options))
    assert np.array_equal(image, prompt[0])
    check_sound(path, wave)
    data = path.read_bytes()
    for share in (0.5, 0.7):
        path.write_bytes(data[: int(share * len(data))])
        error = broken(path)
        assert error.reason == "truncated"
        end, said = map(float, re.findall(r"(\d+\.\d+) s", error.detail))
        assert start < end < start + 2 and said == pytest.approx(start + 2, abs=0.05)


def test_a_matroska_whose_header_says_its_length_is_whole_too(tmp_path):
    """As mkvmerge writes it: end less beginning, where FFmpeg writes the end."""
    path = make_video(tmp_path / name(1, ".mkv"), 2, start=1)
    data = path.read_bytes()
    place = data.index(b"\x44\x89\x88") + 3  # element Duration, a double, in ms
    (end,) = struct.unpack(">d", data[place : place + 8])
    assert end == pytest.approx(3_000, abs=50)
    data = data[:place] + struct.pack(">d", end - 1_000) + data[place + 8 :]
    path.write_bytes(data)
    assert np.array_equal(read_clip(path)[0], naive_centre(path))


def test_videos_behind_links_are_found_and_circles_end(good, videos, tmp_path):
    for folder in ("disk/deeper", "videos/here"):
        (tmp_path / folder).mkdir(parents=True)
    for folder, number in (("videos", 1), ("videos/here", 2), ("disk/deeper", 3)):
        (tmp_path / folder / name(number)).write_bytes(good)
    links = {"disk": "disk", "again": "videos/here", "circle": "videos", "no": "gone"}
    for link, target in links.items():
        (videos / link).symlink_to(tmp_path / target, target_is_directory=True)
    (tmp_path / "disk" / "back").symlink_to(videos, target_is_directory=True)
    report = prepare.prepare_videos(videos, tmp_path / "out", 1, progress=False)
    assert (report.made, report.failures) == (3, ())


def test_a_file_without_its_last_byte_is_truncated(good, tmp_path):
    (tmp_path / name(1)).write_bytes(good[:-1])
    assert broken(tmp_path / name(1)).reason == "truncated"


def test_an_empty_file_a_text_and_no_file(tmp_path):
    path = tmp_path / name(1)
    path.touch()
    error = broken(path)
    assert error.reason == "truncated" and "empty" in error.detail
    path.write_text("<html><body>404: no such video</body></html>\n" * 30)
    assert broken(path).reason == "undecodable"
    path.unlink()
    assert broken(path).reason == "undecodable"
    path.symlink_to(tmp_path / "gone.mp4")
    assert broken(path).reason == "undecodable"


def damaged(path, kind, after, change):
    """Overwrite the payload of the packet of a track that begins after a time (s)."""
    with av.open(str(path)) as container:
        packet = next(
            p
            for p in container.demux(**{kind: 0})
            if p.pts * p.time_base > after and p.is_keyframe
        )
        place, size = packet.pos, packet.size
    data = bytearray(path.read_bytes())
    data[place : place + size] = change(data[place : place + size])
    path.write_bytes(data)


def garbled(payload):
    """A packet with its head, and then nothing that makes sense."""
    noise = np.random.default_rng(0).integers(0, 256, len(payload), dtype=np.uint8)
    return payload[:40] + noise[40:].tobytes()


def test_damage_to_the_sound_is_told(tmp_path):
    path = make_video(tmp_path / name(1), **HALF)
    damaged(path, "audio", 0.7, lambda payload: bytes(len(payload) * [0xFF]))
    error = broken(path)
    assert error.reason == "undecodable"
    track, time_ = re.fullmatch(
        r"its (.+) stopped after (\d\.\d\d) s: .+", error.detail
    ).groups()
    assert track == "audio track (stream 1)"
    assert 0.65 < float(time_) < 0.75


def test_damage_to_the_picture_names_track_and_time(tmp_path):
    path = make_video(tmp_path / name(1), **HALF)  # 38 frames, keyframes 0.42 s apart
    damaged(path, "video", 0.4, lambda payload: bytes(len(payload) * [0xFF]))
    error = broken(path)
    assert error.reason == "undecodable"
    told = r"its video track \(stream 0\) stopped after 0\.[234]\d s: "
    assert re.match(told, error.detail)


def test_damage_to_what_the_centre_needs_is_told_and_other_damage_does_no_harm(
    tmp_path,
):
    path = make_video(tmp_path / name(1), **HALF)  # keyframes 0.42 s apart
    right, _ = read_clip(path)
    damaged(path, "video", 1.0, garbled)
    assert np.array_equal(read_clip(path)[0], right)
    damaged(path, "video", 0.4, garbled)
    error = broken(path)
    assert error.reason == "undecodable" and "0.79 s" in error.detail


def test_a_picture_on_the_cover_is_no_video(tmp_path):
    path = tmp_path / name(1)
    blind = make_video(tmp_path / "blind.mp4", **HALF, video=None)
    with av.open(str(blind)) as source, av.open(str(path), "w") as target:
        cover = target.add_stream("mjpeg", 1)
        cover.width, cover.height, cover.pix_fmt = 32, 32, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        sound = target.add_stream_from_template(source.streams.audio[0])
        picture = av.VideoFrame.from_image(Image.new("RGB", (32, 32), "red"))
        for packet in cover.encode(picture) + cover.encode(None):
            target.mux(packet)
        for packet in source.demux(audio=0):
            if packet.pts is not None:
                packet.stream = sound
                target.mux(packet)
    with av.open(str(path)) as container:
        assert (
            container.streams.video[0].disposition & av.stream.Disposition.attached_pic
        )
    assert broken(path).reason == "no video track"


def test_random_damage_gives_a_clip_or_a_reason(good, tmp_path):
    """Never another exception, whatever bytes are wrong."""
    rng = np.random.default_rng(0)
    path, reasons = tmp_path / name(1), set()
    for _ in range(60):
        data = np.frombuffer(good, np.uint8).copy()
        reach = len(data) if rng.random() < 0.5 else 3_000  # its header, for one
        data[rng.integers(0, reach, rng.integers(1, 60))] = rng.integers(0, 256)
        path.write_bytes(data.tobytes())
        try:
            _image, wave = read_clip(path)
            assert len(wave) >= 16_000
            reasons.add("")
        except ClipError as error:
            reasons.add(error.reason)
    assert {"", "undecodable", "truncated"} <= reasons


# --- a folder of videos -----------------------------------------------------


@pytest.fixture
def mixed(videos, good):
    """Three good videos, in a folder of their own, and one of every kind of failure."""
    (videos / "part").mkdir()
    for number in range(3):
        (videos / "part" / name(number)).write_bytes(good)
    (videos / name(10)).write_bytes(good[: len(good) // 2])
    (videos / name(11)).write_text("no video")
    make_video(videos / name(12), **HALF, audio=None)
    make_video(videos / name(13), **HALF, video=None)
    make_video(videos / name(14), 0.5)
    for other in ("holiday.mp4", "a_0000000000_1.mp4", name(7, "_10000.mkv")):
        (videos / other).write_bytes(good)
    for suffix in (".mp4", ".webm"):
        (videos / name(15, suffix)).write_bytes(good)
    (videos / "vggsound.csv").write_text("not looked at")
    (videos / "part" / name(16, ".AVI")).write_bytes(good)
    (videos / name(0, ".mov")).write_bytes(good)  # beside an mp4 that is made
    return videos


REASONS = {
    name(10): "truncated",
    name(11): "undecodable",
    name(12): "no audio track",
    name(13): "no video track",
    name(14): "too short",
    name(15): "two files",
    name(15, ".webm"): "two files",
    "holiday.mp4": "no VGGSound name",
    "a_0000000000_1.mp4": "no VGGSound name",
    name(7, "_10000.mkv"): "no VGGSound name",
    f"part/{name(16, '.AVI')}": "other container",
    name(0, ".mov"): "other container",
}


def check_whole(out, count):
    """Exactly `count` clips, both files of each good, and nothing half-written."""
    frames, sounds = (
        {path.stem for path in (out / kind).iterdir()} for kind in ("frames", "audio")
    )
    assert frames == sounds and len(frames) == count
    for clip in frames:
        assert load_image(out / "frames" / f"{clip}.jpg", 64).std() > 0.05
        assert load_audio(out / "audio" / f"{clip}.wav").std() > 1e-3
    hidden = [path for path in out.rglob("*") if path.name.startswith(".")]
    assert not hidden


def test_a_folder_gives_clips_and_a_table_of_what_failed(mixed, tmp_path):
    out = tmp_path / "new" / "out"
    report = prepare.prepare_videos(mixed, out, workers=2, progress=False)
    assert (report.made, report.kept) == (3, 0)
    assert {f.file: f.reason for f in report.failures} == REASONS
    check_whole(out, 3)
    with open(out / "failed.tsv", newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file, delimiter="\t"))
    assert rows[0] == ["file", "reason", "detail"]
    assert rows[1:] == [[f.file, f.reason, f.detail] for f in report.failures]
    assert rows[1:] == sorted(rows[1:]) and all(all(row) for row in rows)
    told = str(report)
    assert told.startswith("15 files: 3 made, 0 there already, 12 failed\n")
    assert re.search(r"^ +3 no VGGSound name$", told, re.MULTILINE)
    for file, reason in REASONS.items():
        assert re.search(rf"^{re.escape(file)} +{reason} +\S", told, re.MULTILINE)


def test_files_are_what_read_clip_says(videos, good, tmp_path):
    (videos / name(0)).write_bytes(good)
    prepare.prepare_videos(videos, tmp_path / "out", workers=1, progress=False)
    image, wave = read_clip(videos / name(0))
    path = tmp_path / "out" / "audio" / name(0, ".wav")
    samples, rate = soundfile.read(path, dtype="int16")
    assert soundfile.info(path).subtype == "PCM_16" and rate == 16_000
    assert np.array_equal(samples, wave)
    with Image.open(tmp_path / "out" / "frames" / name(0, ".jpg")) as frame:
        assert frame.format == "JPEG" and frame.size == image.size
        assert np.abs(np.asarray(frame, float) - np.asarray(image)).mean() < 3
    config = AudioConfig(seconds=len(wave) / 16_000)
    assert np.allclose(load_audio(path, config), wave / 32_768)


def test_a_full_disk_is_told_and_leaves_no_half_of_a_file(videos, good, tmp_path):
    """A limit on the size of files, which the sound exceeds."""
    (videos / name(0)).write_bytes(good)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for kind in ("frames", "audio"):
        (tmp_path / kind).mkdir()
    resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"\.wav cannot be written .*too large"):
            prepare.prepare_clip(videos / name(0), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.glob("*/*.wav")) + list(tmp_path.glob("*/.*"))


def test_a_second_run_makes_what_is_missing_and_touches_nothing_else(mixed, tmp_path):
    out = tmp_path / "out"
    prepare.prepare_videos(mixed, out, workers=2, progress=False)
    before = contents(out)
    (out / "audio" / name(1, ".wav")).unlink()
    (mixed / name(11)).write_bytes((mixed / "part" / name(0)).read_bytes())  # mended
    report = prepare.prepare_videos(mixed, out, workers=1, progress=False)
    assert (report.made, report.kept, len(report.failures)) == (2, 2, 11)
    check_whole(out, 4)
    after = contents(out)
    for number in (0, 2):
        for path in (f"frames/{name(number, '.jpg')}", f"audio/{name(number, '.wav')}"):
            assert after[path] == before[path]
    path = f"audio/{name(1, '.wav')}"
    assert after[path][0] == before[path][0]


def test_a_clip_that_fails_leaves_neither_file_nor_one_of_an_earlier_run(
    mixed, tmp_path
):
    out = tmp_path / "out"
    for kind, suffix in (("frames", ".jpg"), ("audio", ".wav")):
        (out / kind).mkdir(parents=True)
        (out / kind / name(15, suffix)).touch()  # now there are two files of it
    (out / "frames" / name(10, ".jpg")).touch()  # killed between the two, then cut
    prepare.prepare_videos(mixed, out, workers=1, progress=False)
    check_whole(out, 3)


def test_a_folder_of_other_videos_only_is_listed(videos, good, tmp_path):
    (videos / name(0, ".avi")).write_bytes(good)
    report = prepare.prepare_videos(videos, tmp_path / "out", progress=False)
    (failure,) = report.failures
    assert (failure.file, failure.reason) == (name(0, ".avi"), "other container")
    assert failure.detail == "need one of .mp4, .webm, .mkv; convert or move it"


def test_nothing_failed_is_told_too(videos, good, tmp_path):
    (videos / name(0)).write_bytes(good)
    report = prepare.prepare_videos(videos, tmp_path / "out", progress=False)
    assert str(report) == "1 files: 1 made, 0 there already, 0 failed"
    assert (tmp_path / "out" / "failed.tsv").read_text() == "file\treason\tdetail\n"


def test_a_long_table_is_cut_and_its_file_is_not():
    failures = tuple(prepare.Failure(name(n), "truncated", "cut") for n in range(1_000))
    told = str(prepare.Report(0, 0, failures))
    assert "… and 960 more, in failed.tsv" in told
    assert told.count(".mp4") == 40


def test_another_size_in_the_same_folder_is_refused(videos, good, tmp_path):
    (videos / name(0)).write_bytes(good)
    out = tmp_path / "out"
    prepare.prepare_videos(videos, out, size=45, progress=False)
    with Image.open(out / "frames" / name(0, ".jpg")) as image:
        assert image.size == (80, 45)
    before = contents(out)
    with pytest.raises(ValueError, match=r'begun with {"size": 45}'):
        prepare.prepare_videos(videos, out, progress=False)
    assert contents(out) == before


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"videos": "none"}, NotADirectoryError, "none is no folder"),
        ({"videos": "."}, ValueError, r"no \.mp4, \.webm, \.mkv in"),
        ({"workers": 0}, ValueError, "workers is 0"),
        ({"size": 0}, ValueError, "size 0"),
    ],
)
def test_wrong_arguments_are_told_before_anything_is_written(
    change, error, message, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        prepare.prepare_videos(**{"videos": ".", "out": "out"} | change)
    assert not (tmp_path / "out").exists()


def test_relative_paths_count_from_where_the_caller_is(
    videos, good, tmp_path, monkeypatch
):
    (videos / name(0)).write_bytes(good)
    monkeypatch.chdir(tmp_path)
    prepare.prepare_videos("videos", "out", workers=1, progress=False)
    check_whole(tmp_path / "out", 1)


def test_names_that_are_no_text_and_tags_that_are_none_do_no_harm(
    videos, good, tmp_path
):
    (videos / os.fsdecode(b"caf\xe9.mp4")).write_bytes(good)
    (videos / "tab\there\n.mp4").write_bytes(good)
    place = good.index(b"Lavf")  # the name of the program that wrote it
    (videos / name(0)).write_bytes(good[:place] + b"\xe9\xff" + good[place + 2 :])
    report = prepare.prepare_videos(videos, tmp_path / "out", workers=1, progress=False)
    assert report.made == 1 and len(report.failures) == 2
    with open(tmp_path / "out" / "failed.tsv", newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file, delimiter="\t"))
    assert [row[0] for row in rows[1:]] == ["caf\\udce9.mp4", "tab\there\n.mp4"]


# --- kills ------------------------------------------------------------------


@pytest.fixture
def many(videos, good):
    """Sixteen videos, of which one is cut; the others are links to one file."""
    (videos / "good").write_bytes(good)
    for number in range(15):
        (videos / name(number)).symlink_to("good")
    (videos / name(15)).write_bytes(good[:-2_000])
    return videos


STRUCK = """
import os, signal, sys
from sslnb.cli import main
from sslnb.data.field import prepare

class Bar(prepare.tqdm):
    def update(self, n=1):
        super().update(n)
        if self.n == 3:
            os.{blow}

prepare.tqdm = Bar
sys.exit(main(["prepare", *sys.argv[1:]]))
"""


def struck(blow, *arguments):
    """The command in a session of its own, which is dealt a blow at the third clip."""
    return subprocess.Popen(
        [sys.executable, "-c", STRUCK.format(blow=blow), *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finished(out):
    """Clips of which both files are there."""
    frames, sounds = (
        {path.stem for path in out.glob(f"{kind}/-*")} for kind in ("frames", "audio")
    )
    return frames & sounds


@pytest.mark.slow
def test_a_killed_run_is_gone_on_with(many, tmp_path):
    out = tmp_path / "out"
    process = struck(
        "kill(os.getpid(), signal.SIGKILL)", many, "--out", out, "--workers", 2
    )
    process.communicate(timeout=600)
    assert process.returncode == -signal.SIGKILL
    last = time.monotonic() + 600
    while members(process.pid):  # its workers end by themselves
        assert time.monotonic() < last, "workers without a run go on"
        time.sleep(0.01)
    done, before = finished(out), contents(out)
    assert 3 <= len(done) <= 7
    (out / "frames" / f".1.{name(0, '.jpg')}").write_text("half a")  # as a kill leaves
    report = prepare.prepare_videos(many, out, workers=2, progress=False)
    assert (report.made, report.kept) == (15 - len(done), len(done))
    check_whole(out, 15)
    after = contents(out)
    for clip in done:
        for path in (f"frames/{clip}.jpg", f"audio/{clip}.wav"):
            assert after[path] == before[path], "done again"
    whole = tmp_path / "whole"
    prepare.prepare_videos(many, whole, workers=2, progress=False)
    assert {path: data for path, (data, _) in after.items()} == {
        path: data for path, (data, _) in contents(whole).items()
    }


def test_a_worker_that_is_killed_ends_the_run_with_an_error(
    many, tmp_path, monkeypatch
):
    class Bar(prepare.tqdm):
        count = 0

        def update(self, n=1):
            self.count += n
            if self.count == 3:
                os.kill(active_children()[0].pid, signal.SIGKILL)

    monkeypatch.setattr(prepare, "tqdm", Bar)
    out = tmp_path / "out"
    with pytest.raises(
        ChildProcessError, match=r"a worker died.*near -a_.*fewer workers"
    ):
        prepare.prepare_videos(many, out, workers=2, progress=False)
    done = finished(out)
    assert 3 <= len(done) <= 7 and not (out / "failed.tsv").exists()
    assert not list(out.rglob(".*"))
    monkeypatch.undo()
    report = prepare.prepare_videos(many, out, workers=2, progress=False)
    assert report.kept == len(done) and report.made + report.kept == 15


def test_a_second_run_beside_the_first_is_refused(many, tmp_path):
    out = tmp_path / "out"
    with prepare._held(out, None):
        with pytest.raises(OSError, match=r"another run is at work in .*out"):
            prepare.prepare_videos(many, out, progress=False)
    assert not finished(out)


def test_a_disk_that_cannot_be_written_ends_the_run(many, tmp_path):
    out = tmp_path / "out"
    (out / "audio" / name(0, ".wav") / "in the way").mkdir(parents=True)
    with pytest.raises(OSError, match=r"000000\.wav cannot be written"):
        prepare.prepare_videos(many, out, workers=1, progress=False)
    assert not list(out.rglob(".*"))


# --- the command ------------------------------------------------------------


def test_the_command_ends_with_a_table_and_fails_only_if_strict(mixed, tmp_path):
    first = command(mixed, "--out", tmp_path / "out", "--workers", 2)
    assert first.returncode == 0, first.stderr
    assert "15 files: 3 made" in first.stdout and "no audio track" in first.stdout
    assert "100%" in first.stderr and "clip/s" in first.stderr  # the bar
    strict = command(mixed, "--out", tmp_path / "out", "--strict")
    assert strict.returncode == 1
    assert "0 made, 3 there already, 12 failed" in strict.stdout
    assert "error: 12 of the videos gave no clip" in strict.stderr
    assert "Traceback" not in strict.stderr


def test_strict_is_content_where_nothing_failed(videos, good, tmp_path, capsys):
    (videos / name(0)).write_bytes(good)
    out = str(tmp_path / "out")
    assert main(["prepare", str(videos), "--out", out, "--strict", "--size", "45"]) == 0
    assert "1 made" in capsys.readouterr().out


def test_wrong_input_is_one_line(tmp_path, capsys):
    assert (
        main(["prepare", str(tmp_path / "none"), "--out", str(tmp_path / "out")]) == 1
    )
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and "none is no folder" in line


def test_ctrl_c_stops_in_order(many, tmp_path):
    out = tmp_path / "out"
    # a terminal tells the workers too
    process = struck("killpg(0, signal.SIGINT)", many, "--out", out, "--workers", 2)
    _, told = process.communicate(timeout=600)
    assert process.returncode == 130 and "what is made is kept" in told
    assert "Traceback" not in told
    assert 3 <= len(finished(out)) <= 7
    check_whole(out, len(finished(out)))
