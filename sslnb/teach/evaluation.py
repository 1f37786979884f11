"""Bookkeeping of notebook 06: annotated clips, scores beside the centre prior, and
other sounds to play to an image. Appendix A2 shares a few of them.

>>> report = evaluate(named(clips, maps), annotated(clips))
>>> gain(report)["cIoU"]  # the model less the centre prior, clip by clip
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import av
import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from sslnb import localise
from sslnb.data.clips import Clips
from sslnb.data.field.annotations import Annotation
from sslnb.data.field.lists import shared_videos
from sslnb.data.soundstamps import Scene
from sslnb.localise.intervals import Score, paired_differences
from sslnb.localise.listening import FITTING, OTHER, SILENCE, Listening
from sslnb.localise.report import Report, contributions_in
from sslnb.localise.respond import write_maps
from sslnb.teach.plot.base import table
from sslnb.teach.published import OPEN_SET, PUBLISHED, VGG_SS, pair

PLACES = ("own object", "first silent object", "another object", "background")

# --- clips and reports --------------------------------------------------------------


def annotated(clips: Clips) -> dict[str, Annotation]:
    """Clip -> Annotation of clips whose boxes are known, as `evaluate` takes them."""
    return {
        name: Annotation(boxes or (), label)
        for name, label, boxes in zip(clips.names, clips.labels, clips.boxes)
    }


def named(clips: Clips, responses: Tensor) -> dict[str, np.ndarray]:
    """Clip -> map (h, w), from maps (N, h, w) in the order of the clips."""
    return dict(zip(clips.names, responses.numpy()))


def shared(clips: Clips) -> dict[str, dict[str, str]]:
    """What clips share, where it is known, as `evaluate` takes it: its `groups`."""
    kinds = {"photographs": clips.photos, "recordings": clips.recordings}
    return {
        kind: dict(zip(clips.names, labels)) for kind, labels in kinds.items() if labels
    }


def write_scored(
    folder: str | Path, clips: Clips, responses: Tensor
) -> tuple[Path, Path]:
    """Write clips as somebody else's data: maps.npz and boxes.json, in a folder."""
    maps, boxes = Path(folder, "maps.npz"), Path(folder, "boxes.json")
    write_maps(maps, named(clips, responses))
    entries = [
        {"file": name, "class": found.label, "bbox": found.boxes}
        for name, found in annotated(clips).items()
    ]
    boxes.write_text(json.dumps(entries), encoding="utf-8")
    return maps, boxes


def contributions(report: Report, prefix: str = "") -> dict[str, np.ndarray]:
    """Of the clips that a report scored, what each adds to the scores: by name, (N,)."""
    return contributions_in(report.per_clip[report.per_clip["scored"]], prefix)


def gain(
    report: Report,
    seed: int = 0,
    groups: ArrayLike | None = None,
    peaks: tuple[ArrayLike, ArrayLike] | None = None,
) -> dict[str, Score]:
    """Each score less the centre prior's, with the interval of the difference.

    Both score the same clips, so that the difference is resampled clip by clip, or
    by their groups (see `mean_scores`): by default source videos, as in the report.
    peaks: whether the model's maps and the centre prior's peak on the object, (N,) each,
    to be compared too.
    """
    if groups is None:
        groups = shared_videos(report.per_clip.index[report.per_clip["scored"]])
    model, prior = contributions(report), contributions(report, "centre_")
    if peaks is not None:
        model["peak"], prior["peak"] = (np.asarray(hits, float) for hits in peaks)
    return paired_differences(model, prior, seed=seed, groups=groups)


# --- scores as text -----------------------------------------------------------------


def percent(scores: Mapping[str, float], digits: int = 1) -> str:
    """Fractions "cIoU" and "AUC" in per cent as text: 37.7 / 39.9."""
    names = ("cIoU", "AUC")
    return " / ".join(f"{100 * scores[name]:.{digits}f}" for name in names)


def with_interval(score: Score, sign: str = "") -> str:
    """A Score in per cent as text: 37.7 [32, 43]; sign "+" prints a plus."""
    value, low, high = (100 * x for x in score)
    return f"{value:{sign}.1f} [{low:{sign}.0f}, {high:{sign}.0f}]"


def about(folder: str | Path, name: str) -> str:
    """What the card of a checkpoint says of its model; name: as it is shown."""
    card = json.loads(Path(folder, "model.json").read_text(encoding="utf-8"))
    training, metrics = card["training"], card["metrics"]
    size = card["model"]["image_size"]
    return (
        f"**Model** `{name}`: model {training['model']} of table 1, preset "
        f"`{training['preset']}`, trained on {card['clips']:,} scenes without labels. "
        f"Of up to {training['epochs']} epochs it is number {metrics['epoch']}, the best "
        f"on `val`. Its images have {size} × {size} pixels."
    )


