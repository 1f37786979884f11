"""`sslnb demo`, started for real: pages of widgets for a browser without Jupyter."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
import psutil
import pytest
from playwright.sync_api import expect

from sslnb.series import demo, listing, run
from tests.browser import MINUTES, changed, chromium, needs_browser, pixels


def test_the_pages_are_made_of_the_notebooks_own_cells(tmp_path):
    pages = demo.write_demo(tmp_path)
    asked = {excerpt.notebook.name for excerpt in demo.questions()}
    assert {page.name for page in pages} == asked
    for page in pages:
        sources = {cell.source for cell in nbformat.read(page, 4).cells}
        originals = nbformat.read(listing.NOTEBOOKS / page.name, 4).cells
        assert sources & {cell.source for cell in originals if cell.cell_type == "code"}
    index = (tmp_path / "share/voila/templates/sslnb/tree.html").read_text()
    assert all(f'href="voila/render/{page.name}"' in index for page in pages)


def test_what_does_not_answer_a_question_is_left_out():
    """The video widget reads any path of the server's: nothing for others."""
    assert "video_picker" not in {excerpt.widget for excerpt in demo.questions()}


@pytest.mark.parametrize("port", [-1, 0, 65_536])
def test_a_port_that_cannot_be_is_refused(port):
    with pytest.raises(ValueError, match=f"port is {port}; need 1 to 65535"):
        with demo.served(port):
            pass


def test_a_port_that_is_taken_is_reported():
    with socket.socket() as taken:
        taken.bind((demo.ADDRESS, 0))
        port = taken.getsockname()[1]
        taken.listen()
        with pytest.raises(OSError, match=f"port {port}"), demo.served(port):
            pass


@pytest.fixture
def served(tmp_path):
    """The command and the address of its pages; it is over afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "sslnb", "demo", "--port", str(port)]
    environment = {**os.environ, "PYTHONPATH": str(run.ROOT), "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        told = process.stderr.readline()
        assert f"http://127.0.0.1:{port}" in told
        yield process, f"http://127.0.0.1:{port}"
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(60)
        process.stderr.close()


# What a page's kernel answers to some code, then to a question that it must answer
ANSWERS = """([address, code]) => new Promise(done => {
  const socket = new WebSocket(address), answers = [];
  const send = (type, content) => socket.send(JSON.stringify({
    channel: "shell", content, metadata: {}, parent_header: {}, buffers: [],
    header: {msg_id: type, msg_type: type, session: "", username: "", version: "5.3",
             date: new Date().toISOString()},
  }));
  socket.onmessage = ({data}) => {
    const {parent_header, msg_type} = JSON.parse(data);
    if (parent_header.msg_id?.endsWith("_request")) answers.push(msg_type);
    if (msg_type === "kernel_info_reply" && parent_header.session === "") done(answers);
  };
  socket.onopen = () => {
    send("execute_request", {code, silent: false, store_history: false,
      user_expressions: {}, allow_stdin: false, stop_on_error: true});
    send("kernel_info_request", {});
  };
})"""


@pytest.mark.slow
@needs_browser
def test_a_page_works_here_only_runs_no_code_and_ends_by_ctrl_c(served, tmp_path):
    process, address = served
    asked, errors, sockets, ran = [], [], [], tmp_path / "ran"
    with chromium() as browser:
        page = browser.new_page()
        page.set_default_timeout(2 * MINUTES)
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(error))
        page.on("console", lambda m: m.type == "error" and errors.append(m.text))
        page.on("websocket", lambda socket: sockets.append(socket.url))
        page.goto(address)
        page.get_by_role("link", name="03 · ").click()
        heading = page.get_by_role("heading", name="03 · ")
        expect(heading).to_be_visible(timeout=2 * MINUTES)
        image, status = page.locator("img.sslnb-picture"), page.get_by_role("status")
        before, words = pixels(image), status.text_content()
        page.get_by_role("slider").first.focus()
        page.keyboard.press("ArrowLeft")
        changed(lambda: pixels(image), before, "the picture")
        changed(status.text_content, words, "the status")
        answer = page.locator("details", has_text="Answer")
        assert answer.get_attribute("open") is None
        answer.locator("summary").click()
        expect(answer.locator("p").first).to_be_visible()

        kernel = next(url for url in sockets if "/channels" in url).partition("?")[0]
        answers = page.evaluate(ANSWERS, [kernel, f"open({str(ran)!r}, 'w')"])
        assert "kernel_info_reply" in answers and "execute_reply" not in answers
        assert not ran.exists()

        family = psutil.Process(process.pid).children(recursive=True)
        listening = {
            connection.laddr.ip
            for one in [psutil.Process(process.pid), *family]
            for connection in one.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
        assert listening == {"127.0.0.1"} and len(family) >= 2
    assert not errors
    assert all(url.startswith((address, "data:", "blob:")) for url in asked)

    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    _, alive = psutil.wait_procs(family, 20)
    assert not alive and not list(Path(tmp_path).glob("sslnb-*"))
    assert Path(tempfile.gettempdir()) != tmp_path
