"""The grid file: variants, what they are like, and the runs that it asks for."""

import json
from collections import Counter
from dataclasses import asdict, fields, replace

import pytest

from sslnb.experiments.grid import GRID, Run, read_grid
from sslnb.experiments.measure import classes_of
from sslnb.experiments.pace import Pace
from sslnb.training.recipe import REGIMES, TrainConfig

TEXT = """
seeds = [0, 1]

[base]
regime = "clips"
batch = 16

[experiments]
one = ["A", "short"]
two = ["short", "both"]

[variants]
A = { model = "A" }
short = { like = "plain", epochs = 3, seeds = [0, 2] }
longer = { like = "short", epochs = 9 }
both = { like = ["short", "few"], model = "C" }
none = { kind = "untrained", half = "3b" }

[parts.plain]
model = "B"
warmup = 0.0

[parts.few]
clips = 36
epochs = 5
"""


@pytest.fixture
def grid(tmp_path):
    return read(tmp_path, TEXT)


def read(folder, text):
    path = folder / "grid.toml"
    path.write_text(text, encoding="utf-8")
    return read_grid(path)


def names(runs):
    return [run.name for run in runs]


# --- what a variant is


def test_a_variant_is_the_base_with_its_changes(grid):
    (run, other) = grid.variants["A"]
    assert run.config == TrainConfig.from_preset(
        "laptop", regime="clips", batch=16, model="A"
    )
    assert run.config.epochs == REGIMES["clips"]["epochs"]
    assert run.clips == REGIMES["clips"]["clips"] and run.kind == "trained"
    assert other.config == replace(run.config, seed=1)


def test_a_variant_that_is_like_others_takes_what_it_does_not_say(grid):
    (run, _) = grid.variants["longer"]
    assert (run.config.model, run.config.warmup, run.config.epochs) == ("B", 0.0, 9)
    assert [run.config.seed for run in grid.variants["longer"]] == [0, 2]
    (run, _) = grid.variants["both"]  # the later one wins, and its own words over both
    assert (run.config.model, run.config.warmup) == ("C", 0.0)
    assert (run.config.epochs, run.clips) == (5, 36)
    (run, _) = grid.variants["none"]
    assert (run.kind, run.half) == ("untrained", "3b")


def test_parts_are_no_variants(grid, tmp_path):
    assert set(grid.variants) == {"A", "short", "longer", "both", "none"}
    with pytest.raises(ValueError, match="no variant plain"):
        read(tmp_path, TEXT.replace('one = ["A"', 'one = ["plain"'))


@pytest.mark.parametrize(
    "change, match",
    [
        (("batch = 16", "batch = 1"), "variant A: batch is 1; need 2 or more"),
        (("batch = 16", "bach = 16"), "variant A: unknown setting bach; known are"),
        (('kind = "untrained"', 'kind = "random"'), "variant none: kind is 'random'"),
        (('like = "plain"', 'like = "plan"'), "like 'plan', which the grid has not"),
        (
            ('model = "B"', 'model = "B"\nlike = "longer"'),
            "short is like plain is like longer is like short: a circle",
        ),
        (('like = "short"', 'like = "longer"'), "longer is like longer: a circle"),
        (('one = ["A", ', 'one = ["A", "a", '), "experiment one: no variant a"),
        (("seeds = [0, 1]", "sed = [0, 1]"), "unknown: sed"),
        (("seeds = [0, 1]", "seeds = 3"), "variant A: 'int' object"),
        (("[base]", "[base"), "Expected"),
    ],
)
def test_what_is_wrong_in_the_file_is_said_with_its_name(change, match, tmp_path):
    assert change[0] in TEXT
    with pytest.raises(ValueError, match=match) as found:
        read(tmp_path, TEXT.replace(*change, 1))
    assert str(found.value).startswith(f"{tmp_path / 'grid.toml'}: ")


# --- which runs


def test_all_variants_of_a_seed_come_before_those_of_the_next(grid):
    assert names(grid.select(["one"])) == ["A-0", "short-0", "A-1", "short-2"]
    assert names(grid.select(["both", "A"])) == ["both-0", "both-2", "A-0", "A-1"]
    assert names(grid.select(["A-1", "A"])) == ["A-1", "A-0"]


def test_by_default_all_experiments_each_run_once(grid):
    assert names(grid.select()) == [
        *("A-0", "short-0", "A-1", "short-2"),
        *("both-0", "both-2"),
    ]


def test_an_unknown_name_is_said_with_those_that_are_known(grid):
    for name in ("Z", "A-7", "plain"):
        with pytest.raises(ValueError, match=f"no '{name}'; .*one, two.*A, short"):
            grid.select([name])


# --- the settings of a run


OTHER = {
    "preset": "paper",
    "model": "B",
    "regime": "scenes",
    "form": "paper",
    "views": "release",
    "precision": "fp32",
    "crop": (0.5, 1.0),
    "blocks": (2, 2, 2, 2),
    "smooth": 0.5,
    **dict.fromkeys(("warmup", "ema_decay", "scale_p", "mix_alpha", "curriculum"), 0.7),
}


