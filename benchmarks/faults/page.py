"""The page of the result. Used by `python -m benchmarks.faults`."""

from collections.abc import Mapping
from typing import Any

from benchmarks.figures import table

WHAT = (
    "Faults are planted in trainings that really run, on real cached features or photos, through the training job's own loop and hook; "
    "those of machines in samples and step times, through the job's own writers. The rules are those of training jobs, with the parameters "
    "that our jobs pass. A fault is found when every rule that is named for it finds an issue; where that is none of the default rules, it "
    "must besides be silent about the same training without the fault. Healthy trainings: a search of four jobs for the lowest validation "
    "loss, over the learning rates and batch sizes of a tuning job, on classes drawn from the data sets, then the final job with sampler "
    "and profiler; one in twenty trains the network's last stage. A false alarm is any issue that any default rule finds. The parameters, "
    "and the rules that are named, were settled on these same faults, and on other seeds of healthy trainings: the faults show what the "
    "rules can find, the healthy seeds how often they are wrong."
)


def describe(measured: Mapping[str, Any]) -> str:
    """Return the page."""
    runs = {name: measured[name] for name in ("healthy_trainings", "sound_machines")}
    figures = [["planted faults that were found", f"{measured['found']} of {measured['planted']}"]]
    for name, summary in runs.items():
        figures.append([f"{name.replace('_', ' ')} with a false alarm", f"{summary['with_false_alarms']} of {summary['runs']}"])
    rows = [
        [each["planted"], _listed(each["must_find"]) + ("" if each["found"] else " **missed**"), _listed(each["others"])]
        for each in measured["faults"]
    ]
    parts = [
        WHAT,
        table(["what", "figure"], figures),
        table(["planted", "found by", "others that spoke"], rows),
        *(_told(name.replace("_", " "), summary) for name, summary in runs.items()),
    ]
    return "\n\n".join(part.strip() for part in parts if part)


def _told(name: str, summary: Mapping[str, Any]) -> str:
    """Return what of the healthy runs is not silence."""
    lines = [f"- seed {run['seed']}: {rule}: {details}" for run in summary["alarms"] for rule, details in run["alarms"].items()]
    silent = [f"{rule} in {count}" for rule, count in sorted(summary["without_verdict_by_rule"].items())]
    if silent:
        lines.append(f"- without a verdict, because there was nothing or too little to compare: {', '.join(silent)}")
    return f"Of {summary['runs']} {name}:\n\n" + "\n".join(lines) if lines else ""


def _listed(names: list[str]) -> str:
    return ", ".join(names)
