"""What the states are made of: tasks with their retries and catches, choices, and the `$failure` that a catch puts together.

Runs at synth; standard library only. Everything here returns plain Amazon States Language.
"""

from typing import Any

from stacks.state_machine.requests import Request, jsonata

State = dict[str, Any]

API_CALL_SECONDS = 60
LAMBDA_SECONDS = 16 * 60
"""A little more than the longest run of a Lambda function."""

ON_FAILURE = "CleanUp"
"""The state after any failure: what the execution still runs is stopped before anybody is told."""

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
"""The SDK integration calls a throttled request and a wrong one alike, so both are tried again, a few times and quickly."""
INTEGRATION_REFUSED = ["SageMaker.AmazonSageMakerException", "SageMaker.ThrottlingException"]
"""A job's request that SageMaker answered, and refused: nothing was started. Here too, throttled and wrong ones bear the same name."""
INTEGRATION_LOST = [each for each in SDK_TRANSIENT if each not in INTEGRATION_REFUSED]
"""A job's request whose answer is missing: the job may have been started, and is stopped before another is asked for."""
SNS_TRANSIENT = ["SNS.InternalErrorException", "SNS.ThrottledException", "SNS.AmazonSNSException", "SNS.SdkClientException"]

SAID = (
    "$status := $told.TrainingJobStatus ? $told.TrainingJobStatus"
    " : $told.ProcessingJobStatus ? $told.ProcessingJobStatus : $told.HyperParameterTuningJobStatus;"
    " $issues := $told.DebugRuleEvaluationStatuses[RuleEvaluationStatus = 'IssuesFound'].RuleConfigurationName;"
    " $reason := $told.ExitMessage ? $told.ExitMessage"
    " : $told.FailureReason ? $told.FailureReason : $told.errorMessage ? $told.errorMessage"
    " : $status ? 'it ended as ' & $status & ($told.SecondaryStatus ? ' (' & $told.SecondaryStatus & ')' : '')"
    " & ($issues ? ', and these rules found an issue: ' & $join($issues, ', ') : '')"
    " & ($told.ProcessingJobStatus = 'Stopped' ? ', by its time limit or by somebody' : '')"
    " : $cause != '' ? $cause : 'no reason was given';"
    " $substring($reason, 0, 1500)"
)
"""Why something failed, by `$told`, which is the description of a job or a Lambda function's error, or by the text `$cause`."""

REASON = (
    "($cause := $exists($states.errorOutput.Cause) ? $states.errorOutput.Cause : '';"
    " $told := $substring($cause, 0, 1) = '{' and $substring($cause, -1) = '}' ? $parse($cause) : {};"
    " $cause := $cause = '' and $states.errorOutput.Error = 'States.Timeout' ? 'it took longer than it may' : $cause;"
    f" {SAID})"
)
"""Why a task failed: what the program said at its end, the reason inside a job's description, a Lambda function's message, or the
error's own text. A processing job that reaches its time limit is described as one that somebody stopped."""


REDRIVES = "($exists($states.context.Execution.RedriveCount) ? $states.context.Execution.RedriveCount : 0)"
"""How often the execution was redriven. AWS's examples of the context always hold it; should it be missing before the first redrive, a
catch that asked for it would fail itself, and no failure would be dealt with."""


def optimised(action: str) -> str:
    """Step Functions' own integration with SageMaker; only it can wait for a job. It knows fewer fields than the API."""
    return f"arn:${{Partition}}:states:::sagemaker:{action}"


def sdk(action: str, service: str = "sagemaker") -> str:
    """The AWS SDK integration, which takes every action with every field that the API takes."""
    return f"arn:${{Partition}}:states:::aws-sdk:{service}:{action}"


def task(resource: str, arguments: Request | str, *, seconds: int, retried: list[State], caught: list[State], to: str) -> State:
    """A Task; whatever it answers is given on by variables alone, so that no output grows from state to state."""
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
    """A Task that SageMaker answers at once; `retried` are the errors after which it is tried again, `patient`: for minutes.

    So it is after no answer: what it makes has another name in each try, or is found by the next one.
    """
    tries = [patient_retry(retried) if patient else retry([*retried, "States.Timeout"])]
    state = task(sdk(action), arguments, seconds=API_CALL_SECONDS, retried=tries, caught=[caught], to=to)
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
    """A Task that is the Lambda function of the state's name, or `function`."""
    called = {"FunctionName": f"${{{function or state}Arn}}", "Payload": payload}
    failed = caught or catch(failure(state, log=f"'${{{function or state}LogGroup}}'"))
    resource = "arn:${Partition}:states:::lambda:invoke"
    return {**task(resource, called, seconds=LAMBDA_SECONDS, retried=[retry(retried)], caught=[failed], to=to), "Assign": assign}


