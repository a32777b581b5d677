"""The execution input: every default, every limit, and a sentence for each thing that cannot be."""

import json
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdas.execution_input import ExecutionInput, InvalidExecutionInput, uses_gpu

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
FIELDS = st.sampled_from(["data", "epochs", "seed", "instance_type", "debugger", "tuning", "endpoint"])
TUNING_FIELDS = st.sampled_from(["max_jobs", "max_parallel_jobs", "epochs", "strategy", "lr", "batch_size"])


def test_an_empty_input_takes_every_default() -> None:
    assert json.loads(json.dumps(asdict(ExecutionInput.parse({})))) == {
        "data": "data/",
        "epochs": 20,
        "seed": 42,
        "instance_type": "ml.m5.2xlarge",
        "debugger": "embedded",
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
        ({"debugger": "managed"}, 'debugger "managed" (rules run by AWS) is not offered'),
        ({"debugger": "on"}, "debugger must be one of embedded, off, got 'on'"),
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
    assert ExecutionInput.parse({"instance_type": instance}).instance_type == instance


@pytest.mark.parametrize(
    ("instance", "gpu"), [("ml.m5.large", False), ("ml.g5.xlarge", True), ("ml.p4d.24xlarge", True), ("ml.c7i.large", False)]
)
def test_gpu_instances_are_known_by_their_family(instance: str, gpu: bool) -> None:
    assert uses_gpu(instance) is gpu
