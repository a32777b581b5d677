"""Reads the state of each GPU from NVIDIA's management library, by ctypes, because the images have no Python bindings for it.

Runs in the sampler's process. Without the library or a GPU the list of states is empty.
"""

import ctypes
from dataclasses import dataclass
from typing import Any

LIBRARY = "libnvidia-ml.so.1"


class _Utilization(ctypes.Structure):
    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


class _Memory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


@dataclass(frozen=True)
class GpuState:
    """One GPU at one moment."""

    utilization: float
    """Percent of the last sample period in which a kernel ran."""
    memory: float
    """Percent of its memory in use."""


class Gpus:
    """The machine's GPUs."""

    def __init__(self, library: Any | None = None) -> None:
        """`library`: NVIDIA's, loaded; None to load it."""
        self._library: Any = library or _load()
        self._handles = self._find() if self._library else []

    def states(self) -> list[GpuState | None]:
        """Return each GPU's state; None for a GPU that does not respond."""
        return [self._state(handle) for handle in self._handles]

    def _find(self) -> list[ctypes.c_void_p]:
        count = ctypes.c_uint()
        if self._library.nvmlInit_v2() or self._library.nvmlDeviceGetCount_v2(ctypes.byref(count)):
            return []
        handles = [ctypes.c_void_p() for _ in range(count.value)]
        return [handle for number, handle in enumerate(handles) if not self._get_handle(number, handle)]

    def _get_handle(self, number: int, handle: ctypes.c_void_p) -> int:
        return int(self._library.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(number), ctypes.byref(handle)))

    def _state(self, handle: ctypes.c_void_p) -> GpuState | None:
        used, memory = _Utilization(), _Memory()
        if self._library.nvmlDeviceGetUtilizationRates(handle, ctypes.byref(used)):
            return None
        if self._library.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory)) or not memory.total:
            return None
        return GpuState(float(used.gpu), 100 * memory.used / memory.total)


def _load() -> Any | None:
    try:
        return ctypes.CDLL(LIBRARY)
    except OSError:
        return None
