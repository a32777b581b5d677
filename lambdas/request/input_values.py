"""Reads one object of the execution input into the dataclass that declares it, or refuses it with a sentence.

Runs inside `prepare_execution`; standard library only. Each field is declared by `training.contract.fields`:

    read(Gate, {"tolerance": 0.02}, "gate")    # Gate(least_accuracy=0.0, champion=True, tolerance=0.02, class_tolerance=0.2)
    read(Gate, {"tolerance": 2}, "gate")       # InvalidExecutionInput: gate.tolerance must be a number from 0 to 1, got 2
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from training.contract.fields import UnfitValue, shown

Shape = TypeVar("Shape")


class InvalidExecutionInput(ValueError):  # noqa: N818 - the name is what the state machine shows
    """The execution input asks for something that cannot be; the message names the field, the value and what is allowed."""


def read(shape: type[Shape], document: object, where: str, **others: Any) -> Shape:
    """Return the dataclass with the document's values, checked, and defaults; `others` are fields that the caller has read itself."""
    given = require_known_keys(document, shape, where)
    names = [each.name for each in fields(shape) if each.name not in others]  # type: ignore[arg-type]
    return shape(**{name: read_field(shape, given, where, name) for name in names}, **others)


def read_field(shape: type, given: Mapping[str, Any], where: str, name: str) -> Any:
    """Return the checked value of one field, or its default."""
    declaration = next(each for each in fields(shape) if each.name == name)
    try:
        return declaration.metadata["kind"].take(given.get(name, declaration.default))
    except UnfitValue as unfit:
        raise InvalidExecutionInput(f"{where}.{name}{unfit}" if where else f"{name}{unfit}") from None


def require_known_keys(document: object, shape: type, where: str) -> Mapping[str, Any]:
    """Return the document as a mapping whose keys are all fields of `shape`."""
    name = where or "the execution input"
    if not isinstance(document, Mapping):
        raise InvalidExecutionInput(f"{name} must be a JSON object, got {shown(document)}; {{}} takes every default")
    allowed = [each.name for each in fields(shape)]
    for key in document:
        if key not in allowed:
            raise InvalidExecutionInput(f"unknown key {shown(key)} in {name}; allowed keys: {', '.join(allowed)}")
    return document


def require_default(value: Any, names: tuple[str, ...], where: str, why: str) -> None:
    """Refuse fields of a dataclass that have no meaning here and differ from their defaults."""
    for each in fields(value):
        given = getattr(value, each.name)
        if each.name in names and given != each.default:
            raise InvalidExecutionInput(f"{where}.{each.name} must be left out {why}, got {shown(given)}")