def job(
    action: str, arguments: Request | str, *, seconds: int, failed: State, to: str, assign: State, caught: str, lost: str = "StopLostJob"
) -> State:
    """A Task that starts a job and waits for its end; `lost` is next if nobody knows whether it was started, `caught` if it failed, and
    ON_FAILURE if it took too long."""
    catches = [
        catch(failed, errors=("States.Timeout",)),
        catch(failed, errors=tuple(INTEGRATION_LOST), to=lost),
        catch(failed, to=caught),
    ]
    resource = optimised(f"{action}.sync")
    started = task(resource, arguments, seconds=seconds, retried=[retry(INTEGRATION_REFUSED)], caught=catches, to=to)
    return {**started, "Assign": assign}


def message(subject: str, body: str, *, to: str) -> State:
    """A Task that tells the project's topic; both are expressions. Nobody being told keeps nothing from going on."""
    arguments = {"TopicArn": "${TopicArn}", "Subject": jsonata(subject), "Message": jsonata(body)}
    untold = {"ErrorEquals": ["States.ALL"], "Output": {}, "Next": to}
    resource = "arn:${Partition}:states:::sns:publish"
    return task(resource, arguments, seconds=API_CALL_SECONDS, retried=[retry(SNS_TRANSIENT)], caught=[untold], to=to)


def last_act(action: str, arguments: Request, *, to: str, assign: State) -> State:
    """A Task on the way to the end of a failed execution, which it never keeps from saying what went wrong first."""
    return api_call(action, arguments, caught={"ErrorEquals": ["States.ALL"], "Output": {}, "Next": to}, to=to, assign=assign)


def choice(*rules: tuple[str, str], default: str) -> State:
    """The state after the first condition that holds."""
    return {"Type": "Choice", "Choices": [{"Condition": jsonata(condition), "Next": to} for condition, to in rules], "Default": default}


def retry(errors: list[str]) -> State:
    """Tries again up to three times, later each time, and not at the same moment as everybody else."""
    return {
        "ErrorEquals": errors,
        "IntervalSeconds": 2,
        "MaxAttempts": 3,
        "BackoffRate": 2.0,
        "MaxDelaySeconds": 30,
        "JitterStrategy": "FULL",
    }


def patient_retry(errors: list[str]) -> State:
    """Tries again for some minutes, half an hour at most, also where no answer comes: what hangs on the answer has cost more than that."""
    return {**retry([*errors, "States.Timeout"]), "MaxAttempts": 10, "MaxDelaySeconds": 300}


def catch(failed: State, *, errors: tuple[str, ...] = ("States.ALL",), to: str = ON_FAILURE, assign: State | None = None) -> State:
    """Remembers what failed and goes on to the state that deals with it."""
    return {"ErrorEquals": list(errors), "Assign": {"failure": failed, **(assign or {})}, "Output": {}, "Next": to}


def failure(state: str, *, kind: str = "", job: str = "''", log: str = "''") -> State:
    """What ExecutionFailed needs to know; `job` and `log` are expressions. Holds in a Catch, where `$states.errorOutput` is."""
    return {
        "state": state,
        "error": jsonata(f"$replace($states.errorOutput.Error, 'States.', '{state}.')"),
        "kind": kind,
        "job": jsonata(job),
        "reason": jsonata(REASON),
        "log": jsonata(log),
        "redrives": jsonata(REDRIVES),
    }


def endpoint_failure(state: str) -> State:
    """A failure of the project's endpoint."""
    return failure(state, kind="endpoint", job="$plan.endpoint", log=f"'{ENDPOINT_LOGS}/' & $plan.endpoint")


def found_failure(found: State, error: str, reason: str) -> State:
    """A failure that no task raised but a look at what it left; `reason` is an expression."""
    return {**found, "error": f"{found['state']}.{error}", "reason": jsonata(reason)}


def warned(sentence: str) -> State:
    """One warning more, of what keeps nothing back; `sentence` is an expression."""
    return {"warnings": jsonata(f"[$append($warnings, [{sentence}])]")}


def with_more(told: str) -> State:
    """The same failure with more said about it; `told` is an expression."""
    reason = f"{without_stop('$failure.reason')} & {told}"
    return {"failure": jsonata(f"$merge([$failure, {{'reason': {reason}}}])")}


def without_stop(sentence: str) -> str:
    """Expression for a sentence that another text follows."""
    return f"$replace({sentence}, /[.\\s]+$/, '')"


def log_streams(log_group: str, name: str) -> str:
    """Expression for the log streams that start with a job's name."""
    return f"'{log_group}, log streams ' & {name} & '*'"
