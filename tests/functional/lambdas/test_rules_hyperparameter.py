"""The hyperparameter that carries the rules, through the shell of the training toolkit. Run: `make test`."""

import json
import subprocess

import pytest

from lambdas.request.rules import Rules
from training.settings import parse_hyperparameters


def test_the_training_job_reads_the_hyperparameter() -> None:
    """After the training toolkit, which decodes a value that is JSON and starts the program through a shell."""
    theirs = {"Overfit": {"tensor_regex": """.*"loss" $HOME `ls` 'x' \\ ~ % é {a,b} *;&|<>""", "patience": "3"}}
    asked = Rules.parse({"stop_training": ["AllZero"], "parameters": theirs}, "head", "embedded")
    with pytest.raises(ValueError, match="Expecting value"):
        json.loads(asked.hyperparameter)
    shell = subprocess.run(f"printf %s\\\\n --rules {asked.hyperparameter}", shell=True, capture_output=True, text=True, check=True)  # noqa: S602
    option, arrived = shell.stdout.splitlines()
    assert (option, arrived) == ("--rules", asked.hyperparameter)
    read = parse_hyperparameters(["--lr", "0.1", "--batch_size", "16", option, arrived]).rules
    assert (read.evaluate, read.stop_training, read.parameters) == (asked.evaluate, asked.stop_training, asked.parameters)