def guess_table(ciou: Mapping[str, Tensor]) -> str:
    """Scores of cIoU (N,) by name, beside those on VGG-SS where VGG_SS has the name."""
    rows = [
        [
            name,
            percent(localise.summarise(values), 2),
            pair(VGG_SS[name]) if name in VGG_SS else "–",
        ]
        for name, values in ciou.items()
    ]
    header = ["per cent", "`test`: cIoU / AUC", "VGG-SS: cIoU / AUC"]
    return table(header, rows)


def score_table(
    reports: Mapping[str, Report],
    scores: Mapping[str, Mapping[str, Score]],
    clips: Mapping[str, Clips],
) -> str:
    """Scores of each set with intervals, beside the centre prior and the oracle.

    scores: set -> name -> Score, "peak" and "centre peak", the prior's, among the names.
    """
    names, rows = ("cIoU", "AUC", "adaptive cIoU", "pointing"), []
    for split, report in reports.items():
        prior, oracle = report.baselines["centre prior"], report.baselines["oracle"]
        groups = (clips[split].photos or (), clips[split].recordings or ())
        free = [*(prior[name] for name in names), scores[split]["centre peak"].value]
        rows.append(
            [
                f"**{split}**",
                f"{report.per_clip['scored'].sum():,}",
                *(len(set(labels)) or "?" for labels in groups),
                *(with_interval(scores[split][name]) for name in (*names, "peak")),
                " / ".join(f"{100 * value:.1f}" for value in free),
                percent(oracle),
            ]
        )
    counted = ("set", "clips", "photographs", "recordings")
    last = ("centre prior: the same", "oracle: cIoU / AUC")
    return table([*counted, *names, "peak", *last], rows)


def gain_table(gains: Mapping[str, Mapping[str, Score]], names: Sequence[str]) -> str:
    """Differences from the centre prior (see `gain`) with intervals, in points.

    The last column counts the intervals of all scores that exclude zero.
    """
    rows = []
    for split, found in gains.items():
        above = sum(score.low > 0 for score in found.values())
        below = sum(score.high < 0 for score in found.values())
        each = (with_interval(found[name], "+") for name in names)
        counts = f"{above} and {below} of {len(found)}"
        rows.append([f"`{split}`", *each, counts])
    last = "intervals above zero and below, of all scores"
    return table(["model less centre prior, points", *names, last], rows)


def paper_table(
    reports: Mapping[str, Report],
    method: str,
    trained: str,
    others: Mapping | None = None,
) -> str:
    """The paper's tables 3 and 4 with ours, each beside the priors of its own test set.

    reports: ours, by split; others: {(method, file of its annotations): Report}.
    """
    prior, oracle = pair(VGG_SS["centre prior"]), pair(VGG_SS["oracle"])
    rows = [
        [p.name, p.trained, "VGG-SS", pair(p.vggss), prior, oracle]
        for p in PUBLISHED
        if p.vggss and "paper" in p.source
    ]
    for name, (_, unheard) in OPEN_SET.items():
        where = "VGG-SS, 110 other classes"
        rows.append([name, "110 classes", where, pair(unheard), "–", "–"])
    ours = {(method, f"SoundStamps `{split}`"): r for split, r in reports.items()}
    for (who, where), report in (ours | dict(others or {})).items():
        measured = {name: score.value for name, score in report.scores.items()}
        rows.append(
            [
                who,
                trained if who == method else "?",
                f"{report.per_clip['scored'].sum():,} clips of {where}",
                *map(percent, (measured, *report.baselines.values())),
            ]
        )
    header = [
        "method",
        "trained on",
        "scored on",
        "cIoU / AUC",
        "centre prior",
        "oracle",
    ]
    return table(header, rows)


# --- other sounds for an image ------------------------------------------------------


def other_sounds(scenes: Sequence[Scene], bank: Clips) -> dict[str, Tensor]:
    """Sounds (N, T) int16 for N scenes with silent objects, by what they are to each.

    "same class", "first silent object's" and "not in the image" are taken from `bank`,
    another one of the class for another scene; "silence" is zeros. ValueError where the
    bank has no sound that fits.
    """

    def find(wanted):
        waves = []
        for number, scene in enumerate(scenes):
            fits = [i for i, name in enumerate(bank.labels) if wanted(name, scene)]
            if not fits:
                raise ValueError(
                    f"none of {len(bank)} sounds fits a scene with a "
                    f"{scene.class_name}: give more of them"
                )
            waves.append(bank.waves[fits[number % len(fits)]])
        return torch.stack(waves)

    return {
        "same class": find(lambda name, s: name == s.class_name),
        "first silent object's": find(lambda name, s: name == s.silent[0]),
        "not in the image": find(lambda name, s: name not in (s.class_name, *s.silent)),
        "silence": torch.zeros(len(scenes), bank.waves.shape[1], dtype=torch.int16),
    }


