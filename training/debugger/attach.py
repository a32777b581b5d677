"""Attaches SageMaker Debugger to a training: saves its tensors, has rules evaluate them, and never stops the training by a fault.

Runs in training jobs. AWS's images no longer hold smdebug, so the source archive brings it. If the request has a DebugHookConfig,
SageMaker writes it to input/config/debughookconfig.json and the hook follows it; otherwise our own configuration applies. The rules run
in a separate process beside the training, unless the service runs them.
"""

import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from training.contract.hyperparameters import Hyperparameters
from training.debugger.activations import Activations, channels
from training.debugger.configuration import COLLECTIONS, FINE_TUNING, KEPT, build_own_configuration, complete
from training.debugger.degraded import note_degraded
from training.debugger.interface import Debugger, NoDebugger, Watched
from training.debugger.intervals import Intervals, compute_intervals
from training.debugger.recorder import JobDebugger
from training.debugger.rule_results import select_debugger_rules
from training.rule_evaluation.watch import RuleWatch
from training.settings import BASE, Folders

if TYPE_CHECKING:
    from training.debugger.hook import Hook

SERVICE_FOLDER = Path("/opt/ml/output/tensors")
"""Where the service expects tensors unless the request names another folder."""
UNUSED = ("CHECKPOINT_CONFIG_FILE_PATH", "SMPROFILER_CONFIG_PATH")
"""Variables that make smdebug read all checkpoints at each step, or start its own profiler beside ours: both must not happen."""


def attach_debugger(settings: Hyperparameters, folders: Folders, watched: Watched, steps_per_epoch: int, done: int = 0) -> Debugger:
    """Make the requested debugger, start its rules, and return what the loop calls.

    Args:
        settings: mode and rules; the save intervals follow from the rest.
        folders: where our own configuration saves tensors, and where the rules write.
        watched: what is recorded.
        steps_per_epoch: training steps.
        done: epochs that an earlier run of the job completed; its tensors of these epochs are kept and evaluated with the new ones.
    """
    requested = find_configuration()
    if requested is None and settings.debugger == "off":
        return NoDebugger()
    rules = select_debugger_rules(settings)
    if requested is None and settings.debugger == "managed":
        return NoDebugger("the request has no DebugHookConfig", rules)
    os.environ.setdefault("SMDEBUG_LOG_LEVEL", "warning")
    for unused in UNUSED:
        os.environ[unused] = f"{os.devnull}/unused"
    try:
        hook, every = _build(settings, folders, watched, steps_per_epoch, requested, done)
    except Exception as error:  # noqa: BLE001 - whatever Python, numpy, protobuf or the disk raises, the training continues
        problem = f"the hook cannot be made: {type(error).__name__}: {error}"
        note_degraded(_find_folder(requested) if requested else folders.debug_output, problem)
        return NoDebugger(problem, rules)
    debugger = JobDebugger(hook, watched, Activations(watched.network, every.photos))
    if rules:
        debugger.start_rules(rules, RuleWatch(), folders.rule_output)
    return debugger


def _build(
    settings: Hyperparameters, folders: Folders, watched: Watched, steps_per_epoch: int, requested: Path | None, done: int
) -> tuple["Hook", Intervals]:
    """Return the requested hook, or our own, and its save intervals."""
    from training.debugger.hook import build_hook, has_saved_gradient  # needs smdebug

    every = compute_intervals(
        head_only=settings.trainable == "head",
        epochs=settings.epochs,
        steps_per_epoch=steps_per_epoch,
        reductions=KEPT * 2 * sum(map(has_saved_gradient, watched.parameters)),
        channels=channels(watched.network),
        evaluated=watched.evaluated,
        classes=watched.classes,
    )
    collections = COLLECTIONS if settings.trainable == "head" else COLLECTIONS | FINE_TUNING
    given = json.loads(requested.read_text(encoding="utf-8")) if requested else build_own_configuration(folders.debug_output, collections)
    with tempfile.TemporaryDirectory() as folder:
        return build_hook(complete(given, every), Path(folder, "debughookconfig.json"), done * steps_per_epoch, done), every


def _find_folder(requested: Path) -> Path | None:
    """Return the folder of tensors that a request's configuration names; None if it cannot be read."""
    with suppress(OSError, ValueError, TypeError, AttributeError):
        return Path(json.loads(requested.read_text(encoding="utf-8")).get("LocalPath", SERVICE_FOLDER))
    return None


def find_configuration(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Return the request's hook configuration; None if it has none."""
    default = Path(environment.get("SAGEMAKER_BASE_DIR", BASE)) / "input" / "config" / "debughookconfig.json"
    file = Path(environment.get("SMDEBUG_CONFIG_FILE_PATH", default))
    return file if file.is_file() else None
