"""Permissions of the functions that clean up: stop jobs, delete models and endpoint configs, read what is served and must be kept.

Runs at synth. CleanUp and PruneModels are called by the state machine, ReapExecution by an event; they share these statements, not roles.
"""

from aws_cdk import aws_iam as iam
from constructs import Construct

from stacks.permissions import allow, resource_arn

NEW_NAMES = "Jobs, models and endpoint configs have new names each time; all begin with the project's name."
NO_RESOURCE = "List actions have no resource-level permissions."
ENDPOINTS_ONLY = {
    "StringEquals": {
        "application-autoscaling:service-namespace": "sagemaker",
        "application-autoscaling:scalable-dimension": "sagemaker:variant:DesiredInstanceCount",
    }
}


def allow_stopping_jobs(role: iam.Role, project: str, *, why: str) -> None:
    """Finds the jobs of a run - a tuning job by its tag - and stops them."""
    lists = ["sagemaker:ListProcessingJobs", "sagemaker:ListTrainingJobs", "sagemaker:ListHyperParameterTuningJobs"]
    allow(role, lists, "*", why=why, why_wildcard=NO_RESOURCE)
    kinds = (
        ("processing-job", "ProcessingJob"),
        ("training-job", "TrainingJob"),
        ("hyper-parameter-tuning-job", "HyperParameterTuningJob"),
    )
    for kind, noun in kinds:
        jobs = resource_arn(role, "sagemaker", f"{kind}/{project}-*")
        allow(role, [f"sagemaker:Stop{noun}"], jobs, why=why, why_wildcard=NEW_NAMES)
    tuning_jobs = resource_arn(role, "sagemaker", f"hyper-parameter-tuning-job/{project}-*")
    tagged = "A tuning job's name is too short for the run; a tag holds it."
    allow(role, ["sagemaker:ListTags"], tuning_jobs, why=tagged, why_wildcard=NEW_NAMES)


def allow_removing(role: iam.Role, project: str, *, why: str) -> None:
    """Finds models and endpoint configs, and deletes them."""
    allow(role, ["sagemaker:ListModels", "sagemaker:ListEndpointConfigs"], "*", why=why, why_wildcard=NO_RESOURCE)
    for kind, noun in (("model", "Model"), ("endpoint-config", "EndpointConfig")):
        made = resource_arn(role, "sagemaker", f"{kind}/{project}-*")
        allow(role, [f"sagemaker:Delete{noun}"], made, why=why, why_wildcard=NEW_NAMES)


def allow_reading_deployments(role: iam.Role, project: str, *, why: str) -> None:
    """Reads what the endpoint serves, and the newest deployed version of the project's model package group."""
    endpoint = resource_arn(role, "sagemaker", f"endpoint/{project}")
    allow(role, ["sagemaker:DescribeEndpoint"], endpoint, why=why)
    configs = resource_arn(role, "sagemaker", f"endpoint-config/{project}-*")
    allow(role, ["sagemaker:DescribeEndpointConfig"], configs, why=why, why_wildcard=NEW_NAMES)
    allow_reading_model_packages(role, project, why=why)


def allow_reading_model_packages(role: iam.Role, project: str, *, why: str) -> None:
    """Reads the versions of the project's model package group."""
    versions = resource_arn(role, "sagemaker", f"model-package/{project}/*")
    allow(role, ["sagemaker:DescribeModelPackage"], versions, why=why, why_wildcard="Versions are numbered.")
    # AWS's reference names the versions, AWS's examples name the group too.
    group = resource_arn(role, "sagemaker", f"model-package-group/{project}")
    allow(role, ["sagemaker:ListModelPackages"], group, versions, why=why, why_wildcard="Versions are numbered.")


def allow_deleting_endpoint(role: iam.Role, project: str, *, why: str) -> None:
    """SageMaker deletes an endpoint with autoscaling only for callers that may also deregister its scalable target."""
    allow(role, ["sagemaker:DeleteEndpoint"], resource_arn(role, "sagemaker", f"endpoint/{project}"), why=why)
    targets = resource_arn(role, "application-autoscaling", "scalable-target/*")
    why = "An endpoint with autoscaling can be deleted, or moved to another instance type, only after deregistration."
    allow(
        role,
        ["application-autoscaling:DeregisterScalableTarget"],
        targets,
        why=why,
        why_wildcard="AWS chooses the target's id; the condition limits it to endpoints.",
        conditions=ENDPOINTS_ONLY,
    )


def allow_listing_executions(role: iam.Role, project: str, *, why: str) -> None:
    """Names the state machine instead of referring to it, because it calls some of these functions: a reference would be circular."""
    allow(role, ["states:ListExecutions"], state_machine_arn(role, project), why=why)


def state_machine_arn(scope: Construct, project: str) -> str:
    """ARN of the project's state machine, by its name."""
    return resource_arn(scope, "states", f"stateMachine:{project}")
