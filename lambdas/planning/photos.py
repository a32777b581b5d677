"""The class folders under a prefix of the bucket: how many files each class has, and whether a job could train on them.

Runs inside `prepare_execution`: finding out here costs seconds, finding out in a processing job costs an instance start. Only names are
read; whether a file really is a photo is for PrepareDataset to say.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import takewhile
from pathlib import PurePosixPath
from typing import Any

from training.contract.fields import shown
from training.contract.photos import DOCUMENT_SUFFIXES, LAYOUTS, MAX_LEFT_OUT, MOST_NAME_BYTES, SPLIT_FOLDERS, is_ignored

Folder = tuple[str, ...]
"""Names of the folders from the prefix to a file."""


class NoUsableData(ValueError):  # noqa: N818 - the name is what the state machine shows
    """No job could train on what lies under the prefix; the message says where that is, what is wrong and what to do."""


@dataclass(frozen=True)
class Photos:
    """Files counted by split and class; a data set without split folders has the one split ``""``."""

    where: str
    """`s3://<bucket>/<prefix>`, with the lone folder that the class folders may lie in."""
    counts: Mapping[str, Mapping[str, int]]
    left_out: int
    """Files outside any class folder, and documents."""
    files: int = 0
    """Objects under the prefix, litter and documents included: what a job finds that downloads it."""
    bytes: int = 0
    """Of all of them together."""
    sha256: str = ""
    """Over the name below the prefix, ETag and size of every object: another one where any photo is new, changed, renamed or gone."""
    newest: datetime | None = None
    """When the last of them was written; None where there is none."""

    @property
    def is_split(self) -> bool:
        """Whether the folders are train/valid/test folders of class folders."""
        return "train" in self.counts

    @property
    def classes(self) -> list[str]:
        """The classes to learn, in order."""
        return sorted(self.counts["train" if self.is_split else ""])

    @property
    def total(self) -> int:
        """Files in all class folders."""
        return sum(count for classes in self.counts.values() for count in classes.values())


def count_photos(s3: Any, bucket: str, prefix: str) -> Photos:
    """Counts the files under the prefix, however many there are; what PrepareDataset could not get or take raises NoUsableData."""
    folders: Counter[Folder] = Counter()
    documents = files = size = 0
    digest, newest = hashlib.sha256(), None
    for entry in objects(s3, bucket, prefix):
        key = entry["Key"]
        name = key.removeprefix(prefix)
        files, size = files + 1, size + entry["Size"]
        newest = max(newest or entry["LastModified"], entry["LastModified"])
        digest.update(json.dumps([name, entry["ETag"], entry["Size"]]).encode())
        parts = tuple(name.split("/"))
        require_file_name(key, parts)
        seen = tuple(takewhile(lambda part: not is_ignored(part), parts))
        is_document = seen == parts and PurePosixPath(key).suffix.lower() in DOCUMENT_SUFFIXES
        documents += is_document
        folders[seen[: len(parts) - 1]] += seen == parts and not is_document
    where, inner = step_inside(f"s3://{bucket}/{prefix}", folders)
    return replace(arrange(where, inner, documents), files=files, bytes=size, sha256=digest.hexdigest(), newest=newest)


def objects(s3: Any, bucket: str, prefix: str) -> Iterator[Mapping[str, Any]]:
    """Every object under the prefix, in the order of their keys, but the placeholders of folders."""
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        yield from (entry for entry in page.get("Contents", []) if not entry["Key"].endswith("/"))


def require_file_name(key: str, parts: Folder) -> None:
    """Raises NoUsableData for an object that cannot become a file below a job's folder."""
    if any(part in ("", ".", "..") or "\0" in part or len(part.encode()) > MOST_NAME_BYTES for part in parts):
        raise NoUsableData(
            f"the object key {shown(key)} cannot be a file name, so no job could download it: it has an empty part, '.' or '..', "
            f"or one of more than {MOST_NAME_BYTES} bytes; rename or delete the object"
        )


def step_inside(where: str, folders: Mapping[Folder, int]) -> tuple[str, Mapping[Folder, int]]:
    """What lies in the lone folder of folders that an archive often brings; the same again where there is none."""
    tops = {folder[0] for folder in folders if folder}
    if len(tops) != 1 or folders.get((), 0):
        return where, folders
    (lone,) = tops
    inner = {folder[1:]: files for folder, files in folders.items() if folder}
    if lone.lower() in SPLIT_FOLDERS or inner.get((), 0) or not any(inner):
        return where, folders
    return step_inside(f"{where}{lone}/", inner)


