"""The states that deploy the new model to the endpoint: one function per state, in the order in which they run.

Runs at synth; standard library only. The endpoint has the project's name and outlives executions, so it may be absent, in service, failed,
or being updated by another execution. `$endpoint_served` is the config that it served before this execution, including earlier attempts,
changed it; after a failed deployment the states of undo.py restore it.
"""

from stacks.state_machine import hosting_requests as requests
from stacks.state_machine.language import (
    API_CALL_SECONDS,
    SDK_UNNAMED,
    State,
    api_call,
    catch,
    choice,
    describe_endpoint_failure,
    function_call,
    name_sdk,
    report_failure,
    retry,
    task,
)
from stacks.state_machine.requests import Request, jsonata
from training import contract

CHECK_SECONDS, LATER_CHECK_SECONDS = 5, 30
SHORT_CHECKS = 60
MOST_CHECKS = 360
"""Checks of the endpoint before giving up: every 5 seconds for 5 minutes, then twice a minute, for 2.5 hours. SageMaker gives a container
up to an hour after it has downloaded the model; a guarded update then moves the traffic step by step and monitors it."""

SERVED = "$exists($states.result.EndpointConfigName) ? $states.result.EndpointConfigName : 'nothing'"
ONE_MORE_CHECK = {"checks": jsonata("$checks + 1")}
SETTLED = "$endpoint_status in ['InService', 'OutOfService', 'UpdateRollbackFailed']"

SCALING_TRANSIENT = [
    f"ApplicationAutoScaling.{name}"
    for name in ("ConcurrentUpdateException", "InternalServiceException", "SdkClientException", "ThrottlingException")
]


def endpoint_states() -> dict[str, State]:
    """From an endpoint config to a verified endpoint in service; continues with RecordDeployment or LookBeforeUndo."""
    return {
        "DescribeEndpoint": describe_endpoint(),
        "IsEndpointAbsent": is_endpoint_absent(),
        "ChooseEndpointAction": choose_endpoint_action(),
        "RemoveFailedEndpoint": remove_failed_endpoint(),
        "WaitForTurn": wait_for_checks("DescribeEndpoint"),
        "EndpointStaysBusy": endpoint_stays_busy(),
        "EndpointNotServerless": endpoint_not_serverless(),
        "CreateEndpoint": create_endpoint(),
        "UpdateEndpoint": update_endpoint("UpdateEndpoint", requests.update_endpoint()),
        "UpdateServerlessEndpoint": update_endpoint("UpdateServerlessEndpoint", requests.update_serverless_endpoint()),
        "IsEndpointTaken": is_endpoint_taken(),
        "WasEndpointAsked": was_endpoint_asked(),
        "ReleaseScaling": release_scaling_to_update(),
        "WaitForEndpoint": wait_for_checks("CheckEndpoint"),
        "CheckEndpoint": check_endpoint(),
        "IsEndpointInService": is_endpoint_in_service(),
        "EndpointNotInService": endpoint_not_in_service(),
        "VerifyEndpoint": verify_endpoint(),
        "IsEndpointVerified": choice(("$verification.verified", "RecordDeployment"), default="EndpointNotVerified"),
        "EndpointNotVerified": endpoint_not_verified(),
    }


def describe_endpoint() -> State:
    """Reads whether the project has an endpoint, what it serves, and its status."""
    variant = "$states.result.ProductionVariants[0]"
    absent = {"endpoint_served": jsonata("$contains($states.errorOutput.Cause, 'Could not find') ? 'nothing' : $endpoint_served")}
    return api_call(
        "describeEndpoint",
        requests.endpoint(),
        caught=catch(describe_endpoint_failure("DescribeEndpoint"), to="IsEndpointAbsent", assign={**ONE_MORE_CHECK, **absent}),
        to="ChooseEndpointAction",
        assign={
            "endpoint_status": jsonata("$states.result.EndpointStatus"),
            "endpoint_serves": jsonata(SERVED),
            "endpoint_served": jsonata(f"($serves := {SERVED}; $contains($serves, $plan.run & '-') ? $endpoint_served : $serves)"),
            "endpoint_instances": jsonata(f"$exists({variant}.DesiredInstanceCount) ? {variant}.DesiredInstanceCount : 0"),
            "endpoint_serverless": jsonata(f"$exists({variant}.CurrentServerlessConfig)"),
            **ONE_MORE_CHECK,
        },
    )


