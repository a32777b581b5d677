"""The SageMaker plane: SageMaker's API on this machine, in AWS's own wire protocol. Started by `local.mode`; by hand:

    WHIPPET_HOME=.local WHIPPET_IMAGE=.local/image WHIPPET_PLANE_PORT=4567 AWS_ENDPOINT_URL=http://127.0.0.1:4566 … python -m local.plane

SDKs reach it through the engine, or directly with AWS_ENDPOINT_URL_SAGEMAKER. It serves JSON 1.1 calls (X-Amz-Target
SageMaker.<operation>; for Application Auto Scaling AnyScaleFrontendService.<operation>) at POST / and the runtime's
POST /endpoints/<name>/invocations.
"""

import json
import logging
import os
import shutil
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import uvicorn
from botocore.config import Config
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from local.api.errors import ServiceError, validation_error
from local.api.fault_injection import VARIABLE, InjectedFaults
from local.api.validation import drop_nulls, load_service_model, shape_answer, validate
from local.host.processes import PidFiles
from local.host.request_guard import Application, guard_requests
from local.hosting.deployments import Alarms
from local.hosting.endpoint_metrics import EndpointMetrics
from local.hosting.endpoints import Endpoints
from local.hosting.model_packages import ModelPackages
from local.hosting.models import EndpointConfigs, Models
from local.hosting.production_variant import BODY_LIMIT_BYTES
from local.hosting.scaling import TARGET_PREFIX, Scaling
from local.image_environment import ImageEnvironment
from local.jobs.container import JobTools
from local.jobs.processing_jobs import ProcessingJobs
from local.jobs.training_jobs import TrainingJobs
from local.storage.objects import ChannelCache
from local.storage.role_sessions import RoleSessions
from local.storage.state_changes import StateChanges
from local.storage.store import Store
from local.storage.tags import Tags
from local.tuning.tuning_jobs import TuningJobs

Operation = Callable[[dict[str, Any]], Mapping[str, Any] | None]
STOP_TIMEOUT_S = 20.0
AWS_SETTINGS = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_CA_BUNDLE")
log = logging.getLogger("plane")


