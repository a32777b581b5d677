"""The rooms and who may import whom, read from the syntax trees, so that the architecture stays what the docs say. Run: `make test`."""

import ast
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
ROOMS = ("stacks", "lambdas", "training", "local", "cli")

ALLOWED = {
    "stacks": {"stacks", "training.contract", "aws_cdk", "constructs", "jsii"},
    "lambdas": {"lambdas", "training.contract", "boto3", "botocore"},
    "training": {"training", "torch", "torchvision", "smdebug", "numpy", "PIL", "starlette", "uvicorn", "ray", "google", "psutil"},
    "local": {"local", "boto3", "psutil", "botocore", "ministack", "optuna", "starlette", "uvicorn"},
    "cli": {"cli", "local", "boto3", "botocore", "typer", "rich", "requests", "numpy", "torch"},
}
"""What each room may import beside the standard library: a name stands for itself and for all below it."""


def python_files(room: str) -> list[Path]:
    return sorted((REPOSITORY / room).rglob("*.py"))


def imported_names(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import hides which room it names"
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def is_allowed(name: str, room: str) -> bool:
    return name.partition(".")[0] in sys.stdlib_module_names or any(f"{name}.".startswith(f"{allowed}.") for allowed in ALLOWED[room])


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_it_may(room: str) -> None:
    foreign = {
        f"{file.relative_to(REPOSITORY)} imports {name}"
        for file in python_files(room)
        for name in imported_names(file)
        if not is_allowed(name, room)
    }
    assert foreign == set()


def test_the_contract_needs_the_standard_library_only() -> None:
    """The stacks import it where torch need not be installed."""
    foreign = {
        f"{file.name} imports {name}"
        for file in python_files("training/contract")
        for name in imported_names(file)
        if name.partition(".")[0] not in sys.stdlib_module_names
    }
    assert foreign == set()


@pytest.mark.parametrize("room", [*ROOMS, "tests", "benchmarks"])
def test_every_file_opens_with_a_docstring(room: str) -> None:
    silent = [
        str(file.relative_to(REPOSITORY))
        for file in python_files(room)
        if not ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    ]
    assert silent == []


@pytest.mark.parametrize("room", ROOMS)
def test_no_file_is_a_drawer_for_everything(room: str) -> None:
    drawers = {"utils", "common", "helpers", "constants", "misc"}
    assert [str(file) for file in python_files(room) if file.stem in drawers] == []
