"""What runs are measured by: the clips, each column, and columns as text."""

import json
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
import torch

from sslnb import consistency, localise
from sslnb.data import soundstamps, spectrogram
from sslnb.data.soundstamps import compose
from sslnb.experiments import measure
from sslnb.experiments.measure import classes_of, clips_of
from sslnb.experiments.packed import pack, unpack
from sslnb.experiments.run import CLIPS, scores
from sslnb.files import CHECKPOINT, ROOT
from sslnb.localise.intervals import of_ciou
from sslnb.localise.listening import other_class
from sslnb.model import SoundLocaliser
from sslnb.retrieve import pool_image
from sslnb.training.clips import heard_in

pytestmark = pytest.mark.usefixtures("few_clips")


@pytest.fixture(scope="module")
def model():
    return SoundLocaliser.load(CHECKPOINT)


# --- as text


def through_json(values):
    return unpack(json.loads(json.dumps(pack(values))))


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(0).random(41) < 0.5,
        np.random.default_rng(1).random((13, 10)) < 0.1,
        np.zeros((0, 10), bool),
        np.arange(24 * 6).reshape(24, 3, 2).astype(np.uint8),
        np.arange(201) / 200,
        np.array([0.0, 1.0, 1.0]),
        np.zeros(5),
    ],
)
def test_bits_bytes_and_steps_come_back_exactly(values):
    found = through_json(values)
    assert found.shape == values.shape and np.array_equal(found, values)
    assert found.dtype == (values.dtype if values.dtype != float else np.float64)


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(0).normal(0, 1, 300),
        np.random.default_rng(0).random((4, 5)) * 1e-6,  # of a map that is almost flat
        np.array([1.0, -1.0, 0.0, -0.5]),  # steps of 1/200, but below 0
        np.array([0.0, 1.0, 2.0]),  # and above 1
        np.array([1e6, 1.5]),
        np.random.default_rng(0).random(7).astype(np.float32),
    ],
)
def test_floats_come_back_to_a_thousandth_however_small(values):
    found = through_json(values)
    assert found.shape == values.shape and found.dtype == np.float64
    np.testing.assert_allclose(found, values, rtol=1e-3)


def test_every_success_of_the_ratio_of_two_counts_is_that_of_its_steps():
    """All thresholds of AUC, also where cIoU is one of them exactly, or a pixel below."""
    rng = np.random.default_rng(0)
    below = rng.integers(1, 2_000, 5_000)
    above = rng.integers(0, below + 1)
    exact = [Fraction(int(a), int(b)) for a, b in zip(above, below)]
    exact += [Fraction(k, 20) for k in range(21)]
    exact += [Fraction(k * 5_017 - 1, 100_340) for k in range(1, 21)]
    ciou = torch.tensor([[a.numerator, a.denominator] for a in exact]).float()
    kept = through_json(measure._steps(ciou[:, 0] / ciou[:, 1]))
    success = np.array(
        [[value >= Fraction(k, 20) for k in range(21)] for value in exact]
    )
    found = of_ciou(kept)
    assert np.array_equal(found["cIoU"], success[:, 10])
    assert np.array_equal(kept[:, None] >= np.arange(21) / 20, success)
    trapezia = (success[:, 1:] + 1.0 * success[:, :-1]) / 2
    np.testing.assert_allclose(found["AUC"], trapezia.mean(1))


# --- the clips


def test_halves_of_a_draw_are_disjoint_and_all_classes():
    everything = set(soundstamps.classes("train"))
    for draw in (0, 1, 12):
        one, other = classes_of(f"{draw}a"), classes_of(f"{draw}b")
        assert not one & other and one | other == everything
        assert abs(len(one) - len(other)) <= 1
    assert len({classes_of(f"{draw}a") for draw in range(4)}) == 4


@pytest.mark.parametrize("half", ["", "a", "0", "0c", "a0", "-1a", "0ab"])
def test_another_form_of_half_is_named(half):
    with pytest.raises(ValueError, match=f"half is '{half}'; need a number and a or b"):
        classes_of(half)


