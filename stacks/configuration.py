"""Every deployment knob, read once from the CDK context (cdk.json, or `cdk deploy -c name=value`) and frozen.

Runs at synth. `Config()` holds the defaults; `Config.from_context(app.node.get_all_context())` is what app.py does.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from aws_cdk import aws_logs as logs

PROJECT = re.compile(r"[a-z]([a-z0-9-]{0,8}[a-z0-9])?")
PRIVATE_IMAGE = re.compile(r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.[a-z0-9.-]+/(?P<repository>[a-z0-9._/-]+)(?:[:@].+)?")
PUBLIC_IMAGE = re.compile(r"public\.ecr\.aws/[a-z0-9._/-]+(?:[:@].+)?")

PROJECT_RULE = "a small letter, then at most nine of a-z, 0-9 and dash, no dash at the end"
IMAGE_RULE = "empty, <12 digits>.dkr.ecr.<region>.amazonaws.com/<repository>:<tag> or public.ecr.aws/<repository>:<tag>"

AWS_ID = "(?:[0-9a-f]{8}|[0-9a-f]{17})"
VPC = re.compile(rf"vpc-{AWS_ID}")
SUBNETS = re.compile(rf"subnet-{AWS_ID}(?:,subnet-{AWS_ID})*")
SECURITY_GROUP = re.compile(rf"sg-{AWS_ID}")
MOST_SUBNETS = 16
"""SageMaker's limit."""

SCHEDULE = re.compile(r"rate\((?:1 (?:minute|hour|day)|(?:[2-9]|[1-9]\d+) (?:minutes|hours|days))\)|cron\(\S+(?: \S+){5}\)")
SCHEDULE_RULE = '"none", or a schedule of EventBridge such as "rate(7 days)" or "cron(0 3 ? * MON *)" (in UTC)'
MAIL_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")

ENCRYPTIONS = ("s3", "kms")
GROUPS = ("new", "existing")
AUTHORIZATIONS = ("iam", "api_key", "cognito", "none")
MOST_IDLE_HOURS = 14 * 24
"""CloudWatch keeps five-minute sums for 63 days; two weeks are longer than any pause an endpoint is kept for."""

CDK_OWN_KEYS = {"acknowledged-issue-numbers", "cli-telemetry"}
"""Context keys of the CDK command line without a colon or a slash; all its other keys contain one."""

RETENTION = {
    1: logs.RetentionDays.ONE_DAY,
    3: logs.RetentionDays.THREE_DAYS,
    7: logs.RetentionDays.ONE_WEEK,
    14: logs.RetentionDays.TWO_WEEKS,
    30: logs.RetentionDays.ONE_MONTH,
    90: logs.RetentionDays.THREE_MONTHS,
    180: logs.RetentionDays.SIX_MONTHS,
    365: logs.RetentionDays.ONE_YEAR,
    731: logs.RetentionDays.TWO_YEARS,
    1827: logs.RetentionDays.FIVE_YEARS,
    3653: logs.RetentionDays.TEN_YEARS,
}
"""Days -> CDK's constant."""


class InvalidConfiguration(ValueError):  # noqa: N818 - the name is what the user of `cdk synth` reads
    """A knob is unknown or its value is invalid; the message names the knob, the value and the allowed values."""


