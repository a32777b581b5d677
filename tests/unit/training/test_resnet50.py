"""Weights: the right strides, nothing run on loading, nothing damaged accepted. Run: `make test`."""

import copy
import hashlib
import pickle
from pathlib import Path

import pytest
import torch

from tests.fixtures.training.jobs import describe_weights
from training.network.resnet50 import FEATURES, WeightsError, build_resnet50, fold_batch_norm, load_backbone, read_state
from training.serving.artefact import load_artefact


class Canary:
    """A pickle that would write a file when it is loaded."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.write_text, (self.file, "it ran"))


def test_half_precision_weights_become_a_float32_backbone(weights: Path) -> None:
    backbone, description = load_backbone(weights)
    assert description.stride == "v1.5"
    assert {parameter.dtype for parameter in backbone.parameters()} == {torch.float32}
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    assert backbone(torch.zeros(1, 3, 64, 64)).shape == (1, FEATURES)


def test_a_digest_may_be_written_in_capitals(tmp_path: Path, weights: Path) -> None:
    """And is then the one that the data set names."""
    digest = hashlib.sha256((weights / "resnet50.pth").read_bytes()).hexdigest()
    (tmp_path / "resnet50.pth").symlink_to(weights / "resnet50.pth")
    assert load_backbone(describe_weights(tmp_path, sha256=digest.upper()))[1].sha256 == digest


def test_the_stride_variant_changes_the_network_not_its_keys() -> None:
    torchvision, keras = build_resnet50("v1.5", 3), build_resnet50("v1", 3)
    assert torchvision.state_dict().keys() == keras.state_dict().keys()
    strides = {name: module.stride for name, module in keras.named_modules() if isinstance(module, torch.nn.Conv2d)}
    for stage in ("layer2", "layer3", "layer4"):
        assert (strides[f"{stage}.0.conv1"], strides[f"{stage}.0.conv2"]) == ((2, 2), (1, 1))


def test_folding_batch_norm_keeps_the_outputs(weights: Path) -> None:
    backbone, _ = load_backbone(weights)
    photos = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected, folded = backbone(photos), fold_batch_norm(copy.deepcopy(backbone))(photos)
    assert torch.allclose(folded, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in fold_batch_norm(backbone).modules())


def test_a_pickle_with_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    torch.save({"fc.weight": Canary(canary)}, tmp_path / "model.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Canary(canary), protocol=2))
    for name in ("model.pth", "plain.pth"):
        with pytest.raises(WeightsError, match="without running code"):
            read_state(tmp_path / name)
    assert not canary.exists()


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, {1: torch.zeros(1)}])
def test_what_is_no_state_dict_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "model.pth")
    with pytest.raises(WeightsError, match="not a state_dict"):
        read_state(tmp_path / "model.pth")


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    torch.save({"fc.bias": torch.tensor([float("nan")])}, tmp_path / "model.pth")
    with pytest.raises(WeightsError, match=r"not finite, first in fc\.bias"):
        read_state(tmp_path / "model.pth")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"garbage"])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.pth").write_bytes(content)
    with pytest.raises(WeightsError, match=r"model\.pth"):
        read_state(tmp_path / "model.pth")


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(3)}, tmp_path / "resnet50.pth")
    with pytest.raises(WeightsError, match="not a ResNet50"):
        load_backbone(describe_weights(tmp_path))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"stride": "v2"}, "allowed: v1, v1.5"),
        ({"file": "../x.pth"}, "name of a file"),
        ({"extra": "1"}, "must hold"),
        ({"file": "a.pth"}, "lacks a.pth"),
    ],
)
def test_a_wrong_description_is_refused(tmp_path: Path, changes: dict[str, str], sentence: str) -> None:
    (tmp_path / "resnet50.pth").write_bytes(b"x")
    with pytest.raises(WeightsError, match=sentence):
        load_backbone(describe_weights(tmp_path, **changes))


@pytest.mark.parametrize(
    "content", ["", "[]", '{"schema_version": 2}', '{"schema_version": 1}', '{"schema_version": 1, "classes": ["a"], "backbone": {}}']
)
def test_a_description_of_another_version_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "model.json").write_text(content)
    with pytest.raises(WeightsError, match=r"model\.json"):
        load_artefact(tmp_path)
