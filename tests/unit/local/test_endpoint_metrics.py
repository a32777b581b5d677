"""Metrics of endpoints and events of state changes, sent to fakes of CloudWatch and EventBridge: what they hold, and what may fail."""

import json
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import EndpointConnectionError

from local.hosting.endpoint_metrics import EndpointMetrics
from local.storage.state_changes import KINDS, SERVICE_EVENTS_TARGET, StateChanges, make_detail
from local.storage.store import Store
from tests.fixtures.local.fake_metrics import FakeCloudWatch


def test_invocations_are_counted_by_variant_and_by_config() -> None:
    cloudwatch = FakeCloudWatch()
    metrics = EndpointMetrics(cloudwatch, interval_s=3600)
    for status, model_s in ((200, 0.01234), (200, 0.01231), (400, 0.002), (503, 0.1), (0, 60.0)):
        metrics.note("e", "AllTraffic", "c", status, model_s, 0.0001)
    metrics.close()
    of_variant = {datum["MetricName"]: datum for datum in cloudwatch.sent if len(datum["Dimensions"]) == 2}
    assert {datum["Namespace"] for datum in cloudwatch.sent} == {"AWS/SageMaker"} and len(cloudwatch.sent) == 10
    assert of_variant["Invocations"]["Dimensions"] == [
        {"Name": "EndpointName", "Value": "e"}, {"Name": "VariantName", "Value": "AllTraffic"},
    ]  # fmt: skip

    def values(metric: str) -> dict[float, float]:
        return dict(zip(of_variant[metric]["Values"], of_variant[metric]["Counts"], strict=True))

    assert values("Invocations") == {1.0: 5.0}
    assert values("Invocation4XXErrors") == {0.0: 4.0, 1.0: 1.0}
    assert values("Invocation5XXErrors") == {0.0: 3.0, 1.0: 2.0}
    assert values("ModelLatency") == {12000.0: 2.0, 2000.0: 1.0, 100000.0: 1.0, 60000000.0: 1.0}
    assert of_variant["ModelLatency"]["Unit"] == "Microseconds" and values("OverheadLatency") == {100.0: 5.0}
    of_config = [datum for datum in cloudwatch.sent if len(datum["Dimensions"]) == 3]
    assert {datum["Dimensions"][2]["Value"] for datum in of_config} == {"c"}


def test_a_cloudwatch_that_is_away_loses_metrics_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    cloudwatch = FakeCloudWatch()
    cloudwatch.away = True
    metrics = EndpointMetrics(cloudwatch, interval_s=3600)
    metrics.note("e", "v", "c", 200, 0.1, 0.1)
    metrics.flush()
    cloudwatch.away = False
    metrics.note("e", "v", "c", 200, 0.1, 0.1)
    metrics.close()
    assert "metrics of endpoints were dropped" in caplog.text
    assert [datum["Counts"] for datum in cloudwatch.sent if datum["MetricName"] == "Invocations"] == [[1.0], [1.0]]


class Events:
    """A boto3 client of EventBridge whose requests are kept instead of sent."""

    def __init__(self) -> None:
        once = Config(retries={"total_max_attempts": 1})
        self.client = boto3.client("events", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b", config=once)
        self.client.meta.events.register_last("before-send.eventbridge.PutEvents", self._keep)
        self.sent: list[tuple[str, dict[str, Any]]] = []

    def _keep(self, request: Any, **_named: Any) -> Any:
        target = request.headers["X-Amz-Target"]
        self.sent += [(target if isinstance(target, str) else target.decode(), each) for each in json.loads(request.body)["Entries"]]
        raise EndpointConnectionError(endpoint_url="http://127.0.0.1:1")


def test_changes_of_state_are_told_in_the_words_of_aws(tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    """The fake does not answer either, which loses events and nothing else."""
    store, events = Store(tmp_path), Events()
    changes = StateChanges(events.client, lambda _arn: {"project": "whippet"})
    store.watch(changes.notice)
    store.create("endpoint", "e", {"EndpointName": "e", "EndpointArn": "arn:e", "EndpointStatus": "Creating", "_own": 1})
    store.update("endpoint", "e", EndpointStatus="InService", CreationTime=1592411992.203)
    store.update("endpoint", "e", LastModifiedTime=3.0)
    store.delete("endpoint", "e")
    store.create("model", "m", {"ModelName": "m"})
    store.create("training-job", "j", {"TrainingJobArn": "arn:j", "TrainingJobStatus": "InProgress", "SecondaryStatus": "Starting"})
    changes.close()
    assert [(target, entry["Source"], entry["DetailType"]) for target, entry in events.sent] == [
        *[(SERVICE_EVENTS_TARGET, "aws.sagemaker", "SageMaker Endpoint State Change")] * 3,
        (SERVICE_EVENTS_TARGET, "aws.sagemaker", "SageMaker Training Job State Change"),
    ]
    details = [json.loads(entry["Detail"]) for _target, entry in events.sent]
    assert [detail.get("EndpointStatus") for detail in details] == ["CREATING", "IN_SERVICE", "DELETING", None]
    assert details[1]["CreationTime"] == 1592411992203 and details[1]["Tags"] == {"project": "whippet"} and "_own" not in details[1]
    assert events.sent[0][1]["Resources"] == ["arn:e"] and "an event of arn:e was dropped" in caplog.text


def test_the_kinds_that_are_told_are_kinds_of_the_plane() -> None:
    from local.hosting import endpoints, model_packages
    from local.jobs import processing_jobs, training_jobs
    from local.tuning import tuning_jobs

    kinds = {endpoints.KIND, training_jobs.KIND, processing_jobs.KIND, tuning_jobs.KIND, model_packages.PACKAGE}
    assert set(KINDS) == kinds
    assert make_detail({"EndpointStatus": "UpdateRollbackFailed"}) == {"EndpointStatus": "UPDATE_ROLLBACK_FAILED"}
