"""`whippet doctor`: checks the requirements of an execution that an account may lack, before they cost anything.

Runs on the user's machine: `whippet doctor [--input FILE-OR-JSON] [--local]`. Reads only. Exit status 1 if a check fails.
It checks the quotas for the instance types of the execution input, or of its defaults.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from botocore.exceptions import ClientError
from rich.console import Console
from rich.text import Text

from cli.account.quotas import Need, find_quotas, list_needs
from cli.account.target import Target, home, open_target
from cli.deploy import CDK
from cli.run import read_input
from cli.terminal.errors import RefusedError
from cli.terminal.options import Local, Project
from cli.terminal.screen import open_console

MARKS = {"fine": ("✓", "green"), "warning": ("!", "yellow"), "wrong": ("✗", "bold red")}
BOOTSTRAP_PARAMETER = "/cdk-bootstrap/hnb659fds/version"
LEAST_BOOTSTRAP = 6
"""The oldest sufficient version of the bootstrap stack: from it on the roles may read the assets' bucket."""
LEAST_FREE_GB = 5
"""The disk space that local mode needs: the image environment, several copies of the photos, models."""


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    name: str
    status: str
    """fine, warning or wrong"""
    said: str
    advice: str = ""
    """What to do; empty if nothing."""


Check = Callable[[Target], Iterator[Finding]]


def doctor(
    local: Local = False,
    project: Project = None,
    given: Annotated[str, typer.Option("--input", help="Execution input that is to be run: a JSON file, or JSON.")] = "{}",
) -> None:
    """Check what an execution needs: permissions, bootstrap, photos, quotas."""
    console, target = open_console(), open_target(local, project)
    wanted = list_needs(read_input(given))
    if not report(console, examine(target, wanted)):
        raise typer.Exit(1)


def examine(target: Target, wanted: tuple[Need, ...]) -> Iterator[Finding]:
    """Yield the findings one by one; skips later checks if an earlier failure makes them pointless."""
    yield check_cdk(CDK)
    if target.local:
        yield check_disk(home())
    identity = check_identity(target)
    yield identity
    if identity.status == "wrong":
        return
    checks: tuple[Check, ...] = (check_bootstrap, check_stack, lambda where: check_quotas(where, wanted))
    for check in checks:
        try:
            yield from check(target)
        except ClientError as error:
            yield explain_refusal(error)


def report(console: Console, findings: Iterator[Finding]) -> bool:
    """Print each finding; returns whether all checks passed."""
    wrong = 0
    for finding in findings:
        mark, style = MARKS[finding.status]
        console.print(Text.assemble("  ", (mark, style), f" {finding.name:<14}", finding.said), soft_wrap=True)
        if finding.advice:
            console.print(Text(f"    {'':<13} {finding.advice}", style="dim"), soft_wrap=True)
        wrong += finding.status == "wrong"
    console.print("[green]All checks passed.[/]" if not wrong else f"[bold red]{wrong} of these checks failed.[/]")
    return not wrong


def check_cdk(program: Path) -> Finding:
    """Whether the pinned CDK command line is installed."""
    if program.is_file():
        return Finding("CDK", "fine", f"the pinned command line is at {program}")
    return Finding("CDK", "wrong", f"the command line is not at {program}", "Install it: make node_modules/installed")


def check_disk(folder: Path) -> Finding:
    """Whether local mode has enough disk space."""
    existing = next(each for each in (folder, *folder.parents) if each.exists())
    free = shutil.disk_usage(existing).free / 1e9
    space = f"{free:.0f} GB are free at {existing}"
    if free >= LEAST_FREE_GB:
        return Finding("disk", "fine", space)
    return Finding("disk", "wrong", f"{space}, but local mode needs {LEAST_FREE_GB}", "Free space, or set WHIPPET_HOME to another disk.")


