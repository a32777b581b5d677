"""Reads the progress of an execution with boto3: its states, its processing, tuning and training jobs, and their logs.

Used by `whippet watch`, `whippet status` and the demo. Reads only; every function works at any time, also after the end.
"""

import hashlib
import json
import re
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar

from botocore.exceptions import ClientError

from cli.account.target import Target
from cli.terminal.errors import RefusedError

PREPARING, TUNING = "PrepareDataset", "TuneHyperparameters"
"""States with their own jobs; the first is skipped when an earlier execution prepared the same data set."""
TRAINING, TRAINING_MANAGED = "TrainModel", "TrainModelManaged"
"""The state of the final training job, without and with AWS's Debugger: an execution enters one of them."""
FOLLOWING = ("WaitForTraining", "WaitForLongTraining", "DescribeTraining", "WaitForRules")
"""States after the start of a job with AWS's Debugger: the job trains, then its rules are evaluated."""
FAILING = "ExecutionFailed"
"""The task that fails an execution. It is hidden, because it would look like a success; the failed state is shown."""
NOT_DEPLOYED = "NotDeployed"
"""The end of an execution that succeeded without a deployment."""
UNEXPECTED = (NOT_DEPLOYED, "CleanUp", "StartJobAgain", "NotApproved", "DeploymentNotAsked")
"""States outside the expected path: failures, retries, and a model that is not deployed."""
CHOOSING, DEPLOYING, APPROVING, SUMMING_UP = "ChooseDeployment", "CreateModel", "AskForApproval", "SumUp"
"""The choice whether a model is deployed, and its branches: at once, after an approval, or never."""
SHOWN = ("Task", "Wait", "Map", "Parallel")
"""Kinds of states that take time; choices and passes are not shown."""

METRIC = re.compile(r"\[metric\] (\S+)=([-+0-9.eE]+)")
EPOCH = re.compile(r"^epoch (\d+)\b")
PROGRESS = re.compile(r"^\d+ of \d+ files read\b.*")

JOBS_PAGE, EVENTS_PAGE = {"PageSize": 100}, {"PageSize": 1000}
"""The maximum page sizes of SageMaker and Step Functions, so that reading a large execution takes few calls."""


@dataclass(frozen=True)
class State:
    """One state of the state machine and all visits to it."""

    name: str
    status: str
    """waiting, running, succeeded, failed, skipped, or held: the model is not deployed"""
    seconds: float


@dataclass(frozen=True)
class ProcessingJob:
    """The processing job that prepares the data set."""

    kind: ClassVar[str] = "processing job"
    log_group: ClassVar[str] = "/aws/sagemaker/ProcessingJobs"
    name: str
    status: str


@dataclass(frozen=True)
class TrainingJob:
    """One training job, of the tuning job or the final one."""

    kind: ClassVar[str] = "training job"
    log_group: ClassVar[str] = "/aws/sagemaker/TrainingJobs"
    name: str
    status: str
    lr: float | None
    batch_size: int | None
    objective: float | None
    seconds: float


@dataclass(frozen=True)
class Activity:
    """The progress of a processing or training job."""

    epoch: int
    metrics: dict[str, float]
    line: str
    """The number of photos read, or of rules evaluated."""


@dataclass(frozen=True)
class Execution:
    """An execution at one moment."""

    arn: str
    status: str
    """RUNNING, SUCCEEDED, FAILED, TIMED_OUT or ABORTED"""
    started: datetime
    seconds: float
    """From the start to the end, or to the time of reading while the execution runs."""
    states: tuple[State, ...]
    processing: ProcessingJob | None
    trials: tuple[TrainingJob, ...]
    training: TrainingJob | None
    activity: Activity | None
    """The progress of the running processing or training job, or of the rules that are evaluated after it."""
    output: dict[str, Any]
    """The output of a successful execution."""
    error: str
    cause: str
    path: Mapping[str, bool]
    """State that takes time, nearest to the start first -> whether every successful path contains it."""
    input: Mapping[str, Any] = field(default_factory=dict)
    """The execution input; empty if it is not a JSON object."""

    @property
    def deployed(self) -> bool:
        """Whether its model was deployed; outputs of older executions lack this field and mean yes."""
        return self.status == "SUCCEEDED" and bool(self.output.get("deployed", True))

    @property
    def rejection_reasons(self) -> list[str] | None:
        """Why the model of a successful execution was not deployed, in sentences; None in all other cases."""
        return list(self.output.get("reasons", [])) if self.status == "SUCCEEDED" and not self.deployed else None

    @property
    def best(self) -> TrainingJob | None:
        """The tuning job's training job with the lowest objective so far."""
        finished = [trial for trial in self.trials if trial.objective is not None]
        return min(finished, key=lambda trial: trial.objective or 0.0, default=None)


