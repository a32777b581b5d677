"""`whippet upload`: checks photos, and optionally ImageNet weights, and uploads them to the project's bucket.

Runs on the user's machine, each with --local: `whippet upload PATH` with class folders or a zip, `whippet upload dogs` for 133 breeds.
"""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TransferSpeedColumn
from rich.text import Text

from cli.account.target import Target, home, open_target
from cli.photos.archive import sha256, unpack
from cli.photos.bucket import Bucket, Uploaded
from cli.photos.download import Download
from cli.photos.photo_folder import PhotoFolder, read_photo_folder
from cli.terminal.errors import RefusedError
from cli.terminal.options import Local, Project
from cli.terminal.screen import open_console
from training.contract import STRIDES
from training.contract.photos import LAYOUTS

DATA_PREFIX = "data/"
WEIGHTS_PREFIX, WEIGHTS_FILE, WEIGHTS_DESCRIPTION = "weights/", "resnet50.pth", "resnet50.json"

DOGS_URL = "https://s3-us-west-1.amazonaws.com/udacity-aind/dog-project/dogImages.zip"
DOGS_CLASSES = 133


class PhotosPerSecond(ProgressColumn):
    """The upload rate in photos per second."""

    def render(self, task: Task) -> Text:
        """Return the photos per second, empty before the first."""
        return Text(f"{task.speed:,.0f} photos/s" if task.speed else "", style="dim")


def upload(
    path: Annotated[str, typer.Argument(help="Class folders, a zip of them, or `dogs` for the 133 dog breeds.")] = "",
    local: Local = False,
    project: Project = None,
    replace: Annotated[bool, typer.Option("--replace", help="Remove photos in the bucket that are not in PATH.")] = False,
    weights: Annotated[Path | None, typer.Option(help="Put this ResNet50 state_dict file beside the photos.")] = None,
    stride: Annotated[str | None, typer.Option(help="Stride variant of that file: v1.5 (torchvision) or v1 (Keras, Caffe).")] = None,
) -> None:
    """Put photos into the bucket."""
    if not path and weights is None:
        raise RefusedError(f"Nothing to upload. Name class folders or a zip ({LAYOUTS}), or `dogs`, or --weights FILE.")
    console, target = open_console(), open_target(local, project)
    if weights is not None:
        sent = upload_weights(target, weights, _check_stride(stride), f"{weights.name}, uploaded by hand")
        console.print(f"[green]✓[/] Weights {'are in the bucket' if sent else 'were in the bucket already'}")
    if path:
        photos = fetch_dogs(console, DOGS_URL, home() / "cache") if path == "dogs" else open_photos(Path(path), home() / "cache")
        console.print(photos.describe())
        print_uploaded(console, target, upload_with_bar(console, target, photos, replace))
        console.print(f"Next: [bold]whippet run{target.option}[/]")


def open_photos(path: Path, cache: Path) -> PhotoFolder:
    """Read and check class folders, or a zip of them, unpacked into the cache."""
    if path.is_dir():
        return read_photo_folder(path)
    if not path.exists():
        raise RefusedError(f"{path} does not exist. Name a folder or a zip with {LAYOUTS}")
    if not zipfile.is_zipfile(path):
        raise RefusedError(f"{path} is neither a folder nor a zip. Unpack other archives and pass the folder.")
    return read_photo_folder(unpack(path, cache))


def fetch_dogs(console: Console, url: str, cache: Path) -> PhotoFolder:
    """Download and unpack the dog breeds once; raises RefusedError for an unexpected tree."""
    archive = cache / url.rsplit("/", 1)[-1]
    with Progress("{task.description}", BarColumn(), DownloadColumn(), TransferSpeedColumn(), console=console, transient=True) as progress:
        task = progress.add_task("Downloading the dogs", total=None)
        Download(url, archive, lambda so_far, size: progress.update(task, completed=so_far, total=size)).run()
    photos = open_photos(archive, cache)
    if len(photos.classes) != DOGS_CLASSES or photos.splits != ("train", "valid", "test"):
        raise RefusedError(
            f"{archive} holds {len(photos.classes)} classes with the splits {', '.join(photos.splits) or 'none'}; expected {DOGS_CLASSES} "
            "with train, valid and test. The file on the server has changed: check it, and upload it by its path if it is correct."
        )
    return photos


def upload_photos(target: Target, photos: PhotoFolder, replace: bool, progress: Callable[[int], None]) -> Uploaded:
    """Upload the photos that are not in the bucket yet; calls `progress` with 1 per photo."""
    return Bucket(target.client("s3"), target.outputs().bucket).upload(DATA_PREFIX, photos.photos, replace, progress)


def upload_with_bar(console: Console, target: Target, photos: PhotoFolder, replace: bool) -> Uploaded:
    """Upload the photos with a progress bar."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), PhotosPerSecond())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("Uploading", total=len(photos.photos))
        return upload_photos(target, photos, replace, lambda done: progress.advance(task, done))


def print_uploaded(console: Console, target: Target, done: Uploaded) -> None:
    """Print one line with the result, and a warning if the bucket also has older photos."""
    parts = [f"{done.sent:,} photos uploaded"] + ([f"{done.skipped:,} already there"] if done.skipped else [])
    parts += [f"{done.deleted:,} others removed"] if done.deleted else []
    console.print(f"[green]✓[/] {', '.join(parts)}: s3://{target.outputs().bucket}/{DATA_PREFIX}")
    if done.others:
        console.print(
            f"[yellow]![/] {done.others:,} older photos are in the bucket too and will be used for training; --replace removes them."
        )


def upload_weights(target: Target, file: Path, stride: str, source: str) -> bool:
    """Upload the weights, then their description; returns False if the bucket already has them."""
    if not file.is_file():
        raise RefusedError(f"{file} does not exist. --weights takes a ResNet50 state_dict file (.pth).")
    bucket = Bucket(target.client("s3"), target.outputs().bucket)
    description = {"file": WEIGHTS_FILE, "sha256": sha256(file), "stride": stride, "source": source}
    body = json.dumps(description, indent=2).encode()
    sent = bucket.upload(WEIGHTS_PREFIX, {WEIGHTS_FILE: file}, False, lambda _done: None).sent
    if not sent and bucket.get(WEIGHTS_PREFIX + WEIGHTS_DESCRIPTION) == body:
        return False
    bucket.put(WEIGHTS_PREFIX + WEIGHTS_DESCRIPTION, body)
    return True


def _check_stride(stride: str | None) -> str:
    if stride not in STRIDES:
        raise RefusedError(
            f"--weights needs --stride {' or '.join(STRIDES)}; got {stride!r}. A wrong one loads silently and costs accuracy: "
            "v1.5 for torchvision's files, v1 for Keras' and Caffe's."
        )
    return stride