def is_endpoint_absent() -> State:
    """SageMaker uses the same error name for "no such endpoint" and "too many requests"; only the text differs."""
    busy = "$contains($failure.reason, 'Rate exceeded') or $contains($failure.reason, 'in-progress')"
    return choice(
        ("$contains($failure.reason, 'Could not find')", "CreateEndpoint"),
        (f"({busy}) and $checks < {MOST_CHECKS}", "WaitForTurn"),
        default="WasEndpointAsked",
    )


def choose_endpoint_action() -> State:
    """A healthy endpoint is updated, a failed one can only be deleted, and one in transition is left to the execution that changes it.

    One that already has this execution's config was changed by a call whose response was lost.
    """
    return choice(
        ("$endpoint_serves = $endpoint_config", "WaitForEndpoint"),
        (f"{SETTLED} and $plan.deployment_kind != 'serverless'", "UpdateEndpoint"),
        (f"{SETTLED} and ($endpoint_serverless or $endpoint_instances = 0)", "UpdateServerlessEndpoint"),
        (SETTLED, "EndpointNotServerless"),
        ("$endpoint_status = 'Failed'", "RemoveFailedEndpoint"),
        (f"$checks < {MOST_CHECKS}", "WaitForTurn"),
        default="EndpointStaysBusy",
    )


def remove_failed_endpoint() -> State:
    """Deletes a failed endpoint, so that a new one can be created; another execution may have done so already."""
    return api_call(
        "deleteEndpoint",
        requests.endpoint(),
        caught=catch(describe_endpoint_failure("RemoveFailedEndpoint"), to="IsEndpointAbsent", assign={"endpoint_served": "nothing"}),
        to="WaitForTurn",
    )


def wait_for_checks(to: str) -> State:
    """Until the next check: short waits at first, because most endpoints are ready soon."""
    seconds = f"$checks < {SHORT_CHECKS} ? {CHECK_SECONDS} : {LATER_CHECK_SECONDS}"
    return {"Type": "Wait", "Seconds": jsonata(seconds), "Next": to}


def endpoint_stays_busy() -> State:
    """Another execution or a user has kept the endpoint in transition the whole time."""
    reason = "'it was ' & $endpoint_status & ' at each of ' & $string($checks) & ' checks'"
    failed = report_failure(describe_endpoint_failure("DescribeEndpoint"), "EndpointBusy", reason)
    return {"Type": "Pass", "Assign": {"failure": failed}, "Next": "WasEndpointAsked"}


def endpoint_not_serverless() -> State:
    """SageMaker cannot turn an endpoint on instances into a serverless one, only the reverse."""
    reason = (
        "'it runs on instances, and SageMaker cannot make it serverless: delete it, or set deployment.kind to instance; '"
        " & 'the new model is registered as ' & $package"
    )
    failed = report_failure(describe_endpoint_failure("UpdateServerlessEndpoint"), "EndpointNotServerless", reason)
    return {"Type": "Pass", "Assign": {"failure": failed}, "Next": "CleanUp"}


def create_endpoint() -> State:
    """Creates the project's endpoint; if it does not come into service, it is deleted again."""
    return api_call(
        "createEndpoint",
        requests.create_endpoint(),
        caught=catch(describe_endpoint_failure("CreateEndpoint"), to="IsEndpointTaken", assign={**ONE_MORE_CHECK, "endpoint_asked": True}),
        to="WaitForEndpoint",
        retried=SDK_UNNAMED,
        assign={"checks": 0},
    )


def update_endpoint(state: str, request: Request) -> State:
    """Updates the project's endpoint to the new model; on instances, alarms monitor the update."""
    return api_call(
        "updateEndpoint",
        request,
        caught=catch(describe_endpoint_failure(state), to="IsEndpointTaken", assign={**ONE_MORE_CHECK, "endpoint_asked": True}),
        to="WaitForEndpoint",
        retried=SDK_UNNAMED,
        assign={"checks": 0},
    )


def is_endpoint_taken() -> State:
    """Another execution created, changed or deleted the endpoint between our check and our call: wait, then check again.

    Autoscaling allows a variant to change its model, not its instance type; after its release the variant is registered again once the
    endpoint is in service.
    """
    taken = " or ".join(
        f"$contains($failure.reason, '{said}')" for said in ("already existing", "in-progress", 'Could not find endpoint "')
    )
    return choice(
        (f"$contains($failure.reason, /scalable target/i) and $checks < {MOST_CHECKS}", "ReleaseScaling"),
        (f"({taken}) and $checks < {MOST_CHECKS}", "WaitForTurn"),
        default="WasEndpointAsked",
    )


