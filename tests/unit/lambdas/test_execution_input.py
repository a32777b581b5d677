"""The execution input: every default, every limit, and a sentence for each thing that cannot be."""

import json
import re
from dataclasses import asdict, fields
from typing import Any

import botocore.session
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambdas.request.deployment import Deployment, Gate
from lambdas.request.execution_input import ExecutionInput
from lambdas.request.input_values import InvalidExecutionInput
from lambdas.request.instance_types import ARM_FAMILY, FOREIGN_FAMILY, SUPPORTED, UNPROCESSED_FAMILY, gpus, processors, uses_gpu
from lambdas.request.tuning import Completion, Tuning
from training.contract.rules import default_rules

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
FIELDS = st.sampled_from([each.name for each in fields(ExecutionInput)])
WORDS = st.sampled_from(
    ["Bayesian", "Random", "Hyperband", "Grid", "instance", "serverless", "none", "canary", "ml.g5.xlarge", "ml.m5.large"]
)
NUMBERS = st.integers(-1, 800) | st.floats(0, 1) | st.sampled_from([1024, 2048, 5000])
LIKELY = JSON | WORDS | NUMBERS | st.lists(NUMBERS, max_size=4) | st.lists(WORDS, max_size=3)
"""Values that more often come through the first checks."""


def members(shape: type) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with some of a dataclass's keys."""
    return st.dictionaries(st.sampled_from([each.name for each in fields(shape)]), LIKELY, max_size=4)


