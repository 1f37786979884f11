"""Run the series: execute notebooks, and make their pages.

    sslnb run                       # 01 to 08, then A1 to A3, into runs/
    sslnb run 05 06 --out mine      # two of them
    sslnb run 05 -p epochs 3        # with another parameter
    sslnb run 03 04 --store         # in place, as they are committed

A run writes the executed notebooks, an HTML page of each, and index.html with
the outputs of the cells tagged `key`. A parameter that a notebook does not know,
or of another type than its default, is an error, before anything is executed.
"""

import ast
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import papermill
from nbclient import NotebookClient
from nbclient.exceptions import CellControlSignal, CellExecutionError, DeadKernelError
from papermill.translators import PythonTranslator

from sslnb.files import ROOT
from sslnb.series.listing import notebooks
from sslnb.series.pages import Done, make_page, without_widgets, write_index
from sslnb.training.recipe import REGIMES, VAL_CLIPS, TrainConfig

TIMEOUT = 1_800  # seconds that one cell may take
FAILURES = (papermill.PapermillExecutionError, CellControlSignal, DeadKernelError)


def parameters_of(notebook: str | Path) -> dict[str, Any]:
    """{name: default} of a notebook's one cell tagged `parameters`: literals only."""
    notebook = Path(notebook)
    cells = [
        cell
        for cell in nbformat.read(notebook, 4).cells
        if "parameters" in cell.metadata.get("tags", [])
    ]
    if len(cells) != 1:
        raise ValueError(
            f"{notebook.name} has {len(cells)} cells tagged `parameters`; need one"
        )
    found, source = {}, cells[0].source
    for line in ast.parse(source).body:
        try:
            (target,) = line.targets
            found[target.id] = ast.literal_eval(line.value)
        except (AttributeError, ValueError) as error:
            text = source.splitlines()[line.lineno - 1]
            raise ValueError(
                f"{notebook.name}: {text!r} in the cell tagged `parameters` "
                "is no `name = literal`"
            ) from error
    return found


def fit_parameters(notebook: str | Path, given: dict[str, Any]) -> dict[str, Any]:
    """Parameters of the types that a notebook wants; ValueError where they do not fit.

    Strings, as the command line gives them, are read as Python literals where the
    default is no string. An int will do where the default is a float.
    """
    known, name = parameters_of(notebook), Path(notebook).name
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ValueError(
            f"{name} has no parameter {', '.join(unknown)[:200]}; "
            f"known are {', '.join(known) or 'none'}"
        )
    return {
        key: _fit(f"{name}: parameter {key}", value, known[key])
        for key, value in given.items()
    }


def _fit(what: str, value: Any, default: Any) -> Any:
    if isinstance(value, str) and not isinstance(default, str):
        # else right only for the default None
        with suppress(ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            value = ast.literal_eval(value)
    if isinstance(default, float) and type(value) is int:
        value = float(value)
    if default is not None and type(value) is not type(default):
        raise ValueError(
            f"{what} is {value!r:.80}; need {type(default).__name__}, "
            f"as its default {default!r} is"
        )
    if not _is_written(value):
        raise ValueError(
            f"{what} is {value!r:.80}, which papermill cannot write into a notebook; need "
            "a finite number, a text, or lists and tables of these by text"
        )
    return value


def _is_written(value: Any) -> bool:
    """Whether papermill writes this very value, and not one that looks like it."""
    try:
        text = PythonTranslator.translate(value)
        return repr(ast.literal_eval(text)) == repr(value)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return False


@contextmanager
def kernel_environment(cpu: bool = False) -> Iterator[None]:
    """Kernels that start inside are the same for everybody.

    They import this package, have none of a user's start-up files, plotting backend,
    packages and kernels, and compute in two threads. cpu: they see no accelerator, and
    have two threads however busy the machine is, as when the outputs were stored.
    """
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="sslnb-") as profile:
        settings = Path(profile, "profile_default", "ipython_kernel_config.py")
        settings.parent.mkdir()
        settings.write_text("c.IPKernelApp.log_level = 40  # errors")
        for name in (
            "MPLBACKEND",
            "JUPYTER_PATH",
            "PYTHONSTARTUP",
            "PYTHONHOME",
            "PYTHONWARNINGS",
            "PYTHONSAFEPATH",
        ):
            os.environ.pop(name, None)
        os.environ.update(
            PYTHONPATH=str(ROOT),
            PYTHONNOUSERSITE="1",
            IPYTHONDIR=profile,
            JUPYTER_PREFER_ENV_PATH="1",
            OMP_NUM_THREADS="2",
            MKL_NUM_THREADS="2",
            **({"CUDA_VISIBLE_DEVICES": "", "OMP_DYNAMIC": "FALSE"} if cpu else {}),
        )
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def execute(
    source: str | Path,
    target: str | Path,
    parameters: dict[str, Any] | None = None,
    cpu: bool = False,
    progress: bool = False,
) -> None:
    """Execute a notebook by papermill; its parameters are checked first."""
    parameters = fit_parameters(source, parameters or {})
    with kernel_environment(cpu):
        papermill.execute_notebook(
            str(source),
            str(target),
            parameters,
            cwd=str(Path(source).parent),
            progress_bar=progress,
            execution_timeout=TIMEOUT,
            kernel_name="python3",
        )


