"""A Lambda function of the `lambdas/` room: Python without packages of its own, so no Docker and nothing to install.

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
from stacks.permissions import acknowledge, allow, explain, single

REPOSITORY = Path(__file__).resolve().parent.parent

NOT_SHIPPED = [
    "*",
    *("!lambdas", "!lambdas/*/", "!lambdas/**/*.py", "!lambdas/*.html"),
    *("!training", "!training/__init__.py", "!training/contract", "!training/contract/*.py"),
    "__pycache__",
]
"""Everything but the Lambda functions and the contract that they share with the jobs, as lines of a .gitignore."""

TRACE = ["xray:PutTelemetryRecords", "xray:PutTraceSegments"]

ANSWERED = "Whoever calls it waits for the answer and sees its errors; dead letters are kept of calls that nobody waits for."
NO_SHARE = (
    "A share of its own would be taken from the account's other functions, and a new account has ten at once in all;"
    " the API's stage limits what callers can ask for, and executions call one after another."
)
NO_NETWORK = (
    "Nothing that it needs is in a VPC: it speaks to AWS's services by its role - PrepareExecution also to where weights are published -"
    " over TLS, and nothing can reach it but a call that IAM allows."
)
NO_SECRETS = "Its variables are names of things of this deployment and no secrets; Lambda encrypts them with a key of its own."


class Function(Construct):
    """One function, its log group, and a role that may write that log and nothing else until it is granted more."""

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
        """`module` is the file's name in `lambdas/`, which the function's name is made of too.

        `dead_letters` is where a call that nobody waits for goes when it has failed three times.
        """
        super().__init__(scope, id)
        name = f"{config.project}-{module.replace('_', '-')}"
        self.log_group = add_log_group(self, "Logs", f"/aws/lambda/{name}", config=config, encryption=encryption)
        self.role = single(iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com")))
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
        explain(self.role, TRACE, "*", why="It is traced.", why_wildcard="X-Ray takes traces without naming a resource.")
        if dead_letters:
            explain(self.role, ["sqs:SendMessage"], dead_letters.queue_arn, why="Lambda keeps what failed three times, in its name.")
        self.acknowledge_what_is_meant(waited_for=dead_letters is None)

    def acknowledge_what_is_meant(self, *, waited_for: bool) -> None:
        """The checks ask of every function what fits some."""
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
    """A log group that goes with the stack and keeps what is written for as long as the configuration says."""
    group = logs.LogGroup(
        scope,
        id,
        log_group_name=name,
        retention=config.log_retention,
        removal_policy=RemovalPolicy.DESTROY,
        encryption_key=encryption.key,
    )
    if not encryption.key:
        own_keys = "CloudWatch encrypts with keys of its own; the knob `encryption=kms` gives the logs a key of the account."
        acknowledge(group, "NIST.800.53.R5-CloudWatchLogGroupEncrypted", own_keys)
    return group
