"""A Lambda function of the `lambdas/` room: Python without packages of its own, so no Docker and nothing to install.

Runs at synth. The handler of file `lambdas/prepare_execution.py` is `lambdas.prepare_execution.handler`; each function has its own role.
"""

from pathlib import Path

from aws_cdk import Duration, IgnoreMode, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from stacks.configuration import Config
from stacks.permissions import acknowledge, allow

REPOSITORY = Path(__file__).resolve().parent.parent


class Function(Construct):
    """One function, its log group, and a role that may write that log and nothing else until it is granted more."""

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - CDK's own name for it
        *,
        module: str,
        config: Config,
        memory_mb: int,
        timeout: Duration,
        environment: dict[str, str],
    ) -> None:
        """`module` is the file's name in `lambdas/`, which the function's name is made of too."""
        super().__init__(scope, id)
        name = f"{config.project}-{module.replace('_', '-')}"
        self.log_group = logs.LogGroup(
            self, "Logs", log_group_name=f"/aws/lambda/{name}", retention=config.log_retention, removal_policy=RemovalPolicy.DESTROY
        )
        self.role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        allow(self.role, ["logs:CreateLogStream", "logs:PutLogEvents"], self.log_group.log_group_arn)
        self.function = lambda_.Function(
            self,
            "Function",
            function_name=name,
            runtime=lambda_.Runtime.PYTHON_3_14,
            architecture=lambda_.Architecture.ARM_64,
            handler=f"lambdas.{module}.handler",
            code=lambda_.Code.from_asset(
                str(REPOSITORY), exclude=["*", "!lambdas", "!lambdas/*.py", "!lambdas/*.html"], ignore_mode=IgnoreMode.GIT
            ),
            role=self.role,
            log_group=self.log_group,
            memory_size=memory_mb,
            timeout=timeout,
            environment=environment,
            tracing=lambda_.Tracing.ACTIVE,
        )
        acknowledge(self.role, "AwsSolutions-IAM5[Resource::*]", "X-Ray takes traces without naming a resource.")
