"""How long the widgets of the notebooks take to answer, on one thread.

    sslnb bench widgets

Each is built by its own cell, with what that needs of the cells above; then every one of
its sliders and lists is moved 20 times. What a browser takes to show the image is not in
it. Two minutes, most of them for the training of notebook 05.
"""

import argparse
import ast
from itertools import cycle, islice
from statistics import median
from time import perf_counter

import ipywidgets
import torch

from benchmarks.ledger import record
from sslnb.series.demo import questions

TARGET = 100  # milliseconds, at most
MOVES = 20


def built(excerpt):
    """The box that the widget's cell returns."""
    namespace = {}
    exec(excerpt.setup, namespace)
    torch.set_num_threads(1)  # the notebooks set two
    cell = ast.parse(excerpt.cell)
    exec(compile(cell, "cell", "exec"), namespace)
    call = next(
        node
        for node in ast.walk(cell)
        if isinstance(node, ast.Call)
        and getattr(node.func, "attr", None) == excerpt.widget
    )
    made = [v for v in namespace.values() if isinstance(v, ipywidgets.Box)]
    return made[0] if made else eval(ast.unparse(call), namespace)


def values_of(control):
    """Values to give a control, MOVES of them; none if it is of another kind."""
    if isinstance(control, (ipywidgets.FloatSlider, ipywidgets.IntSlider)):
        kind, span = type(control.value), control.max - control.min
        share = ((k * 7 % MOVES + 0.5) / MOVES for k in range(MOVES))
        return [kind(control.min + span * part) for part in share]
    if isinstance(control, (ipywidgets.Dropdown, ipywidgets.SelectionSlider)):
        others = [value for _, value in control._options_full if value != control.value]
        return list(islice(cycle([*others, control.value]), MOVES))
    return []


def milliseconds(control):
    """What each move took; moves that change nothing are left out."""
    times = []
    for value in values_of(control):
        if value != control.value:
            began = perf_counter()
            control.value = value
            times.append(1_000 * (perf_counter() - began))
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.parse_args()
    found = {}
    for excerpt in questions():
        for name, control in built(excerpt).controls.items():
            if times := milliseconds(control):
                found[f"{excerpt.widget} {name}"] = median(times)
    slowest = max(found, key=found.get)
    record(
        {"widget_milliseconds": found[slowest], **found},
        f"medians of {MOVES} moves, one thread; the slowest is {slowest}; target: at "
        f"most {TARGET}",
    )


if __name__ == "__main__":
    main()