def arrange(where: str, folders: Mapping[Folder, int], documents: int) -> Photos:
    """Reads folders -> files as splits of classes where a folder is for training, else as classes."""
    splits = {folder[0]: SPLIT_FOLDERS.get(folder[0].lower(), "") for folder in folders if folder}
    honoured = "train" in splits.values()
    others = sorted(repr(name) for name, split in splits.items() if not split)
    if honoured and others:
        raise NoUsableData(f"beside the folder for training, {where} holds folders that are no split: {listed(others)}. Use {LAYOUTS}")
    if splits and not honoured and not others:
        raise NoUsableData(f"train is missing under {where}: there is only {listed(sorted(map(repr, splits)))}. Use {LAYOUTS}")
    counts: dict[str, Counter[str]] = {"train" if honoured else "": Counter()}
    for folder, files in folders.items():
        if honoured and len(folder) == 1 and files:
            raise NoUsableData(f"{where}{folder[0]}/ holds files ({files}) that lie in no class folder. Use {LAYOUTS}")
        if folder and files:
            split, name = (splits[folder[0]], folder[1]) if honoured else ("", folder[0])
            counts.setdefault(split, Counter())[name] += files
    return Photos(where, counts, documents + folders.get((), 0))


def require_usable(photos: Photos) -> None:
    """Raises NoUsableData for an empty prefix, no class folders, a single class, a class too small to split, or a class never trained."""
    if not photos.total and not photos.left_out:
        raise NoUsableData(f"there are no photos under {photos.where}; put class folders there with: whippet upload PATH")
    if not photos.total:
        raise NoUsableData(
            f"the {photos.left_out} files under {photos.where} lie in no class folder or are no photos; "
            f"each photo belongs in {photos.where}<class>/, one folder a class: whippet upload PATH arranges them so"
        )
    if len(photos.classes) < 2:
        found = (
            f"only one class under {photos.where}, {photos.classes[0]!r}"
            if photos.classes
            else f"no class to train on under {photos.where}"
        )
        raise NoUsableData(
            f"there is {found}, and a classifier needs at least two; add the other classes' folders with: whippet upload PATH"
        )
    require_few_left_out(photos)
    require_enough(photos)
    require_trained(photos)


def require_few_left_out(photos: Photos) -> None:
    """PrepareDataset, where it has to leave many files out, takes the photos for the wrong ones, and stops."""
    files = photos.total + photos.left_out
    if photos.left_out > MAX_LEFT_OUT * files:
        raise NoUsableData(
            f"{photos.left_out} of the {files} files under {photos.where} lie in no class folder or are no photos, "
            f"more than the {MAX_LEFT_OUT:.0%} that may be left out; remove them"
        )


def require_enough(photos: Photos) -> None:
    """Each split that is missing is cut from the training photos, and every class needs a photo for each."""
    missing = [split for split in ("valid", "test") if split not in photos.counts]
    least = 1 + len(missing)
    counts = photos.counts["train" if photos.is_split else ""]
    small = [f"{name!r} ({counts[name]})" for name in photos.classes if counts[name] < least]
    if small:
        raise NoUsableData(
            f"{listed(small)} under {photos.where} have fewer than {least} photos, the least that a class needs for "
            f"{' and '.join(missing)} to be cut from it; add photos, remove the folder, or bring train/valid/test folders of your own"
        )


def require_trained(photos: Photos) -> None:
    """A class that only valid or test photos show can be neither learnt nor judged."""
    elsewhere = {name for counts in photos.counts.values() for name in counts}
    untrained = [repr(name) for name in sorted(elsewhere - set(photos.classes))]
    if untrained:
        raise NoUsableData(
            f"{listed(untrained)} under {photos.where} have valid or test photos but no train photos; add them or remove the folders"
        )


def listed(names: Iterable[str]) -> str:
    """`'a', 'b', 'c' and 4 more`"""
    names = list(names)
    return ", ".join(names) if len(names) <= 5 else f"{', '.join(names[:5])} and {len(names) - 5} more"