def read_execution(target: Target, arn: str, before: Execution | None = None) -> Execution:
    """Read the execution; with `before`, an earlier reading, unchanging parts are not requested again."""
    functions, now = target.client("stepfunctions"), target.now()
    described = functions.describe_execution(executionArn=arn)
    events = _read_history(functions, arn)
    path = before.path if before else _find_path(functions, described)
    trials = [trial for job in _list_tuning_jobs(target, described["startDate"]) for trial in _list_trials(target, job, now)]
    run = build_run_name(target.project, arn, described["startDate"])
    states = _list_states(events, described, path, now)
    processing = (
        _find_processing_job(target, run, before)
        if any(state.name == PREPARING and state.status != "skipped" for state in states)
        else None
    )
    training = _find_final_job(target, run, now)
    return Execution(
        arn=arn,
        status=described["status"],
        started=described["startDate"].astimezone(UTC),
        seconds=_count_seconds(described["startDate"], described.get("stopDate", now)),
        states=tuple(states),
        processing=processing,
        trials=tuple(trials),
        training=training,
        activity=_read_activity(target, training, processing, states),
        output=json.loads(described["output"]) if described.get("output") else {},
        error=described.get("error", ""),
        cause=described.get("cause", ""),
        path=path,
        input=_read_input(described),
    )


def build_run_prefix(project: str, started: datetime) -> str:
    """Build the common prefix of an execution's job names: the project and the start time in UTC."""
    return f"{project}-{started.astimezone(UTC):%y%m%d%H%M%S}-"


def build_run_name(project: str, arn: str, started: datetime) -> str:
    """Build the execution's name in the bucket: `executions/<run>/`."""
    return f"{build_run_prefix(project, started)}{hashlib.sha256(arn.encode()).hexdigest()[:4]}"


def find_latest_execution(target: Target) -> str | None:
    """Return the ARN of the latest execution, None if there is none."""
    machine = target.outputs().state_machine
    executions = target.client("stepfunctions").list_executions(stateMachineArn=machine, maxResults=10)["executions"]
    return max(executions, key=lambda execution: execution["startDate"])["executionArn"] if executions else None


def require_latest_execution(target: Target) -> str:
    """Return the ARN of the latest execution; raises RefusedError if there is none."""
    arn = find_latest_execution(target)
    if arn is None:
        raise RefusedError(f"{target.project!r} has had no execution yet. Start one with `whippet run{target.option}`.")
    return arn


def read_log_lines(target: Target, job: ProcessingJob | TrainingJob, limit: int) -> list[str]:
    """Read the last lines of a job's log; none before its first line."""
    logs = target.client("logs")
    try:
        streams = logs.describe_log_streams(logGroupName=job.log_group, logStreamNamePrefix=f"{job.name}/")["logStreams"]
        if not streams:
            return []
        stream = streams[0]["logStreamName"]
        events = logs.get_log_events(logGroupName=job.log_group, logStreamName=stream, limit=limit, startFromHead=False)
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFoundException":
            return []
        raise
    return [event["message"] for event in events["events"]]


def read_activity(lines: Iterable[str]) -> Activity:
    """Read the latest epoch, metrics and progress from a job's log."""
    epoch, metrics, line = 0, {}, ""
    for text in lines:
        if match := METRIC.search(text):
            metrics[match[1]] = float(match[2])
        elif match := EPOCH.match(text):
            epoch = int(match[1])
        elif PROGRESS.match(text):
            line = text
    return Activity(epoch, metrics, line)


def find_failed_job(execution: Execution) -> ProcessingJob | TrainingJob | None:
    """Return the job that failed the execution, None if it was not a job."""
    jobs = (execution.training, *reversed(execution.trials), execution.processing)
    return next((job for job in jobs if job is not None and job.status == "Failed"), None)


def explain_failure(execution: Execution) -> str:
    """Return the cause as one sentence: SageMaker's causes are a job's full description as JSON, with the reason in one field."""
    try:
        described = json.loads(execution.cause)
    except ValueError:
        return execution.cause or execution.error
    if isinstance(described, dict):
        return str(described.get("ExitMessage") or described.get("FailureReason") or described.get("errorMessage") or execution.cause)
    return execution.cause


