"""Starts processes that outlive their starter, records them in pid files, and ends exactly those.

Runs in the `whippet` command, in the SageMaker plane and in tests. A record holds the pid and the start time, so that another process
to which the kernel has given the same pid is never touched.
"""

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import psutil

START_TIME_TOLERANCE_S = 0.05
REPOSITORY = Path(__file__).resolve().parents[2]
"""The folder that local mode's own processes import this repository's programs from."""


@dataclass(frozen=True)
class ProcessRecord:
    """One started process: its name, its pid (also its session's id), its start time in epoch seconds, and its birth.

    `birth` comes from `read_birth`, and is empty on systems without /proc; there `started` identifies the process.
    """

    name: str
    pid: int
    started: float
    birth: str = ""


class PidFiles:
    """The processes that local mode started, one JSON file per process under `folder`."""

    def __init__(self, folder: Path) -> None:
        """Keep the records in `folder`, which is created with the first one."""
        self.folder = folder

    def start_detached(self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> int:
        """Start `command` in its own session, append its output to `log`, and record it; returns the pid."""
        log.parent.mkdir(parents=True, exist_ok=True)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            actions = [
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, output, 1),
                (os.POSIX_SPAWN_DUP2, output, 2),
            ]
            pid = os.posix_spawn(command[0], list(command), dict(environment), file_actions=actions, setsid=True)
        finally:
            os.close(output)
        self.record(name, pid)
        return pid

    def record(self, name: str, pid: int) -> None:
        """Record a running process under `name`; a process that has already ended is not recorded."""
        record = find_record(name, pid)
        if record is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(asdict(record))
        unfinished = self._path(name).with_suffix(".unfinished")
        unfinished.write_text(text)
        unfinished.replace(self._path(name))

    def forget(self, name: str) -> None:
        """Drop the record of a process that has ended."""
        self._path(name).unlink(missing_ok=True)

    def list_records(self, prefix: str = "") -> list[ProcessRecord]:
        """List the records whose name starts with `prefix`; a file truncated by a crash is deleted."""
        found = []
        for path in sorted(self.folder.glob(f"{prefix}*.pid")):
            try:
                found.append(ProcessRecord(**json.loads(path.read_text())))
            except FileNotFoundError:  # deleted by another process meanwhile
                continue
            except (ValueError, TypeError):
                path.unlink(missing_ok=True)
        return found

    def find_pid(self, name: str) -> int | None:
        """Return the pid of the process recorded under `name`, None when it does not run."""
        for record in self.list_records(name):
            if record.name == name and _find_leader(record) is not None:
                return record.pid
        return None

    def stop(self, name: str, grace_s: float = 10.0) -> list[int]:
        """End the process recorded under `name`, then the rest of its session; returns the pids.

        The process itself gets the signal first, so that it can end its children.
        """
        ended: list[int] = []
        for record in [each for each in self.list_records(name) if each.name == name]:
            members = list_recorded_session(record)
            end_processes(lambda: [process] if (process := _find_leader(record)) else [], grace_s)  # noqa: B023 - called here and now
            end_processes(partial(list_recorded_session, record), grace_s)
            ended += [process.pid for process in members]
            with contextlib.suppress(ChildProcessError):
                os.waitpid(record.pid, os.WNOHANG)
            self.forget(name)
        return ended

    def stop_all(self, prefix: str = "", grace_s: float = 10.0) -> list[int]:
        """End every recorded process whose name starts with `prefix`; returns the pids."""
        return [pid for record in self.list_records(prefix) for pid in self.stop(record.name, grace_s)]

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.pid"


def end_processes(find: Callable[[], list[psutil.Process]], grace_s: float) -> list[int]:
    """Send SIGTERM, then after `grace_s` seconds SIGKILL, to the processes of `find`, which runs repeatedly to catch late children."""
    ended = {process.pid for process in find()}
    for process in find():
        _send(process, signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while find() and time.monotonic() < deadline:
        time.sleep(0.05)
    while remaining := find():
        for process in remaining:
            ended.add(process.pid)
            _send(process, signal.SIGKILL)
        time.sleep(0.02)
    return sorted(ended)


def list_session(pid: int) -> list[psutil.Process]:
    """List the live processes of the session that `pid` leads or led, and their descendants in other sessions."""
    members = {process.pid: process for process in psutil.process_iter() if _in_session(process, pid)}
    for process in list(members.values()):
        with contextlib.suppress(psutil.NoSuchProcess):
            members.update({child.pid: child for child in process.children(recursive=True) if _is_alive(child)})
    return list(members.values())


def find_record(name: str, pid: int) -> ProcessRecord | None:
    """Make the record of the process that has `pid` now; None when no process has it."""
    try:
        return ProcessRecord(name, pid, psutil.Process(pid).create_time(), read_birth(pid))
    except psutil.NoSuchProcess:
        return None


def list_recorded_session(record: ProcessRecord) -> list[psutil.Process]:
    """List the session of a recorded process; empty when another process has its pid now."""
    return [] if _is_pid_reused(record) else list_session(record.pid)


def read_birth(pid: int) -> str:
    """Read the boot id and the clock ticks at which a process started: unlike times of day, clock updates do not change them.

    Empty on systems without /proc, and for a process that does not exist.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        # Field 22; the name before it, in parentheses, may hold anything.
        ticks = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19]
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return f"{boot}:{int(ticks)}"


def _find_leader(record: ProcessRecord) -> psutil.Process | None:
    try:
        process = psutil.Process(record.pid)
        same = _is_recorded(process, record)
    except psutil.NoSuchProcess:
        return None
    return process if same and _is_alive(process) else None


def _is_pid_reused(record: ProcessRecord) -> bool:
    try:
        return not _is_recorded(psutil.Process(record.pid), record)
    except psutil.NoSuchProcess:
        return False


def _is_recorded(process: psutil.Process, record: ProcessRecord) -> bool:
    if record.birth:
        return read_birth(process.pid) == record.birth
    return bool(abs(process.create_time() - record.started) < START_TIME_TOLERANCE_S)


def _in_session(process: psutil.Process, session: int) -> bool:
    try:
        return os.getsid(process.pid) == session and _is_alive(process)
    except (ProcessLookupError, PermissionError):
        return False


def _is_alive(process: psutil.Process) -> bool:
    """Whether the process runs; a zombie has ended and waits to be reaped by its parent."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _send(process: psutil.Process, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)
