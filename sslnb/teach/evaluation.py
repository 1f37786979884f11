"""Bookkeeping of notebook 06 and appendix A2: annotated clips, scores beside the centre
prior, sounds to play to an image, and published numbers.

>>> report = evaluate(named(clips, maps), annotated(clips))
>>> gain(report)["cIoU"]  # the model less the centre prior, clip by clip
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sslnb import localise
from sslnb.data import soundstamps
from sslnb.data.clips import Clips, leaks
from sslnb.data.field.annotations import Annotation, read_annotations
from sslnb.data.field.download import SOURCES
from sslnb.data.field.lists import read_list
from sslnb.data.soundstamps import Scene
from sslnb.localise.intervals import Score, mean_scores, of_ciou
from sslnb.localise.protocols import PROTOCOLS
from sslnb.localise.report import Report
from sslnb.localise.respond import write_maps
from sslnb.teach.plot.base import table

PLACES = ("own object", "first silent object", "another object", "background")

# --- what was measured on the field's data; tests measure it again ------------------

# On VGG-SS's 5,158 clips under `lvs`, without a model: (cIoU, AUC), per cent.
VGG_SS = {
    "nothing marked": (0.0, 2.5),
    "whole frame": (21.95, 31.25),
    "centre prior": (33.95, 37.43),
    "oracle": (50.48, 49.47),
}
VGG_SS_ADAPTIVE = (43.66, 42.93)  # of the centre prior, with adaptive thresholds
VGG_SS_BELOW_QUARTER = (
    0.4946  # clips whose boxes cover less than a quarter of the image
)
VGG_SS_CROPPED = 0.65  # IoU of box and cropped box, if all its frames were 16:9

# cIoU on VGG-SS, per cent, of maps.simulated_maps (14 × 14 cells) by one rule or another.
SIMULATED = {
    "lvs": 39.05,
    "≥ in place of >": 39.10,
    "align_corners=True": 39.30,
    "bicubic": 38.46,
    "ezvsl": 39.36,
    "slavc at the median": 38.83,
}


@dataclass(frozen=True)
class Leaky:
    """Test clips that a published training list holds; counted from the lists.

    train, test: their names in SOURCES, or where a list lies. clips and videos: test
    clips that leak by name, and by source video (None where that is not counted).
    """

    name: str
    train: str
    test: str
    clips: int
    videos: int | None


TEST_CLIPS = {"vggss": 5158, "openset-heard": 2425, "flickr-test": 249}
LEAKS = (
    Leaky("the paper, VGGSound-144k", "vggsound-144k", "vggss", 0, 2),
    Leaky("release, default list", "vggsound-190k", "vggss", 4916, None),
    Leaky("release, retrieval's 144k", "retrieval-144k", "vggss", 3565, 3598),
    Leaky("release, open set", "openset-70k", "openset-heard", 2299, 2308),
    Leaky("release, Flickr-10k", "flickr-10k", "flickr-test", 2, 2),
    Leaky("EZ-VSL, SLAVC, SSLalignment", "ez-vsl-144k", "vggss", 3709, 3784),
    Leaky("FNAC", "FNAC_AVL/metadata/vggss_144k.txt", "vggss", 3715, None),
    Leaky(
        "EZ-VSL, Flickr-144k",
        "EZ-VSL/metadata/flickr_144k.csv",
        "flickr-test",
        20,
        None,
    ),
)


def leak_rows(lists: str | Path = "") -> list[list[str]]:
    """A row of text for each of LEAKS; where `lists` has both files, counted anew.

    ValueError where a new count is not the recorded one.
    """
    rows = []
    for known in LEAKS:
        files = [
            Path(lists, SOURCES[name].file)
            for name in (known.train, known.test)
            if name in SOURCES
        ]
        anew = bool(lists) and len(files) == 2 and all(map(Path.exists, files))
        if anew:
            found = leaks(*map(_names, files))
            count = len(found.clips), len(found.videos)
            if count[0] != known.clips or known.videos not in (None, count[1]):
                raise ValueError(
                    f"{files[0]} holds {count} test clips by name and by video; "
                    f"recorded are {(known.clips, known.videos)}"
                )
        total = TEST_CLIPS[known.test]
        rows.append(
            [
                known.name,
                f"{known.clips:,} of {total:,}",
                f"{known.clips / total:.0%}",
                "–" if known.videos is None else f"{known.videos:,}",
                f"`{known.train}`, `{known.test}`",
                "counted now" if anew else "on record",
            ]
        )
    return rows


def leak_table(lists: str | Path = "") -> str:
    """LEAKS as a table; where `lists` has a row's files, counted anew (`leak_rows`)."""
    header = ["training list", "test clips in it", "", "by source video"]
    return table([*header, "`sslnb download`", "this number"], leak_rows(lists))


