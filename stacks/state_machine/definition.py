"""The state machine in the Amazon States Language, with JSONata: one function a state, in the order in which they run.

Runs at synth; standard library only. `definition(security)` is the whole machine; the states around the final training job are in
training_states.py, between two tries of a job in job_states.py, around the model registry in registry_states.py, around the endpoint in
endpoint_states.py and undo_states.py, after a failure in failure_states.py.
Whatever fails puts a `$failure` together - which state, which job, why, where its log is - and ends in ExecutionFailed, whose Cause is
that as one sentence.

    PrepareExecution → IsDatasetPrepared → PrepareDataset → TuneHyperparameters → HasBestTrainingJob → IsDebuggerManaged
      → TrainModel, or TrainModelManaged → IsTrainingStarted → WaitForTraining ⇄ DescribeTraining ⇄ WaitForRules
      → AssessModel → RegisterModel → ChooseDeployment → AskForApproval → WaitForApproval ⇄ DescribeModelPackage
      → CreateModel → CreateEndpointConfig → DescribeEndpoint → CreateEndpoint or UpdateEndpoint → WaitForEndpoint ⇄ CheckEndpoint
      → VerifyEndpoint → RecordDeployment → PruneModels → SumUp → PublishReport → NotifyDone → ExecutionDone or NotDeployed
    a deployment that fails → LookBeforeUndo → RemoveEndpoint or RestoreEndpoint → CleanUp
    any failure → CleanUp → PublishFailure → NotifyFailed → ExecutionFailed
    a redrive → ExecutionFailed → ResumeExecution → the state that failed
"""

from stacks.state_machine import hosting_requests as hosting
from stacks.state_machine import requests as requests
from stacks.state_machine.endpoint import endpoint_states
from stacks.state_machine.failure import failure_states, fresh_counters
from stacks.state_machine.jobs import job_states
from stacks.state_machine.language import (
    LAMBDA_TRANSIENT,
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
    last_act,
    log_streams,
    without_stop,
)
from stacks.state_machine.registry import closing_states, registry_states
from stacks.state_machine.requests import Security, jsonata
from stacks.state_machine.training import RULES_SECONDS, TRAINING_SECONDS, training_states
from stacks.state_machine.undo import undo_states
from training import contract

PREPARATION_SECONDS = requests.LONGEST_PREPARATION_SECONDS + 6 * 3600
"""The job's own limit, and six hours of waiting for a machine."""
TUNING_SECONDS = 7 * 24 * 3600
READING_SECONDS = PREPARATION_SECONDS + TUNING_SECONDS + TRAINING_SECONDS + RULES_SECONDS + 24 * 3600
"""As long as an execution may need its prepared data set; the last day is for what the jobs' limits leave out."""
APPROVAL_SECONDS = 7 * 24 * 3600
EXECUTION_SECONDS = READING_SECONDS + APPROVAL_SECONDS

PROCESSING_LOGS = "/aws/sagemaker/ProcessingJobs"


def definition(security: Security = requests.OPEN) -> State:
    """The state machine, whose jobs and models run as `security` says."""
    return {
        "Comment": "Photos in class folders become a tuned, trained and deployed image classifier",
        "QueryLanguage": "JSONata",
        "TimeoutSeconds": EXECUTION_SECONDS,
        "StartAt": "PrepareExecution",
        "States": {
            "PrepareExecution": prepare_execution(),
            "IsDatasetPrepared": is_dataset_prepared(),
            "PrepareDataset": prepare_dataset(security),
            "TuneHyperparameters": tune_hyperparameters(security),
            "HasBestTrainingJob": has_best_training_job(),
            "NoBestTrainingJob": no_best_training_job(),
            "FindFailedTrainingJob": find_failed_training_job(),
            **training_states(security),
            **job_states(),
            **registry_states(),
            "CreateModel": create_model(security),
            "CreateEndpointConfig": create_endpoint_config(security),
            **endpoint_states(),
            **undo_states(),
            **closing_states(),
            **failure_states(),
        },
    }


def prepare_execution() -> State:
    """Checks the input and the bucket before anything that costs is started."""
    return function_call(
        "PrepareExecution",
        {
            "input": jsonata("$states.context.Execution.Input"),
            "execution_arn": jsonata("$states.context.Execution.Id"),
            "start_time": jsonata("$states.context.Execution.StartTime"),
        },
        retried=[*LAMBDA_TRANSIENT, "WeightsDownloadInterrupted"],
        assign={
            "plan": jsonata("$states.result.Payload"),
            "dataset": jsonata("$states.result.Payload.prepared"),
            "rule_statuses": [],
            "profiler_rule_statuses": [],
            "warnings": [],
            "deployed": False,
            "endpoint_served": "nothing",
            **fresh_counters(),
        },
        to="IsDatasetPrepared",
    )


