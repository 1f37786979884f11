"""The encoders and the response map, against torchvision and plain loops."""

import json
import pickle
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import nn
from torchvision.models import resnet18
from torchvision.models.resnet import BasicBlock

from sslnb.data import LAPTOP_AUDIO, normalise, spectrogram
from sslnb.model import (
    PRESETS,
    Block,
    ModelConfig,
    SoundLocaliser,
    encoder,
    respond,
    smooth,
    stride,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def laptop(seed=0):
    torch.manual_seed(seed)
    return SoundLocaliser.from_preset("laptop")


def tiny(**changes):
    """The laptop's plan, narrow: for tests that need no trained features."""
    torch.manual_seed(0)
    config = {**asdict(PRESETS["laptop"]), "width": 2, "image_size": 32, **changes}
    return SoundLocaliser(ModelConfig.from_dict(config))


def batch(images=3, sounds=3, size=96, bands=64, frames=120):
    return (
        torch.randn(images, 3, size, size, generator=generator()),
        torch.rand(sounds, 1, bands, frames, generator=generator(1)),
    )


def parameters(module):
    return sum(p.numel() for p in module.parameters())


# --- presets


@torch.no_grad()
def test_paper_preset_has_the_sizes_of_section_4_1():
    model = SoundLocaliser.from_preset("paper").eval()
    images, spectrograms = batch(1, 1, 224, 257, 670)
    assert model.embed_image(images).shape == (1, 512, 14, 14)
    assert model.embed_audio(spectrograms).shape == (1, 512)
    assert model(images, spectrograms).shape == (1, 1, 14, 14)
    audio = model.config.audio
    waves = torch.zeros(1, audio.samples)
    assert spectrogram(waves, audio).shape == (1, 1, 257, 670)


@torch.no_grad()
def test_laptop_preset_has_the_sizes_of_its_description():
    model = laptop().eval()
    images, spectrograms = batch(2, 2)
    assert model.config.image_size == 96
    assert model.embed_image(images).shape == (2, 128, 12, 12)
    assert model.embed_audio(spectrograms).shape == (2, 128)
    waves = torch.zeros(2, model.config.audio.samples)
    assert spectrogram(waves, model.config.audio).shape == spectrograms.shape
    assert parameters(model) < 0.7e6


def without_head(channels):
    """torchvision's ResNet-18 up to its last map, which does not shrink."""
    network = resnet18(weights=None)
    network.layer4[0].conv1.stride = network.layer4[0].downsample[0].stride = (1, 1)
    if channels != 3:
        network.conv1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
    return nn.Sequential(*list(network.children())[:-2])


@pytest.mark.parametrize("channels, size", [(3, (224, 224)), (1, (257, 670))])
@torch.no_grad()
def test_paper_encoder_is_torchvisions_resnet18(channels, size):
    torch.manual_seed(0)
    ours, theirs = (
        encoder(channels, PRESETS["paper"], pool=True),
        without_head(channels),
    )
    assert parameters(ours) == parameters(theirs)
    state = theirs.state_dict()
    for (name, value), copied in zip(state.items(), ours.state_dict().values()):
        assert value.shape == copied.shape, name
        if name.endswith("running_mean"):  # as if trained: no two channels alike
            value.normal_(0, 0.1)
        if name.endswith("running_var"):
            value.uniform_(0.5, 2)
    ours.load_state_dict(dict(zip(ours.state_dict(), state.values())))
    x = torch.randn(1, channels, *size, generator=generator())
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))
    assert ours(x).shape[1:] == ((512, 14, 14) if channels == 3 else (512, 17, 42))


