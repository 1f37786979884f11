"""The results of the grid, compared clip by clip and seed by seed (notebook 08).

>>> results = read_results()                       # data/experiments
>>> found = results.compare("test", {"A→B": {"B": 1, "A": -1}, "B": {"B": 1}})
>>> found["A→B"]["e_app"]                          # Score of the difference
Score(value=-0.65, low=-0.83, high=-0.48)

Models are compared on the same clips, and trained from the same seeds. Intervals resample
three things, each by itself: the seeds, the photographs and the recordings (see
`localise.intervals`). They tell what other trainings and another test set would change;
of a single seed, only the latter.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from sslnb.experiments.grid import FOLDER
from sslnb.experiments.measure import ERRORS, GUESSES, contributions
from sslnb.experiments.packed import unpack_columns
from sslnb.localise.intervals import (
    RESAMPLES,
    Score,
    crossed,
    drawn_weights,
    levels_of,
    resample,
)

# A contrast: {variant: its weight}. {"B": 1, "A": -1} is what B has more than A.
Contrast = Mapping[str, float]
# {set of clips: {row: {score: Score}}}, as `Results.compare` gives it for each set
Compared = Mapping[str, Mapping[str, Mapping[str, Score]]]
LOCALISATION = ("cIoU", "AUC", "pointing", "peak")


def unit(score: str) -> int:
    """What a score is multiplied by to be told: to per cent, but for errors."""
    return 1 if score in ERRORS else 100


def verdict(change: Score, score: str) -> str:
    """ "better", "worse" or "not resolved": whether the interval of a change leaves 0 out."""
    if not (change.low > 0 or change.high < 0):  # also where there is no interval
        return "not resolved"
    return "better" if (change.value > 0) != (score in ERRORS) else "worse"


@dataclass(frozen=True)
class Results:
    """runs: {variant: {seed: its JSON}}; clips: {set: what clips.json says of it}."""

    runs: Mapping[str, Mapping[int, Mapping[str, Any]]]
    clips: Mapping[str, Mapping[str, Any]]

    def seeds(self, variants: Sequence[str]) -> list[int]:
        """The seeds that all of these were trained from; ValueError where there is none.

        The centre prior and the oracle are not trained: any seed is theirs.
        """
        trained = [name for name in variants if name not in GUESSES]
        lacking = [name for name in trained if not self.runs.get(name)]
        if lacking:
            raise ValueError(
                f"no run of {', '.join(lacking)}: make it with `sslnb experiments "
                f"{lacking[0]}`"
            )
        seeds = [set(self.runs[name]) for name in trained] or [{0}]
        found = sorted(set.intersection(*seeds))
        if not found:
            raise ValueError(f"{', '.join(trained)} have no seed in common")
        return found

    def columns(self, variant: str, where: str, seed: int) -> dict[str, np.ndarray]:
        """What each clip of a set says of a variant: column -> (N,); see `measure`."""
        if variant in GUESSES:
            packed = self.clips[where]["guesses"][variant]
        else:
            packed = self.runs[variant][seed]["per_clip"].get(where)
        if packed is None:
            raise ValueError(f"{variant} was not measured on {where}")
        try:
            return unpack_columns(packed)
        except (ValueError, AttributeError) as error:
            raise ValueError(f"run {variant}-{seed}, on {where}: {error}") from error

    def parts(
        self, variant: str, where: str, seed: int
    ) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """What each clip adds to the scores of a variant: `measure.contributions`.

        Of duets also "IIoU" and "IIoU peak": the fractions of which both objects are found.
        """
        parts = contributions(self.columns(variant, where, seed))
        for score, whole in (("cIoU", "IIoU"), ("peak", "IIoU peak")):
            if f"{score} first" in parts:
                first, over = parts[f"{score} first"]
                second, _ = parts[f"{score} second"]
                parts[whole] = np.minimum(first, second), over
        return parts

    def labels(self, where: str) -> np.ndarray:
        """The class of each clip of a set, (N,)."""
        return np.array(self.clips[where]["labels"])

    def groups(self, where: str) -> np.ndarray:
        """The photograph and the recording of each clip of a set, (2, N)."""
        return np.array([self.clips[where][key] for key in ("photos", "recordings")])

    @cached_property
    def with_a_find(self) -> np.ndarray:
        """Clips of `unseen` whose class has another recording: the queries of "audio"."""
        labels, recordings = self.labels("unseen"), self.groups("unseen")[1]
        right = labels[:, None] == labels
        return (right & (recordings[:, None] != recordings)).any(1)

    def compare(
        self,
        where: str,
        contrasts: Mapping[str, Contrast],
        scores: Sequence[str] = (*LOCALISATION, *ERRORS),
        only: np.ndarray | None = None,
        resamples: int = RESAMPLES,
    ) -> dict[str, dict[str, Score]]:
        """{contrast: {score: Score}} on the clips of a set, or `only` some, (N,) of bool.

        All contrasts share their seeds: those that each of their variants was trained
        from. Scores that not all of them have are left out. ValueError where a run is
        missing, or no score is left.
        """
        variants = list(
            dict.fromkeys(name for each in contrasts.values() for name in each)
        )
        seeds = self.seeds(variants)
        parts = [[self.parts(name, where, seed) for seed in seeds] for name in variants]
        known = [s for s in scores if all(s in part for runs in parts for part in runs)]
        if not known:
            raise ValueError(
                f"{', '.join(variants)} have none of the scores {', '.join(scores)} "
                f"on {where}"
            )
        rows = self._rows(where, known)
        kept = np.ones(rows.sum(), bool) if only is None else np.asarray(only)[rows]
        # (2, variants · scores, seeds · clips): values, and what they are divided by
        table = np.array(
            [
                [
                    np.concatenate([part[score][k][kept] for part in runs])
                    for runs in parts
                    for score in known
                ]
                for k in (0, 1)
            ]
        )
        groups = self.groups(where)[:, rows][:, kept]
        clips = groups.shape[1]
        labels = np.repeat(np.array(seeds), clips), *np.tile(groups, len(seeds))
        weights = np.array(
            [[each.get(v, 0) for v in variants] for each in contrasts.values()]
        )
        ends, values = _bootstrap(
            table, np.array(labels, dtype=str), weights, len(known), resamples
        )
        return {
            name: {
                score: Score(values[i, j].item(), *ends[i, j].tolist())
                for j, score in enumerate(known)
            }
            for i, name in enumerate(contrasts)
        }

    def _rows(self, where, known):
        """Which clips of a set these scores are of: some are of queries alone."""
        audio = [score.startswith("audio ") for score in known]
        if any(audio) and not all(audio):
            raise ValueError("scores of audio retrieval are of other clips: ask apart")
        return (
            self.with_a_find if any(audio) else np.ones(len(self.labels(where)), bool)
        )


def _bootstrap(table, labels, weights, scores, resamples):
    """Ends (C, K, 2) and values (C, K) of C contrasts of K scores of M variants.

    table (2, M · K, T) of T trials; labels (G, T): what is resampled; weights (C, M).
    """
    several = [row for row in labels if len(set(row)) > 1]
    factors = crossed(several, table.shape[2])
    contrasts, variants = weights.shape

    def statistic(*drawn, axis):
        times = drawn_weights(drawn, factors).astype(float)  # (B, T)
        above, below = table @ times.T  # (M · K, B)
        each = np.divide(above, below, out=np.zeros_like(above), where=below > 0)
        each = each.reshape(variants, scores, -1)
        return np.einsum("cm,mkb->ckb", weights, each).reshape(contrasts * scores, -1)

    levels = levels_of(factors)
    values = statistic(*levels, axis=-1)[:, 0].reshape(contrasts, scores)
    ends = resample(levels, statistic, resamples, 0, table.shape[2])
    return ends.reshape(contrasts, scores, 2), values


def read_results(folder: str | Path = FOLDER) -> Results:
    """All results in a folder.

    FileNotFoundError where there are none, ValueError names a file that is damaged.
    """
    folder = Path(folder)
    runs: dict[str, dict[int, Any]] = {}
    for path in sorted((folder / "runs").glob("[!.]*.json")):
        try:
            result = json.loads(path.read_text(encoding="utf-8"))
            for key, kind in (("variant", str), ("seed", int), ("per_clip", dict)):
                if not isinstance(result[key], kind):
                    raise ValueError(f"its {key} is {result[key]!r:.80}")
            runs.setdefault(result["variant"], {})[result["seed"]] = result
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise ValueError(
                f"{path} is no result of the grid ({error!r:.200}): delete it, and "
                "`sslnb experiments` makes it anew"
            ) from error
    if not runs:
        raise FileNotFoundError(
            f"{folder / 'runs'} holds no results: make them with `sslnb experiments`"
        )
    path = folder / "clips.json"
    try:
        clips = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(clips, dict):
            raise ValueError(f"it holds a {type(clips).__name__}")
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} does not say which clips were measured ({error!r:.200}): take it "
            "from the repository again, or make it by sslnb.experiments.run.write_clips"
        ) from error
    return Results(runs, clips)
