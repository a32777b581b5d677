"""The one table of what a profile can show: the measured quantity, its threshold, the severity, the words and the cure.

Runs in training jobs after the training. `advice.py` applies the table; the profiler rules take their cures from it. The training report
and the profiler report show the result, so that both give the same finding with the same severity, words and cure.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Profile = Mapping[str, Any]
"""What profile.json holds: see training/profiler/profile.py."""

SHORT = 120.0
"""Seconds of a job below which a finding is a note: there is not enough time to save. docs/debugger.md says two minutes."""

WORTH_SECONDS = 20.0
"""Seconds of a job up to which its parts (initialization, saving, pauses between steps) are not judged."""

WAITING = 1 / 3
"""Part of a training step that may be spent waiting for photos. The rule Dataloader and its documentation use the same value."""


@dataclass(frozen=True)
class Row:
    """One finding. A row without `measure` is a profiler rule of the same name, whose parameters hold the thresholds."""

    what: str
    """What happened: a sentence. Names in braces are filled in by `measure`."""
    why: str
    """Why it matters: a sentence."""
    change: str
    """What to change: a sentence, in the words of the execution input."""
    causes: Mapping[str, str] = field(default_factory=dict)
    """Cause -> what to change instead, where the measurements show the cause."""
    severity: str = "warning"
    """In a job of at least SHORT seconds; a shorter job has a note."""
    keeps_severity: bool = False
    """Whether a short job has the same severity: the fault may end the job."""
    covers: tuple[str, ...] = ()
    """Findings with the same cause: they are named in this finding's source and not shown again."""
    measure: Callable[[Profile], Mapping[str, Any] | None] | None = None
    """Returns the measured `value` and what the sentences need; None where it was not measured."""
    threshold: float = 0.0
    """The finding is shown where the value is above it."""
    evidence: str = ""
    """The numbers behind the finding; filled in by `measure`."""
    least_seconds: float = 0.0
    """The finding is not shown for jobs up to this length."""


def get_cure(name: str, cause: str = "", **numbers: Any) -> str:
    """Return what to change after a finding, for this cause of it where the cause is known."""
    row = TABLE[name]
    return (row.causes[cause] if cause else row.change).format(**numbers)


def get_phases(profile: Profile) -> Mapping[str, float]:
    """Return the parts of a training step's time; empty where they were not measured."""
    phases: Mapping[str, float] = ((profile.get("steps") or {}).get("train") or {}).get("phases") or {}
    return phases


def _measure_waiting(profile: Profile) -> Mapping[str, Any] | None:
    """Return the part of a training step that waits for photos; None below a second in all, as in the rule Dataloader."""
    share = get_phases(profile).get("data", 0.0)
    if not share:
        return None
    train = profile["steps"]["train"]
    if share * train["count"] * train["p50_ms"] < 1000:
        return None
    return {"value": share, "steps": train["count"], "median": train["p50_ms"]}


def _measure_idle_gpus(profile: Profile) -> Mapping[str, Any] | None:
    busy = {gpu["name"]: gpu["utilization"]["mean"] for gpu in profile.get("gpu") or () if "mean" in gpu["utilization"]}
    if not busy:
        return None
    return {"value": 100 - min(busy.values()), "each": ", ".join(f"{name} {mean:.0f} %" for name, mean in busy.items())}


def _measure_idle_cores(profile: Profile) -> Mapping[str, Any] | None:
    cores, busy = (profile.get("cpu") or {}).get("cores", 0), (profile.get("loop") or {}).get("cpu_mean")
    if profile.get("gpu") or cores < 2 or busy is None:
        return None
    return {"value": 100 - busy, "busy": busy, "cores": cores}


def _measure_memory(profile: Profile) -> Mapping[str, Any] | None:
    memory = profile.get("memory") or {}
    return {"value": memory["max"], "p95": memory.get("p95", memory["max"])} if "max" in memory else None


def _measure_gpu_memory(profile: Profile) -> Mapping[str, Any] | None:
    full = {gpu["name"]: gpu["memory"]["max"] for gpu in profile.get("gpu") or () if "max" in gpu["memory"]}
    name = max(full, key=lambda gpu: full[gpu], default=None)
    return None if name is None else {"value": full[name], "name": name}


def _measure_part_of_loop(part: str) -> Callable[[Profile], Mapping[str, Any] | None]:
    def measure(profile: Profile) -> Mapping[str, Any] | None:
        loop = profile.get("loop") or {}
        if loop.get("seconds", 0.0) <= WORTH_SECONDS:
            return None
        return {"value": loop[part] / loop["seconds"], "seconds": loop[part], "loop": loop["seconds"]}

    return measure


def _measure_initialization(profile: Profile) -> Mapping[str, Any] | None:
    seconds, whole = profile.get("initialization_s"), profile.get("seconds")
    return {"value": seconds / whole, "seconds": seconds, "job": whole} if seconds is not None and whole else None


