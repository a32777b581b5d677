"""What serves one endpoint config: on AWS its instances, or what runs a serverless variant; here one model server, whatever was asked.

Runs in the SageMaker plane. It keeps the limits that AWS keeps before a model hears of an invocation.
"""

import threading
from collections.abc import Mapping
from typing import Any

from local.api.errors import ServiceError
from local.hosting.model_server import START_TIMEOUT_S, ModelServer
from local.storage.store import Document

BODY_LIMIT_BYTES = 6 * 1024 * 1024
SERVERLESS_BODY_LIMIT_BYTES = 4 * 1024 * 1024


class Fleet:
    """The server of an endpoint config's only variant: `start`, `invoke`, `is_alive`, `stop`."""

    def __init__(self, server: ModelServer, config: Document) -> None:
        """Serve `config` with `server`."""
        self.server = server
        self.config_name: str = config["EndpointConfigName"]
        self._variant: Document = config["ProductionVariants"][0]
        serverless = self._variant.get("ServerlessConfig")
        self._free = threading.BoundedSemaphore(serverless["MaxConcurrency"]) if serverless else None
        self._body_limit = SERVERLESS_BODY_LIMIT_BYTES if serverless else BODY_LIMIT_BYTES

    @property
    def variant(self) -> str:
        """The name of the variant."""
        return str(self._variant["VariantName"])

    def start(self) -> None:
        """Wait until the server is healthy, as long as the variant allows; raises what ModelServer.start raises."""
        self.server.start(self._variant.get("ContainerStartupHealthCheckTimeoutInSeconds", START_TIMEOUT_S))

    def is_alive(self) -> bool:
        """Whether the server runs."""
        return self.server.is_alive()

    def stop(self) -> None:
        """End the server."""
        self.server.stop()

    def log_tail(self) -> str:
        """The end of the server's log, short enough for a FailureReason."""
        return self.server.log.tail()[-500:]

    def invoke(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, dict[str, str], bytes]:
        """The server's answer; ServiceError where AWS would not ask it, TimeoutError or OSError when it does not answer."""
        if len(body) > self._body_limit:
            raise ServiceError("ValidationError", f"The body has {len(body)} bytes; an invocation takes at most {self._body_limit}", 413)
        if self._free is None:
            return self.server.invoke(body, headers)
        if not self._free.acquire(blocking=False):
            raise ServiceError(
                "ThrottlingException", f"Rate exceeded: {self.variant} already has as many invocations as MaxConcurrency allows"
            )
        try:
            return self.server.invoke(body, headers)
        finally:
            self._free.release()

    def summary(self) -> dict[str, Any]:
        """The variant as DescribeEndpoint has it."""
        weight = {"VariantName": self.variant, "CurrentWeight": 1.0, "DesiredWeight": 1.0}
        if serverless := self._variant.get("ServerlessConfig"):
            return {**weight, "CurrentInstanceCount": 0, "CurrentServerlessConfig": serverless}
        count = self._variant.get("InitialInstanceCount", 1)
        return {**weight, "CurrentInstanceCount": count, "DesiredInstanceCount": count}

    def pending(self, status: str, says: str, since: float) -> dict[str, Any]:
        """The variant as DescribeEndpoint's PendingDeploymentSummary has it while an update brings it."""
        return {**self.summary(), "VariantStatus": [{"Status": status, "StatusMessage": says, "StartTime": since}]}
