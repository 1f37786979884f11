"""Exercises of notebook 01 and appendix A1: boxes, spectrograms, leaks."""

import torch

from sslnb.data import soundstamps
from sslnb.data.clips import leaks
from sslnb.data.field.lists import clip_name
from sslnb.data.media import LAPTOP_AUDIO, RELEASE_AUDIO
from sslnb.teach.exercises.exercise import Exercise


def _mask_inputs():
    """An object in several parts, and one at the edge of the image."""
    parts, edge = torch.zeros(2, 224, 224, dtype=torch.bool)
    parts[40:90, 100:130] = parts[30, 120] = parts[60, 180] = True
    edge[150:, :70] = True
    return [(parts,), (edge,)]


def _box(mask, last=1, size=224):
    rows, columns = mask.nonzero().T
    edges = columns.min(), rows.min(), columns.max() + last, rows.max() + last
    return torch.tensor(edges) / size


def _resolution(audio):
    return torch.tensor(
        [audio.sample_rate / audio.n_fft, audio.hop / audio.sample_rate]
    )


def _leaked_inputs():
    """Ids with `_` and `-`; a clip, another clip of its video, one in milliseconds."""
    train = [
        "a_b-c_d-e_f_000030.mp4",
        "dog-in-park_10000_20000",
        "x/brass-band1_000000.mp4",
    ]
    test = [
        "a_b-c_d-e_f_000030",
        "dog-in-park_000200.wav",
        "a_b-c_x-y_z_000030",
        "lawn-mowing_000005",
        "videos/brass-band1_000000.mp4",
    ]
    return [(train, test), (test[:4], train)]


def _leaked(train, test, key):
    seen = set(map(key, train))
    return torch.tensor([key(text) in seen for text in test])


EXERCISES = {
    "box_of": Exercise(
        lambda mask: torch.tensor(soundstamps.box_of(mask.numpy())),
        _mask_inputs,
        {
            "the right and lower edges lie after the last pixel: add 1": lambda mask: (
                _box(mask, last=0)
            ),
            "x comes first, and x counts columns: the second axis of the mask": lambda mask: (
                _box(mask.T)
            ),
            "those are pixels; divide by 224 to get normalised coordinates": lambda mask: (
                _box(mask, size=1)
            ),
            "that is (x, y, width, height); give the right and lower edges": lambda mask: (
                torch.cat([_box(mask)[:2], _box(mask)[2:] - _box(mask)[:2]])
            ),
        },
    ),
    "resolution": Exercise(
        _resolution,
        lambda: [(LAPTOP_AUDIO,), (RELEASE_AUDIO,)],
        {
            "frames are `hop` samples apart, not the window's `n_fft`": lambda a: (
                torch.tensor([a.sample_rate / a.n_fft, a.n_fft / a.sample_rate])
            ),
            "bins reach half the sample rate, which n_fft / 2 steps divide": lambda a: (
                _resolution(a) * torch.tensor([2.0, 1.0])
            ),
            "a spectrum has n_fft / 2 + 1 bins, but only n_fft / 2 steps between them": lambda a: (
                torch.tensor(
                    [a.sample_rate / 2 / (a.n_fft / 2 + 1), a.hop / a.sample_rate]
                )
            ),
            "the second value is a time: divide the samples by the sample rate": lambda a: (
                torch.tensor([a.sample_rate / a.n_fft, float(a.hop)])
            ),
            "the order is wrong: first the step in hertz, then the step in seconds": lambda a: (
                _resolution(a).flip(0)
            ),
        },
    ),
    "leaked": Exercise(
        lambda train, test: torch.tensor(
            [clip_name(text) in leaks(train, test).videos for text in test]
        ),
        _leaked_inputs,
        {
            "that compares clips; clips of one source video differ in their start": lambda train, test: (
                _leaked(train, test, clip_name)
            ),
            "lists spell one clip in several ways; bring all to one by clip_name": lambda train, test: (
                _leaked(train, test, lambda text: text[:11])
            ),
            "an id may hold `_`: take the first 11 characters": lambda train, test: (
                _leaked(train, test, lambda text: clip_name(text).split("_")[0])
            ),
            "that is how many leak; need one value for each test clip": lambda train, test: (
                torch.tensor(len(leaks(train, test).videos))
            ),
        },
    ),
}
