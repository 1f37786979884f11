"""What notebook 04 says of its seeds: their means beside the paper's, and what is apart."""

import pandas as pd

from sslnb.teach.equivariance import DIGITS, apart, comparison, verdict


def test_the_table_holds_means_over_seeds_and_the_papers_rows_e_and_f():
    results = {
        name: pd.DataFrame([dict.fromkeys(DIGITS, x) | {"flip": x} for x in (0.1, 0.3)])
        for name in ("untrained", "λ = 0", "λ = 2")
    }
    table = comparison(results)
    assert list(table.index) == ["untrained", "λ = 0", "λ = 2"]
    assert list(table["e(T_geo)"]) == ["0.20"] * 3
    assert list(table["L_geo"]) == ["0.2000"] * 3
    assert list(table["paper: cIoU"]) == ["", "0.3766 (E)", "0.3863 (F)"]
    assert list(table["paper: AUC"]) == ["", "0.3937 (E)", "0.3965 (F)"]


def test_measures_are_apart_where_no_seed_of_one_lies_among_the_others():
    one = pd.DataFrame({"a": [1.0, 2.0], "b": [1.0, 2.0], "c": [1.0, 2.0]})
    two = pd.DataFrame({"a": [0.5, 0.9], "b": [2.1, 9.0], "c": [0.1, 1.0]})
    assert apart(one, two, list("abc")) == (["a"], ["b"])
    assert apart(one, two, ["c"]) == ([], [])


def test_the_verdict_follows_from_the_seeds():
    names = ["flip", "T_geo"]
    one = pd.DataFrame(
        {"flip": [1.0, 2.0, 3.0], "T_geo": [0.3, 0.5, 0.6]}
        | {"AUC": [0.3] * 3, "standard deviation": [0.2] * 3}
    )
    two = one.assign(flip=[1.5, 0.5, 2.5], T_geo=[0.4, 0.2, 0.5], AUC=0.4)
    text = verdict(one, two, names)
    assert "e(T_geo) by **-0.30 to +0.10**" in text and "up to **0.30** in" in text
    assert "AUC by **+0.10 to +0.10**" in text and "no effect of the loss" in text
    text = verdict(one, two - 3, names)
    assert "than in any without it: **flip, T_geo**; higher: **no transform**" in text
    assert "shows an effect of the loss" in text
