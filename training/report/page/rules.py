"""The section of the report page with the rules' verdicts: an overview of all, and the details of the issues.

Runs in the final training job. Takes what report/rule_statuses.json and report/profiler_rule_statuses.json hold.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from training.report.svg import threshold_chart
from training.rule_evaluation.insight import clean, describe_row

STYLE = """
.IssuesFound,.Error{color:#a33b00;font-weight:bold}.NoIssuesFound{color:#006b4f}
.pills{display:flex;flex-wrap:wrap;gap:.35rem;margin:.5rem 0}
.pill{border:1px solid currentColor;border-radius:1rem;padding:.05rem .65rem;font-size:.85rem;font-weight:normal;color:#555;background:#fff}
.pill.NoIssuesFound{color:#006b4f;background:#eff8f4}.pill.IssuesFound{color:#a33b00;background:#fdf1e8;font-weight:bold}
.pill.Error{color:#b3261e;background:#fdf1f0;font-weight:bold;border-style:dashed}
table.rules{table-layout:fixed;width:100%}table.rules th:nth-child(1){width:11rem}table.rules td{vertical-align:top;font-size:.9rem}
svg.small{max-width:300px;display:block}table.rules ul{margin:.2rem 0;padding-left:1.1rem;color:#555;overflow-wrap:anywhere}
"""

MARKS = {"NoIssuesFound": "✓", "IssuesFound": "▲", "Error": "✗"}
WORDS = {"NoIssuesFound": "without an issue", "IssuesFound": "found an issue", "Error": "could not judge"}
SHOWN_ROWS = 2
"""Rows of evidence per rule; the JSON files hold up to ten."""
FEWEST_POINTS = 3
"""Steps from which a chart is drawn."""
LONGEST = 400
"""Characters of a rule's details that are shown."""

Status = Mapping[str, Any]


def rules(title: str, statuses: Sequence[Status], none: str) -> str:
    """Return the verdicts of one kind of rules; `none`: the sentence if no rule was evaluated."""
    if not statuses:
        return f"<h2>{escape(title)}</h2><p>{escape(none)}</p>"
    issues = [status for status in statuses if status["RuleEvaluationStatus"] != "NoIssuesFound"]
    others = [status for status in statuses if status["RuleEvaluationStatus"] == "NoIssuesFound"]
    which = "other rules" if issues else "rules"
    more = f"<details><summary>Details of the {which}</summary>{_table(others, with_advice=False)}</details>" if others else ""
    pills = "".join(map(_pill, (*issues, *others)))
    return f'<h2>{escape(title)}</h2><p>{_counts(statuses)}</p><div class="pills">{pills}</div>{_table(issues, with_advice=True)}{more}'


def no_rules(mode: str) -> str:
    """Return why a job in this debugger mode has no verdicts in its report."""
    if mode == "managed":
        return "The service evaluates what this job saved: see the verdicts in DescribeTrainingJob or in the execution's output."
    return "The debugger was off: no rule was evaluated."


def _counts(statuses: Sequence[Status]) -> str:
    counts = Counter(status["RuleEvaluationStatus"] for status in statuses)
    return ", ".join(f"{counts[kind]} {WORDS.get(kind, escape(kind))}" for kind in (*WORDS, *sorted(counts.keys() - WORDS)) if counts[kind])


def _pill(status: Status) -> str:
    kind = status["RuleEvaluationStatus"]
    return f'<span class="pill {escape(kind)}">{MARKS.get(kind, "…")} {escape(status["RuleConfigurationName"])}</span>'


def _table(statuses: Sequence[Status], with_advice: bool) -> str:
    """Return a row for each verdict, rules with the same verdict together; `with_advice`: also what to do."""
    if not statuses:
        return ""
    same: dict[tuple[str, str, str], list[str]] = {}
    for status in statuses:
        said = (status["RuleEvaluationStatus"], _saw(status), status.get("Advice") or "")
        same.setdefault(said, []).append(status["RuleConfigurationName"])
    head = "<tr><th>rule</th><th>details</th>" + ("<th>what to do</th>" if with_advice else "") + "</tr>"
    return f'<table class="rules">{head}{"".join(_row(names, *said, with_advice) for said, names in same.items())}</table>'


def _row(names: Sequence[str], kind: str, saw: str, advice: str, with_advice: bool) -> str:
    what = "<br>".join(map(escape, names))
    more = f"<td>{escape(advice)}</td>" if with_advice else ""
    return f'<tr><td>{what}<br><span class="{escape(kind)}">{escape(kind)}</span></td><td>{saw}</td>{more}</tr>'


def _saw(status: Status) -> str:
    """Return a rule's details, evidence and given parameters; a rule that could not judge has no parameters to show."""
    details = clean(status["StatusDetails"])
    short = details if len(details) <= LONGEST else f"{details[: LONGEST - 1]}…"
    given = "" if status["RuleEvaluationStatus"] == "Error" else _parameters(status)
    return f"{escape(short)}{_evidence(status.get('Evidence') or ())}{given}"


def _evidence(rows: Sequence[Mapping[str, Any]]) -> str:
    shown = "".join(f"<li>{escape(describe_row(row))}</li>" for row in rows[:SHOWN_ROWS])
    more = f"<li>and {len(rows) - SHOWN_ROWS} more</li>" if len(rows) > SHOWN_ROWS else ""
    return f"<ul>{shown}{more}</ul>{_course(rows)}" if rows else ""


def _course(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a chart of the first row's tensor, if numbers of several steps were recorded."""
    first = rows[0]
    same = [row for row in rows if (row["tensor"], row["mode"], row["threshold"]) == (first["tensor"], first["mode"], first["threshold"])]
    numbers = {row["step"]: row["value"] for row in same if isinstance(row["step"], int) and isinstance(row["value"], int | float)}
    if len(numbers) < FEWEST_POINTS or not isinstance(first["threshold"], int | float):
        return ""
    return threshold_chart(f"{first['tensor']} by step", numbers, first["threshold"])


def _parameters(status: Status) -> str:
    """Return the given parameters, without the rule's name."""
    given = {name: value for name, value in (status.get("RuleParameters") or {}).items() if name != "rule_to_invoke"}
    said = ", ".join(f"{name} {value}" for name, value in given.items())
    return f"<div><small>{escape(said)}</small></div>" if said else ""
