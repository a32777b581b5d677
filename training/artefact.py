"""The model artefact: what the training job leaves in SM_MODEL_DIR, and how serving reads it back.

Runs in the training and serving images. Weights are a plain state_dict and everything else is JSON, so reading runs nothing:

    model.pth     ResNet50 in torchvision's keys, float32
    model.json    classes, preprocessing, backbone, hyperparameters, metrics, versions
    config.yaml   for the Ray Serve image: where its application is
    code/         this package, and `serve`, which starts the server without Ray
"""

import json
import os
import platform
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
from torch import nn

from training.model import BackboneDescription, WeightsError, build_resnet50, fill, read_state
from training.preprocessing import Preprocessing
from training.settings import Hyperparameters

SCHEMA_VERSION = 1
WEIGHTS = "model.pth"
DESCRIPTION = "model.json"

_SERVE = """#!/usr/bin/env python3
# Starts the model server: `serve` is what SageMaker runs in a container that serves.
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from training.server import main

sys.exit(main(os.environ))
"""


@dataclass(frozen=True)
class Artefact:
    """A model that can be served."""

    network: nn.Module
    """float32 [n, 3, crop, crop] -> logits [n, classes]."""
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    description: dict[str, Any]
    """All of model.json."""


def save_artefact(
    folder: Path,
    state: dict[str, torch.Tensor],
    classes: tuple[str, ...],
    preprocessing: Preprocessing,
    backbone: BackboneDescription,
    hyperparameters: Hyperparameters,
    metrics: dict[str, float],
) -> dict[str, Any]:
    """Write the artefact and return what model.json holds."""
    folder.mkdir(parents=True, exist_ok=True)
    description = {
        "schema_version": SCHEMA_VERSION,
        "classes": list(classes),
        "preprocessing": preprocessing.to_json(),
        "backbone": {"name": "resnet50", "stride": backbone.stride, "weights_sha256": backbone.sha256, "source": backbone.source},
        "hyperparameters": asdict(hyperparameters),
        "metrics": metrics,
        "training_job": os.environ.get("TRAINING_JOB_NAME", ""),
        "versions": versions(),
    }
    torch.save(state, folder / WEIGHTS)
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=2, ensure_ascii=False), encoding="utf-8")
    (folder / "config.yaml").write_text(_RAY_CONFIGURATION, encoding="utf-8")
    _save_code(folder / "code")
    return description


def load_artefact(folder: Path) -> Artefact:
    """Read an artefact without running anything in it.

    Raises:
        WeightsError: a file is missing, damaged, holds code, or is not what this version reads.
    """
    description = _read_description(folder / DESCRIPTION)
    try:
        classes = tuple(map(str, description["classes"]))
        stride = description["backbone"]["stride"]
        preprocessing = Preprocessing.from_json(description["preprocessing"])
    except (KeyError, TypeError) as error:
        raise WeightsError(f"{DESCRIPTION} does not describe a model of this version: {error!r}") from error
    network = fill(build_resnet50(stride, len(classes)), read_state(folder / WEIGHTS), WEIGHTS)
    return Artefact(network, classes, preprocessing, description)


def versions() -> dict[str, str]:
    """Return what computed."""
    return {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__, "pillow": PIL.__version__}


_RAY_CONFIGURATION = """# Read by the Ray Serve image when it starts the endpoint.
applications:
  - name: image-classifier
    route_prefix: /
    import_path: training.ray_app:app
"""


def _save_code(folder: Path) -> None:
    source = Path(__file__).resolve().parent
    shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    serve = folder / "serve"
    serve.write_text(_SERVE, encoding="utf-8")
    serve.chmod(0o755)


def _read_description(file: Path) -> dict[str, Any]:
    try:
        description: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{file.name} cannot be read: {error}") from error
    if not isinstance(description, dict) or description.get("schema_version") != SCHEMA_VERSION:
        raise WeightsError(f"{file.name} is not of schema version {SCHEMA_VERSION}: train again with this version")
    return description
