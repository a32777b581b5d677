"""What the functions that tidy up may do: stop jobs, delete models and endpoint configs, and look at what is served and must stay.

Runs at synth. CleanUp and PruneModels are called by the state machine, ReapExecution by an event; they share these statements, not roles.
"""

from aws_cdk import aws_iam as iam
from constructs import Construct

from stacks.permissions import allow, resource_arn

NEW_NAMES = "Jobs, models and endpoint configs get a new name each time; all begin with the project's."
NO_RESOURCE = "Listing knows no resource."
ENDPOINTS_ONLY = {
    "StringEquals": {
        "application-autoscaling:service-namespace": "sagemaker",
        "application-autoscaling:scalable-dimension": "sagemaker:variant:DesiredInstanceCount",
    }
}


def allow_stopping_jobs(role: iam.Role, project: str, *, why: str) -> None:
    """Finding the jobs of a run - a tuning job by its tag - and stopping them."""
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
    tagged = "The name of a tuning job has no room for the run; a tag says it."
    allow(role, ["sagemaker:ListTags"], tuning_jobs, why=tagged, why_wildcard=NEW_NAMES)


def allow_removing(role: iam.Role, project: str, *, why: str) -> None:
    """Finding models and endpoint configs, and deleting them."""
    allow(role, ["sagemaker:ListModels", "sagemaker:ListEndpointConfigs"], "*", why=why, why_wildcard=NO_RESOURCE)
    for kind, noun in (("model", "Model"), ("endpoint-config", "EndpointConfig")):
        made = resource_arn(role, "sagemaker", f"{kind}/{project}-*")
        allow(role, [f"sagemaker:Delete{noun}"], made, why=why, why_wildcard=NEW_NAMES)


def allow_looking_at_deployments(role: iam.Role, project: str, *, why: str) -> None:
    """What the endpoint serves, and what the newest deployed version in the project's model package group is."""
    endpoint = resource_arn(role, "sagemaker", f"endpoint/{project}")
    allow(role, ["sagemaker:DescribeEndpoint"], endpoint, why=why)
    configs = resource_arn(role, "sagemaker", f"endpoint-config/{project}-*")
    allow(role, ["sagemaker:DescribeEndpointConfig"], configs, why=why, why_wildcard=NEW_NAMES)
    allow_reading_model_packages(role, project, why=why)


def allow_reading_model_packages(role: iam.Role, project: str, *, why: str) -> None:
    """The versions of the project's model package group."""
    versions = resource_arn(role, "sagemaker", f"model-package/{project}/*")
    allow(role, ["sagemaker:DescribeModelPackage"], versions, why=why, why_wildcard="Versions are numbered.")
    # AWS's reference has the versions, AWS's examples have the group too.
    group = resource_arn(role, "sagemaker", f"model-package-group/{project}")
    allow(role, ["sagemaker:ListModelPackages"], group, versions, why=why, why_wildcard="Versions are numbered.")


def allow_deleting_endpoint(role: iam.Role, project: str, *, why: str) -> None:
    """SageMaker deletes an endpoint that scales only for who may also end its scaling."""
    allow(role, ["sagemaker:DeleteEndpoint"], resource_arn(role, "sagemaker", f"endpoint/{project}"), why=why)
    targets = resource_arn(role, "application-autoscaling", "scalable-target/*")
    why = "An endpoint that scales is deleted, and moved to other machines, only once it scales no more."
    allow(
        role,
        ["application-autoscaling:DeregisterScalableTarget"],
        targets,
        why=why,
        why_wildcard="AWS chooses the target's id; the condition leaves endpoints only.",
        conditions=ENDPOINTS_ONLY,
    )


def allow_listing_executions(role: iam.Role, project: str, *, why: str) -> None:
    """The machine is named, not referred to: it calls some of the functions that look at it."""
    allow(role, ["states:ListExecutions"], state_machine_arn(role, project), why=why)


def state_machine_arn(scope: Construct, project: str) -> str:
    """The project's state machine, by its name."""
    return resource_arn(scope, "states", f"stateMachine:{project}")
