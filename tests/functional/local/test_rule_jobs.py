"""Debugger and Profiler beside a training job, with programs that stand in for the real ones: whatever they do, a verdict comes."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from boto3.exceptions import S3UploadFailedError

from local.jobs.rule_jobs import RuleJobs, read_degradation
from local.jobs.rule_statuses import DEBUG, PROFILER, make_statuses
from local.jobs.training_jobs import KIND, TrainingJobs
from local.storage.store import Document, Store
from tests.fixtures.local.fakes import ALL_IS_WELL, SAMPLES, FakeS3, fake_tools, programs, toolkit
from tests.fixtures.local.running import lives, wait_until
from tests.fixtures.local.watched_jobs import watched

UNTIL_GO = "import os, time; base = os.environ['SAGEMAKER_BASE_DIR']\nwhile not os.path.exists(base + '/go'): time.sleep(0.05)\n"
UNTIL_RELEASED = "sys.stdin.read()\nwhile not Path(given['statuses']).with_name('released').exists(): time.sleep(0.05)\n"
Kind = TypeVar("Kind", bound=RuleJobs)


class Jobs:
    """Training jobs of one plane below a folder, and what they have told."""

    def __init__(self, folder: Path, s3: FakeS3 | None = None) -> None:
        self.folder, self.s3 = folder, s3 or FakeS3()
        self.tools = fake_tools(folder, self.s3)
        self.jobs = TrainingJobs(Store(folder / "state"), self.tools)

    def create(self, **fields: Any) -> None:
        self.jobs.create(watched(InputDataConfig=[], **fields))

    def job(self) -> Document:
        return self.jobs.describe("watched-1")

    def verdicts(self, field: str = DEBUG) -> list[str]:
        return [status["RuleEvaluationStatus"] for status in self.job()[field]]

    def details(self, field: str = DEBUG) -> str:
        return str(self.job()[field][0].get("StatusDetails"))

    def go(self) -> None:
        """Let a training that waits UNTIL_GO end, once it has begun."""
        wait_until(lambda: self.job()["SecondaryStatus"], lambda status: status != "Starting" and status != "Downloading", 20)
        (self.folder / "jobs" / "watched-1" / "ml" / "go").touch()

    def wait(self) -> Document:
        return self.jobs.wait("watched-1", 60)


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[Jobs]:
    programs(tmp_path / "programs")
    toolkit(tmp_path, UNTIL_GO)
    jobs = Jobs(tmp_path)
    yield jobs
    pids = [record.pid for record in jobs.tools.processes.list_records()]
    jobs.jobs.stop_all(20)
    assert not any(lives(pid) for pid in pids), "a program outlived the plane"


def test_verdicts_are_told_while_the_job_trains_and_after_it(plane: Jobs) -> None:
    programs(plane.folder / "programs", "tell('IssuesFound', 'met at step 5', rules[:1])\n" + UNTIL_RELEASED + "tell('NoIssuesFound')")
    plane.create()
    assert plane.job()["ProfilingStatus"] == "Enabled"
    wait_until(plane.verdicts, lambda seen: seen == ["IssuesFound", "InProgress"], 20)
    assert plane.details() == "met at step 5" and plane.job()["TrainingJobStatus"] == "InProgress"
    config = plane.folder / "jobs/watched-1/ml/input/config"
    assert json.loads((config / "profilerconfig.json").read_text()) == watched()["ProfilerConfig"]
    plane.go()
    wait_until(plane.job, lambda job: job["TrainingJobStatus"] == "Completed", 20)
    assert plane.s3.objects["profile/watched-1/profiler-output/system/1.algo-1.json"] == b"100"
    marks = ("debug/watched-1/debug-output", "profile/watched-1/profiler-output/system", "profile/watched-1/profiler-output/framework")
    assert [plane.s3.objects.get(f"{mark}/training_job_end.ts") for mark in marks] == [b"", b"", b""]
    assert (plane.verdicts(), plane.verdicts(PROFILER)) == (["IssuesFound", "InProgress"], ["InProgress"])
    (plane.folder / "jobs/watched-1/rules/released").touch()
    plane.wait()
    assert (plane.verdicts(), plane.verdicts(PROFILER)) == (["IssuesFound", "NoIssuesFound"], ["NoIssuesFound"])
    assert json.loads(plane.s3.objects["output/watched-1/rule-output/statuses.json"])[0]["Evidence"] == [7]
    assert "output/watched-1/rule-output/profiler_statuses.json" in plane.s3.objects
    assert sorted(path.name for path in (plane.folder / "jobs/watched-1").iterdir()) == ["log.txt", "rules.txt"]


def test_a_rule_process_that_dies_is_an_error_while_the_job_still_trains(plane: Jobs) -> None:
    programs(plane.folder / "programs", "tell('IssuesFound', 'met', rules[:1])\nraise SystemExit('the disk is full')")
    plane.create()
    wait_until(plane.verdicts, lambda seen: seen == ["IssuesFound", "Error"], 20)
    details = plane.job()[DEBUG][1]["StatusDetails"]
    assert "training.rule_evaluation.evaluate ended with exit code 1" in details and "the disk is full" in details
    assert plane.job()["TrainingJobStatus"] == "InProgress"
    plane.go()
    assert plane.wait()["TrainingJobStatus"] == "Completed"


@pytest.mark.parametrize(
    ("evaluate", "sentence"),
    [
        ("sys.stdin.read(); tell('NoIssuesFound'); raise SystemExit(3)", "ended with exit code 3"),
        ("sys.stdin.read(); tell('NoIssuesFound'); os.kill(os.getpid(), 9)", "ended with exit code 137"),
        ("sys.stdin.read()", "ended without a status for this rule"),
        ("sys.stdin.read(); tell('InProgress')", "ended without a status for this rule"),
        ("sys.stdin.read(); tell('Fine')", "ended without a status for this rule"),
        ("sys.stdin.read(); Path(given['statuses']).write_text('[{')", "ended without a status for this rule"),
    ],
)
def test_no_verdict_is_an_error(plane: Jobs, evaluate: str, sentence: str) -> None:
    programs(plane.folder / "programs", evaluate)
    plane.create()
    plane.go()
    job = plane.wait()
    assert job["TrainingJobStatus"] == "Completed" and plane.verdicts() == ["Error", "Error"] and sentence in plane.details()
    assert plane.verdicts(PROFILER) == ["NoIssuesFound"]


def document() -> Document:
    job = watched()
    return {**job, **make_statuses(job, 0.0)}


def rule_jobs(plane: Jobs, told: dict[str, list[Document]], kind: type[Kind], **patience: float) -> Kind:
    return kind(plane.tools, document(), plane.folder / "alone", told.__setitem__, lambda *_told: None, **patience)


def measured(rules: RuleJobs, plane: Jobs) -> None:
    """Start the rules, and wait until the sampler has measured something."""
    rules.start(plane.folder / "tensors", plane.folder / "profile")
    wait_until(lambda: list((plane.folder / "profile").rglob("*.json")), bool, 20)


@pytest.mark.parametrize(
    ("evaluate", "patience", "sentence"),
    [
        ("tell('NoIssuesFound'); time.sleep(600)", {"patience_s": 0.5}, "training.rule_evaluation.evaluate was idle for 0 seconds"),
        ("tell('NoIssuesFound')\nwhile True: pass", {"limit_s": 1.0}, "training.rule_evaluation.evaluate had not finished 1 seconds"),
    ],
)
def test_a_rule_process_that_hangs_is_ended_and_an_error(plane: Jobs, evaluate: str, patience: dict[str, float], sentence: str) -> None:
    programs(plane.folder / "programs", "sys.stdin.read()\n" + evaluate)
    told: dict[str, list[Document]] = {}
    rules = rule_jobs(plane, told, RuleJobs, **patience)
    rules.start(plane.folder / "tensors", plane.folder / "profile")
    rules.end_training()
    rules.conclude("Completed", None)
    assert [status["RuleEvaluationStatus"] for status in told[DEBUG]] == ["Error", "Error"] and sentence in told[DEBUG][0]["StatusDetails"]
    assert plane.tools.processes.list_records() == []


def test_rules_that_cannot_be_started_do_not_keep_the_job_from_training(plane: Jobs) -> None:
    (plane.folder / "alone").write_text("a file where the folder should be")
    told: dict[str, list[Document]] = {}
    rules = rule_jobs(plane, told, RuleJobs)
    rules.start(plane.folder / "tensors", plane.folder / "profile")
    rules.end_training()
    rules.conclude("Completed", None)
    assert [told[field][0]["RuleEvaluationStatus"] for field in (DEBUG, PROFILER)] == ["Error", "Error"]
    assert "local mode could not start the rules" in told[DEBUG][0]["StatusDetails"]


STOPS = """
Path(given["stop-file"]).write_text(json.dumps({"rule": "Overfit", "details": "met"}))
tell("IssuesFound", "met", rules[:1])
sys.stdin.read()
tell("NoIssuesFound")
"""


def test_a_rule_stops_the_training_and_is_judged_to_the_end(plane: Jobs, caplog: pytest.LogCaptureFixture) -> None:
    programs(plane.folder / "programs", STOPS)
    with caplog.at_level("INFO"):
        plane.create()
        job = plane.wait()
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert plane.verdicts() == ["IssuesFound", "NoIssuesFound"]
    assert "the rule Overfit stops its training job watched-1: met" in caplog.text


@pytest.mark.parametrize(
    ("sampler", "sentence"),
    [
        ("raise SystemExit('no /proc here')", "the sampler ended with exit code 1 before the training did"),
        (SAMPLES + "; raise SystemExit(5)", "training.profiler.sampler ended with exit code 5"),
        ("sys.stdin.read()", "measurements are missing"),
    ],
)
def test_profiler_rules_without_whole_measurements_are_errors(plane: Jobs, sampler: str, sentence: str) -> None:
    programs(plane.folder / "programs", sampler=sampler)
    plane.create()
    if "before" in sentence:
        log = plane.folder / "jobs/watched-1/rules.txt"
        wait_until(lambda: log.exists() and "no /proc here" in log.read_text(), bool, 20)
        wait_until(lambda: log.stat().st_mtime, lambda written: written < plane.tools.clock() - 1.5, 20)
    plane.go()
    assert plane.wait()["TrainingJobStatus"] == "Completed"
    assert plane.verdicts(PROFILER) == ["Error"] and sentence in plane.details(PROFILER)
    assert plane.verdicts() == ["NoIssuesFound", "NoIssuesFound"]


def test_rules_of_a_job_that_never_trained_are_errors(plane: Jobs) -> None:
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://b/nothing"}}
    plane.jobs.create(watched(InputDataConfig=[{"ChannelName": "photos", "DataSource": source}]))
    assert plane.wait()["TrainingJobStatus"] == "Failed"
    assert plane.verdicts() == ["Error", "Error"] and "the training job was Failed before its training began" in plane.details()


class NoRuleOutput(FakeS3):
    """S3 that takes everything but the rules' output."""

    def upload_file(self, path: str, bucket: str, key: str) -> None:
        if "/rule-output/" in key:
            raise S3UploadFailedError("Failed to upload: AccessDenied")
        super().upload_file(path, bucket, key)


