"""Runs a state machine in memory, without an engine and without waiting: JSONata by jsonata-python, tasks by a function of the test.

It knows what our machine uses (Task, Choice, Pass, Wait, Fail; Arguments, Assign, Output, Retry, Catch) and refuses the rest by KeyError.
"""

import hashlib
import json
from collections.abc import Callable
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
    visited: list[str] = field(default_factory=list)
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    variables: dict[str, Any] = field(default_factory=dict)
    output: Any = None
    error: str = ""
    cause: str = ""

    def run(self) -> "Execution":
        """Walks to the end; afterwards `output` or `error` and `cause` are set."""
        name, value = self.definition["StartAt"], self.input
        while name:
            self.visited.append(name)
            assert len(self.visited) < 5000, f"the machine goes round in circles: {self.visited[-10:]}"
            state = self.definition["States"][name]
            entered = f"2026-11-22T16:00:00.{len(self.visited):03}Z"
            self.states = {"context": {**CONTEXT, "State": {"Name": name, "EnteredTime": entered, "RetryCount": 0}}, "input": value}
            self.states["context"]["Execution"] = {**CONTEXT["Execution"], "Input": self.input, "RedriveCount": self.redrives}  # type: ignore[dict-item]
            name, value = getattr(self, f"run_{state['Type'].lower()}")(state, value)
        self.output = value
        return self

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
                caught = next(each for each in state["Catch"] if matches(each, error))
                self.states["errorOutput"] = error.output
                return self.leave(caught, error.output)

    def call(self, state: dict[str, Any]) -> Any:
        arguments = self.fill(state["Arguments"])
        action = state["Resource"].rpartition(":")[2]
        self.requests.append((action, arguments))
        return self.task(action, arguments)

    def run_pass(self, state: dict[str, Any], value: Any) -> tuple[str | None, Any]:
        return self.leave(state, value)

    def run_wait(self, state: dict[str, Any], value: Any) -> tuple[str | None, Any]:
        assert state["Seconds"] > 0
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
    for name, value in SUBSTITUTED.items():
        text = text.replace(f"${{{name}}}", value)
    assert "${" not in text, "a substitution is missing"
    return dict(json.loads(text))


SUBSTITUTED = {
    "Partition": "aws",
    "Project": "whippet",
    "PrepareExecutionArn": "arn:aws:lambda:us-east-1:000000000000:function:whippet-prepare-execution",
    "PrepareExecutionLogGroup": "/aws/lambda/whippet-prepare-execution",
    "AssessModelArn": "arn:aws:lambda:us-east-1:000000000000:function:whippet-assess-model",
    "AssessModelLogGroup": "/aws/lambda/whippet-assess-model",
    "PreparationRoleArn": "arn:aws:iam::000000000000:role/preparation",
    "TrainingRoleArn": "arn:aws:iam::000000000000:role/training",
    "ManagedTrainingRoleArn": "arn:aws:iam::000000000000:role/managed-training",
    "HostingRoleArn": "arn:aws:iam::000000000000:role/hosting",
    "SourceArchiveUri": f"s3://assets/{'0123456789abcdef' * 4}.gz",
    "SourceArchiveName": f"{'0123456789abcdef' * 4}.gz",
}
