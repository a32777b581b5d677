"""What is said of a model's accuracy, and the command that deploys it whatever is said against it. Run: `make test`."""

import io
from collections.abc import Sequence
from typing import Any

import pytest
from rich.console import Console

from cli.executions.assessment import print_accuracy, print_rejection, remove_checks
from cli.executions.execution import Execution, read_execution
from lambdas.assessment.comparison import Comparison
from lambdas.assessment.evaluation import Evaluation
from lambdas.assessment.gate import Gate, against_champion, floor
from lambdas.assessment.paired_accuracy import Pairs
from tests.fixtures.cli.executions import CHAMPION, KEPT_BACK, OUTPUT, REASON, FakeServices, Moment
from tests.fixtures.cli.fakes import ARN, FakeMachine, target

CLASSES = {f"class {number}": Pairs(200, 100, 0, 60) for number in range(12)}


def ended(output: dict[str, Any], given: dict[str, Any] | None = None) -> Execution:
    services = FakeServices([Moment("SUCCEEDED", output=output, input=given or {})])
    return read_execution(target(FakeMachine(), **services.clients()), ARN)


def said_of_accuracy(output: dict[str, Any]) -> str:
    paper = io.StringIO()
    print_accuracy(Console(file=paper, width=80), ended(output))
    return paper.getvalue()


def worse(by_class: dict[str, Pairs]) -> list[str]:
    """The gate's own sentences, so that a change of them is met here."""
    return against_champion(Gate(), Comparison(Pairs(300, 200, 10, 60), by_class, 0, (), ()), [])


def bad(accuracy: float, least: float = 0.5) -> list[str]:
    return floor(Gate(least_accuracy=least), Evaluation(accuracy, 300, ("a", "b"), 0.2, accuracy, 2))


def test_the_comparison_with_the_champion_is_told_in_one_line() -> None:
    assert said_of_accuracy({**OUTPUT, "accuracy": 0.91, "champion": CHAMPION}) == f"  {CHAMPION['sentence']} (version 2)\n"


def test_without_a_champion_the_accuracy_is_told_and_before_there_was_one_nothing() -> None:
    assert said_of_accuracy({**OUTPUT, "accuracy": 0.91, "champion": {}}) == "  accuracy 0.910 on the test photos\n"
    assert said_of_accuracy({**OUTPUT, "accuracy": None, "champion": {}}) == ""
    assert said_of_accuracy(OUTPUT) == ""


@pytest.mark.parametrize(
    ("reasons", "changed"),
    [
        ([REASON], {"rules": {"block_deployment": []}}),
        (bad(0.4), {"gate": {"least_accuracy": 0}}),
        (worse(CLASSES), {"gate": {"champion": False}}),
        ([REASON, *bad(0.4), *worse({})], {"rules": {"block_deployment": []}, "gate": {"least_accuracy": 0, "champion": False}}),
        (bad(0.1, least=0.0), {}),
        (["s3://b/k is missing, so nobody knows how accurate the model is"], {}),
        ([REASON, "its model package was rejected: blurred photos"], {}),
        ([], {}),
    ],
)
def test_the_input_that_objects_no_more(reasons: Sequence[str], changed: dict[str, Any]) -> None:
    assert remove_checks({}, reasons) == changed


def test_what_the_input_said_beside_it_stays() -> None:
    given = {"seed": 7, "gate": {"tolerance": 0.02}, "rules": "all"}
    assert remove_checks(given, [REASON, *worse({})]) == {
        "seed": 7,
        "gate": {"tolerance": 0.02, "champion": False},
        "rules": {"block_deployment": []},
    }


def test_what_a_person_decided_is_told_without_a_command_around_it() -> None:
    paper = io.StringIO()
    rejected = {**KEPT_BACK, "reasons": ["its model package was rejected: blurred photos"]}
    print_rejection(Console(file=paper, width=200), target(FakeMachine()), ended(rejected))
    assert "▲ its model package was rejected: blurred photos" in paper.getvalue()
    assert "whippet run" not in paper.getvalue()
