"""The states that take a deployment back: an execution that fails leaves the endpoint as it found it, or says that it could not.

Runs at synth; standard library only. Every act is preceded by a look, since another execution may have moved the endpoint meanwhile:
only an endpoint that serves, or is about to serve, this execution's own config is touched.
"""

from stacks.state_machine import hosting_requests as requests
from stacks.state_machine.endpoint import SERVED, SETTLED, release_scaling
from stacks.state_machine.language import REASON, SDK_TRANSIENT, SDK_UNNAMED, State, api_call, choice, with_more, without_stop
from stacks.state_machine.requests import jsonata

UNDO_SECONDS = 30
MOST_UNDOS = 180
"""Looks before giving up: an hour and a half. SageMaker lets go of no endpoint that it is still creating or updating."""

MOVING = "$endpoint_status in ['Creating', 'Updating', 'SystemUpdating', 'RollingBack']"


def undo_states() -> dict[str, State]:
    """From a deployment that failed to an endpoint as it was before; goes on to CleanUp."""
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


def refused() -> State:
    """A call that was refused is remembered apart from the failure, which it never replaces."""
    remembered = {"undo_refused": jsonata(REASON), "undo_error": jsonata("$states.errorOutput.Error"), "undos": jsonata("$undos + 1")}
    return {"ErrorEquals": ["States.ALL"], "Assign": remembered, "Output": {}, "Next": "IsUndoRefused"}


def look_before_undo() -> State:
    """Whose config the endpoint has now."""
    return api_call(
        "describeEndpoint",
        requests.endpoint(),
        caught=refused(),
        to="ChooseUndo",
        retried=SDK_UNNAMED,
        assign={
            "endpoint_status": jsonata("$states.result.EndpointStatus"),
            "endpoint_serves": jsonata(SERVED),
            "undos": jsonata("$undos + 1"),
        },
    )


def is_undo_refused() -> State:
    """What somebody else has removed is removed; a refusal may be one for the moment only, or one for good."""
    for_now = f"$contains($undo_refused, /in-progress|Rate exceeded/) or $undo_error in {[*SDK_TRANSIENT, 'States.Timeout']}"
    return choice(
        ("$contains($undo_refused, 'Could not find endpoint \"')", "CleanUp"),
        (f"$contains($undo_refused, /scalable target/i) and $undos < {MOST_UNDOS}", "ReleaseScalingToUndo"),
        (f"({for_now}) and $undos < {MOST_UNDOS}", "WaitForUndo"),
        default="EndpointRemains",
    )


def choose_undo() -> State:
    """An endpoint that this execution made goes; one that it found gets its old config back; one that serves another config is not ours.

    A failed endpoint can only be removed; as one that answered before it is left to be looked into, and the next execution removes it.
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
"""Stands in `$undo_refused` after a call that was not refused."""


def remove_endpoint() -> State:
    """An endpoint that never answered as it should is not left to be paid for."""
    return api_call("deleteEndpoint", requests.endpoint(), caught=refused(), to="CleanUp", retried=SDK_UNNAMED)


def restore_endpoint() -> State:
    """Back to what the endpoint served before, at once: it is known to be good."""
    return api_call(
        "updateEndpoint",
        requests.restore_endpoint(),
        caught=refused(),
        to="WaitForUndo",
        retried=SDK_UNNAMED,
        assign={"undo_refused": UNDONE},
    )


def release_scaling_to_undo() -> State:
    """What was served before may run on other machines, to which SageMaker moves no variant that scales."""
    gone = {"ErrorEquals": ["ApplicationAutoScaling.ObjectNotFoundException"], "Output": {}, "Next": "WaitForUndo"}
    return release_scaling([gone, refused()], to="WaitForUndo")


def endpoint_restored() -> State:
    """The failure says that what answered before answers again."""
    told = with_more("'; the endpoint went back to ' & $endpoint_served")
    return {"Type": "Pass", "Assign": told, "Next": "CleanUp"}


def endpoint_remains() -> State:
    """The failure says what it may have left behind, since that costs money or gives wrong answers."""
    why = f"({MOVING} or $undo_refused in ['nothing', '{UNDONE}'] ? 'it is still ' & $endpoint_status : {without_stop('$undo_refused')})"
    told = with_more(f"'; the endpoint may be left with ' & $endpoint_config & ', look after it: ' & {why}")
    return {"Type": "Pass", "Assign": told, "Next": "CleanUp"}
