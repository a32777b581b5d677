"""The bodies of the requests around a trained model: its registration, the model, its endpoint config, the endpoint.

Runs at synth; standard library only. Written as those in sagemaker_requests.py are.
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
    tags,
    with_extra,
    written,
)

PHOTO_TYPES = ("image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp", "image/tiff")
"""What a model takes; it answers JSON."""


def create_model_package() -> Request:
    """CreateModelPackage: the next version of the project's group, with what was measured of it and what it was made from.

    The token is the same in every try, so that one whose answer was lost is not registered twice; SageMaker takes 36 characters, and a run
    has up to 28. Versions of a group take no tags.
    """
    container = {"Image": jsonata("$plan.serving_image"), "ModelDataUrl": jsonata("$training.model_artifact")}
    return {
        "ModelPackageGroupName": jsonata("$plan.model_package_group"),
        "ModelPackageDescription": jsonata("$assessment.description"),
        "ModelApprovalStatus": jsonata("$assessment.deploy ? 'PendingManualApproval' : 'Rejected'"),
        "InferenceSpecification": {
            "Containers": [container],
            "SupportedContentTypes": list(PHOTO_TYPES),
            "SupportedResponseMIMETypes": ["application/json"],
        },
        "ModelMetrics": {"ModelQuality": {"Statistics": {"ContentType": "application/json", "S3Uri": jsonata("$assessment.metrics_uri")}}},
        "CustomerMetadataProperties": jsonata("$assessment.metadata"),
        "ClientToken": jsonata(f"$plan.run & {attempt(retries=False)}"),
    }


def record_deployment() -> Request:
    """UpdateModelPackage: approved, what the endpoint was given and when; these properties are added to those of the registration."""
    deployed = {"endpoint_config": "$endpoint_config", "model": "$model", "deployed_at": "$states.context.State.EnteredTime"}
    return {
        "ModelPackageArn": jsonata("$package"),
        "ModelApprovalStatus": "Approved",
        "CustomerMetadataProperties": {key: jsonata(value) for key, value in deployed.items()},
    }


def create_model(security: Security = OPEN) -> Request | str:
    """CreateModel: the artefact in the serving image; SageMaker puts a serverless endpoint's model into no network of ours."""
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
    return with_extra(request, f"$plan.deployment_kind = 'serverless' ? {{}} : {written(security.network)}") if security.vpc else request


def create_endpoint_config(security: Security = OPEN) -> Request | str:
    """CreateEndpointConfig: all traffic to the new model; the tag is what scaling reads once the endpoint is in service."""
    variant = f"{{'VariantName': '{VARIANT}', 'ModelName': $model, 'InitialVariantWeight': 1}}"
    request = {
        "EndpointConfigName": jsonata(f"$plan.run & '-' & {ATTEMPT}"),
        "ProductionVariants": [jsonata(f"$merge([{variant}, $plan.variant])")],
        "Tags": [*tags(), {"Key": "max_instance_count", "Value": jsonata("$string($plan.max_instance_count)")}],
    }
    unkeyed = f"$plan.deployment_kind = 'serverless' or $contains($plan.variant.InstanceType, {LOCAL_DISKS})"
    return with_extra(request, f"({unkeyed}) ? {{}} : {{'KmsKeyId': '{KEY}'}}") if security.kms else request


def endpoint() -> Request:
    """DescribeEndpoint and DeleteEndpoint: the project's endpoint."""
    return {"EndpointName": jsonata("$plan.endpoint")}


def create_endpoint() -> Request:
    """CreateEndpoint: the project's first, or its first after the last was removed."""
    return {**update_serverless_endpoint(), "Tags": tags()}


def update_endpoint() -> Request:
    """UpdateEndpoint: the old model answers until the new one does, watched by alarms; as many machines as autoscaling has now."""
    scaled_out = "$endpoint_instances > $plan.variant.InitialInstanceCount and $endpoint_instances <= $plan.max_instance_count"
    return {
        **update_serverless_endpoint(),
        "RetainAllVariantProperties": jsonata(scaled_out),
        "DeploymentConfig": jsonata("$plan.deployment_config"),
    }


def update_serverless_endpoint() -> Request:
    """UpdateEndpoint: the old model answers until the new one does; there are no machines that one could move the traffic over step by
    step."""
    return {**endpoint(), "EndpointConfigName": jsonata("$endpoint_config")}


def restore_endpoint() -> Request:
    """UpdateEndpoint: back to what the endpoint served before."""
    return {**endpoint(), "EndpointConfigName": jsonata("$endpoint_served")}


def scalable_target() -> Request:
    """DeregisterScalableTarget: the endpoint's one variant, as autoscaling names it."""
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": jsonata(f"'endpoint/' & $plan.endpoint & '/variant/{VARIANT}'"),
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
