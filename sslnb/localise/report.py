"""Anybody's response maps against published annotations (notebook 06; section 4.2).

    sslnb score --responses maps.npz --annotations vggss.json

    >>> report = evaluate({"zpWuikVorYg_000032": response}, annotations)
    >>> print(report)                          # protocol, scores, baselines, sizes
    >>> report.scores["cIoU"].value, report.per_clip["ciou"]

Maps are an .npz of clip name -> (h, w), of any size, also of different sizes. With
--negatives, maps of pairs without a visible sound (silence, noise, another clip's
sound) under any names, false positives are counted too. With --others, maps of the same
clips with another sound, the report has a listening test: what the fitting sound adds.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from sslnb.data.field.annotations import (
    SIZE,
    Annotation,
    Damage,
    damage,
    read_annotations,
    refuse_reversed,
    shortened,
    truth_of,
)
from sslnb.data.field.lists import shared_videos
from sslnb.localise.intervals import RESAMPLES, STEPS, area, mean_scores, of_ciou
from sslnb.localise.listening import FITTING, Listening, compare_sounds, trials_of
from sslnb.localise.maps import open_maps, read_map
from sslnb.localise.negatives import detection
from sslnb.localise.protocols import PROTOCOLS, Protocol, activated, in_range, measure
from sslnb.localise.text import paragraphs

BLOCK = 32  # clips at once: 6 MB an array, well under a gigabyte in all
SIZES = {"small": 32, "medium": 96, "large": 144, "huge": SIZE}  # pixels, squared


@dataclass(frozen=True)
class Report:
    """What `evaluate` finds; `print` it to read it.

    scores: name -> Score, fractions. by_size: small to huge (and "no box") -> name ->
    Score. baselines: "centre prior" and "oracle" -> name -> fraction.
    per_clip: a table with a row for each annotated clip; a missing clip's row is empty.
    missing: annotated clips without a map; unknown: maps without an annotation;
    constant: maps that point nowhere. trials: what was resampled for the intervals, and
    how many there are. threshold: of the negative-audio metrics. listening: the scores
    with other sounds, where their maps were given.
    """

    protocol: Protocol
    scores: dict
    by_size: dict
    baselines: dict
    per_clip: pd.DataFrame
    missing: tuple
    unknown: tuple
    constant: tuple
    damage: Damage
    resamples: int
    trials: str
    negatives: int = 0
    threshold: float | None = None
    threshold_from: str = ""
    listening: Listening | None = None

    def __str__(self):
        return "\n".join(paragraphs(self))


def evaluate(
    maps: Mapping[str, np.ndarray],
    annotations: Mapping[str, Annotation],
    protocol: str | Protocol = "lvs",
    negatives: Mapping[str, np.ndarray] | None = None,
    threshold: float | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    others: Mapping[str, Mapping[str, np.ndarray]] | None = None,
    groups: Mapping[str, Mapping[str, str]] | None = None,
    progress: Callable = lambda blocks, **about: blocks,
) -> Report:
    """Score maps (clip -> (h, w), or an open .npz) by clip -> Annotation: a Report.

    protocol: a name in PROTOCOLS, or a Protocol. negatives: maps of pairs without a
    visible sound, for AP, max-F1, LocAcc and for pIA and AUC_N, whose one threshold
    for all clips is `threshold`, in units of the maps; by default the median over the
    scored clips of their maps' own medians, so that the negatives have no say in it.
    others: name of a sound -> maps of the same clips with it, for the listening test.
    groups: what clips share, in words -> clip -> the one that it has, for instance
    {"photographs": {clip: photograph}, "recordings": {clip: recording}}: these are
    resampled for the intervals, crossed if there are several (see `mean_scores`). By
    default they are by source video where several clips share one, else by clip; those
    of negatives always are. progress: wraps blocks of clips, called as tqdm is.
    ValueError names the clip that cannot be scored, and says what would be right; so
    it does where boxes are not (x0, y0, x1, y1). TypeError for boxes that are not in an
    Annotation.
    """
    chosen = _protocol(protocol)
    refuse_reversed(_boxes_in(annotations))
    names = _matched(maps, annotations, chosen)
    others = _checked(others or {}, names)
    table = _measured(maps, annotations, names, chosen, progress)
    shared, trials = _shared(groups, names)
    more, extra = _negative_scores(
        table, negatives, threshold, chosen, resamples, seed, shared
    )
    scores = mean_scores(contributions_in(table), resamples, seed, shared(names)) | more
    heard = {FITTING: table}
    for sound, given in others.items():
        what = f"map with {sound!r}"
        heard[sound] = _measured(given, annotations, names, chosen, progress, what)
    sizes = _sizes(table)
    table.insert(0, "group", sizes)
    return Report(
        chosen,
        scores,
        by_size={
            group: mean_scores(
                contributions_in(part), resamples, seed, shared(part.index)
            )
            | {"clips": len(part)}
            for group, part in ((g, table[sizes == g]) for g in (*SIZES, "no box"))
            if len(part)
        },
        baselines=_baselines(table),
        per_clip=_rows(table, annotations),
        missing=tuple(name for name in annotations if name not in table.index),
        unknown=tuple(name for name in maps if name not in annotations),
        constant=tuple(table.index[table["low"] == table["high"]]),
        damage=damage(annotations),
        resamples=resamples,
        trials=trials,
        listening=compare_sounds(
            {sound: _in_listening(part) for sound, part in heard.items()},
            trials,
            resamples,
            seed,
            shared(names),
        )
        if others
        else None,
        **extra,
    )


def _boxes_in(annotations):
    for name, found in annotations.items():
        if not isinstance(found, Annotation):
            raise TypeError(
                f"annotation of clip {name!r} is a {type(found).__name__}; need an "
                "Annotation of its boxes, as read_annotations makes it"
            )
    return {name: found.boxes for name, found in annotations.items()}


def _protocol(given):
    if isinstance(given, Protocol):
        return given
    if given not in PROTOCOLS:
        raise ValueError(f"no protocol {given!r}; there are {', '.join(PROTOCOLS)}")
    return PROTOCOLS[given]


def _matched(maps, annotations, protocol):
    """Annotated clips that have a map; ValueError where there is none."""
    given = set(maps)
    names = [name for name in annotations if name in given]
    if not names:
        raise ValueError(
            f"none of {len(given):,} maps is of an annotated clip; maps are named "
            f"like {shortened(maps, 2)}, clips like {shortened(annotations, 2)}"
        )
    alone = [name for name in names if annotations[name].annotators == 1]
    if protocol.consensus and alone:
        raise ValueError(
            f"protocol {protocol.name} needs boxes of several annotators; {alone[0]} "
            "has one: use lvs"
        )
    return names


def _checked(others, names):
    """Maps with other sounds; ValueError where a scored clip has none, or a name is taken."""
    if FITTING in others:
        raise ValueError(
            f"a sound of others is called {FITTING!r}, as that of the scored maps is: "
            "give it another name"
        )
    for sound, maps in others.items():
        given = set(maps)
        lacking = [name for name in names if name not in given]
        if lacking:
            raise ValueError(
                f"maps with {sound!r} lack {len(lacking):,} of the {len(names):,} scored "
                f"clips: {shortened(lacking)}; need maps of the same clips, under the "
                "same names"
            )
    return others


def _shared(groups, names):
    """Clips -> what is resampled of them, as `mean_scores` takes it; and that in words.

    ValueError where a scored clip is in none of some kind.
    """
    if not groups:
        return shared_videos, trials_of(names)
    for kind, labels in groups.items():
        lacking = [name for name in names if name not in labels]
        if lacking:
            raise ValueError(
                f"groups: {kind} are known of {len(names) - len(lacking):,} of the "
                f"{len(names):,} scored clips, and not of {shortened(lacking)}; name one "
                "for each clip"
            )

    def shared(clips):
        return [[labels[clip] for clip in clips] for labels in groups.values()]

    counts = (
        f"{len(set(labels)):,} {kind}" for kind, labels in zip(groups, shared(names))
    )
    return shared, " and ".join(counts)


def _measured(maps, annotations, names, protocol, progress, what="map"):
    """The measures of each clip's map, a row a clip."""

    def found_in(block):
        truth = np.stack([truth_of(annotations[name]).numpy() for name in block])
        return measure(
            [_read(maps, name, what, protocol) for name in block], truth, protocol
        )

    found = _in_blocks(found_in, names, partial(progress, desc=f"{what}s"))
    return pd.DataFrame(
        {key: np.concatenate([part[key] for part in found]) for key in found[0]},
        index=pd.Index(names, name="clip"),
    ).astype(float)


