"""The state machine, broken on purpose in many ways: each is seen by at least one check, and here stands by which.

statelint, asl-validator and cfn-lint know the language; `shapes` holds requests against botocore's model of each service; `invariants` are
our own rules; `executions` are walked in memory, where a request that is one expression shows itself too.
"""

import copy
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import jsonata  # type: ignore[import-untyped]
import pytest

from stacks.state_machine import requests as requests
from stacks.state_machine.definition import definition
from stacks.state_machine.requests import ATTEMPT
from tests import REPOSITORY
from tests.fixtures.stacks.execution import SUBSTITUTED, Execution, TaskError, filled_in
from tests.fixtures.stacks.fake_sagemaker import FakeSageMaker
from tests.fixtures.stacks.invariants import broken
from tests.fixtures.stacks.request_shapes import faults_in, faults_of

BIN = Path(sys.executable).parent
NODE = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
State = dict[str, Any]
MACHINE = filled_in(definition())


def put(*path: str | int, to: Any) -> Callable[[State], None]:
    """Sets one value of a state."""

    def mutate(states: State) -> None:
        place: Any = states
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = to

    return mutate


def drop(*path: str | int) -> Callable[[State], None]:
    """Takes one value of a state away."""

    def mutate(states: State) -> None:
        place: Any = states
        for step in path[:-1]:
            place = place[step]
        del place[path[-1]]

    return mutate


def rewrite(state: str, old: str, new: str) -> Callable[[State], None]:
    """Replaces a text wherever it stands in a state."""

    def mutate(states: State) -> None:
        written = json.dumps(states[state])
        assert old in written, f"{state} holds no {old}"
        states[state] = json.loads(written.replace(old, new))

    return mutate


def endless(states: State) -> None:
    """No way comes to an end."""
    for name in ("ExecutionDone", "NotDeployed"):
        states[name] = {"Type": "Pass", "Next": "SumUp"}
    states["FailedForGood"] = {"Type": "Pass", "Next": "CleanUp"}