def test_output_that_cannot_be_uploaded_is_an_error(plane: Jobs) -> None:
    jobs = Jobs(plane.folder, NoRuleOutput())
    jobs.create()
    jobs.go()
    assert jobs.wait()["TrainingJobStatus"] == "Completed"
    assert jobs.verdicts() == ["Error", "Error"] and "could not be uploaded: Failed to upload: AccessDenied" in jobs.details()


@pytest.mark.parametrize("while_it_trains", [True, False])
def test_rules_of_a_plane_that_ends_are_errors_and_their_processes_end(plane: Jobs, while_it_trains: bool) -> None:
    programs(plane.folder / "programs", UNTIL_RELEASED)
    plane.create()
    wait_until(lambda: len(plane.tools.processes.list_records()), lambda running: running == 3, 20)
    if not while_it_trains:
        plane.go()
        wait_until(plane.job, lambda job: job["TrainingJobStatus"] == "Completed", 20)
    plane.jobs.stop_all(20)
    assert plane.verdicts() == ["Error", "Error"] and "local mode ended while the rule was evaluated" in plane.details()
    assert plane.tools.processes.list_records() == []


def test_rules_of_a_plane_that_was_killed_are_errors_when_it_is_back(plane: Jobs) -> None:
    job = watched()
    Store(plane.folder / "state").create(KIND, "watched-1", {**job, **make_statuses(job, 0.0), "TrainingJobStatus": "Completed"})
    again = Jobs(plane.folder)
    assert (again.verdicts(), again.verdicts(PROFILER)) == (["Error", "Error"], ["Error"])
    assert "local mode ended while the rule was evaluated" in again.details() and again.job()["TrainingJobStatus"] == "Completed"


