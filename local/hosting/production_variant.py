"""The production variant of an endpoint config: one model server, for any number of instances and for serverless.

Runs in the SageMaker plane. It enforces AWS's limits before an invocation reaches the model.
"""

import threading
from collections.abc import Mapping
from typing import Any

from local.api.errors import ServiceError
from local.hosting.model_server import START_TIMEOUT_S, ModelServer
from local.storage.store import Document

BODY_LIMIT_BYTES = 6 * 1024 * 1024
SERVERLESS_BODY_LIMIT_BYTES = 4 * 1024 * 1024


class ProductionVariant:
    """The server of an endpoint config's only variant: `start`, `invoke`, `is_alive`, `stop`."""

    def __init__(self, server: ModelServer, config: Document) -> None:
        """Serve `config` with `server`."""
        self.server = server
        self.config_name: str = config["EndpointConfigName"]
        self._document: Document = config["ProductionVariants"][0]
        serverless = self._document.get("ServerlessConfig")
        self._free = threading.BoundedSemaphore(serverless["MaxConcurrency"]) if serverless else None
        self._body_limit = SERVERLESS_BODY_LIMIT_BYTES if serverless else BODY_LIMIT_BYTES

    @property
    def name(self) -> str:
        """The name of the variant."""
        return str(self._document["VariantName"])

    def start(self) -> None:
        """Start the server and wait until it is healthy, up to the variant's timeout; raises the errors of ModelServer.start."""
        self.server.start(self._document.get("ContainerStartupHealthCheckTimeoutInSeconds", START_TIMEOUT_S))

    def is_alive(self) -> bool:
        """Whether the server runs."""
        return self.server.is_alive()

    def stop(self) -> None:
        """End the server."""
        self.server.stop()

    def read_log_tail(self) -> str:
        """Return the end of the server's log, short enough for a FailureReason."""
        return self.server.log.tail()[-500:]

    def invoke(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, dict[str, str], bytes]:
        """Return the server's answer; raises ServiceError at AWS's limits, TimeoutError or OSError without an answer."""
        if len(body) > self._body_limit:
            raise ServiceError("ValidationError", f"The body has {len(body)} bytes; an invocation takes at most {self._body_limit}", 413)
        if self._free is None:
            return self.server.invoke(body, headers)
        if not self._free.acquire(blocking=False):
            raise ServiceError(
                "ThrottlingException", f"Rate exceeded: {self.name} already has as many invocations as MaxConcurrency allows"
            )
        try:
            return self.server.invoke(body, headers)
        finally:
            self._free.release()

    def describe(self) -> dict[str, Any]:
        """Describe the variant as DescribeEndpoint does."""
        weight = {"VariantName": self.name, "CurrentWeight": 1.0, "DesiredWeight": 1.0}
        if serverless := self._document.get("ServerlessConfig"):
            return {**weight, "CurrentInstanceCount": 0, "CurrentServerlessConfig": serverless}
        count = self._document.get("InitialInstanceCount", 1)
        return {**weight, "CurrentInstanceCount": count, "DesiredInstanceCount": count}

    def describe_pending(self, status: str, says: str, since: float) -> dict[str, Any]:
        """Describe the variant as DescribeEndpoint's PendingDeploymentSummary does during an update."""
        return {**self.describe(), "VariantStatus": [{"Status": status, "StatusMessage": says, "StartTime": since}]}
