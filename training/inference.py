"""From the body of a request to probabilities, in the four functions that SageMaker's inference toolkits call.

Runs in the serving images; training.server calls the same functions.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from training.artefact import Artefact, load_artefact
from training.model import fold_batch_norm
from training.preprocessing import PhotoError, Preprocessing, read_photo

CONTENT_TYPES = (
    "image/jpeg",
    "image/png",
    "image/webp",
    "image/gif",
    "image/bmp",
    "image/tiff",
    "application/x-image",
    "application/octet-stream",
)
TOP = 5
"""How many classes an answer names."""


class UnsupportedContentTypeError(ValueError):
    """The request is not said to be a photo."""


@dataclass(frozen=True)
class Model:
    """A model ready to answer."""

    network: nn.Module
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    name: str


def model_fn(model_dir: str) -> Model:
    """Load the artefact in a folder.

    Raises:
        WeightsError: it is damaged, holds code, or is not of this version.
    """
    artefact: Artefact = load_artefact(Path(model_dir))
    network = fold_batch_norm(artefact.network).to(device(), memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Model(network, artefact.classes, artefact.preprocessing, model_name(artefact.description, os.environ))


def model_name(description: Mapping[str, Any], environment: Mapping[str, str]) -> str:
    """Return what an answer calls the model: MODEL_NAME of the endpoint, or the job that trained it."""
    return environment.get("MODEL_NAME") or str(description.get("training_job") or "unnamed")


def device() -> torch.device:
    """Return the GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def input_fn(body: bytes, content_type: str) -> bytes:
    """Return the bytes of a photo; they are read with the model's own preprocessing.

    Raises:
        UnsupportedContentTypeError: the content type is none of CONTENT_TYPES.
        PhotoError: the body is empty.
    """
    kind = content_type.partition(";")[0].strip().lower() or "application/octet-stream"
    if kind not in CONTENT_TYPES:
        raise UnsupportedContentTypeError(f"content type {kind} is not a photo's; send one of {', '.join(CONTENT_TYPES)}")
    if not body:
        raise PhotoError("the body is empty; send the bytes of a photo")
    return body


@torch.inference_mode()
def predict_fn(photo: bytes, model: Model) -> dict[str, Any]:
    """Return the answer of the API: the most probable classes and their probabilities.

    Raises:
        PhotoError: the bytes are no photo that can be read.
    """
    pixels = model.preprocessing(read_photo(photo)).unsqueeze(0)
    probabilities = logits(model, pixels).softmax(dim=1)[0]
    top = probabilities.topk(min(TOP, len(model.classes)))
    predictions = [
        {"class": model.classes[index], "probability": round(value, 6)}
        for value, index in zip(top.values.tolist(), top.indices.tolist(), strict=True)
    ]
    return {**predictions[0], "predictions": predictions, "model": model.name}


def logits(model: Model, pixels: torch.Tensor) -> torch.Tensor:
    """Return float32 [n, classes] of float32 [n, 3, crop, crop]."""
    values: torch.Tensor = model.network(pixels.to(device(), memory_format=torch.channels_last))
    return values.cpu()


def output_fn(prediction: dict[str, Any], accept: str = "application/json") -> str:
    """Return the answer as JSON, whatever is accepted: there is no other form of it."""
    del accept
    return json.dumps(prediction, ensure_ascii=False)
