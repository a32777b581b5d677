"""Reads a folder of photos and checks its classes, splits and counts before the upload. Used by `whippet upload` and the demo.

There are two layouts, as in PrepareDataset:

    <class>/<photo>                       PrepareDataset splits, stratified and seeded
    {train,valid,test}/<class>/<photo>    the splits are used as given
"""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cli.terminal.errors import RefusedError
from training.contract.photos import LAYOUTS, SPLIT_FOLDERS, SPLITS, SUFFIXES, TITLES, find_format, is_ignored

MAX_KEY = 900
"""S3's maximum length of a name in bytes, without the prefix."""


@dataclass(frozen=True)
class PhotoFolder:
    """A checked tree of photos."""

    root: Path
    photos: dict[str, Path]
    """Name below the root, in order -> file. Names have forward slashes and the split names train, valid and test."""
    classes: tuple[str, ...]
    counts: dict[str, Counter[str]]
    """Split -> class -> number of photos; the only split is "" for folders without splits."""
    skipped_files: int
    """The number of files that are not photos by name or content."""

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits of the folders, in the order `train`, `valid`, `test`."""
        return tuple(split for split in SPLITS if split in self.counts)

    def describe(self) -> str:
        """Describe the folder in one sentence for the user."""
        counts = " + ".join(f"{sum(self.counts[split].values()):,} {split}" for split in self.splits)
        left = f"; other files skipped: {self.skipped_files}" if self.skipped_files else ""
        return f"{len(self.photos):,} photos in {len(self.classes)} classes" + (f" ({counts})" if counts else "") + left


def read_photo_folder(folder: Path) -> PhotoFolder:
    """Read and check the tree; raises RefusedError with what was found and what is expected."""
    root = step_inside(folder)
    files = list(_walk(root))
    photos = [name for name in files if "/" in name and is_likely_photo(root / name)]
    if not photos:
        raise RefusedError(_explain_no_photos(root, files))
    honoured = _has_splits(root)
    counts = _count(photos, honoured)
    classes = tuple(sorted(counts.get("train", counts.get("", Counter()))))
    _require_classes(root, classes, counts)
    for name in photos:
        _require_key(name)
    return PhotoFolder(root, _map_names(root, photos, honoured), classes, counts, len(files) - len(photos))


def step_inside(folder: Path) -> Path:
    """Return the folder, or its only subfolder if that contains only folders, as in many archives."""
    entries = [entry for entry in folder.iterdir() if not is_ignored(entry.name)]
    if len(entries) != 1 or not entries[0].is_dir() or entries[0].name.lower() in SPLIT_FOLDERS:
        return folder
    inner = [entry for entry in entries[0].iterdir() if not is_ignored(entry.name)]
    return step_inside(entries[0]) if inner and all(entry.is_dir() for entry in inner) else folder


def is_likely_photo(file: Path) -> bool:
    """Whether a file is a photo by name or first bytes; PrepareDataset lists unreadable ones."""
    if file.suffix.lower() in SUFFIXES:
        return True
    with file.open("rb") as stream:
        return find_format(stream.read(16)) is not None


def _walk(root: Path) -> Iterator[str]:
    """List the files below, following links once, in an order independent of the file system."""
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
        raise RefusedError(f"{root} has a training folder and also folders that are not splits: {', '.join(others[:5])}. Use {LAYOUTS}")
    return "train" in splits


def _count(photos: list[str], honoured: bool) -> dict[str, Counter[str]]:
    counts: dict[str, Counter[str]] = {}
    for name in photos:
        parts = name.split("/")
        if honoured and len(parts) < 3:
            raise RefusedError(f"{name} is not in a class folder. Use {LAYOUTS}")
        split, label = (SPLIT_FOLDERS[parts[0].lower()], parts[1]) if honoured else ("", parts[0])
        counts.setdefault(split, Counter())[label] += 1
    return counts


def _map_names(root: Path, photos: list[str], honoured: bool) -> dict[str, Path]:
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
        found = f"only the class {classes[0]!r}" if classes else "no training class"
        raise RefusedError(f"{root} has {found}; a classifier needs at least 2. Use {LAYOUTS}")
    strange = sorted({label for counter in counts.values() for label in counter} - set(classes))
    if strange:
        raise RefusedError(
            f"valid or test has classes without training photos: {', '.join(strange[:5])}. Add training photos, or remove the classes."
        )
    empty = sorted(_list_class_folders(root, counts) - set(classes))
    if empty:
        raise RefusedError(f"Class folders without a photo: {', '.join(empty[:5])}. Add photos, or remove the folders.")


def _list_class_folders(root: Path, counts: dict[str, Counter[str]]) -> set[str]:
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
        raise RefusedError(f"The name {name!r} is {length} bytes long; the maximum is {MAX_KEY}. Shorten it.")


def _explain_no_photos(root: Path, files: list[str]) -> str:
    loose = sum(1 for name in files if "/" not in name and is_likely_photo(root / name))
    if loose:
        return f"{root} has {loose} photos but no class folders. Put the photos of each class into a separate folder: {LAYOUTS}"
    found = f"has {len(files)} files but no photo" if files else "is empty"
    return f"{root} {found}. Expected {LAYOUTS}; photos are {TITLES}."
