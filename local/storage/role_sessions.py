"""Assumes the roles of jobs and models: all work for a job or a model runs with the permissions of its role only.

Runs in the SageMaker plane, in strict local mode. Like SageMaker, the plane assumes the role, whose trust policy has to allow
sagemaker.amazonaws.com, and uses its credentials to read inputs and to write outputs and logs.
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

from local.api.errors import ServiceError, validation_error
from local.storage.objects import ChannelCache

SERVICE = "sagemaker.amazonaws.com"
ACTING_FOR = "x-whippet-acting-for"
"""The header that marks a request of the plane as SageMaker's own, not as the request of the user whose key it uses."""
JOB_SECONDS = 12 * 3600
"""The lifetime of the credentials in a job's environment; on AWS they are renewed while the job runs."""
CLIENT_SECONDS = 3600


@dataclass(frozen=True)
class RoleClients:
    """A role's clients and channel cache, and the environment variables with its credentials."""

    s3: Any
    logs: Any
    channels: ChannelCache
    variables: Mapping[str, str]


class RoleSessions:
    """The roles in use, each assumed on first use; clients renew their credentials themselves."""

    def __init__(self, sts: Any, endpoint_url: str, config: Config, folder: Path) -> None:
        """Assume roles through the boto3 client `sts`; create clients for the engine at `endpoint_url`, and caches under `folder`."""
        sts.meta.events.register("before-sign.sts.AssumeRole", _add_service_header)
        self._sts, self._endpoint_url, self._config, self._folder = sts, endpoint_url, config, folder
        self._clients: dict[str, RoleClients] = {}
        self._lock = threading.Lock()

    def assume(self, role: str) -> RoleClients:
        """Return clients with the permissions of the role with this ARN; raises AWS's error when SageMaker may not assume it."""
        variables = _to_variables(self._assume(role, JOB_SECONDS))
        with self._lock:
            if role not in self._clients:
                self._clients[role] = self._make_clients(role)
            return replace(self._clients[role], variables=variables)

    def _make_clients(self, role: str) -> RoleClients:
        """Create the clients of a role. Each role has its own cache: another role may lack the permission to read these objects."""
        core = botocore.session.Session()
        core.get_component("credential_provider").insert_before(
            "env", _AssumedRole(lambda: _to_metadata(self._assume(role, CLIENT_SECONDS)))
        )
        session = boto3.Session(botocore_session=core, region_name=self._sts.meta.region_name)
        s3, logs = (session.client(name, endpoint_url=self._endpoint_url, config=self._config) for name in ("s3", "logs"))
        return RoleClients(s3, logs, ChannelCache(self._folder / f"channels-of-{role.rpartition('/')[2]}", s3), {})

    def _assume(self, role: str, seconds: int) -> Mapping[str, Any]:
        try:
            answer: Mapping[str, Any] = self._sts.assume_role(RoleArn=role, RoleSessionName="SageMaker", DurationSeconds=seconds)
        except ClientError as error:
            if error.response["Error"]["Code"] != "AccessDenied":
                raise
            raise _cannot_assume(role) from error
        credentials: Mapping[str, Any] = answer["Credentials"]
        return credentials


class _AssumedRole(CredentialProvider):  # type: ignore[misc]  # botocore has no types
    """Credentials that are fetched on first use, and again before they expire."""

    METHOD = "whippet-assumed-role"

    def __init__(self, fetch: Callable[[], dict[str, str]]) -> None:
        super().__init__()
        self._fetch = fetch

    def load(self) -> Credentials:
        return DeferredRefreshableCredentials(refresh_using=self._fetch, method=self.METHOD)


def _add_service_header(request: Any, **_named: Any) -> None:
    request.headers.add_header(ACTING_FOR, SERVICE)


def _cannot_assume(role: str) -> ServiceError:
    return validation_error(
        f"Could not assume role {role}. Please ensure that the role exists and allows principal '{SERVICE}' to assume the role."
    )


def _to_metadata(credentials: Mapping[str, Any]) -> dict[str, str]:
    return {
        "access_key": credentials["AccessKeyId"],
        "secret_key": credentials["SecretAccessKey"],
        "token": credentials["SessionToken"],
        "expiry_time": credentials["Expiration"].isoformat(),
    }


def _to_variables(credentials: Mapping[str, Any]) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": credentials["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": credentials["SecretAccessKey"],
        "AWS_SESSION_TOKEN": credentials["SessionToken"],
    }
