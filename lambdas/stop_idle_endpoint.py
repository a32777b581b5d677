"""StopIdleEndpoint: deletes the endpoint once nobody has asked it anything for a while, since its machines cost by the hour.

Runs in AWS Lambda, on a schedule, with any event; PROJECT and IDLE_HOURS stand in its environment. The endpoint config and the model stay,
and cost nothing: the next request to the API wakes the endpoint with them (lambdas/aws/endpoint_waking.py), within some minutes.

Left alone: an endpoint that was created, updated or scaled within those hours (its LastModifiedTime), one that is being changed, one that
is serverless, and one whose config was never recorded as deployed or is not the newest that was, since nothing would wake it as it was.
One that has failed answers nobody: after an hour it is deleted too, and the next request tries to bring it up again.

Answers {"deleted": true | false, "reason": sentence}.
"""

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from lambdas.aws.clients import client
from lambdas.aws.endpoint import VARIANT, Endpoint, look_at_endpoint
from lambdas.aws.jobs import run_of
from lambdas.aws.log import log
from lambdas.aws.model_registry import newest_deployed

FAILED_FOR = timedelta(hours=1)
"""How long a failed endpoint stays: the execution that made it looks after it meanwhile."""

KNOWN = ("Complete", "PartialData")
"""What CloudWatch says of values that are all, or all of a page. It may also answer without an error and without values: InternalError."""

Clock = Callable[[], datetime]


class UnknownRequests(Exception):  # noqa: N818 - the name is what the log shows
    """No answer is not the answer that nobody asked; Lambda tries again, and so does the schedule."""


def handler(_event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """Entry point of the Lambda function."""
    idle = timedelta(hours=float(os.environ["IDLE_HOURS"]))
    return stop_idle(os.environ["PROJECT"], idle, client("sagemaker"), client("cloudwatch"), lambda: datetime.now(UTC))


def stop_idle(project: str, idle: timedelta, sagemaker: Any, cloudwatch: Any, clock: Clock) -> dict[str, Any]:
    """The answer described above."""
    if idle <= timedelta():
        raise ValueError(
            f"IDLE_HOURS must be above 0, got {idle.total_seconds() / 3600:g}; without an idle time this function has no schedule"
        )
    endpoint, now = look_at_endpoint(sagemaker, project), clock()
    if endpoint is None:
        return told(project, "there is no endpoint", deleted=False)
    stays = why_it_stays(endpoint, project, idle, now, sagemaker) or used(project, idle, now, cloudwatch)
    if stays:
        return told(project, stays, deleted=False, run=run_of(endpoint.config))
    sagemaker.delete_endpoint(EndpointName=project)
    reason = "it has failed" if endpoint.status == "Failed" else f"nobody asked it anything for {hours(idle)}"
    return told(project, reason, deleted=True, run=run_of(endpoint.config))


def why_it_stays(endpoint: Endpoint, project: str, idle: timedelta, now: datetime, sagemaker: Any) -> str:
    """A reason that has nothing to do with requests; empty where there is none."""
    if endpoint.status not in ("InService", "Failed"):
        return f"it is {endpoint.status}"
    if endpoint.is_serverless:
        return "it is serverless, and costs nothing while nobody asks it anything"
    calm = FAILED_FOR if endpoint.status == "Failed" else idle
    if now - endpoint.changed < calm:
        return f"it was changed less than {hours(calm)} ago"
    newest = newest_deployed(sagemaker, project)
    if newest is None or newest.endpoint_config != endpoint.config:
        return (
            f"it serves {endpoint.config}, which is not the newest deployed version's endpoint config, so it would not come back as it is"
        )
    return ""


def used(project: str, idle: timedelta, now: datetime, cloudwatch: Any) -> str:
    """A reason where requests came within that time; SageMaker writes no metric at all while none do."""
    count = invocations(project, idle, now, cloudwatch)
    return f"it was asked {count:.0f} times within {hours(idle)}" if count else ""


def invocations(project: str, idle: timedelta, now: datetime, cloudwatch: Any) -> float:
    """How many requests the endpoint got, over all pages and hours."""
    dimensions = [{"Name": "EndpointName", "Value": project}, {"Name": "VariantName", "Value": VARIANT}]
    metric = {"Namespace": "AWS/SageMaker", "MetricName": "Invocations", "Dimensions": dimensions}
    query = {"Id": "invocations", "MetricStat": {"Metric": metric, "Period": 300, "Stat": "Sum"}, "ReturnData": True}
    pages = cloudwatch.get_paginator("get_metric_data").paginate(MetricDataQueries=[query], StartTime=now - idle, EndTime=now)
    results = [result for page in pages for result in page["MetricDataResults"]]
    for result in results:
        if result["StatusCode"] not in KNOWN:
            raise UnknownRequests(f"CloudWatch did not say how often {project} was asked ({result['StatusCode']}), so it stays")
    return float(sum(value for result in results for value in result["Values"]))


def told(project: str, reason: str, *, deleted: bool, run: str = "") -> dict[str, Any]:
    """The answer, which the log gets too."""
    log("EndpointDeleted" if deleted else "EndpointKept", execution=run, endpoint=project, reason=reason)
    return {"deleted": deleted, "reason": reason}


def hours(time: timedelta) -> str:
    """`24 hours`"""
    count = time.total_seconds() / 3600
    return "an hour" if count == 1 else f"{count:g} hours"
