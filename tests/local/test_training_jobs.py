"""Training jobs, run for real: the toolkit's entry point in the image environment, tiny programs of the standard library."""

import io
import tarfile
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.conftest import Local

LEARNS = """
import argparse, json, os, pathlib
arguments = argparse.ArgumentParser()
arguments.add_argument("--lr", type=float)
arguments.add_argument("--batch_size", type=int)
given = arguments.parse_args()
photos = pathlib.Path(os.environ["SM_CHANNEL_PHOTOS"])
print(f"the channel holds {sorted(str(p.relative_to(photos)) for p in photos.rglob('*') if p.is_file())}")
print("[metric] objective:valid_loss=0.9")
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
    assert [each["Status"] for each in job["SecondaryStatusTransitions"]] == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert job["ModelArtifacts"]["S3ModelArtifacts"] == f"s3://{local.bucket}/output/learns/output/model.tar.gz"
    packed = local.client("s3").get_object(Bucket=local.bucket, Key="output/learns/output/model.tar.gz")["Body"].read()
    assert tarfile.open(fileobj=io.BytesIO(packed)).getnames() == ["model.json"]
    assert "output/learns/output/output.tar.gz" in local.keys("output/learns/")
    lines = local.log_lines("/aws/sagemaker/TrainingJobs", "learns/algo-1-")
    assert any("the channel holds ['pawn/two.jpg', 'rook/one 100%+ü.jpg']" in line for line in lines), lines
    assert any("no credentials: True learns" in line for line in lines), lines
    assert [path.name for path in (local.mode.home / "sagemaker" / "jobs" / "learns").iterdir()] == ["log.txt"]


def test_a_failing_program_gives_its_sentence_as_the_reason(local: Local) -> None:
    program = local.put_program("fails", "raise ValueError('the bucket holds one class; give two')")
    job = local.train("fails", program)
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("AlgorithmError: ") and "the bucket holds one class" in job["FailureReason"]
    assert len(job["FailureReason"]) <= 1024


def test_a_stopped_job_ends_its_processes(local: Local) -> None:
    program = local.put_program("sleeps", "import time\nprint('sleeping')\ntime.sleep(600)")
    sagemaker = local.client("sagemaker")
    sagemaker.create_training_job(**local.training_request("sleeps", program))
    while sagemaker.describe_training_job(TrainingJobName="sleeps")["SecondaryStatus"] != "Training":
        time.sleep(0.1)
    time.sleep(1)
    sagemaker.stop_training_job(TrainingJobName="sleeps")
    assert local.wait_for_job("sleeps")["TrainingJobStatus"] == "Stopped"
    assert local.mode.status().jobs == 0
    with pytest.raises(ClientError, match="is in status Stopped"):
        sagemaker.stop_training_job(TrainingJobName="sleeps")
