"""The two loops: one epoch of training, one evaluation; and the training made of them.

Runs in training jobs, for a head on cached features and for the network itself alike. The epoch with the lowest validation loss is kept.
Every reported loss is the mean per photo: it depends neither on the batch size nor on class weights.
"""

import hashlib
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from training.contract.hyperparameters import Hyperparameters
from training.debugger.interface import Debugger, NoDebugger, Watched
from training.debugger.intervals import MOST_ROWS, MOST_SHOWN, class_type
from training.fit.examples import Examples
from training.job.distributed import Processes
from training.job.failure import InputRefusedError
from training.job.micro_batches import Parts
from training.job.stopping import StoppedError, Stopping
from training.profiler.profiler import NoProfiler, Profiler

LAST_LR = 0.01
"""Where the cosine ends, as a part of the first learning rate."""
EVALUATED_AT_ONCE = 256
"""Photos of an evaluation between two checks whether the job must end."""
ENDED_ELSEWHERE = "a rule of process 0 ended the training"
"""The reason that the other processes report."""


@dataclass(frozen=True)
class Training:
    """The parts of a training."""

    network: nn.Module
    """Inputs of `train` and `valid` -> float32 logits [n, classes]; every layer behaves the same in training and evaluation."""
    optimizer: Optimizer
    """With the learning rates of the first step."""
    train: Examples
    valid: Examples
    class_weights: torch.Tensor
    """float32 [classes]: the weight of each class's photos in training."""
    settings: Hyperparameters
    parts: Parts
    processes: Processes = field(default_factory=Processes)
    stopping: Stopping = field(default_factory=Stopping)
    debugger: Debugger = field(default_factory=NoDebugger)
    profiler: Profiler = field(default_factory=NoProfiler)
    loss: nn.CrossEntropyLoss = field(default_factory=nn.CrossEntropyLoss)
    """Computes the reported loss, once per step and per evaluation; the minimised loss also has the class weights."""

    def parameters(self) -> dict[str, nn.Parameter]:
        """Return what is trained, by name."""
        return {name: parameter for name, parameter in self.network.named_parameters() if parameter.requires_grad}

    @property
    def watched(self) -> Watched:
        """What a debugger records of it."""
        evaluated, classes = len(self.valid.labels), len(self.class_weights)
        return Watched(self.network, self.parameters(), self.loss, self.stopping, evaluated, classes)

    def state(self) -> dict[str, torch.Tensor]:
        """Return copies of what is trained, on the CPU."""
        return {name: parameter.detach().cpu().clone() for name, parameter in self.parameters().items()}

    @torch.no_grad()
    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore such copies."""
        for name, parameter in self.parameters().items():
            parameter.copy_(state[name])

    def release(self) -> None:
        """Release the memory of training, above all a GPU's; no training may follow."""
        self.optimizer.zero_grad()
        self.optimizer.state.clear()
        self.network.cpu()
        torch.cuda.empty_cache()


@dataclass(frozen=True)
class Epoch:
    """One line of the training's history."""

    epoch: int
    """From 1."""
    train_loss: float
    """Mean per photo, over the steps of the epoch."""
    train_accuracy: float
    valid_loss: float
    """Mean per photo, after the epoch."""
    valid_accuracy: float
    seconds: float


@dataclass
class Progress:
    """The state of a training."""

    best_state: Mapping[str, torch.Tensor]
    """The trained parameters after the best epoch; those of the start if there is none yet."""
    history: list[Epoch] = field(default_factory=list)
    best: Epoch | None = None
    stopped: bool = False
    """Whether SIGTERM ended it before its last epoch, or before its evaluation."""
    ended_by: str | None = None
    """Which rule ended it before its last epoch, and why; its model is evaluated as after a full training."""


def fit(training: Training, progress: Progress | None = None, after_epoch: Callable[[Progress], None] = lambda _progress: None) -> Progress:
    """Train the network in place, and leave it with the parameters of its best epoch.

    Args:
        training: the network, its photos and settings.
        progress: where an earlier training ended, with network and optimizer in that state; None for a new training.
        after_epoch: called after each epoch.

    Raises:
        InputRefusedError: the loss is NaN or infinite from the first epoch on.
    """
    progress = progress or Progress(training.state())
    try:
        for number in range(len(progress.history) + 1, training.settings.epochs + 1):
            if progress.ended_by:
                break
            epoch = _run_epoch(training, number)
            if not math.isfinite(epoch.train_loss + epoch.valid_loss):
                _give_up(epoch, progress)
                break
            progress.history.append(epoch)
            if progress.best is None or epoch.valid_loss < progress.best.valid_loss:
                progress.best, progress.best_state = epoch, training.state()
            progress.ended_by = find_ending_rule(training, number)
            after_epoch(progress)
    except StoppedError:
        progress.stopped = True
    training.restore(progress.best_state)
    return progress


