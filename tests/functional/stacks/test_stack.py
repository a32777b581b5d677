"""The synthesised template: what it is made of, what its outputs say, and that its functions are whole."""

import json
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lambdas.planning.settings import Settings
from stacks.state_machine.definition import definition
from stacks.state_machine.requests import Security
from tests import REPOSITORY
from tests.fixtures.stacks.execution import SUBSTITUTED, filled_in
from tests.fixtures.stacks.policies import concrete, listed, statements
from tests.fixtures.stacks.synthesis import VARIATIONS, Synthesis, synthesise

BIN = Path(sys.executable).parent


def test_the_outputs_are_those_that_tools_read(synthesis: Synthesis) -> None:
    outputs = synthesis.template["Outputs"]
    assert set(outputs) == {"BucketName", "StateMachineArn", "ApiUrl", "PageUrl", "EndpointName", "SourceArchiveUri"}
    assert outputs["EndpointName"]["Value"] == "whippet"
    assert outputs["ApiUrl"]["Value"]["Fn::Join"][1][-1] == "/predict"
    assert outputs["SourceArchiveUri"]["Value"]["Fn::Join"][1][0] == "s3://"


def test_the_stack_needs_no_custom_resource_and_no_image(synthesis: Synthesis) -> None:
    assert [each["Type"] for each in synthesis.template["Resources"].values() if "Custom" in each["Type"]] == []
    assert json.loads((synthesis.folder / "whippet.assets.json").read_text())["dockerImages"] == {}


@pytest.mark.parametrize(
    ("name", "security"), [("default", Security()), ("kms", Security(kms=True)), ("everything", Security(kms=True, vpc=True, subnets=2))]
)
def test_the_definition_is_filled_in_completely(variation: Callable[[str], Synthesis], name: str, security: Security) -> None:
    machine = variation(name).resource("AWS::StepFunctions::StateMachine")
    used = set(re.findall(r"\$\{(\w+)\}", machine["DefinitionString"]))
    assert used == set(machine["DefinitionSubstitutions"])
    assert used >= set(SUBSTITUTED)
    assert json.loads(machine["DefinitionString"]) == definition(security)


def test_the_state_machine_logs_everything_and_is_traced(synthesis: Synthesis) -> None:
    machine = synthesis.resource("AWS::StepFunctions::StateMachine")
    assert machine["LoggingConfiguration"]["Level"] == "ALL"
    assert machine["TracingConfiguration"] == {"Enabled": True}


def test_statelint_has_no_objection(tmp_path: Path) -> None:
    machine = filled_in(definition())
    for state in machine["States"].values():
        if str(state.get("Seconds", "")).startswith("{%"):
            state["Seconds"] = 30  # statelint is older than JSONata, in which a Wait may compute its seconds
    file = tmp_path / "machine.asl.json"
    file.write_text(json.dumps(machine))
    done = subprocess.run([BIN / "statelint", file], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def functions(synthesis: Synthesis) -> dict[str, dict[str, Any]]:
    return {each["Properties"]["Handler"]: each["Properties"] for each in synthesis.resources("AWS::Lambda::Function").values()}


def test_every_handler_can_be_imported_from_its_archive(variation: Callable[[str], Synthesis]) -> None:
    """In a fresh interpreter that sees the archive and the standard library's neighbours only, as in Lambda."""
    synthesis = variation("everything")
    assets = json.loads((synthesis.folder / "whippet.assets.json").read_text())["files"]
    (asset,) = {assets[each["Code"]["S3Key"].removesuffix(".zip")]["source"]["path"] for each in functions(synthesis).values()}
    lines = ["import importlib"]
    for handler in functions(synthesis):
        module, _, name = handler.rpartition(".")
        lines.append(f"module = importlib.import_module({module!r})")
        lines.append(f"assert callable(module.{name}) and module.__file__.startswith({str(synthesis.folder)!r}), {handler!r}")
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], cwd=synthesis.folder / asset, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_archive_of_the_functions_holds_them_and_the_contract(synthesis: Synthesis) -> None:
    (folder,) = {path.parent for path in synthesis.folder.glob("asset.*/lambdas")}
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    tracked = subprocess.run(["git", "ls-files", "lambdas", "training"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    shipped = ("lambdas/", "training/__init__.py", "training/contract/")
    assert files == {name for name in tracked.stdout.split() if name.startswith(shipped) and not name.endswith("py.typed")}


def test_each_function_that_states_call_is_one_file(synthesis: Synthesis) -> None:
    """`${PrepareExecutionArn}` is lambdas/prepare_execution.py and the function whippet-prepare-execution."""
    tasks = [state for state in definition()["States"].values() if state.get("Resource", "").endswith(":lambda:invoke")]
    called = {state["Arguments"]["FunctionName"].removeprefix("${").removesuffix("Arn}") for state in tasks}
    files = {re.sub("(?<!^)(?=[A-Z])", "_", name).lower() for name in called}
    named = {handler.split(".")[1]: each["FunctionName"] for handler, each in functions(synthesis).items()}
    assert {file: named.get(file) for file in files} == {file: f"whippet-{file.replace('_', '-')}" for file in files}
    assert len(files) == 6


SET_BY_LAMBDA = {"AWS_REGION"}


def test_the_environment_set_is_the_environment_read(variation: Callable[[str], Synthesis]) -> None:
    """What must be there is there, and nothing is that nobody reads."""
    for handler, properties in functions(variation("everything")).items():
        module = handler.split(".")[1]
        source = (REPOSITORY / "lambdas" / f"{module}.py").read_text()
        settings: defaultdict[str, str] = defaultdict(str)
        if "Settings.read(os.environ)" in source:
            Settings.read(settings)
        needed = {*settings, *re.findall(r'environ(?:ment)?\["(\w+)"\]', source)} - SET_BY_LAMBDA
        read = needed | set(re.findall(r'environ(?:ment)?\.get\("(\w+)"', source))
        written = set(properties.get("Environment", {}).get("Variables", {}))
        assert needed <= written <= read, handler


def test_another_configuration_is_another_stack(tmp_path: Path) -> None:
    """Images of one's own are used and may be pulled, and AWS's no longer; a public one takes no permission."""
    account = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
    images: dict[str, Any] = {
        "training_image_cpu": f"{account}/mine/train:1",
        "training_image_gpu": f"{account}/mine/train-gpu@sha256:{'0' * 64}",
        "serving_image_cpu": "public.ecr.aws/mine/serve:1",
        "serving_image_gpu": "public.ecr.aws/mine/serve:1",
    }
    other = synthesise(tmp_path, project="beagle", **images)
    environment = functions(other)["lambdas.prepare_execution.handler"]["Environment"]["Variables"]
    assert {knob: environment[knob.upper()] for knob in images} == images
    assert other.resource("AWS::StepFunctions::StateMachine")["StateMachineName"] == "beagle"
    pulling = [each for each in statements(other) if "ecr:BatchGetImage" in listed(each["Action"])]
    pulled = {concrete(each) for statement in pulling for each in listed(statement["Resource"])}
    own = {f"arn:aws:ecr:eu-west-1:123456789012:repository/mine/{name}" for name in ("train", "train-gpu")}
    assert {arn for arn in pulled if "debugger-rules" not in arn} == own


def test_two_syntheses_write_the_same(variation: Callable[[str], Synthesis], tmp_path: Path) -> None:
    """So that a second deployment changes nothing; byte for byte, also in another process's order of sets."""
    first = variation("everything").folder / "whippet.template.json"
    synthesise(tmp_path, **VARIATIONS["everything"])
    assert (tmp_path / "whippet.template.json").read_bytes() == first.read_bytes()
