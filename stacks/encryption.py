"""Encryption: the deployment's KMS key, if `encryption` is `kms`; with `s3` each service encrypts with its own key.

Runs at synth. The key's policy names the services that use it themselves: logs, alarms, budgets. Each role's own policy says what the role
may do with the key.
"""

from aws_cdk import Aws, RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from stacks.configuration import Config
from stacks.permissions import allow

USE = ["kms:Decrypt", "kms:GenerateDataKey"]


class Encryption(Construct):
    """`key` is None with `s3`. It is retained when the stack is deleted, because the retained bucket can be read only with it."""

    def __init__(self, scope: Construct, id: str, *, config: Config) -> None:  # noqa: A002 - CDK's own name for it
        """Adds the key if the configuration selects `kms`."""
        super().__init__(scope, id)
        self.config = config
        self.key = self.add_key() if config.encryption == "kms" else None

    def add_key(self) -> kms.Key:
        """Adds the key, which KMS rotates every year."""
        key = kms.Key(
            self,
            "Key",
            alias=self.config.project,
            description=f"Encrypts everything that {self.config.project} stores",
            enable_key_rotation=True,
            removal_policy=RemovalPolicy.RETAIN,
        )
        groups = f"arn:{Aws.PARTITION}:logs:{Aws.REGION}:{Aws.ACCOUNT_ID}:log-group:*"
        logs = iam.ServicePrincipal(f"logs.{Aws.REGION}.{Aws.URL_SUFFIX}")
        use = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]
        allow_service(key, logs, use, {"ArnLike": {"kms:EncryptionContext:aws:logs:arn": groups}})
        here = {"StringEquals": {"aws:SourceAccount": Stack.of(self).account}}
        for publisher in ("cloudwatch", "budgets"):
            allow_service(key, iam.ServicePrincipal(f"{publisher}.amazonaws.com"), ["kms:Decrypt", "kms:GenerateDataKey*"], here)
        return key

    def allow_use(self, role: iam.Role, why: str) -> None:
        """Allows reading and writing encrypted objects and messages."""
        if self.key:
            allow(role, USE, self.key.key_arn, why=why)

    def allow_output(self, role: iam.Role) -> None:
        """Allows what SageMaker's API reference requires of a job's role if the request names a key for its output."""
        if self.key:
            allow(role, ["kms:Encrypt"], self.key.key_arn, why="SageMaker requires it of a role whose job writes output with a key.")

    def allow_storage(self, role: iam.Role) -> None:
        """Allows SageMaker to encrypt volumes: it grants the volume service the use of the key while the volumes exist."""
        if self.key:
            allow(role, ["kms:DescribeKey"], self.key.key_arn, why="SageMaker describes the key before it uses it.")
            for_aws = {"Bool": {"kms:GrantIsForAWSResource": "true"}}
            allow(role, ["kms:CreateGrant"], self.key.key_arn, why="The instances' volumes are encrypted with it.", conditions=for_aws)


def allow_service(key: kms.Key, principal: iam.ServicePrincipal, actions: list[str], conditions: dict[str, dict[str, str]]) -> None:
    """Adds a statement to the key's policy, in which `*` means the key itself."""
    key.add_to_resource_policy(iam.PolicyStatement(principals=[principal], actions=actions, resources=["*"], conditions=conditions))
