"""What `whippet status` finds and says. Run: `make test`."""

import io
import json
from dataclasses import dataclass, replace
from typing import Any

import pytest
from rich.console import Console

from cli.status import explain_page_access, print_exports, print_status, read_status
from tests.fixtures.cli.executions import KEPT_BACK, OUTPUT, REASON, FakeServices, Moment, entered
from tests.fixtures.cli.fakes import FakeCloudFormation, FakeMachine, client_error, target
from tests.fixtures.sagemaker.registry import Registry


class Services(FakeServices):
    """With an endpoint, or the error that SageMaker gives for an absent one."""

    endpoint: str | None = "InService"

    def describe_endpoint(self, **arguments: str) -> dict[str, Any]:
        if self.endpoint is None:
            raise client_error("ValidationException", 'Could not find endpoint "whippet".')
        return {"EndpointStatus": self.endpoint}


@dataclass
class SagemakerOf:
    """The model registry of one fake, and all else of another."""

    services: Services
    registry: Registry

    def get_paginator(self, operation: str) -> Any:
        return (self.registry if operation == "list_model_packages" else self.services).get_paginator(operation)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.registry if name == "describe_model_package" else self.services, name)


class NeverRun(Services):
    """Deployed, and no execution yet."""

    def list_executions(self, **arguments: Any) -> dict[str, Any]:
        return {"executions": []}


def printed(found: dict[str, Any], machine: FakeMachine | None = None) -> str:
    paper = io.StringIO()
    print_status(Console(file=paper, width=160), target(machine), found)
    return paper.getvalue()


def test_everything_is_found_and_can_be_written_as_json() -> None:
    services = Services([Moment("SUCCEEDED", [entered("PrepareExecution", 0)])])
    found = read_status(target(FakeMachine(), **services.clients()))
    assert json.loads(json.dumps(found)) == found
    assert found["endpoint"] == {"name": "whippet", "status": "InService"}
    assert (found["execution"]["best"], found["execution"]["report"]) == (OUTPUT["best"], OUTPUT["report"])
    assert found["page"].endswith("/_user_request_/")
    text = printed(found, FakeMachine())
    for part in ("SUCCEEDED after 1:40", "learning rate 0.01, batch size 32", "photos-bucket/executions/whippet-261122160000-73e7/"):
        assert part in text


def test_the_newest_models_are_told_with_what_became_of_them() -> None:
    registry = Registry()
    for number in range(6):
        registry.add(test_accuracy=f"0.{number}1", endpoint_config="config", run="run")
    registry.add("Rejected", run="run")
    clients = Services([Moment("SUCCEEDED", [entered("PrepareExecution", 0)])]).clients()
    found = read_status(target(**{**clients, "sagemaker": SagemakerOf(clients["sagemaker"], registry)}))
    assert [model["version"] for model in found["models"]] == [7, 6, 5, 4, 3]
    assert (found["models"][0]["accuracy"], found["models"][1]["accuracy"]) == (None, 0.51)
    text = printed(found)
    assert "version 7 of 2026-11-08, rejected" in text
    assert "version 6 of 2026-11-07, accuracy 0.510, approved, was deployed" in text


def test_a_failed_execution_gives_its_reason() -> None:
    services = Services([Moment("FAILED", [entered("PrepareExecution", 0)], cause="PrepareExecution failed: no photos.")])
    assert "PrepareExecution failed: no photos." in printed(read_status(target(**services.clients())))


def test_a_model_that_was_kept_back_gives_its_reason() -> None:
    services = Services([Moment("SUCCEEDED", [entered("PrepareExecution", 0)], output=KEPT_BACK)])
    assert REASON in printed(read_status(target(**services.clients())))
    services = Services([Moment("SUCCEEDED", [entered("PrepareExecution", 0)])])
    assert "not deployed" not in printed(read_status(target(**services.clients())))


def test_before_the_first_execution() -> None:
    services = NeverRun([Moment()])
    services.endpoint = None
    text = printed(read_status(target(**services.clients())))
    assert "whippet, none yet" in text
    assert "none yet: whippet run" in text


def test_the_page_is_promised_to_a_browser_in_local_mode_only() -> None:
    for machine in (None, FakeMachine()):
        found = read_status(target(machine, **NeverRun([Moment()]).clients()))
        assert ("api_authorization=none" in printed(found, machine)) == (machine is None)


def test_nothing_deployed() -> None:
    nothing = target(FakeMachine(), cloudformation=FakeCloudFormation(None))
    assert "Deploy it with whippet deploy --local" in printed(read_status(nothing), FakeMachine())


def test_a_refused_look_at_the_endpoint_is_no_absent_endpoint() -> None:
    class Denied:
        def describe_endpoint(self, **arguments: str) -> None:
            raise client_error("AccessDeniedException", "not authorized")

    with pytest.raises(Exception, match="not authorized"):
        target(sagemaker=Denied()).endpoint_status("whippet")


def test_the_variables_for_other_tools_are_ready_to_paste() -> None:
    paper = io.StringIO()
    print_exports(Console(file=paper, width=160), FakeMachine().settings())
    assert "export AWS_ENDPOINT_URL=http://127.0.0.1:4566\n" in paper.getvalue()
    assert "CDK_HOME" not in paper.getvalue()


def test_in_strict_local_mode_they_say_whom_to_trust_and_that_the_page_is_for_who_signs() -> None:
    paper = io.StringIO()
    print_exports(Console(file=paper, width=160), {"AWS_CA_BUNDLE": "/a.crt", "NODE_EXTRA_CA_CERTS": "/a.crt", "CDK_HOME": "/c"})
    assert paper.getvalue().splitlines()[-2:] == ["export AWS_CA_BUNDLE=/a.crt", "export NODE_EXTRA_CA_CERTS=/a.crt"]
    assert "signed requests" in explain_page_access(replace(target(FakeMachine()), ca_bundle="/a.crt"))
    assert explain_page_access(target(FakeMachine())) == ""
