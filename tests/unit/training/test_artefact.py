"""The artefact: served as it was trained, checked by its own photos, and refused where it is damaged or dangerous. Run: `make test`."""

import copy
import json
import os
import pickle
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.fixtures.training.handmade import WEIGHTS as BACKBONE
from tests.fixtures.training.handmade import make_dataset
from training.contract.hyperparameters import Hyperparameters
from training.data.dataset import Dataset
from training.data.preprocessing import read_photo
from training.job.safetensors_file import read_tensors, write_tensors
from training.network.resnet50 import WeightsError, build_resnet50
from training.serving.artefact import DESCRIPTION, WEIGHTS, load_artefact, load_model, save_artefact
from training.serving.inference import model_fn, predict_fn
from training.serving.prediction import logits, probabilities

TEMPERATURE = 1.7


@dataclass(frozen=True)
class Saved:
    """An artefact, and what it was made of."""

    folder: Path
    network: nn.Module
    dataset: Dataset
    description: dict[str, Any]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    base = tmp_path_factory.mktemp("artefact")
    dataset = make_dataset(base / "dataset", {"train": [0, 1, 2], "valid": [0, 1, 2], "test": [0, 1, 2]})
    torch.manual_seed(3)
    network = build_resnet50("v1.5", 3).to_empty(device="cpu").eval()
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.BatchNorm2d, nn.Linear)):
            module.reset_parameters()
    for name, statistics in network.named_buffers():  # as of a trained network: folding them must matter
        if name.endswith("running_mean"):
            nn.init.uniform_(statistics, -0.1, 0.1)
        elif name.endswith("running_var"):
            nn.init.uniform_(statistics, 0.5, 1.5)
    metrics = {"best_valid_loss": 0.5}
    description = save_artefact(base / "model", network.state_dict(), dataset, BACKBONE, Hyperparameters(), metrics, TEMPERATURE)
    return Saved(base / "model", network, dataset, description)


@pytest.fixture
def copied(saved: Saved, tmp_path: Path) -> Path:
    """An artefact to be damaged: small files copied, the weights linked."""
    folder = tmp_path / "model"
    folder.mkdir()
    shutil.copy(saved.folder / DESCRIPTION, folder)
    os.link(saved.folder / WEIGHTS, folder / WEIGHTS)
    return folder


def test_serving_gives_the_logits_of_training(saved: Saved) -> None:
    """Plain network while training, folded and laid out anew while serving."""
    model = model_fn(str(saved.folder))
    pixels = torch.stack([model.preprocessing(read_photo(photo)) for photo in saved.dataset.check_photos])
    with torch.inference_mode():
        trained = saved.network(pixels)
    assert (logits(model, pixels) - trained).abs().max().item() < 1e-4
    assert trained.std() > 1e-3  # or agreement would mean little


def test_a_gpu_computes_as_exactly_as_a_cpu(saved: Saved) -> None:
    """cuDNN's default rounds convolutions to 10 bits, and the check photos' probabilities have to hold on either."""
    model_fn(str(saved.folder))
    assert not torch.backends.cudnn.allow_tf32


def test_probabilities_are_softened_by_the_temperature(saved: Saved) -> None:
    model = model_fn(str(saved.folder))
    photo = saved.dataset.check_photos[0].read_bytes()
    with torch.inference_mode():
        trained = saved.network(model.preprocessing(read_photo(photo)).unsqueeze(0))[0]
    assert probabilities(model, photo).tolist() == pytest.approx((trained / TEMPERATURE).softmax(0).tolist(), abs=1e-5)


def test_the_check_photos_get_the_answers_that_the_artefact_promises(saved: Saved) -> None:
    model = model_fn(str(saved.folder))
    promised = saved.description["check_photos"]
    assert [entry["file"] for entry in promised] == ["check/0.jpg", "check/1.jpg"]
    for entry, photo in zip(promised, saved.dataset.check_photos, strict=True):
        copied = saved.folder / entry["file"]
        assert copied.read_bytes() == photo.read_bytes()
        answer = {each["class"]: each["probability"] for each in predict_fn(copied.read_bytes(), model)["predictions"]}
        assert [answer[name] for name in model.classes] == pytest.approx(entry["probabilities"], abs=2e-6)
        assert sum(entry["probabilities"]) == pytest.approx(1, abs=1e-5)


