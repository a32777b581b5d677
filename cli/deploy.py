"""`whippet deploy`: synthesise once, then the ordinary `cdk bootstrap` and `cdk deploy` of the result.

Runs on the user's machine: `whippet deploy [--local] [-c NAME=VALUE] [further arguments of cdk deploy]`. Against local mode the CDK
command line writes to a log file behind one live line; against AWS it has the terminal, because it may ask for approval.
"""

import re
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from botocore.exceptions import ClientError

from cli.account.target import REPOSITORY, Target, home, open_target
from cli.terminal.errors import RefusedError
from cli.terminal.options import Local, Project
from cli.terminal.screen import screen

CDK = REPOSITORY / "node_modules" / ".bin" / "cdk"
CONTEXT_OPTIONS = ("-c", "--context")
GROUP = "AWS::SageMaker::ModelPackageGroup"
TAIL = 25
"""Lines of the log shown when a command fails."""

Progress = Callable[[str], None]


@dataclass(frozen=True)
class CdkCommandLine:
    """The pinned CDK command line and the environment it runs in."""

    program: Path
    environment: Mapping[str, str]
    log: Path

    def logged(self, arguments: Sequence[str], progress: Progress) -> None:
        """Runs to the end, each line into the log and to `progress`; a failure shows the log's tail."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        tail: deque[str] = deque(maxlen=TAIL)
        with self.log.open("a", encoding="utf-8") as log, self._process(arguments) as process:
            log.write(f"$ cdk {' '.join(arguments)}\n")
            assert process.stdout is not None
            for line in process.stdout:
                log.write(line)
                if line.strip():
                    tail.append(line.rstrip())
                    progress(tail[-1].strip())
        if process.returncode != 0:
            raise RefusedError(
                f"`cdk {arguments[0]}` failed (exit status {process.returncode}). Its last lines:\n"
                + "\n".join(tail)
                + f"\nAll of it: {self.log}"
            )

    def in_terminal(self, arguments: Sequence[str]) -> None:
        """Runs to the end with the user's own terminal, so that CDK can ask."""
        status = subprocess.run([str(self.program), *arguments], cwd=REPOSITORY, env=dict(self.environment), check=False).returncode
        if status != 0:
            raise RefusedError(f"`cdk {arguments[0]}` failed (exit status {status}); what it printed says why.")

    def _process(self, arguments: Sequence[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(self.program), *arguments],
            cwd=REPOSITORY,
            env=dict(self.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
        )


def deploy(
    context: typer.Context,
    local: Local = False,
    project: Project = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Print what the CDK command line says (on AWS it always does).")] = False,
) -> None:
    """Provision everything with CDK. Further arguments go to `cdk deploy`, `-c NAME=VALUE` to `cdk synth`."""
    console = screen()
    target = open_target(local, project)
    if target.local is None:
        deploy_stack(target, lambda _: None, context.args)
    else:
        with console.status("Deploying") as status:
            deploy_stack(
                target, console.print if verbose else lambda line: status.update(f"Deploying  [dim]{_short(line)}[/]"), context.args
            )
    console.print(f"[green]✓[/] [bold]{target.project}[/] is deployed on {target.place}. Next: [bold]whippet upload PATH{target.option}[/]")


def deploy_stack(target: Target, progress: Progress, further: Sequence[str] = ()) -> None:
    """Synthesises, bootstraps and deploys; without a change in the files this takes seconds."""
    cdk = cdk_command_line(target)
    for arguments in cdk_commands(target, further):
        if target.local is None:
            cdk.in_terminal(arguments)
        else:
            cdk.logged(arguments, progress)


def cdk_commands(target: Target, further: Sequence[str]) -> list[list[str]]:
    """The three command lines. The assembly of local mode lies under its home, so that a deployment to AWS never finds it."""
    assembly = str(home() / "cdk.out" if target.local else REPOSITORY / "cdk.out")
    account = target.client("sts").get_caller_identity()["Account"]
    context, further = split_context(further)
    asked = any(argument.startswith("--require-approval") for argument in further)
    approval = [] if asked else ["--require-approval", "never" if target.local else "broadening"]
    named = ["--context", f"project={target.project}", *(["--context", "model_package_group=existing"] if is_group_left(target) else [])]
    return [
        ["synth", "--quiet", "--output", assembly, *named, *context],
        ["bootstrap", f"aws://{account}/{target.region}"],
        ["deploy", "--all", "--app", assembly, *approval, *further],
    ]


def is_group_left(target: Target) -> bool:
    """Whether the project's model package group is there and no resource of its stack: it outlives `cdk destroy`, and cannot be made twice.

    CloudFormation's own `--import-existing-resources` takes over only what is identified by its name, and a group is by its ARN.
    """
    try:
        target.client("sagemaker").describe_model_package_group(ModelPackageGroupName=target.project)
    except ClientError:
        return False  # it is not there; one that we may not see, the deployment itself finds
    if target.stack() is None:
        return True
    pages = target.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=target.project)
    return GROUP not in {resource["ResourceType"] for page in pages for resource in page["StackResourceSummaries"]}


def split_context(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The context values, each after a `--context`, and the other arguments: a finished assembly no longer takes any context."""
    context: list[str] = []
    others: list[str] = []
    waiting = iter(arguments)
    for argument in waiting:
        option, equals, value = argument.partition("=")
        if option not in CONTEXT_OPTIONS:
            others.append(argument)
            continue
        value = value if equals else next(waiting, "")
        if not re.fullmatch(r"(?!project=)[^=]+=.*", value):
            raise RefusedError(f"{option} takes NAME=VALUE, such as api_authorization=none; got {value!r}. The project is --project NAME.")
        context += ["--context", value]
    return context, others


def cdk_command_line(target: Target, program: Path = CDK) -> CdkCommandLine:
    """The pinned CDK command line with this virtual environment's Python and Node first on the path."""
    if not program.is_file():
        raise RefusedError(f"The CDK command line is not installed at {program}. Run `make node_modules/installed` (or `npm ci`).")
    path = f"{Path(sys.executable).parent}:{target.environment.get('PATH', '')}"
    environment = {**target.environment, "PATH": path, "AWS_REGION": target.region}
    return CdkCommandLine(program, environment, home() / "logs" / "cdk.log")


def _short(line: str) -> str:
    """The part of a CDK line that names the resource, without markup."""
    return line.rsplit("| ", 1)[-1][:80].replace("[", "(")
