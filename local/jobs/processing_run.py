"""Runs one processing job as SageMaker's container would: its inputs, its entry point, its exit message, its outputs to S3.

Runs in the SageMaker plane, as every `local.jobs.job_run.JobRun` does. There is no toolkit between SageMaker and the program
here: what ContainerEntrypoint and ContainerArguments say is started, with /opt/ml in them translated to the job's folder.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from local.host.short_links import shell_safe
from local.jobs.container import Document, JobTools, Outcome, container_environment, host_document
from local.jobs.job_run import LONGEST_TAIL, JobRun
from local.jobs.logs import JobLog
from local.storage.objects import Mirror

# What processingjobconfig.json holds of the job's document.
CONFIGURATION = (
    "ProcessingJobArn", "ProcessingJobName", "AppSpecification", "ProcessingInputs", "ProcessingOutputConfig",
    "ProcessingResources", "RoleArn", "StoppingCondition", "Environment", "NetworkConfig",
)  # fmt: skip
EXIT_MESSAGE_BYTES = 1024


class ProcessingJobRun(JobRun):
    """One processing job from its first download to its last upload."""

    log_group = "/aws/sagemaker/ProcessingJobs"

    def __init__(self, tools: JobTools, job: Document, threads: int, started: Callable[[], None]) -> None:
        """Run `job` (a DescribeProcessingJob document) with `threads` cores; `started` is called when its process is about to run."""
        name = job["ProcessingJobName"]
        # A job's name has no underscore, so that no training job's record can be called the same.
        super().__init__(tools, name, f"job-processing_{name}", tools.home / "processing-jobs" / name, job)
        self._threads = threads
        self._started = started

    def _run(self, log: JobLog) -> Outcome:
        if reason := self._tools.faults.find_failure(self._job["ProcessingResources"]["ClusterConfig"]["InstanceType"]):
            return self._failed(reason, log)
        self.base.mkdir(parents=True)
        with shell_safe(self.base) as self.base:
            self._make_folders()
            for each in self._job.get("ProcessingInputs", ()):
                source = each["S3Input"]
                self._tools.channels.provide(source["S3Uri"], Path(self.translate(source["LocalPath"])))
            self._mirrors = self._outputs("Continuous")
            if self._stopping.is_set():
                return Outcome("Stopped")
            self._started()
            code = self._run_process(self._command(), self._environment(), log)
            return self._upload(code, log)

    def _make_folders(self) -> None:
        """What a container finds: the JSON files under /opt/ml/config, and a folder for each output and for the exit message."""
        outputs = [Path(self.translate(each["S3Output"]["LocalPath"])) for each in self._output_list()]
        for folder in (*(self.base / name for name in ("config", "output", "processing", "tmp", "home")), *outputs):
            folder.mkdir(parents=True, exist_ok=True)
        cluster = self._job["ProcessingResources"]["ClusterConfig"]
        files = {
            "processingjobconfig": self._translated({name: self._job[name] for name in CONFIGURATION if name in self._job}),
            "resourceconfig": host_document(cluster["InstanceType"]),
        }
        for name, content in files.items():
            (self.base / "config" / f"{name}.json").write_text(json.dumps(content))

    def _translated(self, content: Any) -> Any:
        if isinstance(content, dict):
            return {name: self._translated(value) for name, value in content.items()}
        if isinstance(content, list):
            return [self._translated(value) for value in content]
        return self.translate(content) if isinstance(content, str) else content

    def _command(self) -> list[str]:
        application = self._job["AppSpecification"]
        return [self.translate(part) for part in (*application["ContainerEntrypoint"], *application.get("ContainerArguments", ()))]

    def _environment(self) -> dict[str, str]:
        isolated = self._job.get("NetworkConfig", {}).get("EnableNetworkIsolation", False)
        given = {name: self.translate(value) for name, value in self._job.get("Environment", {}).items()}
        return {**container_environment(self._tools, self.base, self._threads, isolated), **given}

    def _output_list(self) -> list[Document]:
        outputs: list[Document] = self._job.get("ProcessingOutputConfig", {}).get("Outputs", [])
        return outputs

    def _outputs(self, mode: str) -> list[Mirror]:
        """The output folders of an S3UploadMode."""
        wanted = [each["S3Output"] for each in self._output_list() if each["S3Output"]["S3UploadMode"] == mode]
        return [Mirror(self._tools.s3, Path(self.translate(each["LocalPath"])), each["S3Uri"]) for each in wanted]

    def _upload(self, code: int, log: JobLog) -> Outcome:
        """Outputs to S3: the continuous ones however the job ended, those for its end when it completed."""
        for mirror in self._mirrors:
            mirror.sync()
        try:
            message = read_exit_message(self.base / "output" / "message")
        except UnicodeDecodeError as error:
            return self._failed(f"ClientError: the file /opt/ml/output/message is not UTF-8: {error}", log)
        outcome = self._ended(code, message, log)
        if outcome.status == "Completed":
            for mirror in self._outputs("EndOfJob"):
                mirror.sync()
        outcome.exit_message = message
        return outcome

    def _ended(self, code: int, message: str, log: JobLog) -> Outcome:
        if self._stop_reason:
            log.write(f"{self._name} was stopped: {self._stop_reason}")
            return Outcome("Stopped", self._limit_reason())
        if code != 0:
            told = (
                f"ExitMessage and the log stream {log.stream}"
                if message
                else f"the log stream {log.stream}; its end: {log.tail()[-LONGEST_TAIL:]}"
            )
            return self._failed(f"AlgorithmError: see {told}, exit code: {code}", log)
        return Outcome()

    def _limit_reason(self) -> str:
        """What FailureReason says of a stop: a processing job has no secondary status to tell a time limit from a call."""
        if self._stop_reason != "MaxRuntimeExceeded":
            return ""
        return f"MaxRuntimeExceeded: the processing job ran longer than its MaxRuntimeInSeconds, {self.limit_s}"


def read_exit_message(file: Path) -> str:
    """The first 1,024 bytes of the file, a character that they cut in two left out; empty without a file. Raises UnicodeDecodeError."""
    if not file.is_file():
        return ""
    with file.open("rb") as opened:
        start = opened.read(EXIT_MESSAGE_BYTES)
        rest = opened.read(1)
    try:
        return start.decode()
    except UnicodeDecodeError as error:
        if not rest or error.reason != "unexpected end of data":
            raise
        return start[: error.start].decode()
