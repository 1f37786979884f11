"""The notebooks as a series and for a class, the check of this machine, benchmarks."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import CycloptsError, Group, Parameter

from sslnb.cli.errors import say
from sslnb.cli.options import Flag, Progress, default, need
from sslnb.files import ROOT

GROUP = Group("The series", sort_key=1)
RUNS = ROOT / "runs"
# What a user's shell holds must not decide what runs here
HABITS = (
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONSTARTUP",
    "PYTHONWARNINGS",
    "MPLBACKEND",
    "JUPYTER_PATH",
)
BENCHMARKS = (  # in turn
    "scenes",
    "prepare",
    "store",
    "score",
    "video",
    "widgets",
    "train",
    "startup",
    "contention",
    "notebooks",
    "ledger",
)
Benchmark = Literal[
    "all",
    "scenes",
    "prepare",
    "store",
    "score",
    "video",
    "widgets",
    "train",
    "startup",
    "contention",
    "notebooks",
    "ledger",
    "promises",
    "equivariance",
    "fuzz",
    "store_formats",
    "endurance",
    "faults",
    "large",
    "installs",
    "matrix",
    "repeat",
]

# JupyterLab keeps to this machine, and asks nobody for news, updates or extensions;
# a user's own option takes the place of one of these.
CLOSED = (
    "--ServerApp.ip=127.0.0.1",
    "--LabApp.news_url=None",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--LabApp.extension_manager=readonly",
)

Rest = Annotated[str, Parameter(allow_leading_hyphen=True)]


def run(
    *notebooks: str,
    out: Annotated[Path, default("runs, in the clone")] = RUNS,
    parameter: Annotated[
        list[tuple[str, str]] | None, Parameter(alias="-p", metavar="NAME VALUE")
    ] = None,
    store: Flag = False,
    progress: Progress = True,
):
    """Run the notebooks; their pages, and an index with the key outputs, are in --out.

    A parameter that a notebook does not know, or of another type than its default, is
    an error, before anything is executed.

    Args:
        notebooks: 01 to 08, A1 to A3 [default: all]
        out: folder to write into
        parameter: of these notebooks, to be changed; a relative path counts from their
            folder
        store: execute in place, with the parameters as they stand
    """
    if store and parameter:
        raise CycloptsError(
            msg="--store keeps the parameters as they stand: leave out --parameter"
        )
    _known(notebooks)
    from sslnb.series.run import run_series, store_series

    if store:
        store_series(notebooks)
        return
    bars = progress and sys.stderr.isatty()  # papermill's fill a log
    index, problem = run_series(out, notebooks, dict(parameter or ()), bars)
    print(f"\nThe pages are at {index}")
    if problem:
        raise RuntimeError(problem)


def lab(*options: Rest):
    """JupyterLab on the notebooks, for this machine only.

    Args:
        options: of JupyterLab, --port 8890 or --notebook-dir DIR for example
    """
    root_too = ["--allow-root"] if os.getuid() == 0 else []  # in containers
    given = {option.partition("=")[0] for option in options}
    elsewhere = "--notebook-dir" in given
    given |= {"--ServerApp.ip"} if "--ip" in given else set()
    closed = [option for option in CLOSED if option.partition("=")[0] not in given]
    os.execve(
        sys.executable,
        [
            sys.executable,
            "-m",
            "jupyterlab",
            *closed,
            *root_too,
            *(() if elsewhere else ("--notebook-dir", str(ROOT / "notebooks"))),
            *options,
        ],
        {k: v for k, v in os.environ.items() if k not in HABITS}
        | {"PYTHONNOUSERSITE": "1", "JUPYTER_PREFER_ENV_PATH": "1"},
    )


def demo(*options: Rest, port: int = 8866, open: Flag = False):
    """The widgets of the notebooks as pages, without Jupyter, until Ctrl-C.

    Only this machine can reach them. Needs the extra `demo`, which `make` installs.

    Args:
        options: of Voilà, --preheat_kernel=True --pool_size=6 for a class, for example
        port: where the pages are
        open: open them in a browser
    """
    from sslnb.series.demo import ADDRESS, served

    with served(port, open, options) as server:
        say(f"The widgets are at http://{ADDRESS}:{port}; Ctrl-C ends this")
        return server.wait()


def handouts(
    *notebooks: str,
    out: Annotated[Path, default("runs/handouts, in the clone")] = RUNS / "handouts",
):
    """Write the notebooks for a class: without solutions, and with them filled in.

    --out/student has neither solutions nor outputs; --out/solutions has the solutions
    in place of the stubs, and the stored outputs.

    Args:
        notebooks: 01 to 08, A1 to A3 [default: all]
        out: folder to write into
    """
    _known(notebooks)
    from sslnb.series.handouts import make_handouts

    titles = make_handouts(out, notebooks)
    for name, found in titles.items():
        print(name, *found, sep="\n  ")
    count = _count(sum(map(len, titles.values())), "exercise")
    where = f"{out / 'student'}, {out / 'solutions'}"
    print(f"{count} in {_count(len(titles), 'notebook')}: {where}")


def _known(notebooks):
    """Paths of notebooks; ValueError for one that is not known, before all else."""
    from sslnb.series.listing import notebooks as find

    return find(notebooks)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def slides(
    *notebooks: str,
    out: Annotated[Path, default("runs/slides, in the clone")] = RUNS / "slides",
):
    """Make slides of the notebooks: questions, equations, figures, exercises.

    One HTML file each, which needs no network: arrow keys turn, and a print has a
    slide a page. Figures are those that the notebooks store.

    Args:
        notebooks: 01 to 08, A1 to A3 [default: all]
        out: folder to write into
    """
    _known(notebooks)
    from sslnb.series.slides import make_slides

    print(*make_slides(out, notebooks), sep="\n")


def lint(*notebooks: str):
    """Read the notebooks as they are stored, and say which rules they break.

    Run in order, without errors and warnings; no state of widgets, no path of a
    machine; small, with short cells; one cell of parameters; pictures with words; no
    number in prose that a cell computes. Exit code 1 where a rule is broken.

    Args:
        notebooks: 01 to 08, A1 to A3, or paths with a slash, of any notebooks [default:
            all]
    """
    paths = [Path(given) for given in notebooks if "/" in given]
    names = [given for given in notebooks if "/" not in given]
    need(*paths)
    paths += _known(names) if names or not paths else []
    from sslnb.series.lint import lint, read

    found = [f"{path.name}, {line}" for path in paths for line in lint(read(path))]
    print(*found, sep="\n") if found else print(
        _count(len(paths), "notebook"), "in order"
    )
    return bool(found)


def figures():
    """Draw the README's figures and the drawings of the method anew."""
    from sslnb.experiments.results import read_results
    from sslnb.files import CHECKPOINT
    from sslnb.model import SoundLocaliser
    from sslnb.teach import diagram, figures

    results = read_results()
    figures.table_1(results)
    figures.weights(results)
    figures.two_sounds(figures.clearest_swap(SoundLocaliser.load(CHECKPOINT)))
    drawn = (figures.TWO_SOUNDS, figures.TABLE_1_SVG, figures.WEIGHTS_SVG)
    for path in (*drawn, *diagram.draw_method()):
        print(path.relative_to(ROOT))