@pytest.mark.parametrize("stride, out", [(1, 4), (2, 6)])
def test_a_block_is_torchvisions_to_the_bit(stride, out):
    """Random weights, names, output, running means and gradients, in training."""

    def built(kind):
        torch.manual_seed(0)
        shortcut = None if stride == 1 else nn.Conv2d(4, out, 1, stride, bias=False)
        block = kind(4, out, stride, shortcut)
        x = torch.randn(3, 4, 10, 10, requires_grad=True)
        y = block(x)
        y.square().sum().backward()
        found = {f"grad of {k}": p.grad for k, p in block.named_parameters()}
        return found | block.state_dict() | {"y": y, "grad of x": x.grad}

    ours, theirs = built(Block), built(BasicBlock)
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_presets_are_initialised_as_in_the_release():
    """kaiming, fan_out: standard deviation sqrt(2 / (out · k · k))."""
    for module in SoundLocaliser.from_preset("paper").modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * module.kernel_size[0] ** 2
            std = (2 / fan_out) ** 0.5
            assert module.weight.std().item() == pytest.approx(std, rel=0.05)
            assert module.bias is None


def test_a_seed_gives_one_model():
    first, again, other = laptop(0), laptop(0), laptop(1)
    pairs = zip(first.state_dict().values(), again.state_dict().values())
    assert all(torch.equal(a, b) for a, b in pairs)
    pairs = zip(first.parameters(), other.parameters())
    assert not all(torch.equal(a, b) for a, b in pairs)


def seen(network, size, cell):
    """Side of the square of pixels that a cell of the map depends on."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
    x = torch.rand(1, 3, size, size, generator=generator(), requires_grad=True)
    network.eval()(x)[0, :, cell, cell].sum().backward()
    rows = x.grad[0].abs().sum((0, 2)).nonzero()
    return int(rows.max() - rows.min()) + 1


def test_a_cell_of_the_laptop_encoder_sees_less_than_the_image():
    reach, jump = 1, 1  # 7 × 7, then one block a stage of two 3 × 3
    for kernel, step in [(7, 2)] + [(3, s) for s in (1, 1, 2, 1, 2, 1, 1, 1)]:
        reach, jump = reach + (kernel - 1) * jump, jump * step
    assert (reach, jump) == (83, 8)
    assert seen(encoder(3, PRESETS["laptop"], pool=False), 192, 12) == reach
    assert reach < PRESETS["laptop"].image_size


def test_an_unknown_preset_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown preset 'desktop'.*paper, laptop"):
        SoundLocaliser.from_preset("desktop")


# --- embeddings and similarity


def blurred(features, sigma):
    """scipy's Gaussian over cells, truncated at three σ, the border repeated outwards."""
    found = gaussian_filter(
        features.double().numpy(), (0, 0, sigma, sigma), mode="nearest", truncate=3
    )
    return torch.from_numpy(found.astype(np.float32))


@pytest.mark.parametrize("sigma", [1.0, 2.0])
def test_smooth_is_scipys_gaussian(sigma):
    features = torch.rand(2, 3, 12, 9, generator=generator())
    torch.testing.assert_close(smooth(features, sigma), blurred(features, sigma))


@pytest.mark.parametrize("sigma", [0.0, 0.5, 1.0])
def test_smooth_leaves_even_features_as_they_are(sigma):
    features = torch.rand(2, 3, 1, 1, generator=generator()).expand(2, 3, 8, 8)
    torch.testing.assert_close(smooth(features, sigma), features)


def test_smooth_with_no_sigma_is_no_operation():
    features = torch.rand(2, 3, 5, 5, generator=generator())
    assert smooth(features, 0) is features


@pytest.mark.parametrize("training", [True, False])
def test_embeddings_are_unit_vectors_of_features_above_zero(training):
    model = laptop().train(training)
    images, spectrograms = batch()
    v, a = model.embed_image(images), model.embed_audio(spectrograms)
    assert (v >= 0).all() and (a >= 0).all()
    torch.testing.assert_close(v.norm(dim=1), torch.ones(3, 12, 12))
    torch.testing.assert_close(a.norm(dim=1), torch.ones(3))
    similarity = model(images, spectrograms)
    assert similarity.min() >= 0 and similarity.max() <= 1 + 1e-6