def _measure_computing(profile: Profile) -> Mapping[str, Any] | None:
    """Return the part of a training step that computes, where a CPU trains long enough."""
    loop, phases = profile.get("loop") or {}, get_phases(profile)
    if loop.get("device") != "cpu" or loop.get("seconds", 0.0) <= WORTH_SECONDS:
        return None
    total = sum(each["cpu_ms"] + each["cuda_ms"] for each in profile.get("operators") or ()) or 1.0
    first = next(iter(profile.get("operators") or ()), None)
    operator = f"; {first['name']} takes {(first['cpu_ms'] + first['cuda_ms']) / total:.0%} of the longest operators" if first else ""
    return {"value": phases.get("forward", 0.0) + phases.get("backward", 0.0), "loop": loop["seconds"], "operator": operator}


# Where the training report and the profiler report used to disagree, a comment in the row gives the decision and its reason. For all rows:
# - Severity: the profiler report called each finding a problem. It is a warning, and a note in a job below two minutes (docs/debugger.md):
#   a problem spoils the model, a slow job costs time and money (SEVERITIES in training/rule_evaluation/insight.py).
# - Short jobs: the limits were 20 s and 120 s. docs/debugger.md says two minutes.
# - Cures name settings of the execution input: a user of this project cannot set num_workers or a save interval.
# The order is that of the causes: a finding covers later ones that follow from it.
TABLE: dict[str, Row] = {
    "GPUMemoryIncrease": Row(
        "The GPU memory in use keeps growing.",
        "A longer job would fail with an out-of-memory error after most of its time has been paid for.",
        "Look for tensors kept from step to step with their graph: add up losses with .item() or .detach(), keep no outputs in lists.",
        keeps_severity=True,
        covers=("full GPU memory",),
    ),
    "IOBottleneck": Row(
        "The training waits for the disk or the network.",
        "The CPU and the GPU are billed while they wait for photos.",
        # FastFile was one of the two cures. It reads photos from S3 during the steps, so it adds to the wait: docs/debugger.md says File.
        'Use "input_mode": "File", which reads photos from the local disk, or an instance type with NVMe disks.',
        covers=("Dataloader", "BatchSize", "LowGPUUtilization", "waiting for photos", "idle GPU", "idle cores"),
    ),
    "CPUBottleneck": Row(
        "The GPU waits for the CPU.",
        "Photos are decoded and augmented more slowly than the GPU trains on them, so the GPU is billed while it is idle.",
        "Take an instance type with more CPU cores for each GPU, or store smaller photos; trainable head decodes each photo only once.",
        covers=("Dataloader", "BatchSize", "LowGPUUtilization", "waiting for photos", "idle GPU"),
    ),
    "Dataloader": Row(
        "The training waits for its photos.",
        "The network does not learn while photos are read and decoded, but the machine is billed.",
        "Take an instance type with more CPU cores, or store smaller photos; trainable head decodes each photo only once.",
        # More cores were the cure also where the cores were idle. The rule separates the two causes by AWS's parameter min_threshold.
        causes={
            "idle cores": 'Storage is too slow, not the CPU: use "input_mode": "File", or an instance type with NVMe disks; '
            "trainable head decodes each photo only once.",
        },
        # BatchSize was a finding of its own here. Larger batches do not help while the GPU waits for photos.
        covers=("BatchSize", "LowGPUUtilization", "waiting for photos", "idle GPU", "idle cores"),
    ),
    "BatchSize": Row(
        "The batches are too small for this machine.",
        "Each step has a fixed overhead and leaves most of the machine idle.",
        # "Double batch_size, with lr times 1.4" was the other cure. The tuning job searches both together, as docs/debugger.md says.
        "Search larger batches (tuning.batch_size), or take a smaller, cheaper instance type.",
        covers=("LowGPUUtilization", "idle GPU"),
    ),
    "LowGPUUtilization": Row(
        "The GPU is mostly idle.",
        "The GPU is the most expensive part of the machine and is billed whether it computes or not.",
        "Search larger batches (tuning.batch_size), or take a smaller GPU or a CPU instance type.",
        causes={
            "CPU": "The training ran on the CPU: take an instance type without a GPU, or an image whose torch is built for CUDA.",
            # The rule saw waiting from 0.2 of a step, the report from 0.3, Dataloader from a third: now all use WAITING.
            "waiting for photos": "Take an instance type with more CPU cores for each GPU, or store smaller photos.",
            "fluctuating": "See in the step timeline of the profiler report what the GPU waits for: photos, saving or evaluation.",
            # Larger batches were the cure here too, while the finding "full GPU memory" advised against them.
            "full GPU memory": "The GPU's memory is full, so larger batches do not fit: see in the step timeline what the GPU waits for.",
        },
        covers=("idle GPU",),
    ),
    "LoadBalancing": Row(
        "The work is not spread evenly over the GPUs, or over the cores of a machine without GPUs.",
        "Each step takes as long as the busiest one needs; the others wait.",
        # AWS's rule compares GPUs only. Batches that divide evenly help processes on GPUs, not the cores of one process.
        "Take fewer GPUs, or a batch size that divides evenly between them.",
        causes={"core": "Take an instance type with fewer cores, or give the training more threads (OMP_NUM_THREADS)."},
        covers=("idle cores",),
    ),
    "StepOutlier": Row(
        "Some steps took far longer than the others.",
        "Something else held these steps up, such as a disk, a checkpoint or another program.",
        "Compare the times of the slow steps with the timelines of disk and CPU in the profiler report.",
        causes={"regular": "Every {interval:.0f}th step is slow: find what happens at this interval, such as saving or logging."},
    ),
    "MaxInitializationTime": Row(
        "The first training step began late.",
        "The machine is billed from its start, also while photos and weights are downloaded and loaded.",
        'Use "input_mode": "FastFile" if photos are downloaded first, and prepare the data once for all jobs.',
        covers=("initialization",),
    ),
    "waiting for photos": Row(
        "{value:.1%} of each training step is spent waiting for photos.",
        "The network does not learn while photos are read and decoded, but the machine is billed.",
        "Take an instance type with more CPU cores, or store smaller photos; trainable head decodes each photo only once.",
        covers=("idle GPU", "idle cores"),
        measure=_measure_waiting,
        threshold=WAITING,
        evidence="{steps:,} training steps with a median of {median:.0f} ms",
    ),
    # The mean shows what percentiles hide: a GPU that is busy for a few long stretches passes the rule LowGPUUtilization.
    "idle GPU": Row(
        "The GPU is mostly idle.",
        "The GPU is the most expensive part of the machine and is billed whether it computes or not.",
        "See in the step timeline of the profiler report what the GPU waits for, or take a smaller GPU or a CPU instance type.",
        severity="note",
        measure=_measure_idle_gpus,
        threshold=60.0,
        evidence="mean utilization: {each}",
        least_seconds=SHORT,
    ),
    "idle cores": Row(
        "The {cores} cores were busy for {busy:.0f} % of the training.",
        "Idle cores are billed too.",
        "Take an instance type with fewer cores.",
        severity="note",
        measure=_measure_idle_cores,
        threshold=65.0,
        evidence="mean of all cores during the training loop",
        least_seconds=WORTH_SECONDS,
    ),
    # The profiler report called it a problem. The job has ended with its model, so it is a warning, in short jobs too. Both cures help.
    "full memory": Row(
        "The machine's memory was nearly full.",
        "The operating system ends a job that needs more memory than there is.",
        "Take an instance type with more memory, or search smaller batches (tuning.batch_size).",
        keeps_severity=True,
        measure=_measure_memory,
        threshold=90.0,
        evidence="maximum {value:.0f} %, 95th percentile {p95:.0f} %",
    ),
    "full GPU memory": Row(
        "The memory of {name} was nearly full.",
        "A larger batch would not fit.",
        "Do not search larger batches on this instance type.",
        severity="note",
        measure=_measure_gpu_memory,
        threshold=97.0,
        evidence="maximum {value:.0f} %",
    ),
    # The report measured saving inside training steps only. What is saved between steps costs the same time, so both count.
    "saving": Row(
        "Saving tensors for the debugger took {value:.1%} of the training loop.",
        "The rules can judge only what is saved; saving costs more where steps are short.",
        # The other cure was to save less often, which the execution input cannot set: the intervals follow from the number of steps.
        'If you do not use the rules\' verdicts: "debugger": "off".',
        severity="note",
        measure=_measure_part_of_loop("saving_s"),
        threshold=0.1,
        evidence="{seconds:.0f} s of {loop:.0f} s",
        least_seconds=WORTH_SECONDS,
    ),
    "between steps": Row(
        "{value:.0%} of the training loop passed between steps, where checkpoints are written.",
        "Each epoch ends with a checkpoint, however few steps it has.",
        "Train fewer epochs, or use more photos.",
        severity="note",
        measure=_measure_part_of_loop("between_steps_s"),
        threshold=0.2,
        evidence="{seconds:.0f} s of {loop:.0f} s",
        least_seconds=WORTH_SECONDS,
    ),
    # The rule MaxInitializationTime has an absolute limit of 20 minutes; this is the share of the job.
    "initialization": Row(
        "{value:.0%} of the job passed before the first step.",
        "The machine is billed from its start.",
        "Train more epochs in one job instead of several short jobs, and load less before the first step.",
        severity="note",
        measure=_measure_initialization,
        threshold=0.4,
        evidence="{seconds:.0f} s of {job:.0f} s",
        least_seconds=WORTH_SECONDS,
    ),
    "computing on the CPU": Row(
        "Forward and backward passes take {value:.0%} of each training step: computing limits the speed.",
        "A CPU trains a network far more slowly than a GPU.",
        "To train faster, take a GPU instance type, or train less of the network (trainable last_stage, or head).",
        severity="note",
        measure=_measure_computing,
        threshold=0.6,
        evidence="a training loop of {loop:.0f} s on the CPU{operator}",
        least_seconds=WORTH_SECONDS,
    ),
}
"""Finding -> what it is, the causes first."""
