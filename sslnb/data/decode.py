"""A video's centre frame and its sound, decoded by FFmpeg (appendix A1).

    >>> image, wave = read_clip("-0jeONf82dE_000021.mp4")
    >>> image.size, wave.shape
    ((640, 360), (160000,))

Through PyAV, on one thread. Every packet is read, which shows whether the file is
complete; of the frames only those are decoded that the centre frame depends on.
"""

from pathlib import Path

import av
import numpy as np
from av.stream import Disposition
from PIL import Image

RATE = 16_000  # Hz
LONGEST = 2**27  # samples of a sound: 46 minutes at 48 kHz, and half a gigabyte
PIXELS = 2**26  # of a frame: 8,192 x 8,192
SHORTEST = 1.0  # s: a clip with less video or less sound than this is too short
MISSING = 0.25  # s: a file that ends earlier than its header says by more is truncated
PLAYLISTS = {"hls", "dash", "concat", "imf"}  # formats that name other files to be read
SKIPPING = ("h264", "hevc")  # decoders that can skip frames on which no other depends

# Why a video gives no clip
NO_VIDEO, NO_AUDIO = "no video track", "no audio track"
TRUNCATED, UNDECODABLE, TOO_SHORT = "truncated", "undecodable", "too short"


class ClipError(ValueError):
    """A video that gives no clip: `reason` is one of five, `detail` says what was found."""

    def __init__(self, video: str | Path, reason: str, detail: str):
        super().__init__(f"{video}: {reason}: {detail}")
        self.reason, self.detail = reason, detail


def read_clip(
    video: str | Path, size: int | None = None
) -> tuple[Image.Image, np.ndarray]:
    """Centre frame, an RGB Pillow image, and sound, (T,) int16 at 16 kHz, of a video.

    The frame is the one shown when half of the video track has played, rotated as the
    file says; `size` caps its shorter side, in pixels, and keeps its aspect ratio. The
    sound is the complete track: stereo is averaged, more channels are mixed with FFmpeg's
    weights. ClipError says why a video gives no clip.
    """
    video = Path(video).absolute()  # FFmpeg takes "a:b.mp4" for a protocol
    if not video.is_file():
        raise ClipError(video, UNDECODABLE, "is no file, or a link to one that is gone")
    try:
        container = av.open(str(video), metadata_errors="replace")
    except av.FFmpegError as error:
        raise ClipError(video, *_unopened(video, error)) from error
    with container:
        try:
            picture, sound, packets = _tracks(container)
            image = _centre(container, picture, packets[picture.index])
            wave = _sound(container, sound, packets[sound.index])
        except av.FFmpegError as error:
            raise ClipError(video, UNDECODABLE, str(error.strerror)) from error
    if size is not None and size < min(image.size):
        scale = size / min(image.size)
        image = image.resize(
            [round(scale * side) for side in image.size], Image.Resampling.BILINEAR
        )
    return image, wave


def _unopened(video, error):
    """Reason and detail where FFmpeg cannot open a file."""
    try:
        with open(video, "rb") as file:
            head = file.read(8)
    except OSError as unread:
        return UNDECODABLE, f"cannot be read ({unread.strerror})"
    if not head:
        return TRUNCATED, "the file is empty"
    if head[4:] == b"ftyp" or head.startswith(b"\x1aE\xdf\xa3"):  # mp4; webm and mkv
        return TRUNCATED, "begins as a video, but its index is missing or cut"
    return UNDECODABLE, f"begins as no video that FFmpeg knows ({error.strerror})"


