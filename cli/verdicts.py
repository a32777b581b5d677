"""What the rules said and what to change, short enough for a terminal; the report has the rest. Used by `whippet report` and the demo."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.execution import Execution

Status = Mapping[str, Any]

KINDS = {"rule_statuses": "debugger rules", "profiler_rule_statuses": "profiler rules"}
"""Documents of the report, and keys of an execution's output -> what they are."""
WORDS = {"NoIssuesFound": "without issues", "IssuesFound": "with issues", "Error": "could not judge"}
MARKS = {"IssuesFound": ("▲", "yellow"), "Error": ("✗", "red")}
STYLES = {"problem": "bold red", "warning": "yellow", "note": "cyan", "good": "green"}
TOP = 3
"""Insights that are told here."""
LONGEST = 110
"""Characters of a rule's details that are shown."""


def statuses_of(execution: Execution, documents: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The verdicts of both kinds: the report's, or where AWS's Debugger judged, the execution's own."""
    return {kind: documents.get(kind) or execution.output.get(kind) or [] for kind in KINDS}


def print_verdicts(console: Console, statuses: Mapping[str, Sequence[Status]]) -> None:
    """A line of counts a kind, then the rules that have something to say."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for kind, name in KINDS.items():
        table.add_row(name, counts(statuses[kind]))
        for status in statuses[kind]:
            if status["RuleEvaluationStatus"] != "NoIssuesFound":
                table.add_row("", _told(status))
    console.print(table)


def counts(statuses: Sequence[Status]) -> Text:
    """`9 without issues, 1 with issues`, or why there is none."""
    if not statuses:
        return Text("none were asked", style="dim")
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


def say_kept_back(console: Console, execution: Execution) -> None:
    """That the model was not deployed, why, and how it could be all the same."""
    console.print(Text("  The execution succeeded, but its model was not deployed: the endpoint is as it was before.", style="yellow"))
    for reason in execution.kept_back or ["the execution gave no reason"]:
        console.print(Text(f"  ▲ {reason}"), soft_wrap=True)
    console.print(
        Text(
            '  Mend it and run again, or, to deploy whatever the rules say: whippet run --input \'{"rules": {"block_deployment": []}}\'',
            style="dim",
        ),
        soft_wrap=True,
    )


def _told(status: Status) -> Text:
    mark, style = MARKS.get(status["RuleEvaluationStatus"], ("…", "dim"))
    details = str(status.get("StatusDetails") or "").removeprefix("RuleEvaluationConditionMet: ").removeprefix("InternalError: ")
    short = details if len(details) <= LONGEST else f"{details[: LONGEST - 1]}…"
    return Text.assemble((mark, style), " ", (status["RuleConfigurationName"], "bold"), f"  {short}")