@pytest.mark.parametrize("name", [field.name for field in fields(TrainConfig)])
def test_any_other_setting_is_another_run(name, tmp_path):
    run = Run("x", TrainConfig(regime="clips"), 500)
    before = getattr(run.config, name)
    value = OTHER.get(name, not before if isinstance(before, bool) else None)
    value = before + 1 if value is None else value
    other = replace(run, config=replace(run.config, **{name: value}))
    assert other.digest != run.digest
    if name != "seed":  # which is in the name
        write(run, tmp_path)
        assert run.is_done(tmp_path) and not other.is_done(tmp_path)


@pytest.mark.parametrize(
    "change", [{"clips": 36}, {"half": "0a"}, {"kind": "untrained"}]
)
def test_so_are_other_clips_halves_and_kinds(change, tmp_path):
    run = Run("x", TrainConfig(), 500)
    write(run, tmp_path)
    other = replace(run, **change)
    assert other.digest != run.digest and not other.is_done(tmp_path)


def test_the_digest_is_of_the_settings_and_not_of_the_name():
    run = Run("x", TrainConfig(), 500)
    assert len(run.digest) == 8 and int(run.digest, 16) >= 0
    assert replace(run, variant="y").digest == run.digest
    read_again = TrainConfig(**json.loads(json.dumps(asdict(run.config))))
    assert replace(run, config=read_again).digest == run.digest


def write(run, folder, **more):
    run.path(folder).write_text(json.dumps({**run.settings, **more}), encoding="utf-8")


def test_a_run_is_done_where_its_result_has_its_settings_and_more(tmp_path):
    run = Run("x", TrainConfig(), 500)
    assert run.path(tmp_path) == tmp_path / "x-0.json"
    assert not run.is_done(tmp_path) and run.result(tmp_path) is None
    write(run, tmp_path, metrics={"test": 1})
    assert run.is_done(tmp_path) and run.result(tmp_path)["metrics"] == {"test": 1}


@pytest.mark.parametrize("content", ['{"config": ', "[]", "3", ""])
def test_a_file_that_is_no_result_is_named_with_what_to_do(content, tmp_path):
    run = Run("x", TrainConfig(), 500)
    run.path(tmp_path).write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=r"x-0\.json is no result.*delete it"):
        run.is_done(tmp_path)


# --- the shipped grid


def test_the_shipped_grid_has_every_variant_in_an_experiment():
    grid = read_grid()
    used = Counter(v for several in grid.experiments.values() for v in several)
    assert set(used) == set(grid.variants)
    for name, runs in grid.variants.items():
        assert runs and all(run.variant == name for run in runs)
        assert len({run.config.seed for run in runs}) == len(runs)
        for run in runs:
            if run.half:
                assert 0 < len(classes_of(run.half)) < 100
    runs = grid.select()
    assert len(set(names(runs))) == len(runs) == sum(map(len, grid.variants.values()))


def test_no_two_names_of_the_shipped_grid_mean_two_things():
    grid = read_grid()
    everything = [*grid.experiments, *grid.variants, *names(grid.select())]
    assert len(set(everything)) == len(everything)


def test_variants_of_the_shipped_grid_differ_but_for_deliberate_twins():
    """A rate's variant may be the one that its baseline has taken."""
    runs = [run for run in read_grid(GRID).select() if run.config.seed == 0]
    twins = {}
    for run in runs:
        twins.setdefault(run.digest, []).append(run.variant)
    for several in twins.values():
        assert len(several) == 1 or any("e-" in name for name in several), several


# --- how long they take


def test_what_is_left_takes_the_median_of_its_variant_or_of_all(grid, tmp_path):
    pace = Pace(tmp_path)
    one, other = grid.variants["A"]
    short = grid.variants["short"][0]
    assert pace.hours([one], 2) is None and pace.says([one], 2) == "1 run is left"
    for seconds in (100, 3000, 7000):
        pace.add({"variant": "A", "seconds": seconds, "seconds_measuring": 200.0})
    assert pace.hours([one, other], 1) == pytest.approx(2 * 3200 / 3600)
    assert pace.hours([one, other], 2) == pytest.approx(3200 / 3600)
    assert pace.hours([one], 2) == pytest.approx(3200 / 3600)  # one cannot be divided
    assert pace.hours([short], 1) == pytest.approx(3200 / 3600)  # unknown: as all
    pace.add({"variant": "short", "seconds": 0.0})  # untrained, for one
    assert pace.seconds(short) == 0 and pace.seconds(one) == 3200
    assert (
        pace.says([one, other], 1)
        == "2 runs are left, about 1.8 hours at 1 side by side"
    )
    assert "about 53 minutes" in pace.says([one], 1)
    assert pace.hours([], 2) is None


def test_the_pace_is_read_from_the_results_that_can_be_read(tmp_path):
    (tmp_path / "A-0.json").write_text('{"variant": "A", "seconds": 60}')
    (tmp_path / "A-1.json").write_text('{"variant": "A", "sec')
    (tmp_path / ".77.A-2.json").write_text('{"variant": "A", "seconds": 999}')
    (tmp_path / "notes.json").write_text("[]")
    assert Pace(tmp_path).took == {"A": [60]}
