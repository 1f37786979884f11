"""The listening test with models of which it is known whether they listen."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from sslnb import localise
from sslnb.data import Clips
from sslnb.localise import listening_test
from sslnb.localise.intervals import Score, mean_scores
from sslnb.localise.listening import other_class
from sslnb.model import PRESETS

SIDE, LABELS = 32, ["cat", "dog", "owl"]
NOTHING = Score(0.0, 0.0, 0.0)


def make_clips(count=24):
    """A coloured square of half the frame's side on the left; the sound is its class."""
    number = torch.arange(count) % 3
    box = (0.0, 0.25, 0.5, 0.75)
    images = torch.zeros(count, 3, SIDE, SIDE, dtype=torch.uint8)
    images[torch.arange(count), number, 8:24, :16] = 255
    return Clips(
        names=[f"test/0/{k}" for k in range(count)],
        labels=[LABELS[k] for k in number],
        images=images,
        waves=(100 * (number + 1))[:, None].expand(count, 64).to(torch.int16),
        boxes=[(box,)] * count,
        masks=None,
        photos=[f"photo {k // 6}" for k in range(count)],
        recordings=[f"recording {k % 6}" for k in range(count)],
    )


class Model(torch.nn.Module):
    """Marks whatever is coloured; a listener that of its sound's colour, else the right."""

    config = PRESETS["laptop"]

    def __init__(self, listens):
        super().__init__()
        self.listens, self.unused = listens, torch.nn.Parameter(torch.zeros(1))

    def predict(self, images, waves):
        images = images.float()
        if not self.listens:
            return images.sum(1)
        sound = waves[:, 0].long() // 100 - 1  # −1: silence
        maps = images[torch.arange(len(images)), sound]
        maps[sound < 0] = 0
        elsewhere = torch.linspace(0, 1, SIDE).expand_as(maps)  # highest on the right
        return maps + elsewhere


def test_a_model_that_looks_only_loses_nothing_without_its_sound():
    found = listening_test(Model(listens=False), make_clips())
    for row in found.differences.values():
        assert row == {"pointing": NOTHING, "cIoU": NOTHING, "AUC": NOTHING}
    assert found.scores["fitting"]["pointing"] == Score(1.0, 1.0, 1.0)
    assert found.scores["fitting"] == found.scores["another class"]


def test_a_model_that_listens_loses_everything():
    found = listening_test(Model(listens=True), make_clips())
    everything = Score(1.0, 1.0, 1.0)
    assert list(found.differences) == ["another class", "silence"]
    assert all(r["pointing"] == everything for r in found.differences.values())
    assert found.scores["silence"]["pointing"] == NOTHING


@pytest.mark.parametrize("sound", ["fitting", "another class", "silence"])
def test_scores_are_those_of_the_maps_under_each_sound(sound):
    clips, model = make_clips(9), Model(listens=True)
    model.predict = (
        lambda images, waves: (  # something in between
            images.float().sum(1) * (waves[:, :1, None] % 7) / 255
            + torch.rand(
                len(images), SIDE, SIDE, generator=torch.Generator().manual_seed(1)
            )
        )
    )
    found = listening_test(model, clips, seed=5, draws=2)
    others = other_class(clips.labels, 2, seed=5)
    waves = {
        "fitting": [clips.waves],
        "another class": [clips.waves[index] for index in others],
        "silence": [torch.zeros_like(clips.waves)],
    }[sound]
    scores = [
        localise.score(localise.respond_to(model, replace(clips, waves=wave)), clips)
        for wave in waves
    ]
    for name in ("pointing", "cIoU", "AUC"):
        mean = np.mean([score[name] for score in scores])
        assert found.scores[sound][name].value == pytest.approx(mean)
        columns = {name: found.per_clip[sound][name]}
        expected = mean_scores(columns, groups=clips.groups)
        assert found.scores[sound][name] == pytest.approx(expected[name])


def test_another_classs_sounds_are_of_all_other_classes_and_follow_from_the_seed():
    labels = [LABELS[k % 3] for k in range(30)]
    found = other_class(labels, 40, seed=2)
    assert found.shape == (40, 30)
    heard = {
        (labels[n], labels[j]) for row in found.tolist() for n, j in enumerate(row)
    }
    assert heard == {(a, b) for a in LABELS for b in LABELS if a != b}
    assert len(found.unique()) == 30
    assert torch.equal(found, other_class(labels, 40, seed=2))
    assert not torch.equal(found, other_class(labels, 40, seed=3))


def test_it_prints_scores_and_differences_and_what_was_resampled():
    text = str(listening_test(Model(listens=True), make_clips()))
    lines = text.splitlines()
    assert lines[0].split() == ["per", "cent", "pointing", "cIoU", "AUC"]
    assert [line.split("  ")[0] for line in lines[1:6]] == [
        "fitting",
        "another class",
        "silence",
        "fitting − another class",
        "fitting − silence",
    ]
    assert "100.00 [100.00, 100.00]" in lines[4]
    assert lines[6].endswith("over 4 photographs and 6 recordings.")
    unknown = replace(make_clips(), photos=None, recordings=None)
    assert str(listening_test(Model(True), unknown)).endswith("over 24 clips.")


def test_one_photograph_has_no_interval():
    alone = replace(make_clips(), photos=["one"] * 24, recordings=None)
    score = listening_test(Model(True), alone).differences["silence"]["pointing"]
    assert score.value == 1 and math.isnan(score.low)


@pytest.mark.parametrize(
    "change, said",
    [
        ({"labels": ["dog"] * 24}, "all 24 clips are of one class, dog"),
        ({"labels": ["dog"] * 23 + [None]}, "label of clip 23 is not known"),
        ({"boxes": [None] * 24}, "no boxes"),
    ],
)
def test_clips_that_cannot_be_tested_are_refused(change, said):
    with pytest.raises(ValueError, match=said):
        listening_test(Model(True), replace(make_clips(), **change))
    with pytest.raises(ValueError, match="draws is 0; need 1 or more"):
        listening_test(Model(True), make_clips(), draws=0)
