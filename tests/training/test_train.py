"""The training loop: schedules, parts of table 1, resuming, and what it refuses."""

import itertools
import json
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import asdict, replace
from functools import partial

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from sslnb import localise
from sslnb.cli import main
from sslnb.data import fit_length, load_scenes, normalise, soundstamps, spectrogram
from sslnb.data.soundstamps import compose
from sslnb.data.store.clips import open_store, pack_scenes
from sslnb.losses import contrastive_loss, equivariance_loss
from sslnb.model import SoundLocaliser, respond
from sslnb.training import loop as training
from sslnb.training.clips import heard_in, load_training
from sslnb.training.feed import Feed
from sslnb.training.folder import states
from sslnb.training.loop import shuffled_batches, similar_sounds, train
from sslnb.training.recipe import (
    REGIMES,
    TABLE_1,
    TrainConfig,
    learning_rate_at,
    strength_at,
)
from sslnb.training.step import Branches, total_loss, two_images, two_views

TINY = TrainConfig(epochs=2, batch=8, precision="fp32", curriculum=0.0)


@pytest.fixture(scope="module")
def clips():
    return load_scenes("train", 16)


@pytest.fixture(scope="module")
def val():
    return load_scenes("val", 6)


def same_state(one, other):
    a, b = (load_file(states(folder)[-1]) for folder in (one, other))
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def fresh():
    torch.manual_seed(0)
    return SoundLocaliser.from_preset("laptop")


# --- configuration and schedules ---------------------------------------------


@pytest.mark.parametrize(
    "field, value, need",
    [
        ("preset", "desktop", "laptop or paper"),
        ("model", "G", "one of A, B, C, D, E, F"),
        ("epochs", 0, "1 or more"),
        ("epochs", np.int64(2), "int"),  # JSON could not save it
        ("seed", np.int64(1), "int"),
        ("blocks", (np.int64(1),), "list of int"),
        ("batch", 1, "unpaired"),
        ("form", "letter", "release or paper"),
        ("precision", "fp8", "bf16 or fp32"),
    ],
)
def test_a_wrong_field_is_named_with_what_would_be_right(field, value, need):
    with pytest.raises(ValueError, match=f"{field} is .*{need}"):
        TrainConfig(**{field: value})


def test_an_unknown_field_is_an_error():
    with pytest.raises(TypeError, match="rate"):
        TrainConfig(rate=1e-3)


def test_configuration_survives_json():
    assert TrainConfig(**json.loads(json.dumps(asdict(TINY)))) == TINY


def test_rate_rises_to_its_peak_and_falls_to_nothing():
    rates = [learning_rate_at(TINY, step, 1_000) for step in range(1_000)]
    top = rates.index(max(rates))
    assert abs(top - 100) <= 1 and max(rates) == pytest.approx(
        TINY.learning_rate, rel=0.02
    )
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] < 1e-5 * TINY.learning_rate


@pytest.mark.parametrize("steps", [1, 2, 10])
def test_without_warmup_the_rate_falls_from_its_peak_at_once(steps):
    """A half cosine over all steps, of which there may be one alone."""
    config = replace(TINY, warmup=0.0)
    rates = [learning_rate_at(config, step, steps) for step in range(steps)]
    cosine = 1 + np.cos(np.pi * np.arange(steps) / steps)
    assert rates == pytest.approx(config.learning_rate * cosine / 2)


def test_curriculum_rises_to_full_strength_and_zero_means_none():
    rising = replace(TINY, epochs=10, curriculum=0.4)
    assert [strength_at(rising, e) for e in range(6)] == [0, 0.25, 0.5, 0.75, 1, 1]
    assert strength_at(TINY, 0) == 1


@pytest.mark.parametrize("count", [2, 8, 9, 16, 17, 23])
def test_every_clip_is_seen_once_and_never_alone(count):
    parts = shuffled_batches(TINY, 0, count)
    assert Counter(torch.cat(parts).tolist()) == Counter(range(count))
    assert min(map(len, parts)) >= 2


