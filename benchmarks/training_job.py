"""A training job as its container starts it: where it finds its channels, and the metric lines that it prints.

Used by the scripts beside it.
"""

import os
import re
from pathlib import Path

from training.contract.metrics import METRICS


def training_environment(base: Path, dataset: Path, weights: Path, photos: Path | None = None) -> dict[str, str]:
    """This environment with the job's folders in it; `base` stands for /opt/ml."""
    channels = {"DATASET": dataset, "WEIGHTS": weights, **({"PHOTOS": photos} if photos else {})}
    folders = {"SAGEMAKER_BASE_DIR": base, "SM_MODEL_DIR": base / "model", "SM_CHECKPOINT_DIR": base / "checkpoints"}
    folders |= {f"SM_CHANNEL_{name}": folder for name, folder in channels.items()}
    for folder in (base / "model", base / "checkpoints", base / "output"):
        folder.mkdir(parents=True, exist_ok=True)
    return {**os.environ, **{name: str(folder) for name, folder in folders.items()}}


def read_metrics(printed: str) -> dict[str, float]:
    """The last value of each metric, by name, by the expressions that SageMaker reads them with."""
    found = {name: re.findall(expression, printed) for name, expression in METRICS.items()}
    return {name: float(values[-1]) for name, values in found.items() if values}
