"""The model registry in the machine: what is registered, who may keep a model from being deployed, and what the execution's end tells."""

from datetime import datetime
from typing import Any

import pytest

from lambdas.aws.model_registry import DEPLOYED, DEPLOYED_AT
from stacks.state_machine.registry import APPROVAL_SECONDS, LATER_APPROVAL_SECONDS, MOST_APPROVAL_LOOKS, SHORT_APPROVAL_LOOKS
from tests.fixtures.stacks.execution import TaskError
from tests.fixtures.stacks.fake_sagemaker import LOOKS, PACKAGE, asked_for, run, verdict

FOUND = [verdict("ExplodingTensor", "IssuesFound", "fc.weight held infinite values")]
PENDING = {"ModelApprovalStatus": "PendingManualApproval"}
REFUSED = TaskError("SageMaker.SageMakerException", "not authorized")


def test_every_assessed_model_is_registered_with_what_was_measured_of_it() -> None:
    done = run()
    (package,) = asked_for(done, "createModelPackage")
    assert package["ModelPackageGroupName"] == "whippet"
    assert package["ModelApprovalStatus"] == "PendingManualApproval"
    assert package["InferenceSpecification"]["Containers"][0]["ModelDataUrl"] == done.output["model_artifact"]
    assert package["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"] == f"{done.output['report']}evaluation.json"
    assert package["CustomerMetadataProperties"]["run"] == done.output["run"]
    assert package["ModelPackageDescription"].startswith("Accuracy 0.900 on ")
    assert "Tags" not in package, "versions of a group take none"


def test_a_model_that_is_kept_back_is_registered_as_rejected() -> None:
    done = run(verdicts=FOUND)
    assert asked_for(done, "createModelPackage")[0]["ModelApprovalStatus"] == "Rejected"
    assert asked_for(done, "updateModelPackage") == []
    assert (done.output["deployed"], done.output["model_package"]) == (False, PACKAGE)


def test_the_registration_is_the_same_in_every_try() -> None:
    """So one whose answer was lost is not made twice; another execution, and a redrive, register anew."""
    lost = TaskError("SageMaker.SdkClientException", "connection reset")
    tokens = {each["ClientToken"] for each in asked_for(run(createModelPackage=[lost, lost]), "createModelPackage")}
    assert len(tokens) == 1
    assert all(len(token) <= 36 for token in tokens)


def test_what_was_deployed_is_recorded_once_it_is_verified() -> None:
    done = run()
    (recorded,) = asked_for(done, "updateModelPackage")
    told = recorded.pop("CustomerMetadataProperties")
    assert recorded == {"ModelPackageArn": PACKAGE, "ModelApprovalStatus": "Approved"}
    assert (told["endpoint_config"], told["model"]) == (done.output["endpoint_config"], done.output["model"])
    assert datetime.fromisoformat(told[DEPLOYED_AT]).tzinfo, "the registry goes by this time"
    assert set(told) == {DEPLOYED, DEPLOYED_AT, "model"}
    assert done.visited.index("VerifyEndpoint") < done.visited.index("RecordDeployment")


def test_a_model_that_nobody_wants_deployed_is_registered() -> None:
    done = run({"deployment": {"kind": "none"}})
    assert done.output["reasons"] == ["deployment.kind is none, so the model was registered and not deployed"]
    assert done.visited[-1] == "NotDeployed"
    assert asked_for(done, "createModel") == []


def test_a_manual_approval_is_waited_for() -> None:
    done = run({"approval": "manual"}, describeModelPackage=[PENDING, PENDING, {"ModelApprovalStatus": "Approved"}])
    assert done.output["deployed"] is True
    assert done.visited.count("WaitForApproval") == 3
    assert {each["ModelPackageName"] for each in asked_for(done, "describeModelPackage")} == {PACKAGE}
    asked = asked_for(done, "publish")[0]
    assert asked["Subject"] == "whippet: a model waits for approval"
    assert PACKAGE in asked["Message"]


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ([{"ModelApprovalStatus": "Rejected"}], "its model package was rejected"),
        ([{"ModelApprovalStatus": "Rejected", "ApprovalDescription": "too slow"}], "its model package was rejected: too slow"),
        ([PENDING] * LOOKS, f"its model package was not approved within 7 days: {PACKAGE}"),
    ],
)
def test_a_model_that_is_not_approved_is_not_deployed(answers: list[Any], reason: str) -> None:
    done = run({"approval": "manual"}, describeModelPackage=answers)
    assert (done.output["deployed"], done.output["reasons"]) == (False, [reason])
    assert asked_for(done, "createModel") == []


def test_an_approval_is_waited_for_seven_days() -> None:
    waited = SHORT_APPROVAL_LOOKS * APPROVAL_SECONDS + (MOST_APPROVAL_LOOKS - SHORT_APPROVAL_LOOKS) * LATER_APPROVAL_SECONDS
    assert 7 * 24 * 3600 - LATER_APPROVAL_SECONDS < waited <= 7 * 24 * 3600


def test_a_model_that_is_kept_back_is_not_put_before_anybody() -> None:
    assert "AskForApproval" not in run({"approval": "manual"}, verdicts=FOUND).visited


def test_approvals_that_cannot_be_looked_at_end_the_execution() -> None:
    assert run({"approval": "manual"}, describeModelPackage=[REFUSED] * 10).error == ""
    failed = run({"approval": "manual"}, describeModelPackage=[REFUSED] * 11)
    assert failed.cause.startswith(f"DescribeModelPackage failed (model package {PACKAGE}): not authorized")
    assert failed.redrive().error == ""


@pytest.mark.parametrize(
    ("script", "warning"),
    [
        ({"pruneModels": [TaskError("ClientError", "not authorized")]}, "older models were not deleted: not authorized"),
        ({"pruneModels": [{"Payload": {"deleted": [], "left": ["model a could not be deleted"]}}]}, "model a could not be deleted"),
        ({"publishReport": [TaskError("ClientError", "no such bucket")]}, "the bill could not be written: no such bucket"),
    ],
)
def test_what_fails_after_the_deployment_is_a_warning(script: dict[str, Any], warning: str) -> None:
    done = run(**script)
    assert (done.error, done.output["deployed"], done.output["warnings"]) == ("", True, [warning])


@pytest.mark.parametrize("deployed", [True, False])
def test_nobody_being_told_keeps_nothing_back(deployed: bool) -> None:
    done = run(publish=[TaskError("SNS.SnsException", "no")] * 4, verdicts=() if deployed else FOUND)
    assert (done.error, done.output["deployed"]) == ("", deployed)


def test_the_end_is_told_with_what_was_made() -> None:
    (told,) = asked_for(run(), "publish")
    assert told["Subject"] == "whippet: a new model is deployed"
    assert "Endpoint: whippet, endpoint config whippet-261122160000-" in told["Message"]
    (told,) = asked_for(run(verdicts=FOUND), "publish")
    assert told["Subject"] == "whippet: the new model was not deployed"
    assert "Not deployed: rule ExplodingTensor found an issue" in told["Message"]


def test_the_report_gets_what_the_output_says() -> None:
    done = run()
    (asked,) = [each["Payload"] for each in asked_for(done, "invoke") if each["FunctionName"].endswith("publish-report")]
    assert asked["outcome"] == {**done.output, "bill": {}, "execution_report": ""}
    assert asked["plan"]["cost"]["currency"] == "USD"
