"""One fault, one healthy training or one sound machine, judged: what the processes of `python -m benchmarks.faults` do."""

import os
from typing import Any

os.environ.setdefault("SMDEBUG_LOG_LEVEL", "error")  # before it is imported
os.environ.setdefault("SMDEBUG_TRAINING_END_DELAY_REFRESH", "0")  # trainings are over when they are judged

from benchmarks.faults.fault import Fault, Workplace
from benchmarks.faults.heads import HEADS
from benchmarks.faults.healthy import healthy
from benchmarks.faults.machines import MACHINES, judged, sound
from benchmarks.faults.networks import NETWORKS
from benchmarks.faults.recorded import Judged

FAULTS: tuple[Fault, ...] = (*HEADS, *NETWORKS, *MACHINES)
SUMMARY = "ProfilerReport"
"""Says what the other profiler rules say; it is told of, but neither finds nor alarms by itself."""


def find(place: Workplace, number: int) -> dict[str, Any]:
    """Plant a fault; return who found it, and who else spoke."""
    fault = FAULTS[number]
    said = fault.run(place)
    issues = [name for name in said.of("IssuesFound") if name != SUMMARY]
    details = {each.RuleConfigurationName: each.StatusDetails for each in said.statuses}
    control = fault.control(place).of("IssuesFound") if fault.control else ()
    return {
        "planted": fault.planted,
        "must_find": list(fault.found_by),
        "found": set(fault.found_by) <= set(issues) and not set(fault.found_by) & set(control),
        "others": [name for name in issues if name not in fault.found_by],
        "no_verdict": list(said.of("Error")),
        "details": {name: details.get(name) for name in fault.found_by},
    }


def train_healthy(place: Workplace, seed: int) -> dict[str, Any]:
    """Train one; return who spoke."""
    said = healthy(place, seed)
    return {"seed": seed, **alarms(said)}


def judge_sound(seed: int) -> dict[str, Any]:
    """Judge one machine; return who spoke."""
    return {"seed": seed, **alarms(judged(sound(seed), seed))}


def alarms(said: Judged) -> dict[str, Any]:
    """Return false alarms, with what they say, and rules without a verdict."""
    issues = {each.RuleConfigurationName: each.StatusDetails for each in said.statuses if each.RuleEvaluationStatus == "IssuesFound"}
    return {"alarms": {name: details for name, details in issues.items() if name != SUMMARY}, "no_verdict": list(said.of("Error"))}
