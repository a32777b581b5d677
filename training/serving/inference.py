"""From a request's body to probabilities, in the four functions that SageMaker's inference toolkits call.

Runs in the serving images; training.serving.server calls the same functions.
"""

import json
import os
from pathlib import Path
from typing import Any

from training.contract import photos
from training.data.preprocessing import PhotoError
from training.serving.artefact import load_model
from training.serving.prediction import Model, probabilities

CONTENT_TYPES = (*photos.CONTENT_TYPES, "application/x-image", "application/octet-stream")
TOP = 5
"""How many classes a response lists."""


class UnsupportedContentTypeError(ValueError):
    """The request's content type is not that of a photo."""


def model_fn(model_dir: str) -> Model:
    """Load the artefact in a folder; its name is MODEL_NAME of the endpoint, or that of its training job.

    Raises:
        WeightsError: it is damaged, holds code, or is of another version.
    """
    return load_model(Path(model_dir), os.environ.get("MODEL_NAME"))


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


def predict_fn(photo: bytes, model: Model) -> dict[str, Any]:
    """Return the API's response: the most probable classes and their probabilities.

    Raises:
        PhotoError: the bytes are not a readable photo.
    """
    top = probabilities(model, photo).topk(min(TOP, len(model.classes)))
    predictions = [
        {"class": model.classes[index], "probability": round(value, 6)}
        for value, index in zip(top.values.tolist(), top.indices.tolist(), strict=True)
    ]
    return {**predictions[0], "predictions": predictions, "model": model.name}


def output_fn(prediction: dict[str, Any], accept: str = "application/json") -> str:
    """Return the response as JSON, whatever the request accepts: other formats do not exist."""
    del accept
    return json.dumps(prediction, ensure_ascii=False)
