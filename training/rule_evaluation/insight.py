"""One insight: what happened in a training, why it matters, what to change, and the numbers; and the words for verdicts.

Runs wherever a report is made. training/profiler/advice.py and training/report/insights make insights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SEVERITIES = ("problem", "warning", "note", "good")
"""The most urgent first. A problem spoils the model; a warning costs accuracy, time or money; a note is for information."""

MOST_NAMES = 4
"""Names listed in a sentence."""


@dataclass(frozen=True)
class Insight:
    """One finding, for a reader who knows the photos but not the code."""

    severity: str
    """One of SEVERITIES."""
    what: str
    """What happened: a sentence."""
    why: str
    """Why it matters: a sentence; empty if nothing is wrong."""
    change: str
    """What to change: a sentence; empty if nothing is wrong."""
    evidence: str
    """The numbers: a few words, or empty."""
    source: str
    """The rules or the file of the report that it comes from."""


def describe_unjudged(statuses: Sequence[Mapping[str, Any]], kind: str) -> list[Insight]:
    """Return which rules could not judge or have not finished, grouped by reason; `kind`: debugger or profiler."""
    reasons: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for status in statuses:
        if status["RuleEvaluationStatus"] not in ("NoIssuesFound", "IssuesFound"):
            reasons.setdefault((status["RuleEvaluationStatus"], clean(status["StatusDetails"])), []).append(status)
    some_judged = any(status["RuleEvaluationStatus"] in ("NoIssuesFound", "IssuesFound") for status in statuses)
    return [
        _unjudged(status, reason, missing, kind, harmless=some_judged and NOTHING_TO_COMPARE in reason)
        for (status, reason), missing in reasons.items()
    ]


NOTHING_TO_COMPARE = "nothing to compare"
"""In the details of a rule that saw no tensor of its kind; the cause is often few photos, not a fault."""

_UNJUDGED = {"Error": "could not judge", "InProgress": "had not finished when this report was written"}


def _unjudged(status: str, reason: str, missing: Sequence[Mapping[str, Any]], kind: str, harmless: bool) -> Insight:
    names = join_names([rule["RuleConfigurationName"] for rule in missing])
    advice = next((rule["Advice"] for rule in missing if rule.get("Advice")), "")
    return Insight(
        "warning" if status == "Error" and not harmless else "note",
        f"{format_count(len(missing), f'{kind} rule')} {_UNJUDGED.get(status, 'did not finish')}: {names}.",
        "Issues that these rules look for may have gone unnoticed.",
        advice or f'Look in the job\'s log for the line that begins with "{kind} degraded".',
        reason,
        f"{kind} rules",
    )


def describe_evidence(status: Mapping[str, Any]) -> str:
    """Return the details of a verdict, and its first values with their thresholds if the details do not name them."""
    said = clean(status["StatusDetails"])
    rows = [row for row in status.get("Evidence") or () if str(row.get("tensor")) not in said][:2]
    return "; ".join((said, *map(describe_row, rows)))


def describe_row(row: Mapping[str, Any]) -> str:
    """Return one row of a verdict's evidence in words."""
    limit = f" against {format_number(row['threshold'])}" if row.get("threshold") is not None else ""
    place = f" at {row['mode']} step {row['step']}" if row.get("mode") else ""
    return f"{row['tensor']}{place}: {format_number(row['value'])}{limit}"


def format_number(value: object) -> str:
    """Return a value of a verdict, shortened where it is a number."""
    return f"{value:.4g}" if isinstance(value, int | float) else str(value)


def clean(details: str) -> str:
    """Return a verdict's details without the exception name at their beginning."""
    for prefix in ("RuleEvaluationConditionMet: ", "InternalError: "):
        details = details.removeprefix(prefix)
    return details


def join_names(names: Sequence[str]) -> str:
    """Return names with commas; of many, only the first few."""
    if len(names) > MOST_NAMES + 1:
        return f"{', '.join(names[:MOST_NAMES])} and {len(names) - MOST_NAMES} more"
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def format_count(count: int, noun: str) -> str:
    """Return a number of things: "3 debugger rules"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
