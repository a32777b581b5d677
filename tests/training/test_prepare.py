"""A folder of photos becomes a data set: the same bytes each time, every file used or listed with the reason. Run: `make test`."""

import json
from pathlib import Path

from tests.training.conftest import prepare_quietly, save_classes
from training.dataset import open_dataset


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_data_set_is_whole(prepared: Path) -> None:
    dataset = open_dataset(prepared)
    assert dataset.classes == ("blue", "green", "red")
    assert {split: len(dataset.split(split)) for split in ("train", "valid", "test")} == {"train": 18, "valid": 6, "test": 6}
    assert dataset.features("train").values.shape == (18, 2048)
    assert dataset.features("train").values.isfinite().all()
    assert len(dataset.thumbnails()) == 6
    assert all(thumbnail.startswith(b"\xff\xd8") for thumbnail in dataset.thumbnails())
    assert [path.name for path in dataset.check_photos] == [f"{number}.png" for number in range(6)]


def test_the_manifest_is_in_order_of_names(prepared: Path) -> None:
    names = [photo.name for photo in open_dataset(prepared).photos]
    assert names == sorted(names)
    assert names[0] == "blue/0.png"


def test_the_same_input_gives_the_same_bytes(tmp_path: Path, photos: Path, weights: Path, prepared: Path) -> None:
    assert prepare_quietly(photos, weights, tmp_path)[0] == 0
    assert contents(tmp_path / "dataset") == contents(prepared)


def test_a_file_that_is_no_photo_is_listed(prepared: Path) -> None:
    summary = json.loads((prepared / "summary.json").read_text())
    assert summary["error"] is None
    assert summary["left_out"] == [{"file": "red/no_photo.jpg", "reason": "it is none of JPEG, PNG, WEBP, GIF, BMP, TIFF"}]
    assert summary["photos"]["train"] == {"blue": 6, "green": 6, "red": 6}
    assert summary["balance"] == {"biggest": {"class": "blue", "photos": 6}, "smallest": {"class": "blue", "photos": 6}, "ratio": 1.0}


def test_a_refused_input_says_why_in_message_and_summary(tmp_path: Path, weights: Path) -> None:
    photos = save_classes(tmp_path / "photos", 4)
    for number in range(2):
        (photos / "red" / f"note{number}.jpg").write_text("hello")
    status, log = prepare_quietly(photos, weights, tmp_path)
    assert status == 1
    message = (tmp_path / "message").read_text()
    assert "2 of 14 files are not usable photos" in message
    assert message in log
    summary = json.loads((tmp_path / "report" / "summary.json").read_text())
    assert summary["error"] == message
    assert [item["file"] for item in summary["left_out"]] == ["red/note0.jpg", "red/note1.jpg"]
    assert not (tmp_path / "dataset" / "dataset.json").exists()
