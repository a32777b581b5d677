"""The states of the final training job, up to a model that may be deployed or not: one function a state, in the order in which they run.

Runs at synth; standard library only. Whoever evaluates the rules, the job itself or AWS's Debugger, AssessModel reads what they said.
"""

from stacks import sagemaker_requests as requests
from stacks.sagemaker_requests import Request, jsonata
from stacks.states_language import (
    SDK_UNNAMED,
    TRAINING_LOGS,
    State,
    api_call,
    catch,
    choice,
    failure,
    function_call,
    job,
    last_act,
    log_streams,
)

TRAINING_SECONDS = requests.LONGEST_SPOT_SECONDS + 3600
"""The job's own limit and its wait for a machine, and an hour for what these leave out."""

LOOK_SECONDS = 15
MOST_LOOKS = 200
"""Looks at the rules before the execution goes on without the verdicts of those that have not ended: 50 minutes after the job's end."""
RULES_SECONDS = LOOK_SECONDS * MOST_LOOKS


def training_states() -> dict[str, State]:
    """From the best hyperparameters to a model that is accepted or not; goes on to CreateModel, NotDeployed or ExecutionFailed."""
    return {
        "IsDebuggerManaged": is_debugger_managed(),
        "TrainModel": train_model(),
        "TrainModelManaged": train_model_managed(),
        "StopTrainingJob": stop_training_job(),
        "DescribeTraining": describe_training(),
        "AreRulesDone": are_rules_done(),
        "WaitForRules": wait_for_rules(),
        "AssessModel": assess_model(),
        "IsModelAccepted": is_model_accepted(),
    }


def is_debugger_managed() -> State:
    """Where AWS's Debugger judges, the request says so, and its verdicts come after the job's end."""
    return choice(("$plan.debugger = 'managed'", "TrainModelManaged"), default="TrainModel")


def train_model() -> State:
    """Trains with the best values, evaluates on the test photos, writes the report, which holds what the job's own rules said."""
    return training("TrainModel", requests.create_training_job(), to="AssessModel")


def train_model_managed() -> State:
    """The same for an account that still has AWS's Debugger, which evaluates the rules beside the job."""
    return training("TrainModelManaged", requests.create_managed_training_job(), to="DescribeTraining")


def training(state: str, request: Request, to: str) -> State:
    """The final training job."""
    name = requests.TRAINING_JOB_NAME
    return job(
        "createTrainingJob",
        request,
        seconds=TRAINING_SECONDS,
        failed=training_failure(state, name),
        stop="StopTrainingJob",
        assign={
            "training": {
                "job": jsonata("$states.result.TrainingJobName"),
                "model_artifact": jsonata("$states.result.ModelArtifacts.S3ModelArtifacts"),
                "folder": jsonata(f"{requests.TRAINING_OUTPUT} & '/' & $states.result.TrainingJobName"),
            }
        },
        to=to,
    )


def training_failure(state: str, name: str) -> State:
    """A failure of the final training job; `name` is an expression."""
    return failure(state, kind="training job", job=name, log=log_streams(TRAINING_LOGS, name))


def stop_training_job() -> State:
    """Nothing that this execution started goes on after it."""
    return last_act("stopTrainingJob", {"TrainingJobName": jsonata("$failure.job")})


def describe_training() -> State:
    """Looks what the rules say; they may go on for some minutes after the job, for they read what it saved last."""
    return api_call(
        "describeTrainingJob",
        {"TrainingJobName": jsonata("$training.job")},
        caught=catch(training_failure("DescribeTraining", "$training.job")),
        to="AreRulesDone",
        retried=SDK_UNNAMED,
        assign={
            "rule_statuses": jsonata("[$states.result.DebugRuleEvaluationStatuses]"),
            "profiler_rule_statuses": jsonata("[$states.result.ProfilerRuleEvaluationStatuses]"),
            "looks": jsonata("$looks + 1"),
        },
    )


def are_rules_done() -> State:
    """A rule that never ends is waited for so long and no longer: AssessModel then tells that it gave no verdict."""
    going_on = "$append($rule_statuses, $profiler_rule_statuses)[RuleEvaluationStatus in ['InProgress', 'Stopping']]"
    return choice((f"$exists({going_on}) and $looks < {MOST_LOOKS}", "WaitForRules"), default="AssessModel")


def wait_for_rules() -> State:
    """Until the next look."""
    return {"Type": "Wait", "Seconds": LOOK_SECONDS, "Next": "DescribeTraining"}


def assess_model() -> State:
    """Reads the verdicts, and decides by those that `rules.block_deployment` names."""
    return function_call(
        "AssessModel",
        {
            "folder": jsonata("$training.folder"),
            "debugger": jsonata("$plan.debugger"),
            "block_deployment": jsonata("$plan.block_deployment"),
            "rule_statuses": jsonata("$rule_statuses"),
            "profiler_rule_statuses": jsonata("$profiler_rule_statuses"),
        },
        assign={"assessment": jsonata("$states.result.Payload")},
        to="IsModelAccepted",
    )


def is_model_accepted() -> State:
    """A model that a rule keeps back is not deployed; the execution has done its work all the same."""
    return choice(("$assessment.deploy", "CreateModel"), default="NotDeployed")
