"""The hook: smdebug's own, which knows collections, configurations and names, told by the loop what there is to save.

Runs in training jobs, under training.debugger. smdebug's hook listens to modules instead, and so would count each part of a
batch as a step and save the gradient of that part. Imported late: everything here needs smdebug.
"""

import json
import time
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from training.contract import DEGRADED
from training.debugger.event_file import Step, Tensor
from training.debugger.event_writer import INDEX, EventWriter, StepFile, apart, numbers_of, size_beside
from training.debugger.intervals import BUDGET, LOSSES_IN_RUN, NEVER, Intervals
from training.debugger.schedule import Schedule
from training.network.torchvision_repairs import import_smdebug

smdebug: Any = import_smdebug()
modes: Any = smdebug.modes

from smdebug.core.config_constants import DEFAULT_SAGEMAKER_OUTDIR  # noqa: E402 - smdebug imports only after its repairs
from smdebug.core.reductions import get_reduction_tensor_name  # noqa: E402

REDUCTIONS = "min,max,mean,std,abs_mean,l2_norm"
"""What is kept of each weight and gradient: 0.6 MB where the tensors of a ResNet50 take 200."""
Reductions = tuple[tuple[str, bool], ...]
"""smdebug's names, and whether of the absolute values."""
USUAL: Reductions = (("min", False), ("max", False), ("mean", False), ("mean", True), ("std", False), ("l2", False))
KEPT = 6
ANSWERS = ("labels", "predictions", "images")
"""Collections of evaluations alone."""
FOLDERS = ("events", "index", "collections")
FILES = ("training_job_end.ts", "claim.smd", DEGRADED)
"""What a hook writes below the folder that it is given, which may hold more."""
RESERVED = 1024 * LOSSES_IN_RUN
"""Bytes of the budget that only losses may take."""


class Hook(smdebug.Hook):  # type: ignore[misc]
    """Saves what it is shown of a step, as its collections say, within the budget; what fails is raised."""

    full = False
    """Whether the budget is used up for all but losses."""
    spent = 0
    """Bytes of the steps before this one."""
    only_loss = False
    """Whether of the step that has begun nothing but its loss is saved: it is told with `keep_loss`, and all else is left out."""
    writer: StepFile | None
    exported_collections: bool

    def has_default_configuration(self) -> bool:
        """Keep smdebug from hiding what fails: the debugger around this hook catches it, and says so."""
        return False

    def prepare(self) -> None:
        """Settle the collections: none is added later."""
        self.files = EventWriter()
        self._schedules: dict[Any, Schedule] = {}
        self.save_all_workers = False  # the first process alone has a hook, whatever the configuration says
        self._prepare_collections()
        self._losses = self.get_collection("losses")
        self._loss_type = torch.float32
        self._loss = ""
        self._kept: list[tuple[int, int, float, float]] = []

    def expect_loss(self, name: str, others: Iterable[str]) -> None:
        """Say how the loss of a training step is named, and all else of it: where the loss alone is saved, a step costs next to nothing."""
        told_by_smdebug = self.tensorboard_dir or self.metrics_writer
        wanted_as_losses = [each for each in (name, *others) if self._losses in self._get_collections_with_tensor(each)]
        if not told_by_smdebug and wanted_as_losses == [name]:  # raw, whatever the collection says
            self._loss = name

    def begin(self) -> bool:
        """Begin the next step of the mode; return whether anything of it is saved."""
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
            self._write_kept()
            self.writer = StepFile(self.out_dir, self.step, self.worker, self.files.write)
        return True

    def keep_loss(self, value: torch.Tensor) -> None:
        """Save the loss [], and with it the step."""
        self._loss_type = value.dtype
        # the number is kept, not the tensor: one that lies among the training's makes its allocations slower
        self._kept.append((self.step, self.mode_steps[modes.TRAIN], value.item(), time.time()))
        if self.files.is_due():
            self._write_kept()

    def _write_kept(self) -> None:
        """Write steps of which only the loss is saved: made ready together, each takes a part of what it would at its time."""
        kept, self._kept = self._kept, []
        if not kept:
            return
        mode = (modes.TRAIN.value, modes.TRAIN.name)
        losses = numbers_of(torch.tensor([value for _, _, value, _ in kept], dtype=self._loss_type))
        steps = [
            Step(self.out_dir, number, self.worker, *mode, mode_step, [Tensor(self._loss, kind, shape, content, seconds)])
            for (number, mode_step, _, seconds), kind, shape, content in zip(kept, *apart(losses), strict=True)
        ]
        size = losses.nbytes + len(kept) * (INDEX + size_beside(self._loss))
        self.files.write(steps, size)
        self.spent += size
        self._tell_collections()

    def record(self, name: str, value: torch.Tensor) -> None:
        """Save a tensor of the step where a collection wants it."""
        if self.writer is None:
            return
        if self.tensorboard_dir or self.metrics_writer:  # which smdebug itself knows how to tell
            self._save_for_tensor(name, value)
            return
        collections = self._get_collections_with_tensor(name) & self._collections_to_save_for_step
        if not collections:
            return
        what = wanted(frozenset(collections))
        if what.shape:
            self._write_shape(name, value, collections)
        if what.usual or what.others:
            self._write_reductions(name, value, collections)
        if what.raw:
            self._write_raw_tensor_simple(name, value)

    def saves_beyond(self, names: Collection[str]) -> bool:
        """Return whether anything but these collections is saved at this step."""
        return self.writer is not None and any(each.name not in names for each in self._get_collections_to_save_for_step())

    def end(self) -> None:
        """Write what the step has to show."""
        if self.writer is None:
            return
        written = self.writer
        if self.scalar_cache or self.tb_writers:
            self._close_writers()
        else:
            self.writer = None
            written.close()
        self.spent += written.bytes
        if self.mode == modes.EVAL:
            self.files.flush()  # an epoch is over: what it saved leaves this process before its checkpoint is written
        self._tell_collections()

    def _tell_collections(self) -> None:
        if not self.exported_collections:
            self.export_collections()
            self.exported_collections = True

    def close(self, *, ended: bool = True) -> None:
        """Wait until all is written; raise what could not be. `ended`: smdebug may tell readers that nothing follows."""
        self._close_writers()
        self.finish_files()
        if ended:
            super().close()

    def finish_files(self) -> None:
        """Wait until what was saved is written; the process that writes is gone afterwards, whatever is raised."""
        try:
            self._write_kept()
        finally:
            self.files.close()

    def wants_next(self, mode: Any, names: Iterable[str]) -> bool:
        """Return whether a collection wants one of these tensors at the next step of a mode."""
        step = self.mode_steps.get(mode, self.init_step) + 1
        return any(
            collection.save_config.should_save_step(mode, step) for name in names for collection in self._get_collections_with_tensor(name)
        )

    @staticmethod
    def _make_numpy_array(tensor_value: Any) -> Any:
        return numbers_of(tensor_value)

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
            print(f"debugger: {BUDGET // 2**20} MB of tensors are saved; from here on losses alone are", flush=True)
        return not self.full

    def _write_reductions(
        self,
        tensor_name: str,
        tensor_value: torch.Tensor,
        save_collections: Collection[Any],
        tensor_ref: Any = None,  # noqa: ARG002 - TensorFlow's
    ) -> None:
        """Take the usual ones in a few passes over the tensor and one transfer; smdebug would take a dozen of each."""
        _, usual, others, _ = wanted(frozenset(save_collections))
        if usual and self._affords(tensor_name, 4 * len(usual)) and self.writer is not None:
            numbers = usual_reductions(tensor_value)[[USUAL.index(each) for each in usual]]
            self.writer.write_numbers(reduction_names(tensor_name, usual), numbers, self.mode, self.mode_steps[self.mode])
        for reduction in others:
            self._write_reduction(tensor_name, tensor_value.float(), *reduction)


