"""The state machine in the Amazon States Language, with JSONata: one function a state, in the order in which they run.

Runs at synth; standard library only. `definition()` is the whole machine; the states around the final training job are in
training_states.py, those around the endpoint in endpoint_states.py.
Whatever fails puts a `$failure` together - which state, which job, why, where its log is - and ends in ExecutionFailed, whose Cause is
that as one sentence.

    PrepareExecution → IsDatasetPrepared → PrepareDataset → TuneHyperparameters → HasBestTrainingJob → IsDebuggerManaged
      → TrainModel, or TrainModelManaged → IsTrainingStarted → WaitForTraining ⇄ DescribeTraining ⇄ WaitForRules
      → AssessModel → IsModelAccepted → NotDeployed, or
      → CreateModel → CreateEndpointConfig → DescribeEndpoint → CreateEndpoint or UpdateEndpoint → WaitForEndpoint ⇄ CheckEndpoint
      → ExecutionDone
"""

from stacks import sagemaker_requests as requests
from stacks.endpoint_states import endpoint_states
from stacks.sagemaker_requests import jsonata
from stacks.states_language import (
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
from stacks.training_states import RULES_SECONDS, TRAINING_SECONDS, training_states
from training import contract

PREPARATION_SECONDS = requests.LONGEST_PREPARATION_SECONDS + 6 * 3600
"""The job's own limit, and six hours of waiting for a machine."""
TUNING_SECONDS = 7 * 24 * 3600
EXECUTION_SECONDS = PREPARATION_SECONDS + TUNING_SECONDS + TRAINING_SECONDS + RULES_SECONDS + 24 * 3600

PROCESSING_LOGS = "/aws/sagemaker/ProcessingJobs"


def definition() -> State:
    """The state machine."""
    return {
        "Comment": "Photos in class folders become a tuned, trained and deployed image classifier",
        "QueryLanguage": "JSONata",
        "TimeoutSeconds": EXECUTION_SECONDS,
        "StartAt": "PrepareExecution",
        "States": {
            "PrepareExecution": prepare_execution(),
            "IsDatasetPrepared": is_dataset_prepared(),
            "PrepareDataset": prepare_dataset(),
            "StopProcessingJob": stop_processing_job(),
            "TuneHyperparameters": tune_hyperparameters(),
            "StopTuningJob": stop_tuning_job(),
            "HasBestTrainingJob": has_best_training_job(),
            "NoBestTrainingJob": no_best_training_job(),
            "FindFailedTrainingJob": find_failed_training_job(),
            **training_states(),
            "CreateModel": create_model(),
            "CreateEndpointConfig": create_endpoint_config(),
            **endpoint_states(),
            "ExecutionDone": execution_done(),
            "NotDeployed": not_deployed(),
            "ExecutionFailed": execution_failed(),
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
            "training_status": "",
            "looks": 0,
            "rule_looks": 0,
            "checks": 0,
            "endpoint_served": "nothing",
        },
        to="IsDatasetPrepared",
    )


def is_dataset_prepared() -> State:
    """The same photos, weights, code, seed and image give the same data set, so an earlier execution's will do."""
    return choice(("$plan.prepared != ''", "TuneHyperparameters"), default="PrepareDataset")


def prepare_dataset() -> State:
    """Reads every photo once: checks it, splits them, computes the features that the training jobs learn from."""
    name = requests.PROCESSING_JOB_NAME
    failed = failure("PrepareDataset", kind="processing job", job=name, log=log_streams(PROCESSING_LOGS, name))
    return job(
        "createProcessingJob",
        requests.create_processing_job(),
        seconds=PREPARATION_SECONDS,
        failed=failed,
        stop="StopProcessingJob",
        assign={"dataset": jsonata("$plan.datasets & '/' & $states.result.ProcessingJobName")},
        to="TuneHyperparameters",
    )


def stop_processing_job() -> State:
    """Nothing that this execution started goes on after it."""
    return last_act("stopProcessingJob", {"ProcessingJobName": jsonata("$failure.job")})


def tune_hyperparameters() -> State:
    """Searches the learning rate and the batch size."""
    name = requests.TUNING_JOB_NAME
    failed = failure("TuneHyperparameters", kind="tuning job", job=name, log=log_streams(TRAINING_LOGS, name))
    values = [f"'{each}': $replace($string($job.TunedHyperParameters.{each}), '\"', '')" for each in contract.TUNED_HYPERPARAMETERS]
    best = ", ".join([*values, "'objective': $job.FinalHyperParameterTuningJobObjectiveMetric.Value"])
    return job(
        "createHyperParameterTuningJob",
        requests.create_tuning_job(),
        seconds=TUNING_SECONDS,
        failed=failed,
        stop="StopTuningJob",
        caught="FindFailedTrainingJob",
        assign={
            "tuning_job": jsonata("$states.result.HyperParameterTuningJobName"),
            "best": jsonata(f"($job := $states.result.BestTrainingJob; $exists($job.TrainingJobName) ? {{{best}}} : {{}})"),
        },
        to="HasBestTrainingJob",
    )


def stop_tuning_job() -> State:
    """Nothing that this execution started goes on after it."""
    return last_act("stopHyperParameterTuningJob", {"HyperParameterTuningJobName": jsonata("$failure.job")})


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
        assign={
            "failure": jsonata(
                f"($job := $states.result.TrainingJobSummaries[0]; $exists($job) ? $merge([$failure, {{'reason': {reason}}}]) : $failure)"
            )
        },
    )


