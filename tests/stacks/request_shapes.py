"""Holds the requests of a state machine's tasks, to SageMaker and to other services, against botocore's model of the API.

`faults_of(definition)` walks every Task but those that are Lambda functions; a value `{% … %}` or with `${…}` in it may be anything in the
right place, all else must have the type, length, pattern and enumerated value that the API demands. `faults_in(action, request)` checks
one request whose values are all known.
"""

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import botocore.session
from botocore.model import ListShape, MapShape, OperationModel, ServiceModel, Shape, StructureShape

TASK = re.compile(
    r"arn:[^:]+:states:::(?P<sdk>aws-sdk:)?(?P<service>[a-z]+):(?P<action>[A-Za-z]+)(?P<sync>\.sync)?(?P<token>\.waitForTaskToken)?"
)
SERVICES = {"sagemaker": "sagemaker", "sns": "sns", "sfn": "stepfunctions", "applicationautoscaling": "application-autoscaling"}
"""A service as the integrations name it -> as botocore does."""
OPTIMISED = {
    "publish",
    "createEndpoint",
    "createEndpointConfig",
    "createHyperParameterTuningJob",
    "createLabelingJob",
    "createModel",
    "createProcessingJob",
    "createTrainingJob",
    "createTransformJob",
    "updateEndpoint",
}
WITH_SYNC = {action for action in OPTIMISED if action.endswith("Job")}
PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "boolean": (bool,),
}


def faults_of(definition: dict[str, Any]) -> list[str]:
    """Every fault in the definition's SageMaker tasks, each with the state's name and the path of the field."""
    return [f"{name}: {fault}" for name, state in definition["States"].items() for fault in faults_of_state(state)]


def faults_of_state(state: dict[str, Any]) -> Iterator[str]:
    resource = state.get("Resource", "")
    if state["Type"] != "Task" or ":lambda:invoke" in resource:
        return
    task = TASK.fullmatch(resource)
    if (
        not task
        or task["service"] not in SERVICES
        or (not task["sdk"] and task["action"] not in OPTIMISED)
        or (task["sync"] and (task["sdk"] or task["action"] not in WITH_SYNC))
    ):
        yield f"Step Functions has no integration {resource}"
    else:
        yield from faults_in(task["action"], state.get("Arguments", {}), task["service"])
        if task["token"] and "$states.context.Task.Token" not in json.dumps(state["Arguments"]):
            yield f"{task['action']} waits for a token that it does not hand on"


def faults_in(action: str, request: dict[str, Any], service: str = "sagemaker") -> Iterator[str]:
    operation = operation_of(action, service)
    if operation is None:
        yield f"{service} has no action {action}"
    else:
        yield from faults(operation.input_shape, as_sent(request) if service == "sfn" else request, action)


def as_sent(request: dict[str, Any]) -> dict[str, Any]:
    """The members' names as Step Functions' own API has them: the integrations write every service's with a capital letter."""
    return {name[0].lower() + name[1:]: value for name, value in request.items()}


@cache
def model_of(service: str) -> ServiceModel:
    return botocore.session.get_session().get_service_model(SERVICES[service])


def operation_of(action: str, service: str) -> OperationModel | None:
    name = action[0].upper() + action[1:]
    model = model_of(service)
    return model.operation_model(name) if name in model.operation_names else None


def faults(shape: Shape, value: Any, path: str) -> Iterator[str]:
    if isinstance(value, str) and (value.startswith("{%") or "${" in value):
        return
    if isinstance(shape, StructureShape):
        yield from faults_in_structure(shape, value, path)
    elif isinstance(shape, ListShape | MapShape):
        yield from faults_in_collection(shape, value, path)
    else:
        yield from faults_in_scalar(shape, value, path)


def faults_in_structure(shape: StructureShape, value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path} must be an object, not {value!r}"
        return
    yield from (f"{path}.{name} is missing" for name in shape.required_members if name not in value)
    for name, member in value.items():
        if name in shape.members:
            yield from faults(shape.members[name], member, f"{path}.{name}")
        else:
            yield f"{path}.{name} is unknown"


def faults_in_collection(shape: ListShape | MapShape, value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, list if isinstance(shape, ListShape) else dict):
        yield f"{path} must be a {shape.type_name}, not {value!r}"
        return
    yield from faults_in_range(shape, len(value), path)
    if isinstance(shape, ListShape):
        for index, each in enumerate(value):
            yield from faults(shape.member, each, f"{path}[{index}]")
    else:
        for key, each in dict(value).items():
            yield from faults(shape.key, key, f"{path} key")
            yield from faults(shape.value, each, f"{path}.{key}")


def faults_in_scalar(shape: Shape, value: Any, path: str) -> Iterator[str]:
    allowed = PYTHON_TYPES[shape.type_name]
    fits = isinstance(value, allowed) and (bool in allowed or not isinstance(value, bool))
    if not fits:
        yield f"{path} must be a {shape.type_name}, not {value!r}"
    elif isinstance(value, str):
        yield from faults_in_range(shape, len(value), path)
        if shape.enum and value not in shape.enum:
            yield f"{path} must be one of {shape.enum}, not {value!r}"
        pattern = shape.metadata.get("pattern")
        if pattern and not re.fullmatch(ascii_classes(pattern), value):
            yield f"{path} must match {pattern}, not {value!r}"
    elif not isinstance(value, bool):
        yield from faults_in_range(shape, value, path)


def ascii_classes(pattern: str) -> str:
    r"""Java's `\p{L}` and its like, which Python does not know, as the ASCII part of what they mean."""
    for java, python in (
        (r"\p{L}", "a-zA-Z"),
        (r"\p{N}", "0-9"),
        (r"\p{Z}", " "),
        (r"\p{M}", ""),
        (r"\p{S}", "$+<=>^`|~"),
        (r"\p{P}", POINTS),
    ):
        pattern = pattern.replace(java, python)
    return re.sub(r"\$\{1,\d+\}$", "", pattern)


POINTS = re.escape("!\"#%&'()*,-./:;?@[]_{}\\")


def faults_in_range(shape: Shape, size: float, path: str) -> Iterator[str]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if (low is not None and size < low) or (high is not None and size > high):
        yield f"{path} must be from {low} to {high}, not {size}"
