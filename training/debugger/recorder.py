"""The debugger of a job that records: shows its hook what there is to save at each step, and asks the rules' process what it found.

Runs in training jobs, attached by training.debugger. Whatever fails in recording, the training goes on, and no rule says that
all is well.
"""

import atexit
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from training.contract import DEGRADED
from training.debugger.activations import Activations
from training.debugger.rule_results import LOSS_RULES, Configurations, doubted, unjudged
from training.job.micro_batches import is_shortage
from training.network.torchvision_repairs import import_smdebug
from training.rule_evaluation.status import RuleStatus
from training.rule_evaluation.watch import RuleWatch

if TYPE_CHECKING:
    from training.debugger.hook import Hook
    from training.fit.loop import Training

SMALL = frozenset({"losses", "labels", "predictions", "images"})
"""Collections for which no parameter is looked at."""
RULES_TIMEOUT_S = 180.0
"""How long the rules may take with what is left after the last step."""
FULL = "the space for tensors was used up before the training ended: from then on losses alone were saved"
END_OF_JOB = "training_job_end.ts"
"""File that tells readers not to wait for more steps. Inside SageMaker smdebug leaves it to the service, which knows its own hooks."""


class JobDebugger:
    """Saves tensors through a hook and has rules follow them; when anything in it fails, it goes quiet and `problem` says so."""

    def __init__(self, hook: "Hook", training: "Training", activations: Activations) -> None:
        """`activations`: of the same network. Rules come with `judge_by`, where the job evaluates any itself."""
        self.folder: Path | None = Path(hook.out_dir)
        self.problem: str | None = None
        self._hook, self._activations = hook, activations
        self._rules: Configurations = ()
        self._watch: RuleWatch | None = None
        self._stopping = training.stopping
        self._modes = import_smdebug().modes
        network = type(training.network).__name__
        self._parameters = {f"{network}_{name}": parameter for name, parameter in training.parameters().items()}
        self._loss_name = f"{type(training.loss).__name__}_output_0"
        self._pending: dict[str, torch.Tensor] = {}
        self._statuses: list[RuleStatus] = []
        self._spared = False
        activations.failed = self._miss_activations
        others = [*activations.names, *self._parameters, *map(gradient_name, self._parameters)]
        self._attempt(lambda: hook.expect_loss(self._loss_name, others))

    def judge_by(self, rules: Configurations, watch: RuleWatch, output: Path) -> None:
        """Have rules follow what is saved, from now on."""
        self._rules, self._watch = rules, watch
        try:
            watch.start(Path(self._hook.out_dir), output, rules)
        except Exception as error:  # noqa: BLE001 - without its rules too the training goes on
            self._lose_rules(f"the rules cannot be started: {type(error).__name__}: {error}")

    def training(self) -> None:
        """Say that the following steps are training steps."""
        self._attempt(lambda: self._hook.set_mode(self._modes.TRAIN))
        self._attempt(self._watch_next)

    def evaluating(self) -> None:
        """Say that the following steps are evaluation steps."""
        self._activations.watching = False
        self._attempt(lambda: self._hook.set_mode(self._modes.EVAL))

    def save(self, name: str, value: torch.Tensor) -> None:
        """Add a tensor to the step that is next told of."""
        self._pending[name] = value.detach()

    def step(self, loss: torch.Tensor) -> None:
        """Save what is due of the step."""
        if self.problem is None:
            try:
                self._record(loss)
            except Exception as error:  # noqa: BLE001 - whatever fails in recording, the training goes on
                self._degrade(error)
        self._pending = {}

    def stop_reason(self) -> str | None:
        """Return which rule ends the training, and why; None while it goes on."""
        try:
            return self._watch.stop_reason() if self._watch else None
        except Exception as error:  # noqa: BLE001 - without its rules too the training goes on
            self._lose_rules(f"the rules cannot be asked: {type(error).__name__}: {error}")
            return None

    def close(self, *, judge: bool = True) -> None:
        """Write what is left, find out whether everything was recorded, and, unless told not to, wait for the rules."""
        self._activations.close()
        self._attempt(lambda: self._hook.close(ended=judge))
        self._attempt(self._hook.finish_files, always=True)  # after a fault too its process ends here
        atexit.unregister(self._hook._cleanup)  # where it failed it would fail once more when the program ends
        if self._hook.full and self.problem is None:
            note_degraded(self.folder, f"losses alone: {FULL}")
        if judge:  # else the job may be started again, and its readers are to wait for that
            self._attempt(self._mark_the_end)
        self._parameters = {}
        if self._watch:
            try:
                found = doubted(self._watch.finish(RULES_TIMEOUT_S, lambda: not judge or self._stopping.asked), self.problem)
                if self._hook.full:
                    found = doubted(found, FULL, LOSS_RULES)
                self._statuses = found if judge else []
                self._publish(self._watch, found)
            except Exception as error:  # noqa: BLE001 - the model is trained: what is said of it may not cost it
                self._lose_rules(f"the rules cannot be asked: {type(error).__name__}: {error}")

    def _publish(self, watch: RuleWatch, found: list[RuleStatus]) -> None:
        """Have the file of verdicts say what the job says."""
        try:
            watch.publish(found)
        except OSError as error:
            warn(f"the last verdicts cannot be written: {error}")

    def statuses(self) -> list[RuleStatus]:
        """Return what the rules say, once closed; an issue that was found stands, whatever was not recorded later."""
        return self._statuses

    def _record(self, loss: torch.Tensor) -> None:
        if self._hook.begin():
            if self._hook.only_loss:
                self._hook.keep_loss(loss)
            else:
                self._record_step(loss)
        if self._activations.names and self._hook.mode == self._modes.TRAIN:
            self._watch_next()

    def _record_step(self, loss: torch.Tensor) -> None:
        if self._hook.saves_beyond(SMALL):
            try:
                self._record_parameters(training=self._hook.mode == self._modes.TRAIN)
            except (RuntimeError, MemoryError) as error:
                self._spare(error)
        for name, value in {**self._activations.take(), **self._pending}.items():
            self._hook.record(name, value)
        self._hook.record(self._loss_name, loss)
        self._hook.end()

    def _record_parameters(self, *, training: bool) -> None:
        for name, parameter in self._parameters.items():
            if training and parameter.grad is not None and has_judged_gradient(name):  # first: it is fresh in the processor's cache
                self._hook.record(gradient_name(name), parameter.grad)
            self._hook.record(name, parameter)

    def _spare(self, error: Exception) -> None:
        """Do without what did not fit into the memory beside the training, once."""
        if self._spared or not isinstance(error, (RuntimeError, MemoryError)) or not is_shortage(error):
            raise error
        self._spared = True
        print(f"debugger: out of memory: some tensors of one step are not saved ({type(error).__name__})", flush=True)

    def _miss_activations(self, error: Exception) -> None:
        self._attempt(lambda: self._spare(error))

    def _watch_next(self) -> None:
        self._activations.watching = self._hook.wants_next(self._modes.TRAIN, self._activations.names)

    def _mark_the_end(self) -> None:
        folder = Path(self._hook.out_dir)
        if not any(folder.joinpath("events").rglob("*.tfevents")):
            raise RuntimeError("no tensor was recorded")
        folder.joinpath(END_OF_JOB).touch()

    def _lose_rules(self, problem: str) -> None:
        self._watch, self._statuses = None, unjudged(self._rules, problem)
        warn(problem)

    def _attempt(self, work: Callable[[], None], *, always: bool = False) -> None:
        if self.problem is None or always:
            try:
                work()
            except Exception as error:  # noqa: BLE001 - whatever fails in recording, the training goes on
                self._degrade(error)

    def _degrade(self, error: Exception) -> None:
        self._activations.watching = False
        if self.problem is None:
            self.problem = f"recording stopped: {type(error).__name__}: {error}"
            warn(self.problem)
            note_degraded(Path(self._hook.out_dir), self.problem)


def gradient_name(parameter: str) -> str:
    """Return smdebug's name for the gradient of a parameter, by its name for that."""
    return f"gradient/{parameter}"


def has_judged_gradient(name: str) -> bool:
    """Return whether the gradient of a parameter is saved. Of a bias it is not.

    A head starts from zero weights: with classes in balance its bias has the gradient 0 then, to the rounding, and nothing vanishes.
    """
    return "weight" in name


def note_degraded(folder: Path | None, problem: str) -> None:
    """Leave word of what is missing beside the tensors, for rules of another process than the job's; a disk that takes none has the log."""
    with suppress(OSError):
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        folder.joinpath(DEGRADED).write_text(" ".join(problem.split()) + "\n", encoding="utf-8", errors="replace")


def warn(problem: str) -> None:
    """Say in the log what is missing."""
    print(f"debugger degraded: {problem}. The training itself is not affected.", flush=True)
