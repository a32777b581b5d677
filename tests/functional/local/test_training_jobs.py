"""Training jobs, run for real: the toolkit's entry point in the image environment, tiny programs of the standard library."""

import io
import tarfile
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.fixtures.local.running import Local, lives, wait_until

LEARNS = """
import argparse, json, os, pathlib, subprocess, sys
left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(f"left behind {left.pid}")
arguments = argparse.ArgumentParser()
arguments.add_argument("--lr", type=float)
arguments.add_argument("--batch_size", type=int)
given = arguments.parse_args()
photos = pathlib.Path(os.environ["SM_CHANNEL_PHOTOS"])
print(f"the channel holds {sorted(str(p.relative_to(photos)) for p in photos.rglob('*') if p.is_file())}")
print("[metric] objective:valid_loss=0.9")
print("[metric] objective:valid_loss=not-a-number-at-all")
print(f"[metric] objective:valid_loss={given.lr * given.batch_size}")
print(f"no credentials: {'AWS_ACCESS_KEY_ID' not in os.environ} {os.environ['TRAINING_JOB_NAME']}")
pathlib.Path(os.environ["SM_MODEL_DIR"], "model.json").write_text(json.dumps({"lr": given.lr}))
pathlib.Path(os.environ["SM_OUTPUT_DATA_DIR"], "notes.txt").write_text("noted")
"""


def photos(local: Local, prefix: str) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{local.bucket}/{prefix}"}
    return {"ChannelName": "photos", "DataSource": {"S3DataSource": source}}