def _read_activity(
    target: Target, training: TrainingJob | None, processing: ProcessingJob | None, states: Iterable[State]
) -> Activity | None:
    """Read the progress inside a state: of a running job, or of rules that are evaluated after it."""
    running = next((job for job in (training, processing) if job is not None and job.status == "InProgress"), None)
    if running:
        return read_activity(read_log_lines(target, running, 120))
    if training and any(state.name in FOLLOWING and state.status == "running" for state in states):
        return Activity(0, {}, _describe_rules(target.client("sagemaker").describe_training_job(TrainingJobName=training.name)))
    return None


def _describe_rules(job: Mapping[str, Any]) -> str:
    """Describe how many rules of a training job were evaluated, and which were not."""
    statuses = [*job.get("DebugRuleEvaluationStatuses", []), *job.get("ProfilerRuleEvaluationStatuses", [])]
    left = [status["RuleConfigurationName"] for status in statuses if status["RuleEvaluationStatus"] in ("InProgress", "Stopping")]
    done = f"{len(statuses) - len(left)} of {len(statuses)} rules evaluated"
    return f"{done}; running: {', '.join(left[:3])}{' …' if len(left) > 3 else ''}" if left else done


def _read_history(functions: Any, arn: str) -> list[dict[str, Any]]:
    history = functions.get_paginator("get_execution_history")
    pages = history.paginate(executionArn=arn, includeExecutionData=False, PaginationConfig=EVENTS_PAGE)
    return [event for page in pages for event in page["events"]]


def _list_states(events: Iterable[Mapping[str, Any]], described: Mapping[str, Any], path: Mapping[str, bool], now: datetime) -> list[State]:
    """List the entered states in order, then the certain ones ahead; repeated visits add up."""
    status = described["status"]
    seconds: dict[str, float] = {}
    inside: dict[str, datetime] = {}
    for event in events:
        if (entered := event.get("stateEnteredEventDetails")) and entered["name"] in path:
            seconds.setdefault(entered["name"], 0.0)
            inside[entered["name"]] = event["timestamp"]
        elif (exited := event.get("stateExitedEventDetails")) and exited["name"] in inside:
            seconds[exited["name"]] += _count_seconds(inside.pop(exited["name"]), event["timestamp"])
    lost = _find_failed_state(list(seconds), described)
    running = {name: _count_seconds(begun, now) for name, begun in inside.items()} if status == "RUNNING" else {}
    states = [_make_state(name, spent, running.get(name), lost) for name, spent in seconds.items()]
    if PREPARING in path and PREPARING not in seconds and TUNING in seconds:
        states.insert(list(seconds).index(TUNING), State(PREPARING, "skipped", 0.0))
    ahead = [State(name, "waiting", 0.0) for name, certain in path.items() if certain and name not in seconds]
    return states + (ahead if status == "RUNNING" else [])


def _find_failed_state(entered: list[str], described: Mapping[str, Any]) -> str:
    """Return the state that failed: our causes start with its name; otherwise it is the last entered one."""
    if described["status"] in ("RUNNING", "SUCCEEDED") or not entered:
        return ""
    named = described.get("cause", "").partition(" ")[0]
    return named if named in entered else entered[-1]


def _make_state(name: str, spent: float, running: float | None, lost: str) -> State:
    if name == lost:
        return State(name, "failed", spent)
    if name == NOT_DEPLOYED:
        return State(name, "held", spent)
    if running is not None:
        return State(name, "running", spent + running)
    return State(name, "succeeded", spent)


def _find_path(functions: Any, described: Mapping[str, Any]) -> dict[str, bool]:
    """Find the `path` of an execution that follows its input without failures or rejections."""
    definition = json.loads(functions.describe_state_machine(stateMachineArn=described["stateMachineArn"])["definition"])
    states, start = definition["States"], definition["StartAt"]
    unexpected, choices = _list_unexpected(_read_input(described))
    likely = {**states, CHOOSING: {"Choices": [{"Next": way} for way in choices]}} if CHOOSING in states else states
    expected = _find_reachable(likely, start, unexpected)
    ends = {name for name in expected if states[name]["Type"] == "Succeed" or states[name].get("End")}
    certain = {name for name in expected if ends.isdisjoint(_find_reachable(likely, start, {*unexpected, name}))}
    every = dict.fromkeys([*expected, *_find_reachable(states, start, set())])
    shown = {name for name in every if (states[name]["Type"] in SHOWN or name == NOT_DEPLOYED) and name != FAILING}
    return {name: name in certain for name in every if name in shown}


