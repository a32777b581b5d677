"""The photos of a training job: found in class folders, split into train, valid and test, the unusable ones listed.

Runs in training jobs, on the photos channel. Two layouts are understood, under the channel or under one lone folder in it:

    <class>/<photo>                       split here: 15 % valid and 15 % test of each class, the rest train
    {train,valid,test}/<class>/<photo>    honoured; a missing valid or test is cut from train in the same way
"""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.preprocessing import PhotoError, check_photo
from training.refusal import InputRefusedError

SPLITS = ("train", "valid", "test")
SHARE = 0.15
"""Part of each class that goes to valid, and to test, where the split is made here."""
MAX_LISTED = 1000
"""Most names of test photos that the report lists; of more, evenly spread ones."""
MAX_LEFT_OUT = 0.10
"""Largest part of the files that may be unusable."""

_SPLIT_FOLDERS = {"train": "train", "training": "train", "valid": "valid", "val": "valid", "validation": "valid", "test": "test"}
_IGNORED = {"thumbs.db", "desktop.ini", "__macosx"}


@dataclass(frozen=True)
class Photo:
    """One file and what it shows."""

    file: Path
    name: str
    """Path relative to the folder that holds the class or split folders, with forward slashes."""
    label: int
    """Index into the classes."""


@dataclass(frozen=True)
class LeftOut:
    """One file that is not used, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class PhotoSets:
    """All photos of a job."""

    classes: tuple[str, ...]
    """In the order of the network's outputs."""
    splits: dict[str, tuple[Photo, ...]]
    """For each of SPLITS."""
    left_out: tuple[LeftOut, ...]

    def counts(self) -> dict[str, dict[str, int]]:
        """Return how many photos each split has of each class."""
        return {split: count_by_class(self.classes, photos) for split, photos in self.splits.items()}


def count_by_class(classes: Sequence[str], photos: Iterable[Photo]) -> dict[str, int]:
    """Return how many of the photos show each class."""
    counts = dict.fromkeys(classes, 0)
    for photo in photos:
        counts[classes[photo.label]] += 1
    return counts


def find_photos(folder: Path, seed: int) -> PhotoSets:
    """Find, check and split the photos; only headers are read here, so a photo cut short shows later.

    Raises:
        InputRefusedError: no photos, fewer than two classes, a class too small to split, or too many unusable files.
    """
    root = _descend(folder)
    files = _files(root)
    if not files:
        raise InputRefusedError(f"no photos: the folder {folder.name!r} holds no file. Upload class folders: {LAYOUTS}")
    usable, left_out = _check(files, root)
    refuse_too_many_left_out(left_out, len(files))
    grouped = _by_split_and_class(root, usable)
    classes = _classes(grouped)
    splits = _complete({split: _photos(root, by_class, classes) for split, by_class in grouped.items()}, classes, seed)
    return PhotoSets(classes, {split: tuple(splits[split]) for split in SPLITS}, tuple(left_out))


LAYOUTS = "<class>/<photo>, or train/<class>/<photo> with valid and test beside it"


def refuse_too_many_left_out(left_out: Sequence[LeftOut], files: int) -> None:
    """Refuse when more than MAX_LEFT_OUT of the files cannot be used.

    Raises:
        InputRefusedError: with the first three names and reasons.
    """
    if len(left_out) <= MAX_LEFT_OUT * files:
        return
    examples = "; ".join(f"{item.name}: {item.reason}" for item in left_out[:3])
    raise InputRefusedError(
        f"{len(left_out)} of {files} files are not usable photos, more than the {MAX_LEFT_OUT:.0%} that may be left out. "
        f"Remove or repair them. First: {examples}"
    )


def refuse_empty_classes(classes: Sequence[str], train: Iterable[Photo]) -> None:
    """Refuse when a class has no readable photo to learn from.

    Raises:
        InputRefusedError: with the names of such classes.
    """
    empty = [name for name, count in count_by_class(classes, train).items() if count == 0]
    if empty:
        raise InputRefusedError(f"no readable training photo of: {', '.join(empty[:10])}. Add photos of it, or remove its folder")


def _descend(folder: Path) -> Path:
    """Step into a lone folder that holds only folders, as an unpacked archive often does."""
    entries = [entry for entry in folder.iterdir() if not _is_ignored(entry)] if folder.is_dir() else []
    if len(entries) != 1 or not entries[0].is_dir() or entries[0].name.lower() in _SPLIT_FOLDERS:
        return folder
    inner = [entry for entry in entries[0].iterdir() if not _is_ignored(entry)]
    return _descend(entries[0]) if inner and all(entry.is_dir() for entry in inner) else folder


def _is_ignored(path: Path) -> bool:
    return path.name.startswith(".") or path.name.lower() in _IGNORED