def check_identity(target: Target) -> Finding:
    """Whether the credentials are valid, and for which account."""
    try:
        caller = target.client("sts").get_caller_identity()
    except ClientError as error:
        message = error.response["Error"].get("Message", "")
        return Finding("credentials", "wrong", message, "Run `aws configure` or `aws sso login`, or add --local to work on this machine.")
    return Finding("credentials", "fine", f"{caller['Arn']}, account {caller['Account']}, {target.place}")


def check_bootstrap(target: Target) -> Iterator[Finding]:
    """Whether CDK may deploy into this account and region."""
    deploy = f"`whippet deploy{target.option}` does it."
    try:
        version = int(target.client("ssm").get_parameter(Name=BOOTSTRAP_PARAMETER)["Parameter"]["Value"])
    except ClientError as error:
        if error.response["Error"]["Code"] != "ParameterNotFound":
            raise
        yield Finding("bootstrap", "warning", f"CDK has not been bootstrapped on {target.place} yet", deploy)
        return
    if version < LEAST_BOOTSTRAP:
        yield Finding("bootstrap", "warning", f"version {version} is older than {LEAST_BOOTSTRAP}", deploy)
    else:
        yield Finding("bootstrap", "fine", f"version {version}")


def check_stack(target: Target) -> Iterator[Finding]:
    """Whether the stack is deployed, and whether its bucket has photos."""
    stack = target.stack()
    if stack is None:
        yield Finding("stack", "warning", f"{target.project} is not deployed yet", f"Run `whippet deploy{target.option}`.")
        return
    status = stack["StackStatus"]
    if not status.endswith("_COMPLETE") or status.startswith(("ROLLBACK", "DELETE")):
        advice = "CloudFormation's stack events have the reason. Delete a stack in ROLLBACK_COMPLETE before deploying it again."
        yield Finding("stack", "wrong", f"{target.project} is {status}", advice)
        return
    yield Finding("stack", "fine", f"{target.project} is {status}")
    yield check_photos(target)


def check_photos(target: Target) -> Finding:
    """Whether the default prefix has objects; the first state counts and checks the photos."""
    bucket = target.outputs().bucket
    if target.client("s3").list_objects_v2(Bucket=bucket, Prefix="data/", MaxKeys=1).get("KeyCount", 0):
        return Finding("photos", "fine", f"there are some under s3://{bucket}/data/")
    return Finding("photos", "warning", f"none are under s3://{bucket}/data/", f"Run `whippet upload PATH{target.option}`.")


def check_quotas(target: Target, wanted: tuple[Need, ...]) -> Iterator[Finding]:
    """Whether the account may have so many of each machine at once; a new account may have no GPU at all."""
    if target.local:
        return
    quotas = find_quotas(target, wanted)
    for need in wanted:
        quota = quotas.get(need.quota)
        if quota is None:
            yield Finding("quota", "warning", f"Service Quotas knows none named {need.quota!r}", "Is the instance type spelt right?")
        elif quota < need.count:
            yield Finding("quota", "wrong", f"{need.quota}: {quota:g}, and the execution needs {need.count}", more(need))
        elif quota < need.most:
            said = f"{need.quota}: {quota:g}, enough to begin with, and an update of the endpoint at full load takes {need.most}"
            yield Finding("quota", "warning", said, more(need))
        else:
            yield Finding("quota", "fine", f"{need.quota}: {quota:g}, and the execution needs {need.count}")


def more(need: Need) -> str:
    """What to do about a quota that is too small."""
    return f"Ask for more in the Service Quotas console (SageMaker, {need.quota!r}), or use {need.instead}."


def explain_refusal(error: ClientError) -> Finding:
    """A look that these credentials may not take, which need not keep an execution from anything: it has roles of its own."""
    details: Any = error.response["Error"]
    if details["Code"] not in ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation"):
        raise RefusedError(f"{error.operation_name}: {details.get('Message', '')} ({details['Code']})") from error
    return Finding("permissions", "warning", f"these credentials may not call {error.operation_name}, so that was not looked at")
