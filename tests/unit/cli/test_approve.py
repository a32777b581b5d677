"""Who decides on a model that waits, and what is said of it: `whippet approve` and `whippet reject`. Run: `make test`."""

import io
from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console

from cli.account.model_versions import APPROVED, REJECTED, WAITING, list_model_versions
from cli.account.target import Target
from cli.approve import MOST_REASON, decide
from cli.executions.execution import build_run_name
from cli.terminal.errors import RefusedError
from tests.fixtures.cli.fakes import ARN, START, FakeMachine, client_error, invoke, target
from tests.fixtures.sagemaker.registry import Registry

RUN = build_run_name("whippet", ARN, START)


class Running:
    """Step Functions with executions that go on."""

    def __init__(self, *arns: str) -> None:
        self.arns = arns

    def get_paginator(self, operation: str) -> "Running":
        assert operation == "list_executions"
        return self

    def paginate(self, stateMachineArn: str, statusFilter: str) -> Iterator[dict[str, Any]]:  # noqa: N803 - boto3's names
        assert (stateMachineArn.rpartition(":")[2], statusFilter) == ("whippet", "RUNNING")
        yield {"executions": []}
        yield {"executions": [{"executionArn": arn, "startDate": START} for arn in self.arns]}


def registry() -> Registry:
    """Version 1 is served, 2 was rejected, 3 and 4 wait; only 4 has an execution that goes on."""
    made = Registry()
    made.add(APPROVED, endpoint_config="config", run="older", test_accuracy="0.9")
    made.add(REJECTED, run="bad")
    made.versions[1]["ApprovalDescription"] = "blurred photos"
    made.add(WAITING, run="ended")
    made.add(WAITING, run=RUN, test_accuracy="0.91")
    made.versions[3]["ModelPackageDescription"] = "Accuracy 0.910 on 300 test photos of 5 classes."
    return made


def decided(made: Registry, number: int | None, status: str, reason: str = "", machine: FakeMachine | None = None) -> str:
    paper = io.StringIO()
    decide(Console(file=paper, width=160), there(made, machine), number, status, reason)
    return paper.getvalue()


def there(made: Registry, machine: FakeMachine | None = None) -> Target:
    return target(machine, sagemaker=made, stepfunctions=Running("other", ARN))


def status_of(made: Registry, number: int) -> tuple[str, str | None]:
    version = made.versions[number - 1]
    return version["ModelApprovalStatus"], version.get("ApprovalDescription")


def test_without_a_number_what_waits_is_listed_and_nothing_decided() -> None:
    made = registry()
    text = decided(made, None, APPROVED, machine=FakeMachine())
    assert text.index("4         2026-11-05 00:00   Accuracy 0.910 on 300 test photos") < text.index("3         2026-11-04 00:00   ended")
    assert "whippet approve NUMBER --local or whippet reject NUMBER --local" in text
    assert [status_of(made, number)[0] for number in (3, 4)] == [WAITING, WAITING]
    assert "No model of whippet waits for approval" in decided(Registry(), None, REJECTED)


def test_an_approved_model_is_deployed_by_its_execution() -> None:
    made = registry()
    text = decided(made, 4, APPROVED, "looked at the worst errors", FakeMachine())
    assert status_of(made, 4) == (APPROVED, "looked at the worst errors")
    assert text.startswith("✓ Version 4 is approved. Its execution deploys it within half an hour: whippet watch --local")
    assert status_of(made, 3) == (WAITING, None)


def test_an_approval_that_no_execution_waits_for_is_said_to_deploy_nothing() -> None:
    made = registry()
    assert "does not wait any more, so the model is not deployed" in decided(made, 3, APPROVED)
    assert status_of(made, 3) == (APPROVED, None)


def test_a_rejected_model_changes_nothing() -> None:
    made = registry()
    assert decided(made, 4, REJECTED, "too slow") == "✓ Version 4 is rejected. The endpoint is unchanged.\n"
    assert status_of(made, 4) == (REJECTED, "too slow")


@pytest.mark.parametrize(
    ("number", "said"),
    [(1, "is approved, was deployed"), (2, "is rejected: blurred photos"), (9, "does not exist")],
)
def test_only_what_waits_can_be_decided(number: int, said: str) -> None:
    made = registry()
    with pytest.raises(RefusedError) as refused:
        decided(made, number, APPROVED)
    assert str(refused.value) == f"Version {number} of 'whippet' {said}; versions waiting for approval: 4, 3."
    assert [version["ModelApprovalStatus"] for version in made.versions] == [APPROVED, REJECTED, WAITING, WAITING]


def test_a_reason_that_sagemaker_would_refuse_is_refused_here() -> None:
    with pytest.raises(RefusedError, match="1025 characters; SageMaker stores at most 1024"):
        decided(registry(), 4, REJECTED, "x" * (MOST_REASON + 1))


def test_versions_are_read_whole_the_newest_first() -> None:
    newest, *_, oldest = list_model_versions(there(registry()))
    assert (newest.number, newest.accuracy, newest.run, newest.label) == (4, 0.91, RUN, "waits for approval")
    assert (oldest.number, oldest.label) == (1, "approved, was deployed")
    assert [version.number for version in list_model_versions(there(registry()), most=2)] == [4, 3]


def test_a_stack_from_before_the_registry_has_no_versions_and_a_refusal_is_told() -> None:
    absent = client_error("ValidationException", "ModelPackageGroup arn:… does not exist.")
    assert list_model_versions(there(Registry(refusal=absent))) == []
    with pytest.raises(Exception, match="not authorized"):
        list_model_versions(there(Registry(refusal=client_error("AccessDeniedException", "not authorized"))))


def test_the_verbs_are_there() -> None:
    for verb in ("approve", "reject"):
        shown = invoke(verb, "--help")
        assert shown.exit_code == 0
        assert "--reason" in shown.output
