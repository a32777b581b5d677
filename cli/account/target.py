"""Where a verb works: on AWS through the user's own configuration, or on local mode on this machine. Used by every verb.

A `Target` hands out boto3 clients and the outputs of the deployed stack; the verbs do not know which of the two they talk to.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import ClientError

from cli.terminal.errors import RefusedError
from local.mode import LocalMode

REPOSITORY = Path(__file__).resolve().parents[2]

CONNECTIONS = 32
"""Connections a client keeps: more than the threads of an upload."""


class LocalMachine(Protocol):
    """What the verbs ask of local mode; `local.mode.LocalMode` is the real one."""

    logs_folder: Path

    def start(self, progress: Callable[[str], None]) -> None:
        """Starts what does not run yet and waits until it answers."""

    def stop(self, progress: Callable[[str], None]) -> list[int]:
        """Stops all that it started; the ids of the ended processes."""

    def is_running(self) -> bool:
        """Whether the engine and the SageMaker plane both answer."""

    def settings(self) -> dict[str, str]:
        """The variables that point any AWS tool at local mode."""

    def environment(self) -> dict[str, str]:
        """The present environment without any AWS variable of the user's, plus `settings`."""

    def api_url(self, deployed_url: str) -> str:
        """The form of a stack's API URL that works on this machine."""


@dataclass(frozen=True)
class Outputs:
    """What the deployed stack says about itself."""

    bucket: str
    state_machine: str
    api_url: str
    page_url: str
    endpoint: str


@dataclass(frozen=True)
class Target:
    """One deployed project, or the place where it will be deployed."""

    project: str
    client: Callable[[str], Any]
    """Service name -> boto3 client."""
    region: str
    credentials: Callable[[], Any]
    """The frozen credentials that sign a request."""
    environment: Mapping[str, str]
    """The environment for AWS tools that are started as a process."""
    local: LocalMachine | None = None
    ca_bundle: str | None = None
    """The file of certificates to trust: what the user's AWS configuration names (AWS_CA_BUNDLE or `ca_bundle`), or local mode's."""
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    """The present moment, to which anything that has not ended is timed."""

    @property
    def option(self) -> str:
        """What a printed command must carry to reach the same target: ` --local`, ` --project NAME`, both or nothing."""
        return (" --local" if self.local else "") + (f" --project {self.project}" if self.project != default_project() else "")

    @property
    def place(self) -> str:
        """The target in words."""
        return "local mode" if self.local else f"AWS {self.region}"

    def outputs(self) -> Outputs:
        """The stack's outputs; a stack that is absent or half made is refused with the command that makes it."""
        stack = self.stack()
        if stack is None:
            hint = "" if self.local else " Is it in another region? Set AWS_REGION. Under another name? Pass --project."
            raise RefusedError(f"{self.project!r} is not deployed on {self.place}. Run `whippet deploy{self.option}` first.{hint}")
        values = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
        try:
            return Outputs(*(values[name] for name in ("BucketName", "StateMachineArn", "ApiUrl", "PageUrl", "EndpointName")))
        except KeyError as missing:
            raise RefusedError(
                f"The stack {self.project!r} is {stack['StackStatus']} and has no output {missing}. "
                f"Run `whippet deploy{self.option}` to bring it up to date."
            ) from missing

    def stack(self) -> dict[str, Any] | None:
        """CloudFormation's description of the stack, or None where there is none."""
        try:
            stacks = self.client("cloudformation").describe_stacks(StackName=self.project)["Stacks"]
        except ClientError as error:
            if error.response["Error"]["Code"] == "ValidationError" and "does not exist" in error.response["Error"]["Message"]:
                return None
            raise
        return stacks[0] if stacks else None

    def endpoint_status(self, name: str) -> str | None:
        """The endpoint's `EndpointStatus`, or None where it does not exist."""
        try:
            return str(self.client("sagemaker").describe_endpoint(EndpointName=name)["EndpointStatus"])
        except ClientError as error:
            if "Could not find" in error.response["Error"].get("Message", ""):
                return None
            raise

    def predict_url(self) -> str:
        """Where a photo is posted, in the form that works from this machine."""
        deployed = self.outputs().api_url
        return self.local.api_url(deployed) if self.local else deployed

    def page_url(self) -> str:
        """The page that classifies a dropped photo, in the form that works from this machine."""
        deployed = self.outputs().page_url
        return self.local.api_url(deployed) if self.local else deployed


def home() -> Path:
    """The folder of downloads, logs and local mode's state: `.local`, or what WHIPPET_HOME says."""
    return Path(os.environ.get("WHIPPET_HOME") or REPOSITORY / ".local").resolve()


def default_project() -> str:
    """The project that `cdk.json` names: the stack, the endpoint and the prefix of every job are called so."""
    settings = REPOSITORY / "cdk.json"
    context = json.loads(settings.read_text(encoding="utf-8")).get("context", {}) if settings.is_file() else {}
    return str(context.get("project", "whippet"))


def local_mode(strict: bool = False) -> LocalMachine:
    """This machine's local mode, running or not; `strict` is how it is started."""
    return LocalMode(home(), strict=strict)


def open_target(local: bool, project: str | None) -> Target:
    """The target that a verb's options name."""
    return local_target(project or default_project(), local_mode()) if local else aws_target(project or default_project())


def local_target(project: str, machine: LocalMachine) -> Target:
    """A running local mode; the user's own AWS configuration and proxies have no say in it."""
    if not machine.is_running():
        raise RefusedError("Local mode is not running. Start it with `whippet up --local`.")
    settings = machine.settings()
    alone = {
        "profile": (None, None, None, None),
        "config_file": (None, None, os.devnull, None),
        "credentials_file": (None, None, os.devnull, None),
    }
    session = boto3.Session(
        aws_access_key_id=settings["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=settings["AWS_SECRET_ACCESS_KEY"],
        region_name=settings["AWS_DEFAULT_REGION"],
        botocore_session=botocore.session.Session(session_vars=alone),
    )
    config = Config(max_pool_connections=CONNECTIONS, proxies={}, retries={"mode": "standard", "max_attempts": 3})
    url, trusted = settings["AWS_ENDPOINT_URL"], settings.get("AWS_CA_BUNDLE")
    client = lru_cache(lambda service: session.client(service, endpoint_url=url, config=config, verify=trusted))
    return Target(project, client, settings["AWS_DEFAULT_REGION"], lambda: _frozen(session), machine.environment(), machine, trusted)


def aws_target(project: str) -> Target:
    """AWS as the user's environment and configuration files say."""
    # boto3 alone knows only AWS_DEFAULT_REGION; CDK and awscli read AWS_REGION first.
    core = botocore.session.Session()
    session = boto3.Session(region_name=os.environ.get("AWS_REGION") or None, botocore_session=core)
    if session.region_name is None:
        raise RefusedError("No AWS region is set. Set AWS_REGION (or `aws configure`), or add --local to work on this machine.")
    config = Config(max_pool_connections=CONNECTIONS, retries={"mode": "standard", "max_attempts": 5})
    client = lru_cache(lambda service: session.client(service, config=config))
    return Target(
        project, client, session.region_name, lambda: _frozen(session), dict(os.environ), ca_bundle=core.get_config_variable("ca_bundle")
    )


def _frozen(session: boto3.Session) -> Any:
    credentials = session.get_credentials()
    if credentials is None:
        raise RefusedError("No AWS credentials were found. Run `aws configure` or `aws sso login`, or add --local to work on this machine.")
    return credentials.get_frozen_credentials()
