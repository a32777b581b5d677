"""From the bytes of a photo to the probability of each class: used by the endpoint and for the artefact's expected predictions.

Runs in the training and serving images, on a GPU if there is one.
"""

from dataclasses import dataclass

import torch
from torch import nn

from training.data.preprocessing import Preprocessing, read_photo
from training.network.resnet50 import fold_batch_norm


@dataclass(frozen=True)
class Model:
    """A loaded model."""

    network: nn.Module
    """On the device, BatchNorm folded: float32 [n, 3, crop, crop] -> float32 [n, classes]."""
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    temperature: float
    """Logits are divided by it before the softmax."""
    name: str
    """The name in responses."""


def device() -> torch.device:
    """Return the GPU if there is one, otherwise the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def prepare_network(network: nn.Module) -> nn.Module:
    """Fold and place a plain ResNet50, in place: the same outputs, faster."""
    torch.backends.cudnn.allow_tf32 = False  # the default rounds to 10 bits: probabilities would differ from those of a CPU
    return fold_batch_norm(network).to(device(), memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


@torch.inference_mode()
def logits(model: Model, pixels: torch.Tensor) -> torch.Tensor:
    """Return float32 [n, classes] of float32 [n, 3, crop, crop]."""
    values: torch.Tensor = model.network(pixels.to(device(), memory_format=torch.channels_last))
    return values.cpu()


@torch.inference_mode()
def probabilities(model: Model, photo: bytes) -> torch.Tensor:
    """Return float32 [classes] of a photo's file.

    Raises:
        PhotoError: the bytes are not a readable photo.
    """
    pixels = model.preprocessing(read_photo(photo)).unsqueeze(0)
    return (logits(model, pixels) / model.temperature).softmax(dim=1)[0]
