"""Sends SageMaker's events to EventBridge when a job, an endpoint or a model package changes its state.

Runs in the SageMaker plane, on its own thread. EventBridge accepts events of source aws.sagemaker only from the service itself, so
the plane sends them to an operation that only the engine's adapter has. An event that cannot be sent is dropped with a line in the
plane's log; on AWS too, delivery is best effort.
"""

import json
import logging
import queue
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local.storage.store import Document

SERVICE_EVENTS_TARGET = "WhippetServiceEvents.PutEvents"
"""The adapter's operation for events of AWS's own services; otherwise the call is PutEvents."""
MOST_BYTES = 250_000
log = logging.getLogger("state-changes")


@dataclass(frozen=True)
class EventKind:
    """How one kind of document becomes an event: the event's name, the ARN's field, and the fields whose changes cause an event."""

    event: str
    arn: str
    watched: tuple[str, ...]


KINDS = {
    "endpoint": EventKind("SageMaker Endpoint State Change", "EndpointArn", ("EndpointStatus",)),
    "training-job": EventKind("SageMaker Training Job State Change", "TrainingJobArn", ("TrainingJobStatus", "SecondaryStatus")),
    "processing-job": EventKind("SageMaker Processing Job State Change", "ProcessingJobArn", ("ProcessingJobStatus",)),
    "tuning-job": EventKind(
        "SageMaker HyperParameter Tuning Job State Change", "HyperParameterTuningJobArn", ("HyperParameterTuningJobStatus",)
    ),
    "model-package": EventKind("SageMaker Model Package State Change", "ModelPackageArn", ("ModelPackageStatus", "ModelApprovalStatus")),
}


class StateChanges:
    """Watches the store and sends the events."""

    def __init__(self, events: Any, tags_of: Callable[[str], Mapping[str, str]] = lambda _arn: {}) -> None:
        """Send with `events`, a boto3 client of EventBridge; `tags_of` returns the tags of an ARN."""
        self._events = events
        self._tags_of = tags_of
        self._queue: queue.SimpleQueue[tuple[EventKind, Document] | None] = queue.SimpleQueue()
        events.meta.events.register("before-call.eventbridge.PutEvents", _set_service_target)
        self._thread = threading.Thread(target=self._run, daemon=True, name="state-changes")
        self._thread.start()

    def notice(self, kind: str, before: Document | None, after: Document | None) -> None:
        """Queue the event of a document that was created, changed or (`after` is None) deleted. The store is locked: returns at once."""
        event_kind = KINDS.get(kind)
        if event_kind is None:
            return
        if after is None and kind == "endpoint" and before is not None:
            self._queue.put((event_kind, {**before, "EndpointStatus": "Deleting"}))
        elif after is not None and any((before or {}).get(field) != after.get(field) for field in event_kind.watched):
            self._queue.put((event_kind, dict(after)))

    def close(self) -> None:
        """Send the queued events, and end."""
        self._queue.put(None)
        self._thread.join(10.0)

    def _run(self) -> None:
        while (each := self._queue.get()) is not None:
            kind, document = each
            try:
                self._events.put_events(Entries=[self._entry(kind, document)])
            except (BotoCoreError, ClientError) as error:
                log.warning("an event of %s was dropped: %s", document[kind.arn], error)

    def _entry(self, kind: EventKind, document: Document) -> dict[str, Any]:
        detail = {**make_detail(document), "Tags": dict(self._tags_of(document[kind.arn]))}
        if len(json.dumps(detail)) > MOST_BYTES:
            detail = {key: value for key, value in detail.items() if isinstance(value, str | int)}
        return {"Source": "aws.sagemaker", "DetailType": kind.event, "Resources": [document[kind.arn]], "Detail": json.dumps(detail)}


def make_detail(document: Document) -> Document:
    """Convert a description to an event's detail: times in milliseconds, an endpoint's status in capitals, as in IN_SERVICE."""
    detail = {key: _to_milliseconds(key, value) for key, value in document.items() if not key.startswith("_")}
    if "EndpointStatus" in detail:
        detail["EndpointStatus"] = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", detail["EndpointStatus"]).upper()
    return detail


def _to_milliseconds(key: str, value: Any) -> Any:
    return int(value * 1000) if key.endswith("Time") and isinstance(value, int | float) else value


def _set_service_target(params: dict[str, Any], **_named: Any) -> None:
    params["headers"]["X-Amz-Target"] = SERVICE_EVENTS_TARGET
