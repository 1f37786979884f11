"""The results that are committed: complete, small, and true to what each clip says."""

import json

import numpy as np
import pytest
import torch

from sslnb.experiments import measure
from sslnb.experiments.grid import FOLDER, RUNS, read_grid
from sslnb.experiments.packed import pack, unpack
from sslnb.experiments.results import read_results
from sslnb.experiments.run import scores
from sslnb.localise.metrics import ciou, truth_of

FILES = sorted(RUNS.glob("*.json"))


@pytest.fixture(scope="module", params=FILES, ids=lambda path: path.stem)
def result(request):
    return json.loads(request.param.read_text(encoding="utf-8"))


def test_every_run_of_the_grid_is_done_and_nothing_else_is_there():
    runs = read_grid().select()
    assert [run.name for run in runs if not run.is_done()] == []
    assert sorted(path.stem for path in FILES) == sorted(run.name for run in runs)


def test_all_of_them_are_small():
    assert sum(path.stat().st_size for path in FOLDER.rglob("*")) < 5e6


def test_table_1_has_five_seeds_of_one_budget():
    runs = [run for name in "ABCDEF" for run in read_grid().variants[name]]
    assert {run.config.seed for run in runs} == set(range(5))
    budgets = {
        (r.clips, r.config.epochs, r.config.passes, r.config.batch) for r in runs
    }
    assert len(budgets) == 1 and len(runs) == 30


def test_recipes_have_as_many_steps():
    grid = read_grid()
    names = (*grid.experiments["table_1"], *grid.experiments["tables_2_3"])
    names += (*grid.experiments["table_4"], *grid.experiments["beyond"])
    steps = {
        -(-run.clips // run.config.batch) * run.config.passes * run.config.epochs
        for name in names
        for run in grid.variants[name]
        if run.kind == "trained"
    }
    assert max(steps) / min(steps) < 1.15  # batches of 36 are a little larger


def test_a_result_says_how_it_was_made(result):
    assert result["run"] == f"{result['variant']}-{result['seed']}"
    assert result["commit"] and result["machine"] and result["versions"]["torch"]
    assert result["kind"] == "untrained" or result["seconds"] > 0


def test_its_scores_are_those_of_its_clips(result):
    for name, packed in result["per_clip"].items():
        columns = {key: unpack(values) for key, values in packed.items()}
        found = scores(columns)
        assert found.keys() == result["metrics"][name].keys()
        for key, value in result["metrics"][name].items():
            # what changes of maps is kept in half precision
            assert found[key] == pytest.approx(value, abs=2e-4, rel=5e-3), key


def test_cious_are_exact_steps(result):
    for packed in result["per_clip"].values():
        for key, values in packed.items():
            if key.startswith("ciou"):
                assert "steps" in values
                assert pack(unpack(values)) == values


def test_learning_rates_are_the_best_on_val():
    """The recipes of others have the rate that the runs of `rates` chose."""
    results, grid = read_results(), read_grid()
    best: dict[str, tuple[float, float]] = {}
    for name in grid.experiments["rates"]:
        history = results.runs[name][0]["history"]
        rate = results.runs[name][0]["config"]["learning_rate"]
        quality = max(
            auc + pointing
            for auc, pointing in zip(history["val_AUC"], history["val_pointing"])
            if auc is not None
        )
        recipe = name.split("-")[0]
        best[recipe] = max(best.get(recipe, (0.0, 0.0)), (quality, rate))
    for recipe, (_, rate) in best.items():
        assert grid.variants[recipe][0].config.learning_rate == rate


@pytest.mark.slow
@pytest.mark.parametrize("name", measure.SETS)
def test_the_clips_are_those_that_are_composed(name):
    kept = json.loads((FOLDER / "clips.json").read_text(encoding="utf-8"))[name]
    clips = measure.clips_of(name)
    assert kept["names"] == clips.names and kept["labels"] == clips.labels
    assert kept["photos"] == clips.photos and kept["recordings"] == clips.recordings
    prior = measure.guess(name, "centre prior")
    for key, values in prior.items():
        assert np.allclose(unpack(kept["guesses"]["centre prior"][key]), values)


@pytest.mark.slow
def test_the_maps_that_are_kept_score_as_their_clips_say():
    """From a map of bytes to its cIoU: the two were kept apart."""
    results = read_results()
    clips = measure.clips_of("unseen").part(slice(measure.MAPS))
    for variant in ("F", "A"):
        columns = results.columns(variant, "unseen", 0)
        maps = torch.from_numpy(columns["maps"].astype(np.float32))
        again = ciou(maps, truth_of(clips)).numpy()
        kept = columns["ciou"][: measure.MAPS]
        assert np.abs(again - kept).mean() < 0.02  # bytes are coarse
