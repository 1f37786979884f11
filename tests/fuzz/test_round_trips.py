"""What is written is read back the same, whatever it is; what is not is refused.

Inputs are drawn by hypothesis, the same ones in every run.
"""

import csv
import io
import json
import math
import string
from dataclasses import asdict, fields, replace

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sslnb.data.field.annotations import (
    Annotation,
    boxes_to_truth,
    damage,
    read_annotations,
    what_is_wrong,
)
from sslnb.data.field.lists import LONGEST, clip_name, read_labels, read_list
from sslnb.data.media import LAPTOP_AUDIO, load_audio
from sslnb.data.store.clips import open_store, verify
from sslnb.data.store.packing import Job, pack
from sslnb.localise.maps import open_maps, read_map
from sslnb.localise.respond import write_maps
from sslnb.model import PRESETS, ModelConfig, SoundLocaliser
from sslnb.training.recipe import TrainConfig

pytestmark = pytest.mark.slow
few = settings(
    max_examples=25,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
edges = st.floats(0, 1, width=32)
right_boxes = st.tuples(edges, edges, edges, edges).map(
    lambda e: (min(e[0], e[2]), min(e[1], e[3]), max(e[0], e[2]), max(e[1], e[3]))
)
letters = string.ascii_letters + string.digits + " '$%&()*;?~`|=+,-_éя"
names = st.text(letters, min_size=1, max_size=40).map(lambda text: f"x{text}x")
labels = st.none() | st.text(letters, max_size=20)


# --- boxes and lists


@few
@given(
    st.dictionaries(
        names, st.tuples(labels, st.lists(right_boxes, max_size=4)), min_size=1
    )
)
def test_annotations_come_back(tmp_path, entries):
    path = tmp_path / "vggss.json"
    listed = [
        {"file": name, "class": label, "bbox": [list(box) for box in boxes]}
        for name, (label, boxes) in entries.items()
    ]
    path.write_text(json.dumps(listed), encoding="utf-8")
    found = read_annotations(path)
    assert list(found) == list(entries)
    for name, (label, boxes) in entries.items():
        assert found[name] == Annotation(tuple(boxes), label)
    assert damage(found).clips == len(entries)


@few
@given(st.lists(st.floats() | st.integers() | st.booleans(), max_size=6))
def test_any_numbers_are_a_box_or_said_to_be_none(box):
    """Against the definition, pixel by pixel."""
    right = len(box) == 4 and all(
        not math.isnan(e) and e <= 2 for e in map(_float, box)
    )
    assert (what_is_wrong(box) is None) == right
    if not right:
        with pytest.raises(ValueError, match="box"):
            boxes_to_truth([box])
        return
    x0, y0, x1, y1 = (int(224 * min(max(edge, 0), 1)) for edge in box)
    pixels = np.arange(224)
    inside = lambda low, high: (pixels >= low) & (pixels < high)  # noqa: E731
    expected = inside(y0, y1)[:, None] & inside(x0, x1)
    assert np.array_equal(boxes_to_truth([box]).numpy(), expected)


def _float(value):
    try:
        return float(value)
    except OverflowError:  # of an integer of more than 308 digits
        return math.copysign(math.inf, value)


@few
@given(
    st.lists(names.map(str.strip), min_size=1, unique=True),
    st.sampled_from(["\n", "\r\n"]),
)
def test_a_list_comes_back(tmp_path, clips, end):
    path = tmp_path / "list.txt"
    path.write_bytes(end.join(clips).encode())
    assert read_list(path) == tuple(map(clip_name, clips)) == tuple(clips)


@few
@given(
    st.dictionaries(names, st.text(letters, min_size=1).filter(str.strip), min_size=1)
)
def test_a_table_of_classes_comes_back(tmp_path, classes):
    path, text = tmp_path / "table.csv", io.StringIO()
    csv.writer(text).writerows(classes.items())
    path.write_text(text.getvalue(), encoding="utf-8")
    found = {clip: label.strip() for clip, label in classes.items()}
    assert read_labels(path) == found


@few
@given(st.text(max_size=300))
def test_any_text_is_a_clips_name_or_said_to_be_none(text):
    try:
        name = clip_name(text)
    except ValueError as error:
        assert "is not the name of a clip" in str(error) and len(str(error)) < 500
    else:
        assert 0 < len(name) <= LONGEST and name.encode() and clip_name(name) == name


@few
@given(st.lists(st.sampled_from(["..", ".", "", "a", "etc"]), min_size=1, max_size=5))
def test_no_path_leads_out_of_a_folder_by_a_clips_name(parts):
    assert "/" not in clip_name("/".join([*parts, "clip.mp4"]))


# --- maps, stores, settings, weights

cells = arrays.arrays(
    st.sampled_from([np.float16, np.float32, np.float64, np.int8, np.uint16, bool]),
    arrays.array_shapes(min_dims=2, max_dims=2, max_side=6),
    elements={"allow_nan": False, "allow_infinity": False},
)


@few
@given(st.dictionaries(names, cells, min_size=1, max_size=4))
def test_maps_come_back(tmp_path, maps):
    path = tmp_path / "maps.npz"
    write_maps(path, maps)
    with open_maps(path) as found:
        assert sorted(found) == sorted(maps)
        for name, values in maps.items():
            assert np.array_equal(read_map(found, name), values.astype(np.float64))


@few
@given(arrays.arrays(np.float64, (2, 2), elements=st.floats()))
def test_maps_of_any_floats_are_finite_or_refused(tmp_path, values):
    write_maps(tmp_path / "maps.npz", {"a": values})
    with open_maps(tmp_path / "maps.npz") as found:
        if np.isfinite(values).all():
            assert np.array_equal(read_map(found, "a"), values)
        else:
            with pytest.raises(ValueError, match="map of clip 'a' holds NaN"):
                read_map(found, "a")


clips = st.tuples(
    labels, st.none() | st.lists(right_boxes, max_size=2), st.integers(0, 255)
)


def read_clip(clip):
    label, boxes, value = clip
    return {"label": label, "boxes": boxes}, (
        np.full((3, 2, 2), value, np.uint8),
        np.full(5, 9 * value, np.int16),
    )


@settings(few, max_examples=15)
@given(st.dictionaries(names, clips, min_size=1, max_size=5))
def test_a_store_comes_back(tmp_path_factory, several):
    folder = tmp_path_factory.mktemp("store") / "a.store"
    rows = {"frames": ("uint8", (3, 2, 2)), "waves": ("int16", (5,))}
    pack(
        Job(read_clip, list(several.values()), list(several), rows, {}),
        folder,
        1,
        False,
        False,
    )
    found = open_store(folder)
    assert found.names == list(several) and verify(folder, 1, False) == len(several)
    for k, (label, boxes, value) in enumerate(several.values()):
        assert found.labels[k] == label
        assert found.boxes[k] == (None if boxes is None else tuple(map(tuple, boxes)))
        assert torch.all(found.images[k] == value) and torch.all(
            found.waves[k] == 9 * value
        )


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
values = (
    scalars
    | st.lists(scalars, max_size=5)
    | st.dictionaries(st.text(max_size=3), scalars)
)


@settings(few, max_examples=120)
@given(st.sampled_from([field.name for field in fields(TrainConfig)]), values)
def test_any_setting_comes_back_or_is_named(name, value):
    try:
        config = (
            TrainConfig.from_preset("laptop", **{name: value})
            if name != "preset"
            else (TrainConfig.from_preset(value))
        )
    except ValueError as error:
        assert str(error).startswith(f"{name} is ") and "; need " in str(error)
    else:
        assert TrainConfig(**json.loads(json.dumps(asdict(config)))) == config


@settings(few, max_examples=120)
@given(st.sampled_from([field.name for field in fields(ModelConfig)]), values)
def test_any_size_of_a_model_comes_back_or_is_refused(name, value):
    card = json.loads(json.dumps(asdict(PRESETS["laptop"])))
    try:
        config = ModelConfig.from_dict(card | {name: value})
    except (
        ValueError,
        TypeError,
        KeyError,
    ):  # with the file's name: SoundLocaliser.load
        return
    assert ModelConfig.from_dict(json.loads(json.dumps(asdict(config)))) == config


@settings(few, max_examples=5)
@given(st.integers(1, 3), st.integers(1, 2), st.integers(0, 2**32))
def test_weights_come_back(tmp_path_factory, width, blocks, seed):
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(seed)
    model = SoundLocaliser(
        replace(PRESETS["laptop"], width=width, blocks=(blocks,) * 4)
    )
    model.save(folder)
    found = SoundLocaliser.load(folder).state_dict()
    assert all(
        torch.equal(value, found[name]) for name, value in model.state_dict().items()
    )


# --- sounds


@few
@given(
    arrays.arrays(np.float32, st.integers(0, 40), elements=st.floats(width=32)),
    st.integers(1, 2**31 - 1),
)
def test_any_samples_at_any_rate_are_a_wave_or_named(tmp_path, wave, rate):
    path = tmp_path / "a.wav"
    soundfile.write(path, wave, rate, subtype="FLOAT")
    try:
        found = load_audio(path)
    except ValueError as error:
        assert str(path) in str(error)
        assert not (len(wave) and np.abs(wave).max() <= 1 and 1_000 <= rate <= 768_000)
    else:
        assert found.shape == (LAPTOP_AUDIO.samples,) and found.isfinite().all()
        assert found.abs().max() <= 8
