"""The documentation held against the code: examples parse, tables name every field with its default, links lead somewhere. Run: `make test`."""

import json
import re
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from lambdas.execution_input import ExecutionInput

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = sorted([REPOSITORY / "README.md", *(REPOSITORY / "docs").rglob("*.md")])
EXECUTION_INPUT = (REPOSITORY / "docs" / "execution-input.md").read_text(encoding="utf-8")


def json_blocks(page: str) -> list[str]:
    return re.findall(r"```json\n(.*?)```", page, flags=re.DOTALL)


def defaults(value: object, prefix: str = "") -> dict[str, object]:
    """Every leaf field of a dataclass instance by its dotted path."""
    if not is_dataclass(value):
        return {prefix: list(value) if isinstance(value, tuple) else value}
    return {
        path: leaf
        for each in fields(value)
        for path, leaf in defaults(getattr(value, each.name), f"{prefix}.{each.name}" if prefix else each.name).items()
    }


def test_the_first_example_is_every_default() -> None:
    written = json.loads(json_blocks(EXECUTION_INPUT)[0])
    assert ExecutionInput.parse(written) == ExecutionInput.parse({})
    flat = {f"{key}.{inner}" if isinstance(value, dict) else key for key, value in written.items() for inner in (value if isinstance(value, dict) else [""])}
    assert flat == set(defaults(ExecutionInput()))


@pytest.mark.parametrize("example", json_blocks(EXECUTION_INPUT)[1:-1])
def test_the_other_examples_are_accepted(example: str) -> None:
    ExecutionInput.parse(json.loads(example))


def test_the_table_names_every_field_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `([a-z_.]+)` \| `?([^|`]+?)`? \|", EXECUTION_INPUT, flags=re.MULTILINE))
    expected = {path: json.dumps(value).strip('"') for path, value in defaults(ExecutionInput()).items()}
    assert rows == expected


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert missing == []