def create_model() -> State:
    """Names the artefact as a model."""
    return api_call(
        "createModel",
        requests.create_model(),
        caught=catch(failure("CreateModel")),
        to="CreateEndpointConfig",
        retried=SDK_UNNAMED,
        assign={"model": jsonata("$split($states.result.ModelArn, '/')[-1]")},
    )


def create_endpoint_config() -> State:
    """Says on which machines the model answers."""
    return api_call(
        "createEndpointConfig",
        requests.create_endpoint_config(),
        caught=catch(failure("CreateEndpointConfig")),
        to="DescribeEndpoint",
        retried=SDK_UNNAMED,
        assign={"endpoint_config": jsonata("$split($states.result.EndpointConfigArn, '/')[-1]")},
    )


def execution_done() -> State:
    """Says what the execution made and where."""
    deployed = {
        "deployed": True,
        "model": jsonata("$model"),
        "endpoint": jsonata("$plan.endpoint"),
        "endpoint_config": jsonata("$endpoint_config"),
    }
    return {"Type": "Pass", "Output": {**outcome(), **deployed}, "End": True}


def not_deployed() -> State:
    """The execution did what it was asked to, and what the rules found keeps the model back; whatever answered before still does."""
    return {"Type": "Pass", "Output": {**outcome(), "deployed": False}, "End": True}


def outcome() -> State:
    """What is known of the model, deployed or not."""
    return {
        "run": jsonata("$plan.run"),
        "dataset": jsonata("$dataset & '/'"),
        "tuning_job": jsonata("$tuning_job"),
        "training_job": jsonata("$training.job"),
        "best": {
            "lr": jsonata("$number($best.lr)"),
            "batch_size": jsonata("$number($best.batch_size)"),
            "objective": jsonata("$best.objective"),
        },
        "model_artifact": jsonata("$training.model_artifact"),
        "report": jsonata(f"$training.folder & '/{contract.REPORT}/'"),
        "debug_output": jsonata(f"$training.folder & '/{contract.DEBUG_OUTPUT}/'"),
        "profiler_output": jsonata(f"$training.folder & '/{contract.PROFILER_OUTPUT}/'"),
        "rule_output": jsonata(f"$training.folder & '/{contract.RULE_OUTPUT}/'"),
        "reasons": jsonata("$assessment.reasons"),
        "warnings": jsonata("$assessment.warnings"),
        "rule_statuses": jsonata("$assessment.rule_statuses"),
        "profiler_rule_statuses": jsonata("$assessment.profiler_rule_statuses"),
    }


def execution_failed() -> State:
    """One sentence: which state, which job, why, where the log is; a request that SageMaker refused has left no log."""
    sentence = (
        "$failure.state & ' failed' & ($failure.job = '' ? '' : ' (' & $failure.kind & ' ' & $failure.job & ')') & ': '"
        f" & {without_stop('$failure.reason')} & '.'"
        " & ($failure.log = '' or $contains($failure.error, 'SageMaker.') ? '' : ' Log: CloudWatch log group ' & $failure.log & '.')"
    )
    return {"Type": "Fail", "Error": jsonata("$failure.error"), "Cause": jsonata(sentence)}
