"""The first state: the document that all later states read, names that are always valid, and refusals before anything is started."""

import json
import re
from dataclasses import asdict
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdas.execution_input import ExecutionInput, InvalidExecutionInput
from lambdas.photos import NoUsableData
from lambdas.prepare_execution import Settings, data_prefix, plain, plan, prepare, started
from tests.lambdas.fake_s3 import FakeS3

SETTINGS = Settings("bucket", "whippet", "training-cpu", "training-gpu", "serving-cpu", "serving-gpu")
PHOTOS = {f"data/{name}/{number}.jpg": b"x" for name in ("king", "rook") for number in range(3)}
DESCRIPTION = {"file": "w.pth", "sha256": "0" * 64, "stride": "v1", "source": "a friend"}
WEIGHTS = {"weights/resnet50.json": json.dumps(DESCRIPTION).encode(), "weights/w.pth": b"x"}
ARN = "arn:aws:states:us-east-1:000000000000:execution:whippet:first"


def no_web(url: str) -> Any:
    raise AssertionError(f"nothing may be fetched, least of all {url}")


def event(**asked: Any) -> dict[str, Any]:
    return {"input": asked, "execution_arn": ARN, "start_time": "2026-11-22T16:00:00.123Z"}


def test_the_document_of_a_default_execution() -> None:
    made = json.loads(json.dumps(asdict(prepare(event(), SETTINGS, FakeS3(PHOTOS | WEIGHTS), no_web))))
    run = made["run"]
    assert re.fullmatch(r"whippet-261122160000-[0-9a-f]{4}", run)
    assert made == {
        "run": run,
        "tuning_job_prefix": "whippet-261122160000-",
        "photos": "s3://bucket/data/",
        "weights": "s3://bucket/weights/",
        "output": f"s3://bucket/executions/{run}",
        "training_image": "training-cpu",
        "training_instance_type": "ml.m5.2xlarge",
        "epochs": "20",
        "seed": "42",
        "debugger": "embedded",
        "tuning_seed": 42,
        "tuning_strategy": "Bayesian",
        "tuning_max_jobs": 12,
        "tuning_max_parallel_jobs": 3,
        "tuning_epochs": "20",
        "lr_min": "0.001",
        "lr_max": "0.1",
        "batch_sizes": ["16", "32", "64", "128", "256", "512"],
        "serving_image": "serving-cpu",
        "endpoint": "whippet",
        "endpoint_instance_type": "ml.m5.large",
        "endpoint_instance_count": 1,
        "production_variant": {},
    }


def test_the_same_execution_gets_the_same_plan() -> None:
    """So that a retry of the state goes on where the first try stopped."""
    first, second = (prepare(event(), SETTINGS, FakeS3(PHOTOS | WEIGHTS), no_web) for _ in range(2))
    assert first == second


def test_two_executions_of_one_second_get_different_runs() -> None:
    runs = {plan(ExecutionInput(), SETTINGS, "data/", f"{ARN}-{number}", "261122160000").run for number in range(5)}
    assert len(runs) == 5


def test_gpu_instances_get_gpu_images() -> None:
    asked = {"instance_type": "ml.g5.xlarge", "endpoint": {"instance_type": "ml.g6.xlarge"}}
    made = prepare(event(**asked), SETTINGS, FakeS3(PHOTOS | WEIGHTS), no_web)
    assert (made.training_image, made.serving_image) == ("training-gpu", "serving-gpu")
    assert made.production_variant == {"InferenceAmiVersion": "al2-ami-sagemaker-inference-gpu-3-1"}


def test_an_input_that_is_wrong_is_refused_before_the_bucket_is_read() -> None:
    with pytest.raises(InvalidExecutionInput):
        prepare(event(epochs=0), SETTINGS, object(), no_web)


def test_an_empty_bucket_is_refused_before_the_weights_are_fetched() -> None:
    with pytest.raises(NoUsableData, match="there are no photos under s3://bucket/data/"):
        prepare(event(), SETTINGS, FakeS3(), no_web)


@pytest.mark.parametrize("data", ["photos", "photos/", "/photos/", "s3://bucket/photos", "s3://bucket/photos/"])
def test_the_data_may_be_named_in_several_ways(data: str) -> None:
    assert data_prefix(data, "bucket") == "photos/"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (
            "s3://another/data",
            "data must lie in the stack's own bucket, which the jobs may read: s3://bucket/<prefix>; got 's3://another/data'",
        ),
        ("", 'data must name a prefix in the bucket, such as "data/"'),
        ("s3://bucket", "data must name a prefix"),
        ("a//b", "data must name a prefix"),
        ("../x", "data must name a prefix"),
        ("executions/x", 'data must not lie under "weights/" or "executions/"'),
    ],
)
def test_data_elsewhere_is_refused(data: str, sentence: str) -> None:
    with pytest.raises(InvalidExecutionInput) as refused:
        data_prefix(data, "bucket")
    assert sentence in str(refused.value)


PROJECTS = st.from_regex(r"[a-z]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)


@given(project=PROJECTS, arn=st.text(min_size=1), moment=st.datetimes(min_value=datetime(2026, 1, 1)))
def test_names_are_valid_whatever_the_project(project: str, arn: str, moment: Any) -> None:
    """The longest name that a state makes of each, against the API's own limits."""
    settings = Settings("bucket", project, "", "", "", "")
    made = plan(ExecutionInput(), settings, "data/", arn, started(moment.isoformat() + "Z"))
    assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,31}", f"{made.tuning_job_prefix}0123abcd")
    assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", f"{made.run}-train-0123abcd")


@given(st.floats(min_value=0, exclude_min=True, max_value=1))
def test_a_learning_rate_is_written_without_an_exponent_and_without_loss(number: float) -> None:
    assert "e" not in plain(number).lower()
    assert float(plain(number)) == number
