"""Trains with the job's own loop and hook, and has the rules judge what was recorded, with the parameters that our jobs pass.

Used by the modules beside it.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from training.contract.hyperparameters import Rules
from training.contract.rules import configurations, profiler_configurations
from training.debugger.attach import attach_debugger
from training.fit.loop import Training, fit, steps_per_epoch
from training.job.failure import InputRefusedError
from training.profiler.analyse import analyse
from training.profiler.profiler import start_profiler
from training.rule_evaluation.judge import judge
from training.rule_evaluation.status import RuleStatus
from training.settings import Folders

RECORD_ONLY = Rules(evaluate=())
"""The job starts no rules: they are judged here, when it is over."""
Parameters = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Judged:
    """What the rules said of a training."""

    statuses: tuple[RuleStatus, ...]

    def of(self, status: str) -> tuple[str, ...]:
        """Return the names of the rules with this status."""
        return tuple(each.RuleConfigurationName for each in self.statuses if each.RuleEvaluationStatus == status)


def train_and_judge(
    training: Training,
    evaluate: Sequence[str] | None = None,
    parameters: Parameters | None = None,
    *,
    profiled: bool = False,
    spoil: Callable[[Path], None] | None = None,
) -> Judged:
    """Train, and return the verdicts.

    Args:
        training: its settings say which rules are the default ones.
        evaluate: debugger rules; None for the default ones.
        parameters: rule -> parameter -> value, where it differs from our jobs' default.
        profiled: whether the machine is sampled meanwhile, and the profiler rules judge too.
        spoil: changes what was recorded before it is judged.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folders = folders_in(Path(scratch))
        tensors = record(training, folders, profiled=profiled)
        if spoil:
            spoil(tensors)
        settings = training.settings
        statuses = judge(str(tensors), configurations(settings.trainable, settings.epochs, evaluate, (), parameters))
        if profiled:
            statuses += analyse(folders.profiler_output, folders.rule_output, profiler_configurations(settings.epochs))[0]
    return Judged(tuple(statuses))


def folders_in(base: Path) -> Folders:
    """Return the folders of a job whose channels nobody reads."""
    return Folders(base, base, base, base / "model", base / "checkpoints", base / "output" / "failure")


def record(training: Training, folders: Folders, *, profiled: bool = False) -> Path:
    """Train with hook and profiler as a job does; return where the tensors are.

    Raises:
        RuntimeError: something was not recorded: there would be nothing to measure.
    """
    training = replace(training, settings=replace(training.settings, debugger="embedded", rules=RECORD_ONLY))
    profiler = start_profiler("embedded" if profiled else "off", folders.profiler_output, torch.device("cpu"))
    steps = steps_per_epoch(len(training.train.labels), training.settings.batch_size)
    debugger = attach_debugger(training.settings, folders, training.watched, steps)
    with suppress(InputRefusedError):  # a loss that is no number ends the training; what was recorded of it is judged
        fit(replace(training, debugger=debugger, profiler=profiler))
    debugger.close()
    profiler.close()
    if debugger.problem or profiler.problem or debugger.folder is None:
        raise RuntimeError(f"not recorded: {debugger.problem or profiler.problem}")
    return debugger.folder