def test_a_job_is_profiled_without_rules_and_judged_without_a_profiler(plane: Jobs) -> None:
    plane.create(DebugRuleConfigurations=[], ProfilerRuleConfigurations=[])
    plane.go()
    plane.wait()
    assert plane.s3.objects["profile/watched-1/profiler-output/system/1.algo-1.json"] == b"100"
    programs(
        plane.folder / "programs", sampler="raise SystemExit(1)", analyse="raise SystemExit(1)", evaluate="sys.stdin.read();" + ALL_IS_WELL
    )
    plane.jobs.create(
        watched(TrainingJobName="watched-2", InputDataConfig=[], ProfilerConfig={"DisableProfiler": True}, ProfilerRuleConfigurations=[])
    )
    wait_until(lambda: plane.jobs.describe("watched-2")["SecondaryStatus"], lambda status: status == "Training", 20)
    (plane.folder / "jobs/watched-2/ml/go").touch()
    job = plane.jobs.wait("watched-2", 60)
    assert job["ProfilingStatus"] == "Disabled" and [status["RuleEvaluationStatus"] for status in job[DEBUG]] == ["NoIssuesFound"] * 2


class FullDisk(RuleJobs):
    """Rules whose configurations of `kinds` cannot be written."""

    kinds: tuple[str, ...] = ()

    def _write_configurations(self, field: str) -> Path:
        if field in self.kinds:
            raise OSError(28, "No space left on device")
        return super()._write_configurations(field)


