"""The role of the state machine: the requests of stacks/state_machine/, for this project's names only.

Runs at synth. A test checks it against every request on every path through the state machine.
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
    """Adds the role; CDK itself adds the permissions for logs and traces, which are only explained here."""
    role = service_role(scope, "StateMachineRole", "states")
    allow(role, ["lambda:InvokeFunction"], *[each.function_arn for each in called], why="Some states are functions.")
    explain(role, LOG_DELIVERY, "*", why="It logs its events.", why_wildcard="Log delivery has no resource-level permissions.")
    explain(role, TRACE, "*", why="It writes traces.", why_wildcard="X-Ray has no resource-level permissions for traces.")
    allow_jobs(role, project)
    allow_deployment(role, project)
    allow_registration(role, project)
    allow_reading_registered_files(role, images, artefacts)
    allow_waiting_for_jobs(role)
    to_sagemaker = {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
    arns = [each.role_arn for each in passed.all]
    allow(role, ["iam:PassRole"], *arns, why="Jobs and endpoints run with these roles.", conditions=to_sagemaker)
    allow(role, ["sns:Publish"], topic.topic_arn, why="It publishes how an execution ended.")
    failing = "The last state of a failed execution fails with its own task token, so that a redrive enters it again."
    allow(role, ["states:SendTaskFailure"], state_machine_arn(role, project), why=failing)
    encryption.allow_use(role, "Messages are encrypted with the deployment's key.")
    encryption.allow_storage(role)
    return role


def allow_jobs(role: iam.Role, project: str) -> None:
    """Processing, tuning and training jobs: start, wait, stop."""
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
    marked = "Tags name a job's project and execution."
    allow(role, tags, processing_jobs, tuning_jobs, training_jobs, why=marked, why_wildcard=NEW_NAMES)


def allow_deployment(role: iam.Role, project: str) -> None:
    """The model, its endpoint config, and the one endpoint: create, update, restore, delete."""
    models = resource_arn(role, "sagemaker", f"model/{project}-*")
    configs = resource_arn(role, "sagemaker", f"endpoint-config/{project}-*")
    endpoint = resource_arn(role, "sagemaker", f"endpoint/{project}")
    why = "It deploys the model."
    allow(role, ["sagemaker:CreateModel"], models, why=why, why_wildcard=NEW_NAMES)
    allow(role, ["sagemaker:CreateEndpointConfig"], configs, why=why, why_wildcard=NEW_NAMES)
    moved = ["sagemaker:CreateEndpoint", "sagemaker:UpdateEndpoint"]
    allow(role, moved, endpoint, configs, why=f"{why} Both actions need the endpoint and its config.", why_wildcard=NEW_NAMES)
    allow(role, ["sagemaker:DescribeEndpoint"], endpoint, why="It waits for the endpoint.")
    allow_deleting_endpoint(role, project, why="It deletes an endpoint that it created and that failed.")
    tags = ["sagemaker:AddTags", "sagemaker:ListTags"]
    marked = "Tags name a model's project and execution."
    allow(role, tags, models, configs, endpoint, why=marked, why_wildcard=NEW_NAMES)
    allow_rollback_alarms(role, project)


def allow_registration(role: iam.Role, project: str) -> None:
    """A version in the group; creating one is authorised for the version and for the group."""
    group = resource_arn(role, "sagemaker", f"model-package-group/{project}")
    versions = resource_arn(role, "sagemaker", f"model-package/{project}/*")
    numbered = "Versions are numbered."
    why = "It registers the model as a version of the group."
    allow(role, ["sagemaker:CreateModelPackage"], group, versions, why=why, why_wildcard=numbered)
    why = "It records that the model was deployed."
    allow(role, ["sagemaker:UpdateModelPackage"], versions, why=why, why_wildcard=numbered)
    why = "It waits for the version's approval."
    allow(role, ["sagemaker:DescribeModelPackage"], versions, why=why, why_wildcard=numbered)


def allow_reading_registered_files(role: iam.Role, images: Images, artefacts: str) -> None:
    """A version has no role, so SageMaker reads its image and artefact, whose digest and ETag it stores, with the caller's permissions.

    The only source for this is AWS's policy AmazonSageMakerModelRegistryFullAccess, which has these three beside the registry's own.
    """
    why = "SageMaker reads a version's image and artefact with the permissions of the caller that registers it."
    own = "Each execution stores its artefact in its own folder."
    allow(role, ["s3:GetObject"], artefacts, why=why, why_wildcard=own)
    if images.serving_repositories:
        allow(role, ["ecr:BatchGetImage", "ecr:DescribeImages"], *images.serving_repositories, why=why)


def allow_waiting_for_jobs(role: iam.Role) -> None:
    """`.sync` is notified of a job's end by rules that Step Functions itself manages in the account."""
    kinds = ("Processing", "Tuning", "Training")
    rules = [resource_arn(role, "events", f"rule/StepFunctionsGetEventsForSageMaker{kind}JobsRule") for kind in kinds]
    why = "Step Functions manages these rules, which notify it of a job's end."
    allow(role, ["events:PutTargets", "events:PutRule", "events:DescribeRule"], *rules, why=why)
