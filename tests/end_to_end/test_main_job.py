"""The main job as a user runs it, in strict local mode: what the demo said, and what it left behind.

Run: `make test`, or `pytest tests/end_to_end`.
"""

import json
import time
from dataclasses import replace
from typing import Any

import pytest

from cli.deploy import find_cdk
from tests.end_to_end.conftest import CLASSES, PHOTOS_A_CLASS, Demo, call, post, run
from tests.end_to_end.exercises import verdicts
from training.contract.rules import PROFILER_RULES, default_rules


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
        "import json, sys; "
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


def test_a_second_deployment_changes_nothing_and_nothing_differs(demo: Demo) -> None:
    again = demo.whippet("deploy", "--local", "--verbose")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "(no changes)" in again.stdout
    said: list[str] = []
    cdk = replace(find_cdk(demo.target), log=demo.home / "logs" / "cdk.log")
    cdk.run_logged(["diff", "--all", "--app", str(demo.home / "cdk.out")], said.append)
    assert "Number of stacks with differences: 0" in "".join(said)


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
    status, kind, page = call(demo, demo.target.page_url())
    assert status == 200
    assert kind.startswith("text/html")
    assert b"predict" in page


def test_who_does_not_sign_is_not_answered(demo: Demo) -> None:
    for url, body in ((demo.target.page_url(), None), (demo.record["api_url"], b"photo")):
        status, _kind, answer = call(demo, url, body, signed=False)
        assert (status, list(json.loads(answer))) == (403, ["error"])


def test_what_is_no_photo_is_refused_with_a_sentence(demo: Demo) -> None:
    assert post(demo, b"%PDF-1.7 words", "application/pdf")[0] == 415
    status, answer = post(demo, b"%PDF-1.7 words", "image/jpeg")
    assert (status, list(answer)) == (400, ["error"])
    assert post(demo, b"", "image/jpeg")[0] == 400
    assert post(demo, bytes(20_000_000), "image/jpeg")[0] == 413


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
