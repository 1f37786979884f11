"""The listening test: the same images with other sounds (notebook 06).

    >>> found = listening_test(model, load_scenes("unseen", 300))
    >>> print(found)
    >>> found.differences["another class"]["pointing"].low > 0      # it listens
    True

A score says how often the image's sounding object is found. A model that marks whatever
looks like an object finds it too, where there is one. So each image is also given the
sound of another class, and silence, and is scored against the same ground truth: what
the fitting sound adds is due to listening.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from sslnb.data.clips import Clips
from sslnb.data.field.lists import source_video
from sslnb.localise.intervals import (
    RESAMPLES,
    Score,
    mean_scores,
    of_ciou,
    paired_differences,
)
from sslnb.localise.metrics import ciou, peak_hit, respond_to, truth_of
from sslnb.model import SoundLocaliser

FITTING, OTHER, SILENCE = "fitting", "another class", "silence"


@dataclass(frozen=True)
class Listening:
    """What `listening_test` finds, or `compare_sounds`; `print` it to read it.

    scores: "fitting", "another class" and "silence" -> "pointing", "cIoU" and "AUC" ->
    Score, fractions. differences: of all but "fitting" -> name -> Score of fitting − it.
    per_clip: sound -> name -> what each clip adds to the score, (N,). trials: what was
    resampled for the intervals, and how many there are.
    """

    scores: dict[str, dict[str, Score]]
    differences: dict[str, dict[str, Score]]
    per_clip: dict[str, dict[str, np.ndarray]]
    trials: str

    def __str__(self) -> str:
        gains = {f"{FITTING} − {name}": row for name, row in self.differences.items()}
        rows = {"per cent": list(self.scores[FITTING])} | {
            name: list(row.values()) for name, row in (self.scores | gains).items()
        }
        wide = max(26, 2 + max(map(len, rows)))
        lines = [
            f"{name:<{wide}}" + "".join(f"{cell!s:<24}" for cell in row)
            for name, row in rows.items()
        ]
        lines.append(f"In brackets 95 % intervals, bootstrap over {self.trials}.")
        return "\n".join(line.rstrip() for line in lines)


def listening_test(
    model: SoundLocaliser,
    clips: Clips,
    seed: int = 0,
    draws: int = 4,
    resamples: int = RESAMPLES,
    batch: int = 64,
) -> Listening:
    """Score a model on clips with their sounds, with another class's, and with silence.

    Another class's sound is that of a clip of another label, `draws` of them for each
    image, whose scores are averaged. All are scored against the ground truth of the
    fitting sound. Intervals are by photograph and recording where the clips know them,
    by source video where they share one (`Clips.groups`), else by clip. ValueError where
    a label or boxes are not known, or all clips are of one class.
    """
    others = other_class(clips.labels, draws, seed)  # (draws, N)
    truth = truth_of(clips)  # (N, 224, 224)

    def columns(waves: Tensor) -> dict[str, np.ndarray]:
        maps = respond_to(model, replace(clips, waves=waves), batch)
        found = {
            "pointing": peak_hit(maps, truth),
            **of_ciou(ciou(maps, truth).numpy()),
        }
        return {name: np.asarray(column, float) for name, column in found.items()}

    fitting = columns(clips.waves)
    drawn = [columns(clips.waves.index_select(0, index)) for index in others]
    other = {name: np.mean([one[name] for one in drawn], axis=0) for name in fitting}
    silence = columns(torch.zeros_like(clips.waves))
    per_clip = {FITTING: fitting, OTHER: other, SILENCE: silence}
    return compare_sounds(per_clip, _trials(clips), resamples, seed, clips.groups)


def compare_sounds(
    per_clip: Mapping[str, Mapping[str, np.ndarray]],
    trials: str,
    resamples: int = RESAMPLES,
    seed: int = 0,
    groups: ArrayLike | None = None,
) -> Listening:
    """Scores with each sound, and what "fitting" adds to each other one.

    per_clip: sound -> name -> what each clip adds to the score, (N,), "fitting" among
    them. trials: what is resampled, in words. groups: as in `mean_scores`.
    """
    return Listening(
        {
            sound: mean_scores(each, resamples, seed, groups)
            for sound, each in per_clip.items()
        },
        {
            sound: paired_differences(per_clip[FITTING], each, resamples, seed, groups)
            for sound, each in per_clip.items()
            if sound != FITTING
        },
        {sound: dict(each) for sound, each in per_clip.items()},
        trials,
    )


def other_class(labels: list[str | None], draws: int = 1, seed: int = 0) -> Tensor:
    """Indices (draws, N) of clips of another class than each clip's, drawn evenly.

    ValueError where a label is None, all are the same, or nothing is to be drawn.
    """
    if draws < 1:
        raise ValueError(f"draws is {draws}; need 1 or more")
    if None in labels:
        raise ValueError(f"the label of clip {labels.index(None)} is not known")
    names, number = np.unique(np.array(labels), return_inverse=True)
    if len(names) < 2:
        raise ValueError(
            f"all {len(labels)} clips are of one class, {', '.join(names)}: there is no "
            "other class's sound to play"
        )
    generator = torch.Generator().manual_seed(seed)
    own, found = torch.from_numpy(number), torch.empty(draws, len(labels)).long()
    for k in range(len(names)):
        others = (own != k).nonzero()[:, 0]
        shape = (draws, int((own == k).sum()))
        found[:, own == k] = others[
            torch.randint(len(others), shape, generator=generator)
        ]
    return found


def _trials(clips: Clips) -> str:
    counts = [
        f"{len(set(labels)):,} {what}"
        for what, labels in (
            ("photographs", clips.photos),
            ("recordings", clips.recordings),
        )
        if labels
    ]
    return " and ".join(counts) or trials_of(clips.names)


def trials_of(names: Iterable[str]) -> str:
    """What is resampled of clips, and how many: source videos where clips share one."""
    names = list(names)
    videos = len({source_video(name) for name in names})
    if videos == len(names):
        return f"{videos:,} clips"
    return f"{videos:,} source videos"
