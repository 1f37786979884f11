"""Starting anywhere: Binder, Colab, a dev container, and the address of the series."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest

from sslnb.series import lint, listing

ROOT = Path(__file__).resolve().parent.parent


def load(path):
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


home, colab = load(".ci/home.py"), load(".binder/colab.py")


def text_of(name):
    return (ROOT / name).read_text(encoding="utf-8")


# --- what is loaded -----------------------------------------------------------

# torchvision, scipy, seaborn and torch.compile take half a second each, or more
SLOW = {"torchvision", "scipy", "seaborn", "sympy", "torch._dynamo", "onnxscript"}


@pytest.mark.parametrize(
    "names",
    [
        "data.clips data.field.prepare data.store.clips",
        "model training.loop training.clips experiments.run",
        "localise.report localise.respond localise.video retrieve export",
    ],
)
def test_what_commands_import_loads_nothing_slow_but_torch(names):
    assert SLOW.isdisjoint(loaded_by(names))


def test_notebooks_begin_without_scipys_statistics_and_seaborn():
    found = loaded_by("teach.plot teach.exercises teach.equivariance teach.learning")
    assert {"scipy.stats", "seaborn"}.isdisjoint(found)


def loaded_by(names):
    code = "".join(f"import sslnb.{name}; " for name in names.split())
    done = subprocess.run(
        [sys.executable, "-c", f"{code}import sys; print(*sys.modules)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


# --- Binder, dev container --------------------------------------------------


def test_binder_installs_the_pinned_versions_without_cuda():
    script = ROOT / ".binder" / "postBuild"
    assert os.access(script, os.X_OK)
    subprocess.run(["sh", "-n", script], check=True)
    assert "python .ci/install.py --here --torch cpu\n" in text_of(".binder/postBuild")
    needed = tomllib.loads(text_of("pyproject.toml"))["project"]["requires-python"]
    version = re.fullmatch(r"python-(\d+)\.(\d+)\n", text_of(".binder/runtime.txt"))
    least = re.fullmatch(r">=(\d+)\.(\d+)", needed)
    assert tuple(map(int, version.groups())) >= tuple(map(int, least.groups()))


def test_binder_ignores_the_environment_of_conda():
    """A folder .binder is all that Binder reads; it must say enough by itself."""
    names = {path.name for path in (ROOT / ".binder").iterdir() if path.is_file()}
    assert names == {"runtime.txt", "postBuild", "colab.py"}


def test_the_dev_container_installs_and_serves():
    told = json.loads(text_of(".devcontainer/devcontainer.json"))
    assert told["postCreateCommand"] == "make install TORCH=cpu"
    done = subprocess.run(
        ["make", "-n", *told["postCreateCommand"].split()[1:]],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert told["forwardPorts"] == [8888]  # JupyterLab's own
    assert set(told["portsAttributes"]) == {"8888"}
    settings = told["customizations"]["vscode"]["settings"]
    assert settings["python.defaultInterpreterPath"] == ".venv/bin/python"
    assert "ms-toolsai.jupyter" in told["customizations"]["vscode"]["extensions"]


# --- the address, and what follows from it ----------------------------------


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """The files that name the address, with two notebooks."""
    (tmp_path / "notebooks" / "appendix").mkdir(parents=True)
    for name in ("02_augmentations", "appendix/A2_protocols"):
        path = f"notebooks/{name}.ipynb"
        shutil.copy(ROOT / path, tmp_path / path)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    marks = "<!-- start: made by .ci/home.py -->\n<!-- end -->"
    (tmp_path / "README.md").write_text(f"# sslnb\n\n{marks}\n\nText.\n")
    monkeypatch.setattr(home, "ROOT", tmp_path)
    return tmp_path


def test_one_address_is_written_wherever_it_must_stand(clone):
    home.main("https://github.com/me/fork")
    assert home.published() == "https://github.com/me/fork"
    readme = (clone / "README.md").read_text()
    assert "mybinder.org/v2/gh/me/fork/main?" in readme
    assert "codespaces.new/me/fork)" in readme
    place = "me/fork/blob/main/notebooks/appendix/A2_protocols.ipynb)"
    assert f"[A2](https://colab.research.google.com/github/{place}" in readme
    assert readme.startswith("# sslnb\n") and readme.endswith("Text.\n")
    first = {path: path.read_bytes() for path in clone.rglob("*.*") if path.is_file()}
    home.main("https://github.com/you/other")  # nothing is written twice
    home.main("https://github.com/me/fork")
    assert all(path.read_bytes() == data for path, data in first.items())


def test_the_first_code_cell_is_added_and_all_else_stays(clone):
    home.main("https://github.com/me/fork")
    for path in home.notebooks():
        book = nbformat.read(path, 4)
        nbformat.validate(book)
        before = nbformat.read(ROOT / path.relative_to(clone), 4)
        cells = [cell for cell in book.cells if cell.id != "start"]
        old = [cell for cell in before.cells if cell.id != "start"]
        assert [c.source for c in cells] == [c.source for c in old]
        assert book.cells[1].source == home.GUARD.format(
            home="https://github.com/me/fork"
        )
        code = [cell for cell in book.cells if cell.cell_type == "code"]
        assert [c.execution_count for c in code] == [*range(1, len(code) + 1)]
        lines = book.cells[1].source.splitlines()
        assert len(lines) <= 20 and max(map(len, lines)) <= 76


@pytest.mark.parametrize("wrong", ["sslnb", "https://example.org/a/b", "git@x:a/b"])
def test_what_is_no_address_is_refused(clone, wrong):
    with pytest.raises(SystemExit, match="need https://"):
        home.main(wrong)


def test_the_address_is_that_of_the_remote(clone):
    assert home.origin() == home.published()  # no repository, so no remote
    git = ["git", "-C", str(clone)]
    subprocess.run([*git, "init", "-q"], check=True)
    for told in ("git@github.com:me/fork.git", "https://github.com/me/fork"):
        subprocess.run([*git, "config", "remote.origin.url", told], check=True)
        assert home.origin() == "https://github.com/me/fork"


def test_the_readme_links_to_the_address_of_pyproject():
    block = home.BLOCK.search(text_of("README.md"))
    assert block[0] == block[1] + home.links(home.published()) + block[2]


def test_every_notebook_begins_with_the_cell_that_fetches_the_series():
    assert home.CELL == lint.FETCHES  # beside the cells that the linter counts
    for path in listing.notebooks():
        cell = nbformat.read(path, 4).cells[1]
        assert cell.id == home.CELL
        assert cell.source == home.GUARD.format(home=home.published())


# --- the first code cell ----------------------------------------------------


def start(tmp_path, prologue="", options=("-S",), **environment):
    """Run the first code cell alone; -S: without the path by which sslnb is installed."""
    packages = Path(nbformat.__file__).parents[1]
    code = "\n".join(
        [
            prologue,
            home.GUARD.format(home=home.published()),
            "import sslnb.model",
            "print(sslnb.__file__)",
        ]
    )
    return subprocess.run(
        [sys.executable, *options, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(packages), **environment},
        capture_output=True,
        text=True,
    )


def test_it_does_nothing_where_the_package_is_installed(tmp_path):
    done = start(tmp_path, PYTHONPATH=str(ROOT), options=())
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) == ROOT / "sslnb" / "__init__.py"
    assert not done.stderr and not list(tmp_path.iterdir())


def test_it_says_what_to_do_where_the_package_is_missing(tmp_path):
    done = start(tmp_path)
    assert done.returncode == 1
    told = done.stderr.splitlines()[-1]
    assert told == "ModuleNotFoundError: no sslnb here: use `make lab` (README)"
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_in_colab_it_fetches_the_series_once(tmp_path):
    """The address leads to this clone here; every package is there already."""
    if not (ROOT / ".git").exists():
        pytest.skip("not in a git repository: nothing can be fetched")
    git = {
        "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_0": f"url.file://{ROOT}.insteadOf",
        "GIT_CONFIG_VALUE_0": home.published(),
        "GIT_CONFIG_KEY_1": "safe.directory",
        "GIT_CONFIG_VALUE_1": "*",
    }
    in_colab = "import sys; sys.modules['google.colab'] = sys"
    for _ in range(2):  # again, as when the kernel is restarted
        done = start(tmp_path, in_colab, **git)
        assert done.returncode == 0, done.stderr
        assert Path(done.stdout.strip()) == tmp_path / "series/sslnb/__init__.py"
    assert (tmp_path / "series" / "data" / "checkpoint" / "model.json").exists()


def test_in_colab_only_what_is_missing_is_installed():
    packages = ["torch==0.1", "no-such-package==1.0", "numpy==0.1", "jupyterlab==0.1"]
    assert list(colab.missing(packages)) == ["no-such-package==1.0"]
