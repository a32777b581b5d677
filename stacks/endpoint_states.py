"""The states that bring the endpoint to the new model: one function a state, in the order in which they run.

Runs at synth; standard library only. The endpoint bears the project's name and outlives executions, so it may be absent, in service,
failed, or being moved by another execution. Only one that this execution created is removed when it fails.
"""

from stacks import sagemaker_requests as requests
from stacks.sagemaker_requests import jsonata
from stacks.states_language import (
    REASON,
    SDK_UNNAMED,
    State,
    api_call,
    catch,
    choice,
    endpoint_failure,
    found_failure,
    without_stop,
)

CHECK_SECONDS = 5
MOST_CHECKS = 960
"""Looks at the endpoint before giving up: 80 minutes. SageMaker gives a container up to an hour, after it has fetched the model."""

REMOVAL_SECONDS = 30
MOST_REMOVALS = 120
"""Tries to remove an endpoint that SageMaker is still creating, and therefore does not let go: an hour."""

SERVED = "$exists($states.result.EndpointConfigName) ? $states.result.EndpointConfigName : 'nothing'"
ONE_MORE_CHECK = {"checks": jsonata("$checks + 1")}


def endpoint_states() -> dict[str, State]:
    """From an endpoint config to an endpoint in service; goes on to ExecutionDone or ExecutionFailed."""
    return {
        "DescribeEndpoint": describe_endpoint(),
        "IsEndpointAbsent": is_endpoint_absent(),
        "ChooseEndpointAction": choose_endpoint_action(),
        "RemoveFailedEndpoint": remove_failed_endpoint(),
        "WaitForTurn": wait_for_turn(),
        "EndpointStaysBusy": endpoint_stays_busy(),
        "CreateEndpoint": create_endpoint(),
        "UpdateEndpoint": update_endpoint(),
        "IsEndpointTaken": is_endpoint_taken(),
        "WaitForEndpoint": wait_for_endpoint(),
        "CheckEndpoint": check_endpoint(),
        "IsEndpointInService": is_endpoint_in_service(),
        "EndpointNotInService": endpoint_not_in_service(),
        "WasEndpointCreatedHere": was_endpoint_created_here(),
        "RemoveEndpoint": remove_endpoint(),
        "IsEndpointStillMoving": is_endpoint_still_moving(),
        "WaitForRemoval": wait_for_removal(),
        "EndpointRemains": endpoint_remains(),
    }


def describe_endpoint() -> State:
    """Looks whether the project has an endpoint, and how it is."""
    return api_call(
        "describeEndpoint",
        requests.endpoint(),
        caught=catch(endpoint_failure("DescribeEndpoint"), to="IsEndpointAbsent", assign=ONE_MORE_CHECK),
        to="ChooseEndpointAction",
        assign={
            "endpoint_status": jsonata("$states.result.EndpointStatus"),
            "endpoint_served": jsonata(SERVED),
            **ONE_MORE_CHECK,
        },
    )


def is_endpoint_absent() -> State:
    """The service says "no such endpoint" and "too many requests" by the same error name; only the text tells them apart."""
    busy = "$contains($failure.reason, 'Rate exceeded') or $contains($failure.reason, 'in-progress')"
    return choice(
        ("$contains($failure.reason, 'Could not find')", "CreateEndpoint"),
        (f"({busy}) and $checks < {MOST_CHECKS}", "WaitForTurn"),
        default="ExecutionFailed",
    )


def choose_endpoint_action() -> State:
    """A sound endpoint is updated, a failed one can only be removed, and one in transition is left to the execution that moves it."""
    return choice(
        ("$endpoint_status in ['InService', 'OutOfService', 'UpdateRollbackFailed']", "UpdateEndpoint"),
        ("$endpoint_status = 'Failed'", "RemoveFailedEndpoint"),
        (f"$checks < {MOST_CHECKS}", "WaitForTurn"),
        default="EndpointStaysBusy",
    )


def remove_failed_endpoint() -> State:
    """Makes room for a new endpoint; another execution may have been quicker."""
    return api_call(
        "deleteEndpoint",
        requests.endpoint(),
        caught=catch(endpoint_failure("RemoveFailedEndpoint"), to="IsEndpointAbsent"),
        to="WaitForTurn",
    )


