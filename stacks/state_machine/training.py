"""The states of the final training job, up to an assessed model: one function per state, in the order in which they run.

Runs at synth; standard library only. AssessModel reads the rules' results, whether the job itself or AWS's Debugger evaluates them.
"""

from stacks.state_machine import requests as requests
from stacks.state_machine.language import (
    SAID,
    SDK_UNNAMED,
    TRAINING_LOGS,
    State,
    add_warning,
    api_call,
    catch,
    choice,
    describe_failure,
    function_call,
    job,
    log_streams,
    report_failure,
    strip_full_stop,
)
from stacks.state_machine.requests import jsonata

TRAINING_SECONDS = requests.LONGEST_SPOT_SECONDS + 3600
"""The job's own limit and its wait for an instance, and an hour as a margin."""

LOOK_SECONDS, LATER_LOOK_SECONDS = 15, 300
SHORT_LOOKS = 40
"""Checks of a managed job with a short wait, then with a long one: an execution's history is limited to 25,000 events."""
MOST_LOOKS = SHORT_LOOKS + (TRAINING_SECONDS - SHORT_LOOKS * LOOK_SECONDS) // LATER_LOOK_SECONDS

RULE_LOOK_SECONDS = 20
MOST_RULE_LOOKS = 150
"""Checks of the rules before the execution continues without the unfinished ones: 50 minutes after the job's end."""
RULES_SECONDS = RULE_LOOK_SECONDS * MOST_RULE_LOOKS


def training_states(security: requests.Security) -> dict[str, State]:
    """From the best hyperparameters to an assessed model; continues with RegisterModel, or with the states after a failure."""
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
    """With AWS's Debugger the request contains the rules, and their results arrive after the job's end."""
    return choice(("$plan.debugger = 'managed'", "TrainModelManaged"), default="TrainModel")


def train_model(security: requests.Security) -> State:
    """Trains with the best values, evaluates on the test photos, and writes the report with the results of the job's own rules."""
    name = requests.TRAINING_JOB_NAME
    return job(
        "createTrainingJob",
        requests.create_training_job(security),
        seconds=TRAINING_SECONDS,
        failed=describe_training_failure("TrainModel", name),
        caught="IsMachineMissing",
        lost="MayJobBeLost",
        assign={"training": describe_trained_job()},
        to="IsRedriven",
    )


def train_model_managed(security: requests.Security) -> State:
    """The same for an account that still has AWS's Debugger, which evaluates the rules beside the job.

    Not by Step Functions' optimised integration, the only one that can wait: the deployment of the stack would fail for fields that it does
    not support, which may include the profiler's. Every attempt requests the same job: with two running jobs of similar names the rules'
    StopTraining would not know which to stop.
    """
    name = requests.MANAGED_TRAINING_JOB_NAME
    return api_call(
        "createTrainingJob",
        requests.create_managed_training_job(security),
        caught=catch(
            describe_training_failure("TrainModelManaged", name), to="IsTrainingStarted", assign={"training": {"job": jsonata(name)}}
        ),
        to="WaitForTraining",
        retried=SDK_UNNAMED,
        assign={"training": {"job": jsonata("$split($states.result.TrainingJobArn, '/')[-1]")}},
    )


def is_training_started() -> State:
    """A rejection because the job already exists: an attempt whose response was lost started it. The error's name varies."""
    there = "$contains($failure.error, 'ResourceInUse') or $contains($failure.reason, 'already exists')"
    return choice((there, "WaitForTraining"), default="IsMachineMissing")


def describe_trained_job() -> State:
    """What later states need of the final training job's description."""
    return {
        "job": jsonata("$states.result.TrainingJobName"),
        "model_artifact": jsonata("$states.result.ModelArtifacts.S3ModelArtifacts"),
        "folder": jsonata(f"{requests.TRAINING_OUTPUT} & '/' & $states.result.TrainingJobName"),
    }


def describe_training_failure(state: str, name: str) -> State:
    """A failure of the final training job; `name` is an expression."""
    return describe_failure(state, kind="training job", job=name, log=log_streams(TRAINING_LOGS, name))


def wait_for_training() -> State:
    """Until the next check of a managed job in its first minutes: short, so that short jobs do not wait long."""
    return {"Type": "Wait", "Seconds": LOOK_SECONDS, "Next": "DescribeTraining"}


def wait_for_long_training() -> State:
    """Until the next check of a longer job."""
    return {"Type": "Wait", "Seconds": LATER_LOOK_SECONDS, "Next": "DescribeTraining"}


def describe_training() -> State:
    """Reads the status of a managed job and its rules, which continue for some minutes after the job.

    The job may have trained for a day, so a failed check is retried for long before the job counts as failed.
    """
    artefact = "$states.result.ModelArtifacts.S3ModelArtifacts"
    return api_call(
        "describeTrainingJob",
        {"TrainingJobName": jsonata("$training.job")},
        caught=catch(describe_training_failure("DescribeTraining", "$training.job"), to="IsTrainingCompleted"),
        to="IsTrainingDone",
        retried=SDK_UNNAMED,
        patient=True,
        assign={
            "training": {**describe_trained_job(), "model_artifact": jsonata(f"$exists({artefact}) ? {artefact} : ''")},
            "training_status": jsonata("$states.result.TrainingJobStatus"),
            "training_reason": jsonata(f"($cause := ''; $told := $states.result; {SAID})"),
            "rule_statuses": jsonata("[$states.result.DebugRuleEvaluationStatuses]"),
            "profiler_rule_statuses": jsonata("[$states.result.ProfilerRuleEvaluationStatuses]"),
            "looks": jsonata("$looks + 1"),
            "rule_looks": jsonata("$states.result.TrainingJobStatus = 'Completed' ? $rule_looks + 1 : 0"),
        },
    )


def is_training_done() -> State:
    """The wait for a rule is limited; AssessModel then reports that the rule has no result."""
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
    """Until the next check of the rules."""
    return {"Type": "Wait", "Seconds": RULE_LOOK_SECONDS, "Next": "DescribeTraining"}


def is_training_completed() -> State:
    """The job can no longer be described; if an earlier check saw it completed, only late rule results are missing."""
    return choice(("$training_status = 'Completed'", "RulesNotSeen"), default="CleanUp")


def rules_not_seen() -> State:
    """The execution continues with the rule results of the last check, with a warning."""
    warning = (
        f"'the rules could not be followed to the end (' & {strip_full_stop('$failure.reason')} & '): results are from the last check'"
    )
    return {"Type": "Pass", "Assign": add_warning(warning), "Next": "IsRedriven"}


def training_not_completed() -> State:
    """A managed job failed, or was stopped: by a rule, by its time limit, or by a user."""
    failed = report_failure(describe_training_failure("TrainModelManaged", "$training.job"), "TaskFailed", "$training_reason")
    return {"Type": "Pass", "Assign": {"failure": failed}, "Next": "IsMachineMissing"}


def training_takes_too_long() -> State:
    """A managed job exceeded its own limit."""
    reason = "'it is still ' & $training_status & ' after ' & $string($looks) & ' checks'"
    failed = report_failure(describe_training_failure("TrainModelManaged", "$training.job"), "Timeout", reason)
    return {"Type": "Pass", "Assign": {"failure": failed}, "Next": "CleanUp"}


def assess_model() -> State:
    """Reads the metrics, the rule results and the champion's metrics, and decides with reasons."""
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
