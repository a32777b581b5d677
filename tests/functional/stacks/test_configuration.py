"""The knobs of a deployment: cdk.json holds their defaults, and what cannot be is refused with a sentence."""

import json
import re
from dataclasses import fields
from typing import Any

import pytest

from stacks.configuration import Config, InvalidConfiguration
from tests import REPOSITORY


def written() -> dict[str, Any]:
    context = json.loads((REPOSITORY / "cdk.json").read_text())["context"]
    return {key: value for key, value in context.items() if ":" not in key}


def test_cdk_json_holds_every_knob_with_its_default() -> None:
    assert written() == {each.name: each.default for each in fields(Config)}


def test_keys_of_the_cdk_itself_are_left_alone() -> None:
    context = {**written(), "@aws-cdk/core:checkSecretUsage": True, "aws:cdk:version-reporting": True, "cli-telemetry": False}
    assert Config.from_context(context) == Config()


def test_the_command_line_gives_strings() -> None:
    assert Config.from_context({"api_rate_limit": "5", "log_retention_days": "7"}) == Config(api_rate_limit=5, log_retention_days=7)


@pytest.mark.parametrize(
    ("knob", "value"),
    [
        ("project", "Whippet"),
        ("project", "whippet-whip"),
        ("project", "whip-"),
        ("project", ""),
        ("project", 7),
        ("serving_image_cpu", "my-image"),
        ("training_image_gpu", "docker.io/pytorch/pytorch:2.13"),
        ("api_authorization", "off"),
        ("api_rate_limit", 0),
        ("api_rate_limit", "fast"),
        ("api_burst_limit", True),
        ("log_retention_days", 8),
        ("model_package_group", "old"),
        ("encryption", "aes"),
        ("vpc_id", "my-vpc"),
        ("web_acl", "yes"),
        ("web_acl", 1),
        ("notify_email", "somebody"),
        ("notify_email", "a@b, c@d"),
        ("monthly_budget_usd", "10.5"),
        ("monthly_budget_usd", -1),
        ("endpoint_idle_hours", 337),
        ("retraining", "weekly"),
        ("retraining", "rate(1 days)"),
        ("retraining", "cron(0 3 * *)"),
        ("retraining_input", "[]"),
        ("retraining_input", "{seed: 7}"),
        ("retrain_on_new_data", "often"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_name(knob: str, value: Any) -> None:
    with pytest.raises(InvalidConfiguration, match=rf"'{knob}' must be .*; got {re.escape(repr(value))}$"):
        Config.from_context({knob: value})


VPC, SUBNET, GROUP = "vpc-0123456789abcdef0", "subnet-0123456789abcdef0", "sg-0123456789abcdef0"


@pytest.mark.parametrize(
    ("knob", "knobs"),
    [
        ("subnet_ids", {"vpc_id": VPC}),
        ("subnet_ids", {"subnet_ids": SUBNET}),
        ("subnet_ids", {"vpc_id": VPC, "subnet_ids": f"{SUBNET}, {SUBNET}"}),
        ("subnet_ids", {"vpc_id": VPC, "subnet_ids": f"{SUBNET},{SUBNET}"}),
        ("subnet_ids", {"vpc_id": VPC, "subnet_ids": ",".join(f"subnet-{each:08x}" for each in range(17))}),
        ("security_group_id", {"security_group_id": GROUP}),
        ("security_group_id", {"vpc_id": VPC, "subnet_ids": SUBNET, "security_group_id": "default"}),
        ("retraining", {"retraining": "rate(7 days)", "retrain_on_new_data": True}),
    ],
)
def test_knobs_that_do_not_fit_together_are_refused(knob: str, knobs: dict[str, Any]) -> None:
    with pytest.raises(InvalidConfiguration, match=f"'{knob}' must be .*; got "):
        Config.from_context(knobs)


@pytest.mark.parametrize("schedule", ["rate(1 day)", "rate(12 hours)", "cron(0 3 ? * MON *)", "cron(0/15 8-18 ? * MON-FRI *)"])
def test_schedules_of_eventbridge_are_taken(schedule: str) -> None:
    assert Config.from_context({"retraining": schedule}).retraining == schedule


def test_a_network_is_taken_whole() -> None:
    config = Config.from_context({"vpc_id": VPC, "subnet_ids": f"{SUBNET},subnet-0a1b2c3d", "security_group_id": GROUP})
    assert config.subnets == [SUBNET, "subnet-0a1b2c3d"]
    assert Config().subnets == []


@pytest.mark.parametrize(("written", "read"), [(True, True), ("true", True), ("False", False), (False, False)])
def test_a_switch_is_written_in_json_or_on_the_command_line(written: Any, read: bool) -> None:
    assert Config.from_context({"web_acl": written}).web_acl is read


def test_an_unknown_knob_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidConfiguration, match=r"unknown context key 'projekt'; allowed: project, .*log_retention_days"):
        Config.from_context({"projekt": "x"})


def test_every_recommended_feature_flag_is_set() -> None:
    """As `cdk init` would write them for the aws-cdk-lib that is installed."""
    import importlib.util
    import tarfile
    from pathlib import Path

    package = importlib.util.find_spec("aws_cdk._jsii")
    assert package is not None
    assert package.origin is not None
    (archive,) = Path(package.origin).parent.glob("aws-cdk-lib@*.tgz")
    with tarfile.open(archive) as tar:
        member = tar.extractfile("package/recommended-feature-flags.json")
        assert member is not None
        recommended = json.load(member)
    context = json.loads((REPOSITORY / "cdk.json").read_text())["context"]
    assert {key: value for key, value in context.items() if ":" in key} == recommended
