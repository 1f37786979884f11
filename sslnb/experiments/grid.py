"""The grid of experiments: a readable file, and the runs that it asks for (notebook 08).

>>> grid = read_grid()                          # data/experiments/grid.toml
>>> [run.name for run in grid.select(["table_1"])]
["A-0", "B-0", …, "F-0", "A-1", …]

A run is a variant from one seed. Its result is one JSON file, and a run is done where
that file has the configuration that the grid asks for.
"""

import hashlib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from sslnb.files import DATA, MALFORMED
from sslnb.settings import check
from sslnb.training.recipe import REGIMES, TrainConfig

FOLDER = DATA / "experiments"
GRID = FOLDER / "grid.toml"
RUNS = FOLDER / "runs"  # results: one JSON a run
KINDS = ("trained", "untrained", "classifier")
NAME = re.compile(r"\w[\w.+-]{0,99}")  # of a variant
# Keys of a variant beside TrainConfig's
OWN = ("like", "seeds", "clips", "half", "kind")


@dataclass(frozen=True)
class Run:
    """One run of the grid: a variant from one seed.

    clips: how many it trains on. half: which half of the classes it trains on, "0a" or
    "0b", the halves of draw 0, for example; "" for all. kind: "trained"; "untrained"; or
    "classifier", the audio encoder alone, trained with labels.
    """

    variant: str
    config: TrainConfig
    clips: int
    half: str = ""
    kind: Literal["trained", "untrained", "classifier"] = "trained"

    @property
    def name(self) -> str:
        """What its result is called, without .json."""
        return f"{self.variant}-{self.config.seed}"

    @property
    def settings(self) -> dict[str, Any]:
        """All that its result depends on beside the code, as JSON has it."""
        settings = {
            "config": asdict(self.config),
            "clips": self.clips,
            "half": self.half,
            "kind": self.kind,
        }
        return json.loads(json.dumps(settings))

    @property
    def digest(self) -> str:
        """Eight characters that tell its settings from others."""
        text = json.dumps(self.settings, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    def path(self, results: Path = RUNS) -> Path:
        """The file of its result."""
        return results / f"{self.name}.json"

    def result(self, results: Path = RUNS) -> dict[str, Any] | None:
        """Its result, or None where there is none of these settings."""
        path = self.path(results)
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            same = self.settings.items() <= found.items()
        except FileNotFoundError:
            return None
        except (ValueError, AttributeError) as error:
            raise ValueError(
                f"{path} is no result of a run ({error}): delete it, and its run is "
                "made anew"
            ) from error
        return found if same else None

    def is_done(self, results: Path = RUNS) -> bool:
        """Whether its result is there, and of these settings."""
        return self.result(results) is not None


@dataclass(frozen=True)
class Grid:
    """What a grid file asks for: {variant: its runs}, {experiment: its variants}."""

    variants: Mapping[str, tuple[Run, ...]]
    experiments: Mapping[str, tuple[str, ...]]

    def select(self, names: Iterable[str] = ()) -> list[Run]:
        """The runs of experiments, variants and single runs by name, each once.

        By default all experiments, in their order, with all variants of one seed before
        those of the next, so that a grid that is stopped has whole tables of fewer seeds.
        ValueError for a name that the grid has not.
        """
        found: dict[str, Run] = {}
        single = {run.name: run for runs in self.variants.values() for run in runs}
        for name in names or self.experiments:
            if name in self.experiments:
                several = [self.variants[variant] for variant in self.experiments[name]]
            elif name in self.variants:
                several = [self.variants[name]]
            elif name in single:
                several = [(single[name],)]
            else:
                raise ValueError(
                    f"the grid has no {name!r}; it has the experiments "
                    f"{', '.join(self.experiments)}, and the variants "
                    f"{', '.join(self.variants)}"
                )
            runs = [run for runs in several for run in runs]
            runs.sort(key=lambda run: run.config.seed)  # variants keep their order
            found |= {run.name: run for run in runs}
        return list(found.values())


def read_grid(path: str | Path = GRID) -> Grid:
    """The grid of a file; ValueError says what in it is wrong."""
    path = Path(path)
    known: dict[str, dict] = {}
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        unknown = set(content) - {"seeds", "base", "experiments", "variants", "parts"}
        if unknown:
            raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
        variants = {
            name: _runs(name, content, known) for name in content.get("variants", {})
        }
        experiments = {
            name: tuple(several)
            for name, several in content.get("experiments", {}).items()
        }
        for name, several in experiments.items():
            lacking = [variant for variant in several if variant not in variants]
            if lacking:
                raise ValueError(f"experiment {name}: no variant {', '.join(lacking)}")
    except MALFORMED as error:
        raise ValueError(f"{path}: {str(error)[:500]}") from error
    return Grid(variants, experiments)


def _runs(name, content, known):
    """The runs of a variant; `known` takes what variants and parts say."""
    try:
        if not NAME.fullmatch(name):
            raise ValueError(
                "its name has a character that names of files have not, or begins with "
                "one; need letters, digits, _ and, further on, - . +"
            )
        changes = {**content.get("base", {}), **_resolved(name, content, (), known)}
        own = {key: changes.pop(key) for key in OWN if key in changes}
        kind = own.get("kind", "trained")
        if kind not in KINDS:
            raise ValueError(f"kind is {kind!r}; need {', '.join(KINDS)}")
        runs = []
        for seed in own.get("seeds", content.get("seeds", [0])):
            config = TrainConfig.from_preset("laptop", **{**changes, "seed": seed})
            clips = own.get("clips", REGIMES[config.regime]["clips"])
            runs.append(Run(name, config, clips, own.get("half", ""), kind))
            check(runs[-1], {"clips": (1, 1e9)})
    except (ValueError, TypeError) as error:
        raise ValueError(f"variant {name}: {error}") from error
    return tuple(runs)


def _resolved(name, content, seen, known):
    """What a variant or a part says, after those that it is like."""
    everything = content.get("variants", {}) | content.get("parts", {})
    if name in seen:
        raise ValueError(f"{' is like '.join((*seen, name))}: a circle")
    if name not in everything:
        raise ValueError(f"like {name!r}, which the grid has not")
    if name not in known:  # once: parts of parts of parts may be many
        own = dict(everything[name])
        bases = own.pop("like", [])
        found: dict[str, Any] = {}
        for base in [bases] if isinstance(bases, str) else bases:
            found |= _resolved(base, content, (*seen, name), known)
        known[name] = found | own
    return known[name]
