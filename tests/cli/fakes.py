"""Ordinary objects that stand in for AWS clients and local mode, for the tests of the verbs. Used by the tests beside it."""

import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import ClientError

from cli.account.target import Target

START = datetime(2026, 11, 22, 16, 0, 0, tzinfo=UTC)
NOW = START + timedelta(seconds=100)
PREFIX = "whippet-261122160000-"
"""What the names of an execution that started then begin with."""
ARN = "arn:aws:states:us-east-1:000000000000:execution:whippet:one"


def client_error(code: str, message: str, operation: str = "Operation") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)


@dataclass
class Pages:
    """A paginator of one page, or of the pages that a function makes."""

    make: Callable[..., list[dict[str, Any]]]

    def paginate(self, **arguments: Any) -> Iterator[dict[str, Any]]:
        return iter(self.make(**arguments))


@dataclass
class FakeS3:
    """A bucket in memory; ETags are MD5, as S3's are for objects put in one piece."""

    objects: dict[str, bytes] = field(default_factory=dict)
    puts: list[str] = field(default_factory=list)

    def put_object(self, Bucket: str, Key: str, Body: Any) -> dict[str, Any]:  # noqa: N803 - boto3's names
        self.objects[Key] = Body if isinstance(Body, bytes) else Body.read()
        self.puts.append(Key)
        return {}

    def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803
        if Key not in self.objects:
            raise client_error("NoSuchKey", "The specified key does not exist.")
        return {"Body": io.BytesIO(self.objects[Key])}

    def download_file(self, bucket: str, key: str, file: str) -> None:
        Path(file).write_bytes(self.objects[key])

    def delete_objects(self, Bucket: str, Delete: dict[str, Any]) -> dict[str, Any]:  # noqa: N803
        for item in Delete["Objects"]:
            del self.objects[item["Key"]]
        return {}

    def get_paginator(self, operation: str) -> Pages:
        assert operation == "list_objects_v2"
        return Pages(self._pages)

    def _pages(self, Bucket: str, Prefix: str) -> list[dict[str, Any]]:  # noqa: N803
        found = [(key, body) for key, body in sorted(self.objects.items()) if key.startswith(Prefix)]
        entries = [{"Key": key, "Size": len(body), "ETag": f'"{hashlib.md5(body).hexdigest()}"'} for key, body in found]  # noqa: S324
        return [{"Contents": entries[:2]}, {"Contents": entries[2:]}] if entries else [{}]


@dataclass
class FakeCloudFormation:
    """One stack, or none."""

    stack: dict[str, Any] | None

    def describe_stacks(self, StackName: str) -> dict[str, Any]:  # noqa: N803
        if self.stack is None:
            raise client_error("ValidationError", f"Stack with id {StackName} does not exist", "DescribeStacks")
        return {"Stacks": [self.stack]}


@dataclass
class FakeMachine:
    """Local mode that runs or does not."""

    logs_folder: Path = Path("/logs")
    running: bool = True
    url: str = "http://127.0.0.1:4566"
    failure: Exception | None = None

    def start(self, progress: Callable[[str], None]) -> None:
        if self.failure:
            raise self.failure
        self.running = True

    def stop(self, progress: Callable[[str], None]) -> list[int]:
        was, self.running = self.running, False
        return [11, 12] if was else []

    def is_running(self) -> bool:
        return self.running

    def settings(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "LOCALKEY",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "CDK_HOME": "/cdk",
        }

    def environment(self) -> dict[str, str]:
        return {"PATH": "/usr/bin", **self.settings()}

    def api_url(self, deployed_url: str) -> str:
        return f"{self.url}/restapis/abc/v1/_user_request_{deployed_url.partition('/v1')[2]}"


def stack(**outputs: str) -> dict[str, Any]:
    """A deployed stack with our outputs, some of them changed."""
    values = {
        "BucketName": "photos-bucket",
        "StateMachineArn": "arn:aws:states:us-east-1:000000000000:stateMachine:whippet",
        "ApiUrl": "https://abc.execute-api.us-east-1.amazonaws.com/v1/predict",
        "PageUrl": "https://abc.execute-api.us-east-1.amazonaws.com/v1/",
        "EndpointName": "whippet",
    } | outputs
    listed = [{"OutputKey": key, "OutputValue": value} for key, value in values.items()]
    return {"StackName": "whippet", "StackStatus": "CREATE_COMPLETE", "Outputs": listed}


def target(machine: FakeMachine | None = None, **clients: Any) -> Target:
    """A target whose clients are the given ones; the stack is deployed unless another `cloudformation` is given."""
    known = {"cloudformation": FakeCloudFormation(stack()), **clients}
    credentials = ReadOnlyCredentials("KEY", "SECRET", None)
    environment = {"PATH": "/usr/bin", "AWS_ENDPOINT_URL": "http://x"}
    return Target("whippet", known.__getitem__, "us-east-1", lambda: credentials, environment, machine, now=lambda: NOW)
