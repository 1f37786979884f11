"""One seed, one result: on this processor to the bit, on any other within a bound.

tests/golden.json was written by `sslnb bench repeat --golden` on one processor; this
test runs on others, and makes this one forget its newer instructions.
"""

import json

import pytest
import torch

from benchmarks import repeat
from sslnb.data import load_scenes

GOLDEN = json.loads(repeat.GOLDEN.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def here():
    return repeat.golden()


def test_scenes_and_the_order_of_clips_are_the_same_everywhere(here):
    assert here["digests"] == GOLDEN["digests"]


@pytest.mark.parametrize("name", repeat.BOUNDS)
def test_values_are_within_their_bound_of_another_processors(here, name):
    found, expected = here["values"][name], GOLDEN["values"][name]
    assert len(set(expected["values"])) > len(expected["values"]) / 2
    differs = repeat.difference(
        torch.tensor(found["values"]),
        torch.tensor(expected["values"]),
        expected["largest"],
    )
    assert differs <= repeat.BOUNDS[name][1]


def test_the_guides_table_is_of_the_newest_run():
    text = repeat.GUIDE.read_text(encoding="utf-8")
    assert repeat.guide(text) == text


@pytest.mark.slow
def test_another_process_has_the_same_bits_and_older_instructions_nearly(tmp_path):
    first, digests = repeat.computed(tmp_path / "first")
    again, others = repeat.computed(tmp_path / "again")
    assert others == digests and digests == GOLDEN["digests"]
    assert all(torch.equal(again[name], first[name]) for name in repeat.BOUNDS)
    old, others = repeat.computed(tmp_path / "old", repeat.OLD)
    assert others == digests
    two, _ = repeat.computed(tmp_path / "two", processes=2)
    assert two.keys() == {"trained", "weights"}
    for found in (old, two):
        for name, value in found.items():
            bound = repeat.BOUNDS[name][1]
            assert repeat.difference(value, first[name]) <= bound, name


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more than cores
def test_any_number_of_workers_packs_the_same_scenes(tmp_path):
    clips = load_scenes("train", 130)  # three chunks
    assert repeat.stores_differing(tmp_path, clips) == 0
    clips.images[5, 0, 0, 0] ^= 1
    assert repeat.stores_differing(tmp_path, clips) == 3