def test_table_1_adds_one_part_at_a_time():
    names = list(TABLE_1)
    assert names == list("ABCDEF")
    for one, other in itertools.pairwise(names):
        assert set(TABLE_1[one]) < set(TABLE_1[other])


# --- one batch -----------------------------------------------------------------


def loss_of(model, config, *batch):
    """Equation 11 and its terms, of images, spectrograms and a generator."""
    return total_loss(
        Branches(model, config.precision), config, two_views(config, *batch)
    )


def test_loss_of_f_is_equation_11(clips):
    """Encoded twice where the module encodes the sound once."""
    model, config = fresh(), replace(TINY, model="F", geo_weight=3.0)
    images, sounds = clips.images[:4] / 255, spectrogram(clips.waves[:4])
    loss, parts = loss_of(
        model, config, images, sounds, torch.Generator().manual_seed(5)
    )
    stream = torch.Generator().manual_seed(5)
    draw = training.augment.Mask().draw(4, stream)
    heard = training.augment.apply_mask(sounds, draw)
    view_1, view_2, theta = two_images(config, images, stream)
    model = fresh()  # batch-norm has moved
    s_1 = respond(model.embed_image(normalise(view_1)), model.embed_audio(heard))
    moved = training.augment.warp(normalise(view_2), theta)
    s_2 = respond(model.embed_image(moved), model.embed_audio(heard))
    eps = {"epsilon": config.epsilon, "epsilon_negative": config.epsilon_negative}
    own_1, own_2 = (torch.stack([s[i, i] for i in range(4)]) for s in (s_1, s_2))
    geo = equivariance_loss(own_1, own_2, theta)
    both = contrastive_loss(s_1, **eps) + contrastive_loss(s_2, **eps)
    assert loss.item() == pytest.approx((both + 3 * geo).item(), rel=1e-4)
    assert parts["equivariance"] == pytest.approx(geo.item(), rel=1e-3)


def test_model_a_sees_and_hears_the_clips_as_they_are(clips):
    model, config = fresh(), replace(TINY, model="A")
    images, sounds = clips.images[:4] / 255, spectrogram(clips.waves[:4])
    loss, parts = loss_of(model, config, images, sounds, torch.Generator())
    similarity = fresh().train()(normalise(images), sounds)
    eps = {"epsilon": config.epsilon, "epsilon_negative": config.epsilon_negative}
    assert loss.item() == pytest.approx(2 * contrastive_loss(similarity, **eps).item())
    assert set(parts) == {"contrastive"}


@pytest.mark.parametrize("name", list(TABLE_1))
def test_every_model_of_table_1_has_its_parts(name, clips):
    config = replace(TINY, model=name)
    view_1, view_2, theta = two_images(
        config, clips.images[:8] / 255, torch.Generator().manual_seed(0)
    )
    assert (view_1 is view_2) == (name == "A")
    assert (theta is None) == (name in "AB")
    _, parts = loss_of(
        fresh(),
        config,
        clips.images[:4] / 255,
        spectrogram(clips.waves[:4]),
        torch.Generator().manual_seed(0),
    )
    assert ("equivariance" in parts) == (name == "F")


def test_strength_zero_leaves_looks_alone(clips):
    images = clips.images[:8] / 255
    view_1, view_2, _ = two_images(
        replace(TINY, model="B"), images, torch.Generator().manual_seed(0), strength=0.0
    )
    assert torch.allclose(view_1, images, atol=1e-5)
    assert torch.allclose(view_2, images, atol=1e-5)


def test_bf16_is_near_fp32(clips):
    images, sounds = clips.images[:8] / 255, spectrogram(clips.waves[:8])
    losses = [
        loss_of(
            fresh(),
            replace(TINY, precision=precision),
            images,
            sounds,
            torch.Generator().manual_seed(0),
        )[0].item()
        for precision in ("fp32", "bf16")
    ]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


# --- whole runs ----------------------------------------------------------------


