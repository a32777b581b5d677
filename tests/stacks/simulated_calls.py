"""The calls of one execution in a simulation, to the account of simulated_account.py and to the real Lambda functions, with faults.

Used by simulation.py. A call may go wrong before it is carried out, or after, when its answer is lost or comes too late.
"""

import json
from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from lambdas.assess_model import assess
from lambdas.aws.jobs import run_of
from lambdas.clean_up import clean_up
from lambdas.planning.photos import Photos
from lambdas.planning.plan import Prepared, plan
from lambdas.planning.prices import Prices
from lambdas.prune_models import prune
from lambdas.publish_report import publish
from lambdas.request.execution_input import ExecutionInput
from lambdas.verify_endpoint import Verification
from tests.stacks.execution import FUNCTIONS, SUBSTITUTED, Execution, TaskError
from tests.stacks.fake_sagemaker import PREPARED, SETTINGS
from tests.stacks.simulated_account import BUCKET, PROJECT, Account, Refused, Request, require
from tests.stacks.simulated_clients import Boto

STATES = {SUBSTITUTED[f"{state}Arn"]: state for state in FUNCTIONS}
PRICES = Prices("us-east-1")
PHOTOS = Photos("s3://whippet-data/data/", {}, 0, files=2000, bytes=10**9)

WRONG = ("throttled", "throttled", "throttled", "failed", "failed", "lost", "lost", "lost", "late", "slow", "denied", "invalid")
"""Ways in which a call goes wrong; the more often, the more likely."""
MADE = ("ProcessingJobName", "HyperParameterTuningJobName", "TrainingJobName", "EndpointConfigName")
"""Members of requests that name what is made."""
BEFORE = ("throttled", "failed", "denied", "invalid")
"""Those in which nothing was done. `slow` too: no answer comes, for nothing was begun."""

NAMES = {
    "lambda": {
        "throttled": "Lambda.TooManyRequestsException",
        "failed": "Lambda.ServiceException",
        "lost": "Lambda.SdkClientException",
        "denied": "Lambda.AccessDeniedException",
        "invalid": "Lambda.Unknown",
    },
    "optimised": {
        "throttled": "SageMaker.AmazonSageMakerException",
        "failed": "SageMaker.InternalServerException",
        "lost": "SageMaker.SdkClientException",
        "denied": "SageMaker.AmazonSageMakerException",
        "invalid": "SageMaker.AmazonSageMakerException",
    },
    "sdk": {
        "throttled": "SageMaker.SageMakerException",
        "failed": "SageMaker.ServiceUnavailableException",
        "lost": "SageMaker.SdkClientException",
        "denied": "SageMaker.SageMakerException",
        "invalid": "SageMaker.SageMakerException",
    },
    "sns": {"throttled": "SNS.ThrottledException", "lost": "SNS.SdkClientException"},
    "sfn": {"lost": "Sfn.SdkClientException"},
    "scaling": {"throttled": "ApplicationAutoScaling.ThrottlingException", "lost": "ApplicationAutoScaling.SdkClientException"},
}
OTHERWISE = {
    "lambda": "ClientError",
    "sns": "SNS.SnsException",
    "sfn": "Sfn.SfnException",
    "scaling": "ApplicationAutoScaling.ValidationException",
}
SAID = {
    "throttled": "Rate exceeded",
    "failed": "An internal error occurred",
    "lost": "Unable to execute HTTP request: connection reset",
    "denied": "User is not authorized to perform this action",
    "invalid": "1 validation error detected",
}
REFUSALS = {
    "ValidationException": {"optimised": "SageMaker.AmazonSageMakerException", "sdk": "SageMaker.SageMakerException"},
    "ResourceInUse": {"optimised": "SageMaker.ResourceInUseException", "sdk": "SageMaker.ResourceInUseException"},
    "ResourceLimitExceeded": {"optimised": "SageMaker.ResourceLimitExceededException", "sdk": "SageMaker.ResourceLimitExceededException"},
    "ResourceNotFound": {"optimised": "SageMaker.ResourceNotFoundException", "sdk": "SageMaker.ResourceNotFoundException"},
    "ObjectNotFoundException": {"scaling": "ApplicationAutoScaling.ObjectNotFoundException"},
}


def integration(resource: str) -> str:
    """Which of the above a task's resource is."""
    for part, name in ((":lambda:", "lambda"), (":sns:", "sns"), (":sfn:", "sfn"), (":applicationautoscaling:", "scaling")):
        if part in resource:
            return name
    return "sdk" if ":aws-sdk:" in resource else "optimised"


