"""AssessModel: reads what the rules said of the final training job, and decides whether its model may be deployed.

Runs in AWS Lambda. Called by the state machine with

    {"folder": "s3://…/training/<job>", "debugger": "embedded" | "managed" | "off", "block_deployment": [rule, …],
     "rule_statuses": […], "profiler_rule_statuses": […], "warnings": [sentence, …]}

where the statuses are DescribeTrainingJob's, of a managed job; those of an embedded one lie in its report. Answers

    {"deploy": true | false, "reasons": [sentence, …], "warnings": [sentence, …], "rule_statuses": […], "profiler_rule_statuses": […]}

A rule that gives no verdict keeps no model back: it says nothing against it. The warnings tell.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import boto3
from botocore.exceptions import ClientError

SHOWN = ("RuleConfigurationName", "RuleEvaluationStatus", "StatusDetails")
"""What goes into the execution's output; an execution holds no more than 256 KB, and the report holds the rest."""

MOST_DETAILS = 500
"""Characters of StatusDetails that do."""

STATUSES = ("rule_statuses", "profiler_rule_statuses")
"""Keys of the event and of the answer, and the names of the report's files."""

UNFINISHED = ("InProgress", "Stopping")

Status = dict[str, str]


def handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """Entry point of the Lambda function."""
    return assess(event, s3_client())


def assess(event: Mapping[str, Any], s3: Any) -> dict[str, Any]:
    """The answer described above."""
    embedded = event["debugger"] == "embedded"
    problems: list[str] = []
    statuses = {key: shortened(reported(s3, event["folder"], key, problems) if embedded else event[key]) for key in STATUSES}
    verdicts = {status["RuleConfigurationName"]: status for key in STATUSES for status in statuses[key]}
    reasons = [reason for rule in event["block_deployment"] for reason in against(rule, verdicts)]
    warnings = [*event["warnings"], *problems, *unjudged(event["block_deployment"], verdicts), *unfinished(verdicts.values())]
    return {"deploy": not reasons, "reasons": reasons, "warnings": warnings, **statuses}


def reported(s3: Any, folder: str, name: str, problems: list[str]) -> Sequence[Mapping[str, Any]]:
    """The statuses in a file of the report, and in `problems` a sentence where it, or one of them, is not what a training job writes."""
    bucket, _, prefix = folder.removeprefix("s3://").partition("/")
    key = f"{prefix}/report/{name}.json"
    try:
        written = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchKey":
            problems.append(f"s3://{bucket}/{key} is missing, so nothing is known of its rules")
            return []
        raise
    try:
        statuses = json.loads(written.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        problems.append(f"s3://{bucket}/{key} is damaged ({type(error).__name__}), so nothing is known of its rules")
        return []
    if not isinstance(statuses, list):
        problems.append(f"s3://{bucket}/{key} is damaged (it holds no list), so nothing is known of its rules")
        return []
    whole = [status for status in statuses if is_status(status)]
    if lost := len(statuses) - len(whole):
        problems.append(f"s3://{bucket}/{key} is damaged: {lost} of its {len(statuses)} entries are no verdict of a rule, and are not used")
    return whole


def is_status(entry: object) -> bool:
    """Whether this is a rule's verdict: its name and its status, texts both."""
    return isinstance(entry, dict) and all(isinstance(entry.get(key), str) and entry[key] for key in SHOWN[:2])


def shortened(statuses: Iterable[Mapping[str, Any]]) -> list[Status]:
    """Each status as it may stand in the execution's output."""
    return [{key: str(status.get(key) or "")[:MOST_DETAILS] for key in SHOWN} for status in statuses]


def against(rule: str, verdicts: Mapping[str, Status]) -> list[str]:
    """Why this rule keeps the model back, a sentence; none where it does not."""
    status = verdicts.get(rule)
    if status is None or status["RuleEvaluationStatus"] != "IssuesFound":
        return []
    return [f"rule {rule} found an issue, and rules.block_deployment names it: {details(status)}"]


def unjudged(rules: Iterable[str], verdicts: Mapping[str, Status]) -> list[str]:
    """A sentence for each rule that could have kept the model back, had it said anything."""
    kept = "so it does not keep the model from being deployed, as rules.block_deployment has it"
    sentences = []
    for rule in rules:
        status = verdicts.get(rule)
        if status is None:
            sentences.append(f"rule {rule} gave no verdict, {kept}")
        elif status["RuleEvaluationStatus"] not in ("NoIssuesFound", "IssuesFound", *UNFINISHED):
            sentences.append(f"rule {rule} could not judge ({status['RuleEvaluationStatus']}: {details(status)}), {kept}")
    return sentences


def unfinished(statuses: Iterable[Status]) -> list[str]:
    """A sentence for each rule that was not waited for any longer."""
    return [
        f"rule {status['RuleConfigurationName']} was still {status['RuleEvaluationStatus']} when the execution went on without its verdict"
        for status in statuses
        if status["RuleEvaluationStatus"] in UNFINISHED
    ]


def details(status: Status) -> str:
    """What the rule said, without the full stop."""
    return status["StatusDetails"].rstrip(". ") or "it gave no details"


@cache
def s3_client() -> Any:
    """One client for each warm worker."""
    return boto3.client("s3")
