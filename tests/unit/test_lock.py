"""The locks are complete, on each platform: `pip install --no-deps` has every package that another asks for. Run: `make test`."""

from collections.abc import Iterator
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests import REPOSITORY

NOT_LOCKED = {"pyinstrument"}
"""The repaired smdebug does not import it."""
OF_CUDA = ("cuda-", "nvidia-", "triton")
"""How the names of the packages begin that torch itself pins, where it is a build for CUDA."""
OTHER_VERSION = {("smdebug", "protobuf")}
"""The repaired smdebug runs with current versions."""
PLATFORMS = [
    {
        "python_version": version,
        "python_full_version": f"{version}.1",
        "sys_platform": platform,
        "platform_system": system,
        "platform_machine": machine,
    }
    for version in ("3.11", "3.12", "3.13", "3.14")
    for platform, system, machine in (("linux", "Linux", "x86_64"), ("linux", "Linux", "aarch64"), ("darwin", "Darwin", "arm64"))
]


def lines(*files: str) -> list[Requirement]:
    written = [line for file in files for line in (REPOSITORY / file).read_text(encoding="utf-8").splitlines()]
    return [Requirement(line) for line in written if line and not line.startswith(("#", "-r"))]


def wanted_by(package: str, extras: frozenset[str]) -> Iterator[Requirement]:
    """What a package asks for on any of the platforms."""
    for written in metadata.distribution(package).requires or []:
        asked = Requirement(written)
        places = [{**platform, "extra": extra} for platform in PLATFORMS for extra in extras | {""}]
        if asked.marker is None or any(map(asked.marker.evaluate, places)):
            yield asked


@pytest.mark.parametrize(
    ("asked", "locks"),
    [(["requirements.txt"], ["lock.txt"]), (["requirements.txt", "requirements-dev.txt"], ["lock.txt", "lock-dev.txt"])],
    ids=["product", "development"],
)
def test_the_lock_holds_all_that_the_requirements_bring_along_and_nothing_else(asked: list[str], locks: list[str]) -> None:
    versions = {canonicalize_name(each.name): str(each.specifier).removeprefix("==") for each in lines(*locks)}
    found: set[tuple[str, frozenset[str]]] = set()
    waiting = [(each, "requirements") for each in lines(*asked)]
    while waiting:
        each, by = waiting.pop()
        name, extras = canonicalize_name(each.name), frozenset(each.extras)
        if name in NOT_LOCKED or name.startswith(OF_CUDA) or (name, extras) in found:
            continue
        assert name in versions, f"{by} needs {each}, which the lock does not hold"
        assert (by, name) in OTHER_VERSION or each.specifier.contains(versions[name]), f"{by} needs {each}, the lock has {versions[name]}"
        found.add((name, extras))
        waiting += [(other, name) for other in wanted_by(name, extras)]
    assert set(versions) == {name for name, _ in found}


def test_no_package_is_locked_twice_or_without_a_version() -> None:
    locked = lines("lock.txt", "lock-dev.txt")
    assert len({canonicalize_name(each.name) for each in locked}) == len(locked)
    assert all(str(each.specifier).startswith("==") and each.marker is None for each in locked)
