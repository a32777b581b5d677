"""The hook: smdebug's own, which knows collections, configurations and names, but is given each whole step by the debugger.

Runs in training jobs, under training.debugger. smdebug's hook listens to modules instead, so it would count each part of a
batch as a step and save the gradient of that part. Imported late, because everything here needs smdebug.
"""

import atexit
import json
import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import smdebug.pytorch as smdebug
import torch
from smdebug import modes
from smdebug.core.config_constants import DEFAULT_SAGEMAKER_OUTDIR
from smdebug.core.reductions import get_reduction_tensor_name

from training.contract import DEGRADED
from training.debugger.configuration import OF_EVALUATIONS
from training.debugger.event_file import Step, Tensor
from training.debugger.event_writer import INDEX, EventWriter, StepFile, measure_overhead, split_numbers, to_numpy
from training.debugger.intervals import BUDGET, LOSSES_IN_RUN
from training.debugger.schedule import Schedule
from training.job.micro_batches import is_shortage

Reductions = tuple[tuple[str, bool], ...]
"""smdebug's names, and whether of absolute values."""
USUAL: Reductions = (("min", False), ("max", False), ("mean", False), ("mean", True), ("std", False), ("l2", False))
SMALL = frozenset({"losses", *OF_EVALUATIONS})
"""Collections that hold no parameter and no gradient."""
FOLDERS = ("events", "index", "collections")
FILES = ("training_job_end.ts", "claim.smd", DEGRADED)
"""What a hook writes in its folder, which may hold other files."""
RESERVED = 1024 * LOSSES_IN_RUN
"""Bytes of the budget that only losses may take."""


