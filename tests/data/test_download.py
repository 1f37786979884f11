"""Fetching, against a server on this machine that does what servers do."""

import gc
import hashlib
import http.server
import socket
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from sslnb.cli import main
from sslnb.data.field.download import SOURCES, Source, fetch, verify

SHARED = Path(__file__).resolve().parents[3] / "shared" / "benchmarks"
# pooch leaves the connection of a failed download to the garbage collector, which must
# find it before the next module's tests
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)
CONTENT = b"".join(b"aaaaaaaaaaa_%06d\n" % n for n in range(20_000))  # several blocks
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """/good, /chunked, half of either, /broken, and 404 for anything else."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        kind = self.path.strip("/")
        self.close_connection = True
        if kind == "broken":
            self.wfile.write(b"this is no HTTP\r\n\r\n")
            return
        if kind not in ("good", "half", "chunked", "cut"):
            self.send_error(404)
            return
        self.send_response(200)
        if kind in ("chunked", "cut"):  # no length is announced
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(CONTENT), CONTENT)
            self.wfile.write(body[: len(body) // 2] if kind == "cut" else body)
            return
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[: len(CONTENT) // 2] if kind == "half" else CONTENT)

    def log_message(self, *message):
        pass


@pytest.fixture(scope="module")
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as served:
        thread = threading.Thread(target=served.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()
        thread.join()
    gc.collect()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def source(server):
    return Source(
        "some",
        "a list",
        "list.txt",
        "https://example.org/page",
        f"{server}/good",
        len(CONTENT),
        DIGEST,
    )


# --- fetching ---------------------------------------------------------------


@pytest.mark.parametrize("kind", ["good", "chunked"])
def test_a_file_arrives_whole_and_verified(tmp_path, server, source, kind):
    out = tmp_path / "a" / "new folder"
    path, told = fetch(replace(source, url=f"{server}/{kind}"), out, progress=False)
    assert path == out / "list.txt" and path.read_bytes() == CONTENT
    assert told == "some as published: its SHA-256 is right"
    assert list(out.iterdir()) == [path]


@pytest.mark.parametrize(
    "size, told", [(len(CONTENT), "its size is right"), (None, "nor is its size")]
)
def test_without_a_checksum_it_is_said_that_nothing_is_verified(
    tmp_path, source, size, told
):
    source = replace(source, size=size, sha256=None)
    path, found = fetch(source, tmp_path, progress=False)
    assert path.read_bytes() == CONTENT
    assert "not verified" in found and told in found and DIGEST in found


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"sha256": "0" * 64}, f"expected {'0' * 64} but got {DIGEST}"),
        ({"sha256": None, "size": 7}, "expected size in bytes 7, found 380000"),
    ],
)
def test_another_file_than_was_published_is_not_kept(
    tmp_path, source, changes, message
):
    with pytest.raises(ValueError, match=message) as caught:
        fetch(replace(source, **changes), tmp_path, progress=False)
    assert "list.txt" in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "kind, message",
    [
        ("gone", "404"),
        ("half", "190000 bytes read"),
        ("cut", "IncompleteRead"),
        ("broken", "this is no HTTP"),
    ],
)
def test_a_dead_link_says_what_to_do(tmp_path, server, source, kind, message):
    url = f"{server}/{kind}"
    with pytest.raises(OSError, match=message) as caught:
        fetch(replace(source, url=url), tmp_path / "out", progress=False)
    told = str(caught.value)
    for part in (
        url,
        "By hand: open https://example.org/page",
        f"save it as {tmp_path / 'out' / 'list.txt'}",
        f"sslnb verify {tmp_path / 'out' / 'list.txt'}",
    ):
        assert part in told
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_no_network_says_what_to_do(tmp_path, source):
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as closed:
        port = closed.server_port
    with pytest.raises(OSError, match=r"refused.*By hand"):
        fetch(
            replace(source, url=f"http://127.0.0.1:{port}/good"),
            tmp_path,
            progress=False,
        )


def test_a_server_that_says_nothing_is_not_waited_for_forever(tmp_path, source):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/good"
        with pytest.raises(OSError, match=r"timed out.*By hand"):
            fetch(replace(source, url=url), tmp_path, timeout=0.2, progress=False)


def test_what_only_a_person_can_fetch_says_where(tmp_path):
    source = SOURCES["flickr-annotations"]
    with pytest.raises(OSError, match=r"no link to fetch. By hand: open") as caught:
        fetch(source, tmp_path)
    assert source.page in str(caught.value)


def test_a_file_that_is_there_is_checked_and_not_fetched_again(tmp_path, source):
    fetch(source, tmp_path, progress=False)
    source = replace(source, url="http://127.0.0.1:9/nobody")
    _, told = fetch(source, tmp_path)
    assert told == "was there already, some as published: its SHA-256 is right"
    (tmp_path / "list.txt").write_bytes(b"mine")
    with pytest.raises(
        ValueError, match=r"list.txt is not list.txt as it was published"
    ):
        fetch(source, tmp_path)
    assert (tmp_path / "list.txt").read_bytes() == b"mine"


def test_a_folder_that_cannot_be_made_is_named(tmp_path, source):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        fetch(source, tmp_path / "file", progress=False)


# --- the table and the command ----------------------------------------------


def test_what_is_known_is_well_formed():
    assert len({source.file for source in SOURCES.values()}) == len(SOURCES)
    for name, source in SOURCES.items():
        assert source.name == name and source.page.startswith("https://github.com/")
        if source.url:
            commit = source.url.split("/")[5]
            assert len(commit) == 40 and int(commit, 16)  # pinned: it cannot change
        if source.sha256:
            assert len(source.sha256) == 64 and int(source.sha256, 16) and source.size


@pytest.mark.skipif(not SHARED.exists(), reason="no published files here")
def test_checksums_are_those_of_the_published_files():
    known = {source.sha256 for source in SOURCES.values() if source.sha256}
    files = [path for path in SHARED.iterdir() if path.suffix != ".md"]
    assert {hashlib.sha256(path.read_bytes()).hexdigest() for path in files} == known
    assert "vggss as published" in verify(SHARED / "vggss.json")
    heard = SHARED / "ssl-tie_openset_test_heard.txt"  # by its content, not by its name
    assert "openset-heard as published" in verify(heard)


def test_without_a_name_it_says_what_is_where(capsys):
    assert main(["download"]) == 0
    told = capsys.readouterr().out
    for source in SOURCES.values():
        assert source.name in told and source.page in told
    assert "SHA-256 not known" in told and "by hand" in told


def test_the_command_fetches_all_it_can(tmp_path, capsys, monkeypatch, source, server):
    dead = replace(source, name="dead", file="dead.txt", url=f"{server}/gone")
    monkeypatch.setitem(SOURCES, "some", source)
    monkeypatch.setitem(SOURCES, "dead", dead)
    assert main(["download", "dead", "some", "--out", str(tmp_path)]) == 1
    told = capsys.readouterr()
    assert f"{tmp_path / 'list.txt'}: some as published" in told.out
    assert "error: dead could not be fetched" in told.err and "By hand" in told.err
    assert main(["download", "some", "--out", str(tmp_path)]) == 0


def test_the_command_verifies(tmp_path, capsys):
    path = tmp_path / "vggss.json"
    path.write_text("[]")
    assert main(["verify", str(path)]) == 1
    assert "is not vggss.json as it was published" in capsys.readouterr().err
    path = tmp_path / "vggsound.csv"
    path.write_text("a,1,b,test\n")
    assert main(["verify", str(path)]) == 0
    assert "not verified" in capsys.readouterr().out
    assert main(["verify", str(tmp_path / "gone.txt")]) == 1
    (tmp_path / "mine.txt").touch()
    assert main(["verify", str(tmp_path / "mine.txt")]) == 1
    assert "none of the files known here" in capsys.readouterr().err


def test_an_unknown_name_is_wrong_usage(capsys):
    assert main(["download", "vgss"]) == 2
    assert "no published file vgss; known are vggss" in capsys.readouterr().err
