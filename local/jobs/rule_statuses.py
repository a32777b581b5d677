"""The verdicts of a training job's rules as DescribeTrainingJob tells them.

Runs in the SageMaker plane. The programs that judge write lists of statuses as JSON; what they did not write, or never finished, is an
Error here and never NoIssuesFound.
"""

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from local.api.account import build_arn
from local.jobs.container import REASON_LIMIT, Document
from local.jobs.rule_requests import profiling
from training.contract.rules import FINAL_STATUSES, UNFINISHED_STATUSES

DEBUG, PROFILER = "DebugRuleEvaluationStatuses", "ProfilerRuleEvaluationStatuses"
CONFIGURATIONS = {DEBUG: "DebugRuleConfigurations", PROFILER: "ProfilerRuleConfigurations"}
# A name of the service's rule jobs: so much of the training job's name, so much of the rule's, eight digits.
_NAME_PART, _DIGITS = 26, 8

Verdicts = Mapping[str, Mapping[str, Any]]
"""What a program wrote, by RuleConfigurationName."""


def first_statuses(request: Mapping[str, Any], now: float) -> Document:
    """The members of a new job's document: whether it is profiled, and each of its rules InProgress."""
    members: Document = {"ProfilingStatus": "Enabled" if profiling(request) else "Disabled"}
    for field, configurations in CONFIGURATIONS.items():
        if rules := request.get(configurations):
            members[field] = [_status(request["TrainingJobName"], rule["RuleConfigurationName"], "InProgress", "", now) for rule in rules]
    return members


def told(statuses: Sequence[Document], verdicts: Verdicts, now: float) -> list[Document]:
    """`statuses` with what a program says meanwhile; a rule that has its last status keeps it, and gets the latest details."""
    return [_told(status, verdicts.get(status["RuleConfigurationName"], {}), now) for status in statuses]


def ended(statuses: Sequence[Document], problem: str, now: float, doubted: bool = False, status: str = "Error") -> list[Document]:
    """`statuses` after the end: whatever has no last verdict gets `status` with `problem`; with `doubted`, NoIssuesFound too."""
    kept = tuple(each for each in FINAL_STATUSES if not (doubted and each == "NoIssuesFound"))
    return [
        each
        if each["RuleEvaluationStatus"] in kept
        else {**each, "RuleEvaluationStatus": status, "StatusDetails": problem[:REASON_LIMIT], "LastModifiedTime": now}
        for each in statuses
    ]


def read_verdicts(file: Path) -> dict[str, Mapping[str, Any]]:
    """What a program has written so far; a file that is not there, or no list of statuses, says nothing."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return {status["RuleConfigurationName"]: status for status in json.loads(file.read_text())}
    return {}


def _told(status: Document, verdict: Mapping[str, Any], now: float) -> Document:
    said, details = verdict.get("RuleEvaluationStatus"), str(verdict.get("StatusDetails") or "")[:REASON_LIMIT]
    known = status["RuleEvaluationStatus"]
    is_news = (said, details) != (known, status.get("StatusDetails", ""))
    if said not in (*FINAL_STATUSES, *UNFINISHED_STATUSES) or (known in FINAL_STATUSES and said != known) or not is_news:
        return status
    news = {**status, "RuleEvaluationStatus": said, "StatusDetails": details, "LastModifiedTime": _seconds(verdict, now)}
    return {name: value for name, value in news.items() if value != ""}


def _seconds(verdict: Mapping[str, Any], now: float) -> float:
    try:
        return datetime.fromisoformat(verdict["LastModifiedTime"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return now


def _status(job: str, rule: str, status: str, details: str, now: float) -> Document:
    digits = hashlib.sha256(f"{job} {rule}".encode()).hexdigest()[:_DIGITS]
    plain = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in rule.lower())
    name = f"{job[:_NAME_PART]}-{plain[:_NAME_PART]}-{digits}"
    members = {
        "RuleConfigurationName": rule,
        "RuleEvaluationJobArn": build_arn("processing-job", name),
        "RuleEvaluationStatus": status,
        "StatusDetails": details,
        "LastModifiedTime": now,
    }
    return {name: value for name, value in members.items() if value != ""}
