"""The heatmap widget of notebook 06, without a browser."""

import datetime
import io
import re

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from sslnb import localise
from sslnb.data import load_audio, load_image, load_scenes, normalise, spectrogram
from sslnb.model import SoundLocaliser, respond
from sslnb.teach import widgets
from sslnb.teach.widgets import heat


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return SoundLocaliser.from_preset("laptop").eval()


@pytest.fixture(scope="module")
def clips():
    return load_scenes("test", 4)


@pytest.fixture
def box(model, clips):
    return widgets.heatmaps(model, clips)


@pytest.fixture(scope="module")
def maps(model, clips):
    """Response maps (image, sound, h, w) from the model's encoders."""
    with torch.no_grad():
        v = model.embed_image(normalise(clips.images))
        a = model.embed_audio(spectrogram(clips.waves, model.config.audio))
    return respond(v, a)


def shown_ciou(box):
    return float(re.search(r"cIoU ([\d.]+)", box.status.value).group(1))


def pixels(box):
    return np.asarray(Image.open(io.BytesIO(box.view.png)).convert("RGB")).astype(int)


def right_half(box):
    return pixels(box)[:, heat.PANEL + 8 :]


def test_it_starts_with_the_first_image_its_own_sound_and_the_median(box):
    values = {name: control.value for name, control in box.controls.items()}
    assert values == {"image": 0, "sound": "own", "quantile": 0.5, "show": "map"}
    assert pixels(box).shape == (heat.PANEL, 2 * heat.PANEL + 8, 3)


@pytest.mark.parametrize("name, value", [("image", 2), ("sound", 1), ("show", "mask")])
def test_every_control_changes_the_view(box, name, value):
    before = box.view.png
    box.controls[name].value = value
    assert box.view.png != before
    box.controls[name].value = {"image": 0, "sound": "own", "show": "map"}[name]
    assert box.view.png == before


def test_the_threshold_changes_the_mask_and_the_score_but_not_the_map(box):
    before = box.view.png, box.status.value
    box.controls["quantile"].value = 0.8
    assert box.view.png == before[0] and box.status.value != before[1]
    box.controls["show"].value = "mask"
    masked = box.view.png
    box.controls["quantile"].value = 0.5
    assert box.view.png != masked
    assert box.status.value == before[1]


def test_at_the_median_the_score_is_the_protocols(box, clips, maps):
    truth = localise.truth_of(clips)
    for n in range(len(clips)):
        for m in range(len(clips)):
            box.controls["image"].value, box.controls["sound"].value = n, m
            expected = localise.ciou(maps[n, m][None], truth[n][None])[0].item()
            assert box.ciou == pytest.approx(expected, abs=1e-4)
            assert shown_ciou(box) == pytest.approx(expected, abs=6e-4)


def test_its_own_sound_is_the_sound_of_that_number(box):
    box.controls["image"].value = 3
    own = box.view.png, box.ciou, box.player.value
    box.controls["sound"].value = 3
    assert (box.view.png, box.ciou, box.player.value) == own


def test_at_another_quantile_the_score_is_that_of_its_mask(box, clips, maps):
    box.controls["quantile"].value = 0.9
    p = localise.resize(maps[0, 0][None])[0]
    mask = p > np.quantile(p.double().numpy(), 0.9, method="higher")
    truth = localise.boxes_to_truth(clips.boxes[0]) > 0
    expected = (mask & truth).sum() / (mask | truth).sum()
    assert box.ciou == pytest.approx(expected.item(), abs=1e-3)
    assert "mask 10% of the image" in box.status.value


def test_the_ends_of_the_threshold_are_nearly_everything_and_nearly_nothing(box):
    box.controls["quantile"].value = 0
    assert "mask 100% of the image" in box.status.value
    box.controls["quantile"].value = box.controls["quantile"].max
    assert "mask 1% of the image" in box.status.value


