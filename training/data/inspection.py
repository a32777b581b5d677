"""One file, read once: what the data set keeps of it, and the pixels for the network; or the reason why it is no usable photo.

Runs in the processing job, in the threads that read ahead. A shortage of memory and a failing disk are faults of the machine, not of the
photo: such a photo is read once more, while no other is. What the memory cannot hold even then is left out; a disk that fails again ends
the job, for the data set would lack sound photos as long as it is kept.
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
from training.data.folders import FoundPhoto, LeftOut
from training.data.preprocessing import PhotoError, PhotoMemoryError, Preprocessing, read_photo

MAX_BYTES = 200_000_000
"""Longest file that is read: as long as a photo of the most pixels allowed gets without compression."""
THUMBNAIL = 96
"""Longer side of the small pictures in the report, in pixels."""

_OWN_FAULTS = (None, errno.ENOENT, errno.ELOOP, errno.EACCES, errno.EPERM, errno.ENXIO)
"""What the system says of a link to nowhere, of a file that this user must not read; None: a coder's complaint, not the system's."""


class MachineError(Exception):
    """The machine does not give what it holds; the text is a sentence for the person who started the job."""


@dataclass(frozen=True, slots=True)
class Inspected:
    """What is kept of one usable photo."""

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
    """One usable photo with its pixels, which are soon let go."""

    kept: Inspected
    square: torch.Tensor
    """What the network sees: uint8 [crop, crop, 3]."""
    preview: torch.Tensor
    """Of its fingerprint."""
    thumbnail: bytes
    """A small JPEG."""


def inspect(folder: Path, photo: FoundPhoto, preprocessing: Preprocessing) -> Seen | LeftOut:
    """Read the file; return what is to be known of it, or why it is left out.

    Raises:
        MachineError: the disk does not give the file, twice.
    """
    with suppress(MemoryError, PhotoMemoryError, OSError), _readers.together():
        return _inspect(folder, photo, preprocessing)
    with _readers.alone():
        return _inspect_again(folder, photo, preprocessing)


def _inspect(folder: Path, photo: FoundPhoto, preprocessing: Preprocessing) -> Seen | LeftOut:
    """Do it; what may be the machine's fault is raised."""
    try:
        content = _read(folder / photo.name)
        image = read_photo(content)
        own = fingerprint(image)
        kept = Inspected(photo, hashlib.sha256(content).hexdigest(), len(content), *image.size, own.bits)
        return Seen(kept, preprocessing.cut(image), own.preview, _thumbnail(image))
    except PhotoMemoryError:
        raise
    except PhotoError as error:
        return LeftOut(photo.name, str(error))


def _inspect_again(folder: Path, photo: FoundPhoto, preprocessing: Preprocessing) -> Seen | LeftOut:
    """Do it for the last time."""
    try:
        return _inspect(folder, photo, preprocessing)
    except PhotoMemoryError as error:
        return LeftOut(photo.name, str(error))
    except MemoryError:
        return LeftOut(photo.name, "it needs more memory than there is")
    except OSError as error:
        if error.errno in _OWN_FAULTS:
            return LeftOut(photo.name, f"it cannot be read: {error.strerror or error}")
        raise MachineError(
            f"the disk does not give {photo.name!r}: {error.strerror}, twice. That is no fault of the photo, and a data set "
            "without it would be kept as if it were whole: start the execution again"
        ) from error


class Readers:
    """Many threads at once, or a single one while all others wait."""

    def __init__(self) -> None:
        """Nobody is reading."""
        self._changed, self._reading, self._reserved = Condition(), 0, False

    @contextmanager
    def together(self) -> Iterator[None]:
        """Read beside others, once nobody wants to be alone."""
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
    def alone(self) -> Iterator[None]:
        """Read once all others have ended, and let none begin."""
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
    """Return the content of an ordinary file of an ordinary length.

    Raises:
        PhotoError: it is neither.
        OSError: it cannot be read.
    """
    status = file.stat()
    if not stat.S_ISREG(status.st_mode):
        raise PhotoError("it is no ordinary file")
    if status.st_size > MAX_BYTES:
        raise PhotoError(f"it is {status.st_size:,} bytes long, more than the {MAX_BYTES:,} allowed")
    return file.read_bytes()


def _thumbnail(image: Image.Image) -> bytes:
    scale = THUMBNAIL / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale))) if scale < 1 else image.size
    buffer = io.BytesIO()
    image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()
