"""The states of the final training job, up to a model that may be deployed or not: one function a state, in the order in which they run.

Runs at synth; standard library only. Whoever evaluates the rules, the job itself or AWS's Debugger, AssessModel reads what they said.
"""

from stacks.state_machine import requests as requests
from stacks.state_machine.language import (
    SAID,
    SDK_UNNAMED,
    TRAINING_LOGS,
    State,
    api_call,
    catch,
    choice,
    failure,
    found_failure,
    function_call,
    job,
    log_streams,
    warned,
    without_stop,
)
from stacks.state_machine.requests import jsonata

TRAINING_SECONDS = requests.LONGEST_SPOT_SECONDS + 3600
"""The job's own limit and its wait for a machine, and an hour for what these leave out."""

LOOK_SECONDS, LATER_LOOK_SECONDS = 15, 300
SHORT_LOOKS = 40
"""So many looks at a managed job with a short wait between them, then with a long one: an execution's history holds 25,000 events."""
MOST_LOOKS = SHORT_LOOKS + (TRAINING_SECONDS - SHORT_LOOKS * LOOK_SECONDS) // LATER_LOOK_SECONDS

RULE_LOOK_SECONDS = 20
MOST_RULE_LOOKS = 150
"""Looks at the rules before the execution goes on without the verdicts of those that have not ended: 50 minutes after the job's end."""
RULES_SECONDS = RULE_LOOK_SECONDS * MOST_RULE_LOOKS


def training_states(security: requests.Security) -> dict[str, State]:
    """From the best hyperparameters to a model that is assessed; goes on to RegisterModel, or to the states after a failure."""
    return {
        "IsDebuggerManaged": is_debugger_managed(),
        "TrainModel": train_model(security),
        "TrainModelManaged": train_model_managed(security),
        "IsTrainingStarted": is_training_started(),
        "WaitForTraining": wait_for_training(),
        "WaitForLongTraining": wait_for_long_training(),
        "DescribeTraining": describe_training(),
        "IsTrainingDone": is_training_done(),
        "WaitForRules": wait_for_rules(),
        "IsTrainingCompleted": is_training_completed(),
        "RulesNotSeen": rules_not_seen(),
        "TrainingNotCompleted": training_not_completed(),
        "TrainingTakesTooLong": training_takes_too_long(),
        "AssessModel": assess_model(),
    }


def is_debugger_managed() -> State:
    """Where AWS's Debugger judges, the request says so, and its verdicts come after the job's end."""
    return choice(("$plan.debugger = 'managed'", "TrainModelManaged"), default="TrainModel")


def train_model(security: requests.Security) -> State:
    """Trains with the best values, evaluates on the test photos, writes the report, which holds what the job's own rules said."""
    name = requests.TRAINING_JOB_NAME
    return job(
        "createTrainingJob",
        requests.create_training_job(security),
        seconds=TRAINING_SECONDS,
        failed=training_failure("TrainModel", name),
        caught="IsMachineMissing",
        lost="MayJobBeLost",
        assign={"training": trained()},
        to="IsRedriven",
    )


def train_model_managed(security: requests.Security) -> State:
    """The same for an account that still has AWS's Debugger, which evaluates the rules beside the job.

    Not by Step Functions' own integration, which alone can wait: a field that it does not know, as the profiler's may be, would be refused
    when the stack is deployed, whether anybody uses it or not. Every try asks for the same job: two running ones whose names begin alike
    would leave the rules' StopTraining without an object.
    """
    name = requests.MANAGED_TRAINING_JOB_NAME
    return api_call(
        "createTrainingJob",
        requests.create_managed_training_job(security),
        caught=catch(training_failure("TrainModelManaged", name), to="IsTrainingStarted", assign={"training": {"job": jsonata(name)}}),
        to="WaitForTraining",
        retried=SDK_UNNAMED,
        assign={"training": {"job": jsonata("$split($states.result.TrainingJobArn, '/')[-1]")}},
    )


def is_training_started() -> State:
    """A refusal because the job is there already: a try whose answer was lost has started it. What it is called differs."""
    there = "$contains($failure.error, 'ResourceInUse') or $contains($failure.reason, 'already exists')"
    return choice((there, "WaitForTraining"), default="IsMachineMissing")


def trained() -> State:
    """What later states need to know of the final training job, by its description."""
    return {
        "job": jsonata("$states.result.TrainingJobName"),
        "model_artifact": jsonata("$states.result.ModelArtifacts.S3ModelArtifacts"),
        "folder": jsonata(f"{requests.TRAINING_OUTPUT} & '/' & $states.result.TrainingJobName"),
    }


def training_failure(state: str, name: str) -> State:
    """A failure of the final training job; `name` is an expression."""
    return failure(state, kind="training job", job=name, log=log_streams(TRAINING_LOGS, name))


def wait_for_training() -> State:
    """Until the next look at a managed job, in its first minutes: a short one is not waited for much longer than it takes."""
    return {"Type": "Wait", "Seconds": LOOK_SECONDS, "Next": "DescribeTraining"}


