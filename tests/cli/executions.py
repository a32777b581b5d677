"""An execution in memory, moment by moment: fakes of Step Functions, SageMaker and CloudWatch Logs. Used by the tests beside it."""

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tests.cli.fakes import ARN, PREFIX, START, Pages, client_error

PROCESSING_JOB = f"{PREFIX}73e7-prepare-0be1f3a2"
TUNING_JOB = f"{PREFIX}1454c455"
FINAL_JOB = f"{PREFIX}73e7-train-705ce048"

DEFINITION = {
    "StartAt": "PrepareExecution",
    "States": {
        "PrepareExecution": {"Type": "Task", "Next": "IsDatasetPrepared", "Catch": [{"Next": "ExecutionFailed"}]},
        "IsDatasetPrepared": {"Type": "Choice", "Choices": [{"Next": "TuneHyperparameters"}], "Default": "PrepareDataset"},
        "PrepareDataset": {"Type": "Task", "Next": "TuneHyperparameters", "Catch": [{"Next": "ExecutionFailed"}]},
        "TuneHyperparameters": {"Type": "Task", "Next": "HasBest", "Catch": [{"Next": "FindFailedTrainingJob"}]},
        "HasBest": {"Type": "Choice", "Choices": [{"Next": "IsDebuggerManaged"}], "Default": "ExecutionFailed"},
        "IsDebuggerManaged": {"Type": "Choice", "Choices": [{"Next": "TrainModelManaged"}], "Default": "TrainModel"},
        "TrainModel": {"Type": "Task", "Next": "AssessModel", "Catch": [{"Next": "ExecutionFailed"}]},
        "TrainModelManaged": {"Type": "Task", "Next": "WaitForTraining", "Catch": [{"Next": "ExecutionFailed"}]},
        "WaitForTraining": {"Type": "Wait", "Next": "DescribeTraining"},
        "DescribeTraining": {"Type": "Task", "Next": "IsTrainingDone", "Catch": [{"Next": "ExecutionFailed"}]},
        "IsTrainingDone": {
            "Type": "Choice",
            "Choices": [{"Next": "WaitForTraining"}, {"Next": "WaitForRules"}, {"Next": "TrainingNotCompleted"}],
            "Default": "AssessModel",
        },
        "TrainingNotCompleted": {"Type": "Pass", "Next": "ExecutionFailed"},
        "WaitForRules": {"Type": "Wait", "Next": "DescribeTraining"},
        "AssessModel": {"Type": "Task", "Next": "IsModelAccepted", "Catch": [{"Next": "ExecutionFailed"}]},
        "IsModelAccepted": {"Type": "Choice", "Choices": [{"Next": "DescribeEndpoint"}], "Default": "NotDeployed"},
        "NotDeployed": {"Type": "Pass", "End": True},
        "DescribeEndpoint": {"Type": "Task", "Next": "UpdateEndpoint", "Catch": [{"Next": "CreateEndpoint"}]},
        "CreateEndpoint": {"Type": "Task", "Next": "WaitForEndpoint"},
        "UpdateEndpoint": {"Type": "Task", "Next": "WaitForEndpoint"},
        "WaitForEndpoint": {"Type": "Wait", "Next": "IsEndpointInService"},
        "IsEndpointInService": {"Type": "Choice", "Choices": [{"Next": "Done"}], "Default": "WaitForEndpoint"},
        "Done": {"Type": "Pass", "End": True},
        "FindFailedTrainingJob": {"Type": "Task", "Next": "ExecutionFailed"},
        "ExecutionFailed": {"Type": "Task", "Next": "FailedForGood"},
        "FailedForGood": {"Type": "Fail"},
    },
}

OVERFIT = {
    "RuleConfigurationName": "Overfit",
    "RuleEvaluationStatus": "IssuesFound",
    "StatusDetails": "RuleEvaluationConditionMet: the condition was met twice",
}

