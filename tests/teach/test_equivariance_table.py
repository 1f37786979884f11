"""The table of notebook 04: means over seeds, and the paper's numbers beside them."""

import pandas as pd

from sslnb.teach.equivariance import DIGITS, comparison


def test_the_table_holds_means_over_seeds_and_the_papers_rows_e_and_f():
    start = dict.fromkeys(DIGITS, 0.25)
    results = {
        f"λ = {weight}": pd.DataFrame([dict.fromkeys(DIGITS, x) for x in (0.1, 0.3)])
        for weight in (0, 2, 20)
    }
    table = comparison(start, results)
    assert list(table.index) == ["at the start", "λ = 0", "λ = 2", "λ = 20"]
    assert list(table["L_geo"]) == ["0.2500", "0.2000", "0.2000", "0.2000"]
    assert list(table["paper: cIoU"]) == ["", "0.3766 (E)", "0.3863 (F)", ""]
    assert list(table["paper: AUC"]) == ["", "0.3937 (E)", "0.3965 (F)", ""]
