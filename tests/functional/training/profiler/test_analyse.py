"""Tests of verdicts and of the files that the service would write; also in a process of its own."""

import json
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.fixtures.training.profiler.planted import write_samples
from training.contract.rules import PROFILER_RULES
from training.profiler.analyse import analyse
from training.profiler.profiler import start_profiler
from training.profiler.rules.profiler_report import RULES
from training.profiler.sampling import REPOSITORY
from training.rule_evaluation.status import RuleStatus

ALL = [{"RuleConfigurationName": name, "RuleParameters": {"rule_to_invoke": name}} for name in PROFILER_RULES]
NOW = datetime(2026, 11, 24, tzinfo=UTC)


def now() -> datetime:
    return NOW


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a job of two seconds measured."""
    path = tmp_path_factory.mktemp("job") / "profiler-output"
    profiler = start_profiler("embedded", path, torch.device("cpu"))
    for step in range(30):
        for name in ("data", "forward", "backward", "optimizer"):
            with profiler.phase(name):
                time.sleep(0.002 if name == "data" else 0.01)
        profiler.step("train" if step % 10 else "eval")
    profiler.close()
    return path


def by_name(statuses: list[RuleStatus]) -> dict[str, RuleStatus]:
    return {status.RuleConfigurationName: status for status in statuses}


def idle_gpu(folder: Path, seconds: int = 60) -> Path:
    """Rows as the service writes them, of a GPU that does nothing."""
    begin = 1795521240.0
    moments = [begin + place / 2 for place in range(2 * seconds)]
    kinds = (("gpu", "gpu0", "GPUUtilization", 4.0), ("gpu", "gpu0", "GPUMemoryUtilization", 80.0), ("cpu", "cpu0", "CPUUtilization", 97.0))
    rows = [
        {"Type": kind, "Name": name, "Dimension": dimension, "Value": value, "NodeId": "algo-1", "Timestamp": moment}
        for moment in moments
        for kind, name, dimension, value in kinds
    ]
    write_samples(folder, rows)
    return folder


def test_a_job_of_two_seconds_gets_twelve_verdicts(folder: Path, tmp_path: Path) -> None:
    statuses, profile = analyse(folder, tmp_path, ALL, now)
    assert [status.RuleConfigurationName for status in statuses] == list(PROFILER_RULES)
    assert {
        status.RuleConfigurationName: status.StatusDetails for status in statuses if status.RuleEvaluationStatus != "NoIssuesFound"
    } == {}
    assert {status.LastModifiedTime for status in statuses} == {NOW.isoformat()}
    assert profile["steps"]["train"]["count"] == 27
    assert profile["steps"]["eval"]["count"] == 3
    assert profile["problem"] is None


def test_the_files_lie_where_the_service_puts_them(folder: Path, tmp_path: Path) -> None:
    analyse(folder, tmp_path, ALL, now)
    files = sorted(str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file())
    top = {file.split("/")[0] for file in files}
    assert len(top) == 1
    name, _, digits = top.pop().partition("-")
    assert (name, len(digits)) == ("ProfilerReport", 10)
    assert abs(int(digits) - time.time()) < 600
    inside = {file.split("/", 1)[1] for file in files}
    assert inside == {"profiler-output/profiler-report.html", *(f"profiler-output/profiler-reports/{rule}.json" for rule in RULES)}


def test_a_report_document_is_the_services(folder: Path, tmp_path: Path) -> None:
    analyse(folder, tmp_path, ALL, now)
    document = json.loads(next(tmp_path.rglob("StepOutlier.json")).read_text())
    assert list(document) == ["RuleTriggered", "Violations", "Details", "Datapoints", "RuleParameters"]


def test_a_report_that_was_named_by_the_sdk_keeps_its_name(folder: Path, tmp_path: Path) -> None:
    configuration = {"RuleConfigurationName": "ProfilerReport-1633804976", "RuleParameters": {"rule_to_invoke": "ProfilerReport"}}
    statuses, _ = analyse(folder, tmp_path, [configuration], now)
    assert (tmp_path / "ProfilerReport-1633804976" / "profiler-output" / "profiler-report.html").exists()
    assert statuses[0].RuleConfigurationName == "ProfilerReport-1633804976"


def test_what_is_found_comes_with_evidence_and_advice(tmp_path: Path) -> None:
    found = by_name(analyse(idle_gpu(tmp_path / "in"), tmp_path / "out", ALL, now)[0])
    status = found["CPUBottleneck"]
    assert status.RuleEvaluationStatus == "IssuesFound"
    assert status.StatusDetails.startswith("RuleEvaluationConditionMet: gpu0 waited for a CPU core at its limit in 100 %")
    assert status.Evidence[0]["threshold"] == 50
    assert status.Advice
    assert found["LowGPUUtilization"].RuleEvaluationStatus == "IssuesFound"
    assert found["BatchSize"].RuleEvaluationStatus == "NoIssuesFound"
    assert found["ProfilerReport"].RuleEvaluationStatus == "IssuesFound"


def test_parameters_are_those_of_the_configuration(tmp_path: Path) -> None:
    parameters = {"rule_to_invoke": "LowGPUUtilization", "threshold_p95": "2", "threshold_p5": "1"}
    configurations = [{"RuleConfigurationName": "Mine", "RuleParameters": parameters}]
    statuses, _ = analyse(idle_gpu(tmp_path / "in"), tmp_path / "out", configurations, now)
    assert statuses[0].RuleEvaluationStatus == "NoIssuesFound"
    assert statuses[0].RuleParameters == parameters
    document = json.loads((tmp_path / "out" / "Mine" / "profiler-output" / "profiler-reports" / "LowGPUUtilization.json").read_text())
    assert "threshold_p95:2" in document["RuleParameters"]


def test_a_rules_own_parameters_count_in_the_report_too(tmp_path: Path) -> None:
    parameters = {"rule_to_invoke": "LowGPUUtilization", "threshold_p95": "2", "threshold_p5": "1"}
    configurations = [*ALL[:1], {"RuleConfigurationName": "Mine", "RuleParameters": parameters}]
    analyse(idle_gpu(tmp_path / "in"), tmp_path / "out", configurations, now)
    document = json.loads(next((tmp_path / "out").rglob("LowGPUUtilization.json")).read_text())
    assert "threshold_p95:2" in document["RuleParameters"]


@pytest.mark.parametrize(
    ("configuration", "said"),
    [
        (
            {"RuleConfigurationName": "x", "RuleParameters": {"rule_to_invoke": "Magic"}},
            "unknown profiler rule Magic; allowed: ProfilerReport",
        ),
        (
            {"RuleConfigurationName": "y", "RuleParameters": {"rule_to_invoke": "StepOutlier", "sigma": "3"}},
            "StepOutlier has no parameter sigma; it has",
        ),
        ({"RuleConfigurationName": "ProfilerReport", "RuleParameters": {"sigma": "3"}}, "ProfilerReport has no parameter sigma"),
    ],
)
def test_what_cannot_be_evaluated_is_an_error(folder: Path, tmp_path: Path, configuration: dict[str, Any], said: str) -> None:
    statuses, _ = analyse(folder, tmp_path, [configuration], now)
    assert statuses[0].RuleEvaluationStatus == "Error"
    assert said in statuses[0].StatusDetails


def test_a_profile_that_is_not_there_is_never_fine(tmp_path: Path) -> None:
    statuses, profile = analyse(tmp_path / "missing", tmp_path / "out", ALL, now)
    assert {status.RuleEvaluationStatus for status in statuses} == {"Error"}
    assert all(status.Advice for status in statuses)
    assert profile["problem"] == "no sample of the machine and no step was recorded"


def test_a_profile_that_cannot_be_read_is_never_fine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_samples(tmp_path, [{"Type": "cpu", "Name": "cpu0", "Dimension": "CPUUtilization", "Value": "much", "Timestamp": 5.0}])
    statuses, profile = analyse(tmp_path, tmp_path / "out", ALL, now)
    assert {status.RuleEvaluationStatus for status in statuses} == {"Error"}
    assert "the profile cannot be read: " in profile["problem"]
    assert "profiler degraded: the profile cannot be read" in capsys.readouterr().out


def test_a_report_that_cannot_be_written_is_an_error_of_its_own(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    found = by_name(analyse(folder, tmp_path / "out", ALL, now)[0])
    assert found["ProfilerReport"].RuleEvaluationStatus == "Error"
    assert "the report could not be written" in found["ProfilerReport"].StatusDetails
    assert found["StepOutlier"].RuleEvaluationStatus == "NoIssuesFound"


@pytest.mark.parametrize("profile", ["readable", "unreadable"])
def test_an_earlier_runs_report_is_gone_where_this_one_fails(folder: Path, tmp_path: Path, profile: str) -> None:
    """A job that was interrupted and resumed writes into the same folder."""
    page = tmp_path / "out" / "ProfilerReport-1633804976" / "profiler-output" / "profiler-report.html"
    page.parent.mkdir(parents=True)
    page.write_text("of yesterday")
    (tmp_path / "out" / "statuses.json").write_text("[]")
    if profile == "unreadable":
        folder = tmp_path / "in"
        write_samples(folder, [{"Type": "cpu", "Name": "cpu0", "Dimension": "CPUUtilization", "Value": "much", "Timestamp": 5.0}])
    broken = [{"RuleConfigurationName": "ProfilerReport", "RuleParameters": {"rule_to_invoke": "ProfilerReport", "no": "such"}}]
    assert analyse(folder, tmp_path / "out", broken, now)[0][0].RuleEvaluationStatus == "Error"
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["statuses.json"]


def test_the_profile_is_what_the_report_needs(folder: Path, tmp_path: Path) -> None:
    _, profile = analyse(folder, tmp_path, [], now)
    assert list(profile) == [
        *("seconds", "initialization_s", "cpu", "io_wait", "memory", "gpu", "network", "disk", "steps", "loop", "operators", "problem"),
    ]
    assert {"cores", "mean", "p50", "p95", "p99", "max", "per_core"} <= profile["cpu"].keys()
    assert len(profile["cpu"]["per_core"]) == profile["cpu"]["cores"]
    assert 0.5 < sum(profile["steps"]["train"]["phases"].values()) <= 1
    assert {"count", "p50_ms", "p95_ms", "max_ms", "phases"} == profile["steps"]["train"].keys()
    assert {"device", "seconds", "saving_s", "between_steps_s", "cpu_mean"} == profile["loop"].keys()
    json.dumps(profile, allow_nan=False)


def test_it_runs_as_a_process_of_its_own(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "rules.json").write_text(json.dumps(ALL))
    arguments = [
        "--folder",
        folder,
        "--output",
        tmp_path / "out",
        "--configurations",
        tmp_path / "rules.json",
        "--statuses",
        tmp_path / "s.json",
    ]
    command = [sys.executable, "-m", "training.profiler.analyse", *map(str, arguments)]
    subprocess.run(command, cwd=REPOSITORY, check=True, timeout=120)
    statuses = json.loads((tmp_path / "s.json").read_text())
    assert [status["RuleConfigurationName"] for status in statuses] == list(PROFILER_RULES)
    assert {status["RuleEvaluationStatus"] for status in statuses} == {"NoIssuesFound"}


def test_judging_needs_no_torch() -> None:
    program = "import sys, training.profiler.analyse; print([name for name in ('torch', 'smdebug') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, cwd=REPOSITORY, check=True, timeout=60)
    assert done.stdout.decode().strip() == "[]"
