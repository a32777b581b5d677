"""Storage: the one bucket that holds the photos, the weights and what every execution leaves, and the list of the models made of them.

Runs at synth. The bucket's folders: `data/` (photos), `weights/`, `prepared-data-sets/<key>/<job>/`, `executions/<run>/` (artefacts,
tensors, reports).
"""

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct

from stacks.configuration import Config
from stacks.encryption import Encryption
from stacks.permissions import acknowledge

PREPARED_DAYS = 100
"""How long a prepared data set is kept: an execution that needs it later makes it again, and none begins with one that is near its end."""

NO_ACCESS_LOGS = "Server access logs would need a second bucket; who wants a trail turns on CloudTrail data events."
NO_REPLICA = (
    "The photos are the user's copy of theirs and all else is made of them; versions outlast a mistake, and a replica would cost as much"
    " again."
)


class Storage(Construct):
    """The bucket: encrypted, over TLS only, closed to the public, versioned. It and the list are kept when the stack goes."""

    def __init__(self, scope: Construct, id: str, *, config: Config, encryption: Encryption) -> None:  # noqa: A002 - CDK's own name for it
        """Adds the bucket, and the model package group unless an earlier deployment has left it."""
        super().__init__(scope, id)
        self.bucket = self.add_bucket(encryption)
        if config.model_package_group == "new":
            self.add_model_package_group(config.project)

    def add_bucket(self, encryption: Encryption) -> s3.Bucket:
        """One key's worth of requests to KMS a day, not one for each photo: that is what `bucket_key_enabled` does."""
        bucket = s3.Bucket(
            self,
            "Bucket",
            encryption=s3.BucketEncryption.KMS if encryption.key else s3.BucketEncryption.S3_MANAGED,
            encryption_key=encryption.key,
            bucket_key_enabled=True if encryption.key else None,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            versioned=True,
            removal_policy=RemovalPolicy.RETAIN,
            lifecycle_rules=[
                s3.LifecycleRule(
                    id="ForgetWhatWasReplaced",
                    noncurrent_version_expiration=Duration.days(30),
                    abort_incomplete_multipart_upload_after=Duration.days(7),
                    expired_object_delete_marker=True,
                ),
                s3.LifecycleRule(id="ForgetPreparedDataSets", prefix="prepared-data-sets/", expiration=Duration.days(PREPARED_DAYS)),
            ],
        )
        assert bucket.policy is not None, "enforce_ssl makes one"
        bucket.policy.apply_removal_policy(RemovalPolicy.RETAIN)  # the bucket that is kept stays over TLS only
        acknowledge(bucket, "AwsSolutions-S1", NO_ACCESS_LOGS)
        acknowledge(bucket, "NIST.800.53.R5-S3BucketLoggingEnabled", NO_ACCESS_LOGS)
        acknowledge(bucket, "NIST.800.53.R5-S3BucketReplicationEnabled", NO_REPLICA)
        if not encryption.key:
            s3_keys = "S3 encrypts with keys of its own; the knob `encryption=kms` gives the bucket a key of the account."
            acknowledge(bucket, "NIST.800.53.R5-S3DefaultEncryptionKMS", s3_keys)
        return bucket

    def add_model_package_group(self, project: str) -> None:
        """Kept when the stack goes: SageMaker deletes no group that holds versions, and they say where the models in the bucket are from.

        Its name is fixed and it is identified by its ARN, so no later deployment can make it again, nor take it over by itself as
        CloudFormation takes over things that are identified by their names: the next one must be told `model_package_group=existing`.
        """
        group = sagemaker.CfnModelPackageGroup(
            self,
            "ModelPackages",
            model_package_group_name=project,
            model_package_group_description="Every model that executions have trained, with what is known of it",
        )
        group.apply_removal_policy(RemovalPolicy.RETAIN)
