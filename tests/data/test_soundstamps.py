"""SoundStamps: what its docstrings and its card claim, scene by scene."""

import hashlib
import inspect
import json
import os
import random
import subprocess
import sys
from collections import Counter
from dataclasses import fields
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import scipy.fft
import scipy.stats
import soundfile
from PIL import Image
from scipy import ndimage

from sslnb.data import soundstamps, stamps
from sslnb.data.soundstamps import AREA, CANVAS, SPLITS, compose, table
from sslnb.localise import boxes_to_truth

REPOSITORY = Path(__file__).parents[2]
ORDINARY = ("frames", "wild")  # photographs as they are
COMPOSED = [split for split in SPLITS if split not in ORDINARY]
TABLES = soundstamps.TABLES
# Quantiles of the share of the frame that the truth of VGG-SS covers.
VGGSS = {
    0.05: 0.033,
    0.10: 0.054,
    0.25: 0.121,
    0.50: 0.253,
    0.75: 0.463,
    0.90: 0.677,
    0.95: 0.780,
}
VGGSS_JSON = REPOSITORY.parent / "shared" / "benchmarks" / "vggss.json"

# Published scenes. Whoever changes one on purpose stores what the test prints.
GOLDEN = {  # (split, seed, index, size): image, wave, mask
    ("train", 0, 0, 96): ["14fcc36fcbb9a845", "f71f61e662b459be", "5ed68f067bdf3921"],
    ("train", 0, 3, 224): ["e81508a1749096a3", "7b5721ed5b4bee04", "de85f769190e4a6a"],
    ("ladder", 0, 1, 96): ["250e9d18257e7463", "abbc7e0ddedb8f66", "f17a1405e9326caf"],
    ("frames", 0, 1, 96): ["ad206e8ce1f37dfe", "058d4947a5f27193", "7f12230f5d7f2ef1"],
    ("val", 0, 1, 96): ["3153ec26bb2c75ad", "f5834703127e37f5", "8e4431937ba9660b"],
    ("test", 0, 2, 96): ["c1722109231975a3", "85faf5c495833b44", "9f8d442b8f5e09b6"],
    ("unseen", 0, 1, 96): ["4b6abde923f8ec75", "98fc9086c2872c5d", "1971af98c741eed1"],
    ("open", 0, 4, 96): ["9c9e21846b2d30c0", "45c63c185d189f08", "c655ae590c502ae2"],
    ("wild", 0, 1, 96): ["fc7c97bce4cce0a3", "2ea5287d8e9c977e", "6f345a5bc5c8e84e"],
}


def fingerprint(split, seed, index, size):
    """First 16 digits of the SHA-256 of image, wave and mask."""
    scene = compose(split, seed, index, size)
    parts = (scene.image, scene.wave, scene.mask)
    return [hashlib.sha256(part.tobytes()).hexdigest()[:16] for part in parts]


@pytest.fixture(scope="module")
def many():
    """600 scenes of train, each with what was painted: [(photograph, alpha), …]."""
    found, painted, paint = [], [], soundstamps._paint

    def spy(rng, canvas, photo, box):
        alpha = paint(rng, canvas, photo, box)
        painted.append((photo, alpha))
        return alpha

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(soundstamps, "_paint", spy)
        for index in range(600):
            painted.clear()
            found.append((compose("train", 5, index, 8), list(painted)))
    return found


@pytest.fixture
def quiet(monkeypatch):
    """No noise is added, though its random numbers are drawn."""
    noise = soundstamps._noise
    monkeypatch.setattr(soundstamps, "_noise", lambda *a: 0 * noise(*a))


def box_area(box):
    return (box[2] - box[0]) * (box[3] - box[1])


# --- the same everywhere ----------------------------------------------------


@pytest.mark.parametrize("key", GOLDEN, ids=str)
def test_scenes_are_those_that_were_published(key):
    assert fingerprint(*key) == GOLDEN[key]


def test_another_process_composes_the_same_scenes(tmp_path):
    keys = [(split, 3, 7, 48) for split in reversed(SPLITS)]
    program = (
        "import hashlib, json\nfrom sslnb.data.soundstamps import compose\n"
        + inspect.getsource(fingerprint)
        + f"print(json.dumps([fingerprint(*key) for key in {keys}]))"
    )
    environment = {
        **os.environ,
        "PYTHONHASHSEED": "4711",
        "PYTHONPATH": str(REPOSITORY),
    }
    answer = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    found = json.loads(answer.stdout.splitlines()[-1])
    assert found == [fingerprint(*k) for k in keys]