def store(path: str | Path) -> None:
    """Execute a notebook in place, as nbval will, and keep only what a page needs."""
    book = nbformat.read(path, 4)
    with kernel_environment(cpu=True):
        NotebookClient(
            book,
            timeout=600,
            kernel_name="python3",
            coalesce_streams=True,  # what is printed is one output, however it arrives
            resources={"metadata": {"path": str(Path(path).parent)}},
        ).execute()
    book.metadata = nbformat.from_dict(
        {
            "kernelspec": {
                "display_name": "Python 3",
                "language": "python",
                "name": "python3",
            },
            "language_info": {"name": "python"},
        }
    )
    for cell in book.cells:
        tags = cell.metadata.get("tags")
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
    nbformat.write(without_widgets(book), path)


def failure(notebook: str | Path) -> str:
    """Which cell stopped an executed notebook, as `cell 7: ValueError: …`."""
    code = [
        c
        for c in nbformat.read(notebook, 4).cells
        if c.cell_type == "code"
        and "papermill-error-cell-tag" not in c.metadata.get("tags", [])
    ]
    for number, cell in enumerate(code, 1):
        errors = [o for o in cell.outputs if o.output_type == "error"]
        if errors:
            return f"cell {number}: {errors[0].ename}: {errors[0].evalue}"
        if "shell.execute_reply" not in cell.metadata.get("execution", {}):
            return (
                f"cell {number}: its kernel died (out of memory?) or it took "
                f"over {TIMEOUT:,} s"
            )
    return "after its last cell"


def series_parameters(source: Path, out: Path, given: dict[str, Any]) -> dict:
    """What a run changes in a notebook: 05 trains in full, later ones take its model.

    given: parameters of the user's, whose preset and regime say what a full training is.
    ValueError where one of these is not known.
    """
    checkpoint = str(out / "checkpoint")
    if source.name.startswith("05"):
        chosen = parameters_of(source) | given
        config = TrainConfig.from_preset(chosen["preset"], regime=chosen["regime"])
        return {
            "scenes": REGIMES[config.regime]["clips"],
            "val_scenes": VAL_CLIPS,
            "epochs": config.epochs,
            "start": "",  # random weights: as the model that ships was trained
            "out": checkpoint,
        }
    later = source.name > "06" and "checkpoint" in parameters_of(source)
    return {"checkpoint": checkpoint} if later else {}


def run_series(
    out: str | Path,
    chosen: Sequence[str] = (),
    parameters: dict | None = None,
    progress: bool = False,
) -> tuple[Path, str]:
    """Execute the series into `out`, with pages and an index; stop where one fails.

    Returns where the index is, and what went wrong ("" where nothing did).
    """
    out, given = Path(out).resolve(), parameters or {}
    planned = []
    for source in notebooks(chosen):
        changed = series_parameters(source, out, given) | given
        planned.append((source, fit_parameters(source, changed)))
    out.mkdir(parents=True, exist_ok=True)
    done: list[Done] = []
    for number, (source, changed) in enumerate(planned, 1):
        # 06 or 07 alone: with the model that ships, unless this folder has one
        trained = (out / "checkpoint" / "model.json").exists()
        if "checkpoint" not in given and not trained:
            changed.pop("checkpoint", None)
        target, started, problem = out / source.name, time.perf_counter(), ""
        values = ", ".join(f"{name} = {value!r}" for name, value in changed.items())
        print(
            f"[{number}/{len(planned)}] {source.stem}{values and f' with {values}'} …",
            flush=True,
        )
        try:
            execute(source, target, changed, progress=progress)
        except FAILURES:
            problem = f"{source.name}, {failure(target)}"
        seconds = time.perf_counter() - started
        done.append(replace(make_page(target), seconds=seconds, problem=problem))
        index = write_index(out, done)
        if problem:
            return index, problem
        print(f"      {seconds:.0f} s", flush=True)
    return index, ""


def store_series(chosen: Sequence[str] = ()) -> None:
    """Execute the series, or those chosen, in place; RuntimeError where one fails."""
    for path in notebooks(chosen):
        print(path.name, flush=True)
        try:
            store(path)
        except FAILURES as error:
            what = str(error)
            if isinstance(error, CellExecutionError):
                what = f"{error.ename}: {error.evalue}"
            raise RuntimeError(
                f"{path.name} is left as it was: {what}; `sslnb run {path.stem}` makes a "
                "page of it, with the cell that failed"
            ) from error
