"""The files of the photos channel: found in class folders, each with its class and, if the folders name it, its split.

Runs in the processing job that prepares the data set. Only names are read here. Two layouts are supported, directly in the channel or in a
single folder in it:

    <class>/<photo>                       split here: see training/data/splits.py
    {train,valid,test}/<class>/<photo>    kept; a missing valid or test is drawn from train

A class folder may hold folders. Names are compared code point by code point: "Dog" and "dog", or é as one and as two code points, are
different classes, and the summary warns of such pairs.
"""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from training.contract.photos import DOCUMENT_SUFFIXES, LAYOUTS, MAX_LEFT_OUT, SPLIT_FOLDERS, is_ignored
from training.job.failure import InputRefusedError


@dataclass(frozen=True, slots=True)
class FoundPhoto:
    """One file that may be a photo, with the class and split that its folders name."""

    name: str
    """Path relative to the photos channel, with forward slashes; bytes that are not UTF-8 are surrogate escapes."""
    label: int
    """Index into the classes."""
    split: str | None
    """`train`, `valid` or `test`; None if the folders name no split."""


@dataclass(frozen=True, slots=True)
class UnusedFile:
    """One file that is not used, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class FoundPhotos:
    """The content of the photos channel."""

    folder: Path
    classes: tuple[str, ...]
    """Names in order of their code points: the order of the network's outputs."""
    photos: tuple[FoundPhoto, ...]
    """In order of their names."""
    left_out: tuple[UnusedFile, ...]
    """Files that are not photos of a class, by their name or place."""

    @property
    def files(self) -> int:
        """How many files there are, used or not."""
        return len(self.photos) + len(self.left_out)


def find_photos(folder: Path) -> FoundPhotos:
    """List the files, and read class and split from their folders.

    Raises:
        InputRefusedError: no photos, fewer than two classes, or folders in neither layout.
    """
    root = _descend(folder)
    names = sorted(_files(root))
    if not names:
        raise InputRefusedError(f"no photos: the folder {folder.name!r} holds no files. Upload class folders: {LAYOUTS}")
    left_out = {name: reason for name in names if (reason := _find_reason(name))}
    candidates = [name for name in names if name not in left_out]
    split_of = _split_folders(root)
    placed = [_place(name, split_of) for name in candidates]
    classes = _classes(placed, honoured=bool(split_of))
    index = {name: label for label, name in enumerate(classes)}
    prefix = "".join(f"{part}/" for part in root.relative_to(folder).parts)
    photos = (FoundPhoto(prefix + name, index[shown], split) for name, (split, shown) in zip(candidates, placed, strict=True))
    return FoundPhotos(folder, classes, tuple(photos), tuple(UnusedFile(prefix + name, reason) for name, reason in left_out.items()))


def refuse_too_many_unused(left_out: Sequence[UnusedFile], files: int) -> None:
    """Reject the photos if more than MAX_LEFT_OUT of the files cannot be used.

    Raises:
        InputRefusedError: with the first three names and reasons.
    """
    if len(left_out) <= MAX_LEFT_OUT * files:
        return
    examples = "; ".join(f"{item.name!r}: {item.reason}" for item in left_out[:3])
    raise InputRefusedError(
        f"{len(left_out)} of {files} files are not usable photos, more than the {MAX_LEFT_OUT:.0%} that may be left out. "
        f"Remove or repair them; summary.json lists all. First: {examples}"
    )


def find_look_alikes(classes: Iterable[str]) -> list[tuple[str, ...]]:
    """Return the classes whose names look the same: they differ only in capitals, the encoding of accents or spaces."""
    same = defaultdict(list)
    for name in classes:
        same[" ".join(unicodedata.normalize("NFKC", name).casefold().split())].append(name)
    return [tuple(names) for names in same.values() if len(names) > 1]


def _descend(folder: Path) -> Path:
    """Enter a single folder that holds only folders, as in an unpacked archive."""
    entries = [entry for entry in folder.iterdir() if not is_ignored(entry.name)] if folder.is_dir() else []
    if len(entries) != 1 or not entries[0].is_dir() or entries[0].name.lower() in SPLIT_FOLDERS:
        return folder
    inner = [entry for entry in entries[0].iterdir() if not is_ignored(entry.name)]
    return _descend(entries[0]) if inner and all(entry.is_dir() for entry in inner) else folder


def _files(root: Path) -> Iterator[str]:
    """Yield the path of every file below, relative to the root; folders that are links are not entered."""
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not is_ignored(name)]
        inner = Path(folder).relative_to(root)
        yield from ((inner / name).as_posix() for name in files if not is_ignored(name))


def _find_reason(name: str) -> str | None:
    """Return why a file is not a photo of a class, judged by its name; None if it may be one."""
    if "/" not in name:
        return "it is outside the class folders"
    if PurePosixPath(name).suffix.lower() in DOCUMENT_SUFFIXES:
        return "its extension is that of a document"
    return None


def _split_folders(root: Path) -> dict[str, str]:
    """Return folder -> split; empty if the folders are classes."""
    names = {entry.name for entry in root.iterdir() if entry.is_dir() and not is_ignored(entry.name)}
    split_of = {name: SPLIT_FOLDERS[name.lower()] for name in names if name.lower() in SPLIT_FOLDERS}
    if "train" not in split_of.values():
        if split_of and split_of.keys() == names:
            raise InputRefusedError(f"train is missing: there is only {', '.join(sorted(names))}. Use {LAYOUTS}")
        return {}
    if split_of.keys() != names:
        others = ", ".join(map(repr, sorted(names - split_of.keys())))
        raise InputRefusedError(f"beside train there are folders that are not splits: {others}. Use {LAYOUTS}")
    return split_of


def _place(name: str, split_of: dict[str, str]) -> tuple[str | None, str]:
    """Return the split and the class that the folders name."""
    parts = name.split("/")
    if not split_of:
        return None, parts[0]
    if len(parts) < 3:
        raise InputRefusedError(f"{name!r} is not in a class folder. Use {LAYOUTS}")
    return split_of[parts[0]], parts[1]


def _classes(placed: Iterable[tuple[str | None, str]], *, honoured: bool) -> tuple[str, ...]:
    learnt: set[str] = set()
    named: set[str] = set()
    for split, name in placed:
        named.add(name)
        if split in (None, "train"):
            learnt.add(name)
    if len(learnt) < 2:
        where = " in train" if honoured else ""
        found = f"only {next(iter(learnt))!r}" if learnt else "none"
        raise InputRefusedError(f"a classifier needs at least 2 classes, got {found}{where}. Upload {LAYOUTS}")
    if named - learnt:
        unknown = ", ".join(map(repr, sorted(named - learnt)[:10]))
        raise InputRefusedError(f"valid or test has classes that train lacks: {unknown}. Every class needs training photos")
    return tuple(sorted(learnt))
