"""The model artefact: the training job writes it to SM_MODEL_DIR, and serving reads it.

Runs in the training and serving images. Weights are named tensors and everything else is JSON, so reading runs no code:

    model.safetensors   ResNet50 in torchvision's keys, float32
    model.json          classes, preprocessing, backbone, temperature, hashes, data_set (the hardware that computed its features),
                        hyperparameters, metrics, versions, expected predictions of check/
    check/              a few unchanged test photos: the endpoint must return the predictions in model.json
    config.yaml         names the application for the Ray Serve image
    code/               this package, and `serve`, which starts the server without Ray
"""

import json
import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from training.contract import STRIDES
from training.contract.hyperparameters import Hyperparameters
from training.data.dataset import CHECK_FOLDER, Dataset, digest_of
from training.data.preprocessing import Preprocessing
from training.job.json_files import write_json
from training.job.provenance import code_sha256, versions
from training.job.safetensors_file import TensorFileError, read_tensors, write_tensors
from training.network.resnet50 import BackboneDescription, WeightsError, build_resnet50, fill
from training.serving.prediction import Model, prepare_network, probabilities

SCHEMA_VERSION = 2
WEIGHTS = "model.safetensors"
DESCRIPTION = "model.json"

_SERVE = """#!/usr/bin/env python3
# Starts the model server: SageMaker runs `serve` in a serving container.
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from training.serving.server import main

sys.exit(main(os.environ))
"""


@dataclass(frozen=True)
class Artefact:
    """A model that can be served."""

    network: nn.Module
    """float32 [n, 3, crop, crop] -> logits [n, classes]."""
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    temperature: float
    """Logits are divided by it before the softmax."""
    description: dict[str, Any]
    """The content of model.json."""


def save_artefact(
    folder: Path,
    state: Mapping[str, torch.Tensor],
    dataset: Dataset,
    weights: BackboneDescription,
    settings: Hyperparameters,
    metrics: Mapping[str, float],
    temperature: float = 1.0,
    *,
    check: bool = True,
) -> dict[str, Any]:
    """Write the artefact and return the content of model.json; an artefact already in the folder is replaced file by file.

    Args:
        state: state_dict of a plain ResNet50 in torchvision's keys.
        check: whether to load it as serving does, and to record its predictions for the data set's check photos.

    Raises:
        WeightsError: the written artefact cannot be served.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(".*.unfinished"):  # of a process that was killed while it wrote: it would be shipped with the model
        left.unlink()
    description = {
        "schema_version": SCHEMA_VERSION,
        "classes": list(dataset.classes),
        "preprocessing": dataset.preprocessing.to_json(),
        "backbone": {"name": "resnet50", "stride": weights.stride, "weights_sha256": weights.sha256, "source": weights.source},
        "temperature": temperature,
        "hyperparameters": asdict(settings),
        "metrics": dict(metrics),
        "hashes": {"data_sha256": dataset.description.data_sha256, "weights_sha256": weights.sha256, "code_sha256": code_sha256()},
        "data_set": {"processor": dataset.description.processor},
        "training_job": os.environ.get("TRAINING_JOB_NAME", ""),
        "versions": versions(),
        "check_photos": [],
    }
    write_tensors(folder / WEIGHTS, {key: value.float() if value.is_floating_point() else value for key, value in state.items()})
    write_json(folder / DESCRIPTION, description)
    (folder / "config.yaml").write_text(_RAY_CONFIGURATION, encoding="utf-8")
    _save_code(folder / "code")
    if check:
        description["check_photos"] = _check(folder, dataset)
        write_json(folder / DESCRIPTION, description)
    return description


def load_artefact(folder: Path) -> Artefact:
    """Read an artefact without running code in it.

    Raises:
        WeightsError: a file is missing, damaged, holds code, or is of another version.
    """
    description = _read_description(folder / DESCRIPTION)
    try:
        classes = tuple(map(str, description["classes"]))
        stride, temperature = str(description["backbone"]["stride"]), float(description["temperature"])
        preprocessing = Preprocessing.from_json(description["preprocessing"])
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{DESCRIPTION} does not describe a model of this version: {error!r}") from error
    if not (math.isfinite(temperature) and temperature > 0):
        raise WeightsError(f"{DESCRIPTION}: the temperature is {temperature}; it must be a number above 0")
    if stride not in STRIDES:
        raise WeightsError(f"{DESCRIPTION}: stride is {stride!r}; allowed: {', '.join(STRIDES)}")
    state = _read_weights(folder / WEIGHTS, len(classes))
    return Artefact(fill(build_resnet50(stride, len(classes)), state, WEIGHTS), classes, preprocessing, temperature, description)


def load_model(folder: Path, name: str | None = None) -> Model:
    """Load an artefact for predictions; the default name is that in its description.

    Raises:
        WeightsError: as load_artefact.
    """
    artefact = load_artefact(folder)
    shown_name = name or str(artefact.description.get("training_job") or "unnamed")
    return Model(prepare_network(artefact.network), artefact.classes, artefact.preprocessing, artefact.temperature, shown_name)


def _check(folder: Path, dataset: Dataset) -> list[dict[str, Any]]:
    """Copy the check photos beside the model and return the served model's predictions for them."""
    model = load_model(folder)
    copies = folder / CHECK_FOLDER
    shutil.rmtree(copies, ignore_errors=True)
    copies.mkdir()
    return [_predict(model, Path(shutil.copy(photo, copies / photo.name))) for photo in dataset.check_photos]


def _predict(model: Model, photo: Path) -> dict[str, Any]:
    values = [round(value, 7) for value in probabilities(model, photo.read_bytes()).tolist()]
    return {"file": f"{CHECK_FOLDER}/{photo.name}", "sha256": digest_of(photo), "probabilities": values}


def _read_weights(file: Path, classes: int) -> dict[str, torch.Tensor]:
    try:
        state, _ = read_tensors(file)
    except TensorFileError as error:
        raise WeightsError(f"the weights cannot be read: {error}") from error
    broken = [key for key, value in state.items() if not torch.isfinite(value).all()]
    if broken:
        raise WeightsError(f"{file.name} has values that are not finite, first in {broken[0]}: the file is damaged")
    known = len(state.get("fc.bias", ()))
    if "fc.bias" in state and known != classes:
        raise WeightsError(f"{file.name} has {known} classes, but {DESCRIPTION} names {classes}: they belong to different trainings")
    return state


_RAY_CONFIGURATION = """# Read by the Ray Serve image when it starts the endpoint.
applications:
  - name: image-classifier
    route_prefix: /
    import_path: training.serving.ray_app:app
"""


def _save_code(folder: Path) -> None:
    source = Path(__file__).resolve().parents[1]
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
