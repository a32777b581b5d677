"""A weights channel, photos, their prepared data set and one finished training job for the tests of this folder. Run: `make test`."""

import contextlib
import hashlib
import io
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from PIL import Image

from training.network.torchvision_repairs import import_torchvision
from training.prepare import main as prepare
from training.settings import Folders

COLOURS = {"blue": (30, 60, 200), "green": (40, 180, 60), "red": (210, 40, 30)}


def save_photo(file: Path, colour: tuple[int, int, int], seed: int) -> None:
    """A speckled square of one colour: real files, told apart even by a backbone with random weights."""
    own = zlib.crc32("/".join(file.parts[-3:]).encode("utf-8", "surrogateescape"))  # or photos of two classes would be near duplicates
    noise = torch.randint(-30, 30, (48, 64, 3), generator=torch.Generator().manual_seed(own + seed))
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


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photos channel: three classes of ten photos, and one file that is a text."""
    folder = save_classes(tmp_path_factory.mktemp("channel") / "photos", photos=10)
    (folder / "red" / "no_photo.jpg").write_text("this is a text")
    return folder


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory, photos: Path, weights: Path) -> Path:
    """The prepared data set of `photos`."""
    base = tmp_path_factory.mktemp("preparation")
    status, log = prepare_quietly(photos, weights, base)
    assert status == 0, log
    return base / "dataset"


def prepare_quietly(photos: Path, weights: Path, base: Path, seed: int = 42, **numbers: int) -> tuple[int, str]:
    """Prepare `base/dataset` with its report in `base/report`; return the exit status and what was printed. `numbers`: other options."""
    folders = {"photos": photos, "weights": weights, "dataset": base / "dataset", "report": base / "report", "message": base / "message"}
    options = {**folders, "seed": seed, **numbers}
    return quietly(prepare, [text for name, value in options.items() for text in (f"--{name}", str(value))])


def quietly(program: Callable[..., int], *arguments: object) -> tuple[int, str]:
    """Run a program's main and return its exit status and what it printed."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        status = program(*arguments)
    return status, output.getvalue()


@dataclass(frozen=True)
class Job:
    """A training job that has ended."""

    status: int
    folders: Folders
    log: str


def job_folders(base: Path, dataset: Path, weights: Path, photos: Path) -> Folders:
    return Folders(
        dataset=dataset,
        photos=photos,
        weights=weights,
        model=base / "model",
        checkpoints=base / "checkpoints",
        failure=base / "output/failure",
    )


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, prepared: Path, weights: Path, photos: Path) -> Job:
    """The final training job, of a head, on the prepared data set."""
    folders = job_folders(tmp_path_factory.mktemp("job"), prepared, weights, photos)
    arguments = ["--lr", "0.01", "--batch_size", '"8"', "--epochs", "12", "--seed", "3", "--evaluate_test", "True"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRAINING_JOB_NAME", "whippet-test-train")
        status, log = run_quietly(arguments, folders)
    return Job(status, folders, log)


def run_quietly(arguments: list[str], folders: Folders) -> tuple[int, str]:
    """Run a training job and return its exit status and what it printed."""
    from training.train import main

    return quietly(main, arguments, folders)
