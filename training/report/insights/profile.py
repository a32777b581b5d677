"""What the profiler says: where the time of a step goes, what the machine waits for, what is about to run out.

Runs in the final training job, called by training/report/insights/rank.py. In a job of a minute or two little of it is worth changing:
notes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from training.report.insights.insight import Insight, clean, counted, evidence, named, unjudged
from training.report.tables import percent

SHORT = 120.0
"""Seconds of training below which a faster job saves nothing worth the work."""
WAITING = 0.3
"""Part of a training step that is spent on getting its photos from which it is told."""
IDLE = 40.0
"""Percent of a GPU in use, in the mean, below which it is told."""
SAVING = 0.1
"""Part of a training step that saving tensors takes from which it is told."""
FULL = 90.0
"""Percent of the memory in use from which it is told."""


@dataclass(frozen=True)
class Meaning:
    """What a profiler rule's finding means."""

    what: str
    why: str
    change: str
    explains: tuple[str, ...] = ()
    """Rules that find an issue for the same cause: they are named beside this one, not told again."""
    harms: bool = False
    """Whether it may end a job, however short it was."""


MEANINGS: dict[str, Meaning] = {
    "GPUMemoryIncrease": Meaning(
        "The GPU's memory fills up more and more.",
        "A longer job would end with an out-of-memory error, after all the time paid for.",
        "Look for tensors that are kept from step to step with their graph: losses or predictions collected without detach().",
        harms=True,
    ),
    "IOBottleneck": Meaning(
        "The training waits for the disk or the network.",
        "While photos are read, processors that are paid for stand still.",
        'Use "input_mode": "File", so that photos are read from the local disk, or a machine with NVMe disks.',
        explains=("Dataloader", "LowGPUUtilization", "BatchSize"),
    ),
    "CPUBottleneck": Meaning(
        "The GPU waits for the CPU.",
        "Photos are decoded and augmented more slowly than the GPU trains on them: its price buys idle time.",
        "Take an instance type with more CPU cores for each GPU, or train the head alone (trainable head), which decodes each photo once.",
        explains=("Dataloader", "LowGPUUtilization", "BatchSize"),
    ),
    "Dataloader": Meaning(
        "The training waits for its photos.",
        "While they are read and decoded the network does not learn; the machine is billed all the same.",
        "Take an instance type with more CPU cores, or train the head alone (trainable head), which decodes each photo once.",
        explains=("LowGPUUtilization",),
    ),
    "BatchSize": Meaning(
        "The batches are too small for this machine.",
        "Its processors have little to do in each step, and the overhead of a step stays the same.",
        "Search larger batches (tuning.batch_size), or take a smaller, cheaper instance type.",
        explains=("LowGPUUtilization",),
    ),
    "LowGPUUtilization": Meaning(
        "The GPU is hardly used.",
        "A GPU is the dearest part of the machine, billed whether it computes or not.",
        "Search larger batches (tuning.batch_size), or take a smaller GPU or a CPU instance type.",
    ),
    "LoadBalancing": Meaning(
        "The GPUs, or the cores where there are none, are not loaded alike.",
        "Every step lasts as long as on the busiest one; the others wait.",
        "Take fewer of them, or batches that divide evenly between them.",
    ),
    "StepOutlier": Meaning(
        "Some steps took far longer than the others.",
        "Something beside the training held it up: a disk, a checkpoint, another program.",
        "See in the profiler's report when they were, and what disk and CPU did then.",
    ),
    "MaxInitializationTime": Meaning(
        "It took long until the first training step.",
        "The machine is billed from its start; what is downloaded and loaded before counts.",
        'Use "input_mode": "FastFile" where photos are downloaded first.',
    ),
}


def about_profile(statuses: Sequence[Mapping[str, Any]], profile: Mapping[str, Any]) -> list[Insight]:
    """Return what the profiler's rules and figures mean, one insight a cause, and which rules could not judge."""
    short = profile.get("seconds", 0.0) < SHORT
    found = {status["RuleConfigurationName"]: status for status in statuses if status["RuleEvaluationStatus"] == "IssuesFound"}
    told: set[str] = set()
    insights = []
    for name in (
        *(name for name in MEANINGS if name in found),
        *(name for name in found if name not in MEANINGS and name != "ProfilerReport"),
    ):
        if name not in told:
            meaning = MEANINGS.get(name)
            others = [other for other in (meaning.explains if meaning else ()) if other in found and other not in told]
            told.update((name, *others))
            insights.append(_worded(found[name], others, meaning, profile, short))
    figures = [] if told & {"IOBottleneck", "CPUBottleneck", "Dataloader"} else _waiting(profile, short)
    if not told & {"IOBottleneck", "CPUBottleneck", "Dataloader", "LowGPUUtilization", "BatchSize"} and not figures:
        figures = _idle(profile, short)
    return [*insights, *figures, *_full(profile), *_saving(profile, short), *_degraded(statuses, profile, short)]