def was_endpoint_asked() -> State:
    """A call whose last attempt was rejected may have succeeded in an earlier attempt, whose response was lost."""
    return choice(("$endpoint_asked", "LookBeforeUndo"), default="CleanUp")


def release_scaling(caught: list[State], to: str = "WaitForTurn") -> State:
    """Deregisters the variant from autoscaling before the next attempt."""
    return task(
        name_sdk("deregisterScalableTarget", service="applicationautoscaling"),
        requests.scalable_target(),
        seconds=API_CALL_SECONDS,
        retried=[retry(SCALING_TRANSIENT)],
        caught=caught,
        to=to,
    )


def release_scaling_to_update() -> State:
    """Does nothing if the variant is not registered."""
    gone = {"ErrorEquals": ["ApplicationAutoScaling.ObjectNotFoundException"], "Output": {}, "Next": "WaitForTurn"}
    return release_scaling([gone, catch(describe_endpoint_failure("ReleaseScaling"), to="WasEndpointAsked")])


def check_endpoint() -> State:
    """Checks the endpoint; it exists by now, so an error without a specific name is worth a retry."""
    return api_call(
        "describeEndpoint",
        requests.endpoint(),
        caught=catch(describe_endpoint_failure("CheckEndpoint"), to="LookBeforeUndo"),
        to="IsEndpointInService",
        assign={
            "endpoint_status": jsonata("$states.result.EndpointStatus"),
            "endpoint_serves": jsonata(SERVED),
            "endpoint_reason": jsonata("$exists($states.result.FailureReason) ? $states.result.FailureReason : 'no reason was given'"),
            **ONE_MORE_CHECK,
        },
        retried=SDK_UNNAMED,
    )


def is_endpoint_in_service() -> State:
    """In service with another config means that the update was rolled back or overtaken."""
    return choice(
        ("$endpoint_status = 'InService' and $endpoint_serves = $endpoint_config", "VerifyEndpoint"),
        (f"$endpoint_status in ['Creating', 'Updating', 'SystemUpdating', 'RollingBack'] and $checks < {MOST_CHECKS}", "WaitForEndpoint"),
        default="EndpointNotInService",
    )


def endpoint_not_in_service() -> State:
    """The endpoint failed, was rolled back, was changed by another execution, or took too long."""
    reason = (
        "$endpoint_status = 'Failed' ? $endpoint_reason"
        " : $endpoint_status = 'InService' and $endpoint_serves = $endpoint_served"
        " ? 'the update to ' & $endpoint_config & ' was rolled back to ' & $endpoint_serves & ': ' & $endpoint_reason"
        " : $endpoint_status = 'InService'"
        " ? 'another execution replaced ' & $endpoint_config & ' by ' & $endpoint_serves & ' while this one waited'"
        " : 'it is still ' & $endpoint_status & ' after ' & $string($checks) & ' checks'"
    )
    failed = report_failure(describe_endpoint_failure("WaitForEndpoint"), "EndpointNotInService", reason)
    return {"Type": "Pass", "Assign": {"failure": failed}, "Next": "LookBeforeUndo"}


def verify_endpoint() -> State:
    """Sends the training job's own check photos; an endpoint that cannot be invoked is reverted too."""
    return function_call(
        "VerifyEndpoint",
        {
            "endpoint": jsonata("$plan.endpoint"),
            "endpoint_config": jsonata("$endpoint_config"),
            "report": jsonata(f"$training.folder & '/{contract.REPORT}/'"),
        },
        caught=catch(describe_verification_failure(), to="LookBeforeUndo"),
        assign={
            "verification": jsonata("$states.result.Payload"),
            "warnings": jsonata("[$append($warnings, $states.result.Payload.verified ? $states.result.Payload.reasons : [])]"),
        },
        to="IsEndpointVerified",
    )


def describe_verification_failure() -> State:
    """A failed verification; its log is the function's."""
    return {**describe_endpoint_failure("VerifyEndpoint"), "log": "${VerifyEndpointLogGroup}"}


def endpoint_not_verified() -> State:
    """The endpoint responds with other probabilities than the training job recorded."""
    failed = report_failure(describe_endpoint_failure("VerifyEndpoint"), "EndpointNotVerified", "$join($verification.reasons, '; ')")
    return {"Type": "Pass", "Assign": {"failure": failed}, "Next": "LookBeforeUndo"}
