"""Maps for a folder of clips are the model's own, one by one, under their names."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from sslnb.cli import main
from sslnb.data import AudioConfig, load_audio, load_image, soundstamps
from sslnb.data.field.layouts import Clip, open_folder
from sslnb.localise import respond
from sslnb.localise.respond import other_sounds, respond_to_clips, write_maps
from sslnb.model import ModelConfig, SoundLocaliser

TINY = ModelConfig(
    image_size=32,
    resample="bicubic",
    width=4,
    blocks=(1, 1, 1, 1),
    pool=False,
    audio=AudioConfig(seconds=0.5, n_fft=256, n_mels=16, frames=20),
)
NAMES = [f"aaaaaaaaaa{letter}_0000{n}0" for n, letter in enumerate("FBDACEG")]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model")
    SoundLocaliser(TINY).save(path)
    return path


@pytest.fixture
def clips(tmp_path):
    """Scenes of SoundStamps as LVS keeps its clips: frames wider than high."""
    root = tmp_path / "clips"
    (root / "frames").mkdir(parents=True)
    (root / "audio").mkdir()
    for index, name in enumerate(NAMES):
        scene = soundstamps.compose("test", 0, index, 48)
        image = Image.fromarray(scene.image).resize((64, 36))
        image.save(root / "frames" / f"{name}.jpg")
        soundfile.write(root / "audio" / f"{name}.wav", scene.wave, soundstamps.RATE)
    return root


def command(clips, checkpoint, out, *more):
    options = ["--checkpoint", str(checkpoint), "--out", str(out), *more]
    return main(["maps", str(clips), *options])


def table(out):
    with open(out.with_suffix(".missing.tsv"), newline="", encoding="utf-8") as file:
        return {row["clip"]: row["why"] for row in csv.DictReader(file, delimiter="\t")}


def expected(clips, checkpoint, name):
    model = SoundLocaliser.load(checkpoint)
    image = load_image(clips / "frames" / f"{name}.jpg", 32, "bicubic")
    wave = load_audio(clips / "audio" / f"{name}.wav", TINY.audio)
    return model.predict(image[None], wave[None])[0].numpy()


# --- whole folders ----------------------------------------------------------


def test_maps_are_those_of_the_model_one_by_one(tmp_path, clips, checkpoint, capsys):
    out = tmp_path / "new" / "maps.npz"
    command(clips, checkpoint, out)
    with np.load(out) as maps:
        assert maps.files == sorted(NAMES)
        for name in NAMES:
            assert maps[name].shape == (4, 4) and maps[name].dtype == np.float32
            assert np.allclose(maps[name], expected(clips, checkpoint, name), atol=1e-5)
        # they differ, so that a map under another's name would be seen
        assert len({maps[name].tobytes() for name in NAMES}) == len(NAMES)
    told = capsys.readouterr().out
    assert "LVS's" in told and "maps of 7 of 7 clips" in told
    assert table(out) == {}
    assert sorted(path.name for path in out.parent.iterdir()) == [
        "maps.missing.tsv",
        "maps.npz",
    ]


@pytest.mark.parametrize("batch", [1, 3, 7, 50])
def test_the_size_of_batches_changes_nothing(clips, checkpoint, batch):
    folder = open_folder(clips)
    maps, damaged = respond_to_clips(
        SoundLocaliser.load(checkpoint), folder.clips, batch
    )
    assert list(maps) == sorted(NAMES) and damaged == {}
    for name in NAMES:
        assert np.allclose(maps[name], expected(clips, checkpoint, name), atol=1e-5)


def test_lists_and_annotations_say_which_clips(tmp_path, clips, checkpoint, capsys):
    wanted = [NAMES[3], "notthere000_000010", NAMES[0]]
    (tmp_path / "list.txt").write_text("\n".join(f"{name}.jpg" for name in wanted))
    out = tmp_path / "maps.npz"
    command(clips, checkpoint, out, "--list", str(tmp_path / "list.txt"))
    with np.load(out) as maps:
        assert maps.files == [NAMES[3], NAMES[0]]
    assert table(out) == {"notthere000_000010": "neither frame nor sound"}
    assert "maps of 2 of 3 clips" in capsys.readouterr().out
    entries = [{"file": name, "bbox": [[0, 0, 1, 1]]} for name in NAMES[:2]]
    (tmp_path / "vggss.json").write_text(json.dumps(entries))
    command(clips, checkpoint, out, "--annotations", str(tmp_path / "vggss.json"))
    with np.load(out) as maps:
        assert maps.files == NAMES[:2]
    assert table(out) == {}  # of this run, not of the one before


def test_authors_weights_are_read_and_what_they_leave_over_is_told(
    tmp_path, clips, checkpoint, capsys, monkeypatch
):
    model = SoundLocaliser.load(checkpoint)
    model.leftover = ("imgnet.fc.weight",)
    monkeypatch.setattr(SoundLocaliser, "from_release", lambda path: model)
    (tmp_path / "authors.pth.tar").touch()
    command(clips, tmp_path / "authors.pth.tar", tmp_path / "maps.npz")
    assert "Not used of" in (told := capsys.readouterr().out)
    assert "imgnet.fc.weight" in told and "maps of 7 of 7" in told


def test_progress_sees_every_clip_once(clips, checkpoint):
    started, seen = [], []

    class Bar:
        """As tqdm: each iteration over it is a bar of its own."""

        def __init__(self, pairs):
            self.pairs = pairs

        def __iter__(self):
            started.append(self)
            for clip, inputs in self.pairs:
                seen.append(clip.name)
                yield clip, inputs

    model = SoundLocaliser.load(checkpoint)
    respond_to_clips(model, open_folder(clips).clips, batch=2, progress=Bar)
    assert len(started) == 1 and seen == sorted(NAMES)


def test_clips_are_read_ahead_but_not_all_of_them(clips, checkpoint, monkeypatch):
    """However many there are and however slow the model is, memory stays small."""
    one = open_folder(clips).clips[0]
    handed = []

    def many():
        for number in range(200):
            handed.append(number)
            yield one

    ahead = respond._read_ahead(TINY, many(), ahead=6)
    for number in range(20):
        next(ahead)
        assert number + 1 <= len(handed) <= number + 6
    ahead.close()


# --- other sounds -----------------------------------------------------------


def sounds_played(clips, checkpoint, out):
    """Whose sound each image was played, by trying them all."""
    model = SoundLocaliser.load(checkpoint)
    waves = [load_audio(clips / "audio" / f"{n}.wav", TINY.audio) for n in NAMES]
    waves = torch.stack([*waves, torch.zeros(TINY.audio.samples)])
    found = {}
    with np.load(out) as maps:
        for name in maps.files:
            image = load_image(clips / "frames" / f"{name}.jpg", 32, "bicubic")
            tried = model.predict(image.expand(len(waves), -1, -1, -1), waves).numpy()
            (fits,) = np.flatnonzero(np.abs(tried - maps[name]).max((1, 2)) < 1e-5)
            found[name] = [*NAMES, None][fits]
    return found


def test_another_sound_is_of_another_clip_and_follows_from_the_seed(
    tmp_path, clips, checkpoint, capsys
):
    played = []
    for number, seed in enumerate("0012"):
        out = tmp_path / f"{number}.npz"
        command(clips, checkpoint, out, "--sound", "another", "--seed", seed)
        played.append(sounds_played(clips, checkpoint, out))
        assert sorted(played[-1]) == sorted(NAMES)
        assert all(other not in (name, None) for name, other in played[-1].items())
    assert played[0] == played[1] != played[2] != played[3]
    assert (
        "played the sound of a clip of another source video" in capsys.readouterr().out
    )


def test_silence_is_silence(tmp_path, clips, checkpoint, capsys):
    (clips / "audio" / f"{NAMES[2]}.wav").write_text("nobody reads this")
    command(clips, checkpoint, tmp_path / "maps.npz", "--sound", "silence")
    played = sounds_played_without(NAMES[2], clips, checkpoint, tmp_path / "maps.npz")
    assert played == dict.fromkeys(sorted(NAMES))
    assert "Each image is played silence" in capsys.readouterr().out


def sounds_played_without(name, clips, checkpoint, out):
    """As sounds_played, where the sound of one clip is damaged."""
    soundfile.write(clips / "audio" / f"{name}.wav", np.ones(9_000) / 2, 16_000)
    return sounds_played(clips, checkpoint, out)


def test_where_classes_are_known_the_sound_is_of_another_class(
    tmp_path, clips, checkpoint, capsys
):
    labels = dict(zip(NAMES, ["cat", "dog", "cat", "owl", "cat", "cat", "dog"]))
    entries = [
        {"file": name, "class": label, "bbox": [[0, 0, 1, 1]]}
        for name, label in labels.items()
    ]
    (tmp_path / "vggss.json").write_text(json.dumps(entries))
    out, heard = tmp_path / "maps.npz", set()
    known = ["--annotations", str(tmp_path / "vggss.json"), "--sound", "another"]
    for seed in range(3):
        command(clips, checkpoint, out, *known, "--seed", str(seed))
        for name, other in sounds_played(clips, checkpoint, out).items():
            heard.add((labels[name], labels[other]))
    assert heard <= {(a, b) for a in labels.values() for b in labels.values() if a != b}
    assert len(heard) > 3
    assert "the sound of a clip of another class" in capsys.readouterr().out
    for entry in entries:
        entry["class"] = "cat"
    (tmp_path / "vggss.json").write_text(json.dumps(entries))
    assert command(clips, checkpoint, out, *known) == 1
    assert "all 7 clips are of one class, cat" in capsys.readouterr().err


def test_another_clip_of_the_same_video_is_no_other_sound():
    names = [f"{video * 11}_00000{k}" for video in "ab" for k in range(5)]
    clips = [Clip(name, Path("frame"), Path(name)) for name in names]
    found, whose = other_sounds(clips, 30, seed=1)
    assert whose == "source video" and list(found) == names
    for name, paths in found.items():
        others = {n for n in names if n[0] != name[0]}
        assert len(paths) == 30 and {str(path) for path in paths} == others
    with pytest.raises(ValueError, match="all 5 clips are of one source video, aaaaa"):
        other_sounds(clips[:5])


def test_a_damaged_sound_costs_no_other_clip_its_map(
    tmp_path, clips, checkpoint, capsys
):
    """With --skip-damaged another sound is drawn, so that the same clips are scored."""
    (clips / "audio" / f"{NAMES[1]}.wav").write_text("hello")
    out, failed = tmp_path / "maps.npz", 0
    for seed in range(6):
        more = ["--sound", "another", "--seed", str(seed)]
        command(clips, checkpoint, out, *more, "--skip-damaged")
        with np.load(out) as maps:
            assert maps.files == sorted(NAMES)
        failed += command(clips, checkpoint, tmp_path / "x.npz", *more)
    assert failed > 0  # some draw takes it, and without the option that is an error
    said = capsys.readouterr().err
    assert f"{NAMES[1]}.wav" in said and "--skip-damaged" in said


def test_maps_with_three_sounds_make_a_listening_test(
    tmp_path, clips, checkpoint, capsys
):
    entries = [{"file": name, "bbox": [[0, 0, 0.5, 1]]} for name in NAMES]
    (tmp_path / "vggss.json").write_text(json.dumps(entries))
    for sound in ("own", "another", "silence"):
        command(clips, checkpoint, tmp_path / f"{sound}.npz", "--sound", sound)
    capsys.readouterr()
    files = {s: str(tmp_path / f"{s}.npz") for s in ("own", "another", "silence")}
    others = ["--others", files["another"], "--others", files["silence"]]
    known = ["--annotations", str(tmp_path / "vggss.json")]
    assert main(["score", "--responses", files["own"], *known, *others]) == 0
    said = capsys.readouterr().out
    for row in ("fitting ", "another ", "fitting − another ", "fitting − silence "):
        assert f"\n{row}" in said


# --- damage -----------------------------------------------------------------


DAMAGE = {
    "a cut picture": lambda root: (root / f"frames/{NAMES[1]}.jpg").write_bytes(
        (root / f"frames/{NAMES[1]}.jpg").read_bytes()[:400]
    ),
    "no picture": lambda root: (root / f"frames/{NAMES[1]}.jpg").write_text("hello"),
    "an empty picture": lambda root: (root / f"frames/{NAMES[1]}.jpg").write_bytes(b""),
    "no sound": lambda root: (root / f"audio/{NAMES[1]}.wav").write_text("hello"),
    "an empty sound": lambda root: soundfile.write(
        root / f"audio/{NAMES[1]}.wav", np.zeros(0), 16_000
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_file_is_named_and_nothing_is_written(
    tmp_path, clips, checkpoint, kind, capsys
):
    DAMAGE[kind](clips)
    out = tmp_path / "maps.npz"
    assert command(clips, checkpoint, out) == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith(f"error: clip {NAMES[1]}: ") and "--skip-damaged" in told
    assert f"{NAMES[1]}.{'wav' if 'sound' in kind else 'jpg'}" in told
    assert not out.exists() and not out.with_suffix(".missing.tsv").exists()


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_file_may_be_left_out_but_nothing_takes_its_place(
    tmp_path, clips, checkpoint, capsys, kind
):
    DAMAGE[kind](clips)
    (clips / "audio" / f"{NAMES[4]}.wav").unlink()
    out = tmp_path / "maps.npz"
    command(clips, checkpoint, out, "--skip-damaged")
    rest = sorted(set(NAMES) - {NAMES[1], NAMES[4]})
    with np.load(out) as maps:
        assert maps.files == rest
        for name in rest:
            assert np.allclose(maps[name], expected(clips, checkpoint, name), atol=1e-5)
    lacking = table(out)
    assert list(lacking) == [NAMES[4], NAMES[1]]
    assert lacking[NAMES[4]] == "no sound in audio" and NAMES[1] in lacking[NAMES[1]]
    told = capsys.readouterr().out
    assert f"1 damaged: {NAMES[1]}" in told and "maps of 5 of 7 clips" in told


def test_where_nothing_can_be_read_there_are_no_maps(
    tmp_path, clips, checkpoint, capsys
):
    for name in NAMES:
        (clips / "frames" / f"{name}.jpg").write_text("hello")
    out = tmp_path / "maps.npz"
    assert command(clips, checkpoint, out, "--skip-damaged") == 1
    told = capsys.readouterr().err
    assert re.search("no clip can be read: .*damaged.* and 6 more", told)
    assert not (tmp_path / "maps.npz").exists()


@pytest.mark.parametrize("out", ["maps", "maps.json", "."])
def test_another_name_than_of_an_npz_is_refused_at_once(tmp_path, clips, out, capsys):
    assert command(clips, "no such checkpoint", tmp_path / out) == 2
    assert "Invalid value" in capsys.readouterr().err


def test_folders_and_checkpoints_that_are_not_there_are_named(
    tmp_path, clips, checkpoint, capsys
):
    gone, out = tmp_path / "gone", tmp_path / "maps.npz"
    assert command(gone, checkpoint, out) == 1
    assert re.search("^error: .*gone: No such file or dir", capsys.readouterr().err)
    assert command(clips, gone, out) == 1
    assert re.search("^error: .*gone: No such file or dir", capsys.readouterr().err)


def test_a_place_that_cannot_be_written_to_is_named_before_any_map_is_computed(
    clips, checkpoint, monkeypatch, capsys
):
    monkeypatch.setattr(respond, "respond_to_clips", lambda *a, **k: pytest.fail())
    assert command(clips, checkpoint, "/proc/maps.npz") == 1  # not even by root
    told = capsys.readouterr().err
    assert told.startswith("error: /proc/maps.npz cannot be written: ")


# --- the file ---------------------------------------------------------------


def test_any_clip_s_name_is_a_name_in_the_file(tmp_path):
    rng = np.random.default_rng(0)
    names = ["file", "allow_pickle", "-a b", "ü", "test/0/5", "x.npy", "args"]
    maps = {name: rng.random((2, n + 1)) for n, name in enumerate(names)}
    write_maps(tmp_path / "maps.npz", maps)
    with np.load(tmp_path / "maps.npz", allow_pickle=False) as found:
        read = {name: found[name] for name in found.files}
    assert len(read) == len(maps)
    for name, values in maps.items():
        assert np.array_equal(read[name if name in read else name[:-4]], values)


def test_a_killed_run_leaves_the_maps_of_the_one_before(tmp_path):
    write_maps(tmp_path / "maps.npz", {"a": np.ones((2, 2))})

    class Killed:
        def items(self):
            yield "a", np.zeros((2, 2))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_maps(tmp_path / "maps.npz", Killed())
    with np.load(tmp_path / "maps.npz") as maps:
        assert maps["a"].all()
    assert [path.name for path in tmp_path.iterdir()] == ["maps.npz"]