def peak_places(responses: Tensor, scenes: Sequence[Scene]) -> Tensor:
    """On what each map (N, h, w) peaks, (N,): an index of PLACES."""
    places = []
    peaks = localise.resize(responses).flatten(1).argmax(1).tolist()
    for scene, peak in zip(scenes, peaks):
        row, column = divmod(peak, localise.SIZE)
        on = [mask[row, column] for mask in scene.objects]
        places.append(min(on.index(True), 2) if any(on) else 3)
    return torch.tensor(places)


def areas(scenes: Sequence[Scene]) -> list[float]:
    """The mean fraction of the image that each of PLACES covers: chance for a peak."""
    each = [
        [
            scene.objects[0].mean(),
            scene.objects[1].mean(),
            sum(mask.mean() for mask in scene.objects[2:]),
        ]
        for scene in scenes
    ]
    covered = np.mean(each, axis=0).tolist()
    return [*covered, 1 - sum(covered)]


def listening_table(
    played: Mapping[str, Tensor],
    scenes: Sequence[Scene],
    truth: Tensor,
    guesses: Mapping[str, Tensor],
) -> str:
    """Where maps {sound: (N, h, w)} of N scenes peak, and their scores, per cent.

    truth (N, 224, 224): of each image's own object; guesses: name -> cIoU (N,).
    """
    rows = []
    for name, maps in played.items():
        rates = peak_places(maps, scenes).bincount(minlength=4) / len(scenes)
        scores = localise.summarise(localise.ciou(maps, truth))
        rows.append([f"♪ {name}", *_whole(rates.tolist()), percent(scores)])
    for name, ciou in guesses.items():
        rows.append([f"({name})", *"––––", percent(localise.summarise(ciou))])
    rows.append(["(a random pixel)", *_whole(areas(scenes)), "–"])
    header = [f"peak on {place}" for place in PLACES]
    return table(["played", *header, "cIoU / AUC"], rows)


def _whole(fractions):
    return [f"{100 * x:.0f}" for x in fractions]


def higher(a: Tensor, b: Tensor) -> float:
    """How often a map of `a` peaks higher than one of `b`, over all pairs; a tie is half."""
    gap = a.flatten(1).amax(1)[:, None] - b.flatten(1).amax(1)
    return ((gap > 0).double() + 0.5 * (gap == 0)).mean().item()


def heard_table(found: Mapping[str, Listening], name: str = "pointing") -> str:
    """One score of each set with each sound, and what the fitting one adds.

    The last column tells whether that is more than nothing: by the interval of fitting
    less another class.
    """
    rows = []
    for split, each in found.items():
        added = [score[name] for score in each.differences.values()]
        low = each.differences[OTHER][name].low
        rows.append(
            [
                f"`{split}`",
                *(with_interval(row[name]) for row in each.scores.values()),
                *(with_interval(score, "+") for score in added),
                "it listens" if low > 0 else "not measurably",
            ]
        )
    sounds, less = (FITTING, OTHER, SILENCE), (OTHER, SILENCE)
    lead = (f"{FITTING} − {sound}" for sound in less)
    return table([f"{name}, per cent", *sounds, *lead, "does it listen?"], rows)


# --- a video ------------------------------------------------------------------------


def film(
    path: str | Path, image: np.ndarray, waves: Iterable[np.ndarray], fps: int = 5
) -> None:
    """Write an .mp4 of an image (H, W, 3) that stands still, with sounds in a row.

    waves: int16 at 16 kHz; each is repeated or cut to four seconds.
    """
    rate = 16_000
    wave = np.concatenate([np.resize(sound, 4 * rate) for sound in waves])
    with av.open(str(path), "w") as file:
        video = file.add_stream("libx264", fps)
        video.width, video.height = image.shape[1], image.shape[0]
        video.pix_fmt = "yuv420p"
        audio = file.add_stream("aac", rate, layout="mono")
        for _ in range(len(wave) * fps // rate):
            file.mux(video.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        frame = av.AudioFrame.from_ndarray(wave[None].astype(np.int16), "s16", "mono")
        frame.sample_rate = rate
        file.mux(audio.encode(frame))
        file.mux(video.encode(None))  # what is left in the encoders
        file.mux(audio.encode(None))
