"""`whippet report`: the report fetched and what it says first; verdicts from wherever they were judged. Run: `make test`."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from cli.executions.execution import build_run_name, read_execution
from cli.executions.rule_results import format_counts, print_rule_statuses, read_statuses
from cli.report import FETCHED, PROFILER_PAGE, fetch_report, print_report
from cli.terminal.errors import RefusedError
from tests.fixtures.cli.executions import FINAL_JOB, KEPT_BACK, OUTPUT, OVERFIT, REASON, FakeServices, Moment
from tests.fixtures.cli.fakes import ARN, START, FakeCloudFormation, FakeMachine, FakeS3, invoke, stack, target

FOLDER = f"executions/run/training/{FINAL_JOB}"
PROFILER = f"{FOLDER}/rule-output/ProfilerReport-1764000000/profiler-output/profiler-report.html"
NOTE = {"severity": "note", "what": "Few photos.", "why": "", "change": "", "evidence": "", "source": ""}
GOOD = {"severity": "good", "what": "This run is sound.", "why": "", "change": "", "evidence": "", "source": ""}


def files(**documents: object) -> dict[str, bytes]:
    """A report in the bucket."""
    return {f"{FOLDER}/report/{name}.json": json.dumps(content).encode() for name, content in documents.items()}


def printed(tmp_path: Path, objects: dict[str, bytes], moment: Moment) -> str:
    fake = target(FakeMachine(), s3=FakeS3(objects), **FakeServices([moment]).clients())
    execution = read_execution(fake, ARN)
    console = Console(file=io.StringIO(), width=200)
    print_report(console, fake, execution, fetch_report(fake, execution, tmp_path / "report"))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_insights_and_verdicts_are_told_and_the_pages_named(tmp_path: Path) -> None:
    objects = files(insights=[GOOD], rule_statuses=[{**OVERFIT}], profiler_rule_statuses=[])
    output = {**OUTPUT, "rule_statuses": []}
    text = printed(tmp_path, {**objects, f"{FOLDER}/report/profiler-report.html": b"page"}, Moment("SUCCEEDED", output=output))
    for part in ("good     This run is sound.", "▲ Overfit  the condition was met twice", str(tmp_path / "report" / "report.html")):
        assert part in text
    assert f"profiler  {tmp_path / 'report' / 'profiler-report.html'}" in text
    assert "not deployed" not in text


def test_a_profilers_page_that_came_after_the_job_is_fetched_too(tmp_path: Path) -> None:
    """AWS's Debugger writes it when the job's own report is done."""
    text = printed(tmp_path, {**files(insights=[]), PROFILER: b"page"}, Moment("SUCCEEDED"))
    assert (tmp_path / "report" / "profiler" / "profiler-report.html").read_bytes() == b"page"
    assert "profiler/profiler-report.html" in text
    assert "profiler  /" not in printed(tmp_path, files(insights=[]), Moment("SUCCEEDED"))


def test_verdicts_of_awss_debugger_come_from_the_execution(tmp_path: Path) -> None:
    text = printed(tmp_path, files(insights=[], rule_statuses=[], profiler_rule_statuses=[]), Moment("SUCCEEDED"))
    assert "▲ Overfit" in text
    assert "1 without issues" in text


def test_a_model_that_was_kept_back_is_told_first(tmp_path: Path) -> None:
    text = printed(tmp_path, files(insights=[GOOD, NOTE]), Moment("SUCCEEDED", output=KEPT_BACK))
    assert 0 < text.index("was not deployed") < text.index(REASON) < text.index("Few photos.")
    assert "This run is sound" not in text, "the rules judged after the job had written so"


def test_the_command_that_deploys_all_the_same_is_the_same_execution(tmp_path: Path) -> None:
    given = {"seed": 7, "rules": {"stop_training": ["Overfit"]}}
    text = printed(tmp_path, files(insights=[]), Moment("SUCCEEDED", output=KEPT_BACK, input=given))
    assert """whippet run --local --input '{"seed": 7, "rules": {"stop_training": ["Overfit"], "block_deployment": []}}'""" in text


@pytest.mark.parametrize("status", ["IssuesFound", "Error"])
def test_a_run_with_a_finding_is_not_called_sound(tmp_path: Path, status: str) -> None:
    output = {**OUTPUT, "rule_statuses": [], "profiler_rule_statuses": [{**OVERFIT, "RuleEvaluationStatus": status}]}
    assert "sound" not in printed(tmp_path, files(insights=[GOOD]), Moment("SUCCEEDED", output=output))


def test_no_rule_was_asked_only_where_the_debugger_was_off(tmp_path: Path) -> None:
    output = {**OUTPUT, "rule_statuses": [], "profiler_rule_statuses": []}
    said = [printed(tmp_path, files(insights=[GOOD]), Moment("SUCCEEDED", output=output, input=i)) for i in ({}, {"debugger": "off"})]
    assert ["debugger off" in text for text in said] == [False, True]
    assert ["not evaluated" in text for text in said] == [True, False]


def test_what_an_earlier_report_left_in_the_folder_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "insights.json").write_text(json.dumps([GOOD]))
    assert "sound" not in printed(tmp_path, files(rule_statuses=[]), Moment("SUCCEEDED"))


@pytest.mark.parametrize("value", [[], "x", None, 5])
def test_an_input_that_is_no_object_is_left_to_the_first_state(value: object) -> None:
    execution = read_execution(target(**FakeServices([Moment("FAILED", input=value)]).clients()), ARN)
    assert (execution.status, execution.input) == ("FAILED", {})


def test_only_this_runs_files_lie_in_the_folder_and_what_is_not_ours_stays(tmp_path: Path) -> None:
    first = {**files(insights=[], other=[]), f"{FOLDER}/report/{PROFILER_PAGE}": b"page"}
    printed(tmp_path, first, Moment("SUCCEEDED"))
    (tmp_path / "report" / "mine.txt").write_text("a note")
    printed(tmp_path, files(insights=[]), Moment("SUCCEEDED"))
    assert {file.name for file in (tmp_path / "report").iterdir()} == {"insights.json", "mine.txt", FETCHED}


JOB = {"TrainingJobName": FINAL_JOB, "TrainingJobStatus": "Completed", "CreationTime": START}


def test_an_execution_that_failed_after_its_training_has_a_report(tmp_path: Path) -> None:
    moment = Moment("FAILED", training=[JOB])
    key = "executions/{run}/training/{job}/report/insights.json".format(run=build_run_name("whippet", ARN, START), job=FINAL_JOB)
    services = {**FakeServices([moment]).clients(), "cloudformation": FakeCloudFormation(stack())}
    fake = target(FakeMachine(), s3=FakeS3({key: json.dumps([NOTE]).encode()}), **services)
    assert fetch_report(fake, read_execution(fake, ARN), tmp_path).documents["insights"] == [NOTE]


@pytest.mark.parametrize("local", [True, False])
def test_the_log_is_named_where_it_is(tmp_path: Path, local: bool) -> None:
    fake = target(FakeMachine() if local else None, s3=FakeS3(), **FakeServices([Moment("SUCCEEDED", training=[JOB])]).clients())
    place = r"\.local/logs|/logs\." if local else f"log group /aws/sagemaker/TrainingJobs, streams of {FINAL_JOB}"
    with pytest.raises(RefusedError, match=place):
        fetch_report(fake, read_execution(fake, ARN), tmp_path)


def test_an_execution_without_a_report_is_refused(tmp_path: Path) -> None:
    fake = target(FakeMachine(), s3=FakeS3(), **FakeServices([Moment("FAILED")]).clients())
    with pytest.raises(RefusedError, match=r"The execution is FAILED: it has no report\. `whippet watch --local`"):
        fetch_report(fake, read_execution(fake, ARN), tmp_path)


@pytest.mark.parametrize("width", [80, 200])
def test_verdicts_are_counted_and_long_ones_wrapped_to_two_lines(width: int) -> None:
    statuses = [OVERFIT, {**OVERFIT, "RuleEvaluationStatus": "Stopped", "StatusDetails": "word " * 100}]
    assert format_counts(statuses).plain == "1 with issues, 1 Stopped"
    console = Console(file=io.StringIO(), width=width)
    print_rule_statuses(console, {"rule_statuses": statuses, "profiler_rule_statuses": []})
    assert isinstance(console.file, io.StringIO)
    lines = [line for line in console.file.getvalue().splitlines() if "word" in line]
    assert len(lines) == 2
    assert lines[-1].rstrip().endswith("…")
    assert all(width - 10 < len(line.rstrip()) <= width for line in lines)


def test_the_reports_verdicts_go_before_the_executions() -> None:
    fake = target(**FakeServices([Moment("SUCCEEDED")]).clients())
    execution = read_execution(fake, ARN)
    mine = [{**OVERFIT, "RuleEvaluationStatus": "NoIssuesFound"}]
    assert read_statuses(execution, {"rule_statuses": mine})["rule_statuses"] == mine
    assert read_statuses(execution, {"rule_statuses": []})["rule_statuses"] == [OVERFIT]


def test_the_verb_is_there() -> None:
    assert "what happened, why it matters, what to change" in invoke("report", "--help").output
