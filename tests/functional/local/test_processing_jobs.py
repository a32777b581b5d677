"""Processing jobs, run for real: their own entry point in the image environment, tiny programs of the standard library."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.fixtures.local.processing_requests import processing_request
from tests.fixtures.local.running import Local, wait_until
from tests.fixtures.local.state_machines import ended, run_machine

ENDED = ("Completed", "Failed", "Stopped")


def process(local: Local, request: dict[str, Any]) -> dict[str, Any]:
    local.client("sagemaker").create_processing_job(**request)
    return wait_for_processing(local, request["ProcessingJobName"])


def wait_for_processing(local: Local, name: str, timeout_s: float = 60) -> dict[str, Any]:
    describe = local.client("sagemaker").describe_processing_job
    job: dict[str, Any] = wait_until(lambda: describe(ProcessingJobName=name), lambda seen: seen["ProcessingJobStatus"] in ENDED, timeout_s)
    return job


PREPARES = """
import json, os, pathlib, sys
photos, dataset, report = (pathlib.Path(sys.argv[1 + sys.argv.index(option)]) for option in ("--photos", "--dataset", "--report"))
config = photos.parent.parent.parent / "config"
job = json.loads((config / "processingjobconfig.json").read_text())
assert job["ProcessingInputs"][0]["S3Input"]["LocalPath"] == str(photos), job
assert json.loads((config / "resourceconfig.json").read_text())["hosts"] == ["algo-1"]
found = sorted(str(path.relative_to(photos)) for path in photos.rglob("*") if path.is_file())
(dataset / "deep").mkdir()
(dataset / "deep" / "dataset.json").write_text(json.dumps(found))
(report / "summary.json").write_text("{}")
pathlib.Path(sys.argv[-1]).write_text("two classes, ü")
print("isolated", "AWS_ACCESS_KEY_ID" not in os.environ, os.environ["TINT"], "on", os.environ["OMP_NUM_THREADS"], "cores")
"""
FOLDERS = (
    "--photos", "/opt/ml/processing/input/photos", "--dataset", "/opt/ml/processing/output/dataset",
    "--report", "/opt/ml/processing/output/report", "--message", "/opt/ml/output/message",
)  # fmt: skip


def test_a_job_reads_its_inputs_and_leaves_outputs_message_and_logs(local: Local) -> None:
    job = process(local, processing_request(local, "prepares", PREPARES, *FOLDERS, Environment={"TINT": "green"}))

    assert (job["ProcessingJobStatus"], job["ExitMessage"]) == ("Completed", "two classes, ü"), job
    assert "FailureReason" not in job and job["CreationTime"] <= job["ProcessingStartTime"] <= job["ProcessingEndTime"]
    assert local.keys("processed/prepares/") == ["processed/prepares/dataset/deep/dataset.json", "processed/prepares/report/summary.json"]
    body = local.client("s3").get_object(Bucket=local.bucket, Key="processed/prepares/dataset/deep/dataset.json")["Body"]
    assert json.load(body) == ["rook/one 100%+ü.jpg"]
    (line,) = local.log_lines("/aws/sagemaker/ProcessingJobs", "prepares/algo-1-")
    assert line.startswith("isolated True green on ")
    assert [path.name for path in (local.mode.home / "sagemaker" / "processing-jobs" / "prepares").iterdir()] == ["log.txt"]
    (listed,) = local.client("sagemaker").list_processing_jobs(NameContains="prepares")["ProcessingJobSummaries"]
    assert (listed["ProcessingJobStatus"], listed["ExitMessage"]) == ("Completed", "two classes, ü")


REFUSES = """
import pathlib, sys
dataset, report, message = (pathlib.Path(sys.argv[1 + sys.argv.index(option)]) for option in ("--dataset", "--report", "--message"))
(dataset / "half.bin").write_text("half")
(report / "summary.json").write_text("{}")
message.write_text("all photos of the class rook are broken: give others")
sys.exit(1)
"""


def test_a_refused_input_is_task_failed_with_the_sentence_and_its_report_is_kept(local: Local) -> None:
    request = processing_request(local, "refuses", REFUSES, *FOLDERS)
    output = "{% $parse($states.errorOutput.Cause).{'status': ProcessingJobStatus, 'told': ExitMessage, 'reason': FailureReason} %}"
    catch = [{"ErrorEquals": ["States.TaskFailed"], "Next": "Told", "Output": output}]
    task = {"Type": "Task", "Resource": "arn:aws:states:::sagemaker:createProcessingJob.sync", "Arguments": request, "End": True}
    execution = ended(local, run_machine(local, {"Prepare": {**task, "Catch": catch}, "Told": {"Type": "Pass", "End": True}}))
    cause = json.loads(execution["output"])
    assert (cause["status"], cause["told"]) == ("Failed", "all photos of the class rook are broken: give others")
    assert cause["reason"].startswith("AlgorithmError: see ExitMessage and the log stream refuses/algo-1-")
    assert cause["reason"].endswith(", exit code: 1")
    assert local.keys("processed/refuses/") == ["processed/refuses/report/summary.json"], "half a data set was uploaded"


WAITS = """
import pathlib, signal, sys, time
report = pathlib.Path(sys.argv[1 + sys.argv.index("--report")])
dataset = pathlib.Path(sys.argv[1 + sys.argv.index("--dataset")])
def end(*_):
    (report / "told.txt").write_text("SIGTERM")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
