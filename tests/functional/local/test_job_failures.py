"""Training jobs whose uploads or files are in the way: they end with a sentence, and can be stopped at any time."""

import os
import threading
from pathlib import Path
from typing import Any

import pytest
from boto3.exceptions import S3UploadFailedError

from local.api.errors import ServiceError
from local.jobs.training_jobs import KIND, TrainingJobs
from local.jobs.training_run import TrainingJobRun
from local.storage.objects import Mirror
from local.storage.store import Document, Store
from tests.fixtures.local.fakes import FakeS3, fake_tools, toolkit
from tests.fixtures.local.running import training_fields, wait_until


def request(name: str, **fields: Any) -> dict[str, Any]:
    return {"TrainingJobName": name, **training_fields("b", "s3://b/p"), "InputDataConfig": [], **fields}


def run_of(folder: Path, s3: FakeS3, **fields: Any) -> TrainingJobRun:
    job = {**request("job", **fields), "TrainingJobArn": "arn:aws:sagemaker:us-east-1:000000000000:training-job/job"}
    return TrainingJobRun(fake_tools(folder, s3), job, 1, lambda *_told: None, lambda *_told: None, lambda *_told: None)


def test_an_output_path_that_takes_no_upload_is_named(tmp_path: Path) -> None:
    toolkit(tmp_path, "print('trained')")
    outcome = run_of(tmp_path, FakeS3(S3UploadFailedError("Failed to upload to no-such-bucket: NoSuchBucket"))).run()
    assert outcome.status == "Failed" and "Failed to upload to no-such-bucket: NoSuchBucket" in outcome.reason


class HangingS3(FakeS3):
    """The first upload fails, the second hangs until `released`."""

    def __init__(self) -> None:
        super().__init__()
        self.uploads = 0
        self.released = threading.Event()

    def upload_file(self, path: str, bucket: str, key: str) -> None:
        self.uploads += 1
        if self.uploads == 1:
            raise S3UploadFailedError("the connection broke")
        self.released.wait(60)
        super().upload_file(path, bucket, key)


def test_a_mirror_that_fails_or_hangs_does_not_keep_a_job_from_being_stopped(tmp_path: Path) -> None:
    toolkit(tmp_path, "import os, time; open(os.environ['SAGEMAKER_BASE_DIR'] + '/checkpoints/a.txt', 'w').close(); time.sleep(600)")
    s3 = HangingS3()
    job = run_of(tmp_path, s3, CheckpointConfig={"S3Uri": "s3://b/checkpoints", "LocalPath": "/opt/ml/checkpoints"})
    outcomes = []
    thread = threading.Thread(target=lambda: outcomes.append(job.run()))
    thread.start()
    try:
        wait_until(lambda: s3.uploads, lambda uploads: uploads == 2, 30)
        records = fake_tools(tmp_path, s3).processes.list_records
        assert len(records("job-")) == 1
        job.stop()
        wait_until(lambda: len(records("job-")), lambda running: running == 0, 20)
    finally:
        s3.released.set()
        job.stop()
        thread.join(60)
    assert outcomes[0].status == "Stopped" and s3.objects == {"checkpoints/a.txt": b""}


def test_what_is_no_file_is_not_mirrored(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(b"1")
    s3 = FakeS3()
    Mirror(s3, tmp_path, "s3://b/mirror").sync()
    assert s3.objects == {"mirror/file": b"1"}


class EndsMeanwhile(Store):
    """A store in which a job ends right after somebody has looked at it."""

    def get(self, kind: str, name: str) -> Document | None:
        document = super().get(kind, name)
        if document is not None:
            self.update(kind, name, TrainingJobStatus="Completed")
        return document


def test_a_job_that_ends_while_it_is_told_to_stop_stays_ended(tmp_path: Path) -> None:
    store = EndsMeanwhile(tmp_path / "state")
    jobs = TrainingJobs(store, fake_tools(tmp_path, FakeS3()))
    store.create(KIND, "ends", {"TrainingJobName": "ends", "TrainingJobStatus": "InProgress"})
    with pytest.raises(ServiceError, match="the training job is in status Completed"):
        jobs.stop("ends")
    assert store.list_all(KIND)[0]["TrainingJobStatus"] == "Completed"


class StoppedAtOnce(Store):
    """A store that hands each new job to `stop`, on a thread of its own, before its creator goes on."""

    stop: Any = None

    def create(self, kind: str, name: str, document: Any) -> bool:
        made = super().create(kind, name, document)
        stopper = threading.Thread(target=self.stop, args=(name,))
        stopper.start()
        stopper.join(1.0)
        return made


def test_a_stop_right_after_the_job_appeared_reaches_it(tmp_path: Path) -> None:
    toolkit(tmp_path, "import time; time.sleep(600)")
    store = StoppedAtOnce(tmp_path / "state")
    jobs = TrainingJobs(store, fake_tools(tmp_path, FakeS3()))
    store.stop = jobs.stop
    try:
        jobs.create(request("at-once"))
        assert jobs.wait("at-once", 10)["TrainingJobStatus"] == "Stopped"
    finally:
        jobs.stop_all(20)
