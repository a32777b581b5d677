"""The four functions of the endpoint, with a network whose logits are given. Run: `make test`."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.fixtures.training.handmade import jpeg
from training.data.preprocessing import PhotoError, Preprocessing
from training.serving import inference
from training.serving.inference import CONTENT_TYPES, UnsupportedContentTypeError, input_fn, output_fn, predict_fn
from training.serving.prediction import Model


class Fixed(nn.Module):
    """Answers every photo with the same logits."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits = torch.tensor([logits])

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.logits.expand(len(pixels), -1)


def model(*logits: float, temperature: float = 1.0) -> Model:
    return Model(Fixed(*logits), tuple(f"é{number}" for number in range(len(logits))), Preprocessing(), temperature, "a model")


def test_the_five_most_probable_classes_are_named() -> None:
    answer = predict_fn(jpeg((9, 9, 9)), model(0.0, 3.0, 1.0, 2.0, -1.0, -2.0, -3.0))
    assert [prediction["class"] for prediction in answer["predictions"]] == ["é1", "é3", "é2", "é0", "é4"]
    assert (answer["class"], answer["model"]) == ("é1", "a model")
    assert answer["probability"] == answer["predictions"][0]["probability"]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_probabilities_are_those_at_the_models_temperature(temperature: float) -> None:
    answer = predict_fn(jpeg((9, 9, 9)), model(0.0, 2.0, temperature=temperature))
    assert answer["probability"] == pytest.approx(torch.tensor(2.0 / temperature).sigmoid().item(), abs=1e-6)
    assert sum(prediction["probability"] for prediction in answer["predictions"]) == pytest.approx(1.0, abs=2e-6)


def test_an_answer_is_json_that_keeps_the_names() -> None:
    answer = predict_fn(jpeg((9, 9, 9)), model(0.0, 2.0))
    assert json.loads(output_fn(answer)) == answer
    assert "é1" in output_fn(answer, "text/plain")


@pytest.mark.parametrize("kind", [*CONTENT_TYPES, "", "IMAGE/JPEG", "image/png; charset=binary"])
def test_photos_are_taken_by_any_of_their_names(kind: str) -> None:
    assert input_fn(b"bytes", kind) == b"bytes"


@pytest.mark.parametrize("kind", ["application/json", "text/csv", "application/x-npy", "image/svg+xml", "application/x-python-pickle"])
def test_what_is_no_photo_is_refused_by_its_name(kind: str) -> None:
    with pytest.raises(UnsupportedContentTypeError, match="is not a photo's; send one of image/jpeg"):
        input_fn(b"bytes", kind)


def test_an_empty_body_is_refused() -> None:
    with pytest.raises(PhotoError, match="body is empty"):
        input_fn(b"", "image/jpeg")


def test_the_endpoint_names_the_model_before_the_job_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """MODEL_NAME is what the state machine gives the endpoint's container; elsewhere the training job's name is the best there is."""
    asked: list[str | None] = []

    def load(folder: Path, name: str | None) -> Model:
        asked.append(name)
        return model(0.0, 1.0)

    monkeypatch.setattr(inference, "load_model", load)
    monkeypatch.setenv("MODEL_NAME", "endpoint's")
    inference.model_fn("folder")
    monkeypatch.delenv("MODEL_NAME")
    inference.model_fn("folder")
    assert asked == ["endpoint's", None]
