"""The source archive: the same bytes each time, and all that a job needs in it and nothing else."""

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path, PurePosixPath

import pytest

from stacks.smdebug_repairs import NOTICE, RepairError, repaired, smdebug_files
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
    assert {contract.PROGRAM, "training/contract/__init__.py", "smdebug/pytorch/hook.py", "smdebug/LICENSE"} <= names


def test_it_holds_no_compiled_file_and_no_other_room(members: list[tarfile.TarInfo]) -> None:
    paths = [PurePosixPath(each.name) for each in members]
    assert {path.parts[0] for path in paths} == {"training", "smdebug"}
    assert [path for path in paths if path.suffix == ".pyc" or "__pycache__" in path.parts] == []
    assert [each.name for each in members if not each.isfile()] == []


def test_smdebug_needs_none_of_what_it_was_released_beside() -> None:
    """As the archive has it, and as it is installed: tests/conftest.py has repaired that, and a repaired file is left as it is."""
    changed = {name: content for name, file in smdebug_files() if (content := file.read_bytes()).startswith(NOTICE)}
    assert len([name for name in changed if name.endswith("_pb2.py")]) == 10 and len(changed) == 16
    assert all(repaired(name, content) == content for name, content in changed.items())
    code = b"".join(changed.values())
    for old in (
        b".tostring()",
        b"_descriptor.FieldDescriptor",
        b"\nfrom pyinstrument",
        b"distutils",
        b"import torch.distributed",
        b"from packaging",
    ):
        assert old not in code


def test_a_file_that_is_not_as_the_repairs_know_it_is_told() -> None:
    with pytest.raises(RepairError, match=r"smdebug/core/tfevent/util\.py does not hold 'nparray_data.tostring"):
        repaired("smdebug/core/tfevent/util.py", b"def make_tensor_proto(): ...")
    with pytest.raises(RepairError, match="0 descriptions of messages"):
        repaired("smdebug/core/tfevent/proto/new_pb2.py", b"DESCRIPTOR = None")


WRITES_AND_READS = """
import json, sys
import numpy
from smdebug.core.tfevent.proto.event_pb2 import Event
from smdebug.core.tfevent.util import make_tensor_proto
import smdebug.profiler.python_profiler
event = Event(step=7)
event.summary.value.add(tag="loss").tensor.CopyFrom(make_tensor_proto(numpy.array([0.5, 2.0]), "loss"))
read = Event.FromString(event.SerializeToString())
print(json.dumps([smdebug.__file__, read.step, numpy.frombuffer(read.summary.value[0].tensor.tensor_content).tolist()]))
"""


def test_its_messages_and_writer_work_without_our_own_repairs(tmp_path: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(build_archive()), mode="r:gz") as archive:
        archive.extractall(tmp_path, filter="data")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    program = [sys.executable, "-W", "ignore", "-c", WRITES_AND_READS]
    printed = subprocess.run(program, env=environment, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert json.loads(printed.splitlines()[-1]) == [str(tmp_path / "smdebug" / "__init__.py"), 7, [0.5, 2.0]]


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("prepare.py", True),
        ("data/preprocessing.py", True),
        ("data/features.py", True),
        ("job/safetensors_file.py", True),
        ("__init__.py", True),
        ("report/page/document.py", False),
        ("train.py", False),
        ("rules/overfit.py", False),
        ("report/svg.py", False),
    ],
)
def test_a_prepared_data_set_depends_on_the_code_that_prepares_it_alone(tmp_path: Path, file: str, changes: bool) -> None:
    shutil.copytree(REPOSITORY / "training", tmp_path / "training")
    assert preparation_code(tmp_path) == preparation_code()
    with (tmp_path / "training" / file).open("a") as source:
        source.write("# changed\n")
    assert (preparation_code(tmp_path) != preparation_code()) is changes


def test_the_processing_job_runs_nothing_that_needs_the_environment_of_training_jobs() -> None:
    """It is smdebug's, which training/network/torchvision_repairs.py imports when it is asked to."""
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