def test_a_disk_that_fills_while_rules_start_does_not_keep_the_job_from_training(plane: Jobs) -> None:
    told: dict[str, list[Document]] = {}
    rules = rule_jobs(plane, told, FullDisk)
    rules.kinds = (DEBUG,)
    rules.start(plane.folder / "tensors", plane.folder / "profile")
    assert plane.tools.processes.list_records() == [], "the sampler outlived the start that failed"
    rules.end_training()
    rules.conclude("Completed", None)
    assert [status["RuleEvaluationStatus"] for field in (DEBUG, PROFILER) for status in told[field]] == ["Error"] * 3
    assert "could not start the rules: [Errno 28] No space left on device" in told[DEBUG][0]["StatusDetails"]
    assert not (plane.folder / "alone" / "rules").exists()


def test_an_analysis_that_cannot_be_started_leaves_the_debuggers_verdicts(plane: Jobs) -> None:
    told: dict[str, list[Document]] = {}
    rules = rule_jobs(plane, told, FullDisk)
    rules.kinds = (PROFILER,)
    measured(rules, plane)
    rules.end_training()
    rules.conclude("Completed", None)
    assert [status["RuleEvaluationStatus"] for status in told[DEBUG]] == ["NoIssuesFound", "NoIssuesFound"]
    (status,) = told[PROFILER]
    assert status["RuleEvaluationStatus"] == "Error"
    assert "could not start the analysis: [Errno 28] No space left on device" in status["StatusDetails"]