def is_dataset_prepared() -> State:
    """The same photos, weights, code, seed and image give the same data set, so an earlier execution's will do."""
    return choice(("$plan.prepared != ''", "TuneHyperparameters"), default="PrepareDataset")


def prepare_dataset(security: Security) -> State:
    """Reads every photo once: checks it, splits them, computes the features that the training jobs learn from."""
    name = requests.PROCESSING_JOB_NAME
    failed = failure("PrepareDataset", kind="processing job", job=name, log=log_streams(PROCESSING_LOGS, name))
    return job(
        "createProcessingJob",
        requests.create_processing_job(security),
        seconds=PREPARATION_SECONDS,
        failed=failed,
        caught="IsMachineMissing",
        lost="MayJobBeLost",
        assign={"dataset": jsonata("$plan.datasets & '/' & $states.result.ProcessingJobName")},
        to="TuneHyperparameters",
    )


FAILED_PART = (
    "($counts := $states.result.TrainingJobStatusCounters; $failed := $sum([$counts.NonRetryableError, $counts.RetryableError]);"
    " $failed > 0 ? [$string($failed) & ' training jobs of the tuning job failed, and the best of the others was taken: '"
    " & $states.result.HyperParameterTuningJobName] : [])"
)
"""Expression: a warning where only a part of the tuning went well."""


def tune_hyperparameters(security: Security) -> State:
    """Searches the learning rate and the batch size."""
    name = requests.TUNING_JOB_NAME
    failed = failure("TuneHyperparameters", kind="tuning job", job=name, log=log_streams(TRAINING_LOGS, name))
    values = [f"'{each}': $replace($string($job.TunedHyperParameters.{each}), '\"', '')" for each in contract.TUNED_HYPERPARAMETERS]
    best = ", ".join([*values, "'objective': $job.FinalHyperParameterTuningJobObjectiveMetric.Value"])
    return job(
        "createHyperParameterTuningJob",
        requests.with_extra(requests.create_tuning_job(security), "$plan.tuning_extra"),
        seconds=TUNING_SECONDS,
        failed=failed,
        caught="FindFailedTrainingJob",
        lost="MayJobBeLost",
        assign={
            "tuning_job": jsonata("$states.result.HyperParameterTuningJobName"),
            "best": jsonata(f"($job := $states.result.BestTrainingJob; $exists($job.TrainingJobName) ? {{{best}}} : {{}})"),
            "warnings": jsonata(f"[$append($warnings, {FAILED_PART})]"),
        },
        to="HasBestTrainingJob",
    )


def has_best_training_job() -> State:
    """A tuning job may end well although none of its training jobs reported the objective."""
    return choice(("$exists($best.objective)", "IsDebuggerManaged"), default="NoBestTrainingJob")


def no_best_training_job() -> State:
    """The tuning job ended well, and yet there is nothing to go on with."""
    found = failure("TuneHyperparameters", kind="tuning job", job="$tuning_job", log=log_streams(TRAINING_LOGS, "$tuning_job"))
    reason = f"'it completed, but none of its training jobs printed the objective {contract.OBJECTIVE_METRIC}'"
    return {"Type": "Pass", "Assign": {"failure": found_failure(found, "NoBestTrainingJob", reason)}, "Next": "FindFailedTrainingJob"}


def find_failed_training_job() -> State:
    """A tuning job says only that its training jobs failed; one of them says why."""
    reason = (
        f"{without_stop('$failure.reason')} & '; training job ' & $job.TrainingJobName & ': '"
        " & ($exists($job.FailureReason) ? $job.FailureReason : 'no reason was given')"
    )
    return last_act(
        "listTrainingJobsForHyperParameterTuningJob",
        {"HyperParameterTuningJobName": jsonata("$failure.job"), "StatusEquals": "Failed", "MaxResults": 1},
        to="IsMachineMissing",
        assign={
            "failure": jsonata(
                f"($job := $states.result.TrainingJobSummaries[0]; $exists($job) ? $merge([$failure, {{'reason': {reason}}}]) : $failure)"
            )
        },
    )


def create_model(security: Security) -> State:
    """Names the artefact as a model."""
    return api_call(
        "createModel",
        hosting.create_model(security),
        caught=catch(failure("CreateModel")),
        to="CreateEndpointConfig",
        retried=SDK_UNNAMED,
        assign={"model": jsonata("$split($states.result.ModelArn, '/')[-1]")},
    )


def create_endpoint_config(security: Security) -> State:
    """Says on which machines the model answers."""
    return api_call(
        "createEndpointConfig",
        hosting.create_endpoint_config(security),
        caught=catch(failure("CreateEndpointConfig")),
        to="DescribeEndpoint",
        retried=SDK_UNNAMED,
        assign={"endpoint_config": jsonata("$split($states.result.EndpointConfigArn, '/')[-1]")},
    )
