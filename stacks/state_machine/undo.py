"""The states that revert a deployment: a failed execution leaves the endpoint as it found it, or reports that it could not.

Runs at synth; standard library only. Each change is preceded by a check, because another execution may have changed the endpoint meanwhile:
only an endpoint that serves, or is about to serve, this execution's own config is changed.
"""

from stacks.state_machine import hosting_requests as requests
from stacks.state_machine.endpoint import SERVED, SETTLED, release_scaling
from stacks.state_machine.language import REASON, SDK_TRANSIENT, SDK_UNNAMED, State, api_call, choice, extend_reason, strip_full_stop
from stacks.state_machine.requests import jsonata

UNDO_SECONDS = 30
MOST_UNDOS = 180
"""Checks before giving up: 1.5 hours. SageMaker does not delete an endpoint that it is still creating or updating."""

MOVING = "$endpoint_status in ['Creating', 'Updating', 'SystemUpdating', 'RollingBack']"


def undo_states() -> dict[str, State]:
    """From a failed deployment to the endpoint as it was before; continues with CleanUp."""
    return {
        "LookBeforeUndo": look_before_undo(),
        "IsUndoRefused": is_undo_refused(),
        "ChooseUndo": choose_undo(),
        "WaitForUndo": {"Type": "Wait", "Seconds": UNDO_SECONDS, "Next": "LookBeforeUndo"},
        "RemoveEndpoint": remove_endpoint(),
        "RestoreEndpoint": restore_endpoint(),
        "ReleaseScalingToUndo": release_scaling_to_undo(),
        "EndpointRestored": endpoint_restored(),
        "EndpointRemains": endpoint_remains(),
    }


def catch_refusal() -> State:
    """Records a rejected call in its own variables; it never replaces the failure."""
    remembered = {"undo_refused": jsonata(REASON), "undo_error": jsonata("$states.errorOutput.Error"), "undos": jsonata("$undos + 1")}
    return {"ErrorEquals": ["States.ALL"], "Assign": remembered, "Output": {}, "Next": "IsUndoRefused"}


def look_before_undo() -> State:
    """Reads which config the endpoint has now."""
    return api_call(
        "describeEndpoint",
        requests.endpoint(),
        caught=catch_refusal(),
        to="ChooseUndo",
        retried=SDK_UNNAMED,
        assign={
            "endpoint_status": jsonata("$states.result.EndpointStatus"),
            "endpoint_serves": jsonata(SERVED),
            "undos": jsonata("$undos + 1"),
        },
    )


def is_undo_refused() -> State:
    """An endpoint that was deleted meanwhile needs no undo; a rejection may be temporary or permanent."""
    for_now = f"$contains($undo_refused, /in-progress|Rate exceeded/) or $undo_error in {[*SDK_TRANSIENT, 'States.Timeout']}"
    return choice(
        ("$contains($undo_refused, 'Could not find endpoint \"')", "CleanUp"),
        (f"$contains($undo_refused, /scalable target/i) and $undos < {MOST_UNDOS}", "ReleaseScalingToUndo"),
        (f"({for_now}) and $undos < {MOST_UNDOS}", "WaitForUndo"),
        default="EndpointRemains",
    )


def choose_undo() -> State:
    """An endpoint that this execution created is deleted; an older one gets its old config back; one with another config is left alone.

    A failed endpoint could only be deleted; if it existed before, it is left for inspection, and the next execution deletes it.
    """
    return choice(
        (f"{MOVING} and $undos < {MOST_UNDOS}", "WaitForUndo"),
        (MOVING, "EndpointRemains"),
        (f"$endpoint_status = 'InService' and $endpoint_serves = $endpoint_served and $undo_refused = '{UNDONE}'", "EndpointRestored"),
        ("$endpoint_serves != $endpoint_config or $endpoint_status = 'Deleting'", "CleanUp"),
        (f"$undos >= {MOST_UNDOS}", "EndpointRemains"),
        ("$endpoint_served = 'nothing'", "RemoveEndpoint"),
        (SETTLED, "RestoreEndpoint"),
        default="CleanUp",
    )


UNDONE = "the endpoint goes back"
"""Value of `$undo_refused` after a call that was accepted."""


def remove_endpoint() -> State:
    """Deletes an endpoint that was never verified, so that it costs nothing."""
    return api_call("deleteEndpoint", requests.endpoint(), caught=catch_refusal(), to="CleanUp", retried=SDK_UNNAMED)


def restore_endpoint() -> State:
    """Restores the config that the endpoint served before, at once: it is known to work."""
    return api_call(
        "updateEndpoint",
        requests.restore_endpoint(),
        caught=catch_refusal(),
        to="WaitForUndo",
        retried=SDK_UNNAMED,
        assign={"undo_refused": UNDONE},
    )


def release_scaling_to_undo() -> State:
    """The earlier config may have another instance type, to which SageMaker does not move a variant with autoscaling."""
    gone = {"ErrorEquals": ["ApplicationAutoScaling.ObjectNotFoundException"], "Output": {}, "Next": "WaitForUndo"}
    return release_scaling([gone, catch_refusal()], to="WaitForUndo")


def endpoint_restored() -> State:
    """Adds to the failure that the endpoint was restored."""
    told = extend_reason("'; the endpoint was restored to ' & $endpoint_served")
    return {"Type": "Pass", "Assign": told, "Next": "CleanUp"}


def endpoint_remains() -> State:
    """Adds to the failure what may be left behind, because it costs money or gives wrong predictions."""
    why = f"({MOVING} or $undo_refused in ['nothing', '{UNDONE}'] ? 'it is still ' & $endpoint_status : {strip_full_stop('$undo_refused')})"
    told = extend_reason(f"'; the endpoint may still have ' & $endpoint_config & ', check it: ' & {why}")
    return {"Type": "Pass", "Assign": told, "Next": "CleanUp"}
