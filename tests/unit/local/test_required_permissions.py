"""What calls need: questions to IAM for SageMaker's operations and for task states; decisions as they are written; grants taken out."""

from pathlib import Path
from typing import Any

import pytest

from local.engine.adapter_permissions import allows
from local.engine.decisions import Decision, DecisionLog, read_decisions
from local.engine.required_permissions import (
    list_invocation_needs,
    list_sagemaker_needs,
    list_scaling_needs,
    list_task_needs,
    name_denied_task_error,
)
from tests.end_to_end.grants import Documents, Grant, grants, verdict, without

ROLE = "arn:aws:iam::000000000000:role/job"
ARN = "arn:aws:sagemaker:us-east-1:000000000000:"
GROUP = {"ModelPackageGroupName": "whippet"}


@pytest.mark.parametrize(
    ("operation", "request_", "asked"),
    [
        ("DescribeTrainingJob", {"TrainingJobName": "a"}, ["DescribeTrainingJob training-job/a"]),
        ("StopHyperParameterTuningJob", {"HyperParameterTuningJobName": "a"}, ["StopHyperParameterTuningJob hyper-parameter-tuning-job/a"]),
        ("CreateEndpointConfig", {"EndpointConfigName": "c"}, ["CreateEndpointConfig endpoint-config/c"]),
        (
            "UpdateEndpoint",
            {"EndpointName": "e", "EndpointConfigName": "c"},
            ["UpdateEndpoint endpoint/e", "UpdateEndpoint endpoint-config/c"],
        ),
        ("CreateModelPackage", GROUP, ["CreateModelPackage model-package-group/whippet", "CreateModelPackage model-package/whippet/1"]),
        (
            "UpdateModelPackage",
            {"ModelPackageArn": f"{ARN}model-package/whippet/3"},
            ["UpdateModelPackage model-package/whippet/3"],
        ),
        ("ListModelPackages", GROUP, ["ListModelPackages model-package-group/whippet", "ListModelPackages model-package/whippet/1"]),
        ("ListTrainingJobs", {}, ["ListTrainingJobs *"]),
        ("ListTags", {"ResourceArn": f"{ARN}model/m"}, ["ListTags model/m"]),
        ("DescribeEndpoint", {}, ["DescribeEndpoint endpoint/"]),
    ],
)
def test_an_operation_is_asked_for_what_it_is_done_to(operation: str, request_: dict[str, Any], asked: list[str]) -> None:
    needs = list_sagemaker_needs(operation, request_)
    assert [f"{need.action.removeprefix('sagemaker:')} {need.resource.removeprefix(ARN)}" for need in needs] == asked


def test_who_tags_and_passes_a_role_needs_permission_for_both() -> None:
    tags = [{"Key": "project", "Value": "whippet"}]
    create, tag, passed = list_sagemaker_needs("CreateTrainingJob", {"TrainingJobName": "a", "RoleArn": ROLE, "Tags": tags})
    assert (create.action, tag.action, passed.action) == ("sagemaker:CreateTrainingJob", "sagemaker:AddTags", "iam:PassRole")
    assert create.context == tag.context == {"aws:RequestTag/project": "whippet", "aws:TagKeys": ["project"]}
    assert (passed.resource, passed.context["iam:PassedToService"]) == (ROLE, "sagemaker.amazonaws.com")


def test_who_lets_alarms_take_an_update_back_may_look_at_them() -> None:
    rollback = {"DeploymentConfig": {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "a"}]}}}
    *_, look = list_sagemaker_needs("UpdateEndpoint", {"EndpointName": "e", "EndpointConfigName": "c", **rollback})
    assert (look.action, look.resource) == ("cloudwatch:DescribeAlarms", "arn:aws:cloudwatch:us-east-1:000000000000:alarm:a")


def test_the_role_of_a_tuning_jobs_training_jobs_is_passed_too() -> None:
    request = {"HyperParameterTuningJobName": "a", "TrainingJobDefinition": {"RoleArn": ROLE}}
    assert [need.resource for need in list_sagemaker_needs("CreateHyperParameterTuningJob", request)][1:] == [ROLE]


def test_the_runtime_and_scaling() -> None:
    assert [need.resource for need in list_invocation_needs("/endpoints/whippet/invocations")] == [f"{ARN}endpoint/whippet"]
    assert list_invocation_needs("/somewhere") == []
    (register,) = list_scaling_needs("RegisterScalableTarget", {"ServiceNamespace": "sagemaker"})
    assert register.context == {"application-autoscaling:service-namespace": "sagemaker"}
    assert [need.resource for need in list_scaling_needs("DescribeScalableTargets", {})] == ["*"]


