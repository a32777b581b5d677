"""Runs one processing job like a SageMaker container: its inputs, its entry point, its exit message, its outputs to S3.

Runs in the SageMaker plane, like every `local.jobs.job_run.JobRun`. It starts ContainerEntrypoint with ContainerArguments directly,
without a toolkit; /opt/ml in them is replaced with the job's folder.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from local.host.short_links import shell_safe
from local.jobs.container import Document, JobTools, Outcome, build_environment, build_host_document
from local.jobs.job_run import LONGEST_TAIL, JobRun
from local.jobs.logs import JobLog
from local.storage.objects import Mirror

# The members of the job's document in processingjobconfig.json.
CONFIGURATION = (
    "ProcessingJobArn", "ProcessingJobName", "AppSpecification", "ProcessingInputs", "ProcessingOutputConfig",
    "ProcessingResources", "RoleArn", "StoppingCondition", "Environment", "NetworkConfig",
)  # fmt: skip
EXIT_MESSAGE_BYTES = 1024


class ProcessingJobRun(JobRun):
    """One processing job from its first download to its last upload."""

    log_group = "/aws/sagemaker/ProcessingJobs"

    def __init__(self, tools: JobTools, job: Document, threads: int, started: Callable[[], None]) -> None:
        """Run `job` (a DescribeProcessingJob document) with `threads` cores; calls `report_start` just before its process starts."""
        name = job["ProcessingJobName"]
        # Job names cannot contain an underscore, so this differs from every training job's record.
        super().__init__(tools, name, f"job-processing_{name}", tools.home / "processing-jobs" / name, job)
        self._threads = threads
        self._report_start = started

    def _run(self, log: JobLog) -> Outcome:
        if reason := self._tools.faults.find_failure(self._job["ProcessingResources"]["ClusterConfig"]["InstanceType"]):
            return self._fail(reason, log)
        self.base.mkdir(parents=True)
        with shell_safe(self.base) as self.base:
            self._make_folders()
            for each in self._job.get("ProcessingInputs", ()):
                source = each["S3Input"]
                self._tools.channels.provide(source["S3Uri"], Path(self.translate(source["LocalPath"])))
            self._mirrors = self._make_mirrors("Continuous")
            if self._stopping.is_set():
                return Outcome("Stopped")
            self._report_start()
            code = self._run_process(self._build_command(), self._build_environment(), log)
            return self._upload(code, log)

    def _make_folders(self) -> None:
        """Create the JSON files under /opt/ml/config, and a folder for each output and for the exit message."""
        outputs = [Path(self.translate(each["S3Output"]["LocalPath"])) for each in self._list_outputs()]
        for folder in (*(self.base / name for name in ("config", "output", "processing", "tmp", "home")), *outputs):
            folder.mkdir(parents=True, exist_ok=True)
        cluster = self._job["ProcessingResources"]["ClusterConfig"]
        files = {
            "processingjobconfig": self._translate_strings({name: self._job[name] for name in CONFIGURATION if name in self._job}),
            "resourceconfig": build_host_document(cluster["InstanceType"]),
        }
        for name, content in files.items():
            (self.base / "config" / f"{name}.json").write_text(json.dumps(content))

    def _translate_strings(self, content: Any) -> Any:
        if isinstance(content, dict):
            return {name: self._translate_strings(value) for name, value in content.items()}
        if isinstance(content, list):
            return [self._translate_strings(value) for value in content]
        return self.translate(content) if isinstance(content, str) else content

    def _build_command(self) -> list[str]:
        application = self._job["AppSpecification"]
        return [self.translate(part) for part in (*application["ContainerEntrypoint"], *application.get("ContainerArguments", ()))]

    def _build_environment(self) -> dict[str, str]:
        isolated = self._job.get("NetworkConfig", {}).get("EnableNetworkIsolation", False)
        given = {name: self.translate(value) for name, value in self._job.get("Environment", {}).items()}
        return {**build_environment(self._tools, self.base, self._threads, isolated), **given}

    def _list_outputs(self) -> list[Document]:
        outputs: list[Document] = self._job.get("ProcessingOutputConfig", {}).get("Outputs", [])
        return outputs

    def _make_mirrors(self, mode: str) -> list[Mirror]:
        """Make mirrors for the output folders with this S3UploadMode."""
        wanted = [each["S3Output"] for each in self._list_outputs() if each["S3Output"]["S3UploadMode"] == mode]
        return [Mirror(self._tools.s3, Path(self.translate(each["LocalPath"])), each["S3Uri"]) for each in wanted]

    def _upload(self, code: int, log: JobLog) -> Outcome:
        """Upload the outputs to S3: continuous outputs always, end-of-job outputs only when the job completed."""
        for mirror in self._mirrors:
            mirror.sync()
        try:
            message = read_exit_message(self.base / "output" / "message")
        except UnicodeDecodeError as error:
            return self._fail(f"ClientError: the file /opt/ml/output/message is not UTF-8: {error}", log)
        outcome = self._make_outcome(code, message, log)
        if outcome.status == "Completed":
            for mirror in self._make_mirrors("EndOfJob"):
                mirror.sync()
        outcome.exit_message = message
        return outcome

    def _make_outcome(self, code: int, message: str, log: JobLog) -> Outcome:
        if self._stop_reason:
            log.write(f"{self._name} was stopped: {self._stop_reason}")
            return Outcome("Stopped", self._explain_limit())
        if code != 0:
            source = (
                f"ExitMessage and the log stream {log.stream}"
                if message
                else f"the log stream {log.stream}; its end: {log.tail()[-LONGEST_TAIL:]}"
            )
            return self._fail(f"AlgorithmError: see {source}, exit code: {code}", log)
        return Outcome()

    def _explain_limit(self) -> str:
        """Return the FailureReason of a stop: a processing job has no secondary status that distinguishes a time limit from a call."""
        if self._stop_reason != "MaxRuntimeExceeded":
            return ""
        return f"MaxRuntimeExceeded: the processing job ran longer than its MaxRuntimeInSeconds, {self.limit_s}"


def read_exit_message(file: Path) -> str:
    """Read the first 1,024 bytes of the file, without a cut last character; empty without a file. Raises UnicodeDecodeError."""
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
