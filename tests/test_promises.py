"""The page of promises: every figure that it shows is one of the ledger's."""

import pytest

from benchmarks import ledger, promises
from sslnb.files import ROOT

MADE = [
    {"title": "A", "says": "It holds.", "tests": ["tests/a.py"]},
    {
        "title": "B",
        "says": "It is quick.",
        "tests": ["tests/b.py"],
        "bench": "quick",
        "figures": [
            {"name": "seconds", "what": "seconds", "at_most": 2},
            {"name": "inputs", "what": "inputs", "at_least": 100_000},
        ],
    },
]


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """measured(seconds=…, …): the newest figures, once these are recorded."""
    monkeypatch.setattr(ledger, "LEDGER", tmp_path / "ledger.jsonl")

    def after(**figures):
        ledger.record(figures, "three rounds")
        return ledger.newest(ledger.rows()[-1]["gpu"])

    return after


def test_a_promise_is_kept_within_its_bounds_only(measured):
    found = measured(seconds=2.0, inputs=100_012)
    page = promises.page(MADE, found)
    assert "| A | kept |" in page and "| B | kept |" in page
    assert "| inputs | at least 100,000 | 100,012 |  |" in page
    assert "three rounds" in page and ledger.rows()[0]["commit"] in page

    found = measured(seconds=2.001)
    assert "| B | **not kept** |" in promises.page(MADE, found)
    assert promises.state(MADE[0], found) == promises.KEPT  # by its tests


def test_what_was_not_measured_is_told(measured):
    page = promises.page(MADE, {})
    assert "| B | not measured yet |" in page
    assert page.count("not measured yet") == 3
    found = measured(seconds=3.0)  # one is broken, the other not measured
    assert "| B | **not kept** |" in promises.page(MADE, found)


def test_every_promise_names_tests_and_a_benchmark_that_exist():
    made = promises.promises()
    assert len({each["title"] for each in made}) == len(made)
    for each in made:
        assert set(each) <= {"title", "says", "tests", "bench", "figures"}
        assert each["tests"]
        for test in each["tests"]:
            assert (ROOT / test).exists(), test
        assert ("bench" in each) == ("figures" in each)
        if "bench" in each:
            name = each["bench"].split()[0]
            assert (ROOT / "benchmarks" / f"{name}.py").exists()
        for figure in each.get("figures", []):
            assert set(figure) <= {"name", "what", "at_least", "at_most"}


def test_every_figure_of_the_page_was_measured():
    found = ledger.newest()
    names = [f["name"] for each in promises.promises() for f in each.get("figures", [])]
    assert [name for name in names if name not in found] == []


def test_the_readme_says_which_promises_are_not_kept():
    found = ledger.newest()
    made = promises.promises()
    broken = [p["title"] for p in made if promises.state(p, found) == promises.BROKEN]
    assert broken == [
        "The training step is quick",
        "The series runs while you have a coffee",
    ]
    told = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert "not kept: the speed of the training step in fp32, and `make run`" in told