def test_a_scene_does_not_depend_on_what_was_composed_before():
    forward = [fingerprint("test", 0, k, 32) for k in range(4)]
    backward = [fingerprint("test", 0, k, 32) for k in reversed(range(4))]
    assert forward == backward[::-1]


def test_a_progress_bar_knows_how_many_scenes_there_are():
    counts = []

    def bar(scenes):
        counts.append(len(scenes))
        return scenes

    assert len(soundstamps.compose_many("val", 0, 5, 16, progress=bar)) == 5
    assert counts == [5]


def test_composing_on_two_threads_changes_nothing_and_keeps_the_order():
    scenes = soundstamps.compose_many("unseen", 2, 6, 32, start=4)
    for index, scene in enumerate(scenes, start=4):
        alone = compose("unseen", 2, index, 32)
        for field in fields(scene):
            assert np.array_equal(
                getattr(scene, field.name), getattr(alone, field.name)
            )


def test_split_seed_and_index_each_change_the_scene():
    scenes = {
        tuple(fingerprint(*key, 32))
        for key in [
            ("train", 0, 0),
            ("val", 0, 0),
            ("train", 1, 0),
            ("train", 0, 1),
            ("train", 1, 1),
            ("train", 0, 11),
            ("train", 11, 0),
        ]
    }
    assert len(scenes) == 7


@pytest.mark.parametrize("split", COMPOSED)
def test_size_changes_the_pixels_alone(split):
    small, large = (compose(split, 0, 5, size) for size in (32, CANVAS))
    for field in fields(small):
        if field.name != "image":
            assert np.array_equal(
                getattr(small, field.name), getattr(large, field.name)
            )
    assert small.image.shape == (32, 32, 3) and large.image.shape == (224, 224, 3)
    shrunk = large.image.reshape(32, 7, 32, 7, 3).mean((1, 3))
    assert np.abs(shrunk - small.image).mean() < 3  # of 255


# --- the files ----------------------------------------------------------------


@pytest.mark.parametrize("name", TABLES)
def test_every_row_has_its_file_and_every_file_its_row(name):
    files = [row["file"] for row in table(name)]
    on_disk = [f"{name}/{path.name}" for path in (soundstamps.ROOT / name).iterdir()]
    assert sorted(files) == sorted(on_disk)


@pytest.mark.parametrize("name", TABLES)
def test_every_file_has_a_licence_and_a_source(name):
    for row in table(name):
        assert not [key for key, value in row.items() if not (value or "").strip()], row
        assert {"licence", "package", "source"} <= set(row)


def test_every_split_in_the_tables_is_known():
    for name in ("photos", "sounds", "backgrounds"):
        assert {row["split"] for row in table(name)} <= set(SPLITS)


def test_every_class_of_a_split_has_photographs_and_recordings():
    for split in COMPOSED:
        assert set(stamps.photos(split)) <= set(stamps.recordings(split))
        assert soundstamps.classes(split) == sorted(stamps.photos(split))
    for split in ORDINARY:
        assert set(soundstamps.classes(split)) <= set(stamps.recordings(split))


def test_recordings_are_mono_16_khz_and_end_at_4_khz():
    for row in table("sounds"):
        wave, rate = soundfile.read(soundstamps.ROOT / row["file"])
        assert rate == 16_000 and wave.ndim == 1, row["file"]
        assert len(wave) >= rate // 4 and 0.8 < np.abs(wave).max() <= 0.91, row["file"]
        power = np.abs(np.fft.rfft(wave)) ** 2
        above = np.fft.rfftfreq(len(wave), 1 / rate) > 4_500
        assert power[above].sum() < 1e-4 * power.sum(), row["file"]


def test_recordings_begin_and_end_in_silence_so_that_tiling_does_not_click():
    for row in table("sounds"):
        wave = stamps.sound(row["file"]).astype(float)
        assert max(abs(wave[0]), abs(wave[-1])) <= 1, row["file"]


def test_cutouts_end_softly_on_all_sides():
    for row in table("photos"):
        alpha = np.asarray(stamps.cutout(row["file"]).getchannel("A")).astype(int)
        inside = max(np.abs(np.diff(alpha, axis=axis)).max() for axis in (0, 1))
        rim = max(
            alpha[0].max(), alpha[-1].max(), alpha[:, 0].max(), alpha[:, -1].max()
        )
        assert inside <= 128 and rim <= 210, (row["file"], inside, rim)


# --- splits -------------------------------------------------------------------

NEW = {  # what a split claims that training never saw
    "val": ("background",),
    "test": ("background",),
    "unseen": ("background", "photo", "sound"),
    "open": ("background", "photo", "sound", "class"),
    "wild": ("background", "photo"),
}


