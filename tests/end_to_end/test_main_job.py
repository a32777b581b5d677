"""The main job as a user runs it: `python -m cli.demo` on a tiny set of real photos, and what it leaves behind.

Takes about two minutes. Run: `make test`, or `pytest tests/end_to_end`. Needs what `make demo` needs: the package registries, once.
"""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from cli.demo_photos import chess_photos
from cli.target import Target, local_target
from lambdas.rules import PROFILER_RULES, default_rules
from local.image_environment import ImageEnvironment
from local.mode import LocalMode
from tests.local.conftest import lives

REPOSITORY = Path(__file__).resolve().parent.parent.parent
USERS_HOME = Path(os.environ.get("WHIPPET_HOME") or REPOSITORY / ".local").resolve()
CLASSES = ("bishop", "knight", "rook")
PHOTOS_A_CLASS = 14
DEMO_SECONDS = 540


@dataclass(frozen=True)
class Demo:
    """A demo that has run and still runs: its record, its home, its output."""

    home: Path
    environment: dict[str, str]
    record: dict[str, Any]
    output: str
    pids: tuple[int, ...]

    @property
    def target(self) -> Target:
        """Local mode as the verbs see it."""
        return local_target("whippet", LocalMode(self.home))

    def whippet(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a verb."""
        return run(["-c", "from cli.main import app; app()", *arguments], self.environment)


def run(arguments: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=DEMO_SECONDS, check=False
    )


def few_photos(folder: Path) -> Path:
    """Three classes of real photos, and one file that only says that it is a photo."""
    everything = chess_photos(USERS_HOME / "cache", lambda _line: None).folder.photos
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
        for number, key in enumerate(sorted(each for each in everything if each.split("/")[-2].lower().startswith(name))[:PHOTOS_A_CLASS]):
            (folder / name / f"{number:02} photo{everything[key].suffix}").write_bytes(everything[key].read_bytes())
    (folder / "rook" / "99 not a photo.jpg").write_text("these are words")
    return folder


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """The demo in a home of its own, which shares only the image environment and the downloads with the user's."""
    home = tmp_path_factory.mktemp("home")
    USERS_HOME.joinpath("cache").mkdir(parents=True, exist_ok=True)
    ImageEnvironment(USERS_HOME / "image").ensure(print, home / "image.log")
    (home / "image").symlink_to(USERS_HOME / "image")
    (home / "cache").symlink_to(USERS_HOME / "cache")
    environment = {**os.environ, "WHIPPET_HOME": str(home), "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    try:
        photos = few_photos(tmp_path_factory.mktemp("photos"))
        done = run(["-m", "cli.demo", "--data", str(photos), "--jobs", "2", "--epochs", "12", "--project", "whippet"], environment)
        assert done.returncode == 0, done.stdout + done.stderr
        pids = tuple(process.pid for process in processes_of(home))
        yield Demo(home, environment, json.loads((home / "demo.json").read_text()), done.stdout, pids)
    finally:
        LocalMode(home).stop()


def processes_of(home: Path) -> list[psutil.Process]:
    """The processes that work in this home, by what they were started with."""
    found = []
    for process in psutil.process_iter():
        try:
            environment = process.environ()
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
        if process.pid != os.getpid() and environment.get("WHIPPET_HOME") == str(home):
            found.append(process)
    return found


def post(url: str, body: bytes, content_type: str) -> tuple[int, dict[str, Any]]:
    request = urllib.request.Request(url, body, {"Content-Type": content_type}, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_the_record_says_what_happened(demo: Demo) -> None:
    record = demo.record
    assert record["status"] == "SUCCEEDED"
    assert record["classes"] == list(CLASSES)
    assert len(record["trials"]) == 2
    assert len({(trial["lr"], trial["batch_size"]) for trial in record["trials"]}) == 2
    best = min(record["trials"], key=lambda trial: float(trial["objective"]))
    assert (record["best"]["lr"], record["best"]["batch_size"]) == pytest.approx((best["lr"], best["batch_size"]))
    assert 0.001 <= record["best"]["lr"] <= 0.1
    states = {"PrepareExecution", "PrepareDataset", "TuneHyperparameters", "TrainModel", "AssessModel"}
    assert states | {"total", "start_to_answer"} <= set(record["seconds"])
    assert {"valid_accuracy", "test_accuracy", "endpoint_name", "api_url", "execution_arn"} <= set(record)
    assert record["prediction"]["class"] in CLASSES


def output_of(demo: Demo) -> dict[str, Any]:
    """What the execution itself answered."""
    described = demo.target.client("stepfunctions").describe_execution(executionArn=demo.record["execution_arn"])
    return dict(json.loads(described["output"]))


def verdicts(statuses: list[dict[str, Any]]) -> dict[str, str]:
    return {each["RuleConfigurationName"]: each["RuleEvaluationStatus"] for each in statuses}


def test_every_rule_gives_a_verdict(demo: Demo) -> None:
    statuses = verdicts(demo.record["rule_statuses"])
    assert set(statuses) == set(default_rules("head"))
    assert statuses.pop("ClassImbalance") == "Error", "the few validation photos of all epochs are fewer than it counts"
    assert set(statuses.values()) <= {"NoIssuesFound", "IssuesFound"}
    profiler = verdicts(demo.record["profiler_rule_statuses"])
    assert set(profiler) == set(PROFILER_RULES)
    assert "InProgress" not in profiler.values()


def test_the_execution_went_by_the_verdicts_of_the_report(demo: Demo) -> None:
    output = output_of(demo)
    assert (output["deployed"], output["reasons"], output["warnings"]) == (True, [], [])
    for kind in ("rule_statuses", "profiler_rule_statuses"):
        assert verdicts(output[kind]) == verdicts(demo.record[kind])


def test_losses_of_both_modes_can_be_read_from_s3(demo: Demo) -> None:
    output = output_of(demo)
    program = (
        "import json, sys; from training.compatibility import import_smdebug; import_smdebug();"
        "from smdebug import modes; from smdebug.trials import create_trial; trial = create_trial(sys.argv[1]);"
        "loss = trial.tensor(next(name for name in trial.tensor_names(collection='losses')));"
        "values = lambda mode: [float(loss.value(step, mode=mode)) for step in loss.steps(mode=mode)];"
        "print(json.dumps({mode.name: values(mode) for mode in (modes.TRAIN, modes.EVAL)}))"
    )
    done = run(["-W", "ignore", "-c", program, output["debug_output"]], dict(demo.target.environment))
    assert done.returncode == 0, done.stderr
    losses = json.loads(done.stdout.splitlines()[-1])
    assert len(losses["EVAL"]) == 12
    assert losses["TRAIN"][-1] < losses["TRAIN"][0]


def test_the_file_that_is_no_photo_is_named(demo: Demo) -> None:
    report = json.loads((demo.home / "report" / "data.json").read_text())
    assert "99 not a photo.jpg" in json.dumps(report)


def test_the_photos_are_prepared_once(demo: Demo) -> None:
    states, functions = demo.target.client("stepfunctions"), demo.target.client("lambda")
    done = states.describe_execution(executionArn=demo.record["execution_arn"])
    names = [function["FunctionName"] for function in functions.list_functions()["Functions"]]
    (name,) = [each for each in names if each.endswith("prepare-execution")]
    event = {"input": json.loads(done["input"]), "execution_arn": done["executionArn"], "start_time": done["startDate"].isoformat()}
    plans = [
        json.loads(
            functions.invoke(FunctionName=name, Payload=json.dumps({**event, "input": {**event["input"], **change}}))["Payload"].read()
        )
        for change in ({}, {"epochs": 5}, {"seed": 7})
    ]
    assert [bool(plan["prepared"]) for plan in plans] == [True, True, False]
    assert len(demo.target.client("sagemaker").list_processing_jobs()["ProcessingJobSummaries"]) == 1


def test_what_was_found_in_the_photos_lies_beside_the_execution(demo: Demo) -> None:
    bucket = demo.target.outputs().bucket
    keys = [entry["Key"] for entry in demo.target.client("s3").list_objects_v2(Bucket=bucket, Prefix="executions/")["Contents"]]
    (key,) = [each for each in keys if each.endswith("/prepare/summary.json")]
    summary = json.loads(demo.target.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())
    assert [each["file"] for each in summary["left_out"]] == ["rook/99 not a photo.jpg"]
    assert sum(sum(counts.values()) for counts in summary["photos"].values()) <= 3 * PHOTOS_A_CLASS


def test_the_report_is_one_page_that_needs_no_network(demo: Demo) -> None:
    page = (demo.home / "report" / "report.html").read_text()
    assert "<svg" in page
    assert 'src="http' not in page
    assert 'href="http' not in page


def test_the_page_is_served(demo: Demo) -> None:
    with urllib.request.urlopen(demo.target.page_url(), timeout=60) as answer:
        assert answer.headers["Content-Type"].startswith("text/html")
        assert b"predict" in answer.read()


def test_what_is_no_photo_is_refused_with_a_sentence(demo: Demo) -> None:
    url = demo.record["api_url"]
    assert post(url, b"%PDF-1.7 words", "application/pdf")[0] == 415
    status, answer = post(url, b"%PDF-1.7 words", "image/jpeg")
    assert (status, list(answer)) == (400, ["error"])
    assert post(url, b"", "image/jpeg")[0] == 400
    assert post(url, bytes(20_000_000), "image/jpeg")[0] == 413


@pytest.mark.parametrize(
    ("value", "error", "sentence"),
    [
        ({"tuning": {"lr": [0.1, 0.001]}}, "InvalidExecutionInput", "tuning.lr"),
        ({"epoch": 3}, "InvalidExecutionInput", "epochs"),
        ({"data": "nothing/"}, "NoUsableData", "whippet upload"),
        ({"data": "one-class/"}, "NoUsableData", "rook"),
    ],
)
def test_what_cannot_work_fails_in_the_first_state_and_starts_nothing(demo: Demo, value: dict[str, Any], error: str, sentence: str) -> None:
    outputs = demo.target.outputs()
    for number in range(5):
        demo.target.client("s3").put_object(Bucket=outputs.bucket, Key=f"one-class/rook/{number}.jpg", Body=b"")
    jobs = demo.target.client("sagemaker").list_training_jobs()["TrainingJobSummaries"]
    states = demo.target.client("stepfunctions")
    arn = states.start_execution(stateMachineArn=outputs.state_machine, input=json.dumps(value))["executionArn"]
    while (execution := states.describe_execution(executionArn=arn))["status"] == "RUNNING":
        time.sleep(0.2)
    assert (execution["status"], execution["error"]) == ("FAILED", error)
    assert sentence in execution["cause"]
    assert demo.target.client("sagemaker").list_training_jobs()["TrainingJobSummaries"] == jobs


def test_down_leaves_no_process(demo: Demo) -> None:
    """Last, for it takes the demo away."""
    assert demo.pids
    done = demo.whippet("down", "--local")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [pid for pid in demo.pids if lives(pid)] == []
    assert processes_of(demo.home) == []
