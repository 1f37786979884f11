"""Settings of the grid's recipes: passes, rare validations, other encoders, some classes."""

import itertools
import json
from collections import Counter
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from sslnb.data import load_scenes, soundstamps
from sslnb.data.soundstamps import compose
from sslnb.model import PRESETS, SoundLocaliser
from sslnb.training import loop
from sslnb.training.clips import load_training
from sslnb.training.folder import states
from sslnb.training.loop import is_checked, shuffled_batches, train
from sslnb.training.recipe import TrainConfig
from sslnb.training.state import TrainState, network

TINY = TrainConfig(epochs=5, batch=8, precision="fp32", model="D", validate_every=2)


@pytest.fixture(scope="module")
def clips():
    return load_scenes("train", 10)


@pytest.fixture(scope="module")
def val():
    return load_scenes("val", 4)


# --- passes


@pytest.mark.parametrize("count", [2, 7, 8, 9, 17, 36])
@pytest.mark.parametrize("passes", [1, 2, 5])
def test_each_pass_holds_every_clip_once_and_no_batch_one_twice(count, passes):
    batches = shuffled_batches(replace(TINY, passes=passes), 3, count)
    assert all(len(batch.unique()) == len(batch) >= 2 for batch in batches)
    order = torch.cat(batches).tolist()
    orders = [order[k * count : (k + 1) * count] for k in range(passes)]
    assert all(sorted(each) == list(range(count)) for each in orders)
    if count > 8 and passes > 1:
        assert len(set(map(tuple, orders))) > 1  # each has an order of its own


def test_one_pass_is_what_an_epoch_was_before_there_were_passes():
    generator = torch.Generator().manual_seed(TINY.seed * 100_003 + 4)
    need = torch.randperm(24, generator=generator).split(8)
    found = shuffled_batches(TINY, 4, 24)
    assert len(found) == 3 and all(map(torch.equal, found, need))
    longer = shuffled_batches(replace(TINY, passes=3), 4, 24)
    assert all(map(torch.equal, longer[:3], need))


def test_an_epoch_of_several_passes_sees_each_clip_so_often(clips, val, tmp_path):
    config, seen = replace(TINY, epochs=1, passes=3), Counter()

    def counted(batches):
        for batch in batches:
            seen.update(batch[0].tolist())
            yield batch

    (metrics,) = train(config, clips, val, tmp_path, progress=counted)
    assert seen == Counter(dict.fromkeys(range(10), 3))
    assert 0 < metrics["loss"] < 10  # a mean over the clips, not their sum


# --- validation every few epochs


@pytest.mark.parametrize(
    "epochs, every, checked",
    [
        (5, 1, [1, 2, 3, 4, 5]),
        (5, 2, [2, 4, 5]),
        (6, 3, [3, 6]),
        (3, 9, [3]),
        (1, 4, [1]),
    ],
)
def test_every_few_epochs_and_the_last_are_validated(epochs, every, checked):
    config = replace(TINY, epochs=epochs, validate_every=every)
    assert [e + 1 for e in range(epochs) if is_checked(config, e)] == checked


def test_between_validations_nothing_is_scored_or_saved(
    clips, val, tmp_path, monkeypatch
):
    scores = iter([0.5, 0.1, 0.2])
    monkeypatch.setattr(
        loop, "validate", lambda *_: {"AUC": next(scores), "pointing": 0.0}
    )
    found, weights = [], []
    for metrics in train(TINY, clips, val, tmp_path):
        found.append("val_AUC" in metrics)
        saved = states(tmp_path)
        assert bool(saved) == (metrics["epoch"] >= 2)
        if saved:
            weights.append((tmp_path / "model.safetensors").read_bytes())
    assert found == [False, True, False, True, True]
    assert [path.name for path in states(tmp_path)] == [
        "state-0004.safetensors",
        "state-0005.safetensors",
    ]
    assert len(set(weights)) == 1  # the model of epoch 2 is the best, and it stays
    written = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in written] == [1, 2, 3, 4, 5]
    assert json.loads((tmp_path / "model.json").read_text())["metrics"]["epoch"] == 2


