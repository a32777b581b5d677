"""Files that are no usable photos: 60 kinds of damage and of other contents, and 20 bombs, which are small and want much memory."""

import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

JPEG_START = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
MOST = 2**31 - 1


def noise(width: int = 60, height: int = 60) -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 255, (height, width, 3), dtype=np.uint8))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes, *, checksum: int | None = None) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data) if checksum is None else checksum)


def png(*chunks: bytes) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def png_of(width: int, height: int, depth: int = 8, colour: int = 2, data: bytes = bytes(64)) -> bytes:
    """A PNG that announces a size, and holds only what `data` is once unpacked."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return png(chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(data, 9)), chunk(b"IEND", b""))


def jpeg_of(width: int, height: int, *, progressive: bool = False, components: int = 3) -> bytes:
    """A JPEG that announces a size and holds no picture."""
    parts = b"".join(bytes((number + 1, 0x11, 0)) for number in range(components))
    frame = struct.pack(">BHHB", 8, height, width, components) + parts
    tables = b"\xff\xdb" + struct.pack(">HB", 67, 0) + bytes([1] * 64)
    return JPEG_START + tables + (b"\xff\xc2" if progressive else b"\xff\xc0") + struct.pack(">H", len(frame) + 2) + frame + b"\xff\xd9"


def gif_of(screen: tuple[int, int], frame: tuple[int, int]) -> bytes:
    """A GIF of a screen and one frame on it, both as large as they are called."""
    palette = bytes(6)
    return (
        b"GIF89a" + struct.pack("<HHBBB", *screen, 0x80, 0, 0) + palette + b"," + struct.pack("<HHHHB", 0, 0, *frame, 0)
        + b"\x02\x02\x4c\x01\x00;"
    )  # fmt: skip


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for kind, data in chunks)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def webp_of(width: int, height: int) -> bytes:
    """A lossless WebP that announces a size."""
    return riff((b"VP8L", b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14) + bytes(16)))


def animated_webp_of(width: int, height: int) -> bytes:
    canvas = bytes([2, 0, 0, 0]) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return riff((b"VP8X", canvas), (b"ANIM", bytes(6)))


def bmp_of(width: int, height: int, *, bits: int = 24, compression: int = 0, data: bytes = b"") -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(data), 0, 0, 0, 0)
    palette = bytes(4 * 2**bits) if bits <= 8 else b""
    start = 14 + len(header) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start) + header + palette + data


def tiff_of(
    width: int, height: int, *, compression: int = 1, samples: int = 3, bits: int = 8, data: bytes = bytes(64), **more: int
) -> bytes:
    """A TIFF of one strip that announces a size; `more`: tags by number, as `t<number>`."""
    tags = {256: width, 257: height, 258: bits, 259: compression, 262: 2 if samples >= 3 else 1, 273: 0, 277: samples, 278: height}
    tags |= {279: len(data)} | {int(name[1:]): value for name, value in more.items()}
    tags[273] = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    return b"II*\x00" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + entries + bytes(4) + data


def zipped(name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, b"text")
    return buffer.getvalue()


def cut(kind: str, part: float, **options: object) -> bytes:
    data = encoded(noise(), kind, **options)
    return data[: int(len(data) * part)]


def without(kind: str, old: bytes, new: bytes) -> bytes:
    """A picture in which some bytes were changed."""
    data = encoded(noise(), kind)
    assert old in data
    return data.replace(old, new, 1)


def bad_files() -> dict[str, bytes]:
    """Name -> content. None is a photo, whatever its name says."""
    whole = encoded(noise(), "PNG")
    return {
        "empty.jpg": b"",
        "one_byte.jpg": b"\xff",
        "zeros.jpg": bytes(5000),
        "text.jpg": b"this is a text",
        "unicode_text.jpg": "Das ist ein Text \u2603".encode(),
        "html.jpg": b"<!DOCTYPE html><html><body>403 Forbidden</body></html>",
        "xml.jpg": b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
        "json.png": b'{"error": "not found"}',
        "svg.png": b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
        "pdf.jpg": b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n%%EOF",
        "eps.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
        "zip.jpg": zipped("a.txt"),
        "docx.jpg": zipped("word/document.xml"),
        "gzip.jpg": gzip.compress(b"text", mtime=0),
        "tar.jpg": b"a.txt" + bytes(252) + b"ustar\x0000" + bytes(248),
        "elf.jpg": b"\x7fELF\x02\x01\x01" + bytes(57),
        "pickle.jpg": b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
        "script.png": b"#!/bin/sh\necho hello\n",
        "mp4.jpg": b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom" + bytes(64),
        "heic.heic": b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(64),
        "avif.jpg": encoded(noise(), "AVIF"),
        "jpeg2000.jpg": encoded(noise(), "JPEG2000"),
        "psd.jpg": b"8BPS\x00\x01" + bytes(6) + struct.pack(">HIIHH", 3, 9, 9, 8, 3) + bytes(64),
        "ico.png": encoded(noise(16, 16), "ICO"),
        "tga.png": encoded(noise(), "TGA"),
        "pcx.png": encoded(noise(), "PCX"),
        "ppm.png": encoded(noise(), "PPM"),
        "dds.png": encoded(noise(), "DDS"),
        "fits.png": b"SIMPLE  =                    T" + b" " * 2850,
        "wmf.png": b"\xd7\xcd\xc6\x9a" + bytes(100),
        "riff_without_webp.webp": b"RIFF\x10\x00\x00\x00WAVEfmt " + bytes(16),
        "jpeg_start.jpg": b"\xff\xd8\xff",
        "jpeg_header.jpg": JPEG_START,
        "jpeg_cut_in_half.jpg": cut("JPEG", 0.5),
        "jpeg_cut_early.jpg": cut("JPEG", 0.1),
        "jpeg_progressive_cut.jpg": cut("JPEG", 0.4, progressive=True),
        "jpeg_without_picture.jpg": jpeg_of(60, 60),
        "jpeg_of_no_height.jpg": jpeg_of(60, 0),
        "jpeg_of_five_components.jpg": jpeg_of(60, 60, components=5),
        "png_signature.png": b"\x89PNG\r\n\x1a\n",
        "png_cut_in_half.png": cut("PNG", 0.5),
        "png_without_header.png": png(chunk(b"IDAT", zlib.compress(bytes(64))), chunk(b"IEND", b"")),
        "png_without_picture.png": whole[:33] + chunk(b"IEND", b""),
        "png_checksum_wrong.png": png(chunk(b"IHDR", whole[16:29], checksum=1)) + whole[33:],
        "png_of_unknown_colours.png": png_of(9, 9, colour=5),
        "png_of_no_width.png": png_of(0, 9),
        "png_of_too_little_data.png": png_of(900, 900),
        "png_of_no_zlib.png": whole[:33] + chunk(b"IDAT", b"no zlib data") + chunk(b"IEND", b""),
        "png_palette_missing.png": png(chunk(b"IHDR", struct.pack(">IIBBBBB", 9, 9, 9, 3, 0, 0, 0)), chunk(b"IEND", b"")),
        "gif_header.gif": b"GIF89a",
        "gif_without_frame.gif": b"GIF89a" + struct.pack("<HHBBB", 9, 9, 0, 0, 0) + b";",
        "gif_of_no_size.gif": gif_of((0, 0), (0, 0)),
        "bmp_header.bmp": b"BM",
        "bmp_cut.bmp": cut("BMP", 0.5),
        "bmp_of_unknown_bits.bmp": bmp_of(9, 9, bits=7, data=bytes(99)),
        "webp_cut.webp": cut("WEBP", 0.5),
        "webp_of_nothing.webp": riff((b"VP8 ", b"")),
        "tiff_header.tif": b"II*\x00\x08\x00\x00\x00",
        "tiff_cut.tif": cut("TIFF", 0.5),
        "tiff_of_floats.tif": encoded(Image.new("F", (9, 9), 0.5), "TIFF"),
        "tiff_of_unknown_compression.tif": tiff_of(9, 9, compression=999),
        "tiff_directory_outside.tif": b"II*\x00" + struct.pack("<I", 10**9) + bytes(64),
    }


def bombs() -> dict[str, Callable[[], bytes]]:
    """Name -> what makes the content. Each is small, and asks for more pixels or more memory than a photo may."""
    deflated = zlib.compress(bytes(30_000_000), 9)
    return {
        "png_9000.png": lambda: png_of(9000, 9000, 1, 0, bytes(1126 * 9000)),
        "png_12000.png": lambda: png_of(12000, 12000, 1, 0, bytes(1501 * 12000)),
        "png_60000.png": lambda: png_of(60000, 60000),
        "png_widest.png": lambda: png_of(MOST, 1, 1, 0),
        "png_highest.png": lambda: png_of(1, MOST, 1, 0),
        "png_of_text.png": lambda: png(chunk(b"IHDR", struct.pack(">IIBBBBB", 9, 9, 8, 2, 0, 0, 0)), chunk(b"zTXt", b"a\0\0" + deflated)),
        "png_of_international_text.png": lambda: png(
            chunk(b"IHDR", struct.pack(">IIBBBBB", 9, 9, 8, 2, 0, 0, 0)), chunk(b"iTXt", b"a\0\1\0\0\0" + deflated)
        ),
        "png_16_bits.png": lambda: png_of(8000, 8000, 16, 6),
        "jpeg_65500.jpg": lambda: jpeg_of(65500, 65500),
        "jpeg_progressive.jpg": lambda: jpeg_of(65500, 65500, progressive=True),
        "jpeg_cmyk.jpg": lambda: jpeg_of(30000, 30000, components=4),
        "gif_screen.gif": lambda: gif_of((65535, 65535), (1, 1)),
        "gif_frame.gif": lambda: gif_of((1, 1), (65535, 65535)),
        "webp_16383.webp": lambda: webp_of(16383, 16383),
        "webp_animation.webp": lambda: animated_webp_of(2**24 - 1, 255),
        "bmp_30000.bmp": lambda: bmp_of(30000, 30000),
        "bmp_run_lengths.bmp": lambda: bmp_of(20000, 20000, bits=8, compression=1, data=bytes(64)),
        "tiff_60000.tif": lambda: tiff_of(60000, 60000, compression=8, data=deflated),
        "tiff_of_many_samples.tif": lambda: tiff_of(7000, 7000, samples=60000),
        "tiff_tiles.tif": lambda: tiff_of(9, 9, compression=8, t322=2**20, t323=2**20, t324=8, t325=64, data=deflated),
    }
