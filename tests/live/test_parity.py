"""Each step of the live pages in Chromium, against Python's: sounds, geometry, maps."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from sslnb import augment, consistency
from sslnb.data import LAPTOP_AUDIO, load_audio, load_image, spectrogram
from sslnb.data.media import MEAN, RELEASE_AUDIO, AudioConfig, fit_length, normalise
from sslnb.data.soundstamps import ROOT as STAMPS
from sslnb.data.soundstamps import table
from sslnb.export import mel_bands
from sslnb.files import CHECKPOINT
from sslnb.losses import equivariance_loss
from sslnb.model import SoundLocaliser

pytestmark = pytest.mark.slow

MEL = """async ([wave, audio]) => {
  const { fitLength, spectrogram } = await import(new URL("mel.js", location));
  return Array.from(spectrogram(fitLength(Float32Array.from(wave), audio.samples), audio));
}"""
WARP = """async ([values, shape, settings, fill]) => {
  const { affine, warp, inFrame } = await import(new URL("geometry.js", location));
  const theta = affine(settings);
  return [theta, Array.from(warp(Float32Array.from(values), shape, theta, fill)),
    Array.from(inFrame(theta, shape[1], shape[2]))];
}"""
FIT = """async ([pixels, height, width, size]) => {
  const { fit } = await import(new URL("geometry.js", location));
  return Array.from(fit(pixels, height, width, size));
}"""
ENLARGE = """async ([map, height, width, size]) => {
  const { enlarge } = await import(new URL("geometry.js", location));
  return Array.from(enlarge(Float32Array.from(map), height, width, size));
}"""
WAVE = """async ([address, audio]) => {
  const { readSound } = await import(new URL("media.js", location));
  return Array.from(await readSound(address, audio));
}"""
WAV = """async ([wave, rate]) => {
  const { toWav } = await import(new URL("media.js", location));
  const file = await toWav(Float32Array.from(wave), rate).arrayBuffer();
  return Array.from(new Int16Array(file, 44));
}"""


@pytest.fixture(scope="module")
def model():
    return SoundLocaliser.load(CHECKPOINT)


@pytest.fixture
def bare(visit):
    """A page without a model, from which modules are imported."""
    return visit("index", wait=None)


def settings(config: AudioConfig):
    """What encoders.json has of an AudioConfig."""
    return {
        **{name: getattr(config, name) for name in config.__dataclass_fields__},
        "samples": config.samples,
        "bands": mel_bands(config),
    }


# --- sounds -----------------------------------------------------------------


@pytest.mark.parametrize(
    "config, limit",
    [(LAPTOP_AUDIO, 1e-4), (RELEASE_AUDIO, 2e-2)],
    ids=["laptop", "paper"],
)
def test_spectrograms_are_torchaudios(bare, config, limit):
    """Of recordings: to 1e-3 of the laptop's scale, on which 1 is 60 dB.

    The paper's scale is plain decibels, and has none for silence: where a band holds
    nearly nothing, float32 rounds. There the mean must agree to 1e-3.
    """
    for row in table("sounds")[::60]:
        wave = load_audio(STAMPS / row["file"], config)
        expected = spectrogram(wave[None], config)[0, 0].numpy()
        found = bare.evaluate(MEL, [wave.tolist(), settings(config)])
        found = np.array(found, np.float32).reshape(expected.shape)
        difference = abs(found - expected)
        assert difference.max() < (1e-3 if config.clip else 1), row["file"]
        assert difference.mean() < 1e-3, row["file"]
        assert np.median(difference) < limit
        assert expected.std() > 0.1  # a sound, not silence


@pytest.mark.parametrize("length", [1, 700, 47_999, 48_000, 48_001, 90_000])
def test_sounds_of_any_length_are_cropped_or_repeated_alike(bare, length):
    generator = torch.Generator().manual_seed(length)
    wave = torch.randn(length, generator=generator) * 0.1
    expected = spectrogram(fit_length(wave, 48_000)[None], LAPTOP_AUDIO)[0, 0]
    found = bare.evaluate(MEL, [wave.tolist(), settings(LAPTOP_AUDIO)])
    torch.testing.assert_close(
        torch.tensor(found).view_as(expected), expected, rtol=0, atol=1e-3
    )


def test_silence_is_the_floor(bare):
    found = bare.evaluate(MEL, [[0.0] * 100, settings(LAPTOP_AUDIO)])
    assert set(found) == {LAPTOP_AUDIO.silence}


def test_a_file_is_decoded_as_in_python(bare, built):
    for path in sorted((built / "samples").glob("*.wav"))[:4]:
        expected = load_audio(path, LAPTOP_AUDIO)
        audio = settings(LAPTOP_AUDIO)
        found = bare.evaluate(WAVE, [f"samples/{path.name}", audio])
        # Chromium divides positive samples by 32767, negative ones by 32768
        np.testing.assert_allclose(found, expected, rtol=0, atol=1.01 / 32768)
        played = bare.evaluate(WAV, [expected.tolist(), 16_000])
        assert played == (expected * 32768).int().tolist()


# --- geometry ---------------------------------------------------------------


TRANSFORMS = [
    {},
    {"degrees": 20},
    {"degrees": -135, "flip": True},
    {"scale": 0.5, "degrees": 30},
    {"scale": 2, "x": 0.2, "y": -0.4},
    {"scale": 1.3, "degrees": 90, "flip": True, "x": -0.1, "y": 0.3},
]


@pytest.mark.parametrize("given", TRANSFORMS)
def test_transforms_are_those_of_augment_warp(bare, given):
    theta = augment.fixed_affine(
        side=1 / given.get("scale", 1),
        x=given.get("x", 0),
        y=given.get("y", 0),
        degrees=given.get("degrees", 0),
        flip=-1.0 if given.get("flip") else 1.0,
    )
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, 3, 24, 24, generator=generator)
    response = torch.rand(1, 12, 12, generator=generator)
    values = [image.flatten().tolist(), [3, 24, 24], given, list(MEAN)]
    found_theta, found, _ = bare.evaluate(WARP, values)
    np.testing.assert_allclose(found_theta, theta.flatten(), rtol=0, atol=1e-6)
    # Python transforms after normalisation; out of frame is the mean
    expected = augment.warp(normalise(image), theta).flatten()
    found = normalise(torch.tensor(found).view(1, 3, 24, 24)).flatten()
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)
    values = [response.flatten().tolist(), [1, 12, 12], given, []]
    _, found, inside = bare.evaluate(WARP, values)
    expected = augment.warp(response, theta).flatten()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert inside == augment.in_frame(theta, 12, 12).int().flatten().tolist()


@pytest.mark.parametrize("height, width", [(224, 224), (61, 130), (200, 96), (40, 30)])
def test_resizing_is_that_of_the_model(bare, model, height, width):
    generator = torch.Generator().manual_seed(height)
    pixels = torch.randint(
        256, (3, height, width), generator=generator, dtype=torch.uint8
    )
    expected = model.fit(pixels[None])[0]
    rgba = torch.cat([pixels, torch.full((1, height, width), 255)]).permute(1, 2, 0)
    found = bare.evaluate(FIT, [rgba.flatten().tolist(), height, width, 96])
    found = torch.tensor(found).view(3, 96, 96)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_maps_are_enlarged_as_the_protocols_do(bare):
    response = torch.rand(1, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    found = bare.evaluate(ENLARGE, [response.flatten().tolist(), 12, 12, 50])
    expected = torch.nn.functional.interpolate(response, (50, 50), mode="bilinear")
    np.testing.assert_allclose(found, expected.flatten(), rtol=0, atol=1e-5)


# --- maps, end to end --------------------------------------------------------


def predicted(model, built, image, sound):
    """PyTorch's map of two files of the samples."""
    pixels = torch.from_numpy(np.array(Image.open(built / "samples" / image)))
    wave = load_audio(built / "samples" / sound, model.config.audio)
    return model.predict(pixels.permute(2, 0, 1)[None], wave[None])[0]


