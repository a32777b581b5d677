"""Gathers all insights of a training and ranks them: a few sentences, the most urgent first.

Runs in the final training job, which writes them to report/insights.json and to the top of the report page; it needs only the report's
JSON documents, so it also works on those of an earlier job:

    insights(rule_statuses, profiler_rule_statuses, history, evaluation, data, profile, best_epoch, ended_by)
"""

from collections.abc import Mapping, Sequence
from typing import Any

from training.profiler.advice import advise
from training.report.insights.data import describe_data
from training.report.insights.figures import describe_evaluation
from training.report.insights.rules import describe_ending, describe_rules
from training.report.tables import percent
from training.rule_evaluation.insight import SEVERITIES, Insight, format_count

NOTHING_TO_JUDGE = "nothing to judge"
"""How the details of a rule begin that does not apply to the machine, for example one without a GPU."""
MOST = 8
"""Insights in a report: a longer list is not read. The tables of the report hold the rest."""

Documents = Sequence[Mapping[str, Any]]


def insights(
    rule_statuses: Documents,
    profiler_statuses: Documents = (),
    history: Documents = (),
    evaluation: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    profile: Mapping[str, Any] | None = None,
    best_epoch: int | None = None,
    ended_by: str | None = None,
    problem: str | None = None,
) -> list[Insight]:
    """Return at most MOST insights, the most urgent first; if nothing is wrong, the first one says so.

    Args:
        rule_statuses: what report/rule_statuses.json holds.
        profiler_statuses: what report/profiler_rule_statuses.json holds.
        history: what report/history.json holds.
        evaluation: what report/evaluation.json holds; None if the model was not evaluated.
        data: what report/data.json holds.
        profile: what report/profile.json holds.
        best_epoch: the epoch whose weights were kept, from 1.
        ended_by: the rule that ended the training early, and why.
        problem: why tensors are missing; None if the debugger recorded all of them.
    """
    judged, photos, measured = evaluation or {}, data or {}, profile or {}
    issues = {status["RuleConfigurationName"] for status in rule_statuses if status["RuleEvaluationStatus"] == "IssuesFound"}
    found = [
        *describe_ending(ended_by, rule_statuses),
        *describe_rules(rule_statuses, history, judged, best_epoch, ended_by),
        *describe_evaluation(judged, photos, confusion_found="Confusion" in issues),
        *_degraded(problem, rule_statuses),
        *describe_data(photos, imbalance_found="ClassImbalance" in issues),
        *advise(profiler_statuses, measured),
    ]
    urgent = sorted(found, key=lambda insight: SEVERITIES.index(insight.severity))[:MOST]
    if any(insight.severity in ("problem", "warning") for insight in urgent):
        return urgent
    return [*_all_is_well(judged, rule_statuses, profiler_statuses), *urgent][:MOST]


def _degraded(problem: str | None, rules: Documents) -> list[Insight]:
    """Return that tensors are missing, if no rule reports it: rules outside this job, or none, judge its tensors."""
    if problem is None or any(status["RuleEvaluationStatus"] == "Error" for status in rules):
        return []
    why = "The rules may miss an issue, and the missing tensors cannot be inspected later."
    change = 'Look in the job\'s log for the line that begins with "debugger degraded".'
    return [Insight("warning", "The debugger could not save everything.", why, change, problem, "the debugger")]


def _all_is_well(evaluation: Mapping[str, Any], rules: Documents, profiler_rules: Documents) -> list[Insight]:
    """Return one sentence about a good run; nothing if no rule has judged yet."""
    sound = [status for status in (*rules, *profiler_rules) if status["RuleEvaluationStatus"] == "NoIssuesFound"]
    judged = [status for status in sound if not str(status.get("StatusDetails", "")).startswith(NOTHING_TO_JUDGE)]
    if not judged:
        return []
    said = []
    if test := evaluation.get("test"):
        baseline = max(evaluation.get("baselines", {}).values(), default=0.0)
        said.append(
            f"{percent(test['accuracy'])} of {test['photos']:,} test photos are classified correctly (best baseline {percent(baseline)})"
        )
    said.append(f"{format_count(len(judged), 'rule')} found no issue")
    return [Insight("good", f"This run is sound: {', and '.join(said)}.", "", "", "", "evaluation.json and the rules")]
