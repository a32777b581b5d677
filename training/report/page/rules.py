"""The part of the report page that holds the rules' verdicts: all of them at a glance, and what those saw that found something.

Runs in the final training job. Takes what report/rule_statuses.json and report/profiler_rule_statuses.json hold.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from training.report.svg import threshold_chart
from training.rule_evaluation.insight import clean, row_in_words

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
"""Rows of evidence a rule; the JSON files hold up to ten."""
FEWEST_POINTS = 3
"""Steps from which a course is drawn."""
LONGEST = 400
"""Characters of a rule's details that are shown."""

Status = Mapping[str, Any]


def rules(title: str, statuses: Sequence[Status], none: str) -> str:
    """Return the verdicts of one kind of rules; `none`: the sentence where no rule was asked."""
    if not statuses:
        return f"<h2>{escape(title)}</h2><p>{escape(none)}</p>"
    telling = [status for status in statuses if status["RuleEvaluationStatus"] != "NoIssuesFound"]
    others = [status for status in statuses if status["RuleEvaluationStatus"] == "NoIssuesFound"]
    whose = "the others" if telling else "they"
    more = f"<details><summary>What {whose} looked at</summary>{_table(others, told=False)}</details>" if others else ""
    pills = "".join(map(_pill, (*telling, *others)))
    return f'<h2>{escape(title)}</h2><p>{_counts(statuses)}</p><div class="pills">{pills}</div>{_table(telling, told=True)}{more}'


def no_rules(mode: str) -> str:
    """Return why there are no verdicts in a report of a job in this debugger mode."""
    if mode == "managed":
        return "The service judges what this job saved: DescribeTrainingJob, and the execution's output, tell the verdicts."
    return "The debugger was off: nothing was judged."


def _counts(statuses: Sequence[Status]) -> str:
    counts = Counter(status["RuleEvaluationStatus"] for status in statuses)
    return ", ".join(f"{counts[kind]} {WORDS.get(kind, escape(kind))}" for kind in (*WORDS, *sorted(counts.keys() - WORDS)) if counts[kind])


def _pill(status: Status) -> str:
    kind = status["RuleEvaluationStatus"]
    return f'<span class="pill {escape(kind)}">{MARKS.get(kind, "…")} {escape(status["RuleConfigurationName"])}</span>'


def _table(statuses: Sequence[Status], told: bool) -> str:
    """Return a row a rule, those that say the same together: what it saw and, where it is `told`, what to do about it."""
    if not statuses:
        return ""
    same: dict[tuple[str, str, str], list[str]] = {}
    for status in statuses:
        said = (status["RuleEvaluationStatus"], _saw(status), status.get("Advice") or "")
        same.setdefault(said, []).append(status["RuleConfigurationName"])
    head = "<tr><th>rule</th><th>what it saw</th>" + ("<th>what to do</th>" if told else "") + "</tr>"
    return f'<table class="rules">{head}{"".join(_row(names, *said, told) for said, names in same.items())}</table>'


def _row(names: Sequence[str], kind: str, saw: str, advice: str, told: bool) -> str:
    what = "<br>".join(map(escape, names))
    more = f"<td>{escape(advice)}</td>" if told else ""
    return f'<tr><td>{what}<br><span class="{escape(kind)}">{escape(kind)}</span></td><td>{saw}</td>{more}</tr>'


def _saw(status: Status) -> str:
    """Return a rule's details, evidence and given parameters; the parameters of one that could not judge tell nothing."""
    details = clean(status["StatusDetails"])
    short = details if len(details) <= LONGEST else f"{details[: LONGEST - 1]}…"
    given = "" if status["RuleEvaluationStatus"] == "Error" else _parameters(status)
    return f"{escape(short)}{_evidence(status.get('Evidence') or ())}{given}"


def _evidence(rows: Sequence[Mapping[str, Any]]) -> str:
    shown = "".join(f"<li>{escape(row_in_words(row))}</li>" for row in rows[:SHOWN_ROWS])
    more = f"<li>and {len(rows) - SHOWN_ROWS} more</li>" if len(rows) > SHOWN_ROWS else ""
    return f"<ul>{shown}{more}</ul>{_course(rows)}" if rows else ""


def _course(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a chart of the first row's tensor, where several steps of it were noted with numbers."""
    first = rows[0]
    same = [row for row in rows if (row["tensor"], row["mode"], row["threshold"]) == (first["tensor"], first["mode"], first["threshold"])]
    numbers = {row["step"]: row["value"] for row in same if isinstance(row["step"], int) and isinstance(row["value"], int | float)}
    if len(numbers) < FEWEST_POINTS or not isinstance(first["threshold"], int | float):
        return ""
    return threshold_chart(f"{first['tensor']} by step", numbers, first["threshold"])


def _parameters(status: Status) -> str:
    """Return the parameters that were given, apart from the rule's own name."""
    given = {name: value for name, value in (status.get("RuleParameters") or {}).items() if name != "rule_to_invoke"}
    said = ", ".join(f"{name} {value}" for name, value in given.items())
    return f"<div><small>{escape(said)}</small></div>" if said else ""
