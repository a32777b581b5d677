"""SageMaker Debugger inside the job: a hook on what is trained and on the loss that saves tensors, and never stops the training.

Runs in training jobs. AWS's images no longer hold smdebug, so the source archive brings it. Where the request has a DebugHookConfig,
SageMaker writes it to input/config/debughookconfig.json and that configuration is followed; otherwise ours is.
"""

import atexit
import math
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from training.compatibility import import_smdebug
from training.settings import BASE

REDUCTIONS = ("min", "max", "mean", "std")
"""What is kept of each weight and gradient, beside the mean of absolute values and the length: 0.2 MB where raw tensors take gigabytes."""

LOSSES_PER_EPOCH = 50
"""At most so many training losses are saved in an epoch: each saved step is two files, which all go to S3."""

IMPORT_FAULTS = (ImportError, AttributeError, TypeError, ValueError, RuntimeError)
"""How an import fails beside a Python, numpy or protobuf that smdebug was not built for."""

END_OF_JOB = "training_job_end.ts"
"""File that tells readers not to wait for more steps. Inside SageMaker the hook leaves it to the service, which knows its own hooks."""


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

    def step(self) -> None:
        """Say that a step's gradients are there (none in an evaluation), just before its loss is taken."""

    def close(self) -> None:
        """Write what is left, and find out whether everything was recorded."""


class NoDebugger:
    """Saves nothing, by request or because smdebug is not to be had."""

    def __init__(self, problem: str | None = None) -> None:
        """`problem`: why the debugger that was asked for is missing."""
        self.folder: Path | None = None
        self.problem = problem

    def training(self) -> None:
        """Nothing to say."""

    def evaluating(self) -> None:
        """Nothing to say."""

    def step(self) -> None:
        """Nothing to say."""

    def close(self) -> None:
        """Nothing to write."""


class Shown(nn.Module):
    """The trained parameters of a network, shown to the hook once a step.

    However many passes a step takes, and on however many processes: the hook counts one, and sees the gradient that the optimizer uses.
    """

    def __init__(self, network: nn.Module) -> None:
        """`network`: whose parameters are shown, in the same memory and by the same names."""
        super().__init__()
        self._network_name = type(network).__name__
        trained = [(name, parameter) for name, parameter in network.named_parameters() if parameter.requires_grad]
        self._trained = tuple(parameter for _, parameter in trained)
        for name, parameter in trained:
            *path, last = name.split(".")
            self._folder(path).register_parameter(last, nn.Parameter(parameter.detach()))

    def _folder(self, path: list[str]) -> nn.Module:
        module: nn.Module = self
        for part in path:
            if part not in dict(module.named_children()):
                module.add_module(part, nn.Module())
            module = module.get_submodule(part)
        return module

    def _get_name(self) -> str:
        """Return the network's name: smdebug puts it before the parameters'."""
        return self._network_name

    def forward(self) -> torch.Tensor:
        """Return a number whose derivatives are the gradients at hand."""
        value: torch.Tensor = _GradientsAtHand.apply([value.grad for value in self._trained], *self.parameters())  # type: ignore[no-untyped-call]
        return value


