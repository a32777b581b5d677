"""The execution input as a JSON Schema, for editors and other programs; made of the fields that the first state itself checks by.

Runs on a developer's machine; standard library only. A test holds the file against this module:

    python -m lambdas.request.execution_input_schema > docs/execution-input.schema.json

What the schema refuses the first state refuses; the first state refuses more, since it looks at several fields together.
"""

import ast
import inspect
import json
import sys
import textwrap
from dataclasses import Field, asdict, fields, is_dataclass
from typing import Any

from lambdas.request.execution_input import ExecutionInput
from lambdas.request.input_values import Schema
from lambdas.request.rules import SUMMARIES, Rules
from training.contract.rules import DEBUG_RULES, PROFILER_RULES

DIALECT = "https://json-schema.org/draft/2020-12/schema"
TITLE = "Execution input of Whippet, version 1"
PARAMETER = {"description": "What a rule takes: docs/debugger.md", "type": ["string", "number", "boolean"]}


def schema() -> Schema:
    """The whole document."""
    document = of_dataclass(ExecutionInput())
    return {"$schema": DIALECT, "title": TITLE, "description": "Every field is optional.", **document, "$defs": {"parameter": PARAMETER}}


def of_dataclass(value: Any) -> Schema:
    """An object with the fields of a dataclass and no others."""
    shape = type(value)
    told = descriptions(shape)
    members = {each.name: {"description": told[each.name], **of_field(each, getattr(value, each.name))} for each in fields(shape)}
    return {"type": "object", "properties": members, "additionalProperties": False}


def of_field(declaration: "Field[Any]", value: Any) -> Schema:
    """What a field declares, or the fields of the dataclass that it holds."""
    if isinstance(value, Rules):
        return {**of_rules(), "default": json_of(value)}
    if is_dataclass(value):
        return {**of_dataclass(value), "default": json_of(value)}
    return {**declaration.metadata["schema"], "default": json_of(value)}


def of_rules() -> Schema:
    """The rules that exist and the parameters that each has; which of them go together only the first state says."""
    every = {**DEBUG_RULES, **PROFILER_RULES}
    finding = [rule for rule in every if rule not in SUMMARIES]
    parameters = {
        rule: {"type": "object", "properties": {key: {"$ref": "#/$defs/parameter"} for key in defaults}, "additionalProperties": False}
        for rule, defaults in every.items()
    }
    told = descriptions(Rules)
    return {
        "type": "object",
        "properties": {
            "evaluate": {"description": told["evaluate"], **names(list(DEBUG_RULES))},
            "stop_training": {"description": told["stop_training"], **names(list(DEBUG_RULES))},
            "block_deployment": {"description": told["block_deployment"], **names(finding)},
            "parameters": {
                "description": told["parameters"],
                "type": "object",
                "properties": parameters,
                "additionalProperties": False,
            },
        },
        "additionalProperties": False,
    }


def names(allowed: list[str]) -> Schema:
    """A list of some of these."""
    return {"type": "array", "items": {"enum": allowed}}


def descriptions(shape: type) -> dict[str, str]:
    """Field -> the text below it in the source."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(shape))).body
    assert isinstance(definition, ast.ClassDef)
    told = {}
    for above, below in zip(definition.body, definition.body[1:], strict=False):
        if isinstance(above, ast.AnnAssign) and isinstance(above.target, ast.Name) and isinstance(below, ast.Expr):
            told[above.target.id] = " ".join(str(ast.literal_eval(below.value)).split())
    return told


def json_of(value: Any) -> Any:
    """The value as JSON has it."""
    return json.loads(json.dumps(asdict(value) if is_dataclass(value) and not isinstance(value, type) else value))


def written() -> str:
    """The file's content."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(written())
