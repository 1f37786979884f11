"""A person at a browser: Chromium, keys, mouse, and what a picture's pixels are.

with chromium() as browser: ...
drag(page, slider, 40); picture(image, unlike=before)
"""

import shutil
import time
from contextlib import contextmanager

import pytest
from playwright.sync_api import sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
MINUTES = 60_000  # ms
MISSING = "no Chromium or Chrome, which this test needs: apt install chromium"
needs_browser = pytest.mark.skipif(BROWSER is None, reason=MISSING)
# The picture as it is drawn now, whatever its address
PIXELS = """image => {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  canvas.getContext("2d").drawImage(image, 0, 0);
  return canvas.toDataURL();
}"""


@contextmanager
def chromium(*flags):
    """A browser that asks nobody else for anything; the test is skipped without one."""
    if BROWSER is None:
        pytest.skip(MISSING)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=BROWSER,
            headless=True,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-background-networking",
                "--no-first-run",
                *flags,
            ],
        )
        yield browser
        browser.close()


def drag(page, handle, by):
    """Drag the handle of a slider by so many pixels with the mouse."""
    handle.scroll_into_view_if_needed()
    box = handle.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + by, y, steps=5)
    page.mouse.up()


def changed(read, before, what, seconds=60):
    """What `read` gives, once it is something else than before."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        now = read()
        if now != before:
            return now
        time.sleep(0.1)
    pytest.fail(f"{what} did not change")


def pixels(image):
    """The pixels of a picture that is complete."""
    image.wait_for()
    return image.evaluate(PIXELS)