class _GradientsAtHand(torch.autograd.Function):
    """0, whose derivatives are what was given."""

    @staticmethod
    def forward(ctx: Any, gradients: Sequence[torch.Tensor | None], *parameters: torch.Tensor) -> torch.Tensor:
        ctx.gradients = gradients
        return parameters[0].new_zeros(())

    @staticmethod
    def backward(ctx: Any, *_: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return (None, *ctx.gradients)


class HookedDebugger:
    """Saves tensors through smdebug; when smdebug fails, it goes quiet and `problem` says so."""

    def __init__(self, smdebug: Any, hook: Any, shown: Shown) -> None:
        """`smdebug`: the module smdebug.pytorch. `hook`: a hook with which `shown` is registered."""
        self._modes, self._hook, self._shown = smdebug.modes, hook, shown
        self.folder: Path | None = Path(hook.out_dir)
        self.problem: str | None = None
        self._stepped = False

    def training(self) -> None:
        """Say that the following steps are training steps."""
        self._hook.set_mode(self._modes.TRAIN)

    def evaluating(self) -> None:
        """Say that the following steps are evaluation steps."""
        self._hook.set_mode(self._modes.EVAL)

    def step(self) -> None:
        """Show the parameters and, while training, their gradients: what runs the hooks on them."""
        self._stepped = True
        value = self._shown()
        if torch.is_grad_enabled():
            torch.autograd.grad(value, list(self._shown.parameters()), allow_unused=True)

    def close(self) -> None:
        """Write what is left, and find out whether everything was recorded."""
        self._hook.close()
        if self._hook.failed():
            atexit.unregister(self._hook._cleanup)  # it would fail once more when the program ends
            self.problem = "smdebug failed and stopped recording; its error is in the job's log"
        if self.problem is None and not self._stepped:
            self.problem = "an earlier run of the job had done every epoch, so this one took no step, and no tensor was recorded"
        if self.problem is None and not any(Path(self._hook.out_dir, "events").rglob("*.tfevents")):
            self.problem = "smdebug recorded no tensor"
        if self.problem is None:
            Path(self._hook.out_dir, END_OF_JOB).touch()
        if self.problem:
            print(f"debugger degraded: {self.problem}. The training itself is not affected.", flush=True)


def attach_debugger(mode: str, folder: Path, network: nn.Module, loss: nn.Module, steps_per_epoch: int) -> Debugger:
    """Hook network and loss as the request says, and return what the loop talks to.

    Args:
        mode: "embedded" or "off"; a DebugHookConfig in the request counts in either.
        folder: where our own configuration saves; emptied first, for smdebug refuses to add to an earlier run.
        network: module whose trained weights and their gradients are saved.
        loss: module whose outputs are saved.
        steps_per_epoch: training steps, from which the save intervals follow.
    """
    configuration = requested_configuration()
    if configuration is None and mode == "off":
        return NoDebugger()
    os.environ.setdefault("SMDEBUG_LOG_LEVEL", "warning")
    os.environ["CHECKPOINT_CONFIG_FILE_PATH"] = str(
        folder / "unused"
    )  # else smdebug walks all checkpoints at each step, its own output among them
    try:
        smdebug = import_smdebug()
    except IMPORT_FAULTS as error:
        return _degraded(f"smdebug cannot be imported: {error}")
    hook = _build_hook(smdebug, configuration, folder, steps_per_epoch)
    if hook is None:
        return _degraded("smdebug could not make its hook; its error is in the job's log")
    shown = Shown(network)
    hook.register_module(shown)
    hook.register_loss(loss)
    return HookedDebugger(smdebug, hook, shown)


def _degraded(problem: str) -> NoDebugger:
    print(f"debugger degraded: {problem}. The training itself is not affected.", flush=True)
    return NoDebugger(problem)


def _build_hook(smdebug: Any, configuration: Path | None, folder: Path, steps_per_epoch: int) -> Any | None:
    """Return the hook, None where smdebug failed to make it."""
    from smdebug.core.utils import error_handling_agent

    def build() -> Any:
        return (
            _hook_class(smdebug).create_from_json_file(str(configuration)) if configuration else _own_hook(smdebug, folder, steps_per_epoch)
        )

    hook = error_handling_agent.catch_smdebug_errors()(build)()
    return None if error_handling_agent.disable_smdebug else hook


def requested_configuration(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Return the hook configuration that came with the request, None where there is none."""
    default = Path(environment.get("SAGEMAKER_BASE_DIR", BASE)) / "input" / "config" / "debughookconfig.json"
    file = Path(environment.get("SMDEBUG_CONFIG_FILE_PATH", default))
    return file if file.is_file() else None


def _hook_class(smdebug: Any) -> Any:
    """Return smdebug's hook, made to swallow its own errors whatever its configuration.

    As it stands it does so for its default configuration only: with any collection of one's own an error in it would end the training.
    """
    from smdebug.core.utils import error_handling_agent

    class ForgivingHook(smdebug.Hook):  # type: ignore[misc]
        def has_default_configuration(self) -> bool:
            return True

        def backward_hook(self, tname: str) -> Any:
            return error_handling_agent.catch_smdebug_errors()(super().backward_hook(tname))

        @error_handling_agent.catch_smdebug_errors()  # type: ignore[untyped-decorator]
        def close(self) -> None:
            super().close()

        def failed(self) -> bool:
            return bool(error_handling_agent.disable_smdebug)

    return ForgivingHook


def _own_hook(smdebug: Any, folder: Path, steps_per_epoch: int) -> Any:
    """Losses raw, at each step of a short epoch; weights and gradients as reductions, up to four times an epoch."""
    if folder.exists():
        print("tensors that an earlier run of the job saved are removed: the rules judge the epochs of this run alone", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    reductions = smdebug.ReductionConfig(reductions=list(REDUCTIONS), abs_reductions=["mean"], norms=["l2"])
    losses, others = (_save_config(smdebug, math.ceil(steps_per_epoch / parts)) for parts in (LOSSES_PER_EPOCH, 4))
    hook = _hook_class(smdebug)(out_dir=str(folder), save_config=losses, include_collections=["losses", "weights", "gradients"])
    for name in ("weights", "gradients"):
        collection = hook.get_collection(name)
        collection.save_config, collection.reduction_config = others, reductions
    return hook


def _save_config(smdebug: Any, interval: int) -> Any:
    """Save at this interval while training, and at each evaluation."""
    modes, step = smdebug.modes, smdebug.SaveConfigMode
    return smdebug.SaveConfig({modes.TRAIN: step(save_interval=interval), modes.EVAL: step(save_interval=1)})
