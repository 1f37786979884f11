"""Real video files for tests: photographs that move, recordings, encoded by FFmpeg.

make_video(path, seconds=2)                                  # H.264 + AAC in mp4
make_video(path, video="vp9", audio="opus", size=(97, 55))   # webm or mp4
make_video(path, video=None), make_video(path, audio=None)   # a track is missing
make_video(path, pictures=numbered(50))                      # number_of(frame) is its
"""

import os
from contextlib import contextmanager
from fractions import Fraction

import av
import numpy as np
import scipy.signal
import soundfile
from av.stream import Disposition
from av.video.frame import PictureType
from PIL import Image

from sslnb.data import soundstamps

os.environ.setdefault("SVT_LOG", "1")  # libsvtav1 tells errors alone
CODECS = {
    "h264": "libx264",
    "hevc": "libx265",
    "vp9": "libvpx-vp9",
    "av1": "libsvtav1",
    "mpeg4": "mpeg4",
    "aac": "aac",
    "opus": "libopus",
    "mp3": "libmp3lame",
    "vorbis": "vorbis",
    "pcm": "pcm_s16le",
}
OPTIONS = {
    "h264": {
        "preset": "veryfast",
        "forced-idr": "1",
        "sc_threshold": "0",
        # by AVX-512 it encoded one video in thirty otherwise than the others
        "x264-params": "asm=avx2",
    },
    "hevc": {"preset": "ultrafast", "forced-idr": "1", "x265-params": "log-level=none"},
    "vp9": {"deadline": "realtime", "cpu-used": "8"},
    "av1": {"preset": "12"},
    "mpeg4": {"qscale": "2", "bf": "0"},  # B-frames have no place in an AVI
    "vorbis": {"strict": "experimental"},
}
COLUMNS = 10  # of a barcode: a white one at each end, and 8 bits


def moving(count, size=(160, 90), photo=0):
    """`count` pictures (h, w, 3) uint8: a photograph of `wild` that slides past."""
    rows = soundstamps.table("wild")
    with Image.open(soundstamps.ROOT / rows[photo % len(rows)]["file"]) as image:
        still = np.asarray(image.convert("RGB").resize(size))
    wide = np.concatenate([still, still[:, ::-1]], axis=1)  # no seam
    for number in range(count):
        yield np.roll(wide, -3 * number, axis=1)[:, : size[0]]


