"""Photos of every kind that arrives: the same upright RGB everywhere, and damage told in a sentence. Run: `make test`."""

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from training.data.preprocessing import PhotoError, Preprocessing, read_photo

RED, WHITE = (200, 30, 40), (255, 255, 255)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_every_format_is_read_by_its_content(kind: str) -> None:
    photo = read_photo(encoded(Image.new("RGB", (40, 30), RED), kind))
    assert (photo.mode, photo.size) == ("RGB", (40, 30))
    assert np.abs(np.asarray(photo).astype(int) - RED).max() <= 6


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "1", "LA", "RGBA"])
@pytest.mark.parametrize("kind", ["TIFF", "PNG"])
def test_every_mode_becomes_rgb(mode: str, kind: str) -> None:
    if mode == "CMYK" and kind == "PNG":
        kind = "JPEG"
    photo = read_photo(encoded(Image.new("RGB", (8, 8), WHITE).convert(mode), kind))
    assert np.asarray(photo).min() >= 250


def test_sixteen_bits_are_scaled_not_cut() -> None:
    values = np.array([[0, 16448, 32896, 65535]], dtype=np.uint16)
    photo = read_photo(encoded(Image.fromarray(values)))
    assert np.asarray(photo)[0, :, 0].tolist() == [0, 64, 128, 255]


