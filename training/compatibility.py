"""Makes torchvision and smdebug work beside versions that they were not built for.

Runs in the training and serving images and locally, wherever the model or the hook is imported.
Each repair does nothing where nothing is broken:

- torchvision from PyPI is linked to CUDA; beside a CPU-only torch its two registered operators are missing and the import fails.
- smdebug 1.0.34 predates numpy 2.3, protobuf 4 and Python 3.12, and imports pyinstrument, which only its unused profiler calls.
"""

import importlib
import importlib.util
import os
import sys
import warnings
from types import ModuleType
from typing import Any

import numpy as np
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


def import_smdebug() -> ModuleType:
    """Return `smdebug.pytorch`, repaired: its messages load, its writer accepts numpy 2.3 arrays.

    Raises:
        ImportError: smdebug, or something that it needs, is not on the path.
    """
    os.environ.setdefault("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "python")
    _stand_in_for_pyinstrument()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # smdebug is final: what it uses that is going away is ours to pin, not to fix
        if importlib.util.find_spec("distutils") is None:
            importlib.import_module("setuptools")  # brings its own distutils, gone from Python 3.12
        module = importlib.import_module("smdebug.pytorch")
    _repair_tensor_writer()
    return module


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


def _stand_in_for_pyinstrument() -> None:
    """Give smdebug the two names it imports; the profiler that would call them is never started.

    Also where pyinstrument is installed: the version that smdebug pins leaves an import hook behind that Python 3.12 no longer knows.
    """
    if "pyinstrument" in sys.modules:
        return
    package, renderers = ModuleType("pyinstrument"), ModuleType("pyinstrument.renderers")
    package.Profiler = _UnusedProfiler  # type: ignore[attr-defined]
    renderers.JSONRenderer = _UnusedProfiler  # type: ignore[attr-defined]
    sys.modules |= {package.__name__: package, renderers.__name__: renderers}


class _UnusedProfiler:
    """Refuses to be made."""

    def __init__(self, *_arguments: object, **_options: object) -> None:
        raise NotImplementedError("pyinstrument has a stand-in here: Python profiling through smdebug is not available")


class _ArrayWithToString(np.ndarray[Any, Any]):
    """A numpy array with the method that numpy 2.3 removed."""

    def tostring(self) -> bytes:
        return self.tobytes()


def _repair_tensor_writer() -> None:
    if hasattr(np.ndarray, "tostring"):
        return
    writer: Any = importlib.import_module("smdebug.core.writer")
    original = writer.make_tensor_proto
    if getattr(original, "accepts_numpy_2_3", False):
        return

    def make_tensor_proto(nparray_data: np.ndarray[Any, Any], tag: str) -> object:
        return original(nparray_data.view(_ArrayWithToString), tag)

    make_tensor_proto.accepts_numpy_2_3 = True  # type: ignore[attr-defined]
    writer.make_tensor_proto = make_tensor_proto
