"""A heatmap over a video: where the model hears each frame's sound (notebook 06).

    sslnb video my.mp4 --out heat.mp4
    sslnb video my.mp4 --out heat.mp4 --fps 5 \\
        --checkpoint vggsound144k.pth.tar

Every frame, or --fps of them a second, is squashed to the model's square and compared
with the sound around it (sslnb/localise/footage.py). The map is laid over the frame,
and the sound is kept: AAC, MP3 and Opus as they are, anything else as AAC. Beside
heat.mp4 stands heat.png, the frame whose map points most clearly: its maximum lies
furthest above its mean.

Colours mean the same cosine all through the video: the darkest is the lowest and the
brightest the highest of all maps. So no moment is stretched to full contrast by
itself, and what the model makes of silence is seen for what it is: a model that gives
silence high cosines shows it bright, for nothing is dimmed for looks.
"""

import math
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path

import av
import numpy as np
import torch
from av.video.reformatter import Colorspace
from matplotlib import colormaps
from PIL import Image

from sslnb.data.decode import UNDECODABLE, ClipError, decode
from sslnb.files import atomic_write, remove_leftovers
from sslnb.localise.footage import CLOCK, Sound, open_footage, opened, read_frames

COLOURS, OPACITY = "viridis", 0.6  # as the notebooks draw maps
BATCH = 16  # frames
COPIED = ("aac", "mp3", "opus")  # what players and browsers take in an MP4


@dataclass(frozen=True)
class Summary:
    """What became of a video. `low` and `high`: the cosines of the darkest and the
    brightest colour; `seconds`: how long the pictures last; `poster`: a PNG."""

    frames: int
    seconds: float
    low: float
    high: float
    out: Path
    poster: Path


def heat_video(model, path, out, fps=None, progress=lambda frames, **about: frames):
    """Write the video at `path`, the model's maps over it, to `out`, an .mp4: a Summary.

    fps: at most so many frames a second are kept; None: all. `progress` wraps each of
    the two passes over the frames (`tqdm`, for one). Memory does not grow with the
    video's length. OSError and ValueError name a file that is missing, damaged or
    without picture or sound, and an `out` that cannot be; then nothing is written.
    """
    path, out = Path(path), Path(out)
    if out.suffix.lower() != ".mp4":
        raise ValueError(f"out is {out}; need a name that ends in .mp4")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {out.parent} for {out.name}")
    if out.exists() and path.exists() and out.samefile(path):
        raise ValueError(f"out is {out}, which is the video itself; need another name")
    if fps is not None and not 0 < fps < math.inf:
        raise ValueError(f"fps is {fps}; need a number above 0")
    source, poster = open_footage(path), out.with_suffix(".png")
    for file in (out, poster):
        remove_leftovers(file)
    count = min(source.count, math.ceil(source.seconds * (fps or CLOCK)))
    with tempfile.TemporaryFile() as file:  # where maps wait for their scale
        frames = read_frames(source, fps)
        frames = progress(frames, total=count, desc="maps", unit="frame")
        count, best, shape, low, high = _store(_respond(model, source, frames), file)
        if not count:
            raise ClipError(path, UNDECODABLE, "none of its frames can be shown")
        file.seek(0)
        frames = read_frames(source, fps)
        frames = progress(frames, total=count, desc="video", unit="frame")
        with atomic_write(poster) as picture, atomic_write(out) as part:
            frames = _heated(frames, file, shape, low, high)
            _write(source, part, _posed(frames, best, picture),
                   count / (source.seconds or 1))  # one frame may have no duration
    return Summary(count, source.seconds, low, high, out, poster)


def overlay(image, response, low, high):
    """A picture (H, W, 3) uint8 under its map (h, w), coloured from low to high."""
    level = ((response - low) / max(high - low, 1e-12)).clip(0, 1)
    level = Image.fromarray((255 * level).round().astype(np.uint8))
    heat = level.resize(image.shape[1::-1], Image.BILINEAR)
    heat.putpalette(colormaps[COLOURS](np.arange(256), bytes=True)[:, :3].tobytes())
    return np.asarray(Image.blend(Image.fromarray(image), heat.convert("RGB"), OPACITY))


def _respond(model, source, frames):
    """Maps (B, h, w) of frames, each against the sound around it, batch by batch."""
    config, device = model.config, next(model.parameters()).device
    size, how = (config.image_size,) * 2, Image.Resampling[config.resample.upper()]
    sound, frames = Sound(source, config.audio), iter(frames)
    while batch := list(islice(frames, BATCH)):
        images = [Image.fromarray(image).resize(size, how) for _, image in batch]
        images = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
        waves = torch.stack([sound.around(time) for time, _ in batch])
        yield model.predict(images.to(device), waves.to(device)).cpu().numpy()


def _store(batches, file):
    """Writes maps to a file; (count, the clearest, shape of one, lowest, highest)."""
    count, best, clearest, low, high, shape = 0, 0, -math.inf, math.inf, -math.inf, ()
    for maps in batches:
        if not np.isfinite(maps).all():
            raise ValueError(f"the map of frame {count} or one soon after is not finite")
        file.write(maps.astype(np.float32).tobytes())
        shape = maps.shape[1:]
        low, high = min(low, float(maps.min())), max(high, float(maps.max()))
        clear = maps.max((1, 2)) - maps.mean((1, 2))
        if clear.max() > clearest:
            clearest, best = clear.max(), count + int(clear.argmax())
        count += len(maps)
    return count, best, shape, low, high


def _heated(frames, file, shape, low, high):
    """Frames (time, picture) under their maps, which a file holds in order."""
    for time, image in frames:
        response = np.frombuffer(file.read(4 * math.prod(shape)), np.float32)
        yield time, overlay(image, response.reshape(shape), low, high)


def _posed(frames, best, path):
    """The same frames, one of which is saved as a picture on its way."""
    for k, (time, image) in enumerate(frames):
        if k == best:
            Image.fromarray(image).save(path)
        yield time, image


def _write(source, path, frames, rate):
    """Encodes frames (time, image), about `rate` a second, and the source's sound."""
    with _target(path) as target:
        time, image = next(frames)
        stream = target.add_stream(
            "libx264", rate=Fraction(rate).limit_denominator(1_000), pix_fmt="yuv420p",
            width=image.shape[1], height=image.shape[0], time_base=Fraction(1, CLOCK),
            options={"preset": "veryfast", "crf": "20"},
        )
        stream.codec_context.colorspace = Colorspace.ITU601  # what RGB is made into
        sound = _sound_packets(source, target)
        waiting = next(sound)  # its track is there before anything is written
        for time, image in chain([(time, image)], frames):
            while waiting and waiting.pts * waiting.time_base <= time:
                target.mux(waiting)
                waiting = next(sound, None)
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            frame.pts, frame.time_base = round(time * CLOCK), Fraction(1, CLOCK)
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
        for packet in chain([waiting] if waiting else [], sound):
            target.mux(packet)


def _sound_packets(source, target):
    """Packets of the sound of `source`, for a track that is added to `target`."""
    with opened(source.path) as container:
        stream = container.streams.best("audio")
        if stream.codec_context.codec.canonical_name in COPIED:
            track = target.add_stream_from_template(stream)
            for packet in container.demux(stream):
                if packet.dts is not None:  # the last one is empty
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
    """An MP4 to write. OSError says what FFmpeg could not do."""
    try:  # the index in front: browsers begin to play at once
        with av.open(str(path.absolute()), "w",
                     options={"movflags": "+faststart"}) as container:
            yield container
    except av.FFmpegError as error:
        raise OSError(error.errno, error.strerror) from error
