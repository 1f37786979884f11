"""Clips are the composed scenes, and nothing else; leaks are those that are known."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sslnb.data import (
    Clips,
    Leaks,
    fit_length,
    leaks,
    load_scenes,
    refuse_leaks,
    soundstamps,
)
from sslnb.data.field.lists import read_list

SHARED = Path(__file__).resolve().parents[3] / "shared" / "benchmarks"
published = pytest.mark.skipif(not SHARED.exists(), reason="no published lists here")


@pytest.mark.parametrize("split", soundstamps.SPLITS)
def test_clips_are_the_scenes_in_order(split):
    clips = load_scenes(split, 4, image_size=32, seed=2)
    assert len(clips) == 4
    for index in range(4):
        scene = soundstamps.compose(split, 2, index, 32)
        assert np.array_equal(clips.images[index].permute(1, 2, 0), scene.image)
        assert np.array_equal(clips.waves[index], scene.wave)
        assert np.array_equal(clips.masks[index], scene.mask)
        assert clips.boxes[index] == scene.boxes
        assert clips.labels[index] == scene.class_name
        assert clips.names[index] == f"{split}/2/{index}"


def test_tensors_have_the_shapes_and_types_that_they_say():
    clips = load_scenes("train", 3, image_size=24)
    assert clips.images.shape == (3, 3, 24, 24) and clips.images.dtype == torch.uint8
    assert clips.waves.shape == (3, 48_000) and clips.waves.dtype == torch.int16
    assert clips.masks.shape == (3, 224, 224) and clips.masks.dtype == torch.bool
    assert clips.images.is_contiguous()  # not a view of the transposed scenes


def test_clips_are_joined_in_order():
    one, other = load_scenes("train", 2, 16), load_scenes("frames", 3, 16)
    both = one + other
    assert both.names == one.names + other.names and len(both) == 5
    assert torch.equal(both.images, torch.cat([one.images, other.images]))
    assert torch.equal(both.masks[2:], other.masks) and both.boxes[2:] == other.boxes
    assert both.recordings == one.recordings + other.recordings
    bare = replace(other, masks=None, recordings=None)
    assert (one + bare).masks is None and (one + bare).recordings is None


def test_the_original_of_a_sound_is_its_recording_or_its_source_video():
    scenes = load_scenes("ladder", 40, 16)
    takes = {f"{r['class']}/{r['recording']}" for r in soundstamps.table("sounds")}
    assert scenes.originals == scenes.recordings and set(scenes.originals) <= takes
    names = ["zpWuikVorYg_000032", "zpWuikVorYg_000045", "-0BIyqJj9ZU_000030"]
    real = replace(scenes.part(slice(3)), names=names, recordings=None)
    first, second, third = real.originals
    assert first == second != third


def test_more_scenes_begin_with_the_same_ones():
    few, more = (load_scenes("val", count, image_size=16) for count in (2, 5))
    assert torch.equal(few.images, more.images[:2])
    assert few.names == more.names[:2]


def test_another_seed_gives_other_clips_with_other_names():
    one, other = (load_scenes("test", 3, image_size=16, seed=seed) for seed in (0, 1))
    assert not torch.equal(one.waves, other.waves)
    assert not set(one.names) & set(other.names)


@pytest.mark.parametrize("samples", [16_000, 48_000, 160_000])
def test_waves_are_cut_or_repeated_to_the_length_asked_for(samples):
    clips = load_scenes("test", 2, image_size=16, samples=samples)
    whole = load_scenes("test", 2, image_size=16)
    assert torch.equal(clips.waves, fit_length(whole.waves, samples))
    assert clips.waves.shape == (2, samples)


def test_all_of_wild_is_loaded_unless_fewer_are_wanted():
    count = soundstamps.length("wild")
    assert len(load_scenes("wild", image_size=16)) == count
    assert len(load_scenes("wild", 3, image_size=16)) == 3
    with pytest.raises(ValueError, match=f"wild has {count} photographs"):
        load_scenes("wild", count + 1, image_size=16)


@pytest.mark.parametrize("split, count", [("test", 5), ("wild", None)])
def test_scenes_of_some_classes_are_the_first_of_all_scenes_that_are_of_them(
    split, count
):
    names = {"dog", "cow", "bus", "violin"}
    every = load_scenes(split, None if split == "wild" else 120, 16)
    rows = [k for k, label in enumerate(every.labels) if label in names][:count]
    found = load_scenes(split, count, 16, only=names)
    assert found.names == [every.names[k] for k in rows]
    assert torch.equal(found.images, every.images[rows])
    assert found.recordings == [every.recordings[k] for k in rows]
    with pytest.raises(ValueError, match=f"{split} has no scene of piano; it has"):
        load_scenes(split, count, 16, only=["piano"])


def test_progress_knows_how_many_scenes_there_are_and_sees_each():
    seen = []

    def progress(scenes):
        assert len(scenes) == 5
        for scene in scenes:
            seen.append(scene.class_name)
            yield scene

    clips = load_scenes("open", 5, image_size=16, progress=progress)
    assert seen == clips.labels


def test_a_split_without_an_end_needs_a_count():
    with pytest.raises(ValueError, match="train has no end: say how many scenes"):
        load_scenes("train")


@pytest.mark.parametrize("count", [0, -3])
@pytest.mark.parametrize("split", ["train", "wild"])
def test_no_scenes_at_all_are_refused(split, count):
    with pytest.raises(ValueError, match=f"count is {count}; need 1 or more"):
        load_scenes(split, count)


def test_an_unknown_split_is_named():
    with pytest.raises(ValueError, match="unknown split 'tset'"):
        load_scenes("tset", 3)


def test_clips_cannot_be_changed_by_accident():
    clips = load_scenes("train", 1, image_size=16)
    assert isinstance(clips, Clips)
    with pytest.raises(AttributeError):
        clips.labels = []


# --- leaks ------------------------------------------------------------------

TRAIN = ["aaaaaaaaaaa_000001", "bbbbbbbbbbb_000010", "videos/1/2/15299999044.mp4"]


@pytest.fixture(scope="module")
def few():
    return load_scenes("val", 5, image_size=32)


def changed(tensor, row):
    tensor = tensor.clone()
    last = tensor[row].view(-1)
    last[-1] = 1 - last[-1].int()
    return tensor


@pytest.mark.parametrize("row", range(5))
@pytest.mark.parametrize("what", ["images", "waves", "masks", "names", "boxes"])
def test_a_fingerprint_tells_what_is_another(few, what, row):
    value = getattr(few, what)
    if isinstance(value, list):
        other = [
            *value[:row],
            None if what == "boxes" else "val/9/9",
            *value[row + 1 :],
        ]
    else:
        other = changed(value, row)
    one, two = few.fingerprint(), replace(few, **{what: other}).fingerprint()
    assert {name for name in one if one[name] != two[name]} == {what}
    assert json.loads(json.dumps(one)) == one == few.part(slice(None)).fingerprint()


def test_a_fingerprint_sees_shape_and_dtype_beside_the_same_bytes(few):
    one = few.fingerprint()["waves"]
    for waves in (few.waves.view(torch.uint16), few.waves.view(5, 2, -1)):
        assert replace(few, waves=waves).fingerprint()["waves"] != one
    assert replace(few, masks=None).fingerprint()["masks"] != few.fingerprint()["masks"]


def test_a_fingerprint_reads_a_few_rows_of_many_clips(few):
    """All of them would be 28 GB; in memory, one row stands for each of 144,000."""
    many = 144_000
    images = torch.zeros(1, 3, 256, 256, dtype=torch.uint8).expand(many, -1, -1, -1)
    clips = Clips(
        [f"{k:011}_000010" for k in range(many)],
        [None] * many,
        images,
        torch.arange(many)[:, None],
        [None] * many,
        None,
    )
    one = clips.fingerprint()
    assert one["number"] == many
    told = [
        row
        for row in (0, 1, many // 2, many - 1)
        if replace(clips, waves=changed(clips.waves, row)).fingerprint() != one
    ]
    assert told == [0, many - 1]  # evenly spaced, from the first to the last


def test_scenes_know_their_photograph_and_recording_in_every_part(few):
    scenes = soundstamps.compose_many("val", 0, 5, 32)
    assert few.photos == [scene.photo for scene in scenes]
    files = {row["file"]: row for row in soundstamps.table("sounds")}
    for recording, scene in zip(few.recordings, scenes):
        row = files[scene.sound]
        assert recording == f"{row['class']}/{row['recording']}"
    part = few.part(slice(1, 4))
    assert part.groups == [few.photos[1:4], few.recordings[1:4]]
    unknown = replace(few, photos=None, recordings=None)
    assert unknown.groups is None is unknown.part(slice(2)).photos
    assert replace(few, photos=None).groups == [few.recordings]
    videos = [f"{k:011}_00000{n}" for n, k in enumerate([7] * (len(few) - 1) + [3])]
    real = replace(unknown, names=videos)
    assert real.groups == [real.originals] and len(set(real.originals)) == 2
    assert real.part(slice(-2, None)).groups is None  # each of its own


def test_notes_of_one_recording_are_one_recording():
    rows = soundstamps.table("sounds")
    named = {soundstamps.recording_of(row["file"]) for row in rows}
    assert len(named) == len({(row["class"], row["recording"]) for row in rows})
    assert len(named) < len(rows)


def test_photographs_and_recordings_are_no_part_of_a_fingerprint(few):
    unknown = replace(few, photos=None, recordings=None)
    assert unknown.fingerprint() == few.fingerprint()


def test_leaks_by_clip_and_by_source_video_in_any_spelling():
    test = [
        "ccccccccccc_000001.jpg",
        "bbbbbbbbbbb_10000_20000",
        "aaaaaaaaaaa_000002.jpg",
        "15299999044.jpg",
        "15299999045.jpg",
    ]
    found = leaks(TRAIN, test)
    assert found.clips == ("bbbbbbbbbbb_000010", "15299999044")
    assert found.videos == ("bbbbbbbbbbb_000010", "aaaaaaaaaaa_000002", "15299999044")


def test_scenes_of_two_splits_do_not_leak():
    """Their numbers are the same, but they are other scenes."""
    names = [[f"{split}/0/{n}" for n in range(5)] for split in ("train", "test")]
    assert leaks(*names) == Leaks((), ())
    assert leaks(names[0], names[0]).clips == tuple(names[0])


def test_leaks_take_any_collection_of_names_and_nothing_else():
    assert leaks(iter(TRAIN), {TRAIN[0]: "a clip", "d": "another"}).clips == (TRAIN[0],)
    assert leaks([], []) == leaks(TRAIN, ()) == Leaks((), ())
    paths = [Path("frames", f"{name}.jpg") for name in TRAIN]
    assert leaks(paths, TRAIN) == leaks(TRAIN, paths) == leaks(TRAIN, TRAIN)
    for train, test in (("list.txt", TRAIN), (TRAIN, Path("list.txt"))):
        for function in (leaks, refuse_leaks):
            with pytest.raises(ValueError, match=r"'list.txt' is no list of names"):
                function(train, test)


def test_training_on_the_test_set_is_refused_unless_it_is_meant():
    test = ["ccccccccccc_000001", *reversed(TRAIN)]
    with pytest.raises(ValueError, match="3 of the 4 test clips") as caught:
        refuse_leaks(TRAIN, iter(test))
    told = str(caught.value)
    assert "15299999044, bbbbbbbbbbb_000010, aaaaaaaaaaa_000001" in told
    assert "allow=True" in told
    assert len(refuse_leaks(TRAIN, iter(test), allow=True).clips) == 3


def test_another_part_of_a_video_is_told_but_not_refused():
    found = refuse_leaks(TRAIN, ["aaaaaaaaaaa_000099"])
    assert found == Leaks((), ("aaaaaaaaaaa_000099",))


@published
@pytest.mark.parametrize(
    "train, test, clips, videos",
    [
        ("ez-vsl_vggss_144k", "vggss", 3_709, 3_784),
        ("ssl-tie_train_vggss_144k", "vggss", 0, 2),
        ("ssl-tie_train_seen_144k", "vggss", 3_565, 3_598),
        ("ssl-tie_openset_train_110_70k", "ssl-tie_openset_test_heard", 2_299, 2_308),
        ("ssl-tie_openset_train_110_70k", "ssl-tie_openset_test_unheard", 0, 0),
        ("ssl-tie_train_flickr_10k", "ssl-tie_test_flickr_250", 2, 2),
    ],
)
def test_published_lists_leak_as_much_as_is_known(train, test, clips, videos):
    train = read_list(SHARED / f"{train}.txt")
    if test == "vggss":
        entries = json.loads((SHARED / "vggss.json").read_text())
        test = [entry["file"] for entry in entries]
    else:
        test = read_list(SHARED / f"{test}.txt")
    found = leaks(train, test)
    assert (len(found.clips), len(found.videos)) == (clips, videos)
    assert set(found.clips) == set(train) & set(test) <= set(found.videos)
    if clips:
        told = f"{clips:,} of the {len(test):,} test clips"
        with pytest.raises(ValueError, match=told):
            refuse_leaks(train, test)
    else:
        assert refuse_leaks(train, test) == found
