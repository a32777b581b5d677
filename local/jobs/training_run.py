"""Runs one training job like a SageMaker container: /opt/ml tree, channels, the toolkit's `train`, artefacts to S3.

Runs in the SageMaker plane, like every `local.jobs.job_run.JobRun`.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path

from local.jobs.container import OPT_ML, REASON_LIMIT, Document, JobTools, Outcome, build_environment, build_host_document
from local.jobs.job_run import LONGEST_TAIL, JobRun
from local.jobs.logs import JobLog
from local.jobs.rule_jobs import Report, RuleJobs, Stop
from local.jobs.rule_requests import is_profiled
from local.storage.archives import pack
from local.storage.objects import Mirror, join_uri, upload_file

TENSORS, TENSORBOARD, PROFILE = f"{OPT_ML}/output/tensors", f"{OPT_ML}/output/tensorboard", f"{OPT_ML}/output/profiler"
END_OF_JOB = "training_job_end.ts"


class TrainingJobRun(JobRun):
    """One training job from its first download to its last upload."""

    log_group = "/aws/sagemaker/TrainingJobs"

    def __init__(
        self,
        tools: JobTools,
        job: Document,
        threads: int,
        report: Callable[[str, str], None],
        report_rules: Report,
        stop: Stop,
        on_metric: Callable[[str, float], None] = lambda _name, _value: None,
    ) -> None:
        """Run `job` (a DescribeTrainingJob document) with `threads` cores.

        Callbacks: `report(secondary status, message)` for progress, `report_rules` for rule statuses, `stop` to stop the job for a rule,
        `on_metric(metric, value)` for each printed metric.
        """
        name = job["TrainingJobName"]
        super().__init__(tools, name, f"job-{name}", tools.home / "jobs" / name, job)
        self._threads = threads
        self._report = report
        self._on_metric = on_metric
        self._rules = RuleJobs(tools, job, self.folder, report_rules, stop)
        self._rule_output: Mirror | None = None
        self.metrics: dict[str, tuple[float, float]] = {}
        definitions = job["AlgorithmSpecification"].get("MetricDefinitions", ())
        self._patterns = [(each["Name"], re.compile(each["Regex"])) for each in definitions]

    def _run(self, log: JobLog) -> Outcome:
        self._report("Starting", "Preparing the instances for training")
        if reason := self._tools.faults.find_failure(self._job["ResourceConfig"]["InstanceType"]):
            return self._fail(reason, log)
        self._write_configuration()
        self._report("Downloading", "Downloading input data")
        self._download()
        if self._stopping.is_set():
            return Outcome("Stopped")
        self._report("Training", "Training image download completed. Training in progress.")
        self._rules.start(Path(self.translate(_find_tensors_folder(self._job))), Path(self.translate(PROFILE)))
        try:
            code = self._run_process([str(self._tools.image.train)], self._build_environment(), log, self._read_metrics)
        finally:
            self._rules.end_training()
        self._mark_end(log)
        self._report("Stopping" if self._stop_reason else "Uploading", "Uploading generated training model")
        return self._upload(code, log)

    def close(self) -> None:
        """End the job and the evaluation of its rules."""
        self._rules.abandon()
        super().close()

    def follow_up(self, outcome: Outcome) -> None:
        """Evaluate the rules to their end."""
        if self._rules.is_wanted:
            self._rules.conclude(outcome.status, self._rule_output)
            super()._drop_folders()

    def _drop_folders(self) -> None:
        """Delete the folders later if the rules still need tensors and profile."""
        if not self._rules.is_wanted:
            super()._drop_folders()

    def _write_configuration(self) -> None:
        """Create the JSON files of /opt/ml/input/config and the folders of a container."""
        for name in ("input/config", "input/data", "model", "output/data", "checkpoints", "tmp", "home"):
            (self.base / name).mkdir(parents=True, exist_ok=True)
        job = self._job
        channels = {
            channel["ChannelName"]: {
                "TrainingInputMode": channel.get("InputMode", job["AlgorithmSpecification"]["TrainingInputMode"]),
                "S3DistributionType": channel["DataSource"]["S3DataSource"].get("S3DataDistributionType", "FullyReplicated"),
                "RecordWrapperType": "None",
                **({"ContentType": channel["ContentType"]} if "ContentType" in channel else {}),
            }
            for channel in job.get("InputDataConfig", ())
        }
        self._write_config("hyperparameters", {name: self.translate(value) for name, value in job.get("HyperParameters", {}).items()})
        self._write_config("resourceconfig", build_host_document(job["ResourceConfig"]["InstanceType"]))
        self._write_config("inputdataconfig", channels)
        if hook := job.get("DebugHookConfig"):
            self._write_config("debughookconfig", {**hook, "LocalPath": self.translate(_find_tensors_folder(job))})
        if profiler := job.get("ProfilerConfig"):
            self._write_config("profilerconfig", profiler)
        if board := job.get("TensorBoardOutputConfig"):
            self._write_config("tensorboardoutputconfig", {**board, "LocalPath": self.translate(board.get("LocalPath", TENSORBOARD))})

    def _write_config(self, name: str, content: object) -> None:
        (self.base / "input" / "config" / f"{name}.json").write_text(json.dumps(content))

    def _download(self) -> None:
        for channel in self._job.get("InputDataConfig", ()):
            uri = channel["DataSource"]["S3DataSource"]["S3Uri"]
            self._tools.channels.provide(uri, self.base / "input" / "data" / channel["ChannelName"])
        self._mirrors = [Mirror(self._tools.s3, Path(self.translate(path)), uri) for path, uri in self._list_mirrored()]
        if "CheckpointConfig" in self._job:
            self._mirrors[0].restore()
        if self._rules.is_wanted:
            uri = join_uri(self._job["OutputDataConfig"]["S3OutputPath"], self._name, "rule-output")
            self._rule_output = Mirror(self._tools.s3, self._rules.output, uri)

    def _list_mirrored(self) -> list[tuple[str, str]]:
        """List the folders that are mirrored to S3 while the job runs, checkpoints first: (path in the container, URI)."""
        pairs = []
        if checkpoint := self._job.get("CheckpointConfig"):
            pairs.append((checkpoint.get("LocalPath", f"{OPT_ML}/checkpoints"), checkpoint["S3Uri"]))
        if hook := self._job.get("DebugHookConfig"):
            pairs.append((_find_tensors_folder(self._job), join_uri(hook["S3OutputPath"], self._name, "debug-output")))
        if board := self._job.get("TensorBoardOutputConfig"):
            pairs.append((board.get("LocalPath", TENSORBOARD), join_uri(board["S3OutputPath"], self._name, "tensorboard-output")))
        if is_profiled(self._job):
            pairs.append((PROFILE, join_uri(self._job["ProfilerConfig"]["S3OutputPath"], self._name, "profiler-output")))
        return pairs

    def _mark_end(self, log: JobLog) -> None:
        """Create the empty files that mark the end of tensors and profile: inside a job smdebug leaves them to the service."""
        folders = [_find_tensors_folder(self._job)] if "DebugHookConfig" in self._job else []
        folders += [f"{PROFILE}/system", f"{PROFILE}/framework"] if is_profiled(self._job) else []
        for folder in folders:
            try:
                Path(self.translate(folder)).mkdir(parents=True, exist_ok=True)
                Path(self.translate(folder), END_OF_JOB).touch()
            except OSError as error:
                log.write(f"{self._name}: the end marker of {folder} could not be written: {error}")

    def _build_environment(self) -> dict[str, str]:
        config = self.base / "input" / "config"
        hooks = {
            "SMDEBUG_CONFIG_FILE_PATH": config / "debughookconfig.json",
            "TENSORBOARD_CONFIG_FILE_PATH": config / "tensorboardoutputconfig.json",
            "SMPROFILER_CONFIG_PATH": config / "profilerconfig.json",
        }
        return {
            **build_environment(self._tools, self.base, self._threads, self._job.get("EnableNetworkIsolation", False)),
            "SAGEMAKER_BASE_DIR": str(self.base),
            "SAGEMAKER_TRAINING_MODULE": "sagemaker_pytorch_container.training:main",
            # Without it the toolkit waits up to 15 minutes for DNS to resolve algo-1.
            "SM_STUDIO_LOCAL_MODE": "true",
            "TRAINING_JOB_NAME": self._name,
            "TRAINING_JOB_ARN": self._job["TrainingJobArn"],
            **{name: str(path) for name, path in hooks.items() if path.exists()},
            **{name: self.translate(value) for name, value in self._job.get("Environment", {}).items()},
        }

    def _read_metrics(self, line: str) -> None:
        for name, pattern in self._patterns:
            for match in pattern.finditer(line):
                try:
                    value = float(match.group(1) if pattern.groups else match.group(0))
                except ValueError:
                    continue
                self.metrics[name] = (value, self._tools.clock())
                self._on_metric(name, value)

    def _upload(self, code: int, log: JobLog) -> Outcome:
        """Upload the artefacts to S3 as SageMaker does: the output folder always, the model unless the job failed."""
        for mirror in self._mirrors:
            mirror.sync()
        target = join_uri(self._job["OutputDataConfig"]["S3OutputPath"], self._name, "output")
        if any((self.base / "output" / "data").iterdir()):
            self._upload_archive(self.base / "output" / "data", f"{target}/output.tar.gz")
        if code != 0 and not self._stop_reason:
            return self._fail(self._read_failure_reason(code, log), log)
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

    def _read_failure_reason(self, code: int, log: JobLog) -> str:
        """Return the job's /opt/ml/output/failure, else the end of its log, in AWS's form."""
        file = self.base / "output" / "failure"
        text = file.read_text(encoding="utf-8", errors="replace").strip() if file.exists() else ""
        text = text or f"see the log stream {log.stream}; its end: {log.tail()[-LONGEST_TAIL:]}"
        return f"AlgorithmError: {text[: REASON_LIMIT - 60]}, exit code: {code}"

    def _fail(self, reason: str, log: JobLog) -> Outcome:
        outcome = super()._fail(reason, log)
        outcome.metrics = self.metrics
        return outcome


def _find_tensors_folder(job: Document) -> str:
    """Return the folder of smdebug's hook, as a path in the container."""
    folder: str = job.get("DebugHookConfig", {}).get("LocalPath", TENSORS)
    return folder
