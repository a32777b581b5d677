"""Downloads over a bad connection, from a server on this machine. Run: `make test`."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cli.photos.download import ATTEMPTS, PIECE, Download
from cli.terminal.errors import RefusedError

BODY = bytes(range(256)) * 400


@dataclass
class Site:
    """One file, and how the server misbehaves."""

    body: bytes = BODY
    etag: str = '"one"'
    cut_after: list[int] = field(default_factory=list)
    """How many bytes each of the first answers gives before the connection breaks."""
    statuses: list[int] = field(default_factory=list)
    """Errors given before the first good answer."""
    ranges: bool = True
    asked: list[str | None] = field(default_factory=list)
    """The Range header of each request."""


class Handler(BaseHTTPRequestHandler):
    """Gives the site's file with ranges, or what is wrong instead."""

    site: Site

    def do_GET(self) -> None:
        site = self.site
        asked = self.headers.get("Range")
        site.asked.append(asked)
        if site.statuses:
            return self.send_error(site.statuses.pop(0))
        valid = site.ranges and asked is not None and self.headers.get("If-Range") == site.etag
        start = int(asked.removeprefix("bytes=").rstrip("-")) if valid and asked else 0
        if start > len(site.body):
            return self.send_error(416)
        self.send_response(206 if valid else 200)
        if valid:
            self.send_header("Content-Range", f"bytes {start}-{len(site.body) - 1}/{len(site.body)}")
        self.send_header("ETag", site.etag)
        self.send_header("Content-Length", str(len(site.body) - start))
        self.end_headers()
        piece = site.body[start:]
        self.wfile.write(piece[: site.cut_after.pop(0)] if site.cut_after else piece)
        self.close_connection = True
        return None

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's name
        """Says nothing."""


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def url(site: Site) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("SiteHandler", (Handler,), {"site": site}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/dogs.zip"
    server.shutdown()
    server.server_close()
    thread.join()


def download(url: str, file: Path) -> Path:
    return Download(url, file, lambda so_far, size: None, sleep=lambda seconds: None).run()


def test_a_good_connection_is_asked_once(site: Site, url: str, tmp_path: Path) -> None:
    assert download(url, tmp_path / "dogs.zip").read_bytes() == BODY
    assert site.asked == [None]
    assert [path.name for path in tmp_path.iterdir()] == ["dogs.zip"]
    download(url, tmp_path / "dogs.zip")
    assert len(site.asked) == 1


def test_a_broken_connection_is_taken_up_where_it_broke(site: Site, url: str, tmp_path: Path) -> None:
    site.cut_after = [2 * PIECE, PIECE + 100]
    assert download(url, tmp_path / "dogs.zip").read_bytes() == BODY
    assert site.asked == [None, f"bytes={2 * PIECE}-", f"bytes={3 * PIECE}-"]


def test_another_process_takes_up_what_one_left(site: Site, url: str, tmp_path: Path) -> None:
    site.cut_after = [2 * PIECE] + [0] * ATTEMPTS
    with pytest.raises(RefusedError, match=f"{2 * PIECE:,} bytes are kept; run the same command again"):
        download(url, tmp_path / "dogs.zip")
    site.asked.clear()
    assert download(url, tmp_path / "dogs.zip").read_bytes() == BODY
    assert site.asked == [f"bytes={2 * PIECE}-"]


def test_a_file_that_changed_on_the_server_starts_anew(site: Site, url: str, tmp_path: Path) -> None:
    site.cut_after = [2 * PIECE] + [0] * ATTEMPTS
    with pytest.raises(RefusedError):
        download(url, tmp_path / "dogs.zip")
    site.body, site.etag = b"another file", '"two"'
    assert download(url, tmp_path / "dogs.zip").read_bytes() == b"another file"


def test_what_arrived_whole_before_the_process_was_killed_is_not_asked_for_again(site: Site, url: str, tmp_path: Path) -> None:
    (tmp_path / "dogs.zip.part").write_bytes(BODY)
    (tmp_path / "dogs.zip.part.json").write_text(f'{{"validator": "\\"one\\"", "size": {len(BODY)}}}')
    assert download(url, tmp_path / "dogs.zip").read_bytes() == BODY
    assert site.asked == []
    assert [path.name for path in tmp_path.iterdir()] == ["dogs.zip"]


def test_a_note_that_was_cut_off_starts_anew(site: Site, url: str, tmp_path: Path) -> None:
    (tmp_path / "dogs.zip.part").write_bytes(BODY[:100])
    for number, note in enumerate((b"", b'{"validator": "\\"on', b"\xff\xfe")):
        (tmp_path / "dogs.zip.part.json").write_bytes(note)
        assert download(url, tmp_path / "dogs.zip").read_bytes() == BODY
        (tmp_path / "dogs.zip").replace(tmp_path / "dogs.zip.part")
        assert site.asked == [None] * (number + 1)


def test_a_server_without_ranges_gives_the_whole_again(site: Site, url: str, tmp_path: Path) -> None:
    site.ranges, site.cut_after = False, [30_000]
    assert download(url, tmp_path / "dogs.zip").read_bytes() == BODY


def test_an_overloaded_server_is_asked_again(site: Site, url: str, tmp_path: Path) -> None:
    site.statuses = [503, 429]
    assert download(url, tmp_path / "dogs.zip").read_bytes() == BODY


def test_a_missing_file_is_refused_at_once(site: Site, url: str, tmp_path: Path) -> None:
    site.statuses = [404]
    with pytest.raises(RefusedError, match="answered 404"):
        download(url, tmp_path / "dogs.zip")
    assert len(site.asked) == 1


def test_a_part_longer_than_the_file_is_dropped(site: Site, url: str, tmp_path: Path) -> None:
    site.cut_after = [2 * PIECE] + [0] * ATTEMPTS
    with pytest.raises(RefusedError):
        download(url, tmp_path / "dogs.zip")
    site.body = BODY[:100]
    assert download(url, tmp_path / "dogs.zip").read_bytes() == BODY[:100]
