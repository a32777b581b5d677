"""Random cuts: drawn from seed, epoch and name alone, always inside the photo. Run: `make test`."""

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from training.fit.augmentation import _part, cut_at_random

GRADIENT = Image.linear_gradient("L").convert("RGB")


def test_the_same_draw_gives_the_same_cut_and_another_another() -> None:
    first = cut_at_random(GRADIENT, 32, 1, 1, "a.jpg")
    assert (first.dtype, first.shape) == (torch.uint8, (32, 32, 3))
    assert torch.equal(first, cut_at_random(GRADIENT, 32, 1, 1, "a.jpg"))
    for other in ((2, 1, "a.jpg"), (1, 2, "a.jpg"), (1, 1, "b.jpg")):
        assert not torch.equal(first, cut_at_random(GRADIENT, 32, *other))


def test_about_half_of_the_cuts_are_mirrored() -> None:
    rising = Image.linear_gradient("L").rotate(90).convert("RGB")
    mirrored = sum(int(cut[0, 0, 0] > cut[0, -1, 0]) for cut in (cut_at_random(rising, 16, 1, epoch, "a") for epoch in range(200)))
    assert 70 < mirrored < 130


@settings(max_examples=200, deadline=None)
@given(width=st.integers(1, 5000), height=st.integers(1, 5000), seed=st.integers(0, 2**32))
def test_every_part_lies_in_the_photo(width: int, height: int, seed: int) -> None:
    left, top, right, bottom = _part(width, height, random.Random(seed))
    assert 0 <= left < right <= width * (1 + 1e-9)
    assert 0 <= top < bottom <= height * (1 + 1e-9)


@pytest.mark.parametrize("size", [(1, 1), (3000, 2), (2, 3000)])
def test_odd_shapes_are_cut_too(size: tuple[int, int]) -> None:
    for epoch in range(20):
        assert cut_at_random(Image.new("RGB", size, "red"), 8, 1, epoch, "a")[..., 0].min() == 255


def test_a_name_that_is_no_unicode_can_be_drawn_for() -> None:
    cut_at_random(GRADIENT, 8, 1, 1, "caf\udce9.jpg")
