"""A heatmap over a video: where the model hears each frame's sound (notebook 06).

    sslnb video my.mp4 --out heat.mp4
    sslnb video my.mp4 --out heat.mp4 --fps 5 \\
        --checkpoint vggsound144k.pth.tar

Every frame, or --fps of them per second, is squashed to the model's square and compared
with the sound around it (sslnb/localise/footage.py). The map is laid over the frame,
and the sound is kept: AAC, MP3 and Opus unchanged, anything else as AAC. heat.png,
beside heat.mp4, is the frame whose map points most clearly: the one whose maximum is
furthest above its mean.

A colour means the same cosine throughout the video: the darkest is the lowest of all
maps, the brightest the highest. No frame is stretched to full contrast on its own, and
nothing is dimmed: a model that gives silence high cosines shows bright maps for it.
"""

import math
import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path

import av
import numpy as np
import torch
from av.video.reformatter import ColorRange
from matplotlib import colormaps
from PIL import Image

from sslnb.data.decode import UNDECODABLE, ClipError, decode
from sslnb.files import atomic_write, remove_leftovers
from sslnb.localise.footage import (
    CLOCK,
    Sound,
    decoded_frames,
    open_footage,
    opened,
    read_yuv_frames,
    turns,
)
from sslnb.model import SoundLocaliser

COLOURS, OPACITY = "viridis", 0.6  # as the notebooks draw maps
BATCH = 16  # frames
FINER = 32  # points of the coloured map to a cell, in each direction
LARGE = 2_100_000  # pixels, just over 1080p: from here on, encoding would take the time
COPIED = ("aac", "mp3", "opus")  # players and browsers take these in an MP4


@dataclass(frozen=True)
class Summary:
    """What `heat_video` wrote.

    low, high: the cosines of the darkest and the brightest colour. seconds: how long
    the frames last. poster: a PNG.
    """

    frames: int
    seconds: float
    low: float
    high: float
    out: Path
    poster: Path


def heat_video(
    model: SoundLocaliser,
    path: str | Path,
    out: str | Path,
    fps: float | None = None,
    progress: Callable = lambda frames, **about: frames,
) -> Summary:
    """Write the video at `path` with the model's maps over it to `out`, an .mp4.

    fps: the most frames per second to keep; None: all. `progress` wraps each of the two
    passes over the frames (`tqdm`, for instance). Memory does not grow with the video's
    length. OSError or ValueError where the video is missing or damaged, lacks a video or
    audio track, or `out` cannot be written; then no file is left behind.
    """
    path, out = Path(path), Path(out)
    if out.suffix.lower() != ".mp4":
        raise ValueError(f"out is {out}; need a name that ends in .mp4")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {out.parent} for {out.name}")
    if out.exists() and path.exists() and out.samefile(path):
        raise ValueError(f"out is {out}, which is the video itself; need another name")
    poster = out.with_suffix(".png")
    for target in (out, poster):
        if target.is_dir():
            raise IsADirectoryError(f"{target} is a folder; need another name for out")
    if fps is not None and not 0 < fps < math.inf:
        raise ValueError(f"fps is {fps}; need a number above 0")
    source = open_footage(path)
    for target in (out, poster):
        remove_leftovers(target)
    count = min(source.count, math.ceil(source.seconds * (fps or CLOCK)))
    with tempfile.TemporaryFile() as file:  # maps, until their range is known
        frames = decoded_frames(source, fps)
        frames = progress(frames, total=count, desc="maps", unit="frame")
        count, best, shape, low, high = _store(_respond(model, source, frames), file)
        if not count:
            raise ClipError(path, UNDECODABLE, "none of its frames can be shown")
        file.seek(0)
        frames = read_yuv_frames(source, fps)
        frames = progress(frames, total=count, desc="video", unit="frame")
        with atomic_write(poster) as image, atomic_write(out) as part:
            frames = _overlaid(frames, file, shape, low, high)
            frames = _save_frame(frames, best, image)
            rate = count / (source.seconds or 1)  # a single frame may have no duration
            _write(source, part, frames, rate)
    return Summary(count, source.seconds, low, high, out, poster)


def overlay(
    frame: av.VideoFrame, response: np.ndarray, low: float, high: float
) -> av.VideoFrame:
    """A frame (yuv420p, of even size) under its map (h, w), coloured from low to high.

    Colours are mixed as they are stored, which is linear in red, green and blue.
    """
    level = ((response - low) / max(high - low, 1e-12)).clip(0, 1)
    grey = Image.fromarray((255 * level).round().astype(np.uint8))
    # finer by PIL, which interpolates levels; from there on colours will do, at once
    grey = grey.resize([FINER * side for side in grey.size], Image.Resampling.BILINEAR)
    grey.putpalette(colormaps[COLOURS](np.arange(256), bytes=True)[:, :3].tobytes())
    heat = av.VideoFrame.from_ndarray(np.asarray(grey.convert("RGB")), "rgb24")
    heat = heat.reformat(
        frame.width,
        frame.height,
        "yuv420p",
        dst_colorspace=frame.colorspace,
        dst_color_range=ColorRange.MPEG,
    )
    for below, above in zip(frame.planes, heat.planes):
        below, above = _pixels(below), _pixels(above)
        planes = Image.fromarray(below), Image.fromarray(above)
        above[:] = Image.blend(*planes, OPACITY)
    heat.colorspace = frame.colorspace
    return heat


