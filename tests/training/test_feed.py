"""Batches on the device: the right clips, in order, from memory or from a store."""

import pytest
import torch

from sslnb.data import LAPTOP_AUDIO, fit_length, load_scenes, spectrogram
from sslnb.data.store.clips import open_store, pack_scenes
from sslnb.training import feed as feeding
from sslnb.training.feed import Feed

CPU = torch.device("cpu")
PARTS = [torch.tensor([4, 0, 2]), torch.tensor([1]), torch.tensor([3, 5])]


@pytest.fixture(scope="module")
def clips():
    return load_scenes("train", 6, image_size=32)


@pytest.mark.parametrize("table", [2**30, 0])
def test_batches_are_the_clips_asked_for_in_order(clips, table, monkeypatch):
    monkeypatch.setattr(feeding, "TABLE", table)
    similar = torch.tensor([1, 0, 3, 2, 5, 4])
    found = list(Feed(clips, LAPTOP_AUDIO, CPU).batches(PARTS, similar))
    assert [index.tolist() for index, *_ in found] == [part.tolist() for part in PARTS]
    for index, images, heard, other in found:
        assert torch.equal(images, clips.images[index])
        assert torch.allclose(heard, spectrogram(clips.waves[index]), atol=1e-5)
        assert torch.allclose(
            other, spectrogram(clips.waves[similar[index]]), atol=1e-5
        )
    assert all(
        other is None for *_, other in Feed(clips, LAPTOP_AUDIO, CPU).batches(PARTS)
    )


def test_a_store_feeds_as_memory_does(clips, tmp_path):
    pack_scenes("train", 6, tmp_path / "store", size=32, workers=1)
    packed = open_store(tmp_path / "store")
    for one, other in zip(
        Feed(clips, LAPTOP_AUDIO, CPU).batches(PARTS),
        Feed(packed, LAPTOP_AUDIO, CPU).batches(PARTS),
    ):
        assert torch.equal(one[1], other[1]) and torch.equal(one[2], other[2])


def test_short_waves_are_repeated_to_the_models_length(clips):
    short = clips.part(slice(None))
    object.__setattr__(short, "waves", clips.waves[:, :16_000])
    _, _, heard, _ = next(Feed(short, LAPTOP_AUDIO, CPU).batches(PARTS))
    whole = fit_length(clips.waves[PARTS[0], :16_000], LAPTOP_AUDIO.samples)
    assert torch.allclose(heard, spectrogram(whole), atol=1e-5)


@pytest.mark.parametrize("ahead", [1, 2, 9])
def test_threads_that_read_ahead_change_nothing(clips, ahead, monkeypatch):
    """As on a GPU, but for the copy to it."""
    monkeypatch.setattr(feeding, "AHEAD", ahead)
    feed = Feed(clips, LAPTOP_AUDIO, CPU)
    found = [read() for read in feed._ahead(PARTS, None)]
    assert [index.tolist() for index, *_ in found] == [part.tolist() for part in PARTS]
    for index, images, *_ in found:
        assert torch.equal(images, clips.images[index])


def test_waiting_is_measured_and_begins_anew(clips):
    feed = Feed(clips, LAPTOP_AUDIO, CPU)
    list(feed.batches(PARTS))
    assert feed.waited > 0
    next(feed.batches([]), None)
    assert feed.waited == 0


def test_a_clip_that_cannot_be_read_stops_the_run_by_name(clips):
    feed = Feed(clips, LAPTOP_AUDIO, CPU)
    with pytest.raises(RuntimeError, match=r"cannot read train/0/3: .*out of range"):
        list(feed.batches([torch.tensor([0]), torch.tensor([3, 99])]))
