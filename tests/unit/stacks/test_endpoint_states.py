"""The states around the endpoint: how it comes to a new model, what happens when it does not, and that it is left as it was found."""

from typing import Any

import pytest

from tests.fixtures.stacks.execution import TaskError
from tests.fixtures.stacks.fake_sagemaker import ABSENT, IN_PROGRESS, LOOKS, OLDER, USUAL, asked_for, run, status

UNVERIFIED = {
    "Payload": {"verified": False, "reasons": ["the endpoint answered with another model.", "of p.jpg it says 0.9 instead of 0.1"]}
}
SCALES = TaskError("SageMaker.SageMakerException", "The variant(s) AllTraffic must be deregistered as scalable targets first.")
REFUSED = TaskError("SageMaker.SageMakerException", "User is not authorized to perform: sagemaker:DeleteEndpoint")


def test_an_endpoint_in_service_is_updated() -> None:
    done = run(describeEndpoint=[status("InService"), status("Updating")])
    assert done.error == ""
    assert "UpdateEndpoint" in done.visited
    assert "CreateEndpoint" not in done.visited


def test_an_endpoint_in_transition_is_waited_for() -> None:
    done = run(describeEndpoint=[status("Creating"), status("Updating"), status("InService")])
    assert done.error == ""
    assert done.visited.count("WaitForTurn") == 2


def test_a_failed_endpoint_is_removed_first() -> None:
    done = run(describeEndpoint=[status("Failed"), status("Deleting"), ABSENT])
    assert done.error == ""
    assert [each for each, _ in done.requests if each in ("deleteEndpoint", "createEndpoint")] == ["deleteEndpoint", "createEndpoint"]


def test_a_failed_endpoint_that_another_execution_removed_is_created() -> None:
    assert "CreateEndpoint" in run(describeEndpoint=[status("Failed")], deleteEndpoint=[ABSENT]).visited


def test_an_endpoint_that_stays_busy_is_given_up() -> None:
    failed = run(describeEndpoint=[status("Updating")] * 9)
    assert failed.error == "DescribeEndpoint.EndpointBusy"
    assert "it was Updating at each of 4 checks" in failed.cause


@pytest.mark.parametrize("said", ["Cannot create already existing endpoint", "Cannot update in-progress endpoint"])
def test_another_execution_may_be_quicker(said: str) -> None:
    refused = [TaskError("SageMaker.SageMakerException", said)] * 4
    done = run(describeEndpoint=[ABSENT, status("Creating"), status("InService")], createEndpoint=refused)
    assert done.error == ""
    assert "UpdateEndpoint" in done.visited


def test_another_error_of_describe_is_not_taken_for_absence() -> None:
    failed = run(
        describeEndpoint=[TaskError("SageMaker.SageMakerException", "User is not authorized to perform: sagemaker:DescribeEndpoint")]
    )
    assert "CreateEndpoint" not in failed.visited
    assert "not authorized" in failed.cause


def test_a_rollback_is_detected() -> None:
    failed = run(describeEndpoint=[status("InService"), status("Updating"), status("RollingBack"), status("InService")])
    assert "the update to whippet-261122160000-" in failed.cause
    assert "was rolled back to whippet-an-older-one: no reason was given. Log:" in failed.cause


def test_being_overtaken_by_another_execution_is_told_from_a_rollback() -> None:
    overtaken = {"EndpointStatus": "InService", "EndpointConfigName": "a-newer-one"}
    failed = run(describeEndpoint=[status("InService"), status("Updating"), overtaken])
    assert "another execution replaced whippet-261122160000-" in failed.cause
    assert "by a-newer-one while this one waited. Log:" in failed.cause


def test_a_failed_endpoint_that_another_execution_replaced_is_waited_for() -> None:
    done = run(describeEndpoint=[status("Failed"), status("Creating"), status("InService")], deleteEndpoint=[IN_PROGRESS])
    assert done.error == ""
    assert "UpdateEndpoint" in done.visited


def test_a_stutter_while_waiting_is_forgiven() -> None:
    stutter = TaskError("SageMaker.SageMakerException", "Rate exceeded")
    assert run(describeEndpoint=[ABSENT, stutter, stutter]).error == ""


def test_throttled_looks_at_the_endpoint_are_repeated() -> None:
    assert run(describeEndpoint=[TaskError("SageMaker.SageMakerException", "Rate exceeded (Status Code: 400)"), ABSENT]).error == ""


def test_a_gpu_endpoint_names_its_host_image() -> None:
    (config,) = asked_for(run({"deployment": {"instance_type": "ml.g5.xlarge"}}), "createEndpointConfig")
    assert config["ProductionVariants"][0]["InferenceAmiVersion"] == "al2-ami-sagemaker-inference-gpu-3-1"
    (config,) = asked_for(run(), "createEndpointConfig")
    assert "InferenceAmiVersion" not in config["ProductionVariants"][0]


