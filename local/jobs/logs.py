"""Sends log lines of jobs and model servers to CloudWatch Logs as they appear, and writes them to a file.

Runs in the SageMaker plane. Lines wait while the engine does not answer, and are then sent again.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from botocore.exceptions import BotoCoreError, ClientError

SEND_INTERVAL_S = 1.0
LINES_A_CALL = 1000
LONGEST_LINE = 200_000
TAIL_LINES = 20


class JobLog:
    """The log of one process: a file, and a stream of a CloudWatch log group. A context manager whose exit sends the rest."""

    def __init__(self, logs: Any, group: str, stream: str, file: Path, clock: Callable[[], float] = time.time) -> None:
        """Send through the boto3 client `logs`."""
        self.group, self.stream, self.file = group, stream, file
        self._logs = logs
        self._clock = clock
        self._waiting: deque[dict[str, Any]] = deque(maxlen=200_000)
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._writing = threading.Lock()
        self._ending = threading.Event()
        self._stream_exists = False
        self._thread = threading.Thread(target=self._send_for_ever, daemon=True, name=f"log-{stream}")

    def __enter__(self) -> Self:
        """Open the file and start sending."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self._output = self.file.open("a", encoding="utf-8")
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Send the remaining lines and close the file."""
        self._ending.set()
        self._thread.join()
        self._output.close()

    def write(self, line: str) -> None:
        """Add one line, without its line end."""
        line = line.rstrip("\r\n")[:LONGEST_LINE]
        with self._writing:
            self._output.write(line + "\n")
            self._output.flush()
            if line:
                self._tail.append(line)
                self._waiting.append({"timestamp": int(self._clock() * 1000), "message": line})

    def tail(self) -> str:
        """Return the last lines, for a failure reason."""
        return "\n".join(self._tail)

    def _send_for_ever(self) -> None:
        while not self._ending.wait(SEND_INTERVAL_S):
            self._send()
        for _attempt in range(3):
            self._send()

    def _send(self) -> None:
        while self._waiting:
            batch = [self._waiting[index] for index in range(min(LINES_A_CALL, len(self._waiting)))]
            try:
                self._make_stream()
                self._logs.put_log_events(logGroupName=self.group, logStreamName=self.stream, logEvents=batch)
            except (BotoCoreError, ClientError):
                self._stream_exists = False
                return
            for _sent in batch:
                self._waiting.popleft()

    def _make_stream(self) -> None:
        if self._stream_exists:
            return
        for create, arguments in (
            (self._logs.create_log_group, {"logGroupName": self.group}),
            (self._logs.create_log_stream, {"logGroupName": self.group, "logStreamName": self.stream}),
        ):
            try:
                create(**arguments)
            except self._logs.exceptions.ResourceAlreadyExistsException:
                continue
        self._stream_exists = True
