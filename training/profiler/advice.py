"""What a profile shows and what to change, the most urgent first: from the profiler rules' verdicts and the figures of the profile.

Runs in training jobs after the training, for the profiler report and for the training report. It works on the documents alone, so also on
those of an earlier job:

    advise(profiler_rule_statuses, profile)
"""

from collections.abc import Mapping, Sequence
from typing import Any

from training.profiler.advice_table import SHORT, TABLE, Profile, Row, get_phases
from training.rule_evaluation.insight import SEVERITIES, Insight, clean, describe_evidence, describe_unjudged, format_count, join_names

TOO_FEW = "not judged: there are "
"""How the details of a rule begin that had too few measurements."""

REPORT_RULE = "ProfilerReport"
"""It repeats what the other rules found."""

Status = Mapping[str, Any]


def advise(statuses: Sequence[Status], profile: Profile) -> list[Insight]:
    """Return one insight for each cause, and which rules could not judge; empty where no issue was found.

    Args:
        statuses: what profiler_rule_statuses.json holds.
        profile: what profile.json holds.
    """
    found = {each["RuleConfigurationName"]: each for each in statuses if each["RuleEvaluationStatus"] == "IssuesFound"}
    rows = TABLE | {name: _describe_rule(status) for name, status in found.items() if name not in TABLE and name != REPORT_RULE}
    insights, covered = [], set[str]()
    for name, row in rows.items():
        if name in covered:
            continue
        others = [other for other in row.covers if other in found and other not in covered]
        insight = _from_rule(found[name], row, others, profile) if name in found else _from_figures(row, profile)
        if insight:
            insights.append(insight)
            covered.update(row.covers)
    insights += _unjudged(statuses, profile)
    return sorted(insights, key=lambda insight: SEVERITIES.index(insight.severity))


def _describe_rule(status: Status) -> Row:
    """Return a row for a rule that the table does not have, such as one with a name of the user's own."""
    name = status["RuleConfigurationName"]
    return Row(f"The profiler rule {name} found an issue.", "It costs time or money.", "See the profiler report.")


def _severity(row: Row, profile: Profile) -> str:
    return row.severity if row.keeps_severity or profile.get("seconds", 0.0) >= SHORT else "note"


def _from_rule(status: Status, row: Row, others: Sequence[str], profile: Profile) -> Insight:
    """Return what a rule found; its own advice, where it has one, is the table's cure for the cause that it saw."""
    source = f"profiler rule {status['RuleConfigurationName']}" + (f" and {join_names(others)}, for the same cause" if others else "")
    waiting = get_phases(profile).get("data") if "waiting for photos" in row.covers else None
    share = "" if waiting is None else f"{waiting:.1%} of each training step is spent waiting for photos"
    seen = "; ".join(filter(None, (describe_evidence(status), share)))
    return Insight(_severity(row, profile), row.what, row.why, str(status.get("Advice") or row.change), seen, source)


def _from_figures(row: Row, profile: Profile) -> Insight | None:
    if row.measure is None or (row.least_seconds and profile.get("seconds", 0.0) <= row.least_seconds):
        return None
    measured = row.measure(profile)
    if measured is None or measured["value"] <= row.threshold:
        return None
    what, seen = row.what.format(**measured), row.evidence.format(**measured)
    return Insight(_severity(row, profile), what, row.why, row.change, seen, "profile.json")


def _unjudged(statuses: Sequence[Status], profile: Profile) -> list[Insight]:
    """Return which rules could not judge: once for each reason; and that measuring failed, where no rule says so."""
    problem, seconds = profile.get("problem"), profile.get("seconds", 0.0)
    is_short = 0 < seconds < SHORT and not problem
    few = [each for each in statuses if is_short and each["RuleEvaluationStatus"] == "Error" and TOO_FEW in each["StatusDetails"]]
    missing = describe_unjudged([each for each in statuses if each not in few], "profiler")
    if few:
        missing.append(_too_short(few, seconds))
    if missing or not problem:
        return missing
    change = 'Look in the job\'s log for the line that begins with "profiler degraded".'
    why = "Figures and charts of the machine are incomplete."
    return [Insight("warning", "The profiler could not measure everything.", why, change, str(problem), "profile.json")]


def _too_short(statuses: Sequence[Status], seconds: float) -> Insight:
    names = join_names([status["RuleConfigurationName"] for status in statuses])
    return Insight(
        "note",
        f"The job was too short for {format_count(len(statuses), 'profiler rule')}: {names}.",
        "A rule needs enough measurements for a verdict.",
        "Nothing: a job this short has little time to save, and a longer one is judged.",
        f"{seconds:.0f} s; {clean(statuses[0]['StatusDetails'])}",
        "profiler rules",
    )
