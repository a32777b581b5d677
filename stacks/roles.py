"""The roles of jobs and endpoints: each has only the permissions that its jobs or endpoints need.

Runs at synth. A job may write only to its own folders of the bucket; the state machine passes exactly these four roles.
"""

from aws_cdk import Aws
from aws_cdk import aws_iam as iam
from constructs import Construct

from stacks.configuration import Config
from stacks.encryption import Encryption
from stacks.images import Images
from stacks.network import Network
from stacks.permissions import allow, resource_arn, service_role
from stacks.source_archive import SourceArchive
from stacks.storage import Storage

ARCHIVE_SUFFIX = ".gz"
"""Suffix of the source archive in the bootstrap bucket, after its hash; the assets of Lambda functions end in .zip."""

RULES_REPOSITORY = "sagemaker-debugger-rules"
PULL = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
WRITE = ["s3:PutObject", "s3:AbortMultipartUpload"]


class JobRoles(Construct):
    """The roles of processing jobs, training jobs, training jobs with AWS's Debugger, and endpoints."""

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - CDK's own name for it
        *,
        config: Config,
        storage: Storage,
        encryption: Encryption,
        network: Network,
        images: Images,
        source_archive: SourceArchive,
    ) -> None:
        """Adds the four."""
        super().__init__(scope, id)
        self.config, self.storage, self.encryption, self.network = config, storage, encryption, network
        self.images, self.source_archive = images, source_archive
        self.preparation = self.add_preparation_role()
        self.training = self.add_training_role("Training")
        self.managed_training = self.add_managed_training_role()
        self.hosting = self.add_hosting_role()

    @property
    def all(self) -> list[iam.Role]:
        """The roles that the state machine passes to SageMaker."""
        return [self.preparation, self.training, self.managed_training, self.hosting]

    def add_preparation_role(self) -> iam.Role:
        """Only the processing job writes prepared data sets and their summaries."""
        role = self.add_job_role("Preparation")
        bucket = self.storage.bucket
        data_sets, summaries = bucket.arn_for_objects("prepared-data-sets/*"), bucket.arn_for_objects("executions/*/prepare/*")
        allow(role, WRITE, data_sets, why="It writes the data set.", why_wildcard="Each prepared data set has its own folder there.")
        allow(role, WRITE, summaries, why="It writes the summary.", why_wildcard="Each execution has its own folder there.")
        allow_image_and_logs(role, self.images.training_repositories, "/aws/sagemaker/ProcessingJobs")
        return role

    def add_training_role(self, id: str) -> iam.Role:  # noqa: A002 - CDK's own name for it
        """A training job writes below `executions/`; it cannot change the data set that it reads."""
        role = self.add_job_role(id)
        executions = self.storage.bucket.arn_for_objects("executions/*")
        why = "It writes its artefact, checkpoints, tensors and report."
        allow(role, WRITE, executions, why=why, why_wildcard="Each execution has its own folder there.")
        allow_image_and_logs(role, self.images.training_repositories, "/aws/sagemaker/TrainingJobs")
        return role

    def add_managed_training_role(self) -> iam.Role:
        """AWS's Debugger runs its rules with the job's role, as processing jobs that read and write the job's folders and may stop it."""
        role = self.add_training_role("ManagedTraining")
        rules = f"arn:{Aws.PARTITION}:ecr:{Aws.REGION}:*:repository/{RULES_REPOSITORY}"
        published = "AWS publishes it from a different account in each region; some regions have none."
        allow(role, PULL, rules, why="Rules run in AWS's rules image.", why_wildcard=published)
        allow_image_and_logs(role, [], "/aws/sagemaker/ProcessingJobs")
        own_jobs = resource_arn(role, "sagemaker", f"training-job/{self.config.project}-*")
        why = "A rule stops the job that it evaluates."
        allow(role, ["sagemaker:StopTrainingJob"], own_jobs, why=why, why_wildcard="Each job has a new name.")
        why = "A rule finds the job by its name."
        allow(role, ["sagemaker:ListTrainingJobs"], "*", why=why, why_wildcard="List actions have no resource-level permissions.")
        return role

    def add_hosting_role(self) -> iam.Role:
        """An endpoint reads its artefact; during an update SageMaker reads the rollback alarms with its role."""
        role = service_role(self, "Hosting", "sagemaker")
        artefacts = self.storage.bucket.arn_for_objects("executions/*")
        kept = "Each execution stores its artefact in its own folder."
        allow(role, ["s3:GetObject"], artefacts, why="It reads the artefact that it serves.", why_wildcard=kept)
        allow_rollback_alarms(role, self.config.project)
        allow_image_and_logs(role, self.images.serving_repositories, "/aws/sagemaker/Endpoints", "/*")
        self.allow_storage_and_network(role)
        return role

    def add_job_role(self, id: str) -> iam.Role:  # noqa: A002 - CDK's own name for it
        """A processing or training job reads photos, weights, prepared data sets and its code."""
        role = service_role(self, id, "sagemaker")
        bucket, asset = self.storage.bucket, self.source_archive.asset
        asset_bucket = f"arn:{Aws.PARTITION}:s3:::{asset.s3_bucket_name}"
        allow(role, ["s3:ListBucket", "s3:GetBucketLocation"], bucket.bucket_arn, why="SageMaker lists the objects that it downloads.")
        photos = "The photos may be under any prefix of the bucket."
        allow(role, ["s3:GetObject"], bucket.arn_for_objects("*"), why="It reads photos, weights and data sets.", why_wildcard=photos)
        older = "The archive's name is a hash, and an execution that runs during a deployment continues with the older archive."
        archives = f"{asset_bucket}/*{ARCHIVE_SUFFIX}"
        allow(role, ["s3:GetObject"], archives, why="It reads its code.", why_wildcard=older)
        named = {"StringLike": {"s3:prefix": f"*{ARCHIVE_SUFFIX}"}}
        allow(role, ["s3:ListBucket"], asset_bucket, why="SageMaker finds the archive by its name.", conditions=named)
        self.encryption.allow_output(role)
        self.allow_storage_and_network(role)
        return role

    def allow_storage_and_network(self, role: iam.Role) -> None:
        """Allows what the machines need if the deployment has its own key or network."""
        self.encryption.allow_use(role, "Its data is encrypted with the deployment's key.")
        self.encryption.allow_storage(role)
        self.network.allow_interfaces(role)


