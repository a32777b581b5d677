"""Runs one training job as SageMaker's container would: /opt/ml tree, channels, the toolkit's `train`, artefacts to S3.

Runs in the SageMaker plane, one call of `run` on one thread for each job. The training code itself is never imported: it is
a process of the image environment, in its own folder, with an environment made for it alone.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError

from local.image_environment import ImageEnvironment
from local.job_logs import JobLog
from local.objects import ChannelCache, DownloadError, Mirror, join_uri, pack, upload_file
from local.processes import ProcessBook, end_processes, session_of

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
OPT_ML = "/opt/ml"
MIRROR_INTERVAL_S = 3.0
STOP_GRACE_S = 30.0
# A failed upload_file is a Boto3Error, which neither of the others is.
S3_ERRORS = (Boto3Error, BotoCoreError, ClientError)
REASON_LIMIT = 1024
# What a job inherits from the machine: where programs and certificates are and how pip reaches an index. Nothing of AWS.
INHERITED = (
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "LD_LIBRARY_PATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CUDA_VISIBLE_DEVICES",
)

Document = dict[str, Any]


def translate(value: str, base: Path) -> str:
    """`value` with /opt/ml replaced by `base` wherever it begins a path."""
    return re.sub(rf"(?<![\w/.-]){OPT_ML}(?=[/:]|$)", lambda _match: str(base), value)


def usable_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class JobTools:
    """What jobs share: clients of the engine, the image environment, folders, and the environment that reaches the engine."""

    s3: Any
    logs: Any
    image: ImageEnvironment
    home: Path
    channels: ChannelCache
    processes: ProcessBook
    aws: Mapping[str, str]
    clock: Callable[[], float] = time.time


@dataclass
class Outcome:
    """How a job ended: its status, the failure reason, the last value and time of each metric, and where its artefact lies."""

    status: str = "Completed"
    reason: str = ""
    metrics: dict[str, tuple[float, float]] = field(default_factory=dict)
    artefact: str = ""


class TrainingJobRun:
    """One training job from its first download to its last upload."""

    def __init__(self, tools: JobTools, job: Document, threads: int, report: Callable[[str, str], None]) -> None:
        """Run `job` (a DescribeTrainingJob document) with `threads` cores; `report(secondary status, message)` is told of progress."""
        self._tools = tools
        self._job = job
        self._name: str = job["TrainingJobName"]
        self._threads = threads
        self._report = report
        self._stop_reason = ""
        self._stopping = threading.Event()
        self.folder = tools.home / "jobs" / self._name
        self.base = self.folder / "ml"
        self.metrics: dict[str, tuple[float, float]] = {}
        definitions = job["AlgorithmSpecification"].get("MetricDefinitions", ())
        self._patterns = [(each["Name"], re.compile(each["Regex"])) for each in definitions]
        self._mirrors: list[Mirror] = []

    def stop(self, reason: str = "Stopped") -> None:
        """Ask the job to end, for `reason` Stopped or MaxRuntimeExceeded: SIGTERM, and SIGKILL to what is left after the grace time."""
        self._stop_reason = self._stop_reason or reason
        self._stopping.set()

    def run(self) -> Outcome:
        """Run it to its end. Every way a job can fail ends in the outcome, not in an exception."""
        stream = f"{self._name}/algo-1-{int(self._tools.clock() * 1000)}"
        with JobLog(self._tools.logs, LOG_GROUP, stream, self.folder / "log.txt", self._tools.clock) as log:
            try:
                return self._run(log)
            except DownloadError as error:
                return self._failed(f"ClientError: {error}", log)
            except (*S3_ERRORS, OSError) as error:
                return self._failed(f"InternalServerError: local mode could not run the job: {error}", log)
            finally:
                self._drop_folders()

    def _run(self, log: JobLog) -> Outcome:
        self._report("Starting", "Preparing the instances for training")
        shutil.rmtree(self.base, ignore_errors=True)
        self._write_configuration()
        self._report("Downloading", "Downloading input data")
        self._download()
        if self._stopping.is_set():
            return Outcome("Stopped")
        self._report("Training", "Training image download completed. Training in progress.")
        code = self._train(log)
        self._report("Stopping" if self._stop_reason else "Uploading", "Uploading generated training model")
        return self._upload(code, log)

    def _write_configuration(self) -> None:
        """The JSON files that SageMaker puts under /opt/ml/input/config, and the folders a container finds."""
        for name in ("input/config", "input/data", "model", "output/data", "checkpoints", "tmp", "home"):
            (self.base / name).mkdir(parents=True, exist_ok=True)
        job = self._job
        host = {
            "current_host": "algo-1",
            "current_instance_type": job["ResourceConfig"]["InstanceType"],
            "current_group_name": "homogeneousCluster",
        }
        resources = {**host, "hosts": ["algo-1"], "instance_groups": [], "network_interface_name": "lo"}
        channels = {
            channel["ChannelName"]: {
                "TrainingInputMode": "File",
                "S3DistributionType": channel["DataSource"]["S3DataSource"].get("S3DataDistributionType", "FullyReplicated"),
                "RecordWrapperType": "None",
                **({"ContentType": channel["ContentType"]} if "ContentType" in channel else {}),
            }
            for channel in job.get("InputDataConfig", ())
        }
        self._configure("hyperparameters", {name: self.translate(value) for name, value in job.get("HyperParameters", {}).items()})
        self._configure("resourceconfig", resources)
        self._configure("inputdataconfig", channels)
        if hook := job.get("DebugHookConfig"):
            self._configure("debughookconfig", {**hook, "LocalPath": self.translate(hook.get("LocalPath", f"{OPT_ML}/output/tensors"))})
        if board := job.get("TensorBoardOutputConfig"):
            self._configure(
                "tensorboardoutputconfig", {**board, "LocalPath": self.translate(board.get("LocalPath", f"{OPT_ML}/output/tensorboard"))}
            )

    def _configure(self, name: str, content: object) -> None:
        (self.base / "input" / "config" / f"{name}.json").write_text(json.dumps(content))

    def translate(self, value: str) -> str:
        """`value` with /opt/ml replaced by the job's own folder."""
        return translate(value, self.base)

    def _download(self) -> None:
        for channel in self._job.get("InputDataConfig", ()):
            uri = channel["DataSource"]["S3DataSource"]["S3Uri"]
            self._tools.channels.provide(uri, self.base / "input" / "data" / channel["ChannelName"])
        self._mirrors = [Mirror(self._tools.s3, Path(self.translate(path)), uri) for path, uri in self._mirrored()]
        if "CheckpointConfig" in self._job:
            self._mirrors[0].restore()

    def _mirrored(self) -> list[tuple[str, str]]:
        """The folders that reach S3 while the job runs, checkpoints first: (path in the container, URI)."""
        pairs = []
        if checkpoint := self._job.get("CheckpointConfig"):
            pairs.append((checkpoint.get("LocalPath", f"{OPT_ML}/checkpoints"), checkpoint["S3Uri"]))
        if hook := self._job.get("DebugHookConfig"):
            pairs.append((hook.get("LocalPath", f"{OPT_ML}/output/tensors"), join_uri(hook["S3OutputPath"], self._name, "debug-output")))
        if board := self._job.get("TensorBoardOutputConfig"):
            pairs.append(
                (board.get("LocalPath", f"{OPT_ML}/output/tensorboard"), join_uri(board["S3OutputPath"], self._name, "tensorboard-output"))
            )
        return pairs

    def _environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if name in INHERITED or name.startswith("PIP_")}
        isolated = self._job.get("EnableNetworkIsolation", False)
        config = self.base / "input" / "config"
        hooks = {
            "SMDEBUG_CONFIG_FILE_PATH": config / "debughookconfig.json",
            "TENSORBOARD_CONFIG_FILE_PATH": config / "tensorboardoutputconfig.json",
        }
        return {
            **inherited,
            "PATH": f"{self._tools.image.bin}:{os.environ.get('PATH', os.defpath)}",
            "HOME": str(self.base / "home"),
            "TMPDIR": str(self.base / "tmp"),
            "PYTHONUNBUFFERED": "1",
            "SAGEMAKER_BASE_DIR": str(self.base),
            "SAGEMAKER_TRAINING_MODULE": "sagemaker_pytorch_container.training:main",
            # Without it the toolkit waits up to 15 minutes for DNS to know algo-1.
            "SM_STUDIO_LOCAL_MODE": "true",
            "AWS_REGION": self._tools.aws["AWS_REGION"],
            "TRAINING_JOB_NAME": self._name,
            "TRAINING_JOB_ARN": self._job["TrainingJobArn"],
            "OMP_NUM_THREADS": str(self._threads),
            "OMP_WAIT_POLICY": "PASSIVE",
            **{name: str(path) for name, path in hooks.items() if path.exists()},
            **({} if isolated else {**self._tools.aws, "S3_ENDPOINT_URL": self._tools.aws["AWS_ENDPOINT_URL"]}),
            **{name: self.translate(value) for name, value in self._job.get("Environment", {}).items()},
        }

    def _train(self, log: JobLog) -> int:
        """Run the toolkit's entry point, reading its lines; returns the exit code."""
        command = [str(self._tools.image.train)]
        with subprocess.Popen(
            command, env=self._environment(), cwd=self.base, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, encoding="utf-8", errors="replace", start_new_session=True,
        ) as process:  # fmt: skip
            self._tools.processes.record(f"job-{self._name}", process.pid)
            ended = threading.Event()
            watcher = threading.Thread(target=self._watch, args=(process, ended), daemon=True, name=f"watch-{self._name}")
            mirrorer = threading.Thread(target=self._mirror, args=(ended,), daemon=True, name=f"mirror-{self._name}")
            watcher.start()
            mirrorer.start()
            try:
                for line in process.stdout or ():
                    log.write(line)
                    self._read_metrics(line)
                return process.wait()
            finally:
                ended.set()
                watcher.join()
                end_processes(lambda: session_of(process.pid), 0.0)
                self._tools.processes.forget(f"job-{self._name}")
                mirrorer.join()

    def _watch(self, process: subprocess.Popen[str], ended: threading.Event) -> None:
        """End the job when it is told to stop or its time is up."""
        limit = self._job.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", 86400)
        began = time.monotonic()
        while not ended.wait(0.1):
            if time.monotonic() - began > limit:
                self.stop("MaxRuntimeExceeded")
            if self._stopping.is_set():
                end_processes(lambda: [] if ended.is_set() else session_of(process.pid), STOP_GRACE_S)
                return
            if process.poll() is not None:
                # As with a container, nothing that the program left behind outlives it (and keeps its log open).
                end_processes(lambda: [] if ended.is_set() else session_of(process.pid), 0.0)
                return

    def _mirror(self, ended: threading.Event) -> None:
        """Mirror folders every few seconds, on a thread of its own: an upload that hangs must not keep a job from being stopped."""
        while not ended.wait(MIRROR_INTERVAL_S):
            for mirror in self._mirrors:
                # The same files are sent the next time, and the last time a failure ends the job.
                with contextlib.suppress(*S3_ERRORS, OSError):
                    mirror.sync()

    def _read_metrics(self, line: str) -> None:
        for name, pattern in self._patterns:
            for match in pattern.finditer(line):
                try:
                    value = float(match.group(1) if pattern.groups else match.group(0))
                except ValueError:
                    continue
                self.metrics[name] = (value, self._tools.clock())

    def _upload(self, code: int, log: JobLog) -> Outcome:
        """Artefacts to S3 as SageMaker does: the output folder always, the model unless the job failed."""
        for mirror in self._mirrors:
            mirror.sync()
        target = join_uri(self._job["OutputDataConfig"]["S3OutputPath"], self._name, "output")
        if any((self.base / "output" / "data").iterdir()):
            self._upload_archive(self.base / "output" / "data", f"{target}/output.tar.gz")
        if code != 0 and not self._stop_reason:
            return self._failed(self._failure_reason(code, log), log)
        outcome = Outcome("Stopped" if self._stop_reason else "Completed", metrics=self.metrics)
        if not self._stop_reason or any((self.base / "model").iterdir()):
            self._upload_archive(self.base / "model", f"{target}/model.tar.gz")
            outcome.artefact = f"{target}/model.tar.gz"
        if self._stop_reason == "MaxRuntimeExceeded":
            outcome.reason = "MaxRuntimeExceeded"
        return outcome

    def _upload_archive(self, folder: Path, uri: str) -> None:
        archive = self.folder / uri.rpartition("/")[2]
        pack(folder, archive)
        upload_file(self._tools.s3, archive, uri)
        archive.unlink()

    def _failure_reason(self, code: int, log: JobLog) -> str:
        """What the job wrote to /opt/ml/output/failure, else the end of its log, in AWS's form."""
        written = self.base / "output" / "failure"
        text = written.read_text(encoding="utf-8", errors="replace").strip() if written.exists() else ""
        text = text or f"see the log stream {log.stream}; its end: {log.tail()[-600:]}"
        return f"AlgorithmError: {text[: REASON_LIMIT - 60]}, exit code: {code}"

    def _failed(self, reason: str, log: JobLog) -> Outcome:
        log.write(f"{self._name} failed: {reason}")
        return Outcome("Failed", reason[:REASON_LIMIT], self.metrics)

    def _drop_folders(self) -> None:
        """Keep the log, drop everything else: photos, code and artefacts lie in S3."""
        for path in self.folder.iterdir():
            if path.name != "log.txt":
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()
