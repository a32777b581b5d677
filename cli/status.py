"""`whippet status`: the deployment, the latest execution, the endpoint, and the locations of reports and logs.

Runs on the user's machine: `whippet status [--local] [--json]`.
"""

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.account.model_versions import ModelVersion, list_model_versions
from cli.account.target import Target, open_target
from cli.executions.execution import build_run_name, explain_failure, find_latest_execution, read_execution
from cli.executions.watch_view import format_duration
from cli.terminal.options import Local, Project
from cli.terminal.screen import open_console
from local.mode import TRUST

VERSIONS = 5
"""The number of newest models to show."""
PAGE_IN_STRICT = "\nfor browsers only after `whippet deploy --local -c api_authorization=none`: strict local mode answers signed requests"
PAGE_ON_AWS = "\nfor browsers only after `whippet deploy -c api_authorization=none`; with IAM, the default, they get a 403"


def status(
    local: Local = False, project: Project = None, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """Show what is deployed and where everything is."""
    target = open_target(local, project)
    found = read_status(target)
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    console = open_console()
    print_status(console, target, found)
    if target.local is not None:
        print_exports(console, target.local.settings())


def read_status(target: Target) -> dict[str, Any]:
    """Read everything that `whippet status` shows, as plain values."""
    stack = target.stack()
    if stack is None:
        return {"project": target.project, "place": target.place, "stack": None}
    outputs = target.outputs()
    return {
        "project": target.project,
        "place": target.place,
        "stack": stack["StackStatus"],
        "bucket": outputs.bucket,
        "page": target.page_url(),
        "api": target.predict_url(),
        "state_machine": outputs.state_machine,
        "endpoint": {"name": outputs.endpoint, "status": target.endpoint_status(outputs.endpoint)},
        "execution": _describe_execution(target, outputs.bucket),
        "models": [_describe_model(version) for version in list_model_versions(target, most=VERSIONS)],
        "logs": _locate_logs(target),
    }


def print_status(console: Console, target: Target, found: dict[str, Any]) -> None:
    """Print the status as a table."""
    if found["stack"] is None:
        console.print(f"[bold]{target.project}[/] is not deployed on {target.place}. Deploy it with [bold]whippet deploy{target.option}[/]")
        return
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    table.add_row("project", Text(f"{found['project']} on {found['place']}, {found['stack']}"))
    table.add_row("bucket", Text(found["bucket"]))
    table.add_row("page", Text(found["page"] + explain_page_access(target)))
    table.add_row("api", Text(found["api"]))
    table.add_row("endpoint", Text(f"{found['endpoint']['name']}, {found['endpoint']['status'] or 'none yet'}"))
    for name, value in _make_execution_rows(found["execution"], target):
        table.add_row(name, Text(value))
    for model in found["models"]:
        accuracy = f", accuracy {model['accuracy']:.3f}" if model["accuracy"] is not None else ""
        table.add_row("model", Text(f"version {model['version']} of {model['created'][:10]}{accuracy}, {model['status']}"))
    table.add_row("logs", Text(found["logs"]))
    console.print(table)


def explain_page_access(target: Target) -> str:
    """Explain who may open the page, if not every user of this machine; only strict local mode has a certificate."""
    if target.local is None:
        return PAGE_ON_AWS
    return PAGE_IN_STRICT if target.ca_bundle else ""


def print_exports(console: Console, settings: dict[str, str]) -> None:
    """Print the lines that point awscli and boto3 at local mode."""
    console.print("\nTo use awscli or boto3:", style="dim")
    for name, value in settings.items():
        if name.startswith("AWS_") or name in TRUST:
            console.print(f"export {name}={value}", soft_wrap=True)


def _describe_execution(target: Target, bucket: str) -> dict[str, Any] | None:
    arn = find_latest_execution(target)
    if arn is None:
        return None
    execution = read_execution(target, arn)
    run = execution.output.get("run") or build_run_name(target.project, arn, execution.started)
    return {
        "arn": arn,
        "status": execution.status,
        "started": execution.started.isoformat(),
        "seconds": round(execution.seconds, 1),
        "best": execution.output.get("best"),
        "not_deployed": execution.rejection_reasons,
        "report": execution.output.get("report"),
        "files": f"s3://{bucket}/executions/{run}/",
        "reason": explain_failure(execution) if execution.status not in ("RUNNING", "SUCCEEDED") else None,
    }


def _describe_model(version: ModelVersion) -> dict[str, Any]:
    created = version.created.isoformat()
    return {"version": version.number, "created": created, "accuracy": version.accuracy, "status": version.label, "run": version.run}


def _make_execution_rows(execution: dict[str, Any] | None, target: Target) -> list[tuple[str, str]]:
    if execution is None:
        return [("execution", f"none yet: whippet run{target.option}")]
    rows = [("execution", f"{execution['status']} after {format_duration(execution['seconds'])}, {execution['arn']}")]
    if best := execution["best"]:
        rows.append(("best", f"learning rate {best['lr']:.4g}, batch size {best['batch_size']}, validation loss {best['objective']:.4f}"))
    if execution["not_deployed"] is not None:
        rows.append(("not deployed", "\n".join(execution["not_deployed"]) or "without a reason"))
    rows += [(name, execution[name]) for name in ("report", "reason") if execution[name]]
    return [*rows, ("files", execution["files"])]


def _locate_logs(target: Target) -> str:
    if target.local is not None:
        return str(target.local.logs_folder)
    return f"https://{target.region}.console.aws.amazon.com/cloudwatch/home?region={target.region}#logsV2:log-groups"
