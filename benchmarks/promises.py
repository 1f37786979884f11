"""The page "Promises" of the book: what is promised, how it is tested, what was measured.

    sslnb bench promises     # prints the page

Made of promises.toml, which has the words and the bounds, and of the newest rows of
ledger.jsonl, which have the figures. A figure outside its bounds is shown as such.
"""

import sys
import tomllib
from pathlib import Path

from benchmarks.ledger import newest

TOML = Path(__file__).with_suffix(".toml")
OPENING = """\
# Promises

What you can rely on. Each promise names the tests that check it at every change. Where a test must be short, a longer trial was
recorded, with its figures; the command repeats it. This page is made of those records.
"""
KEPT, BROKEN, OPEN = "kept", "**not kept**", "not measured yet"


def promises(path=TOML):
    """Every promise: {"title", "says", "tests", "bench", "figures"}, in order."""
    return tomllib.loads(path.read_text(encoding="utf-8"))["promise"]


def within(value, figure):
    """Whether a value keeps the bounds of a figure; those not given do not bind."""
    low, high = figure.get("at_least", value), figure.get("at_most", value)
    return low <= value <= high


def bounds(figure):
    """The bounds of a figure in words: "at least 50", or "–" where none is promised."""
    words = [
        f"{word} {figure[key]:,}"
        for key, word in (("at_least", "at least"), ("at_most", "at most"))
        if key in figure
    ]
    return ", ".join(words) or "–"


def state(promise, measured):
    """KEPT, BROKEN or OPEN: a promise without figures is kept by its tests."""
    figures = promise.get("figures", [])
    if any(
        f["name"] in measured and not within(measured[f["name"]][0], f) for f in figures
    ):
        return BROKEN
    return OPEN if any(f["name"] not in measured for f in figures) else KEPT


def page(made=None, measured=None):
    """The page in Markdown.

    made: as of `promises()`; measured: {figure: (value, row of the ledger)}, by
    default the newest row of each figure.
    """
    made = promises() if made is None else made
    measured = newest() if measured is None else measured
    lines = [OPENING, "| promise | |", "|---|---|"]
    lines += [f"| {each['title']} | {state(each, measured)} |" for each in made]
    for each in made:
        lines += ["", f"## {each['title']}", "", each["says"], ""]
        lines += [_tested(each)]
        if figures := each.get("figures"):
            lines += ["", "| measured | promised | found | |", "|---|---|---|---|"]
            lines += [_line(figure, measured) for figure in figures]
            lines += _told(figures, measured)
    return "\n".join(lines) + "\n"


def _tested(promise):
    tests = ", ".join(f"`{name}`" for name in promise["tests"])
    bench = promise.get("bench")
    return f"Tested by {tests}." + (
        f" Measured by `sslnb bench {bench}`." * bool(bench)
    )


def _line(figure, measured):
    cells = [figure["what"], bounds(figure)]
    if figure["name"] not in measured:
        return "| " + " | ".join([*cells, OPEN, ""]) + " |"
    value = measured[figure["name"]][0]
    kept = "" if within(value, figure) else BROKEN
    return "| " + " | ".join([*cells, f"{value:,.10g}", kept]) + " |"


def _told(figures, measured):
    """Under a table: of each row of the ledger that it shows, when, where and how."""
    rows = {}
    for figure in figures:
        if figure["name"] in measured:
            row = measured[figure["name"]][1]
            rows[row["day"], row["commit"], row["told"]] = row
    for row in rows.values():
        yield f"\n{row['day']}, {row['machine']}, commit `{row['commit']}`: {row['told']}"


if __name__ == "__main__":
    sys.stdout.write(page())