def _run_epoch(training: Training, number: int) -> Epoch:
    started = time.monotonic()
    trained = train_one_epoch(training, number)
    evaluated = evaluate(training, training.valid)
    return Epoch(number, *trained, *evaluated, seconds=time.monotonic() - started)


def _give_up(epoch: Epoch, progress: Progress) -> None:
    """End the training: no later epoch repairs parameters that are NaN or infinite."""
    if progress.best is None:
        raise InputRefusedError(
            f"the loss is NaN or infinite in epoch {epoch.epoch}: the learning rate is too high for these photos; lower lr"
        )
    print(f"the loss is NaN or infinite in epoch {epoch.epoch}: the training ends and keeps epoch {progress.best.epoch}", flush=True)


def train_one_epoch(training: Training, epoch: int) -> tuple[float, float]:
    """Train on all photos once, shuffled; return mean loss and accuracy per photo, as measured at each step.

    If a rule ends the training, the epoch ends too, and the means are those of the photos so far.
    """
    labels, total, correct, seen = training.train.labels, 0.0, 0, 0
    batches = shuffle(len(labels), training.settings, epoch)
    shares = [training.processes.share(batch) for batch in batches]
    own = [batch[share] for batch, share in zip(batches, shares, strict=True)]
    for number, inputs in enumerate(fetch(training, training.train.batches(own, epoch))):
        shown, share = labels[batches[number]], shares[number]
        set_learning_rates(training.optimizer, ((epoch - 1) * len(batches) + number) / (training.settings.epochs * len(batches)))
        own_logits = compute_gradients(training, inputs, labels[own[number]], len(shown))
        with training.profiler.phase("backward"):
            training.processes.sum(*collect_gradients(training))
            logits = training.processes.collect(own_logits, share, len(shown)).cpu()
        loss = training.loss(logits, shown)
        with training.profiler.phase("save"):
            training.debugger.save_training_step(loss)
        total += loss.item() * len(shown)
        correct += int((logits.argmax(dim=1) == shown).sum())
        seen += len(shown)
        with training.profiler.phase("optimizer"):
            training.optimizer.step()
        training.profiler.step("train")
        if must_end(training):
            break
    return total / seen, correct / seen


def fetch(training: Training, batches: Iterable[torch.Tensor]) -> Iterator[torch.Tensor]:
    """Yield inputs; the profiler counts the time until they arrive as "data"."""
    source = iter(batches)
    while True:
        with training.profiler.phase("data"):
            inputs = next(source, None)
        if inputs is None:
            return
        yield inputs


@torch.no_grad()
def evaluate(training: Training, photos: Examples) -> tuple[float, float]:
    """Return mean loss and accuracy per photo; the loss is computed once over all, so that the debugger saves one value per evaluation."""
    count, processes = len(photos.labels), training.processes
    kept: list[torch.Tensor] = []
    means: list[torch.Tensor] = []
    batches = torch.split(torch.arange(count), EVALUATED_AT_ONCE * processes.size)
    shares = [processes.share(batch) for batch in batches]
    own = [batch[share] for batch, share in zip(batches, shares, strict=True)]
    for number, inputs in enumerate(fetch(training, photos.batches(own, epoch=0))):
        with training.profiler.phase("forward"):
            kept.append(processes.collect(run_in_parts(training, inputs), shares[number], len(batches[number])).cpu())
        if training.debugger.folder and sum(map(len, means)) < MOST_SHOWN:
            means += photos.channel_means(inputs)
        training.profiler.step("eval")
        must_end(training)
    logits = torch.cat(kept)
    loss, predictions = training.loss(logits, photos.labels), logits.argmax(dim=1)
    with training.profiler.phase("save"):
        rows, kind = slice(None, None, math.ceil(count / MOST_ROWS)), class_type(len(training.class_weights))
        tensors = {"labels": photos.labels[rows].to(kind), "predictions": predictions[rows].to(kind)}
        if means:
            tensors["images"] = torch.cat(means)[:MOST_SHOWN]
        training.debugger.save_evaluation(loss, tensors)
    return loss.item(), int((predictions == photos.labels).sum()) / count