def test_the_mask_is_painted_where_it_is(box, clips, maps):
    """Blue inside the box, vermilion outside: counted on the image's own pixels."""
    p = localise.resize(maps[0, 0][None])[0]
    mask = heat.above(p, 0.5).numpy()
    truth = localise.boxes_to_truth(clips.boxes[0]).numpy() > 0
    box.controls["show"].value = "mask"
    plain, painted = pixels(box)[:, : heat.PANEL], right_half(box)
    step = heat.PANEL / localise.SIZE
    at = ((np.arange(localise.SIZE) + 0.5) * step).astype(int)
    inner = np.s_[15:-15, 15:-15]
    change = (painted - plain)[at][:, at][inner]  # red, green, blue of each pixel
    warm = change[..., 0] - change[..., 2]  # towards vermilion and away from blue
    mask, truth = mask[inner], truth[inner]
    if (mask & ~truth).any():
        assert warm[mask & ~truth].mean() > 20
    assert warm[mask & truth].mean() < -20


def test_the_player_has_the_chosen_sound(box, clips):
    for sound in ("own", 2):
        box.controls["sound"].value = sound
        wave, rate = soundfile.read(io.BytesIO(box.player.value), dtype="int16")
        index = box.controls["image"].value if sound == "own" else sound
        assert rate == 16_000
        assert np.abs(wave.astype(int) - clips.waves[index].numpy()).max() <= 1
        assert f"♪ {clips.labels[index]}" in box.status.value


def test_the_sound_is_sent_again_only_when_it_changes(box):
    sent = []
    box.player.observe(lambda change: sent.append(change), "value")
    box.controls["quantile"].value = 0.7
    box.controls["show"].value = "mask"
    assert not sent
    box.controls["sound"].value = 1
    assert len(sent) == 1


def test_everything_is_embedded_once(model, clips, monkeypatch):
    calls = []
    for name in ("embed_image", "embed_audio"):
        method = getattr(model, name)
        monkeypatch.setattr(
            model, name, lambda x, method=method: calls.append(len(x)) or method(x)
        )
    box = widgets.heatmaps(model, clips)
    box.controls["image"].value = 1
    box.controls["sound"].value = 0
    assert calls == [len(clips), len(clips)]


def test_the_model_is_left_as_it_was(clips):
    torch.manual_seed(0)
    model = SoundLocaliser.from_preset("laptop").train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    widgets.heatmaps(model, clips)
    assert model.training
    assert all(
        torch.equal(before[name], value) for name, value in model.state_dict().items()
    )


def test_photographs_with_several_boxes_and_short_sets_work(model):
    clips = load_scenes("wild", 1)
    assert len(clips.boxes[0]) > 1
    box = widgets.heatmaps(model, clips)
    truth = localise.truth_of(clips)
    expected = localise.ciou(localise.respond_to(model, clips), truth)[0]
    assert box.ciou == pytest.approx(expected.item(), abs=1e-4)


# --- own files ----------------------------------------------------------------


def upload(box, kind, name, content):
    """What the browser sends when a file is chosen."""
    file = {
        "name": name,
        "type": "",
        "size": len(content),
        "content": memoryview(content),
        "last_modified": datetime.datetime.now(datetime.UTC),
    }
    box.uploads[kind].value = (file,)


