"""Kills training jobs with SIGKILL at random moments, starts them again, and compares the models with one that was never killed.

    python -m benchmarks.resume [--kills 100]

Needs nothing but this repository: the photos are coloured noise and the weights random, since only equality of bits is asked for. Jobs are
processes forked from this one, which has imported everything; half of them train a head, half the network's last stage.
"""

import argparse
import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from benchmarks.results import write_result
from training.contract import WEIGHTS_DESCRIPTION
from training.data.dataset import DESCRIPTION, digest_of
from training.network.resnet50 import build_resnet50
from training.serving.artefact import WEIGHTS
from training.settings import Folders
from training.train import main as train

CLASSES = {"blue": (30, 60, 200), "green": (40, 180, 60), "red": (210, 40, 30)}
PHOTOS = 12
"""Of each class."""
SMALL = {"resize": 36, "crop": 32}
"""Pixels a side that the network is trained on: the job is the same, only sooner done."""
COMMON = ("--lr", "0.0001", "--batch_size", "4", "--debugger", "off")
JOBS = {
    "head": (*COMMON, "--trainable", "head", "--epochs", "60"),
    "last_stage": (*COMMON, "--trainable", "last_stage", "--epochs", "5"),
}
SEED = 20


@dataclass(frozen=True)
class Run:
    """One job that was killed and started again."""

    trainable: str
    killed_after_seconds: float
    came_back: str
    """`from a checkpoint`, `from the start` or `to find all epochs done`."""
    same_bits: bool


class Workshop:
    """Folders with the channels, and a folder for each job."""

    def __init__(self, base: Path) -> None:
        """Make photos, weights and the prepared data set."""
        self.base = base
        for label, (name, colour) in enumerate(CLASSES.items()):
            for number in range(PHOTOS):
                save_photo(base / "photos" / name / f"{number}.png", colour, label * PHOTOS + number)
        save_weights(base / "weights")
        options = [f"--{name}={base / name}" for name in ("photos", "weights", "dataset", "report", "message")]
        subprocess.run([sys.executable, "-m", "training.prepare", *options, "--seed=42"], check=True, stdout=subprocess.DEVNULL)
        file = base / "dataset" / DESCRIPTION
        description = json.loads(file.read_text(encoding="utf-8"))
        description["preprocessing"] |= SMALL
        file.write_text(json.dumps(description), encoding="utf-8")

    def folders(self, job: str) -> Folders:
        """Return the folders of a job."""
        own = self.base / "jobs" / job
        channels = {name: self.base / name for name in ("dataset", "photos", "weights")}
        return Folders(**channels, model=own / "model", checkpoints=own / "checkpoints", failure=own / "failure", job=job)

    def start(self, job: str, arguments: tuple[str, ...]) -> int:
        """Fork a process that runs the job; return its number."""
        folders = self.folders(job)
        folders.model.parent.mkdir(parents=True, exist_ok=True)
        child = os.fork()
        if child:
            return child
        status = 1
        with self.log(job).open("a") as log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
            try:
                status = train(arguments, folders)
            finally:
                log.flush()
                os._exit(status)

    def log(self, job: str) -> Path:
        """Return the file with what a job printed."""
        return self.base / "jobs" / f"{job}.log"

    def model(self, job: str) -> str:
        """Return the digest of the weights that a job left."""
        return digest_of(self.folders(job).model / WEIGHTS)


def save_photo(file: Path, colour: tuple[int, int, int], seed: int) -> None:
    """Write a speckled square."""
    noise = torch.randint(-30, 30, (48, 64, 3), generator=torch.Generator().manual_seed(seed))
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((torch.tensor(colour) + noise).clamp(0, 255).to(torch.uint8).numpy()).save(file)


def save_weights(folder: Path) -> None:
    """Write a weights channel with random numbers."""
    folder.mkdir()
    torch.manual_seed(SEED)
    network = build_resnet50("v1.5", 1000).to_empty(device="cpu")
    for value in network.state_dict().values():
        value.normal_(0, 0.02) if value.is_floating_point() and value.dim() > 1 else value.fill_(1)
    torch.save(network.state_dict(), folder / "resnet50.pth")
    digest = hashlib.sha256((folder / "resnet50.pth").read_bytes()).hexdigest()
    fields = {"file": "resnet50.pth", "sha256": digest, "stride": "v1.5", "source": "random numbers"}
    (folder / WEIGHTS_DESCRIPTION).write_text(json.dumps(fields), encoding="utf-8")


