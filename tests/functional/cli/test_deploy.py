"""The CDK command line as `whippet deploy` starts it: a small program of our own in its place. Run: `make test`."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cli.deploy import CdkCommandLine, build_cdk_commands, find_cdk
from cli.terminal.errors import RefusedError
from tests.fixtures.cli.fakes import FakeCloudFormation, FakeMachine, Pages, client_error, target


class FakeSts:
    """Knows the account."""

    def get_caller_identity(self) -> dict[str, str]:
        return {"Account": "123456789012"}


def program(folder: Path, script: str) -> Path:
    file = folder / "cdk"
    file.write_text(f"#!{sys.executable}\nimport os, sys\n{script}\n")
    file.chmod(0o755)
    return file


@dataclass
class FakeRegistry:
    """SageMaker with the project's model package group, or without."""

    group: bool = False

    def describe_model_package_group(self, ModelPackageGroupName: str) -> dict[str, str]:  # noqa: N803 - boto3's name
        if not self.group:
            raise client_error("ValidationException", f"Model Package Group {ModelPackageGroupName} does not exist.")
        return {"ModelPackageGroupName": ModelPackageGroupName}


@dataclass
class FakeStacks(FakeCloudFormation):
    """One stack of these types of resources, or none."""

    types: tuple[str, ...] = ()

    def get_paginator(self, operation: str) -> Pages:
        assert operation == "list_stack_resources"
        return Pages(lambda StackName: [{"StackResourceSummaries": [{"ResourceType": each} for each in self.types]}])  # noqa: N803


def commands(
    *further: str, machine: FakeMachine | None = None, group: bool = False, stacks: FakeStacks | None = None
) -> dict[str, list[str]]:
    clients = {"sts": FakeSts(), "sagemaker": FakeRegistry(group), "cloudformation": stacks or FakeStacks(None)}
    return {command[0]: command[1:] for command in build_cdk_commands(target(machine, **clients), further)}


def test_the_assembly_is_made_once_and_deployed() -> None:
    found = commands()
    assembly = found["synth"][found["synth"].index("--output") + 1]
    assert found["deploy"][found["deploy"].index("--app") + 1] == assembly
    assert "project=whippet" in found["synth"]
    assert found["bootstrap"] == ["aws://123456789012/us-east-1"]


def test_aws_asks_before_it_broadens_permissions_unless_told_otherwise() -> None:
    assert commands()["deploy"][-2:] == ["--require-approval", "broadening"]
    assert commands(machine=FakeMachine())["deploy"][-2:] == ["--require-approval", "never"]
    assert commands("--require-approval=never", "--verbose")["deploy"][-2:] == ["--require-approval=never", "--verbose"]


BUCKET, GROUP = "AWS::S3::Bucket", "AWS::SageMaker::ModelPackageGroup"


@pytest.mark.parametrize(
    ("group", "stacks", "left"),
    [
        (False, FakeStacks(None), False),
        (True, FakeStacks(None), True),
        (True, FakeStacks({"StackName": "whippet"}, (BUCKET, GROUP)), False),
        (True, FakeStacks({"StackName": "whippet"}, (BUCKET,)), True),
    ],
    ids=["a first deployment", "one after cdk destroy", "the second of a stack", "the second of one after cdk destroy"],
)
def test_a_model_package_group_that_an_earlier_stack_left_is_not_made_again(group: bool, stacks: FakeStacks, left: bool) -> None:
    for machine in (None, FakeMachine()):
        assert ("model_package_group=existing" in commands(machine=machine, group=group, stacks=stacks)["synth"]) is left


@pytest.mark.parametrize(
    "given",
    [
        ["-c", "api_authorization=none"],
        ["--context", "api_authorization=none"],
        ["--context=api_authorization=none"],
        ["-c=api_authorization=none"],
    ],
)
def test_context_goes_to_the_synthesis(given: list[str]) -> None:
    found = commands("--verbose", *given, "--hotswap")
    assert found["synth"][-4:] == ["--context", "project=whippet", "--context", "api_authorization=none"]
    assert found["deploy"][-2:] == ["--verbose", "--hotswap"]
    assert not {"-c", "--context", "api_authorization=none"} & {*found["deploy"]}


@pytest.mark.parametrize("given", [["-c"], ["-c", "api_authorization"], ["--context=project=other"]])
def test_context_that_would_do_nothing_or_rename_the_stack_is_refused(given: list[str]) -> None:
    with pytest.raises(RefusedError, match=r"takes NAME=VALUE.*--project NAME"):
        commands(*given)


def test_local_mode_has_an_assembly_of_its_own() -> None:
    assert commands()["synth"] != commands(machine=FakeMachine())["synth"]


def test_output_goes_to_the_log_and_to_the_live_line(tmp_path: Path) -> None:
    said: list[str] = []
    cdk = CdkCommandLine(
        program(tmp_path, "print('one'); print(); print('two', os.environ['COLOUR'])"), {"COLOUR": "red"}, tmp_path / "cdk.log"
    )
    cdk.run_logged(["deploy"], said.append)
    assert said == ["one", "two red"]
    assert (tmp_path / "cdk.log").read_text() == "$ cdk deploy\none\n\ntwo red\n"


def test_a_failure_shows_the_end_of_the_log(tmp_path: Path) -> None:
    cdk = CdkCommandLine(program(tmp_path, "[print('line', n) for n in range(100)]; sys.exit(3)"), {}, tmp_path / "cdk.log")
    with pytest.raises(RefusedError) as caught:
        cdk.run_logged(["synth"], lambda line: None)
    text = str(caught.value)
    assert text.startswith("`cdk synth` failed (exit status 3)")
    assert "line 99" in text
    assert "line 10\n" not in text
    assert str(tmp_path / "cdk.log") in text


def test_a_failure_in_the_terminal_is_a_refusal(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="exit status 4"):
        CdkCommandLine(program(tmp_path, "sys.exit(4)"), {}, tmp_path / "cdk.log").run_in_terminal(["deploy"])


def test_a_missing_command_line_says_how_to_install_it(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="npm ci"):
        find_cdk(target(sts=FakeSts()), tmp_path / "cdk")


def test_this_environments_python_comes_first(tmp_path: Path) -> None:
    environment: Any = find_cdk(target(sts=FakeSts()), program(tmp_path, "")).environment
    assert environment["PATH"].split(":")[0] == str(Path(sys.executable).parent)
    assert environment["AWS_REGION"] == "us-east-1"
