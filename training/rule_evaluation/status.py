"""The verdict of one rule, in DescribeTrainingJob's terms; needs no smdebug, so that its absence can be reported.

Runs in training jobs.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from training.contract.rules import DEBUG_RULES, LONGEST_DETAILS

EVERY_RULE: Sequence[Mapping[str, Any]] = [{"RuleConfigurationName": name} for name in DEBUG_RULES]
MOST_EVIDENCE = 10


@dataclass(frozen=True)
class RuleStatus:
    """One verdict, with DescribeTrainingJob's field names and values; the fields from RuleParameters on are its evidence."""

    RuleConfigurationName: str
    RuleEvaluationStatus: str
    """InProgress, NoIssuesFound, IssuesFound, Error, Stopping or Stopped."""
    StatusDetails: str
    LastModifiedTime: str
    """ISO 8601, UTC."""
    RuleParameters: Mapping[str, str] = field(default_factory=dict)
    Evidence: Sequence[Mapping[str, Any]] = ()
    """The first ten findings: mode, step, tensor, value, threshold; numbers that are not finite are text."""
    Advice: str = ""
    """What to change, one sentence; empty without an issue or an error."""


def utc_now() -> datetime:
    """Return the time, with its zone."""
    return datetime.now(UTC)


def report_errors(
    reason: str,
    now: Callable[[], datetime] = utc_now,
    configurations: Iterable[Mapping[str, Any]] = EVERY_RULE,
    advice: str = "",
) -> list[RuleStatus]:
    """Return the verdict Error for every rule: unseen steps are never reported as NoIssuesFound."""
    return [
        RuleStatus(
            each["RuleConfigurationName"],
            "Error",
            f"InternalError: {reason}"[:LONGEST_DETAILS],
            now().isoformat(),
            dict(each.get("RuleParameters", {})),
            Advice=advice,
        )
        for each in configurations
    ]


def from_document(document: Mapping[str, Any]) -> RuleStatus:
    """Return the status that was written as JSON; a missing or unknown key is a TypeError."""
    return RuleStatus(**{**document, "Evidence": tuple(document.get("Evidence", ()))})
