"""ScaleEndpoint: as many instances behind the endpoint as its requests need, between the two counts that the execution input names.

Runs in AWS Lambda, called by EventBridge with "SageMaker Endpoint State Change" events of the project's endpoint (`EndpointStatus` is
`IN_SERVICE` there, in capitals). SageMaker may send one change twice; only what DescribeEndpoint says counts, and the same call twice does
the same. The most instances stand in the endpoint config's tag `max_instance_count`, the least are the count that it begins with.

What SageMaker asks of an endpoint that scales, from its guide ("Update endpoints that use auto scaling", "Delete endpoints configured for
auto scaling"):

    UpdateEndpoint  is refused while the variant is a scalable target, where the update changes its instance type or takes it away (as one
                    to serverless does). A new model alone is let through. So whoever updates the endpoint calls DeregisterScalableTarget
                    first; this function registers the target again once the endpoint is in service, whichever config it then has.
    DeleteEndpoint  deregisters the target by itself, with the caller's own permission: whoever deletes the endpoint needs
                    application-autoscaling:DeregisterScalableTarget too, or the deletion is refused.

Scaling stands still while an endpoint is updated, and after the update it has the instances that the new config begins with.
"""

import os
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from lambdas.aws.clients import client, is_absent
from lambdas.aws.endpoint import VARIANT, Endpoint, describe_config, look_at_endpoint
from lambdas.aws.jobs import run_of, tags_of
from lambdas.aws.log import log

POLICY = "invocations-per-instance"

INVOCATIONS_PER_MINUTE = 120
"""Of one instance, which the policy holds the average at. A cautious guess for the two cores of an ml.m5.large, which nobody has measured
there: if a photo takes it 0.2 seconds, 300 a minute are all that it can answer, and at 120 there is room for the minutes that another
instance takes to start. INVOCATIONS_PER_MINUTE in the function's environment says it better for who has measured."""

SCALE_OUT_SECONDS = 120
SCALE_IN_SECONDS = 600
"""Pauses after a change: instances come soon and go slowly."""


def handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """Entry point of the Lambda function."""
    project = os.environ["PROJECT"]
    target = float(os.environ.get("INVOCATIONS_PER_MINUTE", INVOCATIONS_PER_MINUTE))
    named = event["detail"]["EndpointName"]
    if named != project:
        log("NotScaled", reason=f"the event is of the endpoint {named}, and this function is {project}'s")
        return {"scaled": False}
    return scale(project, target, client("sagemaker"), client("application-autoscaling"))


def scale(project: str, invocations_per_minute: float, sagemaker: Any, autoscaling: Any) -> dict[str, Any]:
    """{"scaled": whether the count of instances follows the requests, "min": …, "max": …}"""
    endpoint = look_at_endpoint(sagemaker, project)
    if endpoint is None or endpoint.status != "InService":
        log("NotScaled", reason=f"the endpoint is {endpoint.status if endpoint else 'gone'}; its next event brings this function back")
        return {"scaled": False}
    least, most = instance_counts(sagemaker, endpoint)
    if most > least:
        register(autoscaling, project, least, most, invocations_per_minute)
    else:
        deregister(autoscaling, project)
    log("Scaled", execution=run_of(endpoint.config), min=least, max=most, follows_requests=most > least)
    return {"scaled": most > least, "min": least, "max": most}


def instance_counts(sagemaker: Any, endpoint: Endpoint) -> tuple[int, int]:
    """The least and the most; both 0 where the endpoint is serverless or its config is gone, so that nothing scales."""
    config = describe_config(sagemaker, endpoint.config)
    count = int(config["ProductionVariants"][0].get("InitialInstanceCount", 0)) if config else 0
    if config is None or not count:
        return 0, 0
    most = tags_of(sagemaker, config["EndpointConfigArn"]).get("max_instance_count", "")
    return count, int(most) if most.isdecimal() else count


def register(autoscaling: Any, project: str, least: int, most: int, invocations_per_minute: float) -> None:
    """Makes the variant a scalable target, or changes its bounds, and puts the one policy."""
    autoscaling.register_scalable_target(**scalable_target(project), MinCapacity=least, MaxCapacity=most)
    autoscaling.put_scaling_policy(
        **scalable_target(project),
        PolicyName=POLICY,
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": invocations_per_minute,
            "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
            "ScaleOutCooldown": SCALE_OUT_SECONDS,
            "ScaleInCooldown": SCALE_IN_SECONDS,
        },
    )


def deregister(autoscaling: Any, project: str) -> None:
    """The variant keeps the instances that it has; its policies go with it, and one that was no target stays none."""
    try:
        autoscaling.deregister_scalable_target(**scalable_target(project))
    except ClientError as error:
        if not is_absent(error):
            raise


def scalable_target(project: str) -> dict[str, str]:
    """How Application Auto Scaling names the variant."""
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{project}/variant/{VARIANT}",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
