"""Closed by default: who can reach what is started, and what it reaches for itself."""

import ast
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import nbformat
import psutil
import pytest
from bs4 import BeautifulSoup
from jupyterlab.labapp import LabApp
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

from sslnb.cli import series
from sslnb.data.store import arrays
from sslnb.experiments.grid import read_grid
from sslnb.files import ROOT
from sslnb.series import handouts, listing, run
from tests.network import REACHED

# A namespace of its own, with nothing but a loopback interface, which must be raised:
# SIOCGIFFLAGS and SIOCSIFFLAGS of netdevice(7), IFF_UP
ALONE = ["unshare", "--net", "--map-root-user", sys.executable, "-c"]
RAISE = """
import fcntl, os, socket, struct, sys
with socket.socket() as any:
    flags = fcntl.ioctl(any, 0x8913, struct.pack("16sh14x", b"lo", 0))
    (old,) = struct.unpack("16xh14x", flags)
    fcntl.ioctl(any, 0x8914, struct.pack("16sh14x", b"lo", old | 1))
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def alone(*arguments, **options):
    """Run Python where there is no network; skips where that cannot be had."""
    if (
        not shutil.which("unshare")
        or subprocess.run([*ALONE, RAISE, "-c", ""], capture_output=True).returncode
    ):
        pytest.skip("no namespace without a network can be made here")
    command = [*ALONE, RAISE, *arguments]
    return subprocess.run(command, capture_output=True, text=True, **options)


# --- nobody is let in -------------------------------------------------------


def listening(process):
    """Addresses on which a process and its children wait for others."""
    family = [process, *process.children(recursive=True)]
    return {
        connection.laddr.ip
        for one in family
        for connection in one.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }


def answer(address, path, token=""):
    """The status and text of what a server answers."""
    headers = {"Authorization": f"token {token}"} if token else {}
    request = urllib.request.Request(f"{address}/{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as found:
            return found.status, found.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, ""


@pytest.fixture
def lab(tmp_path):
    """`sslnb lab`, its address and its token, as a user without settings starts it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    here = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    command = [
        sys.executable,
        "-m",
        "sslnb",
        "lab",
        "--no-browser",
        "--port",
        str(port),
    ]
    log = tmp_path / "log"
    with open(log, "w") as file:
        process = subprocess.Popen(command, env=here, cwd=ROOT, stderr=file)
    try:
        end = time.monotonic() + 120
        while not (token := re.search(r"\?token=(\w+)", log.read_text())):
            assert process.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.2)
        yield psutil.Process(process.pid), f"http://127.0.0.1:{port}", token[1]
    finally:
        process.terminate()
        process.wait(60)


@pytest.mark.slow
def test_jupyterlab_is_for_this_machine_wants_a_token_and_asks_nobody(lab):
    process, address, token = lab
    assert listening(process) == {"127.0.0.1"} and len(token) >= 40
    for path in ("api/contents", "api/kernels", "api/sessions", "lab/api/settings"):
        assert answer(address, path)[0] == 403, path
        assert answer(address, path, token)[0] == 200, path
    assert json.loads(answer(address, "lab/api/news", token)[1]) == {"news": []}
    update = json.loads(answer(address, "lab/api/update", token)[1])
    assert update == {"notification": None}
    page = BeautifulSoup(answer(address, "lab", token)[1], "html.parser")
    settings = json.loads(page.find(id="jupyter-config-data").string)
    assert settings["news"]["disabled"] is True
    assert settings["extensionManager"]["can_install"] is False


@pytest.mark.parametrize("given", ["--ip=127.0.0.9", "--ServerApp.ip=127.0.0.9"])
def test_who_opens_jupyterlab_says_so_and_is_obeyed(monkeypatch, given):
    started = []
    monkeypatch.setattr(
        series.os, "execve", lambda _, command, __: started.append(command)
    )
    series.lab(given)
    (command,) = started
    LabApp().parse_command_line(command[3:])  # exits where an option is given twice
    assert [o for o in command if "ip=" in o] == [given]
    assert {o for o in series.CLOSED if "ip=" not in o} <= set(command)


# --- nothing is reached for -------------------------------------------------


