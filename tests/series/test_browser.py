"""A person at JupyterLab: every widget of the notebooks in a real browser.

Everything else about widgets is tested without a browser; that a key or the mouse moves
a control, and this a picture on the screen, shows only here. The cells are the
notebooks' own, with what they need of the cells above (`sslnb.series.excerpts`), all in
one notebook: JupyterLab and a kernel start once. One widget is also tried in Notebook 7,
which the same server has.
"""

import os
import re
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import NamedTuple

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from PIL import Image
from playwright.sync_api import expect

from sslnb.series import listing, run
from sslnb.series.excerpts import excerpts
from tests.browser import MINUTES, changed, chromium, drag, needs_browser, pixels
from tests.media_files import make_video

pytestmark = [pytest.mark.slow, needs_browser]

# Fewer scenes than in the notebooks, so that it takes less time
FEWER = {
    "02": {"scenes": 24},
    "04": {"scenes": 16, "train_scenes": 32, "steps": 2, "seeds": 1},
    "05": {"scenes": 64, "val_scenes": 32, "epochs": 2},
    "06": {"scenes": 12},
    "07": {"scenes": 60},
}
EXCERPTS = {
    f"{path.name[:2]}-{excerpt.widget}": excerpt
    for path in listing.notebooks([str(number) for number in range(1, 8)])
    for excerpt in excerpts(path, **FEWER.get(path.name[:2], {}))
}


class Move(NamedTuple):
    """What to do with a widget: a control that moves its picture, and what comes first.

    control: its name, of a slider or a list; first: (list, option) to choose before.
    """

    control: str
    first: tuple = ()