@dataclass(frozen=True)
class Plane:
    """The service's resources, and the method that implements each operation."""

    processing_jobs: ProcessingJobs
    training_jobs: TrainingJobs
    tuning_jobs: TuningJobs
    models: Models
    configs: EndpointConfigs
    endpoints: Endpoints
    model_packages: ModelPackages
    scaling: Scaling
    tags: Tags
    metrics: EndpointMetrics
    changes: StateChanges

    @classmethod
    def open(cls, home: Path, image: ImageEnvironment, aws: Mapping[str, str], strict: bool = False) -> "Plane":
        """Open a plane that continues from `home`/sagemaker, with clients for the engine from the variables `aws`.

        With `strict`, each job and model server has only the permissions of its role.
        """
        folder = home / "sagemaker"
        config = Config(retries={"mode": "standard", "total_max_attempts": 8}, max_pool_connections=32)
        session = boto3.Session(aws["AWS_ACCESS_KEY_ID"], aws["AWS_SECRET_ACCESS_KEY"], region_name=aws["AWS_REGION"])
        s3, logs = (session.client(name, endpoint_url=aws["AWS_ENDPOINT_URL"], config=config) for name in ("s3", "logs"))
        hasty = Config(retries={"mode": "standard", "total_max_attempts": 3}, connect_timeout=2, read_timeout=10)
        monitoring = (session.client(name, endpoint_url=aws["AWS_ENDPOINT_URL"], config=hasty) for name in ("cloudwatch", "events"))
        cloudwatch, events = monitoring
        processes = PidFiles(home / "run")
        sts = session.client("sts", endpoint_url=aws["AWS_ENDPOINT_URL"], config=config)
        rehearsal = InjectedFaults.parse(os.environ.get(VARIABLE, ""))
        roles = RoleSessions(sts, aws["AWS_ENDPOINT_URL"], config, folder) if strict else None
        tools = JobTools(s3, logs, image, folder, ChannelCache(folder / "channels", s3), processes, aws, faults=rehearsal, roles=roles)
        for prefix in ("job-", "server-"):
            processes.stop_all(prefix, grace_s=2.0)
        _drop_left_over(folder)
        store = Store(folder / "state")
        tags, metrics = Tags(store), EndpointMetrics(cloudwatch)
        changes = StateChanges(events, tags.read)
        store.watch(changes.notice)
        training_jobs, models = TrainingJobs(store, tools), Models(store)
        configs = EndpointConfigs(store, models)
        jobs = (ProcessingJobs(store, tools), training_jobs, TuningJobs(store, training_jobs))
        endpoints = Endpoints(store, configs, models, tools, Alarms(cloudwatch), metrics)
        return cls(*jobs, models, configs, endpoints, ModelPackages(store), Scaling(store, endpoints), tags, metrics, changes)

    def close(self) -> None:
        """End jobs and servers."""
        self.tuning_jobs.stop_all(STOP_TIMEOUT_S)
        self.training_jobs.stop_all(STOP_TIMEOUT_S)
        self.processing_jobs.stop_all(STOP_TIMEOUT_S)
        self.endpoints.close()
        self.metrics.close()
        self.changes.close()

    def operations(self) -> dict[str, Operation]:
        """Return the supported operations."""
        processing, training, tuning = self.processing_jobs, self.training_jobs, self.tuning_jobs
        models, configs, endpoints, packages = self.models, self.configs, self.endpoints, self.model_packages
        return {
            "CreateProcessingJob": processing.create,
            "DescribeProcessingJob": lambda request: processing.describe(request["ProcessingJobName"]),
            "ListProcessingJobs": processing.list_jobs,
            "StopProcessingJob": lambda request: processing.stop(request["ProcessingJobName"]),
            "CreateTrainingJob": training.create,
            "DescribeTrainingJob": lambda request: training.describe(request["TrainingJobName"]),
            "ListTrainingJobs": training.list_jobs,
            "StopTrainingJob": lambda request: training.stop(request["TrainingJobName"]),
            "CreateHyperParameterTuningJob": tuning.create,
            "DescribeHyperParameterTuningJob": lambda request: tuning.describe(request["HyperParameterTuningJobName"]),
            "ListHyperParameterTuningJobs": tuning.list_jobs,
            "ListTrainingJobsForHyperParameterTuningJob": tuning.list_training_jobs,
            "StopHyperParameterTuningJob": lambda request: tuning.stop(request["HyperParameterTuningJobName"]),
            "CreateModel": models.create,
            "DescribeModel": lambda request: models.describe(request["ModelName"]),
            "ListModels": models.list_models,
            "DeleteModel": lambda request: models.delete(request["ModelName"]),
            "CreateEndpointConfig": configs.create,
            "DescribeEndpointConfig": lambda request: configs.describe(request["EndpointConfigName"]),
            "ListEndpointConfigs": configs.list_configs,
            "DeleteEndpointConfig": lambda request: configs.delete(request["EndpointConfigName"]),
            "CreateEndpoint": endpoints.create,
            "DescribeEndpoint": lambda request: endpoints.describe(request["EndpointName"]),
            "ListEndpoints": endpoints.list_endpoints,
            "UpdateEndpoint": endpoints.update,
            "DeleteEndpoint": lambda request: endpoints.delete(request["EndpointName"]),
            "CreateModelPackageGroup": packages.create_group,
            "DescribeModelPackageGroup": lambda request: packages.describe_group(request["ModelPackageGroupName"]),
            "ListModelPackageGroups": packages.list_groups,
            "DeleteModelPackageGroup": lambda request: packages.delete_group(request["ModelPackageGroupName"]),
            "CreateModelPackage": packages.create,
            "DescribeModelPackage": lambda request: packages.describe(request["ModelPackageName"]),
            "ListModelPackages": packages.list_packages,
            "UpdateModelPackage": packages.update,
            "DeleteModelPackage": lambda request: packages.delete(request["ModelPackageName"]),
            "AddTags": self.tags.add,
            "ListTags": self.tags.list_tags,
            "DeleteTags": self.tags.delete,
        }

    def call(self, target: str, body: bytes) -> dict[str, Any]:
        """Validate the request to a target, such as SageMaker.CreateModel, run it, and shape the answer; raises ServiceError."""
        try:
            request = json.loads(body or b"{}")
        except ValueError as error:
            raise ServiceError("SerializationException", f"the request is not JSON: {error}") from error
        if target.startswith(TARGET_PREFIX):
            return self.scaling.call(target.removeprefix(TARGET_PREFIX), request)
        operation = target.removeprefix("SageMaker.")
        validate(operation, request)
        operations = self.operations()
        if operation not in operations:
            raise validation_error(f"{operation} is not supported in local mode; supported operations: {', '.join(operations)}")
        request = drop_nulls(request)
        answer = operations[operation](request) or {}
        if operation.startswith("Create"):
            self.tags.keep_from_request(request, answer)
        return shape_answer(operation, answer)