OUTPUT = {
    "run": f"{PREFIX}73e7",
    "endpoint": "whippet",
    "best": {"lr": 0.01, "batch_size": 32, "objective": 0.7},
    "report": f"s3://photos-bucket/executions/run/training/{FINAL_JOB}/report/",
    "rule_output": f"s3://photos-bucket/executions/run/training/{FINAL_JOB}/rule-output/",
    "deployed": True,
    "reasons": [],
    "warnings": [],
    "rule_statuses": [OVERFIT],
    "profiler_rule_statuses": [{"RuleConfigurationName": "BatchSize", "RuleEvaluationStatus": "NoIssuesFound", "StatusDetails": ""}],
}

CHAMPION = {
    "package": "arn:aws:sagemaker:us-east-1:000000000000:model-package/whippet/2",
    "version": "2",
    "accuracy": 0.905,
    "new_accuracy": 0.912,
    "difference": 0.007,
    "interval": [-0.012, 0.026],
    "photos": 300,
    "sentence": "accuracy 0.912 against the champion's 0.905 on the same 300 photos, difference +0.7 points, 95 % interval -1.2 to +2.6",
}
"""What an execution says of the model that it was compared with."""

REASON = "rule UnchangedTensor found an issue, and rules.block_deployment names it: fc.weight did not change"
KEPT_BACK = {**{key: value for key, value in OUTPUT.items() if key != "endpoint"}, "deployed": False, "reasons": [REASON]}
"""The output of an execution whose model a rule kept back."""


def entered(state: str, at: float) -> dict[str, Any]:
    return {"type": "TaskStateEntered", "timestamp": second(at), "stateEnteredEventDetails": {"name": state}}


def exited(state: str, at: float) -> dict[str, Any]:
    return {"type": "TaskStateExited", "timestamp": second(at), "stateExitedEventDetails": {"name": state}}


def second(at: float) -> datetime:
    return START + timedelta(seconds=at)


def trial(number: int, status: str = "Completed", objective: float | None = 0.7, **more: Any) -> dict[str, Any]:
    """What SageMaker lists of one training job of the tuning job."""
    metric = (
        {"FinalHyperParameterTuningJobObjectiveMetric": {"MetricName": "objective:valid_loss", "Value": objective}} if objective else {}
    )
    return {
        "TrainingJobName": f"{TUNING_JOB}-{number:03d}-aaaa",
        "TrainingJobStatus": status,
        "CreationTime": second(5),
        "TrainingStartTime": second(10),
        **({} if status == "InProgress" else {"TrainingEndTime": second(10 + number)}),
        "TunedHyperParameters": {"lr": "0.01", "batch_size": "32"},
        **metric,
        **more,
    }


@dataclass
class Moment:
    """What the services answer at one moment."""

    status: str = "RUNNING"
    events: list[dict[str, Any]] = field(default_factory=list)
    trials: list[dict[str, Any]] = field(default_factory=list)
    training: list[dict[str, Any]] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    cause: str = ""
    processing: list[dict[str, Any]] = field(default_factory=list)
    output: dict[str, Any] = field(default_factory=lambda: OUTPUT)
    """Of an execution that has succeeded."""
    input: Any = field(default_factory=dict)
    rules: list[tuple[str, str]] = field(default_factory=list)
    """Debugger rules of the final training job: name and status."""


