"""The rooms, who may import whom and how wide folders are, read from the syntax trees, so that the architecture stays what the docs say.

Run: `make test-unit`. `python -m tests.unit.test_architecture` writes the trees of docs/architecture.md and README.md.
"""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

REPOSITORY = next(folder for folder in Path(__file__).resolve().parents if (folder / "pyproject.toml").is_file())

ALLOWED = {
    "stacks": ("training.contract", "aws_cdk", "constructs", "jsii"),
    "lambdas": ("training.contract", "boto3", "botocore"),
    "training": ("torch", "torchvision", "smdebug", "numpy", "PIL", "starlette", "uvicorn", "ray", "google", "psutil"),
    "local": ("training.contract", "boto3", "botocore", "psutil", "ministack", "optuna", "starlette", "uvicorn"),
    "cli": (
        *("local", "training.contract", "lambdas.request", "lambdas.planning"),
        *("boto3", "botocore", "typer", "rich", "requests", "numpy", "torch"),
    ),
    "console": ("training.contract", "boto3", "botocore", "starlette", "uvicorn"),
}
"""What each room may import beside itself and the standard library: a name stands for itself and for all below it."""
ROOMS = tuple(room for room in ALLOWED if (REPOSITORY / room).is_dir())

DOOR = "*.py"
"""The files directly in a room's folder, except those that its order names."""
DOORS = {
    "stacks": "Constructs, one per file.",
    "lambdas": "Handlers, one function per file, named after its state or its task.",
    "training": "The programs that jobs start by name.",
    "local": "Starting and stopping local mode, and the SageMaker plane's server.",
    "cli": "Verbs, one per file.",
    "console": "The console's server and page.",
}
ORDER = {
    "stacks": (("state_machine",), (DOOR,)),
    "lambdas": (("aws", "request"), ("planning", "assessment"), (DOOR,)),
    "training": (
        *(("contract",), ("job",), ("settings", "network", "rules"), ("data", "rule_evaluation")),
        *(("evaluation", "profiler", "serving"), ("debugger",), ("fit",), ("report",), (DOOR,)),
    ),
    "local": (("api", "host", "image_environment"), ("storage",), ("jobs",), ("tuning", "hosting"), ("engine",), (DOOR,)),
    "cli": (("terminal",), ("account", "photos"), ("executions",), (DOOR,), ("demo",)),
    "console": ((DOOR,),),
}
"""The packages of each room from the bottom up: each imports only packages of earlier groups. A package's own folders belong to it."""

WIDEST, WIDEST_OF_A_KIND = 18, 30
OF_A_KIND = ("stacks", "lambdas", "cli", "training/rules")
"""Folders whose entries are all of one kind: constructs, functions, verbs, rules."""


def python_files(room: str) -> list[Path]:
    return sorted((REPOSITORY / room).rglob("*.py"))


@cache
def imported_names(file: Path) -> frozenset[str]:
    """Imports in functions and under TYPE_CHECKING count."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import hides which room it names"
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(names)


def is_allowed(name: str, room: str) -> bool:
    allowed = (room, *ALLOWED[room])
    return name.partition(".")[0] in sys.stdlib_module_names or any(f"{name}.".startswith(f"{each}.") for each in allowed)


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
        if not is_allowed(name, "training") or name.partition(".")[0] in ALLOWED["training"]
    }
    assert foreign == set()


def module_name(file: Path) -> str:
    return ".".join(file.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")


@cache
def imported_modules() -> dict[str, frozenset[str]]:
    """Module -> the modules of the rooms that it imports, without itself."""
    files = {module_name(file): file for room in ROOMS for file in python_files(room)}

    def module_of(name: str) -> str:
        while name and name not in files:
            name = name.rpartition(".")[0]
        return name

    return {module: frozenset({module_of(name) for name in imported_names(file)} - {"", module}) for module, file in files.items()}


def part_of(module: str) -> str:
    """The package or file in its room that a module belongs to: `local.engine.adapter` -> `local.engine`."""
    return ".".join(module.split(".")[:2])


def find_circle(graph: Mapping[str, frozenset[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_circle_of_files() -> None:
    assert find_circle(imported_modules()) == []


def test_no_circle_of_packages() -> None:
    """A package and one inside it count as one."""
    parts: dict[str, frozenset[str]] = {}
    for module, imported in imported_modules().items():
        here = part_of(module)
        parts[here] = parts.get(here, frozenset()) | {part_of(each) for each in imported} - {here}
    assert find_circle(parts) == []


def position(room: str, module: str) -> int:
    """Of the group in the room's order that the module belongs to."""
    name = part_of(module).partition(".")[2] or DOOR
    groups = ORDER[room]
    return next((at for at, group in enumerate(groups) if name in group), next(at for at, group in enumerate(groups) if DOOR in group))