(report / "progress.json").write_text("{}")
(dataset / "half.bin").write_text("half")
time.sleep(600)
"""


@pytest.mark.parametrize("how", ["call", "abort", "limit"])
def test_a_job_is_stopped_by_a_call_an_abort_or_its_time_limit(local: Local, how: str) -> None:
    name = f"waits-{how}"
    request = processing_request(local, name, WAITS, *FOLDERS)
    sagemaker = local.client("sagemaker")
    if how == "limit":
        request["StoppingCondition"]["MaxRuntimeInSeconds"] = 5
    if how == "abort":
        task = {"Type": "Task", "Resource": "arn:aws:states:::sagemaker:createProcessingJob.sync", "Arguments": request, "End": True}
        arn = run_machine(local, {"Prepare": task})
    else:
        sagemaker.create_processing_job(**request)
    wait_until(lambda: local.keys(f"processed/{name}/"), bool, 20)  # while it runs
    if how == "abort":
        local.client("stepfunctions").stop_execution(executionArn=arn)
    if how == "call":
        sagemaker.stop_processing_job(ProcessingJobName=name)
    job = wait_for_processing(local, name, 30)
    assert job["ProcessingJobStatus"] == "Stopped" and job.get("FailureReason", "").startswith("MaxRuntimeExceeded") == (how == "limit")
    names = [key.rpartition("/")[2] for key in local.keys(f"processed/{name}/")]
    assert names == ["progress.json", "told.txt"], "half a data set was uploaded, or the last report was not"
    reason = "MaxRuntimeExceeded" if how == "limit" else "Stopped"
    assert any(line == f"{name} was stopped: {reason}" for line in local.log_lines("/aws/sagemaker/ProcessingJobs", f"{name}/"))
    with pytest.raises(ClientError, match="the processing job is in status Stopped"):
        sagemaker.stop_processing_job(ProcessingJobName=name)


def test_names_are_used_once_tags_are_kept_and_unknown_jobs_are_not_found(local: Local) -> None:
    request = processing_request(local, "once-processed", "print('done')", Tags=[{"Key": "project", "Value": "whippet"}])
    job = process(local, request)
    sagemaker = local.client("sagemaker")
    assert sagemaker.list_tags(ResourceArn=job["ProcessingJobArn"])["Tags"] == [{"Key": "project", "Value": "whippet"}]
    assert job["ProcessingJobArn"] == "arn:aws:sagemaker:us-east-1:000000000000:processing-job/once-processed"
    with pytest.raises(ClientError, match="Job name must be unique") as caught:
        process(local, request)
    assert caught.value.response["Error"]["Code"] == "ResourceInUse"
    for call in (sagemaker.describe_processing_job, sagemaker.stop_processing_job):
        with pytest.raises(ClientError, match="Could not find requested job with name: never-made"):
            call(ProcessingJobName="never-made")


def test_an_input_that_is_not_there_fails_the_job_with_a_sentence(local: Local) -> None:
    request = processing_request(local, "no-photos", "print('never')")
    request["ProcessingInputs"][0]["S3Input"]["S3Uri"] = f"s3://{local.bucket}/nothing-at-all/"
    job = process(local, request)
    assert job["ProcessingJobStatus"] == "Failed" and job["FailureReason"].startswith("ClientError: No S3 objects found under")