def wait_for_turn() -> State:
    """Until the endpoint is gone or at rest."""
    return {"Type": "Wait", "Seconds": CHECK_SECONDS, "Next": "DescribeEndpoint"}


def endpoint_stays_busy() -> State:
    """Another execution, or somebody by hand, has kept the endpoint in transition all the time."""
    reason = "'it has been ' & $endpoint_status & ' at each of ' & $string($checks) & ' looks'"
    failed = found_failure(endpoint_failure("DescribeEndpoint"), "EndpointBusy", reason)
    return {"Type": "Pass", "Assign": {"failure": failed}, "Next": "ExecutionFailed"}


def create_endpoint() -> State:
    """Starts the project's endpoint; should it not come into service, it is removed again."""
    return api_call(
        "createEndpoint",
        requests.create_endpoint(),
        caught=catch(endpoint_failure("CreateEndpoint"), to="IsEndpointTaken", assign=ONE_MORE_CHECK),
        to="WaitForEndpoint",
        retried=SDK_UNNAMED,
        assign={"endpoint_created": True, "endpoint_status": "Creating", "checks": 0, "removals": 0},
    )


def update_endpoint() -> State:
    """Moves the project's endpoint to the new model."""
    return api_call(
        "updateEndpoint",
        requests.update_endpoint(),
        caught=catch(endpoint_failure("UpdateEndpoint"), to="IsEndpointTaken", assign=ONE_MORE_CHECK),
        to="WaitForEndpoint",
        retried=SDK_UNNAMED,
        assign={"endpoint_created": False, "checks": 0},
    )


def is_endpoint_taken() -> State:
    """Another execution created or moved the endpoint between our look and our call: wait for it, then look again."""
    taken = "$contains($failure.reason, 'already existing') or $contains($failure.reason, 'in-progress')"
    return choice((f"({taken}) and $checks < {MOST_CHECKS}", "WaitForTurn"), default="ExecutionFailed")


def wait_for_endpoint() -> State:
    """Until the next look."""
    return {"Type": "Wait", "Seconds": CHECK_SECONDS, "Next": "CheckEndpoint"}


def check_endpoint() -> State:
    """Looks how the endpoint comes along; by now it exists, so an error without a better name is worth another try."""
    return api_call(
        "describeEndpoint",
        requests.endpoint(),
        caught=catch(endpoint_failure("CheckEndpoint"), to="WasEndpointCreatedHere"),
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
        ("$endpoint_status = 'InService' and $endpoint_serves = $endpoint_config", "ExecutionDone"),
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
    return {"Type": "Pass", "Assign": {"failure": failed}, "Next": "WasEndpointCreatedHere"}


def was_endpoint_created_here() -> State:
    """An endpoint that was there before stays: it may still answer, or be looked into."""
    return choice(("$endpoint_created and $endpoint_status != 'InService'", "RemoveEndpoint"), default="ExecutionFailed")


def remove_endpoint() -> State:
    """An endpoint that never answered is not left to be paid for."""
    refused = {"removal_refused": jsonata(REASON), "removals": jsonata("$removals + 1")}
    return api_call(
        "deleteEndpoint",
        requests.endpoint(),
        caught={"ErrorEquals": ["States.ALL"], "Assign": refused, "Output": {}, "Next": "IsEndpointStillMoving"},
        to="ExecutionFailed",
    )


def is_endpoint_still_moving() -> State:
    """SageMaker removes no endpoint that it is creating or updating; what somebody else has removed is removed."""
    moving = "$contains($removal_refused, 'in-progress') or $contains($removal_refused, 'Rate exceeded')"
    return choice(
        ("$contains($removal_refused, 'Could not find')", "ExecutionFailed"),
        (f"({moving}) and $removals < {MOST_REMOVALS}", "WaitForRemoval"),
        default="EndpointRemains",
    )


def wait_for_removal() -> State:
    """Until the next try."""
    return {"Type": "Wait", "Seconds": REMOVAL_SECONDS, "Next": "RemoveEndpoint"}


def endpoint_remains() -> State:
    """The failure says what it has left behind, since it costs money."""
    left = "'; the endpoint is still there and costs money, remove it: '"
    reason = f"{without_stop('$failure.reason')} & {left} & {without_stop('$removal_refused')}"
    return {"Type": "Pass", "Assign": {"failure": jsonata(f"$merge([$failure, {{'reason': {reason}}}])")}, "Next": "ExecutionFailed"}
