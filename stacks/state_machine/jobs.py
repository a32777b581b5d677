"""The states between two attempts of a job: after a start without a response, after missing capacity, and after a redrive.

Runs at synth; standard library only. A request that SageMaker rejects for another reason, or a job that fails by itself, is not retried.
"""

from stacks.state_machine.language import ON_FAILURE, REASON, State, add_warning, choice, function_call, strip_full_stop
from stacks.state_machine.requests import jsonata

MOST_LOST_JOBS = 3
"""Starts without a response, of all jobs of an execution together, before it fails."""

MACHINE_MISSING = (
    "(($contains($failure.error, 'ResourceLimitExceeded') or $contains($failure.reason, /capacity|ResourceLimitExceeded|service limit/i))"
    " and $not($contains($failure.reason, 'AlgorithmError')))"
)
"""Whether `$failure` reports missing capacity: in the zone, or of the account's quota for the type. The program's own message may contain
the same words."""


def job_states() -> dict[str, State]:
    """From a job that could not be started back to its state, or on to ON_FAILURE."""
    return {
        "IsMachineMissing": is_machine_missing(),
        "TakeNextPreparationType": take_next_type("prepare"),
        "TakeNextTrainingType": take_next_type("training"),
        "MayJobBeLost": may_job_be_lost(),
        "StopLostJob": stop_lost_job(),
        "IsLostJobStopped": is_lost_job_stopped(),
        "WaitAfterLostJob": wait_after_lost_job(),
        "StartJobAgain": start_job_again(),
        "IsRedriven": choice(("$states.context.Execution.RedriveCount = 0", "AssessModel"), default="StopOldJobs"),
        "StopOldJobs": stop_old_jobs(),
    }


def is_machine_missing() -> State:
    """Chooses the next instance type that the execution input allows, if there is one."""

    def left(kind: str) -> str:
        return f"{MACHINE_MISSING} and ${kind}_choice + 1 < $count($plan.{kind}_instance_types)"

    return choice(
        (f"$failure.state = 'PrepareDataset' and {left('prepare')}", "TakeNextPreparationType"),
        (f"$failure.state != 'PrepareDataset' and {left('training')}", "TakeNextTrainingType"),
        default=ON_FAILURE,
    )


def take_next_type(kind: str) -> State:
    """The job again, with a new name and on another type, which later jobs use too. A warning in the execution's output reports it."""
    types = f"$plan.{kind}_instance_types"
    told = (
        f"$failure.state & ' got no ' & {types}[${kind}_choice] & ' and continued with ' & {types}[${kind}_choice + 1]"
        f" & ': ' & {strip_full_stop('$failure.reason')}"
    )
    assigned = {f"{kind}_choice": jsonata(f"${kind}_choice + 1"), **add_warning(told)}
    return {"Type": "Pass", "Assign": assigned, "Next": "StartJobAgain"}


def may_job_be_lost() -> State:
    """Decides whether to retry after a start without a response."""
    return choice((f"$lost_jobs < {MOST_LOST_JOBS}", "StopLostJob"), default=ON_FAILURE)


def stop_lost_job() -> State:
    """Stops a job that may have started: it would run, and be billed, beside the next one."""
    caught = {"ErrorEquals": ["States.ALL"], "Output": {}, "Next": ON_FAILURE}
    assign = {"lost_jobs": jsonata("$lost_jobs + 1"), "left": jsonata("$count($states.result.Payload.left)")}
    return function_call(
        "StopLostJob",
        clean_up_input(jsonata("$failure.reason")),
        function="CleanUp",
        caught=caught,
        assign=assign,
        to="IsLostJobStopped",
    )


def clean_up_input(reason: str) -> State:
    """The input of CleanUp."""
    context = "$states.context.Execution"
    return {"execution_arn": jsonata(f"{context}.Id"), "start_time": jsonata(f"{context}.StartTime"), "reason": reason}


def is_lost_job_stopped() -> State:
    """Starts no other job if the old one may still be running."""
    return choice(("$left = 0", "WaitAfterLostJob"), default=ON_FAILURE)


def wait_after_lost_job() -> State:
    """Exponential backoff with jitter, so that a throttled service can recover."""
    return {"Type": "Wait", "Seconds": jsonata("$ceil(10 * $power(3, $lost_jobs) * (0.5 + $random() / 2))"), "Next": "StartJobAgain"}


def start_job_again() -> State:
    """Returns to the job's state, which gives the job a new name."""
    return choice(
        ("$failure.state = 'PrepareDataset'", "PrepareDataset"),
        ("$failure.state = 'TuneHyperparameters'", "TuneHyperparameters"),
        default="IsDebuggerManaged",
    )


def stop_old_jobs() -> State:
    """An aborted execution may be redriven before ReapExecution has stopped its job, which would then run beside the new one.

    All jobs of this attempt have ended here, so a job that still runs belongs to an earlier attempt.
    """
    told = f"'jobs of an earlier attempt could not be listed: ' & {strip_full_stop(REASON)}"
    caught = {"ErrorEquals": ["States.ALL"], "Assign": add_warning(told), "Output": {}, "Next": "AssessModel"}
    left = {"warnings": jsonata("[$append($warnings, $states.result.Payload.left)]")}
    return function_call("StopOldJobs", clean_up_input("redriven"), function="CleanUp", caught=caught, assign=left, to="AssessModel")