def _pixels(plane):
    """A plane's bytes (H, W), not a copy."""
    rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
    return rows[:, : plane.width]


def _squash(frames, size, config):
    """Frames (time, frame), of a size before any rotation, as (time, the model's input).

    At once, since a batch of frames in full size may take much memory.
    """
    side, how = config.image_size, Image.Resampling[config.resample.upper()]
    for time, frame in frames:
        pixels = frame.reformat(*size, "rgba").to_ndarray().view(np.uint32)[..., 0]
        pixels = np.ascontiguousarray(np.rot90(pixels, turns(frame)))
        # as Pillow keeps RGB: it need not copy
        image = Image.frombuffer(
            "RGBX", pixels.shape[::-1], pixels, "raw", "RGBX", 0, 1
        )
        # reducing_gap: of large frames, blocks of pixels are averaged first. It takes half
        # the time and changes a value by 0.2 of 255 on average.
        image = image.resize((side, side), how, reducing_gap=3.0).convert("RGB")
        yield time, torch.from_numpy(np.array(image)).permute(2, 0, 1)


def _respond(model, source, frames):
    """Maps (B, h, w) of frames, each with the sound around it, batch by batch."""
    device, sound = next(model.parameters()).device, Sound(source, model.config.audio)
    squashed = _squash(frames, source.size, model.config)
    while batch := list(islice(squashed, BATCH)):
        images = torch.stack([image for _, image in batch])
        waves = torch.stack([sound.around(time) for time, _ in batch])
        yield model.predict(images.to(device), waves.to(device)).cpu().numpy()


def _store(batches, file):
    """Write maps to a file: (count, index of the clearest, shape of a map, min, max)."""
    count, best, clearest, low, high, shape = 0, 0, -math.inf, math.inf, -math.inf, ()
    for maps in batches:
        if not np.isfinite(maps).all():
            raise ValueError(
                f"a map of frames {count} to {count + len(maps) - 1} is not finite"
            )
        file.write(maps.astype(np.float32).tobytes())
        shape = maps.shape[1:]
        low, high = min(low, float(maps.min())), max(high, float(maps.max()))
        clear = maps.max((1, 2)) - maps.mean((1, 2))
        if clear.max() > clearest:
            clearest, best = clear.max(), count + int(clear.argmax())
        count += len(maps)
    return count, best, shape, low, high


def _overlaid(frames, file, shape, low, high):
    """Frames (time, frame) under their maps, which `file` holds in order."""
    for time, frame in frames:
        response = np.frombuffer(file.read(4 * math.prod(shape)), np.float32)
        yield time, overlay(frame, response.reshape(shape), low, high)


def _save_frame(frames, index, path):
    """The same frames; the one at `index` is saved as an image as it passes."""
    for k, (time, frame) in enumerate(frames):
        if k == index:
            frame.to_image().save(path)
        yield time, frame


def _write(source, path, frames, rate):
    """Encode frames (time, frame), about `rate` per second, and the source's sound."""
    with _target(path) as target:
        first = next(frames)
        width, height = first[1].width, first[1].height
        stream = target.add_stream(
            "libx264",
            rate=Fraction(rate).limit_denominator(1_000),
            pix_fmt="yuv420p",
            width=width,
            height=height,
            time_base=Fraction(1, CLOCK),
            options={
                "preset": "veryfast" if width * height < LARGE else "ultrafast",
                "crf": "20",
            },
        )
        stream.codec_context.colorspace = first[1].colorspace
        stream.codec_context.color_range = ColorRange.MPEG
        sound = _sound_packets(source, target)
        waiting = next(sound)  # adds its track before anything is written
        for time, frame in chain([first], frames):
            while waiting and waiting.pts * waiting.time_base <= time:
                target.mux(waiting)
                waiting = next(sound, None)
            frame.pts, frame.time_base = round(time * CLOCK), Fraction(1, CLOCK)
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
        for packet in chain([waiting] if waiting else [], sound):
            target.mux(packet)


def _sound_packets(source, target):
    """Add a track to `target`, and yield the packets of the sound of `source` for it."""
    with opened(source.path) as container:
        stream = container.streams.best("audio")
        if stream.codec_context.codec.canonical_name in COPIED:
            track = target.add_stream_from_template(stream)
            for packet in container.demux(stream):
                if packet.dts is not None:  # else it is the empty last packet
                    packet.dts -= round(source.start / packet.time_base)
                    packet.pts, packet.stream = packet.dts, track
                    yield packet
            return
        rates = av.Codec("aac", "w").audio_rates
        rate = stream.rate if stream.rate in rates else 48_000
        track = target.add_stream("aac", rate=rate, bit_rate=160_000)
        track.codec_context.layout = "mono" if stream.channels == 1 else "stereo"
        for frame in decode(container, stream, container.demux(stream)):
            frame.pts -= round(source.start / frame.time_base)
            yield from track.encode(frame)
        yield from track.encode(None)


@contextmanager
def _target(path):
    """An MP4 to write. OSError gives FFmpeg's reason."""
    try:  # index first, so that browsers start to play at once
        with av.open(
            str(path.absolute()), "w", options={"movflags": "+faststart"}
        ) as container:
            yield container
    except av.FFmpegError as error:
        raise OSError(error.errno, error.strerror) from error
