"""Debugger and Profiler beside one training job: a sampler, a process that evaluates the debugger's rules, an analysis at the end.

Runs in the SageMaker plane. The programs are training.profiler.sampler, training.rule_evaluation.evaluate and training.profiler.analyse.
Their files in the job's folder `rules` become rule statuses, and those in `rules/output` the objects of `rule-output/`. A rule is
InProgress until it is evaluated, which may be after the training job's end.
"""

import json
import logging
import shutil
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from local.jobs.container import Document, JobTools
from local.jobs.job_run import S3_ERRORS
from local.jobs.logs import JobLog
from local.jobs.rule_requests import DEFAULT_INTERVAL_MS, is_profiled
from local.jobs.rule_statuses import CONFIGURATIONS, DEBUG, PROFILER, end_statuses, read_verdicts, update_statuses
from local.jobs.side_process import SideProcess
from local.storage.objects import Mirror

LOG_GROUP = "/aws/sagemaker/ProcessingJobs"
LOG_FILE = "rules.txt"
WATCH_S = 0.5
SAMPLER_PATIENCE_S = 30.0
PATIENCE_S = 120.0
LIMIT_S = 1800.0
LONGEST_REASON = 400
# A job writes this file into its hook's or its profiler's folder when recording stopped early.
DEGRADED = "degraded.txt"
INTERRUPTED = "InternalServerError: local mode ended while the rule was evaluated"

log = logging.getLogger("rule-jobs")

Report = Callable[[str, list[Document]], None]
"""Called with the name of the document's member and its new rule statuses."""
Stop = Callable[[str, str], None]
"""Called with the name and the details of a rule that stops the training job."""


