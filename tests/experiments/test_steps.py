"""cIoU comes in steps, and every success at a threshold is exact."""

import numpy as np

from sslnb.experiments.packed import SMALL, pack, unpack
from sslnb.experiments.results import Results
from sslnb.localise.intervals import STEPS
from tests.grid_results import results_of


def test_every_step_is_packed_as_one_and_comes_back():
    values = np.arange(SMALL + 1) / SMALL  # 29 / 200 · 200 is not 29
    packed = pack(values)
    assert "steps" in packed
    assert np.array_equal(unpack(packed), values)


def test_every_success_at_a_threshold_is_kept():
    """A float16 of 0.45 would be below 0.45: a clip there would be no success."""
    results = results_of("A", seeds=1, clips=len(STEPS))
    exact = np.round(STEPS * SMALL) / SMALL
    results.runs["A"][0]["per_clip"]["test"]["ciou"] = pack(exact)
    found = Results(results.runs, results.clips).columns("A", "test", 0)["ciou"]
    assert [(found >= step).sum() for step in exact] == [*range(len(STEPS), 0, -1)]