class Calls:
    """`at`: the moment of the execution; every call takes its time."""

    def __init__(self, account: Account, random: Random, rate: float, at: float) -> None:
        self.account, self.random, self.rate, self.at = account, random, rate, at
        self.execution: Execution
        self.run = ""
        self.begun = at
        """When the last call was made."""
        self.wrong: list[str] = []
        self.lost_jobs = 0
        self.worst_case: dict[str, Decimal] = {}
        """Kind of job -> dollars that its jobs may cost."""
        self.attempts: dict[str, int] = {}
        """Job or endpoint config -> how often the execution had been redriven when it asked for it."""

    @property
    def state(self) -> Request:
        return dict(self.execution.definition["States"][self.name])

    @property
    def name(self) -> str:
        return str(self.execution.states["context"]["State"]["Name"])

    def __call__(self, action: str, arguments: Request) -> Any:
        """One call, which may go wrong."""
        self.begun = self.account.now = self.at
        self.at += self.random.uniform(0.1, 1.5)
        wrong = self.random.choice(WRONG) if self.random.random() < self.rate else ""
        self.wrong += [wrong] if wrong else []
        if wrong in BEFORE:
            raise self.error(wrong)
        if wrong == "slow":
            raise self.no_answer()
        answer = self.carried_out(action, arguments, wrong in ("lost", "late"))
        if wrong == "late":
            raise self.no_answer()
        if wrong == "lost":
            raise self.error(wrong)
        return answer

    def error(self, wrong: str) -> TaskError:
        kind = integration(self.state["Resource"])
        return TaskError(NAMES[kind].get(wrong, OTHERWISE.get(kind, "")), SAID[wrong])

    def no_answer(self) -> TaskError:
        """For a job there is none but the state's own limit, which is days; for a call it is the limit too."""
        self.at += self.state["TimeoutSeconds"] if not self.state["Resource"].endswith(".sync") else 120
        return TaskError("States.Timeout")

    def carried_out(self, action: str, arguments: Request, unheard: bool) -> Any:
        """The answer, or the service's or the function's refusal."""
        try:
            return self.perform(action, arguments, unheard)
        except Refused as refused:
            name = REFUSALS[refused.code][integration(self.state["Resource"])]
            raise TaskError(name, refused.message) from refused
        except (ClientError, BotoCoreError) as error:
            said = {"errorType": type(error).__name__, "errorMessage": str(error)}
            raise TaskError(type(error).__name__, json.dumps(said)) from error

    def perform(self, action: str, arguments: Request, unheard: bool) -> Any:
        """What the service does; a job is waited for, unless nobody has heard of it."""
        if action == "invoke":
            return {"Payload": json.loads(json.dumps(self.function(STATES[arguments["FunctionName"]], arguments["Payload"]), default=str))}
        if action == "publish":
            return self.publish()
        if action == "sendTaskFailure":
            raise TaskError(arguments["Error"], arguments["Cause"])
        for name in (arguments[each] for each in MADE if each in arguments and action.startswith("create")):
            self.attempts.setdefault(name, self.execution.redrives)
        served = self.account.endpoint.config if self.account.endpoint else ""
        answer = self.account.call(action.removesuffix(".sync"), arguments)
        if self.name in ("RestoreEndpoint", "RemoveEndpoint"):
            require(run_of(served) == self.run, f"{self.run} undid {served}, which is not its own")
        if action.endswith(".sync") and unheard:
            self.lost_jobs += 1
        elif action.endswith(".sync"):
            return self.wait_for(next(value for key, value in arguments.items() if key.endswith("JobName")))
        return answer

    def wait_for(self, name: str) -> Any:
        """`.sync`: the description at the job's end, or an error that holds it."""
        job = self.account.jobs[name]
        if job.end - self.at > self.state["TimeoutSeconds"]:
            self.at += self.state["TimeoutSeconds"]
            raise TaskError("States.Timeout")
        self.at = self.account.now = max(self.at, job.end)
        described = json.loads(json.dumps(self.account.describe_job(name), default=str))
        if job.outcome != "Completed":
            raise TaskError("States.TaskFailed", json.dumps(described))
        return described

    def publish(self) -> Request:
        """Whoever is asked for an approval decides within hours, or never."""
        if self.name == "AskForApproval" and self.random.random() < 0.9:
            hours, decision = self.random.expovariate(1), self.random.choice(["Approved", "Approved", "Approved", "Rejected"])
            self.account.decisions[self.execution.variables["package"]] = (self.at + 3600 * hours, decision)
        return {}

    def function(self, state: str, event: Request) -> Any:
        """The real Lambda function's work, whose own calls fail now and then although boto3 has tried them again."""
        boto, s3 = self.clients(self.rate / 10), self.account.s3
        if state == "PrepareExecution":
            return self.prepare(event)
        if state == "AssessModel":
            return assess(event, s3, boto)
        if state == "VerifyEndpoint":
            return Verification(boto, boto, s3, sleep=lambda _: None).verify(event)
        if state == "PruneModels":
            return prune(PROJECT, int(event["keep"]), self.running_runs(), boto)
        if state == "PublishReport":
            return publish(event, BUCKET, "us-east-1", boto, s3, lambda: self.account.time)
        return clean_up(self.run, PROJECT, boto)

    def prepare(self, event: Request) -> Any:
        """The plan; what it says of the worst case is what the bill is held against."""
        start = datetime.fromisoformat(event["start_time"]).astimezone(UTC)
        asked = ExecutionInput.parse(event["input"])
        made = plan(asked, SETTINGS, PHOTOS, Prepared(PREPARED, ""), event["execution_arn"], start, PRICES)
        self.worst_case = {kind: Decimal(str(dollars)) for kind, dollars in made.cost["worst_case"].items()}
        return vars(made)

    def clients(self, rate: float = 0.0) -> Boto:
        """Clients of the account that fail that often."""
        codes = ("ThrottlingException", "AccessDeniedException", "ServiceUnavailable", "no answer")
        return Boto(self.account, lambda: self.random.choice(codes) if rate and self.random.random() < rate else "")

    running_runs = staticmethod(lambda: set[str]())
    """The runs of executions that go on; the simulation says which."""