@pytest.mark.parametrize("room", ROOMS)
def test_no_package_imports_back_up(room: str) -> None:
    back_up = {
        f"{module} imports {name}"
        for module, imported in imported_modules().items()
        for name in imported
        if module.partition(".")[0] == name.partition(".")[0] == room and part_of(module) != part_of(name) and name != room
        if not (position(room, module) > position(room, name) or position(room, module) == position(room, name) == position(room, room))
    }
    assert back_up == set()


@pytest.mark.parametrize("room", ROOMS)
def test_the_order_names_every_package_once(room: str) -> None:
    named = [name for group in ORDER[room] for name in group if name != DOOR]
    packages = {file.parent.name for file in (REPOSITORY / room).glob("*/__init__.py")}
    files = {file.stem for file in (REPOSITORY / room).glob("*.py")}
    assert packages <= set(named) <= packages | files
    assert len(named) == len(set(named))


@pytest.mark.parametrize("room", ROOMS)
def test_no_folder_is_too_wide(room: str) -> None:
    wide = {}
    for folder in {file.parent for file in python_files(room)}:
        entries = [entry for entry in folder.iterdir() if entry.name != "__pycache__"]
        name = folder.relative_to(REPOSITORY).as_posix()
        if len(entries) > (WIDEST_OF_A_KIND if name in OF_A_KIND else WIDEST):
            wide[name] = len(entries)
    assert wide == {}


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


@pytest.mark.parametrize("room", ROOMS)
def test_a_wheel_holds_every_file(room: str) -> None:
    patterns = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["package-data"]["*"]
    files = [file for file in (REPOSITORY / room).rglob("*") if file.is_file() and file.suffix not in (".py", ".pyc")]
    assert [file.name for file in files if not any(file.match(pattern) for pattern in patterns)] == []
    assert REPOSITORY / room / "py.typed" in files


def first_paragraph(file: Path) -> str:
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return " ".join(docstring.split("\n\n")[0].split())


def room_rows() -> Iterator[str]:
    yield "| room | what lives there | may import |"
    yield "| --- | --- | --- |"
    for room in ROOMS:
        may = ", ".join(["itself", *(f"`{name}`" for name in ALLOWED[room])])
        yield f"| `{room}/` | {first_paragraph(REPOSITORY / room / '__init__.py')} | {may} |"


def package_rows() -> Iterator[str]:
    """The packages with their numbers in the order, and the folders inside them below them."""
    yield "| package | order | what lives there |"
    yield "| --- | --- | --- |"
    for room in ROOMS:
        for number, group in enumerate(ORDER[room], start=1):
            for name in group:
                if name == DOOR:
                    yield f"| `{room}/{DOOR}` | {number} | {DOORS[room]} |"
                elif (REPOSITORY / room / name).is_dir():
                    for file in sorted((REPOSITORY / room / name).rglob("__init__.py")):
                        yield f"| `{file.parent.relative_to(REPOSITORY)}/` | {number} | {first_paragraph(file)} |"
                else:
                    yield f"| `{room}/{name}.py` | {number} | {first_paragraph(REPOSITORY / room / f'{name}.py')} |"


def short_tree() -> Iterator[str]:
    yield "```"
    for room in ROOMS:
        yield f"{room + '/':<11}{re.split(r'(?<=[.]) ', first_paragraph(REPOSITORY / room / '__init__.py'))[0]}"
        packages = [name for group in ORDER[room] for name in group if (REPOSITORY / room / name).is_dir()]
        if packages:
            yield f"{'':<11}{' '.join(f'{name}/' for name in packages)}"
    yield "```"


WRITTEN = {
    ("docs/architecture.md", "rooms"): room_rows,
    ("docs/architecture.md", "packages"): package_rows,
    ("README.md", "tree"): short_tree,
}
"""Page and block -> its lines; in the page the block stands between two comments."""


def with_block(page: str, block: str, lines: Iterator[str]) -> str:
    begin, end = f"<!-- {block} -->\n", f"\n<!-- end of {block} -->"
    before, found, rest = page.partition(begin)
    assert found and end in rest, f"the page has no lines {begin!r} and {end!r}, between which the block {block!r} stands"
    return before + begin + "\n" + "\n".join(lines) + "\n" + end + rest.partition(end)[2]


@pytest.mark.parametrize(("page", "block"), WRITTEN)
def test_the_pages_show_the_tree_as_it_is(page: str, block: str) -> None:
    """`python -m tests.unit.test_architecture` writes the blocks again."""
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    assert text == with_block(text, block, WRITTEN[page, block]())


def main() -> None:
    for (page, block), lines in WRITTEN.items():
        file = REPOSITORY / page
        file.write_text(with_block(file.read_text(encoding="utf-8"), block, lines()), encoding="utf-8")


if __name__ == "__main__":
    main()
