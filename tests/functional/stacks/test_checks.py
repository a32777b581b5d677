"""What three linters think of the stack, in every variation: cdk-nag's packs, cfn-lint, and statelint of the machine (in test_stack)."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import aws_cdk as cdk
import pytest
from aws_cdk import aws_s3 as s3
from cdk_nag import AwsSolutionsChecks, NIST80053R5Checks, ServerlessChecks

from stacks.configuration import Config
from stacks.permissions import ACCEPTED
from stacks.security_page import EVERYTHING, read_entries
from stacks.state_machine.definition import definition
from tests import REPOSITORY
from tests.fixtures.stacks.execution import filled_in
from tests.fixtures.stacks.synthesis import VARIATIONS, Synthesis

BIN = Path(sys.executable).parent


@pytest.mark.parametrize("name", VARIATIONS)
def test_cdk_nag_finds_nothing_that_has_no_reason(variation: Callable[[str], Synthesis], name: str) -> None:
    assert variation(name).findings == []


def test_a_finding_without_a_reason_would_be_seen(tmp_path: Path) -> None:
    """So the check above does not pass because nothing is checked."""
    app = cdk.App(outdir=str(tmp_path))
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app), ServerlessChecks(app), NIST80053R5Checks(app))
    stack = cdk.Stack(app, "bare")
    s3.Bucket(stack, "Bucket")
    cdk.aws_sqs.Queue(stack, "Queue")
    with pytest.raises(RuntimeError, match=r"(?s)AwsSolutions-S1.*Serverless-SQSRedrivePolicy.*NIST.800.53.R5-S3BucketLoggingEnabled"):
        app.synth()


@pytest.mark.parametrize("name", ["default", "everything"])
def test_a_reason_is_a_sentence_about_one_thing(variation: Callable[[str], Synthesis], name: str) -> None:
    """Nothing is waved through for the whole stack, and no reason is a shrug."""
    for path, said in read_entries(variation(name).folder, ACCEPTED):
        assert "/" in path, f"{said['finding']} is accepted of all in {path}"
        assert len(said["why"].split()) >= 3, said
        assert said["why"].endswith("."), said


def test_the_variations_turn_every_knob() -> None:
    """But for those that change no resource's kind: names, images and numbers."""
    turned = {knob for knobs in VARIATIONS.values() for knob in knobs}
    plain = {"project", "training_image_cpu", "training_image_gpu", "serving_image_cpu", "serving_image_gpu"}
    numbers = {"api_rate_limit", "api_burst_limit", "log_retention_days", "retraining_input"}
    assert turned | plain | numbers == {*Config.__dataclass_fields__}
    assert set(EVERYTHING) <= turned


def test_cfn_lint_has_no_objection(variation: Callable[[str], Synthesis], tmp_path: Path) -> None:
    """Also to the state machine, once with its substitutions filled in, because cfn-lint knows no other ARN than arn:aws."""
    template = json.loads(json.dumps(variation("default").template).replace('"ignore_checks": ["E3601"]', '"ignore_checks": []'))
    for each in template["Resources"].values():
        if each["Type"] == "AWS::StepFunctions::StateMachine":
            each["Properties"]["DefinitionString"] = json.dumps(filled_in(definition()))
            del each["Properties"]["DefinitionSubstitutions"]
    filled = tmp_path / "filled.json"
    filled.write_text(json.dumps(template))
    written = [variation(name).folder / "whippet.template.json" for name in ("default", "API key", "open", "everything")]
    lint: list[str | Path] = [BIN / "cfn-lint", "--config-file", REPOSITORY / ".cfnlintrc", "--", *written, filled]
    done = subprocess.run(lint, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
