"""Debugger and Profiler beside one training job: a sampler, a process that judges the debugger's rules, an analysis at the end.

Runs in the SageMaker plane. The programs are training.profiler.sampler, training.rule_evaluation.evaluate and training.profiler.analyse;
what they
write below the job's folder `rules` becomes rule statuses and, in its folder `output`, the objects of `rule-output/`. Rules may be
judged after the training job has ended: until then they are InProgress.
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
from local.jobs.rule_requests import DEFAULT_INTERVAL_MS, profiling
from local.jobs.rule_statuses import CONFIGURATIONS, DEBUG, PROFILER, ended, read_verdicts, told
from local.jobs.side_process import SideProcess
from local.storage.objects import Mirror

LOG_GROUP = "/aws/sagemaker/ProcessingJobs"
LOG_FILE = "rules.txt"
WATCH_S = 0.5
SAMPLER_PATIENCE_S = 30.0
PATIENCE_S = 120.0
LIMIT_S = 1800.0
LONGEST_WORD = 400
# What a job writes into its hook's or its profiler's folder when that stopped recording half-way: only the job knows.
DEGRADED = "degraded.txt"
INTERRUPTED = "InternalServerError: local mode ended while the rule was evaluated"

log = logging.getLogger("rule-jobs")

Report = Callable[[str, list[Document]], None]
"""Called with the name of the document's member and its new rule statuses."""
Stop = Callable[[str, str], None]
"""Called with the name and the details of a rule that stops the training job."""


