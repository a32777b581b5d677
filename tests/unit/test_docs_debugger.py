"""docs/debugger.md held against the rules: every rule is there with its parameters, and its examples run. Run: `make test`."""

import json
import re
from collections.abc import Mapping

import pytest

from lambdas.request.execution_input import ExecutionInput
from tests import REPOSITORY
from training.contract.rules import DEBUG_RULES, PROFILER_RULES, default_rules, job_parameters

PAGE = (REPOSITORY / "docs" / "debugger.md").read_text(encoding="utf-8")
EPOCHS = 20
"""Of a usual job."""


def rows(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading or sentence, without its head."""
    below = PAGE.partition(heading)[2]
    table = re.findall(r"(?:^\|.*\|\n)+", below, flags=re.MULTILINE)[0]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table.splitlines()[2:]]


def written(parameters: Mapping[str, str | None]) -> str:
    """A rule's parameters as the page writes them."""
    named = {name: "unset" if value is None else f"`{value}`".replace("|", "\\|") for name, value in parameters.items()}
    return ", ".join(f"`{name}` {value}" for name, value in named.items() if name != "scan_interval_us") or "–"  # noqa: RUF001


@pytest.mark.parametrize(("heading", "rules"), [("## Debugger rules", DEBUG_RULES), ("## Profiler rules", PROFILER_RULES)])
def test_every_rule_is_told_with_its_parameters(heading: str, rules: Mapping[str, Mapping[str, str | None]]) -> None:
    assert {cells[0]: cells[2] for cells in rows(heading)} == {rule: written(parameters) for rule, parameters in rules.items()}
    assert all(cells[1] and cells[3] for cells in rows(heading))


def test_what_our_jobs_pass_is_told_with_its_reason() -> None:
    told = {
        (rule, parameter): value.removesuffix(f" for {EPOCHS} epochs") for rule, parameter, value, _ in rows("our\njobs pass other values")
    }
    passed = {
        (rule, f"`{parameter}`"): f"`{value}`"
        for rule in (*DEBUG_RULES, *PROFILER_RULES)
        for parameter, value in job_parameters(rule, EPOCHS).items()
    }
    assert told == passed
    assert all(reason for *_, reason in rows("our\njobs pass other values"))


def test_what_is_evaluated_by_default_is_told() -> None:
    head = default_rules("head")
    more = [rule for rule in default_rules("all") if rule not in head]
    assert f"by default: {', '.join(head)}. If the backbone is trained" in PAGE
    assert f"(`last_stage`, `all`), they also evaluate {', '.join(more)}.\n" in PAGE


def test_the_example_of_an_input_is_accepted() -> None:
    for example in re.findall(r"```json\n(.*?)```", PAGE, flags=re.DOTALL):
        ExecutionInput.parse(json.loads(example))
