"""Makes torchvision work beside a torch that it was not built for.

Runs in the training and serving images and locally, wherever the model is imported; does nothing where nothing is broken. torchvision from
PyPI is linked to CUDA; beside a CPU-only torch its two registered operators are missing and the import fails.
"""

import importlib
import sys
from types import ModuleType

import torch

_TORCHVISION_OPERATORS = ("nms", "qnms")
_libraries: list[torch.library.Library] = []
"""Keeps the operator definitions alive: torch drops them with the object that made them."""


def import_torchvision() -> ModuleType:
    """Return torchvision's models module; defines the two operators first where its own library cannot load.

    Raises:
        RuntimeError: torchvision fails for any other reason.
    """
    try:
        return importlib.import_module("torchvision.models")
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    _forget("torchvision")
    _define_torchvision_operators()
    return importlib.import_module("torchvision.models")


def _forget(package: str) -> None:
    """Drop a half-imported package, so that the next import starts afresh."""
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        del sys.modules[name]


def _define_torchvision_operators() -> None:
    if _libraries:
        return
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for operator in _TORCHVISION_OPERATORS:
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
    _libraries.append(library)
