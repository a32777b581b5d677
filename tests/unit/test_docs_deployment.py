"""docs/deployment.md held against the code: every knob with its default, every alarm, every function. Run: `make test`."""

import json
import re
from dataclasses import fields

import pytest

from stacks.configuration import RETENTION, Config
from stacks.operations import QUIET_MINUTES
from tests import REPOSITORY

PAGE = (REPOSITORY / "docs" / "deployment.md").read_text(encoding="utf-8")


def knob_rows() -> dict[str, str]:
    """Knob -> default, as the table has them; a row may hold several."""
    table = PAGE.partition("## Settings")[2].partition("###")[0]
    rows = re.findall(r"^\| (`[^|]+) \| ([^|]+) \|", table, flags=re.MULTILINE)
    found: dict[str, str] = {}
    for names, defaults in rows:
        knobs = re.findall(r"`(\w+)`", names)
        values = re.findall(r"`([^`]+)`", defaults) or [""]
        found |= dict(zip(knobs, values if len(values) == len(knobs) else values * len(knobs), strict=True))
    return found


def test_the_table_names_every_knob_with_its_default_in_order() -> None:
    def written(value: object) -> str:
        return json.dumps(value).strip('"') if not isinstance(value, str) else value

    assert list(knob_rows().items()) == [(each.name, written(each.default)) for each in fields(Config)]


def test_the_kinds_of_authorization_are_all_there() -> None:
    table = PAGE.partition("### API authorization")[2].partition("###")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE)[1:] == ["iam", "api_key", "cognito", "none"]


def test_the_days_that_logs_can_be_kept_are_all_there() -> None:
    assert f"{', '.join(map(str, list(RETENTION)[:-1]))} or {list(RETENTION)[-1]} |" in PAGE
    assert QUIET_MINUTES == 30, "the page says half an hour"


@pytest.mark.parametrize("name", ["ReapExecution", "ScaleEndpoint", "StopIdleEndpoint", "StartRetraining"])
def test_every_function_that_looks_after_a_deployment_is_there(name: str) -> None:
    assert f"| {name} |" in PAGE
    assert f'self.add("{name}"' in (REPOSITORY / "stacks" / "operations.py").read_text(encoding="utf-8")


def test_every_alarm_is_there() -> None:
    source = (REPOSITORY / "stacks" / "observability.py").read_text(encoding="utf-8")
    made = set(re.findall(r'self\.add_alarm\(\s*"([a-z-]+)"', source))
    assert len(made) == 7
    assert set(re.findall(r"^\| `<project>-([a-z-]+)` \|", PAGE, flags=re.MULTILINE)) == made
    assert "seven alarms at 10 cents" in PAGE, "what they cost is told too"
