"""The exported encoders: equal to PyTorch's, complete, and without a trace of a machine."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torchaudio

from sslnb import export as module
from sslnb.cli import main
from sslnb.data import load_scenes, spectrogram
from sslnb.data.media import LAPTOP_AUDIO, RELEASE_AUDIO, normalise
from sslnb.export import describe, export, mel_bands
from sslnb.files import CHECKPOINT, ROOT
from sslnb.model import SoundLocaliser, evaluating, respond


def run(path, name, values):
    """What an .onnx file makes of one input."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    session = onnxruntime.InferenceSession(
        path, options, providers=["CPUExecutionProvider"]
    )
    (result,) = session.run(None, {name: values.numpy()})
    return torch.from_numpy(result)


def compare(model, folder, clips):
    """Both encoders and the maps of some clips, by the files and by PyTorch."""
    sounds = spectrogram(clips.waves, model.config.audio)
    images = model.fit(clips.images)
    for k in range(len(clips)):
        v = run(folder / "image_encoder.onnx", "image", images[k : k + 1])
        a = run(folder / "audio_encoder.onnx", "spectrogram", sounds[k : k + 1])
        with evaluating(model):
            expected_v = model.embed_image(normalise(images[k : k + 1]))
            expected_a = model.embed_audio(sounds[k : k + 1])
        torch.testing.assert_close(v, expected_v, rtol=0, atol=1e-5)
        torch.testing.assert_close(a, expected_a, rtol=0, atol=1e-5)
        found = respond(v, a)[0, 0]
        expected = model.predict(clips.images[k : k + 1], clips.waves[k : k + 1])[0]
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
        assert expected.std() > 1e-3  # a map, not a plane


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """The shipped model, and the folder that it was exported to by the command."""
    folder = tmp_path_factory.mktemp("exported") / "model"
    assert main(["export", "--out", str(folder)]) == 0
    return SoundLocaliser.load(CHECKPOINT), folder


def test_the_shipped_model_is_the_same(shipped):
    model, folder = shipped
    for split in ("test", "wild"):
        compare(model, folder, load_scenes(split, 4, 96, 48_000, seed=5))


@pytest.mark.slow
def test_an_untrained_model_of_the_papers_size_is_the_same(tmp_path):
    torch.manual_seed(0)
    model = SoundLocaliser.from_preset("paper")
    with torch.no_grad():  # statistics of batch norm that are not those of a new one
        for norm in model.modules():
            if isinstance(norm, torch.nn.BatchNorm2d):
                norm.running_mean.normal_(0, 0.1)
                norm.running_var.uniform_(0.5, 2)
    export(model, tmp_path)
    assert model.training  # as it was
    card = json.loads((tmp_path / "encoders.json").read_text())
    assert card["image"]["cells"] == [14, 14] and card["channels"] == 512
    compare(model, tmp_path, load_scenes("test", 2, 224, 160_000))


def test_the_files_are_complete_and_name_no_machine(shipped):
    _, folder = shipped
    assert sorted(path.name for path in folder.iterdir()) == [
        "audio_encoder.onnx",
        "encoders.json",
        "image_encoder.onnx",
    ]
    for path in folder.glob("*.onnx"):
        onnx.checker.check_model(path, full_check=True)
        (opset,) = onnx.load(path).opset_import
        assert (opset.domain, opset.version) == ("", module.OPSET)
    for path in folder.iterdir():
        for word in (str(ROOT), "site-packages", "sslnb", ".py"):
            assert word.encode() not in path.read_bytes(), (path.name, word)


def test_two_exports_are_the_same_bytes(shipped, tmp_path):
    model, folder = shipped
    for path in export(model, tmp_path):
        assert path.read_bytes() == (folder / path.name).read_bytes()


@pytest.mark.filterwarnings("ignore:At least one mel filterbank")
@pytest.mark.parametrize("config", [LAPTOP_AUDIO, RELEASE_AUDIO])
def test_the_bands_are_torchaudios(config):
    transform = torchaudio.transforms.MelScale(
        config.n_mels, config.sample_rate, 0.0, config.f_max, config.n_fft // 2 + 1
    )
    found = np.zeros(transform.fb.shape, np.float32)
    for k, band in enumerate(mel_bands(config)):
        found[band["first"] : band["first"] + len(band["weights"]), k] = band["weights"]
    np.testing.assert_array_equal(found, transform.fb.numpy())


def test_the_card_says_what_the_model_takes(shipped):
    model, folder = shipped
    card = json.loads((folder / "encoders.json").read_text())
    assert card == json.loads(json.dumps(describe(model)))
    assert card["image"]["size"] == 96 and card["image"]["cells"] == [12, 12]
    assert card["image"]["stride"] * 12 == 96 and card["audio"]["samples"] == 48_000
    mean = torch.tensor(card["image"]["mean"])[None, :, None, None]
    torch.testing.assert_close(normalise(mean), torch.zeros_like(mean))


def test_a_damaged_checkpoint_leaves_what_was_there(tmp_path, capsys):
    broken, out = tmp_path / "broken", tmp_path / "out"
    for folder in (broken, out):
        folder.mkdir()
    (broken / "model.json").write_text("{}")
    (broken / "model.safetensors").write_bytes(b"nothing")
    (out / "encoders.json").write_text("as it was")
    assert main(["export", str(broken), "--out", str(out)]) == 1
    assert f"checkpoint {broken} is damaged" in capsys.readouterr().err
    assert main(["export", str(tmp_path / "nowhere"), "--out", str(out)]) == 1
    assert "nowhere" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["encoders.json"]
    assert (out / "encoders.json").read_text() == "as it was"


def test_missing_packages_are_named(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    assert main(["export", "--out", str(tmp_path)]) == 1
    assert "pip install -e '.[export]'" in capsys.readouterr().err
