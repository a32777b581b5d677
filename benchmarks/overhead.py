"""What debugging and profiling cost a training: time of steps, a share of a core, and room on the disk.

Runs on any machine with the training's packages; nothing else should run meanwhile:

    python -m benchmarks.overhead [head last_stage all] [--rounds 7] [--side 224] [--sampled 60] [--threads 1 2]

Steps: the training job's own epochs, an evaluation at the end of each, on made-up photos (pixels ready in memory) or features: with
nothing, with the debugger's hook, with the profiler's step timing, and with both. All take turns; a ratio is the median of the rounds'
ratios, and a head, whose rounds are short, has more of them. The rules, which judge in a process of their own at the lowest priority, are
not started there: their seconds are those of the job under "disk". With as many threads as cores there is no room beside the training for
the process that writes the tensors, with one thread fewer there is. Files go where TMPDIR says: let that be a file system with room.
Sampler: the processor seconds of its process, for --sampled seconds. Disk: what 20 epochs of 13 steps of a ResNet50 that is trained
whole leave behind; on photos of 32 pixels, for what is saved does not depend on their size.
"""

import argparse
import copy
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import nn
from torch.optim import SGD

from benchmarks.figures import median, table
from benchmarks.inputs import say
from benchmarks.results import write_result
from training.contract.hyperparameters import Hyperparameters, Rules
from training.data.dataset import Features
from training.data.features import choose_processor
from training.data.preprocessing import Preprocessing
from training.debugger.attach import attach_debugger
from training.fit.examples import CachedFeatures, Examples
from training.fit.finetune import MOMENTUM, PHOTOS_AT_ONCE, FineTuned
from training.fit.head import FEATURES_AT_ONCE, Head, build_head
from training.fit.loop import Training, evaluate, train_one_epoch
from training.job.micro_batches import Parts
from training.network.resnet50 import FEATURES
from training.network.torchvision_repairs import import_torchvision
from training.profiler.profiler import JobProfiler
from training.profiler.sampling import INTERVAL_MS, SamplerProcess
from training.settings import Folders

CLASSES = 133
STEPS = 13
"""Steps of an epoch: 6,680 photos in batches of 512."""
HEAD_STEPS = 104
"""… and in batches of 64."""
TRAINED_FOR_ONE_JUDGED = 8
"""Training photos for one of an evaluation, as in dog breeds."""
HEAD_ROUNDS = 20
"""Rounds of a head for one of fine-tuning."""
EPOCHS = 20
LR = 1e-6
"""Low: what is measured is the time, over epochs without end."""
UNKEPT = Rules(evaluate=())
GOALS = {"hook": 1.02, "sampler": 0.005, "disk": 50_000_000}


class MadeUpPhotos:
    """Pixels, the same for every batch."""

    def __init__(self, photos: int, side: int) -> None:
        """`side`: pixels."""
        self.labels = torch.randint(CLASSES, (photos,))
        self._pixels = torch.randint(256, (photos, side, side, 3), dtype=torch.uint8)

    def batches(self, indices: Sequence[torch.Tensor], epoch: int) -> Iterator[torch.Tensor]:  # noqa: ARG002 - they are the same each epoch
        """Hand out as many as are asked for."""
        return (self._pixels[: len(batch)] for batch in indices)

    def channel_means(self, inputs: torch.Tensor) -> list[torch.Tensor]:
        """Return one a photo and channel."""
        return [inputs[:, ::4, ::4].float().mean(dim=(1, 2))]


@dataclass(frozen=True)
class Case:
    """One training, run again and again."""

    training: Training
    steps: int

    def run(self) -> tuple[float, float]:
        """Run an epoch and an evaluation; return seconds and processor seconds a step."""
        began, cpu = time.perf_counter(), time.process_time()
        train_one_epoch(self.training, 1)
        evaluate(self.training, self.training.valid)
        return (time.perf_counter() - began) / self.steps, (time.process_time() - cpu) / self.steps


def main(arguments: Sequence[str]) -> None:
    """Measure, write the result."""
    options = parse(arguments)
    torch.manual_seed(0)
    measured: dict[str, Any] = {"processor": str(choose_processor()), "rounds": options.rounds}
    measured["sampler"] = sampler(options.sampled)
    measured["disk"] = disk()
    measured["steps"] = [compare(trainable, threads, options) for trainable in options.trainable for threads in options.threads]
    print(write_result("overhead", measured, describe(measured)))


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead")
    parser.add_argument("trainable", nargs="*", default=["head", "last_stage", "all"], help="what is trained")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--side", type=int, default=224, help="pixels of a made-up photo's side")
    parser.add_argument("--sampled", type=float, default=60.0, help="seconds for which the sampler is watched")
    parser.add_argument("--threads", nargs="+", type=int, default=[torch.get_num_threads()], help="of torch")
    return parser.parse_args(arguments)


