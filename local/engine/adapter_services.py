"""Adds services around SageMaker to the engine: a CloudFormation resource, events, alarms, notifications, scaling.

Runs in the engine process; `local.engine.adapter` installs it. Its private names of ministack are in SEAMS.
"""

import asyncio
import functools
import json
import re
import threading
import time
import types
from collections.abc import Mapping
from typing import Any

from ministack import app
from ministack.core import router
from ministack.services import cloudformation, cloudwatch, eventbridge
from ministack.services import stepfunctions as sfn
from ministack.services.cloudformation import provisioners, stacks

from local.engine.plane_client import PlaneClient, PlaneUnreachableError
from local.engine.stack_resources import TYPE as GROUP_TYPE
from local.engine.stack_resources import ModelPackageGroupResource
from local.hosting.scaling import SERVICE as SCALING
from local.hosting.scaling import TARGET_PREFIX as SCALING_PREFIX
from local.storage.state_changes import SERVICE_EVENTS_TARGET

SEAMS: tuple[tuple[str, str], ...] = (
    ("ministack.services.cloudformation.provisioners", "_RESOURCE_HANDLERS"),
    ("ministack.services.cloudformation.provisioners", "_STACK_TAG_PROPERTY"),
    ("ministack.services.cloudformation.stacks", "_runs_on_worker_thread"),
    ("ministack.services.cloudwatch", "_dims_from_list"),
    ("ministack.services.cloudwatch", "_dims_key"),
    ("ministack.services.cloudwatch", "_evaluate_alarm"),
    ("ministack.services.cloudwatch", "_evaluate_all_alarms"),
    ("ministack.services.cloudwatch", "_metrics"),
    ("ministack.services.cloudwatch", "_set_alarm_state"),
    ("ministack.services.eventbridge", "_events_log_list"),
    ("ministack.services.eventbridge", "_put_events"),
    ("ministack.services.stepfunctions", "_ExecutionError"),
    ("ministack.services.stepfunctions", "_SERVICE_DISPATCH"),
)
PUBLISH = "arn:aws:states:::sns:publish"
ALARM_INTERVAL_S = 60.0
# The state of an alarm without data, by its TreatMissingData; None keeps its state.
MISSING_DATA = {"notBreaching": "OK", "breaching": "ALARM", "ignore": None}
NOT_OF_THE_ANSWER = ("content-length", "connection", "date", "server", "transfer-encoding")

HttpAnswer = tuple[int, dict[str, str], bytes]


def install(client: PlaneClient) -> None:
    """Install the services before the engine serves."""
    _add_model_package_groups(ModelPackageGroupResource(client))
    _add_scaling(client)
    _accept_service_events()
    _evaluate_alarms()
    _name_topic_errors()


async def forward(client: PlaneClient, method: str, path: str, headers: Mapping[str, str], body: Any) -> HttpAnswer:
    """Forward a request to the plane; answers 503 when the plane does not run."""
    wanted = {name: value for name, value in headers.items() if name.startswith("x-amz") or name in ("content-type", "accept")}
    payload = body if isinstance(body, bytes) else str(body).encode()
    try:
        answer = await asyncio.to_thread(client.forward, method, path, wanted, payload)
    except PlaneUnreachableError as error:
        said = json.dumps({"__type": "ServiceUnavailable", "message": str(error)}).encode()
        return 503, {"Content-Type": "application/x-amz-json-1.1"}, said
    return answer.status, {name: value for name, value in answer.headers.items() if name not in NOT_OF_THE_ANSWER}, answer.body


def _add_model_package_groups(groups: ModelPackageGroupResource) -> None:
    """Add the only SageMaker resource that a stack may contain."""
    provisioners._RESOURCE_HANDLERS[GROUP_TYPE] = {"create": groups.create, "update": groups.update, "delete": groups.delete}
    provisioners._STACK_TAG_PROPERTY[GROUP_TYPE] = ("Tags", "list")
    on_worker = stacks._runs_on_worker_thread
    # The call of the plane may take long, and would block the engine's other work.
    stacks._runs_on_worker_thread = lambda kind: kind == GROUP_TYPE or on_worker(kind)
    load = app._load_persisted_state

    def names() -> set[str]:
        return {str(stack.get("StackName")) for stack in cloudformation._stacks.all_values()}

    @functools.wraps(load)
    def load_and_drop() -> None:
        load()
        threading.Thread(target=groups.drop_ownerless, args=(names,), daemon=True, name="drop-ownerless-groups").start()

    app._load_persisted_state = load_and_drop


