"""A prepared data set made by hand, so that every number in it is known; no backbone computes anything. For the tests of this folder."""

import io
import json
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from training.data.dataset import (
    CHECK_FOLDER,
    DESCRIPTION,
    SCHEMA_VERSION,
    SUMMARY,
    THUMBNAILS,
    Dataset,
    Photo,
    describe_files,
    open_dataset,
    write_manifest,
)
from training.data.preprocessing import Preprocessing
from training.job.safetensors_file import write_tensors
from training.network.resnet50 import FEATURES, BackboneDescription

WEIGHTS = BackboneDescription(file="resnet50.pth", sha256="ab" * 32, stride="v1.5", source="random numbers")


def jpeg(colour: tuple[int, int, int], size: tuple[int, int] = (40, 30)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "JPEG")
    return buffer.getvalue()


def make_dataset(
    folder: Path,
    splits: dict[str, list[int]],
    classes: tuple[str, ...] = ("blue", "green", "red"),
    *,
    pictures: bool = True,
    **summary: Any,
) -> Dataset:
    """A data set whose splits show the given labels; a photo's features are 1 at the place of its label, 0 elsewhere."""
    folder.mkdir(parents=True)
    labels = [(split, label) for split, shown in splits.items() for label in shown]
    photos = tuple(Photo(f"{classes[label]}/{n:03}.jpg", f"{n:064x}", 100, split, label) for n, (split, label) in enumerate(labels))
    write_manifest(folder, photos)
    features = torch.zeros(len(photos), FEATURES, dtype=torch.float16)
    features[torch.arange(len(photos)), [photo.label for photo in photos]] = 1
    write_tensors(folder / "features-00000.safetensors", {"features": features})
    counts = {split: {name: shown.count(label) for label, name in enumerate(classes)} for split, shown in splits.items()}
    fields = {"classes": classes, "photos": counts, "left_out": [], **summary}
    (folder / SUMMARY).write_text(json.dumps(fields), encoding="utf-8")
    if pictures:
        _write_pictures(folder, len(splits["test"]))
    description = {
        "schema_version": SCHEMA_VERSION,
        "data_sha256": "cd" * 32,
        "weights_sha256": WEIGHTS.sha256,
        "code_sha256": "ef" * 32,
        "seed": 42,
        "classes": classes,
        "preprocessing": Preprocessing().to_json(),
        "processor": "CPU, float32",
        "files": describe_files(folder),
    }
    (folder / DESCRIPTION).write_text(json.dumps(description), encoding="utf-8")
    return open_dataset(folder)


def _write_pictures(folder: Path, count: int) -> None:
    """A thumbnail for each test photo, each of another grey, and two check photos."""
    files = [jpeg((number % 256,) * 3) for number in range(count)]
    offsets = torch.tensor([0, *torch.tensor([len(file) for file in files]).cumsum(0).tolist()])
    content = torch.frombuffer(bytearray(b"".join(files)), dtype=torch.uint8)
    write_tensors(folder / THUMBNAILS, {"bytes": content, "offsets": offsets})
    (folder / CHECK_FOLDER).mkdir()
    for number, colour in enumerate(((200, 30, 40), (30, 60, 220))):
        (folder / CHECK_FOLDER / f"{number}.jpg").write_bytes(jpeg(colour, (300, 260)))