def _files(root: Path) -> list[Path]:
    """List every file below, in an order that does not depend on the file system."""
    found = (path for path in root.rglob("*") if path.is_file())
    return sorted((path for path in found if not any(_is_ignored(root / part) for part in path.relative_to(root).parts)), key=Path.as_posix)


def _check(files: Iterable[Path], root: Path) -> tuple[list[Path], list[LeftOut]]:
    usable, left_out = [], []
    for file in files:
        name = file.relative_to(root).as_posix()
        if "/" not in name:
            left_out.append(LeftOut(name, "it lies outside the class folders"))
            continue
        try:
            check_photo(file)
            usable.append(file)
        except PhotoError as error:
            left_out.append(LeftOut(name, str(error)))
    return usable, left_out


def _by_split_and_class(root: Path, files: Iterable[Path]) -> dict[str, dict[str, list[Path]]]:
    """Group files by split and class; one split, "train", where the folders name none."""
    names = {entry.name for entry in root.iterdir() if entry.is_dir() and not _is_ignored(entry)}
    split_of = {name: _SPLIT_FOLDERS[name.lower()] for name in names if name.lower() in _SPLIT_FOLDERS}
    if split_of.keys() != names and "train" in split_of.values():
        others = ", ".join(sorted(names - split_of.keys()))
        raise InputRefusedError(f"beside train there are folders that are no split: {others}. Use {LAYOUTS}")
    if split_of and split_of.keys() == names and "train" not in split_of.values():
        raise InputRefusedError(f"train is missing: there is only {', '.join(sorted(names))}. Use {LAYOUTS}")
    honoured = "train" in split_of.values()
    grouped: dict[str, dict[str, list[Path]]] = {"train": {}}
    for file in files:
        parts = file.relative_to(root).parts
        if honoured and len(parts) < 3:
            raise InputRefusedError(f"{'/'.join(parts)} lies in no class folder. Use {LAYOUTS}")
        split, name = (split_of[parts[0]], parts[1]) if honoured else ("train", parts[0])
        grouped.setdefault(split, {}).setdefault(name, []).append(file)
    return grouped


def _classes(grouped: dict[str, dict[str, list[Path]]]) -> tuple[str, ...]:
    classes = tuple(sorted(grouped["train"]))
    if len(classes) < 2:
        raise InputRefusedError(f"a classifier needs at least 2 classes, got {len(classes)}: {', '.join(classes)}. Upload {LAYOUTS}")
    unknown = sorted({name for by_class in grouped.values() for name in by_class} - set(classes))
    if unknown:
        raise InputRefusedError(f"valid or test has classes that train lacks: {', '.join(unknown[:10])}. Every class needs training photos")
    return classes


def _photos(root: Path, by_class: dict[str, list[Path]], classes: Sequence[str]) -> list[Photo]:
    index = {name: label for label, name in enumerate(classes)}
    return [Photo(file, file.relative_to(root).as_posix(), index[name]) for name in sorted(by_class) for file in by_class[name]]


def _complete(splits: dict[str, list[Photo]], classes: Sequence[str], seed: int) -> dict[str, list[Photo]]:
    """Cut the missing splits from train, class by class."""
    missing = [split for split in SPLITS if split not in splits]
    complete: dict[str, list[Photo]] = {**splits, "train": [], **{split: [] for split in missing}}
    for label, name in enumerate(classes):
        shuffled = sorted((photo for photo in splits["train"] if photo.label == label), key=lambda photo: _draw(photo, seed))
        if len(shuffled) < 1 + len(missing):
            raise InputRefusedError(
                f"class {name!r} has {len(shuffled)} usable photos; at least {1 + len(missing)} are needed to make {' and '.join(missing)}"
            )
        size = max(1, round(SHARE * len(shuffled)))
        for position, split in enumerate(missing):
            complete[split].extend(shuffled[position * size : (position + 1) * size])
        complete["train"].extend(shuffled[len(missing) * size :])
    return complete


def _draw(photo: Photo, seed: int) -> str:
    """Return a number that depends on the photo's name and the seed alone, so that adding photos moves few others."""
    return hashlib.sha256(f"{seed}:{photo.name}".encode("utf-8", "surrogateescape")).hexdigest()


def to_json(sets: PhotoSets, left_out: Sequence[LeftOut]) -> dict[str, Any]:
    """Return what report/data.json holds."""
    unusable = {item.name for item in left_out}
    test_photos = sorted(photo.name for photo in sets.splits["test"] if photo.name not in unusable)
    return {
        "classes": list(sets.classes),
        "photos": sets.counts(),
        "test_photos": test_photos[:: math.ceil(len(test_photos) / MAX_LISTED) or 1],
        "left_out": [{"file": item.name, "reason": item.reason} for item in left_out],
    }
