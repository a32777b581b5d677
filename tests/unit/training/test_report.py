"""The report's files: whole, small for many classes, and readable whatever the photos are called. Run: `make test`."""

import contextlib
import io
import json
from html import escape
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.fixtures.training.handmade import make_dataset
from training.debugger.interface import NoDebugger
from training.evaluation.assessment import assess
from training.fit.loop import Epoch
from training.report.write import MAX_LISTED, Report, write_report
from training.rule_evaluation.status import RuleStatus

CHECKED = [{"file": "check/0.jpg", "sha256": "00", "probabilities": [1.0, 0.0]}]
DESCRIPTION: dict[str, Any] = {"backbone": {}, "preprocessing": {}, "hyperparameters": {}, "versions": {}, "check_photos": CHECKED}
EPOCH = Epoch(1, 0.5, 0.5, 0.5, 0.5, 0.1)


def rule(name: str, status: str, details: str) -> RuleStatus:
    return RuleStatus(name, status, details, "2026-11-24T11:30:12+00:00")


def written(
    base: Path, classes: int = 3, test: int | None = None, wrong: int = 0, given: dict[str, Any] | None = None, **summary: Any
) -> Path:
    """The report of a model that names every photo rightly but for the first `wrong` ones of the test."""
    every = list(range(classes))
    shown = [number % classes for number in range(test)] if test else every
    names = tuple(f"class {number}" for number in range(classes))
    dataset = make_dataset(base / "dataset", {"train": every, "valid": every, "test": shown}, names, **summary)
    called = [(label + 1) % classes if number < wrong else label for number, label in enumerate(shown)]
    assessment = assess({"valid": torch.eye(classes), "test": 9 * torch.eye(classes)[called]}, dataset)
    parts = {"rule_statuses": [], **(given or {})}
    write_report(base / "report", Report(dataset, [EPOCH], EPOCH, assessment, NoDebugger(), DESCRIPTION, **parts))
    return base / "report"


def read(folder: Path, name: str) -> Any:
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))


def test_all_its_files_are_there(tmp_path: Path) -> None:
    folder = written(tmp_path)
    documents = ["check", "data", "evaluation", "history", "insights", "model", "profile", "profiler_rule_statuses", "rule_statuses"]
    names = [f"{name}.json" for name in (*documents, "test_predictions")]
    assert sorted(path.name for path in folder.iterdir()) == sorted(["check", "report.html", *names])
    assert read(folder, "history") == [
        {"epoch": 1, "train_loss": 0.5, "train_accuracy": 0.5, "valid_loss": 0.5, "valid_accuracy": 0.5, "seconds": 0.1}
    ]


def test_what_the_endpoint_is_checked_with_lies_beside_it(tmp_path: Path) -> None:
    folder = written(tmp_path)
    assert read(folder, "check") == CHECKED
    for name in ("0.jpg", "1.jpg"):
        assert (folder / "check" / name).read_bytes() == (tmp_path / "dataset" / "check" / name).read_bytes()


def test_what_the_artefact_says_of_itself_can_be_read_without_unpacking_it(tmp_path: Path) -> None:
    assert read(written(tmp_path), "model") == DESCRIPTION


def test_the_next_model_can_be_compared_photo_by_photo(tmp_path: Path) -> None:
    folder = written(tmp_path, test=7, wrong=2)
    got = read(folder, "test_predictions")
    assert got["sha256"] == [f"{number:064x}" for number in range(6, 13)]
    assert (got["shown"], got["called"]) == ([0, 1, 2, 0, 1, 2, 0], [1, 2, 2, 0, 1, 2, 0])
    right = sum(shown == called for shown, called in zip(got["shown"], got["called"], strict=True))
    assert right / got["photos"] == read(folder, "evaluation")["test_accuracy"]


def test_hundreds_of_classes_make_a_small_report(tmp_path: Path) -> None:
    folder = written(tmp_path, 300)
    evaluation = read(folder, "evaluation")
    assert len(evaluation["confusion_matrix"]) == len(evaluation["confusion_matrix"][0]) == 300
    assert (folder / "evaluation.json").stat().st_size < 400_000
    assert (folder / "report.html").stat().st_size < 110_000