def _in_blocks(work, names, progress=lambda blocks, **about: blocks):
    """What `work` gives of each block of names, in their order, on up to four cores."""
    blocks = [names[start : start + BLOCK] for start in range(0, len(names), BLOCK)]
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        found = pool.map(work, blocks)
        return list(progress(found, total=len(blocks), unit="block"))


def _read(maps, name, what, protocol):
    values = read_map(maps, name, what)
    if not in_range(values, protocol):
        raise ValueError(
            f"{what} of clip {name!r} runs from {values.min():g} to {values.max():g}; "
            f"the fixed threshold of {protocol.name} needs cosines in [−1, 1]: multiply "
            "by the temperature that they were divided by, or take the median (--median)"
        )
    return values


def contributions_in(table: pd.DataFrame, prefix: str = "") -> dict[str, np.ndarray]:
    """Score name -> what each clip of a table adds to it, (N,); the score is the mean.

    prefix "centre_": of the centre prior, in place of the maps.
    """
    ciou, adaptive, pointing = (
        table[prefix + name].to_numpy(float)
        for name in ("ciou", "adaptive", "pointing")
    )
    return {
        **of_ciou(ciou),
        **of_ciou(adaptive, "adaptive "),
        "pointing": pointing,
        "mean IoU": ciou,
    }