@torch.no_grad()
def test_audio_is_the_maximum_over_cells():
    model = laptop().eval()
    _, spectrograms = batch()
    features = model.audio_encoder(spectrograms)  # (3, 128, h, w)
    for sound, found in zip(features, model.embed_audio(spectrograms)):
        pooled = torch.stack([channel.max() for channel in sound])
        torch.testing.assert_close(found, pooled / pooled.square().sum().sqrt())


@pytest.mark.parametrize("sigma", [0.0, 1.0])
@torch.no_grad()
def test_similarity_is_the_cosine_of_every_image_with_every_sound(sigma):
    """Rectangular: three images, five sounds; [i, j] is image i against sound j."""
    model = tiny(smooth=sigma).eval()
    images, spectrograms = batch(3, 5, 32)
    similarity = model(images, spectrograms)
    features = model.image_encoder(images)
    height, width = features.shape[2:]
    stride = 32 / height
    features = smooth(features, sigma, (stride - 1) / 2 / stride)
    assert similarity.shape == (3, 5, height, width)
    for j in range(5):
        pooled = model.audio_encoder(spectrograms)[j].amax((1, 2))
        for i in range(3):
            for y in range(height):
                for x in range(width):
                    need = nn.functional.cosine_similarity(
                        features[i, :, y, x], pooled, dim=0
                    )
                    torch.testing.assert_close(similarity[i, j, y, x], need)


def test_respond_takes_any_unit_vectors_below_zero_too():
    v = nn.functional.normalize(torch.randn(2, 6, 3, 4, generator=generator()), dim=1)
    a = nn.functional.normalize(torch.randn(5, 6, generator=generator(1)), dim=1)
    found = respond(v, a)
    assert found.shape == (2, 5, 3, 4)
    torch.testing.assert_close(found, torch.einsum("ichw,jc->ijhw", v, a))
    assert found.min() < 0


@torch.no_grad()
def test_permuting_images_and_sounds_permutes_rows_and_columns():
    model = tiny().eval()
    images, spectrograms = batch(4, 4, 32)
    similarity = model(images, spectrograms)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(model(images[order], spectrograms), similarity[order])
    torch.testing.assert_close(model(images, spectrograms[order]), similarity[:, order])


@torch.no_grad()
def test_a_clip_has_the_same_map_alone_and_in_a_batch():
    model = laptop().eval()
    images, spectrograms = batch()
    alone = model(images[1:2], spectrograms[2:3])
    assert alone.shape == (1, 1, 12, 12)
    torch.testing.assert_close(alone[0, 0], model(images, spectrograms)[1, 2])


@pytest.mark.parametrize("blocks", [(1,), (1, 1), (1, 1, 1), (1, 1, 1, 1)])
def test_a_cell_lies_a_stride_from_the_next_however_many_stages(blocks):
    model = SoundLocaliser(replace(PRESETS["laptop"], blocks=blocks))
    cells = model.embed_image(torch.zeros(1, 3, 96, 96)).shape[-1]
    assert stride(model.config) * cells == 96


@pytest.mark.parametrize("how", ["BILINEAR", "BICUBIC"])
def test_images_are_resized_as_their_configuration_says(how):
    config = replace(PRESETS["laptop"], resample=how.lower())
    pixels = np.random.default_rng(0).integers(0, 256, (3, 150, 200)).astype(np.uint8)
    fitted = SoundLocaliser(config).fit(torch.from_numpy(pixels)[None])[0].numpy()
    assert fitted.min() >= 0 and fitted.max() <= 1
    for pillows in ("BILINEAR", "BICUBIC"):
        planes = [
            Image.fromarray(plane).resize((96, 96), Image.Resampling[pillows])
            for plane in pixels
        ]
        difference = np.abs(255 * fitted - np.array(planes)).mean()
        assert (difference < 0.5) == (pillows == how)  # Pillow rounds twice


