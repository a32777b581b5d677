"""One synthesis of each configuration for all tests, with three of cdk-nag's packs in it. Node is that of the virtual environment."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

import aws_cdk as cdk
from cdk_nag import AwsSolutionsChecks, NIST80053R5Checks, ServerlessChecks

from stacks.configuration import Config
from stacks.image_classifier_stack import ImageClassifierStack
from stacks.security_page import EVERYTHING

REPOSITORY = Path(__file__).resolve().parents[2]

VPC = {"vpc_id": "vpc-0123456789abcdef0", "subnet_ids": "subnet-0123456789abcdef0,subnet-0123456789abcdef1"}
VARIATIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "kms": {"encryption": "kms"},
    "vpc": VPC,
    "own security group": {**VPC, "security_group_id": "sg-0123456789abcdef0", "retraining": "rate(7 days)"},
    "API key": {"api_authorization": "api_key"},
    "open": {"api_authorization": "none", "web_acl": True},
    "told": {"notify_email": "somebody@example.com", "monthly_budget_usd": 50, "endpoint_idle_hours": 0, "model_package_group": "existing"},
    "everything": EVERYTHING,
}
"""Between them every knob is turned once."""


@dataclass(frozen=True)
class Synthesis:
    """What one `cdk synth` wrote."""

    folder: Path
    template: dict[str, Any]
    findings: list[str]

    def resources(self, kind: str) -> dict[str, dict[str, Any]]:
        found = self.some(kind)
        assert found, f"the template has no {kind}"
        return found

    def some(self, kind: str) -> dict[str, dict[str, Any]]:
        """The same, where there may be none."""
        return {name: each for name, each in self.template["Resources"].items() if each["Type"] == kind}

    def resource(self, kind: str) -> dict[str, Any]:
        (only,) = self.resources(kind).values()
        return dict(only["Properties"])


def synthesise(folder: Path, checked: bool = False, **knobs: Any) -> Synthesis:
    """The stack as cdk.json configures it, but for these knobs."""
    context = {**json.loads((REPOSITORY / "cdk.json").read_text())["context"], **knobs}
    app = cdk.App(outdir=str(folder), context=context)
    if checked:
        cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app), ServerlessChecks(app), NIST80053R5Checks(app))
    config = Config.from_context(app.node.get_all_context())
    ImageClassifierStack(app, config.project, config=config)
    findings: list[str] = []
    try:
        app.synth()
    except RuntimeError as error:
        assert "ValidationFailed" in str(error), error
        findings = violations(folder / "validation-report.json")
    template = json.loads((folder / f"{config.project}.template.json").read_text())
    return Synthesis(folder, template, findings)


def violations(report: Path) -> list[str]:
    written = json.loads(report.read_text())
    return [
        f"{violation['ruleName']} {construct['constructPath']}"
        for plugin in written["pluginReports"]
        for violation in plugin["violations"]
        for construct in violation["violatingConstructs"]
    ]


@pytest.fixture(scope="session")
def variation(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Synthesis]:
    """Name in VARIATIONS -> the stack so configured, synthesised when it is first asked for."""
    return cache(lambda name: synthesise(tmp_path_factory.mktemp("cdk.out"), checked=True, **VARIATIONS[name]))


@pytest.fixture(scope="session")
def synthesis(variation: Callable[[str], Synthesis]) -> Synthesis:
    return variation("default")