def wait_for_long_training() -> State:
    """Until the next look at one that takes longer."""
    return {"Type": "Wait", "Seconds": LATER_LOOK_SECONDS, "Next": "DescribeTraining"}


def describe_training() -> State:
    """Looks how a managed job comes along, and what the rules say; they go on for some minutes after the job, on what it saved last.

    It may have trained for a day, so a look that fails is tried again for long before the job is given up.
    """
    artefact = "$states.result.ModelArtifacts.S3ModelArtifacts"
    return api_call(
        "describeTrainingJob",
        {"TrainingJobName": jsonata("$training.job")},
        caught=catch(training_failure("DescribeTraining", "$training.job"), to="IsTrainingCompleted"),
        to="IsTrainingDone",
        retried=SDK_UNNAMED,
        patient=True,
        assign={
            "training": {**trained(), "model_artifact": jsonata(f"$exists({artefact}) ? {artefact} : ''")},
            "training_status": jsonata("$states.result.TrainingJobStatus"),
            "training_reason": jsonata(f"($cause := ''; $told := $states.result; {SAID})"),
            "rule_statuses": jsonata("[$states.result.DebugRuleEvaluationStatuses]"),
            "profiler_rule_statuses": jsonata("[$states.result.ProfilerRuleEvaluationStatuses]"),
            "looks": jsonata("$looks + 1"),
            "rule_looks": jsonata("$states.result.TrainingJobStatus = 'Completed' ? $rule_looks + 1 : 0"),
        },
    )


def is_training_done() -> State:
    """A rule that never ends is waited for so long and no longer: AssessModel then tells that it gave no verdict."""
    going_on = "$append($rule_statuses, $profiler_rule_statuses)[RuleEvaluationStatus in ['InProgress', 'Stopping']]"
    return choice(
        (f"$training_status in ['InProgress', 'Stopping'] and $looks < {SHORT_LOOKS}", "WaitForTraining"),
        (f"$training_status in ['InProgress', 'Stopping'] and $looks < {MOST_LOOKS}", "WaitForLongTraining"),
        ("$training_status in ['InProgress', 'Stopping']", "TrainingTakesTooLong"),
        ("$training_status != 'Completed'", "TrainingNotCompleted"),
        (f"$exists({going_on}) and $rule_looks < {MOST_RULE_LOOKS}", "WaitForRules"),
        default="IsRedriven",
    )


def wait_for_rules() -> State:
    """Until the next look at the rules."""
    return {"Type": "Wait", "Seconds": RULE_LOOK_SECONDS, "Next": "DescribeTraining"}


def is_training_completed() -> State:
    """Nothing more is seen of the job; where an earlier look saw it completed, its model is there, and only late verdicts are missing."""
    return choice(("$training_status = 'Completed'", "RulesNotSeen"), default="CleanUp")


def rules_not_seen() -> State:
    """The execution goes on with the verdicts of the last look, and tells."""
    warning = (
        f"'the rules could not be looked at to their end (' & {without_stop('$failure.reason')} & '): the verdicts are those seen last'"
    )
    return {"Type": "Pass", "Assign": warned(warning), "Next": "IsRedriven"}


def training_not_completed() -> State:
    """A managed job failed, or was stopped: by a rule, by its time limit, or by somebody."""
    failed = found_failure(training_failure("TrainModelManaged", "$training.job"), "TaskFailed", "$training_reason")
    return {"Type": "Pass", "Assign": {"failure": failed}, "Next": "IsMachineMissing"}


def training_takes_too_long() -> State:
    """A managed job has outlived its own limit."""
    reason = "'it is still ' & $training_status & ' after ' & $string($looks) & ' looks'"
    failed = found_failure(training_failure("TrainModelManaged", "$training.job"), "Timeout", reason)
    return {"Type": "Pass", "Assign": {"failure": failed}, "Next": "CleanUp"}


def assess_model() -> State:
    """Reads what was measured, what the rules said and how the champion did, and decides; says why."""
    return function_call(
        "AssessModel",
        {
            "folder": jsonata("$training.folder"),
            "debugger": jsonata("$plan.debugger"),
            "block_deployment": jsonata("$plan.block_deployment"),
            "rule_statuses": jsonata("$rule_statuses"),
            "profiler_rule_statuses": jsonata("$profiler_rule_statuses"),
            "warnings": jsonata("$warnings"),
            "run": jsonata("$plan.run"),
            "gate": jsonata("$plan.gate"),
            "group": jsonata("$plan.model_package_group"),
            "project": "${Project}",
            "tuning_job": jsonata("$tuning_job"),
            "dataset": jsonata("$dataset & '/'"),
            "photos_sha256": jsonata("$plan.photos_sha256"),
        },
        assign={
            "assessment": jsonata("$states.result.Payload"),
            "reasons": jsonata("$states.result.Payload.reasons"),
            "warnings": jsonata("$states.result.Payload.warnings"),
        },
        to="RegisterModel",
    )
