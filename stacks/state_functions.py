"""The Lambda functions that the state machine calls, one for each of its states that is one, each with a role of its own.

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
    allow_looking_at_deployments,
    allow_reading_model_packages,
    allow_removing,
    allow_stopping_jobs,
    state_machine_arn,
)
from training import contract

EXECUTION_FOLDERS = "Each execution has a folder of its own there."
PRICES = "prices.json"
OWN_PRICES = "The account's own prices may lie there."
JOB_FOLDERS = "Each training job has a folder of its own there."


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
        """Adds the six; `by_state` has them."""
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
        """One of them; those that touch objects may use the key that encrypts them."""
        options: dict[str, Any] = {"memory_mb": memory_mb, "timeout": timeout, "environment": environment}
        return Function(self, state, module=module, config=self.config, encryption=self.encryption, **options)

    def add_prepare_execution(self) -> Function:
        """The function looks through the bucket, and writes the weights into it."""
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
        allow(role, ["s3:ListBucket"], bucket.bucket_arn, why="It looks through the photos' names.")
        allow(role, ["s3:GetObject"], bucket.arn_for_objects(PRICES), why=OWN_PRICES)
        weights = ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"]
        named = "The description there names the file."
        allow(role, weights, bucket.arn_for_objects("weights/*"), why="It brings the pretrained weights.", why_wildcard=named)
        descriptions = bucket.arn_for_objects("prepared-data-sets/*/dataset.json")
        own = "Each prepared data set has a folder of its own there."
        allow(role, ["s3:GetObject"], descriptions, why="It looks for a data set that is prepared already.", why_wildcard=own)
        self.encryption.allow_use(role, "The weights are encrypted with the deployment's key.")
        return function

    def add_assess_model(self) -> Function:
        """The function reads reports, and which model is deployed; S3 tells only those who may list that a file is missing."""
        bucket = self.storage.bucket
        function = self.add("AssessModel", "assess_model", 512, Duration.minutes(5))
        role = function.role
        allow(role, ["s3:ListBucket"], bucket.bucket_arn, why="Only who may list is told that a report is missing.")
        reports = bucket.arn_for_objects(f"executions/*/{contract.REPORT}/*.json")
        allow(role, ["s3:GetObject"], reports, why="It reads reports: the new model's and the deployed one's.", why_wildcard=JOB_FOLDERS)
        allow_reading_model_packages(role, self.config.project, why="The new model is compared with the deployed one.")
        self.encryption.allow_use(role, "The reports are encrypted with the deployment's key.")
        return function

    def add_verify_endpoint(self) -> Function:
        """The function asks the endpoint about the photos of which the report holds the answers."""
        bucket = self.storage.bucket
        function = self.add("VerifyEndpoint", "verify_endpoint", 256, Duration.minutes(10))
        role = function.role
        allow(role, ["s3:ListBucket"], bucket.bucket_arn, why="Only who may list is told that a file of the report is missing.")
        reports = bucket.arn_for_objects(f"executions/*/{contract.REPORT}/*")
        allow(role, ["s3:GetObject"], reports, why="It reads the check photos and their answers.", why_wildcard=JOB_FOLDERS)
        endpoint = resource_arn(self, "sagemaker", f"endpoint/{self.config.project}")
        asked = ["sagemaker:InvokeEndpoint", "sagemaker:DescribeEndpoint"]
        allow(role, asked, endpoint, why="It asks the endpoint about them.")
        configs = resource_arn(self, "sagemaker", f"endpoint-config/{self.config.project}-*")
        why = "It looks which model should answer."
        allow(role, ["sagemaker:DescribeEndpointConfig"], configs, why=why, why_wildcard=NEW_NAMES)
        self.encryption.allow_use(role, "The check photos are encrypted with the deployment's key.")
        return function

    def add_prune_models(self) -> Function:
        """The function deletes models and endpoint configs beyond the newest."""
        machine = state_machine_arn(self, self.config.project)
        function = self.add("PruneModels", "prune_models", 256, Duration.minutes(10), STATE_MACHINE_ARN=machine)
        allow_listing_executions(function.role, self.config.project, why="What an execution that still runs has made is spared.")
        allow_looking_at_deployments(function.role, self.config.project, why="What is or would next be served is spared.")
        allow_removing(function.role, self.config.project, why="It deletes old models and endpoint configs.")
        return function

    def add_publish_report(self) -> Function:
        """The function asks each job of the run how long it took, and writes the bill beside what the run left."""
        project = self.config.project
        bucket = self.storage.bucket
        function = self.add("PublishReport", "publish_report", 256, Duration.minutes(10), BUCKET=bucket.bucket_name)
        role = function.role
        allow(role, ["s3:ListBucket"], bucket.bucket_arn, why="Only who may list is told that a file is missing.")
        allow(role, ["s3:GetObject"], bucket.arn_for_objects(PRICES), why=OWN_PRICES)
        written = bucket.arn_for_objects("executions/*/execution.json")
        allow(role, ["s3:PutObject"], written, why="It writes the outcome and the bill.", why_wildcard=EXECUTION_FOLDERS)
        lists = ["sagemaker:ListProcessingJobs", "sagemaker:ListTrainingJobs", "sagemaker:ListHyperParameterTuningJobs"]
        allow(role, lists, "*", why="It finds the run's jobs.", why_wildcard="Listing knows no resource.")
        kinds = (("processing-job", "ProcessingJob"), ("training-job", "TrainingJob"))
        for kind, noun in kinds:
            jobs = resource_arn(role, "sagemaker", f"{kind}/{project}-*")
            why = "It asks how long each job took, and on which machine."
            allow(role, [f"sagemaker:Describe{noun}"], jobs, why=why, why_wildcard="Jobs get a new name each time.")
        tuning = resource_arn(role, "sagemaker", f"hyper-parameter-tuning-job/{project}-*")
        asked = ["sagemaker:ListTrainingJobsForHyperParameterTuningJob", "sagemaker:ListTags"]
        allow(role, asked, tuning, why="It asks for each tuning job's own jobs.", why_wildcard="Jobs get a new name each time.")
        self.encryption.allow_use(role, "What it writes is encrypted with the deployment's key.")
        return function

    def add_clean_up(self) -> Function:
        """The function stops what a failed run still runs, and deletes what it made and nobody serves."""
        function = self.add("CleanUp", "clean_up", 256, Duration.minutes(10), PROJECT=self.config.project)
        allow_stopping_jobs(function.role, self.config.project, why="What a failed run still runs is stopped.")
        allow_looking_at_deployments(function.role, self.config.project, why="What is or would next be served is spared.")
        allow_removing(function.role, self.config.project, why="What a failed run made is deleted.")
        return function
