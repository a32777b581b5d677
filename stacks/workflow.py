"""Workflow: the state machine, its two Lambda functions, and the roles of its jobs and models.

Runs at synth. Each role holds the few things that its bearer does: no managed policy, no `*` where a name can stand.
"""

import json

from aws_cdk import Aws, CfnResource, Duration, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_stepfunctions as stepfunctions
from constructs import Construct

from stacks.configuration import Config
from stacks.function import Function
from stacks.images import Images
from stacks.permissions import acknowledge, allow, resource_arn
from stacks.source_archive import SourceArchive, preparation_code
from stacks.state_machine import definition
from stacks.storage import Storage
from training import contract

ARCHIVE_SUFFIX = ".gz"
"""How CDK names the source archive in the bootstrap bucket, after its hash; the assets of Lambda functions end in .zip."""

RULES_REPOSITORY = "sagemaker-debugger-rules"

WRITE = ["s3:PutObject", "s3:AbortMultipartUpload"]


class Workflow(Construct):
    """From photos in the bucket to an endpoint in service."""

    def __init__(self, scope: Construct, id: str, *, config: Config, storage: Storage) -> None:  # noqa: A002 - CDK's own name for it
        """Adds the state machine and all it needs."""
        super().__init__(scope, id)
        self.config, self.storage = config, storage
        self.images = Images(self, "Images", config=config)
        self.source_archive = SourceArchive(self, "SourceArchive")
        self.prepare_execution = self.add_prepare_execution()
        self.preparation_role = self.add_preparation_role()
        self.assess_model = self.add_assess_model()
        self.training_role = self.add_training_role("TrainingRole")
        self.managed_training_role = self.add_managed_training_role()
        self.hosting_role = self.add_hosting_role()
        self.role = self.add_role()
        self.state_machine = self.add_state_machine()

    @property
    def source_archive_uri(self) -> str:
        """`s3://…` of the source archive."""
        asset = self.source_archive.asset
        return f"s3://{asset.s3_bucket_name}/{asset.s3_object_key}"

    def add_prepare_execution(self) -> Function:
        """The function looks through the bucket, and writes the weights into it."""
        bucket = self.storage.bucket
        function = Function(
            self,
            "PrepareExecution",
            module="prepare_execution",
            config=self.config,
            memory_mb=512,
            timeout=Duration.minutes(15),
            environment={
                "BUCKET": bucket.bucket_name,
                "PROJECT": self.config.project,
                "PREPARATION_CODE": preparation_code(),
                "TRAINING_IMAGE_CPU": self.images.training_cpu,
                "TRAINING_IMAGE_GPU": self.images.training_gpu,
                "SERVING_IMAGE_CPU": self.images.serving_cpu,
                "SERVING_IMAGE_GPU": self.images.serving_gpu,
            },
        )
        allow(function.role, ["s3:ListBucket"], bucket.bucket_arn)
        weights = ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"]
        allow(
            function.role,
            weights,
            bucket.arn_for_objects("weights/*"),
            why_wildcard="The description there names the file.",
        )
        descriptions = bucket.arn_for_objects("prepared-data-sets/*/dataset.json")
        allow(function.role, ["s3:GetObject"], descriptions, why_wildcard="Each prepared data set has a folder of its own there.")
        return function

    def add_preparation_role(self) -> iam.Role:
        """The processing job alone writes prepared data sets, and the summary of what it found."""
        role = iam.Role(self, "PreparationRole", assumed_by=sagemaker())
        self.allow_inputs(role)
        bucket = self.storage.bucket
        data_sets, summaries = bucket.arn_for_objects("prepared-data-sets/*"), bucket.arn_for_objects("executions/*/prepare/*")
        allow(role, WRITE, data_sets, why_wildcard="Each prepared data set has a folder of its own there.")
        allow(role, WRITE, summaries, why_wildcard="Each execution has a folder of its own there.")
        allow_image_and_logs(role, self.images.training_repositories, "/aws/sagemaker/ProcessingJobs")
        return role

    def add_assess_model(self) -> Function:
        """The function reads what the rules said in a report; S3 tells only those who may list that a file is missing."""
        bucket = self.storage.bucket
        function = Function(
            self,
            "AssessModel",
            module="assess_model",
            config=self.config,
            memory_mb=256,
            timeout=Duration.minutes(1),
            environment={},
        )
        allow(function.role, ["s3:ListBucket"], bucket.bucket_arn)
        verdicts = bucket.arn_for_objects(f"executions/*/{contract.REPORT}/*rule_statuses.json")
        allow(function.role, ["s3:GetObject"], verdicts, why_wildcard="Each training job has a folder of its own there.")
        return function

    def add_training_role(self, id: str) -> iam.Role:  # noqa: A002 - CDK's own name for it
        """A training job leaves what it makes under `executions/`; a data set that it reads it cannot change."""
        role = iam.Role(self, id, assumed_by=sagemaker())
        self.allow_inputs(role)
        executions = self.storage.bucket.arn_for_objects("executions/*")
        allow(role, WRITE, executions, why_wildcard="Each execution has a folder of its own there.")
        allow_image_and_logs(role, self.images.training_repositories, "/aws/sagemaker/TrainingJobs")
        return role

    def add_managed_training_role(self) -> iam.Role:
        """AWS's Debugger runs its rules in the job's name, as processing jobs that read and write beside it, and may stop it."""
        role = self.add_training_role("ManagedTrainingRole")
        rules = f"arn:{Aws.PARTITION}:ecr:{Aws.REGION}:*:repository/{RULES_REPOSITORY}"
        pull = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
        allow(role, pull, rules, why_wildcard="AWS publishes it from another account in each region, and from none in some.")
        allow_image_and_logs(role, [], "/aws/sagemaker/ProcessingJobs")
        own_jobs = resource_arn(role, "sagemaker", f"training-job/{self.config.project}-*")
        allow(
            role, ["sagemaker:StopTrainingJob"], own_jobs, why_wildcard="A rule stops the job that it judges, whose name is new each time."
        )
        allow(
            role, ["sagemaker:ListTrainingJobs"], "*", why_wildcard="A rule looks for the job by its name, and listing knows no resource."
        )
        return role

    def allow_inputs(self, role: iam.Role) -> None:
        """A processing or training job reads photos, weights, prepared data sets and its code."""
        bucket, asset = self.storage.bucket, self.source_archive.asset
        asset_bucket = f"arn:{Aws.PARTITION}:s3:::{asset.s3_bucket_name}"
        allow(role, ["s3:ListBucket", "s3:GetBucketLocation"], bucket.bucket_arn)
        allow(role, ["s3:GetObject"], bucket.arn_for_objects("*"), why_wildcard="The photos may lie under any prefix of the bucket.")
        older = "The archive's name is a hash, and an execution that is running while the stack is deployed goes on with the older archive."
        allow(role, ["s3:GetObject"], f"{asset_bucket}/*{ARCHIVE_SUFFIX}", why_wildcard=older)
        allow(role, ["s3:ListBucket"], asset_bucket, conditions={"StringLike": {"s3:prefix": f"*{ARCHIVE_SUFFIX}"}})

    def add_hosting_role(self) -> iam.Role:
        """An endpoint reads its artefact."""
        role = iam.Role(self, "HostingRole", assumed_by=sagemaker())
        artefacts = self.storage.bucket.arn_for_objects("executions/*")
        allow(role, ["s3:GetObject"], artefacts, why_wildcard="Each execution leaves its artefact in a folder of its own.")
        allow_image_and_logs(role, self.images.serving_repositories, "/aws/sagemaker/Endpoints", "/*")
        return role

    def add_role(self) -> iam.Role:
        """The state machine may start what the requests in sagemaker_requests.py start, under this project's names only."""
        role = iam.Role(self, "StateMachineRole", assumed_by=iam.ServicePrincipal("states.amazonaws.com"))
        called = [each.function.function_arn for each in (self.prepare_execution, self.assess_model)]
        allow(role, ["lambda:InvokeFunction"], *called)
        acknowledge(role, "AwsSolutions-IAM5[Resource::*]", "X-Ray and the delivery of vended logs know no resource.")
        allow_sagemaker(role, self.config.project)
        allow_waiting_for_jobs(role)
        roles = (self.preparation_role, self.training_role, self.managed_training_role, self.hosting_role)
        passed = [each.role_arn for each in roles]
        allow(role, ["iam:PassRole"], *passed, conditions={"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}})
        return role

    def add_state_machine(self) -> stepfunctions.StateMachine:
        """The machine, with all its events logged and traced."""
        log_group = logs.LogGroup(
            self,
            "Logs",
            log_group_name=f"/aws/vendedlogs/states/{self.config.project}",
            retention=self.config.log_retention,
            removal_policy=RemovalPolicy.DESTROY,
        )
        state_machine = stepfunctions.StateMachine(
            self,
            "StateMachine",
            state_machine_name=self.config.project,
            definition_body=stepfunctions.DefinitionBody.from_string(json.dumps(definition())),
            definition_substitutions=self.substitutions(),
            role=self.role,
            logs=stepfunctions.LogOptions(destination=log_group, level=stepfunctions.LogLevel.ALL, include_execution_data=True),
            tracing_enabled=True,
        )
        # cfn-lint takes no ARN but arn:aws:…, and this one is filled in at deploy time; the tests lint the definition with it filled in.
        resource = state_machine.node.default_child
        assert isinstance(resource, CfnResource)
        resource.add_metadata("cfn-lint", {"config": {"ignore_checks": ["E3601"]}})
        return state_machine

    def substitutions(self) -> dict[str, str]:
        """What CloudFormation writes in the place of each `${…}` of the definition."""
        return {
            "Partition": Aws.PARTITION,
            "Project": self.config.project,
            "PrepareExecutionArn": self.prepare_execution.function.function_arn,
            "PrepareExecutionLogGroup": self.prepare_execution.log_group.log_group_name,
            "AssessModelArn": self.assess_model.function.function_arn,
            "AssessModelLogGroup": self.assess_model.log_group.log_group_name,
            "PreparationRoleArn": self.preparation_role.role_arn,
            "TrainingRoleArn": self.training_role.role_arn,
            "ManagedTrainingRoleArn": self.managed_training_role.role_arn,
            "HostingRoleArn": self.hosting_role.role_arn,
            "SourceArchiveUri": self.source_archive_uri,
            "SourceArchiveName": self.source_archive.asset.s3_object_key.rpartition("/")[2],
        }


def sagemaker() -> iam.IPrincipal:
    """SageMaker, acting for this account and for no other."""
    return iam.ServicePrincipal("sagemaker.amazonaws.com", conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}})