def _tracks(container):
    """The best video track, the best audio track, {index of a track: its packets}."""
    packets = {stream.index: [] for stream in container.streams}
    for packet in read_packets(container):
        packets[packet.stream.index].append(packet)
    picture = container.streams.best("video")
    sound = container.streams.best("audio")
    if picture is None or picture.disposition & Disposition.attached_pic:
        raise ClipError(container.name, NO_VIDEO, "has no moving picture")
    if sound is None:
        raise ClipError(container.name, NO_AUDIO, "has no sound")
    for stream in (picture, sound):
        if stream.codec_context is None:
            raise ClipError(
                container.name,
                UNDECODABLE,
                f"FFmpeg has no decoder for its {stream.type} track",
            )
        stream.codec_context.thread_count = 1  # cores are for other clips
    check_size(container, picture)
    return picture, sound, packets


def read_packets(container):
    """Every packet of a video file, not decoded.

    After the last one, ClipError if the file is truncated: its packets end before the
    header of the file, or of one of its tracks, says.
    """
    ends, size, corrupt = {}, 0, False
    try:
        for packet in container.demux():
            if packet.pts is not None:
                end = float((packet.pts + (packet.duration or 0)) * packet.time_base)
                index = packet.stream.index
                ends[index] = max(ends.get(index, 0.0), end)
            size, corrupt = size + packet.size, corrupt or packet.is_corrupt
            yield packet
    except av.FFmpegError as error:
        raise ClipError(
            container.name,
            UNDECODABLE,
            "reading it stopped after "
            f"{max(ends.values(), default=0):.2f} s: {error.strerror}",
        ) from error
    if not size:
        raise ClipError(container.name, TRUNCATED, "ends before any picture or sound")
    for stream in container.streams.video + container.streams.audio:
        # a cover has no time
        if stream.duration and not stream.disposition & Disposition.attached_pic:
            said = ((stream.start_time or 0) + stream.duration) * stream.time_base
            _check_end(container, ends.get(stream.index, 0.0), float(said))
    if container.duration:
        # In Matroska (mkv, webm) FFmpeg writes the time of the end, mkvmerge the length
        # from the first packet on: neither is later than the end of an intact file.
        matroska = "matroska" in container.format.name
        start = 0 if matroska else container.start_time or 0
        said = (start + container.duration) / av.time_base
        _check_end(container, max(ends.values(), default=0.0), said)
    if corrupt:
        raise ClipError(container.name, TRUNCATED, "ends within a packet")


def _check_end(container, end, said):
    if end < said - MISSING:
        raise ClipError(
            container.name,
            TRUNCATED,
            f"ends at {end:.2f} s; its header says {said:.2f} s",
        )


def decode(container, stream, packets):
    """Frames of packets of one track. ClipError names a damaged track and the time of
    its last good frame."""
    time = None  # of the last frame; before there is one, of the first packet
    try:
        for packet in packets:
            if time is None and packet is not None and packet.pts is not None:
                time = float(packet.pts * stream.time_base)
            for frame in stream.codec_context.decode(packet):
                time = time if frame.time is None else frame.time
                yield frame
    except av.FFmpegError as error:
        raise _broken(container, stream, time, error.strerror) from error


def _broken(container, stream, time, why):
    return ClipError(
        container.name,
        UNDECODABLE,
        f"its {stream.type} track (stream "
        f"{stream.index}) stopped after {time or 0:.2f} s: {why}",
    )


def _check_longest(container, samples):
    """A small file may unpack to more sound than there is memory."""
    if samples > LONGEST:
        raise ClipError(
            container.name,
            UNDECODABLE,
            f"it holds more than {LONGEST:,} samples of sound; cut it",
        )


def check_size(container, picture):
    """ClipError where the frames of a track are too large for any memory."""
    if picture.width * picture.height > PIXELS:
        raise ClipError(
            container.name,
            UNDECODABLE,
            f"its frames are {picture.width} x {picture.height}; need at most {PIXELS:,} "
            "pixels",
        )


def _check_length(container, what, seconds):
    if seconds < SHORTEST:
        raise ClipError(
            container.name,
            TOO_SHORT,
            f"its {what} lasts {seconds:.2f} s; need {SHORTEST:g} s or more",
        )


