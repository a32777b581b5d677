"""The prepared data set: PrepareDataset writes it to S3 and training jobs read it. Made once for the same photos, weights, seed and code.

Runs in processing and training jobs. A folder with

    dataset.json                  hashes, classes, preprocessing, and every other file with its length and digest; written last
    manifest.jsonl                one line per used photo, in order of its name
    summary.json                  for people: counts, files left out, duplicates, leaks, class balance
    features-00000.safetensors …  "features": float16 [n, 2048], in manifest order
    thumbnails.safetensors        "bytes": uint8, "offsets": int64 [n + 1]: a small JPEG of each test photo, in manifest order
    check/                        a few unchanged test photos, which verify the endpoint
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from training.contract import DATASET_DESCRIPTION
from training.data.preprocessing import Preprocessing
from training.job.failure import InputRefusedError
from training.job.safetensors_file import TensorFileError, read_tensors

SCHEMA_VERSION = 1
DESCRIPTION = DATASET_DESCRIPTION
MANIFEST = "manifest.jsonl"
SUMMARY = "summary.json"
THUMBNAILS = "thumbnails.safetensors"
CHECK_FOLDER = "check"

AGAIN = "delete its folder under prepared-data-sets/ in the bucket, and the next execution prepares it again"


@dataclass(frozen=True)
class Photo:
    """One used photo and its class."""

    name: str
    """Path below the photos channel, with forward slashes."""
    sha256: str
    """Of the file."""
    bytes: int
    split: str
    """One of SPLITS."""
    label: int
    """Index into the classes."""


@dataclass(frozen=True)
class Features:
    """The frozen backbone's features of a split's photos."""

    values: torch.Tensor
    """float32 [n, FEATURES], on the CPU."""
    labels: torch.Tensor
    """int64 [n]."""


@dataclass(frozen=True)
class Description:
    """The content of dataset.json."""

    schema_version: int
    data_sha256: str
    """Digest of every used photo's name, class, split and content."""
    weights_sha256: str
    """Of the backbone's file."""
    code_sha256: str
    """Of the code that prepared it."""
    seed: int
    classes: tuple[str, ...]
    """In the order of the network's outputs."""
    preprocessing: dict[str, Any]
    processor: str
    """The hardware and number format that computed the features, such as `CPU, bfloat16`."""
    files: dict[str, dict[str, Any]]
    """File name -> {"bytes", "sha256"}, of every file but dataset.json itself."""


@dataclass(frozen=True)
class Dataset:
    """A prepared data set, open for reading."""

    folder: Path
    description: Description
    photos: tuple[Photo, ...]
    """All that are used, in manifest order."""

    @property
    def classes(self) -> tuple[str, ...]:
        """In the order of the network's outputs."""
        return self.description.classes

    @property
    def preprocessing(self) -> Preprocessing:
        """How photos became features, and how the model needs them."""
        return Preprocessing.from_json(self.description.preprocessing)

    def split(self, name: str) -> tuple[Photo, ...]:
        """The photos of one of SPLITS, in manifest order."""
        return tuple(photo for photo in self.photos if photo.split == name)

    def labels(self, split: str) -> torch.Tensor:
        """int64 [n], in manifest order."""
        return torch.tensor([photo.label for photo in self.photos if photo.split == split], dtype=torch.int64)

    def features(self, split: str) -> Features:
        """The features of one split; those of other splits are not kept.

        Raises:
            InputRefusedError: a features file is damaged, or the number of features differs from that of the photos.
        """
        wanted = torch.tensor([photo.split == split for photo in self.photos], dtype=torch.bool)
        kept, start = [], 0
        for shard in self._shards():
            kept.append(shard[wanted[start : start + len(shard)]].float())
            start += len(shard)
        if start != len(self.photos):
            raise InputRefusedError(
                f"the data set channel holds features of {start} photos, but {MANIFEST} lists {len(self.photos)}: {AGAIN}"
            )
        return Features(torch.cat(kept), self.labels(split))

    def thumbnails(self) -> list[bytes]:
        """JPEG files of the test photos, in manifest order; empty if there were too many to keep."""
        if THUMBNAILS not in self.description.files:
            return []
        tensors, _ = _read(self.folder / THUMBNAILS)
        content, offsets = tensors["bytes"].numpy().tobytes(), tensors["offsets"].tolist()
        return [content[start:end] for start, end in pairwise(offsets)]

    @cached_property
    def check_photos(self) -> tuple[Path, ...]:
        """Files of a few test photos."""
        return tuple(sorted(self.folder / name for name in self.description.files if name.startswith(f"{CHECK_FOLDER}/")))

    def _shards(self) -> Iterator[torch.Tensor]:
        for name in sorted(name for name in self.description.files if name.startswith("features-")):
            yield _read(self.folder / name)[0]["features"]


def open_dataset(folder: Path) -> Dataset:
    """Open a prepared data set and verify its files.

    Raises:
        InputRefusedError: a file is missing or differs from dataset.json, or a name leads out of its channel.
    """
    try:
        fields = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        if fields.get("schema_version") != SCHEMA_VERSION:
            raise InputRefusedError(
                f"{DESCRIPTION} is of schema version {fields.get('schema_version')!r}, this code reads {SCHEMA_VERSION}: {AGAIN}"
            )
        description = Description(**{**fields, "classes": tuple(fields["classes"])})
        for name, expected in description.files.items():
            _refuse_elsewhere(name)
            _check(folder / name, name, expected)
        lines = (folder / MANIFEST).read_text(encoding="utf-8").splitlines()
        photos = tuple(Photo(**json.loads(line)) for line in lines)
        for photo in photos:
            _refuse_elsewhere(photo.name)
        return Dataset(folder, description, photos)
    except FileNotFoundError as error:
        raise InputRefusedError(
            f"the data set channel lacks {Path(error.filename).name}: start the job through the state machine, which makes it"
        ) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        if isinstance(error, InputRefusedError):
            raise
        raise InputRefusedError(f"the data set channel is not what PrepareDataset writes: {error!r}") from error


def write_manifest(folder: Path, photos: tuple[Photo, ...]) -> None:
    """Write manifest.jsonl; names that are not valid Unicode are escaped, so that they are read back unchanged."""
    text = "".join(f"{json.dumps(asdict(photo))}\n" for photo in photos)
    (folder / MANIFEST).write_text(text, encoding="utf-8")


def describe_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the length and digest of every file below the folder, by name."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != DESCRIPTION)
    return {path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": digest_of(path)} for path in files}


def digest_of(file: Path) -> str:
    """Return the hex SHA-256 of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _refuse_elsewhere(name: str) -> None:
    if {"", ".", ".."} & set(name.split("/")) or "\0" in name:
        raise InputRefusedError(
            f"the data set channel names {name!r}, which leads out of its channel: PrepareDataset never writes such a name; {AGAIN}"
        )


def _check(file: Path, name: str, expected: dict[str, Any]) -> None:
    if file.stat().st_size != expected["bytes"] or digest_of(file) != expected["sha256"]:
        raise InputRefusedError(
            f"{name} in the data set channel is not the file that {DESCRIPTION} describes: it was changed or cut short; {AGAIN}"
        )


def _read(file: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    try:
        return read_tensors(file)
    except TensorFileError as error:
        raise InputRefusedError(f"the data set channel is damaged: {error}") from error