@torch.no_grad()
def test_images_and_sounds_of_other_sizes_pass():
    model = tiny().eval()
    images, _ = batch(2, 1, 48)
    _, spectrograms = batch(1, 2, 48, 64, 200)
    assert model(images, spectrograms).shape == (2, 2, 6, 6)


@torch.no_grad()
def test_features_of_half_precision_give_maps_of_full():
    model = laptop().eval()
    images, spectrograms = batch()
    with torch.autocast("cpu", torch.bfloat16):
        v, a = model.embed_image(images), model.embed_audio(spectrograms)
    assert v.dtype == a.dtype == torch.float32
    torch.testing.assert_close(v.norm(dim=1), torch.ones(3, 12, 12))
    torch.testing.assert_close(
        respond(v, a), model(images, spectrograms), atol=0.03, rtol=0
    )


@pytest.mark.parametrize("shape", [(3, 96, 96), (2, 1, 96, 96), (2, 96, 96, 3)])
def test_images_of_another_shape_are_named(shape):
    with pytest.raises(ValueError, match=r"images have shape .*\(B, 3, H, W\)") as e:
        tiny().embed_image(torch.zeros(shape))
    assert str(tuple(shape)) in str(e.value)


@pytest.mark.parametrize("shape", [(64, 120), (2, 64, 120), (2, 3, 64, 120)])
def test_spectrograms_of_another_shape_are_named(shape):
    with pytest.raises(
        ValueError, match=r"spectrograms have shape .*\(B, 1, F, T\)"
    ) as e:
        tiny().embed_audio(torch.zeros(shape))
    assert str(tuple(shape)) in str(e.value)


# --- predict


@pytest.mark.parametrize("training", [True, False])
def test_predict_pairs_each_image_with_its_own_sound(training):
    model = tiny().train(training)
    images = torch.rand(3, 3, 32, 32, generator=generator())
    waves = torch.rand(3, LAPTOP_AUDIO.samples, generator=generator(1)) - 0.5
    before = {k: v.clone() for k, v in model.state_dict().items()}
    found = model.predict(images, waves)
    assert model.training == training and not found.requires_grad
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    with torch.no_grad():
        similarity = model.eval()(normalise(images), spectrogram(waves))
    own = torch.stack([similarity[i, i] for i in range(3)])
    torch.testing.assert_close(found, own)


def test_predict_takes_pixels_and_samples_as_integers():
    model = tiny()
    pixels = torch.randint(
        256, (2, 3, 32, 32), generator=generator(), dtype=torch.uint8
    )
    samples = torch.randint(
        -32768,
        32767,
        (2, LAPTOP_AUDIO.samples),
        generator=generator(),
        dtype=torch.int16,
    )
    torch.testing.assert_close(
        model.predict(pixels, samples), model.predict(pixels / 255, samples / 32768)
    )


def test_the_readmes_example_runs_in_any_folder(tmp_path, monkeypatch):
    readme = Path(__file__).resolve().parents[1] / "README.md"
    example = readme.read_text("utf-8").split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (200, 150), "sienna").save("dog.jpg")
    soundfile.write("dog.wav", np.random.default_rng(0).uniform(-1, 1, 16_000), 16_000)
    names = {}
    exec(example, names)
    assert names["response"].shape == (12, 12) and names["response"].isfinite().all()
    unused = {name for name in names if example.count(name) == 1}
    assert not unused - {"response", "__builtins__"}


def test_predict_refuses_a_wave_of_another_length():
    with pytest.raises(ValueError, match=r"waves have shape .*48000"):
        tiny().predict(torch.rand(1, 3, 32, 32), torch.zeros(1, 1_000))


def test_predict_refuses_images_without_their_own_sounds():
    """Three images and one wave would otherwise be broadcast without a word."""
    with pytest.raises(ValueError, match=r"3 .*1 .*one each"):
        tiny().predict(torch.rand(3, 3, 32, 32), torch.zeros(1, LAPTOP_AUDIO.samples))


