"""The states that bring the endpoint to the new model: one function a state, in the order in which they run.

Runs at synth; standard library only. The endpoint bears the project's name and outlives executions, so it may be absent, in service,
failed, or being moved by another execution. `$endpoint_served` is what it served before this execution touched it, in an earlier
attempt too; a deployment that fails goes to undo_states.py, which brings that back.
"""

from stacks.state_machine import hosting_requests as requests
from stacks.state_machine.language import (
    API_CALL_SECONDS,
    SDK_UNNAMED,
    State,
    api_call,
    catch,
    choice,
    endpoint_failure,
    found_failure,
    function_call,
    retry,
    sdk,
    task,
)
from stacks.state_machine.requests import Request, jsonata
from training import contract

CHECK_SECONDS, LATER_CHECK_SECONDS = 5, 30
SHORT_CHECKS = 60
MOST_CHECKS = 360
"""Looks at the endpoint before giving up: every 5 seconds for 5 minutes, then twice a minute, for 2 hours and a half. SageMaker gives a
container up to an hour, after it has fetched the model; a guarded update moves the traffic step by step and watches after that."""

SERVED = "$exists($states.result.EndpointConfigName) ? $states.result.EndpointConfigName : 'nothing'"
ONE_MORE_CHECK = {"checks": jsonata("$checks + 1")}
SETTLED = "$endpoint_status in ['InService', 'OutOfService', 'UpdateRollbackFailed']"

SCALING_TRANSIENT = [
    f"ApplicationAutoScaling.{name}"
    for name in ("ConcurrentUpdateException", "InternalServiceException", "SdkClientException", "ThrottlingException")
]