def test_a_resumed_run_ends_with_the_same_weights(clips, val, tmp_path):
    whole = list(train(TINY, clips, val, tmp_path / "whole"))
    run = train(TINY, clips, val, tmp_path / "stopped")
    next(run)
    run.close()
    rest = list(train(TINY, clips, val, tmp_path / "stopped", resume=True))
    assert [m["epoch"] for m in rest] == [2]
    assert same_state(tmp_path / "whole", tmp_path / "stopped")
    assert rest[0]["loss"] == whole[1]["loss"]


KILLED = """
import sys, torch
torch.set_num_threads(1)
sys.path.insert(0, "tests/training")
from pathlib import Path
from sslnb.training.folder import states
from sslnb.data import load_scenes
from sslnb.training.loop import train
from test_train import TINY
def tell(batches):
    for batch in batches:
        print("step", flush=True)
        yield batch
for _ in train(TINY, load_scenes("train", 16), load_scenes("val", 6), Path(sys.argv[1]),
               progress=tell):
    print("epoch", flush=True)
"""


@pytest.mark.slow
def test_a_killed_process_resumes_to_the_same_weights(clips, val, tmp_path):
    """SIGKILL in the middle of the second epoch."""
    threads = torch.get_num_threads()
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path / "killed")],
        stdout=subprocess.PIPE,
        text=True,
    )
    seen = []
    while seen[-2:] != ["epoch", "step"]:
        seen.append(process.stdout.readline().strip())
        assert process.poll() is None or seen[-1], "it ended too early"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    torch.set_num_threads(1)
    try:
        list(train(TINY, clips, val, tmp_path / "killed", resume=True))
        list(train(TINY, clips, val, tmp_path / "whole"))
    finally:
        torch.set_num_threads(threads)
    assert same_state(tmp_path / "whole", tmp_path / "killed")


def test_the_saved_model_is_the_best_on_val(clips, val, tmp_path):
    history = list(train(replace(TINY, epochs=3), clips, val, tmp_path))
    model = SoundLocaliser.load(tmp_path)
    scores = localise.score(localise.respond_to(model, val), val)
    assert scores["AUC"] + scores["pointing"] == pytest.approx(
        max(m["val_AUC"] + m["val_pointing"] for m in history)
    )
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == history
    card = json.loads((tmp_path / "model.json").read_text())
    assert card["training"]["seed"] == TINY.seed and card["clips"] == 16


def test_only_val_may_choose(clips, tmp_path):
    with pytest.raises(ValueError, match=r"only the split val .* test/0/0"):
        next(train(TINY, clips, load_scenes("test", 2), tmp_path))


def test_one_clip_cannot_train(val, tmp_path):
    with pytest.raises(ValueError, match=r"1 clip.*at least two"):
        next(train(TINY, load_scenes("train", 1), val, tmp_path))


@pytest.fixture(scope="module")
def few(clips, val):
    """The clips of `begun`, to train and to validate on."""
    return clips.part(slice(4)), val.part(slice(2))


@pytest.fixture(scope="module")
def begun(few, tmp_path_factory):
    """A run that was stopped after the first of two epochs: never to be changed."""
    folder = tmp_path_factory.mktemp("begun")
    next(train(TINY, *few, folder))
    return folder


@pytest.fixture
def unchanged(begun):
    """The same, where the test must leave it as it is."""
    before = contents(begun)
    yield begun
    assert contents(begun) == before


def test_another_configuration_cannot_resume(few, unchanged):
    with pytest.raises(ValueError, match=r"trained with learning_rate = 0.00.*not 0.5"):
        next(train(replace(TINY, learning_rate=0.5), *few, unchanged, resume=True))


@pytest.mark.parametrize("seed", [0, 1])
def test_a_folder_that_holds_a_run_is_refused(seed, few, unchanged):
    with pytest.raises(
        FileExistsError,
        match=r"holds a run already \(state-0001.*"
        r"metrics.jsonl\): resume it .*--out.*or delete these files",
    ):
        next(train(replace(TINY, seed=seed), *few, unchanged))


def test_a_model_without_states_is_not_overwritten(few, tmp_path):
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(FileExistsError, match=r"\(model.json\): train into another"):
        next(train(TINY, *few, tmp_path))
    assert contents(tmp_path) == {"model.json": b"{}"}


