"""Heatmaps over real encoded videos, decoded again and compared with what they were."""

import os
import resource
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import torch
from av.stream import Disposition
from av.video.reformatter import Interpolation
from matplotlib import colormaps
from PIL import Image
from torch import nn

from sslnb.cli import main
from sslnb.data import AudioConfig
from sslnb.data.decode import ClipError
from sslnb.files import CHECKPOINT
from sslnb.localise import video
from sslnb.localise.footage import Sound, open_footage, read_frames
from sslnb.localise.video import heat_video, overlay
from sslnb.model import PRESETS, ModelConfig, SoundLocaliser
from sslnb.release import published_name
from sslnb.teach import plot
from tests.media_files import make_video, moving, recording

ROOT = Path(__file__).resolve().parents[2]
RATE = 16_000
SIZE = (96, 64)  # width, height


class Red(nn.Module):
    """Hears with its ears: redness of a picture, cell by cell, times its sound's level.

    What it was given is kept in `images` and `waves`.
    """

    def __init__(self, seconds=1.0, base=0.0, gain=1.0, resample="bilinear"):
        super().__init__()
        self.device = nn.Parameter(torch.zeros(()))
        self.config = ModelConfig(
            image_size=32, resample=resample, audio=AudioConfig(seconds=seconds)
        )
        self.base, self.gain, self.images, self.waves = base, gain, [], []

    def predict(self, images, waves):
        assert images.dtype == torch.uint8 and waves.dtype == torch.int16
        self.images += images
        self.waves += waves
        pixels = images.float().unflatten(2, (4, 8)).unflatten(4, (4, 8)).mean((3, 5))
        red = ((pixels[:, 0] - pixels[:, 2]) / 255).clamp(0, 1)  # (B, 4, 4)
        level = (waves.float() / 32768).square().mean(1).sqrt()
        return self.base + self.gain * level[:, None, None] * red