class Hook(smdebug.Hook):  # type: ignore[misc]
    """Saves what its collections want of each step, within the budget, and raises what fails.

    The order in which smdebug must be driven (mode, step, tensors, writer) is inside `save_step`. Callers call `watch` once, `save_step`
    for each step, and `close` once.
    """

    full = False
    """Whether the budget is used up for everything but losses."""
    spent = 0
    """Bytes of the steps so far."""
    only_loss = False
    """Whether of the latest saved step only the loss was due: such a step takes a short way, and costs next to nothing."""
    writer: StepFile | None
    exported_collections: bool

    def has_default_configuration(self) -> bool:
        """Keep smdebug from hiding faults: the debugger around this hook catches and reports them."""
        return False

    def prepare(self) -> None:
        """Settle the collections: none is added later."""
        self.files = EventWriter()
        self._schedules: dict[Any, Schedule] = {}
        self.save_all_workers = False  # only the first process has a hook, whatever the configuration says
        self._prepare_collections()
        self._losses = self.get_collection("losses")
        self._loss_type = torch.float32
        self._loss = ""
        self._waiting: list[tuple[int, int, float, float]] = []
        self._parameters: Mapping[str, torch.Tensor] = {}
        self._spared = False

    def watch(self, parameters: Mapping[str, torch.Tensor], loss: str, others: Iterable[str]) -> None:
        """Set what belongs to each training step: parameters by smdebug's name, saved with their gradients, and the names of the rest."""
        self._parameters = parameters
        names = [loss, *others, *parameters, *map(gradient_name, parameters)]
        needs_smdebug = self.tensorboard_dir or self.metrics_writer
        saved_as_losses = [name for name in names if self._losses in self._get_collections_with_tensor(name)]
        if not needs_smdebug and saved_as_losses == [loss]:  # raw, whatever the collection says
            self._loss = loss

    def save_step(self, mode: str, tensors: Mapping[str, torch.Tensor]) -> None:
        """Save what is due of the next step of a mode, TRAIN or EVAL: of the parameters and of these tensors, by smdebug's names."""
        self.set_mode(modes[mode])
        if not self._begin():
            return
        if self.only_loss:
            self._keep_loss(tensors[self._loss])
            return
        if any(each.name not in SMALL for each in self._get_collections_to_save_for_step()):
            try:
                self._record_parameters()
            except (RuntimeError, MemoryError) as error:
                self.spare(error)
        for name, value in tensors.items():
            self._record(name, value.detach())
        self._end()

    def spare(self, error: Exception) -> None:
        """Continue without the tensors that did not fit into the memory beside the training, once; raise any other error."""
        if self._spared or not isinstance(error, (RuntimeError, MemoryError)) or not is_shortage(error):
            raise error
        self._spared = True
        print(f"debugger: out of memory: some tensors of one step are not saved ({type(error).__name__})", flush=True)

    def wants_in_training(self, names: Iterable[str]) -> bool:
        """Return whether a collection wants one of these tensors at the next training step."""
        step = self.mode_steps.get(modes.TRAIN, self.init_step) + 1
        return any(
            collection.save_config.should_save_step(modes.TRAIN, step)
            for name in names
            for collection in self._get_collections_with_tensor(name)
        )

    def close(self, *, ended: bool = True, failed: bool = False) -> None:
        """Wait until everything is written, and raise what could not be; the process that writes is gone afterwards, whatever is raised.

        Args:
            ended: whether smdebug may tell readers that nothing follows.
            failed: whether an earlier call failed; the step that it left unfinished is dropped.
        """
        atexit.unregister(self._cleanup)  # after a fault it would fail once more when the program ends
        self._parameters = {}
        try:
            if not failed:
                self._close_writers()
        except Exception:
            with suppress(Exception):  # the first error is the one to report
                self._finish_files()
            raise
        self._finish_files()
        if ended and not failed:
            super().close()

    def _finish_files(self) -> None:
        try:
            self._write_losses()
        finally:
            self.files.close()

    def _begin(self) -> bool:
        """Count the step; return whether anything of it is saved."""
        self.step += 1
        step = self.mode_steps[self.mode] = self.mode_steps[self.mode] + 1
        self.mode_steps[modes.GLOBAL] = self.step
        schedule = self._schedules.get(self.mode)
        if schedule is None:
            schedule = self._schedules[self.mode] = Schedule(self._collections_to_save, self.mode, step)
        if step < schedule.next:
            return False
        self._collections_to_save_for_step = due = schedule.take()
        self.only_loss = self._loss != "" and self.mode == modes.TRAIN and len(due) == 1 and self._losses in due
        if not self.only_loss:
            self._write_losses()
            self.writer = StepFile(self.out_dir, self.step, self.worker, self.files.write)
        return True

    def _keep_loss(self, value: torch.Tensor) -> None:
        """Save the loss [], and with it the step."""
        self._loss_type = value.dtype
        # the number is kept, not the tensor: a tensor among the training's own makes its allocations slower
        self._waiting.append((self.step, self.mode_steps[modes.TRAIN], value.item(), time.time()))
        if self.files.is_due():
            self._write_losses()

    def _write_losses(self) -> None:
        """Write the steps of which only the loss is saved: prepared together, each takes a fraction of its time alone."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        mode = (modes.TRAIN.value, modes.TRAIN.name)
        losses = to_numpy(torch.tensor([value for _, _, value, _ in waiting], dtype=self._loss_type))
        steps = [
            Step(self.out_dir, number, self.worker, *mode, mode_step, [Tensor(self._loss, kind, shape, content, seconds)])
            for (number, mode_step, _, seconds), kind, shape, content in zip(waiting, *split_numbers(losses), strict=True)
        ]
        size = losses.nbytes + len(waiting) * (INDEX + measure_overhead(self._loss))
        self.files.write(steps, size)
        self.spent += size
        self._export_collections_once()

    def _record_parameters(self) -> None:
        for name, parameter in self._parameters.items():
            if self.mode == modes.TRAIN and parameter.grad is not None and has_saved_gradient(name):
                self._record(gradient_name(name), parameter.grad)  # first: it is still in the processor's cache
            self._record(name, parameter)

    def _record(self, name: str, value: torch.Tensor) -> None:
        """Save a tensor of the step if a collection wants it."""
        if self.writer is None:
            return
        if self.tensorboard_dir or self.metrics_writer:  # only smdebug itself can write these
            self._save_for_tensor(name, value)
            return
        collections = self._get_collections_with_tensor(name) & self._collections_to_save_for_step
        if not collections:
            return
        what = find_saved_parts(frozenset(collections))
        if what.shape:
            self._write_shape(name, value, collections)
        if what.usual or what.others:
            self._write_reductions(name, value, collections)
        if what.raw:
            self._write_raw_tensor_simple(name, value)

    def _end(self) -> None:
        """Hand the step over to the process that writes."""
        if self.writer is None:
            return
        step = self.writer
        if self.scalar_cache or self.tb_writers:
            self._close_writers()
        else:
            self.writer = None
            step.close()
        self.spent += step.bytes
        if self.mode == modes.EVAL:
            self.files.flush()  # an epoch is over: its tensors leave this process before its checkpoint is written
        self._export_collections_once()

    def _export_collections_once(self) -> None:
        if not self.exported_collections:
            self.export_collections()
            self.exported_collections = True

    @staticmethod
    def _make_numpy_array(tensor_value: Any) -> Any:
        return to_numpy(tensor_value)

    def _write_raw_tensor_simple(
        self,
        tensor_name: str,
        tensor_value: Any,
        tensor_ref: Any = None,  # noqa: ARG002 - TensorFlow's
        timestamp: float | None = None,
    ) -> None:
        array = self._make_numpy_array(tensor_value)
        if self.writer is None or not array.size or not self._affords(tensor_name, array.nbytes):
            return
        self.writer.write_tensor(array, tensor_name, self.mode, self.mode_steps[self.mode], timestamp)

    def _affords(self, name: str, length: int) -> bool:
        if name in self._losses.tensor_names:
            return True
        unwritten = self.writer.bytes if self.writer else 0
        if not self.full and self.spent + unwritten + length > BUDGET - RESERVED:
            self.full = True
            print(f"debugger: {BUDGET // 2**20} MB of tensors are saved; from here on only losses are saved", flush=True)
        return not self.full

    def _write_reductions(
        self,
        tensor_name: str,
        tensor_value: torch.Tensor,
        save_collections: Collection[Any],
        tensor_ref: Any = None,  # noqa: ARG002 - TensorFlow's
    ) -> None:
        """Compute the usual ones in a few passes over the tensor and one transfer; smdebug needs a dozen of each."""
        _, usual, others, _ = find_saved_parts(frozenset(save_collections))
        if usual and self._affords(tensor_name, 4 * len(usual)) and self.writer is not None:
            numbers = compute_reductions(tensor_value)[[USUAL.index(each) for each in usual]]
            self.writer.write_numbers(reduction_names(tensor_name, usual), numbers, self.mode, self.mode_steps[self.mode])
        for reduction in others:
            self._write_reduction(tensor_name, tensor_value.float(), *reduction)


class SavedParts(NamedTuple):
    """The parts of a tensor that its collections save."""

    shape: bool
    usual: Reductions
    """In the order of `USUAL`."""
    others: Reductions
    raw: bool


@lru_cache(maxsize=256)
def find_saved_parts(collections: frozenset[Any]) -> SavedParts:
    """Return what is saved of a tensor in these collections of smdebug, whose configurations are settled."""
    configurations = [each.reduction_config for each in collections]
    reductions = {(name, False) for each in configurations for name in (*each.reductions, *each.norms)}
    reductions |= {(name, True) for each in configurations for name in (*each.abs_reductions, *each.abs_norms)}
    shape, raw = (any(getattr(each, kind) for each in configurations) for kind in ("save_shape", "save_raw_tensor"))
    return SavedParts(shape, tuple(each for each in USUAL if each in reductions), tuple(sorted(reductions.difference(USUAL))), raw)


@lru_cache(maxsize=4096)
def reduction_names(tensor: str, reductions: Reductions) -> tuple[str, ...]:
    """Return smdebug's names for the saved reductions of a tensor."""
    return tuple(get_reduction_tensor_name(tensor, *reduction) for reduction in reductions)


