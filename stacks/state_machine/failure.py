"""The states after a failure: what still runs is stopped, what it cost is billed, somebody is told, and one sentence ends the execution.

Runs at synth; standard library only. Each of them comes after `$failure` was put together and never hides it: what goes wrong here is
added to the sentence, or left out. A redriven execution goes on from here: see docs/decisions/0001.
"""

from stacks.state_machine.language import (
    API_CALL_SECONDS,
    REASON,
    State,
    choice,
    function_call,
    message,
    retry,
    sdk,
    task,
    with_more,
    without_stop,
)
from stacks.state_machine.requests import jsonata

SENTENCE = (
    "$failure.state & ' failed' & ($failure.job = '' ? '' : ' (' & $failure.kind & ' ' & $failure.job & ')') & ': '"
    f" & {without_stop('$failure.reason')} & '.'"
    " & ($failure.log = '' or $contains($failure.error, 'SageMaker.') ? '' : ' Log: CloudWatch log group ' & $failure.log & '.')"
)
"""Expression: which state, which job, why, where the log is; a request that SageMaker refused has left no log."""

REDRIVEN = "Redriven"
"""The error by which ExecutionFailed says that it was entered again."""

CALLBACK_ERRORS = [
    "Sfn.AccessDeniedException",
    "Sfn.InvalidTokenException",
    "Sfn.KmsAccessDeniedException",
    "Sfn.SdkClientException",
    "Sfn.SfnException",
    "Sfn.TaskDoesNotExistException",
    "Sfn.TaskTimedOutException",
    "Sfn.ThrottlingException",
    "Sfn.ValidationException",
    "States.Permissions",
    "States.Timeout",
]
"""What keeps ExecutionFailed from failing as it means to: then the execution ends in FailedForGood, which no redrive brings back."""


def failure_states() -> dict[str, State]:
    """From `$failure` to the end of the execution, and from there to where a redrive goes on."""
    return {
        "CleanUp": clean_up(),
        "IsAnythingSpent": is_anything_spent(),
        "PublishFailure": publish_failure(),
        "NotifyFailed": notify_failed(),
        "ExecutionFailed": execution_failed(),
        "FailedForGood": failed_for_good(),
        "ResumeExecution": resume_execution(),
        "WhereToResume": where_to_resume(),
    }


def clean_up() -> State:
    """Stops whatever the execution still runs, and removes the models and endpoint configs that it made and no endpoint serves."""
    left = "$states.result.Payload.left"
    lost = with_more(f"'; what it still runs could not be looked for (' & {without_stop(REASON)} & '): stop it by hand'")
    return function_call(
        "CleanUp",
        {
            "execution_arn": jsonata("$states.context.Execution.Id"),
            "start_time": jsonata("$states.context.Execution.StartTime"),
            "reason": jsonata(SENTENCE),
        },
        caught={"ErrorEquals": ["States.ALL"], "Assign": {**lost, "spent": 0}, "Output": {}, "Next": "IsAnythingSpent"},
        assign={**with_more(f"($count({left}) = 0 ? '' : '; ' & $join([{left}], '; '))"), "spent": 0},
        to="IsAnythingSpent",
    )


def is_anything_spent() -> State:
    """Before there is a plan nothing was started."""
    return choice(("$failure.state = 'PrepareExecution'", "NotifyFailed"), default="PublishFailure")


def publish_failure() -> State:
    """What it cost until it failed, written where an execution that succeeds writes its own; a failure here is left out."""
    outcome = f"{{'run': $plan.run, 'deployed': false, 'error': $failure.error, 'reason': {SENTENCE}}}"
    asked = {
        "run": jsonata("$plan.run"),
        "outcome": jsonata(outcome),
        "plan": jsonata("{'cost': $plan.cost, 'budget_usd': $plan.budget_usd}"),
    }
    return function_call(
        "PublishFailure",
        asked,
        function="PublishReport",
        caught={"ErrorEquals": ["States.ALL"], "Output": {}, "Next": "NotifyFailed"},
        assign={"spent": jsonata("$states.result.Payload.bill.total_usd")},
        to="NotifyFailed",
    )


def notify_failed() -> State:
    """Tells whoever subscribed to the topic."""
    lines = [SENTENCE, "'Execution: ' & $states.context.Execution.Id", "'Started: ' & $states.context.Execution.StartTime"]
    spent = "$spent > 0 ? '\\nIts jobs have cost ' & $string($spent) & ' USD so far; whippet cost lists them.' : ''"
    body = f"$join([{', '.join(lines)}], '\\n') & ({spent})"
    return message("'${Project}: an execution failed in ' & $failure.state", body, to="ExecutionFailed")


def execution_failed() -> State:
    """Fails itself, by its own task token, with the state's error and the sentence as the cause.

    A Fail state would say the same, but a redrive enters the state that failed, and a Fail state fails again. This one notices by the
    redrive's number that the failure is an old one, and says so by an error which is caught.
    """
    redriven = "$states.context.Execution.RedriveCount > $failure.redrives"
    arguments = {
        "TaskToken": jsonata("$states.context.Task.Token"),
        "Error": jsonata(f"{redriven} ? '{REDRIVEN}' : $failure.error"),
        "Cause": jsonata(SENTENCE),
    }
    return task(
        sdk("sendTaskFailure.waitForTaskToken", service="sfn"),
        arguments,
        seconds=API_CALL_SECONDS,
        retried=[retry(["Sfn.SdkClientException", "Sfn.ThrottlingException"])],
        caught=[
            {"ErrorEquals": [REDRIVEN], "Output": {}, "Next": "ResumeExecution"},
            {"ErrorEquals": CALLBACK_ERRORS, "Output": {}, "Next": "FailedForGood"},
        ],
        to="FailedForGood",
    )


def failed_for_good() -> State:
    """The same sentence, where ExecutionFailed could not say it."""
    return {"Type": "Fail", "Error": jsonata("$failure.error"), "Cause": jsonata(SENTENCE)}


def resume_execution() -> State:
    """All counting starts afresh, and the first instance type is asked for again."""
    return {"Type": "Pass", "Assign": fresh_counters(), "Next": "WhereToResume"}


def fresh_counters() -> State:
    """What is counted, and what this attempt knows of the endpoint: nothing."""
    counters = ("prepare_choice", "training_choice", "lost_jobs", "looks", "rule_looks", "approval_looks", "checks", "undos")
    unknown = ("training_status", "endpoint_config", "undo_refused", "undo_error")
    return {**dict.fromkeys(counters, 0), **dict.fromkeys(unknown, "nothing"), "endpoint_asked": False}


def where_to_resume() -> State:
    """What was done is not done again. The model and its endpoint config are made anew: CleanUp has removed those that were not served."""
    again = ("PrepareExecution", "PrepareDataset", "TuneHyperparameters", "AssessModel", "RegisterModel", "DescribeModelPackage")
    return choice(
        *((f"$failure.state = '{state}'", state) for state in again),
        ("$failure.state in ['TrainModel', 'TrainModelManaged', 'DescribeTraining']", "IsDebuggerManaged"),
        default="CreateModel",
    )