def test_two_runs_do_not_train_into_one_folder(few, tmp_path):
    run = train(TINY, *few, tmp_path)
    next(run)
    before = contents(tmp_path)
    for resume in (False, True):
        with pytest.raises(BlockingIOError, match=r"another run is at work in .*--out"):
            next(train(TINY, *few, tmp_path, resume))
    assert contents(tmp_path) == before
    (last,) = run
    assert last["epoch"] == 2
    assert set(contents(tmp_path)) == {  # no lock is left
        "model.safetensors",
        "model.json",
        "metrics.jsonl",
        "state-0001.safetensors",
        "state-0002.safetensors",
    }
    assert not list(train(TINY, *few, tmp_path, resume=True))


def louder(clips):
    waves = clips.waves.clone()
    waves[0] += 1
    return replace(clips, waves=waves)


@pytest.mark.parametrize(
    "part, change, differ",
    [
        ("training", louder, "waves"),
        (
            "training",
            lambda clips: clips.part(slice(1, None)),
            "number, names, boxes, images, waves, masks",
        ),
        ("validation", lambda val: replace(val, names=["val/9/0", "val/9/1"]), "names"),
        # the best epoch would be chosen across AUC + pointing game before, the loss after
        (
            "validation",
            lambda val: replace(val, boxes=[None] * 2, masks=None),
            "boxes, masks",
        ),
    ],
)
def test_a_run_is_not_resumed_on_other_clips(part, change, differ, few, unchanged):
    clips, val = few
    other = (change(clips), val) if part == "training" else (clips, change(val))
    with pytest.raises(
        ValueError,
        match=f"state-0001.* is of other {part} clips: {differ} "
        "differ.*resume with the same clips, or train anew",
    ):
        next(train(TINY, *other, unchanged, resume=True))


def test_a_run_is_resumed_on_the_same_clips_from_elsewhere(few, begun, tmp_path):
    pack_scenes("train", 4, tmp_path / "store", size=96, workers=1)
    shutil.copytree(begun, tmp_path / "run")
    (last,) = train(
        TINY, open_store(tmp_path / "store"), few[1], tmp_path / "run", resume=True
    )
    assert last["epoch"] == 2


def test_a_state_that_names_no_clips_is_not_resumed(few, begun, tmp_path):
    """States had no fingerprint of their clips at first."""
    (path,) = states(begun)
    with safe_open(path, "pt") as file:
        state = json.loads(file.metadata()["state"])
    del state["data"]
    save_file(load_file(path), tmp_path / path.name, {"state": json.dumps(state)})
    with pytest.raises(
        ValueError, match=r"does not say which clips .*anew in another folder"
    ):
        next(train(TINY, *few, tmp_path, resume=True))


def test_resuming_a_finished_run_says_so(tmp_path, capsys):
    tiny = [
        "train",
        "--out",
        str(tmp_path),
        "--scenes",
        "4",
        "--val-clips",
        "2",
        "--epochs",
        "1",
        "--batch",
        "2",
        "--precision",
        "fp32",
    ]
    assert main(tiny) == 0
    before = contents(tmp_path)
    capsys.readouterr()
    assert main([*tiny, "--resume"]) == 0
    assert capsys.readouterr().out == (
        f"{tmp_path}: all 1 epochs are done, nothing is left to train\n"
    )
    assert contents(tmp_path) == before
    assert main(tiny) == 1
    assert "error: " in (told := capsys.readouterr().err) and "--resume" in told


def test_nothing_to_resume_and_a_damaged_state_are_said(clips, val, tmp_path):
    with pytest.raises(FileNotFoundError, match="no run to resume"):
        next(train(TINY, clips, val, tmp_path, resume=True))
    (tmp_path / "state-0001.safetensors").write_bytes(b"half a file")
    with pytest.raises(ValueError, match=r"state-0001.safetensors is damaged"):
        next(train(TINY, clips, val, tmp_path, resume=True))


