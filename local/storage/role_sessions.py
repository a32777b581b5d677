"""Roles that jobs and models are given: who works for one of them does so with that role's permissions and no others.

Runs in the SageMaker plane, in strict local mode. As SageMaker does, it assumes the role, whose trust policy has to name
sagemaker.amazonaws.com, and reads inputs, writes outputs and logs with the credentials that come of it.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.credentials import CredentialProvider, Credentials, DeferredRefreshableCredentials
from botocore.exceptions import ClientError

from local.api.shapes import ServiceError, invalid
from local.storage.objects import ChannelCache

SERVICE = "sagemaker.amazonaws.com"
ACTING_FOR = "x-whippet-acting-for"
"""The header by which the plane says that it asks as that service, and not as the user whose key it has."""
JOB_SECONDS = 12 * 3600
"""How long the credentials last that a job finds in its environment, where AWS's are renewed for as long as the job runs."""
CLIENT_SECONDS = 3600


@dataclass(frozen=True)
class Acting:
    """A role's clients and its cache of channels, and the variables that give a process its permissions."""

    s3: Any
    logs: Any
    channels: ChannelCache
    variables: Mapping[str, str]


class RoleSessions:
    """The roles in use, each assumed when it is first needed; clients renew their credentials themselves."""

    def __init__(self, sts: Any, endpoint_url: str, config: Config, folder: Path) -> None:
        """Assume roles through the boto3 client `sts`; make clients of the engine at `endpoint_url`, and caches below `folder`."""
        sts.meta.events.register("before-sign.sts.AssumeRole", _say_who_asks)
        self._sts, self._endpoint_url, self._config, self._folder = sts, endpoint_url, config, folder
        self._acting: dict[str, Acting] = {}
        self._lock = threading.Lock()

    def acting_as(self, role: str) -> Acting:
        """What works with the permissions of the role with this ARN; ServiceError in AWS's words where SageMaker may not assume it."""
        variables = _variables(self._assume(role, JOB_SECONDS))
        with self._lock:
            if role not in self._acting:
                self._acting[role] = self._first(role)
            return replace(self._acting[role], variables=variables)

    def _first(self, role: str) -> Acting:
        """The clients of a role that has not been in use. Its cache is its own: what one role has read, another may not read."""
        core = botocore.session.Session()
        core.get_component("credential_provider").insert_before("env", _AssumedRole(lambda: _metadata(self._assume(role, CLIENT_SECONDS))))
        session = boto3.Session(botocore_session=core, region_name=self._sts.meta.region_name)
        s3, logs = (session.client(name, endpoint_url=self._endpoint_url, config=self._config) for name in ("s3", "logs"))
        return Acting(s3, logs, ChannelCache(self._folder / f"channels-of-{role.rpartition('/')[2]}", s3), {})

    def _assume(self, role: str, seconds: int) -> Mapping[str, Any]:
        try:
            answer: Mapping[str, Any] = self._sts.assume_role(RoleArn=role, RoleSessionName="SageMaker", DurationSeconds=seconds)
        except ClientError as error:
            if error.response["Error"]["Code"] != "AccessDenied":
                raise
            raise _not_assumed(role) from error
        credentials: Mapping[str, Any] = answer["Credentials"]
        return credentials


class _AssumedRole(CredentialProvider):  # type: ignore[misc]  # botocore has no types
    """Credentials that are fetched when they are needed, and again before they expire."""

    METHOD = "whippet-assumed-role"

    def __init__(self, fetch: Callable[[], dict[str, str]]) -> None:
        super().__init__()
        self._fetch = fetch

    def load(self) -> Credentials:
        return DeferredRefreshableCredentials(refresh_using=self._fetch, method=self.METHOD)


def _say_who_asks(request: Any, **_named: Any) -> None:
    request.headers.add_header(ACTING_FOR, SERVICE)


def _not_assumed(role: str) -> ServiceError:
    return invalid(f"Could not assume role {role}. Please ensure that the role exists and allows principal '{SERVICE}' to assume the role.")


def _metadata(credentials: Mapping[str, Any]) -> dict[str, str]:
    return {
        "access_key": credentials["AccessKeyId"],
        "secret_key": credentials["SecretAccessKey"],
        "token": credentials["SessionToken"],
        "expiry_time": credentials["Expiration"].isoformat(),
    }


def _variables(credentials: Mapping[str, Any]) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": credentials["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": credentials["SecretAccessKey"],
        "AWS_SESSION_TOKEN": credentials["SessionToken"],
    }
