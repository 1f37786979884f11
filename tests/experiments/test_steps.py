"""cIoU comes in steps, and every success at a threshold is exact."""

import base64

import numpy as np
import pytest

from sslnb.experiments.measure import SMALL, pack, unpack
from sslnb.experiments.results import Results
from sslnb.localise.intervals import STEPS
from tests.grid_results import results_of


def test_every_step_is_packed_as_one_and_comes_back():
    values = np.arange(SMALL + 1) / SMALL  # 29 / 200 · 200 is not 29
    packed = pack(values)
    assert "steps" in packed
    assert np.array_equal(unpack(packed), values)


@pytest.mark.parametrize("half", [False, True])
def test_results_have_every_success_even_from_half_precision(half):
    """A float16 of 0.45 is below 0.45: a clip there would no longer be a success."""
    results = results_of("A", seeds=1, clips=len(STEPS))
    exact = np.round(STEPS * SMALL) / SMALL
    text = base64.b64encode(exact.astype("<f2").tobytes()).decode()
    packed = {"float16": text, "shape": [len(exact)]} if half else pack(exact)
    results.runs["A"][0]["per_clip"]["test"]["ciou"] = packed
    found = Results(results.runs, results.clips).columns("A", "test", 0)["ciou"]
    assert [(found >= step).sum() for step in exact] == [*range(len(STEPS), 0, -1)]
