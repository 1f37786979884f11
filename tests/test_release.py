"""The authors' checkpoints, against a network that torchvision makes."""

import pickle
import zipfile
from unittest.mock import Mock

import numpy as np
import pytest
import soundfile
import torch
import torchaudio
import torchvision.transforms as T
from PIL import Image
from torch import nn
from torchvision.models import resnet18

from sslnb.data import MEAN, RELEASE_AUDIO, STD, load_audio, load_image, spectrogram
from sslnb.files import CHECKPOINT
from sslnb.model import PRESETS, SoundLocaliser
from sslnb.release import published_name, read_release

LEFTOVER = {
    f"{network}.{part}"
    for network, other in (("imgnet", "conv1_a"), ("audnet", "conv1"))
    for part in (f"{other}.weight", "conv1_flow.weight", "fc.weight", "fc.bias")
} | {
    "vision_fc1.weight",
    "vision_fc1.bias",
    "conv3.weight",
    "conv3.bias",
    *(
        f"norm3.{part}"
        for part in (
            "weight",
            "bias",
            "running_mean",
            "running_var",
            "num_batches_tracked",
        )
    ),
}


class Network(nn.Module):
    """ResNet-18 of torchvision without stride in its last stage; three first layers."""

    def __init__(self, channels):
        super().__init__()
        resnet = resnet18(weights=None)
        resnet.layer4[0].conv1.stride = resnet.layer4[0].downsample[0].stride = (1, 1)
        resnet.conv1_a = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
        resnet.conv1_flow = nn.Conv2d(6, 64, 7, 2, 3, bias=False)
        self.__dict__["resnet"], self.channels = resnet, channels

    def state_dict(self):
        return self.resnet.state_dict()

    def forward(self, x):
        net = self.resnet
        x = (net.conv1 if self.channels == 3 else net.conv1_a)(x)
        x = net.maxpool(net.relu(net.bn1(x)))
        return net.layer4(net.layer3(net.layer2(net.layer1(x))))


class Published:
    """The model whose checkpoint is to be read, with weights as if it were trained."""

    def __init__(self):
        torch.manual_seed(0)
        self.networks = {"imgnet": Network(3), "audnet": Network(1)}
        rest = nn.ModuleDict(
            {
                "vision_fc1": nn.Conv2d(1024, 512, 1),
                "conv3": nn.Conv2d(1, 1, 1),
                "norm3": nn.BatchNorm2d(1),
            }
        )
        self.state = dict(rest.state_dict())
        for name, network in self.networks.items():
            network.resnet.eval()
            for key, value in network.state_dict().items():
                if key.endswith("running_mean"):
                    value.normal_(0, 0.2)
                elif key.endswith("running_var"):
                    value.uniform_(0.5, 2)
                elif (
                    "bn" in key or "downsample.1" in key
                ) and value.is_floating_point():
                    value.add_(0.2 * torch.randn(value.shape))  # γ and β
                self.state[f"{name}.{key}"] = value

    @torch.no_grad()
    def respond(self, images, spectrograms):
        """(B, 14, 14): cosine of each cell with the maximum over the sound's cells."""
        cells = self.networks["imgnet"](images).double()
        sounds = self.networks["audnet"](spectrograms).double().flatten(2).max(2).values
        maps = torch.zeros(len(cells), *cells.shape[2:])
        for k, (features, sound) in enumerate(zip(cells, sounds)):
            product = (features * sound[:, None, None]).sum(0)
            maps[k] = product / features.norm(dim=0) / sound.norm()
        return maps


@pytest.fixture(scope="module")
def published():
    return Published()


def optimiser(state):
    """Beside the weights: moments, and numbers of Python's and numpy's."""
    moments = {0: {"step": torch.tensor(7.0), "exp_avg": torch.zeros(3)}}
    return {
        "epoch": 61,
        "state_dict": state,
        "best_miou": np.float64(0.3863),
        "iteration": 280_000,
        "optimizer": {"state": moments, "param_groups": [{"lr": 1e-4}]},
    }


@pytest.fixture(scope="module")
def checkpoint(published, tmp_path_factory):
    path = tmp_path_factory.mktemp("release") / "vggsound144k.pth.tar"
    torch.save(optimiser(published.state), path)
    return path


@pytest.fixture(scope="module")
def model(checkpoint):
    return SoundLocaliser.from_release(checkpoint)


# --- the model ------------------------------------------------------------------


def test_the_checkpoint_of_these_tests_has_the_layout_that_is_known(published):
    assert len(published.state) == 257


