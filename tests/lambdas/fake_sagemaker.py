"""SageMaker as the functions use it that look after an account: jobs, models, endpoint configs, one endpoint, and a registry, in memory.

Names and errors are boto3's; listings come in pages of two, look for a part of a name as SageMaker does, and tell no more than SageMaker's.
Every request is held against AWS's own model of it.
"""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import botocore.session
from botocore.exceptions import ClientError
from botocore.validate import ParamValidator

from tests.lambdas.fake_registry import FakeRegistry

PROJECT = "whippet"
RUN = "whippet-261122160000-1a2b"
OTHER_RUN = "whippet-261122160000-9999"
"""Began in the same second."""
NOW = datetime(2026, 11, 22, 18, tzinfo=UTC)
PAGE = 2

LISTINGS = {
    "list_processing_jobs": ("ProcessingJobName", "ProcessingJobSummaries", "ProcessingJobStatus"),
    "list_training_jobs": ("TrainingJobName", "TrainingJobSummaries", "TrainingJobStatus"),
    "list_hyper_parameter_tuning_jobs": (
        "HyperParameterTuningJobName",
        "HyperParameterTuningJobSummaries",
        "HyperParameterTuningJobStatus",
    ),
    "list_models": ("ModelName", "Models", ""),
    "list_endpoint_configs": ("EndpointConfigName", "EndpointConfigs", ""),
}


def fault(code: str, message: str, status: int = 400) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}, "Operation")


def invalid(message: str) -> ClientError:
    return fault("ValidationException", message)


@cache
def service_model(service: str) -> Any:
    return botocore.session.get_session().get_service_model(service)


def hold_against_model(service: str, operation: str, asked: dict[str, Any]) -> None:
    """Raises ParamValidationError's report for a request that boto3 would not send."""
    model = service_model(service)
    name = "".join(part.capitalize() for part in operation.split("_"))
    shape = model.operation_model(name).input_shape
    report = ParamValidator().validate({key: value for key, value in asked.items() if key != "PaginationConfig"}, shape)
    assert not report.has_errors(), f"{name}: {report.generate_report()}"


def arn(kind: str, name: str) -> str:
    return f"arn:aws:sagemaker:eu-west-1:111122223333:{kind}/{name}"