@dataclass(frozen=True)
class Config:
    """The knobs of one deployment."""

    project: str = "whippet"
    """Name of the stack and of the endpoint, and prefix of every job's name."""

    model_package_group: str = "new"
    """`new`: the stack creates the project's model package group. `existing`: an earlier stack of this name left it; a group that holds
    models cannot be deleted, so it outlives `cdk destroy`."""

    training_image_cpu: str = ""
    """Image of training jobs on CPU instances; empty selects AWS's PyTorch training image in the stack's region."""

    training_image_gpu: str = ""
    """Image of training jobs on GPU instances."""

    serving_image_cpu: str = ""
    """Image of endpoints on CPU instances; empty selects AWS's Ray Serve image in the stack's region."""

    serving_image_gpu: str = ""
    """Image of endpoints on GPU instances."""

    encryption: str = "s3"
    """`s3`: each service encrypts with its own key, at no cost. `kms`: a key of your account for the bucket, the topic, the logs and
    everything that jobs and endpoints store; about one dollar per month, and only principals that may use the key can read the data."""

    vpc_id: str = ""
    """VPC in which jobs and endpoints run; empty: in SageMaker's own network, then `subnet_ids` and `security_group_id` must be empty too.
    Jobs cannot reach the internet in either case."""

    subnet_ids: str = ""
    """Private subnets of that VPC, separated by commas; they need a gateway endpoint to S3."""

    security_group_id: str = ""
    """Security group of that VPC; empty creates one that allows traffic between the machines of a job, and outbound HTTPS only."""

    api_authorization: str = "iam"
    """`iam`: callers sign their requests. `api_key`: they send a key, which identifies and limits them but protects little. `cognito`:
    users sign in to a user pool. `none`: any caller who knows the address, at your cost - unsafe except for a demonstration."""

    api_rate_limit: int = 20
    """Sustained requests per second, 1 to 10000."""

    api_burst_limit: int = 40
    """Requests in a burst, 1 to 5000."""

    web_acl: bool = False
    """A web application firewall in front of the API: AWS's common rules, known bad inputs, and a limit per address. About nine dollars per
    month."""

    notify_email: str = ""
    """Address that receives finished and failed executions and alarms; it must confirm the subscription once. Empty: no e-mail."""

    monthly_budget_usd: int = 0
    """Monthly budget; the topic is notified at 80 % (spent) and 100 % (forecast). 0: no budget. The tag `project` must be activated as a
    cost allocation tag."""

    endpoint_idle_hours: int = 24
    """Hours without requests after which the endpoint is deleted; the next request recreates it. 0: never; at most 336."""

    retraining: str = "none"
    """When to check whether the photos have changed, and to start an execution if so: `none`, or a schedule such as `rate(7 days)`."""

    retrain_on_new_data: bool = False
    """Check every 15 minutes instead: new photos start an execution soon after the last one has arrived."""

    retraining_input: str = "{}"
    """Execution input of these executions, as JSON."""

    log_retention_days: int = 90
    """Days that the stack's log groups keep events."""

    @classmethod
    def from_context(cls, context: Mapping[str, Any]) -> Self:
        """Reads the knobs from the CDK context; raises InvalidConfiguration."""
        knobs = {each.name: each.type for each in fields(cls)}
        ours = {key: value for key, value in context.items() if not (":" in key or "/" in key or key in CDK_OWN_KEYS)}
        for key in ours:
            if key not in knobs:
                raise InvalidConfiguration(f"unknown context key {key!r}; allowed: {', '.join(knobs)} (cdk.json holds their defaults)")
        values: dict[str, Any] = {key: READERS[knobs[key]](key, value) for key, value in ours.items()}
        return cls(**values)

    def __post_init__(self) -> None:
        """Rejects values that would only fail later."""
        require(PROJECT.fullmatch(self.project), "project", self.project, PROJECT_RULE)
        for knob in ("training_image_cpu", "training_image_gpu", "serving_image_cpu", "serving_image_gpu"):
            image = getattr(self, knob)
            known = not image or PRIVATE_IMAGE.fullmatch(image) or PUBLIC_IMAGE.fullmatch(image)
            require(known, knob, image, IMAGE_RULE)
        require(self.model_package_group in GROUPS, "model_package_group", self.model_package_group, list_choices(GROUPS))
        require(self.encryption in ENCRYPTIONS, "encryption", self.encryption, list_choices(ENCRYPTIONS))
        require(self.api_authorization in AUTHORIZATIONS, "api_authorization", self.api_authorization, list_choices(AUTHORIZATIONS))
        require(1 <= self.api_rate_limit <= 10_000, "api_rate_limit", self.api_rate_limit, "1 to 10000 requests a second")
        require(1 <= self.api_burst_limit <= 5_000, "api_burst_limit", self.api_burst_limit, "1 to 5000 requests")
        require(self.log_retention_days in RETENTION, "log_retention_days", self.log_retention_days, f"one of {list(RETENTION)}")
        self.require_a_network()
        self.require_operations()

    def require_a_network(self) -> None:
        """Rejects an incomplete network; the security group is optional, because the stack can create one."""
        require(not self.vpc_id or VPC.fullmatch(self.vpc_id), "vpc_id", self.vpc_id, "empty or a VPC's id such as vpc-0123456789abcdef0")
        known = not self.subnet_ids or SUBNETS.fullmatch(self.subnet_ids)
        require(known, "subnet_ids", self.subnet_ids, "empty or ids such as subnet-0123456789abcdef0, separated by commas without spaces")
        different = len(set(self.subnets)) == len(self.subnets) <= MOST_SUBNETS
        require(different, "subnet_ids", self.subnet_ids, f"at most {MOST_SUBNETS} different subnets")
        known = not self.security_group_id or SECURITY_GROUP.fullmatch(self.security_group_id)
        require(known, "security_group_id", self.security_group_id, "empty or a security group's id such as sg-0123456789abcdef0")
        require(bool(self.vpc_id) == bool(self.subnet_ids), "subnet_ids", self.subnet_ids, "set if and only if vpc_id is set")
        alone = self.security_group_id and not self.vpc_id
        require(not alone, "security_group_id", self.security_group_id, "empty if vpc_id is empty")

    def require_operations(self) -> None:
        """Rejects values with which the functions of Operations cannot be deployed."""
        known = not self.notify_email or MAIL_ADDRESS.fullmatch(self.notify_email)
        require(known, "notify_email", self.notify_email, "empty or one mail address")
        require(
            self.endpoint_idle_hours <= MOST_IDLE_HOURS, "endpoint_idle_hours", self.endpoint_idle_hours, f"0 to {MOST_IDLE_HOURS} hours"
        )
        require(self.retraining == "none" or SCHEDULE.fullmatch(self.retraining), "retraining", self.retraining, SCHEDULE_RULE)
        require(is_json_object(self.retraining_input), "retraining_input", self.retraining_input, 'a JSON object such as {"seed": 7}')
        twice = self.retrain_on_new_data and self.retraining != "none"
        require(not twice, "retraining", self.retraining, '"none" where retrain_on_new_data is true, which looks every quarter of an hour')

    @property
    def subnets(self) -> list[str]:
        """`subnet_ids`, one by one."""
        return self.subnet_ids.split(",") if self.subnet_ids else []

    @property
    def log_retention(self) -> logs.RetentionDays:
        """`log_retention_days` as CDK names it."""
        return RETENTION[self.log_retention_days]