def rows_of(split, kind):
    """Everything of a kind that a split can show: a recording, not its notes."""
    if kind == "class":
        return set(soundstamps.classes(split))
    if split in ORDINARY and kind != "sound":
        return {row["file"] for row in table(split)}
    if kind == "background":
        return set(stamps.backgrounds(split))
    if kind == "photo":
        return {file for files in stamps.photos(split).values() for file in files}
    recordings = stamps.recordings(split)
    return {(name, take) for name, takes in recordings.items() for take in takes}


@pytest.mark.parametrize("split", NEW)
def test_nothing_crosses_into_a_split_that_claims_it_is_new(split):
    for kind in NEW[split]:
        assert rows_of(split, kind)
        for other in {*COMPOSED, "frames"} - {split}:
            shared = rows_of(split, kind) & rows_of(other, kind)
            # val and test show what train shows; only the backgrounds are theirs
            assert not shared, f"{kind} of {split} also in {other}: {shared}"


@pytest.mark.parametrize("split", SPLITS)
def test_scenes_show_only_what_their_split_may(split):
    take = {row["file"]: (row["class"], row["recording"]) for row in table("sounds")}
    count = soundstamps.length(split) or 60
    for scene in soundstamps.compose_many(split, 1, count, 8):
        assert scene.photo in rows_of(split, "photo")
        assert scene.background in rows_of(split, "background")
        assert take[scene.sound] in rows_of(split, "sound")
        assert take[scene.sound][0] == scene.class_name


def test_val_and_test_show_the_objects_and_recordings_of_train():
    for split in ("val", "test"):
        for kind in ("photo", "sound", "class"):
            assert rows_of(split, kind) == rows_of("train", kind)


def test_the_ladder_has_several_recordings_of_every_class_and_others_held_out():
    trained = stamps.recordings("ladder")
    held_out = stamps.recordings("unseen")
    assert set(trained) <= set(held_out)
    for name, takes in trained.items():
        assert len(takes) >= 2 and not set(takes) & set(held_out[name])
        assert takes == stamps.recordings("train")[name]
    assert rows_of("ladder", "photo") < rows_of("train", "photo")
    assert soundstamps.several() >= set(soundstamps.classes("frames"))


def test_photographs_to_train_on_are_heard_with_recordings_to_train_on():
    train, wild = (stamps.recordings(split) for split in ("train", "wild"))
    assert stamps.recordings("frames") == train
    held_out = [row["class"] for row in table("sounds") if row["split"] != "train"]
    for name in soundstamps.classes("wild"):
        if name in held_out:  # then nothing of it is in training
            assert not set(wild[name]) & set(train.get(name, ()))
        else:
            assert wild[name] == train[name]


def test_of_three_photographs_of_a_class_the_second_is_to_test_on():
    """Each photograph is in `frames` or in `wild`, and not in both."""
    found: dict[str, dict[str, str]] = {}
    for split in ORDINARY:
        for row in table(split):
            if row["package"] == "COCO 2017":
                name = Path(row["file"]).name
                assert name not in found.setdefault(row["class"], {})
                found[row["class"]][name] = split
    for name, photographs in found.items():
        splits = [photographs[file] for file in sorted(photographs)]
        if len(splits) == 1 or name in soundstamps.classes("open"):
            assert set(splits) == {"wild"}
        else:
            assert splits == [ORDINARY[k % 3 == 1] for k in range(len(splits))]
    assert {row["package"] for row in table("frames")} == {"COCO 2017"}


def test_crops_of_photographs_show_the_object_where_its_boxes_say(monkeypatch):
    """A white photograph with a black object: dark pixels are those in the box."""
    boxes = [[0.1, 0.3, 0.5, 0.6], [0.7, 0.7, 0.9, 0.95]]
    image = Image.new("RGB", (320, 200), "white")
    for x0, y0, x1, y1 in boxes:
        edges = round(320 * x0), round(200 * y0), round(320 * x1), round(200 * y1)
        image.paste("black", edges)
    for seed in range(60):
        crop, seen = soundstamps._crop_around(random.Random(seed), image, boxes)
        truth = boxes_to_truth(seen).numpy() > 0
        dark = np.asarray(crop.convert("L")) < 128
        inside = ndimage.binary_erosion(truth, iterations=2)
        assert crop.size == (CANVAS, CANVAS) and dark[inside].all()
        # of a box that does not count, less than a fifth of it may be in the crop
        outside = ~ndimage.binary_dilation(truth, iterations=2)
        assert (dark & outside).mean() < 0.2 * 0.35 and len(seen) >= 1