EVERY_LINTER = {"statelint", "asl-validator", "cfn-lint"}
TRAIN, SCALE = ("TrainModel", "Arguments"), ("ReleaseScaling", "Arguments")
MUTATIONS: dict[str, tuple[Callable[[State], None], set[str]]] = {
    "dangling Next": (put("AssessModel", "Next", to="Nowhere"), {"statelint", "asl-validator", "invariants", "executions"}),
    "dangling Default": (put("IsDebuggerManaged", "Default", to="Nowhere"), {"statelint", "asl-validator", "invariants", "executions"}),
    "dangling Catch": (put("TrainModel", "Catch", 0, "Next", to="Nowhere"), {"statelint", "asl-validator", "invariants"}),
    "unknown field": (put("TrainModel", "Timeout", to=60), EVERY_LINTER),
    "unknown type": (put("SumUp", "Type", to="Skip"), {*EVERY_LINTER, "executions"}),
    "unreachable state": (put("Island", to={"Type": "Succeed"}), {"statelint", "asl-validator"}),
    "malformed JSONata": (put("SumUp", "Assign", "outcome", to="{% $merge([ %}"), {"asl-validator", "invariants", "executions"}),
    "unknown function": (rewrite("AssessModel", "$dataset & '/'", "$concat($dataset)"), {"invariants", "executions"}),
    "undefined variable": (rewrite("CreateModel", "$training.model_artifact", "$trained.artifact"), {"invariants", "executions"}),
    "assigned nowhere": (drop("AssessModel", "Assign", "assessment"), {"invariants", "executions"}),
    "unknown parameter": (put(*TRAIN, "Hyperparameters", to={}), {"shapes", "executions"}),
    "missing parameter": (drop(*TRAIN, "OutputDataConfig"), {"shapes", "executions"}),
    "wrongly typed parameter": (put(*TRAIN, "EnableNetworkIsolation", to="true"), {"shapes", "invariants", "executions"}),
    "unknown parameter of another service": (put(*SCALE, "Resource", to="endpoint"), {"shapes"}),
    "unknown parameter inside an expression": (rewrite("TuneHyperparameters", "StaticHyper", "Static"), {"executions"}),
    "wrong kind of value inside an expression": (rewrite("TuneHyperparameters", "$plan.tuning_epochs", "20"), {"executions"}),
    ".sync on createModel": (rewrite("CreateModel", "aws-sdk:sagemaker:createModel", "sagemaker:createModel.sync"), {"shapes"}),
    "unknown action": (rewrite("DescribeEndpoint", "describeEndpoint", "describeEndpoints"), {"shapes", "executions"}),
    "token not handed on": (put("ExecutionFailed", "Arguments", "TaskToken", to="token"), {"shapes"}),
    "Retry without ErrorEquals": (drop("TrainModel", "Retry", 0, "ErrorEquals"), {*EVERY_LINTER, "executions"}),
    "Retry on everything": (put("TrainModel", "Retry", 0, "ErrorEquals", to=["States.ALL"]), {"invariants", "executions"}),
    "Retry without jitter": (drop("CreateModel", "Retry", 0, "JitterStrategy"), {"invariants"}),
    "no Retry": (drop("CreateModel", "Retry"), {"invariants", "executions"}),
    "no terminal state": (endless, {"statelint", "asl-validator", "executions"}),
    "JSONPath in a JSONata state": (put("SumUp", "ResultPath", to="$.x"), EVERY_LINTER),
    "dropped Catch": (drop("PublishReport", "Catch"), {"invariants", "executions"}),
    "Catch that lets errors through": (put("CreateModel", "Catch", 0, "ErrorEquals", to=["States.Timeout"]), {"invariants", "executions"}),
    "failure that cleans nothing up": (rewrite("AssessModel", "CleanUp", "ExecutionFailed"), {"invariants"}),
    "dropped TimeoutSeconds": (drop("TrainModel", "TimeoutSeconds"), {"invariants"}),
    "Choice without Default": (drop("ChooseDeployment", "Default"), {"invariants", "executions"}),
    "Wait without an end": (drop("WaitForEndpoint", "Seconds"), {"statelint", "asl-validator", "executions"}),
    "reused name": (rewrite("CreateModel", ATTEMPT, "'0a1b2c3d'"), {"invariants", "executions"}),
    "name that a retry reuses": (rewrite("TrainModel", " & $states.context.State.RetryCount", ""), {"invariants", "executions"}),
    "dropped network isolation": (put(*TRAIN, "EnableNetworkIsolation", to=False), {"invariants"}),
    "dropped encryption in transit": (drop(*TRAIN, "EnableInterContainerTrafficEncryption"), {"invariants"}),
    "swapped role": (rewrite("PrepareDataset", SUBSTITUTED["PreparationRoleArn"], SUBSTITUTED["TrainingRoleArn"]), {"invariants"}),
    "dropped tags": (drop("CreateEndpointConfig", "Arguments", "Tags"), {"invariants"}),
    "unknown substitution": (put("CreateModel", "Arguments", "ExecutionRoleArn", to="${NobodyArn}"), {"cfn-lint", "invariants"}),
}


@cache
def mutants() -> dict[str, State]:
    made = {"missing StartAt target": {**copy.deepcopy(MACHINE), "StartAt": "Nowhere"}}
    for name, (mutate, _) in MUTATIONS.items():
        made[name] = copy.deepcopy(MACHINE)
        mutate(made[name]["States"])
        assert made[name] != MACHINE, name
    return {"": MACHINE, **made}


EXPECTED = {"": set(), "missing StartAt target": {*EVERY_LINTER, "executions"}, **{name: seen for name, (_, seen) in MUTATIONS.items()}}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each mutant as a file, and the machine as it is."""
    folder = tmp_path_factory.mktemp("mutants")
    written = {name: folder / f"{number:02}.json" for number, name in enumerate(mutants())}
    for name, file in written.items():
        file.write_text(json.dumps(mutants()[name]))
    return written


@pytest.fixture(scope="module")
def seen(files: dict[str, Path]) -> dict[str, set[str]]:
    """Mutant -> the checks that see it; each linter is started once."""
    checks: dict[str, Callable[[dict[str, Path]], set[str]]] = {
        "statelint": by_statelint,
        "asl-validator": by_asl_validator,
        "cfn-lint": by_cfn_lint,
        "shapes": lambda _: {name for name, mutant in mutants().items() if faults_of(mutant)},
        "invariants": lambda _: {name for name, mutant in mutants().items() if broken(mutant)},
        "executions": lambda _: {name for name, mutant in mutants().items() if walked_wrongly(mutant)},
    }
    found = {check: see(files) for check, see in checks.items()}
    return {name: {check for check, names in found.items() if name in names} for name in files}


def by_statelint(files: dict[str, Path]) -> set[str]:
    """It objects to the machine as it is for one thing that it does not know: a Wait state's Seconds as an expression."""
    objections = {name: run([str(BIN / "statelint"), str(file)]).splitlines()[1:] for name, file in files.items()}
    known = re.compile(r'\.Seconds is "\{% .* %\}" but should be an Integer$')
    return {name for name, lines in objections.items() if [line for line in lines if not known.search(line)]}


