"""The state machine in the Amazon States Language, with JSONata: one function per state, in the order in which they run.

Runs at synth; standard library only. `definition(security)` is the whole machine. The other files of this package hold the states of the
final training job (training.py), of a job's retries (jobs.py), of the model registry (registry.py), of the endpoint (endpoint.py, undo.py)
and of failures (failure.py). A failure assigns `$failure` - the state, the job, the reason, the log's location - and the execution ends in
ExecutionFailed, whose Cause states it in one sentence. `python -m stacks.state_machine.picture` draws the groups of states.

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
from stacks.state_machine.failure import failure_states, reset_counters
from stacks.state_machine.jobs import job_states
from stacks.state_machine.language import (
    LAMBDA_TRANSIENT,
    SDK_UNNAMED,
    TRAINING_LOGS,
    State,
    api_call,
    call_before_end,
    catch,
    choice,
    describe_failure,
    function_call,
    job,
    log_streams,
    report_failure,
    strip_full_stop,
)
from stacks.state_machine.registry import closing_states, registry_states
from stacks.state_machine.requests import Security, jsonata
from stacks.state_machine.training import RULES_SECONDS, TRAINING_SECONDS, training_states
from stacks.state_machine.undo import undo_states
from training.contract import hyperparameters, metrics
from training.contract.limits import LONGEST_JOB_SECONDS

PREPARATION_SECONDS = LONGEST_JOB_SECONDS + 6 * 3600
"""The job's own limit, and six hours of waiting for an instance."""
TUNING_SECONDS = 7 * 24 * 3600
READING_SECONDS = PREPARATION_SECONDS + TUNING_SECONDS + TRAINING_SECONDS + RULES_SECONDS + 24 * 3600
"""How long an execution may need its prepared data set; the last day is a margin."""
APPROVAL_SECONDS = 7 * 24 * 3600
EXECUTION_SECONDS = READING_SECONDS + APPROVAL_SECONDS

PROCESSING_LOGS = "/aws/sagemaker/ProcessingJobs"


def definition(security: Security = requests.OPEN) -> State:
    """The state machine; `security` sets the key and the network of its jobs and models."""
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
    """Validates the input and the bucket before anything is billed."""
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
            **reset_counters(),
        },
        to="IsDatasetPrepared",
    )


def is_dataset_prepared() -> State:
    """The same photos, weights, code, seed and image give the same data set, so an earlier execution's is reused."""
    return choice(("$plan.prepared != ''", "TuneHyperparameters"), default="PrepareDataset")


def prepare_dataset(security: Security) -> State:
    """Reads every photo once: checks it, splits the photos, computes the features for the training jobs."""
    name = requests.PROCESSING_JOB_NAME
    failed = describe_failure("PrepareDataset", kind="processing job", job=name, log=log_streams(PROCESSING_LOGS, name))
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
    " $failed > 0 ? [$string($failed) & ' training jobs of the tuning job failed; the best of the others was used: '"
    " & $states.result.HyperParameterTuningJobName] : [])"
)
"""Expression: a warning if some training jobs of the tuning job failed."""


def tune_hyperparameters(security: Security) -> State:
    """Searches the learning rate and the batch size."""
    name = requests.TUNING_JOB_NAME
    failed = describe_failure("TuneHyperparameters", kind="tuning job", job=name, log=log_streams(TRAINING_LOGS, name))
    values = [f"'{each}': $replace($string($job.TunedHyperParameters.{each}), '\"', '')" for each in hyperparameters.TUNED_HYPERPARAMETERS]
    best = ", ".join([*values, "'objective': $job.FinalHyperParameterTuningJobObjectiveMetric.Value"])
    return job(
        "createHyperParameterTuningJob",
        requests.merge_request(requests.create_tuning_job(security), "$plan.tuning_extra"),
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
    """A tuning job can complete although none of its training jobs reported the objective."""
    return choice(("$exists($best.objective)", "IsDebuggerManaged"), default="NoBestTrainingJob")


def no_best_training_job() -> State:
    """The tuning job completed without a best training job."""
    found = describe_failure("TuneHyperparameters", kind="tuning job", job="$tuning_job", log=log_streams(TRAINING_LOGS, "$tuning_job"))
    reason = f"'it completed, but none of its training jobs printed the objective {metrics.OBJECTIVE_METRIC}'"
    return {
        "Type": "Pass",
        "Assign": {"failure": report_failure(found, "NoBestTrainingJob", reason)},
        "Next": "FindFailedTrainingJob",
    }


def find_failed_training_job() -> State:
    """A tuning job reports only that its training jobs failed; this reads the reason from one of them."""
    reason = (
        f"{strip_full_stop('$failure.reason')} & '; training job ' & $job.TrainingJobName & ': '"
        " & ($exists($job.FailureReason) ? $job.FailureReason : 'no reason was given')"
    )
    return call_before_end(
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
    """Creates a model from the artefact."""
    return api_call(
        "createModel",
        hosting.create_model(security),
        caught=catch(describe_failure("CreateModel")),
        to="CreateEndpointConfig",
        retried=SDK_UNNAMED,
        assign={"model": jsonata("$split($states.result.ModelArn, '/')[-1]")},
    )


def create_endpoint_config(security: Security) -> State:
    """Creates the endpoint config: the model's instances or serverless settings."""
    return api_call(
        "createEndpointConfig",
        hosting.create_endpoint_config(security),
        caught=catch(describe_failure("CreateEndpointConfig")),
        to="DescribeEndpoint",
        retried=SDK_UNNAMED,
        assign={"endpoint_config": jsonata("$split($states.result.EndpointConfigArn, '/')[-1]")},
    )
