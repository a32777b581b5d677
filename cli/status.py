"""`whippet status`: what is deployed, how the last execution stands, what answers and where to look.

Runs on the user's machine: `whippet status [--local] [--json]`.
"""

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.account.model_versions import ModelVersion, model_versions
from cli.account.target import Target, open_target
from cli.executions.execution import latest_execution, read_execution, reason, run_name
from cli.executions.watch_view import format_duration
from cli.terminal.options import Local, Project
from cli.terminal.screen import screen
from local.mode import TRUST

VERSIONS = 5
"""Newest models that are told."""
PAGE_IN_STRICT = "\nfor browsers only after `whippet deploy --local -c api_authorization=none`: strict local mode answers signed requests"
PAGE_ON_AWS = "\nfor browsers only after `whippet deploy -c api_authorization=none`; with IAM, the default, they get a 403"


def status(
    local: Local = False, project: Project = None, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """Say what is deployed and where everything is."""
    target = open_target(local, project)
    found = read_status(target)
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    console = screen()
    print_status(console, target, found)
    if target.local is not None:
        print_exports(console, target.local.settings())


def read_status(target: Target) -> dict[str, Any]:
    """Everything that `whippet status` says, as plain values."""
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
        "execution": _execution(target, outputs.bucket),
        "models": [_model(version) for version in model_versions(target, most=VERSIONS)],
        "logs": _logs(target),
    }


def print_status(console: Console, target: Target, found: dict[str, Any]) -> None:
    """The same for people."""
    if found["stack"] is None:
        console.print(f"[bold]{target.project}[/] is not deployed on {target.place}. Deploy it with [bold]whippet deploy{target.option}[/]")
        return
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    table.add_row("project", Text(f"{found['project']} on {found['place']}, {found['stack']}"))
    table.add_row("bucket", Text(found["bucket"]))
    table.add_row("page", Text(found["page"] + page_note(target)))
    table.add_row("api", Text(found["api"]))
    table.add_row("endpoint", Text(f"{found['endpoint']['name']}, {found['endpoint']['status'] or 'none yet'}"))
    for name, value in _execution_rows(found["execution"], target):
        table.add_row(name, Text(value))
    for model in found["models"]:
        accuracy = f", accuracy {model['accuracy']:.3f}" if model["accuracy"] is not None else ""
        table.add_row("model", Text(f"version {model['version']} of {model['created'][:10]}{accuracy}, {model['status']}"))
    table.add_row("logs", Text(found["logs"]))
    console.print(table)


def page_note(target: Target) -> str:
    """Who may open the page, where it is not everybody on this machine; local mode has a certificate where it is strict."""
    if target.local is None:
        return PAGE_ON_AWS
    return PAGE_IN_STRICT if target.ca_bundle else ""


def print_exports(console: Console, settings: dict[str, str]) -> None:
    """The lines that point awscli and boto3 at local mode."""
    console.print("\nTo look with awscli or boto3:", style="dim")
    for name, value in settings.items():
        if name.startswith("AWS_") or name in TRUST:
            console.print(f"export {name}={value}", soft_wrap=True)


def _execution(target: Target, bucket: str) -> dict[str, Any] | None:
    arn = latest_execution(target)
    if arn is None:
        return None
    execution = read_execution(target, arn)
    run = execution.output.get("run") or run_name(target.project, arn, execution.started)
    return {
        "arn": arn,
        "status": execution.status,
        "started": execution.started.isoformat(),
        "seconds": round(execution.seconds, 1),
        "best": execution.output.get("best"),
        "not_deployed": execution.kept_back,
        "report": execution.output.get("report"),
        "files": f"s3://{bucket}/executions/{run}/",
        "reason": reason(execution) if execution.status not in ("RUNNING", "SUCCEEDED") else None,
    }


def _model(version: ModelVersion) -> dict[str, Any]:
    created = version.created.isoformat()
    return {"version": version.number, "created": created, "accuracy": version.accuracy, "status": version.words, "run": version.run}


def _execution_rows(execution: dict[str, Any] | None, target: Target) -> list[tuple[str, str]]:
    if execution is None:
        return [("execution", f"none yet: whippet run{target.option}")]
    rows = [("execution", f"{execution['status']} after {format_duration(execution['seconds'])}, {execution['arn']}")]
    if best := execution["best"]:
        rows.append(("best", f"learning rate {best['lr']:.4g}, batch size {best['batch_size']}, validation loss {best['objective']:.4f}"))
    if execution["not_deployed"] is not None:
        rows.append(("not deployed", "\n".join(execution["not_deployed"]) or "no reason was given"))
    rows += [(name, execution[name]) for name in ("report", "reason") if execution[name]]
    return [*rows, ("files", execution["files"])]


def _logs(target: Target) -> str:
    if target.local is not None:
        return str(target.local.logs_folder)
    return f"https://{target.region}.console.aws.amazon.com/cloudwatch/home?region={target.region}#logsV2:log-groups"
