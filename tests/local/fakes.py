"""Stand-ins for the engine's S3 and CloudWatch Logs, for tests of the plane's parts that need no engine."""

import hashlib
import io
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from botocore.exceptions import ClientError

from local.host.processes import ProcessBook
from local.image_environment import ImageEnvironment
from local.jobs.container import JobTools
from local.storage.objects import ChannelCache


class FakeLogs:
    """CloudWatch Logs that take everything."""

    exceptions = SimpleNamespace(ResourceAlreadyExistsException=type("ResourceAlreadyExistsException", (Exception,), {}))

    def create_log_group(self, **_arguments: Any) -> None: ...

    def create_log_stream(self, **_arguments: Any) -> None: ...

    def put_log_events(self, **_arguments: Any) -> None: ...


class FakeS3:
    """Objects by key, whatever the bucket; `error`, when set, is what every transfer ends with."""

    exceptions = SimpleNamespace(ClientError=ClientError, NoSuchBucket=type("NoSuchBucket", (Exception,), {}))

    def __init__(self, error: Exception | None = None) -> None:
        self.objects: dict[str, bytes] = {}
        self.error = error

    def get_paginator(self, _operation: str) -> Any:
        return SimpleNamespace(paginate=lambda **wanted: [{"Contents": self._listed(wanted["Prefix"])}])

    def get_object(self, **wanted: Any) -> dict[str, Any]:
        body = self.objects.get(wanted["Key"])
        if body is None:
            raise ClientError({"Error": {"Code": "NoSuchKey"}}, "GetObject")
        if wanted.get("IfMatch") not in (None, etag(body)):
            raise ClientError({"Error": {"Code": "PreconditionFailed"}}, "GetObject")
        return {"Body": io.BytesIO(body)}

    def _listed(self, prefix: str) -> list[dict[str, Any]]:
        found = {key: body for key, body in self.objects.items() if key.startswith(prefix)}
        return [{"Key": key, "ETag": etag(body), "Size": len(body)} for key, body in found.items()]

    def download_file(self, _bucket: str, key: str, path: str) -> None:
        if self.error is not None:
            raise self.error
        Path(path).write_bytes(self.objects[key])

    def upload_file(self, path: str, _bucket: str, key: str) -> None:
        if self.error is not None:
            raise self.error
        self.objects[key] = Path(path).read_bytes()


def etag(body: bytes) -> str:
    """What S3 tells two contents of an object apart by."""
    return hashlib.sha256(body).hexdigest()


def toolkit(folder: Path, program: str) -> None:
    """Give the tools below `folder` a toolkit: a job then runs `program`, Python source, with the tests' own interpreter."""
    train = ImageEnvironment(folder / "image").train
    train.parent.mkdir(parents=True)
    train.write_text(f"#!{sys.executable}\n{program}\n")
    train.chmod(0o755)


PROGRAM = """
import json, os, sys, time
from pathlib import Path
given = {name.lstrip("-"): value for name, value in zip(sys.argv[1::2], sys.argv[2::2])}
judged = json.loads(Path(given["configurations"]).read_text()) if "configurations" in given else []
rules = [rule["RuleConfigurationName"] for rule in judged]

def tell(status, details="", names=rules):
    told = [{"RuleConfigurationName": name, "RuleEvaluationStatus": status, "StatusDetails": details, "Evidence": [7]} for name in names]
    unfinished = Path(given["statuses"] + ".unfinished")
    unfinished.write_text(json.dumps(told))
    unfinished.replace(given["statuses"])

"""
SAMPLES = (
    "file = Path(given['folder'], 'system', '1.algo-1.json'); file.parent.mkdir(); file.write_text(given['interval-ms']); sys.stdin.read()"
)
ALL_IS_WELL = "tell('NoIssuesFound')"


def programs(folder: Path, evaluate: str = "sys.stdin.read(); " + ALL_IS_WELL, sampler: str = SAMPLES, analyse: str = ALL_IS_WELL) -> Path:
    """A folder with stand-ins, Python sources, for the programs that run beside a training job."""
    for name, source in {"rules/evaluate": evaluate, "profiler/sampler": sampler, "profiler/analyse": analyse}.items():
        file = folder / "training" / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(PROGRAM + source)
    return folder


def fake_tools(folder: Path, s3: FakeS3) -> JobTools:
    """A plane's tools below `folder` without an engine; its image environment is empty until `toolkit` writes a program there."""
    image, aws = ImageEnvironment(folder / "image"), {"AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
    channels, book = ChannelCache(folder / "channels", s3), ProcessBook(folder / "run")
    return JobTools(s3, FakeLogs(), image, folder, channels, book, aws, programs=folder / "programs")
