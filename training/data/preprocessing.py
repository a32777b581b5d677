"""From the bytes of a photo to the tensor that the network sees: the only definition, used in training, evaluation and serving.

Runs in the training and serving images.
The artefact's model.json holds the numbers, so that a model is always served as it was trained.
"""

import io
import math
import struct
import zlib
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from training.contract.photos import PILLOW_FORMATS

MAX_PIXELS = 50_000_000
LARGE_PIXELS = 16_000_000
"""Photos of more pixels are decoded one at a time, because several at once would need gigabytes."""

DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    EOFError,
    OverflowError,
    struct.error,
    zlib.error,
)
"""What Pillow's decoders raise on damaged files; decoders parse untrusted bytes in plain Python, so the list is long."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION_TAG = 0x0112
_large = Lock()


class PhotoError(Exception):
    """A file is not a readable photo; the text says why."""


class PhotoMemoryError(PhotoError):
    """The photo does not fit into the free memory; the file itself may be usable."""


@dataclass(frozen=True)
class Preprocessing:
    """How a photo becomes a tensor."""

    resize: int = 256
    """Length that the shorter side is scaled to, in pixels."""
    crop: int = 224
    """Side of the square cut from the middle, in pixels."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Subtracted from red, green and blue, each in 0..1."""
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """Then divided by."""

    def __call__(self, photo: Image.Image) -> torch.Tensor:
        """Return float32 [3, crop, crop] of an RGB photo."""
        return self.scale(self.cut(photo).unsqueeze(0))[0]

    def cut(self, photo: Image.Image) -> torch.Tensor:
        """Return the middle of an RGB photo at the network's size: uint8 [crop, crop, 3]."""
        side = min(photo.size) * self.crop / self.resize
        left, top = (photo.width - side) / 2, (photo.height - side) / 2
        square = photo.resize((self.crop, self.crop), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))
        return torch.from_numpy(np.array(square))

    def scale(self, squares: torch.Tensor) -> torch.Tensor:
        """Return float32 [n, 3, crop, crop] of uint8 [n, crop, crop, 3], on the same device."""
        values = squares.permute(0, 3, 1, 2).float() / 255
        mean, std = (torch.tensor(numbers, device=squares.device).view(3, 1, 1) for numbers in (self.mean, self.std))
        return (values - mean) / std

    def to_json(self) -> dict[str, Any]:
        """Return what model.json holds."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "Preprocessing":
        """Rebuild from model.json.

        Raises:
            KeyError, TypeError: a field is unknown or missing.
            ValueError: a value that no network can use; the text names it.
        """
        made = cls(**{**fields, "mean": tuple(fields["mean"]), "std": tuple(fields["std"])})
        made._refuse_nonsense()
        return made

    def _refuse_nonsense(self) -> None:
        sizes, numbers = (self.crop, self.resize), (*self.mean, *self.std)
        if any(type(size) is not int for size in sizes) or not 0 < self.crop <= self.resize:
            raise ValueError(f"crop is {self.crop!r} and resize {self.resize!r}: they must be whole numbers with 0 < crop <= resize")
        if (len(self.mean), len(self.std)) != (3, 3) or not all(math.isfinite(number) for number in numbers) or min(self.std) <= 0:
            raise ValueError(f"mean is {self.mean} and std {self.std}: each must be three finite numbers, those of std above 0")


def read_photo(source: bytes | Path) -> Image.Image:
    """Return the photo as RGB, upright, transparent areas white; the first frame of an animation.

    Raises:
        PhotoError: not one of PILLOW_FORMATS, larger than MAX_PIXELS, or damaged.
    """
    with _open(source) as image:
        try:
            if image.format == "JPEG":
                image.draft(None, (1024, 1024))  # a large JPEG is decoded at a half, quarter or eighth: never below 1,024 pixels a side
            with _one_large_at_a_time(image.width * image.height):
                image.load()  # before its orientation is read: that also loads a PNG, and would hide its errors
                orientation = _orientation(image)
                upright = image.transpose(_TURNS[orientation]) if orientation in _TURNS else image
                return _to_rgb(upright)
        except MemoryError as error:
            size = f"{image.width} x {image.height} pixels in mode {image.mode}"
            raise PhotoMemoryError(f"it needs more memory than is available: {size}") from error
        except DAMAGE as error:
            raise PhotoError(f"it is damaged: {error}") from error


def _open(source: bytes | Path) -> Image.Image:
    """Open by content, never by name; the size is checked before a pixel is decoded."""
    try:
        image = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=PILLOW_FORMATS)
    except UnidentifiedImageError as error:
        raise PhotoError(f"it is none of {', '.join(PILLOW_FORMATS)}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PhotoError(f"it has more than {MAX_PIXELS:,} pixels") from error
    except MemoryError as error:
        raise PhotoMemoryError("it needs more memory than is available to read even its header") from error
    except DAMAGE as error:
        raise PhotoError(f"it is damaged: {error}") from error
    if image.width * image.height > MAX_PIXELS:
        image.close()
        raise PhotoError(f"it has {image.width} x {image.height} pixels, more than the {MAX_PIXELS:,} allowed")
    return image


def _one_large_at_a_time(pixels: int) -> AbstractContextManager[object]:
    return _large if pixels > LARGE_PIXELS else nullcontext()


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 (upright) if there is none or it cannot be read: the photo itself may still be usable."""
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except DAMAGE:
        return 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("F", "I") or image.mode.startswith("I;16"):
        return _sixteen_bits_to_rgb(image)
    if image.has_transparency_data:
        layers = image if image.mode == "RGBA" else image.convert("RGBA")
        ground = Image.new("RGB", layers.size, "white")
        ground.paste(layers, mask=layers)
        return ground
    return image if image.mode == "RGB" else image.convert("RGB")


def _sixteen_bits_to_rgb(image: Image.Image) -> Image.Image:
    """Scale 0..65535 to 0..255: Pillow's own conversion would cut everything above 255 to white."""
    if image.mode == "F":
        raise PhotoError("its pixels are floating point numbers, whose range is unknown: save it with 8 or 16 bits per channel")
    values = np.asarray(image)
    if image.mode == "I":  # 32 bits with a sign
        values = np.clip(values, 0, 65535)
    return Image.fromarray((values // 257).astype(np.uint8)).convert("RGB")
