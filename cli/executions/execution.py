"""What an execution has done so far, read through boto3 alone: its states, its processing, tuning and training jobs, what they logged.

Used by `whippet watch`, `whippet status` and the demo. Reads only; every function may be called again at any time, also after the end.
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
"""States with jobs of their own; the first is skipped where an earlier execution prepared the same data set."""
TRAINING, TRAINING_MANAGED = "TrainModel", "TrainModelManaged"
"""The state of the final training job, without and with AWS's Debugger beside it: an execution enters one of them."""
FOLLOWING = ("WaitForTraining", "WaitForLongTraining", "DescribeTraining", "WaitForRules")
"""States that follow a job with AWS's Debugger: first it trains, then rules may still be evaluated."""
FAILING = "ExecutionFailed"
"""The task by which an execution fails; the state that it fails for is shown as failed, and this one would look like a success."""
NOT_DEPLOYED = "NotDeployed"
"""The good end of an execution whose model a rule keeps back."""
UNEXPECTED = (NOT_DEPLOYED, "CleanUp", "StartJobAgain", "NotApproved", "DeploymentNotAsked")
"""States that lead around others, or nowhere: a failure and what is tried again, and a model that is not deployed."""
CHOOSING, DEPLOYING, APPROVING, SUMMING_UP = "ChooseDeployment", "CreateModel", "AskForApproval", "SumUp"
"""The choice whether a model is deployed, and where it leads: at once, after a person decided, or never."""
SHOWN = ("Task", "Wait", "Map", "Parallel")
"""Kinds of states that take time; choices and passes are left out of the display."""

METRIC = re.compile(r"\[metric\] (\S+)=([-+0-9.eE]+)")
EPOCH = re.compile(r"^epoch (\d+)\b")
PROGRESS = re.compile(r"^\d+ of \d+ files read\b.*")

JOBS_PAGE, EVENTS_PAGE = {"PageSize": 100}, {"PageSize": 1000}
"""As many as one answer of SageMaker and of Step Functions may hold, so that a look at a large execution takes few calls."""


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
    """What a processing or training job says of itself now."""

    epoch: int
    metrics: dict[str, float]
    line: str
    """How many photos are read, or how many rules have judged."""


@dataclass(frozen=True)
class Execution:
    """An execution at one moment."""

    arn: str
    status: str
    """RUNNING, SUCCEEDED, FAILED, TIMED_OUT or ABORTED"""
    started: datetime
    seconds: float
    """From the start to the end; of an execution that runs, to the moment at which it was read."""
    states: tuple[State, ...]
    processing: ProcessingJob | None
    trials: tuple[TrainingJob, ...]
    training: TrainingJob | None
    activity: Activity | None
    """Of the processing job or the final training job, whichever is running, or of the rules that are still evaluated after it."""
    output: dict[str, Any]
    """What the execution answered, once it succeeded."""
    error: str
    cause: str
    path: Mapping[str, bool]
    """The states that take time, nearest to the start first -> whether no way to a good end goes around it."""
    input: Mapping[str, Any] = field(default_factory=dict)
    """What the execution was started with; empty where that is no JSON object."""

    @property
    def deployed(self) -> bool:
        """Whether its model answers at the endpoint now; no execution that succeeded before there were reasons against it says so."""
        return self.status == "SUCCEEDED" and bool(self.output.get("deployed", True))

    @property
    def kept_back(self) -> list[str] | None:
        """Why its model was not deployed although it succeeded, in sentences; None where there is no such case."""
        return list(self.output.get("reasons", [])) if self.status == "SUCCEEDED" and not self.deployed else None

    @property
    def best(self) -> TrainingJob | None:
        """The tuning job's training job with the lowest objective so far."""
        judged = [trial for trial in self.trials if trial.objective is not None]
        return min(judged, key=lambda trial: trial.objective or 0.0, default=None)