def test_unseen_shows_classes_of_train_and_open_none_of_them():
    train = set(soundstamps.classes("train"))
    assert set(soundstamps.classes("unseen")) < train
    assert not set(soundstamps.classes("open")) & train


def test_the_card_counts_what_the_tables_hold():
    card = (REPOSITORY / "data" / "README.md").read_text(encoding="utf-8")
    for split in SPLITS:
        kinds = ("class", "photo", "sound", "background")
        takes = rows_of(split, "sound")
        takes = {take for take in takes if take[0] in soundstamps.classes(split)}
        counts = [len(takes if k == "sound" else rows_of(split, k)) for k in kinds]
        assert f"| `{split}` | {' | '.join(map(str, counts))} |" in card
    for name in TABLES:
        assert f"| `{name}.tsv` | {len(table(name))} |" in card
    size = sum(path.stat().st_size for path in stamps.ROOT.rglob("*.*"))
    assert f"the files, {size / 1e6:.0f} MB in all" in card


def test_the_card_says_how_wild_and_frames_are_made_up():
    card = (REPOSITORY / "data" / "README.md").read_text(encoding="utf-8")
    card = " ".join(card.split())
    wild, frames = (
        Counter(row["class"] for row in table(name) if row["package"] == "COCO 2017")
        for name in ("wild", "frames")
    )
    rows, train = table("wild"), stamps.recordings("train")
    heard = [
        r
        for r in rows
        if stamps.recordings("wild")[r["class"]] == train.get(r["class"])
    ]
    new = set(soundstamps.classes("wild")) - set(soundstamps.classes("frames"))
    assert len(new - set(soundstamps.classes("train"))) == 6  # "six classes"
    assert len({row["class"] for row in heard}) == 7  # "of seven classes"
    for text in (
        f"{len(rows) + frames.total()} ordinary photographs, {frames.total()} of them",
        f"**`wild` is small.** {len(rows)} photographs",
        f"{len(rows) - wild.total()} are mostly centred",
        f"{wild.total()} are from COCO, with its boxes, {wild['truck']} of them of "
        f"trucks and {wild['bus']} of buses. Of {len(heard)} photographs no recording",
        f"{frames['bus'] + frames['train']} of its {frames.total()} photographs show",
    ):
        assert text in card


def test_no_file_is_stored_twice():
    for name in TABLES:
        folder = (soundstamps.ROOT / name).iterdir()
        copies = Counter(hashlib.sha256(path.read_bytes()).digest() for path in folder)
        assert max(copies.values()) == 1


def test_no_picture_is_nearly_another():
    def thumbnail(file):
        image = Image.open(soundstamps.ROOT / file).convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        grey = Image.alpha_composite(white, image).convert("L")
        pixels = np.asarray(grey.resize((16, 16), Image.BOX), float)
        return (pixels - pixels.mean()) / (pixels.std() * 16)

    for names in (("photos",), ("backgrounds",), ORDINARY):
        thumbnails = [thumbnail(row["file"]) for n in names for row in table(n)]
        for one, other in combinations(thumbnails, 2):
            alike = max((one * other).sum(), (one * other[:, ::-1]).sum())
            assert alike < 0.95


