"""The source archive: the same bytes each time, and all that a job needs in it and nothing else."""

import io
import shutil
import tarfile
from pathlib import Path, PurePosixPath

import pytest

from stacks.source_archive import REPOSITORY, build_archive, imported_files, imported_names, preparation_code
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


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("prepare.py", True),
        ("preprocessing.py", True),
        ("features.py", True),
        ("tensors.py", True),
        ("__init__.py", True),
        ("page.py", False),
        ("train.py", False),
        ("rules/overfit.py", False),
        ("charts.py", False),
    ],
)
def test_a_prepared_data_set_depends_on_the_code_that_prepares_it_alone(tmp_path: Path, file: str, changes: bool) -> None:
    shutil.copytree(REPOSITORY / "training", tmp_path / "training")
    assert preparation_code(tmp_path) == preparation_code()
    with (tmp_path / "training" / file).open("a") as source:
        source.write("# changed\n")
    assert (preparation_code(tmp_path) != preparation_code()) is changes


def test_the_processing_job_runs_nothing_that_needs_the_environment_of_training_jobs() -> None:
    """It is smdebug's, which training/compatibility.py imports when it is asked to."""
    imported = {
        name for file in imported_files(REPOSITORY, contract.PREPARE_PROGRAM) for name in imported_names((REPOSITORY / file).read_text())
    }
    assert [name for name in imported if name.startswith("smdebug") or name.endswith("import_smdebug")] == []


def test_imports_are_found_wherever_they_stand(tmp_path: Path) -> None:
    training = tmp_path / "training"
    (training / "inner").mkdir(parents=True)
    for name, source in {
        "prepare.py": "def later() -> None:\n    from training import a\n    import training.inner.b",
        "a.py": "from training.c import something",
        "c.py": "import json",
        "unused.py": "from training import a",
        "inner/__init__.py": "",
        "inner/b.py": "from training.prepare import later",
    }.items():
        (training / name).write_text(source)
    found = imported_files(tmp_path, contract.PREPARE_PROGRAM)
    assert found == [f"training/{name}" for name in ("a.py", "c.py", "inner/__init__.py", "inner/b.py", "prepare.py")]