def _in_listening(table):
    """What each clip adds to the scores of the listening test."""
    found = contributions_in(table)
    return {
        name: np.asarray(found[name], float) for name in ("pointing", "cIoU", "AUC")
    }


def _baselines(table):
    found = {"centre prior": contributions_in(table, "centre_")}
    if table["oracle"].notna().all():  # a mask of any size has none
        found["oracle"] = {
            **of_ciou(table["oracle"].to_numpy()),
            "mean IoU": table["oracle"],
        }
    return {
        name: {score: float(np.mean(column)) for score, column in columns.items()}
        for name, columns in found.items()
    }


def _sizes(table):
    """Object size by clip, SLAVC's shares: Σ g below 32², 96², 144² of 224² pixels."""
    pixels = (table["size"] * SIZE**2).round(1)
    edges = [0, *(side**2 for side in list(SIZES.values())[:-1]), np.inf]
    sizes = pd.cut(pixels, edges, labels=list(SIZES), right=False).astype(object)
    return sizes.mask(pixels == 0, "no box")


def _negative_scores(table, negatives, threshold, protocol, resamples, seed, shared):
    """Scores of false positives and negative audio, and what a Report says of them."""
    if negatives is None:
        if threshold is not None:
            raise ValueError("a threshold is for negatives alone: give their maps too")
        return {}, {}
    names = list(negatives)
    if not names:
        raise ValueError("there is no map among the negatives")
    chosen = threshold is None
    if chosen:
        threshold = float(table["median"].median())
    if not np.isfinite(threshold):
        raise ValueError(
            f"threshold is {threshold}; need a number in units of the maps"
        )

    def found_in(block):
        silent = [_read(negatives, name, "negative map", protocol) for name in block]
        return activated(silent, threshold, protocol)

    parts = _in_blocks(found_in, names)
    pia, confidence, low, high = (np.concatenate(columns) for columns in zip(*parts))
    low, high = (
        np.concatenate([table[key], ends])
        for key, ends in (("low", low), ("high", high))
    )
    low, high = low[high > low], high[high > low]
    if len(low) > 1 and np.ptp(low) + np.ptp(high) <= 1e-4 * np.max(high - low):
        raise ValueError(
            f"every map runs from {low[0]:g} to {high[0]:g}: each was normalised by "
            "itself, so that confidences cannot be compared; save maps as the model "
            "gives them"
        )
    silent_videos = shared_videos(names)
    scores = detection(
        table["ciou"] >= 0.5,
        table["confidence"].to_numpy(),
        confidence,
        resamples,
        seed,
        shared(table.index),
        silent_videos,
    ) | mean_scores(
        {"pIA": pia, "AUC_N": area(pia[:, None] <= STEPS)},
        resamples,
        seed,
        silent_videos,
    )
    return scores, {
        "negatives": len(names),
        "threshold": threshold,
        "threshold_from": "the median of the scored maps' medians"
        if chosen
        else "given",
    }