def _names(path):
    return (read_annotations if path.suffix == ".json" else read_list)(path)


# --- published numbers --------------------------------------------------------------


@dataclass(frozen=True)
class Published:
    """One row of a published table, per cent; each pair is (cIoU, AUC), None: not given.

    source: where it is printed. trained: on what. leaked: VGG-SS clips in its training
    list. pretrained: whether the image encoder is. None: not known.
    """

    name: str
    source: str
    trained: str
    leaked: int | None = None
    pretrained: bool | None = None
    clips: str = "?"
    vggss: tuple[float, float | None] | None = None
    flickr: tuple[float, float | None] | None = None


_144K, _EVERY, _FEWER = "VGGSound-144k", "5,158", "4,911"
PUBLISHED = (
    Published("Attention", "the paper, table 3", _144K, None, None, "?", (18.5, 30.2), (66.0, 55.8)),
    Published("AVO", "the paper, table 3", _144K, None, None, "?", (29.7, 35.7)),
    Published("SSPL", "the paper, table 3", _144K, None, None, "?", (33.9, 38.0), (76.7, 60.5)),
    Published("LVS", "the paper, table 3", _144K, None, None, _EVERY, (34.4, 38.2), (71.9, 58.2)),
    Published("HPS", "the paper, table 3", _144K, None, None, "?", (34.6, 38.0), (76.8, 59.2)),
    Published("the paper, A", "the paper, table 1", _144K, 0, False, _FEWER, (32.92, 37.44)),
    Published("the paper, F", "the paper, tables 1, 3", _144K, 0, False, _FEWER, (38.63, 39.65), (79.5, 61.2)),
    Published("EZ-VSL + object guidance", "its authors", _144K, 3709, True, "on disk", (38.85, 39.54), (83.94, 63.60)),
    Published("FNAC", "its authors", _144K, 3715, True, "on disk", (39.50, 39.66)),
    Published("SSLalignment", "its authors", _144K, 3709, False, "4,655", (39.16, None), (84.8, None)),
    Published("SSLalignment, pretrained", "its authors", _144K, 3709, True, "4,655", (41.42, None), (86.0, None)),
    Published("LVS", "the paper, table 2", "Flickr-10k", None, None, "?", None, (58.2, 52.5)),
    Published("LVS", "the paper, table 2", "Flickr-144k", None, None, "?", None, (69.9, 57.3)),
    Published("the paper, F", "the paper, table 2", "Flickr-10k", None, False, "249", None, (75.5, 58.8)),
    Published("the paper, F", "the paper, table 2", "Flickr-144k", None, False, "249", None, (81.5, 61.1)),
)  # fmt: skip

# Table 4 of the paper, open set: (cIoU, AUC), per cent; of 110 classes in training, and
# of 110 that were not.
OPEN_SET = {
    "LVS": ((28.9, 36.2), (26.3, 34.7)),
    "the paper": ((39.0, 40.3), (36.5, 38.6)),
}


def pair(scores: Sequence[float | None] | None) -> str:
    """(cIoU, AUC) in per cent as text, with the digits that they have: 38.63 / 39.65."""
    if scores is None:
        return "–"
    return " / ".join(
        "–" if x is None else f"{x:.2f}".removesuffix("0") for x in scores
    )


