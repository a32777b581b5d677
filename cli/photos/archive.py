"""Unpacks a zip of photos safely: nothing outside its folder, no links, no bombs. Used by `whippet upload` and the demo."""

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
"""Photos hardly shrink; an archive that unpacks to a hundred times its size is no archive of photos."""
UNREADABLE = (zipfile.BadZipFile, NotImplementedError, EOFError, zlib.error, lzma.LZMAError)
"""What zipfile raises over a damaged or unusual archive."""
SMALL = 100_000_000
"""Bytes below which the ratio does not matter."""


def unpack(archive: Path, cache: Path, keep: Callable[[str], bool] = lambda _name: True) -> Path:
    """The folder with the archive's files (those whose name `keep` accepts), under `cache`; unpacked once for the same bytes."""
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
    """Hexadecimal digest of a file's bytes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _unpack_all(archive: Path, folder: Path, keep: Callable[[str], bool]) -> None:
    try:
        with zipfile.ZipFile(archive) as source:
            entries = [entry for entry in source.infolist() if not _name(entry).endswith("/") and keep(_name(entry))]
            _require_harmless(archive, entries, shutil.disk_usage(folder).free)
            for entry in entries:
                file = folder / _name(entry)
                file.parent.mkdir(parents=True, exist_ok=True)
                with source.open(entry) as packed, file.open("wb") as unpacked:
                    shutil.copyfileobj(packed, unpacked, 1 << 20)
    except UNREADABLE as error:
        raise RefusedError(f"{archive} cannot be unpacked: {error}. Is the download complete? Make it again with `zip -r`.") from error
    except OSError as error:
        raise RefusedError(
            f"{archive} cannot be unpacked: {error}. Is the disk full, or has it a file and a folder of one name? "
            "Make it again with `zip -r`."
        ) from error


def _name(entry: zipfile.ZipInfo) -> str:
    """The entry's name with `/` between folders; some programs on Windows write backslashes."""
    return entry.filename.replace("\\", "/")


def _require_harmless(archive: Path, entries: list[zipfile.ZipInfo], free: int) -> None:
    for entry in entries:
        path = PurePosixPath(_name(entry))
        if path.is_absolute() or ".." in path.parts or (path.parts and path.parts[0].endswith(":")):
            raise RefusedError(f"{archive} has an entry that points outside of it: {entry.filename!r}. It was not unpacked.")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise RefusedError(f"{archive} has a symbolic link: {entry.filename!r}. It was not unpacked; put the files themselves in.")
        if entry.flag_bits & 1:
            raise RefusedError(f"{archive} is encrypted. Unpack it yourself and give the folder.")
    packed, size = archive.stat().st_size, sum(entry.file_size for entry in entries)
    if len(entries) > MAX_ENTRIES or (size > SMALL and size > MAX_RATIO * packed):
        raise RefusedError(
            f"{archive} ({packed:,} bytes) would unpack to {len(entries):,} files of {size:,} bytes: that is no archive of photos."
        )
    if size > free:
        raise RefusedError(f"{archive} needs {size:,} bytes unpacked, and {free:,} are free.")
