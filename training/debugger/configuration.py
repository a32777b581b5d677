"""The DebugHookConfig that the hook follows: our own, or the request's, with every interval and reduction that it does not give.

Runs in training jobs; needs no smdebug.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.debugger.intervals import NEVER, Intervals

COLLECTIONS: dict[str, str | None] = {
    "losses": None,
    "weights": None,
    "gradients": None,
    "labels": "^labels$",
    "predictions": "^predictions$",
}
"""What our own configuration saves, with the regular expressions of tensor names that smdebug does not know."""
FINE_TUNING: dict[str, str | None] = {"relu_input": ".*relu_input", "relu_output": ".*relu_output", "images": "^images$"}
"""What it also saves when the backbone is trained."""
REDUCTIONS = "min,max,mean,std,abs_mean,l2_norm"
"""What is saved of each weight and gradient: 0.6 MB; the tensors of a ResNet50 themselves take 200."""
KEPT = len(REDUCTIONS.split(","))
OF_EVALUATIONS = ("labels", "predictions", "images")
"""Collections that only evaluations have."""


def build_own_configuration(folder: Path, collections: Mapping[str, str | None]) -> dict[str, Any]:
    """Return the DebugHookConfig of a request without one: name -> regular expression, None if smdebug has its own."""
    named = [
        {"CollectionName": name, "CollectionParameters": {"include_regex": regex} if regex else {}} for name, regex in collections.items()
    ]
    return {"LocalPath": str(folder), "HookParameters": {}, "CollectionConfigurations": named}


def complete(configuration: Mapping[str, Any], every: Intervals) -> dict[str, Any]:
    """Return a DebugHookConfig with an interval for each collection and mode, and reductions for weights and gradients.

    What the configuration gives itself, for one collection or for all, stays as it is.
    """
    general = dict(configuration.get("HookParameters") or {})
    collections = [dict(each) for each in configuration.get("CollectionConfigurations") or [{"CollectionName": "losses"}]]
    for collection in collections:
        name, given = collection["CollectionName"], dict(collection.get("CollectionParameters") or {})
        ours = {**_set_interval("train", _train_interval(name, every)), **_set_interval("eval", _eval_interval(name, every))}
        missing = {key: value for key, value in ours.items() if not _sets_interval(key, general) and not _sets_interval(key, given)}
        if name in ("weights", "gradients") and "reductions" not in general:
            missing |= {"reductions": REDUCTIONS}
        collection["CollectionParameters"] = missing | given
    return {**configuration, "HookParameters": general, "CollectionConfigurations": collections}


def _train_interval(name: str, every: Intervals) -> int:
    own = {"losses": every.losses, "relu_input": every.activations, "relu_output": every.activations}
    return own.get(name, NEVER if name in OF_EVALUATIONS else every.parameters)


def _eval_interval(name: str, every: Intervals) -> int:
    if name in OF_EVALUATIONS:
        return every.predictions
    return NEVER if name in ("weights", "gradients", "biases", "relu_input", "relu_output") else 1


def _set_interval(mode: str, interval: int) -> dict[str, str]:
    if interval == NEVER:
        return {f"{mode}.start_step": str(NEVER), f"{mode}.save_interval": str(NEVER)}
    return {f"{mode}.save_interval": str(interval)}


def _sets_interval(key: str, parameters: Mapping[str, Any]) -> bool:
    """Return whether parameters say when to save in the mode of a key."""
    mode = key.partition(".")[0]
    return any(f"{prefix}{kind}" in parameters for prefix in (f"{mode}.", "") for kind in ("save_interval", "save_steps", "start_step"))
