"""A real engine and a real SageMaker plane for the tests of local mode, started once a session on free ports.

The home is a folder of its own; only the image environment is the user's (home from WHIPPET_HOME, else `.local`), built when missing.
"""

import io
import json
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest
from botocore.config import Config

from local.image_environment import ImageEnvironment
from local.mode import ACCESS_KEY, REGION, SECRET_KEY, LocalMode

ROLE = "arn:aws:iam::000000000000:role/tests"
IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch:2.13-cpu-amzn2023-sagemaker"
METRICS = [{"Name": "objective:valid_loss", "Regex": r"\[metric\] objective:valid_loss=(\S+)"}]


@dataclass(frozen=True)
class Local:
    """Local mode that runs, and ways to reach it."""

    mode: LocalMode
    bucket: str

    def client(self, service: str) -> Any:
        """A boto3 client; errors come at once instead of after retries."""
        config = Config(retries={"total_max_attempts": 1}, read_timeout=120)
        return boto3.client(
            service,
            endpoint_url=self.mode.engine_url,
            region_name=REGION,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            config=config,
        )

    def put(self, key: str, body: bytes) -> str:
        """Put an object into the bucket; returns its URI."""
        self.client("s3").put_object(Bucket=self.bucket, Key=key, Body=body)
        return f"s3://{self.bucket}/{key}"

    def put_program(self, name: str, source: str) -> str:
        """Pack a program as a source archive and put it; returns the URI."""
        return self.put(f"code/{name}/sourcedir.tar.gz", archive({"train.py": source}))

    def keys(self, prefix: str) -> list[str]:
        """The keys below a prefix."""
        return [item["Key"] for item in self.client("s3").list_objects_v2(Bucket=self.bucket, Prefix=prefix).get("Contents", ())]

    def training_request(self, name: str, program: str, **fields: Any) -> dict[str, Any]:
        """A CreateTrainingJob request for a program whose archive is at the URI `program`, delivered as channel `code`."""
        hyperparameters = {"sagemaker_program": "train.py", "sagemaker_submit_directory": "/opt/ml/input/data/code/sourcedir.tar.gz"}
        definition = training_fields(self.bucket, program)
        given = fields.pop("HyperParameters", {})
        return {"TrainingJobName": name, **definition, "HyperParameters": {**hyperparameters, **given}, **fields}

    def train(self, name: str, program: str, **fields: Any) -> dict[str, Any]:
        """Run a training job to its end; returns its description."""
        self.client("sagemaker").create_training_job(**self.training_request(name, program, **fields))
        return self.wait_for_job(name)

    def wait_for_job(self, name: str, timeout_s: float = 90) -> dict[str, Any]:
        """Wait for a training job's end."""
        describe = self.client("sagemaker").describe_training_job
        job: dict[str, Any] = wait_until(
            lambda: describe(TrainingJobName=name), lambda seen: seen["TrainingJobStatus"] in ("Completed", "Failed", "Stopped"), timeout_s
        )
        return job

    def log_lines(self, group: str, prefix: str) -> list[str]:
        """The messages of the streams whose name starts with `prefix`."""
        logs = self.client("logs")
        streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=prefix)["logStreams"]
        return [
            event["message"]
            for stream in streams
            for event in logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"], startFromHead=True)["events"]
        ]


def training_fields(bucket: str, program: str) -> dict[str, Any]:
    """What training jobs and tuning jobs' definitions have in common."""
    source = {"S3DataType": "S3Prefix", "S3Uri": program, "S3DataDistributionType": "FullyReplicated"}
    return {
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File", "MetricDefinitions": METRICS},
        "RoleArn": ROLE,
        "InputDataConfig": [{"ChannelName": "code", "DataSource": {"S3DataSource": source}}],
        "OutputDataConfig": {"S3OutputPath": f"s3://{bucket}/output"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        "EnableNetworkIsolation": True,
    }


def archive(files: dict[str, str]) -> bytes:
    """A tar.gz of text files; those named `serve` are executable."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            member.mode = 0o755 if name.endswith("serve") else 0o644
            tar.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


def wait_until(look: Callable[[], Any], is_done: Callable[[Any], bool], timeout_s: float) -> Any:
    """Look again and again until `is_done`; returns what was seen, fails with it after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not is_done(seen := look()):
        assert time.monotonic() < deadline, f"waited {timeout_s} s in vain; last seen: {json.dumps(seen, default=str)[:3000]}"
        time.sleep(0.1)
    return seen


def lives(pid: int) -> bool:
    """Whether a process runs; a zombie, which waits for a parent that never asks, does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture(scope="session")
def image() -> ImageEnvironment:
    """The user's image environment, built when it is missing."""
    user = LocalMode()
    user.image.ensure(print, user.logs_folder / "image.log")
    return user.image


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory, image: ImageEnvironment) -> Iterator[Local]:
    """Engine and plane, and a bucket."""
    mode = LocalMode(tmp_path_factory.mktemp("local-mode"), image, first_port=0)
    mode.start()
    running = Local(mode, "whippet-tests")
    running.client("s3").create_bucket(Bucket=running.bucket)
    yield running
    mode.stop()


@pytest.fixture
def fresh_local(tmp_path: Path, image: ImageEnvironment) -> Iterator[Local]:
    """An engine and a plane for one test alone, which may kill them."""
    mode = LocalMode(tmp_path, image, first_port=0)
    mode.start()
    running = Local(mode, "whippet-tests")
    running.client("s3").create_bucket(Bucket=running.bucket)
    yield running
    mode.stop()
