"""The rules' verdicts: which findings keep a model back, what is told where a rule gave none, and where they are read."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lambdas.assessment.rule_statuses import MOST_DETAILS, verdicts
from tests.fixtures.lambdas.fake_s3 import FakeS3, error

FOLDER = "s3://bucket/executions/run/training/job"
REPORT = "executions/run/training/job/report"
BLOCKING = ["ExplodingTensor", "UnchangedTensor"]


def verdict(rule: str, status: str = "NoIssuesFound", details: str = "") -> dict[str, str]:
    return {"RuleConfigurationName": rule, "RuleEvaluationStatus": status, "StatusDetails": details}


HEALTHY = [verdict("ExplodingTensor"), verdict("UnchangedTensor")]


def event(debugger: str = "managed", block: list[str] = BLOCKING, debug: Any = (), profiler: Any = ()) -> dict[str, Any]:
    told = {"rule_statuses": list(debug), "profiler_rule_statuses": list(profiler)}
    return {"folder": FOLDER, "debugger": debugger, "block_deployment": block, **told}


def reports(debug: Any, profiler: Any = ()) -> FakeS3:
    return FakeS3(
        {f"{REPORT}/rule_statuses.json": json.dumps(debug).encode(), f"{REPORT}/profiler_rule_statuses.json": json.dumps(profiler).encode()}
    )


def no_s3() -> Any:
    """Has no method, so nothing can be read from it."""
    return object()


def test_findings_of_rules_that_do_not_block_keep_no_model_back() -> None:
    profiler = [verdict("LowGPUUtilization", "IssuesFound", "p95 is 12 %")]
    said = verdicts(event(debug=[*HEALTHY, verdict("Overfit", "IssuesFound", "ratio 0.4")], profiler=profiler), no_s3())
    assert (said.reasons, said.warnings) == ([], [])
    assert said.statuses["rule_statuses"] == [*HEALTHY, verdict("Overfit", "IssuesFound", "ratio 0.4")]
    assert said.statuses["profiler_rule_statuses"] == profiler


def test_what_a_blocking_rule_finds_keeps_the_model_back() -> None:
    said = verdicts(event(debug=[verdict("ExplodingTensor", "IssuesFound", "loss is NaN at step 3."), HEALTHY[1]]), no_s3())
    assert said.reasons == ["rule ExplodingTensor found an issue, and rules.block_deployment names it: loss is NaN at step 3"]
    assert said.warnings == []


def test_a_profiler_rule_may_block_too() -> None:
    said = verdicts(event(block=["GPUMemoryIncrease"], debug=HEALTHY, profiler=[verdict("GPUMemoryIncrease", "IssuesFound")]), no_s3())
    assert said.reasons == ["rule GPUMemoryIncrease found an issue, and rules.block_deployment names it: it gave no details"]


@pytest.mark.parametrize("status", ["Error", "Stopped"])
def test_a_blocking_rule_that_could_not_judge_does_not_block_and_is_told(status: str) -> None:
    said = verdicts(event(debug=[verdict("ExplodingTensor", status, "InternalError: no losses were saved"), HEALTHY[1]]), no_s3())
    assert said.reasons == []
    assert said.warnings == [
        f"rule ExplodingTensor could not judge ({status}: InternalError: no losses were saved), "
        "so it does not keep the model from being deployed, as rules.block_deployment has it"
    ]


@pytest.mark.parametrize("status", ["InProgress", "Stopping"])
def test_a_rule_that_never_ends_does_not_block_and_is_told_once(status: str) -> None:
    said = verdicts(event(debug=[verdict("ExplodingTensor", status), *HEALTHY[1:]], profiler=[verdict("ProfilerReport", status)]), no_s3())
    assert said.reasons == []
    assert said.warnings == [
        f"rule {rule} was still {status} when the execution went on without its verdict" for rule in ("ExplodingTensor", "ProfilerReport")
    ]


def test_the_verdicts_of_an_embedded_job_are_those_of_its_report() -> None:
    """Whatever the state hands over, which has asked nobody."""
    found = {**verdict("ExplodingTensor", "IssuesFound", "NaN"), "Evidence": [{"step": 3}], "Advice": "Lower the learning rate."}
    said = verdicts(event("embedded", debug=HEALTHY), reports([found, HEALTHY[1]], [verdict("CPUBottleneck")]))
    assert said.reasons
    assert said.statuses["rule_statuses"] == [verdict("ExplodingTensor", "IssuesFound", "NaN"), HEALTHY[1]]
    assert said.statuses["profiler_rule_statuses"] == [verdict("CPUBottleneck")]


WHERE = f"s3://bucket/{REPORT}"


@pytest.mark.parametrize("block", [BLOCKING, []])
@pytest.mark.parametrize(
    ("written", "problem"),
    [
        (None, "missing"),
        (b"{", "damaged (JSONDecodeError)"),
        (b"\xff", "damaged (UnicodeDecodeError)"),
        (b"[" * 100_000, "damaged (RecursionError)"),
        (b"5", "damaged (it holds no list)"),
        (b'{"ExplodingTensor": "IssuesFound"}', "damaged (it holds no list)"),
    ],
)
def test_a_report_that_says_nothing_keeps_nothing_back_and_is_told(written: bytes | None, problem: str, block: list[str]) -> None:
    """Whether or not anything hangs on it."""
    files = {} if written is None else {f"{REPORT}/rule_statuses.json": written}
    said = verdicts(event("embedded", block=block), FakeS3(files))
    assert (said.reasons, said.statuses) == ([], {"rule_statuses": [], "profiler_rule_statuses": []})
    assert said.warnings[:2] == [
        f"{WHERE}/rule_statuses.json is {problem}, so nothing is known of its rules",
        f"{WHERE}/profiler_rule_statuses.json is missing, so nothing is known of its rules",
    ]
    assert [warning.partition(",")[0] for warning in said.warnings[2:]] == [f"rule {rule} gave no verdict" for rule in block]


@pytest.mark.parametrize(
    "damaged",
    [
        *[5, None, [], "ExplodingTensor", {"RuleConfigurationName": "Overfit"}, {"RuleEvaluationStatus": "IssuesFound"}],
        *[verdict(""), {**verdict("Overfit"), "RuleConfigurationName": ["Overfit"]}, {**verdict("Overfit"), "RuleEvaluationStatus": None}],
    ],
)
def test_a_damaged_entry_takes_no_finding_with_it(damaged: Any) -> None:
    found = verdict("ExplodingTensor", "IssuesFound", "NaN")
    said = verdicts(event("embedded"), reports([damaged, found, HEALTHY[1]]))
    assert said.statuses["rule_statuses"] == [found, HEALTHY[1]]
    assert len(said.reasons) == 1
    assert said.warnings == [f"{WHERE}/rule_statuses.json is damaged: 1 of its 3 entries are no verdict of a rule, and are not used"]


def test_a_refused_look_at_the_report_is_no_missing_one() -> None:
    class Denied(FakeS3):
        def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803 - boto3's names
            raise error("AccessDenied", 403)

    with pytest.raises(ClientError, match="AccessDenied"):
        verdicts(event("embedded"), Denied())


def test_without_a_debugger_nothing_is_read_and_nothing_missed() -> None:
    said = verdicts(event("off", block=[]), no_s3())
    assert (said.reasons, said.warnings, said.statuses) == ([], [], {"rule_statuses": [], "profiler_rule_statuses": []})


def test_details_are_cut_for_an_execution_holds_little() -> None:
    said = verdicts(event(debug=[verdict("ExplodingTensor", "IssuesFound", "…" * 1024)]), no_s3())
    assert len(said.statuses["rule_statuses"][0]["StatusDetails"]) == MOST_DETAILS
