"""Runs a batch in parts that fit into memory: if a part does not fit, the parts are halved.

Runs in training jobs. Gradients add up over the parts, so a batch of 512 is a batch of 512 on any machine.
"""

from collections.abc import Callable
from typing import TypeVar

import torch

from training.job.failure import InputRefusedError

Result = TypeVar("Result")

SHORTAGES = ("can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
"""Texts of errors that mean a shortage but have no class of their own."""


class Parts:
    """How many photos go through the network at once: halved when they do not fit, never raised again."""

    def __init__(self, photos: int) -> None:
        """`photos`: the first number."""
        self.photos = photos

    def run(self, work: Callable[[int], Result]) -> Result:
        """Return work(photos at once); each time the memory is not enough, run it again from its start with half as many.

        Raises:
            InputRefusedError: a single photo does not fit.
        """
        while True:
            try:
                return work(self.photos)
            except (RuntimeError, MemoryError) as error:
                if not is_shortage(error):
                    raise
                if self.photos == 1:
                    raise InputRefusedError(
                        "the network does not fit into memory with a single photo: use an instance type with more memory, "
                        "or train less of the network (trainable: head needs least, then last_stage)"
                    ) from error
            self.photos = max(1, self.photos // 2)
            torch.cuda.empty_cache()
            print(f"out of memory: the step runs again with {self.photos} photos at once", flush=True)


def is_shortage(error: RuntimeError | MemoryError) -> bool:
    """Return whether an error means that memory is short: a GPU's shortage has a class, that of its libraries and of a CPU only a text."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(text in str(error) for text in SHORTAGES)