def test_a_job_trains_and_leaves_model_metrics_and_logs(local: Local) -> None:
    local.put("chess/rook/one 100%+ü.jpg", b"1")
    local.put("chess/pawn/two.jpg", b"2")
    program = local.put_program("learns", LEARNS)
    request = local.training_request("learns", program, HyperParameters={"lr": "0.5", "batch_size": "16"})
    request["InputDataConfig"].append(photos(local, "chess/"))

    job = local.train("learns", program, **{key: request[key] for key in ("InputDataConfig", "HyperParameters")})

    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert [(metric["MetricName"], metric["Value"]) for metric in job["FinalMetricDataList"]] == [("objective:valid_loss", 8.0)]
    assert [each["Status"] for each in job["SecondaryStatusTransitions"]] == [
        "Starting",
        "Downloading",
        "Training",
        "Uploading",
        "Completed",
    ]
    assert job["ModelArtifacts"]["S3ModelArtifacts"] == f"s3://{local.bucket}/output/learns/output/model.tar.gz"
    packed = local.client("s3").get_object(Bucket=local.bucket, Key="output/learns/output/model.tar.gz")["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        assert tar.getnames() == ["model.json"]
    assert "output/learns/output/output.tar.gz" in local.keys("output/learns/")
    lines = local.log_lines("/aws/sagemaker/TrainingJobs", "learns/algo-1-")
    assert any("the channel holds ['pawn/two.jpg', 'rook/one 100%+ü.jpg']" in line for line in lines), lines
    assert any("no credentials: True learns" in line for line in lines), lines
    assert [path.name for path in (local.mode.home / "sagemaker" / "jobs" / "learns").iterdir()] == ["log.txt"]
    (left,) = [line for line in lines if line.startswith("left behind ")]
    assert not lives(int(left.split()[-1])), "a process that the program left behind outlived its container"


def test_a_failing_program_gives_its_sentence_as_the_reason(local: Local) -> None:
    program = local.put_program("fails", "raise ValueError('the bucket holds one class; give two')")
    job = local.train("fails", program)
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("AlgorithmError: ") and "the bucket holds one class" in job["FailureReason"]
    assert len(job["FailureReason"]) <= 1024


def test_a_stopped_job_ends_its_processes_and_keeps_its_model(local: Local) -> None:
    source = "import os, pathlib, time\npathlib.Path(os.environ['SM_MODEL_DIR'], 'half.txt').write_text('x')\ntime.sleep(600)"
    sagemaker = local.client("sagemaker")
    sagemaker.create_training_job(**local.training_request("sleeps", local.put_program("sleeps", source)))
    wait_until((local.mode.home / "sagemaker/jobs/sleeps/ml/model/half.txt").exists, bool, 60)
    sagemaker.stop_training_job(TrainingJobName="sleeps")
    assert local.wait_for_job("sleeps")["TrainingJobStatus"] == "Stopped"
    assert "output/sleeps/output/model.tar.gz" in local.keys("output/sleeps/")
    assert local.mode.status().jobs == 0
    with pytest.raises(ClientError, match="is in status Stopped"):
        sagemaker.stop_training_job(TrainingJobName="sleeps")


WRITES_WHILE_IT_RUNS = """
import json, os, pathlib, time
base = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"])
hook = json.loads(pathlib.Path(os.environ["SMDEBUG_CONFIG_FILE_PATH"]).read_text())
assert hook["LocalPath"] == str(base / "output" / "tensors"), hook
assert hook["CollectionConfigurations"] == [{"CollectionName": "losses"}], hook
print(f"restored {(base / 'checkpoints' / 'earlier.txt').read_text()}")
(base / "checkpoints" / "report").mkdir()
(base / "checkpoints" / "report" / "data.json").write_text("{}")
(base / "output" / "tensors").mkdir()
(base / "output" / "tensors" / "step 1").write_text("tensor")
while not (base / "checkpoints" / "go").exists():
    time.sleep(0.1)
"""


def test_checkpoints_and_tensors_reach_s3_while_the_job_runs(local: Local) -> None:
    program = local.put_program("writes", WRITES_WHILE_IT_RUNS)
    local.put("checkpoints/earlier.txt", b"an earlier checkpoint")
    request = local.training_request(
        "writes",
        program,
        CheckpointConfig={"S3Uri": f"s3://{local.bucket}/checkpoints", "LocalPath": "/opt/ml/checkpoints"},
        DebugHookConfig={"S3OutputPath": f"s3://{local.bucket}/debug/", "CollectionConfigurations": [{"CollectionName": "losses"}]},
    )
    local.client("sagemaker").create_training_job(**request)
    wait_until(lambda: local.keys("checkpoints/report/"), bool, 30)
    wait_until(lambda: local.keys("debug/writes/debug-output/"), lambda keys: keys == ["debug/writes/debug-output/step 1"], 30)
    assert local.client("sagemaker").describe_training_job(TrainingJobName="writes")["TrainingJobStatus"] == "InProgress"
    (local.mode.home / "sagemaker/jobs/writes/ml/checkpoints/go").touch()
    job = local.wait_for_job("writes")
    assert job["TrainingJobStatus"] == "Completed", job
    assert any("restored an earlier checkpoint" in line for line in local.log_lines("/aws/sagemaker/TrainingJobs", "writes/"))


COUNTS = """
import os, pathlib, time
counted = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"], "checkpoints", "resume", "state.txt")
print(f"goes on from {counted.read_text() if counted.exists() else 'nothing'}")
if not counted.exists():
    counted.parent.mkdir()
    counted.write_text("epoch 3")
    time.sleep(600)
"""


def test_a_stopped_job_goes_on_from_its_checkpoints_when_it_is_started_again(local: Local) -> None:
    program = local.put_program("counts", COUNTS)
    spot = {
        "CheckpointConfig": {"S3Uri": f"s3://{local.bucket}/counted", "LocalPath": "/opt/ml/checkpoints"},
        "EnableManagedSpotTraining": True,
        "StoppingCondition": {"MaxRuntimeInSeconds": 600, "MaxWaitTimeInSeconds": 600},
    }
    local.client("sagemaker").create_training_job(**local.training_request("counts-1", program, **spot))
    wait_until((local.mode.home / "sagemaker/jobs/counts-1/ml/checkpoints/resume/state.txt").exists, bool, 60)
    local.client("sagemaker").stop_training_job(TrainingJobName="counts-1")
    assert local.wait_for_job("counts-1")["TrainingJobStatus"] == "Stopped"
    assert local.train("counts-2", program, **spot)["TrainingJobStatus"] == "Completed"
    lines = [local.log_lines("/aws/sagemaker/TrainingJobs", f"counts-{number}/") for number in (1, 2)]
    assert ["goes on from nothing" in lines[0], "goes on from epoch 3" in lines[1]] == [True, True]


def test_a_fast_file_channel_is_there_as_files(local: Local) -> None:
    local.put("streamed/a.jpg", b"1")
    source = "import os\nprint(os.listdir(os.environ['SM_CHANNEL_PHOTOS']))\nprint(os.environ['SM_INPUT_DATA_CONFIG'])"
    program = local.put_program("streams", source)
    request = local.training_request("streams", program)
    request["InputDataConfig"].append({**photos(local, "streamed/"), "InputMode": "FastFile"})
    assert local.train("streams", program, InputDataConfig=request["InputDataConfig"])["TrainingJobStatus"] == "Completed"
    lines = local.log_lines("/aws/sagemaker/TrainingJobs", "streams/")
    assert "['a.jpg']" in lines and any('"photos":{' in line and '"TrainingInputMode":"FastFile"' in line for line in lines), lines


def test_max_runtime_stops_a_job(local: Local) -> None:
    program = local.put_program("overruns", "import time\ntime.sleep(600)")
    job = local.train("overruns", program, StoppingCondition={"MaxRuntimeInSeconds": 2})
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("s3://whippet-tests/nothing-here/", "No S3 objects found under S3 URL"),
        ("s3://no-such-bucket-at-all/x/", "the bucket 'no-such-bucket-at-all'"),
        ("s3://whippet-tests/unsafe/", "cannot be a file name"),
    ],
)
def test_a_channel_that_cannot_be_downloaded_fails_the_job_with_a_sentence(
    local: Local, uri: str, sentence: str, request: pytest.FixtureRequest
) -> None:
    local.put("unsafe/../../escape.txt", b"x")
    name = "channel-" + str(abs(hash(request.node.name)))[:8]
    job = local.train(name, uri)
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("ClientError: ") and sentence in job["FailureReason"]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 5}}, "ResourceConfig.InstanceCount 2"),
        ({"ResourceConfig": {"VolumeSizeInGB": 5}}, "ResourceConfig.InstanceType is required"),
        ({"AlgorithmSpecification": {"TrainingInputMode": "File"}}, "AlgorithmSpecification.TrainingImage is required"),
        ({"VpcConfig": {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]}}, "VpcConfig"),
        ({"ProfilerConfig": {"S3OutputPath": "s3://b/p", "ProfilingParameters": {"a": "b"}}}, "ProfilerConfig.ProfilingParameters"),
        ({"EnableManagedSpotTraining": True}, "EnableManagedSpotTraining without CheckpointConfig"),
        ({"EnableManagedSpotTraining": True, "CheckpointConfig": {"S3Uri": "s3://b/p"}}, "MaxWaitTimeInSeconds None must be present"),
        ({"StoppingCondition": {"MaxRuntimeInSeconds": 9, "MaxWaitTimeInSeconds": 9}}, "MaxWaitTimeInSeconds 9 is only for Enable"),
        ({"CheckpointConfig": {"S3Uri": "s3://b/p", "LocalPath": "/etc"}}, "CheckpointConfig.LocalPath '/etc'"),
        ({"CheckpointConfig": {"S3Uri": "s3://b/p", "LocalPath": "/opt/ml/../../etc"}}, "CheckpointConfig.LocalPath"),
        ({"RoleArn": "nobody-that-is-an-arn"}, "Value 'nobody-that-is-an-arn' at 'roleArn' failed to satisfy constraint"),
        ({"TrainingJobName": "bad_name"}, "Member must satisfy regular expression pattern"),
    ],
)
def test_a_request_is_refused_with_the_field_named(local: Local, fields: dict[str, Any], named: str) -> None:
    request = {**local.training_request("refused", f"s3://{local.bucket}/code"), **fields}
    with pytest.raises(ClientError) as caught:
        local.client("sagemaker").create_training_job(**request)
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert named in caught.value.response["Error"]["Message"]


def test_names_are_used_once_and_unknown_jobs_are_not_found(local: Local) -> None:
    assert local.train("once", "s3://no-such-bucket-at-all/x")["TrainingJobStatus"] == "Failed"
    with pytest.raises(ClientError, match="ResourceInUse"):
        local.train("once", "s3://no-such-bucket-at-all/x")
    with pytest.raises(ClientError, match="Requested resource not found"):
        local.client("sagemaker").describe_training_job(TrainingJobName="never-made")
    listed = local.client("sagemaker").list_training_jobs(NameContains="once")["TrainingJobSummaries"]
    assert [job["TrainingJobName"] for job in listed] == ["once"]
