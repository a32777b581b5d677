"""`whippet cost`: what an execution that ended cost, beside what was expected of it, and what the endpoint goes on costing.

Runs on the user's machine: `whippet cost [ARN] [--json] [--local]`. Reads only: the execution itself writes its bill at its end, by
AWS's list prices or by those that `prices.json` in the bucket names. On this machine nothing is paid: the figures are what AWS would ask.
"""

import json
from typing import Annotated, Any

import typer
from botocore.exceptions import ClientError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.account.target import Target, open_target
from cli.executions.execution import run_name, the_latest
from cli.terminal.errors import RefusedError
from cli.terminal.options import Local, Project
from cli.terminal.screen import screen

HOURS_PER_MONTH = 730
WHEN = {
    "RUNNING": "when it has ended",
    **dict.fromkeys(("ABORTED", "TIMED_OUT"), "by an execution itself, and one that is stopped from outside writes nothing more"),
}
"""Status -> when a bill is written, for those that have none."""


def cost(
    arn: Annotated[str, typer.Argument(help="Execution ARN; default: the one that started last.", show_default=False)] = "",
    local: Local = False,
    project: Project = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what an execution cost, and what the endpoint costs an hour."""
    target = open_target(local, project)
    found = read_cost(target, arn or the_latest(target))
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        print_cost(screen(), target, found)


def read_cost(target: Target, arn: str) -> dict[str, Any]:
    """The bill, the estimate and the endpoint, as plain values."""
    outputs = target.outputs()
    described = target.client("stepfunctions").describe_execution(executionArn=arn)
    run = run_name(target.project, arn, described["startDate"])
    document = read_document(target, outputs.bucket, f"executions/{run}/execution.json", described["status"])
    return {
        "run": run,
        "bill": document.get("bill") or {},
        "estimate": document.get("estimate") or {},
        "endpoint": {"name": outputs.endpoint, "status": target.endpoint_status(outputs.endpoint)},
    }


def read_document(target: Target, bucket: str, key: str, status: str) -> dict[str, Any]:
    """What the execution wrote at its end; one that has not, or ended otherwise, is refused with what to do."""
    try:
        written = target.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchKey":
            raise
        when = WHEN.get(status, "at the end of executions that get as far as starting a job")
        raise RefusedError(
            f"The execution is {status} and has no bill: it is written to s3://{bucket}/{key} {when}. "
            f"`whippet watch{target.option}` shows its jobs, and AWS Cost Explorer what they cost."
        ) from error
    document = json.loads(written)
    if not isinstance(document, dict):
        raise RefusedError(f"s3://{bucket}/{key} is no JSON object, so it is no bill; it was changed since the execution wrote it.")
    return document


def print_cost(console: Console, target: Target, found: dict[str, Any]) -> None:
    """The same for people."""
    bill = found["bill"]
    expected = found["estimate"].get("estimate") or {}
    table = Table(box=None, padding=(0, 2, 0, 0), title=Text(found["run"]), title_justify="left")
    for column in ("job", "machine"):
        table.add_column(column, overflow="fold")
    for column in ("seconds", "USD"):
        table.add_column(column, justify="right")
    for job in bill.get("jobs", []):
        kind = f"{job['kind']} of {job['jobs']} training jobs" if job.get("jobs", 1) > 1 else job["kind"]
        table.add_row(Text(kind), Text(job.get("instance_type") or "?"), f"{job['seconds']:,.0f}", amount(job.get("usd")))
    table.add_row(Text("together", style="bold"), "", "", Text(amount(bill.get("total_usd")), style="bold"))
    if expected:
        table.add_row(Text("expected", style="dim"), "", "", Text(amount(expected.get("total")), style="dim"))
    console.print(table)
    for note in bill.get("notes", []):
        console.print(Text(f"  {note}", style="dim"), soft_wrap=True)
    console.print(Text(endpoint_line(found, target)), soft_wrap=True)
    if target.local is not None:
        console.print(
            Text("  Nothing of it was paid: jobs on this machine are billed as AWS would bill them.", style="dim"), soft_wrap=True
        )


def endpoint_line(found: dict[str, Any], target: Target) -> str:
    """What the endpoint costs, and how to be rid of it."""
    name, status = found["endpoint"]["name"], found["endpoint"]["status"]
    if status is None:
        return f"  There is no endpoint {name!r}, so nothing goes on costing."
    hourly = found["bill"].get("endpoint_per_hour")
    if hourly is None:
        return f"  The endpoint {name!r} is {status}; what it costs an hour is not known."
    if not hourly:
        return f"  The endpoint {name!r} is {status}; the model of this execution costs nothing between two requests, or is not deployed."
    month = f"{hourly * HOURS_PER_MONTH:,.2f}"
    return f"  The endpoint {name!r} is {status} and costs {hourly:g} USD an hour, {month} a month, until `whippet down{target.option}`."


def amount(dollars: float | None) -> str:
    """`1.23`; four digits of what is less than a cent."""
    if dollars is None:
        return "unknown"
    return f"{dollars:,.2f}" if not dollars or dollars >= 0.01 else f"{dollars:.4f}"