def percent(scores: Mapping[str, float]) -> str:
    """Fractions "cIoU" and "AUC" in per cent as text: 37.7 / 39.9."""
    return " / ".join(f"{100 * scores[name]:.1f}" for name in ("cIoU", "AUC"))


def with_interval(score: Score, sign: str = "") -> str:
    """A Score in per cent as text: 37.7 [32, 43]; sign "+" prints a plus."""
    value, low, high = (100 * x for x in score)
    return f"{value:{sign}.1f} [{low:{sign}.0f}, {high:{sign}.0f}]"


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


def gain(report: Report, seed: int = 0) -> dict[str, Score]:
    """Each score less the centre prior's, with the interval of the difference.

    Both score the same clips, so that the difference is resampled clip by clip.
    """
    rows = report.per_clip[report.per_clip["scored"]]

    def columns(prefix):
        ciou, adaptive, hit = (
            rows[prefix + name].to_numpy(float)
            for name in ("ciou", "adaptive", "pointing")
        )
        return {
            **of_ciou(ciou),
            **of_ciou(adaptive, "adaptive "),
            "pointing": hit,
            "mean IoU": ciou,
        }

    model, prior = columns(""), columns("centre_")
    return mean_scores(
        {name: 1.0 * model[name] - prior[name] for name in model}, seed=seed
    )


def wild_frames() -> list[Image.Image]:
    """The photographs of `wild` in their native shapes, in the order of its scenes."""
    frames = []
    for row in soundstamps.table("wild"):
        with Image.open(soundstamps.ROOT / row["file"]) as image:
            frames.append(image.convert("RGB"))
    return frames


def adaptive_rate(report: Report, name: str) -> float:
    """Adaptive cIoU, a fraction, of "the model" or of a baseline of its report."""
    if name == "the model":
        return report.scores["adaptive cIoU"].value
    return report.baselines[name]["adaptive cIoU"]


def three_annotators(box: Sequence[float]) -> list[tuple[float, ...]]:
    """Boxes that three people might draw around one object: made up."""
    x0, y0, x1, y1 = box
    w, h = x1 - x0, y1 - y0
    boxes = [
        (x0, y0, x1, y1),
        (x0 + 0.3 * w, y0 - 0.1 * h, x1, y1 - 0.3 * h),
        (x0 - 0.3 * w, y0 + 0.3 * h, x1 - 0.2 * w, y1),
    ]
    return [tuple(min(max(edge, 0.0), 1.0) for edge in b) for b in boxes]


def cropped_boxes(
    boxes: Sequence[Sequence[float]], width: float, height: float
) -> list[list[float]]:
    """Boxes of a frame, in the normalised coordinates of its middle square."""
    sides = np.array([width, height] * 2) / min(width, height)
    moved = (np.array(boxes).reshape(-1, 4) - 0.5) * sides + 0.5
    return moved.clip(0, 1).tolist()


def voted(annotations: Mapping[str, Annotation]) -> dict[str, Annotation]:
    """Annotations by three annotators: as given, or made up from one annotator's boxes."""
    return {
        name: found
        if found.annotators > 1
        else Annotation(
            tuple(vote for box in found.boxes for vote in three_annotators(box)),
            found.label,
            3,
        )
        for name, found in annotations.items()
    }


# --- tables as text -----------------------------------------------------------------


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
            percent(localise.summarise(values)),
            pair(VGG_SS[name]) if name in VGG_SS else "–",
        ]
        for name, values in ciou.items()
    ]
    header = ["per cent", "`test`: cIoU / AUC", "VGG-SS: cIoU / AUC"]
    return table(header, rows)


def score_table(
    reports: Mapping[str, Report],
    peaks: Mapping[str, Score],
    photographs: Mapping[str, int],
) -> str:
    """Scores of each set with intervals, beside the centre prior and the oracle."""
    names, rows = ("cIoU", "AUC", "adaptive cIoU", "pointing"), []
    for split, report in reports.items():
        prior, oracle = report.baselines["centre prior"], report.baselines["oracle"]
        rows.append(
            [
                f"**{split}**",
                f"{report.per_clip['scored'].sum():,}",
                photographs[split],
                *(with_interval(report.scores[name]) for name in names),
                with_interval(peaks[split]),
                " / ".join(f"{100 * prior[name]:.1f}" for name in names),
                percent(oracle),
            ]
        )
    last = ("centre prior: the same but peak", "oracle: cIoU / AUC")
    return table(["set", "clips", "photographs", *names, "peak", *last], rows)


