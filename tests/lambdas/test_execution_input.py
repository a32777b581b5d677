"""The execution input: every default, every limit, and a sentence for each thing that cannot be."""

import json
from dataclasses import asdict, fields
from typing import Any

import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdas.execution_input import ARM_FAMILY, FOREIGN_FAMILY, UNPROCESSED_FAMILY, ExecutionInput, uses_gpu
from lambdas.input_values import InvalidExecutionInput
from lambdas.rules import default_rules

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
FIELDS = st.sampled_from([each.name for each in fields(ExecutionInput)])
TUNING_FIELDS = st.sampled_from(["max_jobs", "max_parallel_jobs", "epochs", "strategy", "lr", "batch_size"])


def test_an_empty_input_takes_every_default() -> None:
    assert json.loads(json.dumps(asdict(ExecutionInput.parse({})))) == {
        "data": "data/",
        "epochs": 20,
        "seed": 42,
        "instance_type": "ml.m5.2xlarge",
        "instance_count": 1,
        "spot": False,
        "trainable": "head",
        "class_weights": "balanced",
        "input_mode": "File",
        "debugger": "embedded",
        "rules": {
            "evaluate": list(default_rules("head")),
            "stop_training": [],
            "block_deployment": ["ExplodingTensor", "UnchangedTensor"],
            "parameters": {},
        },
        "prepare": {"instance_type": "ml.m5.2xlarge"},
        "tuning": {
            "max_jobs": 12,
            "max_parallel_jobs": 3,
            "epochs": 20,
            "strategy": "Bayesian",
            "lr": [0.001, 0.1],
            "batch_size": [16, 32, 64, 128, 256, 512],
        },
        "endpoint": {"instance_type": "ml.m5.large", "instance_count": 1},
    }


def test_what_is_given_is_taken_and_the_rest_stays() -> None:
    parsed = ExecutionInput.parse({"epochs": 5, "tuning": {"max_jobs": 4, "lr": [0.01, 1], "batch_size": [64, 16]}})
    assert (parsed.epochs, parsed.seed, parsed.tuning.max_jobs, parsed.tuning.epochs) == (5, 42, 4, 20)
    assert parsed.tuning.lr == (0.01, 1.0)
    assert parsed.tuning.batch_size == (16, 64)


@pytest.mark.parametrize(
    ("asked", "mode"),
    [
        ({"trainable": "all"}, "File"),
        ({"trainable": "all", "instance_count": 2}, "FastFile"),
        ({"trainable": "all", "instance_count": 2, "input_mode": "File"}, "File"),
        ({"trainable": "all", "input_mode": "FastFile"}, "FastFile"),
    ],
)
def test_several_machines_share_the_photos_unless_asked_otherwise(asked: dict[str, Any], mode: str) -> None:
    assert ExecutionInput.parse(asked).input_mode == mode


