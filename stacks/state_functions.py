"""The Lambda functions that the state machine calls, one per state that is a function, each with its own role.

Runs at synth. State, file in `lambdas/` and construct have the same name: PrepareExecution is lambdas/prepare_execution.py.
"""

from typing import Any

from aws_cdk import Duration
from constructs import Construct

from stacks.configuration import Config
from stacks.encryption import Encryption
from stacks.function import Function
from stacks.images import Images
from stacks.permissions import allow, resource_arn
from stacks.source_archive import preparation_code
from stacks.storage import Storage
from stacks.tidying import (
    NEW_NAMES,
    allow_listing_executions,
    allow_reading_deployments,
    allow_reading_model_packages,
    allow_removing,
    allow_stopping_jobs,
    state_machine_arn,
)
from training import contract

EXECUTION_FOLDERS = "Each execution has its own folder there."
PRICES = "prices.json"
OWN_PRICES = "The account's own prices may be stored there."
JOB_FOLDERS = "Each training job has its own folder there."


class StateFunctions(Construct):
    """PrepareExecution, AssessModel, VerifyEndpoint, PruneModels, PublishReport and CleanUp."""

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - CDK's own name for it
        *,
        config: Config,
        encryption: Encryption,
        storage: Storage,
        images: Images,
    ) -> None:
        """Adds the six functions; `by_state` maps state to function."""
        super().__init__(scope, id)
        self.config, self.encryption, self.storage, self.images = config, encryption, storage, images
        self.by_state = {
            "PrepareExecution": self.add_prepare_execution(),
            "AssessModel": self.add_assess_model(),
            "VerifyEndpoint": self.add_verify_endpoint(),
            "PruneModels": self.add_prune_models(),
            "PublishReport": self.add_publish_report(),
            "CleanUp": self.add_clean_up(),
        }

    def add(self, state: str, module: str, memory_mb: int, timeout: Duration, **environment: str) -> Function:
        """Adds the function of a state."""
        options: dict[str, Any] = {"memory_mb": memory_mb, "timeout": timeout, "environment": environment}
        return Function(self, state, module=module, config=self.config, encryption=self.encryption, **options)

    def add_prepare_execution(self) -> Function:
        """The function lists the photos and writes the weights into the bucket."""
        bucket = self.storage.bucket
        function = self.add(
            "PrepareExecution",
            "prepare_execution",
            512,
            Duration.minutes(15),
            BUCKET=bucket.bucket_name,
            PROJECT=self.config.project,
            PREPARATION_CODE=preparation_code(),
            TRAINING_IMAGE_CPU=self.images.training_cpu,
            TRAINING_IMAGE_GPU=self.images.training_gpu,
            SERVING_IMAGE_CPU=self.images.serving_cpu,
            SERVING_IMAGE_GPU=self.images.serving_gpu,
        )
        role = function.role
        allow(role, ["s3:ListBucket"], bucket.bucket_arn, why="It lists the photos' names.")
        allow(role, ["s3:GetObject"], bucket.arn_for_objects(PRICES), why=OWN_PRICES)
        weights = ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"]
        named = "A description in this folder names the file."
        allow(role, weights, bucket.arn_for_objects("weights/*"), why="It stages the pretrained weights.", why_wildcard=named)
        descriptions = bucket.arn_for_objects("prepared-data-sets/*/dataset.json")
        own = "Each prepared data set has its own folder there."
        allow(role, ["s3:GetObject"], descriptions, why="It looks for a data set that was prepared earlier.", why_wildcard=own)
        self.encryption.allow_use(role, "The weights are encrypted with the deployment's key.")
        return function

    def add_assess_model(self) -> Function:
        """The function reads reports and the deployed model's version; S3 reports a missing file only to callers that may list."""
        bucket = self.storage.bucket
        function = self.add("AssessModel", "assess_model", 512, Duration.minutes(5))
        role = function.role
        allow(role, ["s3:ListBucket"], bucket.bucket_arn, why="S3 reports a missing report only to callers that may list.")
        reports = bucket.arn_for_objects(f"executions/*/{contract.REPORT}/*.json")
        allow(role, ["s3:GetObject"], reports, why="It reads the reports of the new and the deployed model.", why_wildcard=JOB_FOLDERS)
        allow_reading_model_packages(role, self.config.project, why="The new model is compared with the deployed one.")
        self.encryption.allow_use(role, "The reports are encrypted with the deployment's key.")
        return function

    def add_verify_endpoint(self) -> Function:
        """The function sends the check photos to the endpoint and compares the responses with the report."""
        bucket = self.storage.bucket
        function = self.add("VerifyEndpoint", "verify_endpoint", 256, Duration.minutes(10))
        role = function.role
        allow(role, ["s3:ListBucket"], bucket.bucket_arn, why="S3 reports a missing file only to callers that may list.")
        reports = bucket.arn_for_objects(f"executions/*/{contract.REPORT}/*")
        allow(role, ["s3:GetObject"], reports, why="It reads the check photos and their probabilities.", why_wildcard=JOB_FOLDERS)
        endpoint = resource_arn(self, "sagemaker", f"endpoint/{self.config.project}")
        asked = ["sagemaker:InvokeEndpoint", "sagemaker:DescribeEndpoint"]
        allow(role, asked, endpoint, why="It sends them to the endpoint.")
        configs = resource_arn(self, "sagemaker", f"endpoint-config/{self.config.project}-*")
        why = "It reads which model the endpoint serves."
        allow(role, ["sagemaker:DescribeEndpointConfig"], configs, why=why, why_wildcard=NEW_NAMES)
        self.encryption.allow_use(role, "The check photos are encrypted with the deployment's key.")
        return function

    def add_prune_models(self) -> Function:
        """The function deletes all but the newest models and endpoint configs."""
        machine = state_machine_arn(self, self.config.project)
        function = self.add("PruneModels", "prune_models", 256, Duration.minutes(10), STATE_MACHINE_ARN=machine)
        allow_listing_executions(function.role, self.config.project, why="It keeps resources of running executions.")
        allow_reading_deployments(function.role, self.config.project, why="It keeps models that are served or would be served next.")
        allow_removing(function.role, self.config.project, why="It deletes old models and endpoint configs.")
        return function

    def add_publish_report(self) -> Function:
        """The function reads the duration of each of the run's jobs, and writes the bill beside the run's other files."""
        project = self.config.project
        bucket = self.storage.bucket
        function = self.add("PublishReport", "publish_report", 256, Duration.minutes(10), BUCKET=bucket.bucket_name)
        role = function.role
        allow(role, ["s3:ListBucket"], bucket.bucket_arn, why="S3 reports a missing file only to callers that may list.")
        allow(role, ["s3:GetObject"], bucket.arn_for_objects(PRICES), why=OWN_PRICES)
        written = bucket.arn_for_objects("executions/*/execution.json")
        allow(role, ["s3:PutObject"], written, why="It writes the outcome and the bill.", why_wildcard=EXECUTION_FOLDERS)
        lists = ["sagemaker:ListProcessingJobs", "sagemaker:ListTrainingJobs", "sagemaker:ListHyperParameterTuningJobs"]
        allow(role, lists, "*", why="It finds the run's jobs.", why_wildcard="List actions have no resource-level permissions.")
        kinds = (("processing-job", "ProcessingJob"), ("training-job", "TrainingJob"))
        for kind, noun in kinds:
            jobs = resource_arn(role, "sagemaker", f"{kind}/{project}-*")
            why = "It reads each job's duration and instance type."
            allow(role, [f"sagemaker:Describe{noun}"], jobs, why=why, why_wildcard="Each job has a new name.")
        tuning = resource_arn(role, "sagemaker", f"hyper-parameter-tuning-job/{project}-*")
        asked = ["sagemaker:ListTrainingJobsForHyperParameterTuningJob", "sagemaker:ListTags"]
        allow(role, asked, tuning, why="It lists the training jobs of each tuning job.", why_wildcard="Each job has a new name.")
        self.encryption.allow_use(role, "Its output is encrypted with the deployment's key.")
        return function

    def add_clean_up(self) -> Function:
        """The function stops a failed run's jobs, and deletes its models and endpoint configs that no endpoint serves."""
        function = self.add("CleanUp", "clean_up", 256, Duration.minutes(10), PROJECT=self.config.project)
        allow_stopping_jobs(function.role, self.config.project, why="It stops the jobs of a failed run.")
        allow_reading_deployments(function.role, self.config.project, why="It keeps models that are served or would be served next.")
        allow_removing(function.role, self.config.project, why="It deletes models and endpoint configs of a failed run.")
        return function