def test_response_maps_are_those_of_the_published_model(model, published):
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(2, 3, 224, 224, generator=generator)
    spectrograms = 20 * torch.randn(2, 1, 257, 670, generator=generator) - 40
    right = published.respond(images, spectrograms)
    with torch.no_grad():
        found = model(images, spectrograms)
    found = torch.stack([found[k, k] for k in range(2)])
    assert found.shape == (2, 14, 14)
    assert right.flatten(1).std(1).min() > 1e-3  # they differ from cell to cell
    assert (found - right).abs().max() < 1e-5


def test_it_is_the_paper_preset_ready_to_use(model):
    assert model.config == PRESETS["paper"] and not model.training
    assert model.config.smooth == 0  # theirs does not smooth


def test_every_tensor_of_the_encoders_is_the_one_of_its_name(model, published):
    for name, value in model.state_dict().items():
        assert torch.equal(value, published.state[published_name(name)]), name


def test_unused_tensors_are_named(model):
    assert set(model.leftover) == LEFTOVER and len(model.leftover) == 17
    assert SoundLocaliser.from_preset("laptop").leftover == ()


def test_it_can_be_saved_as_a_checkpoint_of_our_own(model, tmp_path):
    model.save(tmp_path / "own")
    again = SoundLocaliser.load(tmp_path / "own")
    assert again.config == model.config
    pairs = zip(again.state_dict().values(), model.state_dict().values())
    assert all(torch.equal(a, b) for a, b in pairs)


# --- its inputs -----------------------------------------------------------------


def as_published(wave):
    """Decibels, of torchaudio's transforms as the published model is fed."""
    with pytest.warns(UserWarning, match="mel filterbank"):
        power = torchaudio.transforms.MelSpectrogram(
            16_000, n_fft=512, hop_length=239, n_mels=257, normalized=True
        )(wave)
    return torchaudio.transforms.AmplitudeToDB()(power)


def test_the_spectrogram_is_the_published_models():
    wave = 0.1 * torch.randn(1, 160_000, generator=torch.Generator().manual_seed(0))
    found = spectrogram(wave, RELEASE_AUDIO)
    assert found.shape == (1, 1, 257, 670)
    torch.testing.assert_close(found[:, 0], as_published(wave), atol=1e-4, rtol=0)