def test_fewer_jobs_than_the_default_parallelism_lower_it() -> None:
    assert ExecutionInput.parse({"tuning": {"max_jobs": 2}}).tuning.max_parallel_jobs == 2


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ([], "the execution input must be a JSON object, got []"),
        (None, "must be a JSON object, got None"),
        ({"epoch": 3}, "unknown key 'epoch' in the execution input; allowed keys: data, epochs, seed"),
        ({"tuning": {"jobs": 3}}, "unknown key 'jobs' in tuning; allowed keys: max_jobs"),
        ({"tuning": 4}, "tuning must be a JSON object, got 4"),
        ({"endpoint": {"count": 1}}, "unknown key 'count' in endpoint"),
        ({"epochs": 0}, "epochs must be a whole number from 1 to 1000, got 0"),
        ({"epochs": "20"}, "epochs must be a whole number from 1 to 1000, got '20'"),
        ({"epochs": True}, "got True"),
        ({"epochs": 2.5}, "got 2.5"),
        ({"epochs": float("nan")}, "got nan"),
        ({"epochs": 10**400}, "epochs must be a whole number from 1 to 1000, got 1000000"),
        ({"tuning": {"lr": [0.001, 10**400]}}, "0 < least < greatest <= 1, got [0.001, 1000000"),
        ({"seed": -1}, "seed must be a whole number from 0"),
        ({"data": 7}, "data must be a string, got 7"),
        ({"instance_type": "m5.large"}, "instance_type must be a SageMaker instance type such as"),
        ({"instance_type": "ml.trn1.2xlarge"}, "instance_type must be a CPU or an NVIDIA GPU type"),
        ({"instance_type": "ml.c6gn.xlarge"}, "instance_type must have an Intel or AMD processor"),
        ({"endpoint": {"instance_type": "ml.m7g.large"}}, "endpoint.instance_type must have an Intel or AMD processor"),
        ({"trainable": "body"}, "trainable must be one of head, last_stage, all, got 'body'"),
        ({"class_weights": True}, "class_weights must be one of balanced, none, got True"),
        ({"spot": "yes"}, "spot must be true or false, got 'yes'"),
        ({"spot": 1}, "spot must be true or false, got 1"),
        ({"instance_count": 0}, "instance_count must be a whole number from 1 to 16, got 0"),
        ({"instance_count": 17, "trainable": "all"}, "instance_count must be a whole number from 1 to 16, got 17"),
        ({"instance_count": 2}, 'instance_count must be 1 where trainable is "head", got 2: one layer on prepared features'),
        ({"input_mode": "Pipe"}, "input_mode must be one of File, FastFile, got 'Pipe'"),
        ({"input_mode": "FastFile"}, 'input_mode must be "File" where trainable is "head", got \'FastFile\''),
        ({"prepare": {"machine": 1}}, "unknown key 'machine' in prepare; allowed keys: instance_type"),
        ({"prepare": {"instance_type": "ml.trn1.2xlarge"}}, "prepare.instance_type must be a CPU or an NVIDIA GPU type"),
        ({"prepare": {"instance_type": "ml.c5n.xlarge"}}, "prepare.instance_type must be a type that SageMaker offers to processing jobs"),
        (
            {"instance_type": "ml.p4d.24xlarge"},
            "processing jobs, which 'ml.p4d.24xlarge' is not; name another one beside the instance_type",
        ),
        ({"debugger": "on"}, "debugger must be one of embedded, managed, off, got 'on'"),
        ({"rules": []}, "rules must be a JSON object, got []"),
        ({"rules": {"block": []}}, "unknown key 'block' in rules; allowed keys: evaluate, stop_training, block_deployment, parameters"),
        ({"tuning": {"strategy": "Grid"}}, "tuning.strategy must be one of Bayesian, Random, got 'Grid'"),
        ({"tuning": {"max_jobs": 751}}, "tuning.max_jobs must be a whole number from 1 to 750"),
        ({"tuning": {"max_jobs": 4, "max_parallel_jobs": 5}}, "tuning.max_parallel_jobs must be a whole number from 1 to 4, got 5"),
        ({"tuning": {"max_parallel_jobs": 11}}, "from 1 to 10, got 11"),
        ({"tuning": {"lr": [0.1, 0.001]}}, "tuning.lr must be [least, greatest] with 0 < least < greatest <= 1, got [0.1, 0.001]"),
        ({"tuning": {"lr": [0, 0.1]}}, "0 < least"),
        ({"tuning": {"lr": 0.1}}, "tuning.lr must be two numbers"),
        ({"tuning": {"lr": [0.1, True]}}, "tuning.lr must be two numbers"),
        ({"tuning": {"batch_size": []}}, "tuning.batch_size must hold 1 to 30 values"),
        ({"tuning": {"batch_size": [16, 16]}}, "each once, got [16, 16]"),
        ({"tuning": {"batch_size": [0]}}, "tuning.batch_size must list whole numbers from 1 to 4096"),
        ({"tuning": {"batch_size": "16"}}, "got '16'"),
        ({"endpoint": {"instance_count": 0}}, "endpoint.instance_count must be a whole number from 1 to 100, got 0"),
        ({"endpoint": {"instance_type": 5}}, "endpoint.instance_type must be a string, got 5"),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(asked: Any, sentence: str) -> None:
    with pytest.raises(InvalidExecutionInput) as refused:
        ExecutionInput.parse(asked)
    assert sentence in str(refused.value)


