"""Folders of a job: where it goes on from belongs to it alone. Run: `make test`."""

from pathlib import Path

import pytest

from training.settings import Folders


def test_every_channel_follows_the_toolkit_or_the_base_folder() -> None:
    folders = Folders.from_environment({"SAGEMAKER_BASE_DIR": "/job/ml", "SM_CHANNEL_DATASET": "/elsewhere"})
    assert (folders.dataset, folders.photos) == (Path("/elsewhere"), Path("/job/ml/input/data/photos"))


@pytest.mark.parametrize(("name", "folder"), [("whippet-7", "whippet-7"), ("", "job"), ("../../x", "x")])
def test_jobs_that_share_a_bucket_folder_keep_apart(name: str, folder: str) -> None:
    resume = Folders.from_environment({"TRAINING_JOB_NAME": name}).resume
    assert resume == Path("/opt/ml/checkpoints/resume", folder)