def test_the_description_says_where_the_model_comes_from(saved: Saved) -> None:
    written = json.loads((saved.folder / DESCRIPTION).read_text(encoding="utf-8"))
    assert written == json.loads(json.dumps(saved.description))
    assert written["classes"] == ["blue", "green", "red"]
    assert written["temperature"] == TEMPERATURE
    assert written["hashes"]["data_sha256"] == saved.dataset.description.data_sha256
    assert written["hashes"]["weights_sha256"] == BACKBONE.sha256
    assert len(written["hashes"]["code_sha256"]) == 64
    assert written["data_set"] == {"processor": "CPU, float32"}


def test_the_weights_are_float32_in_torchvisions_keys(saved: Saved) -> None:
    state, _ = read_tensors(saved.folder / WEIGHTS)
    assert state.keys() == saved.network.state_dict().keys()
    assert {tensor.dtype for tensor in state.values()} == {torch.float32, torch.int64}


def test_saving_again_replaces_what_was_there(saved: Saved, tmp_path: Path) -> None:
    """A job that is stopped has its best model so far; the last one is the one that stays."""
    state = copy.deepcopy(saved.network.state_dict())
    first = save_artefact(tmp_path, state, saved.dataset, BACKBONE, Hyperparameters(), {}, check=False)
    assert first["check_photos"] == []
    state["fc.bias"] = torch.tensor([0.0, 0.0, 50.0])
    save_artefact(tmp_path, state, saved.dataset, BACKBONE, Hyperparameters(), {})
    assert predict_fn(saved.dataset.check_photos[0].read_bytes(), model_fn(str(tmp_path)))["class"] == "red"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["check", "code", "config.yaml", DESCRIPTION, WEIGHTS]


def test_an_unnamed_model_is_called_after_its_job(saved: Saved, copied: Path) -> None:
    assert load_model(copied).name == "unnamed"
    assert load_model(copied, "mine").name == "mine"
    fields = json.loads((copied / DESCRIPTION).read_text(encoding="utf-8")) | {"training_job": "a job"}
    (copied / DESCRIPTION).write_text(json.dumps(fields), encoding="utf-8")
    assert load_model(copied).name == "a job"


