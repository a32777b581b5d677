"""Endpoints of the SageMaker plane: each a real server process, watched, replaced without a gap, invoked over HTTP.

Runs in the SageMaker plane, one short thread for each create or update and one that watches all servers.
"""

import contextlib
import itertools
import threading
import time
from collections.abc import Mapping
from typing import Any

from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError

from local.fidelity import refuse_what_is_not_done
from local.job_tools import REASON_LIMIT, JobTools
from local.listing import Listing, list_documents
from local.mode import ACCOUNT, REGION
from local.model_server import LOG_GROUP, START_TIMEOUT_S, ModelServer, ServerFailedError
from local.models import EndpointConfigs, Models, arn_of
from local.objects import DownloadError
from local.shapes import ServiceError, invalid
from local.store import Document, Store

KIND = "endpoint"
LISTING = Listing("Endpoints", "EndpointName", "EndpointStatus")
WATCH_INTERVAL_S = 1.0
RESTARTS = 3
RESTART_WINDOW_S = 300.0
BODY_LIMIT_BYTES = 6 * 1024 * 1024
CHOICES = {
    "TargetModel": "x-amzn-sagemaker-target-model",
    "TargetVariant": "x-amzn-sagemaker-target-variant",
    "TargetContainerHostname": "x-amzn-sagemaker-target-container-hostname",
    "InferenceComponentName": "x-amzn-sagemaker-inference-component",
    "SessionId": "x-amzn-sagemaker-session-id",
}
START_ERRORS = (ServerFailedError, DownloadError, Boto3Error, BotoCoreError, ClientError, ServiceError, OSError)
_numbers = itertools.count(1)


