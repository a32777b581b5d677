"""15 % of each class for valid and for test, always the same ones, groups kept whole. Run: `make test`."""

from collections import Counter
from collections.abc import Mapping

import pytest

from training.data.folders import FoundPhoto
from training.data.splits import draw_splits, find_missing_splits
from training.job.failure import InputRefusedError

CLASSES = ("blue", "green", "red")


def found(counts: Mapping[str, int]) -> list[FoundPhoto]:
    """Photos by folder: `red` or `train/red`."""
    photos = []
    for folder, count in counts.items():
        *split, name = folder.split("/")
        photos += [FoundPhoto(f"{folder}/{number}.png", CLASSES.index(name), split[0] if split else None) for number in range(count)]
    return photos


def drawn(photos: list[FoundPhoto], seed: int = 42, groups: Mapping[str, int] | None = None) -> dict[str, str]:
    splits = draw_splits(photos, find_missing_splits(photos), CLASSES, seed, groups or {})
    return {photo.name: split for photo, split in zip(photos, splits, strict=True)}


def counts(splits: Mapping[str, str]) -> Counter[tuple[str, str]]:
    return Counter((split, name.split("/")[-2]) for name, split in splits.items())


def test_classes_are_split_70_15_15_each() -> None:
    split = counts(drawn(found({"red": 20, "blue": 40, "green": 3})))
    assert [split[name, "red"] for name in ("train", "valid", "test")] == [14, 3, 3]
    assert [split[name, "blue"] for name in ("train", "valid", "test")] == [28, 6, 6]
    assert [split[name, "green"] for name in ("train", "valid", "test")] == [1, 1, 1]


def test_the_split_depends_on_names_and_seed_alone() -> None:
    photos = found(dict.fromkeys(CLASSES, 12))
    assert drawn(photos) == drawn(photos[::-1])
    assert drawn(photos, seed=1) != drawn(photos, seed=2)


def test_another_photo_moves_few() -> None:
    before = drawn(found(dict.fromkeys(CLASSES, 100)))
    after = drawn(found({**dict.fromkeys(CLASSES, 100), "red": 101}))
    assert sum(before[name] != after[name] for name in before) <= 4


def test_splits_that_exist_are_honoured() -> None:
    photos = found({f"{split}/{name}": 4 for split in ("train", "valid", "test") for name in CLASSES})
    assert find_missing_splits(photos) == ()
    assert all(name.startswith(f"{split}/") for name, split in drawn(photos).items())


def test_a_missing_valid_is_cut_from_train() -> None:
    photos = found({**{f"train/{name}": 10 for name in CLASSES}, "test/red": 3})
    assert find_missing_splits(photos) == ("valid",)
    split = counts(drawn(photos))
    assert (split["train", "red"], split["valid", "red"], split["test", "red"]) == (8, 2, 3)


@pytest.mark.parametrize("size", [2, 3, 5])
def test_groups_are_never_torn(size: int) -> None:
    photos = found(dict.fromkeys(CLASSES, 60))
    groups = {photo.name: index // size for index, photo in enumerate(photos) if index % 7}
    splits = drawn(photos, groups=groups)
    for group in set(groups.values()):
        assert len({splits[name] for name, own in groups.items() if own == group}) == 1
    assert all(counts(splits)[split, name] == 9 for split in ("valid", "test") for name in CLASSES)


def test_a_group_of_two_classes_is_never_torn() -> None:
    photos = found(dict.fromkeys(CLASSES, 20))
    groups = dict.fromkeys(("red/1.png", "blue/1.png", "green/7.png"), 1)
    for seed in range(10):
        splits = drawn(photos, seed, groups)
        assert len({splits[name] for name in groups}) == 1


def test_a_group_too_large_for_a_share_is_for_training() -> None:
    photos = found(dict.fromkeys(CLASSES, 20))
    splits = drawn(photos, groups={photo.name: 1 for photo in photos if photo.label == 0})
    assert counts(splits)["train", "blue"] == 20


@pytest.mark.parametrize(
    ("layout", "sentence"),
    [
        ({"red": 5, "green": 5, "blue": 2}, "class 'blue' has 2 usable photos for training; at least 3 are needed to make valid and test"),
        ({"train/red": 3, "train/green": 3, "train/blue": 1, "test/red": 1}, "class 'blue' has 1 .* at least 2 are needed to make valid"),
        ({"train/red": 3, "train/green": 3, "valid/red": 1, "test/blue": 1}, "class 'blue' has 0 .* at least 1"),
    ],
)
def test_a_class_too_small_is_refused(layout: dict[str, int], sentence: str) -> None:
    with pytest.raises(InputRefusedError, match=sentence):
        drawn(found(layout))


def test_a_large_group_overshoots_rather_than_leave_a_class_unjudged() -> None:
    """Twelve photos in three groups of four: the share of two has no room for any."""
    photos = found(dict.fromkeys(CLASSES, 12))
    groups = {photo.name: index // 4 for index, photo in enumerate(photos)}
    split = counts(drawn(photos, groups=groups))
    assert {split[name, label] for name in ("train", "valid", "test") for label in CLASSES} == {4}


def test_training_keeps_a_photo_of_each_class_that_a_group_holds() -> None:
    """All of blue is in one group with one red photo: it stays, whatever the evaluation lacks."""
    photos = found({"red": 20, "blue": 5, "green": 20})
    groups = {photo.name: 1 for photo in photos if photo.label == 0} | {"red/3.png": 1}
    split = counts(drawn(photos, groups=groups))
    assert split["train", "blue"] == 5
    assert all(split[name, "red"] for name in ("train", "valid", "test"))