class Canary:
    """A pickle that would write a file when it is loaded."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.write_text, (self.file, "it ran"))


@pytest.mark.parametrize("protocol", [0, 2, None])
def test_a_pickle_in_place_of_the_weights_does_not_run(copied: Path, protocol: int | None) -> None:
    canary, weights = copied / "canary", copied / WEIGHTS
    weights.unlink()
    if protocol is None:
        torch.save({"fc.bias": Canary(canary)}, weights)
    else:
        weights.write_bytes(pickle.dumps(Canary(canary), protocol=protocol))
    with pytest.raises(WeightsError, match=r"model\.safetensors"):
        load_artefact(copied)
    assert not canary.exists()


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("fc.weight", None, "Missing key"),
        ("fc.weight", torch.zeros(3, 8), "size mismatch for fc.weight"),
        ("fc.bias", torch.zeros(2), "has 2 classes, but model.json names 3"),
        ("fc.bias", torch.tensor([0.0, float("nan"), 0.0]), r"not finite, first in fc\.bias"),
        ("layer1.0.conv1.weight", torch.full((64, 64, 1, 1), float("inf")), r"not finite, first in layer1\.0\.conv1\.weight"),
        ("extra", torch.zeros(1), "Unexpected key"),
    ],
)
def test_weights_of_another_model_are_refused(copied: Path, key: str, value: torch.Tensor | None, sentence: str) -> None:
    state, _ = read_tensors(copied / WEIGHTS)
    state.pop(key, None)
    write_tensors(copied / WEIGHTS, state | ({key: value} if value is not None else {}))
    with pytest.raises(WeightsError, match=sentence):
        load_artefact(copied)


@pytest.mark.parametrize("kept", [0, 7, 1000, 50_000_000])
def test_weights_that_are_cut_short_are_refused(copied: Path, kept: int) -> None:
    content = (copied / WEIGHTS).read_bytes()[:kept]
    (copied / WEIGHTS).unlink()
    (copied / WEIGHTS).write_bytes(content)
    with pytest.raises(WeightsError, match="cut short"):
        load_artefact(copied)


def test_missing_weights_are_named(copied: Path) -> None:
    (copied / WEIGHTS).unlink()
    with pytest.raises(WeightsError, match=r"model\.safetensors cannot be read"):
        load_artefact(copied)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"temperature": 0}, "temperature is 0.0; it must be a number above 0"),
        ({"temperature": -1.0}, "must be a number above 0"),
        ({"temperature": "warm"}, "does not describe a model"),
        ({"temperature": None}, "does not describe a model"),
        ({"backbone": {}}, "does not describe a model"),
        ({"backbone": {"stride": "v2"}}, r"stride is 'v2'; allowed: v1, v1\.5"),
        ({"preprocessing": {"resize": 256}}, "does not describe a model"),
        ({"schema_version": 1}, "not of schema version 2: train again"),
        ({"classes": ["blue", "green"]}, "has 3 classes, but model.json names 2"),
    ],
)
def test_a_description_that_cannot_be_right_is_refused(copied: Path, change: dict[str, Any], sentence: str) -> None:
    fields = json.loads((copied / DESCRIPTION).read_text(encoding="utf-8")) | change
    (copied / DESCRIPTION).write_text(json.dumps(fields), encoding="utf-8")
    with pytest.raises(WeightsError, match=sentence):
        load_artefact(copied)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"schema_version": 2}'])
def test_what_is_no_description_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / DESCRIPTION).write_text(content, encoding="utf-8")
    with pytest.raises(WeightsError, match=r"model\.json"):
        load_artefact(tmp_path)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"resize": 0}, "0 < crop <= resize"),
        ({"crop": -224}, "0 < crop <= resize"),
        ({"crop": 224.5}, "whole numbers"),
        ({"crop": 300}, "crop is 300 and resize 256"),
        ({"mean": [0.5, 0.5]}, "three finite numbers"),
        ({"mean": [0.5, 0.5, float("nan")]}, "three finite numbers"),
        ({"std": [0.2, 0.2, 0]}, "above 0"),
        ({"std": [0.2, float("inf"), 0.2]}, "three finite numbers"),
        ({"std": ["a", "b", "c"]}, "does not describe a model"),
    ],
)
def test_preprocessing_that_no_photo_could_go_through_is_refused(copied: Path, change: dict[str, Any], sentence: str) -> None:
    fields = json.loads((copied / DESCRIPTION).read_text(encoding="utf-8"))
    fields["preprocessing"] |= change
    (copied / DESCRIPTION).write_text(json.dumps(fields), encoding="utf-8")
    with pytest.raises(WeightsError, match=sentence):
        load_artefact(copied)


def test_what_a_killed_process_left_does_not_travel(saved: Saved, tmp_path: Path) -> None:
    """Whoever is killed while writing leaves an unfinished file, here of a name that is not written again."""
    for name in (WEIGHTS, DESCRIPTION, "model.of-another-version"):
        (tmp_path / f".{name}.unfinished").write_bytes(b"half")
    state = {key: value for key, value in saved.network.state_dict().items() if key.startswith("fc")}
    save_artefact(tmp_path, state, saved.dataset, BACKBONE, Hyperparameters(), {}, check=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["code", "config.yaml", DESCRIPTION, WEIGHTS]
