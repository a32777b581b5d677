"""A weights channel, photos and one finished training job for the tests of this folder. Run: `make test`."""

import contextlib
import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from PIL import Image

from training.compatibility import import_torchvision
from training.settings import Folders
from training.train import main

COLOURS = {"blue": (30, 60, 200), "green": (40, 180, 60), "red": (210, 40, 30)}


def save_photo(file: Path, colour: tuple[int, int, int], seed: int) -> None:
    """A speckled square of one colour: real files, told apart even by a backbone with random weights."""
    noise = torch.randint(-30, 30, (48, 64, 3), generator=torch.Generator().manual_seed(seed))
    pixels = (torch.tensor(colour) + noise).clamp(0, 255).to(torch.uint8)
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.numpy()).save(file)


def save_classes(folder: Path, photos: int, classes: tuple[str, ...] = tuple(COLOURS)) -> Path:
    """Class folders with so many photos each."""
    for name in classes:
        for number in range(photos):
            save_photo(folder / name / f"{number}.png", COLOURS.get(name, (120, 120, 120)), number)
    return folder


def describe_weights(folder: Path, **changes: str) -> Path:
    """(Re)write resnet50.json beside resnet50.pth."""
    digest = hashlib.sha256((folder / "resnet50.pth").read_bytes()).hexdigest()
    fields = {"file": "resnet50.pth", "sha256": digest, "stride": "v1.5", "source": "random numbers"} | changes
    (folder / "resnet50.json").write_text(json.dumps(fields))
    return folder


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights channel: ResNet50 with seeded random weights, stored as float16."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(7)
    state = import_torchvision().resnet50(weights=None).state_dict()
    torch.save({key: value.half() if value.is_floating_point() else value for key, value in state.items()}, folder / "resnet50.pth")
    return describe_weights(folder)


@dataclass(frozen=True)
class Job:
    """A training job that has ended."""

    status: int
    folders: Folders
    log: str


def job_folders(base: Path, photos: Path, weights: Path) -> Folders:
    return Folders(photos=photos, weights=weights, model=base / "model", checkpoints=base / "checkpoints", failure=base / "output/failure")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Job:
    """The final training job on three classes of ten photos, one of the files being a text."""
    base = tmp_path_factory.mktemp("job")
    photos = save_classes(base / "photos", photos=10)
    (photos / "red" / "no_photo.jpg").write_text("this is a text")
    folders = job_folders(base, photos, weights)
    arguments = ["--lr", "0.01", "--batch_size", '"8"', "--epochs", "12", "--seed", "3", "--evaluate_test", "True"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRAINING_JOB_NAME", "whippet-test-train")
        status, log = run_quietly(arguments, folders)
    return Job(status, folders, log)


def run_quietly(arguments: list[str], folders: Folders) -> tuple[int, str]:
    """Run the job and return its exit status and what it printed."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        status = main(arguments, folders)
    return status, output.getvalue()
