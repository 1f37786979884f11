"""Videos of many kinds, made and read again (the field test, as a part of the suite).

for case in draw(1_000): check(case, folder)           # raises AssertionError
pairwise(draw(4_000))                                  # few, with every pair of values

Each frame shows its number as a barcode; the sound is a recording. An intact video must
give its frames, in order and at their times, and its sound, at its time; a damaged one
must be refused for the right reason, by `read_clip` and by `open_footage` alike.
"""

import random
from dataclasses import astuple, dataclass, fields
from itertools import combinations, product, zip_longest
from pathlib import Path

import av
import numpy as np
import scipy.signal

from sslnb.data import AudioConfig
from sslnb.data.decode import ClipError, read_clip
from sslnb.localise.footage import Sound, open_footage, read_frames
from tests.media_files import make_video, number_of, numbered, recording

FPS, COUNT, RATE = 25, 50, 16_000
CODECS = {  # container: video codecs, audio codecs that FFmpeg writes into it
    "mp4": (("h264", "hevc", "vp9", "av1", "mpeg4"), ("aac", "opus", "mp3")),
    "mov": (("h264", "hevc", "mpeg4"), ("aac", "pcm", "mp3")),
    "mkv": (
        ("h264", "hevc", "vp9", "av1", "mpeg4"),
        ("aac", "opus", "mp3", "vorbis", "pcm"),
    ),
    "webm": (("vp9", "av1"), ("opus", "vorbis")),
    "avi": (("mpeg4",), ("pcm",)),
    "ts": (("h264", "hevc"), ("aac", "mp3")),
}
# These say at which moment sound begins; others count what an encoder adds in front.
EXACT = ("mp4", "mov", "mkv", "webm")
DELAY = 0.07  # s: more than any encoder adds
TRUNCATED, UNDECODABLE = "truncated", "undecodable"
DAMAGE = {  # what is done: the reason to be given
    "none": None,
    "no sound": "no audio track",
    "no picture": "no video track",
    "cut": TRUNCATED,
    "picture garbled": UNDECODABLE,
    "sound garbled": UNDECODABLE,
}


@dataclass(frozen=True)
class Case:
    """One video: `offset` is by how many seconds its sound begins later."""

    container: str
    video: str
    audio: str
    rotation: int
    size: tuple[int, int]  # as shown
    clock: str
    start: float
    offset: float
    tracks: int
    damage: str

    def __str__(self):
        return " ".join(map(str, astuple(self)))


VALUES = {
    "rotation": (0, 90, 180, 270),
    "size": ((96, 64), (66, 118), (97, 55)),
    "clock": ("even", "uneven"),
    "start": (0.0, 1.0),
    "offset": (0.0, 0.4, -0.4),
    "tracks": (1, 2),
    "damage": tuple(DAMAGE),
}


def every_case():
    """All that can be written, and whose damage can be seen."""
    for container, (videos, sounds) in CODECS.items():
        for values in product([container], videos, sounds, *VALUES.values()):
            case = Case(*values)
            if _possible(case):
                yield case


def draw(count, seed=0):
    """So many of all cases at random, of each container and its codecs in turn.

    One intact, one damaged; fewer only of those of which there are few.
    """
    rng, groups = random.Random(seed), {}
    for case in every_case():
        damaged = DAMAGE[case.damage] is not None
        kind = (case.container, case.video, case.audio, damaged)
        groups.setdefault(kind, []).append(case)
    for group in groups.values():
        rng.shuffle(group)
    turns = zip_longest(*groups.values())
    return [case for turn in turns for case in turn if case][:count]


def _possible(case):
    odd = case.size[0] % 2 or case.size[1] % 2
    plain = case.clock == "even" and case.start == 0 and case.offset == 0
    return not (
        (case.container in ("avi", "ts") and case.rotation)  # they cannot say it
        or (case.container == "avi" and not plain)
        or (case.tracks == 2 and case.container not in ("mp4", "mov", "mkv"))
        or (odd and case.video == "av1")  # its encoder takes even sizes
        or (case.offset < 0 and case.start == 0)  # no time is below 0
        # where these are cut or garbled, nothing in the file tells
        or (case.damage == "cut" and case.container in ("avi", "ts"))
        or (case.damage == "sound garbled" and case.audio != "aac")
        or (case.damage == "picture garbled" and case.video not in ("h264", "hevc"))
        or ("garbled" in case.damage and case.container not in EXACT)
    )


def pairwise(cases):
    """Some of the cases, in which any two values that meet in `cases` do so again."""
    places = list(combinations(range(len(fields(Case))), 2))
    pairs = {
        case: {(i, j, v[i], v[j]) for i, j in places}
        for case in cases
        for v in [astuple(case)]
    }
    missing, chosen, rng = set().union(*pairs.values()), [], random.Random(0)
    while missing:  # a case that brings as much as any of a few others
        wanted = min(missing, key=str)
        some = [case for case in rng.sample(cases, 60) if pairs[case] & missing]
        some = some or [next(case for case in cases if wanted in pairs[case])]
        chosen.append(max(some, key=lambda case: len(pairs[case] & missing)))
        missing -= pairs[chosen[-1]]
    return chosen


def ticks_of(case):
    """When each frame is shown, in ticks of 1/100 s."""
    ticks = 4 * np.arange(COUNT)
    return ticks if case.clock == "even" else ticks + 3 * (np.arange(COUNT) % 3 == 1)


