"""Endpoints of the SageMaker plane: each has a real server process that is watched, replaced without downtime, and invoked over HTTP.

Runs in the SageMaker plane, on one thread per create or update and one thread that watches all servers.
"""

import contextlib
import itertools
import threading
import time
from collections.abc import Mapping
from typing import Any

from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError

from local.api.account import ACCOUNT, REGION, build_arn
from local.api.errors import ServiceError, validation_error
from local.api.feature_support import reject_unsupported
from local.hosting.deployments import Alarms, Bake, Deployment, RolledBackError, Step, Traffic
from local.hosting.endpoint_metrics import EndpointMetrics
from local.hosting.model_server import LOG_GROUP, ModelServer, ServerFailedError
from local.hosting.models import EndpointConfigs, Models
from local.hosting.production_variant import ProductionVariant
from local.jobs.container import REASON_LIMIT, JobTools
from local.storage.listing import Listing, list_documents
from local.storage.objects import DownloadError
from local.storage.store import Document, Store

KIND = "endpoint"
LISTING = Listing("Endpoints", "EndpointName", "EndpointStatus")
WATCH_INTERVAL_S = 1.0
RESTARTS = 3
RESTART_WINDOW_S = 300.0
TARGET_HEADERS = {
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

    def __init__(
        self, store: Store, configs: EndpointConfigs, models: Models, tools: JobTools, alarms: Alarms, metrics: EndpointMetrics
    ) -> None:
        """Continue from `store`: restarts the endpoints of an earlier plane. Updates with a DeploymentConfig check `alarms`."""
        self._store, self._configs, self._models, self._tools = store, configs, models, tools
        self._alarms, self._metrics = alarms, metrics
        self._variants: dict[str, ProductionVariant] = {}
        self._shifting: dict[str, Traffic] = {}
        self._restarts: dict[str, list[float]] = {}
        self._lock = threading.RLock()
        self._closing = threading.Event()
        self._bake = Bake(alarms, self._closing)
        for endpoint in store.list_all(KIND):
            if endpoint["EndpointStatus"] in ("Creating", "InService", "Updating", "RollingBack"):
                self._change(endpoint["EndpointName"], "Creating")
                self._in_background(self._bring_up, endpoint["EndpointName"], endpoint["EndpointConfigName"])
            elif endpoint["EndpointStatus"] == "Deleting":
                store.delete(KIND, endpoint["EndpointName"])
        self._in_background(self._watch)

    def create(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """CreateEndpoint: InService once the server answers /ping, else Failed with the reason."""
        reject_unsupported("CreateEndpoint", request)
        name, config = request["EndpointName"], self._configs.describe(request["EndpointConfigName"])
        now = self._tools.clock()
        document = {
            "EndpointName": name,
            "EndpointArn": build_arn(KIND, name),
            "EndpointConfigName": config["EndpointConfigName"],
            "EndpointStatus": "Creating",
            "CreationTime": now,
            "LastModifiedTime": now,
        }
        if not self._store.create(KIND, name, document):
            raise validation_error(f'Cannot create already existing endpoint "{build_arn(KIND, name)}".')
        self._in_background(self._bring_up, name, config["EndpointConfigName"])
        return {"EndpointArn": build_arn(KIND, name)}

    def update(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """UpdateEndpoint: the new server takes over when it is healthy; until then, or if it fails, the old one answers.

        With a DeploymentConfig traffic shifts step by step, and returns to the old server when an alarm goes off.
        """
        reject_unsupported("UpdateEndpoint", request)
        name, config = request["EndpointName"], self._configs.describe(request["EndpointConfigName"])
        deployment = self._read_deployment(request, config)
        with self._lock:
            endpoint = self.describe(name)
            if endpoint["EndpointStatus"] == "Failed":
                raise validation_error(
                    f'Cannot update endpoint "{endpoint["EndpointArn"]}", which is Failed: delete it, then create it again.'
                )
            if endpoint["EndpointStatus"] != "InService":
                raise validation_error(
                    f'Cannot update in-progress endpoint "{endpoint["EndpointArn"]}", which is {endpoint["EndpointStatus"]}.'
                )
            _reject_serverless_for_instances(endpoint, config)
            if deployment is not None:
                _reject_other_variant(endpoint, config)
            pending = {"EndpointConfigName": config["EndpointConfigName"], "StartTime": self._tools.clock()}
            self._change(name, "Updating", PendingDeploymentSummary=pending, LastDeploymentConfig=request.get("DeploymentConfig"))
        self._in_background(self._bring_up, name, config["EndpointConfigName"], deployment)
        return {"EndpointArn": endpoint["EndpointArn"]}

    def describe(self, name: str) -> Document:
        """DescribeEndpoint."""
        document = self._store.get(KIND, name)
        if document is None:
            raise validation_error(f'Could not find endpoint "{build_arn(KIND, name)}".')
        return document

    def list_endpoints(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """ListEndpoints."""
        return list_documents(self._store.list_all(KIND), request, LISTING)

    def delete(self, name: str) -> None:
        """DeleteEndpoint; a server that is still starting ends after its start."""
        with self._lock:
            if self.describe(name)["EndpointStatus"] in ("Creating", "Updating", "RollingBack"):
                raise validation_error(f'Cannot update in-progress endpoint "{build_arn(KIND, name)}".')
            self._store.delete(KIND, name)
            fleet = self._variants.pop(name, None)
        if fleet is not None:
            fleet.stop()

    def invoke(self, name: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, dict[str, str], bytes]:
        """InvokeEndpoint: the server's answer, or AWS's error if the endpoint or its server cannot answer."""
        arrived = time.monotonic()
        fleet = self._variants.get(name)
        if traffic := self._shifting.get(name):
            fleet = traffic.choose(fleet)
        if fleet is None:
            raise self._make_unavailable_error(name)
        _reject_other_targets(headers, fleet.name)
        sent, status = time.monotonic(), 0
        try:
            status, answered, content = fleet.invoke(body, headers)
        except ServiceError as error:
            status = error.status
            raise
        except TimeoutError as error:
            message = "Your invocation timed out while waiting for a response from container primary."
            raise self._make_model_error(name, 0, message, "") from error
        except OSError as error:
            raise self._make_model_error(name, 503, f"The server of endpoint {name} does not answer: {error}", "") from error
        finally:
            model_s = time.monotonic() - sent
            self._metrics.note(name, fleet.name, fleet.config_name, status, model_s, sent - arrived)
        if status >= 400:
            text = content.decode(errors="replace")
            kind = "client" if status < 500 else "server"
            raise self._make_model_error(name, status, f'Received {kind} error ({status}) from primary with message "{text}".', text)
        kept = {name: value for name, value in answered.items() if name in ("content-type", "x-amzn-sagemaker-custom-attributes")}
        return 200, {**kept, "x-amzn-invoked-production-variant": fleet.name}, content

    def close(self) -> None:
        """End all servers when the plane ends; the endpoints stay in the store, and the next plane restarts them."""
        self._closing.set()
        with self._lock:
            fleets = [*self._variants.values(), *(traffic.green for traffic in self._shifting.values())]
            self._variants.clear()
        for fleet in fleets:
            fleet.stop()

    def _read_deployment(self, request: Mapping[str, Any], config: Document) -> Deployment | None:
        """Read a request's DeploymentConfig, None if it has none."""
        if "DeploymentConfig" not in request:
            return None
        deployment = Deployment.parse(request["DeploymentConfig"], config["ProductionVariants"][0].get("InitialInstanceCount", 1))
        self._alarms.require(deployment.alarms)
        return deployment

    def _bring_up(self, name: str, config_name: str, deployment: Deployment | None = None) -> None:
        """Start the server of a config and let it take over the endpoint; any error ends the endpoint's transition."""
        reason, started = "InternalServerError: the endpoint's thread ended early; see the plane's log", time.monotonic()
        try:
            fleet = self._make_variant(name, self._configs.describe(config_name))
            fleet.start()
            if deployment is not None:
                self._shift(name, fleet, deployment, started)
            self._take_over(name, fleet)
            reason = ""
        except RolledBackError as error:
            reason = f"The update to endpoint config {config_name} was rolled back: {error}"
        except START_ERRORS as error:
            reason = str(error) or repr(error)
        finally:
            if reason:
                self._keep_or_fail(name, reason)

    def _shift(self, name: str, fleet: ProductionVariant, deployment: Deployment, started: float) -> None:
        """Shift traffic to a healthy fleet step by step; raises RolledBackError after removing and stopping the fleet."""
        traffic = Traffic(fleet)
        with self._lock:
            self._shifting[name] = traffic
        kept = False
        try:
            for step in self._bake.steps(deployment, fleet, started):
                traffic.shift(step.share)
                self._report_step(name, fleet, step)
            kept = True
        finally:
            if not kept:
                with self._lock:
                    self._shifting.pop(name, None)
                    self._change(name, "RollingBack")
                fleet.stop()

    def _report_step(self, name: str, fleet: ProductionVariant, step: Step) -> None:
        now, document = self._tools.clock(), self.describe(name)
        pending = {**document["PendingDeploymentSummary"], "ProductionVariants": [fleet.describe_pending("Baking", step.message, now)]}
        self._change(name, "Updating", PendingDeploymentSummary=pending)

    def _take_over(self, name: str, fleet: ProductionVariant) -> None:
        """Let a healthy fleet answer for the endpoint, and end its predecessor."""
        with self._lock:
            self._shifting.pop(name, None)
            if self._closing.is_set() or self._store.get(KIND, name) is None:
                old: ProductionVariant | None = fleet
            else:
                old, self._variants[name] = self._variants.get(name), fleet
                changes = {"EndpointConfigName": fleet.config_name, "ProductionVariants": [fleet.describe()]}
                self._change(name, "InService", FailureReason=None, PendingDeploymentSummary=None, **changes)
        if old is not None:
            old.stop()

    def _make_variant(self, name: str, config: Document) -> ProductionVariant:
        variant = config["ProductionVariants"][0]
        model = self._models.describe(variant["ModelName"])
        folder = self._tools.home / "endpoints" / name / f"{int(self._tools.clock())}-{next(_numbers)}"
        isolated = bool(model.get("EnableNetworkIsolation", False))
        tools = self._tools.assume_role(model["ExecutionRoleArn"]) if "ExecutionRoleArn" in model else self._tools
        return ProductionVariant(ModelServer(tools, name, variant["VariantName"], model["PrimaryContainer"], folder, isolated), config)

    def _keep_or_fail(self, name: str, reason: str) -> None:
        """After a failed start, keep the old server in service and record the reason; without an old server the endpoint is Failed."""
        with self._lock:
            if self._store.get(KIND, name) is not None and not self._closing.is_set():
                status = "InService" if name in self._variants else "Failed"
                self._change(name, status, FailureReason=reason[:REASON_LIMIT], PendingDeploymentSummary=None)

    def _watch(self) -> None:
        while not self._closing.wait(WATCH_INTERVAL_S):
            self.restart_dead_servers()

    def restart_dead_servers(self) -> None:
        """Restart servers that have ended by themselves; after a few times in a row the endpoint is Failed."""
        for name, fleet in list(self._variants.items()):
            if not fleet.is_alive():
                self._restart(name, fleet)

    def _restart(self, name: str, dead: ProductionVariant) -> None:
        with self._lock:
            # During an update the new server takes over, or the next check after the update finds the dead one.
            if self._variants.get(name) is not dead or self._closing.is_set() or self.describe(name)["EndpointStatus"] != "InService":
                return
            del self._variants[name]
            tail = dead.read_log_tail()
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

    def _make_unavailable_error(self, name: str) -> ServiceError:
        with contextlib.suppress(ServiceError):
            status = self.describe(name)["EndpointStatus"]
            return ServiceError("ValidationError", f"Endpoint {name} of account {ACCOUNT} is not InService: it is {status}.")
        return ServiceError("ValidationError", f"Endpoint {name} of account {ACCOUNT} not found.")

    def _make_model_error(self, name: str, status: int, message: str, original: str) -> ServiceError:
        where = f"See the log group {LOG_GROUP}/{name} in account {ACCOUNT} for more information."
        stream = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{LOG_GROUP}/{name}"
        members = {"OriginalStatusCode": status, "OriginalMessage": original, "LogStreamArn": stream}
        return ServiceError("ModelError", f"{message} {where}", 424, members)

    def _in_background(self, work: Any, *arguments: Any) -> None:
        threading.Thread(target=work, args=arguments, daemon=True, name=f"endpoint-{work.__name__}").start()


def _reject_serverless_for_instances(endpoint: Document, config: Document) -> None:
    """Reject a change from instances to serverless, as AWS does; the other direction is allowed."""
    now = endpoint.get("ProductionVariants", [{}])[0]
    if "ServerlessConfig" in config["ProductionVariants"][0] and "CurrentServerlessConfig" not in now:
        raise validation_error(
            f'Cannot update endpoint "{endpoint["EndpointArn"]}", which has instances, to a serverless one: create a new endpoint.'
        )


def _reject_other_variant(endpoint: Document, config: Document) -> None:
    """Reject another variant name: AWS shifts traffic only between two fleets of one variant."""
    old, new = endpoint["ProductionVariants"][0]["VariantName"], config["ProductionVariants"][0]["VariantName"]
    if old != new:
        raise validation_error(
            f"With a DeploymentConfig the new endpoint config must have the variant names of the old one: it has {new!r} instead of {old!r}"
        )


def _reject_other_targets(headers: Mapping[str, str], variant: str) -> None:
    """Reject a request for another variant or model: an endpoint in local mode has one model in one variant."""
    for field, header in TARGET_HEADERS.items():
        chosen = headers.get(header)
        if chosen and not (field == "TargetVariant" and chosen == variant):
            raise ServiceError(
                "ValidationError", f"{field} {chosen!r} is not supported in local mode: this endpoint has only the variant {variant!r}"
            )
