"""Storage: the one bucket that holds the photos, the weights and what every execution leaves.

Runs at synth. Its folders: `data/` (photos), `weights/`, `prepared-data-sets/<key>/<job>/`, `executions/<run>/` (artefacts,
tensors, reports).
"""

from aws_cdk import Acknowledgment, Duration, RemovalPolicy, Validations
from aws_cdk import aws_s3 as s3
from constructs import Construct

PREPARED_DAYS = 90
"""How long a prepared data set is kept: an execution that needs it later makes it again, and none begins with one that is near its end."""


class Storage(Construct):
    """The bucket: encrypted, over TLS only, closed to the public, versioned, and kept when the stack goes."""

    def __init__(self, scope: Construct, id: str) -> None:  # noqa: A002 - CDK's own name for it
        """Adds the bucket."""
        super().__init__(scope, id)
        self.bucket = s3.Bucket(
            self,
            "Bucket",
            encryption=s3.BucketEncryption.S3_MANAGED,
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
        assert self.bucket.policy is not None, "enforce_ssl makes one"
        self.bucket.policy.apply_removal_policy(RemovalPolicy.RETAIN)  # the bucket that is kept stays over TLS only
        Validations.of(self.bucket).acknowledge(
            Acknowledgment(
                id="AwsSolutions-S1",
                reason="Server access logs would need a second bucket; who wants a trail turns on CloudTrail data events.",
            )
        )