def compute_gradients(training: Training, inputs: torch.Tensor, labels: torch.Tensor, photos: int) -> torch.Tensor:
    """Set each parameter's gradient of the batch's weighted losses, divided by the number of photos; return float32 logits [n, classes].

    The sum is not divided by the batch's own weights, which average 1 per photo over the data set: a class counts the same in every batch.

    Args:
        training: the network and its settings.
        inputs: of the photos of the batch that this process computes.
        labels: int64 [n], of the same photos.
        photos: in the whole batch, over all processes.
    """
    weights = training.class_weights[labels] / photos

    def attempt(at_once: int) -> torch.Tensor:
        training.optimizer.zero_grad()
        kept = [torch.zeros(0, len(training.class_weights), device=device_of(training))]
        for start in range(0, len(labels), at_once):
            part = slice(start, start + at_once)
            with training.profiler.phase("forward"):
                logits = training.network(inputs[part])
                losses = cross_entropy(logits, labels[part].to(logits.device), reduction="none")
            with training.profiler.phase("backward"):
                torch.autograd.backward((losses * weights[part].to(logits.device)).sum())
            kept.append(logits.detach())
            if training.stopping.requested and training.processes.size == 1:
                raise StoppedError
        return torch.cat(kept)

    return training.parts.run(attempt)


def run_in_parts(training: Training, inputs: torch.Tensor) -> torch.Tensor:
    """Return the float32 logits [n, classes] of some inputs."""

    def attempt(at_once: int) -> torch.Tensor:
        kept = [torch.zeros(0, len(training.class_weights), device=device_of(training))]
        kept += [training.network(part) for part in torch.split(inputs, at_once) if len(part)]
        return torch.cat(kept)

    return training.parts.run(attempt)


def collect_gradients(training: Training) -> list[torch.Tensor]:
    """Return the gradient of each parameter; zeros if this process had no photo of the batch."""
    for parameter in training.parameters().values():
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    return [parameter.grad for parameter in training.parameters().values() if parameter.grad is not None]


def shuffle(photos: int, settings: Hyperparameters, epoch: int) -> tuple[torch.Tensor, ...]:
    """Return the batches of an epoch as indices; their order depends only on seed and epoch."""
    number = int.from_bytes(hashlib.sha256(f"{settings.seed}:{epoch}".encode()).digest()[:8], "big", signed=True)
    return torch.split(torch.randperm(photos, generator=torch.Generator().manual_seed(number)), settings.batch_size)


def steps_per_epoch(photos: int, batch_size: int) -> int:
    """Return how many batches cover the training photos; the last one may be smaller."""
    return math.ceil(photos / batch_size)


def decay_matrices(parameters: Iterable[nn.Parameter], lr: float, weight_decay: float) -> list[dict[str, Any]]:
    """Return an optimizer's groups in which weights decay; biases and BatchNorm's factors do not, because they do not overfit."""
    parameters = list(parameters)
    kinds = (
        ([value for value in parameters if value.ndim > 1], weight_decay),
        ([value for value in parameters if value.ndim < 2], 0.0),
    )
    return [{"params": values, "lr": lr, "weight_decay": decay} for values, decay in kinds if values]


def set_learning_rates(optimizer: Optimizer, done: float) -> None:
    """Set the rates of a step along a falling cosine; `done`: the fraction of all steps already made."""
    factor = LAST_LR + (1 - LAST_LR) * (1 + math.cos(math.pi * done)) / 2
    for group in optimizer.param_groups:
        group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor


def must_end(training: Training) -> bool:
    """Return whether a rule ends the training, at the same step in all processes.

    Raises:
        StoppedError: the job has received SIGTERM.
    """
    stopped, ended = training.stopping.requested, training.debugger.stop_reason() is not None
    if training.processes.size > 1:
        votes = torch.tensor([stopped, ended], dtype=torch.float32, device=device_of(training))
        training.processes.sum(votes)
        stopped, ended = (bool(flag) for flag in votes.tolist())
    if stopped:
        raise StoppedError
    return ended


def find_ending_rule(training: Training, epoch: int) -> str | None:
    """Return which rule ends the training after an epoch, the same in all processes; None while it continues."""
    reason = training.debugger.stop_reason()
    if not training.processes.agree(reason is not None, device_of(training)):
        return None
    print(f"the training ends in epoch {epoch} of {training.settings.epochs}: {reason or ENDED_ELSEWHERE}", flush=True)
    return reason or ENDED_ELSEWHERE


def device_of(training: Training) -> torch.device:
    """Return the network's device."""
    return next(training.network.parameters()).device


def weigh_classes(labels: torch.Tensor, classes: int, mode: str) -> torch.Tensor:
    """Return float32 [classes]: for `mode` balanced the square root of each class's rarity, 1 per photo on average; otherwise ones."""
    if mode == "none":
        return torch.ones(classes)
    counts = torch.bincount(labels, minlength=classes).float()
    weights = counts.clamp_min(1).rsqrt()
    return weights * counts.sum() / (weights * counts).sum()
