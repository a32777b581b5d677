"""What a training job is told: hyperparameters from the command line, folders from the SageMaker environment variables.

Runs in training jobs. The training toolkit passes every hyperparameter as `--name value`.
"""

import argparse
import ast
import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import unquote

from training.contract import (
    CHANNEL_DATASET,
    CHANNEL_PHOTOS,
    CHANNEL_WEIGHTS,
    CHECKPOINTS_FOLDER,
    CLASS_WEIGHTS,
    DEBUG_OUTPUT,
    DEBUGGER_MODES,
    EPOCHS,
    PROFILER_OUTPUT,
    REPORT,
    RESUME,
    RULE_OUTPUT,
    TRAINABLE,
)
from training.contract.rules import DEBUG_RULES, PROFILER_RULES
from training.job.refusal import InputRefusedError

BASE = "/opt/ml"


@dataclass(frozen=True)
class Rules:
    """Which rules judge the job, and how; names and parameters are those of training.contract.rules."""

    evaluate: tuple[str, ...] | None = None
    """Debugger rules; None means those that suit what is trained."""
    stop_training: tuple[str, ...] = ()
    """Debugger rules that end the training where they find an issue."""
    parameters: dict[str, dict[str, str]] = field(default_factory=dict)
    """Rule -> parameter -> value, where it differs from the default."""


@dataclass(frozen=True)
class Hyperparameters:
    """What training.contract.HYPERPARAMETERS names, parsed and checked."""

    lr: float = 0.01
    """Learning rate of the head at the start; it falls towards zero along a cosine."""
    batch_size: int = 64
    """Photos a step; a training set that is smaller is one batch."""
    epochs: int = EPOCHS
    seed: int = 42
    """Draws the order of the photos and how they are cut."""
    trainable: str = "head"
    """One of training.contract.TRAINABLE."""
    class_weights: str = "balanced"
    """One of training.contract.CLASS_WEIGHTS."""
    debugger: str = "embedded"
    """One of training.contract.DEBUGGER_MODES."""
    evaluate_test: bool = False
    """Whether the test photos are looked at, and the report written: once, by the final job."""
    rules: Rules = field(default_factory=Rules)


@dataclass(frozen=True)
class Folders:
    """Where a job reads and writes."""

    dataset: Path
    """The prepared data set."""
    photos: Path
    """The photos themselves: there only where the backbone is trained."""
    weights: Path
    model: Path
    """What becomes model.tar.gz."""
    checkpoints: Path
    """Mirrored to S3 while the job runs."""
    failure: Path
    """File whose text becomes the FailureReason."""
    job: str = "job"
    """The training job's name: jobs of one tuning job share the checkpoints' place in S3."""

    @property
    def debug_output(self) -> Path:
        """Where the hook saves tensors."""
        return self.checkpoints / DEBUG_OUTPUT

    @property
    def profiler_output(self) -> Path:
        """Where the profiler writes what it measures."""
        return self.checkpoints / PROFILER_OUTPUT

    @property
    def managed_profiler_output(self) -> Path:
        """Where it writes in the managed mode: the service takes it from there."""
        return self.failure.parent / "profiler"

    @property
    def rule_output(self) -> Path:
        """Where the rules write what they say."""
        return self.checkpoints / RULE_OUTPUT

    @property
    def report(self) -> Path:
        """Where the report is written."""
        return self.checkpoints / REPORT

    @property
    def resume(self) -> Path:
        """Where the job that is started again finds how far it had come."""
        return self.checkpoints / RESUME / self.job

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Folders":
        """Read the SM_* variables; what is unset lies under SAGEMAKER_BASE_DIR, /opt/ml in the container."""
        base = Path(environment.get("SAGEMAKER_BASE_DIR", BASE))
        channel = {
            name: environment.get(f"SM_CHANNEL_{name.upper()}", str(base / "input/data" / name))
            for name in (CHANNEL_DATASET, CHANNEL_PHOTOS, CHANNEL_WEIGHTS)
        }
        return cls(
            dataset=Path(channel[CHANNEL_DATASET]),
            photos=Path(channel[CHANNEL_PHOTOS]),
            weights=Path(channel[CHANNEL_WEIGHTS]),
            model=Path(environment.get("SM_MODEL_DIR", str(base / "model"))),
            checkpoints=Path(environment.get("SM_CHECKPOINT_DIR", str(base / Path(CHECKPOINTS_FOLDER).relative_to(BASE)))),
            failure=base / "output" / "failure",
            job=Path(environment.get("TRAINING_JOB_NAME", "")).name or "job",
        )


