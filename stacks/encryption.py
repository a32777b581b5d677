"""Encryption: the one key of a deployment whose configuration says `kms`; under `s3` every service encrypts with a key of its own.

Runs at synth. The key's policy names the services that must use it in their own name - logs, alarms, budgets; what a role does with the
key, the role's own policy says.
"""

from aws_cdk import Aws, RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from stacks.configuration import Config
from stacks.permissions import allow

USE = ["kms:Decrypt", "kms:GenerateDataKey"]


class Encryption(Construct):
    """`key` is None under `s3`. It is kept when the stack goes, for what the bucket then still holds can be read with no other."""

    def __init__(self, scope: Construct, id: str, *, config: Config) -> None:  # noqa: A002 - CDK's own name for it
        """Adds the key where there is one."""
        super().__init__(scope, id)
        self.config = config
        self.key = self.add_key() if config.encryption == "kms" else None

    def add_key(self) -> kms.Key:
        """Turned every year by KMS itself."""
        key = kms.Key(
            self,
            "Key",
            alias=self.config.project,
            description=f"All that {self.config.project} stores",
            enable_key_rotation=True,
            removal_policy=RemovalPolicy.RETAIN,
        )
        groups = f"arn:{Aws.PARTITION}:logs:{Aws.REGION}:{Aws.ACCOUNT_ID}:log-group:*"
        logs = iam.ServicePrincipal(f"logs.{Aws.REGION}.{Aws.URL_SUFFIX}")
        use = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]
        let(key, logs, use, {"ArnLike": {"kms:EncryptionContext:aws:logs:arn": groups}})
        here = {"StringEquals": {"aws:SourceAccount": Stack.of(self).account}}
        for publisher in ("cloudwatch", "budgets"):
            let(key, iam.ServicePrincipal(f"{publisher}.amazonaws.com"), ["kms:Decrypt", "kms:GenerateDataKey*"], here)
        return key

    def allow_use(self, role: iam.Role, why: str) -> None:
        """What reading and writing encrypted objects and messages takes."""
        if self.key:
            allow(role, USE, self.key.key_arn, why=why)

    def allow_output(self, role: iam.Role) -> None:
        """What SageMaker's API says that a job's role must hold where the request names a key for what the job writes."""
        if self.key:
            allow(role, ["kms:Encrypt"], self.key.key_arn, why="SageMaker asks it of a role whose output has a key.")

    def allow_storage(self, role: iam.Role) -> None:
        """What SageMaker takes to encrypt volumes: it lets the service of the volumes use the key, for as long as they are there."""
        if self.key:
            allow(role, ["kms:DescribeKey"], self.key.key_arn, why="SageMaker looks at the key before it stores anything with it.")
            for_aws = {"Bool": {"kms:GrantIsForAWSResource": "true"}}
            allow(role, ["kms:CreateGrant"], self.key.key_arn, why="The machines' volumes are encrypted with it.", conditions=for_aws)


def let(key: kms.Key, principal: iam.ServicePrincipal, actions: list[str], conditions: dict[str, dict[str, str]]) -> None:
    """Adds a statement to the key's policy, in which `*` is the key itself."""
    key.add_to_resource_policy(iam.PolicyStatement(principals=[principal], actions=actions, resources=["*"], conditions=conditions))