class Endpoints:
    """CreateEndpoint and its siblings, and InvokeEndpoint."""

    def __init__(self, store: Store, configs: EndpointConfigs, models: Models, tools: JobTools) -> None:
        """Continue from `store`: endpoints of an earlier plane are started again."""
        self._store, self._configs, self._models, self._tools = store, configs, models, tools
        self._servers: dict[str, ModelServer] = {}
        self._restarts: dict[str, list[float]] = {}
        self._lock = threading.RLock()
        self._closing = threading.Event()
        for endpoint in store.all(KIND):
            if endpoint["EndpointStatus"] in ("Creating", "InService", "Updating"):
                self._change(endpoint["EndpointName"], "Creating")
                self._in_background(self._bring_up, endpoint["EndpointName"], endpoint["EndpointConfigName"])
            elif endpoint["EndpointStatus"] == "Deleting":
                store.delete(KIND, endpoint["EndpointName"])
        self._in_background(self._watch)

    def create(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """CreateEndpoint: InService once the server answers /ping, else Failed with the reason."""
        refuse_what_is_not_done("CreateEndpoint", request)
        name, config = request["EndpointName"], self._configs.describe(request["EndpointConfigName"])
        now = self._tools.clock()
        document = {
            "EndpointName": name,
            "EndpointArn": arn_of(KIND, name),
            "EndpointConfigName": config["EndpointConfigName"],
            "EndpointStatus": "Creating",
            "CreationTime": now,
            "LastModifiedTime": now,
        }
        if not self._store.create(KIND, name, document):
            raise invalid(f'Cannot create already existing endpoint "{arn_of(KIND, name)}".')
        self._in_background(self._bring_up, name, config["EndpointConfigName"])
        return {"EndpointArn": arn_of(KIND, name)}

    def update(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """UpdateEndpoint: the new server takes over once it is healthy; until then, and if it never is, the old one answers."""
        refuse_what_is_not_done("UpdateEndpoint", request)
        name, config = request["EndpointName"], self._configs.describe(request["EndpointConfigName"])
        with self._lock:
            endpoint = self.describe(name)
            if endpoint["EndpointStatus"] == "Failed":
                raise invalid(f'Cannot update endpoint "{endpoint["EndpointArn"]}", which is Failed: delete it, then create it again.')
            if endpoint["EndpointStatus"] != "InService":
                raise invalid(f'Cannot update in-progress endpoint "{endpoint["EndpointArn"]}", which is {endpoint["EndpointStatus"]}.')
            self._change(name, "Updating")
        self._in_background(self._bring_up, name, config["EndpointConfigName"])
        return {"EndpointArn": endpoint["EndpointArn"]}

    def describe(self, name: str) -> Document:
        """DescribeEndpoint."""
        document = self._store.get(KIND, name)
        if document is None:
            raise invalid(f'Could not find endpoint "{arn_of(KIND, name)}".')
        return document

    def list_endpoints(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """ListEndpoints."""
        return list_documents(self._store.all(KIND), request, LISTING)

    def delete(self, name: str) -> None:
        """DeleteEndpoint; a server that is still starting is ended as soon as it has started."""
        with self._lock:
            if self.describe(name)["EndpointStatus"] in ("Creating", "Updating"):
                raise invalid(f'Cannot update in-progress endpoint "{arn_of(KIND, name)}".')
            self._store.delete(KIND, name)
            server = self._servers.pop(name, None)
        if server is not None:
            server.stop()

    def invoke(self, name: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, dict[str, str], bytes]:
        """InvokeEndpoint: the server's own answer, or AWS's error for an endpoint or a server that cannot answer."""
        if len(body) > BODY_LIMIT_BYTES:
            raise ServiceError("ValidationError", f"The body has {len(body)} bytes; an invocation takes at most {BODY_LIMIT_BYTES}", 413)
        server = self._servers.get(name)
        if server is None:
            raise self._not_in_service(name)
        _refuse_choices(headers, server.variant)
        try:
            status, answered, content = server.invoke(body, headers)
        except TimeoutError as error:
            message = "Your invocation timed out while waiting for a response from container primary."
            raise self._model_error(name, 0, message, "") from error
        except OSError as error:
            raise self._model_error(name, 503, f"The server of endpoint {name} does not answer: {error}", "") from error
        if status >= 400:
            text = content.decode(errors="replace")
            kind = "client" if status < 500 else "server"
            raise self._model_error(name, status, f'Received {kind} error ({status}) from primary with message "{text}".', text)
        kept = {name: value for name, value in answered.items() if name in ("content-type", "x-amzn-sagemaker-custom-attributes")}
        return 200, {**kept, "x-amzn-invoked-production-variant": server.variant}, content

    def close(self) -> None:
        """End all servers, for the plane's own end; the endpoints stay in the store and come back with the next plane."""
        self._closing.set()
        with self._lock:
            servers = list(self._servers.values())
            self._servers.clear()
        for server in servers:
            server.stop()

    def _bring_up(self, name: str, config_name: str) -> None:
        """Start the server of a config and let it take the endpoint over; whatever goes wrong, the endpoint does not wait for ever."""
        reason = "InternalServerError: the endpoint's thread ended early; the plane's log tells why"
        try:
            config = self._configs.describe(config_name)
            server = self._new_server(name, config)
            server.start(config["ProductionVariants"][0].get("ContainerStartupHealthCheckTimeoutInSeconds", START_TIMEOUT_S))
            self._take_over(name, config, server)
            reason = ""
        except START_ERRORS as error:
            reason = str(error) or repr(error)
        finally:
            if reason:
                self._keep_or_fail(name, reason)

    def _take_over(self, name: str, config: Document, server: ModelServer) -> None:
        """Let a healthy server answer for the endpoint, and end the one before it."""
        variant = config["ProductionVariants"][0]
        with self._lock:
            if self._closing.is_set() or self._store.get(KIND, name) is None:
                old: ModelServer | None = server
            else:
                old, self._servers[name] = self._servers.get(name), server
                summary = {"VariantName": variant["VariantName"], "CurrentWeight": 1.0, "DesiredWeight": 1.0}
                counts = {"CurrentInstanceCount": 1, "DesiredInstanceCount": 1}
                changes = {"EndpointConfigName": config["EndpointConfigName"], "ProductionVariants": [{**summary, **counts}]}
                self._change(name, "InService", FailureReason=None, **changes)
        if old is not None:
            old.stop()

    def _new_server(self, name: str, config: Document) -> ModelServer:
        variant = config["ProductionVariants"][0]
        model = self._models.describe(variant["ModelName"])
        folder = self._tools.home / "endpoints" / name / f"{int(self._tools.clock())}-{next(_numbers)}"
        isolated = bool(model.get("EnableNetworkIsolation", False))
        return ModelServer(self._tools, name, variant["VariantName"], model["PrimaryContainer"], folder, isolated)

    def _keep_or_fail(self, name: str, reason: str) -> None:
        """After a failed start: the old server goes on in service, with the reason; without one the endpoint has failed."""
        with self._lock:
            if self._store.get(KIND, name) is not None and not self._closing.is_set():
                self._change(name, "InService" if name in self._servers else "Failed", FailureReason=reason[:REASON_LIMIT])

    def _watch(self) -> None:
        """Start a server again that has ended by itself; after a few times in a row its endpoint has failed."""
        while not self._closing.wait(WATCH_INTERVAL_S):
            for name, server in list(self._servers.items()):
                if not server.is_alive():
                    self._restart(name, server)

    def _restart(self, name: str, dead: ModelServer) -> None:
        with self._lock:
            if self._servers.get(name) is not dead or self._closing.is_set():
                return
            del self._servers[name]
            tail = dead.log.tail()[-500:]
            now = time.monotonic()
            recent = [at for at in self._restarts.get(name, []) if now - at < RESTART_WINDOW_S]
            self._restarts[name] = [*recent, now]
            config = self.describe(name)["EndpointConfigName"]
            if len(recent) >= RESTARTS:
                self._change(
                    name,
                    "Failed",
                    FailureReason=f"its server ended {RESTARTS + 1} times within {RESTART_WINDOW_S:.0f} s; its log's end: {tail}",
                )
            else:
                self._change(name, "Updating")
        dead.stop()
        if len(recent) < RESTARTS:
            self._in_background(self._bring_up, name, config)

    def _change(self, name: str, status: str, **members: Any) -> None:
        self._store.update(KIND, name, EndpointStatus=status, LastModifiedTime=self._tools.clock(), **members)

    def _not_in_service(self, name: str) -> ServiceError:
        with contextlib.suppress(ServiceError):
            status = self.describe(name)["EndpointStatus"]
            return ServiceError("ValidationError", f"Endpoint {name} of account {ACCOUNT} is not InService: it is {status}.")
        return ServiceError("ValidationError", f"Endpoint {name} of account {ACCOUNT} not found.")

    def _model_error(self, name: str, status: int, message: str, original: str) -> ServiceError:
        where = f"See the log group {LOG_GROUP}/{name} in account {ACCOUNT} for more information."
        stream = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{LOG_GROUP}/{name}"
        members = {"OriginalStatusCode": status, "OriginalMessage": original, "LogStreamArn": stream}
        return ServiceError("ModelError", f"{message} {where}", 424, members)

    def _in_background(self, work: Any, *arguments: Any) -> None:
        threading.Thread(target=work, args=arguments, daemon=True, name=f"endpoint-{work.__name__}").start()


def _refuse_choices(headers: Mapping[str, str], variant: str) -> None:
    """An endpoint here has one model of one variant: a request for another one is refused instead of answered by this one."""
    for field, header in CHOICES.items():
        chosen = headers.get(header)
        if chosen and not (field == "TargetVariant" and chosen == variant):
            raise ServiceError(
                "ValidationError", f"{field} {chosen!r} is not done by local mode; this endpoint has the variant {variant!r} alone"
            )