def _worded(status: Mapping[str, Any], others: Sequence[str], meaning: Meaning | None, profile: Mapping[str, Any], short: bool) -> Insight:
    name, advice = status["RuleConfigurationName"], str(status.get("Advice") or "")
    source = f"profiler rule {name}" + (f" and {named(others)}, for the same cause" if others else "")
    if meaning is None:
        said = f"The profiler rule {name} found an issue."
        return Insight(
            "note" if short else "warning",
            said,
            "Time or money is lost there.",
            advice or "See the profiler's report.",
            evidence(status),
            source,
        )
    severity = "warning" if meaning.harms or not short else "note"
    seen = "; ".join(part for part in (evidence(status), _shares(profile)) if part)
    return Insight(severity, meaning.what, meaning.why, meaning.change or advice, seen, source)


def _shares(profile: Mapping[str, Any]) -> str:
    phases = _phases(profile)
    return f"{percent(phases['data'])} of a training step is spent on getting its photos" if "data" in phases else ""


def _phases(profile: Mapping[str, Any]) -> Mapping[str, float]:
    phases: Mapping[str, float] = ((profile.get("steps") or {}).get("train") or {}).get("phases") or {}
    return phases


def _waiting(profile: Mapping[str, Any], short: bool) -> list[Insight]:
    share = _phases(profile).get("data", 0.0)
    if share < WAITING:
        return []
    train = profile["steps"]["train"]
    return [
        Insight(
            "note" if short else "warning",
            f"{percent(share)} of each training step is spent on getting its photos.",
            "While it waits for photos the network does not learn; the machine is billed all the same.",
            "Take an instance type with more CPU cores, or train the head alone (trainable head), which decodes each photo once.",
            f"{train['count']:,} training steps of {train['p50_ms']:.0f} ms in the median",
            "profile.json",
        )
    ]


def _idle(profile: Mapping[str, Any], short: bool) -> list[Insight]:
    idle = [gpu for gpu in profile.get("gpu") or () if gpu["utilization"].get("mean", 100.0) < IDLE]
    if not idle or short:
        return []
    meaning = MEANINGS["LowGPUUtilization"]
    seen = ", ".join(f"{gpu['name']} {gpu['utilization']['mean']:.0f} % in the mean" for gpu in idle)
    return [Insight("note", meaning.what, meaning.why, meaning.change, seen, "profile.json")]


def _full(profile: Mapping[str, Any]) -> list[Insight]:
    memory = profile.get("memory") or {}
    if memory.get("max", 0.0) < FULL:
        return []
    return [
        Insight(
            "warning",
            "The machine's memory was nearly full.",
            "A few photos more, or larger ones, and the system would have ended the job.",
            "Take an instance type with more memory.",
            f"{memory['max']:.0f} % at most, {memory.get('p95', memory['max']):.0f} % for a twentieth of the time",
            "profile.json",
        )
    ]


def _saving(profile: Mapping[str, Any], short: bool) -> list[Insight]:
    share = _phases(profile).get("save", 0.0)
    if short or share < SAVING:
        return []
    return [
        Insight(
            "note",
            f"{percent(share)} of each training step goes into saving tensors for the debugger.",
            "What is saved is what rules can judge; it costs more where steps are short.",
            'Where nobody looks at the verdicts: "debugger": "off".',
            f"training steps of {profile['steps']['train']['p50_ms']:.1f} ms in the median",
            "profile.json",
        )
    ]


def _degraded(statuses: Sequence[Mapping[str, Any]], profile: Mapping[str, Any], short: bool) -> list[Insight]:
    """Return that measuring failed: told once, by the rules that miss it, or by itself where none does."""
    if short and not profile.get("problem") and profile.get("seconds"):
        return _too_short(statuses, profile["seconds"])
    missing = unjudged(statuses, "profiler")
    if missing or not profile.get("problem"):
        return missing
    return [
        Insight(
            "warning",
            "The profiler could not measure everything.",
            "Figures and charts of the machine are incomplete.",
            'Look in the job\'s log for the line that begins with "profiler degraded".',
            str(profile["problem"]),
            "profile.json",
        )
    ]


def _too_short(statuses: Sequence[Mapping[str, Any]], seconds: float) -> list[Insight]:
    """Return that rules had too few measurements, of a job in which measuring went well."""
    missing = [status for status in statuses if status["RuleEvaluationStatus"] == "Error"]
    if not missing:
        return []
    names = named([status["RuleConfigurationName"] for status in missing])
    return [
        Insight(
            "note",
            f"The job was too short for {counted(len(missing), 'profiler rule')}: {names}.",
            "A rule that has seen only a few measurements says nothing rather than something wrong.",
            "Nothing: of a job this short there is little time to gain, and a longer one is judged.",
            f"{seconds:.0f} s; {clean(missing[0]['StatusDetails'])}",
            "profiler rules",
        )
    ]
