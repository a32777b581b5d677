"""Photos posted to an API on this machine. Run: `make test`."""

import io
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cli.errors import RefusedError
from cli.predict import classify, print_answer
from cli.target import Target
from tests.cli.fakes import FakeCloudFormation, stack, target

ANSWER = {
    "class": "rook",
    "probability": 0.75,
    "predictions": [{"class": "rook", "probability": 0.75}, {"class": "king", "probability": 0.25}],
}
PNG = b"\x89PNG\r\n\x1a\n rest"


@dataclass
class Api:
    """What the API answers, and what it was sent."""

    status: int = 200
    body: bytes = json.dumps(ANSWER).encode()
    headers: dict[str, str] = field(default_factory=dict)
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    """Answers as the test says."""

    api: Api

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.api.got.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
        self.send_response(self.api.status)
        for name, value in {"Content-Length": str(len(self.api.body)), **self.api.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(self.api.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's name
        """Says nothing."""


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def deployed(api: Api) -> Iterator[Target]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("ApiHandler", (Handler,), {"api": api}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield target(cloudformation=FakeCloudFormation(stack(ApiUrl=f"http://127.0.0.1:{server.server_port}/v1/predict")))
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    (tmp_path / "misnamed.fcgi").write_bytes(PNG)
    return tmp_path / "misnamed.fcgi"


def test_the_bytes_arrive_signed_and_with_the_type_that_they_are(api: Api, deployed: Target, photo: Path) -> None:
    assert classify(deployed, photo) == ANSWER
    path, headers, body = api.got[0]
    assert (path, body, headers["content-type"]) == ("/v1/predict", PNG, "image/png")
    assert headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=KEY/")
    assert "/us-east-1/execute-api/aws4_request" in headers["authorization"]


def test_what_is_no_photo_is_sent_under_its_own_type(api: Api, deployed: Target, tmp_path: Path) -> None:
    (tmp_path / "paper.pdf").write_bytes(b"%PDF-1.7")
    classify(deployed, tmp_path / "paper.pdf")
    assert api.got[0][1]["content-type"] == "application/pdf"


@pytest.mark.parametrize(
    ("status", "answer", "headers", "sentence"),
    [
        (400, {"error": "not a photo"}, {}, "answered 400: not a photo$"),
        (403, {"message": "Forbidden"}, {}, "403: Forbidden The credentials need the permission execute-api:Invoke"),
        (
            503,
            {"error": "the endpoint is Creating"},
            {"Retry-After": "30"},
            "503: the endpoint is Creating Try again in 30 s. `whippet status`",
        ),
        (200, {"odd": 1}, {}, "answered 200: {'odd': 1}"),
    ],
)
def test_errors_are_the_apis_own_sentence(
    api: Api, deployed: Target, photo: Path, status: int, answer: dict[str, Any], headers: dict[str, str], sentence: str
) -> None:
    api.status, api.body, api.headers = status, json.dumps(answer).encode(), headers
    with pytest.raises(RefusedError, match=sentence):
        classify(deployed, photo)


def test_an_answer_that_is_no_json_is_shown(api: Api, deployed: Target, photo: Path) -> None:
    api.status, api.body = 502, b"<html>Bad gateway</html>"
    with pytest.raises(RefusedError, match="502: <html>Bad gateway"):
        classify(deployed, photo)


def test_a_missing_file_is_refused_before_anything_is_sent(api: Api, deployed: Target, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="not a file"):
        classify(deployed, tmp_path / "none.jpg")
    assert api.got == []


def test_bars_stand_for_certainty(photo: Path) -> None:
    console = Console(file=io.StringIO(), width=100)
    print_answer(console, photo, ANSWER)
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert lines[0].strip() == "misnamed.fcgi"
    assert [line.count("━") for line in lines[1:]] == [22, 8]
    assert lines[1].endswith("75.0%")
