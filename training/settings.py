"""What a training job reads at its start: hyperparameters from the command line, folders from the SageMaker environment variables.

Runs in training jobs. The training toolkit passes every hyperparameter as `--name value`.
"""

import argparse
import ast
import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import unquote

from training.contract import (
    CHANNEL_DATASET,
    CHANNEL_PHOTOS,
    CHANNEL_WEIGHTS,
    CHECKPOINTS_FOLDER,
    DEBUG_OUTPUT,
    PROFILER_OUTPUT,
    PROGRAM,
    REPORT,
    RESUME,
    RULE_OUTPUT,
)
from training.contract import rules as known
from training.contract.fields import Kind, UnfitValue
from training.contract.hyperparameters import RULES, Hyperparameters, Rules
from training.job.failure import InputRefusedError

BASE = "/opt/ml"


@dataclass(frozen=True)
class Folders:
    """Where a job reads and writes."""

    dataset: Path
    """The prepared data set."""
    photos: Path
    """The photos; only where the backbone is trained."""
    weights: Path
    model: Path
    """What becomes model.tar.gz."""
    checkpoints: Path
    """Mirrored to S3 while the job runs."""
    failure: Path
    """File whose text becomes the FailureReason."""
    job: str = "job"
    """The training job's name: jobs of one tuning job share a folder of checkpoints in S3."""

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
        """Where the profiler writes in the managed mode: the service collects it from there."""
        return self.failure.parent / "profiler"

    @property
    def rule_output(self) -> Path:
        """Where the rules write their statuses."""
        return self.checkpoints / RULE_OUTPUT

    @property
    def report(self) -> Path:
        """Where the report is written."""
        return self.checkpoints / REPORT

    @property
    def resume(self) -> Path:
        """Where an interrupted job finds its progress when it starts again."""
        return self.checkpoints / RESUME / self.job

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Folders":
        """Read the SM_* variables; unset ones are folders under SAGEMAKER_BASE_DIR, /opt/ml in the container."""
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
        InputRefusedError: an unknown name, or a value that is not allowed; the text names it and what is allowed.
    """
    about = "Train a classifier on a prepared data set."
    parser = _Parser(prog=PROGRAM, description=about, allow_abbrev=False, argument_default=argparse.SUPPRESS)
    for each in fields(Hyperparameters):
        parser.add_argument(f"--{each.name}", type=parse_rules if each.name == RULES else partial(_take, each.metadata["kind"]))
    return Hyperparameters(**vars(parser.parse_args(arguments)))


def _take(kind: Kind, text: str) -> Any:
    try:
        return kind.take_text(text)
    except UnfitValue as unfit:
        raise argparse.ArgumentTypeError(str(unfit).strip()) from unfit


def parse_rules(text: str) -> Rules:
    """Parse and check the JSON text of the hyperparameter `rules`.

    Raises:
        argparse.ArgumentTypeError: not such a text, or an unknown rule or parameter; it names those that are allowed.
    """
    given = _decoded(unquote(text) if text.startswith("%") else text)
    _known("rules", given, ("evaluate", "stop_training", "parameters"))
    evaluate, parameters = given.get("evaluate"), given.get("parameters") or {}
    _known("rules.parameters", parameters, known.RULES)
    for rule, values in parameters.items():
        _known(f"rules.parameters.{rule}", values, known.RULES[rule])
    return Rules(
        evaluate=None if evaluate is None else _rule_names("rules.evaluate", evaluate),
        stop_training=_rule_names("rules.stop_training", given.get("stop_training") or []),
        parameters={rule: {name: str(value) for name, value in values.items()} for rule, values in parameters.items()},
    )


def _decoded(text: str) -> Any:
    """Return the object that a JSON text means, however often it was quoted.

    The training toolkit decodes a hyperparameter once and passes an object on as a Python literal, a text as it is.
    """
    try:
        value = json.loads(text)
    except ValueError:
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
            raise argparse.ArgumentTypeError(f"got {text!r}, which is not a JSON text") from error
    return _decoded(value) if isinstance(value, str) else value


def _known(where: str, given: Any, allowed: Collection[str]) -> None:
    if not isinstance(given, dict):
        raise argparse.ArgumentTypeError(f"{where} is {given!r}; it must be a JSON object with names out of {', '.join(allowed)}")
    for name in given:
        if name not in allowed:
            raise argparse.ArgumentTypeError(f"{where} names {name!r}; allowed are {', '.join(allowed) or 'none'}")


def _rule_names(where: str, given: Any) -> tuple[str, ...]:
    if not isinstance(given, list):
        raise argparse.ArgumentTypeError(f"{where} is {given!r}; it must be a list of names out of {', '.join(known.DEBUG_RULES)}")
    for name in given:
        if name not in known.DEBUG_RULES:
            raise argparse.ArgumentTypeError(f"{where} names {name!r}; allowed are {', '.join(known.DEBUG_RULES)}")
    return tuple(dict.fromkeys(given))


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputRefusedError(f"hyperparameters: {message}")