def make_app(plane: Plane) -> Application:
    """Make the plane's HTTP application, which accepts requests only from this machine's programs."""

    async def call(request: Request) -> Response:
        try:
            answer = await run_in_threadpool(plane.call, request.headers.get("x-amz-target", ""), await _bounded_body(request, "a call"))
        except ServiceError as error:
            return _error(error, "application/x-amz-json-1.1")
        return Response(json.dumps(answer), media_type="application/x-amz-json-1.1", headers={"x-amzn-requestid": str(uuid.uuid4())})

    async def invoke(request: Request) -> Response:
        try:
            body = await _bounded_body(request, "an invocation")
            status, headers, content = await run_in_threadpool(plane.endpoints.invoke, request.path_params["name"], body, request.headers)
        except ServiceError as error:
            return _error(error, "application/json")
        return Response(content, status, {**headers, "x-amzn-requestid": str(uuid.uuid4())})

    async def health(_request: Request) -> Response:
        return Response("ok")

    async def broken(_request: Request, error: Exception) -> Response:
        log.error("a request failed inside local mode", exc_info=error)
        return _error(ServiceError("InternalFailure", f"local mode failed: {error!r}; see its plane.log", 500), "application/json")

    async def unknown(request: Request, _error_of_routing: Exception) -> Response:
        return _error(
            ServiceError("UnknownOperationException", f"{request.method} {request.url.path} is not supported in local mode", 404),
            "application/json",
        )

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        await run_in_threadpool(load_service_model)
        yield
        await run_in_threadpool(plane.close)

    routes = [
        Route("/", call, methods=["POST"]),
        Route("/endpoints/{name}/invocations", invoke, methods=["POST"]),
        Route("/health", health, methods=["GET"]),
    ]
    return guard_requests(Starlette(routes=routes, lifespan=lifespan, exception_handlers={Exception: broken, 404: unknown, 405: unknown}))


async def _bounded_body(request: Request, what: str) -> bytes:
    """Read the body up to its limit; raises ServiceError for a longer one."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > BODY_LIMIT_BYTES:
            raise ServiceError("ValidationError", f"the body is longer than {BODY_LIMIT_BYTES} bytes, the limit of {what}", 413)
    return body


def _drop_left_over(folder: Path) -> None:
    """Remove the files, other than logs, that jobs and servers of a killed plane have left."""
    for left in (
        *folder.glob("jobs/*/ml"),
        *folder.glob("jobs/*/rules"),
        *folder.glob("processing-jobs/*/ml"),
        *folder.glob("endpoints/*/*"),
        *folder.glob("channels*/*.unfinished"),
    ):
        shutil.rmtree(left, ignore_errors=True)


def _error(error: ServiceError, media_type: str) -> Response:
    headers = {"x-amzn-errortype": error.code, "x-amzn-requestid": str(uuid.uuid4())}
    content = {"__type": error.code, "message": error.message, "Message": error.message, **error.members}
    return Response(json.dumps(content), error.status, headers, media_type)


def main() -> None:
    """Serve on 127.0.0.1 until SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    image = ImageEnvironment(Path(os.environ["WHIPPET_IMAGE"]))
    aws = {name: os.environ[name] for name in AWS_SETTINGS if name in os.environ}
    plane = Plane.open(Path(os.environ["WHIPPET_HOME"]), image, aws, bool(os.environ.get("WHIPPET_PLANE_STRICT")))
    uvicorn.run(
        make_app(plane), host="127.0.0.1", port=int(os.environ["WHIPPET_PLANE_PORT"]), log_level="warning", timeout_graceful_shutdown=5
    )


if __name__ == "__main__":
    main()
