"""Tests of the calls of NVIDIA's management library, against one that is made up."""

from typing import Any

from training.profiler.gpus import Gpus, GpuState


class FakeNvml:
    """Answers as libnvidia-ml does: 0 is success, values go to where the caller says."""

    def __init__(self, gpus: list[tuple[int, int, int]], *, init: int = 0, broken: int | None = None) -> None:
        """`gpus`: utilization, bytes of memory taken, bytes of memory. `broken`: the GPU that does not answer."""
        self.gpus, self.init, self.broken = gpus, init, broken

    def nvmlInit_v2(self) -> int:  # noqa: N802 - the library's name
        return self.init

    def nvmlDeviceGetCount_v2(self, count: Any) -> int:  # noqa: N802 - the library's name
        count._obj.value = len(self.gpus)
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, number: Any, handle: Any) -> int:  # noqa: N802 - the library's name
        handle._obj.value = number.value + 1
        return 0

    def nvmlDeviceGetUtilizationRates(self, handle: Any, rates: Any) -> int:  # noqa: N802 - the library's name
        rates._obj.gpu = self.gpus[handle.value - 1][0]
        return 15 if self.broken == handle.value - 1 else 0

    def nvmlDeviceGetMemoryInfo(self, handle: Any, memory: Any) -> int:  # noqa: N802 - the library's name
        _, memory._obj.used, memory._obj.total = self.gpus[handle.value - 1]
        return 0


def test_each_gpu_is_asked() -> None:
    gpus = Gpus(FakeNvml([(97, 12 << 30, 16 << 30), (3, 1 << 30, 16 << 30)]))
    assert gpus.states() == [GpuState(97.0, 75.0), GpuState(3.0, 6.25)]


def test_a_gpu_that_does_not_answer_keeps_its_number() -> None:
    assert Gpus(FakeNvml([(97, 1, 2), (3, 1, 4)], broken=0)).states() == [None, GpuState(3.0, 25.0)]


def test_a_library_without_a_driver_has_no_gpus() -> None:
    assert Gpus(FakeNvml([(97, 1, 2)], init=9)).states() == []


def test_without_a_library_there_are_no_gpus() -> None:
    assert all(state is None or 0 <= state.utilization <= 100 for state in Gpus().states())