def read_execution(target: Target, arn: str, before: Execution | None = None) -> Execution:
    """The execution now; with an earlier moment of it, what cannot have changed since is not asked for again."""
    functions, now = target.client("stepfunctions"), target.now()
    described = functions.describe_execution(executionArn=arn)
    events = _history(functions, arn)
    path = before.path if before else _certainty(functions, described)
    trials = [trial for job in _tuning_jobs(target, described["startDate"]) for trial in _trials(target, job, now)]
    run = run_name(target.project, arn, described["startDate"])
    states = _states(events, described, path, now)
    processing = (
        _processing(target, run, before) if any(state.name == PREPARING and state.status != "skipped" for state in states) else None
    )
    training = _final(target, run, now)
    return Execution(
        arn=arn,
        status=described["status"],
        started=described["startDate"].astimezone(UTC),
        seconds=_seconds(described["startDate"], described.get("stopDate", now)),
        states=tuple(states),
        processing=processing,
        trials=tuple(trials),
        training=training,
        activity=_activity(target, training, processing, states),
        output=json.loads(described["output"]) if described.get("output") else {},
        error=described.get("error", ""),
        cause=described.get("cause", ""),
        path=path,
        input=_input(described),
    )


def run_prefix(project: str, started: datetime) -> str:
    """What the names of all jobs of an execution begin with: the project and the start, in UTC."""
    return f"{project}-{started.astimezone(UTC):%y%m%d%H%M%S}-"


def run_name(project: str, arn: str, started: datetime) -> str:
    """The execution's own name in the bucket: `executions/<run>/`."""
    return f"{run_prefix(project, started)}{hashlib.sha256(arn.encode()).hexdigest()[:4]}"


def latest_execution(target: Target) -> str | None:
    """The execution that started last, by its ARN."""
    machine = target.outputs().state_machine
    executions = target.client("stepfunctions").list_executions(stateMachineArn=machine, maxResults=10)["executions"]
    return max(executions, key=lambda execution: execution["startDate"])["executionArn"] if executions else None


def the_latest(target: Target) -> str:
    """The same, where there must be one."""
    arn = latest_execution(target)
    if arn is None:
        raise RefusedError(f"{target.project!r} has had no execution yet. Start one with `whippet run{target.option}`.")
    return arn


def log_lines(target: Target, job: ProcessingJob | TrainingJob, limit: int) -> list[str]:
    """The last lines that a job logged; none before it began to log."""
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
    """The latest epoch, metrics and progress in a job's log."""
    epoch, metrics, line = 0, {}, ""
    for text in lines:
        if match := METRIC.search(text):
            metrics[match[1]] = float(match[2])
        elif match := EPOCH.match(text):
            epoch = int(match[1])
        elif PROGRESS.match(text):
            line = text
    return Activity(epoch, metrics, line)


def failed_job(execution: Execution) -> ProcessingJob | TrainingJob | None:
    """The job whose log tells why the execution failed."""
    jobs = (execution.training, *reversed(execution.trials), execution.processing)
    return next((job for job in jobs if job is not None and job.status == "Failed"), None)


def reason(execution: Execution) -> str:
    """The cause in one sentence: SageMaker's causes are the whole description of a job as JSON, of which only the reason matters."""
    try:
        described = json.loads(execution.cause)
    except ValueError:
        return execution.cause or execution.error
    if isinstance(described, dict):
        return str(described.get("ExitMessage") or described.get("FailureReason") or described.get("errorMessage") or execution.cause)
    return execution.cause


def _activity(target: Target, training: TrainingJob | None, processing: ProcessingJob | None, states: Iterable[State]) -> Activity | None:
    """What is going on inside a state: a job that logs, or rules that go on after it."""
    running = next((job for job in (training, processing) if job is not None and job.status == "InProgress"), None)
    if running:
        return read_activity(log_lines(target, running, 120))
    if training and any(state.name in FOLLOWING and state.status == "running" for state in states):
        return Activity(0, {}, _judged(target.client("sagemaker").describe_training_job(TrainingJobName=training.name)))
    return None


def _judged(job: Mapping[str, Any]) -> str:
    """How many rules of a training job have judged, and which have not."""
    statuses = [*job.get("DebugRuleEvaluationStatuses", []), *job.get("ProfilerRuleEvaluationStatuses", [])]
    left = [status["RuleConfigurationName"] for status in statuses if status["RuleEvaluationStatus"] in ("InProgress", "Stopping")]
    said = f"{len(statuses) - len(left)} of {len(statuses)} rules have judged"
    return f"{said}; still at work: {', '.join(left[:3])}{' …' if len(left) > 3 else ''}" if left else said


