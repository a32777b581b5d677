"""The first state: the document that all later states read, names that are always valid, and refusals before anything is started."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from lambdas.planning.photos import NoUsableData, Photos, count_photos
from lambdas.planning.plan import Plan, Prepared, data_prefix, plan, volume_gb
from lambdas.planning.prepared_dataset import MOST_AGE
from lambdas.planning.prices import InvalidPrices
from lambdas.planning.settings import Settings
from lambdas.planning.tuning_job import write_decimal
from lambdas.prepare_execution import MOST_VOLUME_GB, prepare, require_room
from lambdas.request.execution_input import ExecutionInput
from lambdas.request.input_values import InvalidExecutionInput
from tests.fixtures.lambdas.fake_s3 import FakeS3, error

SETTINGS = Settings("bucket", "whippet", "0a1b", "training-cpu", "training-gpu", "serving-cpu", "serving-gpu", "us-east-1")
PHOTOS = {f"data/{name}/{number}.jpg": b"x" for name in ("king", "rook") for number in range(3)}
DESCRIPTION = {"file": "w.pth", "sha256": "0" * 64, "stride": "v1", "source": "a friend"}
WEIGHTS = {"weights/resnet50.json": json.dumps(DESCRIPTION).encode(), "weights/w.pth": b"x"}
FOUND = Photos("s3://bucket/data/", {}, 0)
ARN = "arn:aws:states:us-east-1:000000000000:execution:whippet:first"


def no_web(url: str) -> Any:
    raise AssertionError(f"nothing may be fetched, least of all {url}")


def event(**asked: Any) -> dict[str, Any]:
    return {"input": asked, "execution_arn": ARN, "start_time": "2026-11-22T16:00:00.123Z"}


def test_the_document_of_a_default_execution() -> None:
    made = json.loads(json.dumps(prepare(event(), SETTINGS, FakeS3(PHOTOS | WEIGHTS), no_web).to_json()))
    run = made["run"]
    assert re.fullmatch(r"whippet-261122160000-[0-9a-f]{4}", run)
    assert made == {
        "run": run,
        "tuning_job_prefix": "whippet-261122160000-",
        "photos": "s3://bucket/data/",
        "weights": "s3://bucket/weights/",
        "output": f"s3://bucket/executions/{run}",
        "datasets": made["datasets"],
        "prepared": "",
        "photo_files": "6",
        "photo_bytes": "6",
        "photos_sha256": count_photos(FakeS3(PHOTOS), "bucket", "data/").sha256,
        "prepare_image": "training-cpu",
        "prepare_instance_types": ["ml.m5.2xlarge"],
        "prepare_volume_gb": 50,
        "prepare_seconds": 86_400,
        "training_image": "training-cpu",
        "training_instance_types": ["ml.m5.2xlarge"],
        "training_instance_count": 1,
        "training_volume_gb": 50,
        "tuning_job_seconds": 86_400,
        "training_seconds": 86_400,
        "max_wait_seconds": 108_000,
        "torch_distributed": "false",
        "spot": False,
        "trainable": "head",
        "class_weights": "balanced",
        "input_mode": "File",
        "epochs": "20",
        "seed": "42",
        "debugger": "embedded",
        "rules": ExecutionInput().rules.hyperparameter,
        "debug_rule_configurations": [],
        "profiler_rule_configurations": [],
        "block_deployment": ["ExplodingTensor", "UnchangedTensor"],
        "tuning_epochs": "20",
        "tuning_config": {
            "Strategy": "Bayesian",
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 12, "MaxParallelTrainingJobs": 3},
            "ParameterRanges": {
                "ContinuousParameterRanges": [{"Name": "lr", "MinValue": "0.001", "MaxValue": "0.1", "ScalingType": "Logarithmic"}],
                "CategoricalParameterRanges": [{"Name": "batch_size", "Values": ["16", "32", "64", "128", "256", "512"]}],
            },
            "TrainingJobEarlyStoppingType": "Off",
            "RandomSeed": 42,
        },
        "tuning_extra": {},
        "gate": {"least_accuracy": 0.0, "champion": True, "tolerance": 0.01, "class_tolerance": 0.2},
        "approval": "automatic",
        "model_package_group": "whippet",
        "serving_image": "serving-cpu",
        "endpoint": "whippet",
        "deployment_kind": "instance",
        "variant": {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1},
        "network_isolation": True,
        "deployment_config": {
            "BlueGreenUpdatePolicy": {
                "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 300},
                "TerminationWaitInSeconds": 120,
                "MaximumExecutionTimeoutInSeconds": 3600,
            },
            "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "whippet-endpoint-errors"}, {"AlarmName": "whippet-endpoint-latency"}]},
        },
        "max_instance_count": 2,
        "keep_versions": 5,
        "budget_usd": None,
        "cost": made["cost"],
    }
    assert re.fullmatch(r"s3://bucket/prepared-data-sets/[0-9a-f]{32}", made["datasets"])


def test_the_same_execution_gets_the_same_plan() -> None:
    """So that a retry of the state goes on where the first try stopped."""
    first, second = (prepare(event(), SETTINGS, FakeS3(PHOTOS | WEIGHTS), no_web) for _ in range(2))
    assert first == second


def test_two_executions_of_one_second_get_different_runs() -> None:
    now = datetime(2026, 11, 22, 16, tzinfo=UTC)
    made = [plan(ExecutionInput(), SETTINGS, FOUND, Prepared("prepared-data-sets/0/", ""), f"{ARN}-{number}", now) for number in range(5)]
    assert len({each.run for each in made}) == 5


def made_of(objects: dict[str, bytes], settings: Settings = SETTINGS, **asked: Any) -> Plan:
    """The plan for these objects in the bucket."""
    return prepare(event(**asked), settings, FakeS3(objects), no_web)


PLAIN = made_of(PHOTOS | WEIGHTS)
KEY = f"{PLAIN.data.datasets.removeprefix('s3://bucket/')}/"
EARLIER = f"{KEY}an-earlier-job"


def other_weights(**changed: str) -> dict[str, bytes]:
    return PHOTOS | WEIGHTS | {"weights/resnet50.json": json.dumps(DESCRIPTION | changed).encode()}


@pytest.mark.parametrize(
    ("objects", "settings", "asked"),
    [
        (PHOTOS | WEIGHTS | {"data/king/9.jpg": b"x"}, SETTINGS, {}),
        (PHOTOS | WEIGHTS | {"data/king/1.jpg": b"y"}, SETTINGS, {}),
        (PHOTOS | WEIGHTS | {"data/king/1.jpg": b"xx"}, SETTINGS, {}),
        ({key.replace("king/1", "king/7"): body for key, body in PHOTOS.items()} | WEIGHTS, SETTINGS, {}),
        (other_weights(sha256="1" * 64), SETTINGS, {}),
        (other_weights(stride="v1.5"), SETTINGS, {}),
        (PHOTOS | WEIGHTS, replace(SETTINGS, preparation_code="2c3d"), {}),
        (PHOTOS | WEIGHTS, replace(SETTINGS, training_image_cpu="newer"), {}),
        (PHOTOS | WEIGHTS, SETTINGS, {"seed": 7}),
        (PHOTOS | WEIGHTS, SETTINGS, {"prepare": {"instance_type": "ml.g5.xlarge"}}),
    ],
)
def test_whatever_changes_a_data_set_gives_it_another_folder(objects: dict[str, bytes], settings: Settings, asked: dict[str, Any]) -> None:
    assert made_of(objects, settings, **asked).data.datasets != PLAIN.data.datasets


@pytest.mark.parametrize(
    ("objects", "asked"),
    [
        ({"other/1.jpg": b"x"}, {}),
        ({"weights/notes.txt": b"x"}, {}),
        ({}, {"epochs": 3, "tuning": {"max_jobs": 2}, "spot": True, "trainable": "all"}),
        ({}, {"instance_type": "ml.m5.4xlarge"}),
        ({}, {"instance_type": "ml.g5.xlarge", "prepare": {"instance_type": "ml.m5.2xlarge"}}),
    ],
)
def test_whatever_does_not_leaves_it_where_it_is(objects: dict[str, bytes], asked: dict[str, Any]) -> None:
    assert made_of(PHOTOS | WEIGHTS | objects, **asked).data.datasets == PLAIN.data.datasets


def test_the_same_photos_under_another_prefix_are_the_same_data_set() -> None:
    moved = {key.replace("data/", "flowers/"): body for key, body in PHOTOS.items()}
    assert made_of(moved | WEIGHTS, data="flowers/").data.datasets == PLAIN.data.datasets


def in_bucket(folder: str = EARLIER, **changed: bytes | None) -> dict[str, bytes]:
    """A bucket with the data set, but for these files; None takes one away."""
    files = {"manifest.jsonl": b"lines", "check/0.jpg": b"photo"}
    written: dict[str, bytes | None] = {**files, "dataset.json": described(files)}
    written |= {{"manifest": "manifest.jsonl", "description": "dataset.json"}[name]: body for name, body in changed.items()}
    return PHOTOS | WEIGHTS | {f"{folder}/{name}": body for name, body in written.items() if body is not None}


def described(files: dict[str, bytes]) -> bytes:
    return json.dumps({"files": {name: {"bytes": len(body), "sha256": "0"} for name, body in files.items()}}).encode()


def test_a_data_set_that_is_there_is_found() -> None:
    made = made_of(in_bucket())
    assert made == replace(PLAIN, data=replace(PLAIN.data, prepared=f"s3://bucket/{EARLIER}"), money=made.money)


def chosen(objects: dict[str, bytes], modified_at: dict[str, datetime]) -> str:
    """The folder that an execution with these objects reads."""
    s3 = FakeS3(objects)
    s3.modified_at = modified_at
    return prepare(event(), SETTINGS, s3, no_web).data.prepared.removeprefix("s3://bucket/")


def test_of_several_that_are_whole_the_newest_is_taken() -> None:
    """Executions that started together prepared one each; which is the newest is not a matter of their names."""
    objects = in_bucket(f"{KEY}a") | in_bucket(f"{KEY}b") | in_bucket(f"{KEY}c")
    for newest in "abc":
        modified_at = {key: datetime(2026, 11, 2, tzinfo=UTC) for key in objects if key.startswith(f"{KEY}{newest}/")}
        assert chosen(objects, modified_at) == f"{KEY}{newest}"


def test_an_older_one_is_taken_where_the_newest_is_not_whole() -> None:
    objects = in_bucket(f"{KEY}a") | in_bucket(f"{KEY}b", manifest=b"cut")
    assert chosen(objects, {f"{KEY}b/dataset.json": datetime(2026, 11, 2, tzinfo=UTC)}) == f"{KEY}a"


def test_files_of_two_data_sets_never_make_one() -> None:
    halves = in_bucket(f"{KEY}a", manifest=None) | in_bucket(f"{KEY}b", description=None)
    assert made_of(halves) == PLAIN


@pytest.mark.parametrize(
    "objects",
    [
        in_bucket(manifest=None),
        in_bucket(manifest=b"cut"),
        in_bucket(description=None),
        in_bucket(description=b"{}"),
        in_bucket(description=b"{"),
        in_bucket(description=b"\xff"),
        in_bucket(description=b"[]"),
        in_bucket(description=b'{"files": {"a": 5}}'),
        in_bucket(description=described({})),
    ],
)
def test_a_data_set_that_is_not_whole_is_prepared_again(objects: dict[str, bytes]) -> None:
    assert made_of(objects) == PLAIN


@pytest.mark.parametrize(("younger", "prepared"), [(timedelta(hours=1), True), (-timedelta(hours=1), False)])
def test_a_data_set_that_the_bucket_is_about_to_forget_is_prepared_again(younger: timedelta, prepared: bool) -> None:
    s3 = FakeS3(in_bucket())
    s3.modified = datetime(2026, 11, 22, 16, tzinfo=UTC) - MOST_AGE + younger
    assert prepare(event(), SETTINGS, s3, no_web).data.prepared == (f"s3://bucket/{EARLIER}" if prepared else "")


@pytest.mark.parametrize(
    ("photos", "photo_bytes", "gb"),
    [(0, 0, 50), (0, 27 * 10**9, 50), (0, 28 * 10**9, 51), (0, 200 * 10**9, 240), (10**7, 200 * 10**9, 340), (10**7, 0, 120)],
)
def test_the_jobs_have_room_for_the_photos_and_for_what_is_made_of_each(photos: int, photo_bytes: int, gb: int) -> None:
    assert volume_gb(photos, photo_bytes) == gb


def test_photos_that_no_disk_holds_are_refused() -> None:
    most = (MOST_VOLUME_GB - 20) * 10**10 // 11
    require_room(Photos("s3://bucket/data/", {}, 0, files=0, bytes=most))
    with pytest.raises(NoUsableData) as refused:
        require_room(Photos("s3://bucket/data/", {}, 0, files=2 * 10**9, bytes=10**9))
    assert str(refused.value) == (
        "the 2,000,000,000 files under s3://bucket/data/ are 1 GB, so the processing job would need a disk of 20,022 GB, and SageMaker "
        "gives at most 16,384; scale the photos down (the network sees 224 pixels), or use fewer"
    )


def test_what_a_job_downloads_is_counted_with_all_that_is_no_photo() -> None:
    """But without the placeholders of folders, which become no file."""
    litter = {"data/king/Thumbs.db": b"xxx", "data/king/labels.csv": b"xx", "data/.DS_Store": b"x", "data/king/": b""}
    found = count_photos(FakeS3(PHOTOS | WEIGHTS | litter), "bucket", "data/")
    assert (found.files, found.bytes) == (len(PHOTOS) + 3, len(PHOTOS) + 6)


def test_what_else_lies_beside_a_data_set_does_not_matter() -> None:
    assert made_of(in_bucket() | {f"{EARLIER}/check/9.jpg": b"from a job that was stopped"}).data.prepared


def test_a_refused_look_at_a_data_set_is_no_missing_one() -> None:
    class Denied(FakeS3):
        def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803 - boto3's names
            if Key.startswith("prepared-data-sets/"):
                raise error("AccessDenied", 403)
            return super().get_object(Bucket, Key)

    with pytest.raises(ClientError, match="AccessDenied"):
        prepare(event(), SETTINGS, Denied(in_bucket()), no_web)


@pytest.mark.parametrize(
    ("asked", "distributed"),
    [
        ({"instance_type": "ml.g5.12xlarge"}, "false"),
        ({"trainable": "all"}, "false"),
        ({"trainable": "all", "instance_count": 2}, "true"),
        ({"trainable": "last_stage", "instance_type": "ml.g5.xlarge"}, "true"),
    ],
)
def test_several_processes_share_a_job_only_where_they_help(asked: dict[str, Any], distributed: str) -> None:
    assert made_of(PHOTOS | WEIGHTS, **asked).shared.torch_distributed == distributed


def test_gpu_instances_get_gpu_images() -> None:
    asked = {"instance_type": "ml.g5.xlarge", "deployment": {"instance_type": "ml.g6.xlarge"}}
    made = prepare(event(**asked), SETTINGS, FakeS3(PHOTOS | WEIGHTS), no_web)
    assert (made.training.image, made.endpoint.serving_image) == ("training-gpu", "serving-gpu")
    assert made.endpoint.variant["InferenceAmiVersion"] == "al2-ami-sagemaker-inference-gpu-3-1"


def test_a_managed_job_is_planned_with_its_rules_and_their_image() -> None:
    made = made_of(PHOTOS | WEIGHTS, debugger="managed", rules={"evaluate": ["Overfit"], "stop_training": ["Overfit"]})
    (rule,) = made.judging.debug_rule_configurations
    assert rule["RuleEvaluatorImage"] == "503895931360.dkr.ecr.us-east-1.amazonaws.com/sagemaker-debugger-rules:latest"
    assert f"{made.run}-train-" in rule["RuleParameters"]["action_json"]
    assert len(made.judging.profiler_rule_configurations) == 12
    assert made.judging.block_deployment == ()


@pytest.mark.parametrize("debugger", ["embedded", "off"])
def test_no_other_job_asks_for_rules_of_the_service(debugger: str) -> None:
    made = made_of(PHOTOS | WEIGHTS, debugger=debugger)
    assert (made.judging.debug_rule_configurations, made.judging.profiler_rule_configurations) == ((), ())


def test_a_region_without_rules_of_the_service_refuses_it_before_the_bucket_is_read() -> None:
    settings = replace(SETTINGS, region="eu-central-2")
    with pytest.raises(InvalidExecutionInput) as refused:
        prepare(event(debugger="managed"), settings, object(), no_web)
    assert str(refused.value).startswith(
        'debugger must be "embedded" or "off" in eu-central-2, got "managed": AWS\'s Debugger has no rules there'
    )
    assert made_of(PHOTOS | WEIGHTS, settings).hyperparameters.debugger == "embedded"


def test_an_input_that_is_wrong_is_refused_before_the_bucket_is_read() -> None:
    with pytest.raises(InvalidExecutionInput):
        prepare(event(epochs=0), SETTINGS, object(), no_web)


def test_prices_that_are_wrong_are_refused_before_the_weights_are_fetched() -> None:
    with pytest.raises(InvalidPrices, match=r"s3://bucket/prices.json is not JSON"):
        made_of(PHOTOS | {"prices.json": b"{"})


def test_prices_of_the_bucket_go_before_the_list() -> None:
    dear = made_of(PHOTOS | WEIGHTS | {"prices.json": b'{"ml.m5.2xlarge": 46.1}'}).money.cost
    assert dear.estimate["tuning"] == pytest.approx(100 * (PLAIN.money.cost.estimate["tuning"] or 0), rel=0.05)


def test_a_data_set_that_is_there_costs_nothing_again() -> None:
    assert (PLAIN.money.cost.estimate["prepare"] or 0) > 0
    assert made_of(in_bucket()).money.cost.estimate["prepare"] == 0


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
        ("executions/x", 'data must not lie under "weights/", "prepared-data-sets/", "executions/", which the executions write'),
        ("prepared-data-sets", "data must not lie under"),
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
    settings = Settings("bucket", project, "", "", "", "", "", "us-east-1")
    made = plan(ExecutionInput(), settings, FOUND, Prepared("prepared-data-sets/0/", ""), arn, moment)
    assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,31}", f"{made.tuning_job_prefix}0123abcd")
    for state in ("prepare", "train"):
        assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", f"{made.run}-{state}-0123abcd")


@given(st.floats(min_value=0, exclude_min=True, max_value=1))
def test_a_learning_rate_is_written_without_an_exponent_and_without_loss(number: float) -> None:
    assert "e" not in write_decimal(number).lower()
    assert float(write_decimal(number)) == number
