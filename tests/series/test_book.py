"""The book in a real browser: every page is opened, as a site in a folder of a server."""

import functools
import http.server
import os
import re
import subprocess
import sys
import threading
import urllib.parse
from collections import Counter
from html.parser import HTMLParser

import pytest
from playwright.sync_api import expect

from sslnb.files import ROOT
from tests.browser import chromium

FOLDER = "sub/dir"  # of the server, so that only relative links work
# How long a sound is, once the browser has read it
SECONDS = """player => player.readyState ? player.duration : new Promise(done => {
  player.onloadedmetadata = () => done(player.duration);
  player.load();
})"""
pytestmark = pytest.mark.slow


class Page(HTMLParser):
    """A page's links, anchors, pictures, and what it loads."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.loads, self.silent = Counter(), [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        about = dict(attrs)
        if "id" in about:
            self.ids[about["id"]] += 1
        if tag in ("a", "area") and about.get("href"):
            self.links.append(about["href"])
        if tag == "link" and about.get("rel") not in (
            "next",
            "prev",
            "index",
            "search",
        ):
            self.loads.append(about["href"])
        if about.get("src"):
            self.loads.append(about["src"])
        if (
            tag == "img"
            and not about.get("alt")
            and "logo" not in about.get("class", "")
        ):
            self.silent.append(about["src"][:80])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The book, built once; without the live pages, which tests/live tests."""
    out = tmp_path_factory.mktemp("book")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, ROOT / "book" / "build.py", out, "--no-live"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return out / "html"


@pytest.fixture(scope="module")
def pages(site):
    """The pages, parsed: {path in the site: Page}."""
    return {
        path.relative_to(site).as_posix(): Page(path.read_text("utf-8"))
        for path in site.rglob("*.html")
        if path.relative_to(site).parts[0] not in ("_static", "live")
    }


def test_the_book_has_every_notebook_and_page(pages):
    notebooks = {
        path.relative_to(ROOT).with_suffix(".html").as_posix()
        for path in ROOT.glob("notebooks/**/*.ipynb")
        if ".ipynb_checkpoints" not in path.parts
    }
    assert notebooks | {"index.html", "glossary.html", "references.html"} <= set(pages)


def test_every_link_leads_somewhere_and_is_relative(site, pages):
    dead = []
    for here, page in pages.items():
        for link in page.links:
            url = urllib.parse.urlsplit(link)
            if url.scheme in ("http", "https", "mailto"):
                continue
            base = f"http://x/{here}"
            to = urllib.parse.urlsplit(urllib.parse.urljoin(base, link))
            path = urllib.parse.unquote(to.path).lstrip("/")
            path += "index.html" if path.endswith("/") or not path else ""
            if path.startswith("live/"):
                assert (ROOT / "book/live/pages" / path.removeprefix("live/")).exists()
            elif url.path.startswith("/") or not (site / path).is_file():
                dead.append(f"{here}: {link}")
            elif to.fragment and path in pages:
                if urllib.parse.unquote(to.fragment) not in pages[path].ids:
                    dead.append(f"{here}: {link}")
    assert dead == []


def test_nothing_is_loaded_from_elsewhere_and_every_picture_says_what_it_shows(pages):
    for here, page in pages.items():
        foreign = [a for a in page.loads if re.match(r"(?:\w+:)?//|/", a)]
        assert foreign == [], here
        assert page.silent == [], here
        twice = [i for i, count in page.ids.items() if count > 1]
        assert twice == [], here


def test_no_stored_output_is_lost(site):
    """Sounds and pictures of notebook 01, as many as it stores."""
    import nbformat

    book = nbformat.read(ROOT / "notebooks/01_data_preparation.ipynb", 4)
    outputs = [o for cell in book.cells for o in cell.get("outputs", ())]
    kinds = [kind for o in outputs for kind in o.get("data", ())]
    text = (site / "notebooks/01_data_preparation.html").read_text("utf-8")
    sounds = sum("<audio" in o.get("data", {}).get("text/html", "") for o in outputs)
    assert text.count("<audio") == sounds > 0
    article = text[text.index("<article") :]
    drawn = sum(kind in ("image/png", "image/jpeg") for kind in kinds)
    assert len(re.findall(r'<img [^>]*src="\.\./_images/', article)) >= drawn > 0


# ------------------------------------------------------------------ in a browser


@pytest.fixture(scope="module")
def served(site, tmp_path_factory):
    """The book on a server, in a folder of it; its address."""
    root = tmp_path_factory.mktemp("server")
    (root / FOLDER).parent.mkdir(parents=True)
    (root / FOLDER).symlink_to(site)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Quiet, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/{FOLDER}"
        server.shutdown()


