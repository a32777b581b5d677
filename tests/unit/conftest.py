"""Keeps the unit tests what they are: no process, no socket. Run: `make test-unit`."""

import sys
from collections.abc import Generator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FORBIDDEN = frozenset(
    {
        "subprocess.Popen",
        "os.fork",
        "os.forkpty",
        "os.posix_spawn",
        "os.system",
        "os.exec",
        "socket.bind",
        "socket.connect",
        "socket.sendto",
    }
)
"""Audit events of Python that a unit test must not raise."""
_test: list[str] = []


def _forbid(event: str, arguments: tuple[object, ...]) -> None:
    if event in FORBIDDEN and _test:
        raise RuntimeError(f"{_test[0]} is a unit test and raised {event} {arguments}; it belongs in tests/functional")


sys.addaudithook(_forbid)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Forbid them from the set-up of a unit test's fixtures to their end; pytest calls this for tests of other folders too."""
    if HERE in item.path.parents:
        _test.append(item.nodeid)
    try:
        return (yield)
    finally:
        _test.clear()
