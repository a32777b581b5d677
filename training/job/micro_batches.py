"""As many photos at once as the memory holds: a batch goes through in parts, and the parts get smaller where they did not fit.

Runs in training jobs. Gradients add up over the parts, so a batch of 512 is a batch of 512 on any machine.
"""

from collections.abc import Callable
from typing import TypeVar

import torch

from training.job.refusal import InputRefusedError

Result = TypeVar("Result")

SHORTAGES = ("can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
"""Words of errors that mean it, beside the classes that do."""


class Parts:
    """How many photos go through the network at once; halved when they do not fit, and never raised again."""

    def __init__(self, photos: int) -> None:
        """`photos`: to begin with."""
        self.photos = photos

    def run(self, work: Callable[[int], Result]) -> Result:
        """Return work(photos at once), done again from its start with half as many each time the memory is not enough.

        Raises:
            InputRefusedError: not even one photo fits.
        """
        while True:
            try:
                return work(self.photos)
            except (RuntimeError, MemoryError) as error:
                if not is_shortage(error):
                    raise
                if self.photos == 1:
                    raise InputRefusedError(
                        "the memory does not hold the network with a single photo: take an instance type with more memory, "
                        "or train less of the network (trainable: head needs least, then last_stage)"
                    ) from error
            self.photos = max(1, self.photos // 2)
            torch.cuda.empty_cache()
            print(f"out of memory: the step is done again with {self.photos} photos at once", flush=True)


def is_shortage(error: RuntimeError | MemoryError) -> bool:
    """A GPU's shortage has a class of its own, that of its libraries and a CPU's only a text."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(text in str(error) for text in SHORTAGES)
