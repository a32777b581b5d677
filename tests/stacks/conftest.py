"""One synthesis for all tests of the stack, with cdk-nag's AwsSolutions checks in it. Node is the one of the virtual environment."""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

import aws_cdk as cdk
from cdk_nag import AwsSolutionsChecks

from stacks.configuration import Config
from stacks.image_classifier_stack import ImageClassifierStack

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Synthesis:
    """What one `cdk synth` wrote."""

    folder: Path
    template: dict[str, Any]
    findings: list[str]

    def resources(self, kind: str) -> dict[str, dict[str, Any]]:
        found = {name: each for name, each in self.template["Resources"].items() if each["Type"] == kind}
        assert found, f"the template has no {kind}"
        return found

    def resource(self, kind: str) -> dict[str, Any]:
        (only,) = self.resources(kind).values()
        return dict(only["Properties"])


def synthesise(folder: Path, checked: bool = False, **knobs: Any) -> Synthesis:
    """The stack as cdk.json configures it, but for these knobs."""
    context = {**json.loads((REPOSITORY / "cdk.json").read_text())["context"], **knobs}
    app = cdk.App(outdir=str(folder), context=context)
    if checked:
        cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
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
    return [violation["ruleName"] for plugin in written["pluginReports"] for violation in plugin["violations"]]


@pytest.fixture(scope="session")
def synthesis(tmp_path_factory: pytest.TempPathFactory) -> Synthesis:
    return synthesise(tmp_path_factory.mktemp("cdk.out"), checked=True)
