"""The knobs of a deployment: cdk.json holds their defaults, and what cannot be is refused with a sentence."""

import json
from dataclasses import fields
from typing import Any

import pytest

from stacks.configuration import Config, InvalidConfiguration
from tests.stacks.conftest import REPOSITORY


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
    ],
)
def test_a_value_that_cannot_be_is_refused_by_name(knob: str, value: Any) -> None:
    with pytest.raises(InvalidConfiguration, match=f"'{knob}' must be .*; got {value!r}"):
        Config.from_context({knob: value})


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
