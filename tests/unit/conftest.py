"""Keeps the unit tests what they are: no process, no socket. Run: `make test-unit`."""

import sys
from collections.abc import Iterator

import pytest

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


@pytest.fixture(autouse=True, scope="session")
def _unit_tests_only() -> Iterator[None]:
    """Fixtures of longer scope count too."""
    _test.append("a fixture of tests/unit")
    yield
    _test.clear()


@pytest.fixture(autouse=True)
def _this_unit_test(request: pytest.FixtureRequest, _unit_tests_only: None) -> Iterator[None]:
    _test[:] = [request.node.nodeid]
    yield
    _test[:] = ["a fixture of tests/unit"]
