"""One file, read once: what the data set keeps of it, and the pixels for the network; or the reason why it is no usable photo.

Runs in the processing job, in the threads that read ahead.
"""

import hashlib
import io
import stat
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from training.data import FoundPhoto, LeftOut
from training.fingerprint import fingerprint
from training.preprocessing import PhotoError, Preprocessing, read_photo

MAX_BYTES = 200_000_000
"""Longest file that is read: as long as a photo of the most pixels allowed gets without compression."""
THUMBNAIL = 96
"""Longer side of the small pictures in the report, in pixels."""


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
    """Read the file; return what is to be known of it, or why it is left out."""
    try:
        content = _read(folder / photo.name)
        image = read_photo(content)
        own = fingerprint(image)
        kept = Inspected(photo, hashlib.sha256(content).hexdigest(), len(content), *image.size, own.bits)
        return Seen(kept, preprocessing.cut(image), own.preview, _thumbnail(image))
    except PhotoError as error:
        return LeftOut(photo.name, str(error))
    except MemoryError:
        return LeftOut(photo.name, "it needs more memory than there is")
    except OSError as error:
        return LeftOut(photo.name, f"it cannot be read: {error.strerror}")


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