def test_an_empty_input_takes_every_default() -> None:
    assert json.loads(json.dumps(asdict(ExecutionInput.parse({})))) == {
        "version": 1,
        "data": "data/",
        "epochs": 20,
        "seed": 42,
        "instance_type": "ml.m5.2xlarge",
        "instance_fallbacks": [],
        "instance_count": 1,
        "spot": False,
        "budget_usd": None,
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
            "early_stopping": False,
            "completion": {"target_loss": None, "no_improvement_jobs": None, "converged": False},
            "warm_start": [],
        },
        "gate": {"least_accuracy": 0.0, "champion": True, "tolerance": 0.01, "class_tolerance": 0.2},
        "approval": "automatic",
        "deployment": {
            "kind": "instance",
            "instance_type": "ml.m5.large",
            "instance_count": 1,
            "max_instance_count": 2,
            "memory_mb": 4096,
            "max_concurrency": 5,
            "update": "canary",
            "keep_versions": 5,
        },
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
        ({"epoch": 3}, "unknown key 'epoch' in the execution input; allowed keys: version, data, epochs, seed"),
        ({"version": 2}, "version must be 1, the only version of the execution input so far, got 2"),
        ({"version": True}, "version must be 1"),
        ({"endpoint": {"instance_count": 2}}, "endpoint is now deployment, got {'instance_count': 2}: write \"deployment\" in its place"),
        ({"tuning": {"jobs": 3}}, "unknown key 'jobs' in tuning; allowed keys: max_jobs"),
        ({"tuning": 4}, "tuning must be a JSON object, got 4"),
        ({"deployment": {"count": 1}}, "unknown key 'count' in deployment; allowed keys: kind, instance_type"),
        ({"epochs": 0}, "epochs must be a whole number from 1 to 1000, got 0"),
        ({"epochs": "20"}, "epochs must be a whole number from 1 to 1000, got '20'"),
        ({"epochs": True}, "got True"),
        ({"epochs": 2.5}, "got 2.5"),
        ({"epochs": float("nan")}, "got nan"),
        ({"epochs": 10**400}, "epochs must be a whole number from 1 to 1000, got 1000000"),
        ({"tuning": {"lr": [0.001, 10**400]}}, "tuning.lr[1] must be a number above 0 and at most 1, got 1000000"),
        ({"seed": -1}, "seed must be a whole number from 0"),
        ({"data": 7}, "data must be a string, got 7"),
        ({"instance_type": "m5.large"}, "instance_type must be a SageMaker instance type such as"),
        ({"instance_type": "ml.trn1.2xlarge"}, "instance_type must be a CPU or an NVIDIA GPU type"),
        ({"instance_type": "ml.c6gn.xlarge"}, "instance_type must have an Intel or AMD processor"),
        ({"deployment": {"instance_type": "ml.m7g.large"}}, "deployment.instance_type must have an Intel or AMD processor"),
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
        ({"tuning": {"strategy": "Annealing"}}, "tuning.strategy must be one of Bayesian, Random, Hyperband, Grid, got 'Annealing'"),
        ({"tuning": {"max_jobs": 751}}, "tuning.max_jobs must be a whole number from 1 to 750"),
        (
            {"tuning": {"max_jobs": 4, "max_parallel_jobs": 5}},
            "parallel_jobs must be a whole number from 1 to 4, tuning.max_jobs, got 5",
        ),
        ({"tuning": {"max_parallel_jobs": 11}}, "from 1 to 10, got 11"),
        (
            {"tuning": {"lr": [0.1, 0.001]}},
            "with 0 < least < greatest <= 1, such as [0.001, 0.1], got [0.1, 0.001]; to try",
        ),
        ({"tuning": {"lr": [0, 0.1]}}, "tuning.lr[0] must be a number above 0 and at most 1, got 0"),
        ({"tuning": {"lr": 0.1}}, "tuning.lr must be a list of 1 to 30 values, each once, such as [0.001, 0.1], got 0.1"),
        ({"tuning": {"lr": [0.1, True]}}, "tuning.lr[1] must be a number above 0 and at most 1, got True"),
        ({"tuning": {"batch_size": []}}, "tuning.batch_size must be a list of 1 to 30 values, each once, such as [16, 32, 64], got []"),
        ({"tuning": {"batch_size": [16, 16]}}, "each once, such as [16, 32, 64], got [16, 16]"),
        ({"tuning": {"batch_size": [0]}}, "tuning.batch_size[0] must be a whole number from 1 to 4096, got 0"),
        ({"tuning": {"batch_size": "16"}}, "got '16'"),
        ({"tuning": {"lr": [0.1]}}, 'to try single values, set tuning.strategy to "Grid"'),
        ({"tuning": {"strategy": "Grid"}}, 'tuning.lr must be given where tuning.strategy is "Grid", got nothing: a Grid tries values'),
        ({"tuning": {"strategy": "Grid", "lr": 0.1}}, "tuning.lr must be a list of 1 to 30 values, each once"),
        ({"tuning": {"strategy": "Grid", "lr": [0.1, 1.5]}}, "tuning.lr[1] must be a number above 0 and at most 1, got 1.5"),
        (
            {"tuning": {"strategy": "Grid", "lr": [0.1, 0.1]}},
            "a list of 1 to 30 values, each once, such as [0.001, 0.1], got [0.1, 0.1]",
        ),
        ({"tuning": {"strategy": "Grid", "lr": []}}, "tuning.lr must be a list of 1 to 30 values"),
        (
            {"tuning": {"strategy": "Grid", "lr": [0.1], "batch_size": [16, 32], "max_jobs": 5}},
            'tuning.max_jobs must be left out where tuning.strategy is "Grid", got 5: one training job tries each of the 2 combinations',
        ),
        (
            {"tuning": {"strategy": "Grid", "lr": [n / 100 for n in range(1, 31)], "batch_size": list(range(1, 31))}},
            "make 900 combinations, and a tuning job launches at most 750",
        ),
        ({"tuning": {"strategy": "Hyperband", "epochs": 1}}, "tuning.epochs must be at least 2"),
        (
            {"tuning": {"strategy": "Hyperband", "early_stopping": True}},
            'tuning.early_stopping must be false where tuning.strategy is "Hyperband"',
        ),
        ({"tuning": {"early_stopping": "Auto"}}, "tuning.early_stopping must be true or false, got 'Auto'"),
        ({"tuning": {"completion": {"loss": 1}}}, "unknown key 'loss' in tuning.completion; allowed keys: target_loss"),
        (
            {"tuning": {"completion": {"target_loss": 0}}},
            "tuning.completion.target_loss must be null or a number above 0 and at most 1,000",
        ),
        ({"tuning": {"completion": {"no_improvement_jobs": 2}}}, "must be null or a whole number from 3 to 750, got 2"),
        ({"tuning": {"completion": {"converged": None}}}, "tuning.completion.converged must be true or false, got None"),
        ({"tuning": {"warm_start": "whippet-1"}}, "tuning.warm_start must be a list of at most 5 values, each once, such as ["),
        ({"tuning": {"warm_start": ["not_a_name"]}}, "tuning.warm_start[0] must be the name of a tuning job, which is `tuning_job` in"),
        ({"tuning": {"warm_start": ["a-1"] * 2}}, "tuning.warm_start must be a list of at most 5 values, each once"),
        ({"tuning": {"warm_start": [f"a-{n}" for n in range(6)]}}, "tuning.warm_start must be a list of at most 5 values"),
        (
            {"tuning": {"strategy": "Hyperband", "warm_start": ["a-1"]}},
            'tuning.warm_start must be left out where tuning.strategy is "Hyperband"',
        ),
        ({"instance_fallbacks": "ml.m5.xlarge"}, "instance_fallbacks must be a list of at most 4 values, each once, such as ["),
        ({"instance_fallbacks": [7]}, "instance_fallbacks[0] must be a string, got 7"),
        ({"instance_fallbacks": [f"ml.m5.{n}xlarge" for n in range(3, 8)]}, "instance_fallbacks must be a list of at most 4 values"),
        ({"instance_fallbacks": ["m5.large"]}, "instance_fallbacks[0] must be a SageMaker instance type such as"),
        (
            {"instance_fallbacks": ["ml.m5.2xlarge"]},
            "instance_fallbacks must name types other than instance_type, ml.m5.2xlarge; got 'ml.m5.2xlarge' again",
        ),
        (
            {"instance_fallbacks": ["ml.m5.xlarge", "ml.m5.xlarge"]},
            "each once, such as [\"ml.m6i.2xlarge\"], got ['ml.m5.xlarge', ",
        ),
        (
            {"instance_fallbacks": ["ml.g5.xlarge"]},
            "instance_fallbacks must be types without a GPU, as instance_type, ml.m5.2xlarge, is one",
        ),
        ({"instance_type": "ml.g5.xlarge", "instance_fallbacks": ["ml.m5.xlarge"]}, "instance_fallbacks must be types with a GPU"),
        ({"budget_usd": 0}, "budget_usd must be null or a number above 0 and at most 1,000,000, got 0"),
        ({"budget_usd": "5"}, "budget_usd must be null or a number above 0 and at most 1,000,000, got '5'"),
        ({"budget_usd": True}, "got True"),
        ({"approval": "later"}, "approval must be one of automatic, manual, got 'later'"),
        ({"gate": 0.9}, "gate must be a JSON object, got 0.9"),
        ({"gate": {"accuracy": 0.9}}, "unknown key 'accuracy' in gate; allowed keys: least_accuracy, champion"),
        ({"gate": {"least_accuracy": 90}}, "gate.least_accuracy must be a number from 0 to 1, got 90"),
        ({"gate": {"tolerance": -0.1}}, "gate.tolerance must be a number from 0 to 1, got -0.1"),
        ({"gate": {"champion": "yes"}}, "gate.champion must be true or false, got 'yes'"),
        ({"deployment": {"kind": "async"}}, "deployment.kind must be one of instance, serverless, none, got 'async'"),
        ({"deployment": {"instance_count": 0}}, "deployment.instance_count must be a whole number from 1 to 100, got 0"),
        ({"deployment": {"instance_type": 5}}, "deployment.instance_type must be a string, got 5"),
        (
            {"deployment": {"instance_count": 3, "max_instance_count": 2}},
            "deployment.max_instance_count must be a whole number from deployment.instance_count, 3, to 100, got 2",
        ),
        ({"deployment": {"update": "rolling"}}, "deployment.update must be one of canary, linear, all_at_once, got 'rolling'"),
        ({"deployment": {"keep_versions": 0}}, "deployment.keep_versions must be a whole number from 1 to 100, got 0"),
        (
            {"deployment": {"kind": "serverless", "instance_type": "ml.m5.xlarge"}},
            'deployment.instance_type must be left out where deployment.kind is "serverless", which has no instances of its own, got',
        ),
        ({"deployment": {"kind": "serverless", "update": "linear"}}, "deployment.update must be left out where"),
        (
            {"deployment": {"kind": "none", "instance_count": 2}},
            'deployment.instance_count must be left out where deployment.kind is "none"',
        ),
        (
            {"deployment": {"memory_mb": 2048}},
            'deployment.memory_mb must be left out where deployment.kind is "instance" and not "serverless", got 2048',
        ),
        ({"deployment": {"kind": "serverless", "memory_mb": 3000}}, "must be one of 1024, 2048, 3072, 4096, 5120, 6144, got 3000"),
        (
            {"deployment": {"kind": "serverless", "memory_mb": 8192}},
            "deployment.memory_mb must be one of 1024, 2048, 3072, 4096, 5120, 6144, got 8192",
        ),
        ({"deployment": {"kind": "serverless", "max_concurrency": 201}}, "deployment.max_concurrency must be a whole number from 1 to 200"),
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