@pytest.mark.parametrize(("mode", "bytes_a_pixel"), [("I;16", 8), ("I", 16)])
def test_many_bits_take_little_memory(mode: str, bytes_a_pixel: int) -> None:
    data = encoded(Image.new(mode, (1000, 1000), 32896), "TIFF")
    tracemalloc.start()
    try:
        photo = read_photo(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert photo.getpixel((500, 500)) == (128, 128, 128)
    assert peak < 1000 * 1000 * bytes_a_pixel


def test_values_beyond_sixteen_bits_are_cut() -> None:
    values = np.array([[-5, 0, 65535, 70000]], dtype=np.int32)
    assert np.asarray(read_photo(encoded(Image.fromarray(values), "TIFF")))[0, :, 0].tolist() == [0, 0, 255, 255]


def test_transparency_lies_over_white() -> None:
    photo = read_photo(encoded(Image.new("RGBA", (4, 4), (*RED, 0))))
    assert photo.getpixel((0, 0)) == WHITE


def half_transparent(mode: str) -> Image.Image:
    """Red, half of which shows through: over white it is (227, 142, 147)."""
    image = Image.new("RGBA", (8, 8), (*RED, 128))
    if mode == "P":
        image = Image.new("P", (8, 8), 0)
        image.putpalette([*RED, 128], "RGBA")
    return image.convert(mode)


@pytest.mark.parametrize(("mode", "kind"), [("RGBA", "PNG"), ("P", "PNG"), ("RGBA", "WEBP"), ("RGBA", "TIFF"), ("PA", "TIFF")])
def test_half_transparency_shows_half_of_the_white(mode: str, kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    photo = read_photo(encoded(half_transparent(mode), kind, **options))
    assert np.abs(np.asarray(photo).astype(int) - (227, 142, 147)).max() <= 1


def test_one_colour_may_be_the_transparent_one() -> None:
    photo = read_photo(encoded(Image.new("RGB", (8, 8), RED), "PNG", transparency=RED))
    assert photo.getpixel((0, 0)) == WHITE


@pytest.mark.parametrize("mode", ["I;16", "I;16B"])
def test_sixteen_bits_of_either_byte_order_are_scaled(mode: str) -> None:
    image = Image.frombytes(mode, (2, 1), struct.pack(">HH" if mode == "I;16B" else "<HH", 65535, 257))
    assert np.asarray(read_photo(encoded(image, "TIFF")))[0].tolist() == [[255] * 3, [1] * 3]


def test_ink_is_no_light() -> None:
    """A CMYK photo of no ink is white, of all inks black."""
    inks = Image.new("CMYK", (16, 16), (0, 0, 0, 0))
    inks.paste((255, 255, 255, 255), (8, 0, 16, 16))
    pixels = np.asarray(read_photo(encoded(inks, "JPEG", quality=95)))
    assert pixels[8, 2].min() >= 250
    assert pixels[8, 13].max() <= 5


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_counts(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    frames = [Image.new("RGB", (16, 16), "blue"), Image.new("RGB", (16, 16), "yellow")]
    photo = read_photo(encoded(Image.new("RGB", (16, 16), RED), kind, save_all=True, append_images=frames, **options))
    assert photo.size == (16, 16)
    assert np.abs(np.asarray(photo).astype(int) - RED).max() <= 1


def test_a_colour_profile_changes_nothing() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    plain, profiled = (read_photo(encoded(Image.new("RGB", (8, 8), RED), "PNG", **more)) for more in ({}, {"icc_profile": profile}))
    assert plain.tobytes() == profiled.tobytes()


def test_damage_is_told_where_the_orientation_is_asked_for_first() -> None:
    """Asking a PNG for its orientation decodes it; what is wrong with it must not get lost on the way."""
    whole = encoded(Image.new("RGB", (60, 60), RED))
    broken = whole[:33] + struct.pack(">I", 4) + b"IDATzlib" + struct.pack(">I", zlib.crc32(b"IDATzlib")) + whole[-12:]
    with pytest.raises(PhotoError, match="it is damaged: broken data stream"):
        read_photo(broken)


def test_squares_are_scaled_alike_alone_and_together() -> None:
    photos = [Image.effect_noise((80, 60), sigma).convert("RGB") for sigma in (20, 60)]
    preprocessing = Preprocessing()
    together = preprocessing.scale(torch.stack([preprocessing.cut(photo) for photo in photos]))
    assert torch.equal(together, torch.stack([preprocessing(photo) for photo in photos]))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_the_camera_is_applied(kind: str, orientation: int) -> None:
    """The same scene, held eight ways: its dark corner comes back to the upper left."""
    upright = Image.new("RGB", (32, 48), WHITE)
    upright.paste((0, 0, 0), (0, 0, 16, 16))
    held = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo = read_photo(encoded(upright.transpose(held) if held is not None else upright, kind, exif=exif))
    assert photo.size == (32, 48)
    assert np.asarray(photo)[4, 4].max() < 10
    assert np.asarray(photo)[4, 28].min() > 245


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow warns of what it skips
def test_broken_exif_costs_the_orientation_not_the_photo() -> None:
    data = encoded(Image.new("RGB", (20, 20), RED), "JPEG")
    broken = data[:2] + b"\xff\xe1" + struct.pack(">H", 20) + b"Exif\x00\x00II*\x00\xff\xff\xff\xff\x00\x00\x00\x00"[:18] + data[2:]
    assert read_photo(broken).size == (20, 20)


def png_header(width: int, height: int) -> bytes:
    """A PNG that announces a size and holds almost nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\x00" * 64)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(9000, 9000), (12000, 12000), (60000, 60000)])
def test_a_bomb_is_refused_by_its_header(size: tuple[int, int]) -> None:
    with pytest.raises(PhotoError, match="pixels"):
        read_photo(png_header(*size))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"%PDF-1.7",
        b"<svg/>",
        b"PK\x03\x04zip",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"\xff\xd8\xff",
        b"GIF89a",
        b"BM",
    ],
)
def test_what_is_no_photo_says_so(data: bytes) -> None:
    with pytest.raises(PhotoError, match="it is"):
        read_photo(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP"])
def test_a_photo_cut_short_is_damaged(kind: str) -> None:
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 255, (60, 60, 3), dtype=np.uint8))
    data = encoded(noise, kind)
    with pytest.raises(PhotoError, match=r"damaged|none of"):
        read_photo(data[: len(data) * 2 // 3])


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow warns of what it skips
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
def test_changed_bytes_never_raise_anything_else(kind: str) -> None:
    random = np.random.default_rng(5)
    data = encoded(Image.fromarray(random.integers(0, 255, (24, 24, 3), dtype=np.uint8)), kind)
    for _ in range(150):
        changed = bytearray(data)
        for position in random.integers(0, len(data), 6):
            changed[position] = random.integers(0, 256)
        try:
            read_photo(bytes(changed))
        except PhotoError as error:
            assert str(error).startswith("it ")


@pytest.mark.parametrize("size", [(1, 1), (10, 4000), (4000, 10), (224, 224), (500, 375)])
def test_any_shape_becomes_the_same_square(size: tuple[int, int]) -> None:
    pixels = Preprocessing()(Image.new("RGB", size, RED))
    assert pixels.shape == (3, 224, 224)
    expected = (torch.tensor(RED) / 255 - torch.tensor(Preprocessing().mean)) / torch.tensor(Preprocessing().std)
    assert torch.allclose(pixels.mean(dim=(1, 2)), expected, atol=1e-5)


def test_it_cuts_the_middle() -> None:
    photo = Image.new("RGB", (1024, 256), WHITE)
    photo.paste(RED, (384, 0, 640, 256))
    corners = Preprocessing(resize=256, crop=224)(photo)[:, ::223, ::223]
    assert corners.std(dim=(1, 2)).max() < 1e-5


def test_it_travels_as_json() -> None:
    changed = Preprocessing(resize=232, crop=192)
    assert Preprocessing.from_json(changed.to_json()) == changed