@pytest.mark.parametrize("field", [DEBUG, PROFILER])
@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        (b"recording stopped: OSError: disk quota\n", "degraded: recording stopped: OSError: disk quota; its end"),
        (b"", "degraded: without a reason"),
        (b"\xff" + b"x" * 5000, "degraded: \ufffdxx"),
    ],
)
def test_what_the_job_says_of_its_own_recording_is_that_kinds_problem(plane: Jobs, field: str, word: bytes, sentence: str) -> None:
    programs(plane.folder / "programs", "tell('IssuesFound', 'met', rules[:1]); sys.stdin.read(); tell('NoIssuesFound')")
    history: list[tuple[str, list[str]]] = []
    told: dict[str, list[Document]] = {}

    def report(kind: str, statuses: list[Document]) -> None:
        told[kind] = statuses
        history.append((kind, [status["RuleEvaluationStatus"] for status in statuses]))

    rules = RuleJobs(plane.tools, document(), plane.folder / "alone", report, lambda *_told: None)
    measured(rules, plane)
    wait_until(lambda: history, bool, 20)
    folder = plane.folder / ("tensors" if field == DEBUG else "profile")
    folder.mkdir(exist_ok=True)
    (folder / "degraded.txt").write_bytes(word)
    rules.end_training()
    rules.conclude("Completed", None)
    assert {status["RuleConfigurationName"]: status["RuleEvaluationStatus"] for kind in told for status in told[kind]} == {
        "Overfit": "IssuesFound",
        "AllZero": "Error" if field == DEBUG else "NoIssuesFound",
        "ProfilerReport": "Error" if field == PROFILER else "NoIssuesFound",
    }
    assert sentence in told[field][-1]["StatusDetails"]
    assert not any("NoIssuesFound" in statuses for kind, statuses in history if kind == field), "a doubted verdict was told"


def test_a_folder_in_the_place_of_the_jobs_word_is_a_problem_too(tmp_path: Path) -> None:
    (tmp_path / "degraded.txt").mkdir()
    assert read_degradation("hook", tmp_path).startswith("the job's hook degraded: degraded.txt cannot be read: [Errno 21]")
    assert read_degradation("hook", tmp_path / "nowhere") == ""


def test_the_watcher_goes_on_after_a_disk_that_was_full(plane: Jobs, caplog: pytest.LogCaptureFixture) -> None:
    programs(plane.folder / "programs", STOPS)
    told: dict[str, list[Document]] = {}
    stopped: list[str] = []
    full = [True]

    def report(field: str, statuses: list[Document]) -> None:
        if full[0]:
            raise OSError(28, "No space left on device")
        told[field] = statuses

    rules = RuleJobs(plane.tools, document(), plane.folder / "alone", report, lambda rule, _details: stopped.append(rule))
    rules.start(plane.folder / "tensors", plane.folder / "profile")
    wait_until(lambda: caplog.text, lambda text: "No space left on device" in text, 20)
    assert told == {}
    time.sleep(1.2)  # two more looks, which fail alike
    full[0] = False
    wait_until(lambda: told.get(DEBUG, [{}])[0].get("RuleEvaluationStatus"), lambda status: status == "IssuesFound", 20)
    rules.end_training()
    rules.conclude("Stopped", None)
    assert stopped == ["Overfit"] and caplog.text.count("could not be checked") == 1
    assert [status["RuleEvaluationStatus"] for status in told[DEBUG]] == ["IssuesFound", "NoIssuesFound"]


class Fails(RuleJobs):
    """Rules whose analysis ends in an error of this code's own."""

    def _write_configurations(self, field: str) -> Path:
        if field == PROFILER:
            raise RuntimeError("not foreseen")
        return super()._write_configurations(field)


def test_an_error_while_rules_are_judged_leaves_nothing_running_and_no_rule_in_progress(plane: Jobs) -> None:
    programs(plane.folder / "programs", "sys.stdin.read(); time.sleep(600)")
    told: dict[str, list[Document]] = {}
    rules = rule_jobs(plane, told, Fails)
    measured(rules, plane)
    pids = [record.pid for record in plane.tools.processes.list_records("job-rules")]
    with pytest.raises(RuntimeError, match="not foreseen"):
        rules.conclude("Completed", None)
    assert len(pids) == 1 and not lives(pids[0]) and plane.tools.processes.list_records() == []
    assert {status["RuleEvaluationStatus"] for field in (DEBUG, PROFILER) for status in told[field]} == {"Error"}
