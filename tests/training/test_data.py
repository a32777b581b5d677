"""Class folders in every layout, split always in the same way, refused where nothing can be learnt from them. Run: `make test`."""

import shutil
from pathlib import Path

import pytest

from tests.training.conftest import save_classes, save_photo
from training.data import MAX_LISTED, LeftOut, Photo, PhotoSets, find_photos, to_json
from training.refusal import InputRefusedError


def names(folder: Path, seed: int = 42) -> dict[str, set[str]]:
    return {split: {photo.name for photo in photos} for split, photos in find_photos(folder, seed).splits.items()}


def test_classes_are_split_70_15_15_each(tmp_path: Path) -> None:
    counts = find_photos(save_classes(tmp_path, 20), 1).counts()
    assert counts == {
        "train": dict.fromkeys(("blue", "green", "red"), 14),
        **{split: dict.fromkeys(("blue", "green", "red"), 3) for split in ("valid", "test")},
    }


def test_the_split_depends_on_names_and_seed_alone(tmp_path: Path) -> None:
    first = save_classes(tmp_path / "first", 12)
    second = tmp_path / "second"
    for file in sorted(first.rglob("*.png"), reverse=True):
        (second / file.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(file, second / file.parent.name / file.name)
    assert names(first) == names(second)
    assert names(first, seed=1) != names(first, seed=2)
    assert not names(first)["train"] & (names(first)["valid"] | names(first)["test"])


@pytest.mark.parametrize("valid", ["valid", "val", "validation", "Valid"])
def test_split_folders_are_honoured(tmp_path: Path, valid: str) -> None:
    for split, photos in (("train", 4), (valid, 2), ("test", 3)):
        save_classes(tmp_path / split, photos)
    assert find_photos(tmp_path, 1).counts() == {
        split: dict.fromkeys(("blue", "green", "red"), photos) for split, photos in (("train", 4), ("valid", 2), ("test", 3))
    }


def test_a_missing_valid_is_cut_from_train(tmp_path: Path) -> None:
    save_classes(tmp_path / "train", 10)
    save_classes(tmp_path / "test", 3)
    counts = find_photos(tmp_path, 1).counts()
    assert (counts["train"]["red"], counts["valid"]["red"], counts["test"]["red"]) == (8, 2, 3)


def test_a_lone_folder_around_the_classes_is_stepped_into(tmp_path: Path) -> None:
    save_classes(tmp_path / "dogImages" / "train", 5)
    assert find_photos(tmp_path, 1).classes == ("blue", "green", "red")


def test_what_systems_leave_behind_is_no_photo_and_no_class(tmp_path: Path) -> None:
    save_classes(tmp_path, 4)
    for name in (".DS_Store", "red/Thumbs.db", "blue/.hidden.png", "__MACOSX/red/1.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    sets = find_photos(tmp_path, 1)
    assert (sets.classes, sets.left_out) == (("blue", "green", "red"), ())


def test_unusable_files_are_listed_with_the_reason(tmp_path: Path) -> None:
    save_classes(tmp_path, 10)
    (tmp_path / "red" / "note.jpg").write_text("hello")
    (tmp_path / "labels.csv").write_text("a,b")
    left_out = {item.name: item.reason for item in find_photos(tmp_path, 1).left_out}
    assert left_out.keys() == {"red/note.jpg", "labels.csv"}
    assert "outside the class folders" in left_out["labels.csv"]


def test_odd_names_are_kept(tmp_path: Path) -> None:
    classes = ("a b+c#%", "ärger", "<script>")
    for name in classes:
        for number in range(3):
            save_photo(tmp_path / name / "deep er" / f"{number}.png", (9, 9, 9), number)
    assert set(find_photos(tmp_path, 1).classes) == set(classes)


@pytest.mark.parametrize(
    ("layout", "sentence"),
    [
        ({}, "no photos"),
        ({"red": 5}, "at least 2 classes, got 1: red"),
        ({"red": 5, "blue": 2}, "class 'blue' has 2 usable photos; at least 3"),
        ({"train/red": 3, "train/blue": 3, "valid/red": 1, "test/green": 1}, "train lacks: green"),
        ({"train/red": 3, "train/blue": 3, "extra/red": 1}, "no split: extra"),
        ({"train": 4}, "lies in no class folder"),
        ({"valid/red": 3, "valid/blue": 3, "test/red": 3, "test/blue": 3}, "train is missing: there is only test, valid"),
        ({"val/red": 3, "val/blue": 3}, "train is missing: there is only val"),
    ],
)
def test_what_cannot_be_split_is_refused(tmp_path: Path, layout: dict[str, int], sentence: str) -> None:
    for name, photos in layout.items():
        for number in range(photos):
            save_photo(tmp_path / name / f"{number}.png", (9, 9, 9), number)
    with pytest.raises(InputRefusedError, match=sentence):
        find_photos(tmp_path, 1)


def test_more_than_a_tenth_unusable_is_refused(tmp_path: Path) -> None:
    save_classes(tmp_path, 4)
    for number in range(2):
        (tmp_path / "red" / f"note{number}.jpg").write_text("hello")
    with pytest.raises(InputRefusedError, match="2 of 14 files are not usable"):
        find_photos(tmp_path, 1)


def test_a_class_may_be_called_like_a_split(tmp_path: Path) -> None:
    for name in ("valid", "broken"):
        save_classes(tmp_path / name, 1, ("a", "b", "c"))
    assert find_photos(tmp_path, 1).classes == ("broken", "valid")


def sets_with_test_photos(count: int) -> PhotoSets:
    photos = tuple(Photo(Path(), f"{'ab'[number % 2]}/{number:05}.png", number % 2) for number in range(count))
    return PhotoSets(("a", "b"), {"train": (), "valid": (), "test": photos}, ())


def test_the_report_names_the_test_photos_that_were_read() -> None:
    names = to_json(sets_with_test_photos(4), [LeftOut("b/00001.png", "it is damaged")])["test_photos"]
    assert names == ["a/00000.png", "a/00002.png", "b/00003.png"]
    assert to_json(sets_with_test_photos(0), [])["test_photos"] == []


def test_of_many_test_photos_some_of_each_class_are_named() -> None:
    names = to_json(sets_with_test_photos(2 * MAX_LISTED + 1), [])["test_photos"]
    assert MAX_LISTED / 2 < len(names) <= MAX_LISTED
    assert names == sorted(names)
    assert {name[0] for name in names} == {"a", "b"}
