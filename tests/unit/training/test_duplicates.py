"""Every copy is found, photos that only resemble each other are left in peace, and nothing leaks into evaluation. Run: `make test`."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from PIL import Image, ImageDraw

from tests.fixtures.training.scenes import again, scene
from training.data.duplicates import Duplicates, find_duplicates
from training.data.fingerprint import Fingerprint, fingerprint, measure_difference
from training.data.folders import FoundPhoto
from training.data.inspection import Inspected

CLASSES = ("cat", "dog")


class Album:
    """Photos as the processing job sees them, by name; a name is split/class/file or class/file."""

    def __init__(self, images: dict[str, Image.Image]) -> None:
        self.photos: list[Inspected] = []
        self._previews: list[torch.Tensor] = []
        for name, image in sorted(images.items()):
            *split, label, _ = name.split("/")
            own = fingerprint(image)
            photo = FoundPhoto(name, CLASSES.index(label), split[0] if split else None)
            digest = hashlib.sha256(image.tobytes()).hexdigest()
            self.photos.append(Inspected(photo, digest, 1, *image.size, own.bits))
            self._previews.append(own.preview)

    def duplicates(self) -> Duplicates:
        return find_duplicates(self.photos, self.previews)

    def previews(self, rows: Sequence[int]) -> torch.Tensor:
        return torch.stack([self._previews[row] for row in rows])


def excluded(images: dict[str, Image.Image]) -> dict[str, str]:
    return {item.name: item.reason for item in Album(images).duplicates().excluded}


def test_of_exact_copies_the_first_is_used() -> None:
    found = excluded({"cat/1": scene(1), "cat/2": scene(1), "cat/3": scene(2), "dog/1": scene(3)})
    assert found == {"cat/2": "it is an exact copy of 'cat/1'"}


def test_exact_copies_stay_in_the_earliest_split() -> None:
    images = {"test/cat/1": scene(1), "train/cat/9": scene(1), "valid/cat/5": scene(1), "valid/cat/6": scene(2), "test/cat/6": scene(2)}
    assert set(excluded(images)) == {"test/cat/1", "valid/cat/5", "test/cat/6"}


def test_every_exact_copy_is_found() -> None:
    originals = {f"train/{CLASSES[number % 2]}/{number:03}": scene(number) for number in range(60)}
    copies = {f"test/{CLASSES[number % 2]}/{number:03}": scene(number) for number in range(0, 60, 2)}
    assert set(excluded(originals | copies)) == set(copies)


def test_a_file_under_two_labels_is_used_under_none() -> None:
    album = Album({"cat/1": scene(1), "dog/1": scene(1), "dog/2": scene(1), "dog/3": scene(2)})
    found = album.duplicates()
    assert {item.name for item in found.excluded} == {"cat/1", "dog/1", "dog/2"}
    assert "has two labels, as 'cat/1' and as 'dog/1'" in found.excluded[0].reason
    assert [(pair.a, pair.b, pair.distance) for pair in found.contradictions] == [("cat/1", "dog/1", 0)]
    assert found.exact == [["cat/1", "dog/1", "dog/2"]]


def test_near_duplicates_are_found_and_strangers_are_not() -> None:
    originals = {f"train/cat/{number:03}": scene(number) for number in range(100)}
    changed = {f"test/cat/{number:03}": again(scene(number), number) for number in range(50)}
    strangers = {f"test/cat/{number:03}": scene(number) for number in range(200, 250)}
    found = excluded(originals | changed | strangers)
    assert len(found.keys() & changed.keys()) >= 0.95 * len(changed)
    assert not found.keys() - changed.keys()
    assert found["test/cat/000"] == "it is a near duplicate of 'train/cat/000' in train: test must not contain it"


def test_drawings_on_white_ground_are_no_duplicates() -> None:
    """Few bits of their fingerprints differ: the tiny pictures have to tell them apart."""
    images = {}
    for number, shape in enumerate(("ellipse", "rectangle")):
        image = Image.new("RGB", (300, 300), "white")
        getattr(ImageDraw.Draw(image), shape)((110, 60, 190, 250), fill="black")
        images[f"{CLASSES[number]}/1"] = image
    assert Album(images).duplicates().near == []


def test_near_duplicates_are_drawn_together() -> None:
    images = {"cat/1": scene(1), "cat/2": again(scene(1), 1), "cat/3": again(scene(1), 2), "cat/4": scene(2)}
    found = Album(images).duplicates()
    assert found.excluded == []
    assert len({found.groups[name] for name in ("cat/1", "cat/2", "cat/3")}) == 1
    assert "cat/4" not in found.groups


def test_near_duplicates_under_two_labels_are_named() -> None:
    found = Album({"cat/1": scene(1), "dog/1": again(scene(1), 1), "dog/2": scene(2)}).duplicates()
    assert [(pair.a, pair.b, pair.labels) for pair in found.near] == [("cat/1", "dog/1", (0, 1))]
    assert found.excluded == []


def test_the_frames_of_a_film_are_tied_together_by_few_pairs() -> None:
    frame = scene(1)
    images = {f"cat/{number:04}": frame.point([min(255, value + number) for value in range(256)] * 3) for number in range(7)}
    photos = Album(images).photos
    many = [replace(photos[number % 7], sha256=str(number), photo=FoundPhoto(f"cat/{number:04}", 0, None)) for number in range(3000)]
    preview = fingerprint(frame).preview
    found = find_duplicates(many, lambda rows: preview.expand(len(rows), -1, -1, -1))
    assert len(set(found.groups.values())) == 1
    assert len(found.groups) == 3000
    assert len(found.near) == 2999


def difference_of(one: Fingerprint, other: Fingerprint) -> float:
    return float(measure_difference(one.preview.unsqueeze(0), other.preview.unsqueeze(0)))


def test_pictures_without_contrast_are_compared_all_the_same() -> None:
    white, nearly, black = (fingerprint(Image.new("RGB", (50, 50), (value,) * 3)) for value in (255, 254, 0))
    assert difference_of(white, white) == 0
    assert difference_of(white, nearly) < 1
    assert difference_of(white, black) > 1


def test_only_photos_that_are_used_keep_others_out() -> None:
    """A burst: the valid photo is like one in train and like one in test, which are not like each other."""
    originals = {"train/cat/1": scene(1), "valid/cat/1": scene(2), "test/cat/1": scene(3), "test/cat/2": scene(4)}
    photos = Album(originals).photos
    images = {photo.photo.name: photo for photo in photos}
    first = np.frombuffer(images["train/cat/1"].bits, dtype=np.uint8)
    bits = {}
    for name, flipped in (("train/cat/1", 0), ("valid/cat/1", 2), ("test/cat/1", 4), ("test/cat/2", 1)):
        changed = first.copy()
        changed[:flipped] ^= 255  # eight bits each: two apart are near, four are not
        bits[name] = changed.tobytes()
    preview = torch.zeros(16, 16, 3, dtype=torch.uint8)
    found = find_duplicates(
        [replace(photo, bits=bits[photo.photo.name]) for photo in photos], lambda rows: preview.expand(len(rows), -1, -1, -1)
    )
    assert {item.name: item.reason.partition(" in ")[0] for item in found.excluded} == {
        "valid/cat/1": "it is a near duplicate of 'train/cat/1'",
        "test/cat/2": "it is a near duplicate of 'train/cat/1'",
    }


def test_a_photo_kept_out_for_one_reason_may_be_kept_out_for_another() -> None:
    """The test photo resembles a valid photo that leaks, and one that is used."""
    names = ("test/cat/1", "train/cat/1", "valid/cat/1", "valid/cat/2")
    album = Album({name: scene(number) for number, name in enumerate(names)})
    first = np.frombuffer(album.photos[0].bits, dtype=np.uint8)
    photos = []
    for photo, changed_bytes in zip(album.photos, ((), (0, 1, 2, 3), (0, 1), (14, 15)), strict=True):
        own = first.copy()
        own[list(changed_bytes)] ^= 255
        photos.append(replace(photo, bits=own.tobytes()))
    preview = torch.zeros(16, 16, 3, dtype=torch.uint8)
    found = find_duplicates(photos, lambda rows: preview.expand(len(rows), -1, -1, -1))
    reasons = {item.name: item.reason for item in found.excluded}
    assert reasons == {
        "valid/cat/1": "it is a near duplicate of 'train/cat/1' in train: valid must not contain it",
        "test/cat/1": "it is a near duplicate of 'valid/cat/2' in valid: test must not contain it",
    }
