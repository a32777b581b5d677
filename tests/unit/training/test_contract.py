"""What the contract promises is what the program does: hyperparameters, metric lines, folders. Run: `make test`."""

import re
from pathlib import Path

import pytest

from training import contract
from training.contract import hyperparameters, metrics
from training.contract.hyperparameters import ChosenHyperparameters, Hyperparameters, Rules
from training.job.failure import InputRefusedError
from training.job.metric_lines import format_metric
from training.settings import Folders, parse_hyperparameters


def test_the_program_accepts_exactly_the_hyperparameters_of_the_contract() -> None:
    values = {"lr": "0.02", "batch_size": "32", "epochs": "3", "seed": "1", "trainable": "all"}
    values |= {"class_weights": "none", "debugger": "off", "evaluate_test": "true", "rules": '{"stop_training": ["Overfit"]}'}
    parsed = parse_hyperparameters([part for name in hyperparameters.HYPERPARAMETERS for part in (f"--{name}", values[name])])
    chosen = ChosenHyperparameters(3, 1, trainable="all", class_weights="none", debugger="off")
    assert parsed == Hyperparameters(**vars(chosen), lr=0.02, batch_size=32, evaluate_test=True, rules=Rules(stop_training=("Overfit",)))


@pytest.mark.parametrize("value", [0.0, 1.0, 0.123456789, 1234567.5, 1e-9])
@pytest.mark.parametrize("name", metrics.METRIC_NAMES)
def test_each_regular_expression_matches_its_own_line_alone(name: str, value: float) -> None:
    line = format_metric(name, value)
    matching = [other for other, pattern in metrics.METRICS.items() if re.search(pattern, line)]
    assert matching == [name]
    found = re.search(metrics.METRICS[name], line)
    assert found is not None
    assert float(found[1]) == pytest.approx(value, abs=1e-6)


def test_a_loss_that_is_not_a_number_is_no_metric() -> None:
    assert not re.search(metrics.METRICS["valid:loss"], format_metric("valid:loss", float("nan")))


def test_a_metric_the_contract_does_not_name_is_refused() -> None:
    with pytest.raises(ValueError, match="valid:lost"):
        format_metric("valid:lost", 1.0)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--lr", "0"], "above 0 and at most 1"),
        (["--lr", "nan"], "above 0 and at most 1"),
        (["--batch_size", "0"], "whole number from 1 to 4096"),
        (["--batch_size", "1.5"], "whole number"),
        (["--epochs", "1001"], "from 1 to 1000"),
        (["--evaluate_test", "yes"], "true or false"),
        (["--trainable", "tail"], "one of"),
        (["--class_weights", "yes"], "one of"),
        (["--batch", "16"], "unrecognized"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(arguments: list[str], sentence: str) -> None:
    with pytest.raises(InputRefusedError, match=sentence):
        parse_hyperparameters(arguments)


def test_tuned_values_may_carry_their_quotes() -> None:
    assert parse_hyperparameters(["--batch_size", '"64"']).batch_size == 64


def test_folders_follow_the_base_folder_and_the_toolkit() -> None:
    folders = Folders.from_environment({"SAGEMAKER_BASE_DIR": "/job/ml", "SM_CHANNEL_PHOTOS": "/elsewhere"})
    assert folders.photos == Path("/elsewhere")
    assert folders.weights == Path("/job/ml/input/data/weights")
    assert folders.debug_output == Path("/job/ml/checkpoints/debug-output")
    assert folders.profiler_output == Path("/job/ml/checkpoints/profiler-output")
    assert folders.rule_output == Path("/job/ml/checkpoints/rule-output")
    assert Folders.from_environment({}).report == Path(contract.CHECKPOINTS_FOLDER, contract.REPORT)