def scene(count, size=SIZE, corner=(0, 0)):
    """Grey pictures with one red quadrant: `corner` is its row and column."""
    picture = np.full((size[1], size[0], 3), 100, np.uint8)
    y, x = corner[0] * size[1] // 2, corner[1] * size[0] // 2
    picture[y : y + size[1] // 2, x : x + size[0] // 2] = (220, 40, 40)
    return [picture] * count


def tone(seconds, amplitude=0.5, rate=48_000):
    t = np.arange(round(seconds * rate)) / rate
    return amplitude * np.sin(2 * np.pi * (300 + 200 * t) * t)[None].astype(np.float32)


def frames_of(path):
    """Times in seconds, counted from the file's start, and pictures (N, H, W, 3)."""
    with av.open(str(path)) as container:
        start = Fraction(container.start_time or 0, av.time_base)
        frames = [
            (
                float(frame.pts * frame.time_base - start),
                frame.to_ndarray(format="rgb24"),
            )
            for frame in container.decode(video=0)
        ]
    times, pictures = zip(*frames)
    return np.array(times), np.stack(pictures)


def sound_of(path):
    """First sample's time, counted from the file's start, and the track at 16 kHz."""
    resampler, pieces = av.AudioResampler("s16", "mono", RATE), []
    with av.open(str(path)) as container:
        start = Fraction(container.start_time or 0, av.time_base)
        for frame in container.decode(audio=0):
            pieces += resampler.resample(frame)
        pieces += resampler.resample(None)
    first = float(pieces[0].pts * pieces[0].time_base - start)
    return first, np.concatenate([piece.to_ndarray()[0] for piece in pieces])


def packets_of(path):
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def kinds_of(path):
    with av.open(str(path)) as container:
        return [
            stream.codec_context.codec.canonical_name for stream in container.streams
        ]


def again(path, source, time=None, codec=None):
    """A copy of a video, its pictures at other times, or its sound in another codec."""
    with av.open(str(source)) as given, av.open(str(path), "w") as target:
        pictures = target.add_stream_from_template(given.streams.video[0], opaque=True)
        if codec:
            track = target.add_stream(codec, given.streams.audio[0].rate)
            track.layout = "stereo"
        else:
            track = target.add_stream_from_template(given.streams.audio[0])
        for packet in given.demux():
            if packet.stream.type == "audio" and codec:
                target.mux(
                    [p for frame in packet.decode() for p in track.encode(frame)]
                )
            elif packet.dts is not None:
                if time and packet.stream.type == "video":  # of VP9: decoded in order
                    moved = time(float(packet.pts * packet.time_base))
                    packet.pts = packet.dts = round(moved / packet.time_base)
                packet.stream = pictures if packet.stream.type == "video" else track
                target.mux(packet)
        target.mux(track.encode(None) if codec else [])
    return path


def heated(image, response, low, high):
    """The overlay by its definition, pixel by pixel: bilinear map, colour, mixture."""
    height, width, _ = image.shape
    rows, columns = response.shape
    found = np.zeros(image.shape)
    for y in range(height):
        for x in range(width):
            v = np.clip((y + 0.5) * rows / height - 0.5, 0, rows - 1)
            u = np.clip((x + 0.5) * columns / width - 0.5, 0, columns - 1)
            i, j = min(int(v), rows - 2), min(int(u), columns - 2)
            a, b = v - i, u - j
            value = (1 - a) * (
                (1 - b) * response[i, j] + b * response[i, j + 1]
            ) + a * ((1 - b) * response[i + 1, j] + b * response[i + 1, j + 1])
            colour = np.array(colormaps["viridis"]((value - low) / (high - low))[:3])
            found[y, x] = 0.4 * image[y, x] + 0.6 * 255 * colour
    return found


# --- pictures ---------------------------------------------------------------------


def overlaid(image, response, low, high, space=5):
    """`overlay` of a picture (H, W, 3), as a picture."""
    frame = av.VideoFrame.from_ndarray(image, "rgb24")
    frame = frame.reformat(
        format="yuv420p", dst_colorspace=space, dst_color_range="MPEG"
    )
    frame.colorspace = space
    found = overlay(frame, response, low, high)
    exact = Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
    return found.to_ndarray(format="rgb24", interpolation=exact)


@pytest.mark.parametrize("space", [1, 5], ids=["BT.709", "BT.601"])
@pytest.mark.parametrize("size", [(150, 86), (62, 94)])
def test_an_overlay_is_a_mixture_of_picture_and_colour(size, space):
    generator = np.random.default_rng(0)
    # of few pixels, blown up: in yuv420p, 2 × 2 pixels share their colour
    few = generator.integers(0, 256, (2, 3, 3), np.uint8)
    image = np.asarray(Image.fromarray(few).resize(size, Image.Resampling.BICUBIC))
    response = generator.uniform(0.2, 0.9, (4, 5)).astype(np.float32)
    found = overlaid(image, response, 0.2, 0.9, space)
    wrong = np.abs(found - heated(image, response, 0.2, 0.9))
    assert wrong.max() < 18 and wrong.mean() < 1.6


def test_a_flat_overlay_is_dark():
    image = np.full((8, 8, 3), 100, np.uint8)
    found = overlaid(image, np.full((2, 2), 0.7, np.float32), 0.7, 0.7)
    dark = 0.4 * 100 + 0.6 * 255 * np.array(colormaps["viridis"](0)[:3])
    assert np.abs(found - dark).max() <= 2


def test_colours_are_those_of_the_notebooks(monkeypatch):
    drawn = {}
    axes = type("Axes", (), {"imshow": lambda self, *_, **how: drawn.update(how)})()
    monkeypatch.setattr(plot.base, "show_image", lambda *_: None)
    plot.show_heatmap(axes, np.zeros((2, 2, 3)), np.zeros((2, 2)))
    assert (drawn["cmap"], drawn["alpha"]) == (video.COLOURS, video.OPACITY)


CORNERS = [(0, 0), (0, 1), (1, 0), (1, 1)]


@pytest.mark.parametrize("corner", CORNERS)
def test_the_heat_is_where_the_model_hears(tmp_path, corner):
    source = make_video(
        tmp_path / "a.mp4", 1, SIZE, 10, pictures=scene(10, SIZE, corner), wave=tone(1)
    )
    found = heat_video(Red(), source, tmp_path / "heat.mp4")
    _, pictures = frames_of(tmp_path / "heat.mp4")
    assert found.frames == 10 and pictures.shape == (10, 64, 96, 3)
    brightness = pictures.mean((0, 3)).reshape(2, 32, 2, 48).mean((1, 3))
    green = pictures[..., 1].mean(0)  # viridis: dark violet to yellow
    middles = {(r, c): green[16 + 32 * r, 24 + 48 * c] for r, c in CORNERS}
    assert max(middles, key=middles.get) == corner
    assert np.unravel_index(brightness.argmax(), (2, 2)) == corner
    others = [value for place, value in middles.items() if place != corner]
    assert middles[corner] > 1.8 * max(others)


def test_what_is_written_is_the_overlay_of_what_was_there(tmp_path):
    model = Red()
    pictures = [np.roll(scene(1)[0], 6 * k, 1) for k in range(10)]
    source = make_video(
        tmp_path / "a.mp4", 1, SIZE, 10, pictures=pictures, wave=tone(1)
    )
    found = heat_video(model, source, tmp_path / "heat.mp4")
    maps = Red().predict(torch.stack(model.images), torch.stack(model.waves)).numpy()
    assert (found.low, found.high) == pytest.approx((maps.min(), maps.max()))
    times, before = frames_of(source)
    later, after = frames_of(tmp_path / "heat.mp4")
    assert np.allclose(times, later, atol=1e-4)
    for image, response, shown in zip(before, maps, after):
        right = overlaid(image, response, maps.min(), maps.max())
        # H.264 keeps colours at half the resolution: sharp edges of colour blur
        assert np.abs(shown.astype(int) - right).mean() < 5
        assert np.abs(np.median(shown - right.astype(float))) < 2


@pytest.mark.parametrize("how", ["bilinear", "bicubic"])
def test_the_model_sees_whole_frames_squashed_as_it_says(tmp_path, how):
    source = make_video(tmp_path / "a.mp4", 0.4, SIZE, 10)
    model = Red(resample=how)
    heat_video(model, source, tmp_path / "heat.mp4")
    _, pictures = frames_of(source)
    for image, picture in zip(model.images, pictures, strict=True):
        right = Image.fromarray(picture).resize((32, 32), Image.Resampling[how.upper()])
        assert np.array_equal(image.permute(1, 2, 0), right)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_rotation_is_obeyed(tmp_path, degrees):
    source = make_video(
        tmp_path / "a.mp4",
        0.5,
        SIZE,
        10,
        rotation=degrees,
        pictures=scene(5),
        wave=tone(0.5),
    )
    model = Red()
    found = heat_video(model, source, tmp_path / "heat.mp4")
    _, stored = frames_of(source)  # decoders leave the turning to players
    _, pictures = frames_of(tmp_path / "heat.mp4")
    right = np.rot90(stored[0], degrees // 90)
    assert pictures[0].shape == right.shape
    seen = np.asarray(Image.fromarray(right).resize((32, 32), Image.BILINEAR))
    assert np.array_equal(model.images[0].permute(1, 2, 0), seen)
    response = Red().predict(model.images[0][None], model.waves[0][None])[0].numpy()
    heat = overlaid(np.ascontiguousarray(right), response, found.low, found.high)
    assert np.abs(pictures[0].astype(int) - heat).mean() < 5


@pytest.mark.parametrize(
    "codec, pix_fmt, colorspace, color_range",
    [
        ("h264", "yuv420p", 1, 1),  # BT.709: HD cameras
        ("h264", "yuvj420p", 5, 2),  # full range: telephones
        ("h264", "yuv444p", 2, 1),  # it says no matrix
        ("hevc", "yuv420p10le", 9, 1),  # 10 bits, BT.2020
        ("vp9", "yuv420p", 6, 1),
    ],
)
def test_colours_stay_however_they_are_stored(
    tmp_path, codec, pix_fmt, colorspace, color_range
):
    source = make_video(
        tmp_path / "a.mkv",
        0.5,
        SIZE,
        10,
        codec,
        pictures=scene(5, corner=(0, 1)),
        wave=tone(0.5),
        pix_fmt=pix_fmt,
        colorspace=colorspace,
        color_range=color_range,
        bit_rate=2_000_000,
    )
    model = Red()
    found = heat_video(model, source, tmp_path / "heat.mp4")
    response = Red().predict(model.images[0][None], model.waves[0][None])[0].numpy()
    right = overlaid(scene(1, corner=(0, 1))[0], response, found.low, found.high)
    times, pictures = frames_of(tmp_path / "heat.mp4")
    assert len(times) == 5
    middles = (slice(None), slice(16, None, 32), slice(24, None, 48))  # of quadrants
    wrong = pictures[middles].astype(int) - right[middles[1:]]
    assert np.abs(wrong).max() < 9
    with av.open(str(tmp_path / "heat.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert context.pix_fmt == "yuv420p" and context.color_range == 1
        assert context.colorspace == (1 if colorspace in (1, 9) else 5)


def test_pixels_that_are_not_square_become_square(tmp_path):
    source = make_video(tmp_path / "a.mp4", 0.5, SIZE, 10)
    wide = tmp_path / "wide.mkv"
    with av.open(str(source)) as given, av.open(str(wide), "w") as target:
        pictures = target.add_stream(
            "libx264", 10, width=96, height=64, pix_fmt="yuv420p"
        )
        pictures.codec_context.sample_aspect_ratio = Fraction(4, 3)
        track = target.add_stream_from_template(given.streams.audio[0])
        for packet in given.demux():
            if packet.stream.type == "video":
                for frame in packet.decode():
                    target.mux(pictures.encode(frame))
            elif packet.dts is not None:
                packet.stream = track
                target.mux(packet)
        target.mux(pictures.encode(None))
    heat_video(Red(), wide, tmp_path / "heat.mp4")
    assert frames_of(tmp_path / "heat.mp4")[1].shape[1:] == (64, 128, 3)


def test_odd_sizes_become_even(tmp_path):
    source = make_video(tmp_path / "a.mp4", 0.5, (97, 55), 10)
    heat_video(Red(), source, tmp_path / "heat.mp4")
    assert frames_of(tmp_path / "heat.mp4")[1].shape[1:] == (56, 96, 3)


# --- times ------------------------------------------------------------------------


def test_every_frame_is_kept_at_its_time(tmp_path):
    source = make_video(tmp_path / "a.mp4", 1.2, SIZE, 25)
    calls = []

    def progress(frames, **about):
        calls.append(about)
        return frames

    found = heat_video(Red(), source, tmp_path / "heat.mp4", progress=progress)
    times, _ = frames_of(tmp_path / "heat.mp4")
    assert found.frames == len(times) == 30
    assert found.seconds == pytest.approx(1.2, abs=0.01)
    assert np.allclose(times, np.arange(30) / 25, atol=1e-4)
    assert [call["total"] for call in calls] == [30, 30]
    with av.open(str(tmp_path / "heat.mp4")) as container:
        stream = container.streams.video[0]
        assert float(stream.duration * stream.time_base) == pytest.approx(1.2, abs=0.02)
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert stream.codec_context.colorspace == 5  # said: players need not guess


@pytest.fixture(scope="module")
def two_seconds(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("two") / "a.mp4", 2, SIZE, 25)


@pytest.mark.parametrize("fps, step", [(5, 5), (12.5, 2), (60, 1), (0.5, 50)])
def test_fewer_frames_a_second_are_chosen_evenly(tmp_path, two_seconds, fps, step):
    source = two_seconds
    found = heat_video(Red(), source, tmp_path / "heat.mp4", fps)
    times, _ = frames_of(tmp_path / "heat.mp4")
    right = np.arange(0, 50, step) / 25
    assert found.frames == len(right)
    assert np.allclose(times, right, atol=1e-4)
    assert packets_of(tmp_path / "heat.mp4") == packets_of(source)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_a_variable_frame_rate_keeps_its_times(tmp_path, suffix):
    even = make_video(tmp_path / "even.webm", 2, SIZE, 10, "vp9", "opus")
    source = again(tmp_path / f"a{suffix}", even, time=lambda t: t * (1 + t))
    heat_video(Red(), source, tmp_path / "heat.mp4")
    times, _ = frames_of(tmp_path / "heat.mp4")
    right, _ = frames_of(source)
    assert np.allclose(times, right, atol=1e-3)
    assert times[-1] == pytest.approx(1.9 * 2.9, abs=0.02)
    heat_video(Red(), source, tmp_path / "few.mp4", 2)
    few, _ = frames_of(tmp_path / "few.mp4")
    chosen = [right[0]]
    for time in right:
        if int(time * 2 + 1e-3) > int(chosen[-1] * 2 + 1e-3):
            chosen.append(time)
    assert np.allclose(few, chosen, atol=1e-3)


def test_a_file_whose_clock_starts_elsewhere_stays_in_step(tmp_path):
    """A transport stream: times begin at 1.4 s, sound and picture not together."""
    source = make_video(tmp_path / "a.ts", 2, SIZE, 10, sound_start=0.3)
    heat_video(Red(), source, tmp_path / "heat.mp4")
    (before, _), (after, _) = frames_of(source), frames_of(tmp_path / "heat.mp4")
    assert np.allclose(before, after, atol=1e-3)
    for path in (source, tmp_path / "heat.mp4"):
        first, _ = sound_of(path)
        assert first - after[0] == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize("start", [0, 0.3, 1, 2])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_tracks_that_begin_late_are_read_and_truncated_ones_are_found(
    suffix, start, tmp_path
):
    codecs = ("vp9", "opus") if suffix == ".webm" else ("h264", "aac")
    source = make_video(
        tmp_path / f"a{suffix}",
        2,
        SIZE,
        10,
        *codecs,
        start=start,
        container_options={"movflags": "faststart"},
    )
    found = heat_video(Red(), source, tmp_path / "heat.mp4")
    (before, _), (after, _) = frames_of(source), frames_of(tmp_path / "heat.mp4")
    assert found.frames == len(before) == len(after) == 20
    assert np.allclose(before, after, atol=1e-3)
    data = source.read_bytes()
    for share in (0.5, 0.7):
        source.write_bytes(data[: int(share * len(data))])
        with pytest.raises(ClipError, match=rf"a\{suffix}: truncated: "):
            open_footage(source)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_the_length_is_that_of_the_pictures(tmp_path, capsys, suffix):
    """Sound from 0 s on, 40 pictures from 2 s to 6 s."""
    source = make_video(
        tmp_path / f"a{suffix}", 4, SIZE, 10, start=2, sound_start=-2, wave=recording(6)
    )
    found = heat_video(Red(), source, tmp_path / "heat.mp4")
    assert (found.frames, found.seconds) == (40, pytest.approx(4, abs=0.01))
    times, _ = frames_of(tmp_path / "heat.mp4")
    assert np.allclose(times, 2 + np.arange(40) / 10, atol=1e-3)
    command(source, "--out", tmp_path / "heat.mp4", "--fps", 5)
    assert "heat.mp4: 20 frames, 4.0 s;" in capsys.readouterr().out


# --- sound ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, pictures, sound",
    [
        ("a.mp4", "h264", "aac"),
        ("a.webm", "vp9", "opus"),
        ("a.mkv", "h264", "opus"),
        ("a.ts", "h264", "aac"),
    ],
)
def test_sound_that_an_mp4_holds_is_kept_to_the_bit(tmp_path, name, pictures, sound):
    source = make_video(tmp_path / name, 2, SIZE, 10, pictures, sound)
    heat_video(Red(), source, tmp_path / "heat.mp4")
    assert kinds_of(tmp_path / "heat.mp4") == ["h264", sound]
    kept, given = packets_of(tmp_path / "heat.mp4"), packets_of(source)
    if name == "a.ts":  # which frames each packet anew
        given = [packet[7:] for packet in given]
    assert kept == given
    lag, likeness = compared(source, tmp_path / "heat.mp4")
    assert abs(lag) < 0.001 and likeness > 0.99  # Matroska rounds times to that


def compared(source, heat):
    """Seconds by which the sound of a video follows that of another; correlation."""
    (first, before), (later, after) = sound_of(source), sound_of(heat)
    middle, likeness = before[4_000:24_000].astype(float), {}
    for lag in range(-100, 101):
        begin = 4_000 + lag + round((first - later) * RATE)
        likeness[lag] = np.corrcoef(middle, after[begin : begin + 20_000])[0, 1]
    best = max(likeness, key=likeness.get)
    return best / RATE, likeness[best]


@pytest.mark.parametrize("codec, suffix", [("flac", ".mkv"), ("pcm_s16le", ".mov")])
def test_other_sound_becomes_aac(tmp_path, codec, suffix):
    mp4 = make_video(tmp_path / "a.mp4", 2, SIZE, 10, wave=recording(2))
    source = again(tmp_path / f"a{suffix}", mp4, codec=codec)
    heat_video(Red(), source, tmp_path / "heat.mp4")
    assert kinds_of(tmp_path / "heat.mp4") == ["h264", "aac"]
    (_, before), (_, after) = sound_of(source), sound_of(tmp_path / "heat.mp4")
    assert len(after) == pytest.approx(len(before), abs=1_100)
    lag, likeness = compared(source, tmp_path / "heat.mp4")
    assert abs(lag) < 0.001 and likeness > 0.98


def window(track, first, time, samples):
    """The window around a time, out of the whole timeline."""
    begin, end = min(round(first * RATE), 0), round(first * RATE) + len(track)
    moment = round(time * RATE)
    timeline = np.zeros(max(end, moment) - begin, np.int16)
    timeline[end - len(track) - begin : end - begin] = track
    if len(timeline) <= samples:
        return np.resize(timeline, samples)
    start = np.clip(moment - samples // 2 - begin, 0, len(timeline) - samples)
    return timeline[start : start + samples]


@pytest.mark.parametrize(
    "case",
    [
        {"seconds": 3},
        {"seconds": 0.7},
        {"seconds": 3, "sound": 1.5},
        {"seconds": 3, "sound": 0.6},
        {"seconds": 3, "sound": 2, "sound_start": 1.0},
        {"seconds": 1.5, "sound": 4},
        {"seconds": 3, "rate": 16_000},
    ],
    ids=str,
)
def test_each_frame_comes_with_the_sound_around_it(tmp_path, case):
    rate = case.get("rate", 48_000)
    wave = recording(case.get("sound", case["seconds"]), rate, 1)
    source = make_video(
        tmp_path / "a.mkv",
        case["seconds"],
        SIZE,
        10,
        wave=wave,
        rate=rate,
        sound_start=case.get("sound_start", 0),
    )
    model = Red()
    heat_video(model, source, tmp_path / "heat.mp4")
    (first, track), (times, _) = sound_of(source), frames_of(source)
    assert len(model.waves) == len(times)
    for found, time in zip(model.waves, times):
        right = window(track, first, time, RATE)
        # resampled piece by piece or at once: the last bit may differ
        assert np.abs(found.numpy().astype(int) - right).max() <= 2, time


def test_windows_are_centred_and_move_inwards_at_the_ends(tmp_path):
    """By hand: a hum in each half second, as loud as its number."""
    hum = np.hanning(12_000) * np.sin(np.arange(12_000) / 20)
    wave = np.zeros((1, 48_000 * 4), np.float32)
    for k in range(8):
        wave[0, 24_000 * k + 6_000 :][:12_000] = (k + 1) / 10 * hum
    mp4 = make_video(tmp_path / "a.mp4", 4, SIZE, 2, pictures=scene(8), wave=wave)
    model = Red()
    heat_video(model, mp4, tmp_path / "heat.mp4")  # frames at 0, 0.5, …, 3.5 s
    heard = [
        [round(float(half.abs().max()) / 3_276.8) for half in wave.split(RATE // 2)]
        for wave in model.waves
    ]
    assert heard == [[1, 2], [1, 2], [2, 3], [3, 4], [4, 5], [5, 6], [6, 7], [7, 8]]


def test_a_gap_in_the_sound_is_silence(tmp_path):
    source = make_video(
        tmp_path / "a.mp4", 3, SIZE, 10, pictures=scene(30), wave=tone(3)
    )
    with (
        av.open(str(source)) as given,
        av.open(str(tmp_path / "gap.mkv"), "w") as target,
    ):
        tracks = [
            target.add_stream_from_template(s, opaque=True) for s in given.streams
        ]
        for packet in given.demux():
            time = (
                float(packet.pts * packet.time_base) if packet.dts is not None else 1.5
            )
            if packet.stream.type == "video" or not 1 < time < 2:
                if packet.dts is not None:
                    packet.stream = tracks[packet.stream.index]
                    target.mux(packet)
    model = Red(seconds=0.5)
    heat_video(model, tmp_path / "gap.mkv", tmp_path / "heat.mp4")
    level = torch.stack(model.waves).float().abs().mean(1)
    assert level[13:17].max() < 0.02 * level[25] and level[5] > 0.9 * level[25]


def test_memory_does_not_grow_with_the_sound(tmp_path):
    source = make_video(
        tmp_path / "a.mkv", 20, (32, 32), 2, wave=tone(20, rate=16_000), rate=16_000
    )
    footage = open_footage(source)
    sound = Sound(footage, AudioConfig(seconds=1.0))
    held = []
    for time, _ in read_frames(footage):
        sound.around(time)
        held.append(len(sound.wave))
    assert len(held) == 40 and max(held) <= 3 * RATE


# --- the scale --------------------------------------------------------------------


@pytest.fixture(scope="module")
def half_silent(tmp_path_factory):
    """Two seconds with a tone, then two without."""
    wave = np.concatenate([tone(2), np.zeros((1, 96_000), np.float32)], 1)
    path = tmp_path_factory.mktemp("silent") / "a.mp4"
    return make_video(path, 4, SIZE, 10, pictures=scene(40), wave=wave)


def contrast(pictures):
    """Range of green over the middles of the quadrants, frame by frame."""
    green = pictures[:, 16::32, 24::48, 1].astype(int)
    return green.max((1, 2)) - green.min((1, 2))


def test_silence_looks_silent(tmp_path, half_silent):
    found = heat_video(Red(), half_silent, tmp_path / "heat.mp4")
    _, before = frames_of(half_silent)
    _, after = frames_of(tmp_path / "heat.mp4")
    assert found.low == 0 and found.high == pytest.approx(0.5 / 2**0.5 * 0.7, abs=0.03)
    dark = 0.6 * 255 * np.array(colormaps["viridis"](0)[:3])
    for image, shown in zip(before[28:], after[28:]):  # no tone within half a second
        assert np.abs(shown - (0.4 * image + dark)).mean() < 4
    assert contrast(after)[:12].min() > 60


def test_the_least_of_maps_is_not_stretched(tmp_path, half_silent):
    """In silence the model's map still varies, by a fiftieth: so do the colours."""

    class Uneasy(Red):
        def predict(self, images, waves):
            maps = super().predict(images, waves)
            maps[:, 0, 3] += 0.01
            return maps

    heat_video(Uneasy(), half_silent, tmp_path / "heat.mp4")
    _, after = frames_of(tmp_path / "heat.mp4")
    _, _before = frames_of(half_silent)
    assert contrast(after)[:12].min() > 60
    grey = after[30, 2:14, 76:94].mean((0, 1)) - after[30, 50:62, 76:94].mean((0, 1))
    assert np.abs(grey).max() < 8  # 0.01 / 0.25 of the scale


def test_a_model_that_hears_things_in_silence_is_not_dimmed(tmp_path, half_silent):
    found = heat_video(Red(base=0.8, gain=-1), half_silent, tmp_path / "heat.mp4")
    _, after = frames_of(tmp_path / "heat.mp4")
    assert found.high == pytest.approx(0.8)
    assert after[32:, 8:24, 12:36, 1].mean() > after[:10, 8:24, 12:36, 1].mean() + 60


def test_the_poster_is_the_frame_that_points_most_clearly(tmp_path):
    loud = tone(4) * np.linspace(0, 1, 48_000 * 4) ** 2
    loud[:, 48_000 * 3 :] = 0
    source = make_video(
        tmp_path / "a.mp4", 4, SIZE, 10, pictures=moving(40, SIZE), wave=loud
    )
    model = Red(seconds=0.5)
    found = heat_video(model, source, tmp_path / "heat.mp4")
    assert found.poster == tmp_path / "heat.png"
    maps = Red().predict(torch.stack(model.images), torch.stack(model.waves)).numpy()
    best = max(range(40), key=lambda k: maps[k].max() - maps[k].mean())
    assert 20 < best < 30
    _, before = frames_of(source)
    shown = np.asarray(Image.open(found.poster)).astype(int)
    wrong = [
        np.abs(shown - overlaid(image, response, found.low, found.high)).mean()
        for image, response in zip(before, maps, strict=True)
    ]
    assert np.argmin(wrong) == best and wrong[best] < 2


# --- what cannot be ---------------------------------------------------------------


def cover(path):
    """A sound file with a picture on its cover."""
    with av.open(str(path), "w") as target:
        sound = target.add_stream("libmp3lame", 48_000)
        sound.layout = "mono"
        picture = target.add_stream("png", 1, width=32, height=32, pix_fmt="rgb24")
        picture.disposition = Disposition.attached_pic
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), "rgb24")
        frame.pts = 0
        wave = av.AudioFrame.from_ndarray(tone(1), "fltp", "mono")
        wave.sample_rate, wave.pts = 48_000, 0
        target.mux(picture.encode(frame) + picture.encode(None))
        target.mux(sound.encode(wave) + sound.encode(None))
    return path


def cut(path, share):
    whole = make_video(path, 2, SIZE, 10, container_options={"movflags": "faststart"})
    whole.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * share)])
    return path


def written(path, content):
    path.write_bytes(content)
    return path


BAD = {
    "nothing there": (lambda p: p / "a.mp4", r"there is no video .*a\.mp4"),
    "a folder": (lambda p: p, "there is no video"),
    "no sound": (
        lambda p: make_video(p / "a.mp4", 1, SIZE, audio=None),
        r"a\.mp4: no audio track",
    ),
    "no picture": (
        lambda p: make_video(p / "a.mp4", 1, SIZE, video=None),
        r"a\.mp4: no video track",
    ),
    "a cover": (lambda p: cover(p / "a.mp3"), r"a\.mp3: no video track"),
    "a photograph": (
        lambda p: Image.new("RGB", (9, 9)).save(p / "a.png") or p / "a.png",
        r"a\.png: no audio track",
    ),
    "a recording": (
        lambda p: soundfile.write(p / "a.wav", tone(1)[0], 48_000) or p / "a.wav",
        r"a\.wav: no video track",
    ),
    "text": (
        lambda p: written(p / "a.mp4", b"no video " * 100),
        r"a\.mp4: undecodable",
    ),
    "empty": (lambda p: written(p / "a.mp4", b""), r"a\.mp4: undecodable"),
    "cut": (lambda p: cut(p / "a.mp4", 0.6), r"a\.mp4: truncated"),
    "cut early": (lambda p: cut(p / "a.mp4", 0.01), r"a\.mp4: "),
}


@pytest.mark.parametrize("case", BAD)
def test_a_video_that_cannot_be_read_is_named_and_leaves_nothing(tmp_path, case):
    (tmp_path / "in").mkdir()
    make, message = BAD[case]
    source = make(tmp_path / "in")
    out = tmp_path / "heat.mp4"
    with pytest.raises((OSError, ValueError), match=message) as error:
        heat_video(Red(), source, out)
    assert "\n" not in str(error.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("short") / "a.mp4", 0.5, SIZE, 10)


@pytest.mark.parametrize(
    "name, message",
    [
        ("heat.avi", r"heat\.avi; need a name that ends in \.mp4"),
        ("heat", r"need a name that ends in \.mp4"),
        ("nowhere/heat.mp4", "there is no folder .*nowhere"),
    ],
)
def test_an_out_that_cannot_be_is_named(tmp_path, short, name, message):
    with pytest.raises((OSError, ValueError), match=message):
        heat_video(Red(), short, tmp_path / name)


@pytest.mark.parametrize("folder", ["heat.mp4", "heat.png"])
def test_a_folder_in_the_place_of_an_output_is_named_and_nothing_is_written(
    tmp_path, short, folder
):
    (tmp_path / folder).mkdir()
    with pytest.raises(IsADirectoryError, match=f"{folder} is a folder"):
        heat_video(Red(), short, tmp_path / "heat.mp4")
    assert [path.name for path in tmp_path.iterdir()] == [folder]


def test_the_video_itself_is_never_written_over(tmp_path, short):
    source = written(tmp_path / "a.mp4", short.read_bytes())
    (tmp_path / "link.mp4").symlink_to(source)
    for out in (source, tmp_path / "link.mp4"):
        with pytest.raises(ValueError, match="the video itself"):
            heat_video(Red(), source, out)
    assert source.read_bytes() == short.read_bytes()


@pytest.mark.parametrize("fps", [0, -1, np.nan, np.inf])
def test_a_rate_that_cannot_be_is_named(tmp_path, short, fps):
    with pytest.raises(ValueError, match=f"fps is {fps}; need a number above 0"):
        heat_video(Red(), short, tmp_path / "heat.mp4", fps)


def test_a_run_that_stops_leaves_what_was_there(tmp_path, short):
    for name in ("heat.mp4", "heat.png"):
        (tmp_path / name).write_text("old")

    def stopped(frames, desc, **_):
        for k, frame in enumerate(frames):
            if desc == "video" and k == 3:
                raise KeyboardInterrupt
            yield frame

    with pytest.raises(KeyboardInterrupt):
        heat_video(Red(), short, tmp_path / "heat.mp4", progress=stopped)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "heat.mp4": "old",
        "heat.png": "old",
    }
    heat_video(Red(), short, tmp_path / "heat.mp4")
    assert len(frames_of(tmp_path / "heat.mp4")[0]) == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["heat.mp4", "heat.png"]