@dataclass
class FakeServices:
    """Step Functions, SageMaker and CloudWatch Logs at once; each look at the execution is the next moment, the last one stays."""

    moments: list[Moment]
    started: list[dict[str, Any]] = field(default_factory=list)
    """The inputs of the executions that were started."""
    looks: int = 0
    definitions: int = 0
    """How often the definition of the state machine was asked for."""
    processing_lists: int = 0
    """How often the processing jobs were asked for."""
    answers: int = 0
    """How many pages were asked for."""

    @property
    def now(self) -> Moment:
        return self.moments[min(max(self.looks, 1), len(self.moments)) - 1]

    def clients(self) -> dict[str, Any]:
        return {"stepfunctions": self, "sagemaker": self, "logs": self}

    def start_execution(self, **arguments: str) -> dict[str, Any]:
        self.started.append(json.loads(arguments["input"]))
        return {"executionArn": ARN}

    def list_executions(self, **arguments: Any) -> dict[str, Any]:
        return {"executions": [{"executionArn": ARN, "startDate": START}]}

    def describe_execution(self, **arguments: str) -> dict[str, Any]:
        self.looks += 1
        ended = {} if self.now.status == "RUNNING" else {"stopDate": second(100)}
        output = {"output": json.dumps(self.now.output)} if self.now.status == "SUCCEEDED" else {}
        known = {"executionArn": ARN, "stateMachineArn": "machine", "status": self.now.status, "startDate": START}
        known["input"] = json.dumps(self.now.input)
        return {**known, **ended, **output, **({"cause": self.now.cause} if self.now.cause else {})}

    def describe_state_machine(self, **arguments: str) -> dict[str, Any]:
        self.definitions += 1
        return {"definition": json.dumps(DEFINITION)}

    def get_paginator(self, operation: str) -> Pages:
        listed = {
            "get_execution_history": ("events", self.now.events, 100),
            "list_training_jobs_for_hyper_parameter_tuning_job": ("TrainingJobSummaries", self.now.trials, 10),
            "list_hyper_parameter_tuning_jobs": ("HyperParameterTuningJobSummaries", self._tuning_jobs(), 10),
            "list_model_packages": ("ModelPackageSummaryList", [], 10),
        }
        return Pages(lambda **arguments: self._pages(*listed[operation], **arguments))

    def _pages(self, members: str, found: list[dict[str, Any]], size: int, **arguments: Any) -> list[dict[str, Any]]:
        """Pages of the service's own size unless another one is asked for."""
        assert arguments.get("NameContains", PREFIX) == PREFIX
        size = arguments.get("PaginationConfig", {}).get("PageSize", size)
        pages = [{members: found[start : start + size]} for start in range(0, max(len(found), 1), size)]
        self.answers += len(pages)
        return pages

    def _tuning_jobs(self) -> list[dict[str, Any]]:
        return [{"HyperParameterTuningJobName": TUNING_JOB}] if self.now.trials else []

    def list_training_jobs(self, **arguments: Any) -> dict[str, Any]:
        found = [job for job in (*self.now.trials, *self.now.training) if arguments["NameContains"] in job["TrainingJobName"]]
        found.sort(key=lambda job: job["CreationTime"], reverse=arguments["SortOrder"] == "Descending")
        return {"TrainingJobSummaries": found[: arguments["MaxResults"]]}

    def describe_training_job(self, TrainingJobName: str) -> dict[str, Any]:  # noqa: N803 - boto3's name
        assert TrainingJobName == FINAL_JOB
        statuses = [{"RuleConfigurationName": name, "RuleEvaluationStatus": status} for name, status in self.now.rules]
        return {"DebugRuleEvaluationStatuses": statuses[:1], "ProfilerRuleEvaluationStatuses": statuses[1:]}

    def list_processing_jobs(self, **arguments: Any) -> dict[str, Any]:
        self.processing_lists += 1
        found = [job for job in self.now.processing if arguments["NameContains"] in job["ProcessingJobName"]]
        found.sort(key=lambda job: job["CreationTime"], reverse=arguments["SortOrder"] == "Descending")
        return {"ProcessingJobSummaries": found[: arguments["MaxResults"]]}

    def describe_log_streams(self, **arguments: str) -> dict[str, Any]:
        kind = "ProcessingJobs" if "-prepare-" in arguments["logStreamNamePrefix"] else "TrainingJobs"
        assert arguments["logGroupName"] == f"/aws/sagemaker/{kind}"
        if not self.now.log:
            raise client_error("ResourceNotFoundException", "The specified log group does not exist.")
        return {"logStreams": [{"logStreamName": f"{arguments['logStreamNamePrefix']}algo-1-1"}]}

    def get_log_events(self, **arguments: Any) -> dict[str, Any]:
        return {"events": [{"message": line} for line in self.now.log[-arguments["limit"] :]]}