@pytest.mark.parametrize("side", [32, 40])  # 40: resized in double precision
def test_predict_takes_arrays_in_numpys_own_precision(side):
    images = torch.rand(2, 3, side, side, generator=generator(), dtype=torch.float64)
    waves = torch.rand(2, LAPTOP_AUDIO.samples, generator=generator(1)) - 0.5
    model = tiny()
    found = model.predict(images, waves.double())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, model.predict(images.float(), waves))


def as_it_is(values):
    return values


@pytest.mark.parametrize(
    "images, waves, error, message",
    [
        (
            lambda x: 255 * x,
            as_it_is,
            ValueError,
            r"images run from .* to 25\d.*; need",
        ),
        (as_it_is, lambda x: 32_768 * x, ValueError, r"waves run from -163\d+.*; need"),
        (
            lambda x: x / 0,
            as_it_is,
            ValueError,
            "images hold values that are not finite",
        ),
        (torch.Tensor.numpy, as_it_is, TypeError, "images are a ndarray; need a torch"),
        (as_it_is, torch.Tensor.numpy, TypeError, "waves are a ndarray; need a torch"),
        (list, list, TypeError, "torch.stack"),
        (
            lambda x: x[0],
            lambda x: x[0],
            ValueError,
            r"images have shape \(3, .*; need \(B, 3, H, W\)",
        ),
        (
            as_it_is,
            lambda x: x[0],
            ValueError,
            r"waves have shape \(48000,\); need \(B, 48000\)",
        ),
    ],
)
@pytest.mark.parametrize("side", [32, 40])
def test_predict_refuses_anything_but_images_and_waves(
    images, waves, error, message, side
):
    """None may pass unnoticed, or end in one of PyTorch's own errors."""
    image = torch.rand(2, 3, side, side, generator=generator())
    wave = torch.rand(2, LAPTOP_AUDIO.samples, generator=generator(1)) - 0.5
    assert tiny().predict(image, wave).isfinite().all()
    with pytest.raises(error, match=message):
        tiny().predict(images(image), waves(wave))


def test_predict_restores_the_mode_after_an_error_too():
    model = tiny().train()
    with pytest.raises(ValueError):
        model.predict(torch.rand(1, 3, 32, 32), torch.zeros(1, 1_000))
    assert model.training


# --- checkpoints


def test_a_checkpoint_comes_back_to_the_bit(tmp_path):
    model = laptop()
    images, spectrograms = batch()
    model(images, spectrograms)  # changes the running statistics
    model.save(tmp_path / "new" / "folder", clips=7, note="ε 0.45")
    again = SoundLocaliser.load(tmp_path / "new" / "folder")
    assert not again.training and again.config == model.config
    states = model.state_dict(), again.state_dict()
    assert list(states[0]) == list(states[1])
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name
    with torch.no_grad():
        assert torch.equal(
            model.eval()(images, spectrograms), again(images, spectrograms)
        )
    card = json.loads((tmp_path / "new/folder/model.json").read_text("utf-8"))
    assert card["clips"] == 7 and card["note"] == "ε 0.45"


@pytest.mark.parametrize("changes", [{}, {"pool": True}, {"blocks": (2, 1, 1, 1)}])
def test_any_configuration_comes_back(tmp_path, changes):
    model = tiny(**changes)
    model.save(tmp_path)
    assert SoundLocaliser.load(tmp_path).config == model.config


def test_a_checkpoint_can_be_written_over(tmp_path):
    laptop(0).save(tmp_path)
    laptop(1).save(tmp_path)
    weights = SoundLocaliser.load(tmp_path).image_encoder[0].weight
    assert torch.equal(weights, laptop(1).image_encoder[0].weight)


