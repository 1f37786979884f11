"""A video as frames, each with the sound around it, however long (notebook 06).

    >>> footage = open_footage("my.mp4")              # reads it once: complete
    >>> sound = Sound(footage, model.config.audio)
    >>> for time, image in read_frames(footage, fps=5):    # image (H, W, 3) uint8
    ...     wave = sound.around(time)                      # (samples,) int16

Nothing that was decoded is kept, so memory does not grow. Times are the file's own, in
seconds from its start, so a variable frame rate, or sound that begins late, stays as
it is.

A window is centred on its frame. Near the ends of the recording it is shifted inwards;
a recording shorter than the window is repeated, as in training. Where frames go on
after the sound has ended, the window holds silence.
"""

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from av.container import InputContainer
from av.stream import Disposition, Stream
from av.video.reformatter import ColorRange, Colorspace

from sslnb.data.decode import (
    NO_AUDIO,
    NO_VIDEO,
    UNDECODABLE,
    ClipError,
    check_size,
    decode,
    read_packets,
)
from sslnb.data.media import AudioConfig, fit_length

CLOCK = 90_000  # ticks per second: of frames within the same tick, one is kept
ITU601 = (2, 5, 6)  # FFmpeg's numbers of this matrix; 2: none is said


@dataclass(frozen=True)
class Footage:
    """A complete video, and what is known of it. Times count from `start`, in seconds."""

    path: Path
    start: Fraction
    seconds: float  # from the first frame to the end of the last
    count: int  # of frames, at most
    size: tuple[int, int]  # width, height: even, in square pixels, before any rotation


