"""What becomes the artefact of a training job, and how often it is renewed while the job runs.

Runs in training jobs, under training.train.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from training.contract.hyperparameters import Hyperparameters
from training.data.dataset import Dataset
from training.fit.loop import Progress, Training
from training.network.resnet50 import BackboneDescription
from training.serving.artefact import save_artefact

SECONDS_BETWEEN_ARTEFACTS = 60.0
"""How old the artefact of a running job gets before a better model replaces it: it is what is left of a job that is killed."""


@dataclass
class Output:
    """What becomes the artefact."""

    model: Path
    dataset: Dataset
    weights: BackboneDescription
    settings: Hyperparameters
    plain_state: Callable[[], dict[str, torch.Tensor]]
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        """A job that ends soon writes its artefact once."""
        self._saved_at, self._saved = self.clock(), 0

    def refresh(self, progress: Progress, training: Training) -> None:
        """Save the best model so far, unless it is saved already or another was a short time ago."""
        if progress.best is None or self._saved == progress.best.epoch or self.clock() - self._saved_at < SECONDS_BETWEEN_ARTEFACTS:
            return
        latest = training.state()
        training.restore(progress.best_state)
        save_artefact(self.model, self.plain_state(), self.dataset, self.weights, self.settings, best_metrics(progress), check=False)
        training.restore(latest)
        self._saved_at, self._saved = self.clock(), progress.best.epoch


def best_metrics(progress: Progress) -> dict[str, float]:
    """Return the figures of the best epoch, none before the first has ended."""
    best = progress.best
    return {"best_epoch": best.epoch, "best_valid_loss": best.valid_loss, "best_valid_accuracy": best.valid_accuracy} if best else {}
