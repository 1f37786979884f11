"""How long the widgets of the notebooks take to answer, on one thread.

    sslnb bench widgets

Each is built by its own cell, with what that needs of the cells above; then every one of
its sliders and lists is moved 20 times. Counted is time of the processor, as on a machine
that does nothing else; what a browser takes to show the image is not in it. The trainings
of notebooks 04 and 05 have one thread too: two would wait for each other, without end
almost, beside a busy program. Four minutes.
"""

import argparse
import ast
import io
from contextlib import redirect_stdout
from itertools import cycle, islice
from statistics import median
from time import process_time
from unittest.mock import patch

import ipywidgets
import torch
from IPython.core.interactiveshell import InteractiveShell

from benchmarks.ledger import record
from sslnb.series.demo import questions

TARGET = 100  # milliseconds, at most
MOVES = 20


def built(excerpt):
    """The box that the widget's cell makes."""
    InteractiveShell.instance()  # for displays that are updated
    namespace, cell = {}, ast.parse(excerpt.cell)
    with redirect_stdout(io.StringIO()):
        exec(excerpt.setup, namespace)
        exec(compile(cell, "cell", "exec"), namespace)
        boxes = [v for v in namespace.values() if isinstance(v, ipywidgets.Box)]
        for node in () if boxes else ast.walk(cell):  # not kept, but displayed
            called = isinstance(node, ast.Call) and getattr(node.func, "attr", None)
            if called == excerpt.widget:
                boxes.append(eval(ast.unparse(node), namespace))
    return next(box for box in boxes if isinstance(box, ipywidgets.Box))


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
            began = process_time()
            control.value = value
            times.append(1_000 * (process_time() - began))
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.parse_args()
    found = {}
    torch.set_num_threads(1)
    with patch.object(torch, "set_num_threads"):  # the notebooks set two
        for excerpt in questions():
            for name, control in built(excerpt).controls.items():
                if times := milliseconds(control):
                    move = f"{excerpt.widget} {name}"
                    found[move] = median(times)
                    print(f"{found[move]:6.1f} ms, {move}", flush=True)
    slowest = max(found, key=found.get)
    record(
        {"widget_milliseconds": found[slowest], **found},
        f"medians of {MOVES} moves, time of one processor; the slowest is {slowest}; target: at "
        f"most {TARGET}",
    )


if __name__ == "__main__":
    main()