def compute_reductions(tensor: torch.Tensor) -> "np.ndarray[Any, np.dtype[np.float32]]":
    """Return float32 [6], in the order of `USUAL`."""
    values = _row(tensor.detach().float())
    numbers = torch.stack([values.amin(), values.amax(), values.mean(), values.abs().mean(), torch.linalg.vector_norm(values)])
    low, high, mean, absolute_mean, norm = numbers.tolist()
    squares, of_mean = norm**2, mean**2 * values.numel()
    is_exact = squares >= 2 * of_mean  # the difference loses no digits, and saves a pass over the tensor
    around_mean = (squares - of_mean) ** 0.5 if is_exact else torch.linalg.vector_norm(values - mean).item()
    deviation = around_mean / max(1, values.numel() - 1) ** 0.5  # torch.std takes ten times as long
    return np.array([low, high, mean, absolute_mean, deviation, norm], np.float32)


def _row(values: torch.Tensor) -> torch.Tensor:
    """Return the values in memory order: reductions are eight times as fast."""
    if values.ndim == 4 and values.is_contiguous(memory_format=torch.channels_last):
        values = values.permute(0, 2, 3, 1)
    return values.reshape(-1)


def gradient_name(parameter: str) -> str:
    """Return smdebug's name for the gradient of a parameter, from its name for the parameter."""
    return f"gradient/{parameter}"