def _centre(container, stream, packets):
    """The frame on show when half of a track has played, as an image.

    Decodes from the last keyframe before it on; of the frames in between, where the
    decoder can, only those that others are predicted from.
    """
    packets = [packet for packet in packets if packet.pts is not None]
    shown = [packet for packet in packets if not packet.is_discard]
    first = min((packet.pts for packet in shown), default=0)
    end = max((packet.pts + (packet.duration or 0) for packet in shown), default=0)
    _check_length(container, "video", float((end - first) * stream.time_base))
    centre = max(packet.pts for packet in shown if 2 * packet.pts <= first + end)
    last = max(k for k, packet in enumerate(packets) if packet.pts == centre)
    key = max(
        (
            k
            for k, packet in enumerate(packets[: last + 1])
            if packet.is_keyframe and packet.pts <= centre
        ),
        default=0,
    )
    codec, found, corrupt = stream.codec_context, [], False
    for skip, several in (
        ("NONREF" if codec.name in SKIPPING else "DEFAULT", packets[key:last]),
        ("DEFAULT", [packets[last], None]),
    ):
        codec.skip_frame = skip
        for frame in decode(container, stream, several):
            # before the keyframe's own time: frames that need an earlier one, but not
            # ours; the others are not kept, as they may be many and large
            if frame.pts is not None and frame.pts >= packets[key].pts:
                corrupt = corrupt or frame.is_corrupt
                found += [frame] if frame.pts == centre else []
    if not found or corrupt:
        raise ClipError(
            container.name,
            UNDECODABLE,
            "its centre frame, at "
            f"{float(centre * stream.time_base):.2f} s, is damaged",
        )
    return found[0].to_image().rotate(found[0].rotation, expand=True)


def _sound(container, stream, packets):
    """A whole track as (T,) int16, mono at 16 kHz."""
    resampler, frames, samples = av.AudioResampler("s16", "mono", RATE), [], 0
    for frame in decode(container, stream, packets):  # the last packet is empty
        try:
            pieces = resampler.resample(frame)
        except (av.FFmpegError, ValueError) as error:
            why = getattr(error, "strerror", "its rate or its channels change")
            raise _broken(container, stream, frame.time, why) from error
        frames += pieces
        samples += sum(piece.samples for piece in pieces)
        _check_longest(container, samples)
    frames += resampler.resample(None) if frames else []
    _check_length(container, "sound", sum(frame.samples for frame in frames) / RATE)
    return np.concatenate([frame.to_ndarray()[0] for frame in frames])


def read_sound(path):
    """The best sound track of any file that FFmpeg reads, and its rate in Hz.

    (T, channels) float32 in [-1, 1]. ClipError where there is none, or less of it than
    the header says, and for a playlist: an upload must not open other files here.
    """
    path, frames, samples = Path(path).absolute(), [], 0
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            if PLAYLISTS & set(container.format.name.split(",")):
                detail = "is a playlist; need a file that holds the sound itself"
                raise ClipError(path, UNDECODABLE, detail)
            stream = container.streams.best("audio")
            if stream is None or stream.codec_context is None:
                raise ClipError(path, NO_AUDIO, "has no sound that can be decoded")
            packets = [
                packet
                for packet in read_packets(container)
                if packet.stream.index == stream.index
            ]
            resampler = av.AudioResampler("fltp")  # of its own rate and channels
            for packet in packets:
                for frame in packet.decode():
                    samples += frame.samples * frame.layout.nb_channels
                    _check_longest(container, samples)
                    frames += resampler.resample(frame)
            frames += resampler.resample(None) if frames else []
            rate = stream.rate
    except av.FFmpegError as error:
        raise ClipError(path, UNDECODABLE, error.strerror) from error
    waves = [frame.to_ndarray().T for frame in frames]
    return np.concatenate(waves) if waves else np.zeros((0, 1), np.float32), rate