@pytest.mark.parametrize(
    ("resource", "request_", "asked", "error"),
    [
        ("lambda:invoke", {"FunctionName": "arn:f"}, "lambda:InvokeFunction arn:f", "Lambda.AWSLambdaException"),
        ("sns:publish", {"TopicArn": "arn:t"}, "sns:Publish arn:t", "SNS.AuthorizationErrorException"),
        ("aws-sdk:sagemaker:stopTrainingJob", {"TrainingJobName": "a"}, f"sagemaker:StopTrainingJob {ARN}training-job/a",
         "SageMaker.SageMakerException"),
        ("sagemaker:createModel", {"ModelName": "m"}, f"sagemaker:CreateModel {ARN}model/m", "SageMaker.AmazonSageMakerException"),
    ],
)  # fmt: skip
def test_a_task_state_needs_what_it_calls(resource: str, request_: dict[str, Any], asked: str, error: str) -> None:
    resource = f"arn:aws:states:::{resource}"
    assert [f"{need.action} {need.resource}" for need in list_task_needs(resource, request_) or ()] == [asked]
    assert name_denied_task_error(resource) == error


def test_an_integration_that_is_not_known_is_not_allowed_in_silence() -> None:
    assert list_task_needs("arn:aws:states:::dynamodb:putItem", {}) is None


def test_a_decision_is_written_once_and_a_new_book_is_empty(tmp_path: Path) -> None:
    file, decision = tmp_path / "run" / "decisions.jsonl", Decision("r", "s3:GetObject", "arn:o", True, "p[0]", {"s3:prefix": "x"})
    book = DecisionLog(file)
    for each in (decision, decision, Decision("r", "s3:GetObject", "arn:other", False)):
        book.note(each)
    assert read_decisions(file) == [decision, Decision("r", "s3:GetObject", "arn:other", False)]
    DecisionLog(file)
    assert read_decisions(file) == []


def test_a_book_of_decisions_is_full_some_time(tmp_path: Path) -> None:
    book = DecisionLog(tmp_path / "decisions.jsonl", most=2)
    for number in range(4):
        book.note(Decision("r", "s3:GetObject", f"arn:{number}", True))
    assert [each.resource for each in read_decisions(tmp_path / "decisions.jsonl")] == ["arn:0", "arn:1"]


POLICIES: Documents = {
    "own": {
        "Statement": [
            {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": ["arn:aws:s3:::b/a/*", "arn:aws:s3:::b/c/*"]},
            {
                "Effect": "Allow",
                "Action": "s3:ListBucket",
                "Resource": "arn:aws:s3:::b",
                "Condition": {"StringLike": {"s3:prefix": "a/*"}},
            },
        ]
    },
    "other": {"Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/c/d"}]},
}


def got(key: str) -> Decision:
    return Decision("r", "s3:GetObject", f"arn:aws:s3:::b/{key}", True)


def test_conditions_count() -> None:
    for prefix, allowed in (("a/b", True), ("x", False)):
        assert allows(POLICIES.values(), Decision("r", "s3:ListBucket", "arn:aws:s3:::b", True, "", {"s3:prefix": prefix})) is allowed


def test_one_grant_is_taken_out_and_no_other() -> None:
    all_of_them = grants(POLICIES)
    assert len(all_of_them) == 6
    left = grants(without(POLICIES, all_of_them[0]))
    assert {(each.action, each.resource) for each in left} == {(each.action, each.resource) for each in all_of_them[1:]}


@pytest.mark.parametrize(
    ("grant", "decided", "expected"),
    [
        (Grant("own", 0, "s3:GetObject", "arn:aws:s3:::b/a/*"), [got("a/x")], "needed"),
        (Grant("own", 0, "s3:GetObject", "arn:aws:s3:::b/a/*"), [got("c/x")], "no call used s3:GetObject on arn:aws:s3:::b/a/*"),
        (Grant("own", 0, "s3:GetObject", "arn:aws:s3:::b/c/*"), [got("c/d")],
         "another statement allows what s3:GetObject on arn:aws:s3:::b/c/* does"),
        (Grant("own", 0, "s3:GetObject", "arn:aws:s3:::b/c/*"), [got("c/d"), got("c/e")], "needed"),
        (Grant("own", 0, "s3:PutObject", "arn:aws:s3:::b/a/*"), [got("a/x")], "no call used s3:PutObject on arn:aws:s3:::b/a/*"),
    ],
)  # fmt: skip
def test_a_grant_is_needed_when_a_call_is_denied_without_it(grant: Grant, decided: list[Decision], expected: str) -> None:
    assert verdict(POLICIES, grant, decided) == expected
