"""Faults planted in real trainings, judged with what our jobs pass; sound trainings raise nothing. Run: `make test`.

More of them, on real photos: `python -m benchmarks.faults`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim import AdamW

from tests.fixtures.training.clusters import clusters, training_of
from training.contract.hyperparameters import Rules
from training.contract.rules import configurations
from training.data.dataset import Features
from training.debugger.attach import attach_debugger
from training.fit.examples import CachedFeatures
from training.fit.loop import Training, fit, steps_per_epoch
from training.rule_evaluation.judge import judge
from training.settings import Folders

PHOTOS, EPOCHS = 120, 10


def sound(lr: float = 0.01, seed: int = 1) -> Training:
    """Three classes that overlap."""
    record_only = Rules(evaluate=())
    train, valid = clusters(PHOTOS, seed, noise=6.0), clusters(60, seed + 1, noise=6.0)
    return training_of(train, valid, lr=lr, batch_size=16, epochs=EPOCHS, rules=record_only)


def issues(training: Training, base: Path) -> set[str]:
    """Train, and return the default rules that find an issue."""
    folders = Folders(base, base, base, base / "model", base, base / "output/failure")
    debugger = attach_debugger(training.settings, folders, training.watched, steps_per_epoch(PHOTOS, training.settings.batch_size))
    fit(replace(training, debugger=debugger))
    debugger.close()
    assert debugger.problem is None
    statuses = judge(str(debugger.folder), configurations("head", EPOCHS))
    assert {status.RuleEvaluationStatus for status in statuses} <= {"IssuesFound", "NoIssuesFound", "Error"}
    return {status.RuleConfigurationName for status in statuses if status.RuleEvaluationStatus == "IssuesFound"}


class Detached(nn.Module):
    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(features)
        return logits.detach() + 0 * logits


class BrokenLater(CachedFeatures):
    def batches(self, indices: Sequence[torch.Tensor], epoch: int) -> Iterator[torch.Tensor]:
        return (inputs * (float("nan") if epoch > 2 else 1.0) for inputs in CachedFeatures.batches(self, indices, epoch))


def ascending(training: Training) -> Training:
    for group in training.optimizer.param_groups:
        group["maximize"] = True
    return training


def other_labels(training: Training) -> Training:
    features = next(iter(training.valid.batches([torch.arange(len(training.valid.labels))], epoch=0)))
    return replace(training, valid=CachedFeatures(Features(features, training.valid.labels.roll(1))))


def broken_later(training: Training) -> Training:
    features = next(iter(training.train.batches([torch.arange(PHOTOS)], epoch=0)))
    return replace(training, train=BrokenLater(Features(features, training.train.labels)))


FAULTS: dict[str, tuple[Callable[[Training], Training], set[str]]] = {
    "the optimizer holds another network": (
        lambda training: replace(training, optimizer=AdamW([nn.Parameter(torch.zeros(1))])),
        {"UnchangedTensor", "LossNotDecreasing"},
    ),
    "logits are detached": (
        lambda training: replace(training, network=Detached(training.network)),
        {"AllZero", "UnchangedTensor"},
    ),
    "the loss is maximised": (ascending, {"LossNotDecreasing"}),
    "validation labels are another class's": (other_labels, {"ClassImbalance"}),
    "photos are no numbers from the third epoch on": (broken_later, {"ExplodingTensor"}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_found(tmp_path: Path, fault: str) -> None:
    plant, found_by = FAULTS[fault]
    assert issues(plant(sound()), tmp_path) >= found_by


def test_a_learning_rate_that_the_cosine_hides_is_found(tmp_path: Path) -> None:
    assert "TensorVariance" in issues(sound(lr=10.0), tmp_path)


@pytest.mark.parametrize("lr", [0.001, 0.01, 0.1])
def test_sound_trainings_raise_nothing(tmp_path: Path, lr: float) -> None:
    assert issues(sound(lr), tmp_path) == set()