def sampler(seconds: float) -> dict[str, float]:
    """Return what the sampler's process takes: to start, and then as a part of one core."""
    with tempfile.TemporaryDirectory() as scratch:
        running = SamplerProcess(Path(scratch))
        process = psutil.Process(running._process.pid) if running._process else psutil.Process()
        while not list(Path(scratch).rglob("*.json")):
            time.sleep(0.05)
        start = sum(process.cpu_times()[:2])
        began = time.monotonic()
        time.sleep(seconds)
        used, lasted = sum(process.cpu_times()[:2]) - start, time.monotonic() - began
        running.finish()
        written = sum(file.stat().st_size for file in Path(scratch).rglob("*.json"))
    found = {"interval_ms": INTERVAL_MS, "seconds": round(lasted, 1), "cpu_seconds": round(used, 3), "share_of_a_core": used / lasted}
    say(f"sampler: {found}")
    return {**found, "start_cpu_seconds": round(start, 3), "bytes_an_hour": round(written / lasted * 3600)}


def disk() -> dict[str, Any]:
    """Return the bytes and files of tensors that 20 epochs leave, and what the rules' process took to judge them."""
    with tempfile.TemporaryDirectory() as scratch:
        folders = places(Path(scratch))
        training = made_up("all", 32, PHOTOS_AT_ONCE["cpu"], Hyperparameters(lr=LR, trainable="all", epochs=EPOCHS, batch_size=16))
        training = replace(training, debugger=attach_debugger(training.settings, folders, training.watched, STEPS))
        rules = [child for child in psutil.Process().children() if "training.rule_evaluation.evaluate" in " ".join(child.cmdline())]
        case, used = Case(training, STEPS), 0.0
        for _ in range(EPOCHS):
            case.run()
            used = sum(sum(child.cpu_times()[:2]) for child in rules if child.is_running())
        training.debugger.close()
        sizes = [file.stat().st_size for file in folders.debug_output.rglob("*") if file.is_file()]
        problem = training.debugger.problem
    found = {
        "epochs": EPOCHS,
        "steps_an_epoch": STEPS,
        "bytes": sum(sizes),
        "files": len(sizes),
        "rules_cpu_seconds": round(used, 2),
    }
    say(f"disk: {found}")
    return {**found, "problem": problem}


def compare(trainable: str, threads: int, options: argparse.Namespace) -> dict[str, Any]:
    """Return seconds a step of each, taking turns, and ratios to the step with nothing."""
    torch.set_num_threads(threads)
    batch = 64 if trainable == "head" else PHOTOS_AT_ONCE["cpu"]
    settings = Hyperparameters(lr=LR, trainable=trainable, epochs=EPOCHS, batch_size=batch, rules=UNKEPT)
    steps = HEAD_STEPS if trainable == "head" else STEPS
    plain = made_up(trainable, options.side, batch, settings)
    with tempfile.TemporaryDirectory() as scratch:
        hooked = replace(plain, network=copy.deepcopy(plain.network))
        hooked = replace(hooked, optimizer=optimizer(hooked.network))
        hooked = replace(hooked, debugger=attach_debugger(settings, places(Path(scratch)), hooked.watched, steps))
        profiler = JobProfiler(Path(scratch) / "profiler", next(plain.network.parameters()).device, sampler=None)
        trainings = {
            "nothing": plain,
            "hook": hooked,
            "profiler": replace(plain, profiler=profiler),
            "both": replace(hooked, profiler=profiler),
        }
        rounds = options.rounds * (HEAD_ROUNDS if trainable == "head" else 1)
        times = take_turns({name: Case(training, steps) for name, training in trainings.items()}, rounds)
        hooked.debugger.close()
        profiler.close()
        problem = hooked.debugger.problem or profiler.problem
    found = {name: {"wall": median(wall for wall, _ in of), "cpu": median(cpu for _, cpu in of)} for name, of in times.items()}
    ratios = {name: paired(of, times["nothing"]) for name, of in times.items() if name != "nothing"}
    say(f"{trainable}, {threads} threads: {ratios}")
    return {
        "trainable": trainable,
        "threads": threads,
        "batch_size": batch,
        "steps": steps,
        "rounds": rounds,
        "seconds_a_step": times,
        "medians": found,
        "ratios": ratios,
        "problem": problem,
    }