def test_a_long_value_is_shortened_in_the_sentence() -> None:
    with pytest.raises(InvalidExecutionInput) as refused:
        ExecutionInput.parse({"debugger": "x" * 10_000})
    assert len(str(refused.value)) < 250


@given(st.dictionaries(FIELDS, JSON, max_size=3) | JSON)
def test_anything_is_either_parsed_or_refused(asked: Any) -> None:
    try:
        parsed = ExecutionInput.parse(asked)
    except InvalidExecutionInput as refusal:
        assert 20 < len(str(refusal)) < 600
    else:
        assert ExecutionInput.parse(json.loads(json.dumps(asdict(parsed)))) == parsed


@given(st.dictionaries(TUNING_FIELDS, JSON, max_size=3))
def test_any_tuning_is_either_parsed_or_refused(asked: Any) -> None:
    try:
        tuning = ExecutionInput.parse({"tuning": asked}).tuning
    except InvalidExecutionInput as refusal:
        assert "tuning" in str(refusal)
    else:
        assert 1 <= tuning.max_parallel_jobs <= tuning.max_jobs
        assert 0 < tuning.lr[0] < tuning.lr[1] <= 1


@pytest.mark.parametrize("instance", ["ml.t4g.medium", "ml.m6gd.large", "ml.r8g.large", "ml.g5g.xlarge", "ml.p6e-gb200.36xlarge"])
def test_machines_with_an_arm_processor_are_refused(instance: str) -> None:
    with pytest.raises(InvalidExecutionInput, match=r"no programs for Arm \(AWS Graviton\); got"):
        ExecutionInput.parse({"instance_type": instance})


@pytest.mark.parametrize("instance", ["ml.g5.xlarge", "ml.g6e.xlarge", "ml.p4d.24xlarge", "ml.c7i.large", "ml.m6id.large"])
def test_machines_with_an_intel_or_amd_processor_are_taken(instance: str) -> None:
    asked = {"instance_type": instance, "prepare": {"instance_type": "ml.g5.2xlarge"}}
    assert ExecutionInput.parse(asked).instance_type == instance


def test_the_data_set_is_prepared_on_the_training_jobs_kind_of_machine_unless_another_is_given() -> None:
    assert ExecutionInput.parse({"instance_type": "ml.g5.xlarge"}).prepare.instance_type == "ml.g5.xlarge"


@pytest.mark.parametrize("trainable", ["last_stage", "all"])
def test_a_backbone_may_be_trained_by_several_machines_that_read_as_they_go(trainable: str) -> None:
    asked = {"trainable": trainable, "instance_count": 16, "input_mode": "FastFile"}
    parsed = ExecutionInput.parse(asked)
    assert (parsed.instance_count, parsed.input_mode) == (16, "FastFile")


def test_machines_that_processing_jobs_are_not_offered_on_are_those_of_the_api() -> None:
    """Of all that a training job may run on and our images support."""
    model = botocore.session.get_session().get_service_model("sagemaker")
    known = {name: set(model.shape_for(name).enum) for name in ("TrainingInstanceType", "ProcessingInstanceType")}
    supported = {each for each in known["TrainingInstanceType"] if not FOREIGN_FAMILY.match(each) and not ARM_FAMILY.match(each)}
    assert {each for each in supported if UNPROCESSED_FAMILY.match(each)} == supported - known["ProcessingInstanceType"]


@pytest.mark.parametrize(
    ("instance", "gpu"), [("ml.m5.large", False), ("ml.g5.xlarge", True), ("ml.p4d.24xlarge", True), ("ml.c7i.large", False)]
)
def test_gpu_instances_are_known_by_their_family(instance: str, gpu: bool) -> None:
    assert uses_gpu(instance) is gpu
