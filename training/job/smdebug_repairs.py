"""Makes smdebug 1.0.34 import and write beside versions that it was not built for, and without torch where only its tensors are read.

Runs in training jobs and locally, wherever smdebug is imported. It predates numpy 2.3, protobuf 4 and Python 3.12, and imports
pyinstrument, which only its unused profiler calls. Each repair does nothing where nothing is broken.
"""

import importlib
import importlib.util
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np


def import_smdebug_reader() -> ModuleType:
    """Return `smdebug`, whose core, trials and rules can be imported now; torch is left out where nobody has imported it yet.

    Raises:
        ImportError: smdebug, or something that it needs, is not on the path.
    """
    with _quiet(), _without_torch():
        module = importlib.import_module("smdebug")
        for name in ("smdebug.core.utils", "smdebug.trials", "smdebug.rules"):
            importlib.import_module(name)
    return module


def import_smdebug_hook() -> ModuleType:
    """Return `smdebug.pytorch`, whose writer accepts numpy 2.3 arrays.

    Raises:
        ImportError: smdebug, or something that it needs, is not on the path.
    """
    with _quiet():
        module = importlib.import_module("smdebug.pytorch")
        utils: Any = importlib.import_module("smdebug.core.utils")
        utils._torch_dist_imported = importlib.import_module("torch.distributed")  # it may have been left out before
    _repair_tensor_writer()
    return module


@contextmanager
def _quiet() -> Iterator[None]:
    """Make what smdebug imports importable; it is final: what it uses that is going away is ours to pin, not to fix."""
    os.environ.setdefault("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "python")
    _stand_in_for_pyinstrument()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if importlib.util.find_spec("distutils") is None:
            importlib.import_module("setuptools")  # brings its own distutils, gone from Python 3.12
        yield


@contextmanager
def _without_torch() -> Iterator[None]:
    """Have smdebug find no torch: it asks it for the number of the process alone, and importing it takes seconds and 200 MB."""
    if "torch" in sys.modules:
        yield
        return
    sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["torch"]


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
