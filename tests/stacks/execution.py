"""Runs a state machine in memory, without an engine and without waiting: JSONata by jsonata-python, tasks by a function of the test.

It knows what our machine uses (Task, Choice, Pass, Wait, Fail; Arguments, Assign, Output, Retry, Catch) and refuses the rest by KeyError.
`run()` walks to the end; `redrive()` afterwards goes on from the state that failed, as RedriveExecution does. `walk()` stops before each
call of a task, so that two executions can be interleaved.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import jsonata  # type: ignore[import-untyped]

CONTEXT = {
    "Execution": {
        "Id": "arn:aws:states:us-east-1:000000000000:execution:whippet:8f14e45f",
        "Name": "8f14e45f",
        "StartTime": "2026-11-22T16:00:00.123Z",
        "Input": {},
        "RedriveCount": 0,
    },
    "StateMachine": {"Name": "whippet"},
}


class TaskError(Exception):
    """What a task fails with: the error's name, and its cause if it has one."""

    def __init__(self, error: str, cause: str | None = None) -> None:
        super().__init__(error, cause)
        self.output = {"Error": error} | ({} if cause is None else {"Cause": cause})


@dataclass
class Execution:
    """One run of `definition`; `task(action, arguments)` answers or raises TaskError."""

    definition: dict[str, Any]
    task: Callable[[str, dict[str, Any]], Any]
    input: dict[str, Any] = field(default_factory=dict)
    redrives: int = 0
    id: str = CONTEXT["Execution"]["Id"]  # type: ignore[index]
    start_time: str = CONTEXT["Execution"]["StartTime"]  # type: ignore[index]
    visited: list[str] = field(default_factory=list)
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    variables: dict[str, Any] = field(default_factory=dict)
    waited: float = 0.0
    """Seconds of Wait states."""
    failed_in: str = ""
    output: Any = None
    error: str = ""
    cause: str = ""

    def run(self) -> "Execution":
        """Walks to the end; afterwards `output` or `error` and `cause` are set."""
        for _ in self.walk(self.definition["StartAt"], self.input):
            pass
        return self

    def redrive(self) -> "Execution":
        """Goes on from the state that failed, with the variables of then; a Fail state fails again."""
        assert self.failed_in, "only an execution that failed can be redriven"
        start, self.failed_in, self.error, self.cause = self.failed_in, "", "", ""
        self.redrives += 1
        for _ in self.walk(start, {}):
            pass
        return self

    def walk(self, name: str | None, value: Any) -> Iterator[str]:
        """From a state to the end; gives each state's name before it is entered."""
        while name:
            yield name
            self.visited.append(name)
            assert len(self.visited) < 5000, f"the machine goes round in circles: {self.visited[-10:]}"
            state = self.definition["States"][name]
            self.states = {"context": self.context(name), "input": value}
            try:
                name, value = getattr(self, f"run_{state['Type'].lower()}")(state, value)
            except TaskError as error:
                self.failed_in, self.error, self.cause = name, error.output["Error"], error.output.get("Cause", "")
                name, value = None, None
        self.output = value

    def context(self, name: str) -> dict[str, Any]:
        count = len(self.visited)
        entered = f"2026-11-22T{16 + count // 3600:02}:{count // 60 % 60:02}:{count % 60:02}.{count % 1000:03}Z"
        execution = {"Id": self.id, "Input": self.input, "StartTime": self.start_time, "RedriveCount": self.redrives}
        return {
            **CONTEXT,
            "Execution": {**CONTEXT["Execution"], **execution},  # type: ignore[dict-item]
            "State": {"Name": name, "EnteredTime": entered, "RetryCount": 0},
            "Task": {"Token": f"token-{len(self.visited)}"},
        }

    def run_task(self, state: dict[str, Any], value: Any) -> tuple[str | None, Any]:
        tried: dict[int, int] = {}
        while True:
            try:
                self.states["result"] = self.call(state)
                return self.leave(state, self.states["result"])
            except TaskError as error:
                rule = next((i for i, each in enumerate(state["Retry"]) if matches(each, error)), None)
                if rule is not None and tried.get(rule, 0) < state["Retry"][rule]["MaxAttempts"]:
                    tried[rule] = tried.get(rule, 0) + 1
                    self.states["context"]["State"]["RetryCount"] += 1
                    continue
                caught = next((each for each in state["Catch"] if matches(each, error)), None)
                if caught is None:
                    raise
                self.states["errorOutput"] = error.output
                return self.leave(caught, error.output)

    def call(self, state: dict[str, Any]) -> Any:
        arguments = self.fill(state["Arguments"])
        action = state["Resource"].rpartition(":")[2].removesuffix(".waitForTaskToken")
        self.requests.append((action, arguments))
        return self.task(action, arguments)

    def run_pass(self, state: dict[str, Any], value: Any) -> tuple[str | None, Any]:
        return self.leave(state, value)

    def run_wait(self, state: dict[str, Any], value: Any) -> tuple[str | None, Any]:
        seconds = self.fill(state["Seconds"])
        assert seconds == int(seconds) > 0, f"{seconds} is no whole number of seconds"
        self.waited += seconds
        return self.leave(state, value)

    def run_choice(self, state: dict[str, Any], value: Any) -> tuple[str | None, Any]:
        for rule in state["Choices"]:
            holds = self.fill(rule["Condition"])
            assert isinstance(holds, bool), f"{rule['Condition']} is {holds!r}, which is no boolean"
            if holds:
                return rule["Next"], value
        return state["Default"], value

    def run_fail(self, state: dict[str, Any], value: Any) -> tuple[str | None, Any]:
        self.error, self.cause = self.fill(state["Error"]), self.fill(state["Cause"])
        assert isinstance(self.error, str)
        assert isinstance(self.cause, str)
        self.failed_in = self.states["context"]["State"]["Name"]
        return None, None

    def leave(self, state: dict[str, Any], otherwise: Any) -> tuple[str | None, Any]:
        output = self.fill(state["Output"]) if "Output" in state else otherwise
        self.variables |= self.fill(state.get("Assign", {}))
        assert state.get("End") or state["Next"]
        return state.get("Next"), output

    def fill(self, template: Any) -> Any:
        """The template with every JSONata expression replaced by its value."""
        if isinstance(template, dict):
            return {key: self.fill(each) for key, each in template.items()}
        if isinstance(template, list):
            return [self.fill(each) for each in template]
        if isinstance(template, str) and template.startswith("{%"):
            return self.evaluate(template[2:-2].strip())
        return template

    def evaluate(self, expression: str) -> Any:
        value = compiled(expression).evaluate(None, {**self.variables, "states": self.states})
        assert value is not None, f"{expression} is undefined, which ends an execution with States.QueryEvaluationError"
        return value


