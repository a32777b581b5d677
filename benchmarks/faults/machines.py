"""Machines on which something is wrong, and sound ones: their samples and steps, written by the job's own writers and judged as in a job.

Used by `python -m benchmarks.faults`.
"""

import random
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.faults.fault import Fault, Workplace
from benchmarks.faults.recorded import Judged
from training.contract.rules import profiler_configurations
from training.profiler.analyse import analyse
from training.profiler.sampler import MetricsFile, Row
from training.profiler.timeline import Timeline

INTERVAL = 0.5
NODE = "algo-1"
PHASES = {"data": 0.04, "forward": 0.3, "backward": 0.55, "optimizer": 0.08}
DISK = {"IOPS": 20.0, "ReadThroughputInBytesPerSecond": 2e6, "WriteThroughputInBytesPerSecond": 1e6}
NETWORK = {"ReceiveBytesPerSecond": 1e4, "TransmitBytesPerSecond": 1e4}
BETWEEN_EPOCHS = 0.3
"""Seconds: a checkpoint is written."""

Course = Callable[[float, random.Random], float]
"""Seconds since the first step -> percent."""


def about(mean: float, spread: float = 3.0) -> Course:
    """Return a course that wavers around a mean."""
    return lambda _second, draw: min(100.0, max(0.0, draw.gauss(mean, spread)))


EIGHT_CORES = (about(55, 12),) * 8
HARDLY, SOME = about(1, 1), about(35, 0.5)
ONE_GPU, ITS_MEMORY = (about(92, 4),), (about(68, 0.2),)


@dataclass(frozen=True)
class Machine:
    """A job's machine, sound unless it is told otherwise."""

    cores: Sequence[Course] = EIGHT_CORES
    waits: Course = HARDLY
    memory: Course = SOME
    gpus: Sequence[Course] = ONE_GPU
    gpu_memory: Sequence[Course] = ITS_MEMORY
    init: float = 6.0
    """Seconds from the first sample to the first step."""
    step: float = 0.18
    """Seconds of a training step."""
    jitter: float = 0.05
    """Standard deviation of its logarithm."""
    epochs: int = 20
    steps: int = 16
    """Of an epoch."""
    evaluations: int = 3
    """Steps of an evaluation, half as long."""
    phases: Mapping[str, float] = field(default_factory=lambda: dict(PHASES))
    slow: Callable[[int], float] = lambda _number: 1.0
    """Training step -> how many times as long as usual it takes."""


def measure(machine: Machine, folder: Path, seed: int) -> None:
    """Write what would have been measured."""
    draw, begin = random.Random(seed), float(int(time.time()) - 86_400)
    first = begin + machine.init
    end = write_steps(machine, folder, first, begin, draw)
    file, now = MetricsFile(folder, NODE), begin
    while now < end:
        now += INTERVAL
        file.write(rows(machine, now - first, draw), now)
    file.close()


def rows(machine: Machine, second: float, draw: random.Random) -> list[Row]:
    """Return a sample; a GPU is idle before the first step."""
    found: list[Row] = []
    for number, course in enumerate(machine.cores):
        waits = machine.waits(second, draw)
        busy = course(second, draw)
        found += [("cpu", f"cpu{number}", "CPUUtilization", min(busy, 100 - waits)), ("cpu", f"cpu{number}", "I/OWaitPercentage", waits)]
    found.append(("memory", "MemoryUsedPercent", "", machine.memory(second, draw)))
    found += [("i/o", name, "", value) for name, value in DISK.items()]
    found += [("network", name, "Algorithm", value) for name, value in NETWORK.items()]
    for number, (used, memory) in enumerate(zip(machine.gpus, machine.gpu_memory, strict=True)):
        running = second >= 0
        found.append(("gpu", f"gpu{number}", "GPUUtilization", used(second, draw) if running else 0.0))
        found.append(("gpu", f"gpu{number}", "GPUMemoryUtilization", memory(second, draw) if running else 2.0))
    return found


def write_steps(machine: Machine, folder: Path, first: float, begin: float, draw: random.Random) -> float:
    """Write the timeline; return when the last step ended."""
    timeline = Timeline(folder, "cuda" if machine.gpus else "cpu", NODE)
    timeline.started_us = int(begin * 1e6)
    clock, now, number, evaluated = time.time_ns() - time.perf_counter_ns(), first, 0, 0

    def add(name: str, start: float, seconds: float, step: int, mode: str) -> None:
        timeline.add(name, int(start * 1e9) - clock, int((start + seconds) * 1e9) - clock, step, mode)

    for _ in range(machine.epochs):
        for _ in range(machine.steps):
            seconds = machine.step * draw.lognormvariate(0, machine.jitter) * machine.slow(number)
            add("Step:ModeKeys.TRAIN", now, seconds, number, "train")
            at = now
            for phase, share in machine.phases.items():
                add(phase, at, share * seconds, number, "train")
                at += share * seconds
            now, number = now + seconds, number + 1
        for _ in range(machine.evaluations):
            seconds = machine.step / 2 * draw.lognormvariate(0, machine.jitter)
            add("Step:ModeKeys.EVAL", now, seconds, evaluated, "eval")
            now, evaluated = now + seconds, evaluated + 1
        now += BETWEEN_EPOCHS
    timeline.flush()
    return now


