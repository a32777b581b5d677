"""Class folders in every layout: class and split told from names, refused where nothing can be learnt from them. Run: `make test`."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data.folders import find_look_alikes, find_photos
from training.job.failure import InputRefusedError


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def places(folder: Path) -> dict[str, tuple[str | None, str]]:
    found = find_photos(folder)
    return {photo.name: (photo.split, found.classes[photo.label]) for photo in found.photos}


def test_class_folders(tmp_path: Path) -> None:
    assert places(touch(tmp_path, "b/2.png", "a/x/1.png")) == {"a/x/1.png": (None, "a"), "b/2.png": (None, "b")}


@pytest.mark.parametrize("valid", ["valid", "val", "validation", "Valid"])
def test_split_folders_are_honoured(tmp_path: Path, valid: str) -> None:
    names = ("train/a/1", "train/b/1", f"{valid}/a/1", "test/b/1")
    assert {split for split, _ in places(touch(tmp_path, *names)).values()} == {"train", "valid", "test"}
    assert places(tmp_path)[f"{valid}/a/1"] == ("valid", "a")


def test_a_lone_folder_around_the_classes_is_stepped_into(tmp_path: Path) -> None:
    assert places(touch(tmp_path, "dogImages/train/a/1", "dogImages/train/b/1"))["dogImages/train/a/1"] == ("train", "a")


def test_what_systems_leave_behind_is_no_photo_and_no_class(tmp_path: Path) -> None:
    touch(tmp_path, "a/1", "b/1", ".DS_Store", "a/Thumbs.db", "b/.hidden.png", "__MACOSX/a/1.png", "a/.cache/1.png")
    assert (set(places(tmp_path)), find_photos(tmp_path).left_out) == ({"a/1", "b/1"}, ())


def test_files_that_are_no_photos_by_name_are_left_out(tmp_path: Path) -> None:
    found = find_photos(touch(tmp_path, "a/1", "b/1", "notes/readme.TXT", "labels.csv"))
    assert {item.name: item.reason for item in found.left_out} == {
        "labels.csv": "it is outside the class folders",
        "notes/readme.TXT": "its extension is that of a document",
    }
    assert (found.classes, found.files) == (("a", "b"), 4)


def test_a_class_may_be_called_like_a_split(tmp_path: Path) -> None:
    assert find_photos(touch(tmp_path, "valid/1", "broken/1")).classes == ("broken", "valid")


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ((), "no photos"),
        (("red/1",), r"at least 2 classes, got only 'red'\. Upload"),
        (("train/red/1", "valid/red/1"), r"got only 'red' in train\. Upload"),
        (("note.txt",), r"at least 2 classes, got none\. Upload"),
        (("train/red/note.txt", "valid/red/1"), r"got none in train\. Upload"),
        (("train/red/1", "train/blue/1", "test/green/1"), "train lacks: 'green'"),
        (("train/red/1", "train/blue/1", "extra/red/1"), "not splits: 'extra'"),
        (("train/1",), "'train/1' is not in a class folder"),
        (("valid/red/1", "test/red/1"), "train is missing: there is only test, valid"),
        (("val/red/1",), "train is missing: there is only val"),
    ],
)
def test_what_means_nothing_is_refused(tmp_path: Path, names: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(InputRefusedError, match=sentence):
        find_photos(touch(tmp_path, *names))


def test_a_channel_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputRefusedError, match="no photos"):
        find_photos(tmp_path / "nothing")


def test_classes_whose_names_look_the_same_are_told() -> None:
    twins = ("caf\u00e9", "cafe\u0301", "Dog", "dog", "cat", "tea cup", "tea  cup ")
    assert find_look_alikes(twins) == [twins[0:2], twins[2:4], twins[5:7]]


FOLDER_NAMES = st.one_of(
    st.sampled_from(
        [
            "a b",
            "50%",
            "%2F",
            "c+d",
            "#1",
            "..x",
            "a..b",
            "\U0001f415",
            "caf\u00e9",
            "cafe\u0301",
            "<script>",
            "\udc80\udcff",
            "\\",
            "'\"",
            "\n",
        ]
    ),
    st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=60),
).filter(
    lambda name: not name.startswith(".") and name.lower() not in {"thumbs.db", "desktop.ini", "__macosx"} and len(os.fsencode(name)) < 256
)


@settings(max_examples=200, deadline=None)
@given(labels=st.lists(FOLDER_NAMES, min_size=2, max_size=4, unique=True), file=FOLDER_NAMES)
def test_names_of_any_kind_keep_their_label(tmp_path_factory: pytest.TempPathFactory, labels: list[str], file: str) -> None:
    """Classes and files as S3 keys allow them; `.png` keeps the file from being a document."""
    folder = tmp_path_factory.mktemp("any")
    labels = [f"={label}"[:50] for label in labels]
    file = f"{file[:40]}.png"
    touch(folder, *(f"{label}/{file}" for label in labels))
    assert places(folder) == {f"{label}/{file}": (None, label) for label in labels}
