"""An AWS account in memory, as far as executions reach it: jobs that take their time, models, one endpoint, a registry, a bucket.

Used by simulation.py. Everything is looked at by the clock: a job is InProgress until its end, an endpoint Updating until it is settled.
`call(action, request)` is SageMaker's API; simulated_clients.py gives it to the real Lambda functions as boto3 does. What will become of a
job or an endpoint is decided by the seed when it is made.
"""

import hashlib
import json
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from lambdas.aws.jobs import run_of
from tests.lambdas.fake_s3 import FakeS3
from tests.lambdas.reports import HASHES, evaluation, predictions

BUCKET, PROJECT = "whippet-data", "whippet"
EPOCH = datetime(2026, 11, 22, 16, tzinfo=UTC)
INITIAL_CONFIG, INITIAL_MODEL = "whippet-261101000000-0000-00000001", "whippet-261101000000-0000-00000002"
"""What somebody deployed before the simulation begins."""

CLASSES, PROMISED, PHOTO = ("daisy", "rose"), (0.75, 0.25), b"a daisy"
Request = dict[str, Any]


class Violation(AssertionError):  # noqa: N818 - it is what a simulation finds
    """Something is not as it must be."""


def require(holds: object, otherwise: str) -> None:
    if not holds:
        raise Violation(otherwise)


class Refused(Exception):  # noqa: N818 - as SageMaker says it
    """SageMaker's answer to a request that it does not do."""

    def __init__(self, message: str, code: str = "ValidationException") -> None:
        super().__init__(message)
        self.message, self.code = message, code


@dataclass
class Job:
    """A processing, tuning or training job."""

    kind: str
    name: str
    run: str
    request: Request
    start: float
    end: float
    outcome: str
    """Completed, Failed or Stopped."""
    reason: str = ""
    billed: float = 0.0
    """Seconds, if it runs to its end."""
    children: tuple["Job", ...] = ()
    """Of a tuning job."""
    best: bool = True
    """Whether a tuning job has one."""

    def status(self, now: float) -> str:
        return "InProgress" if now < self.end else self.outcome

    def billed_seconds(self, now: float) -> float:
        return max(0.0, min(self.billed, self.billed - (self.end - now)))

    def stop(self, now: float) -> None:
        """A job that is told to end does so within a minute; so do those that it launched."""
        if now < self.end:
            self.billed = max(0.0, self.billed - (self.end - now - 60)) if self.end > now + 60 else self.billed
            self.end, self.outcome = min(self.end, now + 60), "Stopped"
        for child in self.children:
            child.stop(now)


@dataclass
class Endpoint:
    """The project's endpoint; `pending` is what it becomes at `settled`."""

    config: str
    status: str
    settled: float = 0.0
    pending: str = ""
    succeeds: bool = True
    reason: str = ""
    scales: bool = False


KINDS = {
    "createProcessingJob": ("ProcessingJob", "processing-job"),
    "createHyperParameterTuningJob": ("HyperParameterTuningJob", "hyper-parameter-tuning-job"),
    "createTrainingJob": ("TrainingJob", "training-job"),
}


