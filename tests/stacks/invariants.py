"""What must hold of the state machine, read from its definition: the rules that no linter knows, each with a sentence for what breaks it.

`broken(definition)` gives the sentences; the definition is one whose substitutions are filled in.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonata  # type: ignore[import-untyped]

from tests.stacks.execution import SUBSTITUTED

State = dict[str, Any]

FUNCTIONS = {
    *["append", "ceil", "contains", "count", "exists", "hash", "join", "merge", "not", "number", "parse", "power", "random", "replace"],
    *["split", "string", "substring", "sum"],
}
"""Functions of JSONata, and of Step Functions' own, that the machine uses; another one is looked up first, and then added here."""

CREATES = re.compile(r":create(\w+?)(\.sync)?$")
NAMES = ("ProcessingJobName", "HyperParameterTuningJobName", "TrainingJobName", "ModelName", "EndpointConfigName")
ROLES = {
    "createProcessingJob": "PreparationRoleArn",
    "createHyperParameterTuningJob": "TrainingRoleArn",
    "createTrainingJob": "TrainingRoleArn",
    "createModel": "HostingRoleArn",
}
UNTAGGED = ("createModelPackage",)
"""Versions of a group take no tags."""
LAST = "ExecutionFailed"
"""The one task that means to fail."""


def broken(definition: State) -> list[str]:
    """Every rule that is broken, and by what."""
    states = definition["States"]
    checks = (resources_of_start(definition), *(check(name, state, states) for name, state in states.items() for check in EACH))
    return [fault for check in (*checks, variables(states)) for fault in check]


def resources_of_start(definition: State) -> Iterator[str]:
    if "TimeoutSeconds" not in definition:
        yield "the execution may go on for ever"
    if "${" in json.dumps(definition):
        yield "a substitution is not known"


def guarded(name: str, state: State, _states: State) -> Iterator[str]:
    if state["Type"] != "Task":
        return
    if "TimeoutSeconds" not in state:
        yield f"{name} may go on for ever"
    if not state.get("Retry"):
        yield f"{name} gives up at once"
    for each in state.get("Retry", []):
        if each.get("JitterStrategy") != "FULL" or each.get("BackoffRate", 1) <= 1:
            yield f"{name} tries again at the same moment as everybody else"
        if "States.ALL" in each.get("ErrorEquals", []):
            yield f"{name} tries again what cannot pass"
    if name != LAST and (not state.get("Catch") or state["Catch"][-1]["ErrorEquals"] != ["States.ALL"]):
        yield f"{name} lets errors through"


def cleaned_up(name: str, state: State, _states: State) -> Iterator[str]:
    ways = [each["Next"] for each in state.get("Catch", [])] + [state.get("Next"), state.get("Default")]
    if name not in ("NotifyFailed", LAST) and {LAST, "FailedForGood"} & set(ways):
        yield f"{name} fails without cleaning up"


def named(name: str, state: State, _states: State) -> Iterator[str]:
    """By the moment at which the state was entered, the try and the redrive; where every try has one name, by two of them."""
    created = CREATES.search(state.get("Resource", ""))
    if not created or created[1] in ("Endpoint", "ModelPackage"):
        return
    written = json.dumps(state["Arguments"])
    parts = ["State.EnteredTime", "Execution.RedriveCount"] + ([] if name == "TrainModelManaged" else ["State.RetryCount"])
    if not all(part in written for part in parts):
        yield f"{name} uses a name again"


def closed(name: str, state: State, _states: State) -> Iterator[str]:
    """Isolated from the network, encrypted between machines, tagged, and in the role that is meant for it."""
    action = state.get("Resource", "").rpartition(":")[2].removesuffix(".sync")
    written = json.dumps(state.get("Arguments", {})).replace('"', "'").replace(" ", "")
    if action in ROLES:
        role = SUBSTITUTED["ManagedTrainingRoleArn" if name == "TrainModelManaged" else ROLES[action]]
        if f"'{role}'" not in written:
            yield f"{name} runs in another role"
        isolated = r"('\{%)?\$plan\.network_isolation" if action == "createModel" else "true"
        if not re.search(f"'EnableNetworkIsolation':{isolated}", written):
            yield f"{name} is not isolated from the network"
        if action != "createModel" and "'EnableInterContainerTrafficEncryption':true" not in written:
            yield f"{name} is not encrypted in transit"
    if action.startswith("create") and action not in UNTAGGED and "'Tags':" not in written:
        yield f"{name} makes something that nobody can tell whose it is"


def expressions(name: str, state: State, _states: State) -> Iterator[str]:
    for expression in marked(state):
        try:
            jsonata.Jsonata(expression)
        except jsonata.JException as error:
            yield f"{name} holds an expression that is none: {error}"
        unknown = set(re.findall(r"\$([A-Za-z]\w*)\(", expression)) - FUNCTIONS
        if unknown:
            yield f"{name} calls {', '.join(sorted(unknown))}, which nobody knows"


def reached(name: str, state: State, states: State) -> Iterator[str]:
    ways = [state.get("Next"), state.get("Default"), *(each["Next"] for each in (*state.get("Catch", []), *state.get("Choices", [])))]
    for way in ways:
        if way and way not in states:
            yield f"{name} goes on to {way}, which is no state"
    if state["Type"] == "Choice" and "Default" not in state:
        yield f"{name} may go nowhere"


EACH = (guarded, cleaned_up, named, closed, expressions, reached)


def variables(states: State) -> Iterator[str]:
    """Each that is used is assigned by some state, or inside its expression, and the other way round."""
    written = json.dumps(states)
    assigned = {name for each in assignments(states) for name in each}
    within = set(re.findall(r"\$(\w+) :=", written))
    used = set(re.findall(r"\$([a-z_]+)\b(?!\()", written)) - {"states"} - within
    yield from (f"${name} is used and never assigned" for name in sorted(used - assigned))
    yield from (f"${name} is assigned and never used" for name in sorted(assigned - used))


def assignments(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value.get("Assign", {})
        for each in value.values():
            yield from assignments(each)
    elif isinstance(value, list):
        for each in value:
            yield from assignments(each)


def marked(value: Any) -> Iterator[str]:
    """Every expression inside, without its marks."""
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from marked(each)
    elif isinstance(value, str) and value.startswith("{%"):
        yield value[2:-2].strip()