KILLED = """
import os, signal, sys
from sslnb.localise.video import heat_video
from test_video import Red

def killed(frames, desc, **_):
    for k, frame in enumerate(frames):
        if desc == "video" and k == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        yield frame

heat_video(Red(), *sys.argv[1:], progress=killed)
"""


@pytest.mark.slow
def test_the_next_run_deletes_what_a_killed_one_left_and_nothing_else(tmp_path, short):
    out = tmp_path / "heat.mp4"
    folders = map(str, (ROOT, ROOT / "tests", Path(__file__).parent))
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, short, out],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(folders)},
        timeout=600,
    )
    assert killed.returncode == -signal.SIGKILL
    left = sorted(path.name for path in tmp_path.iterdir())
    dead = left[0].split(".")[1]
    assert left == [f".{dead}.heat.mp4", f".{dead}.heat.png"]
    others = {
        f".{os.getppid()}.heat.mp4",  # of a run that still goes on
        f".{dead}.my.heat.mp4",
        f".{dead}.heat.mp4.txt",
        ".heat.mp4",
        ".0x.heat.mp4",
    }
    for name in others:
        (tmp_path / name).touch()
    heat_video(Red(), short, out)
    found = {path.name for path in tmp_path.iterdir()}
    assert found == others | {"heat.mp4", "heat.png"}


