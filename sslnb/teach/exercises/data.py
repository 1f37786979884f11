"""Exercises of notebook 01 and appendix A1: boxes, spectrograms, shortcuts, leaks."""

import torch

from sslnb.data import soundstamps
from sslnb.data.clips import leaks
from sslnb.data.field.lists import clip_name
from sslnb.data.media import LAPTOP_AUDIO, RELEASE_AUDIO
from sslnb.teach.exercises.exercise import Exercise, uniform


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


def _crop_inputs():
    """A box in the middle of a wide frame, one at the edge of it, and a tall frame."""
    middle, edge = torch.tensor([[0.4, 0.2, 0.7, 0.9], [0.1, 0.1, 0.5, 0.95]])
    tall = torch.tensor([0.3, 0.05, 0.6, 0.7])
    return [(middle, 640, 360), (edge, 640, 360), (tall, 360, 480)]


def _after_crop(box, width, height, clipped=True, shifted=True, scaled=True):
    """Where a box is in the middle square of its frame; mistakes leave out a step."""
    extent = torch.tensor([width, height, width, height], dtype=torch.float32)
    side = min(width, height)
    corner = (extent - side) / 2 if shifted else 0 * extent
    moved = (box * extent - corner) / (side if scaled else extent)
    return moved.clamp(0, 1) if clipped else moved


def _resolution(audio):
    return torch.tensor(
        [audio.sample_rate / audio.n_fft, audio.hop / audio.sample_rate]
    )


def _phase_inputs():
    """Power and phases (513, 6) of 0.15 s, for two steps, and for none."""

    def numbers(seed):
        return uniform(513, 6, seed=seed).double()

    return [(numbers(0), 6.28 * numbers(1), steps) for steps in (2, 0)]


def _from_power(power, phase, steps, window=True, fixed=True):
    """Griffin and Lim's wave; mistakes: no window, or magnitudes that are not fixed."""
    n_fft, hop, spectrum = 1024, 400, power.sqrt() * torch.exp(1j * phase)
    hann = torch.hann_window(n_fft, dtype=power.dtype)
    back = hann if window else torch.ones_like(hann)
    wave = torch.istft(spectrum, n_fft, hop, window=back)
    for _ in range(steps):
        found = torch.stft(wave, n_fft, hop, window=hann, return_complex=True)
        spectrum = power.sqrt() * torch.exp(1j * found.angle()) if fixed else found
        wave = torch.istft(spectrum, n_fft, hop, window=back)
    return wave


def _probe_inputs():
    """Three classes of two recordings of 4, 6 or 2 clips; then one class of a single one."""
    groups = torch.arange(6).repeat_interleave(torch.tensor([4, 6, 2, 4, 6, 2]))
    labels = groups % 3
    around = uniform(6, 5) + 1.5 * uniform(3, 5, seed=6).repeat(2, 1)
    features = around[groups] + 0.8 * uniform(24, 5, seed=1)
    alone = torch.where(groups == 5, 3, labels)
    copies = (features.clone(), alone, groups.clone())
    return [(features, labels, groups), copies]


def _named(features, labels, train, test, farthest=False):
    """Which of the clips `test` the nearest class mean of the clips `train` gets right."""
    known = labels[train].unique()
    means = torch.stack([features[train & (labels == c)].mean(0) for c in known])
    distances = torch.cdist(features[test], means)
    nearest = distances.argmax(1) if farthest else distances.argmin(1)
    return (known[nearest] == labels[test]).float()


def _probe(features, labels, groups, **mistake):
    held = [groups == group for group in groups.unique()]
    right = [_named(features, labels, ~test, test, **mistake) for test in held]
    return torch.cat(right)


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
    "after_crop": Exercise(
        _after_crop,
        _crop_inputs,
        {
            "that is the box in the whole frame; the crop begins later and is smaller": lambda box, w, h: (
                box.clone()
            ),
            "what is outside of the crop is gone: clip the edges to [0, 1]": lambda box, w, h: (
                _after_crop(box, w, h, clipped=False)
            ),
            "the crop begins (width − side) / 2 from the left and (height − side) / 2 from the top": lambda box, w, h: (
                _after_crop(box, w, h, shifted=False)
            ),
            "coordinates are fractions of the crop now: divide by its side": lambda box, w, h: (
                _after_crop(box, w, h, scaled=False)
            ),
            "a frame may be taller than wide: the side is the smaller of the two": lambda box, w, h: (
                torch.where(
                    torch.tensor([True, False] * 2),
                    ((box * w - (w - h) / 2) / h).clamp(0, 1),
                    box,
                )
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
    "wave_from": Exercise(
        _from_power,
        _phase_inputs,
        {
            "a magnitude is the square root of a power": lambda power, phase, steps: (
                _from_power(power.square(), phase, steps)
            ),
            "nothing changes from step to step: keep √P, and take only the angle of stft(wave)": lambda power, phase, steps: (
                _from_power(power, phase, steps, fixed=False)
            ),
            "the given phases are the first ones: start from √P · exp(i · phase)": lambda power, phase, steps: (
                _from_power(power, 0 * phase, steps)
            ),
            "that is one step less: after the last angles comes one more istft": lambda power, phase, steps: (
                _from_power(power, phase, max(steps - 1, 0))
            ),
            "stft and istft need the same Hann window": lambda power, phase, steps: (
                _from_power(power, phase, steps, window=False)
            ),
        },
    ),
    "probe": Exercise(
        lambda *data: _probe(*data).mean(),
        _probe_inputs,
        {
            "the class means hold the very clips that are to be named; leave their group out": lambda x, y, g: (
                _named(x, y, torch.ones_like(g, dtype=torch.bool), g >= 0).mean()
            ),
            "other clips of the same group give a clip away; leave the whole group out": lambda x, y, g: (
                _probe(x, y, torch.arange(len(g))).mean()
            ),
            "the nearest mean has the smallest distance: argmin": lambda x, y, g: (
                _probe(x, y, g, farthest=True).mean()
            ),
            "that is a number of clips; divide by how many there are": lambda x, y, g: (
                _probe(x, y, g).sum()
            ),
            "groups differ in size: take the mean over clips, not over groups": lambda x, y, g: (
                torch.stack(
                    [_named(x, y, g != k, g == k).mean() for k in g.unique()]
                ).mean()
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