def test_a_loss_that_is_no_number_names_step_and_clips(
    clips, val, tmp_path, monkeypatch
):
    def broken(*arguments):
        return torch.tensor(float("nan"), requires_grad=True), {}

    monkeypatch.setattr(training, "total_loss", broken)
    with pytest.raises(
        FloatingPointError, match="nan; at step 0, epoch 1; clips train/0/"
    ):
        next(train(TINY, clips, val, tmp_path))


def test_a_batch_that_cannot_be_read_blames_none_before_it(
    clips, val, tmp_path, monkeypatch
):
    """The second of two: its step, and no clip of the first."""

    def gone(feed, *arguments):
        yield next(batches(feed, *arguments))
        raise OSError("disk gone")

    batches = Feed.batches
    monkeypatch.setattr(Feed, "batches", gone)
    with pytest.raises(
        OSError, match=r"disk gone; at step 1, epoch 1; between two batches; Train"
    ):
        next(train(TINY, clips, val, tmp_path))


def test_a_full_disk_names_step_and_settings(clips, val, tmp_path, monkeypatch):
    run = train(TINY, clips, val, tmp_path)
    next(run)

    def full(tensors, path, metadata=None):
        raise OSError("No space left on device")

    monkeypatch.setattr("sslnb.training.checkpoint.write", full)
    with pytest.raises(
        OSError,
        match=r"state-0002.safetensors cannot be written .*No space"
        r".*at step 4, epoch 2; between two batches; TrainConfig\(.*resume",
    ):
        next(run)
    assert [path.name for path in states(tmp_path)] == ["state-0001.safetensors"]


def test_command_line_trains_and_refuses(tmp_path, capsys):
    tiny = ["--scenes", "4", "--epochs", "1", "--batch", "2", "--precision", "fp32"]
    assert main(["train", "--out", str(tmp_path), "--crop", "0.5", "1", *tiny]) == 0
    assert "val_AUC" in capsys.readouterr().out
    card = json.loads((tmp_path / "model.json").read_text())
    assert card["training"]["crop"] == [0.5, 1.0]
    assert main(["train", "--out", str(tmp_path), "--epochs", "0"]) == 2
    assert "epochs is 0; need 1 or more" in capsys.readouterr().err


def test_constant_rate_and_unknown_settings():
    paper = TrainConfig.from_preset("paper")
    assert (paper.epochs, paper.batch, paper.learning_rate) == (
        80,
        32,
        1e-4,
    )  # section 4.1
    assert {learning_rate_at(paper, step, 100) for step in (0, 1, 50, 99)} == {1e-4}
    assert (
        TrainConfig.from_preset("laptop", epochs=3).learning_rate
        == TrainConfig().learning_rate
    )
    with pytest.raises(
        ValueError, match="unknown setting epoch; known are batch, blocks, cosine"
    ):
        TrainConfig.from_preset("paper", epoch=3)


def test_the_saved_model_is_the_running_mean_of_the_weights(clips, val, tmp_path):
    """Against the mean that the weights of every step give; 0 is the last weights."""
    seen, usual = [], torch.optim.Adam.step

    def step(self, *arguments, **options):
        usual(self, *arguments, **options)
        seen.append(self.param_groups[0]["params"][0].detach().clone())

    config = replace(TINY, epochs=1, batch=4)
    for average in (0.9, 0.0):
        seen.clear()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch.optim.Adam, "step", step)
            folder = tmp_path / str(average)
            list(train(replace(config, ema_decay=average), clips, val, folder))
        mean = seen[0]
        for count, weights in enumerate(seen[1:], start=1):
            decay = min(average, (1 + count) / (10 + count))
            mean = decay * mean + (1 - decay) * weights
        saved = next(iter(SoundLocaliser.load(folder).parameters()))
        assert len(seen) == 4 and torch.allclose(saved, mean, atol=1e-6)


def test_compiled_encoders_are_one_graph_each_and_train_alike(
    clips, val, tmp_path, monkeypatch
):
    graphs = []

    def as_it_is(graph, inputs):
        graphs.append(graph)
        return graph.forward

    config = replace(
        TINY, epochs=1, model="D"
    )  # which embeds no sounds beside its steps
    monkeypatch.setattr(
        torch, "compile", partial(torch.compile, backend=as_it_is, fullgraph=True)
    )
    (compiled,) = train(config, clips, val, tmp_path / "compiled", compiled=True)
    (usual,) = train(config, clips, val, tmp_path / "usual")
    assert len(graphs) == 2
    assert compiled["loss"] == pytest.approx(usual["loss"], rel=1e-5)
    assert same_state(tmp_path / "compiled", tmp_path / "usual")


