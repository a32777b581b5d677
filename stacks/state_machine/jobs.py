"""The states between two tries of a job: one whose start nobody answered, one for which there was no machine, one of an earlier attempt.

Runs at synth; standard library only. A try that SageMaker refused for another reason, or a job that failed by itself, is not tried again.
"""

from stacks.state_machine.language import ON_FAILURE, REASON, State, choice, function_call, warned, without_stop
from stacks.state_machine.requests import jsonata

MOST_LOST_JOBS = 3
"""Starts without an answer, of all jobs of an execution together, before it is given up."""

MACHINE_MISSING = (
    "(($contains($failure.error, 'ResourceLimitExceeded') or $contains($failure.reason, /capacity|ResourceLimitExceeded|service limit/i))"
    " and $not($contains($failure.reason, 'AlgorithmError')))"
)
"""Whether `$failure` says that there was no machine: none was free in the zone, or the account's quota of the type is used up. What the
program itself says may hold the same words."""


def job_states() -> dict[str, State]:
    """Where a job's state goes on to when the job was not to be had; goes back to that state, or on to ON_FAILURE."""
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
    """The next instance type that the execution input allows, as long as there is one."""

    def left(kind: str) -> str:
        return f"{MACHINE_MISSING} and ${kind}_choice + 1 < $count($plan.{kind}_instance_types)"

    return choice(
        (f"$failure.state = 'PrepareDataset' and {left('prepare')}", "TakeNextPreparationType"),
        (f"$failure.state != 'PrepareDataset' and {left('training')}", "TakeNextTrainingType"),
        default=ON_FAILURE,
    )


def take_next_type(kind: str) -> State:
    """The job again, under a new name and on another type; those after it stay on that type. The execution's output tells."""
    types = f"$plan.{kind}_instance_types"
    told = (
        f"$failure.state & ' got no ' & {types}[${kind}_choice] & ' and went on with ' & {types}[${kind}_choice + 1]"
        f" & ': ' & {without_stop('$failure.reason')}"
    )
    assigned = {f"{kind}_choice": jsonata(f"${kind}_choice + 1"), **warned(told)}
    return {"Type": "Pass", "Assign": assigned, "Next": "StartJobAgain"}


def may_job_be_lost() -> State:
    """Whether one more try is made after a start that nobody answered."""
    return choice((f"$lost_jobs < {MOST_LOST_JOBS}", "StopLostJob"), default=ON_FAILURE)


def stop_lost_job() -> State:
    """A job that nobody waits for would go on, and be paid for, beside the one that is asked for next."""
    caught = {"ErrorEquals": ["States.ALL"], "Output": {}, "Next": ON_FAILURE}
    assign = {"lost_jobs": jsonata("$lost_jobs + 1"), "left": jsonata("$count($states.result.Payload.left)")}
    return function_call(
        "StopLostJob", cleaning(jsonata("$failure.reason")), function="CleanUp", caught=caught, assign=assign, to="IsLostJobStopped"
    )


def cleaning(reason: str) -> State:
    """What CleanUp is told."""
    context = "$states.context.Execution"
    return {"execution_arn": jsonata(f"{context}.Id"), "start_time": jsonata(f"{context}.StartTime"), "reason": reason}


def is_lost_job_stopped() -> State:
    """Where nobody knows whether it still runs, none is started beside it."""
    return choice(("$left = 0", "WaitAfterLostJob"), default=ON_FAILURE)


def wait_after_lost_job() -> State:
    """Longer each time, and not at the same moment as everybody else: whoever could not answer needs a rest."""
    return {"Type": "Wait", "Seconds": jsonata("$ceil(10 * $power(3, $lost_jobs) * (0.5 + $random() / 2))"), "Next": "StartJobAgain"}


def start_job_again() -> State:
    """The state whose job it was; entered again, it has another name for it."""
    return choice(
        ("$failure.state = 'PrepareDataset'", "PrepareDataset"),
        ("$failure.state = 'TuneHyperparameters'", "TuneHyperparameters"),
        default="IsDebuggerManaged",
    )


def stop_old_jobs() -> State:
    """An execution that was aborted may be redriven before ReapExecution has stopped its job, which then goes on beside the new one.

    All that this execution asked for has ended here, so whatever still runs is of an earlier attempt.
    """
    told = f"'jobs of an earlier attempt could not be looked for: ' & {without_stop(REASON)}"
    caught = {"ErrorEquals": ["States.ALL"], "Assign": warned(told), "Output": {}, "Next": "AssessModel"}
    left = {"warnings": jsonata("[$append($warnings, $states.result.Payload.left)]")}
    return function_call("StopOldJobs", cleaning("redriven"), function="CleanUp", caught=caught, assign=left, to="AssessModel")
