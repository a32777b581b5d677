"""The bodies of the requests for a trained model: its registration, the model, its endpoint config, the endpoint.

Runs at synth; standard library only. In the form of those in requests.py.
"""

from stacks.state_machine.requests import (
    ATTEMPT,
    KEY,
    LOCAL_DISKS,
    OPEN,
    VARIANT,
    Request,
    Security,
    attempt,
    jsonata,
    merge_request,
    render_jsonata,
    tags,
)
from training.contract.photos import CONTENT_TYPES

"""Content types that a model accepts; it responds with JSON."""


def create_model_package() -> Request:
    """CreateModelPackage: the next version of the project's group, with its metrics and origin.

    The token is the same in every attempt, so that a model is not registered twice if a response is lost; SageMaker allows 36 characters,
    and a run has up to 28. Versions of a group cannot be tagged.
    """
    container = {"Image": jsonata("$plan.serving_image"), "ModelDataUrl": jsonata("$training.model_artifact")}
    return {
        "ModelPackageGroupName": jsonata("$plan.model_package_group"),
        "ModelPackageDescription": jsonata("$assessment.description"),
        "ModelApprovalStatus": jsonata("$assessment.deploy ? 'PendingManualApproval' : 'Rejected'"),
        "InferenceSpecification": {
            "Containers": [container],
            "SupportedContentTypes": list(CONTENT_TYPES),
            "SupportedResponseMIMETypes": ["application/json"],
        },
        "ModelMetrics": {"ModelQuality": {"Statistics": {"ContentType": "application/json", "S3Uri": jsonata("$assessment.metrics_uri")}}},
        "CustomerMetadataProperties": jsonata("$assessment.metadata"),
        "ClientToken": jsonata(f"$plan.run & {attempt(retries=False)}"),
    }


def record_deployment() -> Request:
    """UpdateModelPackage: approved, with the endpoint config and the time; these properties are added to those of the registration."""
    deployed = {"endpoint_config": "$endpoint_config", "model": "$model", "deployed_at": "$states.context.State.EnteredTime"}
    return {
        "ModelPackageArn": jsonata("$package"),
        "ModelApprovalStatus": "Approved",
        "CustomerMetadataProperties": {key: jsonata(value) for key, value in deployed.items()},
    }


def create_model(security: Security = OPEN) -> Request | str:
    """CreateModel: the artefact in the serving image; SageMaker does not support a VPC for the model of a serverless endpoint."""
    name = f"$plan.run & '-' & {ATTEMPT}"
    request = {
        "ModelName": jsonata(name),
        "PrimaryContainer": {
            "Image": jsonata("$plan.serving_image"),
            "ModelDataUrl": jsonata("$training.model_artifact"),
            "Environment": {"MODEL_NAME": jsonata(name)},
        },
        "ExecutionRoleArn": "${HostingRoleArn}",
        "EnableNetworkIsolation": jsonata("$plan.network_isolation"),
        "Tags": tags(),
    }
    return (
        merge_request(request, f"$plan.deployment_kind = 'serverless' ? {{}} : {render_jsonata(security.network)}")
        if security.vpc
        else request
    )


def create_endpoint_config(security: Security = OPEN) -> Request | str:
    """CreateEndpointConfig: all traffic to the new model; ScaleEndpoint reads the tag once the endpoint is in service."""
    variant = f"{{'VariantName': '{VARIANT}', 'ModelName': $model, 'InitialVariantWeight': 1}}"
    request = {
        "EndpointConfigName": jsonata(f"$plan.run & '-' & {ATTEMPT}"),
        "ProductionVariants": [jsonata(f"$merge([{variant}, $plan.variant])")],
        "Tags": [*tags(), {"Key": "max_instance_count", "Value": jsonata("$string($plan.max_instance_count)")}],
    }
    unkeyed = f"$plan.deployment_kind = 'serverless' or $contains($plan.variant.InstanceType, {LOCAL_DISKS})"
    return merge_request(request, f"({unkeyed}) ? {{}} : {{'KmsKeyId': '{KEY}'}}") if security.kms else request


def endpoint() -> Request:
    """DescribeEndpoint and DeleteEndpoint: the project's endpoint."""
    return {"EndpointName": jsonata("$plan.endpoint")}


def create_endpoint() -> Request:
    """CreateEndpoint: the project's first endpoint, or a new one after the old one was deleted."""
    return {**update_serverless_endpoint(), "Tags": tags()}


def update_endpoint() -> Request:
    """UpdateEndpoint: the old model serves until the new one does, monitored by alarms; keeps the instance count that autoscaling set."""
    scaled_out = "$endpoint_instances > $plan.variant.InitialInstanceCount and $endpoint_instances <= $plan.max_instance_count"
    return {
        **update_serverless_endpoint(),
        "RetainAllVariantProperties": jsonata(scaled_out),
        "DeploymentConfig": jsonata("$plan.deployment_config"),
    }


def update_serverless_endpoint() -> Request:
    """UpdateEndpoint: the old model serves until the new one does; without instances, traffic cannot be moved step by step."""
    return {**endpoint(), "EndpointConfigName": jsonata("$endpoint_config")}


def restore_endpoint() -> Request:
    """UpdateEndpoint: back to the config that the endpoint served before."""
    return {**endpoint(), "EndpointConfigName": jsonata("$endpoint_served")}


def scalable_target() -> Request:
    """DeregisterScalableTarget: the endpoint's one variant."""
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": jsonata(f"'endpoint/' & $plan.endpoint & '/variant/{VARIANT}'"),
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
