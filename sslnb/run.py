"""Run the series: execute notebooks, and make their pages.

    python -m sslnb.run                      # all, on the embedded data, into runs/
    python -m sslnb.run --store 03 04        # execute in place, as they are committed

A run writes the executed notebooks, an HTML page of each, and index.html with
the outputs of the cells tagged `key`. Parameters that a notebook does not know
are errors.
"""

import argparse
import html
import re
import sys
import time
from pathlib import Path

import nbformat
import papermill
from nbclient import NotebookClient
from nbconvert import HTMLExporter

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"


def notebooks(numbers=()):
    """Paths of the series in order, or of those whose name begins with a number."""
    every = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
    for number in numbers:
        if not any(path.name.startswith(number) for path in every):
            known = ", ".join(path.stem for path in every)
            raise ValueError(f"no notebook {number!r}; known are {known}")
    return [p for p in every if not numbers or p.name.startswith(tuple(numbers))]


def execute(source, target, parameters, progress=True):
    """Execute a notebook through papermill, with every parameter checked first."""
    known = papermill.inspect_notebook(str(source))
    unknown = sorted(set(parameters) - set(known))
    if unknown:
        raise ValueError(
            f"{Path(source).name} has no parameter {', '.join(unknown)}; "
            f"known are {', '.join(known) or 'none'}"
        )
    papermill.execute_notebook(
        str(source), str(target), parameters, cwd=str(Path(source).parent),
        progress_bar=progress, execution_timeout=1_800, kernel_name="python3",
    )


def store(path):
    """Execute a notebook in place, as nbval will, and keep only what a page needs."""
    book = nbformat.read(path, 4)
    NotebookClient(
        book, timeout=600, kernel_name="python3",
        resources={"metadata": {"path": str(Path(path).parent)}},
    ).execute()
    book.metadata = nbformat.from_dict({
        "kernelspec": {
            "display_name": "Python 3", "language": "python", "name": "python3"
        },
        "language_info": {"name": "python"},
    })
    for cell in book.cells:
        cell.metadata = nbformat.from_dict(
            {"tags": cell.metadata.tags} if cell.metadata.get("tags") else {}
        )
        for output in cell.get("outputs", []):
            if "data" in output:  # a widget is drawn by a live kernel alone
                output.data.pop("application/vnd.jupyter.widget-view+json", None)
    nbformat.write(book, path)


def page(notebook):
    """HTML page beside an executed notebook; where it was written."""
    body, _ = HTMLExporter(template_name="classic").from_filename(str(notebook))
    target = Path(notebook).with_suffix(".html")
    target.write_text(body, encoding="utf-8")
    return target


def key_outputs(notebook):
    """HTML of the outputs of a notebook's cells tagged `key`."""
    book = nbformat.read(notebook, 4)
    book.cells = [c for c in book.cells if "key" in c.metadata.get("tags", [])]
    if not book.cells:
        return ""
    exporter = HTMLExporter(template_name="basic", exclude_input=True,
                            exclude_output_prompt=True)
    return exporter.from_notebook_node(book)[0]


INDEX = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>sslnb: a run</title>
<style>body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto;
padding: 0 1rem }} img {{ max-width: 100% }} pre {{ overflow-x: auto }}
section {{ border-top: 1px solid #ccc; margin-top: 2rem }} table {{ border-collapse: collapse }}
td, th {{ padding: .2rem .8rem; text-align: right }} .anchor-link {{ display: none }}</style>
<h1>Self-supervised sound localisation: a run of the series</h1>
<p>{summary}</p>{sections}</html>
"""


def write_index(out, seconds):
    """index.html of executed notebooks: {stem: seconds}; where it was written."""
    sections = []
    for stem, duration in seconds.items():
        first = nbformat.read(out / f"{stem}.ipynb", 4).cells[0].source.splitlines()[0]
        title = html.escape(re.sub(r"^#+\s*", "", first))
        sections.append(
            f'<section><h2><a href="{stem}.html">{title}</a></h2>'
            f"<p>{duration:.0f} s</p>{key_outputs(out / f'{stem}.ipynb')}</section>"
        )
    summary = (f"{len(seconds)} notebooks on the embedded data in "
               f"{sum(seconds.values()) / 60:.1f} minutes.")
    target = out / "index.html"
    text = INDEX.format(summary=summary, sections="".join(sections))
    target.write_text(text, encoding="utf-8")
    return target


def series(out, numbers=(), parameters=None):
    """Execute the series into `out`; 05 trains in full and hands its checkpoint on."""
    out = Path(out).resolve()
    out.mkdir(parents=True, exist_ok=True)
    seconds = {}
    for source in notebooks(numbers):
        checkpoint = out / "checkpoint"
        given = {
            "05": {"full": True, "out": str(checkpoint)},
            "06": {"checkpoint": str(checkpoint)},
            "07": {"checkpoint": str(checkpoint)},
        }.get(source.name[:2], {})
        if source.name[:2] in ("06", "07") and not (checkpoint / "model.json").exists():
            given = {}
        started = time.perf_counter()
        print(f"{source.stem} …", flush=True)
        target = out / source.name
        execute(source, target, {**given, **(parameters or {})})
        page(target)
        seconds[source.stem] = time.perf_counter() - started
        print(f"{source.stem}: {seconds[source.stem]:.0f} s", flush=True)
    return write_index(out, seconds)


def main(arguments=None):
    parser = argparse.ArgumentParser("python -m sslnb.run", description=__doc__,
                                     formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("numbers", nargs="*", help="01 … 07; all by default")
    parser.add_argument("--out", default="runs", help="folder to write into")
    parser.add_argument("--store", action="store_true",
                        help="execute in place, with the parameters as they stand")
    options = parser.parse_args(arguments)
    try:
        if options.store:
            for path in notebooks(options.numbers):
                print(path.name, flush=True)
                store(path)
            return
        index = series(options.out, options.numbers)
    except (ValueError, papermill.PapermillExecutionError) as error:
        sys.exit(f"error: {error}")
    print(f"\nThe pages are at {index}")


if __name__ == "__main__":
    main()
