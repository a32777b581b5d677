"""The class folders under a prefix of the bucket: how many files each class has, and whether a job could train on them.

Runs inside `prepare_execution`: finding out here costs seconds, finding out in a training job costs an instance start. Only names are
read; whether a file really is a photo is for the training job to say.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

SPLITS = {"train": "train", "valid": "valid", "val": "valid", "validation": "valid", "test": "test"}
"""Folder name -> split."""

IGNORED_NAMES = {"thumbs.db", "desktop.ini"}
"""What file managers leave behind, beside files whose name starts with a dot."""

LEAST_PHOTOS = 3
"""Photos a class needs where the split is made for it: one each for train, valid and test."""


class NoUsableData(ValueError):  # noqa: N818 - the name is what the state machine shows
    """No job could train on what lies under the prefix; the message says where that is, what is wrong and what to do."""


@dataclass(frozen=True)
class Photos:
    """Files counted by split and class; a data set without split folders has the one split ``""``."""

    where: str
    """`s3://<bucket>/<prefix>`"""
    counts: Mapping[str, Mapping[str, int]]
    loose: int
    """Files outside any class folder."""

    @property
    def is_split(self) -> bool:
        """Whether the folders are train/valid/test folders of class folders."""
        return "train" in self.counts

    @property
    def classes(self) -> list[str]:
        """The classes to learn, in order."""
        return sorted(self.counts.get("train" if self.is_split else "", {}))

    @property
    def total(self) -> int:
        """Files in all class folders."""
        return sum(count for classes in self.counts.values() for count in classes.values())


def count_photos(s3: Any, bucket: str, prefix: str) -> Photos:
    """Counts the files under `<prefix><class>/…` or `<prefix><split>/<class>/…`, however many there are."""
    names = Counter(tuple(key.removeprefix(prefix).split("/")[:-1][:2]) for key in keys(s3, bucket, prefix))
    return arrange(f"s3://{bucket}/{prefix}", names)


def keys(s3: Any, bucket: str, prefix: str) -> Iterator[str]:
    """Every key under the prefix that is neither a folder's placeholder nor a file manager's litter."""
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", []):
            name = entry["Key"].rpartition("/")[2]
            if name and not name.startswith(".") and name.lower() not in IGNORED_NAMES:
                yield entry["Key"]


def arrange(where: str, folders: Mapping[tuple[str, ...], int]) -> Photos:
    """Reads (folder, subfolder) -> files as splits of classes where the folders are named so, else as classes."""
    tops = {folder[0] for folder in folders if folder}
    split = bool(tops) and tops <= set(SPLITS) and "train" in tops and any(len(folder) == 2 for folder in folders)
    counts: dict[str, Counter[str]] = {}
    loose = 0
    for folder, files in folders.items():
        if len(folder) < (2 if split else 1):
            loose += files
        elif split:
            counts.setdefault(SPLITS[folder[0]], Counter())[folder[1]] += files
        else:
            counts.setdefault("", Counter())[folder[0]] += files
    return Photos(where, counts, loose)


def require_usable(photos: Photos) -> None:
    """Raises NoUsableData for an empty prefix, no class folders, a single class, a class too small to split, or a class never trained."""
    if not photos.total and not photos.loose:
        raise NoUsableData(f"there are no photos under {photos.where}; put class folders there with: whippet upload PATH")
    if not photos.total:
        raise NoUsableData(
            f"the {photos.loose} files under {photos.where} lie in no class folder; "
            f"each photo belongs in {photos.where}<class>/, one folder a class: whippet upload PATH arranges them so"
        )
    if len(photos.classes) < 2:
        raise NoUsableData(
            f"there is only one class under {photos.where}, {photos.classes[0]!r}, and a classifier needs at least two; "
            "add the other classes' folders with: whippet upload PATH"
        )
    require_enough(photos)
    require_trained(photos)


def require_enough(photos: Photos) -> None:
    """Where valid or test photos must be cut from a class, it needs photos for each."""
    if {"valid", "test"} <= photos.counts.keys():
        return
    counts = photos.counts["train" if photos.is_split else ""]
    small = [f"{name!r} ({counts[name]})" for name in photos.classes if counts[name] < LEAST_PHOTOS]
    if small:
        raise NoUsableData(
            f"{listed(small)} under {photos.where} have fewer than {LEAST_PHOTOS} photos, the least that a class needs to be split into "
            "train, valid and test; add photos, remove the folder, or bring train/valid/test folders of your own"
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
