"""Calls the SageMaker plane over HTTP in AWS's own wire protocol.

Runs in the engine process, for `local.engine.adapter`. Standard library only: it is used from threads that wait on jobs for hours.
"""

import http.client
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

CALL_TIMEOUT_S = 120.0
# A restarted plane listens again within seconds; until then a waiting state is patient instead of failing its execution.
PATIENCE_S = 90.0


@dataclass(frozen=True)
class Answer:
    """An HTTP answer of the plane."""

    status: int
    headers: dict[str, str]
    body: bytes

    def document(self) -> dict[str, Any]:
        """The body as JSON; empty for an empty body."""
        loaded = json.loads(self.body) if self.body else {}
        return loaded if isinstance(loaded, dict) else {}


class PlaneUnreachableError(ConnectionError):
    """The plane does not answer; what was asked may have been done all the same."""


class PlaneNotListeningError(PlaneUnreachableError):
    """Nothing listens at the plane's port: what was asked was not done."""


class PlaneClient:
    """One plane, whose URL is asked for at each call because a restart may move it to another port."""

    def __init__(self, url: Callable[[], str], patience_s: float = PATIENCE_S, sleep: Callable[[float], None] = time.sleep) -> None:
        """Reach the plane at `url()`; `call` tries again for `patience_s` seconds while nothing listens there."""
        self._url = url
        self._patience_s = patience_s
        self._sleep = sleep

    def forward(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send one request as it is; raises PlaneNotListeningError or, when only the answer is missing, PlaneUnreachableError."""
        url = urlsplit(self._url())
        connection = http.client.HTTPConnection(url.hostname or "127.0.0.1", url.port, timeout=CALL_TIMEOUT_S)
        try:
            connection.request(method, path, body=body, headers=dict(headers))
            response = connection.getresponse()
            return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
        except ConnectionRefusedError as error:
            raise PlaneNotListeningError(f"the SageMaker plane at {self._url()} does not run: {error}") from error
        except (OSError, http.client.HTTPException) as error:
            raise PlaneUnreachableError(f"the SageMaker plane at {self._url()} does not answer: {error}") from error
        finally:
            connection.close()

    def call(self, operation: str, request: Mapping[str, Any]) -> Answer:
        """Call one SageMaker operation, patiently; raises PlaneUnreachableError when the patience is used up.

        An operation that may have been done is called again only when to do it twice changes nothing.
        """
        repeatable = operation.startswith(("Describe", "List", "Stop"))
        headers = {"X-Amz-Target": f"SageMaker.{operation}", "Content-Type": "application/x-amz-json-1.1"}
        deadline = time.monotonic() + self._patience_s
        while True:
            try:
                return self.forward("POST", "/", headers, json.dumps(request).encode())
            except PlaneUnreachableError as error:
                if time.monotonic() > deadline or not (repeatable or isinstance(error, PlaneNotListeningError)):
                    raise
                self._sleep(0.5)
