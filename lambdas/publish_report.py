"""PublishReport, a state near the end: writes down what the execution did and what it cost, beside what it had been expected to cost.

Runs in AWS Lambda. Called by the state machine, after a failure by its state PublishFailure, with

    {"run": "whippet-261122160000-1a2b", "outcome": <what the execution says of itself>, "plan": {"cost": <PrepareExecution's estimate>, …}}

and answers {"bill": {"jobs": [{"name", "kind", "instance_type", "jobs", "seconds", "usd", "on_demand_usd"}], "total_usd", "on_demand_usd",
"notes", "endpoint_per_hour"}, "uri": "s3://<bucket>/executions/<run>/execution.json"}, where that document holds all of it.
"""

import json
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from lambdas.aws.clients import client
from lambdas.aws.log import log
from lambdas.planning.bill import bill_of
from lambdas.planning.prices import read_prices

SCHEMA_VERSION = 1

Clock = Callable[[], datetime]


def handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """Entry point of the Lambda function."""
    bucket, region = os.environ["BUCKET"], os.environ["AWS_REGION"]
    answer = publish(event, bucket, region, client("sagemaker"), client("s3"), lambda: datetime.now(UTC))
    log("Published", execution=event["run"], uri=answer["uri"], total_usd=answer["bill"]["total_usd"])
    return answer


def publish(event: Mapping[str, Any], bucket: str, region: str, sagemaker: Any, s3: Any, clock: Clock) -> dict[str, Any]:
    """The answer described above, once the document lies in the bucket."""
    run, cost = event["run"], event["plan"].get("cost") or {}
    bill = bill_of(run, sagemaker, read_prices(s3, bucket, region).per_hour).to_json()
    bill["endpoint_per_hour"] = cost.get("endpoint_per_hour")
    document = {
        "schema_version": SCHEMA_VERSION,
        "run": run,
        "written": clock().isoformat(timespec="seconds"),
        "outcome": event["outcome"],
        "estimate": cost,
        "bill": bill,
    }
    key = f"executions/{run}/execution.json"
    body = json.dumps(document, indent=2, ensure_ascii=False).encode("utf-8", "backslashreplace")
    s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType="application/json")
    return {"bill": bill, "uri": f"s3://{bucket}/{key}"}
