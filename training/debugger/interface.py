"""What the training loop and the debugger know of each other: `Watched`, what is recorded, and `Debugger`, what the loop calls.

Runs in training jobs. `training.debugger.attach` makes the debugger of a job; a fault of the debugger never stops the training.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import nn

from training.debugger.degraded import warn
from training.debugger.rule_results import Configurations, mark_failed
from training.job.stopping import Stopping
from training.rule_evaluation.status import RuleStatus


@dataclass(frozen=True)
class Watched:
    """What a debugger records of a training."""

    network: nn.Module
    parameters: Mapping[str, nn.Parameter]
    """The trained ones, by name."""
    loss: nn.Module
    """Its class names the tensor of the losses."""
    stopping: Stopping
    evaluated: int
    """Photos per evaluation."""
    classes: int


class Debugger(Protocol):
    """What the training loop and the report call. Each call is complete in itself: the only order is that `close` comes last."""

    folder: Path | None
    """Where the tensors are; None if none are saved."""
    problem: str | None
    """Why tensors are missing, a sentence; None if nothing failed."""

    def save_training_step(self, loss: torch.Tensor) -> None:
        """Save a training step. Call it when the parameters have their gradients, before the optimizer changes them."""

    def save_evaluation(self, loss: torch.Tensor, tensors: Mapping[str, torch.Tensor]) -> None:
        """Save an evaluation: its loss, and labels, predictions and images by name."""

    def stop_reason(self) -> str | None:
        """Return which rule ends the training, and why; None while it continues. Takes almost no time."""

    def close(self, *, judge: bool = True) -> None:
        """Write what is left, check that everything was recorded, and, unless `judge` is False, wait for the rules."""

    def statuses(self) -> list[RuleStatus]:
        """Return the rules' results after `close`; empty if the job evaluates no rules."""


class NoDebugger:
    """Saves nothing, by request or because smdebug is missing."""

    def __init__(self, problem: str | None = None, rules: Configurations = ()) -> None:
        """`problem`: why the requested debugger is missing. `rules`: configurations that cannot be evaluated because of it."""
        self.folder: Path | None = None
        self.problem, self._rules = problem, rules
        if problem:
            warn(problem)

    def save_training_step(self, loss: torch.Tensor) -> None:
        """Do nothing."""

    def save_evaluation(self, loss: torch.Tensor, tensors: Mapping[str, torch.Tensor]) -> None:
        """Do nothing."""

    def stop_reason(self) -> str | None:
        """Return None: no rule runs."""
        return None

    def close(self, *, judge: bool = True) -> None:
        """Do nothing."""

    def statuses(self) -> list[RuleStatus]:
        """Return an Error for each rule that should have been evaluated."""
        return mark_failed(self._rules, self.problem or "") if self.problem else []