def test_the_spectrogram_is_its_definition():
    """Fourier's power over that of the window, triangles on the mel scale, decibels."""
    generator = np.random.default_rng(0)
    wave = 0.1 * generator.standard_normal(160_000)
    window = np.sin(np.pi * np.arange(512) / 512) ** 2
    padded = np.pad(wave, 256, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, 512)[::239]
    power = np.abs(np.fft.rfft(frames * window)) ** 2 / (window**2).sum()  # (670, 257)
    bins = np.arange(257) * 16_000 / 512
    mel = np.linspace(0, 2595 * np.log10(1 + 8_000 / 700), 259)
    hertz = 700 * (10 ** (mel / 2595) - 1)
    filters = np.stack(
        [np.interp(bins, hertz[k : k + 3], [0, 1, 0]) for k in range(257)]
    )
    right = 10 * np.log10(np.maximum(filters @ power.T, 1e-10))
    found = spectrogram(torch.from_numpy(wave[None]).float(), RELEASE_AUDIO)[
        0, 0
    ].numpy()
    assert found.shape == right.shape == (257, 670)
    assert np.array_equal(found == -100, right == -100)  # bands that no bin falls into
    assert np.abs(found - right).max() < 0.02 and np.abs(found - right).mean() < 1e-4


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A frame that was squashed to a square, and three seconds of sound."""
    folder = tmp_path_factory.mktemp("clip")
    generator = np.random.default_rng(2)
    pixels = generator.integers(0, 256, (32, 32, 3), np.uint8)
    image = Image.fromarray(pixels).resize((256, 256), Image.BICUBIC)
    image.save(folder / "a.png")
    wave = 0.2 * generator.standard_normal(48_000)
    soundfile.write(folder / "a.wav", wave, 16_000, subtype="FLOAT")
    return folder / "a.png", folder / "a.wav"


def frame_as_published(path):
    return T.Compose(
        [
            T.Resize(224, T.InterpolationMode.BICUBIC),
            T.CenterCrop(224),
            T.ToTensor(),
            T.Normalize(MEAN, STD),
        ]
    )(Image.open(path))


def test_from_files_to_map_as_the_published_model_goes(model, published, clip):
    frame, sound = clip
    wave = torch.from_numpy(soundfile.read(sound, dtype="float32")[0])
    tiled = as_published(wave.repeat(4)[None, :160_000])
    right = published.respond(frame_as_published(frame)[None], tiled[None])
    config = model.config
    found = model.predict(
        load_image(frame, config.image_size, config.resample)[None],
        load_audio(sound, config.audio)[None],
    )
    assert right.std() > 1e-4
    assert (found - right).abs().max() < 1e-5


# --- files of other kinds -------------------------------------------------------

# Three tensors stand for 240: names and shapes follow what is asked for.
TEMPLATE = {
    "image_encoder.0.weight": torch.zeros(2, 3, 7, 7),
    "image_encoder.4.bn1.num_batches_tracked": torch.tensor(0),
    "audio_encoder.0.weight": torch.zeros(2, 1, 7, 7),
}


def small(**changes):
    state = {
        "imgnet.conv1.weight": torch.ones(2, 3, 7, 7),
        "imgnet.layer1.0.bn1.num_batches_tracked": torch.tensor(9),
        "audnet.conv1_a.weight": torch.ones(2, 1, 7, 7),
        "audnet.conv1.weight": torch.ones(2, 3, 7, 7),
    }
    state |= {name.replace("__", "."): value for name, value in changes.items()}
    return {name: value for name, value in state.items() if value is not None}


def saved(tmp_path, content, **options):
    path = tmp_path / "a.pth.tar"
    torch.save(content, path, **options)
    return path


@pytest.mark.parametrize(
    "options",
    [{}, {"_use_new_zipfile_serialization": False}],
    ids=["zip", "before zip"],
)
def test_both_formats_of_torch_are_read(tmp_path, options):
    path = saved(tmp_path, optimiser(small()), **options)
    found = read_release(path, TEMPLATE)
    assert list(found.state) == list(TEMPLATE) and found.source == "release"
    assert found.state["image_encoder.4.bn1.num_batches_tracked"] == 9
    assert found.leftover == ("audnet.conv1.weight",)


def test_a_scalar_that_numpy_1_wrote_is_read(tmp_path):
    path, old = saved(tmp_path, optimiser(small())), tmp_path / "old.pth.tar"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(old, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name.endswith("data.pkl"):
                assert b"cnumpy._core.multiarray\nscalar" in data
                data = data.replace(b"cnumpy._core.", b"cnumpy.core.")
            target.writestr(name, data)
    assert read_release(old, TEMPLATE).source == "release"


def test_weights_of_lvs_are_read(tmp_path):
    state = {f"module.{name}": value for name, value in small().items()}
    path = saved(tmp_path, {"model_state_dict": state, "epoch": 3})
    found = read_release(path, TEMPLATE)
    assert found.source == "LVS" and list(found.state) == list(TEMPLATE)
    assert found.leftover == ("audnet.conv1.weight",)


def test_a_checkpoint_of_lvs_is_refused_as_a_model(published, tmp_path):
    state = {
        f"module.{name}": value
        for name, value in published.state.items()
        if name[:3] in ("img", "aud")
    }
    path = saved(tmp_path, {"model_state_dict": state})
    with pytest.raises(ValueError, match=r"a\.pth\.tar is of LVS.*own spectrogram"):
        SoundLocaliser.from_release(path)


WRONG = {
    "one missing": (
        small(audnet__conv1_a__weight=None),
        r"lacks audnet\.conv1_a\.weight of the 3 tensors",
    ),
    "all missing": (
        {"encoder.weight": torch.ones(2)},
        r"lacks imgnet\.conv1\.weight and 2 more of the 3",
    ),
    "another shape": (
        small(imgnet__conv1__weight=torch.ones(2, 1, 7, 7)),
        r"imgnet\.conv1\.weight is \(2, 1, 7, 7\); need .*\(2, 3, 7, 7\)",
    ),
    "no tensor": (
        small(imgnet__conv1__weight=[1.0]),
        r"imgnet\.conv1\.weight is list; need a tensor \(2, 3, 7, 7\)",
    ),
    "not finite": (
        small(imgnet__conv1__weight=torch.full((2, 3, 7, 7), torch.nan)),
        r"imgnet\.conv1\.weight has values that are not finite",
    ),
    "a deeper network": (
        small(imgnet__layer1__2__conv1__weight=torch.ones(1)),
        r"has imgnet\.layer1\.2\.conv1\.weight, which no ResNet-18",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_checkpoint_of_another_network_is_named(tmp_path, case):
    state, message = WRONG[case]
    path = saved(tmp_path, {"state_dict": state})
    with pytest.raises(ValueError, match=r"a\.pth\.tar.*" + message):
        read_release(path, TEMPLATE)


@pytest.mark.parametrize(
    "content, found",
    [
        ({"model": small()}, r"\['model'\]"),
        (small(), "imgnet"),
        ([1, 2], "list"),
        ({"state_dict": 3}, "state_dict"),
    ],
)
def test_a_file_without_the_weights_says_what_it_holds(tmp_path, content, found):
    path = saved(tmp_path, content)
    message = rf"a\.pth\.tar holds .*{found}.*need `state_dict`"
    with pytest.raises(ValueError, match=message):
        read_release(path, TEMPLATE)


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


WAYS = {  # of writing a trap
    "zip": torch.save,
    "before zip": lambda content, path: torch.save(
        content, path, _use_new_zipfile_serialization=False
    ),
    "pickle": lambda content, path: path.write_bytes(pickle.dumps(content, 2)),
    "newer pickle": lambda content, path: path.write_bytes(pickle.dumps(content, 4)),
}


@pytest.mark.parametrize("way", WAYS)
def test_code_in_a_checkpoint_is_refused_and_never_runs(tmp_path, way):
    sprung, path = tmp_path / "sprung", tmp_path / "a.pth.tar"
    WAYS[way]({"state_dict": {}, "extra": Trap(str(sprung))}, path)
    message = (
        "damaged or not a checkpoint"
        if way == "newer pickle"
        # the module of `open`, from Python 3.13 on with its underscore
        else (r"asks to run _?io\.open: that is code.*did not run")
    )
    with pytest.raises(ValueError, match=rf"a\.pth\.tar .*{message}"):
        read_release(path, TEMPLATE)
    assert not sprung.exists()


def test_numpy_scalars_are_allowed_only_while_reading(tmp_path):
    path = saved(tmp_path, optimiser(small()))
    read_release(path, TEMPLATE)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)


@pytest.mark.parametrize("name", ["model.safetensors", "model.json"])
def test_a_file_of_our_own_checkpoint_names_its_folder(name):
    message = rf"{name} is one file of a trained model: give the folder {CHECKPOINT}$"
    for read in (SoundLocaliser.open, lambda path: read_release(path, TEMPLATE)):
        with pytest.raises(ValueError, match=message):
            read(CHECKPOINT / name)


@pytest.mark.parametrize("kind", ["our own", "pickle", "TorchScript"])
def test_nobody_is_told_to_run_the_code_in_a_file(kind, tmp_path, monkeypatch):
    """As torch's own errors do, which name the setting that would run it."""
    path = tmp_path / "a.pth.tar"
    if kind == "our own":  # under another name
        path.write_bytes((CHECKPOINT / "model.safetensors").read_bytes())
    elif kind == "pickle":
        path.write_bytes(pickle.dumps({"state_dict": {}}, 4))
    else:
        path.touch()
        told = "Cannot use weights_only=True with TorchScript archives. Set it to False"
        monkeypatch.setattr(torch, "load", Mock(side_effect=RuntimeError(told)))
    with pytest.raises(ValueError, match=r"a\.pth\.tar is damaged or not") as error:
        read_release(path, TEMPLATE)
    assert "weights_only" not in str(error.value)
    assert "\n" not in str(error.value)


