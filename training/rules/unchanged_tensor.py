"""UnchangedTensor: weights that stay the same although the job trains.

Runs in training jobs after the training.
"""

from typing import Any

import numpy as np

from training.rules.tensor_rule import TensorRule, modes


class UnchangedTensor(TensorRule):
    """Met when a tensor equals itself over `num_steps` saved training steps, within tolerances.

    Of tensors saved as reductions the reductions are compared.
    """

    def __init__(
        self,
        base_trial: Any,
        collection_names: tuple[str, ...] = ("weights",),
        num_steps: int = 3,
        rtol: float = 1e-5,
        atol: float = 1e-8,
        equal_nan: bool = False,
    ) -> None:
        """`rtol`, `atol`, `equal_nan`: as numpy.allclose has them."""
        super().__init__(base_trial)
        self.needs = self.collection_names = tuple(collection_names)
        self.num_steps = num_steps
        self.compares = f"{' and '.join(self.collection_names)} saved at {num_steps} training steps"
        self._tolerances: dict[str, Any] = {"rtol": rtol, "atol": atol, "equal_nan": equal_nan}

    def look(self, mode: Any, step: int) -> str | None:
        """Compare the tensors saved at this training step with the saved steps before it."""
        if mode != modes.TRAIN:
            return None
        names = sorted({name for collection in self.collection_names for name in self.names(collection)})
        compared = {name: same for name in names if (same := self._is_unchanged(name, step)) is not None}
        unchanged = ", ".join(name for name, same in compared.items() if same)
        if unchanged:
            return f"{unchanged} did not change over {self.num_steps} saved steps"
        return "" if compared else None

    def _is_unchanged(self, name: str, step: int) -> bool | None:
        """Compare the steps; None where too few were saved, or nothing that can be compared."""
        saved = [other for other in self.steps(name, modes.TRAIN) if other <= step]
        if step not in saved or len(saved) < self.num_steps:
            return None
        values = [np.array(list(self.reductions(name, modes.TRAIN, other).values())) for other in saved[-self.num_steps :]]
        if not all(map(len, values)):
            return None
        return all(np.allclose(values[-1], value, **self._tolerances) for value in values[:-1])
