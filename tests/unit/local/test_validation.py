"""Requests held to botocore's model: every kind of fault, in the words of AWS."""

from typing import Any

import pytest

from local.api.errors import ServiceError
from local.api.validation import _compile, load_service_model, shape_answer, validate
from tests.fixtures.local.running import training_fields

OPERATIONS = [
    "CreateTrainingJob", "CreateHyperParameterTuningJob", "CreateModel", "CreateEndpointConfig", "CreateEndpoint", "UpdateEndpoint",
    "AddTags", "ListTrainingJobs", "ListEndpoints",
]  # fmt: skip


def request(**changes: Any) -> dict[str, Any]:
    return {"TrainingJobName": "job", **training_fields("bucket", "s3://bucket/code"), **changes}


def fault(given: Any, operation: str = "CreateTrainingJob") -> str:
    with pytest.raises(ServiceError) as caught:
        validate(operation, given)
    assert (caught.value.code, caught.value.status) == ("ValidationException", 400)
    return caught.value.message


def test_a_good_request_passes() -> None:
    validate("CreateTrainingJob", request(HyperParameters={"lr": "0.1"}, Tags=[{"Key": "Größe", "Value": "a b"}]))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"RoleArn": None}, "Value null at 'roleArn' failed to satisfy constraint: Member must not be null"),
        ({"Colour": "red"}, "Unknown parameter 'Colour' at 'input': must be one of: TrainingJobName, HyperParameters"),
        (
            {"TrainingJobName": "a_b"},
            "Value 'a_b' at 'trainingJobName' failed to satisfy constraint: Member must satisfy regular expression pattern",
        ),
        ({"RoleArn": "arn:aws:iam::000000000000:role/" + "a" * 2048}, "Member must have length less than or equal to 2048"),
        ({"TrainingJobName": "a\n"}, "Member must satisfy regular expression pattern"),
        ({"HyperParameters": {"lr": 0.1}}, "Value '0.1' at 'hyperParameters.lr.member' is of type float: it must be a String"),
        ({"HyperParameters": {"lr": "x" * 2501}}, "at 'hyperParameters.lr.member' failed to satisfy constraint: Member must have length"),
        ({"EnableNetworkIsolation": "true"}, "is of type str: it must be a Boolean"),
        (
            {"StoppingCondition": {"MaxRuntimeInSeconds": 0}},
            "at 'stoppingCondition.maxRuntimeInSeconds' failed to satisfy constraint: Member must have value",
        ),
        ({"StoppingCondition": {"MaxRuntimeInSeconds": True}}, "is of type bool: it must be an Integer"),
        ({"InputDataConfig": {}}, "at 'inputDataConfig' is of type dict: it must be a list"),
        ({"InputDataConfig": [{"ChannelName": "a"}]}, "Value null at 'inputDataConfig.1.member.dataSource'"),
    ],
)
def test_a_fault_is_named_with_its_place(changes: dict[str, Any], told: str) -> None:
    message = fault(request(**changes))
    assert told in message and message.startswith("1 validation error detected: ")


def test_an_enum_lists_the_allowed_values() -> None:
    given = request()
    given["AlgorithmSpecification"] = {**given["AlgorithmSpecification"], "TrainingInputMode": "Floppy"}
    assert "Member must satisfy enum value set: [Pipe, File, FastFile]" in fault(given)


def test_all_faults_are_told_at_once() -> None:
    message = fault({"TrainingJobName": "a_b" * 30})
    assert message.startswith("4 validation errors detected: ")
    for told in ("'roleArn'", "'outputDataConfig'", "regular expression pattern", "length less than or equal to 63"):
        assert told in message


def test_a_request_that_is_no_object_and_an_unknown_operation() -> None:
    assert "it must be a structure" in fault([1])
    with pytest.raises(ServiceError, match="UnknownOperationException"):
        validate("CreateCastle", {})


def test_answers_hold_exactly_the_members_of_the_model() -> None:
    document = {
        "TrainingJobName": "job",
        "CreationTime": 3,
        "_pid": 5,
        "Tags": [],
        "ModelArtifacts": {"S3ModelArtifacts": "s3://b/k", "Size": 3},
    }
    assert shape_answer("DescribeTrainingJob", document) == {
        "TrainingJobName": "job",
        "CreationTime": 3.0,
        "ModelArtifacts": {"S3ModelArtifacts": "s3://b/k"},
    }
    assert shape_answer("StopTrainingJob", {}) == {}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_pattern_of_the_model_can_be_checked(operation: str) -> None:
    """A pattern that Python cannot read would let anything through, or fail only when a user first gives that field."""
    seen: set[str] = set()

    def walk(shape: Any) -> None:
        if shape.name in seen:
            return
        seen.add(shape.name)
        if pattern := shape.metadata.get("pattern"):
            _compile(pattern)
        if shape.type_name == "structure":
            for member in shape.members.values():
                walk(member)
        for part in {"list": ("member",), "map": ("key", "value")}.get(shape.type_name, ()):
            walk(getattr(shape, part))

    walk(load_service_model().operation_model(operation).input_shape)
    assert len(seen) > 1
