"""Start processes that outlive their starter, remember them on disk, and end exactly those again.

Runs on the user's machine, in the `whippet` command, in the SageMaker plane and in tests. A process is remembered by pid and
birth, so that a pid which the kernel has given to somebody else in the meantime is never touched.
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


@dataclass(frozen=True)
class ProcessRecord:
    """One started process: its name here, its pid (also its session's id), the second it started at (epoch) and its birth.

    `birth` is what `birth_of` says, empty where there is no /proc; there `started` tells the process from a later one.
    """

    name: str
    pid: int
    started: float
    birth: str = ""


class ProcessBook:
    """The processes that local mode started, one JSON file each under `folder`."""

    def __init__(self, folder: Path) -> None:
        """Keep the records in `folder`, which is made when the first one is written."""
        self.folder = folder

    def start_detached(self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> int:
        """Start `command` in a session of its own, output appended to `log`, and record it; returns the pid."""
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
        """Remember a running process under `name`; one that has already ended is not worth a record."""
        record = record_of(name, pid)
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

    def records(self, prefix: str = "") -> list[ProcessRecord]:
        """All records whose name starts with `prefix`; a record cut short by a crash is dropped."""
        found = []
        for path in sorted(self.folder.glob(f"{prefix}*.pid")):
            try:
                found.append(ProcessRecord(**json.loads(path.read_text())))
            except FileNotFoundError:  # forgotten by another process in this moment
                continue
            except (ValueError, TypeError):
                path.unlink(missing_ok=True)
        return found

    def alive(self, name: str) -> int | None:
        """The pid of the process recorded under `name` while it really runs, else None."""
        for record in self.records(name):
            if record.name == name and _leader(record) is not None:
                return record.pid
        return None

    def stop(self, name: str, grace_s: float = 10.0) -> list[int]:
        """End the process recorded under `name`, then what is left of all it started; returns the pids that were ended.

        It is asked first and alone, so that it can end its own children in its own way.
        """
        ended: list[int] = []
        for record in [each for each in self.records(name) if each.name == name]:
            members = recorded_session(record)
            end_processes(lambda: [process] if (process := _leader(record)) else [], grace_s)  # noqa: B023 - called here and now
            end_processes(partial(recorded_session, record), grace_s)
            ended += [process.pid for process in members]
            with contextlib.suppress(ChildProcessError):
                os.waitpid(record.pid, os.WNOHANG)
            self.forget(name)
        return ended

    def stop_all(self, prefix: str = "", grace_s: float = 10.0) -> list[int]:
        """End every recorded process whose name starts with `prefix`; returns the pids that were ended."""
        return [pid for record in self.records(prefix) for pid in self.stop(record.name, grace_s)]

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.pid"


def end_processes(find: Callable[[], list[psutil.Process]], grace_s: float) -> list[int]:
    """SIGTERM, then after `grace_s` seconds SIGKILL, all that `find` names; it is asked again so that late children go too."""
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


def session_of(pid: int) -> list[psutil.Process]:
    """Every live process of the session that `pid` leads or led, and their descendants in other sessions."""
    members = {process.pid: process for process in psutil.process_iter() if _in_session(process, pid)}
    for process in list(members.values()):
        with contextlib.suppress(psutil.NoSuchProcess):
            members.update({child.pid: child for child in process.children(recursive=True) if _lives(child)})
    return list(members.values())


def record_of(name: str, pid: int) -> ProcessRecord | None:
    """The record of the process that has `pid` now, None where there is none."""
    try:
        return ProcessRecord(name, pid, psutil.Process(pid).create_time(), birth_of(pid))
    except psutil.NoSuchProcess:
        return None


def recorded_session(record: ProcessRecord) -> list[psutil.Process]:
    """What `session_of` finds for a recorded process; nothing when its pid has become somebody else's."""
    return [] if _pid_was_reused(record) else session_of(record.pid)


def birth_of(pid: int) -> str:
    """The boot and the clock ticks since it at which a process started: unlike times of day, no clock update changes them.

    Empty where there is no /proc, and for a process that does not exist.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        # Field 22; the name before it, in parentheses, may hold anything.
        ticks = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19]
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return f"{boot}:{int(ticks)}"


def _leader(record: ProcessRecord) -> psutil.Process | None:
    try:
        process = psutil.Process(record.pid)
        same = _is_recorded(process, record)
    except psutil.NoSuchProcess:
        return None
    return process if same and _lives(process) else None


def _pid_was_reused(record: ProcessRecord) -> bool:
    try:
        return not _is_recorded(psutil.Process(record.pid), record)
    except psutil.NoSuchProcess:
        return False


def _is_recorded(process: psutil.Process, record: ProcessRecord) -> bool:
    if record.birth:
        return birth_of(process.pid) == record.birth
    return bool(abs(process.create_time() - record.started) < START_TIME_TOLERANCE_S)


def _in_session(process: psutil.Process, session: int) -> bool:
    try:
        return os.getsid(process.pid) == session and _lives(process)
    except (ProcessLookupError, PermissionError):
        return False


def _lives(process: psutil.Process) -> bool:
    """Whether it runs; a zombie has ended and only waits for its parent to ask."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _send(process: psutil.Process, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)