class RuleJobs:
    """One training job's sampler and rules: `start`, `training_ended`, `conclude`, in this order, each however the job goes."""

    def __init__(
        self, tools: JobTools, job: Document, folder: Path, report: Report, stop: Stop,
        patience_s: float = PATIENCE_S, limit_s: float = LIMIT_S,
    ) -> None:  # fmt: skip
        """Judge the rules of `job` (its document), in its `folder`.

        After the training a program may do nothing for `patience_s` seconds, and may take `limit_s` seconds in all.
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
        self._stop_heeded = False
        self._watcher: threading.Thread | None = None
        self._training_over = threading.Event()
        self._abandoned = threading.Event()

    @property
    def is_wanted(self) -> bool:
        """Whether the job has rules or is profiled."""
        return bool(self._statuses) or profiling(self._job)

    def start(self, tensors: Path, profile: Path) -> None:
        """Start what runs beside the training, which goes on without it: `tensors` is the hook's folder, `profile` the profiler's."""
        if not self.is_wanted:
            return
        try:
            self._start(tensors, profile)
        except OSError as error:
            self._unstarted = f"InternalServerError: local mode could not start the rules: {error}"
            self._kill()
            self._sampler = self._rules = None
            self._opened.close()

    def training_ended(self) -> None:
        """End the sampler, so that all it measured can be uploaded; the rules then judge what is left."""
        self._training_over.set()
        if rules := self._rules:
            rules.end_input()
        sampler, self._sampler = self._sampler, None
        if sampler is None:
            return
        sampler.end_input()
        problem = sampler.wait(SAMPLER_PATIENCE_S, SAMPLER_PATIENCE_S)
        if not problem and not any((self._profile / "system").rglob("*.json")):
            problem = "the sampler measured nothing, or what it measured is gone"
        self._sampler_problem = self._sampler_problem or problem
        if self._sampler_problem:
            self._log.write(f"profiler degraded: {self._sampler_problem}")

    def abandon(self) -> None:
        """Judge no further, for the plane's own end."""
        self._abandoned.set()

    def conclude(self, status: str, mirror: Mirror | None) -> None:
        """Judge what is left, upload `mirror`, the rules' output, and tell the last verdicts of a job that ended with `status`."""
        if self._watcher is None:
            how = "Stopped" if status == "Stopped" and not self._unstarted else "Error"
            reason = self._unstarted or f"No rule was evaluated: the training job was {status} before its training began"
            self._end((DEBUG, PROFILER), reason, how=how)
            shutil.rmtree(self._folder, ignore_errors=True)
            return
        try:
            self.training_ended()
            self._conclude(mirror)
        finally:
            # Whatever went wrong above, nothing is left running and no rule without a verdict.
            self._kill()
            self._end((DEBUG, PROFILER), "InternalServerError: local mode could not evaluate the rule; its plane.log tells why")
            self._opened.close()
            shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self, tensors: Path, profile: Path) -> None:
        self.output.mkdir(parents=True, exist_ok=True)
        self._tensors, self._profile = tensors, profile
        self._opened.enter_context(self._log)
        if profiling(self._job):
            interval = self._job["ProfilerConfig"].get("ProfilingIntervalInMilliseconds", DEFAULT_INTERVAL_MS)
            profile.mkdir(parents=True, exist_ok=True)
            self._sampler = self._program("sampler", "training.profiler.sampler", "--folder", profile, "--interval-ms", interval)
        if DEBUG in self._statuses:
            places = ("--tensors", tensors, "--statuses", self._file(DEBUG), "--configurations", self._configurations(DEBUG))
            self._rules = self._program("rules", "training.rule_evaluation.evaluate", *places, "--stop-file", self._folder / "stop.json")
        self._watcher = threading.Thread(target=self._watch, daemon=True, name=f"rules-{self._name}")
        self._watcher.start()

    def _conclude(self, mirror: Mirror | None) -> None:
        """Wait for the debugger's rules while the profiler's are judged; verdicts are told when their output is in S3."""
        unstarted = self._start_analysis()
        if self._watcher:
            self._watcher.join()
        problems = {
            DEBUG: self._rules_problem or self._wait(self._rules) or degraded("hook", self._tensors),
            PROFILER: self._wait(self._analysis) or unstarted or self._sampler_problem or degraded("profiler", self._profile),
        }
        missing = self._upload(mirror)
        for field, problem in problems.items():
            self._settle(field, problem or missing)

    def _start_analysis(self) -> str:
        """Start judging the profiler's rules; returns why that could not be, or nothing."""
        if PROFILER not in self._statuses or self._abandoned.is_set():
            return ""
        places = ("--folder", self._profile, "--output", self.output, "--statuses", self._file(PROFILER))
        try:
            configurations = self._configurations(PROFILER)
            self._analysis = self._program("profiler", "training.profiler.analyse", *places, "--configurations", configurations)
        except OSError as error:
            return f"local mode could not start the analysis: {error}"
        return ""

    def _wait(self, process: SideProcess | None) -> str:
        """What went wrong in the rest of a program's run, or nothing."""
        if process is None:
            return ""
        process.end_input()
        return process.wait(self._patience_s, self._limit_s, self._abandoned.is_set)

    def _settle(self, field: str, problem: str) -> None:
        """Tell a kind's last verdicts; after a `problem` none of them may be that all is well."""
        statuses, now = self._told(field), self._tools.clock()
        if self._abandoned.is_set():
            statuses = ended(statuses, INTERRUPTED, now)
        elif problem:
            statuses = ended(statuses, f"InternalServerError: {problem}; {self._where()}", now, doubted=True)
        missing = f"InternalServerError: its process ended without a verdict on this rule; {self._where()}"
        # At once: nobody is to see a NoIssuesFound that is doubted.
        self._change(field, ended(statuses, missing, now))

    def _watch(self) -> None:
        """While the job trains: tell new verdicts, stop the job for a rule, notice a program that died."""
        known = ""
        while not self._training_over.wait(WATCH_S):
            try:
                self._look()
            except OSError as error:
                # The next look may succeed: a full disk can have room again.
                if known != str(error):
                    log.warning("the rules of the training job %s could not be looked at, which goes on: %s", self._name, error)
                known = str(error)

    def _look(self) -> None:
        self._heed_stop()
        self._change(DEBUG, self._told(DEBUG))
        if self._rules and self._rules.code is not None:
            rules, self._rules = self._rules, None
            self._rules_problem = self._wait(rules)
            self._settle(DEBUG, self._rules_problem)
        sampler = self._sampler
        if sampler and sampler.code is not None and not self._training_over.is_set():
            self._sampler_problem = f"the sampler ended with exit code {sampler.code} before the training did"

    def _kill(self) -> None:
        for process in (self._sampler, self._rules, self._analysis):
            if process:
                process.kill()

    def _heed_stop(self) -> None:
        file = self._folder / "stop.json"
        if self._stop_heeded or not file.exists():
            return
        try:
            wanted = json.loads(file.read_text())
        except ValueError:  # not whole yet
            return
        self._stop(str(wanted.get("rule", "")), str(wanted.get("details", "")))
        self._stop_heeded = True

    def _program(self, name: str, module: str, *arguments: object) -> SideProcess:
        # A job's name has no underscore, so that no job's record can be called the same.
        process = SideProcess(self._tools, f"job-{name}_{self._name}", module, [str(each) for each in arguments], self._log)
        process.start()
        return process

    def _configurations(self, field: str) -> Path:
        """The rules of a kind as a file: name and parameters, as the request has them."""
        rules = self._job[CONFIGURATIONS[field]]
        file = self._folder / f"{CONFIGURATIONS[field]}.json"
        file.write_text(json.dumps([{name: rule[name] for name in ("RuleConfigurationName", "RuleParameters")} for rule in rules]))
        return file

    def _file(self, field: str) -> Path:
        """Where a program writes its statuses: not among what is uploaded, for it is written again and again."""
        return self._folder / f"{field}.json"

    def _told(self, field: str) -> list[Document]:
        return told(self._statuses.get(field, ()), read_verdicts(self._file(field)), self._tools.clock())

    def _end(self, fields: Sequence[str], problem: str, doubted: bool = False, how: str = "Error") -> None:
        for field in fields:
            self._change(field, ended(self._statuses.get(field, ()), problem, self._tools.clock(), doubted, how))

    def _change(self, field: str, statuses: list[Document]) -> None:
        if statuses != self._statuses.get(field, []):
            self._report(field, statuses)
            self._statuses[field] = statuses

    def _upload(self, mirror: Mirror | None) -> str:
        """The rules' output to S3, the verdicts with their evidence beside it; returns what went wrong, or nothing."""
        try:
            for field, name in ((DEBUG, "statuses.json"), (PROFILER, "profiler_statuses.json")):
                if self._file(field).exists():
                    shutil.copyfile(self._file(field), self.output / name)
            if mirror is not None:
                mirror.sync()
        except (*S3_ERRORS, OSError) as error:
            return f"the rules' output could not be uploaded: {error}"
        return ""

    def _where(self) -> str:
        return f"its end in {LOG_GROUP}, {self._log.stream}: {self._log.tail()[-400:]}"


def degraded(what: str, folder: Path) -> str:
    """What a job has left word of in `folder`, that of its hook or its profiler: why that stopped recording; or nothing."""
    try:
        said = (folder / DEGRADED).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        said = f"{DEGRADED} cannot be read: {error}"
    return f"the job's {what} degraded: {' '.join(said.split())[:LONGEST_WORD] or 'it does not say why'}"