def test_the_pages_maps_are_those_of_predict(visit, model, built):
    page = visit("heatmap")
    samples = json.loads((built / "samples" / "samples.json").read_text())
    sounds = {sound["title"]: sound["file"] for sound in samples["sounds"]}
    for image in samples["images"]:
        for title in (image["sound"], "silence"):
            page.get_by_role("radio", name=title, exact=True).and_(
                page.locator("#sounds input")
            ).check()
            tile = page.locator(
                "label", has=page.locator(f"img[src$='{image['file']}']")
            )
            tile.get_by_role("radio").check()
            page.get_by_text(f"“{title}” in “{image['title']}”").wait_for()
            found = page.locator("#view").evaluate("view => view.map")
            expected = predicted(model, built, image["file"], sounds[title])
            assert expected.std() > 1e-3
            np.testing.assert_allclose(found, expected.flatten(), rtol=0, atol=1e-3)


def test_load_image_and_the_page_see_nearly_the_same(visit, model, built):
    """Pillow rounds to 8 bits after each direction; the page does not."""
    page = visit("heatmap")
    path = next((STAMPS / "wild").iterdir())  # an ordinary JPEG, of any shape
    page.locator("#image-file").set_input_files(path)
    page.get_by_text(f"in “{path.name}”").wait_for()
    found = page.locator("#view").evaluate("view => view.map")
    samples = json.loads((built / "samples" / "samples.json").read_text())
    sound = next(
        s["file"]
        for s in samples["sounds"]
        if s["title"] == samples["images"][0]["sound"]
    )
    wave = load_audio(built / "samples" / sound, model.config.audio)
    expected = model.predict(load_image(path, 96)[None], wave[None])[0].flatten()
    np.testing.assert_allclose(found, expected, rtol=0, atol=5e-3)