def wait(child: int) -> int:
    """Return the exit status of a process, negative where a signal ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def run_whole(workshop: Workshop, trainable: str) -> tuple[str, float]:
    """Run a job undisturbed; return the digest of its model and the seconds it took."""
    started = time.monotonic()
    job = f"{trainable}-whole"
    if wait(workshop.start(job, JOBS[trainable])):
        raise RuntimeError(workshop.log(job).read_text(encoding="utf-8"))
    return workshop.model(job), time.monotonic() - started


def kill_and_start_again(workshop: Workshop, trainable: str, number: int, draw: random.Random, seconds: float, expected: str) -> Run:
    """Kill a job at a moment drawn from its whole life, start it again, and compare."""
    job, status, after = f"{trainable}-{number}", 0, 0.0
    while status != -signal.SIGKILL:  # a job that had ended before it was killed is drawn for again
        after = draw.uniform(0, seconds)
        shutil.rmtree(workshop.base / "jobs" / job, ignore_errors=True)
        child = workshop.start(job, JOBS[trainable])
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
        status = wait(child)
    at_kill = workshop.log(job).stat().st_size
    if wait(workshop.start(job, JOBS[trainable])):
        raise RuntimeError(workshop.log(job).read_text(encoding="utf-8"))
    log = workshop.log(job).read_text(encoding="utf-8")[at_kill:]
    went_on = "from a checkpoint" if "epoch 1:" not in log and "epoch " in log.partition("goes on")[2] else "from the start"
    came_back = "to find all epochs done" if "resumes after epoch" in log and "[metric] train:loss" not in log else went_on
    run = Run(trainable, after, came_back, workshop.model(job) == expected)
    shutil.rmtree(workshop.base / "jobs" / job)
    return run


def to_page(runs: list[Run], seconds: dict[str, float]) -> str:
    """Return the table of the .md file."""
    rows = ["| trainable | killed | same bits | seconds of an undisturbed job | came back |", "| --- | --- | --- | --- | --- |"]
    for trainable in JOBS:
        own = [run for run in runs if run.trainable == trainable]
        ways = ", ".join(f"{count} {way}" for way, count in sorted(Counter(run.came_back for run in own).items()))
        rows.append(f"| {trainable} | {len(own)} | {sum(run.same_bits for run in own)} | {seconds[trainable]:.1f} | {ways} |")
    words = (
        "Each job was killed with SIGKILL at a moment drawn evenly from its whole life (loading, training, writing), then started again."
    )
    return "\n".join([words + " Same bits: model.safetensors is that of a job that was never killed, byte for byte.", "", *rows])


def main() -> None:
    """Kill, compare, write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    kills = parser.parse_args().kills
    torch.set_num_threads(1)
    draw, runs, seconds = random.Random(SEED), [], {}
    with tempfile.TemporaryDirectory() as folder:
        workshop = Workshop(Path(folder))
        for trainable in JOBS:
            expected, seconds[trainable] = run_whole(workshop, trainable)
            for number in range(kills // len(JOBS)):
                runs.append(kill_and_start_again(workshop, trainable, number, draw, seconds[trainable], expected))
                print(runs[-1], flush=True)
    same = sum(run.same_bits for run in runs)
    measured: dict[str, Any] = {"kills": len(runs), "same_bits": same, "seed": SEED, "seconds_undisturbed": seconds}
    ways = {way: sum(run.came_back == way for run in runs) for way in sorted({run.came_back for run in runs})}
    file = write_result("resume", {**measured, "came_back": ways, "runs": [vars(run) for run in runs]}, to_page(runs, seconds))
    print(f"{same} of {len(runs)} killed jobs ended with the same bits: {file.name}")


if __name__ == "__main__":
    main()