def judged(machine: Machine, seed: int = 0) -> Judged:
    """Have the profiler rules judge a machine."""
    with tempfile.TemporaryDirectory() as scratch:
        measure(machine, Path(scratch, "profile"), seed)
        statuses, _ = analyse(Path(scratch, "profile"), Path(scratch, "output"), profiler_configurations(machine.epochs))
    return Judged(tuple(statuses))


def sound(seed: int) -> Machine:
    """Return a machine on which all is well: with GPUs or without, of any size, for a job of any length from a quarter of a minute on."""
    draw = random.Random(seed)
    cores = draw.choice((4, 8, 16, 32))
    job = Machine(
        init=draw.uniform(2, 60),
        step=draw.uniform(0.08, 0.4),
        jitter=draw.uniform(0.02, 0.12),
        epochs=draw.randint(5, 30),
        steps=draw.randint(12, 80),
        evaluations=draw.randint(1, 8),
        waits=about(draw.uniform(0, 5), 2),
    )
    if draw.random() < 1 / 3:
        return replace(job, gpus=(), gpu_memory=(), cores=(about(draw.uniform(80, 97), 4),) * cores, step=4 * job.step)
    count, used, memory = draw.choice((1, 1, 1, 4)), draw.uniform(82, 97), draw.uniform(30, 92)
    larger = draw.uniform(0, 4)
    """One larger batch, after which torch keeps the memory."""
    taken = [lambda second, draw: memory + (larger if second > 10 else 0) + draw.gauss(0, 0.1)] * count
    return replace(job, cores=(about(draw.uniform(25, 80), 12),) * cores, gpus=(about(used, 4),) * count, gpu_memory=taken)


STARVED = {"data": 0.7, "forward": 0.1, "backward": 0.17, "optimizer": 0.03}
"""Parts of a step that waits for its photos."""
IDLE = (about(12, 4),) * 8
BARELY = about(3, 1)
SOUND = Machine()
CPU_JOB = Machine(gpus=(), gpu_memory=(), step=1.0)
WAITING = replace(SOUND, cores=IDLE, gpus=(BARELY,), phases=STARVED)


def on(planted: str, rules: tuple[str, ...], machine: Machine, **changes: Any) -> Fault:
    """Return a fault of a machine that is otherwise this one."""

    def run(_place: Workplace) -> Judged:
        return judged(replace(machine, **changes))

    return Fault(planted, rules, run)


def busy(second: float, draw: random.Random) -> float:
    """Return a core at its limit."""
    return about(99, 0.5)(second, draw)


def leaking(second: float, draw: random.Random) -> float:
    """Return memory that grows by a point of percent every three seconds."""
    return min(99.0, 40 + second / 3 + draw.gauss(0, 0.1))


def now_and_then(second: float, draw: random.Random) -> float:
    """Two seconds of work, two of waiting."""
    return about(95)(second, draw) if second % 4 < 2 else BARELY(second, draw)


def every_fiftieth(number: int) -> float:
    """Return thirty at the steps that do something more."""
    return 30.0 if number % 50 == 49 else 1.0


FOUR = {"gpus": (*(about(92, 4),) * 3, BARELY), "gpu_memory": ITS_MEMORY * 4}
TINY = {"gpus": (about(35, 5),), "gpu_memory": (about(6, 0.1),), "cores": IDLE, "step": 0.03, "steps": 100}
MACHINES = (
    on("loader starved: one thread decodes, the GPU waits", ("Dataloader", "LowGPUUtilization"), WAITING, gpus=(about(25),)),
    on("loader overrun: all cores decode and do not suffice", ("Dataloader",), WAITING, cores=(about(97, 2),) * 8, gpus=(about(30),)),
    on("one core busy, the GPU idle", ("CPUBottleneck",), WAITING, cores=(busy, *IDLE[1:])),
    on("the GPU's memory leaks", ("GPUMemoryIncrease",), SOUND, gpu_memory=(leaking,)),
    on("photos on a slow disk: cores wait for it", ("IOBottleneck",), WAITING, waits=about(80, 5)),
    on("a CPU job that waits for its disk", ("IOBottleneck",), CPU_JOB, waits=about(75, 5), cores=IDLE, phases=STARVED),
    on("every fiftieth step takes thirty times as long", ("StepOutlier",), SOUND, slow=every_fiftieth),
    on("one of four GPUs has no work", ("LoadBalancing",), SOUND, **FOUR),
    on("a CPU job on one of eight cores", ("LoadBalancing",), CPU_JOB, cores=(busy, *(BARELY,) * 7)),
    on("25 minutes of downloads before the first step", ("MaxInitializationTime",), SOUND, init=1500.0),
    on("batches of 4 on a large GPU", ("BatchSize", "LowGPUUtilization"), SOUND, **TINY),
    on("the GPU works two seconds and waits two", ("LowGPUUtilization",), SOUND, gpus=(now_and_then,)),
)