@dataclass
class Account:
    """The account at the moment `now`, seconds after EPOCH."""

    random: random.Random
    now: float = 0.0
    jobs: dict[str, Job] = field(default_factory=dict)
    models: dict[str, datetime] = field(default_factory=dict)
    configs: dict[str, Request] = field(default_factory=dict)
    endpoint: Endpoint | None = None
    packages: list[Request] = field(default_factory=list)
    s3: FakeS3 = field(default_factory=FakeS3)
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    reported: set[str] = field(default_factory=set)
    """Training jobs whose report lies in the bucket."""
    decisions: dict[str, tuple[float, str]] = field(default_factory=dict)
    """Model package -> when somebody will decide over it, and how."""
    served: list[str] = field(default_factory=list)
    """Endpoint configs in the order in which they came into service."""
    wrong_models: set[str] = field(default_factory=set)
    """Models that answer otherwise than their training job promised."""

    @property
    def time(self) -> datetime:
        return EPOCH + timedelta(seconds=self.now)

    def call(self, action: str, request: Request) -> Any:
        """What SageMaker answers, or Refused."""
        self.settle()
        if action in KINDS:
            return self.start_job(action, request)
        if action.startswith("stop"):
            return self.stop_job(next(iter(request.values())))
        return getattr(self, action)(request)

    # jobs

    def start_job(self, action: str, request: Request) -> Request:
        """Takes a name that was never used, and decides how the job will go."""
        kind, resource = KINDS[action]
        name = request[f"{kind}Name"]
        if name in self.jobs:
            raise Refused(f"{kind} {name} already exists", "ResourceInUse")
        if self.random.random() < 0.03:
            raise Refused("The account-level service limit is 0 Instances", "ResourceLimitExceeded")
        tags = {each["Key"]: each["Value"] for each in request["Tags"]}
        self.jobs[name] = self.planned_job(kind, name, tags["execution"], request)
        self.tags[arn(resource, name)] = tags
        return {f"{kind}Arn": arn(resource, name)}

    def planned_job(self, kind: str, name: str, run: str, request: Request) -> Job:
        """How long it takes, how it ends and why."""
        spec = request.get("TrainingJobDefinition", request)
        longest = spec["StoppingCondition"]["MaxRuntimeInSeconds"]
        seconds = min(longest, self.random.choice([200, 600, 1500, 6000]) * self.random.uniform(0.5, 2))
        chance = self.random.random()
        job = Job(kind, name, run, request, self.now, self.now + 60 + seconds, "Completed", billed=seconds)
        if chance < 0.06:
            job.outcome, job.reason = "Failed", "AlgorithmError: out of memory, exit code 1"
        elif chance < 0.11:
            job.outcome, job.reason, job.billed, job.end = "Failed", CAPACITY, 0.0, self.now + 300
        elif chance < 0.13:
            job.outcome = "Stopped"
        elif chance < 0.15:
            job.end, job.billed = self.now + 9 * 24 * 3600, float(longest)
        if kind == "HyperParameterTuningJob":
            self.add_children(job, longest)
        return job

    def add_children(self, job: Job, longest: float) -> None:
        """The training jobs of a tuning job, which share its fate; half of them may fail, and all may print no objective."""
        count = job.request["HyperParameterTuningJobConfig"]["ResourceLimits"]["MaxNumberOfTrainingJobs"]
        spec = {**job.request["TrainingJobDefinition"], "Tags": job.request["Tags"]}
        seconds = min(longest, job.billed)
        names = [f"{job.name}-{number:03}" for number in range(1, count + 1)]
        same = (job.run, spec, job.start, job.end, job.outcome, job.reason, seconds)
        job.children = tuple(Job("TrainingJob", name, *same) for name in names)
        job.best = job.outcome == "Completed" and self.random.random() > 0.04
        if job.best and count > 1 and self.random.random() < 0.15:
            job.children[0].outcome, job.children[0].reason = "Failed", "AlgorithmError: out of memory"

    def stop_job(self, name: str) -> Request:
        job = self.found_job(name)
        if job.status(self.now) != "InProgress":
            raise Refused(f"The request was rejected because the job is in status {job.status(self.now)}.")
        job.stop(self.now)
        return {}

    def found_job(self, name: str) -> Job:
        every = {**self.jobs, **{each.name: each for job in self.jobs.values() for each in job.children}}
        if name not in every:
            raise Refused(f"Requested resource not found: {name}", "ResourceNotFound")
        return every[name]

    def describe_job(self, name: str) -> Request:
        """As Describe… has it; a training job that completed has left its report."""
        job = self.found_job(name)
        status = job.status(self.now)
        described = {
            f"{job.kind}Name": name,
            f"{job.kind}Status": status,
            "SecondaryStatus": status,
            **({"FailureReason": job.reason} if job.reason and status == "Failed" else {}),
            "ResourceConfig": job.request.get("ResourceConfig", {}),
            "ProcessingResources": job.request.get("ProcessingResources", {}),
            "BillableTimeInSeconds": round(job.billed_seconds(self.now)),
        }
        if job.kind == "ProcessingJob" and job.billed:
            end = EPOCH + timedelta(seconds=min(job.end, self.now))
            described |= {"ProcessingStartTime": end - timedelta(seconds=job.billed_seconds(self.now)), "ProcessingEndTime": end}
        if job.kind == "TrainingJob" and status == "Completed":
            self.leave_report(job)
            described["ModelArtifacts"] = {"S3ModelArtifacts": f"{job.request['OutputDataConfig']['S3OutputPath']}/{name}/model.tar.gz"}
        if job.request.get("DebugRuleConfigurations"):
            verdict = "InProgress" if self.now < job.end + 600 else "NoIssuesFound"
            rule = {"RuleConfigurationName": "ExplodingTensor", "RuleEvaluationStatus": verdict}
            described["DebugRuleEvaluationStatuses"] = [rule]
        if job.kind == "HyperParameterTuningJob":
            described |= tuned(job, status)
        return described

    describeTrainingJob = lambda self, request: self.describe_job(request["TrainingJobName"])  # noqa: E731, N815

    def leave_report(self, job: Job) -> None:
        """What the final training job uploads, as AssessModel and VerifyEndpoint read it."""
        if job.name in self.reported or "-train-" not in job.name:
            return
        self.reported.add(job.name)
        folder = f"{job.request['OutputDataConfig']['S3OutputPath']}/{job.name}/report".removeprefix(f"s3://{BUCKET}/")
        blocked = self.random.random() < 0.1
        statuses = [{"RuleConfigurationName": "ExplodingTensor", "RuleEvaluationStatus": "IssuesFound" if blocked else "NoIssuesFound"}]
        check = [{"file": "check/0.jpg", "sha256": hashlib.sha256(PHOTO).hexdigest(), "probabilities": PROMISED}]
        documents: dict[str, Any] = {
            "evaluation": evaluation(),
            "model": {"hashes": HASHES},
            "test_predictions": predictions([0, 1, 2], [0, 1, 2]),
            "rule_statuses": [{**each, "StatusDetails": "infinite"} for each in statuses],
            "profiler_rule_statuses": [],
            "check": check,
            "data": {"classes": CLASSES},
        }
        self.s3.objects |= {f"{folder}/{name}.json": json.dumps(document).encode() for name, document in documents.items()}
        self.s3.objects[f"{folder}/check/0.jpg"] = PHOTO

    def listTrainingJobsForHyperParameterTuningJob(self, request: Request) -> Request:  # noqa: N802 - the action's name
        children = self.found_job(request["HyperParameterTuningJobName"]).children
        wanted = request.get("StatusEquals")
        found = [each for each in children if wanted in (None, each.status(self.now))][: request.get("MaxResults", 100)]
        told = [{"TrainingJobName": each.name, **({"FailureReason": each.reason} if each.reason else {})} for each in found]
        return {"TrainingJobSummaries": told}

    # models

    def createModel(self, request: Request) -> Request:  # noqa: N802
        name = request["ModelName"]
        if name in self.models:
            raise Refused(f"Cannot create already existing model {name}")
        self.models[name] = self.time
        if self.random.random() < 0.08:
            self.wrong_models.add(name)
        return {"ModelArn": arn("model", name)}

    def createEndpointConfig(self, request: Request) -> Request:  # noqa: N802
        name = request["EndpointConfigName"]
        if name in self.configs:
            raise Refused(f"Cannot create already existing endpoint configuration {name}")
        if request["ProductionVariants"][0]["ModelName"] not in self.models:
            raise Refused("Could not find model")
        self.configs[name] = {**request, "CreationTime": self.time, "EndpointConfigArn": arn("endpoint-config", name)}
        return {"EndpointConfigArn": arn("endpoint-config", name)}

    def describeEndpointConfig(self, request: Request) -> Request:  # noqa: N802
        return self.found_config(request["EndpointConfigName"])

    def found_config(self, name: str) -> Request:
        if name not in self.configs:
            raise Refused(f'Could not find endpoint configuration "{arn("endpoint-config", name)}".')
        return self.configs[name]

    def deleteModel(self, request: Request) -> Request:  # noqa: N802
        if self.models.pop(request["ModelName"], None) is None:
            raise Refused("Could not find model")
        return {}

    def deleteEndpointConfig(self, request: Request) -> Request:  # noqa: N802
        self.found_config(request["EndpointConfigName"])
        del self.configs[request["EndpointConfigName"]]
        return {}

    # endpoint

    def settle(self) -> None:
        """What became of the endpoint's last change, once its time is over. A new model must still be there."""
        endpoint = self.endpoint
        if endpoint is None or not endpoint.settled or self.now < endpoint.settled:
            return
        endpoint.settled = 0.0
        if endpoint.status == "Deleting":
            self.endpoint = None
        elif endpoint.succeeds and self.is_whole(endpoint.pending):
            endpoint.config, endpoint.status, endpoint.reason = endpoint.pending, "InService", ""
            self.come_into_service(endpoint)
        elif endpoint.status == "Creating":
            endpoint.status, endpoint.reason = "Failed", "The primary container did not pass the ping health check."
        else:
            endpoint.status, endpoint.reason = "InService", "One or more alarms were in ALARM during the deployment."
        endpoint.pending = ""

    def is_whole(self, config: str) -> bool:
        return config in self.configs and self.configs[config]["ProductionVariants"][0]["ModelName"] in self.models

    def come_into_service(self, endpoint: Endpoint) -> None:
        """ScaleEndpoint hears of it, and registers the variant where its config's tag says more than its count."""
        self.served.append(endpoint.config)
        config = self.configs[endpoint.config]
        most = next((int(each["Value"]) for each in config["Tags"] if each["Key"] == "max_instance_count"), 0)
        endpoint.scales = most > config["ProductionVariants"][0].get("InitialInstanceCount", most)

    def createEndpoint(self, request: Request) -> Request:  # noqa: N802
        if self.endpoint is not None:
            raise Refused(f'Cannot create already existing endpoint "{arn("endpoint", PROJECT)}".')
        self.found_config(request["EndpointConfigName"])
        self.endpoint = Endpoint(request["EndpointConfigName"], "Creating")
        return self.move(request["EndpointConfigName"], fails=0.1)

    def updateEndpoint(self, request: Request) -> Request:  # noqa: N802
        endpoint, config = self.found_endpoint(), self.found_config(request["EndpointConfigName"])
        if endpoint.status not in ("InService", "OutOfService"):
            raise Refused(f'Cannot update in-progress endpoint "{arn("endpoint", PROJECT)}", which is {endpoint.status}.')
        if endpoint.config == request["EndpointConfigName"]:
            raise Refused("Cannot update an endpoint to the endpoint configuration that it has")
        if endpoint.scales and machine(config) != machine(self.configs.get(endpoint.config, config)):
            raise Refused('The variant(s) "["AllTraffic"]" must be deregistered as scalable targets with AWS Auto Scaling before.')
        endpoint.status = "Updating"
        return self.move(request["EndpointConfigName"], fails=0.1)

    def move(self, config: str, fails: float) -> Request:
        assert self.endpoint
        seconds = self.random.choice([100, 300, 900, 2400]) * self.random.uniform(0.5, 2)
        stuck = self.random.random() < 0.02
        self.endpoint.settled = self.now + (4 * 3600 if stuck else seconds)
        self.endpoint.pending, self.endpoint.succeeds = config, not stuck and self.random.random() >= fails
        return {"EndpointArn": arn("endpoint", PROJECT)}

    def deleteEndpoint(self, _request: Request) -> Request:  # noqa: N802
        endpoint = self.found_endpoint()
        if endpoint.status in ("Creating", "Updating", "Deleting"):
            raise Refused(f'Cannot update in-progress endpoint "{arn("endpoint", PROJECT)}", which is {endpoint.status}.')
        endpoint.status, endpoint.settled, endpoint.scales = "Deleting", self.now + self.random.uniform(5, 120), False
        return {}

    def describeEndpoint(self, _request: Request) -> Request:  # noqa: N802
        endpoint = self.found_endpoint()
        pending = {"PendingDeploymentSummary": {"EndpointConfigName": endpoint.pending}} if endpoint.status == "Updating" else {}
        variant = self.configs.get(endpoint.config, {"ProductionVariants": [{}]})["ProductionVariants"][0]
        count = {"DesiredInstanceCount": variant["InitialInstanceCount"]} if "InitialInstanceCount" in variant else {}
        serverless = {"CurrentServerlessConfig": variant["ServerlessConfig"]} if "ServerlessConfig" in variant else {}
        return {
            "EndpointArn": arn("endpoint", PROJECT),
            "EndpointName": PROJECT,
            "EndpointConfigName": endpoint.config,
            "EndpointStatus": endpoint.status,
            "LastModifiedTime": self.time,
            "ProductionVariants": [{"VariantName": "AllTraffic", **count, **serverless}],
            **pending,
            **({"FailureReason": endpoint.reason} if endpoint.reason else {}),
        }

    def found_endpoint(self) -> Endpoint:
        if self.endpoint is None:
            raise Refused(f'Could not find endpoint "{arn("endpoint", PROJECT)}".')
        return self.endpoint

    def deregisterScalableTarget(self, _request: Request) -> Request:  # noqa: N802
        if self.endpoint is None or not self.endpoint.scales:
            raise Refused("No scalable target found", "ObjectNotFoundException")
        self.endpoint.scales = False
        return {}

    # model packages

    def createModelPackage(self, request: Request) -> Request:  # noqa: N802
        for each in self.packages:
            if each["ClientToken"] == request["ClientToken"]:
                return {"ModelPackageArn": each["ModelPackageArn"]}
        made = {"ModelPackageArn": f"{arn('model-package', PROJECT)}/{len(self.packages) + 1}", "CreationTime": self.time}
        self.packages.append({**request, **made, "CustomerMetadataProperties": dict(request["CustomerMetadataProperties"])})
        return {"ModelPackageArn": made["ModelPackageArn"]}

    def describeModelPackage(self, request: Request) -> Request:  # noqa: N802
        package = next(each for each in self.packages if each["ModelPackageArn"] == request["ModelPackageName"])
        decided = self.decisions.get(package["ModelPackageArn"])
        if decided and self.now >= decided[0] and package["ModelApprovalStatus"] == "PendingManualApproval":
            package["ModelApprovalStatus"] = decided[1]
        return package

    def updateModelPackage(self, request: Request) -> Request:  # noqa: N802
        package = next(each for each in self.packages if each["ModelPackageArn"] == request["ModelPackageArn"])
        package["ModelApprovalStatus"] = request["ModelApprovalStatus"]
        package["CustomerMetadataProperties"] |= request["CustomerMetadataProperties"]
        return {"ModelPackageArn": package["ModelPackageArn"]}

    @property
    def recorded(self) -> set[str]:
        """Endpoint configs that the registry knows to have been verified."""
        return {each["CustomerMetadataProperties"].get("endpoint_config", "") for each in self.packages} - {""}

    def invoke(self, photo: bytes) -> Request:
        """InvokeEndpoint: the model answers as promised, or as another would."""
        self.settle()
        endpoint = self.found_endpoint()
        model = self.found_config(endpoint.config)["ProductionVariants"][0]["ModelName"]
        assert photo == PHOTO
        probabilities = PROMISED[::-1] if model in self.wrong_models else PROMISED
        told = [{"class": name, "probability": value} for name, value in zip(CLASSES, probabilities, strict=True)]
        return {"model": model, "predictions": sorted(told, key=lambda each: -float(each["probability"]))}


