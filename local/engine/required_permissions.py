"""Which permissions a call needs: IAM actions, the resources they are asked for, and the condition keys that come with them.

Runs in the engine process, for `local.engine.adapter_permissions`, which asks the engine's own evaluator for each of them. The engine
knows what S3, CloudWatch Logs and its other services ask for; here is what it lacks: SageMaker, scaling, and calls of state machines.
Actions and resources are those of AWS's Service Authorization Reference; where an action has two resource types, both are asked for.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from local.api.account import ACCOUNT, REGION, build_arn

INVOCATIONS = re.compile(r"/endpoints/([^/]+)/invocations")
TASK = "arn:aws:states:::"
SAGEMAKER_SERVICE = "sagemaker.amazonaws.com"
SCALING = "application-autoscaling"

# By the last words of an operation: the kind of resource in ARNs, and the request's member that names it.
KINDS = {
    "ProcessingJob": ("processing-job", "ProcessingJobName"),
    "TrainingJob": ("training-job", "TrainingJobName"),
    "HyperParameterTuningJob": ("hyper-parameter-tuning-job", "HyperParameterTuningJobName"),
    "Model": ("model", "ModelName"),
    "EndpointConfig": ("endpoint-config", "EndpointConfigName"),
    "Endpoint": ("endpoint", "EndpointName"),
    "ModelPackageGroup": ("model-package-group", "ModelPackageGroupName"),
}
# Where the roles that are passed stand in a request.
PASSED_ROLES = (("RoleArn",), ("ExecutionRoleArn",), ("TrainingJobDefinition", "RoleArn"))


@dataclass(frozen=True)
class Need:
    """One question to IAM: may the caller do `action` (of the engine's service `service`) on `resource`?"""

    service: str
    action: str
    resource: str
    context: dict[str, Any] = field(default_factory=dict)


def sagemaker_needs(operation: str, request: Mapping[str, Any]) -> list[Need]:
    """What a call of SageMaker's API needs."""
    arns = _resources(operation, request)
    tags = {tag["Key"]: tag["Value"] for tag in request.get("Tags", ())}
    context = {**{f"aws:RequestTag/{key}": value for key, value in tags.items()}, **({"aws:TagKeys": list(tags)} if tags else {})}
    needs = [Need("sagemaker", f"sagemaker:{operation}", arn, context) for arn in arns]
    if operation.startswith("Create") and tags:
        needs.append(Need("sagemaker", "sagemaker:AddTags", arns[0], context))
    if operation.startswith("Create"):
        needs += [_passed(role, arns[0]) for role in _roles(request)]
    # "Your IAM execution role" needs it, says AWS of deployments that alarms take back: here it is the caller's.
    alarms = request.get("DeploymentConfig", {}).get("AutoRollbackConfiguration", {}).get("Alarms", ())
    return needs + [Need("monitoring", "cloudwatch:DescribeAlarms", _alarm(each["AlarmName"])) for each in alarms]


def invocation_needs(path: str) -> list[Need]:
    """What a call of SageMaker's runtime needs: POST /endpoints/<name>/invocations."""
    match = INVOCATIONS.fullmatch(path)
    return [Need("sagemaker", "sagemaker:InvokeEndpoint", build_arn("endpoint", match.group(1)))] if match else []


def scaling_needs(operation: str, request: Mapping[str, Any]) -> list[Need]:
    """What a call of Application Auto Scaling needs. A target's id is AWS's own choice; looking at targets knows no resource."""
    target = "*" if operation.startswith("Describe") else f"arn:aws:{SCALING}:{REGION}:{ACCOUNT}:scalable-target/0"
    keys = {"service-namespace": "ServiceNamespace", "scalable-dimension": "ScalableDimension"}
    context = {f"{SCALING}:{key}": request[member] for key, member in keys.items() if member in request}
    return [Need(SCALING, f"{SCALING}:{operation}", target, context)]


def task_needs(resource: str, request: Mapping[str, Any]) -> list[Need] | None:
    """What a task state's call needs; None for an integration that strict local mode does not know, and so cannot allow."""
    name = resource.removeprefix(TASK)
    if name == "lambda:invoke":
        return [Need("lambda", "lambda:InvokeFunction", str(request.get("FunctionName", "")))]
    if name == "sns:publish":
        return [Need("sns", "sns:Publish", str(request.get("TopicArn", "")))]
    if match := re.fullmatch(r"(aws-sdk:)?sagemaker:(\w+)(\.sync)?", name):
        operation = match.group(2)
        return sagemaker_needs(operation[:1].upper() + operation[1:], request)
    return None


def denied_task_error(resource: str) -> str:
    """The error name of a task whose role lacks a permission: the integration's own for errors that the service's model does not have."""
    name = resource.removeprefix(TASK)
    if name.startswith("lambda:"):
        return "Lambda.AWSLambdaException"
    if name.startswith("sns:"):
        return "SNS.AuthorizationErrorException"
    return "SageMaker.SageMakerException" if name.startswith("aws-sdk:") else "SageMaker.AmazonSageMakerException"


def _resources(operation: str, request: Mapping[str, Any]) -> Sequence[str]:
    """What an operation is done to; what lists, or is unknown, is done to everything."""
    if operation in ("AddTags", "ListTags", "DeleteTags"):
        return [str(request.get("ResourceArn", ""))]
    if operation == "ListTrainingJobsForHyperParameterTuningJob":
        return [_named("HyperParameterTuningJob", request)]
    if operation in ("CreateEndpoint", "UpdateEndpoint"):
        return [_named("Endpoint", request), _named("EndpointConfig", request)]
    if operation == "CreateModelPackage" and "ModelPackageGroupName" in request:
        return [_named("ModelPackageGroup", request), _next_version(request)]
    if operation.endswith("ModelPackage"):
        return [build_arn("model-package", str(request.get("ModelPackageArn") or request.get("ModelPackageName", "")))]
    if operation == "ListModelPackages" and "ModelPackageGroupName" in request:
        # AWS's reference has the versions, its examples have the group: whichever it asks about, who may both may list.
        return [_named("ModelPackageGroup", request), _next_version(request)]
    match = re.fullmatch(r"(?:Create|Describe|Update|Stop|Delete)(\w+)", operation)
    return [_named(match.group(1), request)] if match and match.group(1) in KINDS else ["*"]


def _named(kind: str, request: Mapping[str, Any]) -> str:
    label, member = KINDS[kind]
    return build_arn(label, str(request.get(member, "")))


def _next_version(request: Mapping[str, Any]) -> str:
    """A version gets its number when it is made; no policy of ours names one, so that any number stands for it."""
    return build_arn("model-package", f"{str(request['ModelPackageGroupName']).rpartition('/')[2]}/1")


def _alarm(name: str) -> str:
    return f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{name}"


def _roles(request: Mapping[str, Any]) -> list[str]:
    found = []
    for path in PASSED_ROLES:
        value: Any = request
        for member in path:
            value = value.get(member, {}) if isinstance(value, Mapping) else {}
        if isinstance(value, str):
            found.append(value)
    return found


def _passed(role: str, arn: str) -> Need:
    return Need("iam", "iam:PassRole", role, {"iam:PassedToService": SAGEMAKER_SERVICE, "iam:AssociatedResourceArn": arn})
