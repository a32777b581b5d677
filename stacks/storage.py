"""Storage: the bucket for photos, weights and the files of every execution, and the model package group.

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
"""Lifetime of a prepared data set: a later execution prepares it again, and no execution starts with one that is about to expire."""

NO_ACCESS_LOGS = "Server access logs would need a second bucket; CloudTrail data events give an audit trail if one is needed."
NO_REPLICA = (
    "The photos are copies of the user's own and everything else is derived from them; versions protect against mistakes, and a replica"
    " would double the cost."
)


class Storage(Construct):
    """The bucket: encrypted, TLS only, not public, versioned. It and the group are retained when the stack is deleted."""

    def __init__(self, scope: Construct, id: str, *, config: Config, encryption: Encryption) -> None:  # noqa: A002 - CDK's own name for it
        """Adds the bucket, and the model package group unless an earlier deployment left one."""
        super().__init__(scope, id)
        self.bucket = self.add_bucket(encryption)
        if config.model_package_group == "new":
            self.add_model_package_group(config.project)

    def add_bucket(self, encryption: Encryption) -> s3.Bucket:
        """`bucket_key_enabled` avoids a request to KMS for each photo."""
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
        assert bucket.policy is not None, "enforce_ssl adds one"
        bucket.policy.apply_removal_policy(RemovalPolicy.RETAIN)  # the retained bucket must stay TLS only
        acknowledge(bucket, "AwsSolutions-S1", NO_ACCESS_LOGS)
        acknowledge(bucket, "NIST.800.53.R5-S3BucketLoggingEnabled", NO_ACCESS_LOGS)
        acknowledge(bucket, "NIST.800.53.R5-S3BucketReplicationEnabled", NO_REPLICA)
        if not encryption.key:
            s3_keys = "S3 encrypts with its own keys; the knob `encryption=kms` encrypts the bucket with a key of the account."
            acknowledge(bucket, "NIST.800.53.R5-S3DefaultEncryptionKMS", s3_keys)
        return bucket

    def add_model_package_group(self, project: str) -> None:
        """Retained when the stack is deleted: SageMaker does not delete a group that holds versions, which record the origin of the models.

        Its name is fixed, and CloudFormation identifies it by its ARN. A later deployment can neither create it again nor import it by its
        name, so it needs `model_package_group=existing`. CloudFormation replaces a group whose description changes: never reword it.
        """
        group = sagemaker.CfnModelPackageGroup(
            self,
            "ModelPackages",
            model_package_group_name=project,
            model_package_group_description="Every model that executions have trained, with what is known of it",
        )
        group.apply_removal_policy(RemovalPolicy.RETAIN)