def allow_rollback_alarms(role: iam.Role, project: str) -> None:
    """An update of the endpoint is rolled back if one of these alarms is raised.

    AWS says only that "your IAM execution role" must be allowed to read them, so both the caller's role and the endpoint's role are.
    """
    alarms = resource_arn(role, "cloudwatch", f"alarm:{project}-endpoint-*")
    why = "SageMaker watches the alarms during an update of the endpoint."
    allow(role, ["cloudwatch:DescribeAlarms"], alarms, why=why, why_wildcard="The alarms for errors and latency share this prefix.")


def allow_image_and_logs(role: iam.Role, repositories: list[str], kind: str, groups_below: str = "") -> None:
    """Allows what SageMaker does for any container with the role: pulls the image, writes the log and the metrics.

    `kind`: the namespace of the metrics, and the log group; `groups_below` is the suffix if there are several groups.
    """
    if repositories:
        allow(role, PULL, *repositories, why="SageMaker pulls the container's image.")
        token = "The token belongs to the registry, not to an image."  # noqa: S105 - a sentence
        allow(role, ["ecr:GetAuthorizationToken"], "*", why="Pulling an image requires a sign-in.", why_wildcard=token)
    group = resource_arn(role, "logs", f"log-group:{kind}{groups_below}")
    write = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
    named = "SageMaker names log streams after jobs, and a log group after its endpoint."
    allow(role, write, group, f"{group}:*", why="SageMaker writes the container's log.", why_wildcard=named)
    count = {"StringEquals": {"cloudwatch:namespace": [kind, "AWS/SageMaker"]}}
    limited = "CloudWatch has no resource-level permissions for metrics; the condition limits the namespace."
    allow(role, ["cloudwatch:PutMetricData"], "*", why="SageMaker writes metrics with this role.", why_wildcard=limited, conditions=count)