def paired(measured: Sequence[tuple[float, float]], without: Sequence[tuple[float, float]]) -> dict[str, float]:
    """Return the median ratio of a round, of wall and of processor time."""
    both = list(zip(measured, without, strict=True))
    return {kind: median(one[which] / other[which] for one, other in both) for which, kind in enumerate(("wall", "cpu"))}


def take_turns(cases: dict[str, Case], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Run each case once a round, each round beginning with another; the first round warms up."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
    for number in range(rounds + 1):
        names = list(cases)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            measured = cases[name].run()
            if number:
                times[name].append(measured)
    return times


def made_up(trainable: str, side: int, batch: int, settings: Hyperparameters) -> Training:
    """Return a training on made-up photos, or features, with random weights."""
    train: Examples
    valid: Examples
    if trainable == "head":
        features, judged = (made_up_features(photos) for photos in (HEAD_STEPS * batch, HEAD_STEPS * batch // TRAINED_FOR_ONE_JUDGED))
        network: nn.Module = build_head(CLASSES, features)
        train, valid, at_once = CachedFeatures(features), CachedFeatures(judged), FEATURES_AT_ONCE
    else:
        network, at_once = fine_tuned(trainable, side), PHOTOS_AT_ONCE[choose_processor().device.type]
        train, valid = MadeUpPhotos(STEPS * batch, side), MadeUpPhotos(batch, side)
    return Training(network, optimizer(network), train, valid, torch.ones(CLASSES), settings, Parts(at_once))


def made_up_features(photos: int) -> Features:
    """Return features and labels of a split."""
    return Features(torch.rand(photos, FEATURES), torch.randint(CLASSES, (photos,)))


def fine_tuned(trainable: str, side: int) -> FineTuned:
    """Return a ResNet50 of which a part is trained."""
    backbone = import_torchvision().resnet50(weights=None).eval().requires_grad_(False)
    backbone.fc = nn.Identity()
    head = Head(CLASSES, torch.zeros(FEATURES), torch.tensor(1.0))
    return FineTuned(backbone, head, trainable, Preprocessing(crop=side), choose_processor())


def optimizer(network: nn.Module) -> SGD:
    """Return the optimizer of fine-tuning."""
    return SGD([value for value in network.parameters() if value.requires_grad], lr=LR, momentum=MOMENTUM)


def places(folder: Path) -> Folders:
    """Return the folders of a job, all below one."""
    names = ("dataset", "photos", "weights", "model", "checkpoints", "failure")
    dataset, photos, weights, model, checkpoints, failure = (folder / name for name in names)
    return Folders(dataset, photos, weights, model, checkpoints, failure)


def describe(measured: dict[str, Any]) -> str:
    """The result as a page."""
    rows = [
        [
            found["trainable"],
            found["threads"],
            what,
            *(f"{ratios[kind]:.3f}" for kind in ("wall", "cpu")),
            f"{1000 * found['medians']['nothing']['wall']:.2f}",
        ]
        for found in measured["steps"]
        for what, ratios in found["ratios"].items()
    ]
    steps = table(["trained", "threads", "with", "time of a step, ratio", "processor time, ratio", "ms without"], rows)
    share, room = measured["sampler"]["share_of_a_core"], measured["disk"]["bytes"]
    others = table(
        ["what", "measured", "goal"],
        [
            ["sampler, part of a core", f"{100 * share:.2f} %", f"{100 * GOALS['sampler']:.1f} %"],
            ["tensors of 20 epochs of a whole ResNet50", f"{room / 1e6:.1f} MB", f"{GOALS['disk'] / 1e6:.0f} MB"],
            ["rules' process for them", f"{measured['disk']['rules_cpu_seconds']:.1f} processor seconds", ""],
        ],
    )
    about = (
        f"{measured['processor']}; medians of {measured['rounds']} rounds in turns, {HEAD_ROUNDS} times as "
        "many of a head, after one to warm up."
    )
    return f"{about} A goal of {GOALS['hook']} for the hook.\n\n{steps}\n{others}"


if __name__ == "__main__":
    main(sys.argv[1:])
