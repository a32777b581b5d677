"""The permissions that a call requires: IAM actions, resources and condition keys.

Runs in the engine process, for `local.engine.adapter_permissions`, which checks each of them with the engine's evaluator. The engine
knows the permissions of S3, CloudWatch Logs and its other services; this file adds SageMaker, scaling, and calls of state machines.
Actions and resources come from AWS's Service Authorization Reference; for an action with two resource types both are required.
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

# By the end of an operation's name: the kind of resource in ARNs, and the request's member with its name.
KINDS = {
    "ProcessingJob": ("processing-job", "ProcessingJobName"),
    "TrainingJob": ("training-job", "TrainingJobName"),
    "HyperParameterTuningJob": ("hyper-parameter-tuning-job", "HyperParameterTuningJobName"),
    "Model": ("model", "ModelName"),
    "EndpointConfig": ("endpoint-config", "EndpointConfigName"),
    "Endpoint": ("endpoint", "EndpointName"),
    "ModelPackageGroup": ("model-package-group", "ModelPackageGroupName"),
}
# The paths of passed roles in a request.
PASSED_ROLES = (("RoleArn",), ("ExecutionRoleArn",), ("TrainingJobDefinition", "RoleArn"))


@dataclass(frozen=True)
class Need:
    """One required permission: `action` (of the engine's service `service`) on `resource`."""

    service: str
    action: str
    resource: str
    context: dict[str, Any] = field(default_factory=dict)


def list_sagemaker_needs(operation: str, request: Mapping[str, Any]) -> list[Need]:
    """List what a call of SageMaker's API requires."""
    arns = _list_resources(operation, request)
    tags = {tag["Key"]: tag["Value"] for tag in request.get("Tags", ())}
    context = {**{f"aws:RequestTag/{key}": value for key, value in tags.items()}, **({"aws:TagKeys": list(tags)} if tags else {})}
    needs = [Need("sagemaker", f"sagemaker:{operation}", arn, context) for arn in arns]
    if operation.startswith("Create") and tags:
        needs.append(Need("sagemaker", "sagemaker:AddTags", arns[0], context))
    if operation.startswith("Create"):
        needs += [_make_pass_role(role, arns[0]) for role in _list_roles(request)]
    # AWS requires it of "your IAM execution role" for deployments with alarms; local mode requires it of the caller.
    alarms = request.get("DeploymentConfig", {}).get("AutoRollbackConfiguration", {}).get("Alarms", ())
    return needs + [Need("monitoring", "cloudwatch:DescribeAlarms", _build_alarm_arn(each["AlarmName"])) for each in alarms]


def list_invocation_needs(path: str) -> list[Need]:
    """List what a call of SageMaker's runtime requires: POST /endpoints/<name>/invocations."""
    match = INVOCATIONS.fullmatch(path)
    return [Need("sagemaker", "sagemaker:InvokeEndpoint", build_arn("endpoint", match.group(1)))] if match else []


def list_scaling_needs(operation: str, request: Mapping[str, Any]) -> list[Need]:
    """List what a call of Application Auto Scaling requires. AWS chooses a target's id; Describe calls have no resource."""
    target = "*" if operation.startswith("Describe") else f"arn:aws:{SCALING}:{REGION}:{ACCOUNT}:scalable-target/0"
    keys = {"service-namespace": "ServiceNamespace", "scalable-dimension": "ScalableDimension"}
    context = {f"{SCALING}:{key}": request[member] for key, member in keys.items() if member in request}
    return [Need(SCALING, f"{SCALING}:{operation}", target, context)]


def list_task_needs(resource: str, request: Mapping[str, Any]) -> list[Need] | None:
    """List what a task state's call requires; None for an unknown integration, which strict local mode denies."""
    name = resource.removeprefix(TASK)
    if name == "lambda:invoke":
        return [Need("lambda", "lambda:InvokeFunction", str(request.get("FunctionName", "")))]
    if name == "sns:publish":
        return [Need("sns", "sns:Publish", str(request.get("TopicArn", "")))]
    if match := re.fullmatch(r"(aws-sdk:)?sagemaker:(\w+)(\.sync)?", name):
        operation = match.group(2)
        return list_sagemaker_needs(operation[:1].upper() + operation[1:], request)
    return None


def name_denied_task_error(resource: str) -> str:
    """Return the error name of a task whose role lacks a permission: the integration's name for errors outside the service's model."""
    name = resource.removeprefix(TASK)
    if name.startswith("lambda:"):
        return "Lambda.AWSLambdaException"
    if name.startswith("sns:"):
        return "SNS.AuthorizationErrorException"
    return "SageMaker.SageMakerException" if name.startswith("aws-sdk:") else "SageMaker.AmazonSageMakerException"


def _list_resources(operation: str, request: Mapping[str, Any]) -> Sequence[str]:
    """Return the resources of an operation; all resources for List operations and unknown ones."""
    if operation in ("AddTags", "ListTags", "DeleteTags"):
        return [str(request.get("ResourceArn", ""))]
    if operation == "ListTrainingJobsForHyperParameterTuningJob":
        return [_build_named_arn("HyperParameterTuningJob", request)]
    if operation in ("CreateEndpoint", "UpdateEndpoint"):
        return [_build_named_arn("Endpoint", request), _build_named_arn("EndpointConfig", request)]
    if operation == "CreateModelPackage" and "ModelPackageGroupName" in request:
        return [_build_named_arn("ModelPackageGroup", request), _build_next_version_arn(request)]
    if operation.endswith("ModelPackage"):
        return [build_arn("model-package", str(request.get("ModelPackageArn") or request.get("ModelPackageName", "")))]
    if operation == "ListModelPackages" and "ModelPackageGroupName" in request:
        # AWS's reference names the versions, its examples the group: requiring both is safe in either case.
        return [_build_named_arn("ModelPackageGroup", request), _build_next_version_arn(request)]
    match = re.fullmatch(r"(?:Create|Describe|Update|Stop|Delete)(\w+)", operation)
    return [_build_named_arn(match.group(1), request)] if match and match.group(1) in KINDS else ["*"]


def _build_named_arn(kind: str, request: Mapping[str, Any]) -> str:
    label, member = KINDS[kind]
    return build_arn(label, str(request.get(member, "")))


def _build_next_version_arn(request: Mapping[str, Any]) -> str:
    """Return an ARN for the next version: its number is unknown yet, and our policies do not depend on it."""
    return build_arn("model-package", f"{str(request['ModelPackageGroupName']).rpartition('/')[2]}/1")


def _build_alarm_arn(name: str) -> str:
    return f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{name}"


def _list_roles(request: Mapping[str, Any]) -> list[str]:
    found = []
    for path in PASSED_ROLES:
        value: Any = request
        for member in path:
            value = value.get(member, {}) if isinstance(value, Mapping) else {}
        if isinstance(value, str):
            found.append(value)
    return found


def _make_pass_role(role: str, arn: str) -> Need:
    return Need("iam", "iam:PassRole", role, {"iam:PassedToService": SAGEMAKER_SERVICE, "iam:AssociatedResourceArn": arn})
