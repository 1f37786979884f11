"""The retrieval widget of notebook 07, without a browser."""

import io
import re

import numpy as np
import pytest
import soundfile
import torch
import torch.nn.functional as F
from PIL import Image

from sslnb.data import compose_many
from sslnb.teach import plot, retrieval, widgets
from sslnb.teach.widgets import neighbours as module

N, K = 40, 5
COLORS = {True: plot.GREEN, False: plot.RED}


@pytest.fixture(scope="module")
def scenes():
    return compose_many("test", 0, N, 32)


@pytest.fixture(scope="module")
def vectors():
    generator = torch.Generator().manual_seed(0)
    sounds, images = torch.randn(2, N, 8, generator=generator)
    sounds[7] = sounds[3]  # a tie
    return F.normalize(sounds, dim=1), F.normalize(images, dim=1)


@pytest.fixture
def box(scenes, vectors):
    return widgets.nearest(scenes, *vectors, retrieval.recordings(scenes), K)


def by_hand(scenes, vectors, n, what):
    """Numbers and cosines of the first K of query n, by loops."""
    recordings = retrieval.recordings(scenes)
    sounds, images = (x.tolist() for x in vectors)
    query = images[n] if what == "sounds, by its image" else sounds[n]
    gallery = images if what == "images, by its sound" else sounds
    rows = []
    for j, item in enumerate(gallery):
        leave = recordings[j] == recordings[n] if "other" in what else j == n
        if not leave:
            rows.append((-sum(x * y for x, y in zip(query, item)), j))
    rows.sort(key=lambda row: round(row[0], 5))  # stable: ties keep their order
    return [(j, -cosine) for cosine, j in rows[:K]]


@pytest.mark.parametrize("what", module.FIND)
def test_the_neighbours_are_those_of_a_naive_ranking(box, scenes, vectors, what):
    box.controls["find"].value = what
    for n in range(0, N, 3):
        box.controls["query"].value = n
        expected = by_hand(scenes, vectors, n, what)
        assert box.found == [j for j, _ in expected]
        told = [float(x) for x in re.findall(r"cosine (-?[\d.]+),", box.view.alt)]
        assert told == pytest.approx([cosine for _, cosine in expected], abs=0.006)


@pytest.mark.parametrize("what", module.FIND)
def test_in_how_many_lists_an_item_is_is_counted(box, scenes, vectors, what):
    box.controls["find"].value, box.controls["query"].value = what, 2
    lists = [by_hand(scenes, vectors, n, what) for n in range(N)]
    everywhere = [j for found in lists for j, _ in found]
    told = [int(x) for x in re.findall(r"in (\d+) lists", box.view.alt)]
    assert told == [everywhere.count(j) for j in box.found]


def test_right_and_wrong_are_said_scored_and_framed(box, scenes):
    seen = set()
    for n in range(N):
        box.controls["query"].value = n
        right = [scenes[j].class_name == scenes[n].class_name for j in box.found]
        assert re.findall(r"right|wrong", box.view.alt) == [
            "right" if hit else "wrong" for hit in right
        ]
        assert (
            f"P@{K} = {sum(right) / K:.2f}, A@{K} = {max(right):d}." in box.status.value
        )
        image = Image.open(io.BytesIO(box.view.png)).convert("RGB")
        assert image.width == (K + 1) * module.TILE + K * module.GAP
        for place, hit in enumerate(right, start=1):
            x = place * (module.TILE + module.GAP) + 1
            color = "#{:02X}{:02X}{:02X}".format(*image.getpixel((x, module.LINE + 5)))
            assert color == COLORS[hit]
        seen |= set(right)
    assert seen == {True, False}


def test_the_players_have_the_query_and_its_neighbours_in_order(box, scenes):
    box.controls["query"].value = 9
    assert len(box.players) == K + 1
    for player, n in zip(box.players, (9, *box.found)):
        wave, rate = soundfile.read(io.BytesIO(player.value), dtype="int16")
        assert rate == 8_000
        assert np.abs(wave.astype(int) - scenes[n].wave[::2]).max() <= 1


def test_how_many_right_ones_there_are_leaves_out_what_the_list_leaves_out(box, scenes):
    recordings = retrieval.recordings(scenes)
    for n in range(8):
        box.controls["query"].value = n
        same = [j for j in range(N) if scenes[j].class_name == scenes[n].class_name]
        for what, left in (
            ("sounds, by its sound", [j for j in same if j != n]),
            (
                module.OTHER_RECORDINGS,
                [j for j in same if recordings[j] != recordings[n]],
            ),
        ):
            box.controls["find"].value = what
            assert f"There are {len(left)} right ones" in box.status.value


def test_occurrences_and_their_skewness_are_those_of_a_loop():
    generator = torch.Generator().manual_seed(1)
    similarity = torch.randn(12, 9, generator=generator)
    out = torch.zeros(12, 9, dtype=torch.bool)
    out[:, 4] = True
    found = retrieval.occurrences(similarity, out, 3)
    counted = [0] * 9
    for row in similarity.tolist():
        row[4] = -9.0
        for j in sorted(range(9), key=lambda j: -row[j])[:3]:
            counted[j] += 1
    assert found.tolist() == counted and sum(counted) == 36
    x = np.array(counted, float)
    expected = ((x - x.mean()) ** 3).mean() / x.std() ** 3
    assert retrieval.skewness(found) == pytest.approx(expected)
    assert retrieval.skewness(torch.full((4,), 7)) == 0
    assert retrieval.skewness(torch.tensor([0, 0, 0, 0, 9])) > 1