@contextmanager
def opened(path: Path) -> Iterator[InputContainer]:
    """A container to read. FileNotFoundError, or ClipError for what FFmpeg refuses."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no video {path}")
    try:  # absolute, since FFmpeg takes the "a" of "a:b.mp4" for a protocol
        with av.open(str(path.absolute()), metadata_errors="replace") as container:
            yield container
    except av.FFmpegError as error:
        raise ClipError(path, UNDECODABLE, error.strerror or "") from error


def open_footage(path: Path) -> Footage:
    """Read a video once without decoding it: a Footage.

    ClipError where it is truncated or damaged, or lacks a video or audio track.
    """
    with opened(path) as container:
        video: Any = container.streams.best("video")
        sound: Any = container.streams.best("audio")
        if video is None or video.disposition & Disposition.attached_pic:
            raise ClipError(path, NO_VIDEO, "there is no video track")
        if sound is None:
            raise ClipError(path, NO_AUDIO, "there is only a picture")
        if video.codec_context is None or sound.codec_context is None:
            raise ClipError(path, UNDECODABLE, "a track has no decoder")
        check_size(container, video)
        counts: Counter[Stream] = Counter()
        begin, end = math.inf, -math.inf
        for packet in read_packets(container):
            if packet.pts is not None and not packet.is_discard:
                counts[packet.stream] += 1
                if packet.stream is video:
                    begin = min(begin, packet.pts)
                    end = max(end, packet.pts + (packet.duration or 0))
        for stream, kind in ((video, NO_VIDEO), (sound, NO_AUDIO)):
            if not counts[stream]:
                raise ClipError(path, kind, "the track is empty")
        start = Fraction(container.start_time or 0, av.time_base)
        width = video.width * (video.sample_aspect_ratio or 1)  # in square pixels
        size = max(2 * round(width / 2), 2), max(2 * round(video.height / 2), 2)
        seconds = float((end - begin) * video.time_base)
        return Footage(path, start, seconds, counts[video], size)


def decoded_frames(
    footage: Footage, fps: float | None = None
) -> Iterator[tuple[float, av.VideoFrame]]:
    """Frames in order, as they are stored, at most `fps` per second: (seconds, frame).

    ClipError where a frame is damaged, has no time, or one before the last frame's.
    """
    with opened(footage.path) as container:
        stream: Any = container.streams.best("video")
        last: float = -math.inf
        before: float = -math.inf
        stream.thread_type = "AUTO"
        for frame in decode(container, stream, container.demux(stream)):
            if frame.pts is None or frame.is_corrupt:
                raise ClipError(
                    footage.path,
                    UNDECODABLE,
                    "a frame is damaged or has no "
                    f"time, after {max(last, 0) / (fps or CLOCK):.2f} s",
                )
            time = frame.pts * frame.time_base - footage.start
            if time < before:  # then what is shown when was guessed
                raise ClipError(
                    footage.path,
                    UNDECODABLE,
                    f"its frames go back in time, from {float(before):.2f} s to "
                    f"{float(time):.2f} s (B-frames in an AVI?)",
                )
            before = time
            slot = math.floor(time * (fps or CLOCK) + 1e-3)
            if slot > last:
                yield float(time), frame
                last = slot


def read_frames(
    footage: Footage, fps: float | None = None
) -> Iterator[tuple[float, np.ndarray]]:
    """Frames in order, upright, at most `fps` per second: (seconds, (H, W, 3) uint8).

    ClipError where a frame is damaged or has no time.
    """
    for time, frame in decoded_frames(footage, fps):
        image = frame.reformat(*footage.size, format="rgb24").to_ndarray()
        yield time, np.ascontiguousarray(np.rot90(image, turns(frame)))


def read_yuv_frames(
    footage: Footage, fps: float | None = None
) -> Iterator[tuple[float, av.VideoFrame]]:
    """The same frames as yuv420p, which encoders take: (seconds, frame, upright).

    All have one `colorspace`: ITU-R 601 where the first frame says so or says none (as
    FFmpeg takes it), else 709, since not every player knows others.
    """
    space = None
    for time, frame in decoded_frames(footage, fps):
        own = Colorspace.ITU601 if frame.colorspace in ITU601 else frame.colorspace
        space = space or (own if own == Colorspace.ITU601 else Colorspace.ITU709)
        flat = frame.reformat(
            *footage.size,
            "yuv420p",
            src_colorspace=own,
            dst_colorspace=space,
            dst_color_range=ColorRange.MPEG,
        )
        if count := turns(frame):
            flat = _rotate(flat, count)
        flat.colorspace = space
        yield time, flat


def _rotate(frame, count):
    """A frame of yuv420p, rotated by quarter turns, plane by plane."""
    quarters = frame.to_ndarray().reshape(6, -1)  # 4 of brightness, 2 of colour
    whole, half = (frame.height, frame.width), (frame.height // 2, frame.width // 2)
    planes = (quarters[:4].reshape(whole), *quarters[4:].reshape(2, *half))
    planes = [np.rot90(plane, count) for plane in planes]
    stacked = np.concatenate([plane.ravel() for plane in planes])
    width = planes[0].shape[1]
    return av.VideoFrame.from_ndarray(stacked.reshape(-1, width), "yuv420p")


def turns(frame: av.VideoFrame) -> int:
    """Quarter turns, anticlockwise, that set a frame upright: 0, 1, 2 or 3."""
    return round(frame.rotation / 90) % 4


class Sound:
    """The sound around any moment of a video, decoded as needed and not kept."""

    def __init__(self, footage: Footage, config: AudioConfig):
        self.samples, self.rate = config.samples, config.sample_rate
        self.pieces = _waves(footage, self.rate)
        first = next(self.pieces, None)
        if first is None:
            raise ClipError(footage.path, UNDECODABLE, "its sound holds no samples")
        self.begin, self.wave = first  # the sample that `wave` starts with
        self.first, self.ended = self.begin, False

    def around(self, time: float) -> torch.Tensor:
        """The window (samples,) int16 around a time; times must not decrease."""
        moment, half = round(time * self.rate), self.samples // 2
        self.first = min(self.first, moment)
        need = max(moment - half, self.first) + self.samples
        while not self.ended and self.begin + len(self.wave) < need:
            _, piece = next(self.pieces, (None, None))
            self.ended = piece is None
            if not self.ended:
                self.wave = np.concatenate([self.wave, piece])
        last = max(self.begin + len(self.wave), moment)
        start = max(min(moment - half, last - self.samples), self.first)
        window = np.zeros(min(self.samples, last - start), np.int16)
        at = start - self.begin
        piece = self.wave[max(at, 0) : max(at + len(window), 0)]
        window[max(-at, 0) :][: len(piece)] = piece
        if not self.ended:  # later windows need nothing before moment − half
            gone = max(moment - half - self.begin, 0)
            self.begin, self.wave = self.begin + gone, self.wave[gone:]
        return fit_length(torch.from_numpy(window), self.samples)


def _waves(footage, rate):
    """Pieces of the sound, mono: (position of the first sample, (n,) int16)."""
    with opened(footage.path) as container:
        stream = container.streams.best("audio")
        # "async" fills gaps between packets with silence. Without a frame size (the
        # second `rate`), sound that needs no conversion would bypass it.
        resampler = av.AudioResampler("s16", "mono", rate, rate, {"async": 1})
        frames = decode(container, stream, container.demux(stream))
        for frame in chain(frames, [None]):
            for piece in resampler.resample(frame):
                time = (piece.pts or 0) * piece.time_base - footage.start
                yield round(time * rate), piece.to_ndarray()[0]
