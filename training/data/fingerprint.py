"""Fingerprints of near duplicates: 128 bits that are compared with those of all photos, and a preview that decides candidate pairs.

Runs in the processing job. A near duplicate is the same photo resized, compressed again, or slightly cropped. Such photos agree in
nearly all bits, but so do drawings on a white background, whose fields are mostly as bright as their neighbours: those bits are 0. The
previews of drawings differ. The small shift and stretch that a crop causes is fitted before two previews are compared.
"""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

BITS = 128
"""Of a fingerprint: is a field of an 8 x 8 grid brighter than its left, and than its upper neighbour."""
MOST_BITS = 20
"""Most bits in which near duplicates differ."""
PREVIEW = 16
"""Side of the preview, in pixels."""

_INFORMATIVE = 52
"""From so many bits that are 1 in either of two photos, the bits are informative."""
_MOST_DIFFERENCE = {True: 0.35, False: 0.125}
"""Largest difference between previews of near duplicates, relative to their contrast, by whether their bits are informative."""

_SIDE = 72
"""Divisible by 8 and by 9."""
_LEAST_CONTRAST = 4 / 255
"""Least assumed contrast of a preview: below it only noise differs."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The fingerprint of one photo."""

    bits: bytes
    """BITS bits, eight per byte."""
    preview: torch.Tensor
    """uint8 [PREVIEW, PREVIEW, 3]."""


def fingerprint(photo: Image.Image) -> Fingerprint:
    """Return the fingerprint of an RGB photo of any size and shape."""
    small = photo.resize((_SIDE, _SIDE), Image.Resampling.BOX)
    grey = np.asarray(small.convert("L"), dtype=np.float32)
    wide = grey.reshape(8, _SIDE // 8, 9, _SIDE // 9).mean(axis=(1, 3))
    tall = grey.reshape(9, _SIDE // 9, 8, _SIDE // 8).mean(axis=(1, 3))
    bits = np.concatenate([(wide[:, 1:] > wide[:, :-1]).ravel(), (tall[1:] > tall[:-1]).ravel()])
    preview = np.array(small.resize((PREVIEW, PREVIEW), Image.Resampling.BILINEAR))
    return Fingerprint(np.packbits(bits).tobytes(), torch.from_numpy(preview))


def unpack(bits: np.ndarray) -> torch.Tensor:
    """Return float32 [n, BITS] of ones and zeros, of uint8 [n, BITS / 8]."""
    return torch.from_numpy(np.unpackbits(bits, axis=1)).float()


def count_differing_bits(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Return float32 [n, m]: the number of differing bits of each pair."""
    return one.sum(dim=1).unsqueeze(1) + other.sum(dim=1) - 2 * one @ other.T


def are_near(bits: tuple[torch.Tensor, torch.Tensor], previews: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Return bool [n]: which of n pairs are near duplicates, from float32 [n, BITS] and uint8 [n, PREVIEW, PREVIEW, 3] of both."""
    most = torch.where(torch.maximum(*bits).sum(dim=1) >= _INFORMATIVE, _MOST_DIFFERENCE[True], _MOST_DIFFERENCE[False])
    near: torch.Tensor = ((bits[0] != bits[1]).sum(dim=1) <= MOST_BITS) & (measure_difference(*previews) <= most)
    return near


def measure_difference(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Return float32 [n]: the difference of each pair of uint8 [n, PREVIEW, PREVIEW, 3] after a shift and a stretch are fitted.

    0: they are equal; 1: they differ as much as the parts of one picture do.
    """
    a, b = one.float() / 255, other.float() / 255
    down, across = torch.gradient((a + b) / 2, dim=(1, 2))
    place = torch.linspace(-1, 1, PREVIEW)
    changes = torch.stack([across, down, across * place.view(1, 1, -1, 1), down * place.view(1, -1, 1, 1)], dim=-1).flatten(1, 3)
    gap = (a - b).flatten(1).unsqueeze(2)
    gram = changes.mT @ changes + 1e-6 * torch.eye(changes.shape[2])
    fitted = changes @ torch.linalg.solve(gram, changes.mT @ gap)
    rest = (gap - fitted).square().sum(dim=(1, 2)) / PREVIEW**2
    contrast = (a.var(dim=(1, 2)).sum(dim=1) + b.var(dim=(1, 2)).sum(dim=1)) / 2
    different: torch.Tensor = rest.sqrt() / contrast.sqrt().clamp_min(_LEAST_CONTRAST)
    return different.nan_to_num(nan=float("inf"))