def by_asl_validator(files: dict[str, Path]) -> set[str]:
    paths = [part for file in files.values() for part in ("--json-path", str(file))]
    told = run([str(BIN / "node"), str(REPOSITORY / "node_modules" / ".bin" / "asl-validator"), *paths])
    invalid = set(re.findall(r'definition "([^"]+)" is invalid', told))
    return {name for name, file in files.items() if str(file) in invalid}


def by_cfn_lint(files: dict[str, Path]) -> set[str]:
    role = f"arn:aws:iam::{'0' * 12}:role/machine"
    templates = {name: file.with_name(f"template-{file.name}") for name, file in files.items()}
    for name, template in templates.items():
        properties = {"DefinitionString": json.dumps(mutants()[name]), "RoleArn": role}
        template.write_text(json.dumps({"Resources": {"Machine": {"Type": "AWS::StepFunctions::StateMachine", "Properties": properties}}}))
    told = run([str(BIN / "cfn-lint"), "--format", "parseable", "--", *map(str, templates.values())])
    return {name for name, template in templates.items() if f"{template}:" in told}


def run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=NODE)
    return done.stdout + done.stderr


CALLBACK = ("sendTaskFailure", "publish")


def walked_wrongly(mutant: State) -> bool:
    """Whether an execution, undisturbed or met by faults that pass, does not come to its good end with sound requests and fresh names."""
    throttled = TaskError("SageMaker.SageMakerException", "Rate exceeded")
    service = FakeSageMaker(
        createModel=[throttled],
        createTrainingJob=[TaskError("SageMaker.AmazonSageMakerException", "Rate exceeded")],
        publishReport=[TaskError("ClientError", "no")],
    )
    try:
        walks = [
            Execution(mutant, service, {}).run(),
            Execution(mutant, FakeSageMaker(createModel=[TaskError("ValidationException", "no")]), {}).run(),
            Execution(mutant, FakeSageMaker(createTrainingJob=[TaskError("States.TaskFailed", "{}")]), {}).run(),
        ]
    except (KeyError, AssertionError, AttributeError, TypeError, StopIteration, jsonata.JException):
        return True
    done, refused, failed = walks
    sent = [each for each in done.requests if each[0] not in ("invoke", *CALLBACK)]
    wrong = [fault for action, asked in sent for fault in faults_in(action.removesuffix(".sync"), asked)]
    made = [asked[key] for action, asked in sent if action.startswith("create") for key in ("ModelName", "TrainingJobName") if key in asked]
    tries = [asked for action, asked in failed.requests if action == "createTrainingJob.sync"]
    ends = (done.error, refused.visited[-1], failed.visited[-1]) == ("", "ExecutionFailed", "ExecutionFailed")
    return bool(wrong) or len(set(made)) < len(made) or len(tries) != 1 or not ends


def test_the_machine_as_it_is_satisfies_every_check(seen: dict[str, set[str]]) -> None:
    """So no mutant is seen for another reason."""
    assert seen[""] == set()
    assert broken(MACHINE) == []


@pytest.mark.parametrize("name", [name for name in EXPECTED if name])
def test_a_broken_machine_is_seen(seen: dict[str, set[str]], name: str) -> None:
    assert seen[name] == EXPECTED[name]
    assert EXPECTED[name]


def test_every_check_is_needed(seen: dict[str, set[str]]) -> None:
    """Each sees what no other does, or one other alone."""
    few = [found for found in seen.values() if 0 < len(found) < 3]
    assert {check for found in few for check in found} == {*EVERY_LINTER, "shapes", "invariants", "executions"}


def test_requests_that_are_one_expression_are_checked_before_they_become_one() -> None:
    """Nothing reads into an expression but an execution, which walks one way at a time."""
    assert list(faults_in("createHyperParameterTuningJob", requests.create_tuning_job())) == []
