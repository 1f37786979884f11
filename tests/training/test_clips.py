"""Which clips train, which validate, and how much of a frame a crop shows."""

import pytest
import torch

from sslnb.augment import draw_crops
from sslnb.cli import main
from sslnb.data import soundstamps
from sslnb.data.store.clips import pack_scenes
from sslnb.model import PRESETS
from sslnb.series import listing
from sslnb.series.run import parameters_of
from sslnb.training.clips import load_training
from sslnb.training.recipe import TrainConfig
from sslnb.training.step import at_model_size, random_crop


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("scenes") / "store"
    pack_scenes("train", 4, path, size=96, workers=1)
    return path


# --- choices that would be ignored are refused ----------------------------------


@pytest.mark.parametrize(
    "data, name, option, right",
    [
        ("soundstamps", "root", "--root", "--data"),
        ("soundstamps", "listed", "--list", "--data"),
        ("soundstamps", "skip_damaged", "--skip-damaged", "--data"),
        ("packed", "listed", "--list", "when you pack"),
        ("packed", "skip_damaged", "--skip-damaged", "when you pack"),
    ],
)
def test_what_is_of_no_use_to_the_data_is_refused(data, name, option, right, store):
    given = {"root": store} if data == "packed" else {}
    with pytest.raises(ValueError) as error:
        load_training(data=data, scenes=4, val_clips=2, **given | {name: store})
    for text in (name, option, repr(data), right):
        assert text in str(error.value)


@pytest.mark.parametrize("data", ["packed", "vggsound"])
def test_scenes_are_of_soundstamps_alone(data, store, tmp_path, capsys):
    options = ["--data", data, "--root", str(store), "--scenes", "6"]
    assert main(["train", "--out", str(tmp_path), *options]) == 2
    said = capsys.readouterr().err
    assert "--scenes" in said and f"--data {data}" in said


def test_the_command_line_does_not_train_on_other_data_than_that_of_root(
    store, tmp_path, capsys
):
    options = ["--root", str(store), "--scenes", "4", "--val-clips", "2"]
    assert main(["train", "--out", str(tmp_path), *options]) == 1
    assert "--root" in capsys.readouterr().err


def test_notebook_05_needs_only_data_and_root_to_be_changed(store):
    """Its other parameters have values whatever the data."""
    (path,) = listing.notebooks(["05"])
    given = parameters_of(path) | {"data": "packed", "root": str(store)}
    names = ("preset", "scenes", "data", "regime", "root", "listed")
    clips, val = load_training(**{name: given[name] for name in names}, val_clips=2)
    assert (len(clips), len(val)) == (4, 2)


@pytest.mark.parametrize(
    "choice, known",
    [
        ({"preset": "large"}, "paper, laptop"),
        ({"regime": "clip"}, "scenes, clips"),
        ({"data": "VGGSound"}, "soundstamps, vggsound, packed"),
    ],
)
def test_an_unknown_choice_is_named_with_those_known(choice, known):
    ((name, value),) = choice.items()
    with pytest.raises(ValueError, match=f"{name} is '{value}'; known are {known}"):
        load_training(scenes=4, val_clips=2, **choice)


# --- stores of scenes -------------------------------------------------------------


@pytest.mark.parametrize("split", ["train", "ladder", "frames"])
def test_every_split_to_train_on_is_validated_on_val(split, tmp_path):
    pack_scenes(split, 3, tmp_path / "store", size=96, workers=1)
    clips, val = load_training(data="packed", root=tmp_path / "store", val_clips=5)
    assert clips.names == [f"{split}/0/{k}" for k in range(3)]
    assert {name.split("/")[0] for name in val.names} == {"val"} and len(val) == 5
    if split == "ladder":  # as in the regime "clips", which composes it
        assert set(val.labels) <= set(soundstamps.classes("ladder"))


# --- crops --------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("stored", [256, 512])
def test_a_crop_shows_as_much_of_a_frame_as_224_of_256(preset, stored):
    """Of an image that is brighter from left to right, brightness says what is seen."""
    size = PRESETS[preset].image_size
    ramp = torch.linspace(0, 255, stored).round().to(torch.uint8)
    images = ramp.expand(8, 3, stored, stored)
    crops = random_crop(images, size, torch.Generator().manual_seed(0), 8).float()
    assert crops.shape == (8, 3, size, size)
    seen = (crops[:, 0, 0, -1] - crops[:, 0, 0, 0]) / 255  # of a side
    assert (seen**2).numpy() == pytest.approx(0.77, abs=0.03)


@pytest.mark.parametrize("views", ["paper", "release"])
def test_the_released_codes_views_are_of_the_whole_image(views):
    ramp = torch.linspace(0, 255, 256).round().to(torch.uint8).expand(2, 3, 256, 256)
    config = TrainConfig.from_preset("paper", views=views)
    images = at_model_size(config, ramp, torch.Generator(), 2)
    assert images.shape == (2, 3, 224, 224)
    seen = images[:, 0, 0, -1] - images[:, 0, 0, 0]  # of a side
    need = {"paper": 223 / 255, "release": 1.0}[views]
    assert seen.numpy() == pytest.approx(need, abs=0.005)


@pytest.mark.parametrize("size, stored", [(224, 256), (96, 96), (96, 128)])
def test_a_crop_of_images_of_about_its_size_is_of_their_own_pixels(size, stored):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (4, 3, stored, stored)).to(torch.uint8)
    crops = random_crop(images, size, generator, 4)
    corners = draw_crops(4, stored, size, generator.manual_seed(0)).tolist()
    for crop, image, (y, x) in zip(crops, images, corners):
        assert torch.equal(crop, image[:, y : y + size, x : x + size])


def test_a_crop_of_large_images_has_no_alias():
    """A checkerboard of single pixels has become grey."""
    board = (torch.arange(256)[:, None] + torch.arange(256)) % 2 * 255
    images = board.to(torch.uint8).expand(2, 3, 256, 256)
    crops = random_crop(images, 96, torch.Generator(), 2)
    assert (crops - 127.5).abs().max() < 20