@pytest.mark.parametrize("stop", [1, 3, 4])
def test_a_run_stopped_between_validations_ends_as_if_it_was_not(
    stop, clips, val, tmp_path
):
    """What it has trained since the last state, it trains again."""
    whole = list(train(TINY, clips, val, tmp_path / "whole"))
    run = train(TINY, clips, val, tmp_path / "stopped")
    for _ in itertools.islice(run, stop):
        pass
    run.close()
    begun = bool(states(tmp_path / "stopped"))
    assert begun == (stop >= 2)
    rest = list(train(TINY, clips, val, tmp_path / "stopped", resume=begun))
    assert [metrics["epoch"] for metrics in rest] == list(range(1 + stop // 2 * 2, 6))
    assert [m["loss"] for m in rest] == [m["loss"] for m in whole[-len(rest) :]]
    one, other = (load_file(states(tmp_path / n)[-1]) for n in ("whole", "stopped"))
    assert all(torch.equal(one[name], other[name]) for name in one)


# --- other encoders


def test_smooth_and_blocks_are_saved_with_the_model(clips, val, tmp_path):
    config = replace(TINY, epochs=1, smooth=0.0, blocks=[2, 1, 1, 1])
    list(train(config, clips, val, tmp_path))
    written = json.loads((tmp_path / "model.json").read_text())
    model = SoundLocaliser.load(tmp_path)
    usual = PRESETS["laptop"]
    assert usual.smooth > 0 and tuple(usual.blocks) != (2, 1, 1, 1)
    assert model.config == replace(usual, smooth=0.0, blocks=(2, 1, 1, 1))
    assert written["training"]["smooth"] == 0 and written["training"]["blocks"]
    state = TrainState(config, torch.device("cpu"))
    assert {n: v.shape for n, v in model.state_dict().items()} == {
        n: v.shape for n, v in state.model.state_dict().items()
    }
    assert network(TINY) == usual  # where nothing is said, the preset's


def test_of_the_same_weights_neighbouring_cells_are_more_alike_where_they_are_smoothed():
    sharp, smooth = (
        TrainState(replace(TINY, smooth=sigma), torch.device("cpu")).model.eval()
        for sigma in (0.0, None)
    )
    smooth.load_state_dict(sharp.state_dict())
    images = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        rough, soft = (model.embed_image(images) for model in (sharp, smooth))

    def steps(maps):
        return (maps[..., 1:] - maps[..., :-1]).square().mean()

    assert steps(soft) < 0.5 * steps(rough)


# --- some classes alone


def test_some_classes_train_alone():
    known = soundstamps.classes("train")
    classes = frozenset(known[::3])
    clips, val = load_training(scenes=60, val_clips=5, regime="clips", classes=classes)
    splits = Counter(name.split("/")[0] for name in clips.names)
    assert splits == {"train": 39, "frames": 21}
    assert len(set(clips.names)) == 60
    assert set(clips.labels) <= classes and set(val.labels) <= classes
    for name in clips.names:
        split, seed, index = name.split("/")
        scene = compose(split, int(seed), int(index), 16)
        assert {scene.class_name, *scene.silent} <= classes


def test_scenes_alone_are_those_of_the_classes_that_show_no_other():
    """Against going through the split scene by scene."""
    classes = frozenset(soundstamps.classes("train")[:20])
    need, index = [], 0
    while len(need) < 12:
        scene = compose("train", 0, index, 16)
        if {scene.class_name, *scene.silent} <= classes:
            need.append(f"train/0/{index}")
        index += 1
    assert load_scenes("train", 12, 16, only=classes, alone=True).names == need
    together = load_scenes("train", 12, 16, only=classes).names
    assert together != need  # others show objects of other classes, too
