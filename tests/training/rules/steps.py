"""Steps of made-up trainings for the rules: losses, weights and gradients by step."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tests.training.rules.recorded import Step

LOSS, WEIGHT, GRADIENT = "CrossEntropyLoss_output_0", "Net_fc.weight", "gradient/Net_fc.weight"


def losses(train: Sequence[float], valid: Sequence[float] = ()) -> list[Step]:
    """As many training steps an epoch as there are for each evaluation."""
    if not valid:
        return [("TRAIN", {LOSS: value}) for value in train]
    each = len(train) // len(valid)
    return [
        step
        for number, value in enumerate(valid)
        for step in (*losses(train[number * each : (number + 1) * each]), ("EVAL", {LOSS: value}))
    ]


def tensors(name: str, *values: Any, mode: str = "TRAIN") -> list[Step]:
    return [(mode, {name: np.asarray(value, dtype=np.float32)}) for value in values]


def falling(count: int) -> list[float]:
    return [0.8**number for number in range(count)]
