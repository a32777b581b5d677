"""Augmentation: a random crop of a photo in each epoch, scaled to the network's size, and mirrored half of the time.

Runs in training jobs that train the backbone. The draw depends only on the seed, the epoch and the photo's name: the order of the
photos, the number of threads or processes and an interruption do not change it.
"""

import hashlib
import math
import random

import numpy as np
import torch
from PIL import Image

AREA = (0.25, 1.0)
"""Part of the photo's area that is shown, drawn evenly."""
SHAPE = (3 / 4, 4 / 3)
"""Width over height of that part, drawn evenly on a logarithmic scale."""
ATTEMPTS = 10
"""Draws of a part that does not fit into the photo, before the largest middle part is taken."""


def cut_at_random(photo: Image.Image, side: int, seed: int, epoch: int, name: str) -> torch.Tensor:
    """Return a part of an RGB photo, uint8 [side, side, 3]."""
    draw = random.Random(_number(seed, epoch, name))
    box = _part(photo.width, photo.height, draw)
    square = photo.resize((side, side), Image.Resampling.BILINEAR, box=box)
    if draw.random() < 0.5:
        square = square.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return torch.from_numpy(np.array(square))


def _number(seed: int, epoch: int, name: str) -> int:
    digest = hashlib.sha256(f"{seed}:{epoch}:{name}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big")


def _part(width: int, height: int, draw: random.Random) -> tuple[float, float, float, float]:
    """Return left, top, right, bottom of a part of the photo."""
    for _ in range(ATTEMPTS):
        area = width * height * draw.uniform(*AREA)
        shape = math.exp(draw.uniform(math.log(SHAPE[0]), math.log(SHAPE[1])))
        wide, high = math.sqrt(area * shape), math.sqrt(area / shape)
        if wide <= width and high <= height:
            left, top = draw.uniform(0, width - wide), draw.uniform(0, height - high)
            return left, top, left + wide, top + high
    wide, high = min(width, height * SHAPE[1]), min(height, width / SHAPE[0])
    left, top = (width - wide) / 2, (height - high) / 2
    return left, top, left + wide, top + high
