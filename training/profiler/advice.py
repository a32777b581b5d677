"""What a profile says to change, in sentences, the most urgent first: what rules found, and what no rule of AWS's looks at.

Runs in training jobs after the training; for the profiler's report.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from training.profiler.metrics import Metrics, Steps
from training.profiler.rules.profiler_rule import Finding

LONG_INITIALIZATION = 0.4
WORTH_SECONDS = 20.0
"""Seconds of a job below which what could be faster is not worth a change."""

SAVES = 0.1
BETWEEN = 0.2
FULL = 90.0
IDLE = 35.0


@dataclass(frozen=True)
class Advice:
    """One thing that was seen."""

    severity: str
    """problem, note or good."""
    what: str
    """What was measured, a sentence."""
    change: str = ""
    """What to change, a sentence; "" where nothing is to be."""


def advice(metrics: Metrics, findings: Mapping[str, Finding]) -> list[Advice]:
    """Return what to say, at least one sentence."""
    found = [Advice("problem", f"{name}: {finding.said}.", finding.advice) for name, finding in findings.items() if finding.triggered]
    notes = list(_notes(metrics, findings))
    if not found and not any(note.change for note in notes):
        short = f"; a job of {metrics.seconds:.0f} s has little to gain" if metrics.seconds < WORTH_SECONDS else ""
        notes.append(Advice("good", f"No rule found anything{short}."))
    unjudged = [name for name, finding in findings.items() if finding.unjudged]
    if unjudged:
        names = ", ".join(unjudged)
        reason = findings[unjudged[0]].said.removeprefix("not judged: ")
        notes.append(Advice("note", f"Not judged: {names}, because {reason}.", findings[unjudged[0]].advice))
    return found + notes


def _notes(metrics: Metrics, findings: Mapping[str, Finding]) -> Iterator[Advice]:
    yield from _initialization(metrics)
    yield from _memory(metrics)
    yield from _saving(metrics)
    yield from _between(metrics)
    yield from _machine(metrics, findings)
    train = metrics.steps.get("train")
    if train is not None and train.phases:
        yield from _computing(metrics, train)


def _initialization(metrics: Metrics) -> Iterator[Advice]:
    if not metrics.loop or metrics.seconds < WORTH_SECONDS:
        return
    share = (metrics.loop[0] - metrics.started) / metrics.seconds
    if share > LONG_INITIALIZATION:
        seconds = metrics.loop[0] - metrics.started
        what = f"{100 * share:.0f} % of the job, {seconds:.0f} s, passed before the first step."
        yield Advice("note", what, "Train more epochs in one job rather than several short jobs, and keep what is loaded first small.")


def _memory(metrics: Metrics) -> Iterator[Advice]:
    if len(metrics.memory) and metrics.memory.values.max() > FULL:
        what = f"The machine's memory was {metrics.memory.values.max():.0f} % full."
        yield Advice("problem", what, "Lower batch_size, or take an instance type with more memory, before the job is killed.")
    for name, values in metrics.gpu_memory.items():
        if len(values) and values.values.max() > 97:
            yield Advice(
                "note", f"{name}'s memory was {values.values.max():.0f} % full.", "Leave batch_size as it is: a larger one would not fit."
            )


def _saving(metrics: Metrics) -> Iterator[Advice]:
    train = metrics.steps.get("train")
    if train is None or not metrics.loop:
        return
    inside = train.phases.get("save", 0.0) * float(train.seconds.mean()) * train.count
    seconds, whole = inside + sum(length for _, length in metrics.between), metrics.loop[1] - metrics.loop[0]
    if whole > WORTH_SECONDS and seconds / whole > SAVES:
        yield Advice(
            "note",
            f"Saving took {100 * seconds / whole:.0f} % of the training loop, {seconds:.0f} s.",
            "Save less often, or to a faster disk.",
        )


def _between(metrics: Metrics) -> Iterator[Advice]:
    """What the loop spends outside of steps, such as a checkpoint of the network after each epoch."""
    if not metrics.loop or metrics.loop[1] - metrics.loop[0] < WORTH_SECONDS:
        return
    whole = metrics.loop[1] - metrics.loop[0]
    in_steps = sum(float(steps.seconds.mean()) * steps.count for steps in metrics.steps.values())
    left = whole - in_steps - sum(length for _, length in metrics.between)
    if left / whole > BETWEEN:
        what = f"{100 * left / whole:.0f} % of the training loop, {left:.0f} s, passed between steps, where checkpoints are written."
        yield Advice("note", what, "Train fewer epochs, or on more photos: each epoch ends with a checkpoint, however few steps it has.")


def _machine(metrics: Metrics, findings: Mapping[str, Finding]) -> Iterator[Advice]:
    if not metrics.loop or metrics.loop[1] - metrics.loop[0] < WORTH_SECONDS or metrics.gpus or len(metrics.cores) < 2:
        return
    if findings.get("LoadBalancing", Finding("")).triggered or findings.get("Dataloader", Finding("")).triggered:
        return  # they say the same, and why
    busy = metrics.cpu().between(*metrics.loop).values
    if len(busy) and busy.mean() < IDLE:
        what = f"The {len(metrics.cores)} cores were busy for {busy.mean():.0f} % of the training."
        yield Advice("note", what, "Take an instance type with fewer cores: the training does not use these.")


def _computing(metrics: Metrics, train: Steps) -> Iterator[Advice]:
    share = train.phases.get("forward", 0.0) + train.phases.get("backward", 0.0)
    if share < 0.6:
        return
    operators = metrics.operators
    total = sum(operator["cpu_ms"] + operator["cuda_ms"] for operator in operators)
    most = (
        f"; {operators[0]['name']} alone takes {100 * (operators[0]['cpu_ms'] + operators[0]['cuda_ms']) / total:.0f} % of all operators"
        if total
        else ""
    )
    what = f"Forward and backward are {100 * share:.0f} % of a training step: it is the computing that takes the time{most}."
    long = metrics.loop and metrics.loop[1] - metrics.loop[0] > WORTH_SECONDS
    on_cpu = metrics.device == "cpu" and long
    change = "To be faster take a GPU instance type, or train less of the network (trainable: last_stage, or head)." if on_cpu else ""
    yield Advice("note" if change else "good", what, change)