def _add_scaling(client: PlaneClient) -> None:
    """Add Application Auto Scaling, which the plane implements."""

    async def handle(method: str, path: str, headers: Mapping[str, str], body: Any, _query: Any) -> HttpAnswer:
        return await forward(client, method, path, headers, body)

    app.SERVICE_HANDLERS[SCALING] = handle
    router.SERVICE_PATTERNS[SCALING] = {"target_prefixes": [SCALING_PREFIX], "host_patterns": []}


def _accept_service_events() -> None:
    """Accept events of source aws.sagemaker from the plane: EventBridge accepts them only from AWS's own services."""

    async def handle(_method: str, _path: str, _headers: Any, body: bytes, _query: Any) -> Any:
        answer = eventbridge._put_events(json.loads(body), allow_aws_source=True)
        eventbridge._events_log_list().clear()  # unused, and would grow without limit
        return answer

    service, _, _operation = SERVICE_EVENTS_TARGET.partition(".")
    app.SERVICE_HANDLERS[service] = handle
    router.SERVICE_PATTERNS[service] = {"target_prefixes": [f"{service}."], "host_patterns": []}


def _evaluate_alarms() -> None:
    """Make alarms use the metric of their own dimensions only, apply TreatMissingData, and run every minute too."""
    evaluate = cloudwatch._evaluate_alarm

    @functools.wraps(evaluate)
    def evaluate_own_metric(alarm: dict[str, Any]) -> None:
        if not alarm.get("MetricName"):
            return
        dimensions = cloudwatch._dims_key(cloudwatch._dims_from_list(alarm.get("Dimensions") or []))
        wanted = (alarm.get("Namespace"), alarm["MetricName"], dimensions)
        points = list(cloudwatch._metrics.get(wanted) or ())
        since = time.time() - alarm.get("Period", 60) * alarm.get("EvaluationPeriods", 1)
        if any(point["Timestamp"] >= since for point in points):
            # Run its code, which reads the global _metrics, with only this metric.
            types.FunctionType(evaluate.__code__, {**vars(cloudwatch), "_metrics": {wanted: points}})(alarm)
            return
        state = MISSING_DATA.get(alarm.get("TreatMissingData", "missing"), "INSUFFICIENT_DATA")
        if state is not None and alarm["StateValue"] != state:
            changes = {"AlarmName": alarm["AlarmName"], "StateValue": state, "StateReason": "no datapoints were received"}
            cloudwatch._set_alarm_state({}, changes, True)

    def look_every_minute() -> None:
        while True:
            time.sleep(ALARM_INTERVAL_S)
            cloudwatch._evaluate_all_alarms()

    cloudwatch._evaluate_alarm = evaluate_own_metric
    threading.Thread(target=look_every_minute, daemon=True, name="judge-alarms").start()


def _name_topic_errors() -> None:
    """Give a task that publishes to a topic the name of SNS's error, such as SNS.NotFoundException."""
    publish = sfn._SERVICE_DISPATCH[PUBLISH]

    @functools.wraps(publish)
    def publish_and_name(resource: str, request: Any) -> Any:
        try:
            return publish(resource, request)
        except sfn._ExecutionError as failure:
            found = dict(re.findall(r"<(Code|Message)>([^<]*)</", failure.cause or ""))
            if "Code" not in found:
                raise
            name = f"SNS.{found['Code'].removesuffix('Exception')}Exception"
            raise sfn._ExecutionError(name, f"{found.get('Message', '')} (Service: AmazonSNS)") from failure

    sfn._SERVICE_DISPATCH[PUBLISH] = publish_and_name