def _history(functions: Any, arn: str) -> list[dict[str, Any]]:
    history = functions.get_paginator("get_execution_history")
    pages = history.paginate(executionArn=arn, includeExecutionData=False, PaginationConfig=EVENTS_PAGE)
    return [event for page in pages for event in page["events"]]


def _states(events: Iterable[Mapping[str, Any]], described: Mapping[str, Any], path: Mapping[str, bool], now: datetime) -> list[State]:
    """The states entered, in order, then those that the execution cannot avoid; repeated visits add up."""
    status = described["status"]
    seconds: dict[str, float] = {}
    inside: dict[str, datetime] = {}
    for event in events:
        if (entered := event.get("stateEnteredEventDetails")) and entered["name"] in path:
            seconds.setdefault(entered["name"], 0.0)
            inside[entered["name"]] = event["timestamp"]
        elif (exited := event.get("stateExitedEventDetails")) and exited["name"] in inside:
            seconds[exited["name"]] += _seconds(inside.pop(exited["name"]), event["timestamp"])
    lost = _lost(list(seconds), described)
    running = {name: _seconds(begun, now) for name, begun in inside.items()} if status == "RUNNING" else {}
    states = [_state(name, spent, running.get(name), lost) for name, spent in seconds.items()]
    if PREPARING in path and PREPARING not in seconds and TUNING in seconds:
        states.insert(list(seconds).index(TUNING), State(PREPARING, "skipped", 0.0))
    ahead = [State(name, "waiting", 0.0) for name, certain in path.items() if certain and name not in seconds]
    return states + (ahead if status == "RUNNING" else [])


def _lost(entered: list[str], described: Mapping[str, Any]) -> str:
    """The state that failed: our causes begin with its name; else it is the one that was entered last."""
    if described["status"] in ("RUNNING", "SUCCEEDED") or not entered:
        return ""
    named = described.get("cause", "").partition(" ")[0]
    return named if named in entered else entered[-1]


def _state(name: str, spent: float, running: float | None, lost: str) -> State:
    if name == lost:
        return State(name, "failed", spent)
    if name == NOT_DEPLOYED:
        return State(name, "held", spent)
    if running is not None:
        return State(name, "running", spent + running)
    return State(name, "succeeded", spent)


def _certainty(functions: Any, described: Mapping[str, Any]) -> dict[str, bool]:
    """The `path` of an execution: that nothing fails or keeps the model back is expected, and that it goes on as its input says."""
    definition = json.loads(functions.describe_state_machine(stateMachineArn=described["stateMachineArn"])["definition"])
    states, start = definition["States"], definition["StartAt"]
    unexpected, choices = _not_expected(_input(described))
    likely = {**states, CHOOSING: {"Choices": [{"Next": way} for way in choices]}} if CHOOSING in states else states
    expected = _reachable(likely, start, unexpected)
    ends = {name for name in expected if states[name]["Type"] == "Succeed" or states[name].get("End")}
    certain = {name for name in expected if ends.isdisjoint(_reachable(likely, start, {*unexpected, name}))}
    every = dict.fromkeys([*expected, *_reachable(states, start, set())])
    shown = {name for name in every if (states[name]["Type"] in SHOWN or name == NOT_DEPLOYED) and name != FAILING}
    return {name: name in certain for name in every if name in shown}


def _not_expected(given: Mapping[str, Any]) -> tuple[set[str], list[str]]:
    """The states that an execution of this input is not expected to come to, and where its choice of a deployment leads."""
    unexpected = {*UNEXPECTED, TRAINING if given.get("debugger") == "managed" else TRAINING_MANAGED}
    deployment = given.get("deployment")
    if isinstance(deployment, Mapping) and deployment.get("kind") == "none":
        return unexpected - {NOT_DEPLOYED}, [SUMMING_UP]
    return unexpected, [APPROVING if given.get("approval") == "manual" else DEPLOYING]