def test_own_masks_are_two_and_encode_the_sound_twice(clips):
    images, sounds = clips.images[:4] / 255, spectrogram(clips.waves[:4])
    calls = []
    model = fresh()
    encode = model.embed_audio
    model.embed_audio = lambda x: calls.append(x) or encode(x)
    for own, count in ((False, 1), (True, 2)):
        calls.clear()
        loss_of(
            model,
            replace(TINY, separate_masks=own),
            images,
            sounds,
            torch.Generator().manual_seed(0),
        )
        assert len(calls) == count
    assert not torch.equal(*calls)


def test_larger_frames_are_cut_to_the_models_size(val, tmp_path):
    """Each at its own place, every place as likely as another; val is squashed."""
    frames = torch.arange(6 * 3 * 20 * 20).view(6, 3, 20, 20)
    seen = set()
    stream = torch.Generator().manual_seed(0)
    for _ in range(100):
        corners = training.augment.draw_crops(6, 20, 17, stream)
        cuts = training.augment.crop(frames, corners, 17)
        for frame, (y, x), cut in zip(frames, corners.tolist(), cuts):
            assert torch.equal(cut, frame[:, y : y + 17, x : x + 17])
            seen.add((y, x))
    assert seen == {(y, x) for y in range(4) for x in range(4)}
    with pytest.raises(ValueError, match="20 pixels a side; the model needs 21"):
        training.augment.draw_crops(6, 20, 21, stream)
    large = load_scenes("train", 8, image_size=112)
    (metrics,) = train(replace(TINY, epochs=1), large, val, tmp_path)
    assert metrics["loss"] > 0


def test_training_runs_from_a_store_and_holds_out_its_end(tmp_path, capsys):
    pack_scenes("train", 10, tmp_path / "scenes", size=96, workers=1)
    assert (
        main(
            [
                "train",
                "--out",
                str(tmp_path / "out"),
                "--data",
                "packed",
                "--root",
                str(tmp_path / "scenes"),
                "--val-clips",
                "4",
                "--epochs",
                "1",
                "--batch",
                "4",
                "--precision",
                "fp32",
            ]
        )
        == 0
    )
    assert "val_AUC" in capsys.readouterr().out
    card = json.loads((tmp_path / "out" / "model.json").read_text())
    assert card["clips"] == 10


@pytest.fixture
def videos(tmp_path):
    """Prepared clips of VGGSound's names, without boxes."""
    for name in ("frames", "audio"):
        (tmp_path / name).mkdir()
    names = [f"{k:011}_000010" for k in range(10)]
    for k, name in enumerate(names):
        scene = compose("train", 0, k, 112)
        Image.fromarray(scene.image).save(tmp_path / "frames" / f"{name}.jpg")
        soundfile.write(tmp_path / "audio" / f"{name}.wav", scene.wave, 16_000)
    return tmp_path, names


def test_a_folder_of_clips_is_packed_once_and_chosen_by_loss(videos, tmp_path, capsys):
    root, names = videos
    out = tmp_path / "out"
    arguments = [
        "train",
        "--out",
        str(out),
        "--data",
        "vggsound",
        "--root",
        str(root),
        "--val-clips",
        "4",
        "--epochs",
        "2",
        "--batch",
        "3",
        "--precision",
        "fp32",
    ]
    assert main(arguments) == 0
    told = capsys.readouterr().out
    assert "Not checked for leaks" in told and "val_loss" in told
    history = [
        json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()
    ]
    card = json.loads((out / "model.json").read_text())
    assert card["metrics"]["val_loss"] == min(m["val_loss"] for m in history)
    assert card["clips"] == 6
    boxes = [{"file": name, "class": "x", "bbox": [[0, 0, 1, 1]]} for name in names[:3]]
    (tmp_path / "bench.json").write_text(json.dumps(boxes))
    scored = [*arguments, "--benchmark", str(tmp_path / "bench.json")]
    scored[scored.index(str(out))] = str(tmp_path / "leaking")
    assert main(scored) == 1
    said = capsys.readouterr().err
    assert "3 of the 3 test clips are in the training list" in said
    assert "--allow-leaks" in said
    assert main([*scored, "--allow-leaks"]) == 0


