"""The events that SageMaker sends to EventBridge when a job, an endpoint or a model package changes its state.

Runs in the SageMaker plane, on a thread of its own. EventBridge takes no events of source aws.sagemaker from anybody but the service
itself, so they go to an operation that only the engine's adapter has. Events that the engine does not take are lost, with a line in
the plane's log; AWS too promises no more than its best effort.
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
"""What the adapter knows events of AWS's own services by; as an AWS call it is PutEvents."""
MOST_BYTES = 250_000
log = logging.getLogger("state-changes")


@dataclass(frozen=True)
class Kind:
    """How one kind of document is told about: the event's name, its ARN's field, and the fields whose change is an event."""

    event: str
    arn: str
    watched: tuple[str, ...]


KINDS = {
    "endpoint": Kind("SageMaker Endpoint State Change", "EndpointArn", ("EndpointStatus",)),
    "training-job": Kind("SageMaker Training Job State Change", "TrainingJobArn", ("TrainingJobStatus", "SecondaryStatus")),
    "processing-job": Kind("SageMaker Processing Job State Change", "ProcessingJobArn", ("ProcessingJobStatus",)),
    "tuning-job": Kind(
        "SageMaker HyperParameter Tuning Job State Change", "HyperParameterTuningJobArn", ("HyperParameterTuningJobStatus",)
    ),
    "model-package": Kind("SageMaker Model Package State Change", "ModelPackageArn", ("ModelPackageStatus", "ModelApprovalStatus")),
}


class StateChanges:
    """Hears of each change in the store and sends the events."""

    def __init__(self, events: Any, tags_of: Callable[[str], Mapping[str, str]] = lambda _arn: {}) -> None:
        """Send with `events`, a boto3 client of EventBridge; `tags_of` gives the tags of an ARN."""
        self._events = events
        self._tags_of = tags_of
        self._waiting: queue.SimpleQueue[tuple[Kind, Document] | None] = queue.SimpleQueue()
        events.meta.events.register("before-call.eventbridge.PutEvents", _as_the_service)
        self._thread = threading.Thread(target=self._run, daemon=True, name="state-changes")
        self._thread.start()

    def heard(self, kind: str, before: Document | None, after: Document | None) -> None:
        """A document was made, changed or, with None after it, deleted. Returns at once; the store is locked meanwhile."""
        told = KINDS.get(kind)
        if told is None:
            return
        if after is None and kind == "endpoint" and before is not None:
            self._waiting.put((told, {**before, "EndpointStatus": "Deleting"}))
        elif after is not None and any((before or {}).get(field) != after.get(field) for field in told.watched):
            self._waiting.put((told, dict(after)))

    def close(self) -> None:
        """Send what waits, and end."""
        self._waiting.put(None)
        self._thread.join(10.0)

    def _run(self) -> None:
        while (each := self._waiting.get()) is not None:
            kind, document = each
            try:
                self._events.put_events(Entries=[self._entry(kind, document)])
            except (BotoCoreError, ClientError) as error:
                log.warning("an event of %s is lost: %s", document[kind.arn], error)

    def _entry(self, kind: Kind, document: Document) -> dict[str, Any]:
        detail = {**detail_of(document), "Tags": dict(self._tags_of(document[kind.arn]))}
        if len(json.dumps(detail)) > MOST_BYTES:
            detail = {key: value for key, value in detail.items() if isinstance(value, str | int)}
        return {"Source": "aws.sagemaker", "DetailType": kind.event, "Resources": [document[kind.arn]], "Detail": json.dumps(detail)}


def detail_of(document: Document) -> Document:
    """A description as an event holds it: times in milliseconds, and an endpoint's status in capitals, as in IN_SERVICE."""
    detail = {key: _in_milliseconds(key, value) for key, value in document.items() if not key.startswith("_")}
    if "EndpointStatus" in detail:
        detail["EndpointStatus"] = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", detail["EndpointStatus"]).upper()
    return detail


def _in_milliseconds(key: str, value: Any) -> Any:
    return int(value * 1000) if key.endswith("Time") and isinstance(value, int | float) else value


def _as_the_service(params: dict[str, Any], **_named: Any) -> None:
    params["headers"]["X-Amz-Target"] = SERVICE_EVENTS_TARGET
