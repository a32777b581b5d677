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
# A restarted plane listens again within seconds; until then a waiting state retries instead of failing its execution.
PATIENCE_S = 90.0


@dataclass(frozen=True)
class Answer:
    """An HTTP answer of the plane."""

    status: int
    headers: dict[str, str]
    body: bytes

    def document(self) -> dict[str, Any]:
        """Parse the body as JSON; empty for an empty body."""
        loaded = json.loads(self.body) if self.body else {}
        return loaded if isinstance(loaded, dict) else {}


class PlaneUnreachableError(ConnectionError):
    """The plane does not answer; it may have executed the request."""


class PlaneNotListeningError(PlaneUnreachableError):
    """Nothing listens on the plane's port: the request was not executed."""


class PlaneClient:
    """One plane; its URL is read for each call, because a restart may change the port."""

    def __init__(self, url: Callable[[], str], patience_s: float = PATIENCE_S, sleep: Callable[[float], None] = time.sleep) -> None:
        """Call the plane at `url()`; `call` retries for `patience_s` seconds while nothing listens there."""
        self._url = url
        self._patience_s = patience_s
        self._sleep = sleep

    def forward(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send one request unchanged; raises PlaneNotListeningError or, if only the answer is missing, PlaneUnreachableError."""
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
        """Call one SageMaker operation with retries; raises PlaneUnreachableError after `patience_s` seconds.

        An operation that may have been executed is retried only if it is idempotent.
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
