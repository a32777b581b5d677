"""`whippet doctor` on fakes: what it looks at, what it says, when it fails. Run: `make test`."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cli.account.quotas import Need, list_needs
from cli.doctor import Finding, check_cdk, check_disk, examine, report
from cli.terminal.errors import RefusedError
from tests.fixtures.cli.fakes import FakeCloudFormation, FakeMachine, FakeS3, Pages, client_error, stack, target


class FakeSts:
    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def get_caller_identity(self) -> dict[str, str]:
        if self.error:
            raise self.error
        return {"Arn": "arn:aws:iam::123456789012:user/ada", "Account": "123456789012"}


class FakeSsm:
    def __init__(self, version: str | None = "21", error: Exception | None = None) -> None:
        self.version, self.error = version, error

    def get_parameter(self, Name: str) -> dict[str, Any]:  # noqa: N803 - boto3's name
        if self.error:
            raise self.error
        if self.version is None:
            raise client_error("ParameterNotFound", f"no {Name}", "GetParameter")
        return {"Parameter": {"Value": self.version}}


class Bucket(FakeS3):
    def list_objects_v2(self, Bucket: str, Prefix: str, MaxKeys: int) -> dict[str, int]:  # noqa: N803
        return {"KeyCount": min(MaxKeys, sum(key.startswith(Prefix) for key in self.objects))}


class FakeQuotas:
    """What every account has, and what this one was given, in pages of one."""

    def __init__(self, defaults: dict[str, float], given: dict[str, float] | None = None) -> None:
        self.lists = {"list_aws_default_service_quotas": defaults, "list_service_quotas": given or {}}

    def get_paginator(self, operation: str) -> Pages:
        pages = [{"Quotas": [{"QuotaName": name, "Value": value}]} for name, value in self.lists[operation].items()]
        return Pages(lambda ServiceCode: pages if ServiceCode == "sagemaker" else [])  # noqa: N803


TRAINING_TYPE, ENDPOINT_TYPE = "ml.m5.2xlarge", "ml.m5.large"
ENOUGH = {
    f"{TRAINING_TYPE} for training job usage": 8.0,
    f"{TRAINING_TYPE} for processing job usage": 1.0,
    f"{ENDPOINT_TYPE} for endpoint usage": 4.0,
}


def found(asked: Any = None, machine: Any = None, **clients: Any) -> dict[str, list[Finding]]:
    known = {"sts": FakeSts(), "ssm": FakeSsm(), "s3": Bucket({"data/cat/1.jpg": b""}), "service-quotas": FakeQuotas(ENOUGH), **clients}
    findings: dict[str, list[Finding]] = {}
    for finding in examine(target(machine, **known), list_needs(asked or {})):
        findings.setdefault(finding.name, []).append(finding)
    return findings


def test_the_defaults_are_those_of_the_execution_input() -> None:
    assert [(need.quota, need.count, need.most) for need in list_needs({})] == [
        (f"{TRAINING_TYPE} for processing job usage", 1, 0),
        (f"{TRAINING_TYPE} for training job usage", 3, 0),
        (f"{ENDPOINT_TYPE} for endpoint usage", 1, 4),
    ]


def test_where_all_is_there_nothing_is_wrong() -> None:
    findings = found()
    assert {name for name, each in findings.items() if all(one.status == "fine" for one in each)} >= {
        "credentials",
        "bootstrap",
        "stack",
        "photos",
        "quota",
    }
    assert len(findings["quota"]) == 3


def test_a_quota_that_is_too_small_is_wrong_and_says_what_to_change() -> None:
    (_processing, training, endpoint) = found({"instance_type": "ml.g5.xlarge", "tuning": {"max_parallel_jobs": 2}})["quota"]
    assert (training.status, endpoint.status) == ("warning", "fine"), "a name that Service Quotas does not know may be a wrong one"
    quotas = FakeQuotas({**ENOUGH, "ml.g5.xlarge for training job usage": 0.0, "ml.g5.xlarge for processing job usage": 1.0})
    training = found({"instance_type": "ml.g5.xlarge"}, **{"service-quotas": quotas})["quota"][1]
    assert training.status == "wrong"
    assert training.said == "ml.g5.xlarge for training job usage: 0, and the execution needs 3"
    assert "tuning.max_parallel_jobs" in training.advice


def test_an_endpoint_that_can_begin_but_not_be_updated_at_full_load_is_a_warning() -> None:
    quotas = {**ENOUGH, f"{ENDPOINT_TYPE} for endpoint usage": 2.0}
    endpoint = found(**{"service-quotas": FakeQuotas(quotas)})["quota"][2]
    assert (endpoint.status, endpoint.said.endswith("at full load takes 4")) == ("warning", True)


def test_what_the_account_was_given_counts_more_than_what_every_account_has() -> None:
    name = f"{TRAINING_TYPE} for training job usage"
    training = found(**{"service-quotas": FakeQuotas({**ENOUGH, name: 0.0}, {name: 20.0})})["quota"][1]
    assert (training.status, training.said) == ("fine", f"{name}: 20, and the execution needs 3")


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ({"spot": True}, Need("ml.m5.2xlarge for spot training job usage", 3, "another instance_type, or fewer tuning.max_parallel_jobs")),
        ({"prepare": {"instance_type": "ml.c5.xlarge"}}, Need("ml.c5.xlarge for processing job usage", 1, "another prepare.instance_type")),
    ],
)
def test_other_machines_are_other_quotas(asked: dict[str, Any], wanted: Need) -> None:
    assert wanted in list_needs(asked)


def test_machines_that_share_a_job_count_each_and_serverless_wants_none() -> None:
    asked = {"trainable": "all", "instance_count": 4, "tuning": {"max_jobs": 2}, "deployment": {"kind": "serverless"}}
    assert [(need.quota.split(" for ")[1], need.count) for need in list_needs(asked)] == [
        ("processing job usage", 1),
        ("training job usage", 8),
    ]


@pytest.mark.parametrize("asked", [{"tuning": 3}, {"instance_count": "2"}, {"tuning": {"max_parallel_jobs": 0}}])
def test_an_input_that_cannot_be_is_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(RefusedError, match=r"execution input|got"):
        list_needs(asked)


def test_wrong_credentials_end_the_looks() -> None:
    expired = FakeSts(client_error("ExpiredToken", "The security token included in the request is expired", "GetCallerIdentity"))
    findings = found(sts=expired)
    assert findings["credentials"][0].status == "wrong"
    assert "expired" in findings["credentials"][0].said
    assert set(findings) == {"CDK", "credentials"}


def test_an_account_in_which_nothing_is_yet_is_told_the_way() -> None:
    findings = found(ssm=FakeSsm(None), cloudformation=FakeCloudFormation(None))
    assert [findings[name][0].status for name in ("bootstrap", "stack")] == ["warning", "warning"]
    assert "photos" not in findings
    assert found(s3=Bucket())["photos"][0].status == "warning"
    assert found(ssm=FakeSsm("5"))["bootstrap"][0].status == "warning"


def test_a_stack_that_was_rolled_back_is_wrong() -> None:
    rolled = FakeCloudFormation({**stack(), "StackStatus": "ROLLBACK_COMPLETE"})
    assert found(cloudformation=rolled)["stack"][0].status == "wrong"


def test_a_look_that_is_not_permitted_is_a_warning_and_another_error_is_said() -> None:
    findings = found(ssm=FakeSsm(error=client_error("AccessDeniedException", "no", "GetParameter")))
    assert "GetParameter" in findings["permissions"][0].said
    assert "quota" in findings, "the other looks go on"
    with pytest.raises(RefusedError, match="InternalServerError"):
        found(ssm=FakeSsm(error=client_error("InternalServerError", "broken", "GetParameter")))


def test_local_mode_has_a_disk_and_no_quotas() -> None:
    findings = found(machine=FakeMachine())
    assert "quota" not in findings
    assert findings["disk"][0].status in ("fine", "wrong")


def test_a_missing_command_line_and_a_full_disk_are_wrong(tmp_path: Path) -> None:
    assert check_cdk(tmp_path / "cdk").status == "wrong"
    (tmp_path / "cdk").touch()
    assert check_cdk(tmp_path / "cdk").status == "fine"
    assert check_disk(tmp_path / "not" / "there").said.endswith(str(tmp_path))


def test_the_screen_says_what_is_wrong_and_what_to_do() -> None:
    screen = Console(file=io.StringIO(), width=120)
    findings = [Finding("quota", "wrong", "0, and 3 are needed", "Ask for more."), Finding("stack", "fine", "deployed")]
    assert not report(screen, iter(findings))
    written = screen.file.getvalue()  # type: ignore[attr-defined]
    assert all(text in written for text in ("✗ quota", "Ask for more.", "✓ stack", "1 of these checks failed"))
    assert report(screen, iter(findings[1:]))
