"""A program beside a training job is ended once, and whoever has its pid afterwards is left alone.

Run: `make test`. The process of the pid's next owner is a real one, which the object is made to take for its own, as a reused pid
would.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from local.jobs.logs import JobLog
from local.jobs.side_process import SideProcess
from tests.fixtures.local.fakes import FakeLogs, FakeS3, fake_tools, programs
from tests.fixtures.local.running import lives, wait_until


@pytest.fixture
def log(tmp_path: Path) -> Iterator[JobLog]:
    with JobLog(FakeLogs(), "group", "stream", tmp_path / "log.txt") as opened:
        yield opened


@pytest.fixture
def stranger() -> Iterator[psutil.Process]:
    """Somebody else's process, the leader of its session."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True) as process:
        time.sleep(0.1)  # births are told apart in hundredths of a second, sooner than the kernel gives a pid again
        yield psutil.Process(process.pid)
        process.kill()


def side_process(folder: Path, log: JobLog, evaluate: str) -> SideProcess:
    programs(folder / "programs", evaluate)
    arguments = ("--statuses", str(folder / "statuses.json"))
    return SideProcess(fake_tools(folder, FakeS3()), "job-rules_watched-1", "training.rule_evaluation.evaluate", arguments, log)


def give_pid(process: SideProcess, stranger: psutil.Process) -> None:
    """As if the kernel had given the pid of the reaped process to `stranger`."""
    assert process._process is not None and process._known is not None and process.code is not None
    process._process.pid = stranger.pid
    process._known = replace(process._known, pid=stranger.pid)


def test_it_is_ended_with_what_it_started_even_after_it_ended_itself(tmp_path: Path, log: JobLog) -> None:
    child = "import subprocess; child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], stdout=-3)\n"
    process = side_process(tmp_path, log, child + "Path(given['statuses']).write_text(str(child.pid)); os._exit(0)")
    process.start()
    wait_until(lambda: process.code, lambda code: code == 0, 20)
    pid = int((tmp_path / "statuses.json").read_text())
    assert lives(pid)
    process.kill()
    assert not lives(pid)


@pytest.mark.parametrize("killed_before", [True, False])
def test_the_next_owner_of_its_pid_is_left_alone(tmp_path: Path, log: JobLog, stranger: psutil.Process, killed_before: bool) -> None:
    process = side_process(tmp_path, log, "pass")
    process.start()
    wait_until(lambda: process.code, lambda code: code == 0, 20)
    if killed_before:
        process.kill()
    give_pid(process, stranger)
    process.kill()
    assert stranger.status() != psutil.STATUS_ZOMBIE


def test_the_session_of_its_pids_next_owner_is_left_alone_after_the_first_end(tmp_path: Path, log: JobLog) -> None:
    process = side_process(tmp_path, log, "pass")
    process.start()
    process.wait(20, 20)
    orphan = "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], stdout=-3).pid)"
    with subprocess.Popen([sys.executable, "-c", orphan], stdout=subprocess.PIPE, text=True, start_new_session=True) as leader:
        member = psutil.Process(int(leader.communicate()[0]))
    try:
        assert process._process is not None and process._known is not None
        process._known = replace(process._known, pid=leader.pid)
        process.kill()
        assert lives(member.pid)
    finally:
        member.kill()


def test_one_that_cannot_be_recorded_is_ended(tmp_path: Path, log: JobLog) -> None:
    process = side_process(tmp_path, log, "Path(given['statuses']).write_text('runs'); time.sleep(600)")
    (tmp_path / "run").write_text("a file where the folder of the records should be")
    with pytest.raises(OSError, match="run"):
        process.start()
    assert process.code in (137, 143)
