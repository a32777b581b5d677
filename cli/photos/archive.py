"""Unpacks a zip of photos safely: rejects paths outside the folder, links and zip bombs. Used by `whippet upload` and the demo."""

import hashlib
import lzma
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from cli.terminal.errors import RefusedError

MAX_ENTRIES = 2_000_000
MAX_RATIO = 100
"""The maximum ratio of unpacked to packed size: photos hardly compress."""
UNREADABLE = (zipfile.BadZipFile, NotImplementedError, EOFError, zlib.error, lzma.LZMAError)
"""The errors of zipfile for a damaged or unusual archive."""
SMALL = 100_000_000
"""Bytes below which the ratio does not matter."""


def unpack(archive: Path, cache: Path, keep: Callable[[str], bool] = lambda _name: True) -> Path:
    """Unpack the files whose name `keep` accepts into a folder under `cache`, once for the same bytes; returns the folder."""
    folder = cache / f"{archive.stem}-{sha256(archive)[:16]}"
    if folder.is_dir():
        return folder
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        _unpack_all(archive, part, keep)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return part.replace(folder)


def sha256(file: Path) -> str:
    """Return the hexadecimal SHA-256 of a file's bytes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _unpack_all(archive: Path, folder: Path, keep: Callable[[str], bool]) -> None:
    try:
        with zipfile.ZipFile(archive) as source:
            entries = [entry for entry in source.infolist() if not _normalise_name(entry).endswith("/") and keep(_normalise_name(entry))]
            _require_harmless(archive, entries, shutil.disk_usage(folder).free)
            for entry in entries:
                file = folder / _normalise_name(entry)
                file.parent.mkdir(parents=True, exist_ok=True)
                with source.open(entry) as packed, file.open("wb") as unpacked:
                    shutil.copyfileobj(packed, unpacked, 1 << 20)
    except UNREADABLE as error:
        raise RefusedError(f"{archive} cannot be unpacked: {error}. Check the download, or create it with `zip -r`.") from error
    except OSError as error:
        raise RefusedError(
            f"{archive} cannot be unpacked: {error}. Check the free disk space, and that no file and folder have "
            "the same name. Create it again with `zip -r`."
        ) from error


def _normalise_name(entry: zipfile.ZipInfo) -> str:
    """Return the entry's name with `/` between folders; some programs on Windows write backslashes."""
    return entry.filename.replace("\\", "/")


def _require_harmless(archive: Path, entries: list[zipfile.ZipInfo], free: int) -> None:
    for entry in entries:
        path = PurePosixPath(_normalise_name(entry))
        if path.is_absolute() or ".." in path.parts or (path.parts and path.parts[0].endswith(":")):
            raise RefusedError(f"{archive} has an entry that points outside of it: {entry.filename!r}. It was not unpacked.")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise RefusedError(f"{archive} has a symbolic link: {entry.filename!r}. It was not unpacked; put the files themselves in.")
        if entry.flag_bits & 1:
            raise RefusedError(f"{archive} is encrypted. Unpack it yourself and give the folder.")
    packed, size = archive.stat().st_size, sum(entry.file_size for entry in entries)
    if len(entries) > MAX_ENTRIES or (size > SMALL and size > MAX_RATIO * packed):
        raise RefusedError(
            f"{archive} ({packed:,} bytes) would unpack to {len(entries):,} files of {size:,} bytes: that is not an archive of photos."
        )
    if size > free:
        raise RefusedError(f"{archive} needs {size:,} bytes unpacked, and {free:,} are free.")
