"""Local mode: starts, finds and stops the AWS engine and the SageMaker plane on this machine.

Runs in the `whippet` command and in tests. Everything it makes lies under one folder, `.local` by default:
`cache` downloads, `run` ports and pids, `logs`, `engine` the engine's state and S3 objects, `sagemaker` the plane's state and
jobs, `image` the image environment, `cdk` the CDK command line's own cache, `tls` the certificate of strict local mode.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from local.api.account import ACCOUNT, REGION
from local.engine.decisions import decisions_path
from local.host.certificate import Certificate, CertificateError
from local.host.ports import find_free_port
from local.host.processes import REPOSITORY, PidFiles
from local.host.start_record import ENGINE_PORT, PLANE_PORT, StartRecord
from local.image_environment import ImageEnvironment, Progress

# The CDK command line caches the account per access key in its home, so this key is local mode's alone.
ACCESS_KEY = "WHIPPETLOCALMODE0000"
SECRET_KEY = "local-mode-needs-no-secret"  # noqa: S105 - the engine accepts any
TRUST = ("AWS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")
"""The variables by which AWS tools in Python and in Node find the certificate of strict local mode."""
PORT_PATIENCE_S = 5.0
START_TIMEOUT_S = 90.0

# A proxy that the user has for the web does not reach 127.0.0.1.
_NO_PROXY = urllib.request.ProxyHandler({})
_DEPLOYED_API = re.compile(r"https?://([a-z0-9]+)\.execute-api\.[^/]+/([^/]+)(/.*)?$")


class LocalModeError(RuntimeError):
    """Local mode could not start; the message names the log with the reason."""


@dataclass(frozen=True)
class LocalStatus:
    """The running parts: a pid is None for a part that does not run; `jobs` counts recorded jobs and model servers."""

    engine_pid: int | None
    plane_pid: int | None
    jobs: int


class LocalMode:
    """Local mode under one folder. `start` and `stop` are idempotent and safe after any crash."""

    def __init__(
        self, home: Path | None = None, image: ImageEnvironment | None = None, first_port: int = ENGINE_PORT, strict: bool = False
    ) -> None:
        """Use `home` (default: $WHIPPET_HOME, else `.local`), `image` (default: home/image) and ports from `first_port` on (0: any).

        With `strict`, `start` starts strict local mode: every call needs a permission, and TLS. A running one records its own strictness.
        """
        self.home = (home or Path(os.environ.get("WHIPPET_HOME") or ".local")).resolve()
        self.image = image or ImageEnvironment(self.home / "image")
        self.logs_folder = self.home / "logs"
        self.cache_folder = self.home / "cache"
        self.certificate = Certificate(self.home / "tls")
        self._first_port = first_port
        self._strict = strict
        self._processes = PidFiles(self.home / "run")

    def start(self, progress: Progress = lambda _line: None) -> None:
        """Start all parts and wait until they answer; raises LocalModeError or ImageEnvironmentError with the path of a log."""
        with self._lock():
            for folder in (self.cache_folder, self.logs_folder, self.home / "engine" / "tmp", self.home / "sagemaker", self.home / "cdk"):
                folder.mkdir(parents=True, exist_ok=True)
            (self.home / "run" / "aws-config").write_text("[default]\n")
            self._stop_outdated()
            self.image.ensure(progress, self.logs_folder / "image.log")
            if self.is_running():
                progress(f"local mode already runs at {self.engine_url}")
                return
            self._start_parts(progress)
            strictly = ", every call with a permission of its role" if self.is_strict else ""
            progress(f"local mode runs: AWS at {self.engine_url}, its SageMaker behind it{strictly}; logs in {self.logs_folder}")

    def stop(self, progress: Progress = lambda _line: None) -> list[int]:
        """End every process of local mode, by pid; returns the pids. S3 objects and the endpoints' definitions stay."""
        with self._lock():
            stopped: list[int] = []
            for name in ("plane", "engine"):
                if self._processes.find_pid(name):
                    progress(f"stopping the {name}")
                stopped += self._stop_part(name, grace_s=30.0, servers_grace_s=10.0)
            progress(f"local mode is stopped ({len(stopped)} processes)")
            return stopped

    def is_running(self) -> bool:
        """Whether engine and plane both answer."""
        return self._is_answering("engine") and self._is_answering("plane")

    def status(self) -> LocalStatus:
        """Return the running parts, by pid; `is_running` also checks that they answer."""
        jobs = len(self._processes.list_records("job-")) + len(self._processes.list_records("server-"))
        return LocalStatus(self._processes.find_pid("engine"), self._processes.find_pid("plane"), jobs)

    @property
    def is_strict(self) -> bool:
        """Whether the running local mode, or the last one, is strict."""
        return StartRecord.read(self.home).strict

    @property
    def decisions_file(self) -> Path:
        """The file with the decisions of strict local mode since the engine's start."""
        return decisions_path(self.home)

    @property
    def engine_url(self) -> str:
        """The URL of the AWS services."""
        return f"{'https' if self.is_strict else 'http'}://127.0.0.1:{self._read_ports().get('engine', ENGINE_PORT)}"

    @property
    def plane_url(self) -> str:
        """The URL of the SageMaker plane; AWS tools need only engine_url."""
        return f"http://127.0.0.1:{self._read_ports().get('plane', PLANE_PORT)}"

    def settings(self) -> dict[str, str]:
        """Return only the variables that point an AWS tool at local mode."""
        return {
            "AWS_ENDPOINT_URL": self.engine_url,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "AWS_CONFIG_FILE": str(self.home / "run" / "aws-config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(self.home / "run" / "aws-config"),
            "AWS_EC2_METADATA_DISABLED": "true",
            "CDK_HOME": str(self.home / "cdk"),
            "CDK_DEFAULT_ACCOUNT": ACCOUNT,
            "CDK_DEFAULT_REGION": REGION,
            "CDK_DISABLE_CLI_TELEMETRY": "true",
            "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "1",
            "JSII_SILENCE_WARNING_UNTESTED_NODE_VERSION": "1",
            **({name: str(self.certificate.authority) for name in TRUST} if self.is_strict else {}),
        }

    def environment(self) -> dict[str, str]:
        """Return the environment of an AWS tool: the present one without AWS_ variables (profiles, session tokens), plus `settings`."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "BOTO_"))}
        direct = ",".join(filter(None, (inherited.get("no_proxy") or inherited.get("NO_PROXY"), "127.0.0.1")))
        return {**inherited, "NO_PROXY": direct, "no_proxy": direct, **self.settings()}

    def api_url(self, deployed_url: str) -> str:
        """Convert a stack's API URL to its local form; raises ValueError if it is not an API Gateway URL."""
        match = _DEPLOYED_API.match(deployed_url)
        if not match:
            raise ValueError(
                f"{deployed_url!r} is not an API Gateway URL such as https://<id>.execute-api.<region>.amazonaws.com/v1/predict"
            )
        api, stage, path = match.groups()
        return f"{self.engine_url}/restapis/{api}/{stage}/_user_request_{path or '/'}"

    def _stop_outdated(self) -> None:
        """End parts that run other code, for instance after a `git pull`, or with another strictness.

        Also end servers whose image environment is about to be rebuilt.
        """
        other_code = self._code_stamp_file.exists() and self._code_stamp_file.read_text() != hash_code()
        outdated = self._processes.list_records() and (other_code or self.is_strict != self._strict)
        if outdated or not self.image.is_ready():
            self._stop_part("plane", grace_s=30.0)
        if outdated:
            self._stop_part("engine", grace_s=30.0)
        self._code_stamp_file.write_text(hash_code())

    def _stop_part(self, name: str, grace_s: float, servers_grace_s: float = 2.0) -> list[int]:
        """End the engine, or the plane and then its remaining jobs and model servers; returns the pids."""
        stopped = self._processes.stop(name, grace_s)
        if name == "plane":
            stopped += self._processes.stop_all("job-", grace_s=2.0) + self._processes.stop_all("server-", servers_grace_s)
        return stopped

    @property
    def _code_stamp_file(self) -> Path:
        return self.home / "run" / "code.sha256"

    def _start_parts(self, progress: Progress) -> None:
        """Start the parts that do not answer, after ending the rest of an earlier run."""
        self._ensure_certificate()
        missing = [name for name in ("engine", "plane") if not self._is_answering(name)]
        for name in missing:
            self._stop_part(name, grace_s=5.0)
        engine_url = self.engine_url
        self._choose_ports(missing)
        if (self.engine_url != engine_url or (self._strict and missing)) and "plane" not in missing:
            # The running plane would call the engine's old port, or use role sessions that the new engine does not know.
            self._stop_part("plane", grace_s=5.0)
            missing.append("plane")
        for name in missing:
            progress(f"starting the {name}")
            self._start_process(name)
        for name in missing:
            self._wait_for(name)

    def _ensure_certificate(self) -> None:
        if not self._strict:
            return
        try:
            self.certificate.ensure()
        except CertificateError as error:
            raise LocalModeError(str(error)) from error

    def _start_process(self, name: str) -> None:
        log = self.logs_folder / f"{name}.log"
        if name == "engine":
            # The engine leaves the code of Lambda functions there.
            shutil.rmtree(self.home / "engine" / "tmp", ignore_errors=True)
            (self.home / "engine" / "tmp").mkdir()
        if log.exists():
            log.replace(log.with_suffix(".previous.log"))
        environment = {**self.environment(), **(self._engine_settings() if name == "engine" else self._plane_settings())}
        self._processes.start_detached(name, [sys.executable, "-m", f"local.{name}"], environment, log)

    def _engine_settings(self) -> dict[str, str]:
        folder = self.home / "engine"
        return {
            "PYTHONPATH": str(REPOSITORY),
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(self._read_ports()["engine"]),
            "PERSIST_STATE": "1",
            "STATE_DIR": str(folder / "state"),
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(folder / "s3"),
            "LAMBDA_EXECUTOR": "local",
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            # ministack would remove containers that it takes for its own from the user's Docker.
            "DOCKER_HOST": f"unix://{folder}/no-docker.sock",
            "LOG_LEVEL": "WARNING",
            "TMPDIR": str(folder / "tmp"),
            "WHIPPET_HOME": str(self.home),
            "AUTH": str(self.is_strict).lower(),
            "USE_SSL": "1" if self.is_strict else "0",
            "MINISTACK_SSL_CERT": str(self.certificate.file) if self.is_strict else "",
            "MINISTACK_SSL_KEY": str(self.certificate.key) if self.is_strict else "",
        }

    def _plane_settings(self) -> dict[str, str]:
        return {
            "PYTHONPATH": str(REPOSITORY),
            "WHIPPET_HOME": str(self.home),
            "WHIPPET_IMAGE": str(self.image.folder),
            "WHIPPET_PLANE_PORT": str(self._read_ports()["plane"]),
            "WHIPPET_PLANE_STRICT": "1" if self.is_strict else "",
        }

    def _choose_ports(self, missing: list[str]) -> None:
        """Keep the last port of each part if it is free, so that URLs stay the same, else take the next free one; record the start."""
        ports = self._read_ports()
        taken = {port for name, port in ports.items() if name not in missing}
        for name in missing:
            wanted = ports.get(name, self._first_port + (1 if name == "plane" and self._first_port else 0))
            # A process that was just killed may still hold its port.
            try:
                ports[name] = find_free_port(wanted, taken, patience_s=PORT_PATIENCE_S if name in ports else 0.0)
            except OSError as error:
                raise LocalModeError(str(error)) from error
            taken.add(ports[name])
        StartRecord(ports, self._strict).write(self.home)

    def _read_ports(self) -> dict[str, int]:
        return dict(StartRecord.read(self.home).ports)

    def _is_answering(self, name: str) -> bool:
        if self._processes.find_pid(name) is None:
            return False
        url = f"{self.engine_url}/_ministack/health" if name == "engine" else f"{self.plane_url}/health"
        try:
            with self._make_opener(url).open(url, timeout=10) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _make_opener(self, url: str) -> urllib.request.OpenerDirector:
        if not url.startswith("https:"):
            return urllib.request.build_opener(_NO_PROXY)
        trusting = ssl.create_default_context(cafile=self.certificate.authority)
        return urllib.request.build_opener(_NO_PROXY, urllib.request.HTTPSHandler(context=trusting))

    def _wait_for(self, name: str) -> None:
        log = self.logs_folder / f"{name}.log"
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._is_answering(name):
            ended = self._processes.find_pid(name) is None
            if ended or time.monotonic() > deadline:
                tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
                what = "ended at once" if ended else f"did not answer within {START_TIMEOUT_S:.0f} s"
                raise LocalModeError(f"the {name} of local mode {what}. The end of its log {log}:\n{tail}")
            time.sleep(0.1)

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """Allow one start or stop at a time: a second `make demo` waits instead of starting a second engine."""
        (self.home / "run").mkdir(parents=True, exist_ok=True)
        with (self.home / "run" / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def hash_code() -> str:
    """Return a hash of local mode's own code."""
    files = sorted(Path(__file__).parent.rglob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
