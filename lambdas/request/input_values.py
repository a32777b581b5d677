"""How one value of the execution input is declared and checked: the right kind, within its limits, or a sentence that says what is allowed.

Runs inside `prepare_execution`; standard library only. A field of a dataclass says with `whole`, `number`, `yes_no`, `choice` or `string`
what it takes; `value_of` holds a JSON object against that, and docs/execution-input.schema.json is made of the same declarations:

    @dataclass(frozen=True)
    class Tuning:
        max_jobs: int = whole(12, 1, 750)

    value_of({"max_jobs": 4}, Tuning, "max_jobs", "tuning.")    # 4
"""

import math
from collections.abc import Mapping
from dataclasses import Field, field, fields
from typing import Any

Schema = dict[str, Any]


class InvalidExecutionInput(ValueError):  # noqa: N818 - the name is what the state machine shows
    """The execution input asks for something that cannot be; the message names the field, the value and what is allowed."""


def declared(default: Any, schema: Schema) -> Any:
    """A field with its default, and what it takes in the words of JSON Schema."""
    return field(default=default, metadata={"schema": schema})


def whole(default: int | None, low: int, high: int, *, optional: bool = False) -> Any:
    """A field for a whole number from `low` to `high`, or null where it is optional; a boolean is none, and 20.0 is 20."""
    return declared(default, {"type": ["integer", "null"] if optional else "integer", "minimum": low, "maximum": high})


def number(default: float | None, low: float, high: float, *, above: bool = False, optional: bool = False) -> Any:
    """A field for a number from `low`, or `above` it, to `high`, or null where it is optional."""
    least = {"exclusiveMinimum" if above else "minimum": low}
    return declared(default, {"type": ["number", "null"] if optional else "number", **least, "maximum": high})


def yes_no(default: bool) -> Any:
    """A field for true or false."""
    return declared(default, {"type": "boolean"})


def choice(default: str, *allowed: str) -> Any:
    """A field for one of these words."""
    return declared(default, {"enum": list(allowed)})


def string(default: str, **limits: Any) -> Any:
    """A field for a text; `limits` are for the schema, and whoever reads the field checks them."""
    return declared(default, {"type": "string", **limits})


def known_keys(document: object, shape: type, where: str) -> Mapping[str, Any]:
    """The document as a mapping whose keys are all fields of `shape`."""
    name = where or "the execution input"
    if not isinstance(document, Mapping):
        raise InvalidExecutionInput(f"{name} must be a JSON object, got {shown(document)}; {{}} takes every default")
    allowed = [each.name for each in fields(shape)]
    for key in document:
        if key not in allowed:
            raise InvalidExecutionInput(f"unknown key {shown(key)} in {name}; allowed keys: {', '.join(allowed)}")
    return document


def value_of(given: Mapping[str, Any], shape: type, name: str, where: str = "") -> Any:
    """The value of a declared field, or its default where none is given; `where` is what its name begins with in a sentence."""
    declaration = declaration_of(shape, name)
    value = given.get(name, declaration.default)
    schema = declaration.metadata["schema"]
    kinds = schema["type"] if isinstance(schema.get("type"), list) else [schema.get("type")]
    if value is None and "null" in kinds:
        return None
    return CHECKS[kinds[0]](f"{where}{name}", value, schema)


def values_of(given: Mapping[str, Any], shape: type, names: tuple[str, ...], where: str) -> dict[str, Any]:
    """Several of them, by their names."""
    return {name: value_of(given, shape, name, where) for name in names}


def declaration_of(shape: type, name: str) -> "Field[Any]":
    """How the dataclass declares a field."""
    return next(each for each in fields(shape) if each.name == name)


def whole_number(path: str, value: Any, schema: Schema) -> int:
    """A whole number within its limits."""
    low, high = schema["minimum"], schema["maximum"]
    if not is_whole(value) or not low <= value <= high:
        raise InvalidExecutionInput(f"{path} must be {or_null(schema)}a whole number from {low} to {high}, got {shown(value)}")
    return int(value)


def any_number(path: str, value: Any, schema: Schema) -> float:
    """A finite number within its limits."""
    above, low, high = schema.get("exclusiveMinimum"), schema.get("minimum"), schema["maximum"]
    if not is_number(value) or value > high or (value <= above if above is not None else value < low):
        limits = f"above {above:g} and at most {high:,.0f}" if above is not None else f"from {low:g} to {high:g}"
        raise InvalidExecutionInput(f"{path} must be {or_null(schema)}a number {limits}, got {shown(value)}")
    return float(value)


def true_or_false(path: str, value: Any, _schema: Schema) -> bool:
    """true or false."""
    if not isinstance(value, bool):
        raise InvalidExecutionInput(f"{path} must be true or false, got {shown(value)}")
    return value


def one_of(path: str, value: Any, schema: Schema) -> str:
    """One of the allowed words."""
    if value not in schema["enum"]:
        raise InvalidExecutionInput(f"{path} must be one of {', '.join(schema['enum'])}, got {shown(value)}")
    return str(value)


def text(path: str, value: Any, _schema: Schema) -> str:
    """A string."""
    if not isinstance(value, str):
        raise InvalidExecutionInput(f"{path} must be a string, got {shown(value)}")
    return value


CHECKS = {"integer": whole_number, "number": any_number, "boolean": true_or_false, "string": text, None: one_of}
"""JSON Schema's word for a kind -> what holds a value against it; words that are listed have no kind."""


def or_null(schema: Schema) -> str:
    """The beginning of what is allowed, where nothing is allowed too."""
    return "null or " if "null" in schema["type"] else ""


def left_out(given: Mapping[str, Any], shape: type, names: tuple[str, ...], where: str, why: str) -> None:
    """Raises InvalidExecutionInput where a field that means nothing here is given and is not at its default."""
    for name in names:
        default = declaration_of(shape, name).default
        if name in given and given[name] != default:
            raise InvalidExecutionInput(f"{where}{name} must be left out {why}, got {shown(given[name])}")


def is_number(value: object) -> bool:
    """Whether this is a finite number; True and False are none. A whole number may be too large for a float."""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def is_whole(value: object) -> bool:
    """Whether this is a whole number; JSON does not tell 20 from 20.0."""
    return is_number(value) and value == int(value)  # type: ignore[call-overload]


def shown(value: object) -> str:
    """The value as it may stand in an error: short, and with its quotes if it is a string."""
    written = repr(value)
    return written if len(written) <= 120 else f"{written[:117]}..."