def require(fine: object, knob: str, value: object, allowed: str) -> None:
    """Raises InvalidConfiguration unless the value is valid."""
    if not fine:
        raise InvalidConfiguration(f"context key {knob!r} must be {allowed}; got {value!r}")


def read_text(knob: str, value: object) -> str:
    """Reads a string."""
    require(isinstance(value, str), knob, value, "a string")
    return str(value)


def read_whole_number(knob: str, value: object) -> int:
    """Reads a whole number; `-c name=20` on the command line gives the string "20"."""
    require(not isinstance(value, bool) and re.fullmatch(r"\d+", str(value)), knob, value, "a whole number")
    return int(str(value))


def is_json_object(written: str) -> bool:
    """Whether this is a JSON object; the function that uses it validates its members."""
    try:
        return isinstance(json.loads(written), dict)
    except ValueError:
        return False


def read_switch(knob: str, value: object) -> bool:
    """Reads true or false; `-c web_acl=true` on the command line gives the string "true"."""
    require(str(value).lower() in ("true", "false"), knob, value, "true or false")
    return str(value).lower() == "true"


def list_choices(values: tuple[str, ...]) -> str:
    """Formats the allowed values for a sentence."""
    return f"{', '.join(map(json.dumps, values[:-1]))} or {json.dumps(values[-1])}"


READERS: dict[Any, Callable[[str, object], Any]] = {str: read_text, int: read_whole_number, bool: read_switch}
"""A knob's type -> the function that reads its value."""
