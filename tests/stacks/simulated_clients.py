"""The account of simulated_account.py as boto3's clients show it to the real Lambda functions.

SageMaker, its runtime, Application Auto Scaling and Step Functions. Used by simulation.py, which also says when a call goes wrong.
"""

import io
import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from botocore.exceptions import ClientError, EndpointConnectionError

from tests.stacks.simulated_account import KINDS, Account, Job, Refused, Request, arn

LISTINGS = {
    "list_processing_jobs": ("ProcessingJob", "ProcessingJobSummaries"),
    "list_training_jobs": ("TrainingJob", "TrainingJobSummaries"),
    "list_hyper_parameter_tuning_jobs": ("HyperParameterTuningJob", "HyperParameterTuningJobSummaries"),
}


class Boto:
    """The account as boto3's clients of SageMaker, its runtime and Application Auto Scaling show it; `unwell()` says when a call fails."""

    def __init__(self, account: Account, unwell: Callable[[], str] = lambda: "") -> None:
        self.account, self.unwell = account, unwell

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        if operation.startswith("_"):
            raise AttributeError(operation)
        return partial(self.call, operation)

    def call(self, operation: str, **asked: Any) -> Any:
        """One operation, in boto3's words."""
        self.be_unwell(operation)
        first, *rest = operation.split("_")
        action = first + "".join(part.capitalize() for part in rest)
        try:
            if operation in ("describe_processing_job", "describe_training_job"):
                return self.account.describe_job(next(iter(asked.values())))
            return self.account.call(action, asked)
        except Refused as refused:
            raise fault(refused.code, refused.message) from refused

    def invoke_endpoint(self, EndpointName: str, Body: bytes, ContentType: str, Accept: str) -> Request:  # noqa: N803
        self.be_unwell("invoke_endpoint")
        return {"Body": io.BytesIO(json.dumps(self.account.invoke(Body)).encode())}

    def be_unwell(self, operation: str) -> None:
        code = self.unwell()
        if code == "no answer":
            raise EndpointConnectionError(endpoint_url="https://api.sagemaker.us-east-1.amazonaws.com")
        if code:
            raise fault(code, f"{code} when calling {operation}", 503 if code == "ServiceUnavailable" else 400)

    def get_paginator(self, operation: str) -> "Pages":
        return Pages(lambda **asked: self.pages(operation, **asked))

    def pages(self, operation: str, **asked: Any) -> Iterator[Request]:
        self.be_unwell(operation)
        account = self.account
        account.settle()
        if operation in LISTINGS:
            kind, members = LISTINGS[operation]
            yield {members: [self.summary(job) for job in self.found(kind, **asked)]}
        elif operation == "list_models":
            yield {"Models": [{"ModelName": name, "CreationTime": made} for name, made in account.models.items() if matches(name, asked)]}
        elif operation == "list_endpoint_configs":
            yield {"EndpointConfigs": [each for name, each in account.configs.items() if matches(name, asked)]}
        elif operation == "list_tags":
            tags = account.tags.get(asked["ResourceArn"], {})
            yield {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}
        elif operation == "list_training_jobs_for_hyper_parameter_tuning_job":
            yield account.listTrainingJobsForHyperParameterTuningJob(asked)
        else:
            assert operation == "list_model_packages"
            found = [each for each in reversed(account.packages) if each["ModelApprovalStatus"] == asked["ModelApprovalStatus"]]
            yield {"ModelPackageSummaryList": found}

    def found(self, kind: str, NameContains: str, StatusEquals: str = "", **_: Any) -> list[Job]:  # noqa: N803
        now = self.account.now
        ours = [job for job in self.account.jobs.values() if job.kind == kind and NameContains in job.name]
        return [job for job in ours if StatusEquals in ("", job.status(now))]

    def summary(self, job: Job) -> Request:
        resource = next(resource for kind, resource in KINDS.values() if kind == job.kind)
        return {f"{job.kind}Name": job.name, f"{job.kind}Arn": arn(resource, job.name), f"{job.kind}Status": job.status(self.account.now)}


class Pages:
    """A paginator."""

    def __init__(self, pages: Callable[..., Iterator[Request]]) -> None:
        self.paginate = pages


def matches(name: str, asked: Request) -> bool:
    return str(asked["NameContains"]) in name


def fault(code: str, message: str, status: int = 400) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}, "Operation")


class StepFunctions:
    """Which executions go on; `statuses`: ARN -> status."""

    def __init__(self, statuses: Mapping[str, str]) -> None:
        self.statuses = statuses

    def describe_execution(self, executionArn: str, **_: Any) -> Request:  # noqa: N803 - boto3's name
        return {"status": self.statuses[executionArn]}
