"""The project as a whole: commands, names relied on, files and words."""

import ast
import csv
import importlib
import inspect
import json
import re
import subprocess
from itertools import product
from pathlib import Path

import nbformat
import pytest

from benchmarks import equivariance, ledger
from sslnb.cli import app
from sslnb.experiments.grid import RUNS, read_grid
from sslnb.experiments.results import ERRORS, LOCALISATION, read_results
from sslnb.files import CHECKPOINT
from sslnb.model import PRESETS
from sslnb.teach import ablation, figures
from sslnb.teach.equivariance import TRIED, USUAL, gain, trial
from sslnb.teach.experiments import guesses, verdict
from sslnb.training.recipe import RECIPES, REGIMES, TABLE_1, TrainConfig

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def results():
    """What the grid of experiments found."""
    return read_results()


def tracked():
    """Files of the repository: those in git, and those about to be."""
    listed = subprocess.run(
        [
            "git",
            "-c",
            f"safe.directory={ROOT}",
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode:
        pytest.skip("not in a git repository: what is tracked cannot be told")
    paths = (ROOT / name for name in listed.stdout.split("\0") if name)
    return [path for path in paths if path.exists()]


def text_of(path):
    """Text of a file, or "" where it is no text."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


# --- commands ---------------------------------------------------------------


def targets():
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_the_promised_commands_exist():
    assert {"run", "test", "lab", "doctor", "store", "bench"} <= targets()
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_commands_that_pages_name_exist():
    """`make x` in README and notebooks is a target; `sslnb x` a command."""
    pages = [
        ROOT / "README.md",
        ROOT / "Makefile",
        *sorted((ROOT / "notebooks").rglob("*.ipynb")),
    ]
    for path in pages:
        text = text_of(path)
        for target in re.findall(r"`make ([a-z]+)", text):
            assert target in targets(), f"{path.name}: make {target}"
        for command in re.findall(r"(?:`|bin/|-m )sslnb ([a-z]+)", text):
            assert command in app, f"{path.name}: sslnb {command}"


def test_the_readmes_table_is_what_the_ledger_says():
    text = text_of(ROOT / "README.md")
    assert ledger.readme(text) == text, "run sslnb bench ledger"
    for row in ledger.rows():
        assert row["figures"] and row["machine"] and row["commit"] and row["told"]


def test_notebook_a3_shows_that_table():
    book = nbformat.read(ROOT / "notebooks" / "appendix" / "A3_full_scale.ipynb", 4)
    shown = [
        output["data"].get("text/markdown", "").strip()
        for cell in book.cells
        for output in cell.get("outputs", ())
        if "data" in output
    ]
    assert ledger.table().strip() in shown, "run sslnb run --store A3"


def test_a_benchmark_adds_its_row(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ledger, "LEDGER", tmp_path / "ledger.jsonl")
    assert "not measured" in ledger.table()
    ledger.record({"fp32_ratio": 1.23456, "mine": 2}, "three rounds")
    assert "1.235" in capsys.readouterr().out
    (row,) = ledger.rows()
    assert row["figures"] == {"fp32_ratio": 1.235, "mine": 2}
    line = next(x for x in ledger.table().splitlines() if "plain reference" in x)
    assert line.count("1.235") == 1 and "not measured" in line
    ledger.record({"notebook 03_invariance_loss": 41.4}, "as it is stored")
    ledger.record({"notebook 05_training": 150.0}, "as it is stored")
    rows = [
        line
        for line in ledger.readme(text_of(ROOT / "README.md")).splitlines()
        if line.startswith("| 0")
    ]
    assert rows[2].endswith("| 41 s |") and rows[4].endswith("| 2.5 min |")


def test_table_1_is_of_every_seed_of_the_grid_with_the_settings_as_they_stand(results):
    runs = read_grid().select(["table_1"])
    assert {run.variant for run in runs} == set(TABLE_1)
    for run in runs:
        assert run.is_done(), f"{run.name} is not done: sslnb experiments {run.name}"
        metrics = results.runs[run.variant][run.config.seed]["metrics"]
        for where in ablation.SPLITS:
            found = metrics[where]
            assert all(0 < found[key] < 1 for key in LOCALISATION)
            assert all(0 < found[key] < 4 for key in ERRORS)


def test_runs_of_the_fair_trial_are_those_of_its_grid():
    grid = []
    for name in equivariance.VARIANTS:
        weights, seeds = equivariance.GRID[name]
        grid += product([name], weights, seeds)
    tried = ledger.rows(TRIED)
    assert sorted(grid) == sorted(
        (row["variant"], row["config"]["geo_weight"], row["seed"]) for row in tried
    )
    for row in tried:
        _, changes, count = equivariance.VARIANTS[row["variant"]]
        assert row["clips"] == count and changes.items() <= row["config"].items()


def test_a_run_of_the_fair_trial_that_has_a_row_is_not_made_again(monkeypatch):
    monkeypatch.setattr(equivariance, "load_training", None)  # nothing can be trained
    for name, (model, _, _) in equivariance.VARIANTS.items():
        if model:  # its preset is gone after this test
            monkeypatch.setitem(PRESETS, f"laptop, {name}", None)
            monkeypatch.setitem(RECIPES, f"laptop, {name}", {})
        for weight, seed in product(*equivariance.GRID[name]):
            equivariance.run(name, weight, seed)
    with pytest.raises(TypeError):
        equivariance.run("64 pixels", 7.0, 0)


def test_the_readmes_figures_are_drawn_of_the_results(results, tmp_path):
    figures.table_1(results, tmp_path / "table_1.svg")
    figures.weights(results, tmp_path / "equivariance.svg")
    for figure in (figures.TABLE_1_SVG, figures.WEIGHTS_SVG):
        assert text_of(tmp_path / figure.name) == text_of(figure), figure.name
        assert f"](data/{figure.name})" in text_of(ROOT / "README.md")


def test_what_the_readme_says_of_table_1_follows_from_the_results(results):
    told = " ".join(text_of(ROOT / "README.md").split())
    levels = ablation.levels(results)
    for where, score, one, two, unit, digits in (
        ("test", "e_app", "A", "B", 1, 2),
        ("test", "e_geo", "A", "B", 1, 2),
        ("test", "e_geo", "B", "C", 1, 2),
        ("unseen", "AUC", "A", "F", 100, 1),
        ("test", "e_app", "E", "F", 1, 2),
    ):
        ends = [unit * levels[where][name][score].value for name in (one, two)]
        assert "from {:.{d}f} to {:.{d}f}".format(*ends, d=digits) in told, (
            score,
            ends,
        )
    prior = guesses(results, ["unseen"])["unseen"]["centre prior"]["AUC"].value
    assert f"still below the centre prior's {100 * prior:.1f}" in told
    assert prior > levels["unseen"]["F"]["AUC"].value
    seeds = len(results.seeds(list(TABLE_1)))
    assert f"each seen {REGIMES['clips']['epochs']} times, {seeds} seeds" in told


def test_what_the_readme_says_of_parts_is_resolved_or_not(results):
    effects = ablation.effects(results)
    for step, score, said in (
        ("A→B", "e_app", "better"),
        ("B→C", "e_geo", "better"),
        ("E→F", "e_geo", "not resolved"),
        ("E→F", "e_app", "better"),
    ):
        for where, changes in effects.items():
            assert verdict(changes[step][score], score) == said, (where, step, score)
    assert verdict(effects["unseen"]["A→F"]["AUC"], "AUC") == "better"
    assert verdict(effects["test"]["A→B"]["e_geo"], "e_geo") == "worse"
    for changes in effects.values():  # no part alone
        for step in list(ablation.STEPS)[:-1]:
            for score in LOCALISATION:
                assert verdict(changes[step][score], score) != "better"


def test_what_the_readme_says_of_the_weight_of_l_geo_follows_from_the_trial(results):
    usual = trial(results)
    usual = usual[usual["variant"] == USUAL]
    for split in ablation.SPLITS:
        flatter, margin = gain(usual, (2.0, 20.0), split, "deviation")
        assert flatter < -margin
        for weight in sorted(set(usual["weight"]) - {0.0}):
            value, margin = gain(usual, (0.0, weight), split, "AUC")
            assert value < margin
    value, margin = gain(usual, (2.0, 20.0), "test", "e_geo")
    assert value > margin


def test_the_shipped_checkpoint_is_of_the_settings_as_they_stand():
    """Its scores in README are compared with notebook 06 by test_notebooks.py."""
    card = json.loads(text_of(CHECKPOINT / "model.json"))
    assert TrainConfig(**card["training"]) == TrainConfig()
    assert card["clips"] == REGIMES["scenes"]["clips"]
    lines = text_of(CHECKPOINT / "metrics.jsonl").splitlines()
    epochs = [json.loads(line)["epoch"] for line in lines]
    assert epochs == list(range(1, TrainConfig().epochs + 1))
    assert card["metrics"]["epoch"] in epochs


# --- the module -------------------------------------------------------------


# Names that others rely on, with the parameters that they may give.
RELIED_ON = {
    "model.SoundLocaliser.from_preset": "name",
    "model.SoundLocaliser.from_release": "path",
    "data.leaks": "train, test",
    "model.SoundLocaliser.forward": "self, images, spectrograms",
    "model.SoundLocaliser.embed_image": "self, images",
    "model.SoundLocaliser.embed_audio": "self, spectrograms",
    "losses.contrastive_loss": "similarity, form='release'",
    "losses.equivariance_loss": "response_1, response_2, theta",
    "augment.Geometric.draw": "self, batch, generator",
    "augment.warp": "x, theta",
    "localise.ciou": "responses, truth",
    "localise.boxes_to_truth": "boxes",
    "localise.summarise": "ciou",
    "retrieve.retrieval_scores": "query, gallery, query_labels, gallery_labels, "
    "ks=(1, 5, 10), exclude_self=False",
}


@pytest.mark.parametrize("name", RELIED_ON)
def test_names_relied_on_keep_their_parameters(name):
    file, *path = name.split(".")
    found = importlib.import_module(f"sslnb.{file}")
    for part in path:
        found = getattr(found, part)
    parameters = list(inspect.signature(found).parameters.values())
    told = ", ".join(
        p.name if p.default is p.empty else f"{p.name}={p.default!r}"
        for p in parameters
    )
    assert told == RELIED_ON[name] or told.startswith(RELIED_ON[name] + ", ")
    count = len(ast.parse(f"def f({RELIED_ON[name]}): ...").body[0].args.args)
    new = parameters[count:]
    assert all(p.default is not p.empty for p in new), "a new one needs a default"


# --- files ------------------------------------------------------------------


def test_every_file_of_the_data_has_a_licence():
    data = ROOT / "data" / "soundstamps"
    rows = {}
    for name in ("photos", "sounds", "backgrounds", "frames", "wild"):
        with open(data / f"{name}.tsv", newline="", encoding="utf-8") as file:
            rows |= {row["file"]: row for row in csv.DictReader(file, delimiter="\t")}
    files = {str(path.relative_to(data)) for path in tracked() if data in path.parents}
    files -= {
        f"{name}.tsv" for name in ("photos", "sounds", "backgrounds", "frames", "wild")
    }
    assert files == set(rows)
    assert all(row["licence"].strip() for row in rows.values())


def test_the_readme_says_how_long_the_grid_took():
    results = [
        json.loads(path.read_text(encoding="utf-8")) for path in RUNS.glob("*.json")
    ]
    hours = sum(result["seconds"] for result in results) / 3600
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert f"took {hours:.1f} hours of training" in text
    assert f"each of its {len(results)} runs" in text
