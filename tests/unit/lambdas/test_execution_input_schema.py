"""The JSON Schema of the execution input: made of the fields, held against every documented example and against the parser."""

import json
import re
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from lambdas.request.execution_input import ExecutionInput
from lambdas.request.execution_input_schema import make_schema, write_schema
from lambdas.request.input_values import InvalidExecutionInput
from lambdas.request.rules import Rules
from tests import REPOSITORY

DOCS = REPOSITORY / "docs"
EXAMPLES = re.findall(r"```json\n(.*?)```", (DOCS / "execution-input.md").read_text(encoding="utf-8"), flags=re.DOTALL)[:-1]
VALIDATOR = Draft202012Validator(make_schema())

WORDS = st.sampled_from(
    ["Bayesian", "Grid", "serverless", "canary", "linear", "manual", "ml.g5.xlarge", "ml.trn1.2xlarge", "ml.m7g.large", "embedded", "File"]
)
NUMBERS = st.integers(-2, 5000) | st.sampled_from([0.0, 1.0, 20.0, 0.5, 1e-9, 2**31, 10**7])
SCALARS = st.none() | st.booleans() | NUMBERS | WORDS | st.text(max_size=5)
VALUES = SCALARS | st.lists(NUMBERS, max_size=4) | st.lists(SCALARS, max_size=6) | st.dictionaries(st.text(max_size=3), SCALARS, max_size=1)


def paths(value: object, prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every field of the execution input, objects included."""
    below = (
        [path for each in fields(value) for path in paths(getattr(value, each.name), (*prefix, each.name))] if is_dataclass(value) else []
    )
    return [prefix, *below] if prefix else below


def at(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """A document with this one field."""
    for key in reversed(path):
        value = {key: value}
    return dict(value)


def is_parsed(document: Any) -> bool:
    try:
        ExecutionInput.parse(document)
    except InvalidExecutionInput:
        return False
    return True


def test_the_file_is_what_the_fields_make() -> None:
    found = (DOCS / "execution-input.schema.json").read_text(encoding="utf-8")
    assert found == write_schema(), "write it again: python -m lambdas.request.execution_input_schema > docs/execution-input.schema.json"


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(make_schema())


@pytest.mark.parametrize("document", EXAMPLES)
def test_every_documented_example_is_valid_by_schema_and_parser(document: str) -> None:
    assert [error.message for error in VALIDATOR.iter_errors(json.loads(document))] == []
    ExecutionInput.parse(json.loads(document))


def test_every_field_is_described_and_has_its_default() -> None:
    def walk(node: dict[str, Any]) -> None:
        for name, member in node["properties"].items():
            assert member["description"], name
            if "properties" in member and name != "parameters" and "evaluate" not in member["properties"]:
                walk(member)
            assert "default" in member, name

    walk(make_schema())
    assert make_schema()["properties"]["tuning"]["properties"]["max_jobs"]["default"] == 12


@settings(max_examples=2000)
@given(path=st.sampled_from(paths(ExecutionInput())), value=VALUES)
@example(path=("version",), value=True)
@example(path=("deployment", "memory_mb"), value=5000)
@example(path=("tuning", "lr"), value=[0.1, 0.1])
@example(path=("tuning", "batch_size"), value=[16, 16.0])
@example(path=("tuning", "warm_start"), value=["-"])
@example(path=("instance_fallbacks",), value=["ml.m5.xlarge", "ml.trn1.2xlarge"])
@example(path=("rules", "parameters"), value={"Overfit": {"ratio_threshold": [0.1]}})
@example(path=("rules", "block_deployment"), value=["OverallSystemUsage"])
@example(path=("endpoint",), value={})
def test_what_the_schema_refuses_of_one_field_the_parser_refuses_too(path: tuple[str, ...], value: Any) -> None:
    document = at(path, value)
    if not VALIDATOR.is_valid(document):
        assert not is_parsed(document)


@pytest.mark.parametrize("path", [path for path in paths(ExecutionInput()) if path[0] != "rules"], ids=".".join)
def test_the_schema_refuses_something_of_every_field(path: tuple[str, ...]) -> None:
    """It would hold trivially above if the schema took everything."""
    document = at(path, {"unknown": [1]})
    assert not VALIDATOR.is_valid(document)
    assert not is_parsed(document)


def test_the_rules_of_the_schema_are_those_that_exist() -> None:
    assert set(make_schema()["properties"]["rules"]["properties"]) == {each.name for each in fields(Rules)}
