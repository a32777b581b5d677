"""The source archive: the same bytes each time, and all that a job needs in it and nothing else."""

import io
import tarfile
from pathlib import PurePosixPath

import pytest

from stacks.source_archive import build_archive
from training import contract


@pytest.fixture(scope="module")
def members() -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(build_archive()), mode="r:gz") as archive:
        return archive.getmembers()


def test_the_same_sources_make_the_same_bytes() -> None:
    assert build_archive() == build_archive()


def test_it_says_nothing_of_when_and_by_whom(members: list[tarfile.TarInfo]) -> None:
    assert {(each.mtime, each.uid, each.gid, each.uname, each.mode) for each in members} == {(0, 0, 0, "", 0o644)}
    assert [each.name for each in members] == sorted(each.name for each in members)


def test_it_holds_the_program_and_smdebug(members: list[tarfile.TarInfo]) -> None:
    names = {each.name for each in members}
    assert {contract.PROGRAM, "training/contract.py", "smdebug/pytorch/hook.py", "smdebug/LICENSE"} <= names


def test_it_holds_no_compiled_file_and_no_other_room(members: list[tarfile.TarInfo]) -> None:
    paths = [PurePosixPath(each.name) for each in members]
    assert {path.parts[0] for path in paths} == {"training", "smdebug"}
    assert [path for path in paths if path.suffix == ".pyc" or "__pycache__" in path.parts] == []
    assert [each.name for each in members if not each.isfile()] == []
