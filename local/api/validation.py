"""Validates requests and shapes answers with botocore's model of an AWS service, the model that the SDKs are generated from.

Runs in the SageMaker plane. The plane's code never sees a request with an unknown, missing or malformed field.
"""

import base64
import functools
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import botocore.session

from local.api.errors import ServiceError, validation_error

# Java's classes in the model's patterns, in Python's notation (close enough inside a character class).
_JAVA_CLASSES = {
    r"\p{L}": r"\w", r"\p{N}": r"\d", r"\p{Z}": r"\s", r"\p{M}": r"\w", r"\p{Alnum}": "A-Za-z0-9", r"\P{C}": r"\S\s",
    r"\p{P}": "\u00a1-\U0010ffff!-#%-*,-/:;?@\\[-\\]_{}", r"\p{S}": "\u00a1-\U0010ffff$+<->^`|~", r"\p{Print}": r"[\x20-\x7e]",
    r"\uD800\uDC00-\uDBFF\uDFFF": r"\U00010000-\U0010ffff",
}  # fmt: skip
# Java accepts a repeated end anchor, as in (…)${1,128}, which has no effect; Python does not.
_REPEATED_END = re.compile(r"\$\{\d+,\d+\}")


@functools.cache
def load_service_model(service: str = "sagemaker") -> Any:
    """Load botocore's model of a service."""
    return botocore.session.get_session().get_service_model(service)


def validate(operation: str, request: Any, service: str = "sagemaker") -> None:
    """Raise AWS's error for a malformed request; it names every fault, not only the first."""
    model = load_service_model(service)
    if operation not in model.operation_names:
        raise ServiceError("UnknownOperationException", f"{operation!r} is not an operation of {model.service_id}")
    shape = model.operation_model(operation).input_shape
    faults = list(_find_faults(request, shape, "")) if shape is not None else []
    if faults:
        noun = "error" if len(faults) == 1 else "errors"
        raise validation_error(f"{len(faults)} validation {noun} detected: " + "; ".join(faults))


def drop_nulls(request: Any) -> Any:
    """Remove the null members of a validated request: to the service they are absent."""
    if isinstance(request, Mapping):
        return {name: drop_nulls(member) for name, member in request.items() if member is not None}
    return [drop_nulls(member) for member in request] if isinstance(request, list) else request


def shape_answer(operation: str, document: Mapping[str, Any], service: str = "sagemaker") -> dict[str, Any]:
    """Reduce `document` to the members of the operation's answer."""
    shape = load_service_model(service).operation_model(operation).output_shape
    return _shape(document, shape) if shape is not None else {}


def _find_faults(value: Any, shape: Any, path: str) -> Iterator[str]:
    kind = shape.type_name
    checks = {"structure": _check_structure, "list": _check_list, "map": _check_map, "string": _check_string}
    if kind in checks:
        yield from checks[kind](value, shape, path)
    elif kind in ("integer", "long", "float", "double"):
        yield from _check_number(value, shape, path)
    elif kind == "boolean" and not isinstance(value, bool):
        yield _report_type(value, path, "a Boolean")
    elif kind == "timestamp" and not _is_number(value):
        yield _report_type(value, path, "a timestamp (seconds since the epoch)")


def _check_structure(value: Any, shape: Any, path: str) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield _report_type(value, path, "a structure")
        return
    for name in shape.required_members:
        if value.get(name) is None:
            yield f"Value null at '{_join(path, name)}' failed to satisfy constraint: Member must not be null"
    for name, member in value.items():
        if name not in shape.members:
            yield f"Unknown parameter '{name}' at '{path or 'input'}': must be one of: {', '.join(shape.members)}"
        elif member is not None:
            yield from _find_faults(member, shape.members[name], _join(path, name))


def _check_list(value: Any, shape: Any, path: str) -> Iterator[str]:
    if not isinstance(value, list):
        yield _report_type(value, path, "a list")
        return
    yield from _check_length(value, shape, path)
    for number, member in enumerate(value, 1):
        yield from _find_faults(member, shape.member, f"{path}.{number}.member")


def _check_map(value: Any, shape: Any, path: str) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield _report_type(value, path, "a map")
        return
    yield from _check_length(value, shape, path)
    for key, member in value.items():
        yield from _find_faults(key, shape.key, f"{path}.key")
        yield from _find_faults(member, shape.value, f"{path}.{key}.member")


def _check_string(value: Any, shape: Any, path: str) -> Iterator[str]:
    if not isinstance(value, str):
        yield _report_type(value, path, "a String")
        return
    if shape.enum and value not in shape.enum:
        yield _report_violation(value, path, f"Member must satisfy enum value set: [{', '.join(shape.enum)}]")
    pattern = shape.metadata.get("pattern")
    if pattern and not _compile(pattern).fullmatch(value):
        yield _report_violation(value, path, f"Member must satisfy regular expression pattern: {pattern}")
    yield from _check_length(value, shape, path)


def _check_number(value: Any, shape: Any, path: str) -> Iterator[str]:
    whole = shape.type_name in ("integer", "long")
    if not _is_number(value) or (whole and not isinstance(value, int) and not value.is_integer()):
        yield _report_type(value, path, "an Integer" if whole else "a Number")
        return
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and value < least:
        yield _report_violation(value, path, f"Member must have value greater than or equal to {least}")
    if most is not None and value > most:
        yield _report_violation(value, path, f"Member must have value less than or equal to {most}")


def _check_length(value: Any, shape: Any, path: str) -> Iterator[str]:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and len(value) < least:
        yield _report_violation(value, path, f"Member must have length greater than or equal to {least}")
    if most is not None and len(value) > most:
        yield _report_violation(value, path, f"Member must have length less than or equal to {most}")


def _report_violation(value: Any, path: str, constraint: str) -> str:
    return f"Value '{value}' at '{path}' failed to satisfy constraint: {constraint}"


def _report_type(value: Any, path: str, wanted: str) -> str:
    return f"Value '{value}' at '{path or 'input'}' is of type {type(value).__name__}: it must be {wanted}"


def _join(path: str, name: str) -> str:
    """Extend a path as AWS writes it: members in lower camel case, joined by dots."""
    lowered = name[:1].lower() + name[1:]
    return f"{path}.{lowered}" if path else lowered


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@functools.cache
def _compile(pattern: str) -> re.Pattern[str]:
    for java, python in _JAVA_CLASSES.items():
        pattern = pattern.replace(java, python)
    return re.compile(_REPEATED_END.sub("$", pattern))


def _shape(value: Any, shape: Any) -> Any:
    kind = shape.type_name
    if kind == "structure":
        return {name: _shape(value[name], member) for name, member in shape.members.items() if value.get(name) is not None}
    if kind == "list":
        return [_shape(member, shape.member) for member in value]
    if kind == "map":
        return {key: _shape(member, shape.value) for key, member in value.items()}
    if kind == "timestamp":
        return value.timestamp() if isinstance(value, datetime) else float(value)
    if kind == "blob":
        return base64.b64encode(value).decode()
    return value
