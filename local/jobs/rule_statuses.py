"""The statuses of a training job's rules in DescribeTrainingJob.

Runs in the SageMaker plane. The rule programs write lists of statuses as JSON; a rule without a final status becomes Error, never
NoIssuesFound.
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
from local.jobs.rule_requests import is_profiled
from training.contract.rules import FINAL_STATUSES, UNFINISHED_STATUSES

DEBUG, PROFILER = "DebugRuleEvaluationStatuses", "ProfilerRuleEvaluationStatuses"
CONFIGURATIONS = {DEBUG: "DebugRuleConfigurations", PROFILER: "ProfilerRuleConfigurations"}
# The service's names of rule jobs: the start of the training job's name, the start of the rule's name, eight digits.
_NAME_PART, _DIGITS = 26, 8

Verdicts = Mapping[str, Mapping[str, Any]]
"""The statuses that a program wrote, by RuleConfigurationName."""


def make_statuses(request: Mapping[str, Any], now: float) -> Document:
    """Make the members of a new job's document: whether it is profiled, and each of its rules InProgress."""
    members: Document = {"ProfilingStatus": "Enabled" if is_profiled(request) else "Disabled"}
    for field, configurations in CONFIGURATIONS.items():
        if rules := request.get(configurations):
            members[field] = [
                _make_status(request["TrainingJobName"], rule["RuleConfigurationName"], "InProgress", "", now) for rule in rules
            ]
    return members


def update_statuses(statuses: Sequence[Document], verdicts: Verdicts, now: float) -> list[Document]:
    """Update `statuses` with the program's; a rule with a final status keeps it, with the latest details."""
    return [_update(status, verdicts.get(status["RuleConfigurationName"], {}), now) for status in statuses]


def end_statuses(statuses: Sequence[Document], problem: str, now: float, doubted: bool = False, status: str = "Error") -> list[Document]:
    """Give each rule without a final status `status` with the details `problem`; with `doubted`, also rules with NoIssuesFound."""
    kept = tuple(each for each in FINAL_STATUSES if not (doubted and each == "NoIssuesFound"))
    return [
        each
        if each["RuleEvaluationStatus"] in kept
        else {**each, "RuleEvaluationStatus": status, "StatusDetails": problem[:REASON_LIMIT], "LastModifiedTime": now}
        for each in statuses
    ]


def read_verdicts(file: Path) -> dict[str, Mapping[str, Any]]:
    """Read the statuses that a program has written so far; none if the file is missing or invalid."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return {status["RuleConfigurationName"]: status for status in json.loads(file.read_text())}
    return {}


def _update(status: Document, verdict: Mapping[str, Any], now: float) -> Document:
    reported, details = verdict.get("RuleEvaluationStatus"), str(verdict.get("StatusDetails") or "")[:REASON_LIMIT]
    known = status["RuleEvaluationStatus"]
    is_new = (reported, details) != (known, status.get("StatusDetails", ""))
    if reported not in (*FINAL_STATUSES, *UNFINISHED_STATUSES) or (known in FINAL_STATUSES and reported != known) or not is_new:
        return status
    news = {**status, "RuleEvaluationStatus": reported, "StatusDetails": details, "LastModifiedTime": _read_seconds(verdict, now)}
    return {name: value for name, value in news.items() if value != ""}


def _read_seconds(verdict: Mapping[str, Any], now: float) -> float:
    try:
        return datetime.fromisoformat(verdict["LastModifiedTime"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return now


def _make_status(job: str, rule: str, status: str, details: str, now: float) -> Document:
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