def make(case, path):
    """The video of a case; returns what was played, (T,) float at 16 kHz."""
    wave = recording(COUNT / FPS)
    even = case.clock == "even"
    turned = case.size if case.rotation % 180 == 0 else case.size[::-1]
    make_video(
        path,
        COUNT / FPS,
        turned,
        FPS if even else 100,
        None if case.damage == "no picture" else case.video,
        None if case.damage == "no sound" else case.audio,
        rotation=case.rotation,
        pictures=numbered(COUNT, turned, case.rotation),
        wave=wave,
        start=case.start,
        sound_start=case.offset,
        ticks=None if even else ticks_of(case),
        second_wave=recording(COUNT / FPS, sound=5)[:, ::-1]
        if case.tracks > 1
        else None,
        container_options={"movflags": "faststart"}
        if case.container in ("mp4", "mov")
        else {},
    )
    if case.damage == "cut":
        data = path.read_bytes()
        path.write_bytes(data[: 7 * len(data) // 10])
    elif "garbled" in case.damage:
        _garble(path, "video" if "picture" in case.damage else "audio")
    return scipy.signal.resample_poly(wave.mean(0), 1, 3)


def _garble(path, kind):
    """Overwrite the last keyframe of the first half, or the sound of that moment."""
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(**{kind: 0}) if p.pts is not None]
        keys = [p for p in packets[: len(packets) // 2] if p.is_keyframe]
        place, size = keys[-1].pos, bytes(keys[-1])
    data = path.read_bytes()
    at = (
        data.index(size[-16:], place) + 16 - len(size)
    )  # Matroska: after the block's head
    path.write_bytes(data[:at] + b"\xff" * len(size) + data[at + len(size) :])


def check(case, folder):
    """Make a case and read it. AssertionError, naming it, where it is not as it should be."""
    path = Path(folder, f"{case.container}-case.{case.container}")
    played, why = make(case, path), DAMAGE[case.damage]
    if why:
        for read in (read_clip, _read_all):
            try:
                read(path)
            except ClipError as error:
                assert f": {why}: " in str(error), f"{case}: {error}"
            else:
                raise AssertionError(f"{case}: {read.__name__} took it; it is {why}")
        return
    _check_clip(case, path, played)
    _check_footage(case, path, played)


def _read_all(path):
    footage = open_footage(path)
    sound = Sound(footage, AudioConfig(seconds=0.5))
    for time, _ in read_frames(footage):
        sound.around(time)


def _check_clip(case, path, played):
    """The centre frame and all of the sound."""
    image, wave = read_clip(path)
    ticks = ticks_of(case)
    centre = np.flatnonzero(2 * ticks <= ticks[-1] + 4)[-1]
    assert image.size == case.size, f"{case}: {image.size}"
    found = number_of(np.asarray(image))
    # uneven: how long the last frame is shown is not for all containers to say
    right = (centre - 1, centre, centre + 1) if case.clock == "uneven" else (centre,)
    assert found in right, f"{case}: frame {found}"
    # In an MP4, what an encoder adds in front is cut off where sound begins at 0 s; else
    # it is a part of the track, which begins earlier by it. Of MP3, never.
    late = case.audio == "mp3" or case.start + case.offset > 0
    exact = case.container in EXACT and not (case.container in ("mp4", "mov") and late)
    _check_sound(case, wave, played, 0, exact)


def _check_footage(case, path, played):
    """Every frame at its time, and the sound around one in the middle."""
    footage = open_footage(path)
    times, pictures = zip(*read_frames(footage))
    assert [number_of(picture) for picture in pictures] == list(range(COUNT)), str(case)
    even = [2 * round(side / 2) for side in case.size]
    assert [*pictures[0].shape[1::-1]] == even or case.size == (97, 55), str(case)
    wrong = np.array(times) - times[0] - ticks_of(case) / 100
    assert np.abs(wrong).max() < 0.0015, f"{case}: times {wrong}"
    moment = times[25]
    sound = Sound(footage, AudioConfig(seconds=0.8))
    for time in times[:26]:
        window = sound.around(time)
    begin = moment - times[0] - case.offset - 0.4  # in what was played
    exact = case.container in EXACT
    _check_sound(case, window.numpy(), played, round(begin * RATE), exact)


def _check_sound(case, wave, played, begin, exact):
    """`wave` is `played` from sample `begin` on, to the sample where that is recorded."""
    reach = round(DELAY * RATE)
    # its middle, so that it lies within `played` at every lag
    inner = wave[len(wave) // 4 : 3 * len(wave) // 4].astype(float)
    first = begin + len(wave) // 4 - reach
    around = played[first : first + len(inner) + 2 * reach]
    assert len(around) == len(inner) + 2 * reach, f"{case}: the test's own window"
    likeness = [
        np.corrcoef(inner, around[k : k + len(inner)])[0, 1]
        for k in range(len(around) - len(inner) + 1)
    ]
    lag = int(np.argmax(likeness)) - reach  # negative: it comes later than it should
    assert max(likeness) >= 0.97, f"{case}: r = {max(likeness):.3f} at {lag}"
    assert abs(lag) <= 16 or not exact, f"{case}: sound off by {lag} samples"