class FakeSageMaker:
    """The account; `made` counts, so that what was made later is younger."""

    def __init__(self) -> None:
        self.processing_jobs: dict[str, dict[str, Any]] = {}
        self.training_jobs: dict[str, dict[str, Any]] = {}
        self.tuning_jobs: dict[str, dict[str, Any]] = {}
        self.models: dict[str, dict[str, Any]] = {}
        self.configs: dict[str, dict[str, Any]] = {}
        self.endpoint: dict[str, Any] | None = None
        self.registry = FakeRegistry()
        self.tags: dict[str, dict[str, str]] = {}
        self.calls: list[str] = []
        """`operation name`, of everything that changes something."""
        self.refusals: dict[str, ClientError] = {}
        """Operation, or `operation name` -> what it raises."""

    # what the tests put there

    def process(self, name: str, status: str = "InProgress", **more: Any) -> None:
        self.processing_jobs[name] = {"ProcessingJobName": name, "ProcessingJobStatus": status, **more}

    def train(self, name: str, status: str = "InProgress", **more: Any) -> None:
        self.training_jobs[name] = {"TrainingJobName": name, "TrainingJobStatus": status, **more}

    def tune(self, name: str, run: str, status: str = "InProgress", trials: tuple[str, ...] = ()) -> None:
        job_arn = arn("hyper-parameter-tuning-job", name)
        names = {"HyperParameterTuningJobName": name, "HyperParameterTuningJobArn": job_arn}
        self.tuning_jobs[name] = {**names, "HyperParameterTuningJobStatus": status, "trials": trials}
        self.tags[job_arn] = {"project": PROJECT, "execution": run}

    def model(self, name: str) -> str:
        self.models[name] = {"ModelName": name, "CreationTime": self.later(self.models)}
        return name

    def config(self, name: str, model: str, tags: dict[str, str] | None = None, **variant: Any) -> str:
        production_variant = {"VariantName": "AllTraffic", "ModelName": model, "InitialInstanceCount": 1, **variant}
        config_arn = arn("endpoint-config", name)
        described = {"EndpointConfigName": name, "EndpointConfigArn": config_arn, "ProductionVariants": [production_variant]}
        self.configs[name] = {**described, "CreationTime": self.later(self.configs)}
        self.tags[config_arn] = tags or {}
        return name

    def version(self, run: str, number: int = 0) -> str:
        """A model and an endpoint config of a run; the config's name."""
        model = self.model(f"{run}-{number:08x}")
        return self.config(f"{run}-{number + 4096:08x}", model)

    def deploy(self, config: str) -> str:
        """Records it as RecordDeployment does."""
        model = self.configs[config]["ProductionVariants"][0]["ModelName"]
        return self.registry.add(endpoint_config=config, model=model)

    def serve(self, config: str, status: str = "InService", changed: datetime = NOW, **more: Any) -> None:
        names = {"EndpointName": PROJECT, "EndpointArn": arn("endpoint", PROJECT), "EndpointConfigName": config}
        self.endpoint = {**names, "EndpointStatus": status, "LastModifiedTime": changed, **more}

    @property
    def status(self) -> str:
        """The endpoint's; empty where there is none."""
        return str(self.endpoint["EndpointStatus"]) if self.endpoint else ""

    def later(self, things: dict[str, Any]) -> datetime:
        return NOW - timedelta(days=100) + timedelta(minutes=len(things))

    # listings

    def get_paginator(self, operation: str) -> "Pages":
        return Pages(lambda **asked: self.pages(operation, **asked))

    def pages(self, operation: str, **asked: Any) -> Iterator[dict[str, Any]]:
        hold_against_model("sagemaker", operation, asked)
        self.refuse(operation)
        if operation == "list_model_packages":
            yield from self.registry.paginate(**asked)
        elif operation == "list_tags":
            tags = [{"Key": key, "Value": value} for key, value in self.tags.get(asked["ResourceArn"], {}).items()]
            yield from paged("Tags", tags)
        elif operation == "list_training_jobs_for_hyper_parameter_tuning_job":
            trials = self.tuning_jobs[asked["HyperParameterTuningJobName"]]["trials"]
            yield from paged("TrainingJobSummaries", [{"TrainingJobName": name} for name in trials])
        else:
            yield from self.page_of_names(operation, **asked)

    def page_of_names(
        self,
        operation: str,
        NameContains: str,  # noqa: N803
        PaginationConfig: dict[str, int],  # noqa: N803
        StatusEquals: str = "",  # noqa: N803
    ) -> Iterator[dict[str, Any]]:
        assert PaginationConfig == {"PageSize": 100}
        assert len(NameContains) <= 63, "SageMaker takes no longer part of a name"
        name_of, members, status_of = LISTINGS[operation]
        things = {
            "list_processing_jobs": self.processing_jobs,
            "list_training_jobs": self.training_jobs,
            "list_hyper_parameter_tuning_jobs": self.tuning_jobs,
            "list_models": self.models,
            "list_endpoint_configs": self.configs,
        }[operation]
        found = [each for each in things.values() if NameContains.lower() in each[name_of].lower()]
        shown = ("Name", "Arn", "Status", "CreationTime")
        wanted = [each for each in found if not StatusEquals or each[status_of] == StatusEquals]
        yield from paged(members, [{key: value for key, value in each.items() if key.endswith(shown)} for each in wanted])

    # looks

    def describe_processing_job(self, ProcessingJobName: str) -> dict[str, Any]:  # noqa: N803
        return self.processing_jobs[ProcessingJobName]

    def describe_training_job(self, TrainingJobName: str) -> dict[str, Any]:  # noqa: N803
        return self.training_jobs[TrainingJobName]

    def describe_endpoint(self, EndpointName: str) -> dict[str, Any]:  # noqa: N803
        self.refuse("describe_endpoint")
        if self.endpoint is None or EndpointName != PROJECT:
            raise invalid(f'Could not find endpoint "{arn("endpoint", EndpointName)}".')
        return self.endpoint

    def describe_endpoint_config(self, EndpointConfigName: str) -> dict[str, Any]:  # noqa: N803
        self.refuse("describe_endpoint_config")
        if EndpointConfigName not in self.configs:
            raise invalid(f'Could not find endpoint configuration "{arn("endpoint-config", EndpointConfigName)}".')
        return self.configs[EndpointConfigName]

    def describe_model_package(self, ModelPackageName: str) -> dict[str, Any]:  # noqa: N803
        self.refuse("describe_model_package")
        return self.registry.describe_model_package(ModelPackageName)

    # changes

    def stop_processing_job(self, ProcessingJobName: str) -> None:  # noqa: N803
        self.stop("stop_processing_job", self.processing_jobs, ProcessingJobName, "ProcessingJobStatus")

    def stop_training_job(self, TrainingJobName: str) -> None:  # noqa: N803
        self.stop("stop_training_job", self.training_jobs, TrainingJobName, "TrainingJobStatus")

    def stop_hyper_parameter_tuning_job(self, HyperParameterTuningJobName: str) -> None:  # noqa: N803
        self.stop("stop_hyper_parameter_tuning_job", self.tuning_jobs, HyperParameterTuningJobName, "HyperParameterTuningJobStatus")

    def stop(self, operation: str, jobs: dict[str, dict[str, Any]], name: str, status_of: str) -> None:
        self.change(operation, name, **{status_of.removesuffix("Status") + "Name": name})
        if jobs[name][status_of] != "InProgress":
            raise invalid(f"The request was rejected because the job is in status {jobs[name][status_of]}.")
        jobs[name][status_of] = "Stopping"

    def delete_model(self, ModelName: str) -> None:  # noqa: N803
        self.change("delete_model", ModelName, ModelName=ModelName)
        if self.models.pop(ModelName, None) is None:
            raise invalid(f'Could not find model "{arn("model", ModelName)}".')

    def delete_endpoint_config(self, EndpointConfigName: str) -> None:  # noqa: N803
        self.change("delete_endpoint_config", EndpointConfigName, EndpointConfigName=EndpointConfigName)
        if self.configs.pop(EndpointConfigName, None) is None:
            raise invalid(f'Could not find endpoint configuration "{arn("endpoint-config", EndpointConfigName)}".')

    def create_endpoint(self, EndpointName: str, EndpointConfigName: str, Tags: list[dict[str, str]]) -> None:  # noqa: N803
        self.change("create_endpoint", EndpointName, EndpointName=EndpointName, EndpointConfigName=EndpointConfigName, Tags=Tags)
        if self.endpoint is not None:
            raise invalid(f'Cannot create already existing endpoint "{arn("endpoint", EndpointName)}".')
        self.describe_endpoint_config(EndpointConfigName)
        self.serve(EndpointConfigName, "Creating")
        self.tags[arn("endpoint", EndpointName)] = {tag["Key"]: tag["Value"] for tag in Tags}

    def update_endpoint(self, EndpointName: str, EndpointConfigName: str) -> None:  # noqa: N803
        self.change("update_endpoint", EndpointName, EndpointName=EndpointName, EndpointConfigName=EndpointConfigName)
        endpoint = self.describe_endpoint(EndpointName)
        if endpoint["EndpointStatus"] not in ("InService", "OutOfService", "UpdateRollbackFailed"):
            raise invalid(f"Cannot update in-progress endpoint, which is {endpoint['EndpointStatus']}.")
        pending = {"EndpointConfigName": EndpointConfigName}
        self.serve(endpoint["EndpointConfigName"], "Updating", PendingDeploymentSummary=pending)

    def delete_endpoint(self, EndpointName: str) -> None:  # noqa: N803
        self.change("delete_endpoint", EndpointName, EndpointName=EndpointName)
        endpoint = self.describe_endpoint(EndpointName)
        if endpoint["EndpointStatus"] in ("Creating", "Updating", "SystemUpdating", "RollingBack"):
            raise invalid(f"Cannot update in-progress endpoint, which is {endpoint['EndpointStatus']}.")
        self.serve(endpoint["EndpointConfigName"], "Deleting")

    def change(self, operation: str, name: str, **asked: Any) -> None:
        hold_against_model("sagemaker", operation, asked)
        self.calls.append(f"{operation} {name}")
        self.refuse(operation, f"{operation} {name}")

    def refuse(self, *operations: str) -> None:
        for operation in operations:
            if operation in self.refusals:
                raise self.refusals[operation]