def allow_image_and_logs(role: iam.Role, repositories: list[str], kind: str, groups_below: str = "") -> None:
    """What SageMaker does in the role's name around any container: pulls the image, writes the log, counts.

    `kind`: the namespace of the metrics, and the log group unless `groups_below` says that it has several.
    """
    if repositories:
        allow(role, ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"], *repositories)
        allow(role, ["ecr:GetAuthorizationToken"], "*", why_wildcard="The token is the registry's, not an image's.")
    group = resource_arn(role, "logs", f"log-group:{kind}{groups_below}")
    write = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
    allow(role, write, group, f"{group}:*", why_wildcard="SageMaker names streams after jobs, a group after its endpoint.")
    count = {"StringEquals": {"cloudwatch:namespace": [kind, "AWS/SageMaker"]}}
    allow(role, ["cloudwatch:PutMetricData"], "*", conditions=count, why_wildcard="CloudWatch knows no resource; the namespace is limited.")


def allow_sagemaker(role: iam.Role, project: str) -> None:
    """The SageMaker actions of the state machine, each on the resources it makes."""
    processing_jobs = resource_arn(role, "sagemaker", f"processing-job/{project}-*")
    tuning_jobs = resource_arn(role, "sagemaker", f"hyper-parameter-tuning-job/{project}-*")
    training_jobs = resource_arn(role, "sagemaker", f"training-job/{project}-*")
    models = resource_arn(role, "sagemaker", f"model/{project}-*")
    endpoint_configs = resource_arn(role, "sagemaker", f"endpoint-config/{project}-*")
    endpoint = resource_arn(role, "sagemaker", f"endpoint/{project}")
    new_names = "Jobs, models and endpoint configs get a new name each time; all begin with the project's."
    allow(role, [f"sagemaker:{verb}ProcessingJob" for verb in ("Create", "Describe", "Stop")], processing_jobs, why_wildcard=new_names)
    tuning = [f"sagemaker:{verb}HyperParameterTuningJob" for verb in ("Create", "Describe", "Stop")]
    allow(role, [*tuning, "sagemaker:ListTrainingJobsForHyperParameterTuningJob"], tuning_jobs, why_wildcard=new_names)
    allow(role, [f"sagemaker:{verb}TrainingJob" for verb in ("Create", "Describe", "Stop")], training_jobs, why_wildcard=new_names)
    allow(role, ["sagemaker:CreateModel"], models, why_wildcard=new_names)
    allow(role, ["sagemaker:CreateEndpointConfig"], endpoint_configs, why_wildcard=new_names)
    allow(role, ["sagemaker:CreateEndpoint", "sagemaker:UpdateEndpoint"], endpoint, endpoint_configs, why_wildcard=new_names)
    allow(role, ["sagemaker:DescribeEndpoint", "sagemaker:DeleteEndpoint"], endpoint)
    tagged = [processing_jobs, tuning_jobs, training_jobs, models, endpoint_configs, endpoint]
    allow(role, ["sagemaker:AddTags", "sagemaker:ListTags"], *tagged, why_wildcard=new_names)


def allow_waiting_for_jobs(role: iam.Role) -> None:
    """`.sync` hears of a job's end through rules that Step Functions itself keeps in the account."""
    kinds = ("Processing", "Tuning", "Training")
    rules = [resource_arn(role, "events", f"rule/StepFunctionsGetEventsForSageMaker{kind}JobsRule") for kind in kinds]
    allow(role, ["events:PutTargets", "events:PutRule", "events:DescribeRule"], *rules)