NOT_DOWNLOADED = {
    "nothing": (b"", "is damaged or not a checkpoint: download it again"),
    "web page": (b"\n<!DOCTYPE html><html>Virus scan warning</html>", "is a web page"),
    "pointer": (
        b"version https://git-lfs.example.org/spec/v1\noid sha256:0\n",
        "is a Git LFS pointer: run `git lfs pull`",
    ),
    "text": (
        b"Quota exceeded. " * 100,
        "is damaged or not a checkpoint: download it again",
    ),
    "an archive": (b"\x1f\x8b\x08" + bytes(600), "is damaged or not a checkpoint"),
}


@pytest.mark.parametrize("case", NOT_DOWNLOADED)
def test_a_file_that_was_not_downloaded_says_what_to_do(tmp_path, case):
    content, message = NOT_DOWNLOADED[case]
    path = tmp_path / "a.pth.tar"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.pth\.tar " + message) as error:
        read_release(path, TEMPLATE)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "options",
    [{}, {"_use_new_zipfile_serialization": False}],
    ids=["zip", "before zip"],
)
@pytest.mark.parametrize("fraction", [0.02, 0.5, 0.99])
def test_a_truncated_file_is_named(tmp_path, fraction, options):
    path = saved(tmp_path, optimiser(small()), **options)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * fraction)])
    with pytest.raises(
        ValueError, match=r"a\.pth\.tar is damaged .*download it again"
    ) as e:
        read_release(path, TEMPLATE)
    assert "\n" not in str(e.value)


def test_a_file_that_is_not_there_and_a_folder_are_named(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"no checkpoint at .*b\.pth\.tar: download"
    ):
        read_release(tmp_path / "b.pth.tar", TEMPLATE)
    with pytest.raises(ValueError, match=r"is a folder; .*SoundLocaliser\.load"):
        read_release(tmp_path, TEMPLATE)
