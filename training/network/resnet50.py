"""ResNet50: built with the strides of its weights, which are read from files without running code in them.

Runs in the training and serving images. Weights from torchvision have stride "v1.5" (the 3x3 convolution halves the image),
weights from Keras or Caffe "v1" (the 1x1 convolution before it does). Keys and shapes agree, so the wrong stride would load silently
and cost ten percentage points of accuracy.
"""

import hashlib
import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from training.contract import STRIDES, WEIGHTS_DESCRIPTION
from training.network.torchvision_repairs import import_torchvision

FEATURES = 2048
"""Numbers that the backbone computes per photo."""


class WeightsError(ValueError):
    """A weights file cannot be used; the text says why and what to change."""


@dataclass(frozen=True)
class BackboneDescription:
    """The content of resnet50.json in the weights channel, which describes the file beside it."""

    file: str
    """Name of the state_dict file."""
    sha256: str
    """Hex digest of that file."""
    stride: str
    """One of STRIDES."""
    source: str
    """Where the weights come from, a sentence."""

    def __post_init__(self) -> None:
        """Reject an unknown stride, and a file in another folder; digests are compared in lower case."""
        object.__setattr__(self, "sha256", str(self.sha256).lower())
        if self.stride not in STRIDES:
            raise WeightsError(f"{WEIGHTS_DESCRIPTION}: stride is {self.stride!r}; allowed: {', '.join(STRIDES)}")
        if Path(self.file).name != self.file:
            raise WeightsError(f"{WEIGHTS_DESCRIPTION}: file is {self.file!r}; it must be the name of a file in the same folder")


def build_resnet50(stride: str, classes: int) -> nn.Module:
    """Return a ResNet50 with random weights: float32 [n, 3, 224, 224] -> float32 [n, classes]."""
    with torch.device("meta"):
        network = import_torchvision().resnet50(weights=None, num_classes=classes)
    if stride == "v1":
        for stage in (network.layer2, network.layer3, network.layer4):
            stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    return cast("nn.Module", network.eval())


def read_state(file: Path) -> dict[str, torch.Tensor]:
    """Read a plain state_dict as float32; no code in the file is run.

    Raises:
        WeightsError: missing, not a plain state_dict, or with values that are not finite.
    """
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        first_line = str(error).partition("\n")[0]
        raise WeightsError(f"{file.name} is not a plain state_dict that loads without running code: {first_line}") from error
    if not isinstance(state, dict) or not all(isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in state.items()):
        raise WeightsError(f"{file.name} holds {type(state).__name__}, not a state_dict of tensors: save model.state_dict()")
    values = {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
    broken = [key for key, value in values.items() if not torch.isfinite(value).all()]
    if broken:
        raise WeightsError(f"{file.name} has values that are not finite, first in {broken[0]}: the file is damaged")
    return values


def fill(network: nn.Module, state: dict[str, torch.Tensor], name: str) -> nn.Module:
    """Load a state_dict into a network; every key and shape must match.

    Raises:
        WeightsError: a key is missing, unknown or of another shape.
    """
    try:
        network.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as error:
        raise WeightsError(f"{name} is not a ResNet50 in torchvision's layout: {' '.join(str(error).split())[:300]}") from error
    return network.requires_grad_(False).eval()


def load_backbone(folder: Path) -> tuple[nn.Module, BackboneDescription]:
    """Return the frozen ResNet50 whose output is its features, float32 [n, FEATURES], and its description.

    Raises:
        WeightsError: the description or the file is missing, wrong, or not the described file.
    """
    description = _read_description(folder / WEIGHTS_DESCRIPTION)
    file = folder / description.file
    if not file.is_file():
        raise WeightsError(f"the weights channel lacks {description.file}, which {WEIGHTS_DESCRIPTION} names")
    _check_digest(file, description.sha256)
    state = {key: value for key, value in read_state(file).items() if not key.startswith("fc.")}
    network = build_resnet50(description.stride, classes=1)
    network.fc = nn.Identity()
    for name, buffer in network.named_buffers():
        if name.endswith("num_batches_tracked"):
            state.setdefault(name, torch.zeros(buffer.shape, dtype=buffer.dtype))  # older files lack it; nothing reads it
    return fill(network, state, file.name), description


def fold_batch_norm(network: nn.Module) -> nn.Module:
    """Merge each BatchNorm of a frozen ResNet into the convolution before it, in place: the same outputs, a fifth faster on a CPU."""
    modules = dict(network.named_children())
    for norm, convolution in (("bn1", "conv1"), ("bn2", "conv2"), ("bn3", "conv3"), ("1", "0")):
        if isinstance(modules.get(norm), nn.BatchNorm2d):
            merged = fuse_conv_bn_eval(cast("nn.Conv2d", modules[convolution]), cast("nn.BatchNorm2d", modules[norm]))
            setattr(network, convolution, merged)
            setattr(network, norm, nn.Identity())
    for child in network.children():
        fold_batch_norm(child)
    return network


def _read_description(file: Path) -> BackboneDescription:
    try:
        fields: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return BackboneDescription(**fields)
    except FileNotFoundError as error:
        raise WeightsError(
            f"the weights channel lacks {file.name}: the state machine puts it there, so start the job through it"
        ) from error
    except (json.JSONDecodeError, TypeError) as error:
        raise WeightsError(f"{file.name} must hold file, sha256, stride and source, each once: {error}") from error


def _check_digest(file: Path, expected: str) -> None:
    with file.open("rb") as stream:
        got = hashlib.file_digest(stream, "sha256").hexdigest()
    if got != expected:
        raise WeightsError(f"{file.name} has sha256 {got}, but {WEIGHTS_DESCRIPTION} names {expected}: the file was changed or cut short")
