"""What docs/ says about the execution input, made of the declarations that the first state itself checks by. Standard library only.

Runs on a developer's machine; a test compares the results with the documents:

    python -m lambdas.request.execution_input_schema > docs/execution-input.schema.json
    python -m lambdas.request.execution_input_schema table    # the table in docs/execution-input.md

The first state refuses everything that the schema refuses, and more, since it compares several fields.
"""

import ast
import inspect
import json
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import Field, asdict, fields, is_dataclass
from typing import Any

from lambdas.request.execution_input import ExecutionInput
from lambdas.request.rules import Rules
from training.contract.fields import Schema

DIALECT = "https://json-schema.org/draft/2020-12/schema"
TITLE = "Execution input of Whippet, version 1"
PARAMETER = {"description": "What a rule takes: docs/debugger.md", "type": ["string", "number", "boolean"]}


def make_schema() -> Schema:
    """Return the whole document."""
    document = describe_object(ExecutionInput())
    return {"$schema": DIALECT, "title": TITLE, "description": "Every field is optional.", **document, "$defs": {"parameter": PARAMETER}}


def describe_object(value: Any) -> Schema:
    """Return the schema of an object with the fields of a dataclass and no others."""
    texts = read_docstrings(type(value))
    members = {each.name: {"description": texts[each.name], **describe_field(each, value)} for each in fields(value)}
    return {"type": "object", "properties": members, "additionalProperties": False}


def describe_field(declaration: "Field[Any]", owner: Any) -> Schema:
    """Return what a field declares, or the fields of the dataclass that it holds. The defaults of rules depend on other fields."""
    value = getattr(owner, declaration.name)
    declared = describe_object(value) if is_dataclass(value) else declaration.metadata["kind"].schema
    return declared if isinstance(owner, Rules) else {**declared, "default": to_json(value)}


def read_docstrings(shape: type) -> dict[str, str]:
    """Return field -> the text below it in the source, of a dataclass and those that it extends."""
    texts = {}
    for each in (each for each in shape.__mro__ if is_dataclass(each)):
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(each))).body
        assert isinstance(definition, ast.ClassDef)
        for above, below in zip(definition.body, definition.body[1:], strict=False):
            if isinstance(above, ast.AnnAssign) and isinstance(above.target, ast.Name) and isinstance(below, ast.Expr):
                texts[above.target.id] = " ".join(str(ast.literal_eval(below.value)).split())
    return texts


def make_rows(value: Any, path: str = "") -> Iterator[str]:
    """Yield one row of the documentation's table for each field, those of inner objects in their place."""
    texts = read_docstrings(type(value))
    for each in fields(value):
        inner, name = getattr(value, each.name), f"{path}{each.name}"
        if is_dataclass(inner):
            yield from make_rows(inner, f"{name}.")
        else:
            allowed = "; ".join(filter(None, (each.metadata["kind"].cell, each.metadata["also"])))
            yield f"| `{name}` | {write_default(inner)} | {allowed} | {texts[each.name]} |"


def write_default(value: Any) -> str:
    """Return a default as a cell of the table."""
    written = json.dumps(to_json(value))
    return f"`{written.strip(chr(34))}`" if isinstance(value, str | tuple | dict) else written


def make_table() -> str:
    """Return the table of docs/execution-input.md."""
    return "\n".join(["| field | default | allowed | meaning |", "| --- | --- | --- | --- |", *make_rows(ExecutionInput())]) + "\n"


def to_json(value: Any) -> Any:
    """Return the value as JSON has it."""
    return json.loads(json.dumps(asdict(value) if is_dataclass(value) and not isinstance(value, type) else value))


def write_schema() -> str:
    """Return the content of docs/execution-input.schema.json."""
    return json.dumps(make_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(make_table() if sys.argv[1:] == ["table"] else write_schema())
