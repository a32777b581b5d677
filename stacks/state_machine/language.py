"""The parts of states: tasks with their retries and catches, choices, and the `$failure` that a catch assigns.

Runs at synth; standard library only. Everything here returns plain Amazon States Language.
"""

from typing import Any

from stacks.state_machine.requests import Request, jsonata

State = dict[str, Any]

API_CALL_SECONDS = 60
LAMBDA_SECONDS = 16 * 60
"""Slightly more than the longest run of a Lambda function."""

ON_FAILURE = "CleanUp"
"""The state after any failure: running jobs are stopped before the topic is notified."""

ENDPOINT_LOGS = "/aws/sagemaker/Endpoints"
TRAINING_LOGS = "/aws/sagemaker/TrainingJobs"

LAMBDA_TRANSIENT = [
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.TooManyRequestsException",
]
SDK_TRANSIENT = [
    "SageMaker.ThrottlingException",
    "SageMaker.ServiceUnavailableException",
    "SageMaker.InternalServerException",
    "SageMaker.InternalFailureException",
    "SageMaker.SdkClientException",
]
SDK_UNNAMED = ["SageMaker.SageMakerException", *SDK_TRANSIENT]
"""The SDK integration reports throttled and invalid requests with the same error name, so both are retried, a few times and quickly."""
INTEGRATION_REFUSED = ["SageMaker.AmazonSageMakerException", "SageMaker.ThrottlingException"]
"""A job's request that SageMaker rejected: nothing was started. Here too, throttled and invalid requests have the same error name."""
INTEGRATION_LOST = [each for each in SDK_TRANSIENT if each not in INTEGRATION_REFUSED]
"""A job's request without a response: the job may have started, and is stopped before the next attempt."""
SNS_TRANSIENT = ["SNS.InternalErrorException", "SNS.ThrottledException", "SNS.AmazonSNSException", "SNS.SdkClientException"]

SAID = (
    "$status := $told.TrainingJobStatus ? $told.TrainingJobStatus"
    " : $told.ProcessingJobStatus ? $told.ProcessingJobStatus : $told.HyperParameterTuningJobStatus;"
    " $issues := $told.DebugRuleEvaluationStatuses[RuleEvaluationStatus = 'IssuesFound'].RuleConfigurationName;"
    " $reason := $told.ExitMessage ? $told.ExitMessage"
    " : $told.FailureReason ? $told.FailureReason : $told.errorMessage ? $told.errorMessage"
    " : $status ? 'it ended as ' & $status & ($told.SecondaryStatus ? ' (' & $told.SecondaryStatus & ')' : '')"
    " & ($issues ? ', and these rules found an issue: ' & $join($issues, ', ') : '')"
    " & ($told.ProcessingJobStatus = 'Stopped' ? ', by its time limit or by a user' : '')"
    " : $cause != '' ? $cause : 'no reason was given';"
    " $substring($reason, 0, 1500)"
)
"""The reason of a failure: from `$told`, which is a job's description or a Lambda function's error, or from the text `$cause`."""

REASON = (
    "($cause := $exists($states.errorOutput.Cause) ? $states.errorOutput.Cause : '';"
    " $told := $substring($cause, 0, 1) = '{' and $substring($cause, -1) = '}' ? $parse($cause) : {};"
    " $cause := $cause = '' and $states.errorOutput.Error = 'States.Timeout' ? 'it exceeded its time limit' : $cause;"
    f" {SAID})"
)
"""The reason why a task failed: the program's exit message, the reason in a job's description, a Lambda function's message, or the error's
own text. SageMaker describes a processing job that reached its time limit in the same way as one that a user stopped."""


REDRIVES = "($exists($states.context.Execution.RedriveCount) ? $states.context.Execution.RedriveCount : 0)"
"""How often the execution was redriven. AWS's examples of the context always contain it; if it were missing before the first redrive, a
catch that reads it would fail itself, and the failure would not be handled."""


def name_optimised(action: str) -> str:
    """ARN of Step Functions' optimised integration, the only one that can wait for a job. It supports fewer fields than the API."""
    return f"arn:${{Partition}}:states:::sagemaker:{action}"


def name_sdk(action: str, service: str = "sagemaker") -> str:
    """ARN of the AWS SDK integration, which supports every action and field of the API."""
    return f"arn:${{Partition}}:states:::aws-sdk:{service}:{action}"


def task(resource: str, arguments: Request | str, *, seconds: int, retried: list[State], caught: list[State], to: str) -> State:
    """A Task; its result is passed on only in variables, so that outputs do not grow from state to state."""
    return {
        "Type": "Task",
        "Resource": resource,
        "Arguments": arguments,
        "TimeoutSeconds": seconds,
        "Retry": retried,
        "Catch": caught,
        "Output": {},
        "Next": to,
    }


def api_call(
    action: str,
    arguments: Request | str,
    *,
    caught: State,
    to: str,
    assign: State | None = None,
    retried: list[str] = SDK_TRANSIENT,
    patient: bool = False,
) -> State:
    """A Task with an immediate response; `retried` are the errors that are retried, `patient` retries for minutes.

    A missing response is retried too: what the call creates has a new name in each attempt, or the next attempt finds it.
    """
    tries = [patient_retry(retried) if patient else retry([*retried, "States.Timeout"])]
    state = task(name_sdk(action), arguments, seconds=API_CALL_SECONDS, retried=tries, caught=[caught], to=to)
    return {**state, **({"Assign": assign} if assign else {})}


