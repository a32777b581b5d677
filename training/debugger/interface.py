"""SageMaker Debugger inside the job: saves tensors of what is trained, has rules judge them, and never stops the training by a fault.

Runs in training jobs. AWS's images no longer hold smdebug, so the source archive brings it. Where the request has a DebugHookConfig,
SageMaker writes it to input/config/debughookconfig.json and that configuration is followed; otherwise ours is. The rules run in a process
of their own beside the training, unless the service runs them.
"""

import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch

from training.debugger.activations import Activations, channels
from training.debugger.intervals import Intervals, intervals
from training.debugger.recorder import JobDebugger, has_judged_gradient, note_degraded, warn
from training.debugger.rule_results import Configurations, debugger_rules, unjudged
from training.rule_evaluation.status import RuleStatus
from training.rule_evaluation.watch import RuleWatch
from training.settings import BASE, Folders, Hyperparameters

if TYPE_CHECKING:
    from training.debugger.hook import Hook
    from training.fit.loop import Training

COLLECTIONS: dict[str, str | None] = {
    "losses": None,
    "weights": None,
    "gradients": None,
    "labels": "^labels$",
    "predictions": "^predictions$",
}
"""What our own configuration saves, with the regular expressions of tensor names that smdebug does not know."""
FINE_TUNING: dict[str, str | None] = {"relu_input": ".*relu_input", "relu_output": ".*relu_output", "images": "^images$"}
"""What it saves besides where the backbone is trained."""

SERVICE_FOLDER = Path("/opt/ml/output/tensors")
"""Where the service looks for tensors unless the request says otherwise."""
UNUSED = ("CHECKPOINT_CONFIG_FILE_PATH", "SMPROFILER_CONFIG_PATH")
"""Variables that lead smdebug to what it must not do here: walk all checkpoints at each step, and profile beside our own profiler."""


class Debugger(Protocol):
    """What the training loop tells the debugger, and what the report asks of it."""

    folder: Path | None
    """Where tensors lie; None where none are saved."""
    problem: str | None
    """Why tensors are missing, a sentence; None while all is well."""

    def training(self) -> None:
        """Say that the following steps are training steps."""

    def evaluating(self) -> None:
        """Say that the following steps are evaluation steps."""

    def save(self, name: str, value: torch.Tensor) -> None:
        """Add a tensor to the step that is next told of."""

    def step(self, loss: torch.Tensor) -> None:
        """Say that a step has its loss, and while training its gradients, before the optimizer takes them."""

    def stop_reason(self) -> str | None:
        """Return which rule ends the training, and why; None while it goes on. Costs next to nothing."""

    def close(self, *, judge: bool = True) -> None:
        """Write what is left, find out whether everything was recorded, and, unless told not to, wait for the rules."""

    def statuses(self) -> list[RuleStatus]:
        """Return what the rules say, once closed; none where the job evaluates none."""


class NoDebugger:
    """Saves nothing, by request or because smdebug is not to be had."""

    def __init__(self, problem: str | None = None, rules: Configurations = ()) -> None:
        """`problem`: why the debugger that was asked for is missing. `rules`: the configurations that cannot be judged for it."""
        self.folder: Path | None = None
        self.problem, self._rules = problem, rules
        if problem:
            warn(problem)

    def training(self) -> None:
        """Nothing to say."""

    def evaluating(self) -> None:
        """Nothing to say."""

    def save(self, name: str, value: torch.Tensor) -> None:
        """Nothing to save."""

    def step(self, loss: torch.Tensor) -> None:
        """Nothing to save."""

    def stop_reason(self) -> str | None:
        """Nobody ends it."""
        return None

    def close(self, *, judge: bool = True) -> None:
        """Nothing to write."""

    def statuses(self) -> list[RuleStatus]:
        """Return an Error for each rule that should have been judged."""
        return unjudged(self._rules, self.problem or "") if self.problem else []


def attach_debugger(settings: Hyperparameters, folders: Folders, training: "Training", steps_per_epoch: int, done: int = 0) -> Debugger:
    """Hook a training as the request says, start its rules, and return what the loop talks to.

    Args:
        settings: mode, rules, and what the save intervals follow from.
        folders: where our own configuration saves, and the rules write.
        training: whose trained parameters, gradients, activations and losses are saved.
        steps_per_epoch: training steps.
        done: epochs that an earlier run of the job had completed; what it saved of them is kept, and judged with the rest.
    """
    requested = requested_configuration()
    if requested is None and settings.debugger == "off":
        return NoDebugger()
    rules = debugger_rules(settings)
    if requested is None and settings.debugger == "managed":
        return NoDebugger("the request has no DebugHookConfig", rules)
    os.environ.setdefault("SMDEBUG_LOG_LEVEL", "warning")
    for unused in UNUSED:
        os.environ[unused] = f"{os.devnull}/unused"
    try:
        hook, every = _build(settings, folders, training, steps_per_epoch, requested, done)
    except Exception as error:  # noqa: BLE001 - whatever Python, numpy, protobuf or disk it meets, the training goes on
        problem = f"the hook cannot be made: {type(error).__name__}: {error}"
        note_degraded(_requested_folder(requested) if requested else folders.debug_output, problem)
        return NoDebugger(problem, rules)
    debugger = JobDebugger(hook, training, Activations(training.network, every.photos))
    if rules:
        debugger.judge_by(rules, RuleWatch(), folders.rule_output)
    return debugger


def _build(
    settings: Hyperparameters, folders: Folders, training: "Training", steps_per_epoch: int, requested: Path | None, done: int
) -> tuple["Hook", Intervals]:
    """Return the hook of the request, or our own, and how often it saves what."""
    from training.debugger.hook import KEPT, build_hook, complete, own_configuration  # these need smdebug

    every = intervals(
        head_only=settings.trainable == "head",
        epochs=settings.epochs,
        steps_per_epoch=steps_per_epoch,
        reductions=KEPT * 2 * sum(map(has_judged_gradient, training.parameters())),
        channels=channels(training.network),
        evaluated=len(training.valid.labels),
        classes=len(training.class_weights),
    )
    collections = COLLECTIONS if settings.trainable == "head" else COLLECTIONS | FINE_TUNING
    asked = json.loads(requested.read_text(encoding="utf-8")) if requested else own_configuration(folders.debug_output, collections)
    with tempfile.TemporaryDirectory() as folder:
        return build_hook(complete(asked, every), Path(folder, "debughookconfig.json"), done * steps_per_epoch, done), every


def _requested_folder(requested: Path) -> Path | None:
    """Return where the request wants tensors; None where it cannot be read."""
    with suppress(OSError, ValueError, TypeError, AttributeError):
        return Path(json.loads(requested.read_text(encoding="utf-8")).get("LocalPath", SERVICE_FOLDER))
    return None


def requested_configuration(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Return the hook configuration that came with the request, None where there is none."""
    default = Path(environment.get("SAGEMAKER_BASE_DIR", BASE)) / "input" / "config" / "debughookconfig.json"
    file = Path(environment.get("SMDEBUG_CONFIG_FILE_PATH", default))
    return file if file.is_file() else None
