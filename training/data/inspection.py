"""Reads one file once: returns what the data set keeps of it and the pixels for the network, or why it is not a usable photo.

Runs in the processing job, in the threads that read ahead. A shortage of memory and a failing disk are faults of the machine, not of the
photo: such a photo is read again, alone. A photo that does not fit into memory even then is left out; a disk that fails again ends the
job, because the stored data set would lack usable photos.
"""

import errno
import hashlib
import io
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Condition

import torch
from PIL import Image

from training.data.fingerprint import fingerprint
from training.data.folders import FoundPhoto, UnusedFile
from training.data.preprocessing import PhotoError, PhotoMemoryError, Preprocessing, read_photo

MAX_BYTES = 200_000_000
"""Longest file that is read: the size of the largest allowed photo without compression."""
THUMBNAIL = 96
"""Longer side of the small pictures in the report, in pixels."""

_OWN_FAULTS = (None, errno.ENOENT, errno.ELOOP, errno.EACCES, errno.EPERM, errno.ENXIO)
"""Errors of a broken link or of a file without read permission; None: an error of a decoder, not of the system."""


class MachineError(Exception):
    """The disk cannot be read; the text is a sentence for the person who started the job."""


@dataclass(frozen=True, slots=True)
class Inspected:
    """The data kept of one usable photo."""

    photo: FoundPhoto
    sha256: str
    """Of the file."""
    length: int
    """Of the file, in bytes."""
    width: int
    """Pixels as decoded: upright; a large JPEG may be decoded at a half, quarter or eighth."""
    height: int
    bits: bytes
    """Of its fingerprint."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One usable photo with its pixels, which are kept only briefly."""

    kept: Inspected
    square: torch.Tensor
    """What the network sees: uint8 [crop, crop, 3]."""
    preview: torch.Tensor
    """Of its fingerprint."""
    thumbnail: bytes
    """A small JPEG."""


def inspect(folder: Path, photo: FoundPhoto, preprocessing: Preprocessing) -> Seen | UnusedFile:
    """Read the file; return its data, or why it is left out.

    Raises:
        MachineError: the disk fails twice.
    """
    with suppress(MemoryError, PhotoMemoryError, OSError), _readers.read_together():
        return _inspect(folder, photo, preprocessing)
    with _readers.read_alone():
        return _inspect_again(folder, photo, preprocessing)


def _inspect(folder: Path, photo: FoundPhoto, preprocessing: Preprocessing) -> Seen | UnusedFile:
    """Inspect it; raise what may be a fault of the machine."""
    try:
        content = _read(folder / photo.name)
        image = read_photo(content)
        own = fingerprint(image)
        kept = Inspected(photo, hashlib.sha256(content).hexdigest(), len(content), *image.size, own.bits)
        return Seen(kept, preprocessing.cut(image), own.preview, _thumbnail(image))
    except PhotoMemoryError:
        raise
    except PhotoError as error:
        return UnusedFile(photo.name, str(error))


def _inspect_again(folder: Path, photo: FoundPhoto, preprocessing: Preprocessing) -> Seen | UnusedFile:
    """Inspect it for the last time."""
    try:
        return _inspect(folder, photo, preprocessing)
    except PhotoMemoryError as error:
        return UnusedFile(photo.name, str(error))
    except MemoryError:
        return UnusedFile(photo.name, "it needs more memory than is available")
    except OSError as error:
        if error.errno in _OWN_FAULTS:
            return UnusedFile(photo.name, f"it cannot be read: {error.strerror or error}")
        raise MachineError(
            f"reading {photo.name!r} failed twice: {error.strerror}. The photo itself may be usable, and a data set "
            "without it would be stored as complete: start the execution again"
        ) from error


class Readers:
    """Lets many threads read at once, or a single one while all others wait."""

    def __init__(self) -> None:
        """Start without readers."""
        self._changed, self._reading, self._reserved = Condition(), 0, False

    @contextmanager
    def read_together(self) -> Iterator[None]:
        """Read beside others, as soon as no thread needs to be alone."""
        with self._changed:
            self._changed.wait_for(lambda: not self._reserved)
            self._reading += 1
        try:
            yield
        finally:
            with self._changed:
                self._reading -= 1
                self._changed.notify_all()

    @contextmanager
    def read_alone(self) -> Iterator[None]:
        """Read when all others have ended, and keep them from starting."""
        with self._changed:
            self._changed.wait_for(lambda: not self._reserved)
            self._reserved = True
            self._changed.wait_for(lambda: not self._reading)
        try:
            yield
        finally:
            with self._changed:
                self._reserved = False
                self._changed.notify_all()


_readers = Readers()


def _read(file: Path) -> bytes:
    """Return the content of a regular file of at most MAX_BYTES.

    Raises:
        PhotoError: it is not a regular file, or too long.
        OSError: it cannot be read.
    """
    status = file.stat()
    if not stat.S_ISREG(status.st_mode):
        raise PhotoError("it is not a regular file")
    if status.st_size > MAX_BYTES:
        raise PhotoError(f"it is {status.st_size:,} bytes long, more than the {MAX_BYTES:,} allowed")
    return file.read_bytes()


def _thumbnail(image: Image.Image) -> bytes:
    scale = THUMBNAIL / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale))) if scale < 1 else image.size
    buffer = io.BytesIO()
    image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()