def test_without_progress_packing_draws_no_bar_either(videos, tmp_path, capsys):
    root, _ = videos
    options = ["train", "--data", "vggsound", "--root", str(root), "--no-progress"]
    small = ["--val-clips", "4", "--epochs", "1", "--batch", "3"]
    assert main([*options, *small, "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().err == ""


def test_a_benchmark_without_boxes_is_refused_before_anything_is_packed(
    videos, tmp_path, capsys
):
    root, names = videos
    (tmp_path / "list.txt").write_text("\n".join(names))
    options = ["train", "--data", "vggsound", "--root", str(root), "--val-clips", "4"]
    benchmark = ["--benchmark", str(tmp_path / "list.txt")]
    assert main([*options, *benchmark, "--out", str(tmp_path / "out")]) == 1
    assert "list.txt" in capsys.readouterr().err
    assert not (root / "packed").exists()


def test_too_few_clips_to_hold_out_name_the_option_and_a_value_that_does(videos):
    root, _ = videos
    load = partial(load_training, data="vggsound", root=root)
    for asked in (400, 10, 9, 1, 0):
        with pytest.raises(
            ValueError,
            match=rf"has 10 clips; {asked} of them cannot be "
            r"held out.*--val-clips \(val_scenes .*to 2 … 8",
        ) as error:
            load(val_clips=asked)
    value = int(re.search(r"for instance (\d+)$", str(error.value))[1])
    clips, val = load(val_clips=value)
    assert (len(clips), len(val)) == (10 - value, value)
    training.check_clips(clips, val, (), False)


def test_one_clip_without_boxes_cannot_validate(clips, val, tmp_path):
    alone = replace(val.part(slice(1)), boxes=[None])
    with pytest.raises(ValueError, match=r"1 clip\(s\) to validate on.* two or more"):
        next(train(TINY, clips, alone, tmp_path))
    boxed = val.part(slice(1))
    assert "val_AUC" in next(train(TINY, clips, boxed, tmp_path))


@pytest.mark.parametrize("boxed, what", [(True, "maps"), (False, "losses")])
def test_a_model_that_diverged_by_its_validation_is_not_kept(
    boxed, what, clips, val, tmp_path
):
    """One step: its own loss is still finite."""
    config = replace(TINY, batch=16, warmup=0.0, ema_decay=0.0, learning_rate=1e9)
    val = val if boxed else replace(val, boxes=[None] * len(val))
    with pytest.raises(
        FloatingPointError,
        match=rf"diverged: its {what} on val .*epoch 1;.*lower --learning-rate",
    ):
        next(train(config, clips, val, tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_test_must_not_choose_the_model(clips, val, tmp_path):
    with pytest.raises(ValueError, match="6 clips of val are in the benchmark"):
        next(train(TINY, clips, val, tmp_path, benchmark=val.names))
    real = replace(val, names=[f"{k:011}_000010" for k in range(6)])
    with pytest.raises(ValueError, match="6 clips of val are in the training clips"):
        next(train(TINY, real, real, tmp_path))


def test_help_shows_defaults_and_places_in_the_paper(capsys):
    assert main(["train", "--help"]) == 0
    told = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for text in (
        "λ_geo of equation 11 (section 3.3.3: 2) [default: 2.0]",
        "[default: 12; paper: 80]",
        "--no-separate-masks",
        "ε of equation 5",
    ):
        assert text in told


@pytest.mark.slow
def test_the_papers_preset_trains_from_a_store_of_scenes(val, tmp_path):
    """Two ResNet-18 on frames of 256² cut to 224², three seconds repeated to ten."""
    pack_scenes("train", 5, tmp_path / "store", size=256, workers=1)
    clips = open_store(tmp_path / "store")
    config = TrainConfig.from_preset("paper", epochs=1, batch=2)
    (metrics,) = train(config, clips, load_scenes("val", 2, 224), tmp_path / "run")
    assert 0 < metrics["loss"] < 10 and 0 <= metrics["val_AUC"] <= 1
    model = SoundLocaliser.load(tmp_path / "run")
    assert model.predict(
        clips.images[:1], fit_length(clips.waves[:1], 160_000)
    ).shape == (1, 14, 14)


MEMORY = """
import resource, torch
from sslnb.augment import most_similar
unit = torch.nn.functional.normalize(torch.randn(30_000, 16), dim=1)
most_similar(unit[:2000])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
most_similar(unit)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
def test_the_most_similar_of_many_needs_memory_for_a_block_alone():
    """All pairs of 30,000 would be 3.6 GB; a block of 1,024 rows is 0.12 GB."""
    grown = subprocess.run(
        [sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True
    ).stdout
    assert int(grown) < 600_000  # kB


# --- what a full run must reach --------------------------------------------------


@pytest.fixture(scope="module")
def shipped():
    return SoundLocaliser.load("data/checkpoint")


@pytest.mark.slow
@pytest.mark.parametrize(
    "split, peak, lead",  # of cIoU over the disc's: none to speak of on new photographs
    [("test", 0.75, 0.05), ("unseen", 0.44, -0.03)],
)
def test_the_shipped_model_points_at_what_sounds(shipped, split, peak, lead):
    clips = load_scenes(split, 500, seed=1)
    scores = localise.score(localise.respond_to(shipped, clips), clips)
    disc = localise.baselines(clips)["centre prior"]
    assert scores["cIoU"] >= disc["cIoU"] + lead
    assert scores["peak"] >= peak  # visible pixels only: stricter than the box


@pytest.mark.parametrize("regime, composed", [("scenes", "train"), ("clips", "ladder")])
def test_a_regime_is_scenes_and_crops_of_photographs(regime, composed):
    clips, val = load_training(scenes=20, val_clips=3, regime=regime)
    splits = [name.split("/")[0] for name in clips.names]
    assert splits == [composed] * 13 + ["frames"] * 7  # 0.35 of 20
    assert {name.split("/")[0] for name in val.names} == {"val"}
    known = heard_in(regime) or soundstamps.classes("train")
    assert set(val.labels) <= set(known)
    assert set(clips.labels) <= {*known, *soundstamps.classes("frames")}
    usual = TrainConfig.from_preset("laptop", regime=regime)
    assert usual.epochs == REGIMES[regime]["epochs"]
    assert TrainConfig.from_preset("laptop", regime=regime, epochs=3).epochs == 3


def test_no_sound_is_mixed_with_another_excerpt_of_its_recording(tmp_path):
    """As the loop mixes: the clips that `similar_sounds` finds are of other originals."""
    clips, _ = load_training(scenes=120, val_clips=2, regime="clips")
    config = TrainConfig.from_preset("laptop", epochs=2)
    feed = Feed(
        clips, SoundLocaliser.from_preset("laptop").config.audio, torch.device("cpu")
    )
    model = SoundLocaliser.from_preset("laptop")
    _, similar = similar_sounds(config, 1, model, feed)
    pairs = [(clips.recordings[i], clips.recordings[j]) for i, j in enumerate(similar)]
    assert len(pairs) == 120 and all(one != other for one, other in pairs)


@pytest.mark.slow
def test_a_minute_of_training_beats_chance(val, tmp_path):
    """The loop learns: from few scenes, the loss leaves the value of guessing."""
    clips = load_scenes("train", 320)
    config = TrainConfig(epochs=8, model="A", precision="fp32")
    history = list(train(config, clips, val, tmp_path))
    guessing = torch.tensor(33.0).log().item()
    assert history[0]["contrastive"] == pytest.approx(guessing, abs=0.15)
    assert history[-1]["contrastive"] < guessing - 0.5