class Wanted(NamedTuple):
    """What is saved of a tensor for the collections that want it."""

    shape: bool
    usual: Reductions
    """In the order of `USUAL`."""
    others: Reductions
    raw: bool


@lru_cache(maxsize=256)
def wanted(collections: frozenset[Any]) -> Wanted:
    """Return what is saved of a tensor that these collections of smdebug, whose configurations are settled, hold."""
    configurations = [each.reduction_config for each in collections]
    reductions = {(name, False) for each in configurations for name in (*each.reductions, *each.norms)}
    reductions |= {(name, True) for each in configurations for name in (*each.abs_reductions, *each.abs_norms)}
    shape, raw = (any(getattr(each, kind) for each in configurations) for kind in ("save_shape", "save_raw_tensor"))
    return Wanted(shape, tuple(each for each in USUAL if each in reductions), tuple(sorted(reductions.difference(USUAL))), raw)


@lru_cache(maxsize=4096)
def reduction_names(tensor: str, reductions: Reductions) -> tuple[str, ...]:
    """Return smdebug's names for the numbers that are kept of a tensor."""
    return tuple(get_reduction_tensor_name(tensor, *reduction) for reduction in reductions)


def usual_reductions(tensor: torch.Tensor) -> "np.ndarray[Any, np.dtype[np.float32]]":
    """Return float32 [6], in the order of `USUAL`."""
    values = _row(tensor.detach().float())
    numbers = torch.stack([values.amin(), values.amax(), values.mean(), values.abs().mean(), torch.linalg.vector_norm(values)])
    low, high, mean, absolute_mean, norm = numbers.tolist()
    squares, of_mean = norm**2, mean**2 * values.numel()
    is_exact = squares >= 2 * of_mean  # the difference loses no digits, and a pass over the tensor is spared
    around_mean = (squares - of_mean) ** 0.5 if is_exact else torch.linalg.vector_norm(values - mean).item()
    deviation = around_mean / max(1, values.numel() - 1) ** 0.5  # torch.std takes ten times as long
    return np.array([low, high, mean, absolute_mean, deviation, norm], np.float32)


