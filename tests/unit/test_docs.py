"""The documentation held against the code: examples parse, tables are whole, links lead somewhere. Run: `make test`."""

import json
import re
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from lambdas.request.execution_input import ExecutionInput
from lambdas.request.execution_input_schema import make_table
from local.api.feature_support import ACCEPTED, LIMITED, REAL, REFUSED, REPRODUCED
from tests import REPOSITORY

PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")])
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


def leaves(value: object, prefix: str = "") -> list[str]:
    """The dotted path of everything in a JSON document that is no object, or an empty one."""
    if not isinstance(value, dict) or not value:
        return [prefix]
    return [path for key, inner in value.items() for path in leaves(inner, f"{prefix}.{key}" if prefix else key)]


def test_the_first_example_is_every_default() -> None:
    written = json.loads(json_blocks(EXECUTION_INPUT)[0])
    assert ExecutionInput.parse(written) == ExecutionInput.parse({})
    assert set(leaves(written)) == set(defaults(ExecutionInput()))


@pytest.mark.parametrize("example", json_blocks(EXECUTION_INPUT)[1:-1])
def test_the_other_examples_are_accepted(example: str) -> None:
    ExecutionInput.parse(json.loads(example))


def test_the_table_is_made_of_the_fields() -> None:
    assert f"\n{make_table()}\n" in EXECUTION_INPUT, "write it again: python -m lambdas.request.execution_input_schema table"


def test_local_mode_says_how_true_it_is() -> None:
    """The page holds every row of the table that local mode refuses by, and nothing that the table has no longer."""
    page = (REPOSITORY / "docs" / "local-mode.md").read_text(encoding="utf-8").partition("### Real")[2]
    rows = [f"| {what} | {how} |" for what, how in {**REAL, **REPRODUCED}.items()]
    rows += [f"| {request} | {', '.join(f'`{each}`' for each in refused)} |" for request, refused in REFUSED.items()]
    rows += [f"| {request} | `{each}` | {supported} |" for request, values in LIMITED.items() for each, (_, supported) in values.items()]
    headers = {"| what | how |", "| request | fields |", "| request | field | supported |"}
    assert {line for line in page.splitlines() if line.startswith("|") and "---" not in line} - headers == set(rows)
    assert f"{', '.join(f'`{each}`' for each in ACCEPTED)}." in page.splitlines()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert missing == []


ROOMS = ("app.py", "benchmarks", "cli", "docs", "lambdas", "local", "stacks", "tests", "training")
"""What the name of a file or module of this repository begins with."""


def is_in_repository(name: str) -> bool:
    """Whether a path, or the dotted name of a package, a module or a name in a module, exists."""
    if "/" in name or name in ROOMS:
        return (REPOSITORY / name).exists()
    module = REPOSITORY.joinpath(*name.split("."))
    return module.is_dir() or module.with_suffix(".py").is_file() or module.parent.with_suffix(".py").is_file()


def code_names(page: str) -> set[str]:
    """Every path and dotted module name of this repository in the page's code, inline or in a block."""
    code = " ".join(re.findall(r"```.*?```|`[^`\n]+`", page, flags=re.DOTALL))
    starts = "|".join(re.escape(room) for room in ROOMS)
    paths = re.findall(rf"(?<![\w./<>-])(?:{starts})/[\w./-]*(?![\w<*…])", code)
    modules = re.findall(rf"(?<![\w./-])(?:{starts})(?:\.[a-z_]\w*)+", code)
    return {*paths, *(name for name in modules if not name.endswith(".py"))}


@pytest.mark.parametrize("page", [*PAGES, REPOSITORY / "benchmarks" / "README.md"], ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_files_and_modules_that_a_page_names_exist(page: Path) -> None:
    assert sorted(name for name in code_names(page.read_text(encoding="utf-8")) if not is_in_repository(name)) == []


def test_a_name_that_does_not_exist_is_found() -> None:
    page = "`training/rules/overfit.py` and `training/rules/none.py`; `python -m benchmarks.accuracy`, `python -m benchmarks.none`"
    assert {name for name in code_names(page) if not is_in_repository(name)} == {"training/rules/none.py", "benchmarks.none"}
    assert "benchmarks.accuracy" in code_names(page)
