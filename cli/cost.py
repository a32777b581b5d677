"""`whippet cost`: the cost of an ended execution, its estimate, and the hourly cost of the endpoint.

Runs on the user's machine: `whippet cost [ARN] [--json] [--local]`. Reads only: the execution writes its bill at its end, with AWS's list
prices or those of `prices.json` in the bucket. Local mode is free: its figures are what AWS would charge.
"""

import json
from typing import Annotated, Any

import typer
from botocore.exceptions import ClientError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.account.target import Target, open_target
from cli.executions.execution import build_run_name, require_latest_execution
from cli.terminal.errors import RefusedError
from cli.terminal.options import Local, Project
from cli.terminal.screen import open_console

HOURS_PER_MONTH = 730
WHEN = {
    "RUNNING": "when it has ended",
    **dict.fromkeys(("ABORTED", "TIMED_OUT"), "by the execution itself, and a stopped or timed-out execution cannot write it"),
}
"""Status of an execution without a bill -> when the bill is written."""


def cost(
    arn: Annotated[str, typer.Argument(help="Execution ARN; default: the one that started last.", show_default=False)] = "",
    local: Local = False,
    project: Project = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the cost of an execution, and the hourly cost of the endpoint."""
    target = open_target(local, project)
    found = read_cost(target, arn or require_latest_execution(target))
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        print_cost(open_console(), target, found)


def read_cost(target: Target, arn: str) -> dict[str, Any]:
    """Read the bill, the estimate and the endpoint as plain values."""
    outputs = target.outputs()
    described = target.client("stepfunctions").describe_execution(executionArn=arn)
    run = build_run_name(target.project, arn, described["startDate"])
    document = read_document(target, outputs.bucket, f"executions/{run}/execution.json", described["status"])
    return {
        "run": run,
        "bill": document.get("bill") or {},
        "estimate": document.get("estimate") or {},
        "endpoint": {"name": outputs.endpoint, "status": target.endpoint_status(outputs.endpoint)},
    }


def read_document(target: Target, bucket: str, key: str, status: str) -> dict[str, Any]:
    """Read the document that the execution wrote at its end; raises RefusedError if it is missing or invalid."""
    try:
        content = target.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchKey":
            raise
        when = WHEN.get(status, "at the end of an execution that has started a job")
        raise RefusedError(
            f"The execution is {status} and has no bill: it is written to s3://{bucket}/{key} {when}. "
            f"`whippet watch{target.option}` shows its jobs, and AWS Cost Explorer their cost."
        ) from error
    document = json.loads(content)
    if not isinstance(document, dict):
        raise RefusedError(f"s3://{bucket}/{key} is not a JSON object: the bill was modified after the execution wrote it.")
    return document


def print_cost(console: Console, target: Target, found: dict[str, Any]) -> None:
    """Print the cost as a table."""
    bill = found["bill"]
    expected = found["estimate"].get("estimate") or {}
    table = Table(box=None, padding=(0, 2, 0, 0), title=Text(found["run"]), title_justify="left")
    for column in ("job", "machine"):
        table.add_column(column, overflow="fold")
    for column in ("seconds", "USD"):
        table.add_column(column, justify="right")
    for job in bill.get("jobs", []):
        kind = f"{job['kind']} of {job['jobs']} training jobs" if job.get("jobs", 1) > 1 else job["kind"]
        table.add_row(Text(kind), Text(job.get("instance_type") or "?"), f"{job['seconds']:,.0f}", format_amount(job.get("usd")))
    table.add_row(Text("total", style="bold"), "", "", Text(format_amount(bill.get("total_usd")), style="bold"))
    if expected:
        table.add_row(Text("expected", style="dim"), "", "", Text(format_amount(expected.get("total")), style="dim"))
    console.print(table)
    for note in bill.get("notes", []):
        console.print(Text(f"  {note}", style="dim"), soft_wrap=True)
    console.print(Text(describe_endpoint(found, target)), soft_wrap=True)
    if target.local is not None:
        console.print(Text("  Local mode is free: these are the prices that AWS would charge.", style="dim"), soft_wrap=True)


def describe_endpoint(found: dict[str, Any], target: Target) -> str:
    """Describe what the endpoint costs and how to delete it."""
    name, status = found["endpoint"]["name"], found["endpoint"]["status"]
    if status is None:
        return f"  The endpoint {name!r} does not exist, so it does not cost anything."
    hourly = found["bill"].get("endpoint_per_hour")
    if hourly is None:
        return f"  The endpoint {name!r} is {status}; its hourly cost is unknown."
    if not hourly:
        return f"  The endpoint {name!r} is {status}; the model of this execution is free between requests, or is not deployed."
    month = f"{hourly * HOURS_PER_MONTH:,.2f}"
    return f"  The endpoint {name!r} is {status} and costs {hourly:g} USD an hour, {month} a month, until `whippet down{target.option}`."


def format_amount(dollars: float | None) -> str:
    """Format an amount as `1.23`, with four digits below one cent."""
    if dollars is None:
        return "unknown"
    return f"{dollars:,.2f}" if not dollars or dollars >= 0.01 else f"{dollars:.4f}"