def _row(values: torch.Tensor) -> torch.Tensor:
    """Return the values in the order in which they lie in memory: reductions are eight times as fast."""
    if values.ndim == 4 and values.is_contiguous(memory_format=torch.channels_last):
        values = values.permute(0, 2, 3, 1)
    return values.reshape(-1)


def own_configuration(folder: Path, collections: Mapping[str, str | None]) -> dict[str, Any]:
    """Return the DebugHookConfig of a job that asks for none: name -> regular expression, None where smdebug has its own."""
    named = [
        {"CollectionName": name, "CollectionParameters": {"include_regex": regex} if regex else {}} for name, regex in collections.items()
    ]
    return {"LocalPath": str(folder), "HookParameters": {}, "CollectionConfigurations": named}


def complete(configuration: Mapping[str, Any], every: Intervals) -> dict[str, Any]:
    """Return a DebugHookConfig with an interval for each collection and mode, and reductions for weights and gradients.

    What it gives itself, for a collection or for all, stays as it is.
    """
    general = dict(configuration.get("HookParameters") or {})
    collections = [dict(each) for each in configuration.get("CollectionConfigurations") or [{"CollectionName": "losses"}]]
    for collection in collections:
        name, given = collection["CollectionName"], dict(collection.get("CollectionParameters") or {})
        ours = {**_saving("train", _train_interval(name, every)), **_saving("eval", _eval_interval(name, every))}
        missing = {key: value for key, value in ours.items() if not _gives(key, general) and not _gives(key, given)}
        if name in ("weights", "gradients") and "reductions" not in general:
            missing |= {"reductions": REDUCTIONS}
        collection["CollectionParameters"] = missing | given
    return {**configuration, "HookParameters": general, "CollectionConfigurations": collections}


def _train_interval(name: str, every: Intervals) -> int:
    own = {"losses": every.losses, "relu_input": every.activations, "relu_output": every.activations}
    return own.get(name, NEVER if name in ANSWERS else every.parameters)


def _eval_interval(name: str, every: Intervals) -> int:
    if name in ANSWERS:
        return every.answers
    return NEVER if name in ("weights", "gradients", "biases", "relu_input", "relu_output") else 1


def _saving(mode: str, interval: int) -> dict[str, str]:
    if interval == NEVER:
        return {f"{mode}.start_step": str(NEVER), f"{mode}.save_interval": str(NEVER)}
    return {f"{mode}.save_interval": str(interval)}


def _gives(key: str, parameters: Mapping[str, Any]) -> bool:
    """Return whether parameters say when to save in the mode of a key."""
    mode = key.partition(".")[0]
    return any(f"{prefix}{kind}" in parameters for prefix in (f"{mode}.", "") for kind in ("save_interval", "save_steps", "start_step"))


def build_hook(configuration: Mapping[str, Any], file: Path, steps: int, evaluations: int) -> Hook:
    """Make the hook of a configuration, which smdebug reads from a file; it goes on after the steps that an earlier run of the job saved.

    Args:
        configuration: a whole DebugHookConfig.
        file: where it may lie for a moment.
        steps: training steps that were made.
        evaluations: that were made.

    Raises:
        Exception: whatever smdebug finds wrong with it.
    """
    folder = Path(configuration.get("LocalPath", DEFAULT_SAGEMAKER_OUTDIR))
    forget_after(folder, steps + evaluations)
    file.write_text(json.dumps(configuration), encoding="utf-8")
    hook: Hook = Hook.create_from_json_file(str(file))
    hook.prepare()
    hook.step = steps + evaluations - 1
    hook.mode_steps |= {modes.GLOBAL: hook.step, modes.TRAIN: steps - 1, modes.EVAL: evaluations - 1}
    hook.spent = sum(each.stat().st_size for each in saved_files(folder))
    return hook


def forget_after(folder: Path, steps: int) -> None:
    """Remove what an earlier run of the job saved of its steps from a number on, and its end; the earlier ones are judged with the rest.

    The folder is the request's choice: what else lies in it, a model or checkpoints, is not touched.
    """
    kept, dropped = 0, 0
    for file in saved_files(folder):
        number = file.name.partition("_")[0]
        if file.suffix == ".tmp" or not number.isdigit() or int(number) >= steps:
            file.unlink(missing_ok=True)  # the process that wrote for an earlier run may just be finishing it
            dropped += 1
        else:
            kept += 1
    if kept or dropped:
        print(f"debugger: of an earlier run of the job {kept} files of saved steps are kept, and {dropped} are removed", flush=True)


def saved_files(folder: Path) -> list[Path]:
    """Return the files in a folder that a hook wrote there."""
    inside = [file for name in FOLDERS for file in folder.joinpath(name).rglob("*")]
    return [file for file in (*inside, *(folder / name for name in FILES)) if file.is_file()]