def function_call(
    state: str,
    payload: Request,
    *,
    assign: State,
    to: str,
    retried: list[str] = LAMBDA_TRANSIENT,
    function: str = "",
    caught: State | None = None,
) -> State:
    """A Task that invokes the Lambda function with the state's name, or `function`."""
    called = {"FunctionName": f"${{{function or state}Arn}}", "Payload": payload}
    failed = caught or catch(describe_failure(state, log=f"'${{{function or state}LogGroup}}'"))
    resource = "arn:${Partition}:states:::lambda:invoke"
    return {**task(resource, called, seconds=LAMBDA_SECONDS, retried=[retry(retried)], caught=[failed], to=to), "Assign": assign}


def job(
    action: str, arguments: Request | str, *, seconds: int, failed: State, to: str, assign: State, caught: str, lost: str = "StopLostJob"
) -> State:
    """A Task that starts a job and waits for its end. Next is `lost` if the job may or may not have started, `caught` if it failed, and
    ON_FAILURE if it took too long."""
    catches = [
        catch(failed, errors=("States.Timeout",)),
        catch(failed, errors=tuple(INTEGRATION_LOST), to=lost),
        catch(failed, to=caught),
    ]
    resource = name_optimised(f"{action}.sync")
    started = task(resource, arguments, seconds=seconds, retried=[retry(INTEGRATION_REFUSED)], caught=catches, to=to)
    return {**started, "Assign": assign}


def message(subject: str, body: str, *, to: str) -> State:
    """A Task that notifies the project's topic; both are expressions. A failed notification does not fail the execution."""
    arguments = {"TopicArn": "${TopicArn}", "Subject": jsonata(subject), "Message": jsonata(body)}
    ignored = {"ErrorEquals": ["States.ALL"], "Output": {}, "Next": to}
    resource = "arn:${Partition}:states:::sns:publish"
    return task(resource, arguments, seconds=API_CALL_SECONDS, retried=[retry(SNS_TRANSIENT)], caught=[ignored], to=to)


def call_before_end(action: str, arguments: Request, *, to: str, assign: State) -> State:
    """A Task between a failure and the end of the execution; its own errors are ignored, so that the first failure is reported."""
    return api_call(action, arguments, caught={"ErrorEquals": ["States.ALL"], "Output": {}, "Next": to}, to=to, assign=assign)


def choice(*rules: tuple[str, str], default: str) -> State:
    """A Choice: the state of the first condition that is true."""
    return {"Type": "Choice", "Choices": [{"Condition": jsonata(condition), "Next": to} for condition, to in rules], "Default": default}


def retry(errors: list[str]) -> State:
    """Up to three retries, with exponential backoff and jitter."""
    return {
        "ErrorEquals": errors,
        "IntervalSeconds": 2,
        "MaxAttempts": 3,
        "BackoffRate": 2.0,
        "MaxDelaySeconds": 30,
        "JitterStrategy": "FULL",
    }


def patient_retry(errors: list[str]) -> State:
    """Retries for minutes, half an hour at most, also without a response: losing the result would cost more than the wait."""
    return {**retry([*errors, "States.Timeout"]), "MaxAttempts": 10, "MaxDelaySeconds": 300}


def catch(failed: State, *, errors: tuple[str, ...] = ("States.ALL",), to: str = ON_FAILURE, assign: State | None = None) -> State:
    """Assigns `$failure` and continues with the state that handles it."""
    return {"ErrorEquals": list(errors), "Assign": {"failure": failed, **(assign or {})}, "Output": {}, "Next": to}


def describe_failure(state: str, *, kind: str = "", job: str = "''", log: str = "''") -> State:
    """The value of `$failure`; `job` and `log` are expressions. Valid in a Catch, where `$states.errorOutput` exists."""
    return {
        "state": state,
        "error": jsonata(f"$replace($states.errorOutput.Error, 'States.', '{state}.')"),
        "kind": kind,
        "job": jsonata(job),
        "reason": jsonata(REASON),
        "log": jsonata(log),
        "redrives": jsonata(REDRIVES),
    }


def describe_endpoint_failure(state: str) -> State:
    """A failure of the project's endpoint."""
    return describe_failure(state, kind="endpoint", job="$plan.endpoint", log=f"'{ENDPOINT_LOGS}/' & $plan.endpoint")


def report_failure(found: State, error: str, reason: str) -> State:
    """A failure that a check found, not a task's error; `reason` is an expression."""
    return {**found, "error": f"{found['state']}.{error}", "reason": jsonata(reason)}


def add_warning(sentence: str) -> State:
    """Appends a warning; `sentence` is an expression."""
    return {"warnings": jsonata(f"[$append($warnings, [{sentence}])]")}


def extend_reason(told: str) -> State:
    """Appends to the failure's reason; `told` is an expression."""
    reason = f"{strip_full_stop('$failure.reason')} & {told}"
    return {"failure": jsonata(f"$merge([$failure, {{'reason': {reason}}}])")}


def strip_full_stop(sentence: str) -> str:
    """Expression for a sentence without its full stop, to be continued."""
    return f"$replace({sentence}, /[.\\s]+$/, '')"


def log_streams(log_group: str, name: str) -> str:
    """Expression for the log streams whose names start with a job's name."""
    return f"'{log_group}, log streams ' & {name} & '*'"