@pytest.mark.slow
def test_no_recording_of_train_is_heard_again_under_another_name():
    length = 1 << 15  # of 2 kHz: twice the longest recording
    spectra, splits, names = [], [], []
    for row in table("sounds"):
        wave = stamps.sound(row["file"]).astype(np.float32)
        wave = wave[: len(wave) // 8 * 8].reshape(-1, 8).mean(1)
        wave = (wave - wave.mean()) / np.linalg.norm(wave - wave.mean())
        assert 2 * len(wave) <= length
        spectra.append(scipy.fft.rfft(wave, length))
        splits.append(row["split"])
        names.append(row["file"])
    train = [k for k, split in enumerate(splits) if split == "train"]
    for k, split in enumerate(splits):
        if split in ("unseen", "open"):
            for j in train:
                alike = np.abs(scipy.fft.irfft(spectra[k] * spectra[j].conj())).max()
                assert alike < 0.75, (names[k], names[j], alike)


# --- truth --------------------------------------------------------------------


def test_the_box_bounds_the_mask_exactly(many):
    for scene, _ in many:
        (box,) = scene.boxes
        rows, columns = np.nonzero(scene.mask)
        edges = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert np.array_equal(np.divide(edges, CANVAS), box)


def test_the_mask_is_the_first_objects_and_masks_are_disjoint(many):
    for scene, _ in many:
        assert scene.mask.shape == (CANVAS, CANVAS) and scene.mask.dtype == bool
        assert len(scene.objects) == 1 + len(scene.silent) <= 3
        assert np.array_equal(scene.objects[0], scene.mask)
        assert np.sum(scene.objects, axis=0).max() == 1


def test_masks_are_what_is_left_visible_of_what_was_painted(many):
    photo_class = {row["file"]: row["class"] for row in table("photos")}
    for scene, painted in many:
        visible = {}
        for photo, alpha in painted:  # back to front
            visible = {name: mask & ~alpha for name, mask in visible.items()}
            visible[photo_class[photo]] = alpha
        names = (scene.class_name, *scene.silent)
        assert set(visible) == set(names)
        for name, mask in zip(names, scene.objects):
            assert np.array_equal(visible[name], mask)


def test_every_object_stays_visible(many):
    for scene, painted in many:
        for _, alpha in painted:
            left = max((alpha & mask).sum() for mask in scene.objects)
            assert left >= 0.5 * alpha.sum() and left >= 100  # of 50,176 pixels


@pytest.mark.parametrize("split", COMPOSED)
def test_no_object_is_more_hidden_than_allowed_and_half_of_it_is_in_view(split):
    grid = (np.arange(200) + 0.5) / 200
    for seed in range(150):
        boxes = [box for _, _, box in soundstamps._layout(random.Random(seed), split)]
        covers = [
            ((grid > y0) & (grid < y1))[:, None] & ((grid > x0) & (grid < x1))
            for x0, y0, x1, y1 in boxes
        ]
        for k, box in enumerate(boxes):
            assert covers[k].mean() >= 0.49 * box_area(box)
            for cover in covers[:k] + covers[k + 1 :]:
                hidden = (covers[k] & cover).sum() / covers[k].sum()
                assert hidden <= soundstamps.HIDDEN + 0.05  # the grid is coarse


def test_objects_of_a_scene_are_of_different_classes_of_the_split():
    for split in COMPOSED:
        for scene in soundstamps.compose_many(split, 9, 30, 8):
            names = (scene.class_name, *scene.silent)
            assert len(set(names)) == len(names)
            assert set(names) <= set(soundstamps.classes(split))


@pytest.mark.parametrize("split", ORDINARY)
def test_masks_of_photographs_are_the_boxes_by_the_protocol_of_the_metric(split):
    for index in range(soundstamps.length("wild")):
        scene = compose(split, 0, index, 16)
        assert np.array_equal(scene.mask, boxes_to_truth(scene.boxes).numpy() > 0)
        assert scene.mask.any()
        for x0, y0, x1, y1 in scene.boxes:
            assert 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1


def test_another_seed_of_wild_shows_the_same_picture_with_another_cut_of_sound():
    one, other = (compose("wild", seed, 3, 32) for seed in (0, 1))
    assert np.array_equal(one.image, other.image)
    assert not np.array_equal(one.wave, other.wave)


# --- sizes and places -----------------------------------------------------------


def test_sizes_follow_vgg_ss(many):
    shares = [box_area(scene.boxes[0]) for scene, _ in many]
    for quantile, share in VGGSS.items():
        assert abs(np.quantile(shares, quantile) - share) < 0.015 + 0.06 * share
    assert abs(np.mean(shares) - 0.312) < 0.02


def test_the_law_of_sizes_passes_through_the_quantiles_of_vgg_ss():
    for quantile, share in VGGSS.items():
        assert soundstamps.area_at(quantile) == pytest.approx(share)
    grid = [soundstamps.area_at(q) for q in np.linspace(0, 1, 1001)]
    assert grid == sorted(grid) and grid[0] == AREA[0][1] and grid[-1] == AREA[-1][1]
    assert np.mean(grid) == pytest.approx(0.312, abs=0.01)


@pytest.mark.skipif(not VGGSS_JSON.exists(), reason="the boxes of VGG-SS are not here")
def test_the_quantiles_are_those_of_the_boxes_of_vgg_ss():
    clips = json.loads(VGGSS_JSON.read_text())
    truths = [boxes_to_truth(clip["bbox"]) for clip in clips if clip["bbox"]]
    shares = np.array([truth.mean().item() for truth in truths])
    for quantile, share in VGGSS.items():
        assert np.quantile(shares, quantile) == pytest.approx(share, abs=0.003)
    assert shares.mean() == pytest.approx(0.312, abs=0.003)


def test_centres_are_spread_wider_than_in_vgg_ss(many):
    centres = [
        ((x0 + x1) / 2, (y0 + y1) / 2)
        for scene, _ in many
        for x0, y0, x1, y1 in scene.boxes
    ]
    (left, top), (right, bottom) = np.quantile(centres, [0.25, 0.75], axis=0)
    x0, y0, x1, y1 = soundstamps.CENTRES
    assert left < x0 and right > x1 and top < y0 and bottom > y1
    assert np.allclose(np.mean(centres, axis=0), 0.5, atol=0.02)


@pytest.mark.skipif(not VGGSS_JSON.exists(), reason="the boxes of VGG-SS are not here")
def test_the_middle_half_of_centres_is_that_of_vgg_ss():
    clips = json.loads(VGGSS_JSON.read_text())
    truths = [boxes_to_truth(clip["bbox"]).bool().numpy() for clip in clips]
    boxes = np.array([soundstamps.box_of(truth) for truth in truths if truth.any()])
    assert len(boxes) > 5_000
    low, high = np.quantile((boxes[:, :2] + boxes[:, 2:]) / 2, [0.25, 0.75], axis=0)
    assert (*low, *high) == pytest.approx(soundstamps.CENTRES, abs=0.006)


# --- only the sound tells which object sounds -------------------------------------


def guesses(scene, painted):
    """What somebody who is deaf might go by: rule -> index of the object chosen."""
    boxes = [soundstamps.box_of(mask) for mask in scene.objects]
    areas = [mask.sum() for mask in scene.objects]
    away = [(x0 + x1 - 1) ** 2 + (y0 + y1 - 1) ** 2 for x0, y0, x1, y1 in boxes]
    front = painted[-1][1]
    return {
        "largest": np.argmax(areas),
        "largest box": np.argmax([box_area(box) for box in boxes]),
        "most central": np.argmin(away),
        "front-most": np.argmax([(front & mask).sum() for mask in scene.objects]),
        "left-most": np.argmin([box[0] for box in boxes]),
        "lowest": np.argmax([box[3] for box in boxes]),
    }


@pytest.mark.parametrize(
    "rule",
    ["largest", "largest box", "most central", "front-most", "left-most", "lowest"],
)
def test_no_look_tells_which_object_sounds(many, rule):
    crowds = [(scene, painted) for scene, painted in many if scene.silent]
    hits = sum(guesses(*crowd)[rule] == 0 for crowd in crowds)
    chance = np.array([1 / len(scene.objects) for scene, _ in crowds])
    deviation = (chance * (1 - chance)).sum() ** 0.5
    assert len(crowds) > 150
    assert abs(hits - chance.sum()) < 3 * deviation


def test_every_class_sounds_as_often_as_it_is_shown(many):
    shown, sounds, variance = Counter(), Counter(), Counter()
    for scene, _ in many:
        if scene.silent:
            chance = 1 / len(scene.objects)
            sounds[scene.class_name] += 1
            for name in (scene.class_name, *scene.silent):
                shown[name] += chance
                variance[name] += chance * (1 - chance)
    scores = {n: (sounds[n] - shown[n]) ** 2 / variance[n] for n in shown}
    assert set(scores) == set(soundstamps.classes("train"))
    # n squared normals: mean n, variance 2 n
    n = len(scores)
    assert sum(scores.values()) < n + 3 * (2 * n) ** 0.5, scores


def test_all_classes_sound_about_equally_often(many):
    counts = Counter(scene.class_name for scene, _ in many)
    assert set(counts) == set(soundstamps.classes("train"))
    assert scipy.stats.chisquare(list(counts.values())).pvalue > 0.001, counts


# --- no seam --------------------------------------------------------------------


def test_noise_is_even_over_object_and_background(monkeypatch):
    noise = soundstamps._noise
    inside, outside = [], []
    for index in range(12):
        noisy = compose("train", 0, index, CANVAS)
        with monkeypatch.context() as patch:
            patch.setattr(soundstamps, "_noise", lambda *a: 0 * noise(*a))
            clean = compose("train", 0, index, CANVAS)
        added = noisy.image.astype(int) - clean.image
        mild = (clean.image > 12) & (clean.image < 243)  # nothing is clipped there
        anything = np.any(noisy.objects, axis=0)[:, :, None]
        inside.append(added[mild & anything])
        outside.append(added[mild & ~anything])
    inside, outside = np.concatenate(inside), np.concatenate(outside)
    assert inside.std() == pytest.approx(0.58 * 4, rel=0.03)
    assert inside.std() == pytest.approx(outside.std(), rel=0.02)
    assert inside.mean() == pytest.approx(outside.mean(), abs=0.05)


def test_object_and_background_hold_no_detail_beyond_112_pixels(quiet):
    for index in range(6):
        scene = compose("train", 0, index, CANVAS)
        small = Image.fromarray(scene.image).resize((112, 112), Image.BOX)
        again = np.asarray(small.resize((CANVAS, CANVAS), Image.BICUBIC)).astype(int)
        lost = np.abs(again - scene.image).mean(2)
        coarse = np.asarray(
            small.resize((56, 56), Image.BOX).resize((CANVAS, CANVAS), Image.BICUBIC)
        )
        detail = np.abs(coarse.astype(int) - scene.image).mean(2)
        anything = np.any(scene.objects, axis=0)
        for part in (anything, ~anything):
            assert lost[part].mean() < 0.5 * detail[part].mean()


def test_noise_is_integer_nearly_normal_and_of_the_size_it_says():
    noise = soundstamps._noise(random.Random(0), (100, 1001), 60)
    assert noise.shape == (100, 1001) and noise.dtype == np.int32
    assert noise.std() == pytest.approx(0.58 * 60, rel=0.02)
    assert abs(noise.mean()) < 1
    within = (np.abs(noise - noise.mean()) < noise.std()).mean()
    assert within == pytest.approx(0.683, abs=0.03)
    flat = noise.ravel() - noise.mean()
    assert abs((flat[1:] * flat[:-1]).mean()) < 0.02 * noise.var()


# --- sound ----------------------------------------------------------------------


def test_waves_are_three_seconds_of_int16_never_silent_and_never_clipped(many):
    for scene, _ in many:
        assert scene.wave.shape == (48_000,) and scene.wave.dtype == np.int16
        peak = np.abs(scene.wave.astype(int)).max() / 32767
        assert 0.25 < peak < 0.92, scene.sound  # gain 0.3 to 1 of a peak of 0.9


def test_short_recordings_are_repeated_and_long_ones_cut(quiet):
    short = long = 0
    for seed in range(40):
        rng = random.Random(seed)
        wave, name = soundstamps._draw_wave(rng, "train", rng.choice(["pig", "owl"]))
        source = stamps.sound(name)
        assert len(wave) == 48_000
        if len(source) < 48_000:
            assert np.array_equal(wave[len(source) :], wave[: -len(source)])
            short += 1
        else:
            long += 1
            assert not np.array_equal(wave[1:], wave[:-1])
    assert short and long


def test_above_the_cutoff_every_clip_is_the_same_noise():
    window = np.hanning(48_000)
    above = np.fft.rfftfreq(48_000, 1 / 16_000) > 5_000
    for split in SPLITS:
        for index in range(8):
            wave = compose(split, 0, index, 8).wave
            power = np.abs(np.fft.rfft(wave * window)[above]) ** 2
            expected = (0.577 * 60) ** 2 * (window**2).sum()
            assert power.mean() == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("split", ["train", "wild"])
def test_origins_name_class_and_recording_of_what_sounds(split):
    scenes = soundstamps.compose_many(split, 0, 12, 8)
    labels, recordings = soundstamps.origins(scenes)
    assert list(labels) == [scene.class_name for scene in scenes]
    takes = stamps.recordings(split)
    for scene, name in zip(scenes, recordings, strict=True):
        class_name, take = name.split(" ")
        assert scene.sound in takes[class_name][take]
        assert class_name == scene.class_name


def test_gain_and_offset_differ_between_clips_of_one_recording(many):
    peaks = {}
    for scene, _ in many:
        peaks.setdefault(scene.sound, []).append(np.abs(scene.wave.astype(int)).max())
    most = max(peaks.values(), key=len)
    assert len(most) > 5 and max(most) > 1.5 * min(most)


# --- bad input --------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        lambda: compose("trian", 0, 0, 96),
        lambda: soundstamps.classes("trian"),
        lambda: soundstamps.length("trian"),
    ],
)
def test_an_unknown_split_is_named_with_those_that_are_known(call):
    with pytest.raises(
        ValueError, match="unknown split 'trian'; known are train, ladder"
    ):
        call()