def test_sets_are_of_their_splits_and_classes():
    heard = set(heard_in("clips"))
    for name in ("test", "unseen"):
        clips = clips_of(name)
        assert len(clips) == 40 and set(clips.labels) <= heard
        assert {n.rsplit("/", 1)[0] for n in clips.names} == {f"{name}/0"}
    assert not set(clips_of("halves").labels) <= heard
    assert len(clips_of("wild")) == soundstamps.length("wild")


@pytest.mark.parametrize("name", ["test", "unseen"])
def test_a_sound_from_off_screen_is_of_no_class_in_the_image(name):
    clips = clips_of(name)
    waves = measure.off_screen(clips)
    labels = {
        wave.numpy().tobytes(): label for wave, label in zip(clips.waves, clips.labels)
    }
    several = 0
    for scene_name, wave in zip(clips.names, waves):
        split, seed, index = scene_name.split("/")
        scene = compose(split, int(seed), int(index), 16)
        several += bool(scene.silent)
        assert labels[wave.numpy().tobytes()] not in {scene.class_name, *scene.silent}
    assert several > 5
    assert len({wave.numpy().tobytes() for wave in waves}) > 10


def test_duets_have_two_objects_that_are_seen_and_known_each_with_its_sound():
    first, second = measure._duets()
    heard, bank = set(heard_in("clips")), clips_of("test")
    assert len(first) == len(second) == 12 and first.names == second.names
    played = [wave.tolist() for wave in bank.waves]
    for k, name in enumerate(first.names):
        split, seed, index = name.split("/")
        scene = compose(split, int(seed), int(index), 96)
        two = (scene.class_name, scene.silent[0])
        assert (first.labels[k], second.labels[k]) == two and set(two) <= heard
        assert name not in bank.names and two[0] != two[1]
        assert np.array_equal(first.waves[k], scene.wave)
        row = played.index(second.waves[k].tolist())
        assert bank.labels[row] == two[1]
        for clips, mask in zip((first, second), scene.objects):
            assert np.array_equal(clips.masks[k], mask) and mask.mean() >= measure.LARGE
            assert np.array_equal(clips.images[k].permute(1, 2, 0), scene.image)
            ((x0, y0, x1, y1),) = clips.boxes[k]
            rows, columns = np.nonzero(mask)
            assert (x0, y0) == (columns.min() / 224, rows.min() / 224)
            assert (x1, y1) == ((columns.max() + 1) / 224, (rows.max() + 1) / 224)


# --- the columns


@pytest.mark.parametrize("name", ["test", "unseen", "wild", "halves"])
def test_localisation_is_that_of_localise(name, model):
    columns = measure.measure(model, name)
    clips = clips_of(name)
    assert all(
        len(v) == len(clips) for k, v in columns.items() if k in ("ciou", "peak")
    )
    need = localise.score(localise.respond_to(model, clips), clips)
    found = scores(columns)
    for key in ("cIoU", "AUC", "pointing", "peak"):
        assert found[key] == pytest.approx(need[key], abs=1e-4), key


def test_duets_are_localised_with_either_sound(model):
    found = scores(measure.measure(model, "duets"))
    for name, clips in zip(("first", "second"), measure._duets()):
        need = localise.score(localise.respond_to(model, clips), clips)
        for key in ("cIoU", "AUC", "pointing", "peak"):
            assert found[f"{key} {name}"] == pytest.approx(need[key], abs=1e-4)


@pytest.mark.parametrize("name", ["test", "unseen"])
def test_errors_are_those_of_consistency(name, model):
    columns, clips = measure.measure(model, name), clips_of(name)
    found = scores(columns)
    look = consistency.invariance(model, clips, draws=measure.DRAWS)
    move = consistency.equivariance(model, clips)["T_geo"]
    assert found["e_app"] == pytest.approx(look.error, abs=1e-4)
    assert found["e_geo"] == pytest.approx(move.error, abs=1e-4)
    kept = localise.respond_to(model, clips)[: measure.MAPS].clamp(0, 1)
    assert np.abs(columns["maps"] / 255 - kept.numpy()).max() <= 0.5 / 255 + 1e-6


