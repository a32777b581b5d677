"""How one value of the execution input is checked: the right kind, within its limits, or a sentence that says what is allowed.

Runs inside `prepare_execution`; standard library only. `given` is the JSON object that may hold the value, `path` its name in the sentence.
"""

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any


class InvalidExecutionInput(ValueError):  # noqa: N818 - the name is what the state machine shows
    """The execution input asks for something that cannot be; the message names the field, the value and what is allowed."""


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


def text(given: Mapping[str, Any], path: str, default: str) -> str:
    """A string."""
    value = given.get(path.rpartition(".")[2], default)
    if not isinstance(value, str):
        raise InvalidExecutionInput(f"{path} must be a string, got {shown(value)}")
    return value


def whole_number(given: Mapping[str, Any], path: str, default: int, low: int, high: int) -> int:
    """A whole number from `low` to `high`; a boolean is none, and 20.0 is 20."""
    value = given.get(path.rpartition(".")[2], default)
    if not is_whole(value) or not low <= value <= high:
        raise InvalidExecutionInput(f"{path} must be a whole number from {low} to {high}, got {shown(value)}")
    return int(value)


def yes_or_no(given: Mapping[str, Any], path: str, default: bool) -> bool:
    """true or false."""
    value = given.get(path, default)
    if not isinstance(value, bool):
        raise InvalidExecutionInput(f"{path} must be true or false, got {shown(value)}")
    return value


def one_of(given: Mapping[str, Any], path: str, default: str, allowed: tuple[str, ...]) -> str:
    """One of the allowed words."""
    value = given.get(path.rpartition(".")[2], default)
    if value not in allowed:
        raise InvalidExecutionInput(f"{path} must be one of {', '.join(allowed)}, got {shown(value)}")
    return str(value)


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
