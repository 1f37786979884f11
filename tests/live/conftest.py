"""The live pages, built once and served from a plain file server, in Chromium."""

import http.server
import shutil
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.browser import BROWSER, MISSING, chromium

ROOT = Path(__file__).resolve().parents[2]
LIVE = ROOT / "book" / "live"
BEEPS = "--use-fake-device-for-media-stream"  # as a microphone
READY = "body[data-state=ready]"


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """The folder that build.py makes."""
    if BROWSER is None:
        pytest.skip(MISSING)
    if shutil.which("npm") is None:
        pytest.skip("no npm, to fetch onnxruntime-web: install Node.js")
    folder = tmp_path_factory.mktemp("live") / "a site" / "live"
    done = subprocess.run(
        [sys.executable, LIVE / "build.py", folder, "--home", "../index.html"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    if "`npm ci`" in done.stderr:
        pytest.skip(f"the npm registry cannot be reached: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return folder


@contextmanager
def serving(folder):
    """The address at which a folder is served: http.server, with no header of its own."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture
def serve():
    """serve(folder): its address. The servers outlive the pages of `visit`, which may
    still be loading when a test ends."""
    with ExitStack() as servers:
        yield lambda folder: servers.enter_context(serving(folder))


@pytest.fixture(scope="session")
def site(built):
    """The address of the pages, in a folder of their own as in the book."""
    with serving(built.parent) as address:
        yield f"{address}/live"


@pytest.fixture(scope="module")  # while one is open, nothing else can run a loop
def browser(built):
    with chromium(BEEPS) as browser:
        yield browser


@pytest.fixture
def visit(browser, site, serve):
    """visit("heatmap") opens a page, in a context with the given options.

    At the end nothing must have gone wrong behind the reader's back: no error in the
    console that was not `expected`, and no request to another host.
    """
    contexts, said, asked = [], [], []

    def open_page(name, wait=READY, before=None, base=site, **options):
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda told: said.append((told.type, told.text)))
        page.on("pageerror", lambda error: said.append(("error", str(error))))
        page.on("request", lambda request: asked.append(request.url))
        if before:
            before(page)
        page.goto(f"{base}/{name}.html")
        if wait:
            page.locator(wait).wait_for(state="attached")
        return page

    open_page.expected = ()
    yield open_page
    for context in contexts:
        context.close()
    loud = [
        text
        for kind, text in said
        if kind in ("error", "warning")
        and not any(word in text for word in open_page.expected)
    ]
    assert not loud
    # data: and blob: are made in the page itself
    hosts = {url.split("/")[2] for url in asked if url.startswith("http")}
    assert all(host.startswith("127.0.0.1:") for host in hosts), hosts
    assert not [u for u in asked if not u.startswith(("http:", "data:", "blob:"))]
