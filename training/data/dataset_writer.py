"""Writes the files of a prepared data set; training/data/dataset.py describes and reads them.

Runs in the processing job.
"""

import hashlib
import io
import json
import shutil
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from itertools import accumulate, chain, zip_longest
from pathlib import Path

import torch
from PIL import Image

from training.contract.photos import FORMATS, LARGEST_PHOTO_BYTES, PILLOW_FORMATS
from training.data.dataset import CHECK_FOLDER, DESCRIPTION, THUMBNAILS, Description, Photo, describe_files, write_manifest
from training.data.spool import Spool
from training.job.safetensors_file import write_tensors

MAX_THUMBNAILS = 5_000
"""If there are more test photos, no thumbnails are kept."""
CHECK_PHOTOS = 8
"""Most photos that verify the endpoint."""


def write_photos(folder: Path, photos: Sequence[Photo], rows: Sequence[int], spool: Spool, channel: Path) -> None:
    """Write the manifest, the features, the thumbnails and the check photos.

    `rows`: the position of each photo in the spool; `channel`: the folder that the photos' names start from.
    """
    write_manifest(folder, tuple(photos))
    for number, shard in enumerate(spool.shards(rows)):
        write_tensors(folder / f"features-{number:05}.safetensors", {"features": shard})
    _write_thumbnails(folder / THUMBNAILS, [row for photo, row in zip(photos, rows, strict=True) if photo.split == "test"], spool)
    _copy_check_photos(folder / CHECK_FOLDER, photos, channel)


def write_description(folder: Path, description: Description) -> None:
    """Write dataset.json with the lengths and digests of all other files, last: if it exists, the data set is complete."""
    fields = asdict(description) | {"files": describe_files(folder)}
    (folder / DESCRIPTION).write_text(f"{json.dumps(fields, indent=1)}\n", encoding="utf-8")


def data_sha256(photos: Sequence[Photo], classes: Sequence[str]) -> str:
    """Return the digest of every used photo's name, class, split and content."""
    digest = hashlib.sha256()
    for photo in photos:
        line = f"{photo.name}\0{classes[photo.label]}\0{photo.split}\0{photo.sha256}\n"
        digest.update(line.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def choose_check_photos(photos: Sequence[Photo]) -> list[Photo]:
    """Return a few test photos: one of each class, then another of each, until there are enough."""
    by_class = defaultdict(list)
    for photo in photos:
        if photo.split == "test" and photo.bytes <= LARGEST_PHOTO_BYTES:
            by_class[photo.label].append(photo)
    rounds = zip_longest(*(by_class[label] for label in sorted(by_class)))
    return [photo for photo in chain.from_iterable(rounds) if photo is not None][:CHECK_PHOTOS]


def _write_thumbnails(file: Path, rows: Sequence[int], spool: Spool) -> None:
    if not 0 < len(rows) <= MAX_THUMBNAILS:
        return
    thumbnails = [spool.thumbnail(row) for row in rows]
    offsets = torch.tensor([0, *accumulate(map(len, thumbnails))], dtype=torch.int64)
    write_tensors(file, {"bytes": torch.frombuffer(bytearray(b"".join(thumbnails)), dtype=torch.uint8), "offsets": offsets})


def _copy_check_photos(folder: Path, photos: Sequence[Photo], channel: Path) -> None:
    """Copy them unchanged, named by number and format, because a photo's own name may not be valid in a key."""
    folder.mkdir()
    for number, photo in enumerate(choose_check_photos(photos)):
        source = channel / photo.name
        shutil.copyfile(source, folder / f"{number}{_ending(source)}")


def _ending(file: Path) -> str:
    with Image.open(io.BytesIO(file.read_bytes()), formats=PILLOW_FORMATS) as image:
        return next((each.suffixes[0] for each in FORMATS if each.title.upper() == image.format), FORMATS[0].suffixes[0])  # MPO is a JPEG
