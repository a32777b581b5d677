"""The same folders of photos through the rooms that read them: the upload, PrepareExecution, a job's download, PrepareDataset.

The rooms cannot import each other, so each has the rules of its own; here they are held against each other. Run: `make test`.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.photos.photo_folder import read_photo_folder
from cli.terminal.errors import RefusedError
from lambdas.planning.photos import NoUsableData, count_photos, require_usable
from local.storage.objects import DownloadError, make_relative_name
from tests.fixtures.lambdas.fake_s3 import FakeS3
from tests.fixtures.training.jobs import save_photo
from training.data.summary import Summary
from training.job.failure import InputRefusedError
from training.prepare import find_splittable

Layout = dict[str, int]
"""Folder -> photos in it; a file that is no photo -> 0."""

COMPLETE: Layout = {"train/king": 1, "train/rook": 1, "valid/king": 1, "test/rook": 1}

TAKEN: list[Layout] = [
    {"king": 3, "rook": 3},
    {"king/black": 2, "king/white": 1, "rook": 3},
    {"king": 3, "rook": 3, ".git/config": 0, "__MACOSX/king": 1, "king/Thumbs.db": 0},
    {"rook": 3, "test": 3},
    COMPLETE,
    {"Train/king": 3, "Train/rook": 3},
    {"training/king": 2, "training/rook": 2, "VAL/king": 1},
    {"train/king": 2, "train/rook": 2, "test/rook": 1},
    {"chess/king": 3, "chess/rook": 3},
    {"chess/pieces/train/king": 3, "chess/pieces/train/rook": 3, ".DS_Store": 0},
    {"train/king": 20, "train/rook": 20, "train/labels.csv": 0},
]

TAKEN_ONCE_UPLOADED: list[Layout] = [{"king": 12, "rook": 12, "notes/readme.txt": 0}]
"""`whippet upload` asks whether a class folder without a photo is a mistake."""

REFUSED: list[Layout] = [
    {},
    {"rook": 9},
    {"train": 3, "test": 3},
    {"train": 1, "valid/rook": 1},
    {"train/.DS_Store": 0, "valid/king": 1, "valid/rook": 1},
    {**COMPLETE, "train": 1},
    {**COMPLETE, "rook": 3},
    {**COMPLETE, "notes/Thumbs.db": 0},
    {**COMPLETE, "test/pawn": 1},
    {"chess/rook": 9},
    {"chess": 3, "chess/king": 3, "chess/rook": 3},
]

REFUSED_ONCE_UPLOADED: list[Layout] = [
    {"king": 2, "rook": 3},
    {"Train/king": 2, "Train/rook": 3},
    {"train/king": 1, "train/rook": 2, "test/rook": 1},
    {"king": 3, "rook": 3, "readme.txt": 0},
    {"test/king": 3, "test/rook": 3, "valid/king": 3},
]
"""`whippet upload` leaves documents out by itself, and may leave it to the execution to count the rest."""


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    file = tmp_path_factory.mktemp("photo") / "photo.png"
    save_photo(file, (200, 30, 30), 1)
    return file.read_bytes()


def names(layout: Layout) -> Iterator[str]:
    for name, photos in layout.items():
        yield from [f"{name}/{number}.png" for number in range(photos)] or [name]


def tree(root: Path, layout: Layout, photo: bytes) -> Path:
    for name in names(layout):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(photo if name.endswith(".png") else b"no photo")
    return root


def prepared(layout: Layout) -> list[str]:
    found = count_photos(FakeS3({f"data/{name}": b"" for name in names(layout)}), "bucket", "data/")
    require_usable(found)
    return found.classes


@pytest.mark.parametrize("layout", TAKEN)
def test_what_the_upload_takes_is_taken_after_it(tmp_path: Path, layout: Layout, photo: bytes) -> None:
    assert list(read_photo_folder(tree(tmp_path, layout, photo)).classes) == prepared(layout)


@pytest.mark.parametrize("layout", TAKEN + TAKEN_ONCE_UPLOADED)
def test_what_the_processing_job_takes_is_taken_before_it(tmp_path: Path, layout: Layout, photo: bytes) -> None:
    assert list(find_splittable(tree(tmp_path, layout, photo), 1, Summary()).classes) == prepared(layout)


@pytest.mark.parametrize("layout", REFUSED)
def test_what_is_refused_later_is_refused_by_the_upload(tmp_path: Path, layout: Layout, photo: bytes) -> None:
    with pytest.raises(RefusedError):
        read_photo_folder(tree(tmp_path, layout, photo))


@pytest.mark.parametrize("layout", REFUSED + REFUSED_ONCE_UPLOADED)
def test_what_the_processing_job_refuses_is_refused_before_it(tmp_path: Path, layout: Layout, photo: bytes) -> None:
    with pytest.raises(InputRefusedError):
        find_splittable(tree(tmp_path, layout, photo), 1, Summary())
    with pytest.raises(NoUsableData):
        prepared(layout)


def is_refused_at_once(name: str) -> bool:
    try:
        count_photos(FakeS3({f"data/{name}": b"x"}), "bucket", "data/")
    except NoUsableData as refused:
        return "cannot be a file name" in str(refused)
    return False


def is_refused_by_the_download(name: str) -> bool:
    try:
        make_relative_name(f"data/{name}", "data/")
    except DownloadError:
        return True
    return False


PARTS = st.sampled_from(["", ".", "..", "...", ".a", "a..b", "x" * 255, "x" * 256, "é" * 127, "é" * 128, "1.jpg"]) | st.text(max_size=3)


@given(st.lists(PARTS, min_size=1, max_size=3).map("/".join).filter(lambda name: name and not name.endswith("/")))
def test_a_key_that_the_download_refuses_is_refused_before_it(name: str) -> None:
    """Keys that end in a slash are placeholders of folders, which are not downloaded."""
    assert is_refused_at_once(name) == is_refused_by_the_download(name)
