"""SimilarAcrossRuns: two runs that should differ saved the same tensors.

Runs wherever rules are evaluated and can read the other run's tensors.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from smdebug.trials import create_trial

from training.rules.saved_tensors import SavedStep, has_collections, split_names
from training.rules.tensor_rule import Finding, TensorFilter, TensorRule


class SimilarAcrossRuns(TensorRule):
    """Met when a tensor is numpy.allclose to the one of the same name, mode and step in another trial.

    Each mode's first step is skipped, because runs with the same first weights agree there. All reductions that both saved must agree.
    """

    advice = "Check that data, seed and hyperparameters of the two runs are as intended: one of the runs adds no information."

    def __init__(
        self,
        base_trial: Any,
        other_trials: str | Sequence[Any],
        collection_names: str | Sequence[str] | None = None,
        tensor_regex: str | Sequence[str] | None = None,
    ) -> None:
        """`other_trials`: trials, or the folders or s3:// prefixes of their tensors, several separated by commas."""
        names = split_names(other_trials) if isinstance(other_trials, str) else other_trials
        if not names:
            raise ValueError("SimilarAcrossRuns needs other_trials: the folder or s3:// prefix of another run's tensors")
        missing = [each for each in names if isinstance(each, str) and not has_collections(each)]
        if missing:
            raise ValueError(f"no tensors were saved in {missing[0]}: give other_trials the folder of a run that has a debug-output")
        others = [create_trial(each) if isinstance(each, str) else each for each in names]
        super().__init__(base_trial, other_trials=others)
        self.watched = TensorFilter(collection_names, tensor_regex)
        self.compares = f"{self.watched} that the other run saved at the same step"

    def look(self, step: SavedStep) -> list[Finding] | None:
        """Compare each tensor saved at this step with those of the other runs."""
        if step.number == 0:
            return None
        compared = {
            name: same
            for other in self.other_trials
            if (twin := self._twin(other, step)) is not None
            for name in self.watched.of(step)
            if name in twin.names and (same := are_alike(name, step, twin)) is not None
        }
        found = [Finding(name, 0.0, 0.0, f"{name} is the same as in the other run") for name, same in compared.items() if same]
        return found if compared else None

    def _twin(self, other: Any, step: SavedStep) -> SavedStep | None:
        """Return the same step of the other run, None if it does not exist."""
        found = other.global_step(step.key, step.number)
        return None if found is None else SavedStep(other, found)


def are_alike(name: str, one: SavedStep, other: SavedStep) -> bool | None:
    """Return whether two runs have the same tensor, None if they saved nothing comparable."""
    mine, theirs = one.value(name), other.value(name)
    if mine is not None and theirs is not None:
        return mine.shape == theirs.shape and bool(np.allclose(mine, theirs))
    shared = sorted(set(one.summary(name)) & set(other.summary(name)))
    if not shared:
        return None
    return bool(np.allclose([one.summary(name)[key] for key in shared], [other.summary(name)[key] for key in shared]))