class Pages:
    """A paginator."""

    def __init__(self, pages: Callable[..., Iterator[dict[str, Any]]]) -> None:
        self.paginate = pages


def paged(members: str, entries: list[Any]) -> Iterator[dict[str, Any]]:
    for start in range(0, max(1, len(entries)), PAGE):
        yield {members: entries[start : start + PAGE]}


class FakeAutoscaling:
    """Application Auto Scaling: scalable targets and their policies."""

    def __init__(self) -> None:
        self.targets: dict[str, dict[str, Any]] = {}
        self.policies: dict[str, dict[str, Any]] = {}

    def register_scalable_target(self, *, ResourceId: str, **target: Any) -> None:  # noqa: N803
        hold_against_model("application-autoscaling", "register_scalable_target", {"ResourceId": ResourceId, **target})
        self.targets[ResourceId] = target

    def put_scaling_policy(self, *, ResourceId: str, PolicyName: str, **policy: Any) -> None:  # noqa: N803
        asked = {"ResourceId": ResourceId, "PolicyName": PolicyName, **policy}
        hold_against_model("application-autoscaling", "put_scaling_policy", asked)
        if ResourceId not in self.targets:
            raise fault("ObjectNotFoundException", "No scalable target registered")
        self.policies[PolicyName] = policy

    def deregister_scalable_target(self, *, ResourceId: str, **target: Any) -> None:  # noqa: N803
        hold_against_model("application-autoscaling", "deregister_scalable_target", {"ResourceId": ResourceId, **target})
        if self.targets.pop(ResourceId, None) is None:
            raise fault("ObjectNotFoundException", "No scalable target found")
        self.policies.clear()


