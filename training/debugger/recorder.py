"""The debugger of a job that records: gives each step to the hook, and reads the results of the rules' process.

Runs in training jobs, made by training.debugger.attach. If recording fails, the training continues, and no rule reports NoIssuesFound.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from training.debugger.activations import Activations
from training.debugger.degraded import note_degraded, warn
from training.debugger.interface import Watched
from training.debugger.rule_results import LOSS_RULES, Configurations, mark_failed, mark_incomplete
from training.rule_evaluation.status import RuleStatus
from training.rule_evaluation.watch import RuleWatch

if TYPE_CHECKING:
    from training.debugger.hook import Hook

RULES_TIMEOUT_S = 180.0
"""How long the rules may take after the last step."""
FULL = "the space for tensors was used up before the training ended: from then on losses alone were saved"
END_OF_JOB = "training_job_end.ts"
"""Tells readers not to wait for more steps. Inside SageMaker smdebug leaves this file to the service, which knows its own hooks only."""


class JobDebugger:
    """Saves tensors through a hook and has rules follow them. After a fault it stops recording, and `problem` says why."""

    def __init__(self, hook: "Hook", watched: Watched, activations: Activations) -> None:
        """`activations`: of the same network. If the job evaluates rules itself, `start_rules` adds them."""
        self.folder: Path | None = Path(hook.out_dir)
        self.problem: str | None = None
        self._hook, self._activations = hook, activations
        self._rules: Configurations = ()
        self._watch: RuleWatch | None = None
        self._stopping = watched.stopping
        self._loss = f"{type(watched.loss).__name__}_output_0"
        self._statuses: list[RuleStatus] = []
        activations.failed = lambda error: self._attempt(lambda: hook.spare(error))
        network = type(watched.network).__name__
        parameters = {f"{network}_{name}": parameter for name, parameter in watched.parameters.items()}
        self._attempt(lambda: hook.watch(parameters, self._loss, activations.names))
        self._attempt(self._watch_next)

    def start_rules(self, rules: Configurations, watch: RuleWatch, output: Path) -> None:
        """Have rules follow what is saved from now on."""
        self._rules, self._watch = rules, watch
        try:
            watch.start(Path(self._hook.out_dir), output, rules)
        except Exception as error:  # noqa: BLE001 - the training continues without its rules too
            self._lose_rules(f"the rules cannot be started: {type(error).__name__}: {error}")

    def save_training_step(self, loss: torch.Tensor) -> None:
        """Save what is due of a training step, before the optimizer changes the parameters."""
        self._attempt(lambda: self._hook.save_step("TRAIN", {**self._activations.take(), self._loss: loss}))
        if self._activations.names:
            self._attempt(self._watch_next)

    def save_evaluation(self, loss: torch.Tensor, tensors: Mapping[str, torch.Tensor]) -> None:
        """Save what is due of an evaluation."""
        self._attempt(lambda: self._hook.save_step("EVAL", {**tensors, self._loss: loss}))

    def stop_reason(self) -> str | None:
        """Return which rule ends the training, and why; None while it continues."""
        try:
            return self._watch.stop_reason() if self._watch else None
        except Exception as error:  # noqa: BLE001 - the training continues without its rules too
            self._lose_rules(f"the rules cannot be asked: {type(error).__name__}: {error}")
            return None

    def close(self, *, judge: bool = True) -> None:
        """Write what is left, check that everything was recorded, and, unless `judge` is False, wait for the rules."""
        self._activations.close()
        self._attempt(lambda: self._hook.close(ended=judge, failed=self.problem is not None), always=True)
        if self._hook.full and self.problem is None:
            note_degraded(self.folder, f"losses alone: {FULL}")
        if judge:  # otherwise the job may start again, and its readers must wait for that
            self._attempt(self._mark_end)
        if self._watch:
            try:
                found = mark_incomplete(self._watch.finish(RULES_TIMEOUT_S, lambda: not judge or self._stopping.requested), self.problem)
                if self._hook.full:
                    found = mark_incomplete(found, FULL, LOSS_RULES)
                self._statuses = found if judge else []
                self._publish(self._watch, found)
            except Exception as error:  # noqa: BLE001 - the model is trained: a fault of its rules must not lose it
                self._lose_rules(f"the rules cannot be asked: {type(error).__name__}: {error}")

    def _publish(self, watch: RuleWatch, found: list[RuleStatus]) -> None:
        """Write the job's results to the rules' file, in place of those of the rules' process."""
        try:
            watch.publish(found)
        except OSError as error:
            warn(f"the last verdicts cannot be written: {error}")

    def statuses(self) -> list[RuleStatus]:
        """Return the rules' results after `close`; an issue that was found stands even if recording failed later."""
        return self._statuses

    def _watch_next(self) -> None:
        self._activations.watching = self._hook.wants_in_training(self._activations.names)

    def _mark_end(self) -> None:
        folder = Path(self._hook.out_dir)
        if not any(folder.joinpath("events").rglob("*.tfevents")):
            raise RuntimeError("no tensor was recorded")
        folder.joinpath(END_OF_JOB).touch()

    def _lose_rules(self, problem: str) -> None:
        self._watch, self._statuses = None, mark_failed(self._rules, problem)
        warn(problem)

    def _attempt(self, work: Callable[[], None], *, always: bool = False) -> None:
        if self.problem is None or always:
            try:
                work()
            except Exception as error:  # noqa: BLE001 - whatever fails in recording, the training continues
                self._degrade(error)

    def _degrade(self, error: Exception) -> None:
        self._activations.watching = False
        if self.problem is None:
            self.problem = f"recording stopped: {type(error).__name__}: {error}"
            warn(self.problem)
            note_degraded(Path(self._hook.out_dir), self.problem)