CAPACITY = "CapacityError: Unable to provision requested ML compute capacity. Please retry using a different ML instance type."


def tuned(job: Job, status: str) -> Request:
    """What DescribeHyperParameterTuningJob says of its training jobs."""
    failed = sum(1 for each in job.children if each.outcome == "Failed")
    counts = {"Completed": len(job.children) - failed, "NonRetryableError": failed, "RetryableError": 0}
    if status != "Completed" or not job.best:
        return {"TrainingJobStatusCounters": counts}
    best = {
        "TrainingJobName": job.children[-1].name,
        "TunedHyperParameters": {"lr": "0.01", "batch_size": "64"},
        "FinalHyperParameterTuningJobObjectiveMetric": {"MetricName": "objective:valid_loss", "Value": 0.5},
    }
    return {"TrainingJobStatusCounters": counts, "BestTrainingJob": best}


def machine(config: Request) -> str:
    return str(config["ProductionVariants"][0].get("InstanceType", "serverless"))


def arn(kind: str, name: str) -> str:
    return f"arn:aws:sagemaker:us-east-1:000000000000:{kind}/{name}"


def with_a_model_before(account: Account, status: str) -> Account:
    """Somebody deployed a model some weeks ago, and it answers, or has failed since."""
    account.models[INITIAL_MODEL] = EPOCH - timedelta(days=21)
    variant = {"VariantName": "AllTraffic", "ModelName": INITIAL_MODEL, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    account.configs[INITIAL_CONFIG] = {
        "EndpointConfigName": INITIAL_CONFIG,
        "EndpointConfigArn": arn("endpoint-config", INITIAL_CONFIG),
        "ProductionVariants": [variant],
        "Tags": [{"Key": "max_instance_count", "Value": "2"}],
        "CreationTime": EPOCH - timedelta(days=21),
    }
    account.endpoint = Endpoint(INITIAL_CONFIG, status, scales=status == "InService")
    account.packages.append(
        {
            "ModelPackageArn": f"{arn('model-package', PROJECT)}/1",
            "ClientToken": "before",
            "ModelApprovalStatus": "Approved",
            "CreationTime": EPOCH - timedelta(days=21),
            "CustomerMetadataProperties": {"endpoint_config": INITIAL_CONFIG, "model": INITIAL_MODEL, "run": run_of(INITIAL_MODEL)},
        }
    )
    return account
