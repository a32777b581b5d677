"""Trials of tensors that a test chooses, saved by smdebug's format through the jobs' hook, whole or as reductions."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.debugger.hook import build_hook, modes

Step = tuple[str, Mapping[str, Any]]
"""Mode, and the tensors of a step by name."""

COLLECTIONS = {
    "losses": None,
    "weights": None,
    "gradients": None,
    "relu_input": ".*relu_input",
    "relu_output": ".*relu_output",
    "tanh": ".*tanh_input|.*sigmoid_input",
    "labels": "^labels$",
    "predictions": "^predictions$",
    "images": "^images$",
}


def record(folder: Path, steps: Iterable[Step], reductions: Sequence[str] = (), *, ended: bool = False) -> str:
    """Save steps, and return their folder; with `reductions` only those of weights and gradients."""
    hook = build_hook(configuration(folder, reductions), folder.with_name(f"{folder.name}-configuration.json"), 0, 0)
    for mode, tensors in steps:
        hook.set_mode(getattr(modes, mode))
        hook.begin()
        for name, value in tensors.items():
            hook.record(name, torch.as_tensor(np.asarray(value)))
        hook.end()
    hook.close()
    if ended:
        folder.joinpath("training_job_end.ts").touch()
    return str(folder)


def configuration(folder: Path, reductions: Sequence[str]) -> dict[str, Any]:
    collections = [
        {
            "CollectionName": name,
            "CollectionParameters": {
                **({"include_regex": regex} if regex else {}),
                **({"reductions": ",".join(reductions)} if reductions and name in ("weights", "gradients") else {}),
            },
        }
        for name, regex in COLLECTIONS.items()
    ]
    return {"LocalPath": str(folder), "HookParameters": {"save_interval": "1"}, "CollectionConfigurations": collections}


def rule(name: str, **parameters: object) -> dict[str, Any]:
    """Return a rule's configuration, its values strings as the API has them."""
    return {"RuleConfigurationName": name, "RuleParameters": {key: str(value) for key, value in parameters.items()}}


def as_json(value: object) -> str:
    """Return JSON that any reader takes: no NaN in it."""
    return json.dumps(value, allow_nan=False)