def _list_unexpected(given: Mapping[str, Any]) -> tuple[set[str], list[str]]:
    """List the states outside the expected path for this input, and the expected branches of the deployment choice."""
    unexpected = {*UNEXPECTED, TRAINING if given.get("debugger") == "managed" else TRAINING_MANAGED}
    deployment = given.get("deployment")
    if isinstance(deployment, Mapping) and deployment.get("kind") == "none":
        return unexpected - {NOT_DEPLOYED}, [SUMMING_UP]
    return unexpected, [APPROVING if given.get("approval") == "manual" else DEPLOYING]


def _read_input(described: Mapping[str, Any]) -> dict[str, Any]:
    """Read the execution input; empty if it is not an object, which the first state reports."""
    value = json.loads(described.get("input") or "{}")
    return value if isinstance(value, dict) else {}


def _find_reachable(states: Mapping[str, Any], start: str, without: Collection[str]) -> list[str]:
    """List the states reachable without passing through `without`, nearest first."""
    found: dict[str, None] = {}
    waiting = deque([start])
    while waiting:
        name = waiting.popleft()
        if name not in found and name not in without:
            found[name] = None
            waiting.extend(_list_next(states[name]))
    return list(found)


def _list_next(state: Mapping[str, Any]) -> list[str]:
    ways = [state.get("Next"), state.get("Default")]
    ways += [rule["Next"] for rule in (*state.get("Choices", []), *state.get("Catch", []))]
    return [way for way in ways if way]


def _find_processing_job(target: Target, run: str, before: Execution | None) -> ProcessingJob | None:
    """Find the job that prepares the data set; the latest one after retries."""
    if before and before.processing and before.processing.status == "Completed":
        return before.processing
    name = f"{run}-prepare-"
    order = {"SortBy": "CreationTime", "SortOrder": "Descending"}
    jobs = target.client("sagemaker").list_processing_jobs(NameContains=name, **order, MaxResults=100)["ProcessingJobSummaries"]
    ours = (ProcessingJob(job["ProcessingJobName"], job["ProcessingJobStatus"]) for job in jobs)
    return next((job for job in ours if job.name.startswith(name)), None)


def _list_tuning_jobs(target: Target, started: datetime) -> list[str]:
    """List the names of the execution's tuning jobs; more than one after retries."""
    prefix = build_run_prefix(target.project, started)
    pages = target.client("sagemaker").get_paginator("list_hyper_parameter_tuning_jobs")
    summaries = pages.paginate(NameContains=prefix, SortBy="CreationTime", SortOrder="Ascending", PaginationConfig=JOBS_PAGE)
    names = [job["HyperParameterTuningJobName"] for page in summaries for job in page["HyperParameterTuningJobSummaries"]]
    return [name for name in names if name.startswith(prefix)]


def _list_trials(target: Target, tuning_job: str, now: datetime) -> list[TrainingJob]:
    pages = target.client("sagemaker").get_paginator("list_training_jobs_for_hyper_parameter_tuning_job")
    order = {"SortBy": "CreationTime", "SortOrder": "Ascending"}
    summaries = pages.paginate(HyperParameterTuningJobName=tuning_job, **order, PaginationConfig=JOBS_PAGE)
    return [_make_training_job(summary, now) for page in summaries for summary in page["TrainingJobSummaries"]]


def _find_final_job(target: Target, run: str, now: datetime) -> TrainingJob | None:
    """Find the training job that the state machine launched; the latest one after retries."""
    name = f"{run}-train-"
    order = {"SortBy": "CreationTime", "SortOrder": "Descending"}
    jobs = target.client("sagemaker").list_training_jobs(NameContains=name, **order, MaxResults=100)["TrainingJobSummaries"]
    return next((_make_training_job(job, now) for job in jobs if job["TrainingJobName"].startswith(name)), None)


def _make_training_job(summary: Mapping[str, Any], now: datetime) -> TrainingJob:
    tuned = summary.get("TunedHyperParameters", {})
    objective = summary.get("FinalHyperParameterTuningJobObjectiveMetric", {}).get("Value")
    started = summary.get("TrainingStartTime") or summary["CreationTime"]
    return TrainingJob(
        name=summary["TrainingJobName"],
        status=summary["TrainingJobStatus"],
        lr=float(tuned["lr"]) if "lr" in tuned else None,
        batch_size=int(tuned["batch_size"]) if "batch_size" in tuned else None,
        objective=float(objective) if objective is not None else None,
        seconds=_count_seconds(started, summary.get("TrainingEndTime", now)),
    )


def _count_seconds(start: datetime, end: datetime) -> float:
    return max(0.0, (end - start).total_seconds())