@pytest.mark.parametrize("seed, index, size", [(-1, 0, 96), (0, -1, 96), (0, 0, 7)])
@pytest.mark.parametrize("split", ["train", "wild"])
def test_negative_numbers_and_tiny_pictures_are_refused(split, seed, index, size):
    with pytest.raises(ValueError, match=f"seed {seed}, index {index} .* size {size}"):
        compose(split, seed, index, size)


def test_wild_ends_where_its_photographs_end():
    count = soundstamps.length("wild")
    assert count == len(table("wild"))
    assert all(soundstamps.length(split) is None for split in COMPOSED)
    with pytest.raises(
        ValueError, match=f"index {count}: wild has {count} photographs"
    ):
        compose("wild", 0, count, 96)


@pytest.mark.parametrize("quantile", [-0.1, 1.1])
def test_sizes_outside_of_the_law_are_refused(quantile):
    with pytest.raises(ValueError, match=f"quantile {quantile} is not in"):
        soundstamps.area_at(quantile)


def test_a_missing_table_says_where_it_should_be(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"photos\.tsv is missing: .* full clone"
    ):
        table("photos", tmp_path)


@pytest.mark.parametrize("content", [b"", b"no picture", None])
@pytest.mark.parametrize("read", [stamps.open_image, stamps.sound.__wrapped__])
def test_a_missing_or_damaged_file_is_named_with_the_remedy(
    read, content, tmp_path, monkeypatch
):
    monkeypatch.setattr(stamps, "ROOT", tmp_path)
    if content is not None:
        (tmp_path / "cow.png").write_bytes(content)
    with pytest.raises(
        OSError, match=r"cow\.png cannot be read .*`git checkout -- data`"
    ):
        read("cow.png")


