"""Folders of a job: where it goes on from belongs to it alone. Rules that it is told. Run: `make test`."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from training.contract.hyperparameters import Hyperparameters, Rules
from training.job.failure import InputRefusedError
from training.settings import Folders, parse_hyperparameters

RULES: dict[str, Any] = {
    "evaluate": ["Overfit", "LossNotDecreasing"],
    "stop_training": ["LossNotDecreasing"],
    "parameters": {"Overfit": {"ratio_threshold": "1.0"}, "CPUBottleneck": {"cpu_threshold": "80"}},
}


def test_every_channel_follows_the_toolkit_or_the_base_folder() -> None:
    folders = Folders.from_environment({"SAGEMAKER_BASE_DIR": "/job/ml", "SM_CHANNEL_DATASET": "/elsewhere"})
    assert (folders.dataset, folders.photos) == (Path("/elsewhere"), Path("/job/ml/input/data/photos"))


@pytest.mark.parametrize(("name", "folder"), [("whippet-7", "whippet-7"), ("", "job"), ("../../x", "x")])
def test_jobs_that_share_a_bucket_folder_keep_apart(name: str, folder: str) -> None:
    resume = Folders.from_environment({"TRAINING_JOB_NAME": name}).resume
    assert resume == Path("/opt/ml/checkpoints/resume", folder)


def as_the_toolkit_hands_it_on(value: str) -> str:
    """It decodes each hyperparameter's JSON once, and writes what is no text as Python does."""
    try:
        return str(json.loads(value))
    except ValueError:
        return value


@pytest.mark.parametrize("quoted", [0, 1, 2])
def test_rules_arrive_however_often_they_were_quoted(quoted: int) -> None:
    text = json.dumps(RULES)
    for _ in range(quoted):
        text = json.dumps(text)
    for given in (text, as_the_toolkit_hands_it_on(text)):
        assert parse_hyperparameters(["--rules", given]).rules == Rules(
            evaluate=("Overfit", "LossNotDecreasing"), stop_training=("LossNotDecreasing",), parameters=RULES["parameters"]
        )


def test_rules_arrive_percent_encoded() -> None:
    """As the requests write them for the toolkit's shell: tests/functional/lambdas/test_rules_hyperparameter.py sends them through one."""
    text = quote(json.dumps(RULES), safe=",:")
    assert parse_hyperparameters(["--rules", as_the_toolkit_hands_it_on(text)]).rules.parameters == RULES["parameters"]


@pytest.mark.parametrize("given", ['{"evaluate": null}', "{}", as_the_toolkit_hands_it_on('{"evaluate": null, "parameters": {}}')])
def test_what_is_not_said_of_rules_is_left_to_the_defaults(given: str) -> None:
    assert parse_hyperparameters(["--rules", given]).rules == Rules() == Hyperparameters().rules


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("[", "which is not a JSON text"),
        ("__import__('os')", "which is not a JSON text"),
        ("[]", "must be a JSON object"),
        ('{"rules": []}', "rules names 'rules'; allowed are evaluate, stop_training, parameters"),
        ('{"evaluate": ["Overfits"]}', "rules.evaluate names 'Overfits'; allowed are VanishingGradient"),
        ('{"evaluate": "Overfit"}', "must be a list of names"),
        ('{"stop_training": ["CPUBottleneck"]}', "rules.stop_training names 'CPUBottleneck'"),
        ('{"parameters": {"Overfits": {}}}', "rules.parameters names 'Overfits'"),
        ('{"parameters": {"Overfit": {"ratio": "1"}}}', "rules.parameters.Overfit names 'ratio'; allowed are tensor_regex"),
        ('{"parameters": {"Overfit": "1"}}', "rules.parameters.Overfit is '1'"),
    ],
)
def test_a_wrong_rule_is_named_with_what_is_allowed(given: str, sentence: str) -> None:
    with pytest.raises(InputRefusedError) as refused:
        parse_hyperparameters(["--rules", given])
    assert sentence in str(refused.value)
