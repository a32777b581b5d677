"""Processing jobs without an engine: what is refused, what a bad exit message or upload does, paths in shell text, restarts."""

import sys
from pathlib import Path
from typing import Any

import pytest
from boto3.exceptions import S3UploadFailedError

from local.api.errors import ServiceError
from local.jobs.container import translate_paths
from local.jobs.processing_jobs import KIND, ProcessingJobs, check_processing_request
from local.jobs.processing_run import read_exit_message
from local.storage.store import Store
from tests.fixtures.local.fakes import FakeS3, fake_tools

SHELL = ["/bin/bash", "-c", 'exec "$0" -c "$1" /opt/ml/processing/output/dataset /opt/ml/processing/output/report /opt/ml/output/message']


def request(program: str, **fields: Any) -> dict[str, Any]:
    outputs = [
        {
            "OutputName": name,
            "S3Output": {"S3Uri": f"s3://b/{name}", "LocalPath": f"/opt/ml/processing/output/{name}", "S3UploadMode": mode},
        }
        for name, mode in (("dataset", "EndOfJob"), ("report", "Continuous"))
    ]
    photos = {"S3Uri": "s3://b/photos/", "LocalPath": "/opt/ml/processing/input/photos", "S3DataType": "S3Prefix", "S3InputMode": "File"}
    return {
        "ProcessingJobName": "job",
        "ProcessingInputs": [{"InputName": "photos", "S3Input": photos}],
        "ProcessingOutputConfig": {"Outputs": outputs},
        "ProcessingResources": {"ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5}},
        "AppSpecification": {"ImageUri": "image", "ContainerEntrypoint": SHELL, "ContainerArguments": [sys.executable, program]},
        "RoleArn": "arn:aws:iam::000000000000:role/tests",
        **fields,
    }


def run(folder: Path, program: str, s3: FakeS3 | None = None) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The job's document and the objects there are after it."""
    s3 = s3 or FakeS3()
    s3.objects["photos/rook/a.jpg"] = b"photo"
    jobs = ProcessingJobs(Store(folder / "state"), fake_tools(folder, s3))
    jobs.create(request(program))
    return jobs.wait("job", 30), s3.objects


SLOW = """
import pathlib, sys, time
pathlib.Path(sys.argv[3]).write_text(MESSAGE)
time.sleep(600)
"""


@pytest.mark.parametrize("message", ["", "half of the photos were read"])
def test_a_job_over_its_time_limit_is_told_from_one_that_somebody_stopped(tmp_path: Path, message: str) -> None:
    jobs = ProcessingJobs(Store(tmp_path / "state"), fake_tools(tmp_path, s3 := FakeS3()))
    s3.objects["photos/rook/a.jpg"] = b"photo"
    jobs.create(request(SLOW.replace("MESSAGE", repr(message)), StoppingCondition={"MaxRuntimeInSeconds": 1}))
    job = jobs.wait("job", 30)
    assert job["ProcessingJobStatus"] == "Stopped" and job.get("ExitMessage", "") == message
    assert job["FailureReason"] == "MaxRuntimeExceeded: the processing job ran longer than its MaxRuntimeInSeconds, 1"


def test_a_job_that_somebody_stopped_has_no_failure_reason(tmp_path: Path) -> None:
    jobs = ProcessingJobs(Store(tmp_path / "state"), fake_tools(tmp_path, s3 := FakeS3()))
    s3.objects["photos/rook/a.jpg"] = b"photo"
    jobs.create(request(SLOW.replace("MESSAGE", "''")))
    jobs.stop("job")
    job = jobs.wait("job", 30)
    assert job["ProcessingJobStatus"] == "Stopped" and "FailureReason" not in job


WRITES = """
import pathlib, sys
dataset, report, message = map(pathlib.Path, sys.argv[1:])
photo = dataset.parent.parent / "input" / "photos" / "rook" / "a.jpg"
(dataset / "dataset.json").write_text(photo.read_text())
(report / "summary.json").write_text("{}")
message.write_text("well")
"""


@pytest.mark.parametrize("name", ["plain", "my photos (2) & 'more' $HOME", "größe"])
def test_paths_in_the_text_of_a_shell_command_lead_to_the_job_whatever_its_folder_is_called(tmp_path: Path, name: str) -> None:
    job, objects = run(tmp_path / name, WRITES)
    assert (job["ProcessingJobStatus"], job["ExitMessage"]) == ("Completed", "well"), job
    assert objects == {"photos/rook/a.jpg": b"photo", "dataset/dataset.json": b"photo", "report/summary.json": b"{}"}
    assert [path.name for path in (tmp_path / name / "processing-jobs" / "job").iterdir()] == ["log.txt"]


@pytest.mark.parametrize(
    ("text", "translated"),
    [
        ("cd /opt/ml && ls '/opt/ml/input'", "cd /x && ls '/x/input'"),
        ('tar -C "/opt/ml"', 'tar -C "/x"'),
        ("/opt/mlx /opt/ml.bak /opt/ml-2 s3://b/opt/ml/x", "/opt/mlx /opt/ml.bak /opt/ml-2 s3://b/opt/ml/x"),
        ("/opt/ml/a:/opt/ml/b", "/x/a:/x/b"),
        ("--photos=/opt/ml/p >/opt/ml/o <(cat /opt/ml/i) {/opt/ml/a,/opt/ml/b}", "--photos=/x/p >/x/o <(cat /x/i) {/x/a,/x/b}"),
        ("${P:-/opt/ml/p} ${P:=/opt/ml} ${P#/opt/ml/} $P:/opt/ml", "${P:-/x/p} ${P:=/x} ${P#/x/} $P:/x"),
        ("open(r'/opt/ml/a'), open(f\"/opt/ml/{name}\")", "open(r'/x/a'), open(f\"/x/{name}\")"),
        ('{"a": "/opt/ml/a", "b": ["/opt/ml"]}', '{"a": "/x/a", "b": ["/x"]}'),
        ("cd /opt/ml.", "cd /x."),
        ("It lies in /opt/ml. Look in '/opt/ml.'\n/opt/ml.\n", "It lies in /x. Look in '/x.'\n/x.\n"),
        *(
            (kept, kept)
            for kept in (
                "${P}/opt/ml/x",
                "~/opt/ml/x",
                "*/opt/ml/x",
                "$P/opt/ml/x",
                "../opt/ml",
                "./opt/ml",
                "a-/opt/ml",
                "$(pwd)/opt/ml",
                "[ab]/opt/ml",
                "?/opt/ml",
                '"$P"/opt/ml/x',
                '"${P}"/opt/ml/x',
                '"$r"/opt/ml/x',
                "'dir'/opt/ml/x",
                "/opt/ml..",
                "/opt/ml.*",
                "/opt/ml.$N",
                "/x/opt/ml",
            )
        ),
    ],
)
def test_only_the_container_s_folder_is_translated(text: str, translated: str) -> None:
    assert translate_paths(text, Path("/x")) == translated


def test_an_exit_message_is_cut_between_characters(tmp_path: Path) -> None:
    file = tmp_path / "message"
    assert read_exit_message(file) == ""
    file.write_text("a" + "ü" * 600)
    assert read_exit_message(file) == "a" + "ü" * 511
    file.write_text("x" * 1024)
    assert read_exit_message(file) == "x" * 1024


@pytest.mark.parametrize("written", [r"b'\xff\xfe' * 9", r"b'x' + b'\xc3'", r"b'\xff' + b'x' * 2000"])
def test_an_exit_message_that_is_no_text_fails_the_job(tmp_path: Path, written: str) -> None:
    job, objects = run(tmp_path, f"import pathlib, sys; pathlib.Path(sys.argv[3]).write_bytes({written})")
    assert job["ProcessingJobStatus"] == "Failed" and "/opt/ml/output/message is not UTF-8" in job["FailureReason"]
    assert "ExitMessage" not in job and list(objects) == ["photos/rook/a.jpg"]


def test_an_output_that_cannot_be_uploaded_fails_the_job(tmp_path: Path) -> None:
    job, _objects = run(tmp_path, WRITES, FakeS3(S3UploadFailedError("Failed to upload to no-such-bucket: NoSuchBucket")))
    assert job["ProcessingJobStatus"] == "Failed" and "Failed to upload to no-such-bucket" in job["FailureReason"]


@pytest.mark.parametrize(("program", "code"), [("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 9)", 137)])
def test_a_program_that_says_nothing_fails_with_its_exit_code_and_the_end_of_its_log(tmp_path: Path, program: str, code: int) -> None:
    job, _objects = run(tmp_path, f"print('before the end', flush=True)\n{program}")
    reason = job["FailureReason"]
    assert reason.startswith("AlgorithmError: see the log stream job/algo-1-") and "before the end" in reason, reason
    assert reason.endswith(f", exit code: {code}")


def test_a_job_that_ran_when_the_plane_ended_is_failed(tmp_path: Path) -> None:
    store = Store(tmp_path / "state")
    for name, status in (("ran", "InProgress"), ("stopped", "Stopping"), ("done", "Completed")):
        store.create(KIND, name, {"ProcessingJobName": name, "ProcessingJobStatus": status, "CreationTime": 1.0})
    jobs = ProcessingJobs(store, fake_tools(tmp_path, FakeS3()))
    listed = jobs.list_jobs({"SortBy": "Name"})["ProcessingJobSummaries"]
    assert [job["ProcessingJobStatus"] for job in listed] == ["Completed", "Failed", "Failed"]
    assert "local mode ended while the job ran" in jobs.describe("ran")["FailureReason"]


def changed(path: str, value: Any) -> dict[str, Any]:
    """A good request with one part of it, such as ProcessingInputs.0.S3Input.S3Uri, set to `value`, or left out for None."""
    document: Any = request("pass")
    part = document
    *parents, last = [int(name) if name.isdigit() else name for name in path.split(".")]
    for name in parents:
        part = part[name] if isinstance(name, int) else part.setdefault(name, {})
    part.update({last: value}) if value is not None else part.pop(last)
    result: dict[str, Any] = document
    return result


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("ProcessingResources.ClusterConfig.InstanceCount", 2, "InstanceCount 2 is not supported in local mode: supported: 1"),
        ("ProcessingResources.ClusterConfig.InstanceType", None, "ProcessingResources.ClusterConfig.InstanceType is required"),
        ("AppSpecification.ContainerEntrypoint", None, "AppSpecification.ContainerEntrypoint is required"),
        ("NetworkConfig.VpcConfig", {"Subnets": ["s"]}, "NetworkConfig.VpcConfig is not supported"),
        ("ProcessingInputs.0.DatasetDefinition", {"LocalPath": "/x"}, "ProcessingInputs[photos].DatasetDefinition is not supported"),
        ("ProcessingInputs.0.AppManaged", True, "ProcessingInputs[photos].AppManaged True"),
        ("ProcessingInputs.0.S3Input", None, "ProcessingInputs[photos].S3Input is required"),
        ("ProcessingInputs.0.S3Input.S3DataType", "ManifestFile", "'ManifestFile' is not supported in local mode: supported: S3Prefix"),
        ("ProcessingInputs.0.S3Input.S3InputMode", "Pipe", "S3InputMode 'Pipe'"),
        ("ProcessingInputs.0.S3Input.S3CompressionType", "Gzip", "S3CompressionType 'Gzip'"),
        ("ProcessingInputs.0.S3Input.S3Uri", "https://b/p", "S3Uri 'https://b/p' is not supported"),
        ("ProcessingInputs.0.S3Input.LocalPath", "/etc", "LocalPath '/etc' is not supported"),
        ("ProcessingInputs.0.S3Input.LocalPath", "/opt/ml/processing/../../../etc", "LocalPath"),
        ("ProcessingInputs.0.S3Input.LocalPath", "/opt/ml/processing/", "folders under /opt/ml/processing/"),
        ("ProcessingInputs.0.S3Input.LocalPath", None, "LocalPath ''"),
        ("ProcessingInputs.0.S3Input.LocalPath", "/opt/ml/processing/output/report/", "'/opt/ml/processing/output/report' is given twice"),
        ("ProcessingOutputConfig.Outputs.0.FeatureStoreOutput", {"FeatureGroupName": "f"}, "[dataset].FeatureStoreOutput is not supported"),
        ("ProcessingOutputConfig.Outputs.0.OutputName", "report", "the OutputName 'report' is given twice"),
        ("ProcessingOutputConfig.Outputs.1.AppManaged", True, "ProcessingOutputConfig.Outputs[report].AppManaged True"),
    ],
)  # fmt: skip
def test_what_local_mode_does_not_do_is_refused_by_its_name(path: str, value: Any, named: str) -> None:
    with pytest.raises(ServiceError) as caught:
        check_processing_request(changed(path, value))
    assert caught.value.code == "ValidationException" and named in caught.value.message


def test_a_good_request_is_not_refused() -> None:
    check_processing_request(request("pass"))
