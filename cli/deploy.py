"""`whippet deploy`: synthesises once, then runs `cdk bootstrap` and `cdk deploy` on the result.

Runs on the user's machine: `whippet deploy [--local] [-c NAME=VALUE] [further arguments of cdk deploy]`. Against local mode the CDK
command line writes to a log file, with its last line on the screen; against AWS it uses the terminal, because it may ask for approval.
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
from cli.terminal.screen import open_console

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

    def run_logged(self, arguments: Sequence[str], progress: Progress) -> None:
        """Run to the end, pass each line to the log and to `progress`; an error includes the log's tail."""
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
                f"`cdk {arguments[0]}` failed (exit status {process.returncode}). Last lines:\n"
                + "\n".join(tail)
                + f"\nComplete log: {self.log}"
            )

    def run_in_terminal(self, arguments: Sequence[str]) -> None:
        """Run to the end in the user's terminal, so that CDK can ask questions."""
        status = subprocess.run([str(self.program), *arguments], cwd=REPOSITORY, env=dict(self.environment), check=False).returncode
        if status != 0:
            raise RefusedError(f"`cdk {arguments[0]}` failed (exit status {status}); see its output above.")

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
    verbose: Annotated[bool, typer.Option("--verbose", help="Print the output of the CDK command line (always printed on AWS).")] = False,
) -> None:
    """Deploy the stack with CDK. Further arguments go to `cdk deploy`, `-c NAME=VALUE` to `cdk synth`."""
    console = open_console()
    target = open_target(local, project)
    if target.local is None:
        deploy_stack(target, lambda _: None, context.args)
    else:
        with console.status("Deploying") as status:
            deploy_stack(
                target, console.print if verbose else lambda line: status.update(f"Deploying  [dim]{_shorten(line)}[/]"), context.args
            )
    console.print(f"[green]✓[/] [bold]{target.project}[/] is deployed on {target.place}. Next: [bold]whippet upload PATH{target.option}[/]")


def deploy_stack(target: Target, progress: Progress, further: Sequence[str] = ()) -> None:
    """Synthesise, bootstrap and deploy; without changes this takes seconds."""
    cdk = find_cdk(target)
    for arguments in build_cdk_commands(target, further):
        if target.local is None:
            cdk.run_in_terminal(arguments)
        else:
            cdk.run_logged(arguments, progress)


def build_cdk_commands(target: Target, further: Sequence[str]) -> list[list[str]]:
    """Build the three command lines. Local mode's assembly is under its home, separate from that for AWS."""
    assembly = str(home() / "cdk.out" if target.local else REPOSITORY / "cdk.out")
    account = target.client("sts").get_caller_identity()["Account"]
    context, further = split_context(further)
    is_given = any(argument.startswith("--require-approval") for argument in further)
    approval = [] if is_given else ["--require-approval", "never" if target.local else "broadening"]
    named = ["--context", f"project={target.project}", *(["--context", "model_package_group=existing"] if is_group_left(target) else [])]
    return [
        ["synth", "--quiet", "--output", assembly, *named, *context],
        ["bootstrap", f"aws://{account}/{target.region}"],
        ["deploy", "--all", "--app", assembly, *approval, *further],
    ]


def is_group_left(target: Target) -> bool:
    """Whether the project's model package group exists outside its stack: it survives `cdk destroy`, and cannot be created twice.

    CloudFormation's `--import-existing-resources` imports only resources identified by name; a group is identified by its ARN.
    """
    try:
        target.client("sagemaker").describe_model_package_group(ModelPackageGroupName=target.project)
    except ClientError:
        return False  # missing, or without permission to read it, which the deployment then reports
    if target.stack() is None:
        return True
    pages = target.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=target.project)
    return GROUP not in {resource["ResourceType"] for page in pages for resource in page["StackResourceSummaries"]}


def split_context(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split arguments into context values, each after a `--context`, and others: a finished assembly does not accept context."""
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


def find_cdk(target: Target, program: Path = CDK) -> CdkCommandLine:
    """Return the pinned CDK command line, with this virtual environment's Python and Node first on the path."""
    if not program.is_file():
        raise RefusedError(f"The CDK command line is not installed at {program}. Run `make node_modules/installed` (or `npm ci`).")
    path = f"{Path(sys.executable).parent}:{target.environment.get('PATH', '')}"
    environment = {**target.environment, "PATH": path, "AWS_REGION": target.region}
    return CdkCommandLine(program, environment, home() / "logs" / "cdk.log")


def _shorten(line: str) -> str:
    """Return the resource in a CDK line, without markup."""
    return line.rsplit("| ", 1)[-1][:80].replace("[", "(")
