"""How long the runs that are left will take, going by those that are done.

>>> pace = Pace(RUNS)
>>> pace.says(runs, jobs=2)
"10 runs are left, about 1.5 hours at 2 side by side"
"""

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

from sslnb.experiments.grid import Run


class Pace:
    """Seconds of the runs that are done, by variant; read from a folder of results."""

    def __init__(self, results: Path):
        self.took: dict[str, list[float]] = {}
        for path in results.glob("[!.]*.json"):
            with suppress(
                ValueError,
                LookupError,
                TypeError,
                AttributeError,
                RuntimeError,
                OverflowError,
            ):  # damaged, or no result
                self.add(json.loads(path.read_text(encoding="utf-8")))

    def add(self, result: Mapping[str, Any]) -> float:
        """Take in a result; its seconds, of training and of measuring."""
        seconds = result.get("seconds", 0.0) + result.get("seconds_measuring", 0.0)
        if not 0 <= seconds < math.inf:
            raise ValueError(f"a run took {seconds!r:.80} seconds")
        self.took.setdefault(result["variant"], []).append(seconds)
        return seconds

    def seconds(self, run: Run) -> float | None:
        """What a run will take: the median of its variant's, else of all that trained.

        None where no run is done that could tell.
        """
        own = self.took.get(run.variant)
        every = [each for several in self.took.values() for each in several if each > 0]
        return median(own) if own else median(every) if every else None

    def hours(self, left: Sequence[Run], jobs: int) -> float | None:
        """What these runs will take, `jobs` side by side; None where nothing tells."""
        each = [self.seconds(run) for run in left]
        known = [seconds for seconds in each if seconds is not None]
        if not known or len(known) < len(each):
            return None
        return max(sum(known) / jobs, *known) / 3600

    def says(self, left: Sequence[Run], jobs: int) -> str:
        """How many runs are left, and how long they take where that is known."""
        text = f"{len(left)} run{' is' if len(left) == 1 else 's are'} left"
        hours = self.hours(left, jobs)
        if hours is None:
            return text
        time = f"{hours:.1f} hours" if hours >= 1 else f"{60 * hours:.0f} minutes"
        return f"{text}, about {time} at {jobs} side by side"