def test_the_equivariance_page_computes_eq_9(visit, model, built):
    page = visit("equivariance")
    samples = json.loads((built / "samples" / "samples.json").read_text())
    first = samples["images"][0]
    sounds = {sound["title"]: sound["file"] for sound in samples["sounds"]}
    pixels = torch.from_numpy(np.array(Image.open(built / "samples" / first["file"])))
    image = normalise(model.fit(pixels.permute(2, 0, 1)[None]))
    wave = load_audio(built / "samples" / sounds[first["sound"]], model.config.audio)
    sound = spectrogram(wave[None], model.config.audio)
    page.locator("#flip").click()
    page.locator("#scale").fill("0.8")
    page.locator("#degrees").fill("-40")
    page.get_by_text("Rotated by -40°, scaled to 0.80, flipped:").wait_for()
    shown = page.locator("#stage").evaluate(
        "stage => Object.fromEntries(Object.entries(stage.shown).map(([name, x]) => "
        "[name, typeof x === 'number' ? x : Array.from(x)]))"
    )
    theta = augment.fixed_affine(side=1 / 0.8, degrees=-40, flip=-1.0)
    with torch.no_grad():
        before = model(image, sound)[0]  # (1, h, w)
        after = model(augment.warp(image, theta), sound)[0]
    expected = augment.warp(before, theta)
    inside = augment.in_frame(theta, 12, 12)
    for name, values in (("map", before), ("expected", expected), ("found", after)):
        np.testing.assert_allclose(shown[name], values.flatten(), rtol=0, atol=1e-3)
    assert shown["inside"] == inside.int().flatten().tolist()
    squares, _ = consistency._compare(expected, after, inside)
    error = squares / before.double().var((1, 2), correction=0)
    assert shown["error"] == pytest.approx(error.item(), rel=1e-2)
    loss = equivariance_loss(before, after, theta)
    assert loss * inside.numel() / inside.sum() == pytest.approx(
        squares.item(), rel=1e-3
    ) or loss == pytest.approx(squares.item(), rel=1e-3)
    assert page.locator("#error-number").inner_text() == f"e = {shown['error']:.2f}"