@cache
def compiled(expression: str) -> Any:
    """The expression, with the two functions that Step Functions adds to JSONata and our machine uses."""
    code = jsonata.Jsonata(expression)
    code.register_lambda("hash", lambda text, algorithm: hashlib.new(algorithm.replace("-", ""), text.encode()).hexdigest())
    code.register_lambda("parse", json.loads)
    return code


def matches(rule: dict[str, Any], error: TaskError) -> bool:
    return "States.ALL" in rule["ErrorEquals"] or error.output["Error"] in rule["ErrorEquals"]


def filled_in(definition: dict[str, Any]) -> dict[str, Any]:
    """The definition as CloudFormation would fill it in."""
    text = json.dumps(definition)
    for name, value in {**SUBSTITUTED, **SECURED}.items():
        text = text.replace(f"${{{name}}}", value)
    assert "${" not in text, "a substitution is missing"
    return dict(json.loads(text))


ACCOUNT = "us-east-1:000000000000"
FUNCTIONS = ("PrepareExecution", "AssessModel", "VerifyEndpoint", "PruneModels", "PublishReport", "CleanUp")
"""States that are Lambda functions."""


def function_name(state: str) -> str:
    """`PrepareExecution` -> `whippet-prepare-execution`"""
    return "whippet" + "".join(f"-{each.lower()}" if each.isupper() else each for each in state)


SUBSTITUTED = {
    "Partition": "aws",
    "Project": "whippet",
    **{f"{state}Arn": f"arn:aws:lambda:{ACCOUNT}:function:{function_name(state)}" for state in FUNCTIONS},
    **{f"{state}LogGroup": f"/aws/lambda/{function_name(state)}" for state in ("PrepareExecution", "AssessModel", "VerifyEndpoint")},
    "TopicArn": f"arn:aws:sns:{ACCOUNT}:whippet",
    "PreparationRoleArn": "arn:aws:iam::000000000000:role/preparation",
    "TrainingRoleArn": "arn:aws:iam::000000000000:role/training",
    "ManagedTrainingRoleArn": "arn:aws:iam::000000000000:role/managed-training",
    "HostingRoleArn": "arn:aws:iam::000000000000:role/hosting",
    "SourceArchiveUri": f"s3://assets/{'0123456789abcdef' * 4}.gz",
    "SourceArchiveName": f"{'0123456789abcdef' * 4}.gz",
}

SECURED = {
    "KmsKeyArn": f"arn:aws:kms:{ACCOUNT}:key/0a1b",
    "SubnetId0": "subnet-0a",
    "SubnetId1": "subnet-0b",
    "SecurityGroupId": "sg-0c",
}
"""Names that only a deployment with a key and a network of its own uses."""
