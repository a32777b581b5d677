"""Every deployment knob, read once from the CDK context (cdk.json, or `cdk deploy -c name=value`) and frozen.

Runs at synth. `Config()` holds the defaults; `Config.from_context(app.node.get_all_context())` is what app.py does.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from aws_cdk import aws_logs as logs

PROJECT = re.compile(r"[a-z]([a-z0-9-]{0,8}[a-z0-9])?")
PRIVATE_IMAGE = re.compile(r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.[a-z0-9.-]+/(?P<repository>[a-z0-9._/-]+)(?:[:@].+)?")
PUBLIC_IMAGE = re.compile(r"public\.ecr\.aws/[a-z0-9._/-]+(?:[:@].+)?")

PROJECT_RULE = "a small letter, then at most nine of a-z, 0-9 and dash, no dash at the end"
IMAGE_RULE = "empty, <12 digits>.dkr.ecr.<region>.amazonaws.com/<repository>:<tag> or public.ecr.aws/<repository>:<tag>"

CDK_OWN_KEYS = {"acknowledged-issue-numbers", "cli-telemetry"}
"""Context keys of the CDK command line that look like ours; all its others hold a colon or a slash."""

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
"""Days -> what CDK calls them."""


class InvalidConfiguration(ValueError):  # noqa: N818 - the name is what the user of `cdk synth` reads
    """A knob is unknown or has a value that cannot be; the message names the knob, the value and what is allowed."""


@dataclass(frozen=True)
class Config:
    """The knobs of one deployment."""

    project: str = "whippet"
    """Name of the stack and of the endpoint, and what every job's name begins with."""

    training_image_cpu: str = ""
    """Image of training jobs on CPU instances; empty takes AWS's PyTorch training image of the stack's region."""

    training_image_gpu: str = ""
    """Image of training jobs on GPU instances."""

    serving_image_cpu: str = ""
    """Image of endpoints on CPU instances; empty takes AWS's Ray Serve image of the stack's region."""

    serving_image_gpu: str = ""
    """Image of endpoints on GPU instances."""

    api_authorization: str = "iam"
    """`iam`: callers sign their requests. `none`: anybody who knows the address may call, at your cost - unsafe beyond a demonstration."""

    api_rate_limit: int = 20
    """Requests a second that the API takes in the long run, 1 to 10000."""

    api_burst_limit: int = 40
    """Requests that it takes at once, 1 to 5000."""

    log_retention_days: int = 90
    """Days that the stack's log groups keep what is written."""

    @classmethod
    def from_context(cls, context: Mapping[str, Any]) -> Self:
        """Reads the knobs out of the whole CDK context; raises InvalidConfiguration."""
        knobs = {each.name: each.type for each in fields(cls)}
        ours = {key: value for key, value in context.items() if not (":" in key or "/" in key or key in CDK_OWN_KEYS)}
        for key in ours:
            if key not in knobs:
                raise InvalidConfiguration(f"unknown context key {key!r}; allowed: {', '.join(knobs)} (cdk.json holds their defaults)")
        values: dict[str, Any] = {key: whole_number(key, value) if knobs[key] is int else text(key, value) for key, value in ours.items()}
        return cls(**values)

    def __post_init__(self) -> None:
        """Refuses what could only fail later."""
        require(PROJECT.fullmatch(self.project), "project", self.project, PROJECT_RULE)
        for knob in ("training_image_cpu", "training_image_gpu", "serving_image_cpu", "serving_image_gpu"):
            image = getattr(self, knob)
            known = not image or PRIVATE_IMAGE.fullmatch(image) or PUBLIC_IMAGE.fullmatch(image)
            require(known, knob, image, IMAGE_RULE)
        require(self.api_authorization in ("iam", "none"), "api_authorization", self.api_authorization, '"iam" or "none"')
        require(1 <= self.api_rate_limit <= 10_000, "api_rate_limit", self.api_rate_limit, "1 to 10000 requests a second")
        require(1 <= self.api_burst_limit <= 5_000, "api_burst_limit", self.api_burst_limit, "1 to 5000 requests")
        require(self.log_retention_days in RETENTION, "log_retention_days", self.log_retention_days, f"one of {list(RETENTION)}")

    @property
    def log_retention(self) -> logs.RetentionDays:
        """`log_retention_days` as CDK names it."""
        return RETENTION[self.log_retention_days]


def require(fine: object, knob: str, value: object, allowed: str) -> None:
    """Raises InvalidConfiguration unless the value is fine."""
    if not fine:
        raise InvalidConfiguration(f"context key {knob!r} must be {allowed}; got {value!r}")


def text(knob: str, value: object) -> str:
    """A string."""
    require(isinstance(value, str), knob, value, "a string")
    return str(value)


def whole_number(knob: str, value: object) -> int:
    """A whole number; `-c name=20` on the command line gives the string "20"."""
    require(not isinstance(value, bool) and re.fullmatch(r"\d+", str(value)), knob, value, "a whole number")
    return int(str(value))