def parsed_or_refused(asked: Any) -> None:
    try:
        parsed = ExecutionInput.parse(asked)
    except InvalidExecutionInput as refusal:
        assert 20 < len(str(refusal)) < 600
    else:
        assert ExecutionInput.parse(json.loads(json.dumps(asdict(parsed)))) == parsed


@settings(max_examples=1000)
@given(st.dictionaries(FIELDS, LIKELY, max_size=3) | JSON)
def test_anything_is_either_parsed_or_refused(asked: Any) -> None:
    parsed_or_refused(asked)


@settings(max_examples=1000)
@given(members(Tuning) | st.fixed_dictionaries({"completion": members(Completion)}))
def test_any_tuning_is_either_parsed_or_refused(asked: Any) -> None:
    parsed_or_refused({"tuning": asked})


@settings(max_examples=500)
@given(st.fixed_dictionaries({"deployment": members(Deployment), "gate": members(Gate)}))
def test_any_deployment_is_either_parsed_or_refused(asked: Any) -> None:
    parsed_or_refused(asked)


@given(st.dictionaries(st.sampled_from(["max_jobs", "max_parallel_jobs", "lr", "batch_size", "strategy"]), LIKELY, max_size=3))
def test_a_tuning_that_is_parsed_makes_sense(asked: Any) -> None:
    try:
        tuning = Tuning.parse(asked)
    except InvalidExecutionInput as refusal:
        assert "tuning" in str(refusal)
    else:
        assert 1 <= tuning.max_parallel_jobs <= tuning.max_jobs
        assert 0 < tuning.lr[0] <= tuning.lr[-1] <= 1
        assert tuning.strategy != "Grid" or tuning.max_jobs == len(tuning.lr) * len(tuning.batch_size)