def endpoint_states() -> dict[str, State]:
    """From an endpoint config to an endpoint in service that answers as it should; goes on to RecordDeployment or LookBeforeUndo."""
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
    """Looks whether the project has an endpoint, what it serves, and how it is."""
    variant = "$states.result.ProductionVariants[0]"
    absent = {"endpoint_served": jsonata("$contains($states.errorOutput.Cause, 'Could not find') ? 'nothing' : $endpoint_served")}
    return api_call(
        "describeEndpoint",
        requests.endpoint(),
        caught=catch(endpoint_failure("DescribeEndpoint"), to="IsEndpointAbsent", assign={**ONE_MORE_CHECK, **absent}),
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
    """The service says "no such endpoint" and "too many requests" by the same error name; only the text tells them apart."""
    busy = "$contains($failure.reason, 'Rate exceeded') or $contains($failure.reason, 'in-progress')"
    return choice(
        ("$contains($failure.reason, 'Could not find')", "CreateEndpoint"),
        (f"({busy}) and $checks < {MOST_CHECKS}", "WaitForTurn"),
        default="WasEndpointAsked",
    )


def choose_endpoint_action() -> State:
    """A sound endpoint is updated, a failed one can only be removed, and one in transition is left to the execution that moves it.

    One that has this execution's config was moved by a call whose answer was lost.
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
    """Makes room for a new endpoint; another execution may have been quicker."""
    return api_call(
        "deleteEndpoint",
        requests.endpoint(),
        caught=catch(endpoint_failure("RemoveFailedEndpoint"), to="IsEndpointAbsent", assign={"endpoint_served": "nothing"}),
        to="WaitForTurn",
    )


def wait_for_checks(to: str) -> State:
    """Until the next look: soon at first, since an endpoint that is at rest is not waited for long."""
    seconds = f"$checks < {SHORT_CHECKS} ? {CHECK_SECONDS} : {LATER_CHECK_SECONDS}"
    return {"Type": "Wait", "Seconds": jsonata(seconds), "Next": to}


def endpoint_stays_busy() -> State:
    """Another execution, or somebody by hand, has kept the endpoint in transition all the time."""
    reason = "'it has been ' & $endpoint_status & ' at each of ' & $string($checks) & ' looks'"
    failed = found_failure(endpoint_failure("DescribeEndpoint"), "EndpointBusy", reason)
    return {"Type": "Pass", "Assign": {"failure": failed}, "Next": "WasEndpointAsked"}


def endpoint_not_serverless() -> State:
    """SageMaker turns no endpoint on instances into a serverless one; the other way round it does."""
    reason = (
        "'it runs on instances, and SageMaker makes no serverless endpoint of it: delete it, or ask for deployment.kind instance; '"
        " & 'the new model is registered as ' & $package"
    )
    failed = found_failure(endpoint_failure("UpdateServerlessEndpoint"), "EndpointNotServerless", reason)
    return {"Type": "Pass", "Assign": {"failure": failed}, "Next": "CleanUp"}


def create_endpoint() -> State:
    """Starts the project's endpoint; should it not come into service, it is removed again."""
    return api_call(
        "createEndpoint",
        requests.create_endpoint(),
        caught=catch(endpoint_failure("CreateEndpoint"), to="IsEndpointTaken", assign={**ONE_MORE_CHECK, "endpoint_asked": True}),
        to="WaitForEndpoint",
        retried=SDK_UNNAMED,
        assign={"checks": 0},
    )


def update_endpoint(state: str, request: Request) -> State:
    """Moves the project's endpoint to the new model, watched by alarms where it runs on instances."""
    return api_call(
        "updateEndpoint",
        request,
        caught=catch(endpoint_failure(state), to="IsEndpointTaken", assign={**ONE_MORE_CHECK, "endpoint_asked": True}),
        to="WaitForEndpoint",
        retried=SDK_UNNAMED,
        assign={"checks": 0},
    )


def is_endpoint_taken() -> State:
    """Another execution created or moved the endpoint between our look and our call, or removed it: wait for it, then look again.

    Autoscaling lets a variant change its model, not its instance type; released, it is registered anew once the endpoint is in service.
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
    """A call that was refused in the end may have been carried out in an earlier try, whose answer was lost."""
    return choice(("$endpoint_asked", "LookBeforeUndo"), default="CleanUp")


def release_scaling(caught: list[State], to: str = "WaitForTurn") -> State:
    """Takes the variant out of autoscaling, before it is tried again."""
    return task(
        sdk("deregisterScalableTarget", service="applicationautoscaling"),
        requests.scalable_target(),
        seconds=API_CALL_SECONDS,
        retried=[retry(SCALING_TRANSIENT)],
        caught=caught,
        to=to,
    )


def release_scaling_to_update() -> State:
    """Where nothing is registered, there is nothing to be done."""
    gone = {"ErrorEquals": ["ApplicationAutoScaling.ObjectNotFoundException"], "Output": {}, "Next": "WaitForTurn"}
    return release_scaling([gone, catch(endpoint_failure("ReleaseScaling"), to="WasEndpointAsked")])


def check_endpoint() -> State:
    """Looks how the endpoint comes along; by now it exists, so an error without a better name is worth another try."""
    return api_call(
        "describeEndpoint",
        requests.endpoint(),
        caught=catch(endpoint_failure("CheckEndpoint"), to="LookBeforeUndo"),
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
    """In service with another configuration than ours means that the update was rolled back or overtaken."""
    return choice(
        ("$endpoint_status = 'InService' and $endpoint_serves = $endpoint_config", "VerifyEndpoint"),
        (f"$endpoint_status in ['Creating', 'Updating', 'SystemUpdating', 'RollingBack'] and $checks < {MOST_CHECKS}", "WaitForEndpoint"),
        default="EndpointNotInService",
    )


def endpoint_not_in_service() -> State:
    """The endpoint failed, was rolled back, was taken over by another execution, or took too long."""
    reason = (
        "$endpoint_status = 'Failed' ? $endpoint_reason"
        " : $endpoint_status = 'InService' and $endpoint_serves = $endpoint_served"
        " ? 'the update to ' & $endpoint_config & ' was rolled back to ' & $endpoint_serves & ': ' & $endpoint_reason"
        " : $endpoint_status = 'InService'"
        " ? 'another execution replaced ' & $endpoint_config & ' by ' & $endpoint_serves & ' while this one waited'"
        " : 'it is still ' & $endpoint_status & ' after ' & $string($checks) & ' looks'"
    )
    failed = found_failure(endpoint_failure("WaitForEndpoint"), "EndpointNotInService", reason)
    return {"Type": "Pass", "Assign": {"failure": failed}, "Next": "LookBeforeUndo"}


def verify_endpoint() -> State:
    """Sends the training job's own check photos; an endpoint that cannot be asked is not left to others either."""
    return function_call(
        "VerifyEndpoint",
        {
            "endpoint": jsonata("$plan.endpoint"),
            "endpoint_config": jsonata("$endpoint_config"),
            "report": jsonata(f"$training.folder & '/{contract.REPORT}/'"),
        },
        caught=catch(failure_of_function(), to="LookBeforeUndo"),
        assign={
            "verification": jsonata("$states.result.Payload"),
            "warnings": jsonata("[$append($warnings, $states.result.Payload.verified ? $states.result.Payload.reasons : [])]"),
        },
        to="IsEndpointVerified",
    )


def failure_of_function() -> State:
    """A failure to verify, whose log is the function's."""
    return {**endpoint_failure("VerifyEndpoint"), "log": "${VerifyEndpointLogGroup}"}


def endpoint_not_verified() -> State:
    """The endpoint answers, and not as the training job promised."""
    failed = found_failure(endpoint_failure("VerifyEndpoint"), "EndpointNotVerified", "$join($verification.reasons, '; ')")
    return {"Type": "Pass", "Assign": {"failure": failed}, "Next": "LookBeforeUndo"}