def numbered(count, size=(160, 90), rotation=0):
    """`moving`, each picture with its number as a barcode over its upper half.

    Below the bits stands their complement, so that a wrong reading is told from a
    right one. rotation: as for `make_video`, so that players show them upright.
    """
    width, height = size if rotation % 180 == 0 else size[::-1]
    for number, picture in enumerate(moving(count, (width, height))):
        bits = np.array([1, *map(int, f"{number:08b}"), 1])
        column = np.arange(width) * COLUMNS // width
        picture[: height // 4] = 255 * bits[column][:, None]
        picture[height // 4 : height // 2] = 255 * (1 - bits)[column][:, None]
        yield np.rot90(picture, -rotation // 90)


def number_of(picture):
    """The number that a barcode (h, w, 3) shows; None where it cannot be read."""
    height, width, _ = picture.shape
    columns = ((np.arange(COLUMNS) + 0.5) * width / COLUMNS).astype(int)
    rows = [height // 8, 3 * height // 8]
    bits, complement = (picture[row, columns].mean(1) > 128 for row in rows)
    if (bits == complement).any() or not (bits[0] and bits[-1]):
        return None
    return int("".join(str(int(bit)) for bit in bits[1:-1]), 2)


def recording(seconds, rate=48_000, channels=2, sound=0):
    """(channels, T) float32 in [-1, 1]: recordings of SoundStamps, each repeated."""
    rows = soundstamps.table("sounds")
    waves = []
    for channel in range(channels):
        file = rows[(sound + channel) % len(rows)]["file"]
        wave, own = soundfile.read(soundstamps.ROOT / file, dtype="float32")
        step = np.gcd(rate, own)
        wave = scipy.signal.resample_poly(wave, rate // step, own // step)
        waves.append(np.resize(wave, round(seconds * rate)))
    return np.stack(waves).clip(-1, 1).astype(np.float32)


@contextmanager
def usual_scheduling():
    """This thread is scheduled afterwards as before.

    Where root runs it, libsvtav1 makes the thread that calls it a real-time one. So would
    be whatever that starts: each holds its core until it waits, others for ever.
    """
    if not hasattr(os, "sched_getscheduler"):  # Linux alone has it
        yield
        return
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, *before)


def make_video(
    path,
    seconds=2.0,
    size=(160, 90),
    fps=25,
    video="h264",
    audio="aac",
    rate=48_000,
    channels=2,
    keys=12,
    rotation=0,
    pictures=None,
    wave=None,
    bit_rate=None,
    start=0.0,
    sound_start=0.0,
    ticks=None,
    second_wave=None,
    pix_fmt=None,
    colorspace=5,
    color_range=1,
    container_options=None,
):
    """Encode a video file, whose kind follows from its name; returns the path.

    `keys`: frames between two keyframes, or a set of the frames that shall be one;
    `rotation`: degrees, anticlockwise, that players shall turn it by; `pictures`
    (h, w, 3) uint8 and `wave` (channels, T) float: other contents than `moving` and
    `recording`; `start`: the time in seconds, of a frame, at which both tracks begin;
    `sound_start`: seconds by which the sound begins later than that; `ticks`: times of
    the frames, in frames; `second_wave`: of a second audio track; `pix_fmt`, `colorspace`
    and `color_range`: how colours are stored, in FFmpeg's names and numbers.
    """
    count = round(seconds * fps)
    pictures = moving(count, size) if pictures is None else pictures
    wave = recording(seconds, rate, channels) if wave is None else wave
    packets = []
    options = container_options or {}
    with usual_scheduling(), av.open(str(path), "w", options=options) as container:
        if video:
            stream = _video_stream(container, video, fps, size, keys, bit_rate, pix_fmt)
            stream.codec_context.colorspace = colorspace
            stream.codec_context.color_range = color_range
            if rotation:
                stream.set_display_rotation(rotation)
            frames = _frames(pictures, fps, keys, start, ticks)
            frames = (
                frame.reformat(
                    format=stream.pix_fmt,
                    dst_colorspace=colorspace,
                    dst_color_range=color_range,
                )
                for frame in frames
            )
            packets += _encoded(stream, frames)
        waves = [wave] if second_wave is None else [wave, second_wave]
        for number, each in enumerate(waves if audio else []):
            stream = container.add_stream(
                CODECS[audio], rate, options=OPTIONS.get(audio, {})
            )
            stream.layout = {1: "mono", 2: "stereo"}[len(each)]
            if number == 0 and len(waves) > 1:
                stream.disposition = Disposition.default
            packets += _encoded(stream, _sounds(each, rate, start + sound_start))
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return path


def _video_stream(container, codec, fps, size, keys, bit_rate, pix_fmt):
    stream = container.add_stream(CODECS[codec], fps, options=OPTIONS[codec])
    stream.width, stream.height = size
    odd = codec in ("h264", "hevc") and (size[0] % 2 or size[1] % 2)
    stream.pix_fmt = pix_fmt or ("yuv444p" if odd else "yuv420p")
    stream.codec_context.thread_count = 1  # the same bytes on every machine
    stream.gop_size = keys if isinstance(keys, int) else 10_000
    if bit_rate:
        stream.bit_rate = bit_rate
    return stream


def _frames(pictures, fps, keys, start, ticks):
    for number, picture in enumerate(pictures):
        tick = number if ticks is None else ticks[number]
        frame = av.VideoFrame.from_ndarray(
            np.ascontiguousarray(picture), format="rgb24"
        )
        frame.pts, frame.time_base = tick + round(start * fps), 1 / Fraction(fps)
        if not isinstance(keys, int) and number in keys:
            frame.pict_type = PictureType.I
        yield frame


def _sounds(wave, rate, start):
    samples = 960  # 20 ms at 48 kHz
    for begin in range(0, wave.shape[1], samples):
        piece = np.ascontiguousarray(wave[:, begin : begin + samples], dtype=np.float32)
        frame = av.AudioFrame.from_ndarray(
            piece, format="fltp", layout={1: "mono", 2: "stereo"}[len(wave)]
        )
        frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
        frame.pts = begin + round(start * rate)
        yield frame


def _encoded(stream, frames):
    packets = [packet for frame in frames for packet in stream.encode(frame)]
    return packets + stream.encode(None)
