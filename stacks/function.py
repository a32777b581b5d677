"""A Lambda function of the `lambdas/` room: plain Python without third-party packages, so no Docker and no install step.

Runs at synth. The handler of file `lambdas/prepare_execution.py` is `lambdas.prepare_execution.handler`; each function has its own role.
"""

from pathlib import Path

from aws_cdk import Duration, IgnoreMode, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from stacks.configuration import Config
from stacks.encryption import Encryption
from stacks.permissions import acknowledge, acknowledge_inline_policy, allow, explain

REPOSITORY = Path(__file__).resolve().parent.parent

NOT_SHIPPED = [
    "*",
    *("!lambdas", "!lambdas/*/", "!lambdas/**/*.py", "!lambdas/*.html"),
    *("!training", "!training/__init__.py", "!training/contract", "!training/contract/*.py"),
    "__pycache__",
]
"""Everything except the Lambda functions and the contract that they share with the jobs, as .gitignore lines."""

TRACE = ["xray:PutTelemetryRecords", "xray:PutTraceSegments"]

ANSWERED = "Its caller waits for the response and sees its errors; a dead-letter queue is only for asynchronous calls."
NO_SHARE = (
    "Reserved concurrency would be taken from the account's other functions, and a new account has ten concurrent executions in total;"
    " the API's stage limits callers, and an execution calls its functions one after another."
)
NO_NETWORK = (
    "It needs nothing in a VPC: it calls AWS services with its role over TLS - PrepareExecution also downloads published weights -"
    " and it can be reached only by calls that IAM allows."
)
NO_SECRETS = "Its variables are names of this deployment's resources, not secrets; Lambda encrypts them with its own key."


class Function(Construct):
    """One function, its log group, and a role that may only write that log until it is granted more."""

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - CDK's own name for it
        *,
        module: str,
        config: Config,
        encryption: Encryption,
        memory_mb: int,
        timeout: Duration,
        environment: dict[str, str],
        dead_letters: sqs.IQueue | None = None,
    ) -> None:
        """`module` is the file's name in `lambdas/` and part of the function's name.

        `dead_letters` receives asynchronous calls that failed three times.
        """
        super().__init__(scope, id)
        name = f"{config.project}-{module.replace('_', '-')}"
        self.log_group = add_log_group(self, "Logs", f"/aws/lambda/{name}", config=config, encryption=encryption)
        self.role = acknowledge_inline_policy(iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com")))
        writing = ["logs:CreateLogStream", "logs:PutLogEvents"]
        allow(self.role, writing, self.log_group.log_group_arn, why="It writes its log.")
        self.function = lambda_.Function(
            self,
            "Function",
            function_name=name,
            runtime=lambda_.Runtime.PYTHON_3_14,
            architecture=lambda_.Architecture.ARM_64,
            handler=f"lambdas.{module}.handler",
            code=lambda_.Code.from_asset(str(REPOSITORY), exclude=NOT_SHIPPED, ignore_mode=IgnoreMode.GIT),
            role=self.role,
            log_group=self.log_group,
            memory_size=memory_mb,
            timeout=timeout,
            environment=environment,
            tracing=lambda_.Tracing.ACTIVE,
            dead_letter_queue=dead_letters,
        )
        explain(self.role, TRACE, "*", why="It writes traces.", why_wildcard="X-Ray has no resource-level permissions for traces.")
        if dead_letters:
            explain(self.role, ["sqs:SendMessage"], dead_letters.queue_arn, why="Lambda sends it events that failed three times.")
        self.acknowledge_findings(waited_for=dead_letters is None)

    def acknowledge_findings(self, *, waited_for: bool) -> None:
        """Acknowledges checks that do not fit this function."""
        if waited_for:
            acknowledge(self.function, "Serverless-LambdaDLQ", ANSWERED)
            acknowledge(self.function, "NIST.800.53.R5-LambdaDLQ", ANSWERED)
        acknowledge(self.function, "NIST.800.53.R5-LambdaConcurrency", NO_SHARE)
        acknowledge(self.function, "NIST.800.53.R5-LambdaInsideVPC", NO_NETWORK)
        acknowledge(self.function, "CKV_AWS_173", NO_SECRETS)


def add_log_group(
    scope: Construct,
    id: str,  # noqa: A002 - CDK's own name for it
    name: str,
    *,
    config: Config,
    encryption: Encryption,
) -> logs.LogGroup:
    """Adds a log group that is deleted with the stack and keeps events for the configured number of days."""
    group = logs.LogGroup(
        scope,
        id,
        log_group_name=name,
        retention=config.log_retention,
        removal_policy=RemovalPolicy.DESTROY,
        encryption_key=encryption.key,
    )
    if not encryption.key:
        own_keys = "CloudWatch encrypts with its own keys; the knob `encryption=kms` encrypts the logs with a key of the account."
        acknowledge(group, "NIST.800.53.R5-CloudWatchLogGroupEncrypted", own_keys)
    return group