def test_activations_and_marked_fractions_are_of_the_maps_with_each_sound(model):
    columns, clips = measure.measure(model, "test"), clips_of("test")
    own = localise.respond_to(model, clips)
    threshold = np.median([np.sort(m.flatten())[71] for m in own.numpy()])  # of 144
    rows = [
        next(
            k
            for k in column
            if clips.labels[k] not in {clips.labels[n], *silent_in(clips.names[n])}
        )
        for n, column in enumerate(other_class(clips.labels, 20).T.tolist())
    ]
    generator = torch.Generator().manual_seed(0)
    noise = (3000 * torch.randn(clips.waves.shape, generator=generator)).short()
    played = {
        "own": clips.waves,
        "off-screen": clips.waves[rows],
        "noise": noise,
        "silence": 0 * clips.waves,
    }
    for name, waves in played.items():
        maps = model.predict(clips.images, waves).numpy()
        assert columns[f"activation {name}"] == pytest.approx(
            maps.max((1, 2)), abs=1e-4
        )
        marked = (maps > threshold).mean((1, 2))
        assert np.abs(columns[f"marked {name}"] - marked).max() < 0.02
    assert 0.3 < columns["marked own"].mean() < 0.7


def silent_in(name):
    split, seed, index = name.split("/")
    return compose(split, int(seed), int(index), 16).silent


def naive_hits(similarity, labels, may_find):
    """For each query that has a right item, whether its ten best are right."""
    found = []
    for q, row in enumerate(similarity.tolist()):
        items = [g for g in range(len(row)) if may_find(q, g)]
        if any(labels[g] == labels[q] for g in items):
            items.sort(key=lambda g: -row[g])
            found.append([labels[g] == labels[q] for g in items[:10]])
    return found


def test_retrieval_is_that_of_a_loop(model):
    columns, clips = measure.measure(model, "unseen"), clips_of("unseen")
    with torch.no_grad():
        model.eval()
        sounds = model.embed_audio(spectrogram(clips.waves, model.config.audio))
        cells = model.embed_image(consistency.normalise(model.fit(clips.images)))
    takes = clips.recordings
    need = {
        "audio": (sounds @ sounds.T, lambda q, g: takes[q] != takes[g]),
        "image": (sounds @ pool_image(cells, "max").T, lambda q, g: q != g),
        "mean": (sounds @ pool_image(cells, "mean").T, lambda q, g: q != g),
    }
    for name, (similarity, may_find) in need.items():
        hits = naive_hits(similarity, clips.labels, may_find)
        assert columns[name].tolist() == hits, name
        each = measure.per_query(columns[name])
        assert each["A@5"].mean() == np.mean([any(row[:5]) for row in hits])
        assert each["A@10"].mean() == np.mean([any(row) for row in hits])
        assert each["P@1"].mean() == np.mean([row[0] for row in hits])
        assert each["P@5"].mean() == pytest.approx(np.mean([row[:5] for row in hits]))
    alone = measure.measure(model, "unseen", sounds_only=True)
    assert list(alone) == ["audio"] and np.array_equal(alone["audio"], columns["audio"])
    assert measure.measure(model, "test", sounds_only=True) == {}


@pytest.mark.parametrize("name", ["test", "wild", "duets"])
def test_guesses_are_the_centre_prior_and_the_oracle(name):
    pairs = [("", clips_of(name))]
    if name == "duets":
        pairs = list(zip((" first", " second"), measure._duets()))
    prior = scores(measure.guess(name, "centre prior"))
    best = scores(measure.guess(name, "oracle"))
    for suffix, clips in pairs:
        need = localise.score(localise.centre_prior(len(clips)), clips)
        for key in ("cIoU", "AUC", "pointing", "peak"):
            assert prior[key + suffix] == pytest.approx(need[key], abs=1e-4)
        need = localise.summarise(localise.oracle(localise.truth_of(clips)))
        for key in ("cIoU", "AUC"):
            assert best[key + suffix] == pytest.approx(need[key], abs=1e-4)


@pytest.mark.slow
def test_the_shipped_list_of_clips_is_what_runs_are_measured_on(tmp_path):
    """In a process of its own, where no set is of few clips."""
    code = (
        "import sys; from pathlib import Path; from sslnb.experiments.run import "
        "write_clips; write_clips(Path(sys.argv[1]))"
    )
    made = tmp_path / "clips.json"
    subprocess.run([sys.executable, "-c", code, made], cwd=ROOT, check=True)
    assert json.loads(made.read_text()) == json.loads(CLIPS.read_text())