def has_saved_gradient(name: str) -> bool:
    """Return whether the gradient of a parameter is saved: a bias's is not.

    A head starts from zero weights: if the classes are balanced, its bias has the gradient 0 up to rounding, and nothing vanishes.
    """
    return "weight" in name


def build_hook(configuration: Mapping[str, Any], file: Path, steps: int, evaluations: int) -> Hook:
    """Make the hook of a configuration, which smdebug reads from a file; it continues after the steps that an earlier run of the job saved.

    Args:
        configuration: a complete DebugHookConfig.
        file: a temporary place for it.
        steps: training steps of the earlier run.
        evaluations: of the earlier run.

    Raises:
        Exception: whatever smdebug finds wrong with it.
    """
    folder = Path(configuration.get("LocalPath", DEFAULT_SAGEMAKER_OUTDIR))
    remove_steps_after(folder, steps + evaluations)
    file.write_text(json.dumps(configuration), encoding="utf-8")
    hook: Hook = Hook.create_from_json_file(str(file))
    hook.prepare()
    hook.step = steps + evaluations - 1
    hook.mode_steps |= {modes.GLOBAL: hook.step, modes.TRAIN: steps - 1, modes.EVAL: evaluations - 1}
    hook.spent = sum(each.stat().st_size for each in list_saved_files(folder))
    return hook


def remove_steps_after(folder: Path, steps: int) -> None:
    """Remove the steps of an earlier run from a number on, and its end mark; the steps before are evaluated with the new ones.

    The request chooses the folder: other files in it, such as a model or checkpoints, are not touched.
    """
    kept, dropped = 0, 0
    for file in list_saved_files(folder):
        number = file.name.partition("_")[0]
        if file.suffix == ".tmp" or not number.isdigit() or int(number) >= steps:
            file.unlink(missing_ok=True)  # the process that wrote for an earlier run may still be finishing it
            dropped += 1
        else:
            kept += 1
    if kept or dropped:
        print(f"debugger: of an earlier run of the job, {kept} files of saved steps are kept and {dropped} are removed", flush=True)


def list_saved_files(folder: Path) -> list[Path]:
    """Return the files in a folder that a hook wrote there."""
    inside = [file for name in FOLDERS for file in folder.joinpath(name).rglob("*")]
    return [file for file in (*inside, *(folder / name for name in FILES)) if file.is_file()]
