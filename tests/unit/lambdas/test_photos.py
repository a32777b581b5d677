"""What lies under the data prefix, counted page by page, and each way in which nothing could be trained on it."""

from datetime import timedelta

import pytest

from lambdas.planning.photos import NoUsableData, Photos, count_photos, require_usable
from tests.fixtures.lambdas.fake_s3 import FakeS3
from training.contract.fields import shown


def photos(*keys: str) -> Photos:
    return count_photos(FakeS3({f"data/{key}": b"x" for key in keys} | {"weights/resnet50.pth": b"x"}), "bucket", "data/")


def class_of(name: str, count: int) -> list[str]:
    return [f"{name}/{number}.jpg" for number in range(count)]


def refusal(*keys: str) -> str:
    with pytest.raises(NoUsableData) as refused:
        require_usable(photos(*keys))
    return str(refused.value)


def test_classes_are_counted_over_all_pages() -> None:
    found = photos(*class_of("rook", 10), *class_of("king", 4))
    require_usable(found)
    assert found.classes == ["king", "rook"]
    assert found.counts == {"": {"king": 4, "rook": 10}}
    assert found.total == 14


def test_photos_in_folders_of_a_class_belong_to_it() -> None:
    assert photos("rook/black/1.jpg", "rook/white/1.jpg", "rook/1.jpg").counts == {"": {"rook": 3}}


@pytest.mark.parametrize("valid", ["valid", "val", "validation"])
def test_split_folders_are_honoured(valid: str) -> None:
    found = photos("train/a/1.jpg", "train/b/1.jpg", f"{valid}/a/1.jpg", f"{valid}/b/1.jpg", "test/a/1.jpg", "test/b/1.jpg")
    require_usable(found)
    assert found.is_split
    assert found.classes == ["a", "b"]
    assert found.counts["valid"] == {"a": 1, "b": 1}


def test_a_class_may_be_called_test_beside_another_that_is_no_split() -> None:
    found = photos(*class_of("test", 3), *class_of("rook", 3))
    assert not found.is_split
    assert found.classes == ["rook", "test"]


def test_splits_without_one_for_training_are_refused() -> None:
    assert refusal("test/a/1.jpg", "valid/a/1.jpg").startswith(
        "train is missing under s3://bucket/data/: there is only 'test', 'valid'. Use"
    )


def test_photos_of_a_split_that_lie_in_no_class_folder_are_refused() -> None:
    sentence = refusal("train/a.jpg", "valid/rook/x.jpg")
    assert sentence.startswith("s3://bucket/data/train/ holds files (1) that lie in no class folder. Use <class>/<photo>")


def test_a_split_without_any_photo_to_train_on_is_refused() -> None:
    assert "no class to train on under s3://bucket/data/" in refusal("train/.DS_Store", "valid/rook/x.jpg")


def test_other_folders_beside_the_one_for_training_are_named() -> None:
    assert "holds folders that are no split: 'rook'" in refusal("train/a/1.jpg", "train/b/1.jpg", "rook/1.jpg")


def test_a_lone_outer_folder_is_stepped_into_and_named() -> None:
    assert photos(*class_of("chess/pieces/rook", 3), *class_of("chess/pieces/king", 3)).classes == ["king", "rook"]
    assert "only one class under s3://bucket/data/chess/, 'rook'" in refusal(*class_of("chess/rook", 3))


def test_many_files_that_are_no_photos_are_refused() -> None:
    sentence = refusal(*class_of("rook", 4), *class_of("king", 4), "readme.txt", "rook/labels.csv")
    assert sentence.startswith("2 of the 10 files under s3://bucket/data/ lie in no class folder or are no photos, more than the 10%")


def test_what_file_managers_leave_behind_is_no_photo() -> None:
    found = photos(*class_of("rook", 3), "rook/.DS_Store", "rook/Thumbs.db", "__MACOSX/rook/._1.jpg", ".git/config/x/.y", "rook/")
    assert found.counts == {"": {"rook": 3}}


@pytest.mark.parametrize("name", ["rook//1.jpg", "/1.jpg", "./rook/1.jpg", "rook/../1.jpg", ".git/../x", f"rook/{'é' * 128}", "rook/.."])
def test_a_key_that_no_job_can_download_is_named(name: str) -> None:
    sentence = refusal(*class_of("rook", 3), *class_of("king", 3), name)
    assert sentence.startswith(f"the object key {shown(f'data/{name}')} cannot be a file name, so no job could download it")


def test_placeholders_of_folders_are_no_files_however_they_are_called() -> None:
    require_usable(photos(*class_of("rook", 3), *class_of("king", 3), "rook/", "rook//", "../"))


def test_an_empty_prefix_is_refused() -> None:
    assert refusal() == "there are no photos under s3://bucket/data/; put class folders there with: whippet upload PATH"


def test_photos_without_class_folders_are_refused() -> None:
    assert "the 2 files under s3://bucket/data/ lie in no class folder or are no photos" in refusal("1.jpg", "2.jpg")


def test_a_single_class_is_refused() -> None:
    assert "only one class under s3://bucket/data/, 'rook'" in refusal(*class_of("rook", 9))


def test_a_class_too_small_to_be_split_is_refused() -> None:
    sentence = refusal(*class_of("rook", 9), *class_of("king", 2), *class_of("pawn", 1))
    assert sentence.startswith("'king' (2), 'pawn' (1) under s3://bucket/data/ have fewer than 3 photos")


def test_many_small_classes_are_not_all_named() -> None:
    assert "and 7 more under" in refusal(*(f"class{number:02}/1.jpg" for number in range(12)))


def test_a_train_folder_alone_must_be_split_too() -> None:
    assert "'b' (2)" in refusal(*class_of("train/a", 3), *class_of("train/b", 2))


def test_a_single_missing_split_needs_one_photo_less() -> None:
    require_usable(photos(*class_of("train/a", 2), *class_of("train/b", 2), "test/a/1.jpg"))
    sentence = refusal(*class_of("train/a", 2), *class_of("train/b", 1), "test/a/1.jpg")
    assert "'b' (1) under s3://bucket/data/ have fewer than 2 photos, the least that a class needs for valid to be cut" in sentence


def test_a_class_without_train_photos_is_refused() -> None:
    sentence = refusal(*class_of("train/a", 3), *class_of("train/b", 3), "test/c/1.jpg", "valid/a/1.jpg")
    assert sentence.startswith("'c' under s3://bucket/data/ have valid or test photos but no train photos")


def test_split_folders_that_are_complete_may_hold_single_photos() -> None:
    require_usable(photos("train/a/1.jpg", "train/b/1.jpg", "valid/a/1.jpg", "test/a/1.jpg"))


def test_the_newest_object_is_known_whatever_it_is() -> None:
    s3 = FakeS3({f"data/{key}": b"x" for key in class_of("rook", 9)})
    s3.modified_at["data/rook/4.jpg"] = s3.modified + timedelta(days=1)
    assert count_photos(s3, "bucket", "data/").newest == s3.modified + timedelta(days=1)
    assert count_photos(s3, "bucket", "nothing/").newest is None