def test_a_test_that_reaches_for_the_network_fails():
    with pytest.raises(ConnectionRefusedError, match=r"example\.org"):
        socket.getaddrinfo("example.org", 80)
    with (
        pytest.raises(ConnectionRefusedError, match=r"192\.0\.2\.1"),
        socket.socket() as s,
    ):
        s.connect(("192.0.2.1", 80))
    assert len(REACHED) == 2  # and so would this one
    REACHED.clear()


LOADS = {"script": "src", "link": "href", "img": "src", "iframe": "src", "video": "src"}


@pytest.mark.slow
def test_a_notebook_runs_without_a_network_into_pages_that_load_nothing(tmp_path):
    command = ["-m", "sslnb", "run", "02", "-p", "scenes", "24", "--out", tmp_path]
    done = alone(*command, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stdout + done.stderr
    for path in (tmp_path / "index.html", *tmp_path.glob("02*.html")):
        text = path.read_text(encoding="utf-8")
        page = BeautifulSoup(text, "html.parser")
        for tag, attribute in LOADS.items():
            for found in page.find_all(tag, attrs={attribute: True}):
                assert not re.match(r"(\w+:)?//", found[attribute]), found[attribute]
        styles = "\n".join(style.text for style in page.find_all("style"))
        assert not re.search(r"(@import|url\()\s*['\"]?(\w+:)?//", styles)


def test_onnx_runtime_reports_nothing_of_what_tests_run(tmp_path):
    """It keeps what it will report in the user's folder: with our setting, nothing."""
    for setting, kept in ((os.environ["ORT_DISABLE_TELEMETRY"], False), ("", True)):
        home = tmp_path / f"home{setting}"
        environment = os.environ | {"HOME": str(home), "ORT_DISABLE_TELEMETRY": setting}
        environment.pop("CI", None)  # which it takes for the setting
        assert alone("-c", "import onnxruntime", env=environment).returncode == 0
        assert any(home.rglob("onnxruntime.db")) == kept


# --- nothing is executed, and nothing written elsewhere ---------------------


def test_a_parameter_is_a_value_and_never_code():
    (path,) = listing.notebooks(["05"])
    wanted = run.fit_parameters(path, {"model_name": "A'; open('x', 'w'); '\n\"\"\"\\"})
    book = parameterize_notebook(load_notebook_node(str(path)), wanted)
    (cell,) = [
        c for c in book.cells if "injected-parameters" in c.metadata.get("tags", [])
    ]
    (line,) = ast.parse(cell.source).body
    assert isinstance(line, ast.Assign)
    assert ast.literal_eval(line.value) == wanted["model_name"]
    with pytest.raises(ValueError, match="need int"):
        run.fit_parameters(path, {"epochs": "__import__('os').getpid()"})


def test_results_of_a_grid_stay_in_their_folder(tmp_path):
    grid = tmp_path / "grid.toml"
    grid.write_text('[variants."../../elsewhere"]\nmodel = "A"\n')
    with pytest.raises(ValueError, match="elsewhere: its name has a character"):
        read_grid(grid)


def test_a_store_names_no_array_of_another_folder(tmp_path):
    head = {"format": arrays.FORMAT, "arrays": {"../secret": ["|u1", [1]]}}
    head |= {"items": [], "skipped": {}, "settings": {}}
    (tmp_path / arrays.INDEX).write_text(json.dumps(head) + "\n")
    with pytest.raises(ValueError, match=r"no name of an array: '../secret'"):
        arrays.read_index(tmp_path)


def test_a_handout_copies_no_picture_out_of_its_folder(tmp_path):
    """Through a link that leaves the notebooks and comes back in."""
    link = f"../../{ROOT.name}/notebooks/images/method.svg"
    cell = nbformat.v4.new_markdown_cell(f"![a drawing]({link})")
    book = nbformat.v4.new_notebook(cells=[cell])
    source = listing.NOTEBOOKS / "01_data_preparation.ipynb"
    target = tmp_path / "a" / "b" / "student" / source.name
    target.parent.mkdir(parents=True)
    handouts.relink(book, source, target, set())
    assert book.cells[0].source == "![a drawing](images/method.svg)"
    assert list(tmp_path.rglob("*.svg")) == [target.parent / "images" / "method.svg"]