def parse_hyperparameters(arguments: Sequence[str]) -> Hyperparameters:
    """Parse and check `--name value` pairs.

    Raises:
        InputRefusedError: an unknown name, or a value out of range; the text names it and what is allowed.
    """
    parser = _Parser(prog="training/train.py", allow_abbrev=False, description="Train a classifier on a prepared data set.")
    parser.add_argument("--lr", type=_number("lr", float, 0.0, 1.0, exclusive=True), default=Hyperparameters.lr, metavar="RATE")
    parser.add_argument("--batch_size", type=_number("batch_size", int, 1, 4096), default=Hyperparameters.batch_size, metavar="PHOTOS")
    parser.add_argument("--epochs", type=_number("epochs", int, 1, 1000), default=Hyperparameters.epochs, metavar="N")
    parser.add_argument("--seed", type=_number("seed", int, 0, 2**32 - 1), default=Hyperparameters.seed, metavar="N")
    parser.add_argument("--trainable", type=_unquoted, choices=TRAINABLE, default=Hyperparameters.trainable)
    parser.add_argument("--class_weights", type=_unquoted, choices=CLASS_WEIGHTS, default=Hyperparameters.class_weights)
    parser.add_argument("--debugger", type=_unquoted, choices=DEBUGGER_MODES, default=Hyperparameters.debugger)
    parser.add_argument("--evaluate_test", type=_truth, default=Hyperparameters.evaluate_test, metavar="true|false")
    parser.add_argument("--rules", type=parse_rules, default=Rules(), metavar="JSON")
    return Hyperparameters(**vars(parser.parse_args(arguments)))


def parse_rules(text: str) -> Rules:
    """Parse and check the JSON text that training.contract.RULES describes.

    Raises:
        argparse.ArgumentTypeError: no such text, rule or parameter; says which are allowed.
    """
    given = _decoded(unquote(text) if text.startswith("%") else text)
    _known("rules", given, ("evaluate", "stop_training", "parameters"))
    evaluate, parameters = given.get("evaluate"), given.get("parameters") or {}
    _known("rules.parameters", parameters, (*DEBUG_RULES, *PROFILER_RULES))
    for rule, values in parameters.items():
        _known(f"rules.parameters.{rule}", values, (DEBUG_RULES | PROFILER_RULES)[rule])
    return Rules(
        evaluate=None if evaluate is None else _rule_names("rules.evaluate", evaluate),
        stop_training=_rule_names("rules.stop_training", given.get("stop_training") or []),
        parameters={rule: {name: str(value) for name, value in values.items()} for rule, values in parameters.items()},
    )


def _decoded(text: str) -> Any:
    """Return the object that a JSON text means, however often it was quoted.

    The training toolkit decodes a hyperparameter once and hands an object on as Python writes it, a text as it is.
    """
    try:
        value = json.loads(text)
    except ValueError:
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
            raise argparse.ArgumentTypeError(f"got {text!r}, which is no JSON text") from error
    return _decoded(value) if isinstance(value, str) else value


def _known(where: str, given: Any, allowed: Collection[str]) -> None:
    if not isinstance(given, dict):
        raise argparse.ArgumentTypeError(f"{where} is {given!r}; it must be a JSON object with names out of {', '.join(allowed)}")
    for name in given:
        if name not in allowed:
            raise argparse.ArgumentTypeError(f"{where} names {name!r}; allowed are {', '.join(allowed) or 'none'}")


def _rule_names(where: str, given: Any) -> tuple[str, ...]:
    if not isinstance(given, list):
        raise argparse.ArgumentTypeError(f"{where} is {given!r}; it must be a list of names out of {', '.join(DEBUG_RULES)}")
    for name in given:
        if name not in DEBUG_RULES:
            raise argparse.ArgumentTypeError(f"{where} names {name!r}; allowed are {', '.join(DEBUG_RULES)}")
    return tuple(dict.fromkeys(given))


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputRefusedError(f"hyperparameters: {message}")


def _unquoted(text: str) -> str:
    """Strip the JSON quotes that tuned categorical values carry on the wire."""
    return text.strip().strip('"')


class _number:  # noqa: N801 - argparse shows it as a function
    """Parses one number within limits."""

    def __init__(self, name: str, kind: type[int] | type[float], low: float, high: float, *, exclusive: bool = False) -> None:
        self.__name__ = name
        self.kind, self.low, self.high, self.exclusive = kind, low, high, exclusive

    def __call__(self, text: str) -> float:
        what = f"a whole number from {self.low} to {self.high}" if self.kind is int else f"a number above {self.low:g}, up to {self.high:g}"
        try:
            value = self.kind(_unquoted(text))
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"got {text!r}, allowed is {what}") from error
        if not self.low <= value <= self.high or (self.exclusive and value == self.low):
            raise argparse.ArgumentTypeError(f"got {text!r}, allowed is {what}")
        return value


def _truth(text: str) -> bool:
    allowed = {"true": True, "false": False}
    value = allowed.get(_unquoted(text).lower())
    if value is None:
        raise argparse.ArgumentTypeError(f"got {text!r}, allowed are true and false")
    return value