def _rows(table, annotations):
    """A row for each annotated clip, in their order."""
    rows = table.drop(columns=["low", "high"])
    rows = rows.reindex(pd.Index(list(annotations), name="clip"))
    rows.insert(0, "label", [annotation.label for annotation in annotations.values()])
    rows.insert(0, "scored", rows["ciou"].notna())
    return rows


def score_file(
    responses: str | Path,
    annotations: str | Path,
    protocol: str = "lvs",
    median: bool = False,
    negatives: str | Path | None = None,
    threshold: float | None = None,
    out: str | Path | None = None,
    seed: int = 0,
    others: Sequence[str | Path] = (),
    progress: Callable = lambda blocks, **about: blocks,
) -> Report:
    """Score the maps of an .npz by an annotation file, and write the table `out`.

    median: threshold each map at its own median, where the protocol has another
    threshold. negatives: .npz of maps of pairs without a visible sound. out: a .csv or
    .tsv with a row for each clip. seed: of the intervals. others: .npz of maps of the
    same clips with another sound, which is called as the file. progress, errors: see
    evaluate.
    """
    separator = _separator(out) if out else None
    chosen = _protocol(protocol)
    if median:
        if chosen.threshold == "median":
            raise ValueError(f"--median is for slavc; {chosen.name} takes it as it is")
        chosen = replace(chosen, threshold="median")
    known = read_annotations(annotations)
    sounds = _named_after(others)
    with ExitStack() as stack:
        maps = stack.enter_context(open_maps(responses))
        silent = stack.enter_context(open_maps(negatives)) if negatives else None
        heard = {
            name: stack.enter_context(open_maps(path)) for name, path in sounds.items()
        }
        report = evaluate(
            maps,
            known,
            chosen,
            silent,
            threshold,
            seed=seed,
            others=heard,
            progress=progress,
        )
    if out:
        report.per_clip.to_csv(out, sep=separator, float_format="%.6g")
    return report


def _named_after(paths):
    """Files of maps by the sound that each is called after: its name without .npz."""
    found: dict[str, str | Path] = {}
    for path in paths:
        name = Path(path).stem
        if name in found or name == FITTING:
            other = found.get(name, "the scored maps")
            raise ValueError(
                f"--others {path}: {other} is called {name!r} too; rename one, as the "
                "report calls a sound by the name of its file"
            )
        found[name] = path
    return found


def _separator(path):
    separators = {".csv": ",", ".tsv": "\t"}
    suffix = Path(path).suffix.lower()
    if suffix not in separators:
        raise ValueError(f"--out {path}: need a name that ends in .csv or .tsv")
    if not Path(path).absolute().parent.is_dir():
        raise ValueError(f"--out {path}: there is no folder {Path(path).parent}")
    return separators[suffix]
