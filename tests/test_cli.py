"""The command `sslnb`: help, exit codes, errors in one line, Ctrl-C."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from sslnb.cli import app, localise, main, series, training
from sslnb.cli.options import Split
from sslnb.data import load_scenes, normalise, spectrogram
from sslnb.data.soundstamps import SPLITS, compose
from sslnb.files import CHECKPOINT
from sslnb.localise.protocols import PROTOCOLS
from sslnb.model import SoundLocaliser
from sslnb.retrieve import pool_image, retrieval_scores
from sslnb.training.recipe import RECIPES, TABLE_1, TrainConfig

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = (
    "run",
    "lab",
    "demo",
    "handouts",
    "slides",
    "lint",
    "doctor",
    "bench",
    "figures",
    "download",
    "prepare",
    "pack",
    "scenes",
    "verify",
    "train",
    "maps",
    "score",
    "video",
    "retrieve",
    "experiments",
    "export",
)


def sslnb(*arguments, **options):
    """The command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "sslnb", *map(str, arguments)],
        cwd=ROOT,
        text=True,
        capture_output=True,
        timeout=240,
        **options,
    )


# --- help -------------------------------------------------------------------


def test_help_lists_every_command(capsys):
    assert main(["--help"]) == 0
    told = capsys.readouterr().out
    assert all(f" {name} " in told for name in COMMANDS)
    assert {name for name in app if not name.startswith("-")} == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_says_what_a_command_and_each_of_its_options_does(name, capsys):
    assert main([name, "--help"]) == 0
    usage, _, first = capsys.readouterr().out.splitlines()[:3]
    assert usage.startswith(f"Usage: sslnb {name}") and first
    for argument in app[name].assemble_argument_collection(parse_docstring=True):
        assert argument.parameter.help or not argument.show, argument.name


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["retrieve"]])
def test_help_and_wrong_usage_load_no_torch(arguments):
    code = (
        "import sys; from sslnb.cli import main; main(sys.argv[1:]); "
        "print(sorted({'torch', 'numpy', 'tqdm', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_help_of_train_has_every_setting_with_both_defaults(capsys):
    main(["train", "--help"])
    told = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for field in fields(TrainConfig):
        assert f"--{field.name.replace('_', '-')}" in told
    assert (
        "how often each clip is seen (section 4.1: 80) [default: 12; paper: 80]" in told
    )
    assert "size of the model" in told and "[choices: laptop, paper]" in told


def test_help_names_threads_and_the_poster(capsys):
    main(["verify", "--help"])
    assert "threads in parallel" in capsys.readouterr().out
    main(["video", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert "its name ends in .png, and what has that name is overwritten" in told


def test_choices_are_those_of_the_code():
    kinds = {field.name: get_args(field.type) for field in fields(TrainConfig)}
    assert kinds["preset"] == tuple(RECIPES) and kinds["model"] == tuple(TABLE_1)
    assert get_args(Split) == SPLITS
    assert get_args(localise.Protocol) == tuple(PROTOCOLS)
    files = {path.stem for path in (ROOT / "benchmarks").glob("[a-z]*.py")}
    assert {"all", *files} == set(get_args(series.Benchmark))
    for name in files - set(series.BENCHMARKS):  # its help says what these are
        assert f"`{name}`" in series.bench.__doc__, name


# --- exit codes -------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["trian"], 'Did you mean "train"?'),
        (["train"], "--out requires an argument"),
        (["train", "--out", "x", "--epohcs", "3"], "Did you mean --epochs?"),
        (
            ["train", "--out", "x", "--model", "Z"],
            'Choose from: "A", "B", "C", "D", "E", "F"',
        ),
        (["train", "--out", "x", "--batch", "1"], "batch is 1; need 2 or more"),
        (["pack", "x", "--out", "y", "--workers", "0"], "--workers"),
        (["retrieve"], "either a folder of CLIPS or --split"),
        (["retrieve", "x", "--split", "test"], "either a folder of CLIPS or --split"),
        (["retrieve", "x", "--count", "3"], "--count is for --split; --list names"),
        (["retrieve", "--split", "test", "--list", "x"], "--classes, --list and"),
        (["retrieve", "--split", "test", "--classes", "x"], "--classes, --list and"),
        (["retrieve", "--split", "test", "--skip-damaged"], "--skip-damaged are for"),
        (["retrieve", "x", "--seed", "3"], "--seed is for --split"),
        (["download", "nothing"], "no published file nothing"),
        (["export"], "--out requires an argument"),
        (["run", "--store", "-p", "seed", "1"], "leave out --parameter"),
        (["bench", "all", "--rounds", "1"], "say which benchmark"),
        (["train", "--out", "x", "--data", "packed"], "--root must say where it lies"),
        (["train", "--out", "x", "--scenes", "4.6"], 'convert "4.6" into int'),
        (["train", "--out", "x", "--epochs", "1.6"], 'convert "1.6" into int'),
        (["train", "--out", "x", "--blocks", "1", "1.2"], 'convert "1.2" into int'),
        (["scenes", "--out", "x", "--count", "2.4"], 'convert "2.4" into int'),
        (["pack", "x", "--out", "y", "--workers", "1.5"], 'convert "1.5" into int'),
    ],
)
def test_wrong_usage_is_one_line_and_2(arguments, said, capsys):
    assert main(arguments) == 2
    told = capsys.readouterr()
    (line,) = told.err.splitlines()
    assert line.startswith("error: ") and said in line and "--help`" in line
    assert not told.out


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["run", "99"], f"no notebook '99' in {ROOT}/notebooks; known are 01"),
        (["run", "./01_data_preparation.ipynb"], "no notebook './01_data_prep"),
        (["verify", "nowhere"], "nowhere: No such file or directory"),
        (["pack", "nowhere", "--out", "x"], "nowhere is no folder"),
        (["prepare", "nowhere", "--out", "x"], "is no folder; need one of videos"),
        (["video", "nowhere.mp4", "--out", "x.mp4"], "nowhere.mp4"),
        (["export", "nowhere", "--out", "x"], "nowhere"),
        (["score", "--responses", "a.npz", "--annotations", "b.json"], "a.npz"),
        (["demo", "--port", "99999"], "port is 99999; need 1 to 65535"),
        (
            ["scenes", "--out", "x", "--count", "1", "--seconds", "inf"],
            "seconds is inf",
        ),
        (["scenes", "--out", "x", "--count", "1", "--seconds", "1e308"], "infinity"),
    ],
)
def test_failure_is_one_line_and_1(arguments, said, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and said in line


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["train", "--out", "{held}"], "holds a run already (model.safetensors"),
        (
            ["train", "--out", "x", "--data", "packed", "--root", "nowhere"],
            "nowhere: No",
        ),
        (["train", "--out", "x", "--start", "nowhere"], "nowhere: No such file"),
        (["pack", "nowhere", "--out", "x"], "nowhere is no folder"),
        (
            ["maps", "nowhere", "--checkpoint", "{held}", "--out", "x.npz"],
            "nowhere: No",
        ),
        (
            ["score", "--responses", "a.npz", "--annotations", "b.json"],
            "a.npz: No such",
        ),
        (["video", "nowhere.mp4", "--out", "x.mp4"], "nowhere.mp4: No such file"),
        (["export", "nowhere", "--out", "x"], "nowhere: No such file"),
        (["retrieve", "nowhere"], "nowhere: No such file"),
        (["verify", "nowhere"], "nowhere: No such file"),
        (["run", "99"], "no notebook '99'"),
        (["lint", "99"], "no notebook '99'"),
        (["handouts", "99"], "no notebook '99'"),
        (["slides", "99"], "no notebook '99'"),
    ],
)
def test_what_is_missing_or_taken_is_said_before_anything_slow_is_loaded(
    arguments, said, tmp_path
):
    held = tmp_path / "held"
    held.mkdir()
    (held / "model.safetensors").touch()
    code = (
        "import sys; from sslnb.cli import main; number = main(sys.argv[1:]); "
        "print(number, {'torch', 'nbformat'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *(text.format(held=held) for text in arguments)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "1 set()\n", done.stderr
    assert done.stderr.startswith("error: ") and said in done.stderr
    assert list(tmp_path.iterdir()) == [held]


def test_an_error_of_several_lines_becomes_one(tmp_path, capsys):
    store = tmp_path / "store"
    options = ["--count", "3", "--size", "16", "--workers", "1", "--no-progress"]
    assert main(["scenes", "--out", str(store), *options]) == 0
    assert not capsys.readouterr().err  # no bar
    content = bytearray((store / "frames.npy").read_bytes())
    content[-1] ^= 1
    (store / "frames.npy").write_bytes(content)
    assert main(["verify", str(store), "--no-progress"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and line.endswith(
        f"; delete {store} and pack again"
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_an_error(capsys):
    assert main(["retrieve", "--split", "test", "--device", "cuda"]) == 1
    assert "no GPU here" in capsys.readouterr().err


@pytest.mark.slow
def test_the_process_ends_with_the_exit_code():
    assert sslnb("--version").returncode == 0
    wrong, failed = sslnb("retrieve"), sslnb("run", "99")
    assert (wrong.returncode, failed.returncode) == (2, 1)
    assert "Traceback" not in wrong.stderr + failed.stderr


@pytest.mark.slow
def test_ctrl_c_is_130_and_says_what_is_kept(tmp_path):
    running = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "sslnb",
            "train",
            "--out",
            tmp_path,
            "--scenes",
            "4000",
            "--val-clips",
            "4000",
        ],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    seen = ""
    while "scene" not in seen and running.poll() is None:  # the bar: it is composing
        seen += running.stderr.read(1)
    time.sleep(0.5)
    os.kill(running.pid, signal.SIGINT)
    _, told = running.communicate(timeout=120)
    assert running.returncode == 130
    assert told.splitlines()[-1].startswith("stopped: ") and "--resume" in told
    assert "Traceback" not in told


# --- commands that are only here --------------------------------------------


def test_lab_is_jupyterlab_on_the_notebooks(monkeypatch):
    seen = []
    monkeypatch.setattr(os, "execve", lambda *arguments: seen.append(arguments))
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    main(["lab", "--port", "8890", "--no-browser"])
    ((program, arguments, environment),) = seen
    assert program == sys.executable and arguments[:3] == [program, "-m", "jupyterlab"]
    folder = arguments.index("--notebook-dir") + 1
    assert arguments[folder:] == [
        str(ROOT / "notebooks"),
        "--port",
        "8890",
        "--no-browser",
    ]
    assert "PYTHONPATH" not in environment and environment["PYTHONNOUSERSITE"] == "1"
    main(["lab", "--notebook-dir", "class/01"])  # JupyterLab takes only one
    assert seen[1][1][-2:] == ["--notebook-dir", "class/01"]
    assert seen[1][1].count("--notebook-dir") == 1


def test_bench_runs_one_with_its_options_or_all_in_turn(monkeypatch, capsys):
    seen = []

    def run(arguments, env):
        seen.append(arguments[1:])
        assert env["PYTHONPATH"] == str(ROOT)
        return subprocess.CompletedProcess(arguments, "failing" in arguments)

    monkeypatch.setattr(subprocess, "run", run)
    assert main(["bench", "train", "--batch", "64", "128", "--compile"]) == 0
    assert seen == [["-m", "benchmarks.train", "--batch", "64", "128", "--compile"]]
    seen.clear()
    assert main(["bench"]) == 0
    assert [module for _, module in seen] == [
        f"benchmarks.{name}" for name in series.BENCHMARKS
    ]
    assert main(["bench", "score", "failing"]) == 1
    assert "benchmark score failed" in capsys.readouterr().err


def expected_scores(labels, images, waves):
    """Retrieval by the shipped model, one clip after the other."""
    model, sounds, pictures = SoundLocaliser.load(CHECKPOINT), [], []
    for image, wave in zip(images, waves):
        with torch.no_grad():
            cells = model.embed_image(normalise(model.fit(image[None])))
            sounds.append(
                model.embed_audio(spectrogram(wave[None], model.config.audio))[0]
            )
        pictures.append(pool_image(cells)[0])
    sounds, pictures = torch.stack(sounds), torch.stack(pictures)
    return [
        retrieval_scores(sounds, gallery, labels, labels, exclude_self=True)
        for gallery in (sounds, pictures)
    ]


def printed(told):
    """The two rows of scores that `retrieve` prints, as numbers."""
    rows = [line for line in told.splitlines() if " by sound " in line]
    return [[float(x) for x in row.split("sound ")[1].split()] for row in rows]


def test_retrieve_scores_scenes(capsys):
    clips = load_scenes("test", 40, 96, 48_000, seed=3)
    assert main(["retrieve", "--split", "test", "--count", "40", "--seed", "3"]) == 0
    for row, scores in zip(
        printed(capsys.readouterr().out),
        expected_scores(clips.labels, clips.images, clips.waves),
        strict=True,
    ):
        assert row == [pytest.approx(100 * x, abs=0.051) for x in scores.values()]


@pytest.mark.parametrize("arguments", [["--split", "test", "--count", "10"], ["{few}"]])
def test_retrieve_says_how_many_clips_it_needs(arguments, tmp_path, capsys):
    for kind, suffix in (("frames", "jpg"), ("audio", "wav")):
        (tmp_path / kind).mkdir()
        for k in range(10):
            (tmp_path / kind / f"{k:011}_000000.{suffix}").touch()
    assert main(["retrieve", *(text.format(few=tmp_path) for text in arguments)]) == 1
    assert "there are 10 clips; need 11 or more: A@10" in capsys.readouterr().err


def test_retrieve_scores_a_folder_and_needs_its_classes(tmp_path, capsys):
    scenes = [compose("test", 0, index, 96) for index in range(12)]
    names, classes = [f"{k:011}" for k in range(12)], ["dog", "cat", "cow"] * 4
    for kind in ("frames", "audio"):
        (tmp_path / kind).mkdir()
    for name, scene in zip(names, scenes):
        image = Image.fromarray(scene.image)
        image.save(tmp_path / "frames" / f"{name}_000000.jpg", quality=95)
        wave = tmp_path / "audio" / f"{name}_000000.wav"
        soundfile.write(wave, scene.wave, 16_000)
    assert main(["retrieve", str(tmp_path)]) == 1
    assert "the class of 12 clips is not known" in capsys.readouterr().err
    lines = [f"{name},0,{label},test\n" for name, label in zip(names, classes)]
    (tmp_path / "vggsound.csv").write_text("".join(lines))
    options = [str(tmp_path), "--classes", str(tmp_path / "vggsound.csv")]
    assert main(["retrieve", *options]) == 0
    frames = [Image.open(tmp_path / "frames" / f"{name}_000000.jpg") for name in names]
    images = [torch.from_numpy(np.array(f)).permute(2, 0, 1) for f in frames]
    waves = [torch.from_numpy(scene.wave) for scene in scenes]
    told = capsys.readouterr().out
    assert "12 clips of 3 classes" in told
    for row, scores in zip(
        printed(told), expected_scores(classes, images, waves), strict=True
    ):
        assert row == [pytest.approx(100 * x, abs=0.051) for x in scores.values()]
    (tmp_path / "audio" / f"{names[5]}_000000.wav").write_text("damaged")
    assert main(["retrieve", *options]) == 1
    assert "--skip-damaged" in capsys.readouterr().err
    assert main(["retrieve", *options, "--skip-damaged"]) == 0
    told = capsys.readouterr().out
    assert "11 clips of 3 classes" in told and f"left out: {names[5]}_000000: " in told


def test_settings_that_are_given_reach_the_configuration(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(
        training, "_train", lambda config, *rest, **data: seen.append(config)
    )
    main(
        [
            "train",
            "--out",
            str(tmp_path),
            "--preset",
            "paper",
            "--batch",
            "8",
            "--cosine-decay",
            "--crop",
            "0.2",
            "0.9",
            "--blocks",
            "1",
            "2",
            "--epochs",
            "3.0",
        ]
    )
    changed = {"batch": 8, "epochs": 3, "cosine_decay": True, "blocks": (1, 2)}
    assert seen == [TrainConfig.from_preset("paper", crop=(0.2, 0.9), **changed)]
    main(["train", "--out", str(tmp_path)])
    assert seen[1] == TrainConfig()
