"""Pictures that are alike in known ways."""

import io
import random

import numpy as np
from PIL import Image, ImageDraw

from training.data.preprocessing import read_photo


def scene(seed: int) -> Image.Image:
    """Coloured shapes of all sizes on a shaded ground: no two alike."""
    draw = random.Random(seed)
    x, y = np.meshgrid(np.linspace(0, 1, 320), np.linspace(0, 1, 240))
    shade = [draw.randint(0, 120) + draw.randint(0, 120) * (x if draw.random() < 0.5 else y) for _ in range(3)]
    image = Image.fromarray(np.stack(shade, axis=2).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    for _ in range(25):
        left, top, side = draw.randint(-20, 300), draw.randint(-20, 220), draw.randint(15, 90)
        shape = pen.ellipse if draw.random() < 0.5 else pen.rectangle
        shape((left, top, left + side, top + side * draw.uniform(0.4, 1)), fill=tuple(draw.randint(0, 255) for _ in range(3)))
    return image


def again(image: Image.Image, seed: int) -> Image.Image:
    """The photo as it comes back from the web: resized, cut a little, compressed again."""
    draw = random.Random(seed)
    left, top, right, bottom = (draw.uniform(0, 0.01) for _ in range(4))
    width, height = image.size
    box = (round(left * width), round(top * height), round((1 - right) * width), round((1 - bottom) * height))
    scale = draw.uniform(0.5, 1.5)
    resized = image.crop(box).resize((round(width * scale), round(height * scale)), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    resized.save(buffer, "JPEG", quality=draw.randint(50, 95))
    return read_photo(buffer.getvalue())
