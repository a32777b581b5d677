"""Product code takes the date, the zone, the locale, the user and the home from arguments, not from the machine. Run: `make test-unit`.

A name that reads them may stand where it is a parameter's or a field's default, which a caller can replace, and at the edges listed here.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import REPOSITORY

ROOMS = ("cli", "lambdas", "local", "stacks", "training")

CLOCKS = {
    *("datetime.datetime.now", "datetime.datetime.today", "datetime.datetime.utcnow", "datetime.date.today"),
    *("time.time", "time.time_ns", "time.localtime", "time.ctime"),
}
REST = {
    *("pathlib.Path.home", "pathlib.Path.expanduser", "os.path.expanduser", "os.getlogin", "getpass", "pwd"),
    *("locale", "gettext", "os.get_terminal_size", "shutil.get_terminal_size", "time.tzname", "time.timezone", "time.tzset"),
}
VARIABLES = {"COLUMNS", "HOME", "LANG", "LC_ALL", "LINES", "LOGNAME", "TZ", "USER"}
"""Variables that a program must not look up; they may be keys of an environment that is made for a child process."""

EDGES = {
    "cli/account/target.py": "the default of the field Target.now",
    "lambdas/publish_report.py handler": "AWS calls it with an event alone; it hands its clock on",
    "lambdas/reap_execution.py handler": "as above",
    "lambdas/start_retraining.py handler": "as above",
    "lambdas/stop_idle_endpoint.py handler": "as above",
    "local/engine/adapter_services.py evaluate_own_metric": "compares with moments that the engine noted by this clock",
    "training/debugger/hook.py _keep_loss": "smdebug builds the hook; saved losses carry the moment at which they came",
    "training/rule_evaluation/evaluate.py __init__": "only to tell tensors of an earlier job from this one's, by the times in their files",
    "training/rule_evaluation/status.py utc_now": "itself the default of parameters",
}
"""File and function that read the real clock -> why."""


def test_product_code_reads_its_surroundings_only_at_the_edges() -> None:
    readers = {place: name for room in ROOMS for file in sorted((REPOSITORY / room).rglob("*.py")) for place, name in reads(file)}
    readers |= dict(reads(REPOSITORY / "app.py"))
    assert {place: name for place, name in readers.items() if place not in EDGES or name not in CLOCKS} == {}
    assert readers.keys() == EDGES.keys(), "an edge that reads no clock any more leaves the list"


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("from datetime import UTC, datetime\ndef f(): return datetime.now(UTC)", "datetime.datetime.now"),
        ("import datetime as d\ndef f(): return d.date.today()", "datetime.date.today"),
        ("import time\ndef f(): return time.time()", "time.time"),
        ("from time import time_ns\ndef f(): g(time_ns)", "time.time_ns"),
        ("from pathlib import Path\ndef f(): return Path.home()", "pathlib.Path.home"),
        ("def f(folder): return folder.expanduser()", "expanduser"),
        ("import getpass\ndef f(): return getpass.getuser()", "getpass.getuser"),
        ("import locale\ndef f(): return locale.str(1.0)", "locale.str"),
        ("def f(moment): return moment.astimezone()", "astimezone"),
        ("from datetime import datetime\ndef f(s): return datetime.fromtimestamp(s)", "fromtimestamp"),
        ("import os\ndef f(): return os.environ['HOME']", "HOME"),
        ("import os\ndef f(): return os.environ.get('COLUMNS')", "COLUMNS"),
        ("import os\ndef f(): return os.getenv('TZ', '')", "TZ"),
        ("from time import time\ndef f(now=time): return now()", None),
        ("import time\ndef f(*, now=time.time): return now()", None),
        ("import time\nclass A:\n    clock: Callable[[], float] = time.time", None),
        ("import time\ndef f(): return time.monotonic()", None),
        ("def f(): return {'HOME': '/opt/ml'}", None),
        ("from datetime import UTC, datetime\ndef f(s): return datetime.fromtimestamp(s, UTC).astimezone(UTC)", None),
    ],
)
def test_what_counts_as_reading(tmp_path: Path, source: str, name: str | None) -> None:
    (tmp_path / "read.py").write_text(source)
    assert [found for _, found in reads(tmp_path / "read.py", tmp_path)] == ([name] if name else [])


def reads(file: Path, root: Path = REPOSITORY) -> Iterator[tuple[str, str]]:
    """File and function -> the name by which it reads its surroundings."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    imported = dict(imports(tree))
    yield from walk(tree, str(file.relative_to(root)), imported)


def walk(node: ast.AST, place: str, imported: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Defaults are left out, and a name is found once: at its outermost attribute."""
    for child in ast.iter_child_nodes(node):
        if is_default(child, node):
            continue
        if name := read_by(child, imported):
            yield place, name
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from walk(child, f"{place.partition(' ')[0]} {child.name}", imported)
        elif not isinstance(child, ast.Import | ast.ImportFrom):
            yield from walk(child, place, imported)


def imports(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """A name in the file -> what it stands for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (
                (alias.asname or alias.name.partition(".")[0], alias.name if alias.asname else alias.name.partition(".")[0])
                for alias in node.names
            )
        elif isinstance(node, ast.ImportFrom):
            yield from ((alias.asname or alias.name, f"{node.module}.{alias.name}") for alias in node.names)


def is_default(child: ast.AST, node: ast.AST) -> bool:
    """Whether `child` is a plain name that a caller may replace: of a parameter, or of a dataclass field."""
    if not isinstance(child, ast.Name | ast.Attribute):
        return False
    if isinstance(node, ast.arguments):
        return child in (*node.defaults, *node.kw_defaults)
    return isinstance(node, ast.AnnAssign) and child is node.value


def read_by(node: ast.AST, imported: dict[str, str]) -> str:
    """The name by which this very node reads the machine; empty where it does not."""
    if isinstance(node, ast.Name | ast.Attribute):
        name = dotted(node, imported)
        return name if name in CLOCKS | REST or name.partition(".")[0] in REST else ""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        arguments, method = len(node.args) + len(node.keywords), node.func.attr
        if method == "expanduser" or (method, arguments) in {("astimezone", 0), ("fromtimestamp", 1)}:
            return dotted(node.func, imported) if dotted(node.func, imported) in REST else method
    return variable(node)


def variable(node: ast.AST) -> str:
    """The variable that is looked up in an environment: `environ["X"]`, `environ.get("X")`, `getenv("X")`."""
    key: ast.AST | None = None
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
        key = node.slice
    elif isinstance(node, ast.Call) and node.args and ast.unparse(node.func).endswith(("environ.get", "environment.get", "getenv")):
        key = node.args[0]
    return key.value if isinstance(key, ast.Constant) and key.value in VARIABLES else ""


def dotted(node: ast.AST, imported: dict[str, str]) -> str:
    """`datetime.datetime.now` for `datetime.now` after `from datetime import datetime`."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value, imported)}.{node.attr}"
    return imported.get(node.id, "") if isinstance(node, ast.Name) else ""
