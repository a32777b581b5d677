"""Rule verdicts, profile and figures in plain sentences: what happened, why it matters, what to change. The most urgent first, never many.

Runs in the final training job, which writes them to report/insights.json and to the top of the report page; works on the report's JSON
documents alone, so also on those of an earlier job:

    insights(rule_statuses, profiler_rule_statuses, history, evaluation, data, profile, best_epoch, ended_by)
"""

from collections.abc import Mapping, Sequence
from typing import Any

from training.profiler.advice import advise
from training.report.insights.data import about_data
from training.report.insights.figures import about_figures
from training.report.insights.rules import about_rules, ending
from training.report.tables import percent
from training.rule_evaluation.insight import SEVERITIES, Insight, counted

NOTHING_TO_JUDGE = "nothing to judge"
"""How the details of a rule begin that had no part of the machine, such as a GPU, to look at."""
MOST = 8
"""So many are told at most: who reads ten changes none. The tables of the report hold the rest."""

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
    """Return at most MOST insights, the most urgent first; where nothing is wrong the first one says so.

    Args:
        rule_statuses: what report/rule_statuses.json holds.
        profiler_statuses: what report/profiler_rule_statuses.json holds.
        history: what report/history.json holds.
        evaluation: what report/evaluation.json holds; none where the model was not judged.
        data: what report/data.json holds.
        profile: what report/profile.json holds.
        best_epoch: the epoch whose weights were kept, from 1.
        ended_by: the rule that ended the training early, and why.
        problem: why tensors are missing; None where the debugger recorded what it should.
    """
    judged, photos, measured = evaluation or {}, data or {}, profile or {}
    issues = {status["RuleConfigurationName"] for status in rule_statuses if status["RuleEvaluationStatus"] == "IssuesFound"}
    found = [
        *ending(ended_by, rule_statuses),
        *about_rules(rule_statuses, history, judged, best_epoch, ended_by),
        *about_figures(judged, photos, confusion_told="Confusion" in issues),
        *_degraded(problem, rule_statuses),
        *about_data(photos, imbalance_told="ClassImbalance" in issues),
        *advise(profiler_statuses, measured),
    ]
    urgent = sorted(found, key=lambda insight: SEVERITIES.index(insight.severity))[:MOST]
    if any(insight.severity in ("problem", "warning") for insight in urgent):
        return urgent
    return [*_all_is_well(judged, rule_statuses, profiler_statuses), *urgent][:MOST]


def _degraded(problem: str | None, rules: Documents) -> list[Insight]:
    """Return that tensors are missing, where no rule says so by its own verdict: another judges what this job saved, or none does."""
    if problem is None or any(status["RuleEvaluationStatus"] == "Error" for status in rules):
        return []
    why = "Rules that are judged by what is there may miss what happened, and tensors that are missing cannot be looked at later."
    change = 'Look in the job\'s log for the line that begins with "debugger degraded".'
    return [Insight("warning", "The debugger could not save everything.", why, change, problem, "the debugger")]


def _all_is_well(evaluation: Mapping[str, Any], rules: Documents, profiler_rules: Documents) -> list[Insight]:
    """Return one sentence about a good run; nothing where no rule judged: others may yet find that it is none."""
    sound = [status for status in (*rules, *profiler_rules) if status["RuleEvaluationStatus"] == "NoIssuesFound"]
    judged = [status for status in sound if not str(status.get("StatusDetails", "")).startswith(NOTHING_TO_JUDGE)]
    if not judged:
        return []
    said = []
    if test := evaluation.get("test"):
        baseline = max(evaluation.get("baselines", {}).values(), default=0.0)
        said.append(
            f"{percent(test['accuracy'])} of {test['photos']:,} test photos are named rightly, against {percent(baseline)} untrained"
        )
    said.append(f"{counted(len(judged), 'rule')} found no issue")
    return [Insight("good", f"This run is sound: {', and '.join(said)}.", "", "", "", "evaluation.json and the rules")]