class RuleJobs:
    """One training job's sampler and rules: call `start`, `end_training`, `conclude` in this order, also when the job fails."""

    def __init__(
        self, tools: JobTools, job: Document, folder: Path, report: Report, stop: Stop,
        patience_s: float = PATIENCE_S, limit_s: float = LIMIT_S,
    ) -> None:  # fmt: skip
        """Evaluate the rules of `job` (its document), in its `folder`.

        After the training a program may be idle for `patience_s` seconds, and may take `limit_s` seconds in all.
        """
        self._tools = tools
        self._job = job
        self._name = job["TrainingJobName"]
        self._report = report
        self._stop = stop
        self._patience_s, self._limit_s = patience_s, limit_s
        self._statuses = {field: list(job[field]) for field in (DEBUG, PROFILER) if field in job}
        self._folder = folder / "rules"
        self.output = self._folder / "output"
        stream = f"{self._name}-rules/algo-1-{int(tools.clock() * 1000)}"
        self._log = JobLog(tools.logs, LOG_GROUP, stream, folder / LOG_FILE, tools.clock)
        self._opened = ExitStack()
        self._tensors, self._profile = Path(), Path()
        self._sampler: SideProcess | None = None
        self._sampler_problem = ""
        self._rules: SideProcess | None = None
        self._rules_problem = ""
        self._analysis: SideProcess | None = None
        self._unstarted = ""
        self._has_stopped_job = False
        self._watcher: threading.Thread | None = None
        self._training_over = threading.Event()
        self._abandoned = threading.Event()

    @property
    def is_wanted(self) -> bool:
        """Whether the job has rules or is profiled."""
        return bool(self._statuses) or is_profiled(self._job)

    def start(self, tensors: Path, profile: Path) -> None:
        """Start the programs; training continues if they fail. `tensors` is the hook's folder, `profile` the profiler's."""
        if not self.is_wanted:
            return
        try:
            self._start(tensors, profile)
        except OSError as error:
            self._unstarted = f"InternalServerError: local mode could not start the rules: {error}"
            self._kill()
            self._sampler = self._rules = None
            self._opened.close()

    def end_training(self) -> None:
        """End the sampler, so that its measurements can be uploaded; the rules then evaluate the remaining tensors."""
        self._training_over.set()
        if rules := self._rules:
            rules.end_input()
        sampler, self._sampler = self._sampler, None
        if sampler is None:
            return
        sampler.end_input()
        problem = sampler.wait(SAMPLER_PATIENCE_S, SAMPLER_PATIENCE_S)
        if not problem and not any((self._profile / "system").rglob("*.json")):
            problem = "the sampler's measurements are missing"
        self._sampler_problem = self._sampler_problem or problem
        if self._sampler_problem:
            self._log.write(f"profiler degraded: {self._sampler_problem}")

    def abandon(self) -> None:
        """Stop the evaluation when the plane ends."""
        self._abandoned.set()

    def conclude(self, status: str, mirror: Mirror | None) -> None:
        """Evaluate the rest, upload `mirror`, the rules' output, and report the final statuses of a job that ended with `status`."""
        if self._watcher is None:
            how = "Stopped" if status == "Stopped" and not self._unstarted else "Error"
            reason = self._unstarted or f"No rule was evaluated: the training job was {status} before its training began"
            self._end((DEBUG, PROFILER), reason, how=how)
            shutil.rmtree(self._folder, ignore_errors=True)
            return
        try:
            self.end_training()
            self._conclude(mirror)
        finally:
            # Also after an error above, end all programs and give each rule a final status.
            self._kill()
            self._end((DEBUG, PROFILER), "InternalServerError: local mode could not evaluate the rule; see its plane.log")
            self._opened.close()
            shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self, tensors: Path, profile: Path) -> None:
        self.output.mkdir(parents=True, exist_ok=True)
        self._tensors, self._profile = tensors, profile
        self._opened.enter_context(self._log)
        if is_profiled(self._job):
            interval = self._job["ProfilerConfig"].get("ProfilingIntervalInMilliseconds", DEFAULT_INTERVAL_MS)
            profile.mkdir(parents=True, exist_ok=True)
            self._sampler = self._start_program("sampler", "training.profiler.sampler", "--folder", profile, "--interval-ms", interval)
        if DEBUG in self._statuses:
            stop = ("--stop-file", self._folder / "stop.json")
            places = ("--tensors", tensors, "--statuses", self._status_file(DEBUG), "--configurations", self._write_configurations(DEBUG))
            self._rules = self._start_program("rules", "training.rule_evaluation.evaluate", *places, *stop)
        self._watcher = threading.Thread(target=self._watch, daemon=True, name=f"rules-{self._name}")
        self._watcher.start()

    def _conclude(self, mirror: Mirror | None) -> None:
        """Wait for the debugger's rules during the profiler's analysis; reports the statuses when their output is in S3."""
        unstarted = self._start_analysis()
        if self._watcher:
            self._watcher.join()
        problems = {
            DEBUG: self._rules_problem or self._wait(self._rules) or read_degradation("hook", self._tensors),
            PROFILER: self._wait(self._analysis) or unstarted or self._sampler_problem or read_degradation("profiler", self._profile),
        }
        missing = self._upload(mirror)
        for field, problem in problems.items():
            self._report_final(field, problem or missing)

    def _start_analysis(self) -> str:
        """Start the analysis of the profiler's rules; returns the error, or an empty text."""
        if PROFILER not in self._statuses or self._abandoned.is_set():
            return ""
        places = ("--folder", self._profile, "--output", self.output, "--statuses", self._status_file(PROFILER))
        try:
            configurations = self._write_configurations(PROFILER)
            self._analysis = self._start_program("profiler", "training.profiler.analyse", *places, "--configurations", configurations)
        except OSError as error:
            return f"local mode could not start the analysis: {error}"
        return ""

    def _wait(self, process: SideProcess | None) -> str:
        """Wait for a program's end; returns the error, or an empty text."""
        if process is None:
            return ""
        process.end_input()
        return process.wait(self._patience_s, self._limit_s, self._abandoned.is_set)

    def _report_final(self, field: str, problem: str) -> None:
        """Report a kind's final statuses; after a `problem`, NoIssuesFound becomes Error."""
        statuses, now = self._read_statuses(field), self._tools.clock()
        if self._abandoned.is_set():
            statuses = end_statuses(statuses, INTERRUPTED, now)
        elif problem:
            statuses = end_statuses(statuses, f"InternalServerError: {problem}; {self._describe_log()}", now, doubted=True)
        missing = f"InternalServerError: its process ended without a status for this rule; {self._describe_log()}"
        # In one change: a reader must not see a NoIssuesFound that is about to become Error.
        self._change(field, end_statuses(statuses, missing, now))

    def _watch(self) -> None:
        """While the job trains: report new statuses, stop the job for a rule, detect a program that ended."""
        known = ""
        while not self._training_over.wait(WATCH_S):
            try:
                self._check()
            except OSError as error:
                # The next check may succeed, for instance when a full disk has free space again.
                if known != str(error):
                    log.warning("the rules of the training job %s could not be checked; the job continues: %s", self._name, error)
                known = str(error)

    def _check(self) -> None:
        self._apply_stop()
        self._change(DEBUG, self._read_statuses(DEBUG))
        if self._rules and self._rules.code is not None:
            rules, self._rules = self._rules, None
            self._rules_problem = self._wait(rules)
            self._report_final(DEBUG, self._rules_problem)
        sampler = self._sampler
        if sampler and sampler.code is not None and not self._training_over.is_set():
            self._sampler_problem = f"the sampler ended with exit code {sampler.code} before the training did"

    def _kill(self) -> None:
        for process in (self._sampler, self._rules, self._analysis):
            if process:
                process.kill()

    def _apply_stop(self) -> None:
        file = self._folder / "stop.json"
        if self._has_stopped_job or not file.exists():
            return
        try:
            wanted = json.loads(file.read_text())
        except ValueError:  # incomplete
            return
        self._stop(str(wanted.get("rule", "")), str(wanted.get("details", "")))
        self._has_stopped_job = True

    def _start_program(self, name: str, module: str, *arguments: object) -> SideProcess:
        # Job names cannot contain an underscore, so this differs from every job's record.
        process = SideProcess(self._tools, f"job-{name}_{self._name}", module, [str(each) for each in arguments], self._log)
        process.start()
        return process

    def _write_configurations(self, field: str) -> Path:
        """Write the rules of a kind to a file: name and parameters, as in the request."""
        rules = self._job[CONFIGURATIONS[field]]
        file = self._folder / f"{CONFIGURATIONS[field]}.json"
        file.write_text(json.dumps([{name: rule[name] for name in ("RuleConfigurationName", "RuleParameters")} for rule in rules]))
        return file

    def _status_file(self, field: str) -> Path:
        """Return the file to which a program writes its statuses; it changes often, so it is outside the uploaded folder."""
        return self._folder / f"{field}.json"

    def _read_statuses(self, field: str) -> list[Document]:
        return update_statuses(self._statuses.get(field, ()), read_verdicts(self._status_file(field)), self._tools.clock())

    def _end(self, fields: Sequence[str], problem: str, doubted: bool = False, how: str = "Error") -> None:
        for field in fields:
            self._change(field, end_statuses(self._statuses.get(field, ()), problem, self._tools.clock(), doubted, how))

    def _change(self, field: str, statuses: list[Document]) -> None:
        if statuses != self._statuses.get(field, []):
            self._report(field, statuses)
            self._statuses[field] = statuses

    def _upload(self, mirror: Mirror | None) -> str:
        """Upload the rules' output and their statuses with evidence to S3; returns the error, or an empty text."""
        try:
            for field, name in ((DEBUG, "statuses.json"), (PROFILER, "profiler_statuses.json")):
                if self._status_file(field).exists():
                    shutil.copyfile(self._status_file(field), self.output / name)
            if mirror is not None:
                mirror.sync()
        except (*S3_ERRORS, OSError) as error:
            return f"the rules' output could not be uploaded: {error}"
        return ""

    def _describe_log(self) -> str:
        return f"its end in {LOG_GROUP}, {self._log.stream}: {self._log.tail()[-400:]}"


def read_degradation(what: str, folder: Path) -> str:
    """Read from `folder` why the job's hook or profiler stopped recording early; empty if it did not."""
    try:
        reason = (folder / DEGRADED).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        reason = f"{DEGRADED} cannot be read: {error}"
    return f"the job's {what} degraded: {' '.join(reason.split())[:LONGEST_REASON] or 'without a reason'}"
