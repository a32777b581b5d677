"""The model registry, without an engine: versions, approvals, what is refused, in AWS's words."""

from pathlib import Path
from typing import Any

import pytest

from local.api.errors import ServiceError
from local.api.validation import shape_answer, validate
from local.hosting.model_packages import ModelPackages
from local.storage.store import Store
from tests.fixtures.local.running import IMAGE

ARN = "arn:aws:sagemaker:us-east-1:000000000000:"
INFERENCE = {
    "Containers": [{"Image": IMAGE, "ModelDataUrl": "s3://b/model.tar.gz"}],
    "SupportedContentTypes": ["image/jpeg"],
    "SupportedResponseMIMETypes": ["application/json"],
}
METRICS = {"ModelQuality": {"Statistics": {"ContentType": "application/json", "S3Uri": "s3://b/evaluation.json"}}}


@pytest.fixture
def packages(tmp_path: Path) -> ModelPackages:
    times = iter(range(1_000_000, 2_000_000))
    made = ModelPackages(Store(tmp_path), lambda: float(next(times)))
    made.create_group({"ModelPackageGroupName": "whippet", "ModelPackageGroupDescription": "dogs, 120 breeds (50 % more)"})
    return made


def register(packages: ModelPackages, **fields: Any) -> str:
    request = {"ModelPackageGroupName": "whippet", "InferenceSpecification": INFERENCE, "ModelMetrics": METRICS, **fields}
    validate("CreateModelPackage", request)
    return str(packages.create(request)["ModelPackageArn"])


def refusal(call: Any, *arguments: Any) -> tuple[str, str]:
    with pytest.raises(ServiceError) as caught:
        call(*arguments)
    return caught.value.code, caught.value.message


def test_versions_are_numbered_and_described_as_aws_describes_them(packages: ModelPackages) -> None:
    first = register(packages, CustomerMetadataProperties={"run": "r 1", "endpoint_config": "c/1"}, ModelPackageDescription="93 % of 600")
    second = register(packages, ModelApprovalStatus="Approved")
    assert (first, second) == (f"{ARN}model-package/whippet/1", f"{ARN}model-package/whippet/2")
    described = shape_answer("DescribeModelPackage", packages.describe(first))
    assert described["ModelPackageVersion"] == 1 and described["ModelPackageStatus"] == "Completed"
    assert described["ModelApprovalStatus"] == "PendingManualApproval" and described["ModelMetrics"] == METRICS
    assert described["CustomerMetadataProperties"] == {"run": "r 1", "endpoint_config": "c/1"} and "ModelPackageName" not in described
    assert packages.describe(second)["ModelApprovalStatus"] == "Approved"


def test_a_version_is_never_numbered_like_a_deleted_one(packages: ModelPackages) -> None:
    packages.delete(register(packages))
    assert register(packages).endswith("/whippet/2")


def test_the_same_client_token_makes_no_second_version(packages: ModelPackages) -> None:
    assert (
        register(packages, ClientToken="token-1") == register(packages, ClientToken="token-1") != register(packages, ClientToken="token-2")
    )
    assert "ClientToken" not in packages.describe(f"{ARN}model-package/whippet/1")


def test_approval_and_properties_are_updated_and_removed(packages: ModelPackages) -> None:
    arn = register(packages, CustomerMetadataProperties={"run": "r", "old": "x"})
    request = {
        "ModelPackageArn": arn,
        "ModelApprovalStatus": "Approved",
        "ApprovalDescription": "deployed, and verified",
        "CustomerMetadataProperties": {"endpoint_config": "c"},
        "CustomerMetadataPropertiesToRemove": ["old", "never there"],
    }
    validate("UpdateModelPackage", request)
    assert packages.update(request) == {"ModelPackageArn": arn}
    package = packages.describe(arn)
    assert (package["ModelApprovalStatus"], package["ApprovalDescription"]) == ("Approved", "deployed, and verified")
    assert package["CustomerMetadataProperties"] == {"run": "r", "endpoint_config": "c"}
    assert package["LastModifiedTime"] > package["CreationTime"]
    many = {f"key{number}": "v" for number in range(50)}
    code, message = refusal(packages.update, {"ModelPackageArn": arn, "CustomerMetadataProperties": many})
    assert code == "ValidationException" and "would be 52; a model package holds at most 50" in message


def test_versions_are_listed_by_group_approval_and_order(packages: ModelPackages) -> None:
    packages.create_group({"ModelPackageGroupName": "other"})
    packages.create({"ModelPackageGroupName": "other"})
    arns = [register(packages, ModelApprovalStatus=status) for status in ("Approved", "Rejected", "Approved")]

    def listed(**request: Any) -> list[str]:
        validate("ListModelPackages", request)
        answer = shape_answer("ListModelPackages", packages.list_packages(request))
        return [each["ModelPackageArn"] for each in answer["ModelPackageSummaryList"]]

    assert listed(ModelPackageGroupName="whippet") == arns
    assert listed(ModelPackageGroupName=f"{ARN}model-package-group/whippet", ModelApprovalStatus="Approved") == [arns[0], arns[2]]
    newest = {"ModelPackageGroupName": "whippet", "SortBy": "CreationTime", "SortOrder": "Descending", "MaxResults": 1}
    assert listed(**newest) == [arns[2]]
    assert listed(**newest, NextToken="1") == [arns[1]]
    assert listed() == [] and len(listed(ModelPackageType="Both")) == 4
    names = [each["ModelPackageGroupName"] for each in packages.list_groups({})["ModelPackageGroupSummaryList"]]
    assert names == ["whippet", "other"]


def test_what_is_missing_taken_or_still_full_is_named_as_by_aws(packages: ModelPackages) -> None:
    arn = register(packages)
    group = {"ModelPackageGroupName": "whippet"}
    assert refusal(packages.create_group, group) == (
        "ValidationException", f"Model Package Group already exists: {ARN}model-package-group/whippet",
    )  # fmt: skip
    assert refusal(packages.delete_group, "whippet")[0] == "ConflictException"
    packages.delete(arn)
    assert refusal(packages.describe, arn) == ("ValidationException", f"ModelPackage {arn} does not exist.")
    assert refusal(packages.describe, "whippet")[1] == f"ModelPackage {ARN}model-package/whippet does not exist."
    packages.delete_group("whippet")
    gone = ("ValidationException", f"ModelPackageGroup {ARN}model-package-group/whippet does not exist.")
    assert refusal(packages.describe_group, "whippet") == refusal(packages.create, group) == refusal(packages.list_packages, group) == gone


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"Tags": [{"Key": "a", "Value": "b"}]}, "Tags are not supported in Model Package versions."),
        ({"ModelPackageName": "alone"}, "ModelPackageName is not supported in local mode"),
        ({"CertifyForMarketplace": True}, "CertifyForMarketplace True is not supported in local mode: supported: false"),
    ],
)
def test_what_a_version_does_not_take_is_refused(packages: ModelPackages, fields: dict[str, Any], told: str) -> None:
    assert told in refusal(packages.create, {"ModelPackageGroupName": "whippet", **fields})[1]


@pytest.mark.parametrize("value", ["93 %", "a,b", "x" * 257])
def test_properties_hold_only_what_aws_lets_them_hold(value: str) -> None:
    request = {"ModelPackageGroupName": "whippet", "CustomerMetadataProperties": {"key": value}}
    assert "at 'customerMetadataProperties.key.member' failed to satisfy constraint" in refusal(validate, "CreateModelPackage", request)[1]
