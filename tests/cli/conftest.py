"""An API on this machine for the tests of the verbs that ask it something. Used by the tests beside it."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

ANSWER = {
    "class": "rook",
    "probability": 0.75,
    "predictions": [{"class": "rook", "probability": 0.75}, {"class": "king", "probability": 0.25}],
}


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
def server(api: Api, monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    """The API on a free port, and no proxy in the environment."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("ApiHandler", (Handler,), {"api": api}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()