def a_picture(width=300, height=200, seed=0):
    """A PNG of noise, its pixels (H, W, 3)."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (height // 20, width // 20, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).resize((width, height))
    file = io.BytesIO()
    image.save(file, "png")
    return file.getvalue()


def a_sound(rate=44_100, seconds=4.0, kind="WAV"):
    time = np.arange(round(rate * seconds)) / rate
    file = io.BytesIO()
    soundfile.write(file, np.sin(880 * np.pi * time), rate, format=kind)
    return file.getvalue()


def test_an_own_image_and_sound_give_the_models_map_without_a_score(
    box, model, tmp_path
):
    upload(box, "image", "my cat.png", a_picture())
    upload(box, "sound", "miaow.flac", a_sound(kind="FLAC"))
    (tmp_path / "a.png").write_bytes(a_picture())
    (tmp_path / "a.flac").write_bytes(a_sound(kind="FLAC"))
    image = load_image(tmp_path / "a.png", model.config.image_size)
    wave = load_audio(tmp_path / "a.flac", model.config.audio)
    response = model.predict(image[None], wave[None])[0]
    told = re.search(r"cosines (-?[\d.]+) to (-?[\d.]+)", box.status.value).groups()
    assert told == (f"{response.min():.2f}", f"{response.max():.2f}")
    assert "♪ miaow.flac, on your image my cat.png" in box.status.value
    assert "no box, so there is no cIoU" in box.status.value
    assert "without a box" in box.view.alt and box.ciou is None
    played, rate = soundfile.read(io.BytesIO(box.player.value))
    assert rate == 16_000 and abs(played - wave.numpy()).max() < 1e-3
    p = localise.resize(response[None])[0]
    at = divmod(int(p.argmax()), localise.SIZE)
    y, x = (round((k + 0.5) * heat.PANEL / localise.SIZE) for k in at)
    assert right_half(box)[y, min(x + 7, heat.PANEL - 1)].min() > 200  # its white ring


def test_an_own_image_is_one_more_to_choose_and_the_others_stay(box, clips):
    before = box.view.png, box.ciou
    upload(box, "image", "a.png", a_picture())
    number = box.controls["image"].value
    assert number == len(clips)
    own = box.view.png
    box.controls["image"].value, box.controls["sound"].value = 0, "own"
    assert (box.view.png, box.ciou) == before
    box.controls["image"].value, box.controls["sound"].value = number, 0
    assert box.view.png == own
    upload(box, "image", "b.png", a_picture(seed=1))
    assert box.controls["image"].value == len(clips) + 1 and box.view.png != own


def test_an_own_image_keeps_what_is_playing_and_its_own_sound_is_the_newest(box):
    box.controls["image"].value = 2
    upload(box, "image", "a.png", a_picture())
    assert box.controls["sound"].value == 2
    upload(box, "sound", "a.wav", a_sound())
    box.controls["sound"].value = "own"
    assert "♪ a.wav, on your image a.png" in box.status.value


def test_the_mask_of_an_image_without_a_box_accuses_nobody(box):
    upload(box, "image", "a.png", a_picture())
    box.controls["show"].value = "mask"
    left, right = pixels(box)[:, : heat.PANEL], right_half(box)
    same = (abs(left - right).max(2) < 4).mean()
    assert 0.4 < same < 0.6  # half stays as it is, the rest is darker
    assert (right.sum(2) <= left.sum(2) + 12).all()


@pytest.mark.parametrize(
    "kind, name, content, said",
    [
        ("image", "a.png", b"not an image", "a.png is damaged or not an image"),
        ("image", "half.png", a_picture()[:400], "half.png is damaged"),
        ("image", "empty.jpg", b"", "empty.jpg is damaged"),
        ("sound", "a.mp3", b"not a sound", "a.mp3 is missing, damaged or not a sound"),
        ("sound", "none.wav", a_sound(seconds=0), "none.wav holds no samples"),
        ("sound", "slow.wav", a_sound(rate=500), "need 1000 to 768000"),
        ("sound", "big.wav", bytes(8_000_001), "big.wav has 8.0 MB; need 8 MB or less"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_and_changes_nothing(
    box, kind, name, content, said
):
    before = box.view.png, dict(box.controls[kind].options)
    upload(box, kind, name, content)
    assert said in box.status.value and "✗" in box.status.value
    assert "/tmp" not in box.status.value and "upload." not in box.status.value
    assert (box.view.png, dict(box.controls[kind].options)) == before
    upload(box, "image", "a.png", a_picture())  # and the next one works
    assert "✗" not in box.status.value


@pytest.mark.parametrize("right", [True, False])
def test_the_name_of_a_file_is_never_html(box, right):
    name = '<img src=x onerror=alert(1)>".png'
    upload(box, "image", name, a_picture() if right else b"no")
    upload(box, "sound", name + "<b>.wav", a_sound() if right else b"no")
    for text in (box.status.value, box.view.value):
        assert "<img src=x" not in text and "<b>.wav" not in text
    assert "&lt;img src=x" in box.status.value


def test_an_upload_embeds_itself_and_nothing_else(box, model, monkeypatch):
    calls = []
    for kind in ("embed_image", "embed_audio"):
        method = getattr(model, kind)
        monkeypatch.setattr(
            model,
            kind,
            lambda x, kind=kind, method=method: (
                calls.append((kind, len(x))) or method(x)
            ),
        )
    upload(box, "image", "a.png", a_picture())
    upload(box, "sound", "a.wav", a_sound())
    box.controls["quantile"].value = 0.7
    assert calls == [("embed_image", 1), ("embed_audio", 1)]
