"""The role of the state machine: what the requests in sagemaker_requests.py start, under this project's names only.

Runs at synth. A test holds it against every request of every way through the machine.
"""

from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sns as sns
from constructs import Construct

from stacks.encryption import Encryption
from stacks.images import Images
from stacks.permissions import allow, explain, resource_arn, service_role
from stacks.roles import JobRoles, allow_rollback_alarms
from stacks.tidying import NEW_NAMES, allow_deleting_endpoint, state_machine_arn

LOG_DELIVERY = [
    "logs:CreateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:DescribeLogGroups",
    "logs:DescribeResourcePolicies",
    "logs:GetLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:UpdateLogDelivery",
]
TRACE = ["xray:GetSamplingRules", "xray:GetSamplingTargets", "xray:PutTelemetryRecords", "xray:PutTraceSegments"]


def add_state_machine_role(
    scope: Construct,
    *,
    project: str,
    encryption: Encryption,
    called: list[lambda_.Function],
    passed: JobRoles,
    images: Images,
    artefacts: str,
    topic: sns.ITopic,
) -> iam.Role:
    """The role, with all but what CDK adds for logs and traces, which is only explained here."""
    role = service_role(scope, "StateMachineRole", "states")
    allow(role, ["lambda:InvokeFunction"], *[each.function_arn for each in called], why="States are functions.")
    explain(role, LOG_DELIVERY, "*", why="The machine's events are logged.", why_wildcard="The delivery of vended logs knows no resource.")
    explain(role, TRACE, "*", why="It is traced.", why_wildcard="X-Ray takes traces without naming a resource.")
    allow_jobs(role, project)
    allow_deployment(role, project)
    allow_registration(role, project)
    allow_looking_at_what_is_registered(role, images, artefacts)
    allow_waiting_for_jobs(role)
    to_sagemaker = {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
    arns = [each.role_arn for each in passed.all]
    allow(role, ["iam:PassRole"], *arns, why="Jobs and endpoints bear these roles.", conditions=to_sagemaker)
    allow(role, ["sns:Publish"], topic.topic_arn, why="It tells how an execution ended.")
    failing = "The last state of a failed execution fails by its own token, so that a redrive enters it again."
    allow(role, ["states:SendTaskFailure"], state_machine_arn(role, project), why=failing)
    encryption.allow_use(role, "Messages are encrypted with the deployment's key.")
    encryption.allow_storage(role)
    return role


def allow_jobs(role: iam.Role, project: str) -> None:
    """Processing, tuning and training jobs: started, waited for, stopped."""
    why = "It starts its jobs, waits for them and stops them."
    processing_jobs = resource_arn(role, "sagemaker", f"processing-job/{project}-*")
    tuning_jobs = resource_arn(role, "sagemaker", f"hyper-parameter-tuning-job/{project}-*")
    training_jobs = resource_arn(role, "sagemaker", f"training-job/{project}-*")
    processing = [f"sagemaker:{verb}ProcessingJob" for verb in ("Create", "Describe", "Stop")]
    allow(role, processing, processing_jobs, why=why, why_wildcard=NEW_NAMES)
    tuning = [f"sagemaker:{verb}HyperParameterTuningJob" for verb in ("Create", "Describe", "Stop")]
    tuning += ["sagemaker:ListTrainingJobsForHyperParameterTuningJob"]
    allow(role, tuning, tuning_jobs, why=why, why_wildcard=NEW_NAMES)
    training = [f"sagemaker:{verb}TrainingJob" for verb in ("Create", "Describe", "Stop")]
    allow(role, training, training_jobs, why=why, why_wildcard=NEW_NAMES)
    tags = ["sagemaker:AddTags", "sagemaker:ListTags"]
    marked = "Tags say whose a job is and which execution made it."
    allow(role, tags, processing_jobs, tuning_jobs, training_jobs, why=marked, why_wildcard=NEW_NAMES)


def allow_deployment(role: iam.Role, project: str) -> None:
    """The model, its endpoint config, and the one endpoint, which is made, updated, restored and removed."""
    models = resource_arn(role, "sagemaker", f"model/{project}-*")
    configs = resource_arn(role, "sagemaker", f"endpoint-config/{project}-*")
    endpoint = resource_arn(role, "sagemaker", f"endpoint/{project}")
    why = "It deploys the model."
    allow(role, ["sagemaker:CreateModel"], models, why=why, why_wildcard=NEW_NAMES)
    allow(role, ["sagemaker:CreateEndpointConfig"], configs, why=why, why_wildcard=NEW_NAMES)
    moved = ["sagemaker:CreateEndpoint", "sagemaker:UpdateEndpoint"]
    allow(role, moved, endpoint, configs, why=f"{why} Both are asked about the endpoint and about its config.", why_wildcard=NEW_NAMES)
    allow(role, ["sagemaker:DescribeEndpoint"], endpoint, why="It waits for the endpoint.")
    allow_deleting_endpoint(role, project, why="It removes an endpoint that it made and that fails.")
    tags = ["sagemaker:AddTags", "sagemaker:ListTags"]
    marked = "Tags say whose a model is and which execution made it."
    allow(role, tags, models, configs, endpoint, why=marked, why_wildcard=NEW_NAMES)
    allow_rollback_alarms(role, project)


def allow_registration(role: iam.Role, project: str) -> None:
    """A version in the group; creating one is asked about the version and about the group, which the version's own rights do not hold."""
    group = resource_arn(role, "sagemaker", f"model-package-group/{project}")
    versions = resource_arn(role, "sagemaker", f"model-package/{project}/*")
    numbered = "Versions are numbered."
    why = "It registers the model as a version of the group."
    allow(role, ["sagemaker:CreateModelPackage"], group, versions, why=why, why_wildcard=numbered)
    why = "It records that the model was deployed."
    allow(role, ["sagemaker:UpdateModelPackage"], versions, why=why, why_wildcard=numbered)
    why = "It waits for the version's approval."
    allow(role, ["sagemaker:DescribeModelPackage"], versions, why=why, why_wildcard=numbered)


def allow_looking_at_what_is_registered(role: iam.Role, images: Images, artefacts: str) -> None:
    """A version bears no role, so SageMaker looks at its image and artefact, whose digest and ETag it keeps, in the caller's name.

    AWS says so by its policy AmazonSageMakerModelRegistryFullAccess alone, which has these three beside the registry's own.
    """
    why = "SageMaker looks at what a version is made of in the name of who registers it."
    own = "Each execution leaves its artefact in a folder of its own."
    allow(role, ["s3:GetObject"], artefacts, why=why, why_wildcard=own)
    if images.serving_repositories:
        allow(role, ["ecr:BatchGetImage", "ecr:DescribeImages"], *images.serving_repositories, why=why)


def allow_waiting_for_jobs(role: iam.Role) -> None:
    """`.sync` hears of a job's end through rules that Step Functions itself keeps in the account."""
    kinds = ("Processing", "Tuning", "Training")
    rules = [resource_arn(role, "events", f"rule/StepFunctionsGetEventsForSageMaker{kind}JobsRule") for kind in kinds]
    why = "Step Functions hears of a job's end through these rules, which are its own."
    allow(role, ["events:PutTargets", "events:PutRule", "events:DescribeRule"], *rules, why=why)
