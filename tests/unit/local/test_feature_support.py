"""The tables of local.api.feature_support against botocore's model: no field is unknown, and none is ignored in silence."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import local
from local.api.errors import ServiceError
from local.api.feature_support import ACCEPTED, ACTED_ON, LIMITED, REFUSED, reject_unsupported
from local.api.validation import load_service_model

PARTS = {
    "ProductionVariant": ("CreateEndpointConfig", "ProductionVariants"),
    "Channel": ("CreateTrainingJob", "InputDataConfig"),
    "DebugRuleConfigurations": ("CreateTrainingJob", "DebugRuleConfigurations"),
    "ProfilerRuleConfigurations": ("CreateTrainingJob", "ProfilerRuleConfigurations"),
    "ProcessingInput": ("CreateProcessingJob", "ProcessingInputs"),
    "ProcessingOutput": ("CreateProcessingJob", "ProcessingOutputConfig.Outputs"),
}
REQUESTS = (
    "CreateProcessingJob", "CreateTrainingJob", "CreateHyperParameterTuningJob",
    "CreateModel", "CreateEndpointConfig", "CreateEndpoint", "UpdateEndpoint",
    "CreateModelPackageGroup", "CreateModelPackage", "UpdateModelPackage",
)  # fmt: skip


def shape_of(what: str) -> Any:
    operation, path = PARTS.get(what, (what, ""))
    shape = load_service_model().operation_model(operation).input_shape
    for member in path.split(".") if path else ():
        shape = shape.members[member]
    return shape.member if path else shape


def exists(shape: Any, field: str) -> bool:
    for name in field.split("."):
        shape = shape.member if shape.type_name == "list" else shape
        if shape.type_name != "structure" or name not in shape.members:
            return False
        shape = shape.members[name]
    return True


def uncovered(shape: Any, covered: set[str], path: str = "") -> Iterator[str]:
    """Fields that no table names, itself or as a part of a field that is acted on."""
    for name, member in shape.members.items():
        field = f"{path}{name}"
        parts_are_listed = any(each.startswith(f"{field}.") for each in covered)
        if field in covered or (member.type_name == "list" and parts_are_listed):
            continue
        if member.type_name == "structure" and parts_are_listed:
            yield from uncovered(member, covered, f"{field}.")
        else:
            yield field


@pytest.mark.parametrize("what", [*REFUSED, *LIMITED])
def test_every_field_that_a_table_names_exists(what: str) -> None:
    assert [field for field in (*REFUSED.get(what, ()), *LIMITED.get(what, ())) if not exists(shape_of(what), field)] == []


def test_every_accepted_and_acted_on_field_exists_somewhere() -> None:
    shapes = [shape_of(what) for what in (*REQUESTS, "ProductionVariant")]
    assert [field for field in (*ACCEPTED, *ACTED_ON) if not any(exists(shape, field) for shape in shapes)] == []


def test_every_field_that_is_acted_on_is_read_by_the_code() -> None:
    files = [path for path in Path(local.__file__).parent.rglob("*.py") if path.name != "fidelity.py"]
    code = "".join(path.read_text() for path in files)
    assert [field for field in ACTED_ON if f'"{field.rpartition(".")[2]}"' not in code] == []


@pytest.mark.parametrize("what", [*REQUESTS, *PARTS])
def test_no_field_is_ignored_in_silence(what: str) -> None:
    named = {*ACCEPTED, *ACTED_ON}
    part = f"{PARTS[what][1]}." if what in PARTS else ""
    within = {field.removeprefix(part) for field in named if field.startswith(part)} if part else named
    nested = {f"TrainingJobDefinition.{field}" for field in named} if what == "CreateHyperParameterTuningJob" else set()
    covered = {*within, *nested, *REFUSED.get(what, ()), *LIMITED.get(what, ())}
    assert list(uncovered(shape_of(what), covered)) == []


def test_every_fault_of_a_request_is_named_at_once() -> None:
    request = {"VpcConfig": {}, "ResourceConfig": {"InstanceCount": 3}, "ProfilerConfig": {"ProfilingParameters": {}}}
    with pytest.raises(ServiceError) as caught:
        reject_unsupported("CreateTrainingJob", request)
    assert "VpcConfig is not supported in local mode" in caught.value.message
    assert "ResourceConfig.InstanceCount 3 is not supported in local mode: supported: 1" in caught.value.message
    assert "ProfilerConfig" not in caught.value.message