@pytest.mark.parametrize(
    ("kind", "track"),
    [("video", r"video track \(stream 0\)"), ("audio", r"audio track \(stream 1\)")],
)
def test_damage_is_named_with_its_track_and_time(tmp_path, kind, track):
    source = make_video(tmp_path / "a.mp4", 2, SIZE, 10, keys=5)
    with av.open(str(source)) as container:
        packet = next(
            packet
            for packet in container.demux(**{kind: 0})
            if packet.is_keyframe and packet.pts * packet.time_base >= 1
        )
        place, size = packet.pos, packet.size
    data = source.read_bytes()
    source.write_bytes(data[:place] + b"\xff" * size + data[place + size :])
    message = rf"a\.mp4: undecodable: its {track} stopped after (0\.[789]|1\.0)\d s: "
    with pytest.raises(ClipError, match=message):
        heat_video(Red(), source, tmp_path / "heat.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_a_full_disk_is_named_and_nothing_is_left(tmp_path, half_silent):
    (tmp_path / "heat.mp4").write_text("old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, hard))  # bytes a file
    try:
        with pytest.raises(OSError, match=r"heat\.mp4 cannot be written .*too large"):
            heat_video(Red(), half_silent, tmp_path / "heat.mp4")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == ["heat.mp4"]
    assert (tmp_path / "heat.mp4").read_text() == "old"


def test_a_name_with_a_colon_is_no_protocol(tmp_path, short, monkeypatch):
    written(tmp_path / "at 10:30.mp4", short.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert heat_video(Red(), "at 10:30.mp4", "heat:1.mp4").frames == 5
    assert (tmp_path / "heat:1.png").exists()


# --- the command ------------------------------------------------------------------


def command(*arguments):
    assert main(["video", *map(str, arguments)]) == 0


def test_the_command_takes_the_model_that_ships(tmp_path, short, capsys):
    command(short, "--out", tmp_path / "heat.mp4", "--fps", 5)
    told = capsys.readouterr().out
    assert "heat.mp4: 3 frames, 0.5 s; dark is a cosine of 0." in told
    assert "its poster is" in told and "heat.png" in told
    model = SoundLocaliser.load(CHECKPOINT)
    image = Image.fromarray(frames_of(short)[1][0]).resize((96, 96), Image.BILINEAR)
    first, track = sound_of(short)
    wave = window(track, first, 0, model.config.audio.samples)
    response = model.predict(
        torch.from_numpy(np.array(image)).permute(2, 0, 1)[None],
        torch.from_numpy(wave)[None],
    )
    low, high = (
        float(told.split(word)[1].split()[0].strip(",;"))
        for word in ("cosine of", "bright of")
    )
    assert low - 0.01 <= response.min() and response.max() <= high + 0.01
    assert response.max() - response.min() > 0.1


def test_the_command_takes_the_authors_weights(tmp_path, short, capsys, monkeypatch):
    narrow = ModelConfig(image_size=64, width=4, resample="bicubic")
    monkeypatch.setitem(PRESETS, "paper", narrow)
    torch.manual_seed(0)
    state = {
        published_name(name): value
        for name, value in SoundLocaliser.from_preset("paper").state_dict().items()
    }
    torch.save(
        {"state_dict": state | {"imgnet.fc.bias": torch.zeros(3)}},
        tmp_path / "a.pth.tar",
    )
    command(
        short, "--out", tmp_path / "heat.mp4", "--checkpoint", tmp_path / "a.pth.tar"
    )
    told = capsys.readouterr().out
    assert "Not used of" in told and "imgnet.fc.bias" in told
    assert len(frames_of(tmp_path / "heat.mp4")[0]) == 5