MOVES = {
    "scene_builder": Move("size (%)"),
    "augmentations": Move("angle (°)"),
    "pseudo_masks": Move("ε"),
    "equivariance": Move("angle (°)"),
    "epochs": Move("epoch"),
    "heatmaps": Move("quantile", ("show", "mask")),
    "nearest": Move("query"),
}
NOT_PICTURES = {"video_picker"}  # have a test of their own
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
CELLS = ".jp-Notebook .jp-CodeCell"
WRONG = (
    ".jp-OutputArea-output[data-mime-type*='stderr'], "
    ".jp-OutputArea-output[data-mime-type*='error']"
)
# Controls of the accessibility tree that have no name
NAMELESS = re.compile(
    r"^\s*- (button|checkbox|combobox|listbox|radio|spinbutton|textbox)(?! +\")",
    re.MULTILINE,
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """JupyterLab and Notebook 7 on notebooks of widgets; addresses take a path."""
    folder = tmp_path_factory.mktemp("server")
    pages, config = folder / "notebooks", folder / "config"
    tracker = config / "lab" / "@jupyterlab" / "notebook-extension"
    pages.mkdir()
    tracker.mkdir(parents=True)
    write(pages / "all.ipynb", EXCERPTS.values())
    write(pages / "one.ipynb", [EXCERPTS["03-pseudo_masks"]])
    make_video(pages / "clip.mp4", seconds=1, fps=10)
    (config / "jupyter_server_config.py").write_text(SETTINGS)
    # all cells are in the page at once, also those out of view
    (tracker / "tracker.jupyterlab-settings").write_text('{"windowingMode": "none"}')
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    log = folder / "lab.log"
    with run.kernel_environment(cpu=True), open(log, "wb") as output:
        os.environ.update(
            JUPYTER_CONFIG_DIR=str(config),
            JUPYTER_DATA_DIR=str(folder / "data"),
            JUPYTER_RUNTIME_DIR=str(folder / "runtime"),
            JUPYTERLAB_SETTINGS_DIR=str(config / "lab"),
            JUPYTERLAB_WORKSPACES_DIR=str(folder / "workspaces"),
        )
        process = subprocess.Popen(
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

        def address(path):
            return f"http://127.0.0.1:{port}/{path}?token={token}"

        try:
            wait_for(address("api"), process, log)
            yield address
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def write(path, parts):
    """A notebook of widgets: of each a cell with what it needs, and its own."""
    sources = (source for part in parts for source in (part.setup, part.cell))
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [new_code_cell(source) for source in sources]
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)


def wait_for(address, process, log, seconds=180):
    """Until the server answers; its log where it does not."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.5)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-3000:]}")


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


def opened(browser, address):
    """A page with a notebook in which every cell has run, without a word of trouble."""
    page = browser.new_page(viewport={"width": 1500, "height": 1000})
    page.set_default_timeout(MINUTES / 3)
    page.goto(address)
    run_all(page)
    errors = page.locator(WRONG)
    assert errors.count() == 0, errors.first.text_content()
    return page


@pytest.fixture(scope="module")
def lab(server, browser):
    """Every widget, in JupyterLab."""
    page = opened(browser, server("lab/tree/all.ipynb"))
    yield page
    page.close()


def run_all(page):
    """Run > Run All Cells, as a person does it; until the last cell has run."""
    cells = page.locator(CELLS)
    cells.first.wait_for(timeout=3 * MINUTES)
    # until a kernel is there, "Run" is answered by asking for one, or not at all
    panel = page.locator(".jp-NotebookPanel")
    name = panel.locator(".jp-Toolbar-kernelName")
    expect(name).to_contain_text("Python 3", timeout=3 * MINUTES)
    indicator = panel.locator(".jp-Notebook-ExecutionIndicator")
    expect(indicator).to_have_attribute("data-status", "idle", timeout=3 * MINUTES)
    page.locator(".lm-MenuBar-itemLabel", has_text=re.compile("^Run$")).click()
    page.locator(".lm-Menu-itemLabel", has_text=re.compile("^Run All Cells$")).click()
    for number in range(cells.count()):
        prompt = cells.nth(number).locator(".jp-InputArea-prompt")
        expect(prompt).to_have_text(f"[{number + 1}]:", timeout=3 * MINUTES)


def output_of(page, name):
    """The output of the cell of a widget."""
    number = list(EXCERPTS).index(name)
    output = page.locator(CELLS).nth(2 * number + 1).locator(".jp-OutputArea").first
    output.scroll_into_view_if_needed()
    return output


def slider_of(page, output, name):
    """The number field of a slider, and its handle."""
    field = output.get_by_role("spinbutton", name=name, exact=True)
    label = page.locator(f'label:text-is("{name}")')
    group = output.locator(".widget-slider").filter(has=label)
    return field, group.get_by_role("slider").first


def moved(page, output, move, handles=True):
    """Move a control by keys and by the mouse; each must change picture and words.

    handles: whether the page leaves arrow keys to the handle of a slider.
    """
    image, status = output.locator("img.sslnb-picture"), output.get_by_role("status")

    def words():
        return image.get_attribute("alt"), status.text_content()

    if move.first:
        output.get_by_role("combobox", name=move.first[0]).select_option(move.first[1])
        page.wait_for_timeout(1_000)
    now = pixels(image), words()
    assert len(now[0]) > 10_000  # a drawing, no empty frame
    field, handle = slider_of(page, output, move.control)
    if field.count():
        value, step = float(field.input_value()), float(field.get_attribute("step"))

        def by_arrow():
            field.focus()
            page.keyboard.press("ArrowUp")
            expect(field).not_to_have_value(f"{value:g}")
            assert float(field.input_value()) == pytest.approx(value + step)

        def by_handle():
            before = field.input_value()
            handle.focus()
            page.keyboard.press("ArrowRight")
            expect(field).not_to_have_value(before)
            assert float(field.input_value()) == pytest.approx(value + 2 * step)

        ways = [by_arrow, by_handle, lambda: drag(page, handle, -60)]
        if not handles:
            ways.remove(by_handle)
    else:
        choice = output.get_by_role("combobox", name=move.control, exact=True)

        def by_keys():
            choice.focus()
            for key in ("Space", "ArrowDown", "Enter"):
                page.keyboard.press(key)

        # its list is drawn by the system, out of reach of a mouse in a test
        ways = [by_keys, lambda: choice.select_option(index=4)]
    for way in ways:
        way()
        now = (
            changed(lambda: pixels(image), now[0], "the picture"),
            changed(words, now[1], "what is said of it"),
        )


@pytest.mark.parametrize("name", [n for n in EXCERPTS if n[3:] not in NOT_PICTURES])
def test_a_key_and_the_mouse_move_the_picture_and_the_status(lab, name):
    output = output_of(lab, name)
    moved(lab, output, MOVES[EXCERPTS[name].widget])
    assert lab.locator(WRONG).count() == 0


@pytest.mark.parametrize("name", EXCERPTS)
def test_every_control_has_a_name(lab, name):
    tree = output_of(lab, name).aria_snapshot()
    assert tree and not NAMELESS.search(tree), tree


@pytest.mark.parametrize("name", EXCERPTS)
def test_a_widget_fits_the_page_and_its_labels_their_places(lab, name):
    output = output_of(lab, name)
    too_wide = """output => [...output.querySelectorAll(".widget-vbox, img, label")]
      .filter(e => e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 0)
      .map(e => e.className + ": " + e.textContent)"""
    assert output.evaluate(too_wide) == []


def test_the_settings_of_a_draw_and_back(lab):
    output = output_of(lab, "02-augmentations")
    image = output.locator("img.sslnb-picture")
    reset, redraw = (
        output.get_by_role("button", name=name) for name in ("Reset", "Redraw")
    )
    angle = output.get_by_role("spinbutton", name="angle (°)")
    reset.focus()
    lab.keyboard.press("Enter")
    expect(angle).to_have_value("0")
    lab.wait_for_timeout(1_000)
    before = pixels(image)
    redraw.click()
    changed(lambda: pixels(image), before, "the picture")
    lab.wait_for_timeout(2_000)  # many controls move: until the last has
    drawn = pixels(image)
    reset.click()
    assert changed(lambda: pixels(image), drawn, "the picture") == before
    player = output.locator("audio.jupyter-widgets")
    assert player.evaluate(SECONDS) == pytest.approx(3, abs=0.1)


def test_own_images_are_taken_and_refused_in_words(lab, tmp_path):
    output = output_of(lab, "06-heatmaps")
    status = output.get_by_role("status")
    upload = output.get_by_role("button", name="your image")
    Image.new("RGB", (80, 60), "teal").save(tmp_path / "mine.png")
    (tmp_path / "words.png").write_text("no image")
    (tmp_path / "large.png").write_bytes(bytes(8_500_000))
    for name, words in (
        ("mine.png", "on your image mine.png"),
        ("words.png", "words.png"),
        ("large.png", "large.png has 8.5 MB"),
    ):
        with lab.expect_file_chooser() as chooser:
            upload.click()
        chooser.value.set_files(tmp_path / name)
        expect(status).to_contain_text(words)
    assert lab.locator(WRONG).count() == 0


def test_a_video_gets_its_heatmap(lab):
    output = output_of(lab, "06-video_picker")
    path = output.get_by_role("combobox", name="video")
    path.focus()
    lab.keyboard.type("clip.mp4")
    lab.keyboard.press("Tab")
    output.get_by_role("button", name="Make the heatmap").click()
    expect(output.get_by_role("status")).to_contain_text("frames", timeout=MINUTES)
    expect(output.locator("video")).to_be_visible()


def test_notebook_7_shows_them_too(server, browser):
    page = opened(browser, server("notebooks/one.ipynb"))
    moved(page, page.locator(CELLS).nth(1), MOVES["pseudo_masks"], handles=False)
    page.close()
