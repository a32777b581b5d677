"""What the rules said and what to change, short enough for a terminal; the report has the rest. Used by `whippet report` and the demo."""

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.executions.execution import Execution

Status = Mapping[str, Any]

KINDS = {"rule_statuses": "debugger rules", "profiler_rule_statuses": "profiler rules"}
"""Documents of the report, and keys of an execution's output -> what they are."""
WORDS = {"NoIssuesFound": "without issues", "IssuesFound": "with issues", "Error": "could not judge"}
MARKS = {"IssuesFound": ("▲", "yellow"), "Error": ("✗", "red")}
STYLES = {"problem": "bold red", "warning": "yellow", "note": "cyan", "good": "green"}
TOP = 3
"""Insights that are told here."""
NAMES = 24
"""Columns of the terminal that are not a rule's: the kinds' names and the space around them."""
LINES = 2
"""Lines that one rule gets."""


def statuses_of(execution: Execution, documents: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The verdicts of both kinds: the report's, or where AWS's Debugger judged, the execution's own."""
    return {kind: documents.get(kind) or execution.output.get(kind) or [] for kind in KINDS}


def insights_of(execution: Execution, documents: Mapping[str, Any]) -> list[dict[str, str]]:
    """The report's insights, without praise where the execution knows better: AWS's Debugger judges after the job wrote them."""
    found: list[dict[str, str]] = documents.get("insights") or []
    judged = [status for kind in KINDS for status in execution.output.get(kind) or []]
    bad = execution.kept_back is not None or any(status["RuleEvaluationStatus"] in MARKS for status in judged)
    return [insight for insight in found if not bad or insight["severity"] != "good"]


def print_verdicts(console: Console, statuses: Mapping[str, Sequence[Status]], off: bool = False) -> None:
    """A line of counts a kind, then the rules that have something to say; `off`: no rule was asked."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for kind, name in KINDS.items():
        table.add_row(name, counts(statuses[kind], off))
        for status in statuses[kind]:
            if status["RuleEvaluationStatus"] != "NoIssuesFound":
                table.add_row("", _told(status, console.width - NAMES))
    console.print(table)


def counts(statuses: Sequence[Status], off: bool = False) -> Text:
    """`9 without issues, 1 with issues`, or why there is none."""
    if not statuses:
        return Text("none were asked" if off else "no verdicts", style="dim")
    found = Counter(status["RuleEvaluationStatus"] for status in statuses)
    kinds = [*WORDS, *sorted(found.keys() - WORDS)]
    return Text(", ".join(f"{found[kind]} {WORDS.get(kind, kind)}" for kind in kinds if found[kind]))


def print_insights(console: Console, insights: Sequence[Mapping[str, str]]) -> None:
    """The most urgent insights, and how many more there are in the report."""
    for insight in insights[:TOP]:
        severity = insight["severity"]
        console.print(Text.assemble("  ", (f"{severity:<9}", STYLES.get(severity, "")), (insight["what"], "bold")), soft_wrap=True)
        if insight["change"]:
            console.print(Text(f"{'':11}{insight['change']}", style="dim"), soft_wrap=True)
    if len(insights) > TOP:
        console.print(Text(f"{'':11}and {len(insights) - TOP} more in the report", style="dim"))


def _told(status: Status, width: int) -> Text:
    mark, style = MARKS.get(status["RuleEvaluationStatus"], ("…", "dim"))
    details = str(status.get("StatusDetails") or "").removeprefix("RuleEvaluationConditionMet: ").removeprefix("InternalError: ")
    name = str(status["RuleConfigurationName"])
    lines = textwrap.wrap(f"{mark} {name}  {details}", max(width, 20), max_lines=LINES, placeholder="…", subsequent_indent="  ")
    told = Text("\n".join(lines))
    told.stylize(style, 0, len(mark))
    told.stylize("bold", len(mark) + 1, len(mark) + 1 + len(name))
    return told