def test_channels_last_weights_can_be_saved(tmp_path):
    model = tiny().to(memory_format=torch.channels_last)
    model.save(tmp_path)
    pairs = zip(model.parameters(), SoundLocaliser.load(tmp_path).parameters())
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("name", ["model.safetensors", "model.json"])
def test_a_missing_file_is_named_with_the_remedy(tmp_path, name):
    tiny().save(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(FileNotFoundError, match=r"is missing.*notebook 05") as e:
        SoundLocaliser.load(tmp_path)
    assert str(tmp_path / name) in str(e.value)


def change(card, **values):
    return json.dumps({**card, "model": {**card["model"], **values}}).encode()


DAMAGE = {
    "weights truncated": ("model.safetensors", lambda data: data[: len(data) // 2]),
    "weights empty": ("model.safetensors", lambda data: b""),
    "weights of no format": ("model.safetensors", lambda data: b"weights" * 100),
    "card truncated": ("model.json", lambda data: data[:40]),
    "card empty": ("model.json", lambda data: b""),
    "card not text": ("model.json", lambda data: b"\xff\xfe\x00"),
    "card a list": ("model.json", lambda data: b"[]"),
    "card without a model": ("model.json", lambda data: b"{}"),
    "card with an unknown key": (
        "model.json",
        lambda data: change(json.loads(data), depth=50),
    ),
    "card of another width": (
        "model.json",
        lambda data: change(json.loads(data), width=4),
    ),
    "card without audio": ("model.json", lambda data: b'{"model": {"width": 2}}'),
    "card with a list for the model": ("model.json", lambda data: b'{"model": []}'),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_named(tmp_path, damage):
    tiny().save(tmp_path)
    name, change_it = DAMAGE[damage]
    path = tmp_path / name
    path.write_bytes(change_it(path.read_bytes()))
    with pytest.raises(ValueError, match="damaged") as e:
        SoundLocaliser.load(tmp_path)
    assert str(tmp_path) in str(e.value)


def test_nothing_is_unpickled(tmp_path):
    """A pickle under the right name is refused, and what it carries never runs."""

    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    tiny().save(tmp_path)
    for write in (
        lambda path: path.write_bytes(pickle.dumps(Trap())),
        lambda path: torch.save({"weights": Trap()}, path),
    ):
        write(tmp_path / "model.safetensors")
        with pytest.raises(ValueError, match="damaged"):
            SoundLocaliser.load(tmp_path)
        assert not (tmp_path / "sprung").exists()


# --- what a cell sees ------------------------------------------------------------


def centre_of_sensitivity(model, cell, size=96):
    """Mean position of the pixels that affect a cell, weighted by squared gradient."""
    generator = torch.Generator().manual_seed(0)
    total = torch.zeros(size, size)
    for _ in range(4):
        images = torch.rand(1, 3, size, size, generator=generator, requires_grad=True)
        probe = torch.randn(model.embed_image(images).shape[1], generator=generator)
        (model.embed_image(images)[0, :, cell, cell] @ probe).backward()
        total += images.grad.square().sum((0, 1))
    pixels = torch.arange(size) + 0.5
    return [(total.sum(k) @ pixels / total.sum()).item() for k in (1, 0)]


def test_a_cell_of_the_laptop_model_is_centred_on_its_own_pixels():
    torch.manual_seed(0)
    model = SoundLocaliser.from_preset("laptop").eval()
    for place in centre_of_sensitivity(model, 5):
        assert place == pytest.approx(5.5 * 8, abs=1.5)  # unshifted: 40.5


def test_smoothing_leaves_a_constant_and_shifts_a_dot():
    from sslnb.model import smooth

    assert torch.allclose(
        smooth(torch.ones(1, 2, 5, 5), 1.0, 0.4), torch.ones(1, 2, 5, 5)
    )
    dot = torch.zeros(1, 1, 15, 15)
    dot[..., 7, 7] = 1
    spread = smooth(dot, 1.0, 0.4)[0, 0]
    middle = (spread.sum(0) @ torch.arange(15.0)).item()
    assert middle == pytest.approx(
        7 - 0.4, abs=0.02
    )  # a cell reads what lies further on
    assert smooth(dot, 0.0) is dot
