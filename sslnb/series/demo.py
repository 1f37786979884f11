"""The widgets of the notebooks on a server, for people without Jupyter.

    sslnb demo                              # http://127.0.0.1:8866, until Ctrl-C
    sslnb demo --port 9000 --open

One page a notebook, made of its own cells (`excerpts`): the question, the widget, the
folded answer. Voilà serves them, with templates beside this file that load nothing from
elsewhere. Each page that is open has a process of its own, which ends when the page is
closed, or after 20 minutes without a browser.

A process takes about five seconds of one core to begin, that of notebook 05, which
trains, more. Pages begin at once where processes wait for them (six for each page here;
TEACHING.md says how much memory a class needs, without and with them):

    sslnb demo --preheat_kernel=True --pool_size=6

The server listens to this machine only. To let others in, put a web server in front of
it that knows who they are (`--base_url` sets the path). Who reaches a page may move its
widgets and upload a file of a few MB, but run no code: Voilà takes no such message.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from sslnb.series.excerpts import Excerpt, excerpts
from sslnb.series.listing import notebooks
from sslnb.series.pages import TEMPLATES, template
from sslnb.series.run import kernel_environment

ADDRESS = "127.0.0.1"
LARGEST = 32 * 2**20  # bytes of a message from the browser: an upload is one
# Trainings that a page can wait for
QUICK: dict[str, dict[str, Any]] = {
    "04": {"seeds": 1},
    "05": {"scenes": 800, "val_scenes": 100, "epochs": 4},
}
UNUSED = ["@jupyter-notebook/lab-extension"]  # of JupyterLab: cannot start in Voilà
IDLE = 20 * 60  # seconds after which the process of a page that nobody has open ends


def questions() -> list[Excerpt]:
    """The widgets that answer a question, in the order of the series."""
    found = [
        excerpt
        for path in notebooks()
        for excerpt in excerpts(path, **QUICK.get(path.name[:2], {}))
    ]
    return [excerpt for excerpt in found if excerpt.answer or excerpt.reply]


def page(parts: Sequence[Excerpt]) -> nbformat.NotebookNode:
    """A notebook of the widgets of one notebook, as Voilà shows it."""
    cells = [new_markdown_cell(f"[All widgets](../../)\n\n# {parts[0].title}")]
    for part in parts:
        cells += [
            new_markdown_cell(part.question),
            new_code_cell(part.setup),
            new_code_cell(part.cell),
            new_code_cell(part.reply) if part.reply else new_markdown_cell(part.answer),
        ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    metadata = {"kernelspec": kernel, "title": parts[0].title}
    return new_notebook(cells=cells, metadata=metadata)


def write_demo(folder: str | Path) -> list[Path]:
    """Write the pages, and the templates of Voilà; paths of the pages."""
    folder = Path(folder)
    by_notebook: dict[Path, list[Excerpt]] = {}
    for excerpt in questions():
        by_notebook.setdefault(excerpt.notebook, []).append(excerpt)
    pages = folder / "pages"
    templates = folder / "share" / "voila" / "templates" / "sslnb"
    pages.mkdir()
    templates.mkdir(parents=True)
    for path, parts in by_notebook.items():
        nbformat.write(page(parts), pages / path.name)
    titles = {path.name: parts[0].title for path, parts in by_notebook.items()}
    index = template("demo_index.html.j2").render(pages=titles)
    (templates / "tree.html").write_text(index, encoding="utf-8")
    text = (TEMPLATES / "demo_page.html.j2").read_text(encoding="utf-8")
    (templates / "index.html.j2").write_text(text, encoding="utf-8")
    (templates / "conf.json").write_text(json.dumps({"base_template": "lab"}))
    return sorted(pages.iterdir())


def settings(port: int, browse: bool) -> dict[str, dict[str, Any]]:
    """What Voilà reads in `voila.json`."""
    return {
        "Voila": {
            "ip": ADDRESS,
            "port": port,
            "port_retries": 0,
            "open_browser": browse,
            "log_level": "ERROR",
            "tornado_settings": {"websocket_max_message_size": LARGEST},
        },
        "VoilaConfiguration": {
            "template": "sslnb",
            "classic_tree": True,
            "extension_denylist": UNUSED,
        },
        "MappingKernelManager": {"cull_idle_timeout": IDLE, "cull_interval": 60},
    }


@contextmanager
def served(
    port: int, browse: bool = False, options: Sequence[str] = ()
) -> Iterator[subprocess.Popen]:
    """A server of the widgets that answers, and nothing of it afterwards.

    options: of Voilà. ValueError where there is no such port, OSError where it is taken,
    RuntimeError where the server does not start.
    """
    if not 1 <= port <= 65_535:
        raise ValueError(f"port is {port}; need 1 to 65535")
    with socket.socket() as free:  # else another server would answer for it
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            free.bind((ADDRESS, port))
        except OSError as error:
            raise OSError(
                f"port {port} cannot be used: {error}; try another"
            ) from error
    with tempfile.TemporaryDirectory(prefix="sslnb-demo-") as name:
        folder = Path(name)
        write_demo(folder)
        text = json.dumps(settings(port, browse))
        (folder / "voila.json").write_text(text, encoding="utf-8")
        with kernel_environment():
            os.environ.update(  # nothing of the user's own, and nothing left with him
                JUPYTER_PATH=str(folder / "share"),
                JUPYTER_CONFIG_DIR=name,
                JUPYTER_DATA_DIR=str(folder / "data"),
                JUPYTER_RUNTIME_DIR=str(folder / "runtime"),
                OMP_NUM_THREADS="1",  # many pages share the cores
            )
            # a session of its own: Ctrl-C comes here first, and ends the server in order
            server = subprocess.Popen(
                [sys.executable, "-m", "voila", "pages", *options],
                cwd=folder,
                start_new_session=True,
            )
            try:
                wait_for(server, port)
                yield server
            finally:
                if server.poll() is None:
                    server.send_signal(signal.SIGINT)
                    try:
                        server.wait(30)
                    except subprocess.TimeoutExpired:
                        server.kill()
                        server.wait()


def wait_for(server: subprocess.Popen, port: int) -> None:
    """Until the server listens; RuntimeError where it ends first, or takes a minute."""
    end = time.monotonic() + 60
    while server.poll() is None and time.monotonic() < end:
        with suppress(OSError), socket.create_connection((ADDRESS, port), 1):
            return
        time.sleep(0.1)
    raise RuntimeError(f"the server of the widgets did not start on port {port}")
