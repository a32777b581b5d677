"""What tells near duplicates: 128 bits that are compared with everyone's, and a tiny picture that settles a suspicion.

Runs in the processing job. A near duplicate is the same photo resized, compressed again, or with a sliver cut from its sides. Such photos
agree in nearly all bits, but so do drawings on white ground, whose fields mostly are as bright as their neighbours: all those bits are 0.
In the tiny pictures drawings differ. The small shift and stretch that a cut leaves there is fitted before the two are compared.
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
"""Side of the tiny picture, in pixels."""

_TELLING = 52
"""So many bits that are 1 in either of two photos tell much of them."""
_MOST_DIFFERENCE = {True: 0.35, False: 0.125}
"""Most that the tiny pictures of near duplicates differ, as a part of their own contrast, where their bits tell much and where not."""

_SIDE = 72
"""Divides into 8 and into 9 equal fields."""
_LEAST_CONTRAST = 4 / 255
"""Contrast that a tiny picture is taken to have at least: where it has less, noise is all that differs."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Of one photo."""

    bits: bytes
    """BITS of them, eight a byte."""
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


def differing_bits(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Return float32 [n, m]: in how many bits each of the n differs from each of the m."""
    return one.sum(dim=1).unsqueeze(1) + other.sum(dim=1) - 2 * one @ other.T


def are_near(bits: tuple[torch.Tensor, torch.Tensor], previews: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Return bool [n]: which of n pairs are near duplicates, of float32 [n, BITS] and uint8 [n, PREVIEW, PREVIEW, 3] of either side."""
    most = torch.where(torch.maximum(*bits).sum(dim=1) >= _TELLING, _MOST_DIFFERENCE[True], _MOST_DIFFERENCE[False])
    near: torch.Tensor = ((bits[0] != bits[1]).sum(dim=1) <= MOST_BITS) & (difference(*previews) <= most)
    return near


def difference(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Return float32 [n]: how far each pair of uint8 [n, PREVIEW, PREVIEW, 3] differs once a shift and a stretch are fitted.

    0: they are the same; 1: they differ as much as their own parts do.
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