def doctor(*, quiet: Flag = False, install: Flag = False, cpu: Flag = False):
    """What this machine has for the series, and what to do about what is wrong.

    Exit code 1 where something stops the series.

    Args:
        quiet: only what is not ok
        install: only what an install needs
        cpu: with --install: CPU-only packages, which are smaller
    """
    from sslnb.series.doctor import examine

    return examine(quiet, install, cpu)


def bench(name: Benchmark = "all", /, *options: Rest):
    """Measure how fast things are, into benchmarks/ledger.jsonl and the README's table.

    All of them take about 35 minutes.

    Args:
        name: of one benchmark; `ledger` writes the README's table anew. Only by name:
            `promises` prints the book's page of that name, `equivariance` trains model F
            with other weights of L_geo, `store_formats` compares our store with other
            libraries, `endurance` watches memory and open files for an hour, `faults` kills
            commands and fills disks, `large` takes retrieval, folders and neighbours at
            VGGSound's size, `installs` makes an install from nothing and runs the fast
            tests on it, `matrix` reads videos of many kinds, `repeat` compares runs and
            processors bit by bit.
            `fuzz` gives every reader hostile files
        options: of that benchmark: `sslnb bench train -- --help` lists them
    """
    if not (ROOT / "benchmarks").is_dir():
        raise FileNotFoundError(f"{ROOT} holds no benchmarks: run from a clone")
    if name == "all" and options:
        raise CycloptsError(msg=f"say which benchmark takes {' '.join(options)}")
    for each in BENCHMARKS if name == "all" else [name]:
        done = subprocess.run(  # alone: memory at its peak is measured too
            [sys.executable, "-m", f"benchmarks.{each}", *options],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        if done.returncode:
            say(f"error: benchmark {each} failed, see above")
            return 2 if done.returncode == 2 else 1  # 2: wrong usage
    return 0


COMMANDS = (run, lab, demo, handouts, slides, lint, doctor, bench, figures)
