"""A person at JupyterLab: notebook 02 in a real browser, a slider, and the picture.

Everything else about widgets is tested without a browser; that a slider moves a
picture on the screen shows only here.
"""

import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import nbformat
import pytest
from playwright.sync_api import expect, sync_playwright

from sslnb.series import run

BROWSER = next(
    filter(
        None,
        map(
            shutil.which,
            ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"),
        ),
    ),
    None,
)
MINUTES = 60_000  # ms
# The picture as it is drawn now, whatever its address
PIXELS = """image => {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  canvas.getContext("2d").drawImage(image, 0, 0);
  return canvas.toDataURL();
}"""
# How long a sound is, once the browser has read it
SECONDS = """player => player.readyState ? player.duration : new Promise(done => {
  player.onloadedmetadata = () => done(player.duration);
  player.load();
})"""
SETTINGS = """c.ServerApp.ip = "127.0.0.1"
c.ServerApp.open_browser = False
c.ServerApp.allow_root = True
c.ServerApp.port_retries = 0
c.LabApp.news_url = None
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"
c.LabApp.extension_manager = "readonly"
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        BROWSER is None,
        reason="no Chromium or Chrome: install one to "
        "see widgets tested in a browser (apt install chromium)",
    ),
]


@pytest.fixture
def lab(tmp_path):
    """A JupyterLab of its own on a copy of notebook 02; its address."""
    pages, config = tmp_path / "notebooks", tmp_path / "config"
    tracker = config / "lab" / "@jupyterlab" / "notebook-extension"
    pages.mkdir()
    tracker.mkdir(parents=True)
    book = nbformat.read(run.NOTEBOOKS / "02_augmentations.ipynb", 4)
    for cell in book.cells:  # without outputs: what is then seen has been run
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nbformat.write(book, pages / "02_augmentations.ipynb")
    (config / "jupyter_server_config.py").write_text(SETTINGS)
    # all cells are in the page at once, also those out of view
    (tracker / "tracker.jupyterlab-settings").write_text('{"windowingMode": "none"}')
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    log = tmp_path / "lab.log"
    with run.kernel_environment(cpu=True), open(log, "wb") as output:
        os.environ.update(
            JUPYTER_CONFIG_DIR=str(config),
            JUPYTER_DATA_DIR=str(tmp_path / "data"),
            JUPYTER_RUNTIME_DIR=str(tmp_path / "runtime"),
            JUPYTERLAB_SETTINGS_DIR=str(config / "lab"),
            JUPYTERLAB_WORKSPACES_DIR=str(tmp_path / "workspaces"),
        )
        server = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "jupyterlab",
                f"--ServerApp.port={port}",
                f"--IdentityProvider.token={token}",
                "--notebook-dir",
                str(pages),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_for(f"http://127.0.0.1:{port}/api?token={token}", server, log)
            yield f"http://127.0.0.1:{port}/lab/tree/02_augmentations.ipynb?token={token}"
        finally:
            server.terminate()
            try:
                server.wait(60)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def wait_for(address, server, log, seconds=180):
    """Until the server answers; its log where it does not."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.5)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-3000:]}")


@pytest.fixture
def page(lab):
    """The notebook in a browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=BROWSER,
            headless=True,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-background-networking",
                "--no-first-run",
            ],
        )
        page = browser.new_page(viewport={"width": 1500, "height": 1000})
        page.set_default_timeout(MINUTES)
        page.goto(lab)
        yield page
        browser.close()


def run_all(page):
    """Run > Run All Cells, as a person does it; until the last cell has run."""
    page.locator(".jp-Notebook .jp-CodeCell").first.wait_for(timeout=3 * MINUTES)
    # until a kernel is there, JupyterLab answers "Run" by asking for one
    expect(page.locator(".jp-NotebookPanel .jp-Toolbar-kernelName")).to_contain_text(
        "Python 3", timeout=3 * MINUTES
    )
    expect(
        page.locator(".jp-NotebookPanel .jp-Notebook-ExecutionIndicator")
    ).to_have_attribute("data-status", "idle", timeout=3 * MINUTES)
    page.locator(".lm-MenuBar-itemLabel", has_text=re.compile("^Run$")).click()
    page.locator(".lm-Menu-itemLabel", has_text=re.compile("^Run All Cells$")).click()
    prompts = page.locator(".jp-CodeCell .jp-InputArea-prompt")
    count = prompts.count()
    for number in range(count):
        expect(prompts.nth(number)).to_have_text(
            f"[{number + 1}]:", timeout=5 * MINUTES
        )
    return count


def drag(page, slider, by):
    """Drag a slider's handle with the mouse."""
    handle = slider.locator(".noUi-handle")
    handle.scroll_into_view_if_needed()
    box = handle.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + by, y, steps=5)
    page.mouse.up()


def picture(image, unlike=None, like=None):
    """The picture's pixels, once they differ from `unlike` or equal `like`."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        pixels = image.evaluate(PIXELS)
        if pixels != unlike and like in (None, pixels):
            return pixels
        time.sleep(0.2)
    pytest.fail(
        "the picture did not change" if unlike else "the picture is another one"
    )


def test_a_slider_moves_the_picture_and_reset_brings_it_back(page):
    run_all(page)
    errors = page.locator(
        ".jp-OutputArea-output[data-mime-type*='stderr'], "
        ".jp-OutputArea-output[data-mime-type*='error']"
    )
    assert errors.count() == 0, errors.first.text_content()

    image = page.locator("img.sslnb-picture")
    image.wait_for()
    expect(image).to_have_js_property("complete", True)
    before = picture(image)
    assert len(before) > 10_000  # a drawing, no empty frame

    angle = page.locator(".widget-slider", has_text="angle (°)")
    drag(page, angle, 40)
    expect(page.get_by_role("spinbutton", name="angle (°)")).not_to_have_value("0")
    turned = picture(image, unlike=before)

    page.get_by_role("button", name="Redraw").click()
    picture(image, unlike=turned)
    page.wait_for_timeout(3_000)  # many controls move: until the last has
    page.get_by_role("button", name="Reset").click()
    picture(image, like=before)
    expect(page.get_by_role("spinbutton", name="angle (°)")).to_have_value("0")

    player = page.locator("audio.jupyter-widgets")
    assert player.evaluate(SECONDS) == pytest.approx(3, abs=0.1)