def test_the_summary_of_the_data_set_is_told_with_the_test_photos(tmp_path: Path) -> None:
    data = read(written(tmp_path, left_out=[{"file": "a.txt", "reason": "none"}], warnings=["look"]), "data")
    assert data["photos"]["test"] == {"class 0": 1, "class 1": 1, "class 2": 1}
    assert (data["left_out"], data["warnings"]) == ([{"file": "a.txt", "reason": "none"}], ["look"])
    assert data["test_photos"] == ["class 0/006.jpg", "class 1/007.jpg", "class 2/008.jpg"]


def test_of_many_test_photos_evenly_spread_ones_are_listed(tmp_path: Path) -> None:
    listed = read(written(tmp_path, test=3 * MAX_LISTED + 5, pictures=False), "data")["test_photos"]
    assert MAX_LISTED / 2 < len(listed) <= MAX_LISTED
    assert len({name.partition("/")[0] for name in listed}) == 3


@pytest.mark.parametrize("pictures", [True, False])
def test_the_worst_errors_are_shown_with_their_pictures(tmp_path: Path, pictures: bool) -> None:
    page = (written(tmp_path, test=30, wrong=5, pictures=pictures) / "report.html").read_text(encoding="utf-8")
    assert page.count("<figure>") == 5
    assert page.count('src="data:image/jpeg;base64,') == (5 if pictures else 0)


def test_a_name_in_no_encoding_is_kept(tmp_path: Path) -> None:
    """Linux lets a file name be any bytes; Python carries those that are no UTF-8 as lone surrogates."""
    name = "caf\udce9 \u00e9.jpg"
    folder = written(tmp_path, left_out=[{"file": name, "reason": "it is none"}])
    assert read(folder, "data")["left_out"][0]["file"] == name
    assert "caf? é.jpg" in (folder / "report.html").read_text(encoding="utf-8")


def test_a_class_name_in_no_encoding_is_escaped_in_the_log(tmp_path: Path) -> None:
    """As the container's log is: strict UTF-8."""
    log = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="strict")
    with contextlib.redirect_stdout(log):
        written(tmp_path, given={"rule_statuses": [rule("Confusion", "IssuesFound", "caf\udce9 is called bar")]})
    assert "rule Confusion: IssuesFound - caf\\udce9 is called bar" in log.buffer.getvalue().decode()


def test_verdicts_and_insights_are_in_their_files_on_the_page_and_in_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = [rule("Overfit", "Error", "InternalError: smdebug is missing")]
    busy = [rule("CPUBottleneck", "IssuesFound", "RuleEvaluationConditionMet: 61 % of the time")]
    given = {
        "rule_statuses": broken,
        "profiler_rule_statuses": busy,
        "profile": {"seconds": 5.0, "problem": None},
        "ended_by": "rule X: met",
    }
    folder = written(tmp_path, given=given)
    assert read(folder, "rule_statuses")[0]["RuleEvaluationStatus"] == "Error"
    assert read(folder, "profiler_rule_statuses")[0]["RuleConfigurationName"] == "CPUBottleneck"
    assert read(folder, "profile") == {"seconds": 5.0, "problem": None}
    severities = [insight["severity"] for insight in read(folder, "insights")]
    assert (severities[0], read(folder, "insights")[0]["evidence"]) == ("problem", "rule X: met")
    page, log = (folder / "report.html").read_text(encoding="utf-8"), capsys.readouterr().out
    for insight in read(folder, "insights"):
        assert escape(insight["what"]) in page
        assert f"insight ({insight['severity']}): {insight['what']}" in log
    assert "rule Overfit: Error - InternalError: smdebug is missing" in log
    assert "rule CPUBottleneck: IssuesFound - RuleEvaluationConditionMet: 61 % of the time" in log


def test_the_profilers_report_lies_beside_the_page(tmp_path: Path) -> None:
    for started in ("1764000000", "1764000001"):
        made = tmp_path / "rule-output" / f"ProfilerReport-{started}" / "profiler-output"
        made.mkdir(parents=True)
        (made / "profiler-report.html").write_text(started)
    folder = written(tmp_path, given={"profile": {"seconds": 5.0}})
    assert (folder / "profiler-report.html").read_text() == "1764000001"
    assert 'href="profiler-report.html"' in (folder / "report.html").read_text(encoding="utf-8")
