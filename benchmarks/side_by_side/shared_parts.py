"""What every peer is given and what it gives back: folders, the network with the shared weights, the line that reports its predictions.

Runs in each peer's own virtual environment, with this repository on its path. Only torch, torchvision and numpy are needed.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from benchmarks.side_by_side import RESULT
from training.contract import WEIGHTS_DESCRIPTION
from training.network.resnet50 import FEATURES, build_resnet50, read_state
from training.network.torchvision_repairs import import_torchvision


@dataclass(frozen=True)
class Task:
    """One run: learn from train, choose by valid if at all, say what the test photos show."""

    photos: Path
    """Folder with train, valid and test, each of class folders."""
    weights: Path
    """Folder with the description of the backbone and its file."""
    scratch: Path
    """Empty folder to write into."""
    seed: int


def read_task() -> Task:
    """Parse the command line."""
    parser = argparse.ArgumentParser()
    for name in ("photos", "weights", "scratch"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    return Task(**vars(parser.parse_args()))


def pretrained_resnet50(weights: Path) -> nn.Module:
    """Torchvision's ResNet50 with the shared weights and the strides that they were trained with; its last layer keeps 1,000 classes."""
    description = json.loads((weights / WEIGHTS_DESCRIPTION).read_text(encoding="utf-8"))
    state = read_state(weights / description["file"])
    network = build_resnet50(description["stride"], classes=1000)
    for name, buffer in network.named_buffers():
        if name.endswith("num_batches_tracked"):
            state.setdefault(name, torch.zeros(buffer.shape, dtype=buffer.dtype))
    if "fc.weight" not in state:
        state |= {"fc.weight": torch.zeros(1000, FEATURES), "fc.bias": torch.zeros(1000)}
    network.load_state_dict(state, strict=True, assign=True)
    return network.requires_grad_(True)


def print_result(shown: Sequence[int], called: Sequence[int]) -> None:
    """Report the test photos' classes and what the model takes them for, each as indices."""
    from sklearn.metrics import accuracy_score, f1_score

    measured = {"test_accuracy": float(accuracy_score(shown, called)), "test_macro_f1": float(f1_score(shown, called, average="macro"))}
    print(RESULT + json.dumps({**measured, "test_photos": len(shown)}), flush=True)


import_torchvision()  # before a peer imports torchvision by itself