def test_a_truncated_picture_is_named(tmp_path, monkeypatch):
    whole = (soundstamps.ROOT / table("photos")[0]["file"]).read_bytes()
    monkeypatch.setattr(stamps, "ROOT", tmp_path)
    (tmp_path / "frog.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(OSError, match=r"frog\.png cannot be read"):
        stamps.open_image("frog.png")


def test_a_built_scene_has_its_object_at_its_size_and_the_same_again():
    for name, area in (("cow", 0.1), ("owl", 0.3), ("tiger", 0.6)):
        scene = soundstamps.build("train", 3, name, area)
        assert scene.class_name == name and scene.silent == ()
        assert box_area(scene.boxes[0]) == pytest.approx(area, rel=0.1)
        again = soundstamps.build("train", 3, name, area)
        assert all(
            np.array_equal(getattr(scene, f.name), getattr(again, f.name))
            for f in fields(scene)
        )


def test_a_choice_of_a_built_scene_changes_what_it_names_and_nothing_else():
    scene = soundstamps.build("train", 2, "cow", 0.3, silent=2)
    assert len(scene.silent) == 2
    for k, name in enumerate(scene.silent, 1):
        other = soundstamps.build("train", 2, "cow", 0.3, silent=2, sounding=k)
        assert other.class_name == name and stamps.takes()[other.sound][0] == name
        assert {other.class_name, *other.silent} == {"cow", *scene.silent}
        np.testing.assert_array_equal(other.image, scene.image)
        np.testing.assert_array_equal(other.mask, scene.objects[k])
        assert other.photo in stamps.photos("train")[name]
    for other in (
        soundstamps.build("train", 2, "cow", 0.1, silent=2),
        soundstamps.build("train", 2, "owl", 0.3),
    ):
        assert other.background == scene.background
        corner = np.s_[:8, :8]  # no object reaches it in any of these
        assert not np.any([*other.objects, *scene.objects], 0)[corner].any()
        np.testing.assert_array_equal(other.image[corner], scene.image[corner])
    smaller = soundstamps.build("train", 2, "cow", 0.1, silent=2)
    np.testing.assert_array_equal(smaller.wave, scene.wave)


def test_a_long_object_is_built_at_most_so_large_that_half_of_it_is_in_view():
    for name in stamps.photos("train"):
        for photo in stamps.photos("train")[name]:
            width, height = stamps.cutout(photo).size
            largest = 2 * min(width, height) / max(width, height)
            scene = soundstamps.build("train", 0, name, 1.0)
            if scene.photo == photo:
                assert box_area(scene.boxes[0]) <= min(1, largest) + 0.02


@pytest.mark.parametrize(
    "given, said",
    [
        ({"class_name": "piano"}, "no photograph of 'piano'; train has badger"),
        ({"split": "wild", "class_name": "dog"}, "no composed scenes"),
        ({"split": "tset"}, "unknown split 'tset'"),
        ({"area": 0}, r"area 0 in \(0, 1]"),
        ({"area": 1.5}, r"area 1.5 in \(0, 1]"),
        ({"silent": -1}, "silent -1 must be ≥ 0"),
        ({"sounding": 1}, "sounding 1: need 0 to 0"),
    ],
)
def test_what_cannot_be_built_is_refused_and_said(given, said):
    with pytest.raises(ValueError, match=said):
        soundstamps.build(
            **{"split": "train", "seed": 0, "class_name": "cow", "area": 0.3} | given
        )
