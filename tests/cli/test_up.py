"""What `whippet down` ends and what it leaves alone. Run: `make test`."""

import io
from dataclasses import dataclass, field
from typing import Any

import pytest
from rich.console import Console

from cli.errors import RefusedError
from cli.target import Target
from cli.up import delete_billable, find_billable, stop_local_mode
from tests.cli.fakes import ARN, FakeCloudFormation, FakeMachine, Pages, client_error, target

OURS, OTHERS = "whippet-261122160000-8988-b2126ec3", "whippet-b-261122160000-8988-b2126ec3"


@dataclass
class FakeSageMaker:
    """Endpoints, configurations and models by name; `gone` vanish before they can be deleted."""

    endpoints: list[str] = field(default_factory=list)
    configs: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)
    deleted: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)

    def get_paginator(self, operation: str) -> Pages:
        pages = {
            "list_endpoints": lambda **arguments: [{"Endpoints": [{"EndpointName": name} for name in self.endpoints]}],
            "list_endpoint_configs": lambda **arguments: [{"EndpointConfigs": [{"EndpointConfigName": name} for name in self.configs]}],
            "list_models": lambda **arguments: [{"Models": [{"ModelName": name}]} for name in self.models],
            "list_executions": lambda **arguments: [{"executions": [{"executionArn": ARN}]}],
        }
        return Pages(pages[operation])

    def stop_execution(self, executionArn: str, cause: str) -> None:  # noqa: N803 - boto3's name
        self.stopped.append(executionArn)

    def delete_endpoint(self, EndpointName: str) -> None:  # noqa: N803
        self._delete(EndpointName)

    def delete_endpoint_config(self, EndpointConfigName: str) -> None:  # noqa: N803
        self._delete(EndpointConfigName)

    def delete_model(self, ModelName: str) -> None:  # noqa: N803
        self._delete(ModelName)

    def _delete(self, name: str) -> None:
        if name in self.gone:
            raise client_error("ValidationException", f'Could not find "{name}".')
        self.deleted.append(name)


def deployed(sagemaker: FakeSageMaker, **clients: Any) -> Target:
    return target(sagemaker=sagemaker, stepfunctions=sagemaker, **clients)


def paper() -> Console:
    return Console(file=io.StringIO(), width=120)


def test_only_names_that_the_state_machine_gives_are_found() -> None:
    sagemaker = FakeSageMaker(["whippet", "whippet-b", "my-whippet"], [OURS, OTHERS], [OURS, OTHERS, "whippet-notes"])
    found = find_billable(deployed(sagemaker))
    assert (found.endpoints, found.endpoint_configs, found.models, found.executions) == (("whippet",), (OURS,), (OURS,), (ARN,))


def test_everything_found_is_deleted_after_a_yes() -> None:
    sagemaker = FakeSageMaker(["whippet"], [OURS], [OURS], gone={"whippet"})
    delete_billable(deployed(sagemaker), paper(), lambda question: True)
    assert (sagemaker.deleted, sagemaker.stopped) == ([OURS, OURS], [ARN])


def test_a_no_deletes_nothing() -> None:
    sagemaker = FakeSageMaker(["whippet"], [OURS], [OURS])
    with pytest.raises(RefusedError, match="Nothing was deleted"):
        delete_billable(deployed(sagemaker), paper(), lambda question: False)
    assert (sagemaker.deleted, sagemaker.stopped) == ([], [])


def test_a_project_without_a_stack_is_still_looked_through() -> None:
    sagemaker = FakeSageMaker(["whippet"])
    delete_billable(deployed(sagemaker, cloudformation=FakeCloudFormation(None)), paper(), lambda question: True)
    assert (sagemaker.deleted, sagemaker.stopped) == (["whippet"], [])


def test_nothing_to_delete_points_to_cdk_destroy() -> None:
    console = paper()
    delete_billable(
        deployed(FakeSageMaker(), cloudformation=FakeCloudFormation(None)), console, lambda question: pytest.fail("asked for nothing")
    )
    assert isinstance(console.file, io.StringIO)
    assert "cdk destroy" in console.file.getvalue()


def test_local_mode_is_stopped_once() -> None:
    machine, console = FakeMachine(), paper()
    stop_local_mode(machine, console)
    stop_local_mode(machine, console)
    assert isinstance(console.file, io.StringIO)
    assert "stopped (2 processes)" in console.file.getvalue()
    assert "was not running" in console.file.getvalue()