def test_a_grid_takes_as_many_jobs_as_there_are_combinations() -> None:
    tuning = ExecutionInput.parse({"tuning": {"strategy": "Grid", "lr": [0.1, 0.01], "batch_size": [16]}}).tuning
    assert (tuning.lr, tuning.max_jobs, tuning.max_parallel_jobs) == ((0.01, 0.1), 2, 2)


def test_a_deployment_of_many_machines_does_not_scale_unless_asked() -> None:
    assert ExecutionInput.parse({"deployment": {"instance_count": 5}}).deployment.max_instance_count == 5


def test_what_means_nothing_to_a_deployment_may_be_there_with_its_default() -> None:
    asked = {"kind": "serverless", "instance_type": "ml.m5.large", "update": "canary"}
    assert ExecutionInput.parse({"deployment": asked}).deployment.kind == "serverless"


def test_fallbacks_keep_their_order() -> None:
    asked = {"instance_type": "ml.g5.xlarge", "instance_fallbacks": ["ml.g6.xlarge", "ml.g4dn.xlarge"]}
    assert ExecutionInput.parse(asked).instance_fallbacks == ("ml.g6.xlarge", "ml.g4dn.xlarge")


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


@pytest.mark.parametrize(
    ("instance", "sizes"),
    [
        ("ml.m5.large", (2, 0)),
        ("ml.m5.xlarge", (4, 0)),
        ("ml.g5.48xlarge", (192, 8)),
        ("ml.g5.16xlarge", (64, 1)),
        ("ml.g4dn.12xlarge", (48, 4)),
        ("ml.p3.8xlarge", (32, 4)),
        ("ml.p4d.24xlarge", (96, 8)),
        ("ml.m5.strange", (96, 0)),
    ],
)
def test_the_size_of_a_machine_is_read_from_its_name(instance: str, sizes: tuple[int, int]) -> None:
    assert (processors(instance), gpus(instance)) == sizes


def test_the_one_expression_for_supported_types_says_what_the_three_do() -> None:
    every = botocore.session.get_session().get_service_model("sagemaker").shape_for("TrainingInstanceType").enum
    taken = {each for each in every if not FOREIGN_FAMILY.match(each) and not ARM_FAMILY.match(each)}
    assert {each for each in every if re.search(SUPPORTED, each)} == taken
