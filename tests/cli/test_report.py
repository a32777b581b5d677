"""`whippet report`: the report fetched and what it says first; verdicts from wherever they were judged. Run: `make test`."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from cli.errors import RefusedError
from cli.execution import read_execution
from cli.main import app
from cli.report import fetch_report, print_report
from cli.verdicts import counts, print_verdicts, statuses_of
from tests.cli.executions import FINAL_JOB, KEPT_BACK, OVERFIT, REASON, FakeServices, Moment
from tests.cli.fakes import ARN, FakeMachine, FakeS3, target

FOLDER = f"executions/run/training/{FINAL_JOB}"
PROFILER = f"{FOLDER}/rule-output/ProfilerReport-1764000000/profiler-output/profiler-report.html"
GOOD = {"severity": "good", "what": "This run is sound.", "why": "", "change": "", "evidence": "", "source": ""}


def files(**documents: object) -> dict[str, bytes]:
    """A report in the bucket."""
    return {f"{FOLDER}/report/{name}.json": json.dumps(content).encode() for name, content in documents.items()}


def printed(tmp_path: Path, objects: dict[str, bytes], moment: Moment) -> str:
    fake = target(FakeMachine(), s3=FakeS3(objects), **FakeServices([moment]).clients())
    execution = read_execution(fake, ARN)
    console = Console(file=io.StringIO(), width=200)
    print_report(console, execution, fetch_report(fake, execution, tmp_path / "report"))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_insights_and_verdicts_are_told_and_the_pages_named(tmp_path: Path) -> None:
    objects = files(insights=[GOOD], rule_statuses=[OVERFIT], profiler_rule_statuses=[])
    text = printed(tmp_path, {**objects, f"{FOLDER}/report/profiler-report.html": b"page"}, Moment("SUCCEEDED"))
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
    text = printed(tmp_path, files(insights=[GOOD]), Moment("SUCCEEDED", output=KEPT_BACK))
    assert 0 < text.index("was not deployed") < text.index(REASON) < text.index("This run is sound")


def test_what_an_earlier_report_left_in_the_folder_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "insights.json").write_text(json.dumps([GOOD]))
    assert "sound" not in printed(tmp_path, files(rule_statuses=[]), Moment("SUCCEEDED"))


def test_an_execution_without_a_report_is_refused(tmp_path: Path) -> None:
    fake = target(FakeMachine(), s3=FakeS3(), **FakeServices([Moment("FAILED")]).clients())
    with pytest.raises(RefusedError, match=r"The execution is FAILED: it has no report\. `whippet watch --local`"):
        fetch_report(fake, read_execution(fake, ARN), tmp_path)


def test_verdicts_are_counted_and_long_ones_shortened() -> None:
    statuses = [OVERFIT, {**OVERFIT, "RuleEvaluationStatus": "Stopped", "StatusDetails": "w" * 500}]
    assert counts(statuses).plain == "1 with issues, 1 Stopped"
    console = Console(file=io.StringIO(), width=200)
    print_verdicts(console, {"rule_statuses": statuses, "profiler_rule_statuses": []})
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "none were asked" in text
    assert f"{'w' * 109}…" in text


def test_the_reports_verdicts_go_before_the_executions() -> None:
    fake = target(**FakeServices([Moment("SUCCEEDED")]).clients())
    execution = read_execution(fake, ARN)
    mine = [{**OVERFIT, "RuleEvaluationStatus": "NoIssuesFound"}]
    assert statuses_of(execution, {"rule_statuses": mine})["rule_statuses"] == mine
    assert statuses_of(execution, {"rule_statuses": []})["rule_statuses"] == [OVERFIT]


def test_the_verb_is_there() -> None:
    assert "what happened, why it matters, what to change" in CliRunner().invoke(app, ["report", "--help"]).output
