"""Runs one model server: unpacks a model artefact and starts its `code/serve` as a process of the image environment.

Runs in the SageMaker plane. The server listens on a free port of 127.0.0.1 and is healthy when GET /ping answers 200.
"""

import contextlib
import http.client
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil

from local.host.ports import find_free_port, is_free
from local.host.processes import end_processes, list_session
from local.jobs.container import INHERITED, JobTools, translate_paths
from local.jobs.logs import JobLog
from local.storage.archives import unpack
from local.storage.objects import download_file

LOG_GROUP = "/aws/sagemaker/Endpoints"
START_TIMEOUT_S = 180.0
PING_TIMEOUT_S = 2.0
INVOCATION_TIMEOUT_S = 60.0
PORT_ATTEMPTS = 3
FORWARDED = ("content-type", "accept", "x-amzn-sagemaker-custom-attributes")


class ServerFailedError(Exception):
    """The server did not become healthy; the message becomes a FailureReason."""


class PortTakenError(ServerFailedError):
    """Another process listens on the server's port."""


class ModelServer:
    """The server of one production variant: `start`, `invoke`, `is_alive`, `stop`."""

    def __init__(
        self,
        tools: JobTools,
        endpoint: str,
        variant: str,
        container: Mapping[str, Any],
        folder: Path,
        isolated: bool,
        choose_port: Callable[[], int] = lambda: find_free_port(0, set()),
    ) -> None:
        """Serve the artefact of `container` (a model's PrimaryContainer) from `folder`, on a port of `choose_port`."""
        self._tools = tools
        self._choose_port = choose_port
        self.endpoint, self.variant = endpoint, variant
        self._container = container
        self._isolated = isolated
        self.folder = folder
        self._model = folder / "model"
        self._process: subprocess.Popen[str] | None = None
        self._open = ExitStack()
        self.port = 0
        stream = f"{variant}/{folder.name}-{int(tools.clock())}"
        self.log = JobLog(tools.logs, f"{LOG_GROUP}/{endpoint}", stream, tools.home / "endpoints" / f"{endpoint}.log", tools.clock)

    def start(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Unpack, run and wait for /ping; raises ServerFailedError or DownloadError after ending the process."""
        self._open.enter_context(self.log)
        try:
            self._unpack_artefact()
            for attempt in range(PORT_ATTEMPTS):
                try:
                    self._launch()
                    self._wait_until_healthy(timeout_s)
                    break
                except PortTakenError:
                    if attempt == PORT_ATTEMPTS - 1:
                        raise
                    self._end_process()
        except BaseException:
            self.stop()
            raise

    def is_alive(self) -> bool:
        """Whether its process runs."""
        return self._process is not None and self._process.poll() is None

    def invoke(self, body: bytes, headers: Mapping[str, str], timeout_s: float = INVOCATION_TIMEOUT_S) -> tuple[int, dict[str, str], bytes]:
        """POST /invocations; raises TimeoutError or OSError when the server does not answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            wanted = {name: value for name, value in headers.items() if name.lower() in FORWARDED}
            connection.request("POST", "/invocations", body=body, headers=wanted)
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        except http.client.HTTPException as error:
            raise OSError(f"the server's answer is not HTTP: {error!r}") from error
        finally:
            connection.close()

    def stop(self) -> None:
        """End the process and its children, and remove its folder."""
        self._end_process()
        self._open.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end_process(self) -> None:
        if self._process is not None:
            process = self._process
            end_processes(lambda: list_session(process.pid), 5.0)
            process.wait()
            self._reader.join(5.0)
            self._tools.processes.forget(self._record)

    @property
    def _record(self) -> str:
        return f"server-{self.endpoint}-{self.folder.name}"

    def _unpack_artefact(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        for name in ("model", "home", "tmp"):
            (self.folder / name).mkdir(parents=True)
        archive = self.folder / "model.tar.gz"
        download_file(self._tools.s3, self._container["ModelDataUrl"], archive)
        unpack(archive, self._model)
        archive.unlink()

    def _launch(self) -> None:
        serve = self._model / "code" / "serve"
        if not (serve.is_file() and os.access(serve, os.X_OK)):
            raise ServerFailedError(
                f"the artefact {self._container['ModelDataUrl']} has no executable code/serve, the program that serves it"
            )
        self.port = self._choose_port()
        self._process = subprocess.Popen(
            [str(serve)], env=self._build_environment(), cwd=self._model, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, encoding="utf-8", errors="replace", start_new_session=True,
        )  # fmt: skip
        self._tools.processes.record(self._record, self._process.pid)
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True, name=f"log-{self.endpoint}")
        self._reader.start()

    def _build_environment(self) -> dict[str, str]:
        given = {name: translate_paths(value, self.folder) for name, value in self._container.get("Environment", {}).items()}
        path = f"{self._tools.image.bin}:{self._model / 'code'}:{given.pop('PATH', '')}:{os.environ.get('PATH', os.defpath)}"
        return {
            **{name: value for name, value in os.environ.items() if name in INHERITED},
            **({} if self._isolated else self._tools.aws),
            "AWS_REGION": self._tools.aws["AWS_REGION"],
            "HOME": str(self.folder / "home"),
            "TMPDIR": str(self.folder / "tmp"),
            "PYTHONUNBUFFERED": "1",
            "OMP_WAIT_POLICY": "PASSIVE",
            "SAGEMAKER_BASE_DIR": str(self.folder),
            **given,
            "PATH": path,
            "BIND_HOST": "127.0.0.1",
            "SAGEMAKER_BIND_TO_PORT": str(self.port),
        }

    def _read(self, process: subprocess.Popen[str]) -> None:
        with process:
            for line in process.stdout or ():
                self.log.write(line)

    def _wait_until_healthy(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not self._answers_ping():
            if not self.is_alive() and not is_free(self.port):
                raise self._make_port_error()
            if not self.is_alive() or time.monotonic() > deadline:
                ended = "ended" if not self.is_alive() else f"did not answer GET /ping with 200 within {timeout_s:.0f} s"
                time.sleep(0.2)  # for its last lines, which may still be in the pipe
                raise ServerFailedError(
                    f"The primary container for production variant {self.variant} did not pass the ping health check: its server {ended}. "
                    f"Please check CloudWatch logs for this endpoint. Their end: {self.log.tail()[-500:]}"
                )
            time.sleep(0.1)
        if not self._listens():
            raise self._make_port_error()

    def _make_port_error(self) -> PortTakenError:
        return PortTakenError(f"another program listens on port {self.port}, which was free before; create the endpoint again")

    def _listens(self) -> bool:
        """Whether the server or one of its children listens on its port: the ping may have reached another program."""
        pid = self._process.pid if self._process is not None else 0
        for process in list_session(pid):
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                sockets = process.net_connections("inet")
                if any(each.status == psutil.CONN_LISTEN and each.laddr.port == self.port for each in sockets):
                    return True
        return False

    def _answers_ping(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PING_TIMEOUT_S)
        try:
            connection.request("GET", "/ping")
            return bool(connection.getresponse().status == 200)
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