def _input(described: Mapping[str, Any]) -> dict[str, Any]:
    """The execution's input; one that is no object is told by the first state, and is as good as none here."""
    value = json.loads(described.get("input") or "{}")
    return value if isinstance(value, dict) else {}


def _reachable(states: Mapping[str, Any], start: str, without: Collection[str]) -> list[str]:
    """The states that can be come to without going through some of them, nearest first."""
    found: dict[str, None] = {}
    waiting = deque([start])
    while waiting:
        name = waiting.popleft()
        if name not in found and name not in without:
            found[name] = None
            waiting.extend(_ways(states[name]))
    return list(found)


def _ways(state: Mapping[str, Any]) -> list[str]:
    ways = [state.get("Next"), state.get("Default")]
    ways += [rule["Next"] for rule in (*state.get("Choices", []), *state.get("Catch", []))]
    return [way for way in ways if way]


def _processing(target: Target, run: str, before: Execution | None) -> ProcessingJob | None:
    """The job that prepares the data set; the last one where the state was tried again."""
    if before and before.processing and before.processing.status == "Completed":
        return before.processing
    name = f"{run}-prepare-"
    order = {"SortBy": "CreationTime", "SortOrder": "Descending"}
    jobs = target.client("sagemaker").list_processing_jobs(NameContains=name, **order, MaxResults=100)["ProcessingJobSummaries"]
    ours = (ProcessingJob(job["ProcessingJobName"], job["ProcessingJobStatus"]) for job in jobs)
    return next((job for job in ours if job.name.startswith(name)), None)


def _tuning_jobs(target: Target, started: datetime) -> list[str]:
    """The names of the execution's tuning jobs, more than one where the state was tried again."""
    prefix = run_prefix(target.project, started)
    pages = target.client("sagemaker").get_paginator("list_hyper_parameter_tuning_jobs")
    summaries = pages.paginate(NameContains=prefix, SortBy="CreationTime", SortOrder="Ascending", PaginationConfig=JOBS_PAGE)
    names = [job["HyperParameterTuningJobName"] for page in summaries for job in page["HyperParameterTuningJobSummaries"]]
    return [name for name in names if name.startswith(prefix)]


def _trials(target: Target, tuning_job: str, now: datetime) -> list[TrainingJob]:
    pages = target.client("sagemaker").get_paginator("list_training_jobs_for_hyper_parameter_tuning_job")
    order = {"SortBy": "CreationTime", "SortOrder": "Ascending"}
    summaries = pages.paginate(HyperParameterTuningJobName=tuning_job, **order, PaginationConfig=JOBS_PAGE)
    return [_training_job(summary, now) for page in summaries for summary in page["TrainingJobSummaries"]]


def _final(target: Target, run: str, now: datetime) -> TrainingJob | None:
    """The training job that the state machine itself launched; the last one where the state was tried again."""
    name = f"{run}-train-"
    order = {"SortBy": "CreationTime", "SortOrder": "Descending"}
    jobs = target.client("sagemaker").list_training_jobs(NameContains=name, **order, MaxResults=100)["TrainingJobSummaries"]
    return next((_training_job(job, now) for job in jobs if job["TrainingJobName"].startswith(name)), None)


def _training_job(summary: Mapping[str, Any], now: datetime) -> TrainingJob:
    tuned = summary.get("TunedHyperParameters", {})
    objective = summary.get("FinalHyperParameterTuningJobObjectiveMetric", {}).get("Value")
    started = summary.get("TrainingStartTime") or summary["CreationTime"]
    return TrainingJob(
        name=summary["TrainingJobName"],
        status=summary["TrainingJobStatus"],
        lr=float(tuned["lr"]) if "lr" in tuned else None,
        batch_size=int(tuned["batch_size"]) if "batch_size" in tuned else None,
        objective=float(objective) if objective is not None else None,
        seconds=_seconds(started, summary.get("TrainingEndTime", now)),
    )


def _seconds(start: datetime, end: datetime) -> float:
    return max(0.0, (end - start).total_seconds())
