"""What a folder of photos may look like, and the sentence for each that may not. Run: `make test`."""

from pathlib import Path

import pytest

from cli.photos.photo_folder import read_photo_folder
from cli.terminal.errors import RefusedError
from training.contract.photos import find_format

JPEG = b"\xff\xd8\xff\xe0 rest of a photo"


def tree(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(JPEG)
    return root


def test_class_folders_are_counted(tmp_path: Path) -> None:
    photos = read_photo_folder(tree(tmp_path, "cat/1.jpg", "cat/2.jpg", "dog/1.jpg"))
    assert photos.classes == ("cat", "dog")
    assert photos.splits == ()
    assert list(photos.photos) == ["cat/1.jpg", "cat/2.jpg", "dog/1.jpg"]
    assert photos.describe() == "3 photos in 2 classes"


def test_splits_get_their_own_names_whatever_the_folder_is_called(tmp_path: Path) -> None:
    photos = read_photo_folder(tree(tmp_path, "Train/cat/1.jpg", "Train/dog/1.jpg", "val/cat/2.jpg", "test/dog/3.jpg"))
    assert photos.splits == ("train", "valid", "test")
    assert list(photos.photos) == ["train/cat/1.jpg", "train/dog/1.jpg", "test/dog/3.jpg", "valid/cat/2.jpg"]
    assert photos.describe() == "4 photos in 2 classes (2 train + 1 valid + 1 test)"


def test_a_lone_outer_folder_is_stepped_into(tmp_path: Path) -> None:
    tree(tmp_path, "dogs/outer/cat/1.jpg", "dogs/outer/dog/1.jpg", "__MACOSX/._x.jpg", ".DS_Store")
    assert read_photo_folder(tmp_path).root == tmp_path / "dogs" / "outer"


def test_names_of_any_kind_are_kept(tmp_path: Path) -> None:
    names = ("Züge/a b+c%20.jpg", "日本/é.jpg")
    assert set(read_photo_folder(tree(tmp_path, *names)).photos) == set(names)


def test_a_photo_under_a_wrong_name_counts_and_another_file_does_not(tmp_path: Path) -> None:
    tree(tmp_path, "cat/1.fcgi", "dog/1.jpg")
    (tmp_path / "dog" / "notes.txt").write_text("no photo")
    photos = read_photo_folder(tmp_path)
    assert list(photos.photos) == ["cat/1.fcgi", "dog/1.jpg"]
    assert photos.describe() == "2 photos in 2 classes; other files skipped: 1"


def test_a_link_to_an_outer_folder_does_not_go_round_for_ever(tmp_path: Path) -> None:
    tree(tmp_path, "cat/1.jpg", "dog/1.jpg")
    (tmp_path / "cat" / "again").symlink_to(tmp_path)
    assert set(read_photo_folder(tmp_path).photos) == {"cat/1.jpg", "dog/1.jpg"}


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ((), "is empty"),
        (("1.jpg", "2.jpg"), "has 2 photos but no class folders"),
        (("cat/1.jpg",), "only the class 'cat'"),
        (("train/cat/1.jpg", "train/dog/1.jpg", "notes/x.jpg"), "folders that are not splits: notes"),
        (("train/cat/1.jpg", "train/dog/1.jpg", "test/cow/1.jpg"), "classes without training photos: cow"),
        (("train/1.jpg", "train/cat/1.jpg"), "train/1.jpg is not in a class folder"),
        (("train/cat/1.jpg", "train/dog/1.jpg", "val/cat/1.jpg", "valid/cat/1.jpg"), "both belong to valid"),
        (("cat/" + "a" * 200 + "/" + "b" * 200 + "/" + "c" * 200 + "/" + "d" * 200 + "/" + "e" * 200, "dog/1.jpg"), "bytes long"),
    ],
)
def test_what_cannot_be_trained_on_is_refused_with_a_sentence(tmp_path: Path, names: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(RefusedError, match=sentence):
        read_photo_folder(tree(tmp_path, *names))


def test_an_empty_class_folder_is_named(tmp_path: Path) -> None:
    (tree(tmp_path, "cat/1.jpg", "dog/1.jpg") / "cow").mkdir()
    with pytest.raises(RefusedError, match="Class folders without a photo: cow"):
        read_photo_folder(tmp_path)


def test_files_that_are_no_photos_are_counted_in_the_refusal(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "notes.txt").write_text("no photo")
    with pytest.raises(RefusedError, match=r"has 1 files but no photo"):
        read_photo_folder(tmp_path)


@pytest.mark.parametrize(
    ("start", "media"),
    [
        (JPEG, "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n____", "image/png"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", None),
        (b"BM____", "image/bmp"),
        (b"II*\x00", "image/tiff"),
        (b"%PDF-1.7", None),
        (b"", None),
    ],
)
def test_the_type_is_what_the_bytes_are(start: bytes, media: str | None) -> None:
    found = find_format(start)
    assert (found.content_type if found else None) == media
