"""What a folder or zip of photos holds: classes, splits, counts, checked before a byte is uploaded. Used by `whippet upload` and the demo.

Two layouts are understood, the same that PrepareDataset understands:

    <class>/<photo>                       PrepareDataset splits, stratified and seeded
    {train,valid,test}/<class>/<photo>    honoured
"""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cli.terminal.errors import RefusedError
from training.contract.photos import LAYOUTS, SPLIT_FOLDERS, SPLITS, SUFFIXES, TITLES, find_format, is_ignored

MAX_KEY = 900
"""Longest name S3 takes, in bytes, less the prefix."""


@dataclass(frozen=True)
class PhotoFolder:
    """A checked tree of photos."""

    root: Path
    photos: dict[str, Path]
    """Name below the root, in order -> file. Names have forward slashes, and splits are called train, valid and test in them."""
    classes: tuple[str, ...]
    counts: dict[str, Counter[str]]
    """Split -> class -> photos; the one split "" where the folders make none."""
    left_out: int
    """Files that are no photo by name nor by content."""

    @property
    def splits(self) -> tuple[str, ...]:
        """`train`, `valid`, `test`: those that the folders name."""
        return tuple(split for split in SPLITS if split in self.counts)

    def describe(self) -> str:
        """One sentence for the user."""
        counts = " + ".join(f"{sum(self.counts[split].values()):,} {split}" for split in self.splits)
        left = f"; other files left out: {self.left_out}" if self.left_out else ""
        return f"{len(self.photos):,} photos in {len(self.classes)} classes" + (f" ({counts})" if counts else "") + left


def read_photo_folder(folder: Path) -> PhotoFolder:
    """Reads and checks the tree; each refusal says what was found and what is expected."""
    root = step_inside(folder)
    files = list(_walk(root))
    photos = [name for name in files if "/" in name and looks_like_photo(root / name)]
    if not photos:
        raise RefusedError(_no_photos(root, files))
    honoured = _has_splits(root)
    counts = _count(photos, honoured)
    classes = tuple(sorted(counts.get("train", counts.get("", Counter()))))
    _require_classes(root, classes, counts)
    for name in photos:
        _require_key(name)
    return PhotoFolder(root, _by_name(root, photos, honoured), classes, counts, len(files) - len(photos))


def step_inside(folder: Path) -> Path:
    """The folder, or the lone folder of folders in it that an archive often brings."""
    entries = [entry for entry in folder.iterdir() if not is_ignored(entry.name)]
    if len(entries) != 1 or not entries[0].is_dir() or entries[0].name.lower() in SPLIT_FOLDERS:
        return folder
    inner = [entry for entry in entries[0].iterdir() if not is_ignored(entry.name)]
    return step_inside(entries[0]) if inner and all(entry.is_dir() for entry in inner) else folder


def looks_like_photo(file: Path) -> bool:
    """By name or by first bytes; whether it can be read is PrepareDataset's to say, and to list."""
    if file.suffix.lower() in SUFFIXES:
        return True
    with file.open("rb") as stream:
        return find_format(stream.read(16)) is not None


def _walk(root: Path) -> Iterator[str]:
    """Files below, links followed once, in an order that does not depend on the file system."""
    seen = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        seen.add(os.path.realpath(folder))
        folders[:] = sorted(name for name in folders if not is_ignored(name) and os.path.realpath(Path(folder, name)) not in seen)
        for name in sorted(files):
            file = Path(folder, name)
            if not is_ignored(name) and file.is_file():
                yield file.relative_to(root).as_posix()


def _has_splits(root: Path) -> bool:
    names = {entry.name for entry in root.iterdir() if entry.is_dir() and not is_ignored(entry.name)}
    splits = {SPLIT_FOLDERS[name.lower()] for name in names if name.lower() in SPLIT_FOLDERS}
    others = sorted(name for name in names if name.lower() not in SPLIT_FOLDERS)
    if "train" in splits and others:
        raise RefusedError(
            f"{root} has a folder for training and, beside it, folders that are no split: {', '.join(others[:5])}. Use {LAYOUTS}"
        )
    return "train" in splits


def _count(photos: list[str], honoured: bool) -> dict[str, Counter[str]]:
    counts: dict[str, Counter[str]] = {}
    for name in photos:
        parts = name.split("/")
        if honoured and len(parts) < 3:
            raise RefusedError(f"{name} lies in no class folder. Use {LAYOUTS}")
        split, label = (SPLIT_FOLDERS[parts[0].lower()], parts[1]) if honoured else ("", parts[0])
        counts.setdefault(split, Counter())[label] += 1
    return counts


def _by_name(root: Path, photos: list[str], honoured: bool) -> dict[str, Path]:
    named: dict[str, Path] = {}
    for photo in photos:
        top, _, rest = photo.partition("/")
        name = f"{SPLIT_FOLDERS[top.lower()]}/{rest}" if honoured else photo
        if name in named:
            raise RefusedError(f"{photo} and {named[name].relative_to(root)} both belong to {name.split('/')[0]}. Merge the two folders.")
        named[name] = root / photo
    return named


def _require_classes(root: Path, classes: tuple[str, ...], counts: dict[str, Counter[str]]) -> None:
    if len(classes) < 2:
        found = f"only the class {classes[0]!r}" if classes else "no class to train on"
        raise RefusedError(f"{root} has {found}; a classifier needs at least 2. Use {LAYOUTS}")
    strange = sorted({label for counter in counts.values() for label in counter} - set(classes))
    if strange:
        raise RefusedError(
            f"valid or test has classes without training photos: {', '.join(strange[:5])}. Give them photos in train, or remove them."
        )
    empty = sorted(_class_folders(root, counts) - set(classes))
    if empty:
        raise RefusedError(f"Class folders without a photo: {', '.join(empty[:5])}. Add photos, or remove the folders.")


def _class_folders(root: Path, counts: dict[str, Counter[str]]) -> set[str]:
    tops = [entry for entry in root.iterdir() if entry.is_dir() and not is_ignored(entry.name)]
    if "train" in counts:
        tops = [entry for top in tops for entry in top.iterdir() if entry.is_dir() and not is_ignored(entry.name)]
    return {entry.name for entry in tops}


def _require_key(name: str) -> None:
    try:
        length = len(name.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise RefusedError(f"The name {os.fsencode(name)!r} is not valid UTF-8, which S3 needs. Rename the file.") from error
    if length > MAX_KEY:
        raise RefusedError(f"The name {name!r} is {length} bytes long; S3 takes {MAX_KEY} here. Shorten it.")


def _no_photos(root: Path, files: list[str]) -> str:
    loose = sum(1 for name in files if "/" not in name and looks_like_photo(root / name))
    if loose:
        return f"{root} holds {loose} photos and no class folders. Put the photos of each class into a folder of its own: {LAYOUTS}"
    held = f"holds no photo among its files ({len(files)})" if files else "is empty"
    return f"{root} {held}. Expected {LAYOUTS}; photos are {TITLES}."
