"""The states after a failure: stop running jobs, write the bill, notify the topic, and end the execution with one sentence.

Runs at synth; standard library only. They run after `$failure` was assigned and never hide it: errors in these states are added to the
sentence, or left out. A redriven execution resumes from here: see docs/decisions/0001.
"""

from stacks.state_machine.language import (
    API_CALL_SECONDS,
    REASON,
    State,
    choice,
    extend_reason,
    function_call,
    message,
    name_sdk,
    retry,
    strip_full_stop,
    task,
)
from stacks.state_machine.requests import jsonata

SENTENCE = (
    "$failure.state & ' failed' & ($failure.job = '' ? '' : ' (' & $failure.kind & ' ' & $failure.job & ')') & ': '"
    f" & {strip_full_stop('$failure.reason')} & '.'"
    " & ($failure.log = '' or $contains($failure.error, 'SageMaker.') ? '' : ' Log: CloudWatch log group ' & $failure.log & '.')"
)
"""Expression: the state, the job, the reason, the log's location; a request that SageMaker rejected has no log."""

REDRIVEN = "Redriven"
"""The error with which ExecutionFailed reports a redrive."""

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
"""Errors that prevent ExecutionFailed from failing as intended: the execution then ends in FailedForGood and cannot be redriven."""


def failure_states() -> dict[str, State]:
    """From `$failure` to the end of the execution, and from there to the state at which a redrive resumes."""
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
    """Stops the execution's jobs, and deletes its models and endpoint configs that no endpoint serves."""
    left = "$states.result.Payload.left"
    lost = extend_reason(f"'; its running jobs could not be listed (' & {strip_full_stop(REASON)} & '): stop them by hand'")
    return function_call(
        "CleanUp",
        {
            "execution_arn": jsonata("$states.context.Execution.Id"),
            "start_time": jsonata("$states.context.Execution.StartTime"),
            "reason": jsonata(SENTENCE),
        },
        caught={"ErrorEquals": ["States.ALL"], "Assign": {**lost, "spent": 0}, "Output": {}, "Next": "IsAnythingSpent"},
        assign={**extend_reason(f"($count({left}) = 0 ? '' : '; ' & $join([{left}], '; '))"), "spent": 0},
        to="IsAnythingSpent",
    )


def is_anything_spent() -> State:
    """Nothing was started before there was a plan."""
    return choice(("$failure.state = 'PrepareExecution'", "NotifyFailed"), default="PublishFailure")


def publish_failure() -> State:
    """Writes the costs up to the failure to the same file as a successful execution; an error here is ignored."""
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
    """Notifies the topic's subscribers."""
    lines = [SENTENCE, "'Execution: ' & $states.context.Execution.Id", "'Started: ' & $states.context.Execution.StartTime"]
    spent = "$spent > 0 ? '\\nIts jobs have cost ' & $string($spent) & ' USD so far; run whippet cost for details.' : ''"
    body = f"$join([{', '.join(lines)}], '\\n') & ({spent})"
    return message("'${Project}: an execution failed in ' & $failure.state", body, to="ExecutionFailed")


def execution_failed() -> State:
    """Fails with its own task token, with the state's error and the sentence as the cause.

    A Fail state would report the same, but a redrive enters the state that failed, and a Fail state would fail again. This state compares
    the number of redrives, and reports an old failure by an error that is caught.
    """
    redriven = "$states.context.Execution.RedriveCount > $failure.redrives"
    arguments = {
        "TaskToken": jsonata("$states.context.Task.Token"),
        "Error": jsonata(f"{redriven} ? '{REDRIVEN}' : $failure.error"),
        "Cause": jsonata(SENTENCE),
    }
    return task(
        name_sdk("sendTaskFailure.waitForTaskToken", service="sfn"),
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
    """The same sentence, if ExecutionFailed could not report it."""
    return {"Type": "Fail", "Error": jsonata("$failure.error"), "Cause": jsonata(SENTENCE)}


def resume_execution() -> State:
    """Resets the counters; the first instance type is requested again."""
    return {"Type": "Pass", "Assign": reset_counters(), "Next": "WhereToResume"}


def reset_counters() -> State:
    """The initial values of the counters and of what an attempt knows about the endpoint."""
    counters = ("prepare_choice", "training_choice", "lost_jobs", "looks", "rule_looks", "approval_looks", "checks", "undos")
    unknown = ("training_status", "endpoint_config", "undo_refused", "undo_error")
    return {**dict.fromkeys(counters, 0), **dict.fromkeys(unknown, "nothing"), "endpoint_asked": False}


def where_to_resume() -> State:
    """Finished work is not repeated. The model and its endpoint config are created again, because CleanUp deleted unserved ones."""
    again = ("PrepareExecution", "PrepareDataset", "TuneHyperparameters", "AssessModel", "RegisterModel", "DescribeModelPackage")
    return choice(
        *((f"$failure.state = '{state}'", state) for state in again),
        ("$failure.state in ['TrainModel', 'TrainModelManaged', 'DescribeTraining']", "IsDebuggerManaged"),
        default="CreateModel",
    )
