"""Writes the artefact of a running training job again when the model has improved.

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
"""Shortest time between two artefacts of a running job. If the job is killed, the latest one remains."""


@dataclass
class ArtefactWriter:
    """Holds what an artefact is made of, and writes the best model so far."""

    model: Path
    dataset: Dataset
    weights: BackboneDescription
    settings: Hyperparameters
    plain_state: Callable[[], dict[str, torch.Tensor]]
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        """Count from the start: a short job writes its artefact once."""
        self._saved_at, self._saved = self.clock(), 0

    def refresh(self, progress: Progress, training: Training) -> None:
        """Save the best model so far, unless it is saved already or the last save was less than a minute ago."""
        if progress.best is None or self._saved == progress.best.epoch or self.clock() - self._saved_at < SECONDS_BETWEEN_ARTEFACTS:
            return
        latest = training.state()
        training.restore(progress.best_state)
        save_artefact(
            self.model, self.plain_state(), self.dataset, self.weights, self.settings, collect_best_metrics(progress), check=False
        )
        training.restore(latest)
        self._saved_at, self._saved = self.clock(), progress.best.epoch


def collect_best_metrics(progress: Progress) -> dict[str, float]:
    """Return the metrics of the best epoch; empty before the first epoch has ended."""
    best = progress.best
    return {"best_epoch": best.epoch, "best_valid_loss": best.valid_loss, "best_valid_accuracy": best.valid_accuracy} if best else {}