def test_the_config_tells_how_far_the_endpoint_may_scale() -> None:
    (config,) = asked_for(run({"deployment": {"instance_count": 2, "max_instance_count": 6}}), "createEndpointConfig")
    assert {"Key": "max_instance_count", "Value": "6"} in config["Tags"]


def test_an_update_is_guarded_by_the_alarms() -> None:
    (update,) = asked_for(run({"deployment": {"instance_count": 2}}), "updateEndpoint")
    assert update["DeploymentConfig"]["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]["Type"] == "CANARY"
    alarms = [each["AlarmName"] for each in update["DeploymentConfig"]["AutoRollbackConfiguration"]["Alarms"]]
    assert alarms == ["whippet-endpoint-errors", "whippet-endpoint-latency"]


@pytest.mark.parametrize(("now", "retained"), [(1, False), (2, True), (3, True), (4, False), (0, False)])
def test_an_endpoint_that_is_scaled_out_keeps_its_machines(now: int, retained: bool) -> None:
    """As long as the new config allows so many; without autoscaling the count is what was asked for."""
    looked = status("InService", ProductionVariants=[{"DesiredInstanceCount": now}] if now else [])
    (update,) = asked_for(run({"deployment": {"max_instance_count": 3}}, describeEndpoint=[looked]), "updateEndpoint")
    assert update["RetainAllVariantProperties"] is retained


def test_a_serverless_endpoint_is_updated_without_machines_to_move_traffic_between() -> None:
    looked = status("InService", ProductionVariants=[{"CurrentServerlessConfig": {"MemorySizeInMB": 4096}}])
    done = run({"deployment": {"kind": "serverless"}}, describeEndpoint=[looked])
    assert done.error == ""
    (update,) = asked_for(done, "updateEndpoint")
    assert set(update) == {"EndpointName", "EndpointConfigName"}


def test_an_endpoint_on_machines_is_not_asked_to_become_serverless() -> None:
    looked = status("InService", ProductionVariants=[{"DesiredInstanceCount": 1}])
    failed = run({"deployment": {"kind": "serverless"}}, describeEndpoint=[looked])
    assert asked_for(failed, "updateEndpoint") == []
    assert failed.error == "UpdateServerlessEndpoint.EndpointNotServerless"
    assert "it runs on instances, and SageMaker cannot make it serverless: delete it" in failed.cause


def test_a_variant_that_scales_is_released_before_it_changes_its_machines() -> None:
    refused = TaskError("SageMaker.SageMakerException", "The variant(s) AllTraffic must be deregistered as scalable targets first.")
    done = run(updateEndpoint=[refused] * 4)
    assert done.error == ""
    (released,) = asked_for(done, "deregisterScalableTarget")
    assert released["ResourceId"] == "endpoint/whippet/variant/AllTraffic"
    assert done.visited.count("UpdateEndpoint") == 2


def test_a_variant_that_is_no_longer_registered_is_as_good_as_released() -> None:
    refused = TaskError("SageMaker.SageMakerException", "The variant(s) AllTraffic must be deregistered as scalable targets first.")
    gone = TaskError("ApplicationAutoScaling.ObjectNotFoundException", "No scalable target found")
    assert run(updateEndpoint=[refused] * 4, deregisterScalableTarget=[gone]).error == ""


@pytest.mark.parametrize(("action", "looks"), [("createEndpoint", [ABSENT]), ("updateEndpoint", [USUAL])])
def test_a_call_whose_answer_was_lost_is_not_made_again(action: str, looks: list[Any]) -> None:
    """The endpoint has this execution's config already, so it is waited for, not updated to what it serves."""
    asked: list[str] = []

    def lost(arguments: dict[str, Any]) -> TaskError:
        asked.append(arguments["EndpointConfigName"])
        return TaskError("SageMaker.SageMakerException", f"Cannot {action} already existing or in-progress endpoint")

    def moved(_arguments: dict[str, Any]) -> dict[str, Any]:
        return {"EndpointStatus": "InService", "EndpointConfigName": asked[0]}

    done = run(**{action: [lost] * 4}, describeEndpoint=[*looks, moved])
    assert done.error == ""
    assert len(set(asked)) == 1
    assert [each for each in done.visited if each in ("CreateEndpoint", "UpdateEndpoint")] == [action[0].upper() + action[1:]]


def test_a_new_endpoint_that_fails_is_removed_again() -> None:
    failed = run(describeEndpoint=[ABSENT, status("Creating"), status("Failed", FailureReason="The container did not answer /ping.")])
    assert asked_for(failed, "deleteEndpoint") == [{"EndpointName": "whippet"}]
    assert failed.error == "WaitForEndpoint.EndpointNotInService"
    assert failed.cause == (
        "WaitForEndpoint failed (endpoint whippet): The container did not answer /ping. "
        "Log: CloudWatch log group /aws/sagemaker/Endpoints/whippet."
    )


def test_an_endpoint_that_was_there_before_and_failed_is_left() -> None:
    """It can only be deleted, and somebody may want to look into it; the next execution removes it."""
    failed = run(describeEndpoint=[status("InService"), status("Failed", FailureReason="no memory"), status("Failed")])
    assert asked_for(failed, "deleteEndpoint") == []
    assert len(asked_for(failed, "updateEndpoint")) == 1
    assert "no memory" in failed.cause


def test_waiting_for_the_endpoint_ends() -> None:
    failed = run(describeEndpoint=[ABSENT] + [status("Creating")] * (LOOKS + 2), deleteEndpoint=[IN_PROGRESS, {}])
    assert "it is still Creating after 4 checks. Log:" in failed.cause
    undone = [name for name in failed.visited if name in ("WaitForUndo", "RemoveEndpoint")]
    assert undone == ["WaitForUndo", "WaitForUndo", "RemoveEndpoint", "WaitForUndo", "RemoveEndpoint"][: len(undone)]
    assert failed.visited[-6:] == ["RemoveEndpoint", "CleanUp", "IsAnythingSpent", "PublishFailure", "NotifyFailed", "ExecutionFailed"]


def test_an_endpoint_that_stays_in_transition_is_told() -> None:
    failed = run(describeEndpoint=[ABSENT] + [status("Creating")] * 20)
    assert asked_for(failed, "deleteEndpoint") == []
    assert "; the endpoint may still have whippet-261122160000-" in failed.cause
    assert "check it: it is still Creating. Log:" in failed.cause


def test_an_endpoint_that_may_not_be_removed_is_told_at_once() -> None:
    failed = run(describeEndpoint=[ABSENT, status("Failed", FailureReason="no memory")], deleteEndpoint=[REFUSED] * 9)
    assert failed.visited.count("RemoveEndpoint") == 1
    assert "no memory; the endpoint may still have whippet-261122160000-" in failed.cause
    assert "check it: User is not authorized to perform: sagemaker:DeleteEndpoint. Log:" in failed.cause


def test_an_endpoint_that_somebody_else_removed_is_not_looked_for() -> None:
    failed = run(describeEndpoint=[ABSENT, status("Failed", FailureReason="no memory"), *[ABSENT] * 4])
    assert asked_for(failed, "deleteEndpoint") == []
    assert "no memory. Log:" in failed.cause


def test_a_new_endpoint_that_cannot_be_looked_at_is_removed_too() -> None:
    blind = [TaskError("SageMaker.SageMakerException", "Rate exceeded")] * 4
    failed = run(describeEndpoint=[ABSENT, *blind])
    assert failed.visited[-8:] == [
        "LookBeforeUndo",
        "ChooseUndo",
        "RemoveEndpoint",
        "CleanUp",
        "IsAnythingSpent",
        "PublishFailure",
        "NotifyFailed",
        "ExecutionFailed",
    ]
    assert failed.cause.startswith("CheckEndpoint failed (endpoint whippet): Rate exceeded.")


@pytest.mark.parametrize("script", [{"verifyEndpoint": [UNVERIFIED]}, {"verifyEndpoint": [TaskError("AccessDenied", "no")]}])
def test_a_model_that_is_not_verified_gives_way_to_the_one_before(script: dict[str, Any]) -> None:
    failed = run(**script)
    served, restored = (each["EndpointConfigName"] for each in asked_for(failed, "updateEndpoint"))
    assert served != restored == OLDER
    assert failed.visited.count("VerifyEndpoint") == 1
    assert "RecordDeployment" not in failed.visited
    assert f"the endpoint was restored to {OLDER}" in failed.cause


def test_what_the_verification_found_is_told() -> None:
    failed = run(verifyEndpoint=[UNVERIFIED])
    assert failed.error == "VerifyEndpoint.EndpointNotVerified"
    assert failed.cause.startswith(
        "VerifyEndpoint failed (endpoint whippet): the endpoint answered with another model.; of p.jpg it says 0.9"
    )


def test_a_failure_to_verify_names_the_functions_log() -> None:
    failed = run(verifyEndpoint=[TaskError("AccessDeniedException", "no")])
    assert failed.cause.endswith("Log: CloudWatch log group /aws/lambda/whippet-verify-endpoint.")


def test_the_first_endpoint_that_is_not_verified_is_removed() -> None:
    failed = run(verifyEndpoint=[UNVERIFIED], describeEndpoint=[ABSENT])
    assert asked_for(failed, "deleteEndpoint") == [{"EndpointName": "whippet"}]
    assert asked_for(failed, "updateEndpoint") == []


def test_what_the_verification_could_not_see_is_a_warning() -> None:
    answer = {"verified": True, "reasons": ["no answer was compared"], "photos": 0, "largest_difference": 0, "milliseconds": 0}
    assert run(verifyEndpoint=[{"Payload": answer}]).output["warnings"] == ["no answer was compared"]


def test_an_endpoint_that_another_execution_moved_meanwhile_is_not_brought_back() -> None:
    def overtaken(_arguments: dict[str, Any]) -> dict[str, Any]:
        script["describeEndpoint"].append({"EndpointStatus": "InService", "EndpointConfigName": "a-newer-one"})
        return UNVERIFIED

    script: dict[str, list[Any]] = {"describeEndpoint": [], "verifyEndpoint": [overtaken]}
    failed = run(**script)
    assert len(asked_for(failed, "updateEndpoint")) == 1
    assert "restored" not in failed.cause


def test_a_config_that_cannot_be_restored_is_told() -> None:
    gone = TaskError("SageMaker.SageMakerException", 'Could not find endpoint configuration "arn:…:endpoint-config/whippet-an-older-one".')
    failed = run(verifyEndpoint=[UNVERIFIED], updateEndpoint=[USUAL, *[gone] * 4])
    assert "EndpointRestored" not in failed.visited
    assert "check it: Could not find endpoint configuration" in failed.cause


def test_a_config_on_other_machines_is_restored_once_the_variant_scales_no_more() -> None:
    failed = run(verifyEndpoint=[UNVERIFIED], updateEndpoint=[USUAL, *[SCALES] * 4])
    assert len(asked_for(failed, "deregisterScalableTarget")) == 1
    assert failed.visited.count("RestoreEndpoint") == 2
    assert f"the endpoint was restored to {OLDER}" in failed.cause


def test_an_update_that_may_have_been_carried_out_is_undone() -> None:
    """Its answer was lost, the next try met it under way, and then nobody may look any more."""
    asked: list[str] = []

    def lost(arguments: dict[str, Any]) -> TaskError:
        asked.append(arguments["EndpointConfigName"])
        return IN_PROGRESS

    def moved(_arguments: dict[str, Any]) -> dict[str, Any]:
        return {"EndpointStatus": "InService", "EndpointConfigName": asked[0]}

    denied = TaskError("SageMaker.AccessDeniedException", "no")
    failed = run(updateEndpoint=[lost] * 4, describeEndpoint=[USUAL, denied, moved])
    assert failed.cause.startswith("DescribeEndpoint failed (endpoint whippet): no; the endpoint was restored to")


def test_an_endpoint_that_nothing_was_asked_of_is_not_looked_at_after_a_failure() -> None:
    failed = run(describeEndpoint=[TaskError("SageMaker.AccessDeniedException", "no")])
    assert "LookBeforeUndo" not in failed.visited


def test_an_execution_that_is_redriven_does_not_bring_back_what_it_left_itself() -> None:
    """Its first attempt could not undo its deployment; what was served before that is what the second one goes back to."""
    denied = TaskError("SageMaker.AccessDeniedException", "no")
    execution = run(verifyEndpoint=[UNVERIFIED, UNVERIFIED], updateEndpoint=[USUAL, denied])
    assert "may still have" in execution.cause
    assert f"the endpoint was restored to {OLDER}" in execution.redrive().cause


def test_one_look_that_comes_too_late_ends_nothing() -> None:
    late = TaskError("States.Timeout")
    assert run(describeEndpoint=[late, USUAL, late, late]).error == ""


def test_a_deployment_that_cannot_be_recorded_is_undone() -> None:
    """It would be served, and no later model would be compared with it."""
    failed = run(updateModelPackage=[TaskError("SageMaker.SageMakerException", "not authorized")] * 11)
    assert failed.cause.startswith("RecordDeployment failed (model package arn:")
    assert [each["EndpointConfigName"] for each in asked_for(failed, "updateEndpoint")][1:] == [OLDER]


@pytest.mark.parametrize("state", ["CreateModel", "CreateEndpointConfig", "CreateEndpoint", "UpdateEndpoint", "RegisterModel"])
def test_every_refused_request_is_told(state: str) -> None:
    action = {"RegisterModel": "createModelPackage"}.get(state, state[0].lower() + state[1:])
    first = [ABSENT] if state == "CreateEndpoint" else []
    failed = run(**{action: [TaskError("SageMaker.SageMakerException", "no such role")] * 4}, describeEndpoint=first)
    assert failed.error == "SageMaker.SageMakerException"
    assert failed.cause.startswith(f"{state} failed")
    assert failed.cause.endswith("no such role.")
