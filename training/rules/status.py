"""The verdict of one rule, in DescribeTrainingJob's words; needs no smdebug, so that its absence too can be reported.

Runs in training jobs after the training.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

RULE_NAMES = ("LossNotDecreasing", "VanishingGradient", "ExplodingTensor", "Overfit", "UnchangedTensor")


@dataclass(frozen=True)
class RuleStatus:
    """One verdict, with DescribeTrainingJob's field names and values."""

    RuleConfigurationName: str
    RuleEvaluationStatus: str
    """NoIssuesFound, IssuesFound or Error."""
    StatusDetails: str
    LastModifiedTime: str
    """ISO 8601, UTC."""


def utc_now() -> datetime:
    """Return the time, with its zone."""
    return datetime.now(UTC)


def could_not_judge(reason: str, now: Callable[[], datetime] = utc_now) -> list[RuleStatus]:
    """Return the verdict Error for every rule: what was not seen is never called free of issues."""
    return [RuleStatus(name, "Error", f"InternalError: {reason}", now().isoformat()) for name in RULE_NAMES]
