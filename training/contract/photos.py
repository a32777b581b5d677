"""What is a photo: formats with their suffixes and media types, folders that name a split, names that are ignored.

Runs anywhere, standard library only. CLI, Lambda functions, API, jobs and serving read the same table.
"""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True)
class PhotoFormat:
    """One format that every room reads."""

    title: str
    """As a sentence writes it; in capitals it is Pillow's name."""
    content_type: str
    suffixes: tuple[str, ...]
    """In small letters; our own files carry the first one."""
    start: bytes
    """Regular expression for a file's first bytes."""


FORMATS = (
    PhotoFormat("JPEG", "image/jpeg", (".jpg", ".jpeg", ".jpe"), rb"\xff\xd8\xff"),
    PhotoFormat("PNG", "image/png", (".png",), rb"\x89PNG\r\n\x1a\n"),
    PhotoFormat("WebP", "image/webp", (".webp",), rb"RIFF.{4}WEBP"),
    PhotoFormat("GIF", "image/gif", (".gif",), rb"GIF8[79]a"),
    PhotoFormat("BMP", "image/bmp", (".bmp",), rb"BM"),
    PhotoFormat("TIFF", "image/tiff", (".tif", ".tiff"), rb"II\*\x00|MM\x00\*"),
)
PILLOW_FORMATS = tuple(each.title.upper() for each in FORMATS)
CONTENT_TYPES = tuple(each.content_type for each in FORMATS)
SUFFIXES = {suffix: each for each in FORMATS for suffix in each.suffixes}
"""Suffix in small letters -> format."""
TITLES = f"{', '.join(each.title for each in FORMATS[:-1])} or {FORMATS[-1].title}"

LARGEST_PHOTO_BYTES = 4_500_000
"""Of a photo in a request: base64 makes 6 MB of it, the most that a Lambda function receives."""

SPLITS = ("train", "valid", "test")
SPLIT_FOLDERS = {"train": "train", "training": "train", "valid": "valid", "val": "valid", "validation": "valid", "test": "test"}
"""Folder name in small letters -> split."""

LAYOUTS = "<class>/<photo>, or train/<class>/<photo> with valid and test beside it"

IGNORED_NAMES = {"thumbs.db", "desktop.ini", "__macosx"}
"""Files and folders of file managers, in small letters; names that start with a dot are ignored too."""

DOCUMENT_SUFFIXES = {".csv", ".htm", ".html", ".json", ".md", ".pdf", ".txt", ".xml", ".yaml", ".yml"}
"""Suffixes of files that are not photos. A file with any other name may be one."""

MAX_LEFT_OUT = 0.10
"""Largest share of the files that PrepareDataset leaves out."""

MOST_NAME_BYTES = 255
"""Longest name of a file or folder on Linux."""


def find_format(start: bytes) -> PhotoFormat | None:
    """Return the format that a file's first bytes belong to; None for a file that is not a photo."""
    return next((each for each in FORMATS if re.match(each.start, start, re.DOTALL)), None)


def content_type_of(name: str) -> str:
    """Return the media type of a photo by its name; JPEG for an unknown suffix."""
    return SUFFIXES.get(PurePosixPath(name).suffix.lower(), FORMATS[0]).content_type


def is_ignored(name: str) -> bool:
    """Whether a file or folder of this name belongs to a file manager."""
    return name.startswith(".") or name.lower() in IGNORED_NAMES
