"""Rule results and the most important insights, short enough for a terminal. Used by `whippet report` and the demo."""

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
"""Document of the report, and key of an execution's output -> its title."""
WORDS = {"NoIssuesFound": "without issues", "IssuesFound": "with issues", "Error": "with errors"}
MARKS = {"IssuesFound": ("▲", "yellow"), "Error": ("✗", "red")}
STYLES = {"problem": "bold red", "warning": "yellow", "note": "cyan", "good": "green"}
TOP = 3
"""The number of insights to print."""
NAMES = 24
"""Columns of the terminal for the titles and the space around them."""
LINES = 2
"""Maximum number of lines per rule."""


def read_statuses(execution: Execution, documents: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Read the statuses of both kinds of rules, from the report or, with AWS's Debugger, from the execution."""
    return {kind: documents.get(kind) or execution.output.get(kind) or [] for kind in KINDS}


def select_insights(execution: Execution, documents: Mapping[str, Any]) -> list[dict[str, str]]:
    """Select the report's insights; without positive ones if rules found issues after the job had written them."""
    found: list[dict[str, str]] = documents.get("insights") or []
    statuses = [status for kind in KINDS for status in execution.output.get(kind) or []]
    bad = execution.rejection_reasons is not None or any(status["RuleEvaluationStatus"] in MARKS for status in statuses)
    return [insight for insight in found if not bad or insight["severity"] != "good"]


def print_rule_statuses(console: Console, statuses: Mapping[str, Sequence[Status]], off: bool = False) -> None:
    """Print a line of counts per kind, then the rules with issues or errors; `off`: the debugger was off."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for kind, name in KINDS.items():
        table.add_row(name, format_counts(statuses[kind], off))
        for status in statuses[kind]:
            if status["RuleEvaluationStatus"] != "NoIssuesFound":
                table.add_row("", _format_status(status, console.width - NAMES))
    console.print(table)


def format_counts(statuses: Sequence[Status], off: bool = False) -> Text:
    """Format counts as `9 without issues, 1 with issues`, or why there are none."""
    if not statuses:
        return Text("debugger off" if off else "not evaluated", style="dim")
    found = Counter(status["RuleEvaluationStatus"] for status in statuses)
    kinds = [*WORDS, *sorted(found.keys() - WORDS)]
    return Text(", ".join(f"{found[kind]} {WORDS.get(kind, kind)}" for kind in kinds if found[kind]))


def print_insights(console: Console, insights: Sequence[Mapping[str, str]]) -> None:
    """Print the most urgent insights, and the number of further ones in the report."""
    for insight in insights[:TOP]:
        severity = insight["severity"]
        console.print(Text.assemble("  ", (f"{severity:<9}", STYLES.get(severity, "")), (insight["what"], "bold")), soft_wrap=True)
        if insight["change"]:
            console.print(Text(f"{'':11}{insight['change']}", style="dim"), soft_wrap=True)
    if len(insights) > TOP:
        console.print(Text(f"{'':11}and {len(insights) - TOP} more in the report", style="dim"))


def _format_status(status: Status, width: int) -> Text:
    mark, style = MARKS.get(status["RuleEvaluationStatus"], ("…", "dim"))
    details = str(status.get("StatusDetails") or "").removeprefix("RuleEvaluationConditionMet: ").removeprefix("InternalError: ")
    name = str(status["RuleConfigurationName"])
    lines = textwrap.wrap(f"{mark} {name}  {details}", max(width, 20), max_lines=LINES, placeholder="…", subsequent_indent="  ")
    text = Text("\n".join(lines))
    text.stylize(style, 0, len(mark))
    text.stylize("bold", len(mark) + 1, len(mark) + 1 + len(name))
    return text