class FakeStepFunctions:
    """Executions of one state machine, in pages of two, the newest first."""

    MACHINE = "arn:aws:states:eu-west-1:111122223333:stateMachine:whippet"

    def __init__(self) -> None:
        self.executions: list[dict[str, Any]] = []
        self.started: list[dict[str, Any]] = []

    def execution(self, name: str, status: str, start: datetime, stop: datetime | None = None) -> str:
        execution_arn = re.sub("stateMachine", "execution", self.MACHINE) + f":{name}"
        ended = {"stopDate": stop} if stop else {}
        self.executions.append({"executionArn": execution_arn, "name": name, "status": status, "startDate": start, **ended})
        return execution_arn

    def get_paginator(self, operation: str) -> Pages:
        assert operation == "list_executions"
        return Pages(self.list_executions)

    def list_executions(self, stateMachineArn: str, statusFilter: str) -> Iterator[dict[str, Any]]:  # noqa: N803
        assert stateMachineArn == self.MACHINE
        found = [each for each in self.executions if each["status"] == statusFilter]
        yield from paged("executions", sorted(found, key=lambda each: each["startDate"], reverse=True))

    def describe_execution(self, executionArn: str, includedData: str) -> dict[str, Any]:  # noqa: N803
        assert includedData == "METADATA_ONLY", "an input may be nobody's business"
        for each in self.executions:
            if each["executionArn"] == executionArn:
                return each
        raise fault("ExecutionDoesNotExist", "Execution Does Not Exist")

    def start_execution(self, stateMachineArn: str, name: str, input: str) -> dict[str, Any]:  # noqa: A002, N803
        assert stateMachineArn == self.MACHINE
        hold_against_model("stepfunctions", "start_execution", {"stateMachineArn": stateMachineArn, "name": name, "input": input})
        if any(each["name"] == name for each in self.executions):
            raise fault("ExecutionAlreadyExists", "Execution Already Exists")
        self.started.append({"name": name, "input": input})
        return {"executionArn": self.execution(name, "RUNNING", NOW), "startDate": NOW}