def gain_table(gains: Mapping[str, Mapping[str, Score]], names: Sequence[str]) -> str:
    """Differences from the centre prior (see `gain`) with intervals, in points."""
    rows = [
        [f"`{split}`", *(with_interval(found[name], "+") for name in names)]
        for split, found in gains.items()
    ]
    return table(["model less centre prior, points", *names], rows)


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


def rule_table(found: Mapping[str, Report | ValueError]) -> str:
    """Scores of the same maps by several rules, and how they change; the first is `lvs`.

    An error stands in place of the scores. The last column has the change for the
    simulated detector on VGG-SS, where SIMULATED has the rule.
    """
    names = ("cIoU", "AUC", "adaptive cIoU", "pointing")
    rows: list[list[str]] = []
    first: float | None = None
    for rule, report in found.items():
        name = f"`{rule}`" if rule in PROTOCOLS else rule
        if isinstance(report, ValueError):
            rows.append([name, str(report), *"––––––"])
            continue
        value = 100 * report.scores["cIoU"].value
        first = value if first is None else first
        change = SIMULATED.get(rule, np.nan) - SIMULATED["lvs"]
        scores = [f"{100 * report.scores[name].value:.1f}" for name in names]
        rows.append(
            [
                name,
                scores[0],
                f"{value - first:+.1f}",
                *scores[1:],
                f"{100 * report.per_clip['covered'].mean():.0f}",
                "–" if np.isnan(change) else f"{change:+.2f}",
            ]
        )
    header = ["rule", "cIoU", "change", *names[1:], "mask, % of the image"]
    return table([*header, "change on VGG-SS, simulated"], rows)


def published_table() -> str:
    """PUBLISHED in short: what was trained on, the scores as printed, and where."""
    rows = [
        [p.name, p.trained, p.clips, pair(p.vggss), pair(p.flickr), p.source]
        for p in PUBLISHED
    ]
    scored = ("VGG-SS clips", "VGG-SS: cIoU / AUC", "Flickr-SoundNet: cIoU / AUC")
    return table(["method", "trained on", *scored, "printed in"], rows)


def published_points() -> list[tuple[str, float, str]]:
    """(method, cIoU on VGG-SS, what is known of leaks); † marks a pretrained encoder."""
    kinds = {None: "training list not compared", 0: "no test clip in training"}
    return [
        (
            p.name + (" †" if p.pretrained else ""),
            p.vggss[0],
            kinds.get(p.leaked, "test clips in training"),
        )
        for p in PUBLISHED
        if p.vggss
    ]


def _whole(fractions):
    return [f"{100 * x:.0f}" for x in fractions]


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


def higher(a: Tensor, b: Tensor) -> float:
    """How often a map of `a` peaks higher than one of `b`, over all pairs; a tie is half."""
    gap = a.flatten(1).amax(1)[:, None] - b.flatten(1).amax(1)
    return ((gap > 0).double() + 0.5 * (gap == 0)).mean().item()


def with_other_classes(
    responses: Tensor, labels: Sequence, truth: Tensor
) -> tuple[Tensor, Tensor]:
    """Does the peak hit the ground truth with the own sound, and with other classes'?

    responses (N, N, h, w) of image i with sound j. Returns (N,) of 0 or 1, and (N,):
    the fraction of the sounds of other classes with which image i's peak hits.
    """
    hit = torch.stack(
        [localise.peak_hit(responses[:, j], truth) for j in range(len(labels))], 1
    ).double()
    other = torch.tensor([[a != b for b in labels] for a in labels])
    return hit.diagonal(), (hit * other).sum(1) / other.sum(1)


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