@pytest.fixture(scope="module")
def browser():
    """A browser without a screen."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser):
    """A page on a desk."""
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    yield page
    page.close()


def watch(page, served):
    """Note errors on the console, failed requests, and requests to elsewhere."""
    wrong = []

    def request(one):
        if not one.url.startswith((served, "data:", "blob:")):
            wrong.append(f"asks {one.url[:100]}")

    def response(one):
        if one.status >= 400:
            wrong.append(f"{one.status} {one.url[:100]}")

    page.on("request", request)
    page.on("response", response)
    page.on("requestfailed", lambda one: wrong.append(f"failed {one.url[:100]}"))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "console",
        lambda one: (
            wrong.append(one.text) if one.type in ("error", "warning") else None
        ),
    )
    return wrong


def test_every_page_opens_without_an_error_and_fits_a_phone(pages, served, page):
    wrong = watch(page, served)
    for path in sorted(pages):
        if path == "search.html":
            continue
        page.set_viewport_size({"width": 1300, "height": 900})
        page.goto(f"{served}/{path}", wait_until="load")
        assert page.locator("article h1").count() == 1, path
        page.set_viewport_size({"width": 390, "height": 844})
        wide = page.evaluate(
            "[document.documentElement.scrollWidth, document.body.scrollWidth]"
        )
        assert max(wide) <= 390, f"{path} is {wide} wide on a phone"
        assert wrong == [], path


def test_search_finds_a_term(served, page):
    wrong = watch(page, served)
    page.goto(f"{served}/search.html?q=InfoNCE")
    found = page.locator("#search-results li a")
    expect(found.first).to_be_visible(timeout=20_000)
    assert any("03_invariance_loss" in a.get_attribute("href") for a in found.all())
    assert wrong == []


def test_dark_mode_switches_and_figures_stay_on_a_card(served, page):
    page.emulate_media(color_scheme="light")
    page.goto(f"{served}/notebooks/03_invariance_loss.html")
    html = page.locator("html")
    paper = "getComputedStyle(document.body).backgroundColor"
    expect(html).to_have_attribute("data-theme", "light")
    light = page.evaluate(paper)
    page.get_by_role("button", name="Color mode").click()
    page.get_by_role("button", name="Dark").click()
    expect(html).to_have_attribute("data-theme", "dark")
    assert page.evaluate(paper) != light
    figure = page.locator(".cell_output img").first
    assert figure.evaluate("i => getComputedStyle(i).backgroundColor") == (
        "rgb(255, 255, 255)"
    )


def test_sounds_can_be_played(served, page):
    page.goto(f"{served}/notebooks/01_data_preparation.html")
    assert page.locator("audio").first.evaluate(SECONDS) > 1


def follow(page, kind):
    """Follow the page's first link of a kind in view; its words, and where it led."""
    link = page.locator(f"article a.to-{kind}:visible").first
    words = link.inner_text()
    link.click()
    page.wait_for_url("**#*")
    target = page.locator(f'[id="{page.url.split("#")[1]}"]')
    expect(target).to_be_in_viewport()
    return words, target


def test_an_equation_a_term_a_function_and_a_work_lead_where_they_say(served, page):
    for number in ("03_invariance_loss", "08_experiments"):  # on the page, on another
        page.goto(f"{served}/notebooks/{number}.html")
        words, equation = follow(page, "equation")
        assert equation.locator("math").count() == 1
        assert equation.locator(".eqno").inner_text() == f"({words.split()[-1]})"
    assert "08_experiments" not in page.url

    page.goto(f"{served}/notebooks/03_invariance_loss.html")
    words, term = follow(page, "term")
    assert "/glossary.html#" in page.url
    assert words.lower()[:5] == term.inner_text().lower()[:5]

    page.goto(f"{served}/package.html")
    words, heading = follow(page, "code")
    assert "/modules/" in page.url
    assert words in heading.locator("h1, h2, h3").first.inner_text()

    page.goto(f"{served}/notebooks/07_retrieval.html")
    words, work = follow(page, "work")
    assert "/references.html#cite-" in page.url
    assert re.split(r"[ ,]", words)[0] in work.inner_text()


def test_a_folded_answer_opens(served, page):
    page.goto(f"{served}/notebooks/03_invariance_loss.html")
    solution = page.locator("article details").first
    inside = solution.locator("summary ~ *").first
    expect(inside).to_be_hidden()
    solution.locator("summary").click()
    expect(inside).to_be_visible()
