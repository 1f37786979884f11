"""A video as frames, each with the sound around it, however long (notebook 06).

    >>> footage = open_footage("my.mp4")              # read through: it is whole
    >>> sound = Sound(footage, model.config.audio)
    >>> for time, image in read_frames(footage, fps=5):    # image (H, W, 3) uint8
    ...     wave = sound.around(time)                      # (samples,) int16

What was decoded is given out and forgotten, so that memory does not grow. Times are
the file's own, in seconds from its start, so that a variable frame rate, or a sound
that begins late, stays as it was.

A window is centred on its frame. Near the ends of the recording it is moved inwards;
a recording shorter than the window is repeated, as in training; where the picture
goes on without sound, that is silence.
"""

import math
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np
import torch
from av.stream import Disposition

from sslnb.data.decode import (
    NO_AUDIO,
    NO_VIDEO,
    UNDECODABLE,
    ClipError,
    decode,
    read_packets,
)
from sslnb.data.media import fit_length

CLOCK = 90_000  # ticks a second: two frames within one are one


@dataclass(frozen=True)
class Footage:
    """A video that is whole, and facts of it. Times count from `start`, in seconds."""

    path: Path
    start: Fraction
    seconds: float  # from the first picture to the end of the last
    count: int  # of frames, at most
    size: tuple  # width and height, even, of square pixels, before any rotation


@contextmanager
def opened(path):
    """A container to read; what FFmpeg finds wrong names the file."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no video {path}")
    try:  # absolute: FFmpeg takes "a:b.mp4" for a protocol
        with av.open(str(path.absolute()), metadata_errors="replace") as container:
            yield container
    except av.FFmpegError as error:
        raise ClipError(path, UNDECODABLE, error.strerror) from error


def open_footage(path):
    """What is known of a video before it is decoded. ClipError where it is not whole."""
    with opened(path) as container:
        picture, sound = (container.streams.best(kind) for kind in ("video", "audio"))
        if picture is None or picture.disposition & Disposition.attached_pic:
            raise ClipError(path, NO_VIDEO, "there is no moving picture")
        if sound is None:
            raise ClipError(path, NO_AUDIO, "there is no sound")
        if picture.codec_context is None or sound.codec_context is None:
            raise ClipError(path, UNDECODABLE, "a track has no decoder")
        counts, begin, end = Counter(), math.inf, -math.inf
        for packet in read_packets(container):
            if packet.pts is not None and not packet.is_discard:
                counts[packet.stream] += 1
                if packet.stream is picture:
                    begin = min(begin, packet.pts)
                    end = max(end, packet.pts + (packet.duration or 0))
        for stream, kind in ((picture, NO_VIDEO), (sound, NO_AUDIO)):
            if not counts[stream]:
                raise ClipError(path, kind, "the track is there, but holds nothing")
        start = Fraction(container.start_time or 0, av.time_base)
        width = picture.width * (picture.sample_aspect_ratio or 1)  # of square pixels
        size = tuple(max(2 * round(side / 2), 2) for side in (width, picture.height))
        seconds = float((end - begin) * picture.time_base)
        return Footage(path, start, seconds, counts[picture], size)


def read_frames(footage, fps=None):
    """(seconds, (H, W, 3) uint8, upright) of frames in order, at most `fps` a second."""
    with opened(footage.path) as container:
        stream, last = container.streams.best("video"), -math.inf
        stream.thread_type = "AUTO"
        for frame in decode(container, stream, container.demux(stream)):
            if frame.pts is None or frame.is_corrupt:
                raise ClipError(footage.path, UNDECODABLE, "a frame is damaged or has no "
                                f"time, after {max(last, 0) / (fps or CLOCK):.2f} s")
            time = frame.pts * frame.time_base - footage.start
            slot = math.floor(time * (fps or CLOCK) + 1e-3)
            if slot > last:
                image = frame.reformat(*footage.size, format="rgb24").to_ndarray()
                image = np.rot90(image, round(frame.rotation / 90))
                yield float(time), np.ascontiguousarray(image)
                last = slot


class Sound:
    """The sound of a video, decoded as far as it is asked for, and then forgotten."""

    def __init__(self, footage, config):
        self.samples, self.rate = config.samples, config.sample_rate
        self.pieces = _waves(footage, self.rate)
        self.begin, self.wave = next(self.pieces)  # the sample that `wave` starts with
        self.first, self.ended = self.begin, False

    def around(self, time):
        """The window (samples,) int16 around a time; times must not go back."""
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
        if not self.ended:  # no later window begins before this one's middle part
            gone = max(moment - half - self.begin, 0)
            self.begin, self.wave = self.begin + gone, self.wave[gone:]
        return fit_length(torch.from_numpy(window), self.samples)


def _waves(footage, rate):
    """Pieces of the sound, mono: (sample that the first begins with, (n,) int16)."""
    with opened(footage.path) as container:
        stream = container.streams.best("audio")
        # "async" fills gaps between packets with silence; frame_size makes sure that
        # nothing passes by without it
        resampler = av.AudioResampler("s16", "mono", rate, rate, {"async": 1})
        frames = decode(container, stream, container.demux(stream))
        for frame in chain(frames, [None]):
            for piece in resampler.resample(frame):
                time = (piece.pts or 0) * piece.time_base - footage.start
                yield round(time * rate), piece.to_ndarray()[0]
